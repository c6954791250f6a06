// gru_sequence for one instruction set and V, a vector of floats or doubles.
#pragma once

#include "cpu/sequence_kernels.h"
#include "cpu/training_loops.h"

namespace khmer_fast {
namespace {

// Elements that one group of `count` lines needs, forward or backward
template <class V>
int64_t gru_workspace(const CpuGruDims& d, int64_t count) {
  return 2 * padded(count * 3 * d.H) + padded(count * d.H) + padded(d.H);
}

template <class V>
void gru_forward(const GruForward<Scalar<V>>& p, int64_t direction, const int64_t* line,
                 int64_t count, Scalar<V>* space) {
  using scalar = Scalar<V>;
  const int64_t T = p.dims.T, H = p.dims.H;
  Workspace<V> cut{space};
  scalar* hidden = cut.take(count * 3 * H);  // [count, 3H]
  scalar* rows = cut.take(count * H);
  scalar* zero = cut.take(H);
  clear(zero, H);
  int64_t steps = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = line[i], length = p.length[b];
    steps = larger(steps, length);
    for (int64_t t = length; t < T; ++t) {
      clear(p.state + (b * T + t) * 2 * H + direction * H, H);
      clear(p.gates + (b * T + t) * 8 * H + direction * 4 * H, 4 * H);
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
    multiply_rows<V, false>(
        live, 3 * H, H, h, p.W_hh[direction], [&](int64_t i) { return hidden + i * 3 * H; }, rows);
    for (int64_t i = 0; i < live; ++i) {
      gru_cell<V>(H, p.gate_input + (row(i, s) * 2 + direction) * 3 * H, nullptr,
                  hidden + i * 3 * H, p.b_hh + direction * 3 * H, h(i),
                  p.state + (row(i, s) * 2 + direction) * H,
                  p.gates + (row(i, s) * 2 + direction) * 4 * H);
    }
  }
}

template <class V>
void gru_backward(const GruBackward<Scalar<V>>& p, int64_t direction, const int64_t* line,
                  int64_t count, Scalar<V>* space) {
  using scalar = Scalar<V>;
  const int64_t T = p.dims.T, H = p.dims.H;
  Workspace<V> cut{space};
  scalar* d_h = cut.take(count * H);
  scalar* rows = cut.take(count * 3 * H);
  scalar* zero = cut.take(H);
  clear(zero, H);
  clear(d_h, count * H);
  int64_t steps = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = line[i], length = p.length[b];
    steps = larger(steps, length);
    for (int64_t t = length; t < T; ++t) {
      clear(p.d_gate_input + ((b * T + t) * 2 + direction) * 3 * H, 3 * H);
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
      gru_cell_backward<V>(H, p.gates + at * 4 * H, h, p.d_state + at * H, d_h + i * H,
                           d_hidden + packed(i) * 3 * H, nullptr, p.d_gate_input + at * 3 * H);
      copy(h_row + packed(i) * H, h, H);
    }
    multiply_rows<V, true>(
        live, H, 3 * H, [&](int64_t i) { return d_hidden + packed(i) * 3 * H; }, p.W_hh[direction],
        [&](int64_t i) { return d_h + i * H; }, rows);
  }
}

}  // namespace
}  // namespace khmer_fast
