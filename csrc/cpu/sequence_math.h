// Arithmetic of the sequence operators for any width of vector. A file of one instruction set sets
// its target pragma and includes this: hence everything has internal linkage and nothing of std or
// ATen is instantiated here (it could be merged into baseline code).
//
// X, the lane type: scalar; V, a vector of LANES scalars; ROWS x PANEL, the vectors that a tile of
// a product keeps in registers; fma, exp, tanh, sum, largest and reciprocal. The build forbids the
// compiler to fuse, so what is to be fused says so.
#pragma once

#include <cstdint>

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

// e^x to 1 ulp or so; 0 below -87.3, finite above 88.3, NaN stays NaN.
// X: V, a vector of float, and I, of int32. Polynomial: Cephes expf.
template <class X>
KF_INLINE typename X::V exp_float(typename X::V x) {
  using V = typename X::V;
  const V y = x > 88.3f ? V{} + 88.3f : x;
  const V shift = X::fma(y, V{} + 1.44269504f, V{} + 12582912.f);  // rounds
  const V n = shift - 12582912.f;
  const V r = X::fma(n, V{} + 2.12194440e-4f, X::fma(n, V{} - 0.693359375f, y));
  V p = X::fma(r, V{} + 1.9875691500e-4f, V{} + 1.3981999507e-3f);
  p = X::fma(p, r, V{} + 8.3334519073e-3f);
  p = X::fma(p, r, V{} + 4.1665795894e-2f);
  p = X::fma(p, r, V{} + 1.6666665459e-1f);
  p = X::fma(p, r, V{} + 5.0000001201e-1f);
  p = X::fma(p, r * r, r) + 1.f;
  const typename X::I scale = ((typename X::I)shift << 23) + 0x3f800000;
  const V e = p * (V)scale;
  return x < -87.3f ? V{} : e;
}

// tanh to 2 ulp or so. Polynomial of the small half: Cephes tanhf.
template <class X>
KF_INLINE typename X::V tanh_float(typename X::V x) {
  using V = typename X::V;
  const V square = x * x;
  V p = X::fma(square, V{} - 5.70498872745e-3f, V{} + 2.06390887954e-2f);
  p = X::fma(p, square, V{} - 5.37397155531e-2f);
  p = X::fma(p, square, V{} + 1.33314422036e-1f);
  p = X::fma(p, square, V{} - 3.33332819422e-1f);
  const V small = X::fma(p * square, x, x);
  const V large = 1.f - 2.f / (1.f + exp_float<X>(2.f * x));
  const V size = x < 0.f ? -x : x;
  return size < 0.625f ? small : large;
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
                            int64_t a_step, const typename X::scalar* b, int64_t b_panel, int64_t b_step,
                            const C& c, bool accumulate, typename X::scalar* scratch) {
  if constexpr (ROWS > 0) {
    if (rows != ROWS) {
      product_from<X, ROWS - 1>(row, rows, N, K, a, a_step, b, b_panel, b_step, c, accumulate,
                                scratch);
      return;
    }
    for (int i = 0; i < ROWS; ++i) {
      const typename X::scalar* from = a(row + i);
      for (int64_t k = 0; k < K; ++k) scratch[k * ROWS + i] = from[k * a_step];
    }
    product_rows<X, ROWS>(row, N, K, scratch, b, b_panel, b_step, c, accumulate);
  }
}

// a(i), c(i): where a row begins, a's elements a_step apart; b: panels b_panel apart, their rows
// b_step apart; scratch [K * ROWS]
template <class X, class A, class C>
void product(int64_t M, int64_t N, int64_t K, const A& a, int64_t a_step,
             const typename X::scalar* b,
             int64_t b_panel, int64_t b_step, const C& c, bool accumulate,
             typename X::scalar* scratch) {
  const int64_t blocks = (M + X::ROWS - 1) / X::ROWS;
  for (int64_t block = 0, row = 0; block < blocks; ++block) {
    const int64_t rows = (M - row) / (blocks - block);
    product_from<X, X::ROWS>(row, rows, N, K, a, a_step, b, b_panel, b_step, c, accumulate,
                             scratch);
    row += rows;
  }
}

template <class X, class A, class C>
KF_INLINE void product_packed(int64_t M, int64_t N, int64_t K, const A& a,
                              const typename X::scalar* b, const C& c, bool accumulate,
                              typename X::scalar* scratch) {
  constexpr int64_t WIDTH = X::PANEL * X::LANES;
  product<X>(M, N, K, a, 1, b, K * WIDTH, WIDTH, c, accumulate, scratch);
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

// ---- GRU gates (torch's variant)

template <class X>
void gru_cell(int64_t H, const typename X::scalar* input,     // [3H]
              const typename X::scalar* input_rest,           // [3H], to be added, or null
              const typename X::scalar* hidden,               // [3H], without the bias
              const typename X::scalar* b_hh, const typename X::scalar* h,
              typename X::scalar* h_new,
              typename X::scalar* gates) {  // [4H]: r, z, n and W_hn h + b_hn
  using V = typename X::V;
  for (int64_t i = 0; i < H; i += X::LANES) {
    const int64_t n = H - i;
    V in[3], rec[3];
#pragma GCC unroll 3
    for (int g = 0; g < 3; ++g) {
      in[g] = load<X>(input + g * H + i, n);
      if (input_rest) in[g] += load<X>(input_rest + g * H + i, n);
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
void gru_cell_backward(int64_t H, const typename X::scalar* gates, const typename X::scalar* h,
                       const typename X::scalar* d_state,   // [H] or null
                       typename X::scalar* d_h,             // [H]
                       typename X::scalar* d_hidden,        // [3H]: n, r, z
                       typename X::scalar* d_input_n,       // [H] or null
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
    store<X>(d_hidden + i, d_c * r, n);
    store<X>(d_hidden + H + i, d_r, n);
    store<X>(d_hidden + 2 * H + i, d_z, n);
    if (d_input_n) store<X>(d_input_n + i, d_c, n);
    store<X>(d_gate_input + i, d_r, n);
    store<X>(d_gate_input + H + i, d_z, n);
    store<X>(d_gate_input + 2 * H + i, d_c, n);
  }
}

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

}  // namespace
}  // namespace khmer_fast
