// Products of whole numbers, for one instruction set: what QuantizedFeatures computes with. Sums
// are exact, so every instruction set gives the same bits.
#pragma once

#include "cpu/int8_kernels.h"
#include "cpu/product.h"

namespace khmer_fast {
namespace {

#ifdef KHMER_FAST_VNNI
typedef uint8_t Whole;  // of A
typedef int8_t WholeWeight;
#else
// No such instruction: pairs of 16 bits, which cannot overflow as sums of two bytes' products do.
typedef int16_t Whole;
typedef int16_t WholeWeight;
#endif

struct Int8Operands {
  typedef Whole A;
  typedef WholeWeight B;
  typedef I Vector;  // of quads or pairs
  typedef I Sum;
  static constexpr int kDepth = 4 / sizeof(Whole);
  KHMER_FAST_MATH Vector broadcast(const A* a) {
    int32_t group;
    __builtin_memcpy(&group, a, sizeof group);
    return group - I{};
  }
  KHMER_FAST_MATH Vector columns(const B* b) {
    I groups;
    __builtin_memcpy(&groups, b, sizeof groups);
    return groups;
  }
  KHMER_FAST_MATH Sum add(Sum sum, Vector a, Vector b) {
#ifdef KHMER_FAST_VNNI
    return dot_quads(sum, a, b);
#else
    return dot_shorts(sum, a, b);
#endif
  }
};

// A broadcast takes a register, and so do the rows' addresses: in a tile as large as the float one
// the compiler keeps a sum in memory, which cost an eighth of the time.
template <>
constexpr int most_rows<Int8Operands>(int v) {
  return kRows[v] * 5 / 6;
}

typedef Whole Wholes __attribute__((vector_size(W * sizeof(Whole))));

KHMER_FAST_MATH F load_wholes(const uint8_t* p) {
  return __builtin_convertvector(load_bytes(p), F);
}
KHMER_FAST_MATH F load_wholes(const int16_t* p) {
  typedef int16_t Shorts __attribute__((vector_size(W * sizeof(int16_t))));
  Shorts x;
  __builtin_memcpy(&x, p, sizeof x);
  return __builtin_convertvector(__builtin_convertvector(x, I), F);
}

// To the nearest, ties to even, in 0..255.
KHMER_FAST_MATH void store_wholes(Whole* p, F x) {
  const F magic = splat(12582912.0f);  // 1.5 * 2^23: the sum's low bits are the rounded integer
  const F clamped = min_vector(splat(255.0f), max_vector(F{}, x));
  const Wholes whole = __builtin_convertvector(bits(clamped + magic) & 255, Wholes);
  __builtin_memcpy(p, &whole, sizeof whole);
}

// A as places `step` apart, whose values lie at `offset` [K / depth] from them.
struct WholePlaces {
  const Whole* first;
  int64_t step;
  const int32_t* offset;
  KHMER_FAST_INLINE const Whole* row(int64_t i) const { return first + i * step; }
  KHMER_FAST_INLINE int64_t at(int64_t k) const {
    return offset[static_cast<uint64_t>(k) / Int8Operands::kDepth];
  }
};

struct StoreScaled {
  float* C;
  int64_t ld;
  const float *multiplier, *bias;
  KHMER_FAST_INLINE void operator()(int64_t i, int64_t n, I sum) const {
    const F x = __builtin_convertvector(sum, F) * load(multiplier + n) + load(bias + n);
    store(C + i * ld + n, x);
  }
};

struct StoreWholes {
  Whole* C;
  int64_t ld;
  const float *multiplier, *bias, *residual;
  KHMER_FAST_INLINE void operator()(int64_t i, int64_t n, I sum) const {
    Whole* to = C + i * ld + n;
    F x = __builtin_convertvector(sum, F) * load(multiplier + n) + load(bias + n);
    if (residual) x = x + load_wholes(to) * load(residual + n);
    store_wholes(to, x);
  }
};

static void gemm_int8(int64_t M, int64_t N, int64_t K, const void* A, int64_t lda, const void* B,
                      const float* multiplier, const float* bias, float* C, int64_t ldc) {
  product<Int8Operands>(M, N, K, Rows<Whole>{static_cast<const Whole*>(A), lda},
                        Panels<WholeWeight>{static_cast<const WholeWeight*>(B), K},
                        StoreScaled{C, ldc, multiplier, bias});
}

static void convolve_int8(int64_t M, int64_t N, int64_t K, const void* A, int64_t step,
                          const int32_t* offset, const void* B, const float* multiplier,
                          const float* bias, const float* residual, void* C, int64_t ldc) {
  product<Int8Operands>(M, N, K, WholePlaces{static_cast<const Whole*>(A), step, offset},
                        Panels<WholeWeight>{static_cast<const WholeWeight*>(B), K},
                        StoreWholes{static_cast<Whole*>(C), ldc, multiplier, bias, residual});
}

static void to_int8(int64_t n, const float* x, const float* multiplier, const float* bias,
                    void* out) {
  for (int64_t i = 0; i < n; i += W) {
    const F value = multiplier ? load(x + i) * load(multiplier + i) + load(bias + i) : load(x + i);
    store_wholes(static_cast<Whole*>(out) + i, value);
  }
}

// In double, which rounds so little that the order of sums does not matter; it is one order of
// eight sums on every instruction set nevertheless.
static void normalise_int8(int64_t n, float* x, const double* gain, const double* bias) {
  constexpr int64_t kTogether = 8;
  double sums[kTogether] = {}, squares[kTogether] = {};
  const int64_t whole = n / kTogether * kTogether;
  for (int64_t i = 0; i < whole; i += kTogether)
    for (int64_t j = 0; j < kTogether; ++j) sums[j] += x[i + j];
  for (int64_t i = whole; i < n; ++i) sums[0] += x[i];
  double mean = 0, variance = 0;
  for (double sum : sums) mean += sum;
  mean /= static_cast<double>(n);
  for (int64_t i = 0; i < whole; i += kTogether)
    for (int64_t j = 0; j < kTogether; ++j) squares[j] += (x[i + j] - mean) * (x[i + j] - mean);
  for (int64_t i = whole; i < n; ++i) squares[0] += (x[i] - mean) * (x[i] - mean);
  for (double sum : squares) variance += sum;
  variance /= static_cast<double>(n);
  const double scale = 1 / __builtin_sqrt(variance + 1e-5);
  const double magic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds, ties to even
  for (int64_t i = 0; i < padded(n); ++i) {
    const double level = (x[i] - mean) * scale * gain[i] + bias[i];
    x[i] = static_cast<float>((level + magic) - magic);
  }
}

// sigmoid of python_ref/quantized_encoder.py, operation by operation: no fusing, hence to the bit.
KHMER_FAST_MATH F exact_sigmoid(F x) {
  const F magic = splat(12582912.0f);
  const F y = min_vector(splat(125.0f), max_vector(splat(-125.0f), x * -1.44269502162933349609f));
  const F n = (y + magic) - magic, f = y - n;
  F e = f * 0.00958285201340913773f + 0.05590642616152763367f;
  e = e * f + 0.24024099111557006836f;
  e = e * f + 0.69312417507171630859f;
  e = e * f + 1.0f;
  return 1.0f / (e * power_of_two(__builtin_convertvector(n, I)) + 1.0f);
}

static void gru_int8(int64_t H, const float* input, const float* hidden, float* h, void* level) {
  for (int64_t i = 0; i < H; i += W) {
    const F r = exact_sigmoid(load(input + i) + load(hidden + i));
    const F z = exact_sigmoid(load(input + H + i) + load(hidden + H + i));
    const F sum = load(input + 2 * H + i) + r * load(hidden + 2 * H + i);
    const F n = exact_sigmoid(sum * 2.0f) * 2.0f - 1.0f;
    const F state = n + z * (load(h + i) - n);
    store(h + i, state);
    store_wholes(static_cast<Whole*>(level) + i, state * 127.0f + 128.0f);
  }
}

#ifdef KHMER_FAST_VNNI
// Quads of bytes hold no transformed activations, and direct products of them are as fast.
constexpr auto winograd_input_int8 = nullptr, sums_int8 = nullptr, winograd_output_int8 = nullptr;
constexpr auto winograd_rows_input_int8 = nullptr, winograd_rows_output_int8 = nullptr;
#else
static void winograd_input_int8(int64_t n, const void* const* x, void* V, int64_t ld) {
  const Whole* from[6];
  for (int k = 0; k < 6; ++k) from[k] = static_cast<const Whole*>(x[k]);
  Whole* to = static_cast<Whole*>(V);
  for (int64_t i = 0; i < n; i += W) {
    Wholes d[6];
    for (int k = 0; k < 6; ++k) __builtin_memcpy(&d[k], from[k] + i, sizeof d[k]);
    const Wholes even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1];
    const Wholes far = d[4] - d[2], twice = 2 * (d[3] - d[1]);
    const Wholes v[6] = {
        4 * d[0] - 5 * d[2] + d[4], even + odd, even - odd, far + twice, far - twice,
        4 * d[1] - 5 * d[3] + d[5],
    };
    for (int j = 0; j < 6; ++j) __builtin_memcpy(to + j * ld + i, &v[j], sizeof v[j]);
  }
}

struct StoreSums {
  int32_t* C;
  int64_t ld;
  KHMER_FAST_INLINE void operator()(int64_t i, int64_t n, I sum) const {
    __builtin_memcpy(C + i * ld + n, &sum, sizeof sum);
  }
};

static void sums_int8(int64_t M, int64_t N, int64_t K, const void* A, int64_t lda, const void* B,
                      int32_t* C, int64_t ldc) {
  product<Int8Operands>(M, N, K, Rows<Whole>{static_cast<const Whole*>(A), lda},
                        Panels<WholeWeight>{static_cast<const WholeWeight*>(B), K},
                        StoreSums{C, ldc});
}

// One vector at a time: the compiler copies an array's elements by halves, through memory.
KHMER_FAST_MATH Unsigned load_sums(const int32_t* p) {
  Unsigned x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}

static void winograd_rows_input_int8(int64_t tiles, int64_t n, const void* x, void* V, int64_t ld) {
  const Whole* from = static_cast<const Whole*>(x);
  Whole* to = static_cast<Whole*>(V);
  for (int64_t q = 0; q < tiles; ++q, from += 3 * n, to += n)
    for (int64_t i = 0; i < n; i += W) {
      Wholes d[5];
      for (int k = 0; k < 5; ++k) __builtin_memcpy(&d[k], from + k * n + i, sizeof d[k]);
      const Wholes v[5] = {
          2 * (d[0] - d[2]) + d[3] - d[1], d[3] - d[2] - 2 * d[1],
          d[3] - 3 * d[2] + 2 * d[1],      d[3] - d[1],
          d[4] - d[2] + 2 * (d[1] - d[3]),
      };
      for (int j = 0; j < 5; ++j) __builtin_memcpy(to + j * ld + i, &v[j], sizeof v[j]);
    }
}

// Modulo 2^32, as winograd_output_int8.
static void winograd_rows_output_int8(int64_t tiles, int64_t n, const int32_t* S, int64_t ld,
                                      int32_t* out) {
  for (int64_t q = 0; q < tiles; ++q, S += n, out += 3 * n)
    for (int64_t i = 0; i < n; i += W) {
      const Unsigned s1 = load_sums(S + ld + i), s2 = load_sums(S + 2 * ld + i);
      const Unsigned s3 = load_sums(S + 3 * ld + i), near = s1 + s2;
      const Unsigned y[3] = {load_sums(S + i) + near + s3, s1 - s2 + 2 * s3,
                             near + 4 * s3 + load_sums(S + 4 * ld + i)};
      for (int k = 0; k < 3; ++k) __builtin_memcpy(out + k * n + i, &y[k], sizeof y[k]);
    }
}

// Modulo 2^32: only the outputs themselves, `times` as large as direct ones, must fit 32 bits.
static void winograd_output_int8(int64_t n, const int32_t* S, int64_t ld, int64_t times,
                                 const float* multiplier, const float* bias, const float* residual,
                                 void* out, int64_t column, int64_t valid) {
  // Exact divisions: over 8 or 16, then times the inverse of 3 or 9.
  const int shift = times == 144 ? 4 : 3;
  const uint32_t inverse = times == 144 ? 0x38e38e39u : 0xaaaaaaabu;
  for (int64_t i = 0; i < n; i += W) {
    const Unsigned s1 = load_sums(S + ld + i), s2 = load_sums(S + 2 * ld + i);
    const Unsigned s3 = load_sums(S + 3 * ld + i), s4 = load_sums(S + 4 * ld + i);
    const Unsigned near = s1 + s2, near_odd = s1 - s2, far = s3 + s4, far_odd = s3 - s4;
    const Unsigned y[4] = {load_sums(S + i) + near + far, near_odd + 2 * far_odd, near + 4 * far,
                           near_odd + 8 * far_odd + load_sums(S + 5 * ld + i)};
    const F scale_by = load(multiplier + i), add = load(bias + i);
#pragma GCC unroll 4
    for (int64_t k = 0; k < 4; ++k) {
      if (k == valid) break;
      Whole* to = static_cast<Whole*>(out) + k * column + i;
      const Unsigned part = reinterpret_cast<Unsigned>(reinterpret_cast<I>(y[k]) >> shift);
      const I sum = reinterpret_cast<I>(part * inverse);
      F value = __builtin_convertvector(sum, F) * scale_by + add;
      if (residual) value = value + load_wholes(to) * load(residual + i);
      store_wholes(to, value);
    }
  }
}
#endif

constexpr Int8Kernels kInt8Kernels = {Int8Operands::kDepth,
                                      gemm_int8,
                                      convolve_int8,
                                      winograd_input_int8,
                                      sums_int8,
                                      winograd_rows_input_int8,
                                      winograd_rows_output_int8,
                                      winograd_output_int8,
                                      to_int8,
                                      normalise_int8,
                                      gru_int8};

}  // namespace
}  // namespace khmer_fast
