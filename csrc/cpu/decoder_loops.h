// Kernels of the decoder, for one instruction set.
#pragma once

#include "cpu/attention_loops.h"
#include "cpu/kernels.h"

namespace khmer_fast {
namespace {

static float add_key_bias(float* x, int64_t A, int64_t w, int64_t valid, const float* bias) {
  I largest = I{};
  for (int64_t a = 0; a < A; ++a) {
    float* row = x + a * w;
    const F b = splat(bias[a]);
    for (int64_t t = 0; t < w; t += W) {
      F value = load(row + t) + b;
      if (t + W > valid)
        for (int i = 0; i < W; ++i) value[i] = t + i < valid ? value[i] : 0.0f;
      store(row + t, value);
      largest = max_vector(largest, absolute_bits(value));
    }
  }
  return max_absolute(largest);
}

constexpr int64_t kKeysAhead = 1024;  // 4 kB: the keys of many lines come out of the L3

template <int NV>
static void energy_vectors(EnergyForm form, int64_t A, int64_t w, const float* P, const float* Q,
                           const float* u, float* energy) {
  F sum[NV];
#pragma GCC unroll 4
  for (int j = 0; j < NV; ++j) sum[j] = F{};
  switch (form) {
    case EnergyForm::kPaired:
      for (int64_t a = 0; a < A; a += 2) {
        const F q0 = splat(Q[a]), q1 = splat(Q[a + 1]);
        const F u0 = splat(u[a]), u1 = splat(u[a + 1]);
        fetch<2 * NV * sizeof(F)>(P + a * w + kKeysAhead);
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
          sum[j] = energy_factored(sum[j], load(P + a * w + j * W), splat(Q[a]), splat(u[a]));
      break;
    case EnergyForm::kTanh:
      for (int64_t a = 0; a < A; ++a)
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j)
          sum[j] = energy_tanh(sum[j], load(P + a * w + j * W), splat(Q[a]), splat(u[a]));
      break;
  }
#pragma GCC unroll 4
  for (int j = 0; j < NV; ++j) store(energy + j * W, sum[j]);
}

static void energy(EnergyForm form, int64_t A, int64_t w, const float* P, const float* Q,
                   const float* u, float* energy) {
  int64_t t = 0;
  for (; t + 4 * W <= w; t += 4 * W) energy_vectors<4>(form, A, w, P + t, Q, u, energy + t);
  for (; t + 2 * W <= w; t += 2 * W) energy_vectors<2>(form, A, w, P + t, Q, u, energy + t);
  for (; t < w; t += W) energy_vectors<1>(form, A, w, P + t, Q, u, energy + t);
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
  F largest = splat(-__builtin_inff());
  for (int64_t i = 0; i < n; i += W) {
    const F value = load(x + i) + load(y + i);
    store(out + i, value);
    largest = max_vector(largest, value);
  }
  const F top = splat(max_lanes(largest));
  F sum = F{};
  for (int64_t i = 0; i < n; i += W) sum = sum + fast_exp(load(out + i) - top);
  const F log_sum = splat(__builtin_logf(sum_lanes(sum)));
  for (int64_t i = 0; i < n; i += W) store(out + i, load(out + i) - top - log_sum);
}

static int64_t top_k(const float* log_prob, int64_t n, float score, int32_t parent, Candidate* best,
                     int64_t count, int64_t K) {
  const F base = splat(score);
  for (int64_t i = 0; i < n; i += W) {
    const F value = load(log_prob + i) + base;
    const float worst = count < K ? -__builtin_inff() : best[K - 1].score;
    unsigned found = mask_greater(value, splat(worst));  // NaN is never greater
    for (; found; found &= found - 1) {
      const int lane = __builtin_ctz(found);
      count =
          insert_candidate({value[lane], parent, static_cast<int32_t>(i + lane)}, best, count, K);
    }
  }
  return count;
}

}  // namespace
}  // namespace khmer_fast
