// Additive attention in training, for one instruction set and V, a vector of floats or doubles:
// energies, the sum over the memory, and their gradients.
#pragma once

#include "cpu/attention_loops.h"
#include "cpu/training_loops.h"
#include "energy_form.h"

namespace khmer_fast {
namespace {

// tanh(k + q) = 2 (1/2 - s) with s = 1 / (1 + e^{2k} e^{2q}); its derivative is 4 s (1 - s). The
// 1/2, which softmax would drop, keeps the sum small and so its rounding.

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

  // Of positions t + ROWS on, as much as position t takes from a on for one vector of each row
  template <EnergyForm kForm, int ROWS>
  KHMER_FAST_INLINE void fetch_next(int64_t t, int64_t a) const {
    if constexpr (kForm != EnergyForm::kTanh) {
      fetch<ROWS * sizeof(V)>(P + (t + ROWS) * stride + ROWS * a);
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
    keys.template fetch_next<kForm, ROWS>(t, a);
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
    keys.template fetch_next<kForm, ROWS>(t, a);
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
                              int64_t q_stride, const Scalar<V>* d_energy, int64_t d_energy_stride,
                              const Scalar<V>* v, Scalar<V>* d_key, Scalar<V>* d_v) {
  for (int64_t a = 0; a < keys.stride; a += kLanesOf<V>) {
    V k[ROWS], s[ROWS], sum[ROWS], sum_v = load<V>(d_v + a);
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) {
      k[r] = keys.template at<kForm>(t + r, a);
      sum[r] = V{};
    }
    for (int64_t step = 0; step < steps; ++step) {
      sigma<V, kForm, ROWS>(k, load<V>(q + step * q_stride + a), s);
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
                                            const Scalar<V>* q, int64_t q_stride,
                                            const Scalar<V>* d_energy, int64_t d_energy_stride,
                                            const Scalar<V>* v, Scalar<V>* d_key, Scalar<V>* d_v) {
  int64_t t = 0;
  for (; t + 4 <= length; t += 4) {
    key_rows<V, kForm, 4>(keys, t, steps, q, q_stride, d_energy, d_energy_stride, v, d_key, d_v);
  }
  for (; t < length; ++t) {
    key_rows<V, kForm, 1>(keys, t, steps, q, q_stride, d_energy, d_energy_stride, v, d_key, d_v);
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

// Whole vectors of a row of n elements by step(i), what is left by step(i, elements)
template <class V, class Step>
KHMER_FAST_MATH void by_vectors(int64_t n, const Step& step) {
  int64_t i = 0;
  for (; i + kLanesOf<V> <= n; i += kLanesOf<V>) step(i);
  if (i < n) step(i, n - i);
}

// y[e] (+)= sum_r w[r] x[r][e] for ROWS rows
template <class V, int ROWS>
KHMER_FAST_MATH void add_rows(const Scalar<V>* w, const Scalar<V>* x, int64_t E, Scalar<V>* y) {
  V factor[ROWS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) factor[r] = splat<V>(w[r]);
  by_vectors<V>(E, [&](int64_t e, auto... left) __attribute__((always_inline)) {
    fetch<ROWS * sizeof(V)>(x + ROWS * (E + e));
    V sum = load<V>(y + e, left...);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) sum = fma(factor[r], load<V>(x + r * E + e, left...), sum);
    store(y + e, sum, left...);
  });
}

template <class V>
void weighted_sum(int64_t length, int64_t E, const Scalar<V>* w, const Scalar<V>* x, Scalar<V>* y) {
  clear(y, E);
  int64_t t = 0;
  for (; t + 8 <= length; t += 8) add_rows<V, 8>(w + t, x + t * E, E, y);
  for (; t < length; ++t) add_rows<V, 1>(w + t, x + t * E, E, y);
}

template <class V, int ROWS>
KHMER_FAST_MATH void dot_rows(const Scalar<V>* x, const Scalar<V>* y, int64_t E, Scalar<V>* out) {
  V sum[ROWS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) sum[r] = V{};
  by_vectors<V>(E, [&](int64_t e, auto... left) __attribute__((always_inline)) {
    fetch<ROWS * sizeof(V)>(x + ROWS * (E + e));
    const V factor = load<V>(y + e, left...);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) sum[r] = fma(factor, load<V>(x + r * E + e, left...), sum[r]);
  });
  for (int r = 0; r < ROWS; ++r) out[r] = sum_lanes(sum[r]);
}

// out[t] = x[t] . y
template <class V>
void dots(int64_t length, int64_t E, const Scalar<V>* x, const Scalar<V>* y, Scalar<V>* out) {
  int64_t t = 0;
  for (; t + 8 <= length; t += 8) dot_rows<V, 8>(x + t * E, y, E, out + t);
  for (; t < length; ++t) dot_rows<V, 1>(x + t * E, y, E, out + t);
}

}  // namespace
}  // namespace khmer_fast
