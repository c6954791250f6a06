// The math of attn_gru_sequence for one instruction set. A file attn_gru_sequence_<set>.cpp sets
// its target pragma, defines the lane types and includes this: hence everything has internal
// linkage and nothing of std or ATen is instantiated here (it could be merged into baseline code).
//
// X, the lane type: scalar; V, a vector of LANES scalars; ROWS x PANEL, the vectors that a tile of
// a product keeps in registers; fma, exp, tanh, sum, largest and reciprocal. The build forbids the
// compiler to fuse, so what is to be fused says so.

#include "attn_gru_sequence_cpu.h"

namespace khmer_fast {
namespace {

#define KF_INLINE inline __attribute__((always_inline))

constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

template <class X>
KF_INLINE typename X::V load(const typename X::scalar* x) {
  typename X::V y;
  __builtin_memcpy(&y, x, sizeof y);
  return y;
}

template <class X>
KF_INLINE void store(typename X::scalar* x, typename X::V y) {
  __builtin_memcpy(x, &y, sizeof y);
}

// n elements, the other lanes 0
template <class X>
KF_INLINE typename X::V load(const typename X::scalar* x, int64_t n) {
  if (n >= X::LANES) return load<X>(x);
  typename X::V y{};
  for (int64_t i = 0; i < n; ++i) y[i] = x[i];
  return y;
}

template <class X>
KF_INLINE void store(typename X::scalar* x, typename X::V y, int64_t n) {
  if (n >= X::LANES) {
    store<X>(x, y);
  } else {
    for (int64_t i = 0; i < n; ++i) x[i] = y[i];
  }
}

template <class X>
KF_INLINE typename X::V all(typename X::scalar x) {
  return x - typename X::V{};
}

template <class X>
KF_INLINE typename X::V maximum(typename X::V a, typename X::V b) {
  return b > a ? b : a;
}

template <class X>
KF_INLINE typename X::V absolute(typename X::V x) {
  return x < 0 ? -x : x;
}

template <class X>
KF_INLINE typename X::V sigmoid(typename X::V x) {
  return 1 / (1 + X::exp(-x));
}

template <class X>
KF_INLINE void fill(typename X::scalar* x, int64_t n, typename X::scalar value) {
  for (int64_t i = 0; i < n; ++i) x[i] = value;
}

template <class X>
KF_INLINE void copy(typename X::scalar* to, const typename X::scalar* from, int64_t n) {
  __builtin_memcpy(to, from, n * sizeof(typename X::scalar));
}

// ---- products: C[i][n] (+)= sum_k A[i][k] B[k][n]. Each element is one chain over k, whatever the
// number of rows, so that a line's result depends on no other line.

template <class X, int ROWS>
KF_INLINE void tile(int64_t K, const typename X::scalar* a, const typename X::scalar* b,
                    int64_t b_step, typename X::V (&sum)[ROWS][X::PANEL]) {
  using V = typename X::V;
  for (int64_t k = 0; k < K; ++k, a += ROWS, b += b_step) {
    V column[X::PANEL];
#pragma GCC unroll 8
    for (int j = 0; j < X::PANEL; ++j) column[j] = load<X>(b + j * X::LANES);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < X::PANEL; ++j) sum[i][j] = X::fma(all<X>(a[i]), column[j], sum[i][j]);
    }
  }
}

// ROWS rows from `row` on; a is [K][ROWS]
template <class X, int ROWS, class C>
__attribute__((noinline)) void product_rows(int64_t row, int64_t N, int64_t K,
                                            const typename X::scalar* a,
                                            const typename X::scalar* b, int64_t b_panel,
                                            int64_t b_step, const C& c, bool accumulate) {
  using V = typename X::V;
  constexpr int64_t WIDTH = X::PANEL * X::LANES;
  for (int64_t n = 0; n < N; n += WIDTH, b += b_panel) {
    const int64_t width = smaller(WIDTH, N - n);
    V sum[ROWS][X::PANEL];
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < X::PANEL; ++j) sum[i][j] = V{};
    }
    tile<X, ROWS>(K, a, b, b_step, sum);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      typename X::scalar* out = c(row + i) + n;
#pragma GCC unroll 8
      for (int j = 0; j < X::PANEL; ++j) {
        const int64_t left = width - j * X::LANES;
        if (left <= 0) continue;
        typename X::scalar* to = out + j * X::LANES;
        store<X>(to, accumulate ? load<X>(to, left) + sum[i][j] : sum[i][j], left);
      }
    }
  }
}

template <class X, int ROWS, class A, class C>
KF_INLINE void product_from(int64_t row, int64_t rows, int64_t N, int64_t K, const A& a,
                            const typename X::scalar* b, int64_t b_panel, int64_t b_step,
                            const C& c, bool accumulate, typename X::scalar* scratch) {
  if constexpr (ROWS > 0) {
    if (rows != ROWS) {
      product_from<X, ROWS - 1>(row, rows, N, K, a, b, b_panel, b_step, c, accumulate, scratch);
      return;
    }
    for (int i = 0; i < ROWS; ++i) {
      for (int64_t k = 0; k < K; ++k) scratch[k * ROWS + i] = a(row + i, k);
    }
    product_rows<X, ROWS>(row, N, K, scratch, b, b_panel, b_step, c, accumulate);
  }
}

// a(i, k) gives an element, c(i) a row; b: panels b_panel apart, their rows b_step apart;
// scratch [K * ROWS]
template <class X, class A, class C>
void product(int64_t M, int64_t N, int64_t K, const A& a, const typename X::scalar* b,
             int64_t b_panel, int64_t b_step, const C& c, bool accumulate,
             typename X::scalar* scratch) {
  const int64_t blocks = (M + X::ROWS - 1) / X::ROWS;
  for (int64_t block = 0, row = 0; block < blocks; ++block) {
    const int64_t rows = (M - row) / (blocks - block);
    product_from<X, X::ROWS>(row, rows, N, K, a, b, b_panel, b_step, c, accumulate, scratch);
    row += rows;
  }
}

template <class X, class A, class C>
KF_INLINE void product_packed(int64_t M, int64_t N, int64_t K, const A& a,
                              const typename X::scalar* b, const C& c, bool accumulate,
                              typename X::scalar* scratch) {
  constexpr int64_t WIDTH = X::PANEL * X::LANES;
  product<X>(M, N, K, a, b, K * WIDTH, WIDTH, c, accumulate, scratch);
}

template <class X>
void pack_transposed(int64_t N, int64_t K, const typename X::scalar* W,
                     typename X::scalar* packed) {
  constexpr int64_t WIDTH = X::PANEL * X::LANES;
  for (int64_t n = 0; n < round_up(N, WIDTH); ++n) {
    typename X::scalar* to = packed + n / WIDTH * K * WIDTH + n % WIDTH;
    for (int64_t k = 0; k < K; ++k) to[k * WIDTH] = n < N ? W[n * K + k] : 0;
  }
}

template <class X>
void pack(int64_t K, int64_t N, const typename X::scalar* W, typename X::scalar* packed) {
  constexpr int64_t WIDTH = X::PANEL * X::LANES;
  for (int64_t n = 0; n < N; n += WIDTH) {
    const int64_t width = smaller(WIDTH, N - n);
    for (int64_t k = 0; k < K; ++k, packed += WIDTH) {
      copy<X>(packed, W + k * N + n, width);
      fill<X>(packed + width, WIDTH - width, 0);
    }
  }
}

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

// ---- GRU gates (torch's variant)

template <class X>
void gru_forward(int64_t H, const typename X::scalar* input,   // [3H], without the context's part
                 const typename X::scalar* context_part,       // [3H]
                 const typename X::scalar* hidden,             // [3H], without the bias
                 const typename X::scalar* b_hh, const typename X::scalar* h,
                 typename X::scalar* h_new, typename X::scalar* gates) {
  using V = typename X::V;
  for (int64_t i = 0; i < H; i += X::LANES) {
    const int64_t n = H - i;
    V in[3], rec[3];
#pragma GCC unroll 3
    for (int g = 0; g < 3; ++g) {
      in[g] = load<X>(input + g * H + i, n) + load<X>(context_part + g * H + i, n);
      rec[g] = load<X>(hidden + g * H + i, n) + load<X>(b_hh + g * H + i, n);
    }
    const V r = sigmoid<X>(in[0] + rec[0]);
    const V z = sigmoid<X>(in[1] + rec[1]);
    const V c = X::tanh(in[2] + r * rec[2]);
    store<X>(h_new + i, c + z * (load<X>(h + i, n) - c), n);
    store<X>(gates + i, r, n);
    store<X>(gates + H + i, z, n);
    store<X>(gates + 2 * H + i, c, n);
    store<X>(gates + 3 * H + i, rec[2], n);
  }
}

// d_h in: of h'; out: its part that goes straight to h
template <class X>
void gru_backward(int64_t H, const typename X::scalar* gates, const typename X::scalar* h,
                  const typename X::scalar* d_state,  // [H] or null
                  typename X::scalar* d_h,
                  typename X::scalar* d_gates,         // [4H]: the hidden n, r, z, the input n
                  typename X::scalar* d_gate_input) {  // [3H]
  using V = typename X::V;
  for (int64_t i = 0; i < H; i += X::LANES) {
    const int64_t n = H - i;
    V d = load<X>(d_h + i, n);
    if (d_state) d += load<X>(d_state + i, n);
    const V r = load<X>(gates + i, n), z = load<X>(gates + H + i, n);
    const V c = load<X>(gates + 2 * H + i, n), rec = load<X>(gates + 3 * H + i, n);
    const V d_c = d * (1 - z) * (1 - c * c);
    const V d_r = d_c * rec * r * (1 - r);
    const V d_z = d * (load<X>(h + i, n) - c) * z * (1 - z);
    store<X>(d_h + i, d * z, n);
    store<X>(d_gates + i, d_c * r, n);
    store<X>(d_gates + H + i, d_r, n);
    store<X>(d_gates + 2 * H + i, d_z, n);
    store<X>(d_gates + 3 * H + i, d_c, n);
    store<X>(d_gate_input + i, d_r, n);
    store<X>(d_gate_input + H + i, d_z, n);
    store<X>(d_gate_input + 2 * H + i, d_c, n);
  }
}

// ---- the two loops over steps

// Cuts the workspace into pieces that start at whole vectors.
template <class X>
struct Workspace {
  typename X::scalar* at;
  typename X::scalar* take(int64_t n) {
    typename X::scalar* piece = at;
    at += round_up(n, X::LANES);
    return piece;
  }
};

// Elements that one group of `count` lines needs, forward or backward
template <class X>
int64_t workspace(const CpuSequenceDims& d, int64_t count) {
  const int64_t stride = round_up(d.A, X::LANES), cuts = 8 * X::LANES;
  const int64_t forward = count * (d.A + 6 * d.H) + 2 * stride + d.T + X::ROWS * larger(d.H, d.E);
  const int64_t backward =
      count * d.H + (3 + d.S) * stride + X::ROWS * larger(d.A + 3 * d.H, d.S);
  return round_up(count * (d.T * stride + 1) + larger(forward, backward) + cuts, 16);
}

template <class X>
void forward(const SequenceForward<typename X::scalar>& p, const int64_t* line, int64_t count,
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
        live, width, H, [&](int64_t i, int64_t k) { return h(i)[k]; }, p.W_state,
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
        live, 3 * H, E, [&](int64_t i, int64_t k) { return p.context[row(i) * E + k]; }, p.W_ic,
        [&](int64_t i) { return context_part + i * 3 * H; }, false, scratch);
    for (int64_t i = 0; i < live; ++i) {
      gru_forward<X>(H, p.gate_input + row(i) * 3 * H, context_part + i * 3 * H,
                     hidden + i * width + A, p.b_hh, h(i), p.state + row(i) * H,
                     p.gates + row(i) * 4 * H);
    }
  }
}

template <class X>
void backward(const SequenceBackward<typename X::scalar>& p, const int64_t* line, int64_t count,
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
      gru_backward<X>(H, p.gates + row(i) * 4 * H, h, p.d_state ? p.d_state + row(i) * H : nullptr,
                      d_h + i * H, p.d_product + packed(i) * width + A,
                      p.d_gate_input + row(i) * 3 * H);
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
        [&](int64_t i, int64_t k) { return p.d_product[packed(i) * width + A + H + k]; }, p.W_ic,
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
        live, H, A + 3 * H, [&](int64_t i, int64_t k) { return p.d_product[packed(i) * width + k]; },
        p.W_state, [&](int64_t i) { return d_h + i * H; }, true, scratch);
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
          length, E, end, [&](int64_t t, int64_t s) { return weight[s * T + t]; },
          p.d_context_row + p.offset[b] * E_stride, PANEL, E_stride,
          [&](int64_t t) { return d_memory + t * E; }, false, scratch);
    }
    for (int64_t a = 0; a < A; ++a) p.d_v_line[b * A + a] = -2 * d_v[a];
  }
}

template <class X>
constexpr SequenceKernels<typename X::scalar> kernels(const char* name) {
  return {name,          X::LANES,     X::PANEL * X::LANES, pack_transposed<X>,
          pack<X>,       workspace<X>, forward<X>,          backward<X>};
}

}  // namespace
}  // namespace khmer_fast
