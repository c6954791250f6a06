// Streams and events. Work is done at once, except on a lazy stream, which does it when somebody
// waits for it: who reads what the stream was to write, and has not waited, finds what was there
// before.
#pragma once

#include "types.h"

struct CUgraph_st;
struct CUevent_st;
using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = CUevent_st*;

namespace cuda_emulator {
using Node = std::function<cudaError_t()>;

// Does `work`, or leaves it to the stream: to the graph that is captured, or to the next who waits.
cudaError_t in_order(cudaStream_t stream, Node work);
cudaError_t end_early_launches(std::size_t left);  // grid.h
}  // namespace cuda_emulator

struct CUstream_st {
  CUgraph_st* capture = nullptr;
  bool lazy = false;
  std::vector<cuda_emulator::Node> left;

  cudaError_t finish() {
    for (const cuda_emulator::Node& work : std::exchange(left, {}))
      if (const cudaError_t error = work(); error != cudaSuccess) return error;
    return cudaSuccess;
  }
};
// Done when its stream is; the first question of each record gets "not ready".
struct CUevent_st {
  cudaStream_t stream = nullptr;
  bool asked = true;
};

enum { cudaEventDisableTiming = 2, cudaStreamNonBlocking = 1 };
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const cudaError_t error = stream ? stream->finish() : cudaSuccess;
  const cudaError_t early = cuda_emulator::end_early_launches(0);
  return error != cudaSuccess ? error : early;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  *event = {stream, false};
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return cudaStreamSynchronize(event->stream);
}
inline cudaError_t cudaEventQuery(cudaEvent_t event) {
  return std::exchange(event->asked, true) ? cudaEventSynchronize(event) : cudaErrorNotReady;
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned) {
  return cudaEventSynchronize(event);
}
