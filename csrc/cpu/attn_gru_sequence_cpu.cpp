// attn_gru_sequence on a CPU: checks, allocation, lines dealt to threads, and the weight gradients,
// which are one product each over all steps. The loops over steps: attn_gru_sequence_loops.h.
#include "attn_gru_sequence.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "gate_order.h"
#include "cpu/sequence_run.h"

namespace khmer_fast {
namespace {

using at::Tensor;

CpuSequenceDims cpu_dims(const SequenceDims& d) { return {d.B, d.S, d.T, d.A, d.E, d.H}; }

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> attn_gru_sequence_cpu(
    const Tensor& memory, const Tensor& key, const Tensor& length, const Tensor& h_0,
    const Tensor& gate_input, const Tensor& target_length, const Tensor& W_q, const Tensor& v,
    const Tensor& W_ic, const Tensor& W_hh, const Tensor& b_hh) {
  const NoAutocast no_autocast(c10::DispatchKey::AutocastCPU);
  const SequenceDims d = check_attn_gru_sequence(memory, key, length, h_0, gate_input,
                                                 target_length, W_q, v, W_ic, W_hh, b_hh);
  const Tensor memory_ = plain(memory), key_ = plain(key);
  const Tensor length_ = plain(length), target_length_ = plain(target_length);
  const Tensor h_0_ = plain(h_0), gate_input_ = plain(gate_input);
  const Tensor v_ = plain(v), b_hh_ = plain(b_hh);
  check_range("length", length_, 1, d.T);
  check_range("target_length", target_length_, 0, d.S);

  const auto options = memory.options();
  Tensor state = at::empty({d.B, d.S, d.H}, options);
  Tensor context = at::empty({d.B, d.S, d.E}, options);
  Tensor weight = at::empty({d.B, d.S, d.T}, options);
  Tensor gates = at::empty({d.B, d.S, 4 * d.H}, options);
  Tensor q = at::empty({d.B, d.S, d.A}, options);
  AT_DISPATCH_FLOATING_TYPES(memory.scalar_type(), "attn_gru_sequence_cpu", [&] {
    const Tensor W_state = packed<scalar_t>(at::cat({W_q, W_hh}));
    const Tensor W_ic_ = packed<scalar_t>(plain(W_ic));
    const SequenceForward<scalar_t> p{
        cpu_dims(d),
        memory_.const_data_ptr<scalar_t>(),
        key_.const_data_ptr<scalar_t>(),
        length_.const_data_ptr<int64_t>(),
        h_0_.const_data_ptr<scalar_t>(),
        gate_input_.const_data_ptr<scalar_t>(),
        target_length_.const_data_ptr<int64_t>(),
        W_state.const_data_ptr<scalar_t>(),
        W_ic_.const_data_ptr<scalar_t>(),
        v_.const_data_ptr<scalar_t>(),
        b_hh_.const_data_ptr<scalar_t>(),
        state.mutable_data_ptr<scalar_t>(),
        context.mutable_data_ptr<scalar_t>(),
        weight.mutable_data_ptr<scalar_t>(),
        gates.mutable_data_ptr<scalar_t>(),
        q.mutable_data_ptr<scalar_t>(),
    };
    const auto& kernels = select_sequence_kernels<scalar_t>();
    for_each_group<scalar_t>(
        target_length_, 1, [&](int64_t count) { return kernels.sequence_workspace(p.dims, count); },
        [&](int64_t, const int64_t* line, int64_t count, scalar_t* space) {
          kernels.sequence_forward(p, line, count, space);
        });
  });
  return {state, context, weight, gates, q};
}

template <typename scalar_t>
const scalar_t* pointer_or_null(const std::optional<Tensor>& x) {
  return x ? x->const_data_ptr<scalar_t>() : nullptr;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>
attn_gru_sequence_backward_cpu(const std::optional<Tensor>& d_state,
                               const std::optional<Tensor>& d_context,
                               const std::optional<Tensor>& d_weight, const Tensor& memory,
                               const Tensor& key, const Tensor& length, const Tensor& h_0,
                               const Tensor& target_length, const Tensor& W_q, const Tensor& v,
                               const Tensor& W_ic, const Tensor& W_hh, const Tensor& state,
                               const Tensor& context, const Tensor& weight, const Tensor& gates,
                               const Tensor& q) {
  const NoAutocast no_autocast(c10::DispatchKey::AutocastCPU);
  const SequenceDims d = check_attn_gru_sequence_backward(d_state, d_context, d_weight, memory, key,
                                                          length, h_0, target_length, W_q, v, W_ic,
                                                          W_hh, state, context, weight, gates, q);
  const int64_t A = d.A, H = d.H;
  const auto d_state_ = plain(d_state), d_context_ = plain(d_context);
  const auto d_weight_ = plain(d_weight);
  const Tensor memory_ = plain(memory), key_ = plain(key);
  const Tensor length_ = plain(length), target_length_ = plain(target_length);
  const Tensor h_0_ = plain(h_0), v_ = plain(v);
  const Tensor state_ = plain(state), context_ = plain(context);
  const Tensor weight_ = plain(weight), gates_ = plain(gates), q_ = plain(q);
  check_range("length", length_, 1, d.T);
  check_range("target_length", target_length_, 0, d.S);

  const auto [offset, rows] = offsets(target_length_);

  const auto options = memory.options();
  Tensor d_memory = at::empty({d.B, d.T, d.E}, options);
  Tensor d_key = at::empty({d.B, d.T, A}, options);
  Tensor d_h_0 = at::empty({d.B, H}, options);
  Tensor d_gate_input = at::empty({d.B, d.S, 3 * H}, options);
  Tensor d_v_line = at::empty({d.B, A}, options);
  Tensor d_product = at::empty({rows, A + 4 * H}, options);
  Tensor h_row = at::empty({rows, H}, options);
  Tensor context_row = at::empty({rows, d.E}, options);
  Tensor d_W_state, d_W_ic;
  AT_DISPATCH_FLOATING_TYPES(memory.scalar_type(), "attn_gru_sequence_backward_cpu", [&] {
    const auto& kernels = select_sequence_kernels<scalar_t>();
    Tensor d_context_row = at::empty({rows, padded(d.E)}, options);
    Tensor d_energy_row = at::empty({rows, padded(d.T)}, options);
    const Tensor W_state = packed_transpose<scalar_t>(at::cat({W_q, n_first(W_hh)}));
    const Tensor W_ic_ = packed_transpose<scalar_t>(plain(W_ic));
    const SequenceBackward<scalar_t> p{
        cpu_dims(d),
        memory_.const_data_ptr<scalar_t>(),
        key_.const_data_ptr<scalar_t>(),
        length_.const_data_ptr<int64_t>(),
        h_0_.const_data_ptr<scalar_t>(),
        target_length_.const_data_ptr<int64_t>(),
        offset.data(),
        W_state.const_data_ptr<scalar_t>(),
        W_ic_.const_data_ptr<scalar_t>(),
        v_.const_data_ptr<scalar_t>(),
        state_.const_data_ptr<scalar_t>(),
        context_.const_data_ptr<scalar_t>(),
        weight_.const_data_ptr<scalar_t>(),
        gates_.const_data_ptr<scalar_t>(),
        q_.const_data_ptr<scalar_t>(),
        pointer_or_null<scalar_t>(d_state_),
        pointer_or_null<scalar_t>(d_context_),
        pointer_or_null<scalar_t>(d_weight_),
        d_memory.mutable_data_ptr<scalar_t>(),
        d_key.mutable_data_ptr<scalar_t>(),
        d_h_0.mutable_data_ptr<scalar_t>(),
        d_gate_input.mutable_data_ptr<scalar_t>(),
        d_v_line.mutable_data_ptr<scalar_t>(),
        d_product.mutable_data_ptr<scalar_t>(),
        h_row.mutable_data_ptr<scalar_t>(),
        context_row.mutable_data_ptr<scalar_t>(),
        d_context_row.mutable_data_ptr<scalar_t>(),
        d_energy_row.mutable_data_ptr<scalar_t>(),
    };
    for_each_group<scalar_t>(
        target_length_, 1, [&](int64_t count) { return kernels.sequence_workspace(p.dims, count); },
        [&](int64_t, const int64_t* line, int64_t count, scalar_t* space) {
          kernels.sequence_backward(p, line, count, space);
        });
    // columns of d_product: q, the hidden n, r, z, the input n
    d_W_state = weight_gradient<scalar_t>(d_product.narrow(1, 0, A + 3 * H), h_row);
    d_W_ic = weight_gradient<scalar_t>(d_product.narrow(1, A + H, 3 * H), context_row);
  });

  const Tensor d_bias = d_product.narrow(1, A, 3 * H).sum(0);
  return {d_memory,
          d_key,
          d_h_0,
          d_gate_input,
          d_W_state.narrow(0, 0, A).clone(),
          d_v_line.sum(0),
          d_W_ic,
          n_last(d_W_state.narrow(0, A, 3 * H)),
          n_last(d_bias)};
}

}  // namespace

TORCH_LIBRARY_IMPL(khmer_fast, CPU, m) {
  m.impl("attn_gru_sequence", attn_gru_sequence_cpu);
  m.impl("attn_gru_sequence_backward", attn_gru_sequence_backward_cpu);
}

}  // namespace khmer_fast
