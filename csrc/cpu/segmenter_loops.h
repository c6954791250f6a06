// Kernels of the segmenter, for one instruction set.
#pragma once

#include "cpu/product.h"
#include "cpu/segmenter_kernels.h"

namespace khmer_fast {
namespace {

// C channels of W-wide places together, so that an input vector serves them all.
template <int C>
static void stem_channels(int64_t X, const float* const even[3], const float* const odd[3],
                          const float* weight, const float* b, float* out, int64_t plane) {
  for (int64_t x = 0; x < X; x += W) {
    F sum[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) sum[c] = splat(b[c]);
#pragma GCC unroll 3
    for (int dy = 0; dy < 3; ++dy) {
      const F left = load(odd[dy] + x - 1), middle = load(even[dy] + x), right = load(odd[dy] + x);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        const float* w = weight + c * 9 + dy * 3;
        sum[c] = fma(splat(w[0]), left, sum[c]);
        sum[c] = fma(splat(w[1]), middle, sum[c]);
        sum[c] = fma(splat(w[2]), right, sum[c]);
      }
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) store(out + c * plane + x, positive(sum[c]));
  }
}

static void stem(int64_t X, int64_t C, const float* const even[3], const float* const odd[3],
                 const float* weight, const float* b, float* out, int64_t plane) {
  int64_t c = 0;
  for (; c + 8 <= C; c += 8)
    stem_channels<8>(X, even, odd, weight + 9 * c, b + c, out + c * plane, plane);
  for (; c < C; ++c) stem_channels<1>(X, even, odd, weight + 9 * c, b + c, out + c * plane, plane);
}

// A as places `step` apart, whose values lie at `offset` [K] from them.
struct Places {
  const float* first;
  int64_t step;
  const int32_t* offset;
  KHMER_FAST_INLINE const float* row(int64_t i) const { return first + i * step; }
  KHMER_FAST_INLINE int64_t at(int64_t k) const { return offset[k]; }
};

// The same with a step that is known: the rows of a tile then share one register.
template <int kStep>
struct EvenPlaces {
  const float* first;
  const int32_t* offset;
  KHMER_FAST_INLINE const float* row(int64_t i) const { return first + i * kStep; }
  KHMER_FAST_INLINE int64_t at(int64_t k) const { return offset[k]; }
};

template <int kStep>
static KHMER_FAST_INLINE const float* in_row(const EvenPlaces<kStep>&, const float* const* first,
                                             int r, int64_t at) {
  return first[0] + at + r * kStep;
}

// C as places `step` apart, plus `bias` and, where there is one, `add`.
struct StorePlaces {
  float* out;
  int64_t step;
  const float *bias, *add;
  bool relu;
  KHMER_FAST_INLINE void operator()(int64_t i, int64_t n, F sum) const {
    F total = sum + load(bias + n);
    if (add) total = total + load(add + i * step + n);
    store(out + i * step + n, relu ? positive(total) : total);
  }
};

constexpr int kFine = 16;  // channels at stride 4, where most of the work is

static void convolve(int64_t pixels, int64_t N, int64_t K, const float* in, const int32_t* offset,
                     int64_t step, const float* weight, const float* bias, const float* add,
                     bool relu, float* out, int64_t out_step) {
  using O = Operands<F>;
  const StorePlaces store{out, out_step, bias, add, relu};
  if (N == kFine && step == kFine)
    return tile_columns<O, kFine / W>(pixels, K, 0, EvenPlaces<kFine>{in, offset}, weight, kFine, 0,
                                      store);
  if (N == kFine && step == 2)  // from the stem's planes, every other column
    return tile_columns<O, kFine / W>(pixels, K, 0, EvenPlaces<2>{in, offset}, weight, kFine, 0,
                                      store);
  product<O>(pixels, N, K, Places{in, step, offset}, Panels<float>{weight, K}, store);
}

template <int R>
static void depthwise_tile(int64_t C, int64_t rows, int64_t columns, const float* in, int64_t row,
                           int64_t stride, const float* weight, const float* bias, bool relu,
                           float* out) {
  for (int64_t c = 0; c < C; c += W) {
    F sum[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sum[r] = load(bias + c);
    const float* w = weight + c;
    for (int64_t dy = 0; dy < rows; ++dy) {
      const float* a = in + dy * row + c;
      for (int64_t dx = 0; dx < columns; ++dx, a += C, w += C) {
        const F tap = load(w);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) sum[r] = fma(load(a + r * stride * C), tap, sum[r]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) store(out + r * C + c, relu ? positive(sum[r]) : sum[r]);
  }
}

template <int R>
static void depthwise_rows(int64_t count, int64_t C, int64_t rows, int64_t columns, const float* in,
                           int64_t row, int64_t stride, const float* weight, const float* bias,
                           bool relu, float* out) {
  if (count == R)
    return depthwise_tile<R>(C, rows, columns, in, row, stride, weight, bias, relu, out);
  if constexpr (R > 1)
    depthwise_rows<R - 1>(count, C, rows, columns, in, row, stride, weight, bias, relu, out);
}

static void depthwise(int64_t X, int64_t C, int64_t rows, int64_t columns, const float* in,
                      int64_t row, int64_t stride, const float* weight, const float* bias,
                      bool relu, float* out) {
  constexpr int R = 8;
  const int64_t tiles = (X + R - 1) / R;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t x = X * i / tiles, count = X * (i + 1) / tiles - x;
    depthwise_rows<R>(count, C, rows, columns, in + x * stride * C, row, stride, weight, bias, relu,
                      out + x * C);
  }
}

}  // namespace
}  // namespace khmer_fast
