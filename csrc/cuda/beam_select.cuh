// The selection of one line by one block, in the order of python_ref/beam_search.py: log_softmax,
// the best K candidates, the survivors, and whether the line is done.
//
// A warp takes a hypothesis: it has the row of logits in registers, and finds the K best tokens, of
// which no more can survive. One warp merges the K sorted lists and does the rest: three barriers.
#pragma once

#include "cuda/decoder_cuda.h"
#include "cuda/device_math.cuh"

namespace khmer_fast {

// The hypotheses of a line, in shared memory.
struct LineBeam {
  float score[kMaxBeam];  // -infinity: empty
  int token[kMaxBeam];
  int length[kMaxBeam];  // tokens so far
  int finished[kMaxBeam];
  int state[kMaxBeam];     // k of the parent's state, -1: not live
  int position[kMaxBeam];  // of the parent's largest attention weight, once it has attended
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
  beam.position[k] = 0;
}

// Whether child k is the first of its parent's children, who stands for the parent in lists.
__device__ __forceinline__ bool first_child(const LineBeam& beam, int k) {
  for (int other = 0; other < k; ++other)
    if (beam.state[other] == beam.state[k]) return false;
  return true;
}

// power [S + 1]: length ** alpha, computed once a search; not read where alpha is 0.
__device__ __forceinline__ double rank(float score, int length, double alpha, const double* power) {
  return alpha == 0 ? score : score / power[length];
}

// A score as a number that is larger the better it is; 0: not finite, no candidate. Adding 0 makes
// -0 and 0 the same score.
__device__ __forceinline__ unsigned order_of(float score) {
  const unsigned bits = __float_as_uint(score + 0.0f);
  const unsigned ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return fabsf(score) < INFINITY ? ascending : 0;
}

// The warp's largest `order`, and the smallest `place` among the lanes that have it: the total
// order of docs/spec.md, section 3, where `place` ascends with the flat index. 0: no lane has one.
struct Best {
  unsigned order, place;
};
__device__ __forceinline__ Best best_of_warp(unsigned order, unsigned place) {
  const unsigned top = __reduce_max_sync(kAllLanes, order);
  return {top, __reduce_min_sync(kAllLanes, order == top ? place : ~0u)};
}

// The tokens lane, lane + 32, ... of a row of logits [V]: PerLane of them in registers.
template <int PerLane>
class LaneTokens {
 public:
  __device__ __forceinline__ void load(const float* logits, int V) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < PerLane; ++i) x_[i] = lane + 32 * i < V ? logits[lane + 32 * i] : -INFINITY;
  }
  template <class Visit>
  __device__ __forceinline__ void each(Visit visit) const {
#pragma unroll
    for (int i = 0; i < PerLane; ++i) visit(x_[i]);
  }
  // order_of_token(x, token): 0 for what is no candidate
  template <class Order>
  __device__ __forceinline__ void rank(Order order_of_token) {
#pragma unroll
    for (int i = 0; i < PerLane; ++i)
      order_[i] = order_of_token(x_[i], static_cast<int>(threadIdx.x % 32) + 32 * i);
    look();
  }
  // The best token is taken: the lane turns to its next.
  template <class Order>
  __device__ __forceinline__ void take(Order) {
#pragma unroll
    for (int i = 0; i < PerLane; ++i)
      if (i == at_) order_[i] = 0;
    look();
  }
  __device__ __forceinline__ unsigned order() const { return best_; }
  __device__ __forceinline__ int token() const { return threadIdx.x % 32 + 32 * at_; }
  __device__ __forceinline__ float logit() const { return logit_; }

 private:
  __device__ __forceinline__ void look() {
    best_ = 0;
#pragma unroll
    for (int i = 0; i < PerLane; ++i)
      if (order_[i] > best_) best_ = order_[i], at_ = i, logit_ = x_[i];
  }
  float x_[PerLane], logit_ = 0;
  unsigned order_[PerLane], best_ = 0;
  int at_ = 0;
};

// As many as there are, read again at each look.
template <>
class LaneTokens<0> {
 public:
  __device__ __forceinline__ void load(const float* logits, int V) { logits_ = logits, V_ = V; }
  template <class Visit>
  __device__ __forceinline__ void each(Visit visit) const {
    for (int v = threadIdx.x % 32; v < V_; v += 32) visit(logits_[v]);
  }
  template <class Order>
  __device__ __forceinline__ void rank(Order order_of_token) {
    best_ = ~0u, token_ = -1;
    take(order_of_token);
  }
  template <class Order>
  __device__ __forceinline__ void take(Order order_of_token) {
    const unsigned bound = best_;
    const int behind = token_;
    best_ = 0;
    for (int v = threadIdx.x % 32; v < V_; v += 32) {
      const unsigned order = order_of_token(logits_[v], v);
      const bool left = order < bound || (order == bound && v > behind);
      if (left && order > best_) best_ = order, token_ = v, logit_ = logits_[v];
    }
  }
  __device__ __forceinline__ unsigned order() const { return best_; }
  __device__ __forceinline__ int token() const { return token_; }
  __device__ __forceinline__ float logit() const { return logit_; }

 private:
  const float* logits_ = nullptr;
  float logit_ = 0;
  unsigned best_ = 0;
  int V_ = 0, token_ = 0;
};

// Tokens of a lane that lie in registers where the vocabulary is small enough.
constexpr int kLaneTokens = 8;
constexpr bool in_registers(int V) { return V <= 32 * kLaneTokens; }

// A token that may follow a hypothesis; -1: none is left.
struct Candidate {
  float log_prob;
  int token;
};
constexpr size_t candidate_bytes(int K) { return sizeof(Candidate) * K * K; }

// The K best of a live hypothesis of score `score`, by one warp, of the tokens from `low` to below
// `high`; list [K].
template <int PerLane>
__device__ __forceinline__ void best_tokens(LaneTokens<PerLane>& row, float score, int low,
                                            int high, int K, Candidate* list) {
  float top = -INFINITY, sum = 0;
  row.each([&](float x) { top = fmaxf(top, x); });
  top = warp_max(top);
  row.each([&](float x) { sum += expf(x - top); });
  const float log_sum = logf(warp_sum(sum));
  const auto order = [&](float x, int token) {
    return token >= low && token < high ? order_of(score + (x - top - log_sum)) : 0u;
  };
  row.rank(order);
  for (int i = 0; i < K; ++i) {
    const Best best = best_of_warp(row.order(), row.token());
    if (best.order == 0) {
      if (threadIdx.x % 32 == 0) list[i].token = -1;
      return;
    }
    if (static_cast<unsigned>(row.token()) != best.place || row.order() != best.order) continue;
    list[i] = {row.logit() - top - log_sum, row.token()};
    row.take(order);
  }
}

// Step `step`, from 1, of a line whose limit is S_b = `limit`; logits [K, V] of its children; `row`
// has loaded that of slot threadIdx.x / 32; `lists` [K, K] in shared memory. `beam` becomes its
// survivors, `history` [K] is written unless null. True for the whole block where no live
// hypothesis can change the n_best answers.
template <int Threads, int PerLane>
__device__ bool select_line(const DecodeSizes& s, int limit, int step, const float* logits,
                            const double* power, LaneTokens<PerLane>& row, LineBeam& beam,
                            Candidate* lists, Chosen* history) {
  constexpr int kWarps = Threads / 32;
  static_assert(kMaxBeam == 64, "a lane of one warp takes two hypotheses");
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, K = s.K, V = s.V;
  __shared__ int best[kMaxBeam];
  __shared__ bool done;

  // 1. candidates: a live hypothesis with every token, a finished one as it is
  const bool last = s.forced && step == limit;
  const int low = s.forced && !last ? kEos + 1 : kEos, high = last ? kEos + 1 : V;
  for (int k = warp; k < K; k += kWarps) {
    Candidate* list = lists + k * K;
    if (beam.state[k] >= 0) {
      if (k != warp) row.load(logits + static_cast<size_t>(k) * V, V);
      best_tokens(row, beam.score[k], low, high, K, list);
    } else if (lane == 0) {
      list[0] = {0.0f, beam.finished[k] ? kEos : -1};
      if (K > 1) list[1].token = -1;
    }
  }
  __syncthreads();

  if (warp == 0) {
    // 2. the best K in the total order: of the heads of the lists; a lane has lists lane, lane + 32
    unsigned head[2];
    int at[2] = {0, 0};
    const auto look = [&](int i) {
      const int k = lane + 32 * i;
      head[i] = 0;
      if (k >= K || at[i] == K) return;
      const Candidate next = lists[k * K + at[i]];
      if (next.token >= 0) head[i] = order_of(beam.score[k] + next.log_prob);
    };
    look(0), look(1);
    for (int round = 0; round < K; ++round) {
      const bool second = head[1] > head[0];
      const unsigned k = second ? lane + 32 : lane;
      const Best found = best_of_warp(second ? head[1] : head[0], k);
      if (found.order == 0) {  // nothing is left: empty slots
        for (int i = round + lane; i < K; i += 32) best[i] = -1;
        break;
      }
      if (found.place != k) continue;
      best[round] = static_cast<int>(k) << 8 | (second ? at[1] : at[0]);
      if (second)
        ++at[1], look(1);
      else
        ++at[0], look(0);
    }
    __syncwarp();

    // 3. the survivors
    Chosen chosen[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int slot = lane + 32 * i;
      chosen[i] = {-1, kPad, -INFINITY, 0, -1, 0, 0};
      if (slot >= K || best[slot] < 0) continue;
      const int parent = best[slot] >> 8;
      const Candidate next = lists[parent * K + (best[slot] & 0xff)];
      chosen[i] = {parent, next.token, beam.score[parent] + next.log_prob + 0.0f,
                   0,      -1,         beam.length[parent],
                   0};
      if (beam.finished[parent]) continue;
      chosen[i].log_prob = next.log_prob;
      chosen[i].state_row = beam.state[parent];
      chosen[i].position = beam.position[parent];
      ++chosen[i].length;
    }
    __syncwarp();

    // The line is done when no live hypothesis can change the n_best answers.
    bool any_live = false, live_answer = false;
    float best_live = -INFINITY;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int slot = lane + 32 * i;
      if (slot >= K) continue;
      const bool finished = chosen[i].token == kEos, live = chosen[i].parent >= 0 && !finished;
      beam.score[slot] = chosen[i].score;
      beam.token[slot] = chosen[i].token;
      beam.length[slot] = chosen[i].length;
      beam.finished[slot] = finished;
      beam.state[slot] = live ? chosen[i].parent : -1;
      if (history) history[slot] = chosen[i];
      any_live = any_live || live;
      live_answer = live_answer || (live && slot < s.n_best);
      if (live) best_live = fmaxf(best_live, chosen[i].score);
    }
    any_live = __any_sync(kAllLanes, any_live);
    bool over = !any_live || step == limit;
    if (!over && s.alpha == 0) {
      over = !__any_sync(kAllLanes, live_answer);
    } else if (!over) {  // every live bound lies below n_best finished ones
      const double live_bound = rank(warp_max(best_live), limit, s.alpha, power);
      unsigned above = 0;
      for (int slot = lane; slot < K; slot += 32)  // its own
        above += beam.finished[slot] &&
                 rank(beam.score[slot], beam.length[slot], s.alpha, power) > live_bound;
      over = static_cast<int>(__reduce_add_sync(kAllLanes, above)) >= s.n_best;
    }
    if (lane == 0) done = over;
  }
  __syncthreads();
  return done;
}

}  // namespace khmer_fast
