#if defined(__x86_64__)

#include <immintrin.h>

#include <cstdint>


#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include "sequence_math.h"

namespace khmer_fast {
namespace {

struct Lanes {
  using scalar = float;
  typedef float V __attribute__((vector_size(32)));
  typedef int32_t I __attribute__((vector_size(32)));
  static constexpr int64_t LANES = 8;
  static constexpr int ROWS = 6, PANEL = 2;

  static KF_INLINE V fma(V a, V b, V c) {
    return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  }
  static KF_INLINE V exp(V x) { return exp_float<Lanes>(x); }
  static KF_INLINE V tanh(V x) { return tanh_float<Lanes>(x); }
  static KF_INLINE float sum(V x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
  }
  static KF_INLINE float largest(V x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
  }
  // 1/a and 1/b, a * b finite: one division
  static KF_INLINE void reciprocal(V a, V b, V& x, V& y) {
    const V both = 1.f / (a * b);
    x = b * both;
    y = a * both;
  }
};

}  // namespace
}  // namespace khmer_fast

#include "attn_gru_sequence_kernel.h"
#include "gru_sequence_kernel.h"
#include "sequence_table.h"

namespace khmer_fast {
const SequenceKernels<float> sequence_kernels_avx2 = sequence_table<Lanes>();
}

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // __x86_64__
