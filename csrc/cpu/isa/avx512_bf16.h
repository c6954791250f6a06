// AVX-512 with products of bfloat16 pairs and of quads of bytes (VNNI).
#pragma once

#define KHMER_FAST_VNNI
#include "cpu/isa/avx512.h"

namespace khmer_fast {
namespace {

#define KHMER_FAST_BF16_PAIRS

KHMER_FAST_MATH F dot_pairs(F sum, I a, I b) {
  return (F)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

}  // namespace
}  // namespace khmer_fast
