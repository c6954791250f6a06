// The loop of the search as a CUDA graph: the step's kernels inside a WHILE node that the selection
// ends; where toolkit or driver cannot have one (older than 12.4), kReplay steps a launch, and
// between two launches the host looks at the number of running seats that the launch before the
// last one left.
//
// Derived, not measured: a node costs about 1 us between dependent kernels, so five nodes a step 5
// us, where the host needs 10-15 us to launch them.
#include <chrono>
#include <thread>

#include "cuda/decoder_cuda.h"
#include "cuda/launch.cuh"

namespace khmer_fast {
namespace {

constexpr int kReplay = 8;  // steps of a launch without a WHILE node
constexpr int kWhileDriver = 12040;

// A stream to capture on: the caller's may be the default one, which cannot be captured.
class CaptureStream {
 public:
  CaptureStream() : error_(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)) {}
  CaptureStream(const CaptureStream&) = delete;
  ~CaptureStream() {
    if (error_ == cudaSuccess) cudaStreamDestroy(stream_);
  }
  cudaError_t error() const { return error_; }
  cudaStream_t stream() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
  cudaError_t error_;
};

template <class Storage>
cudaError_t launch_steps(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                         const DecodeInput& in, const Workspace<Storage>& space,
                         cudaStream_t stream) {
  for (int step = 0; step < kReplay; ++step) {
    KHMER_FAST_TRY(attn_gru_step_cuda(s, w, in, space, stream));
    KHMER_FAST_TRY(beam_select_cuda(s, in, space, stream));
  }
  return cudaSuccess;
}

// Relaxed: what other threads do, and the loading of a kernel, do not end the capture.
constexpr cudaStreamCaptureMode kMode = cudaStreamCaptureModeRelaxed;

template <class Storage>
cudaError_t capture_replay(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                           const DecodeInput& in, const Workspace<Storage>& space,
                           cudaStream_t stream, cudaGraph_t* graph) {
  KHMER_FAST_TRY(cudaStreamBeginCapture(stream, kMode));
  const cudaError_t error = launch_steps(s, w, in, space, stream);
  const cudaError_t ended = cudaStreamEndCapture(stream, graph);
  return error != cudaSuccess ? error : ended;
}

#if defined(KHMER_FAST_WHILE_NODE)
template <class Storage>
cudaError_t capture_while(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                          const DecodeInput& in, const Workspace<Storage>& space,
                          cudaStream_t stream, cudaGraph_t* graph) {
  KHMER_FAST_TRY(cudaGraphCreate(graph, 0));
  LoopHandle loop;
  KHMER_FAST_TRY(cudaGraphConditionalHandleCreate(&loop, *graph, 1, cudaGraphCondAssignDefault));
  cudaGraphNodeParams node{};
  node.type = cudaGraphNodeTypeConditional;
  node.conditional.handle = loop;
  node.conditional.type = cudaGraphCondTypeWhile;
  node.conditional.size = 1;
  cudaGraphNode_t added;
#if CUDART_VERSION >= 13000
  KHMER_FAST_TRY(cudaGraphAddNode(&added, *graph, nullptr, nullptr, 0, &node));
#else
  KHMER_FAST_TRY(cudaGraphAddNode(&added, *graph, nullptr, 0, &node));
#endif
  cudaGraph_t body = node.conditional.phGraph_out[0];
  KHMER_FAST_TRY(cudaStreamBeginCaptureToGraph(stream, body, nullptr, nullptr, 0, kMode));
  cudaError_t error = attn_gru_step_cuda(s, w, in, space, stream);
  if (error == cudaSuccess) error = beam_select_while_cuda(s, in, space, loop, stream);
  const cudaError_t ended = cudaStreamEndCapture(stream, &body);
  return error != cudaSuccess ? error : ended;
}
#endif

cudaError_t create_look(StepGraph* graph) {
  KHMER_FAST_TRY(cudaHostAlloc(reinterpret_cast<void**>(&graph->running), 2 * sizeof(int), 0));
  for (cudaEvent_t& event : graph->looked)
    KHMER_FAST_TRY(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return cudaSuccess;
}

template <class Storage>
cudaError_t capture(const DecodeSizes& s, const PackedDecoder<Storage>& w, const DecodeInput& in,
                    const Workspace<Storage>& space, StepGraph* made) {
  const CaptureStream capture;
  KHMER_FAST_TRY(capture.error());
  KHMER_FAST_TRY(cudaEventCreateWithFlags(&made->used, cudaEventDisableTiming));
  int driver = 0;
  KHMER_FAST_TRY(cudaDriverGetVersion(&driver));
#if defined(KHMER_FAST_WHILE_NODE)
  if (driver >= kWhileDriver) {
    cudaGraph_t graph = nullptr;
    cudaError_t error = capture_while(s, w, in, space, capture.stream(), &graph);
    if (error == cudaSuccess) error = cudaGraphInstantiate(&made->exec, graph, 0);
    if (graph) cudaGraphDestroy(graph);
    made->loops = error == cudaSuccess;
    if (made->loops || error == cudaErrorMemoryAllocation) return error;
    cudaGetLastError();  // the driver cannot have the node: some steps a launch
    failed_kernel() = nullptr;
  }
#endif
  const CaptureStream again;  // what failed may have left the other one invalid
  KHMER_FAST_TRY(again.error());
  cudaGraph_t graph = nullptr;
  cudaError_t error = capture_replay(s, w, in, space, again.stream(), &graph);
  if (error == cudaSuccess) error = create_look(made);
  if (error == cudaSuccess) error = cudaGraphInstantiate(&made->exec, graph, 0);
  if (graph) cudaGraphDestroy(graph);
  return error;
}

}  // namespace

template <class Storage>
cudaError_t capture_steps_cuda(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                               const DecodeInput& in, const Workspace<Storage>& space,
                               StepGraph* graph) {
  const cudaError_t error = capture(s, w, in, space, graph);
  if (error != cudaSuccess) destroy_steps_cuda(graph);
  return error;
}

void destroy_steps_cuda(StepGraph* graph) {
  if (graph->used) {
    cudaEventSynchronize(graph->used);  // the last search may still run
    cudaEventDestroy(graph->used);
  }
  if (graph->exec) cudaGraphExecDestroy(graph->exec);
  for (cudaEvent_t event : graph->looked)
    if (event) cudaEventDestroy(event);
  if (graph->running) cudaFreeHost(graph->running);
  *graph = StepGraph{};
}

template <class Storage>
cudaError_t beam_search_graph_cuda(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                                   const DecodeInput& in, const Workspace<Storage>& space,
                                   const DecodeOutput& out, const StepGraph& graph,
                                   cudaStream_t stream) {
  KHMER_FAST_TRY(attn_gru_init_cuda(s, w, in, space, stream));
  KHMER_FAST_TRY(beam_begin_cuda(s, in, space, stream));
  if (graph.loops) {
    KHMER_FAST_TRY(cudaGraphLaunch(graph.exec, stream));
    return beam_finish_cuda(s, in, space, out, stream);
  }
  for (int64_t replay = 0;; ++replay) {
    const int now = replay & 1, before = now ^ 1;
    KHMER_FAST_TRY(cudaGraphLaunch(graph.exec, stream));
    KHMER_FAST_TRY(cudaMemcpyAsync(graph.running + now, space.running, sizeof(int),
                                   cudaMemcpyDeviceToHost, stream));
    KHMER_FAST_TRY(cudaEventRecord(graph.looked[now], stream));
    if (replay == 0) continue;
    // The device has this launch to do meanwhile.
    cudaError_t state;
    while ((state = cudaEventQuery(graph.looked[before])) == cudaErrorNotReady) {
      cudaGetLastError();
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    KHMER_FAST_TRY(state);
    if (graph.running[before] == 0) break;
  }
  return beam_finish_cuda(s, in, space, out, stream);
}

#define KHMER_FAST_INSTANTIATE(Storage)                                                      \
  template cudaError_t capture_steps_cuda(const DecodeSizes&, const PackedDecoder<Storage>&, \
                                          const DecodeInput&, const Workspace<Storage>&,     \
                                          StepGraph*);                                       \
  template cudaError_t beam_search_graph_cuda(                                               \
      const DecodeSizes&, const PackedDecoder<Storage>&, const DecodeInput&,                 \
      const Workspace<Storage>&, const DecodeOutput&, const StepGraph&, cudaStream_t);
KHMER_FAST_INSTANTIATE(float)
KHMER_FAST_INSTANTIATE(__nv_bfloat16)
KHMER_FAST_INSTANTIATE(__half)

}  // namespace khmer_fast
