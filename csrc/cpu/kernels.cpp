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
  const std::string name = cap ? cap : "avx512";
  if (name != "avx512" && name != "avx2" && name != "baseline")
    throw std::invalid_argument("KHMER_FAST_ISA must be avx512, avx2 or baseline, got " + name);
  if (name == "avx512" && kKernelsAvx512 && runs_avx512()) return *kKernelsAvx512;
  if (name != "baseline" && kKernelsAvx2 && runs_avx2()) return *kKernelsAvx2;
  return *kKernelsBaseline;
}

}  // namespace khmer_fast
