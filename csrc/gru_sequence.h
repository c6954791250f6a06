// gru_sequence: both directions of torch's GRU over lines of different length, without the input
// product, which comes in as gate_input. Checks and shapes, shared by the devices.
#pragma once

#include "check.h"

namespace khmer_fast {

struct GruDims {
  int64_t B, T, H;
};

inline GruDims check_gru_sequence(const at::Tensor& gate_input, const at::Tensor& length,
                                  const at::Tensor& W_hh, const at::Tensor& b_hh) {
  TORCH_CHECK_TYPE(
      gate_input.scalar_type() == at::kFloat || gate_input.scalar_type() == at::kDouble,
      "gate_input must have dtype Float or Double, got ", at::toString(gate_input.scalar_type()));
  check_rank("gate_input", gate_input, "[B, T, 6H]", 3);
  check_rank("W_hh", W_hh, "[6H, H]", 2);
  const GruDims d{gate_input.size(0), gate_input.size(1), W_hh.size(1)};
  check_shape("gate_input", gate_input, "[B, T, 6H]", {d.B, d.T, 6 * d.H});
  check_device("length", length, gate_input.device());
  check_dtype("length", length, at::kLong);
  check_shape("length", length, "[B]", {d.B});
  for (const auto& [name, x] : {std::pair("W_hh", W_hh), std::pair("b_hh", b_hh)}) {
    check_device(name, x, gate_input.device());
    check_dtype(name, x, gate_input.scalar_type());
  }
  check_shape("W_hh", W_hh, "[6H, H]", {6 * d.H, d.H});
  check_shape("b_hh", b_hh, "[6H]", {6 * d.H});
  return d;
}

}  // namespace khmer_fast
