// Kernels for AVX-512 with BF16: those of kernels_avx512.cpp, and products of bfloat16 pairs.
#include "cpu/kernels.h"
#include "dims.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")

namespace khmer_fast {
namespace {

constexpr int W = 16;
typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef uint16_t U16 __attribute__((vector_size(32)));
constexpr int kPanelVectors = 4, kTileRows = 6, kNarrowVectors = 4;

inline __attribute__((always_inline)) F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline __attribute__((always_inline)) void keep(F& x) { asm("" : "+v"(x)); }
inline __attribute__((always_inline)) void keep(I& x) { asm("" : "+v"(x)); }
inline __attribute__((always_inline)) F dot_pairs(F sum, I a, I b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
inline __attribute__((always_inline)) unsigned mask_greater(F a, F b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

#define KHMER_FAST_BF16_PAIRS
#include "cpu/kernels_body.h"

constexpr Kernels kKernels = make_kernels("avx512_bf16");

}  // namespace

const Kernels* const kKernelsAvx512Bf16 = &kKernels;

}  // namespace khmer_fast
#else
namespace khmer_fast {
const Kernels* const kKernelsAvx512Bf16 = nullptr;
}
#endif
