// csrc/cuda/decoder_torch.cpp over the emulator: the same host code on CPU tensors, under the name
// khmer_fast_emulated so that it stands beside the real module.
#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/custom_class.h>
#include <torch/library.h>

#define CUDA CPU  // of TORCH_LIBRARY_IMPL
#include "../../csrc/cuda/decoder_torch.cpp"
#include "../../csrc/ops.cpp"

namespace khmer_fast {
namespace {

// Which stream of the emulator (torch/c10/cuda/CUDAStream.h) is current on this thread.
void use_stream(int64_t which) { c10::cuda::current_stream() = static_cast<int>(which); }

// What was recorded since the last call: address and stream of each.
std::vector<int64_t> recorded() {
  std::vector<int64_t> flat;
  for (const auto& [address, stream] :
       std::exchange(c10::cuda::CUDACachingAllocator::recorded(), {}))
    flat.insert(flat.end(), {address, stream});
  return flat;
}

// The kernel that failed is remembered beside what the emulator fills.
const bool kept = [] {
  cuda_emulator::host_variables().push_back(
      {+[]() -> void* { return &failed_kernel(); }, sizeof(const char*)});
  return true;
}();

// Reports an error of no launch: what a caller sees after kernels have run on this thread.
void fail_outside_a_launch() { check_cuda(cudaErrorLaunchTimeout, "a test"); }

void emulated_shared(int64_t bytes) { cuda_emulator::options().shared = static_cast<int>(bytes); }

}  // namespace

TORCH_LIBRARY_FRAGMENT(khmer_fast, m) {
  m.def("use_stream(int which) -> ()", &use_stream);
  m.def("recorded() -> int[]", &recorded);
  m.def("emulated_shared(int bytes) -> ()", &emulated_shared);
  m.def("fail_outside_a_launch() -> ()", &fail_outside_a_launch);
}

}  // namespace khmer_fast
