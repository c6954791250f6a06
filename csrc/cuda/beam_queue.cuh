// The queue of lines and their seats, and the selection's kernel without what tells a WHILE node.
#pragma once

#include "cuda/beam_select.cuh"
#include "cuda/decoder_cuda.h"
#include "cuda/device_math.cuh"
#include "cuda/launch.cuh"
#include "cuda/product.cuh"

namespace khmer_fast {

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
// once. Both lists grow by one addition a seat, since all seats add to the same counts.
template <class Storage>
__device__ void publish(const DecodeSizes& s, const Workspace<Storage>& space, int now,
                        const LineBeam& beam) {
  if (threadIdx.x >= 32) return;
  const int lane = threadIdx.x, N = s.seats * s.K, first = blockIdx.x * s.K;
  const unsigned below = (1u << lane) - 1;
  unsigned live[2] = {}, parents[2] = {};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int k = lane + 32 * i;
    const bool is_live = k < s.K && beam.state[k] >= 0;
    live[i] = __ballot_sync(kAllLanes, is_live);
    parents[i] = __ballot_sync(kAllLanes, is_live && first_child(beam, k));
  }
  unsigned long long at = 0;
  if (lane == 0) {
    const unsigned long long more =
        __popc(parents[0]) + __popc(parents[1]) |
        static_cast<unsigned long long>(__popc(live[0]) + __popc(live[1])) << 32;
    at = atomicAdd(reinterpret_cast<unsigned long long*>(space.counts + 2 * now), more);
  }
  at = __shfl_sync(kAllLanes, at, 0);
  int parent_at = static_cast<int>(at & 0xffffffffu), child_at = static_cast<int>(at >> 32);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int k = lane + 32 * i, n = first + k;
    if (k < s.K) {
      const bool is_live = live[i] >> lane & 1;
      space.score[n] = beam.score[k];
      space.token[n] = beam.token[k];
      space.slot_length[n] = beam.length[k];
      space.finished[n] = beam.finished[k];
      space.state_row[n] = is_live ? first + beam.state[k] : -1;
      if (is_live) space.children[now * N + child_at + __popc(live[i] & below)] = n;
      if (parents[i] >> lane & 1)
        space.parents[now * N + parent_at + __popc(parents[i] & below)] = first + beam.state[k];
    }
    parent_at += __popc(parents[i]);
    child_at += __popc(live[i]);
  }
}

// The selection of the line in seat blockIdx.x; a line that is done leaves its seat to the next
// one. Shared: candidates [K, K]. True in one thread of the last block that ends: the step is over.
//
// Derived, not measured: 2.7 us. The row of logits is asked for before anything else, 0.35;
// log_softmax 400 cycles, orders 200, the best of each lane 5 rounds of 110, the merge 5 rounds of
// 120, survivors and the line's end 300, in all 1.2; the counts, a round trip to L2, 0.4; a fence
// and the look at the other blocks, 0.7.
template <int Threads, int PerLane, class Storage>
__device__ __forceinline__ bool select_seat(const DecodeSizes& s, const DecodeInput& in,
                                            const Workspace<Storage>& space) {
  wait_for_the_kernels_before();
  const int seat = blockIdx.x, K = s.K, first = seat * K, t = threadIdx.x;
  const float* logits = space.logits + static_cast<size_t>(first) * s.V;
  LaneTokens<PerLane> row;
  row.load(logits + static_cast<size_t>(min(t / 32, K - 1)) * s.V, s.V);
  const int now = *space.clock & 1, b = space.line[seat];
  if (b >= 0) {
    __shared__ LineBeam beam;
    if (t < K) {
      const int state = space.state_row[first + t];
      beam.score[t] = space.score[first + t];
      beam.length[t] = space.slot_length[first + t];
      beam.finished[t] = space.finished[first + t];
      beam.state[t] = state < 0 ? -1 : state - first;
      beam.position[t] = state < 0 ? 0 : space.position[state];
    }
    const int step = space.step[b] + 1;
    __syncthreads();
    if (t == 0) space.step[b] = step;
    Chosen* history = space.history + (static_cast<size_t>(b) * s.S + step - 1) * K;
    const bool done =
        select_line<Threads>(s, static_cast<int>(in.limit[b]), step, logits, space.power, row, beam,
                             dynamic_shared<Candidate>(), history);
    const int next = done ? take_line(s, in, space) : b;
    if (t == 0 && done) space.line[seat] = next;
    if (t == 0 && next < 0) atomicAdd(space.running, -1);
    if (done && next >= 0) begin_seat(s, space, next, now ^ 1, beam);
    if (next >= 0) publish(s, space, now ^ 1, beam);
  }

  // The last seat of the step moves the clock, and empties the lists that the step has computed.
  __syncthreads();
  if (t != 0) return false;
  __threadfence();
  if (atomicAdd(space.selected, 1) != s.seats - 1) return false;
  *space.selected = 0;
  *space.clock += 1;
  space.counts[2 * now] = space.counts[2 * now + 1] = 0;
  return true;
}

// Launches launch_as(threads, tokens) with the selection's constants for these sizes.
template <class Launch>
cudaError_t choose_selection(const DecodeSizes& s, Launch launch_as) {
  using Memory = std::integral_constant<int, 0>;
  using Registers = std::integral_constant<int, kLaneTokens>;
  using Many = std::integral_constant<int, 256>;
  using Few = std::integral_constant<int, 128>;
  if (!in_registers(s.V)) return launch_as(Many{}, Memory{});
  return s.variants.select_threads == 128 ? launch_as(Few{}, Registers{})
                                          : launch_as(Many{}, Registers{});
}

}  // namespace khmer_fast
