// Checks of the decoder's call, shared by the devices.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>

#include "check.h"
#include "dims.h"

namespace khmer_fast {

// A line's answer is never longer than this, or than its memory has positions: more can only be a
// mistake, which would run for hours.
constexpr int64_t kMostSteps = 65536;
constexpr int64_t kMostBeam = 1024;

inline void check_numbers(const char* name, const at::Tensor& x, int64_t B, const char* what,
                          int64_t most) {
  check_shape(name, x, "[B]", {B});
  check_dtype(name, x, at::kLong);
  if (B == 0) return;
  const int64_t smallest = x.min().item<int64_t>(), largest = x.max().item<int64_t>();
  TORCH_CHECK_VALUE(smallest >= 0, name, " must be at least 0, got ", smallest);
  TORCH_CHECK_VALUE(largest <= most, name, " must be at most ", what, most, ", got ", largest);
}

inline void check_length(const at::Tensor& length, int64_t B, int64_t T) {
  check_numbers("length", length, B, "T = ", T);
}

inline void check_beam_search(const Dims& dims, const at::Tensor& memory, const at::Tensor& length,
                              int64_t beam, int64_t n_best, double alpha,
                              const std::optional<at::Tensor>& step_limit,
                              const std::optional<at::Tensor>& force_length, int64_t threads) {
  check_rank("memory", memory, "[B, T, E]", 3);
  check_shape("memory", memory, "[B, T, E]", {memory.size(0), memory.size(1), dims.E});
  check_dtype("memory", memory, at::kFloat);
  check_length(length, memory.size(0), memory.size(1));
  TORCH_CHECK_VALUE(beam >= 1, "beam must be at least 1, got ", beam);
  TORCH_CHECK_VALUE(beam <= kMostBeam, "beam must be at most ", kMostBeam, ", got ", beam);
  TORCH_CHECK_VALUE(1 <= n_best && n_best <= beam, "n_best must lie in [1, beam] = [1, ", beam,
                    "], got ", n_best);
  TORCH_CHECK_VALUE(alpha >= 0 && std::isfinite(alpha), "alpha must be finite and at least 0, got ",
                    alpha);
  TORCH_CHECK_VALUE(threads >= 1, "threads must be at least 1, got ", threads);
  const int64_t most = std::max(kMostSteps, memory.size(1) + 8);  // what step_limit is by default
  if (step_limit) check_numbers("step_limit", *step_limit, memory.size(0), "", most);
  if (force_length) check_numbers("force_length", *force_length, memory.size(0), "", most);
}

}  // namespace khmer_fast
