// Vectors of 64-bit ARM; lanes.h says what an instruction set provides.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace khmer_fast {
namespace {

constexpr int W = 4;
typedef float F __attribute__((vector_size(16)));
typedef int32_t I __attribute__((vector_size(16)));
typedef uint16_t U16 __attribute__((vector_size(8)));
constexpr int kPanelVectors = 4, kManyRows = 4, kRows[] = {0, 12, 12, 8, 6};
constexpr int kRowsToFetch = 16;
constexpr int kSequenceVectors = kPanelVectors;

KHMER_FAST_MATH F fma(F a, F b, F c) {
  return (F)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}

KHMER_FAST_MATH void keep(F& x) { asm("" : "+w"(x)); }
KHMER_FAST_MATH void keep(I& x) { asm("" : "+w"(x)); }

}  // namespace
}  // namespace khmer_fast
