// CUDA's functions on the host: launches, memory, attributes of functions and devices.
#pragma once

#include "device_functions.h"
#include "streams.h"

enum cudaLaunchAttributeID {
  cudaLaunchAttributeCooperative = 2,
  cudaLaunchAttributeProgrammaticStreamSerialization = 6,
};
union cudaLaunchAttributeValue {
  int cooperative;
  int programmaticStreamSerializationAllowed;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaMemcpyKind {
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3
};

namespace cuda_emulator {
constexpr std::size_t kPlainShared = 48 << 10;  // without cudaFuncSetAttribute
inline std::mutex& host_mutex() {
  static std::mutex m;
  return m;
}
inline std::map<const void*, std::size_t>& shared_limits() {
  static std::map<const void*, std::size_t> limits;
  return limits;
}
inline std::map<void*, std::unique_ptr<Guarded>>& allocations() {
  static std::map<void*, std::unique_ptr<Guarded>> all;
  return all;
}
}  // namespace cuda_emulator

inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorLaunchTimeout:
      return "the launch timed out and was terminated";
    case cudaErrorNotSupported:
      return "operation not supported";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
  }
  return "unknown error";
}
struct cudaFuncAttributes {
  int ptxVersion;
  std::size_t sharedSizeBytes;
};  // static variables: not known here
inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  attributes->sharedSizeBytes = 0;
  attributes->ptxVersion = 90;
  return cudaSuccess;
}
inline cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute, int value) {
  if (value < 0 || value > cuda_emulator::options().shared) return cudaErrorInvalidValue;
  std::lock_guard lock(cuda_emulator::host_mutex());
  cuda_emulator::shared_limits()[function] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const dim3 grid = config->gridDim, block = config->blockDim;
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  std::size_t limit = cuda_emulator::kPlainShared;
  {
    std::lock_guard lock(cuda_emulator::host_mutex());
    const auto found = cuda_emulator::shared_limits().find(reinterpret_cast<const void*>(kernel));
    if (found != cuda_emulator::shared_limits().end()) limit = std::max(limit, found->second);
  }
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 ||
      !threads || threads > 1024 || config->dynamicSmemBytes > limit)
    return cudaErrorInvalidConfiguration;
  using cuda_emulator::Blocks;
  Blocks how = cuda_emulator::options().parallel ? Blocks::kSeveral : Blocks::kInTurn;
  bool early = false;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& x = config->attrs[i];
    if (x.id == cudaLaunchAttributeCooperative && x.val.cooperative) how = Blocks::kAll;
    if (x.id == cudaLaunchAttributeProgrammaticStreamSerialization)
      early = x.val.programmaticStreamSerializationAllowed;
  }
  const std::tuple<Parameters...> values(static_cast<Parameters>(arguments)...);
  const auto run = [=, shared = config->dynamicSmemBytes] {
    const cuda_emulator::Launch launch{[=] { std::apply(kernel, values); }, grid, block, shared};
    if (early) return cuda_emulator::start_early(launch);
    const cudaError_t error = cuda_emulator::end_early_launches();
    return error != cudaSuccess ? error : cuda_emulator::run_grid(launch, how);
  };
  return cuda_emulator::in_order(config->stream, run);
}

inline cudaError_t cudaMalloc(void** out, std::size_t bytes) {
  auto memory = std::make_unique<cuda_emulator::Guarded>(bytes);
  std::lock_guard lock(cuda_emulator::host_mutex());
  *out = memory->data();
  cuda_emulator::allocations()[*out] = std::move(memory);
  return cudaSuccess;
}
// cudaErrorInvalidValue where the bytes behind the end were written to.
inline cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  std::lock_guard lock(cuda_emulator::host_mutex());
  const auto found = cuda_emulator::allocations().find(pointer);
  if (found == cuda_emulator::allocations().end()) return cudaErrorInvalidValue;
  const bool intact = found->second->intact();
  cuda_emulator::allocations().erase(found);
  return intact ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes,
                                   cudaStream_t stream = nullptr) {
  return cuda_emulator::in_order(stream, [=] {
    if (const cudaError_t error = cuda_emulator::end_early_launches()) return error;
    std::memset(to, value, bytes);
    return cudaSuccess;
  });
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                   cudaStream_t stream = nullptr) {
  return cuda_emulator::in_order(stream, [=] {
    if (const cudaError_t error = cuda_emulator::end_early_launches()) return error;
    std::memcpy(to, from, bytes);
    return cudaSuccess;
  });
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaFuncGetName(const char** name, const void* function) {
  Dl_info info{};
  *name = dladdr(function, &info) && info.dli_sname ? info.dli_sname : "kernel";
  return cudaSuccess;
}

enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? cuda_emulator::options().multiprocessors
                                                       : cuda_emulator::options().shared;
  return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = cuda_emulator::options().driver;
  return cudaSuccess;
}
inline cudaError_t cudaHostAlloc(void** out, std::size_t bytes, unsigned) {
  return cudaMalloc(out, bytes);
}
inline cudaError_t cudaFreeHost(void* pointer) { return cudaFree(pointer); }
