// Beam search on the device, in the order of python_ref/beam_search.py: the first lines, selection,
// ranking, and the loop in its simple form.
#include "cuda/beam_queue.cuh"
#include "cuda/launch.cuh"

namespace khmer_fast {
namespace {

constexpr int kBeginThreads = 128;
constexpr int kLook = 8;  // steps between two looks of the host

__global__ void power_kernel(double alpha, int count, double* power) {
  const int length = blockIdx.x * blockDim.x + threadIdx.x;
  if (length < count) power[length] = pow(static_cast<double>(length), alpha);
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

template <int Threads, int PerLane, class Storage>
__global__ void __launch_bounds__(Threads, 1)
    select_kernel(DecodeSizes s, DecodeInput in, Workspace<Storage> space) {
  select_seat<Threads, PerLane>(s, in, space);
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
        return rank(last[slot].score, last[slot].length, s.alpha, space.power);
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
    const Chosen answer = i < count ? last[order[i]] : Chosen{-1, kPad, -INFINITY, 0, -1, 0, 0};
    for (int j = answer.length + static_cast<int>(threadIdx.x); j < S; j += blockDim.x) {
      out.tokens[row * S + j] = kPad;
      out.log_prob[row * S + j] = 0;
      out.position[row * S + j] = 0;
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
        out.position[row * S + step] = chosen.position;
      }
      if (!out.attention) continue;
      const float* weight = space.attention + attention_row(s, b, step, chosen.state_row) * s.T;
      for (int t = threadIdx.x; t < s.T; t += blockDim.x)
        out.attention[(row * S + step) * s.T + t] = weight[t];
    }
  }
}

}  // namespace

cudaError_t beam_power_cuda(const DecodeSizes& s, double* power, cudaStream_t stream) {
  if (s.alpha == 0) return cudaSuccess;
  return launch(power_kernel, s.S / 128 + 1, 128, 0, stream, s.alpha, s.S + 1, power);
}

template <class Storage>
cudaError_t beam_begin_cuda(const DecodeSizes& s, const DecodeInput& in,
                            const Workspace<Storage>& space, cudaStream_t stream) {
  KHMER_FAST_TRY(beam_power_cuda(s, space.power, stream));
  KHMER_FAST_TRY(cudaMemsetAsync(space.step, 0, s.B * sizeof(int), stream));
  KHMER_FAST_TRY(cudaMemsetAsync(space.counts, 0, 4 * sizeof(int), stream));
  KHMER_FAST_TRY(cudaMemsetAsync(space.queue, 0, sizeof(int), stream));
  KHMER_FAST_TRY(cudaMemsetAsync(space.running, 0, sizeof(int), stream));
  KHMER_FAST_TRY(cudaMemsetAsync(space.selected, 0, sizeof(int), stream));
  const size_t logits = static_cast<size_t>(s.seats) * s.K * s.V * sizeof(float);
  KHMER_FAST_TRY(cudaMemsetAsync(space.logits, 0, logits, stream));  // also dead rows are loaded
  if (space.attention) {
    const size_t bytes = attention_row(s, s.B, 0, 0) * s.T * sizeof(float);
    KHMER_FAST_TRY(cudaMemsetAsync(space.attention, 0, bytes, stream));
  }
  return launch(begin_kernel<Storage>, s.seats, kBeginThreads, 0, stream, s, in, space);
}

template <class Storage>
cudaError_t beam_select_cuda(const DecodeSizes& s, const DecodeInput& in,
                             const Workspace<Storage>& space, cudaStream_t stream) {
  return choose_selection(s, [&](auto threads, auto tokens) {
    return launch_step(s.variants.early, select_kernel<threads.value, tokens.value, Storage>,
                       s.seats, threads.value, candidate_bytes(s.K), stream, s, in, space);
  });
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
    KHMER_FAST_TRY(
        cudaMemcpyAsync(&running, space.running, sizeof running, cudaMemcpyDeviceToHost, stream));
    KHMER_FAST_TRY(cudaStreamSynchronize(stream));
  }
  return beam_finish_cuda(s, in, space, out, stream);
}

#define KHMER_FAST_INSTANTIATE(Storage)                                                    \
  template cudaError_t beam_begin_cuda(const DecodeSizes&, const DecodeInput&,             \
                                       const Workspace<Storage>&, cudaStream_t);           \
  template cudaError_t beam_select_cuda(const DecodeSizes&, const DecodeInput&,            \
                                        const Workspace<Storage>&, cudaStream_t);          \
  template cudaError_t beam_finish_cuda(const DecodeSizes&, const DecodeInput&,            \
                                        const Workspace<Storage>&, const DecodeOutput&,    \
                                        cudaStream_t);                                     \
  template cudaError_t beam_search_cuda(const DecodeSizes&, const PackedDecoder<Storage>&, \
                                        const DecodeInput&, const Workspace<Storage>&,     \
                                        const DecodeOutput&, cudaStream_t);
KHMER_FAST_INSTANTIATE(float)
KHMER_FAST_INSTANTIATE(__nv_bfloat16)
KHMER_FAST_INSTANTIATE(__half)

}  // namespace khmer_fast
