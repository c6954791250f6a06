// Kernels for AVX2 with FMA.
#include "cpu/kernels.h"
#include "dims.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
// GCC's own headers read undefined registers on purpose (its bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

// clang-format off
#include "cpu/isa/avx2.h"
#include "cpu/isa/lanes.h"
#include "cpu/kernel_table.h"
// clang-format on

namespace khmer_fast {
namespace {
constexpr Kernels kKernels = make_kernels("avx2");
}
const Kernels* const kKernelsAvx2 = &kKernels;
}  // namespace khmer_fast

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
namespace khmer_fast {
const Kernels* const kKernelsAvx2 = nullptr;
}
#endif
