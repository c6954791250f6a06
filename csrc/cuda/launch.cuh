// Launching kernels, and the shared memory whose size the launch gives.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "cuda/decoder_cuda.h"

namespace khmer_fast {

// Returns `call`'s error to the caller's caller.
#define KHMER_FAST_TRY(call)                                      \
  do {                                                            \
    const cudaError_t khmer_fast_error = (call);                  \
    if (khmer_fast_error != cudaSuccess) return khmer_fast_error; \
  } while (0)

// Bytes that a block gets without asking, 48 KiB, less what a kernel may have of static ones.
constexpr size_t kPlainShared = (48 << 10) - kStaticShared;

// Bytes of shared memory, static and dynamic, that a block may have on a device.
inline cudaError_t shared_of_device(int device, size_t* bytes) {
  int most = 0;
  KHMER_FAST_TRY(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  *bytes = static_cast<size_t>(most);
  return cudaSuccess;
}

// Lets a kernel have as much as the current device gives: once a kernel and device, and always as
// much, so that no other thread's launch can find less than it asked for.
inline cudaError_t allow_shared(const void* kernel) {
  static std::mutex mutex;
  static std::set<std::pair<const void*, int>> allowed;
  int device = 0;
  KHMER_FAST_TRY(cudaGetDevice(&device));
  const std::lock_guard lock(mutex);
  if (allowed.count({kernel, device})) return cudaSuccess;
  size_t bytes = 0;
  cudaFuncAttributes attributes{};
  KHMER_FAST_TRY(shared_of_device(device, &bytes));
  KHMER_FAST_TRY(cudaFuncGetAttributes(&attributes, kernel));
  KHMER_FAST_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(bytes - attributes.sharedSizeBytes)));
  allowed.insert({kernel, device});
  return cudaSuccess;
}

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

// A step's kernel may have been started while those before it run (`Variants::early`): it lets the
// next one start as early, and waits for all that the ones before it write. The first thing that it
// does. Compiled for less than sm_90 it is nothing, and launch_step starts nothing early there.
__device__ __forceinline__ void wait_for_the_kernels_before() {
#if !defined(__CUDACC__)
  cuda_emulator::launch_dependents_and_wait();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Whether a kernel was compiled for sm_90 or newer, and so waits for the kernels before it.
inline cudaError_t waits_for_the_kernels_before(const void* kernel, bool* waits) {
  static std::mutex mutex;
  static std::map<std::pair<const void*, int>, bool> known;
  int device = 0;
  KHMER_FAST_TRY(cudaGetDevice(&device));
  const std::lock_guard lock(mutex);
  if (const auto found = known.find({kernel, device}); found != known.end()) {
    *waits = found->second;
    return cudaSuccess;
  }
  cudaFuncAttributes attributes{};
  KHMER_FAST_TRY(cudaFuncGetAttributes(&attributes, kernel));
  *waits = known[{kernel, device}] = attributes.ptxVersion >= 90;
  return cudaSuccess;
}

// Returns the launch's error, and keeps the kernel's (mangled) name for the caller's message.
template <class... Parameters, class... Arguments>
cudaError_t launch_with(cudaLaunchAttribute* attribute, void (*kernel)(Parameters...), dim3 grid,
                        dim3 block, size_t shared, cudaStream_t stream, Arguments... arguments) {
  const void* address = reinterpret_cast<const void*>(kernel);
  if (shared > kPlainShared) KHMER_FAST_TRY(allow_shared(address));
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = attribute;
  config.numAttrs = attribute ? 1 : 0;
  const cudaError_t error =
      cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  if (error != cudaSuccess) cudaFuncGetName(&failed_kernel(), address);
  return error;
}

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared,
                   cudaStream_t stream, Arguments... arguments) {
  return launch_with(nullptr, kernel, grid, block, shared, stream, arguments...);
}

// A kernel of the step: with `early` it may start while the ones before it run.
template <class... Parameters, class... Arguments>
cudaError_t launch_step(bool early, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                        size_t shared, cudaStream_t stream, Arguments... arguments) {
  bool waits = false;
  if (early)
    KHMER_FAST_TRY(waits_for_the_kernels_before(reinterpret_cast<const void*>(kernel), &waits));
  cudaLaunchAttribute start{};
  start.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  start.val.programmaticStreamSerializationAllowed = 1;
  return launch_with(waits ? &start : nullptr, kernel, grid, block, shared, stream, arguments...);
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
