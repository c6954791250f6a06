// Graphs: lists of launches, and WHILE nodes around other lists.
#pragma once

#include "launches.h"

using cudaGraphConditionalHandle = unsigned long long;
namespace cuda_emulator {
struct Condition {
  unsigned value, first;
};
struct Graph {
  std::vector<Node> nodes;
  std::vector<std::unique_ptr<Condition>> conditions;
  cudaError_t run() const {
    for (const auto& condition : conditions) condition->value = condition->first;
    for (const Node& node : nodes)
      if (const cudaError_t error = node(); error != cudaSuccess) return error;
    return end_early_launches();
  }
};
}  // namespace cuda_emulator
struct CUgraph_st {
  std::shared_ptr<cuda_emulator::Graph> graph = std::make_shared<cuda_emulator::Graph>();
  std::vector<std::unique_ptr<CUgraph_st>> bodies;
  std::vector<std::unique_ptr<CUgraph_st*>> pointers;
};
using cudaGraph_t = CUgraph_st*;
struct CUgraphExec_st {
  std::shared_ptr<cuda_emulator::Graph> graph;
};
using cudaGraphExec_t = CUgraphExec_st*;
using cudaGraphNode_t = void*;
struct cudaGraphEdgeData {};
inline cudaError_t cuda_emulator::in_order(cudaStream_t stream, Node work) {
  if (stream && stream->capture)
    stream->capture->graph->nodes.push_back(std::move(work));
  else if (stream && stream->lazy)
    stream->left.push_back(std::move(work));
  else
    return work();
  return cudaSuccess;
}
enum cudaStreamCaptureMode { cudaStreamCaptureModeRelaxed = 2 };
enum cudaGraphNodeType { cudaGraphNodeTypeConditional = 13 };
enum cudaGraphConditionalNodeType { cudaGraphCondTypeWhile = 1 };
enum { cudaGraphCondAssignDefault = 1 };
struct cudaConditionalNodeParams {
  cudaGraphConditionalHandle handle;
  cudaGraphConditionalNodeType type;
  unsigned size;
  cudaGraph_t* phGraph_out;
};
struct cudaGraphNodeParams {
  cudaGraphNodeType type;
  cudaConditionalNodeParams conditional;
};
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capture = new CUgraph_st;
  return cudaSuccess;
}
inline cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t graph,
                                                 const cudaGraphNode_t*, const cudaGraphEdgeData*,
                                                 std::size_t, cudaStreamCaptureMode) {
  stream->capture = graph;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream->capture, nullptr);
  return cudaSuccess;
}
inline cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned) {
  *graph = new CUgraph_st;
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphConditionalHandleCreate(cudaGraphConditionalHandle* handle,
                                                    cudaGraph_t graph, unsigned first, unsigned) {
  if (!cuda_emulator::options().conditional_nodes) return cudaErrorNotSupported;
  auto& all = graph->graph->conditions;
  all.push_back(std::make_unique<cuda_emulator::Condition>(first, first));
  *handle = reinterpret_cast<std::uintptr_t>(all.back().get());
  return cudaSuccess;
}
inline void cudaGraphSetConditional(cudaGraphConditionalHandle handle, unsigned value) {
  reinterpret_cast<cuda_emulator::Condition*>(static_cast<std::uintptr_t>(handle))->value = value;
}
inline cudaError_t cudaGraphAddNode(cudaGraphNode_t*, cudaGraph_t graph, const cudaGraphNode_t*,
                                    const cudaGraphEdgeData*, std::size_t,
                                    cudaGraphNodeParams* params) {
  graph->bodies.push_back(std::make_unique<CUgraph_st>());
  graph->pointers.push_back(std::make_unique<CUgraph_st*>(graph->bodies.back().get()));
  params->conditional.phGraph_out = graph->pointers.back().get();
  const auto* condition = reinterpret_cast<cuda_emulator::Condition*>(
      static_cast<std::uintptr_t>(params->conditional.handle));
  graph->graph->nodes.push_back([condition, body = graph->bodies.back()->graph] {
    while (condition->value)
      if (const cudaError_t error = body->run(); error != cudaSuccess) return error;
    return cudaSuccess;
  });
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                        unsigned long long) {
  *exec = new CUgraphExec_st{graph->graph};
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return cuda_emulator::in_order(stream, [graph = exec->graph] { return graph->run(); });
}
