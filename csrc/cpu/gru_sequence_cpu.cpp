// gru_sequence on a CPU: checks, allocation, and the weight gradients, which are one product each
// over all positions. The loops over steps: gru_sequence_loops.h.
#include "gru_sequence.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <tuple>

#include "gate_order.h"
#include "cpu/sequence_run.h"

namespace khmer_fast {
namespace {

std::tuple<Tensor, Tensor> gru_sequence_cpu(const Tensor& gate_input, const Tensor& length,
                                            const Tensor& W_hh, const Tensor& b_hh) {
  const NoAutocast no_autocast(c10::DispatchKey::AutocastCPU);
  const GruDims d = check_gru_sequence(gate_input, length, W_hh, b_hh);
  const int64_t H = d.H;
  const Tensor gate_input_ = plain(gate_input), length_ = plain(length);
  const Tensor W_hh_ = plain(W_hh), b_hh_ = plain(b_hh);
  check_range("length", length_, 0, d.T);
  Tensor state = at::empty({d.B, d.T, 2 * H}, gate_input.options());
  Tensor gates = at::empty({d.B, d.T, 8 * H}, gate_input.options());
  AT_DISPATCH_FLOATING_TYPES(gate_input.scalar_type(), "gru_sequence_cpu", [&] {
    const auto& kernels = select_sequence_kernels<scalar_t>();
    const Tensor W[2] = {packed<scalar_t>(W_hh_.narrow(0, 0, 3 * H)),
                         packed<scalar_t>(W_hh_.narrow(0, 3 * H, 3 * H))};
    const GruForward<scalar_t> p{
        {d.B, d.T, H},
        gate_input_.const_data_ptr<scalar_t>(),
        length_.const_data_ptr<int64_t>(),
        {W[0].const_data_ptr<scalar_t>(), W[1].const_data_ptr<scalar_t>()},
        b_hh_.const_data_ptr<scalar_t>(),
        state.mutable_data_ptr<scalar_t>(),
        gates.mutable_data_ptr<scalar_t>(),
    };
    for_each_group<scalar_t>(
        length_, 2, [&](int64_t count) { return kernels.gru_workspace(p.dims, count); },
        [&](int64_t direction, const int64_t* line, int64_t count, scalar_t* space) {
          kernels.gru_forward(p, direction, line, count, space);
        });
  });
  return {state, gates};
}

std::tuple<Tensor, Tensor, Tensor> gru_sequence_backward_cpu(const Tensor& d_state,
                                                             const Tensor& length,
                                                             const Tensor& W_hh,
                                                             const Tensor& state,
                                                             const Tensor& gates) {
  const NoAutocast no_autocast(c10::DispatchKey::AutocastCPU);
  check_rank("state", state, "[B, T, 2H]", 3);
  const int64_t B = state.size(0), T = state.size(1), H = state.size(2) / 2;
  for (const auto& [name, x] :
       {std::pair("d_state", d_state), std::pair("W_hh", W_hh), std::pair("gates", gates)}) {
    check_device(name, x, state.device());
    check_dtype(name, x, state.scalar_type());
  }
  check_shape("d_state", d_state, "[B, T, 2H]", {B, T, 2 * H});
  check_shape("W_hh", W_hh, "[6H, H]", {6 * H, H});
  check_shape("gates", gates, "[B, T, 8H]", {B, T, 8 * H});
  check_dtype("length", length, at::kLong);
  check_shape("length", length, "[B]", {B});
  const Tensor d_state_ = plain(d_state), length_ = plain(length);
  const Tensor W_hh_ = plain(W_hh), state_ = plain(state), gates_ = plain(gates);
  check_range("length", length_, 0, T);

  const auto [offset, rows] = offsets(length_);
  const auto options = state.options();
  Tensor d_gate_input = at::empty({B, T, 6 * H}, options);
  Tensor d_hidden = at::empty({2, rows, 3 * H}, options);
  Tensor h_row = at::empty({2, rows, H}, options);
  Tensor d_W_hh = at::empty({6 * H, H}, options), d_b_hh = at::empty({6 * H}, options);
  AT_DISPATCH_FLOATING_TYPES(state.scalar_type(), "gru_sequence_backward_cpu", [&] {
    const auto& kernels = select_sequence_kernels<scalar_t>();
    const Tensor W[2] = {packed_transpose<scalar_t>(n_first(W_hh_.narrow(0, 0, 3 * H))),
                         packed_transpose<scalar_t>(n_first(W_hh_.narrow(0, 3 * H, 3 * H)))};
    const GruBackward<scalar_t> p{
        {B, T, H},
        length_.const_data_ptr<int64_t>(),
        offset.data(),
        {W[0].const_data_ptr<scalar_t>(), W[1].const_data_ptr<scalar_t>()},
        state_.const_data_ptr<scalar_t>(),
        gates_.const_data_ptr<scalar_t>(),
        d_state_.const_data_ptr<scalar_t>(),
        d_gate_input.mutable_data_ptr<scalar_t>(),
        d_hidden.mutable_data_ptr<scalar_t>(),
        h_row.mutable_data_ptr<scalar_t>(),
        rows,
    };
    for_each_group<scalar_t>(
        length_, 2, [&](int64_t count) { return kernels.gru_workspace(p.dims, count); },
        [&](int64_t direction, const int64_t* line, int64_t count, scalar_t* space) {
          kernels.gru_backward(p, direction, line, count, space);
        });
    for (int64_t direction = 0; direction < 2; ++direction) {
      const Tensor d = d_hidden[direction];  // [R, 3H]: n, r, z
      const Tensor d_W = weight_gradient<scalar_t>(d, h_row[direction]);
      d_W_hh.narrow(0, direction * 3 * H, 3 * H).copy_(n_last(d_W));
      d_b_hh.narrow(0, direction * 3 * H, 3 * H).copy_(n_last(d.sum(0)));
    }
  });
  return {d_gate_input, d_W_hh, d_b_hh};
}

}  // namespace

TORCH_LIBRARY_IMPL(khmer_fast, CPU, m) {
  m.impl("gru_sequence", gru_sequence_cpu);
  m.impl("gru_sequence_backward", gru_sequence_backward_cpu);
}

}  // namespace khmer_fast
