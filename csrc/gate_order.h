// The order of the gates: torch's is r, z, n. In a backward's rows the recurrent n stands before r
// and z, and the input's n behind them, so that r and z serve both parts.
#pragma once

#include <ATen/ATen.h>

namespace khmer_fast {

// Rows of gates n, r, z -> r, z, n
inline at::Tensor n_last(const at::Tensor& x) {  // [3H, ...]
  const int64_t H = x.size(0) / 3;
  return at::cat({x.narrow(0, H, 2 * H), x.narrow(0, 0, H)});
}

// Rows of gates r, z, n -> n, r, z
inline at::Tensor n_first(const at::Tensor& x) {  // [3H, ...]
  const int64_t H = x.size(0) / 3;
  return at::cat({x.narrow(0, 2 * H, H), x.narrow(0, 0, 2 * H)});
}

}  // namespace khmer_fast
