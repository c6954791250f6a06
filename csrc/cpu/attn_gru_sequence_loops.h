// attn_gru_sequence for one instruction set and V, a vector of floats or doubles. Steps are
// numbered as in python_ref/attn_gru_step.py.
#pragma once

#include "cpu/sequence_attention_loops.h"
#include "cpu/sequence_kernels.h"

namespace khmer_fast {
namespace {

// Queries of many steps lie a line of the cache further apart than they are long: rows a power of
// two apart would fall into the same few places of the cache.
constexpr int64_t query_stride(int64_t A) { return padded(A) + kLanes; }

// Elements that one group of `count` lines needs, forward or backward
template <class V>
int64_t sequence_workspace(const CpuSequenceDims& d, int64_t count) {
  const int64_t stride = padded(d.A);
  const int64_t forward = padded(count * (d.A + 3 * d.H)) + padded(count * 3 * d.H) + 2 * stride +
                          padded(d.T) + padded(count * larger(d.H, d.E));
  const int64_t backward =
      padded(count * d.H) + 3 * stride + d.S * query_stride(d.A) + padded(count * (d.A + 3 * d.H));
  return count * d.T * stride + padded(count) + larger(forward, backward);
}

template <class V>
void sequence_forward(const SequenceForward<Scalar<V>>& p, const int64_t* line, int64_t count,
                      Scalar<V>* space) {
  using scalar = Scalar<V>;
  const int64_t S = p.dims.S, T = p.dims.T, A = p.dims.A, E = p.dims.E, H = p.dims.H;
  const int64_t stride = padded(A), width = A + 3 * H;
  Workspace<V> cut{space};
  scalar* P = cut.take(count * T * stride);
  scalar* key_bound = cut.take(count);
  scalar* hidden = cut.take(count * width);        // [count, A + 3H]: q, then r, z, n
  scalar* context_part = cut.take(count * 3 * H);  // [count, 3H]
  scalar* Q = cut.take(stride);
  scalar* v = cut.take(stride);
  scalar* energy = cut.take(T);
  scalar* rows = cut.take(count * larger(H, E));

  pad_row(p.v, A, v);
  clear(Q, stride);
  int64_t steps = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = line[i], end = p.target_length[b];
    steps = larger(steps, end);
    key_bound[i] = 0;
    if (end > 0) {
      key_bound[i] = prepare_keys<V>(p.key + b * T * A, p.length[b], A, P + i * T * stride);
    }
    clear(p.state + (b * S + end) * H, (S - end) * H);
    clear(p.context + (b * S + end) * E, (S - end) * E);
    clear(p.weight + (b * S + end) * T, (S - end) * T);
    clear(p.gates + (b * S + end) * 4 * H, (S - end) * 4 * H);
    clear(p.q + (b * S + end) * A, (S - end) * A);
  }

  int64_t live = count;
  for (int64_t s = 0; s < steps; ++s) {
    while (p.target_length[line[live - 1]] <= s) --live;
    const auto row = [&](int64_t i) { return line[i] * S + s; };
    const auto h = [&](int64_t i) {
      return s == 0 ? p.h_0 + line[i] * H : p.state + (row(i) - 1) * H;
    };
    // 1. query and the recurrent part of the gates, of the previous state
    multiply_rows<V, false>(
        live, width, H, h, p.W_state, [&](int64_t i) { return hidden + i * width; }, rows);
    for (int64_t i = 0; i < live; ++i) {
      const int64_t b = line[i], length = p.length[b];
      // 2. additive attention
      const scalar* q = hidden + i * width;
      copy(p.q + row(i) * A, q, A);
      const scalar q_bound = prepare_query<V>(q, A, Q);
      const Keys<V> keys{P + i * T * stride, p.key + b * T * A, A, stride};
      switch (energy_form(key_bound[i], q_bound)) {
        case EnergyForm::kPaired:
          energies<V, EnergyForm::kPaired>(keys, length, Q, v, energy);
          break;
        case EnergyForm::kFactored:
          energies<V, EnergyForm::kFactored>(keys, length, Q, v, energy);
          break;
        case EnergyForm::kTanh:
          pad_row(q, A, Q);
          energies<V, EnergyForm::kTanh>(keys, length, Q, v, energy);
          break;
      }
      softmax<V>(energy, length);
      scalar* weight = p.weight + row(i) * T;
      copy(weight, energy, length);
      clear(weight + length, T - length);
      // 3. context
      weighted_sum<V>(length, E, weight, p.memory + b * T * E, p.context + row(i) * E);
    }
    // 4. GRU cell
    multiply_rows<V, false>(
        live, 3 * H, E, [&](int64_t i) { return p.context + row(i) * E; }, p.W_ic,
        [&](int64_t i) { return context_part + i * 3 * H; }, rows);
    for (int64_t i = 0; i < live; ++i) {
      gru_cell<V>(H, p.gate_input + row(i) * 3 * H, context_part + i * 3 * H,
                  hidden + i * width + A, p.b_hh, h(i), p.state + row(i) * H,
                  p.gates + row(i) * 4 * H);
    }
  }
}

template <class V>
void sequence_backward(const SequenceBackward<Scalar<V>>& p, const int64_t* line, int64_t count,
                       Scalar<V>* space) {
  using scalar = Scalar<V>;
  const int64_t S = p.dims.S, T = p.dims.T, A = p.dims.A, E = p.dims.E, H = p.dims.H;
  const int64_t stride = padded(A), width = A + 4 * H;
  const int64_t T_stride = padded(T), E_stride = padded(E), Q_stride = query_stride(A);
  Workspace<V> cut{space};
  scalar* P = cut.take(count * T * stride);
  scalar* key_bound = cut.take(count);
  scalar* d_h = cut.take(count * H);
  scalar* v = cut.take(stride);
  scalar* d_q = cut.take(stride);
  scalar* d_v = cut.take(stride);
  scalar* Q = cut.take(S * Q_stride);
  scalar* rows = cut.take(count * (A + 3 * H));

  pad_row(p.v, A, v);
  clear(Q, S * Q_stride);
  clear(d_h, count * H);
  int64_t steps = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = line[i], end = p.target_length[b];
    steps = larger(steps, end);
    key_bound[i] = 0;
    if (end > 0) {
      key_bound[i] = prepare_keys<V>(p.key + b * T * A, p.length[b], A, P + i * T * stride);
    }
    clear(p.d_gate_input + (b * S + end) * 3 * H, (S - end) * 3 * H);
  }

  int64_t live = 0;
  for (int64_t s = steps - 1; s >= 0; --s) {
    while (live < count && p.target_length[line[live]] > s) ++live;
    const auto row = [&](int64_t i) { return line[i] * S + s; };
    const auto packed = [&](int64_t i) { return p.offset[line[i]] + s; };
    // 4. GRU cell
    for (int64_t i = 0; i < live; ++i) {
      const scalar* h = s == 0 ? p.h_0 + line[i] * H : p.state + (row(i) - 1) * H;
      scalar* d_gates = p.d_product + packed(i) * width + A;
      gru_cell_backward<V>(H, p.gates + row(i) * 4 * H, h,
                           p.d_state ? p.d_state + row(i) * H : nullptr, d_h + i * H, d_gates,
                           d_gates + 3 * H, p.d_gate_input + row(i) * 3 * H);
      copy(p.h_row + packed(i) * H, h, H);
      copy(p.context_row + packed(i) * E, p.context + row(i) * E, E);
      scalar* d_context = p.d_context_row + packed(i) * E_stride;
      if (p.d_context) {
        copy(d_context, p.d_context + row(i) * E, E);
      } else {
        clear(d_context, E);
      }
    }
    multiply_rows<V, true>(
        live, E, 3 * H, [&](int64_t i) { return p.d_product + packed(i) * width + A + H; }, p.W_ic,
        [&](int64_t i) { return p.d_context_row + packed(i) * E_stride; }, rows);
    for (int64_t i = 0; i < live; ++i) {
      const int64_t b = line[i], length = p.length[b];
      // 3. context
      const scalar* weight = p.weight + row(i) * T;
      scalar* d_energy = p.d_energy_row + packed(i) * T_stride;
      dots<V>(length, E, p.memory + b * T * E, p.d_context_row + packed(i) * E_stride, d_energy);
      if (p.d_weight) {
        for (int64_t t = 0; t < length; ++t) d_energy[t] += p.d_weight[row(i) * T + t];
      }
      // 2. additive attention
      scalar mean = 0;
      for (int64_t t = 0; t < length; ++t) mean += weight[t] * d_energy[t];
      for (int64_t t = 0; t < length; ++t) d_energy[t] = weight[t] * (d_energy[t] - mean);
      const scalar* q = p.q + row(i) * A;
      const scalar q_bound = prepare_query<V>(q, A, Q);
      const Keys<V> keys{P + i * T * stride, p.key + b * T * A, A, stride};
      clear(d_q, stride);
      switch (energy_form(key_bound[i], q_bound)) {
        case EnergyForm::kPaired:
          query_gradient<V, EnergyForm::kPaired>(keys, length, Q, d_energy, d_q);
          break;
        case EnergyForm::kFactored:
          query_gradient<V, EnergyForm::kFactored>(keys, length, Q, d_energy, d_q);
          break;
        case EnergyForm::kTanh:
          pad_row(q, A, Q);
          query_gradient<V, EnergyForm::kTanh>(keys, length, Q, d_energy, d_q);
          break;
      }
      scalar* out = p.d_product + packed(i) * width;
      for (int64_t a = 0; a < A; ++a) out[a] = 4 * v[a] * d_q[a];
    }
    // 1. query and the recurrent part of the gates
    multiply_rows<V, true>(
        live, H, A + 3 * H, [&](int64_t i) { return p.d_product + packed(i) * width; }, p.W_state,
        [&](int64_t i) { return d_h + i * H; }, rows);
  }

  // what needs no order of steps, line by line
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = line[i], length = p.length[b], end = p.target_length[b];
    copy(p.d_h_0 + b * H, d_h + i * H, H);
    scalar* d_key = p.d_key + b * T * A;
    scalar* d_memory = p.d_memory + b * T * E;
    const int64_t used = end > 0 ? length : 0;
    clear(d_key + used * A, (T - used) * A);
    clear(d_memory + used * E, (T - used) * E);
    clear(d_v, stride);
    if (end > 0) {
      scalar q_bound = 0;
      for (int64_t s = 0; s < end; ++s) {
        const scalar bound = prepare_query<V>(p.q + (b * S + s) * A, A, Q + s * Q_stride);
        q_bound = bound > q_bound ? bound : q_bound;
      }
      const Keys<V> keys{P + i * T * stride, p.key + b * T * A, A, stride};
      const scalar* d_energy = p.d_energy_row + p.offset[b] * T_stride;
      switch (energy_form(key_bound[i], q_bound)) {
        case EnergyForm::kPaired:
          key_gradient<V, EnergyForm::kPaired>(keys, length, end, Q, Q_stride, d_energy, T_stride,
                                               v, d_key, d_v);
          break;
        case EnergyForm::kFactored:
          key_gradient<V, EnergyForm::kFactored>(keys, length, end, Q, Q_stride, d_energy, T_stride,
                                                 v, d_key, d_v);
          break;
        case EnergyForm::kTanh:
          for (int64_t s = 0; s < end; ++s) {
            pad_row(p.q + (b * S + s) * A, A, Q + s * Q_stride);
          }
          key_gradient<V, EnergyForm::kTanh>(keys, length, end, Q, Q_stride, d_energy, T_stride, v,
                                             d_key, d_v);
          break;
      }
      const scalar* weight = p.weight + b * S * T;
      const auto to = [&](int64_t t) { return d_memory + t * E; };
      product<Operands<V>>(length, E, end, Columns<scalar>{weight, T},
                           PlainRows<scalar>{p.d_context_row + p.offset[b] * E_stride, E_stride},
                           StoreScattered<V, false, decltype(to)>{E, to});
    }
    for (int64_t a = 0; a < A; ++a) p.d_v_line[b * A + a] = -2 * d_v[a];
  }
}

}  // namespace
}  // namespace khmer_fast
