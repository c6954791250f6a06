// attn_gru_sequence for one instruction set and V, a vector of floats or doubles. Steps are
// numbered as in python_ref/attn_gru_step.py.
#pragma once

#include "cpu/attention_loops.h"
#include "cpu/sequence_kernels.h"
#include "cpu/training_loops.h"
#include "energy_form.h"

namespace khmer_fast {
namespace {

// ---- additive attention: tanh(k + q) = 2 (1/2 - s) with s = 1 / (1 + e^{2k} e^{2q}); its
// derivative is 4 s (1 - s). The 1/2, which softmax would drop, keeps the sum small and so its
// rounding.

// s of ROWS positions, from P and Q or, in the tanh form, from key and q
template <class V, EnergyForm kForm, int ROWS>
KHMER_FAST_MATH void sigma(const V (&k)[ROWS], V q, V (&s)[ROWS]) {
  if constexpr (kForm == EnergyForm::kTanh) {
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) s[r] = 1 / (1 + fast_exp(2 * (k[r] + q)));
  } else if constexpr (kForm == EnergyForm::kFactored || ROWS % 2 != 0) {
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) s[r] = 1 / fma(k[r], q, splat<V>(1));
  } else {
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r += 2) {
      reciprocals(fma(k[r], q, splat<V>(1)), fma(k[r + 1], q, splat<V>(1)), s[r], s[r + 1]);
    }
  }
}

// The keys of a line as the loops over A read them: P [length][stride] or the keys themselves
template <class V>
struct Keys {
  const Scalar<V>* P;    // [length][stride], padded with 0
  const Scalar<V>* key;  // [length][A]
  int64_t A, stride;

  template <EnergyForm kForm>
  KHMER_FAST_INLINE V at(int64_t t, int64_t a) const {
    if constexpr (kForm == EnergyForm::kTanh) {
      return load<V>(key + t * A + a, A - a);
    } else {
      return load<V>(P + t * stride + a);
    }
  }
};

template <class V, EnergyForm kForm, int ROWS>
KHMER_FAST_MATH void energy_rows(const Keys<V>& keys, int64_t t, const Scalar<V>* q,
                                 const Scalar<V>* v, Scalar<V>* energy) {
  V sum[ROWS];
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; ++r) sum[r] = V{};
  for (int64_t a = 0; a < keys.stride; a += kLanesOf<V>) {
    V k[ROWS], s[ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) k[r] = keys.template at<kForm>(t + r, a);
    sigma<V, kForm, ROWS>(k, load<V>(q + a), s);
    const V factor = load<V>(v + a), half = splat<V>(0.5);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) sum[r] = fma(factor, half - s[r], sum[r]);
  }
  for (int r = 0; r < ROWS; ++r) energy[t + r] = 2 * sum_lanes(sum[r]);
}

template <class V, EnergyForm kForm>
__attribute__((noinline)) void energies(const Keys<V>& keys, int64_t length, const Scalar<V>* q,
                                        const Scalar<V>* v, Scalar<V>* energy) {
  int64_t t = 0;
  for (; t + 4 <= length; t += 4) energy_rows<V, kForm, 4>(keys, t, q, v, energy);
  for (; t < length; ++t) energy_rows<V, kForm, 1>(keys, t, q, v, energy);
}

// d_q[a] += sum_t d_energy[t] s (1 - s), without the factor 4 v
template <class V, EnergyForm kForm, int ROWS>
KHMER_FAST_MATH void query_rows(const Keys<V>& keys, int64_t t, const Scalar<V>* q,
                                const Scalar<V>* d_energy, Scalar<V>* d_q) {
  for (int64_t a = 0; a < keys.stride; a += kLanesOf<V>) {
    V k[ROWS], s[ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) k[r] = keys.template at<kForm>(t + r, a);
    sigma<V, kForm, ROWS>(k, load<V>(q + a), s);
    V sum = load<V>(d_q + a);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) {
      const V slope = fma(-s[r], s[r], s[r]);
      sum = fma(splat<V>(d_energy[t + r]), slope, sum);
    }
    store(d_q + a, sum);
  }
}

template <class V, EnergyForm kForm>
__attribute__((noinline)) void query_gradient(const Keys<V>& keys, int64_t length,
                                              const Scalar<V>* q, const Scalar<V>* d_energy,
                                              Scalar<V>* d_q) {
  int64_t t = 0;
  for (; t + 4 <= length; t += 4) query_rows<V, kForm, 4>(keys, t, q, d_energy, d_q);
  for (; t < length; ++t) query_rows<V, kForm, 1>(keys, t, q, d_energy, d_q);
}

// d_key of ROWS positions and their part of d_v, over all steps of a line; without the factors 4 v
// and -2
template <class V, EnergyForm kForm, int ROWS>
KHMER_FAST_MATH void key_rows(const Keys<V>& keys, int64_t t, int64_t steps, const Scalar<V>* q,
                              const Scalar<V>* d_energy, int64_t d_energy_stride,
                              const Scalar<V>* v, Scalar<V>* d_key, Scalar<V>* d_v) {
  for (int64_t a = 0; a < keys.stride; a += kLanesOf<V>) {
    V k[ROWS], s[ROWS], sum[ROWS], sum_v = load<V>(d_v + a);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) {
      k[r] = keys.template at<kForm>(t + r, a);
      sum[r] = V{};
    }
    for (int64_t step = 0; step < steps; ++step) {
      sigma<V, kForm, ROWS>(k, load<V>(q + step * keys.stride + a), s);
      const Scalar<V>* d = d_energy + step * d_energy_stride + t;
#pragma GCC unroll 4
      for (int r = 0; r < ROWS; ++r) {
        const V part = d[r] * s[r];
        sum_v += part;
        sum[r] += fma(-part, s[r], part);
      }
    }
    store(d_v + a, sum_v);
    const V factor = 4 * load<V>(v + a);
    for (int r = 0; r < ROWS; ++r) {
      store(d_key + (t + r) * keys.A + a, factor * sum[r], keys.A - a);
    }
  }
}

template <class V, EnergyForm kForm>
__attribute__((noinline)) void key_gradient(const Keys<V>& keys, int64_t length, int64_t steps,
                                            const Scalar<V>* q, const Scalar<V>* d_energy,
                                            int64_t d_energy_stride, const Scalar<V>* v,
                                            Scalar<V>* d_key, Scalar<V>* d_v) {
  int64_t t = 0;
  for (; t + 4 <= length; t += 4) {
    key_rows<V, kForm, 4>(keys, t, steps, q, d_energy, d_energy_stride, v, d_key, d_v);
  }
  for (; t < length; ++t) {
    key_rows<V, kForm, 1>(keys, t, steps, q, d_energy, d_energy_stride, v, d_key, d_v);
  }
}

// A row of A elements, padded with 0 to whole vectors.
template <class T>
void pad_row(const T* x, int64_t A, T* to) {
  copy(to, x, A);
  clear(to + A, padded(A) - A);
}

// P = e^{2 key} of a line; returns the largest |key|, NaN as NaN.
template <class V>
Scalar<V> prepare_keys(const Scalar<V>* key, int64_t length, int64_t A, Scalar<V>* P) {
  const int64_t stride = padded(A);
  Scalar<V> bound = 0;
  for (int64_t t = 0; t < length; ++t, P += stride) {
    pad_row(key + t * A, A, P);
    const Scalar<V> here = exp_twice<V>(P, P, stride);
    if (bound == bound && !(here <= bound)) bound = here;
  }
  return bound;
}

// Q = e^{2q}; returns the largest |q|, NaN as NaN.
template <class V>
Scalar<V> prepare_query(const Scalar<V>* q, int64_t A, Scalar<V>* Q) {
  pad_row(q, A, Q);
  return exp_twice<V>(Q, Q, padded(A));
}

// y[e] (+)= sum_r w[r] x[r][e] for ROWS rows
template <class V, int ROWS>
KHMER_FAST_MATH void add_rows(const Scalar<V>* w, const Scalar<V>* x, int64_t E, Scalar<V>* y) {
  for (int64_t e = 0; e < E; e += kLanesOf<V>) {
    V sum = load<V>(y + e, E - e);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) sum = fma(splat<V>(w[r]), load<V>(x + r * E + e, E - e), sum);
    store(y + e, sum, E - e);
  }
}

template <class V>
void weighted_sum(int64_t length, int64_t E, const Scalar<V>* w, const Scalar<V>* x, Scalar<V>* y) {
  clear(y, E);
  int64_t t = 0;
  for (; t + 4 <= length; t += 4) add_rows<V, 4>(w + t, x + t * E, E, y);
  for (; t < length; ++t) add_rows<V, 1>(w + t, x + t * E, E, y);
}

template <class V, int ROWS>
KHMER_FAST_MATH void dot_rows(const Scalar<V>* x, const Scalar<V>* y, int64_t E, Scalar<V>* out) {
  V sum[ROWS];
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; ++r) sum[r] = V{};
  for (int64_t e = 0; e < E; e += kLanesOf<V>) {
    const V factor = load<V>(y + e, E - e);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) sum[r] = fma(factor, load<V>(x + r * E + e, E - e), sum[r]);
  }
  for (int r = 0; r < ROWS; ++r) out[r] = sum_lanes(sum[r]);
}

// out[t] = x[t] . y
template <class V>
void dots(int64_t length, int64_t E, const Scalar<V>* x, const Scalar<V>* y, Scalar<V>* out) {
  int64_t t = 0;
  for (; t + 4 <= length; t += 4) dot_rows<V, 4>(x + t * E, y, E, out + t);
  for (; t < length; ++t) dot_rows<V, 1>(x + t * E, y, E, out + t);
}

// ---- the two loops over steps

// Elements that one group of `count` lines needs, forward or backward
template <class V>
int64_t sequence_workspace(const CpuSequenceDims& d, int64_t count) {
  const int64_t stride = padded(d.A);
  const int64_t forward = padded(count * (d.A + 3 * d.H)) + padded(count * 3 * d.H) + 2 * stride +
                          padded(d.T) + padded(count * larger(d.H, d.E));
  const int64_t backward =
      padded(count * d.H) + (3 + d.S) * stride + padded(count * (d.A + 3 * d.H));
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
  const int64_t T_stride = padded(T), E_stride = padded(E);
  Workspace<V> cut{space};
  scalar* P = cut.take(count * T * stride);
  scalar* key_bound = cut.take(count);
  scalar* d_h = cut.take(count * H);
  scalar* v = cut.take(stride);
  scalar* d_q = cut.take(stride);
  scalar* d_v = cut.take(stride);
  scalar* Q = cut.take(S * stride);
  scalar* rows = cut.take(count * (A + 3 * H));

  pad_row(p.v, A, v);
  clear(Q, S * stride);
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
        const scalar bound = prepare_query<V>(p.q + (b * S + s) * A, A, Q + s * stride);
        q_bound = bound > q_bound ? bound : q_bound;
      }
      const Keys<V> keys{P + i * T * stride, p.key + b * T * A, A, stride};
      const scalar* d_energy = p.d_energy_row + p.offset[b] * T_stride;
      switch (energy_form(key_bound[i], q_bound)) {
        case EnergyForm::kPaired:
          key_gradient<V, EnergyForm::kPaired>(keys, length, end, Q, d_energy, T_stride, v, d_key,
                                               d_v);
          break;
        case EnergyForm::kFactored:
          key_gradient<V, EnergyForm::kFactored>(keys, length, end, Q, d_energy, T_stride, v, d_key,
                                                 d_v);
          break;
        case EnergyForm::kTanh:
          for (int64_t s = 0; s < end; ++s) {
            pad_row(p.q + (b * S + s) * A, A, Q + s * stride);
          }
          key_gradient<V, EnergyForm::kTanh>(keys, length, end, Q, d_energy, T_stride, v, d_key,
                                             d_v);
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
