// Bodies of the kernels, included once by each instruction set's file, inside its namespace.
//
// The file that includes this has defined: W (floats in a vector), F (vector of W floats), I (vector
// of W int32), U16 (vector of W uint16), fma(F, F, F), keep(F&) (holds a value in its register: without it the
// compiler loads B once for each row), mask_greater(F, F) (bit i: a[i] > b[i]), and the shape of a tile:
// kPanelVectors, kTileRows (most rows beside a whole panel), kNarrowVectors (beside more rows).
// Nothing of the standard library is used here: see docs/architecture.md, Traps.

#define KHMER_FAST_MATH static inline __attribute__((always_inline))

typedef F UnalignedF __attribute__((aligned(4), may_alias));

KHMER_FAST_MATH F load(const float* p) { return *reinterpret_cast<const UnalignedF*>(p); }
KHMER_FAST_MATH void store(float* p, F x) { *reinterpret_cast<UnalignedF*>(p) = x; }

template <class T>
KHMER_FAST_MATH T splat(float x) {
  return x - T{};
}

KHMER_FAST_MATH I bits(F x) { return reinterpret_cast<I>(x); }
KHMER_FAST_MATH F from_bits(I x) { return reinterpret_cast<F>(x); }

struct Reduced {  // x = n ln2 + r, and expm1(r)
  I n;
  F expm1_r;
};

// Coefficients of SLEEF's expf (Shibata and Petrogalli 2020).
KHMER_FAST_MATH Reduced reduce_exp(F x) {
  const F magic = splat<F>(12582912.0f);  // 1.5 * 2^23: the sum's low bits are the rounded integer
  const F t = fma(x, splat<F>(1.44269504088896341f), magic);
  const F n = t - magic;
  F r = fma(n, splat<F>(-0.693145751953125f), x);
  r = fma(n, splat<F>(-1.428606765330187e-06f), r);
  F u = splat<F>(0.000198527617612853646f);
  u = fma(u, r, splat<F>(0.00139304355252534151f));
  u = fma(u, r, splat<F>(0.00833336077630519867f));
  u = fma(u, r, splat<F>(0.0416664853692054749f));
  u = fma(u, r, splat<F>(0.166666671633720398f));
  u = fma(u, r, splat<F>(0.5f));
  return {bits(t) - bits(magic), fma(r * r, u, r)};
}

KHMER_FAST_MATH F power_of_two(I n) { return from_bits((n + 127) << 23); }

// Within 1 ulp over all floats; infinities and NaN as in C.
KHMER_FAST_MATH F fast_exp(F x) {
  x = x < -104.0f ? splat<F>(-104.0f) : x;
  x = x > 89.0f ? splat<F>(89.0f) : x;
  const Reduced e = reduce_exp(x);
  const I half = e.n >> 1;
  return (1.0f + e.expm1_r) * power_of_two(half) * power_of_two(e.n - half);
}

// expm1(2x) / (expm1(2x) + 2): accurate near 0 too.
KHMER_FAST_MATH F fast_tanh(F x) {
  x = x < -10.0f ? splat<F>(-10.0f) : x;
  x = x > 10.0f ? splat<F>(10.0f) : x;
  const Reduced e = reduce_exp(x + x);
  const F s = power_of_two(e.n);
  const F m = fma(s, e.expm1_r, s - 1.0f);
  return m / (m + 2.0f);
}

#include "step_math.h"

KHMER_FAST_MATH F absolute(F x) { return from_bits(bits(x) & 0x7fffffff); }

// As integers, |x| are ordered, infinity and NaN last.
KHMER_FAST_MATH I max_bits(I a, I b) { return a > b ? a : b; }

KHMER_FAST_MATH float max_absolute(I largest) {
  int32_t result = 0;
  for (int i = 0; i < W; ++i) result = largest[i] > result ? largest[i] : result;
  float value;
  __builtin_memcpy(&value, &result, sizeof value);
  return value;
}

KHMER_FAST_MATH float sum_lanes(F x) {
  float lane[W];
  store(lane, x);
  for (int step = W / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) lane[i] += lane[i + step];
  return lane[0];
}

KHMER_FAST_MATH float max_lanes(F x) {  // NaN lanes may be lost
  float result = x[0];
  for (int i = 1; i < W; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

KHMER_FAST_MATH F max_vector(F a, F b) { return a > b ? a : b; }

// How a tile reads its operands: A row by row, B from its panels. kDepth values of k stand together.
struct FloatOperands {
  typedef float A;
  typedef float B;
  typedef F Vector;
  static constexpr int kDepth = 1;
  KHMER_FAST_MATH Vector broadcast(const A* a) { return splat<F>(*a); }
  KHMER_FAST_MATH Vector columns(const B* b) { return load(b); }
  KHMER_FAST_MATH F add(F sum, Vector a, Vector b) { return fma(a, b, sum); }
};

#ifdef KHMER_FAST_BF16_PAIRS
struct Bf16Operands {
  typedef uint16_t A;
  typedef uint16_t B;
  typedef I Vector;  // of pairs
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
  KHMER_FAST_MATH F add(F sum, Vector a, Vector b) { return dot_pairs(sum, a, b); }
};
#else
// No instruction for it: B is stored in bfloat16 and widened, the arithmetic is float32.
struct Bf16Operands {
  typedef float A;
  typedef uint16_t B;
  typedef F Vector;
  static constexpr int kDepth = 1;
  KHMER_FAST_MATH Vector broadcast(const A* a) { return splat<F>(*a); }
  KHMER_FAST_MATH Vector columns(const B* b) {
    U16 narrow;
    __builtin_memcpy(&narrow, b, sizeof narrow);
    return from_bits(__builtin_convertvector(narrow, I) << 16);
  }
  KHMER_FAST_MATH F add(F sum, Vector a, Vector b) { return fma(a, b, sum); }
};
#endif

// R rows times NV vectors of columns, summed over k in ascending order.
template <class Operands, int R, int NV>
static void tile(int64_t K, const typename Operands::A* A, int64_t lda,
                 const typename Operands::B* B, int64_t ldb, const float* bias, float* C,
                 int64_t ldc) {
  constexpr int kDepth = Operands::kDepth;
  F sum[R][NV];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) sum[r][v] = F{};
  for (int64_t k = 0; k < K; k += kDepth) {
    typename Operands::Vector b[NV];
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) {
      b[v] = Operands::columns(B + k * ldb + v * W * kDepth);
      keep(b[v]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const typename Operands::Vector a = Operands::broadcast(A + r * lda + k);
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) sum[r][v] = Operands::add(sum[r][v], a, b[v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v)
      store(C + r * ldc + v * W, bias ? sum[r][v] + load(bias + v * W) : sum[r][v]);
}

template <class Operands, int NV, int R>
static void tile_rows(int64_t rows, int64_t K, const typename Operands::A* A, int64_t lda,
                      const typename Operands::B* B, int64_t ldb, const float* bias, float* C,
                      int64_t ldc) {
  if (rows == R) return tile<Operands, R, NV>(K, A, lda, B, ldb, bias, C, ldc);
  if constexpr (R > 1) tile_rows<Operands, NV, R - 1>(rows, K, A, lda, B, ldb, bias, C, ldc);
}

// K a multiple of kDepth.
template <class Operands>
static void product(int64_t M, int64_t N, int64_t K, const typename Operands::A* A, int64_t lda,
                    const typename Operands::B* B, const float* bias, float* C, int64_t ldc) {
  constexpr int64_t panel = kPanelVectors * W;
  constexpr int narrow = kLanes / W;  // vectors in the narrowest panel
  constexpr int wide_rows = kTileRows;
  constexpr int most = wide_rows * kPanelVectors / kNarrowVectors;
  constexpr int kDepth = Operands::kDepth;
  const int64_t blocks = (M + most - 1) / most;
  for (int64_t n = 0; n < N; n += panel) {
    const int64_t w = N - n < panel ? N - n : panel;
    const typename Operands::B* b = B + n * K;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t m = M * block / blocks, rows = M * (block + 1) / blocks - m;
      const typename Operands::A* a = A + m * lda;
      float* c = C + m * ldc + n;
      const float* bias_n = bias ? bias + n : nullptr;
      if (w == panel && rows <= wide_rows) {
        tile_rows<Operands, kPanelVectors, wide_rows>(rows, K, a, lda, b, w, bias_n, c, ldc);
        continue;
      }
      int64_t j = 0;
      for (; j + kNarrowVectors * W <= w; j += kNarrowVectors * W)
        tile_rows<Operands, kNarrowVectors, most>(rows, K, a, lda, b + j * kDepth, w,
                                                  bias_n ? bias_n + j : nullptr, c + j, ldc);
      for (; j < w; j += narrow * W)
        tile_rows<Operands, narrow, most>(rows, K, a, lda, b + j * kDepth, w,
                                          bias_n ? bias_n + j : nullptr, c + j, ldc);
    }
  }
}

static void gemm(int64_t M, int64_t N, int64_t K, const float* A, int64_t lda, const float* B,
                 const float* bias, float* C, int64_t ldc) {
  product<FloatOperands>(M, N, K, A, lda, B, bias, C, ldc);
}

static void gemm_bf16(int64_t M, int64_t N, int64_t K, const void* A, int64_t lda,
                      const uint16_t* B, const float* bias, float* C, int64_t ldc) {
  product<Bf16Operands>(M, N, K, static_cast<const Bf16Operands::A*>(A), lda, B, bias, C, ldc);
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

static float add_key_bias(float* x, int64_t A, int64_t w, int64_t valid, const float* bias) {
  I largest = I{};
  for (int64_t a = 0; a < A; ++a) {
    float* row = x + a * w;
    const F b = splat<F>(bias[a]);
    for (int64_t t = 0; t < w; t += W) {
      F value = load(row + t) + b;
      if (t + W > valid)
        for (int i = 0; i < W; ++i) value[i] = t + i < valid ? value[i] : 0.0f;
      store(row + t, value);
      largest = max_bits(largest, bits(absolute(value)));
    }
  }
  return max_absolute(largest);
}

static float exp_twice(const float* x, float* y, int64_t n) {
  I largest = I{};
  for (int64_t i = 0; i < n; i += W) {
    const F value = load(x + i);
    largest = max_bits(largest, bits(absolute(value)));
    store(y + i, fast_exp(value + value));
  }
  return max_absolute(largest);
}

template <int NV>
static void energy_vectors(EnergyForm form, int64_t A, int64_t w, const float* P, const float* Q,
                           const float* u, float* energy) {
  F sum[NV];
#pragma GCC unroll 4
  for (int j = 0; j < NV; ++j) sum[j] = F{};
  switch (form) {
    case EnergyForm::kPaired:
      for (int64_t a = 0; a < A; a += 2) {
        const F q0 = splat<F>(Q[a]), q1 = splat<F>(Q[a + 1]);
        const F u0 = splat<F>(u[a]), u1 = splat<F>(u[a + 1]);
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j)
          sum[j] = energy_paired(sum[j], load(P + a * w + j * W), q0, u0,
                                 load(P + (a + 1) * w + j * W), q1, u1);
      }
      break;
    case EnergyForm::kFactored:
      for (int64_t a = 0; a < A; ++a)
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j)
          sum[j] = energy_factored(sum[j], load(P + a * w + j * W), splat<F>(Q[a]), splat<F>(u[a]));
      break;
    case EnergyForm::kTanh:
      for (int64_t a = 0; a < A; ++a)
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j)
          sum[j] = energy_tanh(sum[j], load(P + a * w + j * W), splat<F>(Q[a]), splat<F>(u[a]));
      break;
  }
#pragma GCC unroll 4
  for (int j = 0; j < NV; ++j) store(energy + j * W, sum[j]);
}

static void energy(EnergyForm form, int64_t A, int64_t w, const float* P, const float* Q, const float* u,
                   float* energy) {
  int64_t t = 0;
  for (; t + 4 * W <= w; t += 4 * W)
    energy_vectors<4>(form, A, w, P + t, Q, u, energy + t);
  for (; t + 2 * W <= w; t += 2 * W)
    energy_vectors<2>(form, A, w, P + t, Q, u, energy + t);
  for (; t < w; t += W) energy_vectors<1>(form, A, w, P + t, Q, u, energy + t);
}

static int32_t softmax(float* x, int64_t n) {
  const int64_t end = padded(n);
  for (int64_t i = n; i < end; ++i) x[i] = -__builtin_inff();
  F largest = load(x);
  for (int64_t i = W; i < end; i += W) largest = max_vector(largest, load(x + i));
  const F top = splat<F>(max_lanes(largest));
  F sum = F{};
  for (int64_t i = 0; i < end; i += W) {
    const F e = fast_exp(load(x + i) - top);
    store(x + i, e);
    sum = sum + e;
  }
  const F total = splat<F>(sum_lanes(sum));
  for (int64_t i = 0; i < end; i += W) store(x + i, load(x + i) / total);
  const F most = 1.0f / total;  // exp(0) is 1
  for (int64_t i = 0; i < end; i += W) {
    const unsigned found = ~mask_greater(most, load(x + i)) & ((1u << W) - 1);
    if (found) return static_cast<int32_t>(i) + __builtin_ctz(found);
  }
  return 0;
}

static void gru(int64_t H, const float* gi, const float* ci, const float* gh, const float* h,
                float* h_new) {
  for (int64_t i = 0; i < H; i += W) {
    const F r = load(gi + i) + load(ci + i) + load(gh + i);
    const F z = load(gi + H + i) + load(ci + H + i) + load(gh + H + i);
    const F n_input = load(gi + 2 * H + i) + load(ci + 2 * H + i);
    store(h_new + i, gru_cell(r, z, n_input, load(gh + 2 * H + i), load(h + i)));
  }
}

static void log_softmax(const float* x, const float* y, float* out, int64_t n) {
  F largest = splat<F>(-__builtin_inff());
  for (int64_t i = 0; i < n; i += W) {
    const F value = load(x + i) + load(y + i);
    store(out + i, value);
    largest = max_vector(largest, value);
  }
  const F top = splat<F>(max_lanes(largest));
  F sum = F{};
  for (int64_t i = 0; i < n; i += W) sum = sum + fast_exp(load(out + i) - top);
  const F log_sum = splat<F>(__builtin_logf(sum_lanes(sum)));
  for (int64_t i = 0; i < n; i += W) store(out + i, load(out + i) - top - log_sum);
}

static int64_t top_k(const float* log_prob, int64_t n, float score, int32_t parent, Candidate* best,
                     int64_t count, int64_t K) {
  const F base = splat<F>(score);
  for (int64_t i = 0; i < n; i += W) {
    const F value = load(log_prob + i) + base;
    const float worst = count < K ? -__builtin_inff() : best[K - 1].score;
    unsigned found = mask_greater(value, splat<F>(worst));  // NaN is never greater
    for (; found; found &= found - 1) {
      const int lane = __builtin_ctz(found);
      count = insert_candidate({value[lane], parent, static_cast<int32_t>(i + lane)}, best, count, K);
    }
  }
  return count;
}

static void layer_norm(int64_t n, float* x, const float* gain, const float* bias) {
  const int64_t whole = n / W * W;
  F sums = F{};
  for (int64_t i = 0; i < whole; i += W) sums = sums + load(x + i);
  float sum = sum_lanes(sums);
  for (int64_t i = whole; i < n; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(n);
  sums = F{};
  for (int64_t i = 0; i < whole; i += W) {
    const F d = load(x + i) - splat<F>(mean);
    sums = fma(d, d, sums);
  }
  sum = sum_lanes(sums);
  for (int64_t i = whole; i < n; ++i) sum += (x[i] - mean) * (x[i] - mean);
  const float scale = 1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + 1e-5f);
  for (int64_t i = 0; i < padded(n); i += W)
    store(x + i, fma((load(x + i) - splat<F>(mean)) * splat<F>(scale), load(gain + i),
                     load(bias + i)));
}

// F(4, 3) along x from the points 0, +-a, +-b, infinity with a = sqrt(1/2), b = sqrt(2).
constexpr float kPointA = 0.707106781186547524f, kPointB = 1.41421356237309505f;

static void winograd_input(int64_t n, const float* const* x, float* V, int64_t ld) {
  for (int64_t i = 0; i < n; i += W) {
    const F x0 = load(x[0] + i), x1 = load(x[1] + i), x2 = load(x[2] + i);
    const F x3 = load(x[3] + i), x4 = load(x[4] + i), x5 = load(x[5] + i);
    const F even_a = fma(splat<F>(-2.0f), x2, x4), odd_a = kPointA * fma(splat<F>(-2.0f), x1, x3);
    const F even_b = fma(splat<F>(-0.5f), x2, x4), odd_b = kPointB * fma(splat<F>(-0.5f), x1, x3);
    store(V + i, fma(splat<F>(-2.5f), x2, x0 + x4));
    store(V + ld + i, even_a + odd_a);
    store(V + 2 * ld + i, even_a - odd_a);
    store(V + 3 * ld + i, even_b + odd_b);
    store(V + 4 * ld + i, even_b - odd_b);
    store(V + 5 * ld + i, fma(splat<F>(-2.5f), x3, x1 + x5));
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
        fma(splat<F>(kPointA), difference_a, fma(splat<F>(kPointB), difference_b, b)),
        fma(splat<F>(0.5f), sum_a, fma(splat<F>(2.0f), sum_b, b)),
        fma(splat<F>(kPointA * 0.5f), difference_a,
            fma(splat<F>(kPointB * 2.0f), difference_b, load(M + 5 * ld + i) + b)),
    };
    for (int64_t k = 0; k < valid; ++k) {
      const F total = add ? y[k] + load(add + k * column + i) : y[k];
      store(out + k * column + i, total < 0.0f ? F{} : total);
    }
  }
}

constexpr Kernels make_kernels(const char* name) {
  return {name,
          kPanelVectors * W,
          Bf16Operands::kDepth == 2,
          gemm,
          gemm_bf16,
          to_bf16,
          add_key_bias,
          exp_twice,
          energy,
          softmax,
          gru,
          log_softmax,
          top_k,
          layer_norm,
          winograd_input,
          winograd_output};
}
