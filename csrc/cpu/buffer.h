// Aligned memory for the kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#include "dims.h"

namespace khmer_fast {

// Floats aligned to 64 bytes, not initialised. With KHMER_FAST_POISON=1 in the environment (tests)
// they begin as NaN.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size) { reserve(size); }

  // Makes room for at least `size` floats; the content is lost.
  void reserve(int64_t size) {
    if (size > size_) {
      const size_t bytes = static_cast<size_t>(round_up(size * int64_t{sizeof(float)}, 64));
      data_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
      if (!data_) throw std::bad_alloc();
      size_ = size;
    }
    poison();
  }

  void zero() {
    if (size_ > 0) std::memset(data_.get(), 0, static_cast<size_t>(size_) * sizeof(float));
  }

  // The same memory as bfloat16, two to a float.
  uint16_t* half() { return reinterpret_cast<uint16_t*>(data_.get()); }
  const uint16_t* half() const { return reinterpret_cast<const uint16_t*>(data_.get()); }

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }

 private:
  void poison() {
    const char* asked = std::getenv("KHMER_FAST_POISON");
    if (asked && asked[0] == '1')
      for (int64_t i = 0; i < size_; ++i) data_.get()[i] = std::numeric_limits<float>::quiet_NaN();
  }

  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  int64_t size_ = 0;
};

}  // namespace khmer_fast
