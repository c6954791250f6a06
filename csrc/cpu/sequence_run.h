// How the sequence operators run on a CPU: the instruction set, packed weights, lines dealt to
// threads. Each thread runs all steps of its lines: there is no barrier within a sequence.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "cpu/pack.h"
#include "cpu/sequence_kernels.h"
#include "dims.h"

namespace khmer_fast {
namespace {

using at::Tensor;
using NoAutocast = c10::impl::ExcludeDispatchKeyGuard;  // products keep the dtype of their inputs

// Where the rows of each line begin when they lie one after another, and how many there are.
inline std::pair<std::vector<int64_t>, int64_t> offsets(const Tensor& steps) {  // [B]
  std::vector<int64_t> offset(steps.size(0));
  int64_t rows = 0;
  for (int64_t b = 0; b < steps.size(0); ++b) {
    offset[b] = rows;
    rows += steps.const_data_ptr<int64_t>()[b];
  }
  return {std::move(offset), rows};
}

// Lines dealt to `groups` groups, each sorted by steps, most first.
inline std::vector<std::vector<int64_t>> deal(const Tensor& steps, int64_t groups) {  // [B]
  const int64_t B = steps.size(0);
  const int64_t* count = steps.const_data_ptr<int64_t>();
  std::vector<int64_t> order(B);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return count[a] > count[b]; });
  std::vector<std::vector<int64_t>> lines(groups);
  for (int64_t i = 0; i < B; ++i) lines[i % groups].push_back(order[i]);
  return lines;
}

// Lines that go through the steps together: the rows that one tile of a product takes. More would
// share the weights' way through the cache, but the keys and the memory of many lines no longer
// stay in it: 8 against 32 lines at H = A = E = 512 took 0.46 against 0.60 s.
constexpr int64_t kLinesTogether = 8;

// Runs run(pass, line, count, workspace) for every group of lines and every pass of `passes`, as
// many at once as there are threads.
template <typename scalar_t, typename Space, typename Run>
void for_each_group(const Tensor& steps, int64_t passes, const Space& space_of, const Run& run) {
  const int64_t B = steps.size(0);
  if (B == 0) return;
  const int64_t for_threads = (at::get_num_threads() + passes - 1) / passes;
  const int64_t for_cache = (B + kLinesTogether - 1) / kLinesTogether;
  const int64_t count = std::min(B, std::max(for_threads, for_cache));
  const auto groups = deal(steps, count);
  const int64_t piece = space_of(static_cast<int64_t>(groups[0].size()));
  const Tensor workspace = at::empty(
      {passes * count, piece}, at::TensorOptions().dtype(c10::CppTypeToScalarType<scalar_t>()));
  scalar_t* space = workspace.mutable_data_ptr<scalar_t>();
  at::parallel_for(0, passes * count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto& line = groups[i / passes];
      run(i % passes, line.data(), static_cast<int64_t>(line.size()), space + i * piece);
    }
  });
}

template <typename scalar_t>
Tensor packed(const Tensor& W) {  // [N, K] -> as pack.h says
  const int64_t N = W.size(0), K = W.size(1);
  Tensor out = at::empty({padded(N) * K}, W.options());
  pack(W.const_data_ptr<scalar_t>(), N, K, K, select_sequence_kernels<scalar_t>().panel,
       out.mutable_data_ptr<scalar_t>());
  return out;
}

template <typename scalar_t>
Tensor packed_transpose(const Tensor& X) {  // [K, N] -> the same of its transpose
  const int64_t K = X.size(0), N = X.size(1);
  Tensor out = at::empty({padded(N) * K}, X.options());
  pack_transposed(X.const_data_ptr<scalar_t>(), N, K, N, select_sequence_kernels<scalar_t>().panel,
                  out.mutable_data_ptr<scalar_t>());
  return out;
}

// Gradient of a weight [M, N]: the sum over rows r of d[r] (the first M columns of it) times x[r].
template <typename scalar_t>
Tensor weight_gradient(const Tensor& d,
                       const Tensor& x) {  // [R, M], rows any distance apart; [R, N]
  constexpr int64_t kColumns = 192;  // of d at a time: a few hundred rows of them fit into the L2
  const int64_t R = d.size(0), M = d.size(1), N = x.size(1);
  const auto& kernels = select_sequence_kernels<scalar_t>();
  const Tensor X = packed_transpose<scalar_t>(x);
  Tensor out = at::empty({M, N}, x.options());
  const scalar_t* A = d.const_data_ptr<scalar_t>();
  scalar_t* C = out.mutable_data_ptr<scalar_t>();
  at::parallel_for(0, (M + kColumns - 1) / kColumns, 1, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin * kColumns; m < std::min(M, end * kColumns); m += kColumns)
      kernels.weight_gradient(std::min(kColumns, M - m), N, R, A + m, d.stride(0),
                              X.const_data_ptr<scalar_t>(), C + m * N);
  });
  return out;
}

}  // namespace
}  // namespace khmer_fast
