// The selection inside a WHILE node of a CUDA graph, alone in its file: a driver that does not know
// cudaGraphSetConditional cannot load this module, and the graph does without the node.
#include "cuda/beam_queue.cuh"
#include "cuda/launch.cuh"

namespace khmer_fast {

#if defined(KHMER_FAST_WHILE_NODE)
namespace {

template <int Threads, int PerLane, class Storage>
__global__ void __launch_bounds__(Threads, 1)
    select_while_kernel(DecodeSizes s, DecodeInput in, Workspace<Storage> space, LoopHandle loop) {
  if (select_seat<Threads, PerLane>(s, in, space))
    cudaGraphSetConditional(loop, atomicAdd(space.running, 0) > 0);
}

}  // namespace

template <class Storage>
cudaError_t beam_select_while_cuda(const DecodeSizes& s, const DecodeInput& in,
                                   const Workspace<Storage>& space, LoopHandle loop,
                                   cudaStream_t stream) {
  return choose_selection(s, [&](auto threads, auto tokens) {
    return launch_step(s.variants.early, select_while_kernel<threads.value, tokens.value, Storage>,
                       s.seats, threads.value, candidate_bytes(s.K), stream, s, in, space, loop);
  });
}

#define KHMER_FAST_INSTANTIATE(Storage)                                               \
  template cudaError_t beam_select_while_cuda(const DecodeSizes&, const DecodeInput&, \
                                              const Workspace<Storage>&, LoopHandle,  \
                                              cudaStream_t);
KHMER_FAST_INSTANTIATE(float)
KHMER_FAST_INSTANTIATE(__nv_bfloat16)
KHMER_FAST_INSTANTIATE(__half)
#endif

}  // namespace khmer_fast
