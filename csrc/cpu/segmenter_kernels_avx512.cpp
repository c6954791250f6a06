// The segmenter's kernels for AVX-512 (F, BW, DQ, VL).
#include "cpu/segmenter_kernels.h"
#include "dims.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")

namespace khmer_fast {
namespace {

constexpr int W = 16;
typedef float F __attribute__((vector_size(64)));
constexpr int kRows4 = 6, kRows2 = 12, kRows1 = 14;

inline __attribute__((always_inline)) F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline __attribute__((always_inline)) void keep(F& x) { asm("" : "+v"(x)); }

#include "cpu/segmenter_kernels_body.h"

constexpr SegmenterKernels kKernels = make_segmenter_kernels("avx512");

}  // namespace

const SegmenterKernels* const kSegmenterKernelsAvx512 = &kKernels;

}  // namespace khmer_fast
#else
namespace khmer_fast {
const SegmenterKernels* const kSegmenterKernelsAvx512 = nullptr;
}
#endif
