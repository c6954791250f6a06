// gru_sequence for one instruction set; sequence_math.h says how.
#pragma once

#include "sequence_kernels.h"
#include "sequence_math.h"

namespace khmer_fast {
namespace {

// Elements that one group of `count` lines needs, forward or backward
template <class X>
int64_t gru_workspace(const CpuGruDims& d, int64_t count) {
  return round_up((3 * count + 3 * X::ROWS + 1) * d.H + 3 * X::LANES, 16);
}

template <class X>
void gru_forward(const GruForward<typename X::scalar>& p, int64_t direction, const int64_t* line,
                 int64_t count, typename X::scalar* space) {
  using scalar = typename X::scalar;
  const int64_t T = p.dims.T, H = p.dims.H;
  Workspace<X> cut{space};
  scalar* hidden = cut.take(count * 3 * H);  // [count, 3H]
  scalar* scratch = cut.take(X::ROWS * H);
  scalar* zero = cut.take(H);
  fill<X>(zero, H, 0);
  int64_t steps = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = line[i], length = p.length[b];
    steps = larger(steps, length);
    for (int64_t t = length; t < T; ++t) {
      fill<X>(p.state + (b * T + t) * 2 * H + direction * H, H, 0);
      fill<X>(p.gates + (b * T + t) * 8 * H + direction * 4 * H, 4 * H, 0);
    }
  }
  int64_t live = count;
  for (int64_t s = 0; s < steps; ++s) {
    while (p.length[line[live - 1]] <= s) --live;
    const auto row = [&](int64_t i, int64_t step) {
      const int64_t b = line[i];
      return b * T + (direction == 0 ? step : p.length[b] - 1 - step);
    };
    const auto h = [&](int64_t i) {
      return s == 0 ? zero : p.state + row(i, s - 1) * 2 * H + direction * H;
    };
    product_packed<X>(
        live, 3 * H, H, h, p.W_hh[direction], [&](int64_t i) { return hidden + i * 3 * H; }, false,
        scratch);
    for (int64_t i = 0; i < live; ++i) {
      gru_cell<X>(H, p.gate_input + (row(i, s) * 2 + direction) * 3 * H, nullptr,
                  hidden + i * 3 * H, p.b_hh + direction * 3 * H, h(i),
                  p.state + (row(i, s) * 2 + direction) * H,
                  p.gates + (row(i, s) * 2 + direction) * 4 * H);
    }
  }
}

template <class X>
void gru_backward(const GruBackward<typename X::scalar>& p, int64_t direction, const int64_t* line,
                  int64_t count, typename X::scalar* space) {
  using scalar = typename X::scalar;
  const int64_t T = p.dims.T, H = p.dims.H;
  Workspace<X> cut{space};
  scalar* d_h = cut.take(count * H);
  scalar* scratch = cut.take(X::ROWS * 3 * H);
  scalar* zero = cut.take(H);
  fill<X>(zero, H, 0);
  fill<X>(d_h, count * H, 0);
  int64_t steps = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = line[i], length = p.length[b];
    steps = larger(steps, length);
    for (int64_t t = length; t < T; ++t) {
      fill<X>(p.d_gate_input + ((b * T + t) * 2 + direction) * 3 * H, 3 * H, 0);
    }
  }
  scalar* d_hidden = p.d_hidden + direction * p.R * 3 * H;
  scalar* h_row = p.h_row + direction * p.R * H;
  int64_t live = 0;
  for (int64_t s = steps - 1; s >= 0; --s) {
    while (live < count && p.length[line[live]] > s) ++live;
    const auto row = [&](int64_t i, int64_t step) {
      const int64_t b = line[i];
      return b * T + (direction == 0 ? step : p.length[b] - 1 - step);
    };
    const auto packed = [&](int64_t i) { return p.offset[line[i]] + s; };
    for (int64_t i = 0; i < live; ++i) {
      const scalar* h = s == 0 ? zero : p.state + (row(i, s - 1) * 2 + direction) * H;
      const int64_t at = row(i, s) * 2 + direction;
      gru_cell_backward<X>(H, p.gates + at * 4 * H, h, p.d_state + at * H, d_h + i * H,
                           d_hidden + packed(i) * 3 * H, nullptr, p.d_gate_input + at * 3 * H);
      copy<X>(h_row + packed(i) * H, h, H);
    }
    product_packed<X>(
        live, H, 3 * H, [&](int64_t i) { return d_hidden + packed(i) * 3 * H; }, p.W_hh[direction],
        [&](int64_t i) { return d_h + i * H; }, true, scratch);
  }
}

}  // namespace
}  // namespace khmer_fast
