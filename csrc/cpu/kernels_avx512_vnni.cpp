// Kernels of whole numbers for AVX-512 with VNNI; the others are those of kernels_avx512.cpp.
#include "cpu/kernels.h"
#include "dims.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(                                                          \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512vnni"))), \
    apply_to = function)
#pragma clang diagnostic ignored "-Wunused-function"
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,avx512vnni")
#pragma GCC diagnostic ignored "-Wunused-function"
// GCC's own headers read undefined registers on purpose (its bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define KHMER_FAST_VNNI
// clang-format off
#include "cpu/isa/avx512.h"
#include "cpu/isa/lanes.h"
#include "cpu/int8_loops.h"
// clang-format on

namespace khmer_fast {
const Int8Kernels* const kInt8KernelsAvx512Vnni = &kInt8Kernels;
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
namespace khmer_fast {
const Int8Kernels* const kInt8KernelsAvx512Vnni = nullptr;
}
#endif
