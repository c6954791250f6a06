// Bodies of the segmenter's kernels, included once by each instruction set's file, inside its
// namespace.
//
// The file that includes this has defined: W (floats in a vector), F (vector of W floats),
// fma(F, F, F), and the most pixels beside 4, 2 and 1 vectors of channels: kRows4, kRows2, kRows1.
// Nothing of the standard library is used here: the linker could merge its inline functions, compiled
// for this instruction set, into code that runs elsewhere.

#define KHMER_FAST_MATH static inline __attribute__((always_inline))

typedef F UnalignedF __attribute__((aligned(4), may_alias));

KHMER_FAST_MATH F load(const float* p) { return *reinterpret_cast<const UnalignedF*>(p); }
KHMER_FAST_MATH void store(float* p, F x) { *reinterpret_cast<UnalignedF*>(p) = x; }
KHMER_FAST_MATH F splat(float x) { return x - F{}; }
KHMER_FAST_MATH F positive(F x) { return x < 0.0f ? F{} : x; }  // NaN stays

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
  for (; c < C; ++c)
    stem_channels<1>(X, even, odd, weight + 9 * c, b + c, out + c * plane, plane);
}

// R pixels times NV vectors of channels, summed over k in ascending order.
template <int R, int NV>
static void convolve_tile(int64_t K, const float* in, const int32_t* offset, int64_t step,
                          const float* weight, int64_t ld, const float* bias, const float* add,
                          bool relu, float* out, int64_t out_step) {
  F sum[R][NV];
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) sum[r][v] = F{};
  for (int64_t k = 0; k < K; ++k) {
    const float* a = in + offset[k];
    F w[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      w[v] = load(weight + k * ld + v * W);
      keep(w[v]);
    }
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
      const F value = splat(a[r * step]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] = fma(value, w[v], sum[r][v]);
    }
  }
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      F total = sum[r][v] + load(bias + v * W);
      if (add) total = total + load(add + r * out_step + v * W);
      store(out + r * out_step + v * W, relu ? positive(total) : total);
    }
}

template <int R, int NV>
static void convolve_rows(int64_t rows, int64_t K, const float* in, const int32_t* offset,
                          int64_t step, const float* weight, int64_t ld, const float* bias,
                          const float* add, bool relu, float* out, int64_t out_step) {
  if (rows == R)
    return convolve_tile<R, NV>(K, in, offset, step, weight, ld, bias, add, relu, out, out_step);
  if constexpr (R > 1)
    convolve_rows<R - 1, NV>(rows, K, in, offset, step, weight, ld, bias, add, relu, out,
                             out_step);
}

// NV vectors of channels, the pixels in tiles of nearly the same size.
template <int R, int NV>
static void convolve_columns(int64_t pixels, int64_t K, const float* in, const int32_t* offset,
                             int64_t step, const float* weight, int64_t ld, const float* bias,
                             const float* add, bool relu, float* out, int64_t out_step) {
  const int64_t tiles = (pixels + R - 1) / R;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t p = pixels * i / tiles, rows = pixels * (i + 1) / tiles - p;
    convolve_rows<R, NV>(rows, K, in + p * step, offset, step, weight, ld, bias,
                         add ? add + p * out_step : nullptr, relu, out + p * out_step, out_step);
  }
}

static void convolve(int64_t pixels, int64_t N, int64_t K, const float* in, const int32_t* offset,
                     int64_t step, const float* weight, const float* bias, const float* add,
                     bool relu, float* out, int64_t out_step) {
  constexpr int64_t panel = 4 * W;
  for (int64_t n0 = 0; n0 < N; n0 += panel) {
    const int64_t width = N - n0 < panel ? N - n0 : panel;
    for (int64_t n = n0; n < n0 + width;) {
      const int64_t left = n0 + width - n;
      const float* w = weight + n0 * K + (n - n0);
      const float* more = add ? add + n : nullptr;
      if (left >= 4 * W) {
        convolve_columns<kRows4, 4>(pixels, K, in, offset, step, w, width, bias + n, more, relu,
                                    out + n, out_step);
        n += 4 * W;
      } else if (left >= 2 * W) {
        convolve_columns<kRows2, 2>(pixels, K, in, offset, step, w, width, bias + n, more, relu,
                                    out + n, out_step);
        n += 2 * W;
      } else {
        convolve_columns<kRows1, 1>(pixels, K, in, offset, step, w, width, bias + n, more, relu,
                                    out + n, out_step);
        n += W;
      }
    }
  }
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
static void depthwise_rows(int64_t count, int64_t C, int64_t rows, int64_t columns,
                           const float* in, int64_t row, int64_t stride, const float* weight,
                           const float* bias, bool relu, float* out) {
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
    depthwise_rows<R>(count, C, rows, columns, in + x * stride * C, row, stride, weight, bias,
                      relu, out + x * C);
  }
}

constexpr SegmenterKernels make_segmenter_kernels(const char* name) {
  return {name, 4 * W, stem, convolve, depthwise};
}
