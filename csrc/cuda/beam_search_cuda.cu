// Beam search on the device, in the order of python_ref/beam_search.py: the queue of lines, selection,
// ranking, and the loop in its simple form.
#include "cuda/beam_select.cuh"
#include "cuda/decoder_cuda.h"
#include "cuda/device_math.cuh"
#include "cuda/launch.cuh"
#include "cuda/product.cuh"

namespace khmer_fast {
namespace {

constexpr int kSelectThreads = 128;
constexpr int kLook = 8;  // steps between two looks of the host

// The next line of the queue that has steps to run, or -1; for the whole block. Which seat takes a
// line changes nothing about it.
template <class Storage>
__device__ int take_line(const DecodeSizes& s, const DecodeInput& in,
                         const Workspace<Storage>& space) {
  __shared__ int taken;
  if (threadIdx.x == 0) {
    do taken = atomicAdd(space.queue, 1);
    while (taken < s.B && in.limit[taken] <= 0);
    if (taken >= s.B) taken = -1;
  }
  __syncthreads();
  return taken;
}

// A new line in the seat; its first state goes where the step of parity `now` finds it.
template <class Storage>
__device__ void begin_seat(const DecodeSizes& s, const Workspace<Storage>& space, int b, int now,
                           LineBeam& beam) {
  const int N = s.seats * s.K, first = blockIdx.x * s.K;
  const size_t h = (static_cast<size_t>(now ^ 1) * N + first) * s.Hp;
  for (int j = threadIdx.x; j < s.Hp; j += blockDim.x)
    store_state(space, h + j, space.h_0[static_cast<size_t>(b) * s.Hp + j]);
  begin_line(beam, s.K);
  __syncthreads();
}

// The seat's hypotheses, and what the step of parity `now` computes: each live child, each parent
// once; a thread a slot.
template <class Storage>
__device__ void publish(const DecodeSizes& s, const Workspace<Storage>& space, int now,
                        const LineBeam& beam) {
  const int k = threadIdx.x, N = s.seats * s.K, first = blockIdx.x * s.K, n = first + k;
  if (k >= s.K) return;
  const bool live = beam.state[k] >= 0;
  space.score[n] = beam.score[k];
  space.token[n] = beam.token[k];
  space.slot_length[n] = beam.length[k];
  space.finished[n] = beam.finished[k];
  space.state_row[n] = live ? first + beam.state[k] : -1;
  if (!live) return;
  space.children[now * N + atomicAdd(space.counts + 2 * now + 1, 1)] = n;
  if (first_child(beam, k))
    space.parents[now * N + atomicAdd(space.counts + 2 * now, 1)] = first + beam.state[k];
}

// Gives every seat its first line; a block a seat.
template <class Storage>
__global__ void begin_kernel(DecodeSizes s, DecodeInput in, Workspace<Storage> space) {
  __shared__ LineBeam beam;
  const int b = take_line(s, in, space);
  if (threadIdx.x == 0) {
    space.line[blockIdx.x] = b;
    if (b >= 0) atomicAdd(space.running, 1);
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) *space.clock = 1;
  if (b < 0) return;
  begin_seat(s, space, b, 1, beam);
  publish(s, space, 1, beam);
}

// log_softmax of a line's children, its best K candidates, the survivors; a line that is done leaves
// its seat to the next one. A block a seat. K rounds over K V / 128 candidates a thread, from L1:
// 5 x 8 x ~20 cycles and about 20 barriers, 1-2 us; 1280 x 208 logits come from L2: 1 MB.
template <class Storage, bool kWhile>
__global__ void __launch_bounds__(kSelectThreads)
    select_kernel(DecodeSizes s, DecodeInput in, Workspace<Storage> space,
                  [[maybe_unused]] LoopHandle loop) {
  const int seat = blockIdx.x, K = s.K, first = seat * K, t = threadIdx.x;
  const int now = *space.clock & 1, b = space.line[seat];
  if (b >= 0) {
    __shared__ LineBeam beam;
    if (t < K) {
      const int row = space.state_row[first + t];
      beam.score[t] = space.score[first + t];
      beam.length[t] = space.slot_length[first + t];
      beam.finished[t] = space.finished[first + t];
      beam.state[t] = row < 0 ? -1 : row - first;
    }
    const int step = space.step[b] + 1;
    __syncthreads();
    if (t == 0) space.step[b] = step;
    Chosen* history = space.history + (static_cast<size_t>(b) * s.S + step - 1) * K;
    const bool done = select_line<kSelectThreads>(s, static_cast<int>(in.limit[b]), step,
                                                  space.logits + static_cast<size_t>(first) * s.V,
                                                  beam, history);
    const int next = done ? take_line(s, in, space) : b;
    if (t == 0 && done) space.line[seat] = next;
    if (t == 0 && next < 0) atomicAdd(space.running, -1);
    if (done && next >= 0) begin_seat(s, space, next, now ^ 1, beam);
    if (next >= 0) publish(s, space, now ^ 1, beam);
  }

  // The last seat of the step moves the clock, and empties the lists that the step has computed.
  __syncthreads();
  if (t != 0) return;
  __threadfence();
  if (atomicAdd(space.selected, 1) != s.seats - 1) return;
  *space.selected = 0;
  *space.clock += 1;
  space.counts[2 * now] = space.counts[2 * now + 1] = 0;
#if defined(KHMER_FAST_WHILE_NODE)
  if constexpr (kWhile) cudaGraphSetConditional(loop, atomicAdd(space.running, 0) > 0);
#endif
}

// Ranks the hypotheses of a line and follows the pointers of the n_best; a block a line.
template <class Storage>
__global__ void finish_kernel(DecodeSizes s, Workspace<Storage> space, DecodeOutput out) {
  const int b = blockIdx.x, K = s.K, n = s.n_best, S = s.S, steps = space.step[b];
  const Chosen* history = space.history + static_cast<size_t>(b) * S * K;  // [S, K]
  const Chosen* last = history + static_cast<size_t>(steps - 1) * K;
  __shared__ int order[kMaxBeam], count;
  if (threadIdx.x == 0) {
    count = 0;
    for (int k = 0; k < K && steps > 0; ++k) {  // insertion keeps ties in slot order
      if (last[k].parent < 0) continue;
      const auto rank_of = [&](int slot) {
        return rank(last[slot].score, last[slot].length, s.alpha);
      };
      int i = count++;
      for (; i > 0 && rank_of(order[i - 1]) < rank_of(k); --i) order[i] = order[i - 1];
      order[i] = k;
    }
    out.failed[b] = count == 0;
    out.steps[b] = steps;
  }
  __syncthreads();
  for (int i = 0; i < n; ++i) {
    const size_t row = static_cast<size_t>(b) * n + i;
    const Chosen answer = i < count ? last[order[i]] : Chosen{-1, kPad, -INFINITY, 0, -1, 0};
    for (int j = answer.length + static_cast<int>(threadIdx.x); j < S; j += blockDim.x) {
      out.tokens[row * S + j] = kPad;
      out.log_prob[row * S + j] = 0;
    }
    if (out.attention)
      for (size_t j = threadIdx.x; j < static_cast<size_t>(S) * s.T; j += blockDim.x)
        out.attention[row * S * s.T + j] = 0;
    __syncthreads();
    if (threadIdx.x == 0) {
      out.length[row] = answer.length;
      out.score[row] = answer.score;
      out.truncated[row] = i < count && answer.token != kEos;
    }
    int k = i < count ? order[i] : 0;
    for (int step = i < count ? steps - 1 : -1; step >= 0; --step) {  // all threads together
      const Chosen chosen = history[static_cast<size_t>(step) * K + k];
      k = chosen.parent;
      if (chosen.length <= step) continue;  // it was finished before
      if (threadIdx.x == 0) {
        out.tokens[row * S + step] = chosen.token;
        out.log_prob[row * S + step] = chosen.log_prob;
      }
      if (!out.attention) continue;
      const float* weight = space.attention + attention_row(s, b, step, chosen.state_row) * s.T;
      for (int t = threadIdx.x; t < s.T; t += blockDim.x)
        out.attention[(row * S + step) * s.T + t] = weight[t];
    }
  }
}

}  // namespace

template <class Storage>
cudaError_t beam_begin_cuda(const DecodeSizes& s, const DecodeInput& in,
                            const Workspace<Storage>& space, cudaStream_t stream) {
  KHMER_FAST_TRY(cudaMemsetAsync(space.step, 0, s.B * sizeof(int), stream));
  KHMER_FAST_TRY(cudaMemsetAsync(space.counts, 0, 4 * sizeof(int), stream));
  KHMER_FAST_TRY(cudaMemsetAsync(space.queue, 0, sizeof(int), stream));
  KHMER_FAST_TRY(cudaMemsetAsync(space.running, 0, sizeof(int), stream));
  KHMER_FAST_TRY(cudaMemsetAsync(space.selected, 0, sizeof(int), stream));
  if (space.attention) {
    const size_t bytes = attention_row(s, s.B, 0, 0) * s.T * sizeof(float);
    KHMER_FAST_TRY(cudaMemsetAsync(space.attention, 0, bytes, stream));
  }
  return launch(begin_kernel<Storage>, s.seats, kSelectThreads, 0, stream, s, in, space);
}

template <class Storage>
cudaError_t beam_select_cuda(const DecodeSizes& s, const DecodeInput& in,
                             const Workspace<Storage>& space, cudaStream_t stream,
                             const LoopHandle* loop) {
  if (loop)
    return launch(select_kernel<Storage, true>, s.seats, kSelectThreads, 0, stream, s, in, space,
                  *loop);
  return launch(select_kernel<Storage, false>, s.seats, kSelectThreads, 0, stream, s, in, space,
                LoopHandle{});
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
  int running = 1;
  for (int64_t step = 1; running > 0; ++step) {
    KHMER_FAST_TRY(attn_gru_step_cuda(s, w, in, space, stream));
    KHMER_FAST_TRY(beam_select_cuda(s, in, space, stream));
    if (step % kLook != 0 && step != s.S) continue;
    KHMER_FAST_TRY(cudaMemcpyAsync(&running, space.running, sizeof running, cudaMemcpyDeviceToHost,
                                   stream));
    KHMER_FAST_TRY(cudaStreamSynchronize(stream));
  }
  return beam_finish_cuda(s, in, space, out, stream);
}

#define KHMER_FAST_INSTANTIATE(Storage)                                                          \
  template cudaError_t beam_begin_cuda(const DecodeSizes&, const DecodeInput&,                   \
                                       const Workspace<Storage>&, cudaStream_t);                 \
  template cudaError_t beam_select_cuda(const DecodeSizes&, const DecodeInput&,                  \
                                        const Workspace<Storage>&, cudaStream_t,                 \
                                        const LoopHandle*);                                      \
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
