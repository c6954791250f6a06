// Vectors of AVX-512 (F, BW, DQ, VL); lanes.h says what an instruction set provides.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace khmer_fast {
namespace {

constexpr int W = 16;
typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef uint16_t U16 __attribute__((vector_size(32)));
constexpr int kPanelVectors = 3, kManyRows = 3, kRows[] = {0, 12, 12, 8};
constexpr int kRowsToFetch = 8;
constexpr int kSequenceVectors = kPanelVectors;

KHMER_FAST_MATH F fma(F a, F b, F c) { return (F)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }

KHMER_FAST_MATH void keep(F& x) { asm("" : "+v"(x)); }
KHMER_FAST_MATH void keep(I& x) { asm("" : "+v"(x)); }

KHMER_FAST_MATH I dot_shorts(I sum, I a, I b) {
  return (I)_mm512_add_epi32((__m512i)sum, _mm512_madd_epi16((__m512i)a, (__m512i)b));
}

KHMER_FAST_MATH I load_bytes(const uint8_t* p) {
  return (I)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p));
}
KHMER_FAST_MATH void store_bytes(uint8_t* p, I x) {
  const __m512i positive = _mm512_max_epi32((__m512i)x, _mm512_setzero_si512());
  _mm_storeu_si128((__m128i*)p, _mm512_cvtusepi32_epi8(positive));
}

#ifdef KHMER_FAST_VNNI
// sum += the products of four bytes of 0..255 and four of -128..127 in each lane.
KHMER_FAST_MATH I dot_quads(I sum, I a, I b) {
  return (I)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}
#endif

KHMER_FAST_MATH F max_vector(F a, F b) { return (F)_mm512_max_ps((__m512)a, (__m512)b); }
KHMER_FAST_MATH F min_vector(F a, F b) { return (F)_mm512_min_ps((__m512)a, (__m512)b); }

KHMER_FAST_MATH F scale(F x, F n) { return (F)_mm512_scalef_ps((__m512)x, (__m512)n); }

KHMER_FAST_MATH unsigned mask_greater(F a, F b) {
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
}

KHMER_FAST_MATH float sum_lanes(F x) { return _mm512_reduce_add_ps((__m512)x); }
KHMER_FAST_MATH float max_lanes(F x) { return _mm512_reduce_max_ps((__m512)x); }
KHMER_FAST_MATH int32_t max_lanes(I x) { return _mm512_reduce_max_epi32((__m512i)x); }

// An estimate of 14 bits and a Newton step each.
KHMER_FAST_MATH void reciprocals(F a, F b, F& x, F& y) {
  const F p = (F)_mm512_rcp14_ps((__m512)a), q = (F)_mm512_rcp14_ps((__m512)b);
  x = fma(p, fma(-a, p, F{} + 1.0f), p);
  y = fma(q, fma(-b, q, F{} + 1.0f), q);
}

}  // namespace
}  // namespace khmer_fast
