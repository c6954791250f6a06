// The decoder's host calls with C names, each array in guarded memory of its own.
#include <vector>

#include "cuda/decoder_cuda.h"

using namespace khmer_fast;

namespace {

// Memory that ends with the call; NaN until written.
class Arrays {
 public:
  ~Arrays() {
    for (void* pointer : all_) cudaFree(pointer);
  }
  template <class T>
  void operator()(T*& pointer, std::size_t count) {
    void* memory = nullptr;
    cudaMalloc(&memory, count * sizeof(T));
    all_.push_back(memory);
    pointer = static_cast<T*>(memory);
  }
  // Frees all; false: something was written behind an end.
  bool intact() {
    bool good = true;
    for (void* pointer : all_) good = cudaFree(pointer) == cudaSuccess && good;
    all_.clear();
    return good;
  }

 private:
  std::vector<void*> all_;
};

struct Call {
  int B, K, T, S, V, D, E, A, H, seats, n_best, forced;
  int loop;  // 0 plain, 1 graph, 2 persistent
  int select_threads, rows_ahead, early;
  long long patience;  // of the persistent kernel
  double alpha;
};

template <class Storage>
int run(const Call& c, const DeviceWeights& weights, const DecodeInput& in, const DecodeOutput& out,
        Chosen* history) {
  const DecodeSizes s =
      decode_sizes({c.V, c.D, c.E, c.A, c.H}, c.B, c.K, c.T, c.S, c.seats, c.n_best, c.alpha,
                   c.forced, {c.select_threads, c.rows_ahead, c.early != 0});
  Arrays arrays;
  PackedDecoder<Storage> packed;
  Workspace<Storage> space;
  visit_packed(packed, s, arrays);
  visit_workspace(space, s, out.attention != nullptr, arrays);
  cudaError_t error = pack_decoder_cuda(s, weights, packed, nullptr);
  if (error == cudaSuccess && c.loop == 0)
    error = beam_search_cuda(s, packed, in, space, out, nullptr);
  if (error == cudaSuccess && c.loop == 1) {
    StepGraph graph;
    error = capture_steps_cuda(s, packed, in, space, &graph);
    for (int twice = 0; twice < 2 && error == cudaSuccess; ++twice)  // the same graph serves again
      error = beam_search_graph_cuda(s, packed, in, space, out, graph, nullptr);
    destroy_steps_cuda(&graph);
  }
  if (error == cudaSuccess && c.loop == 2) {
    PersistentSpace part;
    visit_persistent(part, s, arrays);
    const PersistentPlan plan = persistent_plan_cuda<Storage>(s);
    error = plan.obstacle ? cudaErrorInvalidConfiguration
                          : beam_search_persistent_cuda(s, packed, in, space, part, plan, out,
                                                        c.patience, nullptr);
    if (error == cudaSuccess && *part.gave_up) error = cudaErrorLaunchTimeout;
  }
  if (error == cudaSuccess && history)
    std::copy_n(space.history, std::size_t(c.B) * c.S * c.K, history);
  return arrays.intact() ? error : cudaErrorInvalidValue;
}

}  // namespace

// storage: 0 float, 1 bfloat16, 2 float16. `weights` holds the 13 pointers of DeviceWeights.
extern "C" int emulated_beam_search(int storage, const Call* call, const DeviceWeights* weights,
                                    const float* memory, const std::int64_t* length,
                                    const std::int64_t* limit, const DecodeOutput* out,
                                    Chosen* history) {
  const DecodeInput in{memory, length, limit};
  if (storage == 0) return run<float>(*call, *weights, in, *out, history);
  if (storage == 1) return run<__nv_bfloat16>(*call, *weights, in, *out, history);
  return run<__half>(*call, *weights, in, *out, history);
}
