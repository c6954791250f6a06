// Products of matrices: C[i][n] = sum over k of A[i][k] B[n][k]. Each element is one chain over
// ascending k, whatever the number of rows, so that a line's result depends on no other line.
#pragma once

#include "cpu/isa/lanes.h"

namespace khmer_fast {
namespace {

// ---- how a tile reads its operands: A row by row, B by columns; kDepth values of k stand together

template <class V>
struct Operands {
  typedef Scalar<V> A;
  typedef Scalar<V> B;
  typedef V Vector;
  typedef V Sum;
  static constexpr int kDepth = 1;
  KHMER_FAST_MATH Vector broadcast(const A* a) { return splat<V>(*a); }
  KHMER_FAST_MATH Vector columns(const B* b) { return load<V>(b); }
  KHMER_FAST_MATH Sum add(Sum sum, Vector a, Vector b) { return fma(a, b, sum); }
};

#ifdef KHMER_FAST_BF16_PAIRS
struct Bf16Operands {
  typedef uint16_t A;
  typedef uint16_t B;
  typedef I Vector;  // of pairs
  typedef F Sum;
  static constexpr int kDepth = 2;
  KHMER_FAST_MATH Vector broadcast(const A* a) {
    int32_t pair;
    __builtin_memcpy(&pair, a, sizeof pair);
    return pair - I{};
  }
  KHMER_FAST_MATH Vector columns(const B* b) {
    I pairs;
    __builtin_memcpy(&pairs, b, sizeof pairs);
    return pairs;
  }
  KHMER_FAST_MATH Sum add(Sum sum, Vector a, Vector b) { return dot_pairs(sum, a, b); }
};
#else
// No instruction for it: B is stored in bfloat16 and widened, the arithmetic is float32.
struct Bf16Operands {
  typedef float A;
  typedef uint16_t B;
  typedef F Vector;
  typedef F Sum;
  static constexpr int kDepth = 1;
  KHMER_FAST_MATH Vector broadcast(const A* a) { return splat(*a); }
  KHMER_FAST_MATH Vector columns(const B* b) {
    U16 narrow;
    __builtin_memcpy(&narrow, b, sizeof narrow);
    return from_bits(__builtin_convertvector(narrow, I) << 16);
  }
  KHMER_FAST_MATH Sum add(Sum sum, Vector a, Vector b) { return fma(a, b, sum); }
};
#endif

// ---- where the matrices are: row i of A and the place of its value k, columns of B, what becomes
// of C

// A as rows `ld` apart.
template <class T>
struct Rows {
  const T* first;
  int64_t ld;
  KHMER_FAST_INLINE const T* row(int64_t i) const { return first + i * ld; }
  KHMER_FAST_INLINE int64_t at(int64_t k) const { return k; }
};

// A as the transpose of rows `step` apart.
template <class T>
struct Columns {
  const T* first;
  int64_t step;
  KHMER_FAST_INLINE const T* row(int64_t i) const { return first + i; }
  KHMER_FAST_INLINE int64_t at(int64_t k) const { return k * step; }
};

// B as pack.h lays it out, in panels of kVectors.
template <class T, int kVectors = kPanelVectors>
struct Panels {
  static constexpr int kPanel = kVectors;
  const T* first;
  int64_t K;
  KHMER_FAST_INLINE const T* columns(int64_t n) const { return first + n * K; }
  KHMER_FAST_INLINE int64_t ld(int64_t width) const { return width; }
};

// B as rows of k, `stride` apart, padded to whole panels.
template <class T>
struct PlainRows {
  static constexpr int kPanel = kPanelVectors;
  const T* first;
  int64_t stride;
  KHMER_FAST_INLINE const T* columns(int64_t n) const { return first + n; }
  KHMER_FAST_INLINE int64_t ld(int64_t) const { return stride; }
};

// C as rows `ld` apart and padded, plus `bias`, which may be null.
template <class V>
struct StoreRows {
  Scalar<V>* C;
  int64_t ld;
  const Scalar<V>* bias;
  KHMER_FAST_INLINE void operator()(int64_t i, int64_t n, V sum) const {
    store(C + i * ld + n, bias ? sum + load<V>(bias + n) : sum);
  }
};

// C as rows of N elements that begin anywhere: at begin(i); what stands there may be added to.
template <class V, bool kAccumulate, class Begin>
struct StoreScattered {
  int64_t N;
  const Begin& begin;
  KHMER_FAST_INLINE void operator()(int64_t i, int64_t n, V sum) const {
    Scalar<V>* to = begin(i) + n;
    if (n + kLanesOf<V> <= N)
      store(to, kAccumulate ? load<V>(to) + sum : sum);
    else if (n < N)
      store_part(to, sum, N - n);
  }
  __attribute__((noinline)) static void store_part(Scalar<V>* to, V sum, int64_t left) {
    store(to, kAccumulate ? load<V>(to, left) + sum : sum, left);
  }
};

// ---- the product

// Rows of a tile beside v vectors of columns, at most.
template <class O>
constexpr int most_rows(int v) {
  return kRows[v];
}

// Where a tile's row r has the value `at`, of the rows' first values: its own register each.
template <class MatrixA, class T>
static KHMER_FAST_INLINE const T* in_row(const MatrixA&, const T* const* first, int r, int64_t at) {
  return first[r] + at;
}

// R rows from i on times NV vectors of columns from n on. Meanwhile the columns `ahead` of these
// are fetched into the L2: with many rows the processor's own prefetching is too slow for weights
// that lie in the L3 or beyond.
template <class O, int NV, int R, class MatrixA, class Store>
__attribute__((noinline)) static void tile(int64_t K, int64_t i, int64_t n, const MatrixA& A,
                                           const typename O::B* b, int64_t ldb, int64_t ahead,
                                           const Store& out) {
  constexpr int kDepth = O::kDepth;
  constexpr int kLines = (NV * sizeof(typename O::Vector) + 63) / 64;
  typename O::Sum sum[R][NV];
  const typename O::A* a[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    a[r] = A.row(i + r);
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) sum[r][v] = typename O::Sum{};
  }
  for (int64_t k = 0; k < K; k += kDepth) {
    const int64_t at = A.at(k);
    typename O::Vector column[NV];
    if constexpr (R >= kRowsToFetch)
#pragma GCC unroll 16
      for (int line = 0; line < kLines; ++line)
        __builtin_prefetch(b + k * ldb + ahead + line * (64 / sizeof(typename O::B)), 0, 2);
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) {
      column[v] = O::columns(b + k * ldb + v * kLanesOf<typename O::Sum> * kDepth);
      keep(column[v]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const typename O::Vector value = O::broadcast(in_row(A, a, r, at));
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) sum[r][v] = O::add(sum[r][v], value, column[v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) out(i + r, n + v * kLanesOf<typename O::Sum>, sum[r][v]);
}

template <class O, int NV, int R, class MatrixA, class Store>
static void tile_rows(int64_t rows, int64_t K, int64_t i, int64_t n, const MatrixA& A,
                      const typename O::B* b, int64_t ldb, int64_t ahead, const Store& out) {
  if (rows == R) return tile<O, NV, R>(K, i, n, A, b, ldb, ahead, out);
  if constexpr (R > 1) tile_rows<O, NV, R - 1>(rows, K, i, n, A, b, ldb, ahead, out);
}

// NV vectors of columns, the rows in tiles of nearly the same size.
template <class O, int NV, class MatrixA, class Store>
static void tile_columns(int64_t M, int64_t K, int64_t n, const MatrixA& A, const typename O::B* b,
                         int64_t ldb, int64_t ahead, const Store& out) {
  constexpr int kMost = most_rows<O>(NV);
  const int64_t tiles = (M + kMost - 1) / kMost;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t i = M * t / tiles, rows = M * (t + 1) / tiles - i;
    tile_rows<O, NV, kMost>(rows, K, i, n, A, b, ldb, t == 0 ? ahead : 0, out);
  }
}

// K counts values, a multiple of kDepth. Columns of B from `padded(N)` on are left alone.
template <class O, class MatrixA, class MatrixB, class Store>
static void product(int64_t M, int64_t N, int64_t K, const MatrixA& A, const MatrixB& B,
                    const Store& out) {
  constexpr int64_t kVector = kLanesOf<typename O::Sum>, kPanel = MatrixB::kPanel;
  constexpr int64_t panel = kPanel * kVector;
  const int64_t columns = padded(N);
  const int64_t most = kPanel == kPanelVectors && M > kRows[kPanel] ? kManyRows : kPanel;
  for (int64_t n = 0; n < columns; n += panel) {
    const int64_t w = smaller(panel, columns - n), ldb = B.ld(w);
    const typename O::B* b = B.columns(n);
    for (int64_t j = 0; j < w;) {
      const int64_t vectors = smaller(most, (w - j) / kVector), next = j + vectors * kVector;
      const typename O::B* from = b + j * O::kDepth;
      const int64_t ahead = next < w              ? (next - j) * O::kDepth
                            : n + panel < columns ? B.columns(n + panel) - from
                                                  : 0;
      switch (vectors) {
        case 4:
          if constexpr (kPanelVectors >= 4)
            tile_columns<O, 4>(M, K, n + j, A, from, ldb, ahead, out);
          break;
        case 3:
          tile_columns<O, 3>(M, K, n + j, A, from, ldb, ahead, out);
          break;
        case 2:
          tile_columns<O, 2>(M, K, n + j, A, from, ldb, ahead, out);
          break;
        default:
          tile_columns<O, 1>(M, K, n + j, A, from, ldb, ahead, out);
      }
      j = next;
    }
  }
}

// ---- the products of kernels.h's table

static void gemm(int64_t M, int64_t N, int64_t K, const float* A, int64_t lda, const float* B,
                 const float* bias, float* C, int64_t ldc) {
  product<Operands<F>>(M, N, K, Rows<float>{A, lda}, Panels<float>{B, K},
                       StoreRows<F>{C, ldc, bias});
}

static void gemm_bf16(int64_t M, int64_t N, int64_t K, const void* A, int64_t lda,
                      const uint16_t* B, const float* bias, float* C, int64_t ldc) {
  typedef Bf16Operands::A Value;
  product<Bf16Operands>(M, N, K, Rows<Value>{static_cast<const Value*>(A), lda},
                        Panels<uint16_t>{B, K}, StoreRows<F>{C, ldc, bias});
}

static void to_bf16(const float* x, uint16_t* out, int64_t n) {
  for (int64_t i = 0; i < n; i += W) {
    const F value = load(x + i);
    const I word = bits(value);
    const I rounded = word + 0x7fff + ((word >> 16) & 1);
    const I quiet = word | 0x400000;  // rounding could turn a NaN into infinity
    const I result = value == value ? rounded : quiet;
    const U16 narrow = __builtin_convertvector(result >> 16, U16);
    __builtin_memcpy(out + i, &narrow, sizeof narrow);
  }
}

}  // namespace
}  // namespace khmer_fast
