// Kernels for AVX-512 with BF16: those of kernels_avx512.cpp, and products of bfloat16 pairs.
#include "cpu/kernels.h"
#include "dims.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512bf16,avx512vnni"))), \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512bf16,avx512vnni")
// GCC's own headers read undefined registers on purpose (its bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

// clang-format off
#include "cpu/isa/avx512_bf16.h"
#include "cpu/isa/lanes.h"
#include "cpu/kernel_table.h"
// clang-format on

namespace khmer_fast {
namespace {
constexpr Kernels kKernels = make_kernels("avx512_bf16");
}
const Kernels* const kKernelsAvx512Bf16 = &kKernels;
}  // namespace khmer_fast

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
namespace khmer_fast {
const Kernels* const kKernelsAvx512Bf16 = nullptr;
}
#endif
