// Vectors of AVX2 with FMA; lanes.h says what an instruction set provides.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace khmer_fast {
namespace {

constexpr int W = 8;
typedef float F __attribute__((vector_size(32)));
typedef int32_t I __attribute__((vector_size(32)));
typedef uint16_t U16 __attribute__((vector_size(16)));
constexpr int kPanelVectors = 4, kManyRows = 2, kRows[] = {0, 8, 6, 4, 3};
constexpr int kRowsToFetch = 4;
constexpr int kSequenceVectors =
    3;  // tiles of 4 x 3 for eight lines that go through the steps together

KHMER_FAST_MATH F fma(F a, F b, F c) { return (F)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }

KHMER_FAST_MATH void keep(F&) {}  // too few registers
KHMER_FAST_MATH void keep(I&) {}

KHMER_FAST_MATH I dot_shorts(I sum, I a, I b) {
  return (I)_mm256_add_epi32((__m256i)sum, _mm256_madd_epi16((__m256i)a, (__m256i)b));
}

KHMER_FAST_MATH I load_bytes(const uint8_t* p) {
  return (I)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
}
KHMER_FAST_MATH void store_bytes(uint8_t* p, I x) {
  const __m256i shorts = _mm256_packs_epi32((__m256i)x, (__m256i)x);
  const __m256i bytes = _mm256_packus_epi16(shorts, shorts);  // four in each half
  const __m128i both =
      _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  _mm_storel_epi64((__m128i*)p, both);
}

#ifdef KHMER_FAST_VNNI
// sum += the products of four bytes of 0..255 and four of -128..127 in each lane.
KHMER_FAST_MATH I dot_quads(I sum, I a, I b) {
  return (I)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
}
#endif

KHMER_FAST_MATH F max_vector(F a, F b) { return (F)_mm256_max_ps((__m256)a, (__m256)b); }
KHMER_FAST_MATH F min_vector(F a, F b) { return (F)_mm256_min_ps((__m256)a, (__m256)b); }

KHMER_FAST_MATH unsigned mask_greater(F a, F b) {
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ)));
}

KHMER_FAST_MATH float sum_lanes(F x) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

}  // namespace
}  // namespace khmer_fast
