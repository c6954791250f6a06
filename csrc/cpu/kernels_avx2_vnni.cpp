// Kernels of whole numbers for AVX2 with VNNI (AVX-VNNI); the others are those of kernels_avx2.cpp.
#include "cpu/kernels.h"
#include "dims.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avxvnni"))), apply_to = function)
#pragma clang diagnostic ignored "-Wunused-function"
#else
#pragma GCC target("avx2,fma,avxvnni")
#pragma GCC diagnostic ignored "-Wunused-function"
// GCC's own headers read undefined registers on purpose (its bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define KHMER_FAST_VNNI
// clang-format off
#include "cpu/isa/avx2.h"
#include "cpu/isa/lanes.h"
#include "cpu/int8_loops.h"
// clang-format on

namespace khmer_fast {
const Int8Kernels* const kInt8KernelsAvx2Vnni = &kInt8Kernels;
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
namespace khmer_fast {
const Int8Kernels* const kInt8KernelsAvx2Vnni = nullptr;
}
#endif
