// The emulator's streams: 0 does its work at once, 1 when somebody waits for it.
#pragma once

#include <cuda_runtime.h>

namespace c10::cuda {
inline CUstream_st& lazy_stream() {
  static CUstream_st stream{nullptr, true, {}};
  return stream;
}
inline int& current_stream() {
  static int which = 0;  // not of a thread: those are shared memory, which is NaN before a block
  return which;
}

class CUDAStream {
 public:
  explicit CUDAStream(int which) : which_(which) {}
  operator cudaStream_t() const { return which_ == 0 ? nullptr : &lazy_stream(); }
  int id() const { return which_; }

 private:
  int which_;
};
inline CUDAStream getCurrentCUDAStream(int) { return CUDAStream(current_stream()); }
}  // namespace c10::cuda
