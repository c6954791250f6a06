#include "cpu/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace khmer_fast {
namespace {

bool runs_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

bool runs_avx512_bf16() {
#if defined(__x86_64__)
  return runs_avx512() && __builtin_cpu_supports("avx512bf16") &&
         __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

bool runs_avx512_vnni() {
#if defined(__x86_64__)
  return runs_avx512() && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

bool runs_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

bool runs_avx2_vnni() {
#if defined(__x86_64__)
  // Not every compiler's __builtin_cpu_supports knows it: leaf 7.1, EAX, bit 4.
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return runs_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
#else
  return false;
#endif
}

Kernels with_int8(const Kernels& others, const char* name, const Int8Kernels& int8) {
  Kernels kernels = others;
  kernels.name = name;
  kernels.int8 = &int8;
  return kernels;
}

}  // namespace

const Kernels& select_kernels() {
  const char* cap = std::getenv("KHMER_FAST_ISA");
  const std::string name = cap ? cap : "avx512_bf16";
  const char* const names[] = {"baseline", "avx2",        "avx2_vnni",
                               "avx512",   "avx512_vnni", "avx512_bf16"};
  int level = 0;
  while (level < 6 && name != names[level]) ++level;
  if (level == 6)
    throw std::invalid_argument(
        "KHMER_FAST_ISA must be baseline, avx2, avx2_vnni, avx512, avx512_vnni or avx512_bf16, "
        "got " +
        name);
  if (level >= 5 && kKernelsAvx512Bf16 && runs_avx512_bf16()) return *kKernelsAvx512Bf16;
  if (level >= 4 && kInt8KernelsAvx512Vnni && runs_avx512_vnni()) {
    static const Kernels kernels =
        with_int8(*kKernelsAvx512, "avx512_vnni", *kInt8KernelsAvx512Vnni);
    return kernels;
  }
  if (level >= 3 && kKernelsAvx512 && runs_avx512()) return *kKernelsAvx512;
  if (level >= 2 && kInt8KernelsAvx2Vnni && runs_avx2_vnni()) {
    static const Kernels kernels = with_int8(*kKernelsAvx2, "avx2_vnni", *kInt8KernelsAvx2Vnni);
    return kernels;
  }
  if (level >= 1 && kKernelsAvx2 && runs_avx2()) return *kKernelsAvx2;
  return *kKernelsBaseline;
}

template <>
const SequenceKernels<float>& select_sequence_kernels<float>() {
  return *select_kernels().sequence;
}

template <>
const SequenceKernels<double>& select_sequence_kernels<double>() {
  return kSequenceKernelsDouble;
}

}  // namespace khmer_fast
