// The segmenter's kernels for any processor with vectors of four floats.
#include "cpu/segmenter_kernels.h"
#include "dims.h"

namespace khmer_fast {
namespace {

constexpr int W = 4;
typedef float F __attribute__((vector_size(16)));
constexpr int kRows4 = 2, kRows2 = 4, kRows1 = 8;

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

#include "cpu/segmenter_kernels_body.h"

constexpr SegmenterKernels kKernels = make_segmenter_kernels("baseline");

}  // namespace

const SegmenterKernels* const kSegmenterKernelsBaseline = &kKernels;

}  // namespace khmer_fast
