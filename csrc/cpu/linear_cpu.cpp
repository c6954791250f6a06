// linear on a CPU: y [R, N] = x [R, K] W [N, K]^T + b [N], and its gradients.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "check.h"
#include "cpu/sequence_run.h"

namespace khmer_fast {
namespace {

// x and W; the other tensor's dtype and shape are checked against them.
void check_linear(const Tensor& x, const Tensor& W) {
  TORCH_CHECK_TYPE(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble,
                   "x must have dtype Float or Double, got ", at::toString(x.scalar_type()));
  check_rank("x", x, "[R, K]", 2);
  check_rank("W", W, "[N, K]", 2);
  check_device("W", W, x.device());
  check_dtype("W", W, x.scalar_type());
  check_shape("W", W, "[N, K]", {W.size(0), x.size(1)});
}

// Rows dealt to threads: each is one chain of sums, whatever the others.
template <typename scalar_t>
Tensor rows_times(const Tensor& x, const Tensor& packed_W, int64_t N,  // [R, K], of [N, K]
                  const scalar_t* bias) {                              // [N] or null
  constexpr int64_t kRows = 64;  // that a thread takes at once, at least
  const int64_t R = x.size(0), K = x.size(1);
  Tensor y = at::empty({R, N}, x.options());
  const auto& kernels = select_sequence_kernels<scalar_t>();
  const scalar_t* A = x.const_data_ptr<scalar_t>();
  const scalar_t* W = packed_W.const_data_ptr<scalar_t>();
  scalar_t* C = y.mutable_data_ptr<scalar_t>();
  at::parallel_for(0, R, kRows, [&](int64_t begin, int64_t end) {
    kernels.linear(end - begin, N, K, A + begin * K, W, bias, C + begin * N);
  });
  return y;
}

Tensor linear_cpu(const Tensor& x, const Tensor& W, const std::optional<Tensor>& b) {
  const NoAutocast no_autocast(c10::DispatchKey::AutocastCPU);
  check_linear(x, W);
  const int64_t N = W.size(0);
  if (b) {
    check_device("b", *b, x.device());
    check_dtype("b", *b, x.scalar_type());
    check_shape("b", *b, "[N]", {N});
  }
  const std::optional<Tensor> b_ = plain(b);
  Tensor y;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "linear_cpu", [&] {
    y = rows_times<scalar_t>(plain(x), packed<scalar_t>(plain(W)), N,
                             b_ ? b_->const_data_ptr<scalar_t>() : nullptr);
  });
  return y;
}

std::tuple<Tensor, Tensor> linear_backward_cpu(const Tensor& d_y, const Tensor& x,
                                               const Tensor& W) {
  const NoAutocast no_autocast(c10::DispatchKey::AutocastCPU);
  check_linear(x, W);
  check_device("d_y", d_y, x.device());
  check_dtype("d_y", d_y, x.scalar_type());
  check_shape("d_y", d_y, "[R, N]", {x.size(0), W.size(0)});
  const Tensor d_y_ = plain(d_y);
  Tensor d_x, d_W;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "linear_backward_cpu", [&] {
    d_x = rows_times<scalar_t>(d_y_, packed_transpose<scalar_t>(plain(W)), W.size(1), nullptr);
    d_W = weight_gradient<scalar_t>(d_y_, plain(x));
  });
  return {d_x, d_W};
}

}  // namespace

TORCH_LIBRARY_IMPL(khmer_fast, CPU, m) {
  m.impl("linear", linear_cpu);
  m.impl("linear_backward", linear_backward_cpu);
}

}  // namespace khmer_fast
