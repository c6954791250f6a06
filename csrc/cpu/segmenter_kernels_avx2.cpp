// The segmenter's kernels for AVX2 with FMA.
#include "cpu/segmenter_kernels.h"
#include "dims.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

#pragma GCC target("avx2,fma")

namespace khmer_fast {
namespace {

constexpr int W = 8;
typedef float F __attribute__((vector_size(32)));
constexpr int kRows4 = 3, kRows2 = 6, kRows1 = 12;

inline __attribute__((always_inline)) F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
inline __attribute__((always_inline)) void keep(F&) {}  // too few registers

#include "cpu/segmenter_kernels_body.h"

constexpr SegmenterKernels kKernels = make_segmenter_kernels("avx2");

}  // namespace

const SegmenterKernels* const kSegmenterKernelsAvx2 = &kKernels;

}  // namespace khmer_fast
#else
namespace khmer_fast {
const SegmenterKernels* const kSegmenterKernelsAvx2 = nullptr;
}
#endif
