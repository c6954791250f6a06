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
