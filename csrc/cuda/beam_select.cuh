// The selection of one line by one block, in the order of python_ref/beam_search.py: log_softmax, the
// best K candidates, the survivors, and whether the line is done.
#pragma once

#include "cuda/decoder_cuda.h"
#include "cuda/device_math.cuh"

namespace khmer_fast {

// The hypotheses of a line, in shared memory.
struct LineBeam {
  float score[kMaxBeam];  // -infinity: empty
  int token[kMaxBeam];
  int length[kMaxBeam];   // tokens so far
  int finished[kMaxBeam];
  int state[kMaxBeam];    // k of the parent's state, -1: not live
};

// One live hypothesis of score 0 in slot 0; a thread a slot.
__device__ __forceinline__ void begin_line(LineBeam& beam, int K) {
  const int k = static_cast<int>(threadIdx.x);
  if (k >= K) return;
  beam.score[k] = k == 0 ? 0.0f : -INFINITY;
  beam.token[k] = kBos;
  beam.length[k] = 0;
  beam.finished[k] = 0;
  beam.state[k] = k == 0 ? 0 : -1;
}

// Whether child k is the first of its parent's children, who stands for the parent in lists.
__device__ __forceinline__ bool first_child(const LineBeam& beam, int k) {
  for (int other = 0; other < k; ++other)
    if (beam.state[other] == beam.state[k]) return false;
  return true;
}

__device__ __forceinline__ double rank(float score, int length, double alpha) {
  return score / pow(static_cast<double>(length), alpha);
}

// A candidate as one number in the total order of docs/spec.md, section 3: score descending, then parent
// and token ascending (flat = parent * V + token). 0: none. Adding 0 makes -0 and 0 the same score.
__device__ __forceinline__ unsigned long long order_of(float score, int flat) {
  if (!(fabsf(score) < INFINITY)) return 0;
  const unsigned bits = __float_as_uint(score + 0.0f);
  const unsigned ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<unsigned long long>(ascending) << 32 | ~static_cast<unsigned>(flat);
}
__device__ __forceinline__ float score_of(unsigned long long order) {
  const unsigned ascending = static_cast<unsigned>(order >> 32);
  return __uint_as_float(ascending & 0x80000000u ? ascending & 0x7fffffffu : ~ascending);
}
__device__ __forceinline__ int flat_of(unsigned long long order) {
  return static_cast<int>(~static_cast<unsigned>(order));
}

// In place over logits [V] of a child, by one warp.
__device__ __forceinline__ void log_softmax(float* x, int V) {
  const int lane = threadIdx.x % 32;
  float top = -INFINITY, sum = 0;
  for (int v = lane; v < V; v += 32) top = fmaxf(top, x[v]);
  top = warp_max(top);
  for (int v = lane; v < V; v += 32) sum += expf(x[v] - top);
  const float log_sum = logf(warp_sum(sum));
  for (int v = lane; v < V; v += 32) x[v] = x[v] - top - log_sum;
}

// Step `step`, from 1, of a line whose limit is S_b = `limit`. logits [K, V] of its children become
// log_probs; `beam` becomes its survivors, `history` [K] is written unless null. True for the whole
// block where no live hypothesis can change the n_best answers.
template <int Threads>
__device__ bool select_line(const DecodeSizes& s, int limit, int step, float* logits,
                            LineBeam& beam, Chosen* history) {
  constexpr int kWarps = Threads / 32;
  const int t = threadIdx.x, lane = t % 32, warp = t / 32, K = s.K, V = s.V;
  __shared__ unsigned long long best[kMaxBeam], found[kWarps];
  __shared__ bool done;
  for (int k = warp; k < K; k += kWarps)
    if (beam.state[k] >= 0) log_softmax(logits + static_cast<size_t>(k) * V, V);
  __syncthreads();

  // 1. candidates: a live hypothesis with every token, a finished one as it is
  // 2. the best K in the total order, each the greatest below the one before
  const bool last = s.forced && step == limit;
  const auto candidate = [&](int flat) -> unsigned long long {
    const int k = flat / V, token = flat % V;
    if (token < kEos) return 0;
    if (beam.finished[k]) return token == kEos ? order_of(beam.score[k], flat) : 0;
    if (beam.state[k] < 0 || (last && token != kEos)) return 0;
    if (s.forced && !last && token == kEos) return 0;
    return order_of(beam.score[k] + logits[flat], flat);
  };
  unsigned long long bound = ~0ull, own = 0;
  for (int round = 0; round < K; ++round) {
    if (own == 0 || own == bound) {
      own = 0;
      for (int flat = t; flat < K * V; flat += Threads) {
        const unsigned long long order = candidate(flat);
        if (order < bound && order > own) own = order;
      }
    }
    unsigned long long top = own;
#pragma unroll
    for (int half = 16; half > 0; half /= 2) {
      const unsigned long long other = __shfl_xor_sync(kAllLanes, top, half);
      top = other > top ? other : top;
    }
    if (lane == 0) found[warp] = top;
    __syncthreads();
    bound = found[0];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) bound = found[w] > bound ? found[w] : bound;
    if (t == 0) best[round] = bound;
    __syncthreads();
    if (bound == 0) {  // nothing is left: empty slots
      if (t < K && t > round) best[t] = 0;
      break;
    }
  }
  __syncthreads();

  // 3. the survivors, a thread a slot
  Chosen chosen{-1, kPad, -INFINITY, 0, -1, 0};
  bool finished = false;
  if (t < K && best[t] != 0) {
    const int flat = flat_of(best[t]), parent = flat / V;
    chosen = {parent, flat % V, score_of(best[t]), 0, -1, beam.length[parent]};
    finished = chosen.token == kEos;
    if (!beam.finished[parent]) {
      chosen.log_prob = logits[flat];
      chosen.state_row = beam.state[parent];
      ++chosen.length;
    }
  }
  __syncthreads();
  if (t < K) {
    beam.score[t] = chosen.score;
    beam.token[t] = chosen.token;
    beam.length[t] = chosen.length;
    beam.finished[t] = finished;
    beam.state[t] = finished ? -1 : chosen.parent;
    if (history) history[t] = chosen;
  }
  __syncthreads();

  // The line is done when no live hypothesis can change the n_best answers.
  if (t == 0) {
    float best_live = -INFINITY;
    bool any_live = false, live_answer = false;
    for (int k = 0; k < K; ++k)
      if (beam.state[k] >= 0) {
        any_live = true;
        live_answer = live_answer || k < s.n_best;
        best_live = fmaxf(best_live, beam.score[k]);
      }
    done = !any_live || step == limit;
    if (!done && s.alpha == 0) {
      done = !live_answer;
    } else if (!done) {  // every live bound lies below n_best finished ones
      const double live_bound = rank(best_live, limit, s.alpha);
      int above = 0;
      for (int k = 0; k < K; ++k)
        above += beam.finished[k] && rank(beam.score[k], beam.length[k], s.alpha) > live_bound;
      done = above >= s.n_best;
    }
  }
  __syncthreads();
  return done;
}

}  // namespace khmer_fast
