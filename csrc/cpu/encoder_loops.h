// Kernels of the encoder, for one instruction set.
#pragma once

#include "cpu/isa/lanes.h"

namespace khmer_fast {
namespace {

static void layer_norm(int64_t n, float* x, const float* gain, const float* bias) {
  const int64_t whole = n / W * W;
  F sums = F{};
  for (int64_t i = 0; i < whole; i += W) sums = sums + load(x + i);
  float sum = sum_lanes(sums);
  for (int64_t i = whole; i < n; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(n);
  sums = F{};
  for (int64_t i = 0; i < whole; i += W) {
    const F d = load(x + i) - splat(mean);
    sums = fma(d, d, sums);
  }
  sum = sum_lanes(sums);
  for (int64_t i = whole; i < n; ++i) sum += (x[i] - mean) * (x[i] - mean);
  const float scale = 1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + 1e-5f);
  for (int64_t i = 0; i < padded(n); i += W)
    store(x + i, fma((load(x + i) - splat(mean)) * splat(scale), load(gain + i), load(bias + i)));
}

// F(4, 3) along x from the points 0, +-a, +-b, infinity with a = sqrt(1/2), b = sqrt(2).
constexpr float kPointA = 0.707106781186547524f, kPointB = 1.41421356237309505f;

static void winograd_input(int64_t n, const float* const* x, float* V, int64_t ld) {
  for (int64_t i = 0; i < n; i += W) {
    const F x0 = load(x[0] + i), x1 = load(x[1] + i), x2 = load(x[2] + i);
    const F x3 = load(x[3] + i), x4 = load(x[4] + i), x5 = load(x[5] + i);
    const F even_a = fma(splat(-2.0f), x2, x4), odd_a = kPointA * fma(splat(-2.0f), x1, x3);
    const F even_b = fma(splat(-0.5f), x2, x4), odd_b = kPointB * fma(splat(-0.5f), x1, x3);
    store(V + i, fma(splat(-2.5f), x2, x0 + x4));
    store(V + ld + i, even_a + odd_a);
    store(V + 2 * ld + i, even_a - odd_a);
    store(V + 3 * ld + i, even_b + odd_b);
    store(V + 4 * ld + i, even_b - odd_b);
    store(V + 5 * ld + i, fma(splat(-2.5f), x3, x1 + x5));
  }
}

static void winograd_output(int64_t n, const float* M, int64_t ld, const float* bias,
                            const float* add, float* out, int64_t column, int64_t valid) {
  for (int64_t i = 0; i < n; i += W) {
    const F m1 = load(M + ld + i), m2 = load(M + 2 * ld + i);
    const F m3 = load(M + 3 * ld + i), m4 = load(M + 4 * ld + i);
    const F b = load(bias + i);
    const F sum_a = m1 + m2, difference_a = m1 - m2, sum_b = m3 + m4, difference_b = m3 - m4;
    const F y[4] = {
        load(M + i) + sum_a + sum_b + b,
        fma(splat(kPointA), difference_a, fma(splat(kPointB), difference_b, b)),
        fma(splat(0.5f), sum_a, fma(splat(2.0f), sum_b, b)),
        fma(splat(kPointA * 0.5f), difference_a,
            fma(splat(kPointB * 2.0f), difference_b, load(M + 5 * ld + i) + b)),
    };
    for (int64_t k = 0; k < valid; ++k) {
      const F total = add ? y[k] + load(add + k * column + i) : y[k];
      store(out + k * column + i, positive(total));
    }
  }
}

// F(3, 3) along y from the points +-1/2, +-3/2 and infinity.
static void winograd_rows_input(int64_t tiles, int64_t n, const float* x, float* V, int64_t ld) {
  for (int64_t q = 0; q < tiles; ++q, x += 3 * n, V += n)
    for (int64_t i = 0; i < n; i += W) {
      const F x0 = load(x + i), x1 = load(x + n + i), x2 = load(x + 2 * n + i);
      const F x3 = load(x + 3 * n + i), x4 = load(x + 4 * n + i);
      const F odd_a = fma(splat(-2.25f), x1, x3), even_a = 0.5f * fma(splat(-2.25f), x0, x2);
      const F odd_b = fma(splat(-0.25f), x1, x3), even_b = 1.5f * fma(splat(-0.25f), x0, x2);
      store(V + i, odd_a + even_a);
      store(V + ld + i, odd_a - even_a);
      store(V + 2 * ld + i, odd_b + even_b);
      store(V + 3 * ld + i, odd_b - even_b);
      store(V + 4 * ld + i, fma(splat(0.5625f), x0, fma(splat(-2.5f), x2, x4)));
    }
}

static void winograd_rows_output(int64_t tiles, int64_t n, const float* M, int64_t ld, float* out) {
  for (int64_t q = 0; q < tiles; ++q, M += n, out += 3 * n)
    for (int64_t i = 0; i < n; i += W) {
      const F m0 = load(M + i), m1 = load(M + ld + i);
      const F m2 = load(M + 2 * ld + i), m3 = load(M + 3 * ld + i);
      const F sum_a = m0 + m1, sum_b = m2 + m3;
      store(out + i, sum_a + sum_b);
      store(out + n + i, fma(splat(0.5f), m0 - m1, 1.5f * (m2 - m3)));
      store(out + 2 * n + i,
            fma(splat(0.25f), sum_a, fma(splat(2.25f), sum_b, load(M + 4 * ld + i))));
    }
}

}  // namespace
}  // namespace khmer_fast
