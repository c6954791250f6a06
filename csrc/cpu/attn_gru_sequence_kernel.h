// attn_gru_sequence for one instruction set; sequence_math.h says how. Steps are numbered as in
// python_ref/attn_gru_step.py.
#pragma once

#include "sequence_kernels.h"
#include "sequence_math.h"

namespace khmer_fast {
namespace {

// ---- additive attention: tanh(k + q) = 2 (1/2 - s) with s = 1 / (1 + e^{2k} e^{2q}); its derivative
// is 4 s (1 - s). The 1/2, which softmax would drop, keeps the sum small and so its rounding.

enum class Mode {
  PAIRED,    // 1 + PQ of two positions can be multiplied
  FACTORED,  // PQ may overflow or vanish: both limits are right
  DIRECT,    // e^{2k} or e^{2q} alone leaves the range
};

template <class X>
KF_INLINE Mode mode_of(typename X::scalar key_bound, typename X::scalar q_bound) {
  // written so that NaN fails
  if (2 * (key_bound + q_bound) < 42) return Mode::PAIRED;
  if (2 * key_bound < 87 && 2 * q_bound < 87) return Mode::FACTORED;
  return Mode::DIRECT;
}

// s of ROWS positions, from P and Q or, in DIRECT mode, from key and q
template <class X, Mode MODE, int ROWS>
KF_INLINE void sigma(const typename X::V (&k)[ROWS], typename X::V q, typename X::V (&s)[ROWS]) {
  if constexpr (MODE == Mode::DIRECT) {
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) s[r] = 1 / (1 + X::exp(2 * (k[r] + q)));
  } else if constexpr (MODE == Mode::FACTORED || ROWS % 2 != 0) {
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) s[r] = 1 / X::fma(k[r], q, all<X>(1));
  } else {
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r += 2) {
      X::reciprocal(X::fma(k[r], q, all<X>(1)), X::fma(k[r + 1], q, all<X>(1)), s[r], s[r + 1]);
    }
  }
}

// The keys of a line as the loops over A read them: P [length][stride] or the keys themselves
template <class X>
struct Keys {
  const typename X::scalar* P;    // [length][stride], padded with 0
  const typename X::scalar* key;  // [length][A]
  int64_t A, stride;

  template <Mode MODE>
  KF_INLINE typename X::V at(int64_t t, int64_t a) const {
    if constexpr (MODE == Mode::DIRECT) {
      return load<X>(key + t * A + a, A - a);
    } else {
      return load<X>(P + t * stride + a);
    }
  }
};

template <class X, Mode MODE, int ROWS>
KF_INLINE void energy_rows(const Keys<X>& keys, int64_t t, const typename X::scalar* q,
                           const typename X::scalar* v, typename X::scalar* energy) {
  using V = typename X::V;
  V sum[ROWS];
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; ++r) sum[r] = V{};
  for (int64_t a = 0; a < keys.stride; a += X::LANES) {
    V k[ROWS], s[ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) k[r] = keys.template at<MODE>(t + r, a);
    sigma<X, MODE, ROWS>(k, load<X>(q + a), s);
    const V factor = load<X>(v + a), half = all<X>(0.5);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) sum[r] = X::fma(factor, half - s[r], sum[r]);
  }
  for (int r = 0; r < ROWS; ++r) energy[t + r] = 2 * X::sum(sum[r]);
}

template <class X, Mode MODE>
__attribute__((noinline)) void energies(const Keys<X>& keys, int64_t length,
                                        const typename X::scalar* q, const typename X::scalar* v,
                                        typename X::scalar* energy) {
  int64_t t = 0;
  for (; t + 4 <= length; t += 4) energy_rows<X, MODE, 4>(keys, t, q, v, energy);
  for (; t < length; ++t) energy_rows<X, MODE, 1>(keys, t, q, v, energy);
}

// d_q[a] += sum_t d_energy[t] s (1 - s), without the factor 4 v
template <class X, Mode MODE, int ROWS>
KF_INLINE void query_rows(const Keys<X>& keys, int64_t t, const typename X::scalar* q,
                          const typename X::scalar* d_energy, typename X::scalar* d_q) {
  using V = typename X::V;
  for (int64_t a = 0; a < keys.stride; a += X::LANES) {
    V k[ROWS], s[ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) k[r] = keys.template at<MODE>(t + r, a);
    sigma<X, MODE, ROWS>(k, load<X>(q + a), s);
    V sum = load<X>(d_q + a);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) {
      const V slope = X::fma(-s[r], s[r], s[r]);
      sum = X::fma(all<X>(d_energy[t + r]), slope, sum);
    }
    store<X>(d_q + a, sum);
  }
}

template <class X, Mode MODE>
__attribute__((noinline)) void query_gradient(const Keys<X>& keys, int64_t length,
                                              const typename X::scalar* q,
                                              const typename X::scalar* d_energy,
                                              typename X::scalar* d_q) {
  int64_t t = 0;
  for (; t + 4 <= length; t += 4) query_rows<X, MODE, 4>(keys, t, q, d_energy, d_q);
  for (; t < length; ++t) query_rows<X, MODE, 1>(keys, t, q, d_energy, d_q);
}

// d_key of ROWS positions and their part of d_v, over all steps of a line; without the factors 4 v
// and -2
template <class X, Mode MODE, int ROWS>
KF_INLINE void key_rows(const Keys<X>& keys, int64_t t, int64_t steps, const typename X::scalar* q,
                        const typename X::scalar* d_energy, int64_t d_energy_stride,
                        const typename X::scalar* v, typename X::scalar* d_key,
                        typename X::scalar* d_v) {
  using V = typename X::V;
  for (int64_t a = 0; a < keys.stride; a += X::LANES) {
    V k[ROWS], s[ROWS], sum[ROWS], sum_v = load<X>(d_v + a);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) {
      k[r] = keys.template at<MODE>(t + r, a);
      sum[r] = V{};
    }
    for (int64_t step = 0; step < steps; ++step) {
      sigma<X, MODE, ROWS>(k, load<X>(q + step * keys.stride + a), s);
      const typename X::scalar* d = d_energy + step * d_energy_stride + t;
#pragma GCC unroll 4
      for (int r = 0; r < ROWS; ++r) {
        const V part = d[r] * s[r];
        sum_v += part;
        sum[r] += X::fma(-part, s[r], part);
      }
    }
    store<X>(d_v + a, sum_v);
    const V factor = 4 * load<X>(v + a);
    for (int r = 0; r < ROWS; ++r) {
      store<X>(d_key + (t + r) * keys.A + a, factor * sum[r], keys.A - a);
    }
  }
}

template <class X, Mode MODE>
__attribute__((noinline)) void key_gradient(const Keys<X>& keys, int64_t length, int64_t steps,
                                            const typename X::scalar* q,
                                            const typename X::scalar* d_energy,
                                            int64_t d_energy_stride, const typename X::scalar* v,
                                            typename X::scalar* d_key, typename X::scalar* d_v) {
  int64_t t = 0;
  for (; t + 4 <= length; t += 4) {
    key_rows<X, MODE, 4>(keys, t, steps, q, d_energy, d_energy_stride, v, d_key, d_v);
  }
  for (; t < length; ++t) {
    key_rows<X, MODE, 1>(keys, t, steps, q, d_energy, d_energy_stride, v, d_key, d_v);
  }
}

// P = e^{2 key} of a line; returns max |key|
template <class X>
typename X::scalar prepare_keys(const typename X::scalar* key, int64_t length, int64_t A,
                                typename X::scalar* P) {
  using V = typename X::V;
  const int64_t stride = round_up(A, X::LANES);
  V bound{};
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t a = 0; a < stride; a += X::LANES) {
      const V k = load<X>(key + t * A + a, A - a);
      bound = maximum<X>(bound, absolute<X>(k));
      store<X>(P + t * stride + a, X::exp(2 * k));
    }
  }
  return X::largest(bound);
}

// Q = e^{2q}, padded to the stride; returns max |q|
template <class X>
typename X::scalar prepare_query(const typename X::scalar* q, int64_t A, typename X::scalar* Q) {
  using V = typename X::V;
  V bound{};
  for (int64_t a = 0; a < A; a += X::LANES) {
    const V x = load<X>(q + a, A - a);
    bound = maximum<X>(bound, absolute<X>(x));
    store<X>(Q + a, X::exp(2 * x));
  }
  return X::largest(bound);
}

template <class X>
void pad_query(const typename X::scalar* q, int64_t A, typename X::scalar* padded) {
  copy<X>(padded, q, A);
  fill<X>(padded + A, round_up(A, X::LANES) - A, 0);
}

// in place: energies [length] -> weight, the buffer holding whole vectors
template <class X>
void softmax(typename X::scalar* x, int64_t length) {
  using V = typename X::V;
  typename X::scalar top = x[0];
  for (int64_t t = 1; t < length; ++t) top = x[t] > top ? x[t] : top;
  for (int64_t t = length; t < round_up(length, X::LANES); ++t) x[t] = -__builtin_inf();
  V sum{};
  for (int64_t t = 0; t < length; t += X::LANES) {
    const V y = X::exp(load<X>(x + t) - top);
    store<X>(x + t, y);
    sum += y;
  }
  const typename X::scalar scale = 1 / X::sum(sum);
  for (int64_t t = 0; t < length; t += X::LANES) store<X>(x + t, load<X>(x + t) * scale);
}

// y[e] (+)= sum_r w[r] x[r][e] for ROWS rows
template <class X, int ROWS>
KF_INLINE void add_rows(const typename X::scalar* w, const typename X::scalar* x, int64_t E,
                        typename X::scalar* y) {
  for (int64_t e = 0; e < E; e += X::LANES) {
    typename X::V sum = load<X>(y + e, E - e);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) sum = X::fma(all<X>(w[r]), load<X>(x + r * E + e, E - e), sum);
    store<X>(y + e, sum, E - e);
  }
}

template <class X>
void weighted_sum(int64_t length, int64_t E, const typename X::scalar* w,
                  const typename X::scalar* x, typename X::scalar* y) {
  fill<X>(y, E, 0);
  int64_t t = 0;
  for (; t + 4 <= length; t += 4) add_rows<X, 4>(w + t, x + t * E, E, y);
  for (; t < length; ++t) add_rows<X, 1>(w + t, x + t * E, E, y);
}

template <class X, int ROWS>
KF_INLINE void dot_rows(const typename X::scalar* x, const typename X::scalar* y, int64_t E,
                        typename X::scalar* out) {
  typename X::V sum[ROWS];
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; ++r) sum[r] = typename X::V{};
  for (int64_t e = 0; e < E; e += X::LANES) {
    const typename X::V factor = load<X>(y + e, E - e);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) sum[r] = X::fma(factor, load<X>(x + r * E + e, E - e), sum[r]);
  }
  for (int r = 0; r < ROWS; ++r) out[r] = X::sum(sum[r]);
}

// out[t] = x[t] . y
template <class X>
void dots(int64_t length, int64_t E, const typename X::scalar* x, const typename X::scalar* y,
          typename X::scalar* out) {
  int64_t t = 0;
  for (; t + 4 <= length; t += 4) dot_rows<X, 4>(x + t * E, y, E, out + t);
  for (; t < length; ++t) dot_rows<X, 1>(x + t * E, y, E, out + t);
}

// ---- the two loops over steps

// Elements that one group of `count` lines needs, forward or backward
template <class X>
int64_t sequence_workspace(const CpuSequenceDims& d, int64_t count) {
  const int64_t stride = round_up(d.A, X::LANES), cuts = 8 * X::LANES;
  const int64_t forward = count * (d.A + 6 * d.H) + 2 * stride + d.T + X::ROWS * larger(d.H, d.E);
  const int64_t backward =
      count * d.H + (3 + d.S) * stride + X::ROWS * larger(d.A + 3 * d.H, d.S);
  return round_up(count * (d.T * stride + 1) + larger(forward, backward) + cuts, 16);
}

template <class X>
void sequence_forward(const SequenceForward<typename X::scalar>& p, const int64_t* line, int64_t count,
             typename X::scalar* space) {
  using scalar = typename X::scalar;
  const int64_t S = p.dims.S, T = p.dims.T, A = p.dims.A, E = p.dims.E, H = p.dims.H;
  const int64_t stride = round_up(A, X::LANES), width = A + 3 * H;
  Workspace<X> cut{space};
  scalar* P = cut.take(count * T * stride);
  scalar* key_bound = cut.take(count);
  scalar* hidden = cut.take(count * width);        // [count, A + 3H]: q, then r, z, n
  scalar* context_part = cut.take(count * 3 * H);  // [count, 3H]
  scalar* Q = cut.take(stride);
  scalar* v = cut.take(stride);
  scalar* energy = cut.take(T);
  scalar* scratch = cut.take(X::ROWS * larger(H, E));

  pad_query<X>(p.v, A, v);
  fill<X>(Q, stride, 0);
  int64_t steps = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = line[i], end = p.target_length[b];
    steps = larger(steps, end);
    key_bound[i] = 0;
    if (end > 0) {
      key_bound[i] = prepare_keys<X>(p.key + b * T * A, p.length[b], A, P + i * T * stride);
    }
    fill<X>(p.state + (b * S + end) * H, (S - end) * H, 0);
    fill<X>(p.context + (b * S + end) * E, (S - end) * E, 0);
    fill<X>(p.weight + (b * S + end) * T, (S - end) * T, 0);
    fill<X>(p.gates + (b * S + end) * 4 * H, (S - end) * 4 * H, 0);
    fill<X>(p.q + (b * S + end) * A, (S - end) * A, 0);
  }

  int64_t live = count;
  for (int64_t s = 0; s < steps; ++s) {
    while (p.target_length[line[live - 1]] <= s) --live;
    const auto row = [&](int64_t i) { return line[i] * S + s; };
    const auto h = [&](int64_t i) {
      return s == 0 ? p.h_0 + line[i] * H : p.state + (row(i) - 1) * H;
    };
    // 1. query and the recurrent part of the gates, of the previous state
    product_packed<X>(
        live, width, H, h, p.W_state,
        [&](int64_t i) { return hidden + i * width; }, false, scratch);
    for (int64_t i = 0; i < live; ++i) {
      const int64_t b = line[i], length = p.length[b];
      // 2. additive attention
      const scalar* q = hidden + i * width;
      copy<X>(p.q + row(i) * A, q, A);
      const scalar q_bound = prepare_query<X>(q, A, Q);
      const Keys<X> keys{P + i * T * stride, p.key + b * T * A, A, stride};
      switch (mode_of<X>(key_bound[i], q_bound)) {
        case Mode::PAIRED:
          energies<X, Mode::PAIRED>(keys, length, Q, v, energy);
          break;
        case Mode::FACTORED:
          energies<X, Mode::FACTORED>(keys, length, Q, v, energy);
          break;
        case Mode::DIRECT:
          pad_query<X>(q, A, Q);
          energies<X, Mode::DIRECT>(keys, length, Q, v, energy);
          break;
      }
      softmax<X>(energy, length);
      scalar* weight = p.weight + row(i) * T;
      copy<X>(weight, energy, length);
      fill<X>(weight + length, T - length, 0);
      // 3. context
      weighted_sum<X>(length, E, weight, p.memory + b * T * E, p.context + row(i) * E);
    }
    // 4. GRU cell
    product_packed<X>(
        live, 3 * H, E, [&](int64_t i) { return p.context + row(i) * E; }, p.W_ic,
        [&](int64_t i) { return context_part + i * 3 * H; }, false, scratch);
    for (int64_t i = 0; i < live; ++i) {
      gru_cell<X>(H, p.gate_input + row(i) * 3 * H, context_part + i * 3 * H,
                  hidden + i * width + A, p.b_hh, h(i), p.state + row(i) * H,
                  p.gates + row(i) * 4 * H);
    }
  }
}

template <class X>
void sequence_backward(const SequenceBackward<typename X::scalar>& p, const int64_t* line, int64_t count,
              typename X::scalar* space) {
  using scalar = typename X::scalar;
  constexpr int64_t PANEL = X::PANEL * X::LANES;
  const int64_t S = p.dims.S, T = p.dims.T, A = p.dims.A, E = p.dims.E, H = p.dims.H;
  const int64_t stride = round_up(A, X::LANES), width = A + 4 * H;
  const int64_t T_stride = round_up(T, X::LANES), E_stride = round_up(E, PANEL);
  Workspace<X> cut{space};
  scalar* P = cut.take(count * T * stride);
  scalar* key_bound = cut.take(count);
  scalar* d_h = cut.take(count * H);
  scalar* v = cut.take(stride);
  scalar* d_q = cut.take(stride);
  scalar* d_v = cut.take(stride);
  scalar* Q = cut.take(S * stride);
  scalar* scratch = cut.take(X::ROWS * larger(A + 3 * H, S));

  pad_query<X>(p.v, A, v);
  fill<X>(Q, S * stride, 0);
  fill<X>(d_h, count * H, 0);
  int64_t steps = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = line[i], end = p.target_length[b];
    steps = larger(steps, end);
    key_bound[i] = 0;
    if (end > 0) {
      key_bound[i] = prepare_keys<X>(p.key + b * T * A, p.length[b], A, P + i * T * stride);
    }
    fill<X>(p.d_gate_input + (b * S + end) * 3 * H, (S - end) * 3 * H, 0);
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
      gru_cell_backward<X>(H, p.gates + row(i) * 4 * H, h,
                           p.d_state ? p.d_state + row(i) * H : nullptr, d_h + i * H, d_gates,
                           d_gates + 3 * H, p.d_gate_input + row(i) * 3 * H);
      copy<X>(p.h_row + packed(i) * H, h, H);
      copy<X>(p.context_row + packed(i) * E, p.context + row(i) * E, E);
      scalar* d_context = p.d_context_row + packed(i) * E_stride;
      if (p.d_context) {
        copy<X>(d_context, p.d_context + row(i) * E, E);
      } else {
        fill<X>(d_context, E, 0);
      }
    }
    product_packed<X>(
        live, E, 3 * H,
        [&](int64_t i) { return p.d_product + packed(i) * width + A + H; }, p.W_ic,
        [&](int64_t i) { return p.d_context_row + packed(i) * E_stride; }, true, scratch);
    for (int64_t i = 0; i < live; ++i) {
      const int64_t b = line[i], length = p.length[b];
      // 3. context
      const scalar* weight = p.weight + row(i) * T;
      scalar* d_energy = p.d_energy_row + packed(i) * T_stride;
      dots<X>(length, E, p.memory + b * T * E, p.d_context_row + packed(i) * E_stride, d_energy);
      if (p.d_weight) {
        for (int64_t t = 0; t < length; ++t) d_energy[t] += p.d_weight[row(i) * T + t];
      }
      // 2. additive attention
      scalar mean = 0;
      for (int64_t t = 0; t < length; ++t) mean += weight[t] * d_energy[t];
      for (int64_t t = 0; t < length; ++t) d_energy[t] = weight[t] * (d_energy[t] - mean);
      const scalar* q = p.q + row(i) * A;
      const scalar q_bound = prepare_query<X>(q, A, Q);
      const Keys<X> keys{P + i * T * stride, p.key + b * T * A, A, stride};
      fill<X>(d_q, stride, 0);
      switch (mode_of<X>(key_bound[i], q_bound)) {
        case Mode::PAIRED:
          query_gradient<X, Mode::PAIRED>(keys, length, Q, d_energy, d_q);
          break;
        case Mode::FACTORED:
          query_gradient<X, Mode::FACTORED>(keys, length, Q, d_energy, d_q);
          break;
        case Mode::DIRECT:
          pad_query<X>(q, A, Q);
          query_gradient<X, Mode::DIRECT>(keys, length, Q, d_energy, d_q);
          break;
      }
      scalar* out = p.d_product + packed(i) * width;
      for (int64_t a = 0; a < A; ++a) out[a] = 4 * v[a] * d_q[a];
    }
    // 1. query and the recurrent part of the gates
    product_packed<X>(
        live, H, A + 3 * H, [&](int64_t i) { return p.d_product + packed(i) * width; }, p.W_state,
        [&](int64_t i) { return d_h + i * H; }, true, scratch);
  }

  // what needs no order of steps, line by line
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = line[i], length = p.length[b], end = p.target_length[b];
    copy<X>(p.d_h_0 + b * H, d_h + i * H, H);
    scalar* d_key = p.d_key + b * T * A;
    scalar* d_memory = p.d_memory + b * T * E;
    const int64_t used = end > 0 ? length : 0;
    fill<X>(d_key + used * A, (T - used) * A, 0);
    fill<X>(d_memory + used * E, (T - used) * E, 0);
    fill<X>(d_v, stride, 0);
    if (end > 0) {
      scalar q_bound = 0;
      for (int64_t s = 0; s < end; ++s) {
        const scalar bound = prepare_query<X>(p.q + (b * S + s) * A, A, Q + s * stride);
        q_bound = bound > q_bound ? bound : q_bound;
      }
      const Keys<X> keys{P + i * T * stride, p.key + b * T * A, A, stride};
      const scalar* d_energy = p.d_energy_row + p.offset[b] * T_stride;
      switch (mode_of<X>(key_bound[i], q_bound)) {
        case Mode::PAIRED:
          key_gradient<X, Mode::PAIRED>(keys, length, end, Q, d_energy, T_stride, v, d_key, d_v);
          break;
        case Mode::FACTORED:
          key_gradient<X, Mode::FACTORED>(keys, length, end, Q, d_energy, T_stride, v, d_key, d_v);
          break;
        case Mode::DIRECT:
          for (int64_t s = 0; s < end; ++s) {
            pad_query<X>(p.q + (b * S + s) * A, A, Q + s * stride);
          }
          key_gradient<X, Mode::DIRECT>(keys, length, end, Q, d_energy, T_stride, v, d_key, d_v);
          break;
      }
      const scalar* weight = p.weight + b * S * T;
      product<X>(
          length, E, end, [&](int64_t t) { return weight + t; }, T,
          p.d_context_row + p.offset[b] * E_stride, PANEL, E_stride,
          [&](int64_t t) { return d_memory + t * E; }, false, scratch);
    }
    for (int64_t a = 0; a < A; ++a) p.d_v_line[b * A + a] = -2 * d_v[a];
  }
}

}  // namespace
}  // namespace khmer_fast
