#include "cpu/kernels.h"

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
  return runs_avx512() && __builtin_cpu_supports("avx512bf16");
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

}  // namespace

const Kernels& select_kernels() {
  const char* cap = std::getenv("KHMER_FAST_ISA");
  const std::string name = cap ? cap : "avx512_bf16";
  int level = 0;
  const char* const names[] = {"baseline", "avx2", "avx512", "avx512_bf16"};
  while (level < 4 && name != names[level]) ++level;
  if (level == 4)
    throw std::invalid_argument(
        "KHMER_FAST_ISA must be baseline, avx2, avx512 or avx512_bf16, got " + name);
  if (level >= 3 && kKernelsAvx512Bf16 && runs_avx512_bf16()) return *kKernelsAvx512Bf16;
  if (level >= 2 && kKernelsAvx512 && runs_avx512()) return *kKernelsAvx512;
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
