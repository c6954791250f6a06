// Vectors of four floats for any processor: SSE2, or what the compiler makes of it; lanes.h says
// what an instruction set provides.
#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <cstdint>

namespace khmer_fast {
namespace {

constexpr int W = 4;
typedef float F __attribute__((vector_size(16)));
typedef int32_t I __attribute__((vector_size(16)));
typedef uint16_t U16 __attribute__((vector_size(8)));
constexpr int kPanelVectors = 4, kManyRows = 4, kRows[] = {0, 8, 4, 3, 2};
constexpr int kRowsToFetch = 16;
constexpr int kSequenceVectors = kPanelVectors;

KHMER_FAST_MATH F fma(F a, F b, F c) {
#ifdef __FP_FAST_FMAF
  F result;
  for (int i = 0; i < W; ++i) result[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return result;
#else
  return a * b + c;
#endif
}

KHMER_FAST_MATH void keep(F&) {}
KHMER_FAST_MATH void keep(I&) {}

#ifdef __SSE2__
KHMER_FAST_MATH I dot_shorts(I sum, I a, I b) {
  return (I)_mm_add_epi32((__m128i)sum, _mm_madd_epi16((__m128i)a, (__m128i)b));
}
#endif

}  // namespace
}  // namespace khmer_fast
