// Beam search on the device, in the order of python_ref/beam_search.py: selection, ranking, and the
// loop in its simple form.
#include "cuda/decoder_cuda.h"
#include "cuda/device_math.cuh"
#include "cuda/launch.cuh"

namespace khmer_fast {
namespace {

constexpr int kSelectThreads = 128, kSelectWarps = kSelectThreads / 32;
constexpr int kLook = 8;  // steps between two looks of the host

// Every line begins with one live hypothesis of score 0 in slot 0; a thread a line.
template <class Storage>
__global__ void begin_kernel(DecodeSizes s, DecodeInput in, Workspace<Storage> space) {
  const int b = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), N = s.B * s.K;
  if (b >= s.B) return;
  for (int n = b * s.K; n < (b + 1) * s.K; ++n) {
    space.score[n] = -INFINITY;
    space.token[n] = kBos;
    space.slot_length[n] = 0;
    space.finished[n] = 0;
    space.state_row[n] = -1;
  }
  space.step[b] = 0;
  space.done[b] = in.limit[b] <= 0;
  if (space.done[b]) return;
  space.score[b * s.K] = 0;
  space.state_row[b * s.K] = b * s.K;
  space.parents[N + atomicAdd(space.counts + 2, 1)] = b * s.K;
  space.children[N + atomicAdd(space.counts + 3, 1)] = b * s.K;
  atomicAdd(space.running, 1);
}

__device__ double rank(float score, int length, double alpha) {
  return score / pow(static_cast<double>(length), alpha);
}

// A candidate as one number in the total order of SPEC.md section 3: score descending, then parent
// and token ascending (flat = parent * V + token). 0: none. Adding 0 makes -0 and 0 the same score.
__device__ unsigned long long order_of(float score, int flat) {
  if (!(fabsf(score) < INFINITY)) return 0;
  const unsigned bits = __float_as_uint(score + 0.0f);
  const unsigned ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<unsigned long long>(ascending) << 32 | ~static_cast<unsigned>(flat);
}
__device__ float score_of(unsigned long long order) {
  const unsigned ascending = static_cast<unsigned>(order >> 32);
  return __uint_as_float(ascending & 0x80000000u ? ascending & 0x7fffffffu : ~ascending);
}
__device__ int flat_of(unsigned long long order) {
  return static_cast<int>(~static_cast<unsigned>(order));
}

// In place over logits [V] of a child, by one warp.
__device__ void log_softmax(float* x, int V) {
  const int lane = threadIdx.x % 32;
  float top = -INFINITY, sum = 0;
  for (int v = lane; v < V; v += 32) top = fmaxf(top, x[v]);
  top = warp_max(top);
  for (int v = lane; v < V; v += 32) sum += expf(x[v] - top);
  const float log_sum = logf(warp_sum(sum));
  for (int v = lane; v < V; v += 32) x[v] = x[v] - top - log_sum;
}

// log_softmax of a line's children, its best K candidates, the survivors and whether it is done; a
// block a line. K rounds over K V / 128 candidates a thread, from L1: 5 x 8 x ~20 cycles and about
// 20 barriers, 1-2 us; 1280 x 208 logits come from L2: 1 MB.
template <class Storage>
__global__ void __launch_bounds__(kSelectThreads)
    select_kernel(DecodeSizes s, DecodeInput in, Workspace<Storage> space, int step) {
  const int b = blockIdx.x, K = s.K, V = s.V, N = s.B * K, first = b * K, next = (step & 1) ^ 1;
  const int t = threadIdx.x, lane = t % 32, warp = t / 32;
  if (space.done[b]) return;
  __shared__ float score[kMaxBeam];
  __shared__ int length[kMaxBeam], finished[kMaxBeam], state_row[kMaxBeam];
  __shared__ unsigned long long best[kMaxBeam], found[kSelectWarps];
  __shared__ int new_length[kMaxBeam], new_finished[kMaxBeam];
  if (t < K) {
    score[t] = space.score[first + t];
    length[t] = space.slot_length[first + t];
    finished[t] = space.finished[first + t];
    state_row[t] = space.state_row[first + t];
  }
  __syncthreads();
  for (int k = warp; k < K; k += kSelectWarps)
    if (state_row[k] >= 0) log_softmax(space.logits + static_cast<size_t>(first + k) * V, V);
  __syncthreads();

  // 1. candidates: a live hypothesis with every token, a finished one as it is
  // 2. the best K in the total order, each the greatest below the one before
  const int limit = static_cast<int>(in.limit[b]);
  const bool last = s.forced && step == limit;
  const auto candidate = [&](int flat) -> unsigned long long {
    const int k = flat / V, token = flat % V;
    if (token < kEos) return 0;
    if (finished[k]) return token == kEos ? order_of(score[k], flat) : 0;
    if (state_row[k] < 0 || (last && token != kEos)) return 0;
    if (s.forced && !last && token == kEos) return 0;
    return order_of(score[k] + space.logits[static_cast<size_t>(first) * V + flat], flat);
  };
  unsigned long long bound = ~0ull, own = 0;
  for (int round = 0; round < K; ++round) {
    if (own == 0 || own == bound) {
      own = 0;
      for (int flat = t; flat < K * V; flat += kSelectThreads) {
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
    for (int w = 1; w < kSelectWarps; ++w) bound = found[w] > bound ? found[w] : bound;
    if (t == 0) best[round] = bound;
    __syncthreads();
    if (bound == 0) {  // nothing is left: empty slots
      if (t < K && t > round) best[t] = 0;
      break;
    }
  }
  __syncthreads();

  // 3. the survivors, a thread a slot
  bool live = false;
  int source_k = -1;
  if (t < K) {
    const int n = first + t;
    Chosen chosen{-1, kPad, -INFINITY, 0, -1, 0};
    new_length[t] = 0;
    new_finished[t] = 0;
    if (best[t] != 0) {
      const int flat = flat_of(best[t]);
      source_k = flat / V;
      const bool frozen = finished[source_k];
      chosen = {source_k, flat % V, score_of(best[t]), 0, -1, frozen};
      if (!frozen) {
        chosen.log_prob = space.logits[static_cast<size_t>(first) * V + flat];
        chosen.state_row = state_row[source_k] - first;
      }
      new_length[t] = length[source_k] + !frozen;
      new_finished[t] = chosen.token == kEos;
      live = !new_finished[t];
    }
    space.score[n] = chosen.score;
    space.token[n] = chosen.token;
    space.slot_length[n] = new_length[t];
    space.finished[n] = new_finished[t];
    space.state_row[n] = live ? first + source_k : -1;
    space.history[(static_cast<size_t>(b) * s.S + step - 1) * K + t] = chosen;
  }
  __syncthreads();

  // The line is done when no live hypothesis can change the n_best answers.
  if (t == 0) {
    float best_live = -INFINITY;
    bool any_live = false, live_answer = false;
    for (int k = 0; k < K; ++k)
      if (best[k] != 0 && !new_finished[k]) {
        any_live = true;
        live_answer = live_answer || k < s.n_best;
        best_live = fmaxf(best_live, score_of(best[k]));
      }
    bool done = !any_live || step == limit;
    if (!done && s.alpha == 0) {
      done = !live_answer;
    } else if (!done) {  // every live bound lies below n_best finished ones
      const double bound = rank(best_live, limit, s.alpha);
      int above = 0;
      for (int k = 0; k < K; ++k)
        above += new_finished[k] && rank(score_of(best[k]), new_length[k], s.alpha) > bound;
      done = above >= s.n_best;
    }
    space.step[b] = step;
    space.done[b] = done;
    found[0] = done;
    if (done) atomicAdd(space.running, -1);
  }
  __syncthreads();
  if (found[0] || !live) return;
  // What the next step computes: every live child, each parent once.
  const int list = next * N;
  space.children[list + atomicAdd(space.counts + 2 * next + 1, 1)] = first + t;
  for (int k = 0; k < t; ++k)
    if (best[k] != 0 && !new_finished[k] && flat_of(best[k]) / V == source_k) return;
  space.parents[list + atomicAdd(space.counts + 2 * next, 1)] = first + source_k;
}

// Ranks the hypotheses of a line and follows the pointers of the n_best; a block a line.
template <class Storage>
__global__ void finish_kernel(DecodeSizes s, Workspace<Storage> space, DecodeOutput out) {
  const int b = blockIdx.x, K = s.K, n = s.n_best, S = s.S, N = s.B * K;
  __shared__ int order[kMaxBeam], count;
  if (threadIdx.x == 0) {
    count = 0;
    for (int k = 0; k < K; ++k) {  // insertion keeps ties in slot order
      if (space.score[b * K + k] == -INFINITY || space.slot_length[b * K + k] == 0) continue;
      const auto rank_of = [&](int slot) {
        return rank(space.score[b * K + slot], space.slot_length[b * K + slot], s.alpha);
      };
      int i = count++;
      for (; i > 0 && rank_of(order[i - 1]) < rank_of(k); --i) order[i] = order[i - 1];
      order[i] = k;
    }
    out.failed[b] = count == 0;
    out.steps[b] = space.step[b];
  }
  __syncthreads();
  for (int i = 0; i < n; ++i) {
    const size_t row = static_cast<size_t>(b) * n + i;
    const bool exists = i < count;
    const int slot = exists ? order[i] : 0, length = exists ? space.slot_length[b * K + slot] : 0;
    for (int j = length + static_cast<int>(threadIdx.x); j < S; j += blockDim.x) {
      out.tokens[row * S + j] = kPad;
      out.log_prob[row * S + j] = 0;
    }
    if (out.attention)
      for (size_t j = threadIdx.x; j < static_cast<size_t>(S) * s.T; j += blockDim.x)
        out.attention[row * S * s.T + j] = 0;
    __syncthreads();
    if (threadIdx.x == 0) {
      out.length[row] = length;
      out.score[row] = exists ? space.score[b * K + slot] : -INFINITY;
      out.truncated[row] = exists && !space.finished[b * K + slot];
    }
    int position = length, k = slot;
    for (int step = space.step[b] - 1; exists && step >= 0; --step) {  // all threads together
      const Chosen chosen = space.history[(static_cast<size_t>(b) * S + step) * K + k];
      k = chosen.parent;
      if (chosen.frozen) continue;
      --position;
      if (threadIdx.x == 0) {
        out.tokens[row * S + position] = chosen.token;
        out.log_prob[row * S + position] = chosen.log_prob;
      }
      if (!out.attention) continue;
      const float* weight =
          space.attention + (static_cast<size_t>(step) * N + b * K + chosen.state_row) * s.T;
      for (int t = threadIdx.x; t < s.T; t += blockDim.x)
        out.attention[(row * S + position) * s.T + t] = weight[t];
    }
  }
}

}  // namespace

template <class Storage>
cudaError_t beam_begin_cuda(const DecodeSizes& s, const DecodeInput& in,
                            const Workspace<Storage>& space, cudaStream_t stream) {
  KHMER_FAST_TRY(cudaMemsetAsync(space.counts, 0, 4 * sizeof(int), stream));
  KHMER_FAST_TRY(cudaMemsetAsync(space.running, 0, sizeof(int), stream));
  if (space.attention) {
    const size_t bytes = static_cast<size_t>(s.S) * s.B * s.K * s.T * sizeof(float);
    KHMER_FAST_TRY(cudaMemsetAsync(space.attention, 0, bytes, stream));
  }
  return launch(begin_kernel<Storage>, (s.B + 127) / 128, 128, 0, stream, s, in, space);
}

template <class Storage>
cudaError_t beam_select_cuda(const DecodeSizes& s, const DecodeInput& in,
                             const Workspace<Storage>& space, int step, cudaStream_t stream) {
  return launch(select_kernel<Storage>, s.B, kSelectThreads, 0, stream, s, in, space, step);
}

template <class Storage>
cudaError_t beam_finish_cuda(const DecodeSizes& s, const DecodeInput&,
                             const Workspace<Storage>& space, const DecodeOutput& out,
                             cudaStream_t stream) {
  return launch(finish_kernel<Storage>, s.B, 128, 0, stream, s, space, out);
}

template <class Storage>
cudaError_t beam_search_cuda(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                             const DecodeInput& in, const Workspace<Storage>& space,
                             const DecodeOutput& out, cudaStream_t stream) {
  KHMER_FAST_TRY(attn_gru_init_cuda(s, w, in, space, stream));
  KHMER_FAST_TRY(beam_begin_cuda(s, in, space, stream));
  for (int step = 1; step <= s.S; ++step) {
    KHMER_FAST_TRY(attn_gru_step_cuda(s, w, in, space, step, stream));
    KHMER_FAST_TRY(beam_select_cuda(s, in, space, step, stream));
    if (step % kLook != 0) continue;
    int running = 0;
    KHMER_FAST_TRY(cudaMemcpyAsync(&running, space.running, sizeof running, cudaMemcpyDeviceToHost,
                                   stream));
    KHMER_FAST_TRY(cudaStreamSynchronize(stream));
    if (running == 0) break;
  }
  return beam_finish_cuda(s, in, space, out, stream);
}

#define KHMER_FAST_INSTANTIATE(Storage)                                                          \
  template cudaError_t beam_begin_cuda(const DecodeSizes&, const DecodeInput&,                   \
                                       const Workspace<Storage>&, cudaStream_t);                 \
  template cudaError_t beam_select_cuda(const DecodeSizes&, const DecodeInput&,                  \
                                        const Workspace<Storage>&, int, cudaStream_t);           \
  template cudaError_t beam_finish_cuda(const DecodeSizes&, const DecodeInput&,                  \
                                        const Workspace<Storage>&, const DecodeOutput&,          \
                                        cudaStream_t);                                           \
  template cudaError_t beam_search_cuda(const DecodeSizes&, const PackedDecoder<Storage>&,       \
                                        const DecodeInput&, const Workspace<Storage>&,           \
                                        const DecodeOutput&, cudaStream_t);
KHMER_FAST_INSTANTIATE(float)
KHMER_FAST_INSTANTIATE(__nv_bfloat16)
KHMER_FAST_INSTANTIATE(__half)

}  // namespace khmer_fast
