// Kernels for AVX2 with FMA.
#include "cpu/kernels.h"
#include "dims.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

#pragma GCC target("avx2,fma")

namespace khmer_fast {
namespace {

constexpr int W = 8;
typedef float F __attribute__((vector_size(32)));
typedef int32_t I __attribute__((vector_size(32)));
typedef uint16_t U16 __attribute__((vector_size(16)));
constexpr int kPanelVectors = 4, kTileRows = 3, kNarrowVectors = 2;

inline __attribute__((always_inline)) F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
inline __attribute__((always_inline)) void keep(F&) {}  // too few registers
inline __attribute__((always_inline)) unsigned mask_greater(F a, F b) {
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
}

#include "cpu/kernels_body.h"

constexpr Kernels kKernels = make_kernels("avx2");

}  // namespace

const Kernels* const kKernelsAvx2 = &kKernels;

}  // namespace khmer_fast
#else
namespace khmer_fast {
const Kernels* const kKernelsAvx2 = nullptr;
}
#endif
