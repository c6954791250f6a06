// A decoder's packed weights in torch's memory, and the search over them in each loop.
#pragma once

#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>

#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "cuda/check_cuda.h"
#include "cuda/decoder_cuda.h"
#include "decoder_tensors.h"

namespace khmer_fast {

constexpr size_t kAlignment = 256;
constexpr size_t kIdleGraphs = 8;  // that a decoder keeps, with their workspaces

enum class Loop { kPlain, kGraph, kPersistent };

// Its memory is not given to others before what runs on the stream now has ended.
inline void keep_until_done(const at::Tensor& x, c10::cuda::CUDAStream stream) {
  c10::cuda::CUDACachingAllocator::recordStream(x.storage().data_ptr(), stream);
}

// The end of what a stream had to do when the event was recorded.
class Event {
 public:
  Event() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "an event"); }
  Event(const Event&) = delete;
  ~Event() { cudaEventDestroy(event_); }
  void record(cudaStream_t stream) { check_cuda(cudaEventRecord(event_, stream), "an event"); }
  void wait(cudaStream_t stream) const {
    check_cuda(cudaStreamWaitEvent(stream, event_, 0), "an event");
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// Hands out arrays of one block of memory; without memory it only counts.
class Arrays {
 public:
  explicit Arrays(char* base = nullptr) : base_(base) {}
  template <class T>
  void operator()(T*& pointer, size_t count) {
    pointer = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  }
  int64_t used() const { return static_cast<int64_t>(used_); }

 private:
  char* base_;
  size_t used_ = 0;
};

// Memory for every array that `visit` names, in one tensor; the arrays live as long as it.
template <class Visit>
at::Tensor allocate(at::Device device, Visit visit) {
  Arrays count;
  visit(count);
  at::Tensor memory =
      at::empty({count.used()}, at::TensorOptions().dtype(at::kByte).device(device));
  Arrays arrays(static_cast<char*>(memory.data_ptr()));
  visit(arrays);
  return memory;
}

// A captured step with all that it points to but the weights.
template <class Storage>
struct CapturedSearch {
  ~CapturedSearch() { destroy_steps_cuda(&graph); }
  DecodeSizes sizes;
  Workspace<Storage> space;
  int64_t* length;  // [B]
  int64_t* limit;   // [B]
  at::Tensor memory;
  StepGraph graph;
};

// Packed weights of one storage type and the search over them.
template <class Storage>
class Packed {
 public:
  Packed(const Dims& dims, DecoderTensors& tensors, at::Device device) {
    const DecodeSizes sizes = decode_sizes(dims, 1, 1, 1, 1, 1, 1, 0, false);
    const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream(device.index());
    memory_ = allocate(device, [&](auto& take) { visit_packed(weights_, sizes, take); });
    check_cuda(pack_decoder_cuda(sizes, pointers(tensors), weights_, stream),
               "packing the decoder");
    packed_.record(stream);
#define KHMER_FAST_KEEP(name, ...) keep_until_done(tensors.name, stream);
    KHMER_FAST_DECODER_WEIGHTS(KHMER_FAST_KEEP)
#undef KHMER_FAST_KEEP
  }
  const PackedDecoder<Storage>& weights() const { return weights_; }

  void search(const DecodeSizes& sizes, const DecodeInput& in, const DecodeOutput& out,
              Chosen* history, Loop loop) const {
    const at::Device device = memory_.device();
    const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream(device.index());
    packed_.wait(stream);
    keep_until_done(memory_, stream);
    if (loop == Loop::kGraph) return search_graph(sizes, in, out, history);
    Workspace<Storage> space;
    const at::Tensor memory = allocate(
        device, [&](auto& take) { visit_workspace(space, sizes, out.attention != nullptr, take); });
    if (history) space.history = history;
    if (loop == Loop::kPlain)
      return check_cuda(beam_search_cuda(sizes, weights_, in, space, out, stream), "beam search");
    PersistentSpace part;
    const at::Tensor parts =
        allocate(device, [&](auto& take) { visit_persistent(part, sizes, take); });
    const at::Tensor gave_up = at::zeros({1}, at::TensorOptions().dtype(at::kInt).device(device));
    part.gave_up = gave_up.data_ptr<int>();
    check_cuda(
        beam_search_persistent_cuda(sizes, weights_, in, space, part,
                                    persistent_plan_cuda<Storage>(sizes), out, kPatience, stream),
        "beam search");
    TORCH_CHECK(gave_up.item<int>() == 0,
                "khmer_fast: beam search failed on the GPU in beam_search_persistent_kernel: a "
                "block did not come to a barrier of the grid in time; decode with loop=\"plain\"");
  }

 private:
  using Captured = std::unique_ptr<CapturedSearch<Storage>>;

  void search_graph(const DecodeSizes& sizes, const DecodeInput& in, const DecodeOutput& out,
                    Chosen* history) const {
    const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(memory_.device().index());
    Captured captured = take(sizes, out.attention != nullptr);
    const Workspace<Storage>& space = captured->space;
    const auto copy = [&](void* to, const void* from, size_t bytes) {
      check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream), "beam search");
    };
    check_cuda(cudaStreamWaitEvent(stream, captured->graph.used, 0), "beam search");
    copy(captured->length, in.length, sizes.B * sizeof(int64_t));
    copy(captured->limit, in.limit, sizes.B * sizeof(int64_t));
    check_cuda(
        beam_search_graph_cuda(sizes, weights_, {in.memory, captured->length, captured->limit},
                               space, out, captured->graph, stream),
        "beam search");
    if (history) copy(history, space.history, attention_row(sizes, sizes.B, 0, 0) * sizeof(Chosen));
    check_cuda(cudaEventRecord(captured->graph.used, stream), "beam search");
    const std::lock_guard lock(mutex_);
    if (idle_.size() == kIdleGraphs) idle_.erase(idle_.begin());
    idle_.push_back(std::move(captured));
  }

  // An idle graph of these sizes, or a new one: no two searches share a workspace at once.
  Captured take(const DecodeSizes& sizes, bool attention) const {
    const auto key = [](const DecodeSizes& s, bool attention) {
      return std::make_tuple(s.B, s.K, s.T, s.S, s.seats, s.n_best, s.alpha, s.forced, attention);
    };
    {
      const std::lock_guard lock(mutex_);
      for (auto it = idle_.rbegin(); it != idle_.rend(); ++it)
        if (key((*it)->sizes, (*it)->space.attention != nullptr) == key(sizes, attention)) {
          Captured found = std::move(*it);
          idle_.erase(std::next(it).base());
          return found;
        }
    }
    try {
      return capture(sizes, attention);
    } catch (const c10::OutOfMemoryError&) {
      const std::lock_guard lock(mutex_);
      idle_.clear();
    }
    return capture(sizes, attention);
  }

  Captured capture(const DecodeSizes& sizes, bool attention) const {
    Captured made = std::make_unique<CapturedSearch<Storage>>();
    made->sizes = sizes;
    made->memory = allocate(memory_.device(), [&](auto& take) {
      visit_workspace(made->space, sizes, attention, take);
      take(made->length, static_cast<size_t>(sizes.B));
      take(made->limit, static_cast<size_t>(sizes.B));
    });
    check_cuda(capture_steps_cuda(sizes, weights_, {nullptr, made->length, made->limit},
                                  made->space, &made->graph),
               "capturing the step");
    return made;
  }

  PackedDecoder<Storage> weights_;
  at::Tensor memory_;
  Event packed_;  // on the constructor's stream; a search may run on another
  mutable std::mutex mutex_;
  mutable std::vector<Captured> idle_;  // the latest last
};

}  // namespace khmer_fast
