#include "cpu/measure.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <vector>

#include "cpu/kernels.h"

namespace khmer_fast {
namespace {

// Shortest time of a call, over calls that take `seconds` together.
template <class Run>
double best_of(double seconds, const Run& run) {
  using Clock = std::chrono::steady_clock;
  const auto elapsed = [](Clock::time_point since) {
    return std::chrono::duration<double>(Clock::now() - since).count();
  };
  double best = std::numeric_limits<double>::infinity();
  for (const auto begin = Clock::now(); elapsed(begin) < seconds;) {
    const auto start = Clock::now();
    run();
    best = std::min(best, elapsed(start));
  }
  return best;
}

}  // namespace

double peak_flops(double seconds) {
  const Kernels& kernels = select_kernels();
  const int64_t M = 24, N = kernels.panel, K = 96, times = 100;
  const std::vector<float> A(M * K, 1.0f), B(K * N, 1.0f);
  std::vector<float> C(M * N);
  const double best = best_of(seconds, [&] {
    for (int64_t i = 0; i < times; ++i)
      kernels.gemm(M, N, K, A.data(), K, B.data(), nullptr, C.data(), N);
  });
  return 2.0 * M * N * K * times / best;
}

double peak_energies(double seconds) {
  const Kernels& kernels = select_kernels();
  const int64_t A = 512, T = 2 * kernels.panel, times = 20;
  const std::vector<float> P(A * T, 0.9f), Q(A, 1.1f), u(A, 0.01f);
  std::vector<float> energy(T);
  const double best = best_of(seconds, [&] {
    for (int64_t i = 0; i < times; ++i)
      for (int64_t t = 0; t < T; t += kernels.panel)
        kernels.energy(EnergyForm::kPaired, A, kernels.panel, P.data() + t * A, Q.data(), u.data(),
                       energy.data() + t);
  });
  return static_cast<double>(A * T * times) / best;
}

}  // namespace khmer_fast
