// Checks of the decoder's call, shared by the devices.
#pragma once

#include <cmath>
#include <optional>

#include "check.h"
#include "dims.h"

namespace khmer_fast {

inline void check_steps(const char* name, const at::Tensor& x, int64_t B) {
  check_shape(name, x, "[B]", {B});
  check_dtype(name, x, at::kLong);
  if (B == 0) return;
  const int64_t smallest = x.min().item<int64_t>();
  TORCH_CHECK_VALUE(smallest >= 0, name, " must be at least 0, got ", smallest);
}

inline void check_length(const at::Tensor& length, int64_t B, int64_t T) {
  check_steps("length", length, B);
  if (B == 0) return;
  const int64_t largest = length.max().item<int64_t>();
  TORCH_CHECK_VALUE(largest <= T, "length must be at most T = ", T, ", got ", largest);
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
  TORCH_CHECK_VALUE(1 <= n_best && n_best <= beam, "n_best must lie in [1, beam] = [1, ", beam,
                    "], got ", n_best);
  TORCH_CHECK_VALUE(alpha >= 0 && std::isfinite(alpha), "alpha must be finite and at least 0, got ",
                    alpha);
  TORCH_CHECK_VALUE(threads >= 1, "threads must be at least 1, got ", threads);
  if (step_limit) check_steps("step_limit", *step_limit, memory.size(0));
  if (force_length) check_steps("force_length", *force_length, memory.size(0));
}

}  // namespace khmer_fast
