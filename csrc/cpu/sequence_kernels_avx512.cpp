#if defined(__x86_64__)

#include <immintrin.h>

#include <cstdint>


#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#endif

#include "sequence_math.h"

// GCC 105593: its own header reads an undefined register on purpose
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

namespace khmer_fast {
namespace {

struct Lanes {
  using scalar = float;
  typedef float V __attribute__((vector_size(64)));
  typedef int32_t I __attribute__((vector_size(64)));
  static constexpr int64_t LANES = 16;
  static constexpr int ROWS = 8, PANEL = 3;

  static KF_INLINE V fma(V a, V b, V c) {
    return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  }
  static KF_INLINE V exp(V x) { return exp_float<Lanes>(x); }
  static KF_INLINE V tanh(V x) { return tanh_float<Lanes>(x); }
  static KF_INLINE float sum(V x) {
    return _mm512_reduce_add_ps((__m512)x);
  }
  static KF_INLINE float largest(V x) {
    return _mm512_reduce_max_ps((__m512)x);
  }
  // 1/a and 1/b, both finite: an estimate of 14 bits and a Newton step each
  static KF_INLINE void reciprocal(V a, V b, V& x, V& y) {
    const V p = (V)_mm512_rcp14_ps((__m512)a), q = (V)_mm512_rcp14_ps((__m512)b);
    x = fma(p, fma(-a, p, V{} + 1.f), p);
    y = fma(q, fma(-b, q, V{} + 1.f), q);
  }
};

}  // namespace
}  // namespace khmer_fast

#include "attn_gru_sequence_kernel.h"
#include "gru_sequence_kernel.h"
#include "sequence_table.h"

namespace khmer_fast {
const SequenceKernels<float> sequence_kernels_avx512 = sequence_table<Lanes>();
}

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // __x86_64__
