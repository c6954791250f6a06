// attn_gru_sequence: the decoder over a given target sequence (python_ref/attn_gru_sequence.py),
// without what needs no state: the embedding's part of the gates comes in as gate_input, and
// projection and log_softmax follow outside. Checks and shapes, shared by the devices.
#pragma once

#include <optional>

#include "check.h"

namespace khmer_fast {

struct SequenceDims {
  int64_t B, S, T, A, E, H;
};

inline void check_sequence_tensor(const char* name, const at::Tensor& x, const at::Tensor& like,
                                  const char* letters, std::initializer_list<int64_t> expected) {
  check_device(name, x, like.device());
  check_dtype(name, x, like.scalar_type());
  check_shape(name, x, letters, expected);
}

inline void check_sequence_length(const char* name, const at::Tensor& x, const at::Tensor& like,
                                  int64_t B) {
  check_device(name, x, like.device());
  check_dtype(name, x, at::kLong);
  check_shape(name, x, "[B]", {B});
}

inline SequenceDims check_attn_gru_sequence(const at::Tensor& memory, const at::Tensor& key,
                                            const at::Tensor& length, const at::Tensor& h_0,
                                            const at::Tensor& gate_input,
                                            const at::Tensor& target_length, const at::Tensor& W_q,
                                            const at::Tensor& v, const at::Tensor& W_ic,
                                            const at::Tensor& W_hh, const at::Tensor& b_hh) {
  TORCH_CHECK_TYPE(memory.scalar_type() == at::kFloat || memory.scalar_type() == at::kDouble,
                   "memory must have dtype Float or Double, got ",
                   at::toString(memory.scalar_type()));
  check_rank("memory", memory, "[B, T, E]", 3);
  check_rank("key", key, "[B, T, A]", 3);
  check_rank("h_0", h_0, "[B, H]", 2);
  check_rank("gate_input", gate_input, "[B, S, 3H]", 3);
  const SequenceDims d{memory.size(0), gate_input.size(1), memory.size(1),
                       key.size(2),    memory.size(2),     h_0.size(1)};
  check_sequence_tensor("key", key, memory, "[B, T, A]", {d.B, d.T, d.A});
  check_sequence_length("length", length, memory, d.B);
  check_sequence_tensor("h_0", h_0, memory, "[B, H]", {d.B, d.H});
  check_sequence_tensor("gate_input", gate_input, memory, "[B, S, 3H]", {d.B, d.S, 3 * d.H});
  check_sequence_length("target_length", target_length, memory, d.B);
  check_sequence_tensor("W_q", W_q, memory, "[A, H]", {d.A, d.H});
  check_sequence_tensor("v", v, memory, "[A]", {d.A});
  check_sequence_tensor("W_ic", W_ic, memory, "[3H, E]", {3 * d.H, d.E});
  check_sequence_tensor("W_hh", W_hh, memory, "[3H, H]", {3 * d.H, d.H});
  check_sequence_tensor("b_hh", b_hh, memory, "[3H]", {3 * d.H});
  return d;
}

inline void check_sequence_gradient(const char* name, const std::optional<at::Tensor>& x,
                                    const at::Tensor& like, const char* letters,
                                    std::initializer_list<int64_t> expected) {
  if (x) check_sequence_tensor(name, *x, like, letters, expected);
}

inline SequenceDims check_attn_gru_sequence_backward(
    const std::optional<at::Tensor>& d_state, const std::optional<at::Tensor>& d_context,
    const std::optional<at::Tensor>& d_weight, const at::Tensor& memory, const at::Tensor& key,
    const at::Tensor& length, const at::Tensor& h_0, const at::Tensor& target_length,
    const at::Tensor& W_q, const at::Tensor& v, const at::Tensor& W_ic, const at::Tensor& W_hh,
    const at::Tensor& state, const at::Tensor& context, const at::Tensor& weight,
    const at::Tensor& gates, const at::Tensor& q) {
  check_rank("memory", memory, "[B, T, E]", 3);
  check_rank("key", key, "[B, T, A]", 3);
  check_rank("state", state, "[B, S, H]", 3);
  const SequenceDims d{memory.size(0), state.size(1),  memory.size(1),
                       key.size(2),    memory.size(2), state.size(2)};
  check_sequence_tensor("key", key, memory, "[B, T, A]", {d.B, d.T, d.A});
  check_sequence_length("length", length, memory, d.B);
  check_sequence_tensor("h_0", h_0, memory, "[B, H]", {d.B, d.H});
  check_sequence_length("target_length", target_length, memory, d.B);
  check_sequence_tensor("W_q", W_q, memory, "[A, H]", {d.A, d.H});
  check_sequence_tensor("v", v, memory, "[A]", {d.A});
  check_sequence_tensor("W_ic", W_ic, memory, "[3H, E]", {3 * d.H, d.E});
  check_sequence_tensor("W_hh", W_hh, memory, "[3H, H]", {3 * d.H, d.H});
  check_sequence_tensor("state", state, memory, "[B, S, H]", {d.B, d.S, d.H});
  check_sequence_tensor("context", context, memory, "[B, S, E]", {d.B, d.S, d.E});
  check_sequence_tensor("weight", weight, memory, "[B, S, T]", {d.B, d.S, d.T});
  check_sequence_tensor("gates", gates, memory, "[B, S, 4H]", {d.B, d.S, 4 * d.H});
  check_sequence_tensor("q", q, memory, "[B, S, A]", {d.B, d.S, d.A});
  check_sequence_gradient("d_state", d_state, memory, "[B, S, H]", {d.B, d.S, d.H});
  check_sequence_gradient("d_context", d_context, memory, "[B, S, E]", {d.B, d.S, d.E});
  check_sequence_gradient("d_weight", d_weight, memory, "[B, S, T]", {d.B, d.S, d.T});
  return d;
}

}  // namespace khmer_fast
