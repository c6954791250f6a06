// Kernels for any processor with vectors of four floats: SSE2, NEON, or what the compiler makes of it.
#include "cpu/kernels.h"
#include "dims.h"

namespace khmer_fast {
namespace {

constexpr int W = 4;
typedef float F __attribute__((vector_size(16)));
typedef int32_t I __attribute__((vector_size(16)));
typedef uint16_t U16 __attribute__((vector_size(8)));
constexpr int kPanelVectors = 4, kTileRows = 2, kNarrowVectors = 4;

inline __attribute__((always_inline)) F fma(F a, F b, F c) {
#ifdef __FP_FAST_FMAF
  F result;
  for (int i = 0; i < W; ++i) result[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return result;
#else
  return a * b + c;
#endif
}

inline __attribute__((always_inline)) void keep(F&) {}

inline __attribute__((always_inline)) unsigned mask_greater(F a, F b) {
  unsigned mask = 0;
  for (int i = 0; i < W; ++i) mask |= static_cast<unsigned>(a[i] > b[i]) << i;
  return mask;
}

#include "cpu/kernels_body.h"

constexpr Kernels kKernels = make_kernels("baseline");

}  // namespace

const Kernels* const kKernelsBaseline = &kKernels;

}  // namespace khmer_fast
