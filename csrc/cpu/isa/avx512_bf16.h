// AVX-512 with products of bfloat16 pairs and of quads of bytes (VNNI).
#pragma once

#include "cpu/isa/avx512.h"

namespace khmer_fast {
namespace {

#define KHMER_FAST_BF16_PAIRS

KHMER_FAST_MATH F dot_pairs(F sum, I a, I b) {
  return (F)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

#define KHMER_FAST_BYTE_QUADS

// sum += the products of four bytes of 0..255 and four of -128..127 in each lane.
KHMER_FAST_MATH I dot_quads(I sum, I a, I b) {
  return (I)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}

}  // namespace
}  // namespace khmer_fast
