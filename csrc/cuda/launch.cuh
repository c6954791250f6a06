// Launching kernels, and the shared memory whose size the launch gives.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "cuda/decoder_cuda.h"

namespace khmer_fast {

// Returns `call`'s error to the caller's caller.
#define KHMER_FAST_TRY(call)                               \
  do {                                                     \
    const cudaError_t khmer_fast_error = (call);           \
    if (khmer_fast_error != cudaSuccess) return khmer_fast_error; \
  } while (0)

constexpr size_t kPlainShared = 48 << 10;  // bytes that a block gets without asking

// Memory of the block, `shared` bytes of the launch; NaN in the emulator until it is written.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char block_shared[];
  return reinterpret_cast<T*>(block_shared);
#else
  return cuda_emulator::dynamic_shared<T>();
#endif
}

// Returns the launch's error, and keeps the kernel's (mangled) name for the caller's message.
template <class... Parameters, class... Arguments>
cudaError_t launch_with(cudaLaunchAttribute* attribute, void (*kernel)(Parameters...), dim3 grid,
                        dim3 block, size_t shared, cudaStream_t stream, Arguments... arguments) {
  if (shared > kPlainShared)
    KHMER_FAST_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(shared)));
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = attribute;
  config.numAttrs = attribute ? 1 : 0;
  const cudaError_t error =
      cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  if (error != cudaSuccess)
    cudaFuncGetName(&failed_kernel(), reinterpret_cast<const void*>(kernel));
  return error;
}

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared,
                   cudaStream_t stream, Arguments... arguments) {
  return launch_with(nullptr, kernel, grid, block, shared, stream, arguments...);
}

// All blocks run at once, or the launch fails.
template <class... Parameters, class... Arguments>
cudaError_t launch_cooperative(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared,
                               cudaStream_t stream, Arguments... arguments) {
  cudaLaunchAttribute together{};
  together.id = cudaLaunchAttributeCooperative;
  together.val.cooperative = 1;
  return launch_with(&together, kernel, grid, block, shared, stream, arguments...);
}

}  // namespace khmer_fast
