// attn_gru_sequence on a GPU for torch: checks, memory from torch's allocator, the caller's stream,
// and what needs no order of steps, one product each. A call can be captured in a CUDA graph.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>

#include "attn_gru_sequence.h"
#include "cuda/attn_gru_sequence_cuda.h"
#include "cuda/check_cuda.h"
#include "gate_order.h"

namespace khmer_fast {
namespace {

using at::Tensor;
using NoAutocast = c10::impl::ExcludeDispatchKeyGuard;  // products keep the dtype of their inputs

void check_sizes(const SequenceDims& d, at::ScalarType type) {
  int64_t bytes = 0;
  check_cuda(longest_sequence_cuda(&bytes), "asking for the shared memory");
  const int64_t longest = bytes / static_cast<int64_t>(c10::elementSize(type));
  TORCH_CHECK_VALUE(d.T <= longest && d.A <= longest, "memory must have at most T = ", longest,
                    " positions on this GPU and key as many columns, got T = ", d.T, ", A = ", d.A);
  TORCH_CHECK_VALUE(std::max(d.B * d.S, d.B * d.T) <= std::numeric_limits<int>::max(),
                    "a batch of B = ", d.B, " lines is too large for a GPU: split it");
}

// The host looks once, before the loop; where a CUDA graph is captured it cannot, and wrong lengths
// are taken for the nearest right ones.
Tensor checked_length(const char* name, const Tensor& x, int64_t low, int64_t high) {  // [B]
  if (c10::cuda::currentStreamCaptureStatusMayInitCtx() == c10::cuda::CaptureStatus::None)
    check_range(name, x.cpu().contiguous(), low, high);
  return x.clamp(low, high).contiguous();
}

// What both directions read, and the tensors that hold it.
struct Lines {
  Tensor memory, key, P, max_p, length, target_length, line, h_0, v;
  Tensor outside;  // [B, T, 1] bool, positions at or after the length

  Lines(const Tensor& memory, const Tensor& key, const Tensor& length, const Tensor& target_length,
        const Tensor& h_0, const Tensor& v)
      : memory(plain(memory)), key(plain(key)), P(at::exp(2 * this->key)), length(length),
        target_length(target_length),
        line(at::argsort(target_length, /*stable=*/true, /*dim=*/0, /*descending=*/true)),
        h_0(plain(h_0)), v(plain(v)),
        outside(at::arange(key.size(1), length.options()).ge(length.unsqueeze(1)).unsqueeze(2)) {
    max_p = this->key.masked_fill(outside, 0).abs().amax({1, 2});  // NaN stays
  }

  template <class scalar_t>
  CudaSequence<scalar_t> pointers(const SequenceDims& d) const {
    const auto narrow = [](int64_t x) { return static_cast<int>(x); };
    return {narrow(d.B),
            narrow(d.S),
            narrow(d.T),
            narrow(d.A),
            narrow(d.E),
            narrow(d.H),
            memory.const_data_ptr<scalar_t>(),
            key.const_data_ptr<scalar_t>(),
            P.const_data_ptr<scalar_t>(),
            max_p.const_data_ptr<scalar_t>(),
            length.const_data_ptr<int64_t>(),
            target_length.const_data_ptr<int64_t>(),
            line.const_data_ptr<int64_t>(),
            h_0.const_data_ptr<scalar_t>(),
            v.const_data_ptr<scalar_t>()};
  }
};

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> attn_gru_sequence_torch(
    const Tensor& memory, const Tensor& key, const Tensor& length, const Tensor& h_0,
    const Tensor& gate_input, const Tensor& target_length, const Tensor& W_q, const Tensor& v,
    const Tensor& W_ic, const Tensor& W_hh, const Tensor& b_hh) {
  const NoAutocast no_autocast(c10::autocast_dispatch_keyset);
  const c10::cuda::CUDAGuard guard(memory.device());
  const SequenceDims d = check_attn_gru_sequence(memory, key, length, h_0, gate_input,
                                                 target_length, W_q, v, W_ic, W_hh, b_hh);
  check_sizes(d, memory.scalar_type());
  const Tensor length_ = checked_length("length", length, 1, d.T);
  const Tensor target_length_ = checked_length("target_length", target_length, 0, d.S);

  const auto options = memory.options();
  const Tensor state = at::zeros({d.B, d.S, d.H}, options);
  const Tensor context = at::zeros({d.B, d.S, d.E}, options);
  const Tensor weight = at::zeros({d.B, d.S, d.T}, options);
  const Tensor gates = at::zeros({d.B, d.S, 4 * d.H}, options);
  const Tensor q = at::zeros({d.B, d.S, d.A}, options);
  if (d.B == 0 || d.S == 0) return {state, context, weight, gates, q};

  const Lines lines(memory, key, length_, target_length_, h_0, v);
  const Tensor gate_input_ = plain(gate_input), b_hh_ = plain(b_hh);
  const Tensor W_state = at::cat({W_q, W_hh}).t().contiguous();  // [H, A + 3H]
  const Tensor W_ic_ = W_ic.t().contiguous();                    // [E, 3H]
  const Tensor hidden = at::empty({d.B, 3 * d.H}, options);
  const Tensor energy = at::empty({d.B, d.T}, options);
  AT_DISPATCH_FLOATING_TYPES(memory.scalar_type(), "attn_gru_sequence_cuda", [&] {
    const CudaSequenceForward<scalar_t> p{
        lines.pointers<scalar_t>(d),          gate_input_.const_data_ptr<scalar_t>(),
        W_state.const_data_ptr<scalar_t>(),   W_ic_.const_data_ptr<scalar_t>(),
        b_hh_.const_data_ptr<scalar_t>(),     state.mutable_data_ptr<scalar_t>(),
        context.mutable_data_ptr<scalar_t>(), weight.mutable_data_ptr<scalar_t>(),
        gates.mutable_data_ptr<scalar_t>(),   q.mutable_data_ptr<scalar_t>(),
        hidden.mutable_data_ptr<scalar_t>(),  energy.mutable_data_ptr<scalar_t>(),
    };
    check_cuda(attn_gru_sequence_cuda(p, c10::cuda::getCurrentCUDAStream(memory.device().index())),
               "attn_gru_sequence");
  });
  return {state, context, weight, gates, q};
}

template <class scalar_t>
const scalar_t* pointer_or_null(const std::optional<Tensor>& x) {
  return x ? x->const_data_ptr<scalar_t>() : nullptr;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>
attn_gru_sequence_backward_torch(const std::optional<Tensor>& d_state,
                                 const std::optional<Tensor>& d_context,
                                 const std::optional<Tensor>& d_weight, const Tensor& memory,
                                 const Tensor& key, const Tensor& length, const Tensor& h_0,
                                 const Tensor& target_length, const Tensor& W_q, const Tensor& v,
                                 const Tensor& W_ic, const Tensor& W_hh, const Tensor& state,
                                 const Tensor& context, const Tensor& weight, const Tensor& gates,
                                 const Tensor& q) {
  const NoAutocast no_autocast(c10::autocast_dispatch_keyset);
  const c10::cuda::CUDAGuard guard(memory.device());
  const SequenceDims d = check_attn_gru_sequence_backward(d_state, d_context, d_weight, memory, key,
                                                          length, h_0, target_length, W_q, v, W_ic,
                                                          W_hh, state, context, weight, gates, q);
  check_sizes(d, memory.scalar_type());
  const int64_t A = d.A, H = d.H, rows = d.B * d.S;
  const auto options = memory.options();
  if (rows == 0) {
    const auto zeros = [](const Tensor& x) { return at::zeros(x.sizes(), x.options()); };
    return {zeros(memory),
            zeros(key),
            zeros(h_0),
            at::zeros({d.B, d.S, 3 * H}, options),
            zeros(W_q),
            zeros(v),
            zeros(W_ic),
            zeros(W_hh),
            at::zeros({3 * H}, options)};
  }

  // The forward has looked at the lengths.
  const Tensor target_length_ = target_length.clamp(0, d.S).contiguous();
  const Lines lines(memory, key, length.clamp(1, d.T).contiguous(), target_length_, h_0, v);
  const auto d_state_ = plain(d_state), d_context_ = plain(d_context);
  const auto d_weight_ = plain(d_weight);
  const Tensor state_ = plain(state), weight_ = plain(weight);
  const Tensor gates_ = plain(gates), q_ = plain(q);
  const Tensor max_q = q_.abs().amax({1, 2});            // [B], NaN stays
  const Tensor W_state = at::cat({W_q, n_first(W_hh)});  // [A + 3H, H]
  const Tensor W_ic_ = plain(W_ic);
  const Tensor d_h = at::empty({d.B, H}, options);  // in the end d_h_0
  const Tensor d_product = at::zeros({d.B, d.S, A + 4 * H}, options);
  const Tensor d_context_row = at::zeros({d.B, d.S, d.E}, options);
  const Tensor d_weight_row = at::empty({d.B, d.T}, options);
  const Tensor d_energy = at::empty({d.B, d.S, d.T}, options);
  const Tensor d_key = at::empty({d.B, d.T, A}, options);
  const int64_t parts = (d.T + kKeyPositions - 1) / kKeyPositions;
  const Tensor d_v_part = at::empty({d.B, parts, A}, options);
  AT_DISPATCH_FLOATING_TYPES(memory.scalar_type(), "attn_gru_sequence_backward_cuda", [&] {
    const CudaSequenceBackward<scalar_t> p{
        lines.pointers<scalar_t>(d),
        W_state.const_data_ptr<scalar_t>(),
        W_ic_.const_data_ptr<scalar_t>(),
        state_.const_data_ptr<scalar_t>(),
        weight_.const_data_ptr<scalar_t>(),
        gates_.const_data_ptr<scalar_t>(),
        q_.const_data_ptr<scalar_t>(),
        max_q.const_data_ptr<scalar_t>(),
        pointer_or_null<scalar_t>(d_state_),
        pointer_or_null<scalar_t>(d_context_),
        pointer_or_null<scalar_t>(d_weight_),
        d_h.mutable_data_ptr<scalar_t>(),
        d_product.mutable_data_ptr<scalar_t>(),
        d_context_row.mutable_data_ptr<scalar_t>(),
        d_weight_row.mutable_data_ptr<scalar_t>(),
        d_energy.mutable_data_ptr<scalar_t>(),
        d_key.mutable_data_ptr<scalar_t>(),
        d_v_part.mutable_data_ptr<scalar_t>(),
    };
    check_cuda(attn_gru_sequence_backward_cuda(
                   p, c10::cuda::getCurrentCUDAStream(memory.device().index())),
               "attn_gru_sequence_backward");
  });

  // Rows of steps that do not exist are 0 in d_product, and must be finite in what they multiply.
  const Tensor ended =
      at::arange(d.S, length.options()).ge(target_length_.unsqueeze(1)).unsqueeze(2);  // [B, S, 1]
  const Tensor h_row = at::cat({lines.h_0.unsqueeze(1), state_.narrow(1, 0, d.S - 1)}, 1)
                           .masked_fill_(ended, 0)
                           .view({rows, H});
  const Tensor context_row = context.reshape({rows, d.E});
  const Tensor d_row = d_product.view({rows, A + 4 * H});
  const Tensor d_W_state = at::mm(d_row.narrow(1, 0, A + 3 * H).t(), h_row);
  const Tensor d_W_ic = at::mm(d_row.narrow(1, A + H, 3 * H).t(), context_row);
  Tensor d_memory = at::bmm(weight_.transpose(1, 2), d_context_row);
  return {d_memory.masked_fill_(lines.outside, 0),
          d_key,
          d_h,
          d_product.narrow(2, A + H, 3 * H).contiguous(),
          d_W_state.narrow(0, 0, A).clone(),
          d_v_part.sum({0, 1}),
          d_W_ic,
          n_last(d_W_state.narrow(0, A, 3 * H)),
          n_last(d_row.narrow(1, A, 3 * H).sum(0))};
}

}  // namespace

TORCH_LIBRARY_IMPL(khmer_fast, CUDA, m) {
  m.impl("attn_gru_sequence", &attn_gru_sequence_torch);
  m.impl("attn_gru_sequence_backward", &attn_gru_sequence_backward_torch);
}

}  // namespace khmer_fast
