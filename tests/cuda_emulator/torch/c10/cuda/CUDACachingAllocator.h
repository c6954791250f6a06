// What was recorded, for a test to see: the memory and the stream.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/cuda/CUDAStream.h>

#include <utility>
#include <vector>

namespace c10::cuda::CUDACachingAllocator {
inline std::vector<std::pair<int64_t, int64_t>>& recorded() {
  static std::vector<std::pair<int64_t, int64_t>> all;
  return all;
}
inline void recordStream(const DataPtr& memory, CUDAStream stream) {
  recorded().emplace_back(reinterpret_cast<int64_t>(memory.get()), stream.id());
}
}  // namespace c10::cuda::CUDACachingAllocator
