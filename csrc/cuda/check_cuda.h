// A failed call of CUDA as an error of torch.
#pragma once

#include <c10/util/Exception.h>
#include <c10/util/Type.h>

#include <string>

#include "cuda/decoder_cuda.h"

namespace khmer_fast {

inline void check_cuda(cudaError_t error, const char* work) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // what is not sticky shall not fail the next call
  const char*& name = failed_kernel();
  const std::string kernel = name ? " in the launch of " + c10::demangle(name) : "";
  name = nullptr;
  TORCH_CHECK(false, "khmer_fast: ", work, " failed on the GPU", kernel, ": ",
              cudaGetErrorString(error));
}

}  // namespace khmer_fast
