// What the kernels of both sequence operators share, for one instruction set and V, a vector of
// floats or doubles.
#pragma once

#include "cpu/product.h"

namespace khmer_fast {
namespace {

template <class T>
KHMER_FAST_MATH void clear(T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = 0;
}

template <class T>
KHMER_FAST_MATH void copy(T* to, const T* from, int64_t n) {
  __builtin_memcpy(to, from, n * sizeof(T));
}

// Cuts the workspace into pieces that start at whole vectors.
template <class V>
struct Workspace {
  Scalar<V>* at;
  Scalar<V>* take(int64_t n) {
    Scalar<V>* piece = at;
    at += padded(n);
    return piece;
  }
};

// C (+)= A W^T for rows that begin at a(i) and c(i); W [N, K] packed; `rows` [M, K] holds A while
// it is multiplied, since rows a power of two apart would fall into the same few places of the
// cache.
template <class V, bool kAccumulate, class A, class C>
void multiply_rows(int64_t M, int64_t N, int64_t K, const A& a, const Scalar<V>* W, const C& c,
                   Scalar<V>* rows) {
  for (int64_t i = 0; i < M; ++i) copy<Scalar<V>>(rows + i * K, a(i), K);
  product<Operands<V>>(M, N, K, Rows<Scalar<V>>{rows, K}, Panels<Scalar<V>, kSequenceVectors>{W, K},
                       StoreScattered<V, kAccumulate, C>{N, c});
}

// Panels of a matrix whose first k rows are left out, `columns` of them in all
template <class T>
struct PanelsFrom {
  static constexpr int kPanel = kSequenceVectors;
  const T* first;
  int64_t K, k, columns_in_all, panel;
  KHMER_FAST_INLINE const T* columns(int64_t n) const {
    return first + n * K + k * smaller(panel, columns_in_all - n);
  }
  KHMER_FAST_INLINE int64_t ld(int64_t width) const { return width; }
};

// C [M, N] = A W^T + bias, the latter [N] or null: A [M, K], W [N, K] packed. A few rows at a time,
// so that they stay in the cache from panel to panel.
template <class V>
void linear(int64_t M, int64_t N, int64_t K, const Scalar<V>* A, const Scalar<V>* W,
            const Scalar<V>* bias, Scalar<V>* C) {
  constexpr int64_t kRowsTogether = 64;
  for (int64_t m = 0; m < M; m += kRowsTogether) {
    const int64_t rows = smaller(kRowsTogether, M - m);
    const auto to = [&](int64_t i) { return C + (m + i) * N; };
    if (bias)
      for (int64_t i = 0; i < rows; ++i) copy(to(i), bias, N);
    else
      clear(to(0), rows * N);
    product<Operands<V>>(rows, N, K, Rows<Scalar<V>>{A + m * K, K},
                         Panels<Scalar<V>, kSequenceVectors>{W, K},
                         StoreScattered<V, true, decltype(to)>{N, to});
  }
}

// C [M, N] = A^T X, the gradient of a weight: A [R, M], rows `lda` apart, X [R, N] packed by its
// columns. A few hundred rows at a time, so that those of A stay in the L2 from panel to panel.
template <class V>
void weight_gradient(int64_t M, int64_t N, int64_t R, const Scalar<V>* A, int64_t lda,
                     const Scalar<V>* X, Scalar<V>* C) {
  constexpr int64_t kRowsTogether = 512;
  const auto to = [&](int64_t i) { return C + i * N; };
  clear(C, M * N);
  for (int64_t r = 0; r < R; r += kRowsTogether) {
    product<Operands<V>>(M, N, smaller(kRowsTogether, R - r), Columns<Scalar<V>>{A + r * lda, lda},
                         PanelsFrom<Scalar<V>>{X, R, r, padded(N), kSequenceVectors * kLanesOf<V>},
                         StoreScattered<V, true, decltype(to)>{N, to});
  }
}

// ---- the gates, in torch's variant

template <class V>
void gru_cell(int64_t H, const Scalar<V>* input,  // [3H]
              const Scalar<V>* input_rest,        // [3H], to be added, or null
              const Scalar<V>* hidden,            // [3H], without the bias
              const Scalar<V>* b_hh, const Scalar<V>* h, Scalar<V>* h_new,
              Scalar<V>* gates) {  // [4H]: r, z, n and W_hn h + b_hn
  for (int64_t i = 0; i < H; i += kLanesOf<V>) {
    const int64_t n = H - i;
    V in[3], rec[3];
#pragma GCC unroll 3
    for (int g = 0; g < 3; ++g) {
      in[g] = load<V>(input + g * H + i, n);
      if (input_rest) in[g] += load<V>(input_rest + g * H + i, n);
      rec[g] = load<V>(hidden + g * H + i, n) + load<V>(b_hh + g * H + i, n);
    }
    const V r = sigmoid(in[0] + rec[0]);
    const V z = sigmoid(in[1] + rec[1]);
    const V c = fast_tanh(in[2] + r * rec[2]);
    store(h_new + i, c + z * (load<V>(h + i, n) - c), n);
    store(gates + i, r, n);
    store(gates + H + i, z, n);
    store(gates + 2 * H + i, c, n);
    store(gates + 3 * H + i, rec[2], n);
  }
}

// d_h in: of h'; out: its part that goes straight to h
template <class V>
void gru_cell_backward(int64_t H, const Scalar<V>* gates, const Scalar<V>* h,
                       const Scalar<V>* d_state,   // [H] or null
                       Scalar<V>* d_h,             // [H]
                       Scalar<V>* d_hidden,        // [3H]: n, r, z
                       Scalar<V>* d_input_n,       // [H] or null
                       Scalar<V>* d_gate_input) {  // [3H]
  for (int64_t i = 0; i < H; i += kLanesOf<V>) {
    const int64_t n = H - i;
    V d = load<V>(d_h + i, n);
    if (d_state) d += load<V>(d_state + i, n);
    const V r = load<V>(gates + i, n), z = load<V>(gates + H + i, n);
    const V c = load<V>(gates + 2 * H + i, n), rec = load<V>(gates + 3 * H + i, n);
    const V d_c = d * (1 - z) * (1 - c * c);
    const V d_r = d_c * rec * r * (1 - r);
    const V d_z = d * (load<V>(h + i, n) - c) * z * (1 - z);
    store(d_h + i, d * z, n);
    store(d_hidden + i, d_c * r, n);
    store(d_hidden + H + i, d_r, n);
    store(d_hidden + 2 * H + i, d_z, n);
    if (d_input_n) store(d_input_n + i, d_c, n);
    store(d_gate_input + i, d_r, n);
    store(d_gate_input + H + i, d_z, n);
    store(d_gate_input + 2 * H + i, d_c, n);
  }
}

}  // namespace
}  // namespace khmer_fast
