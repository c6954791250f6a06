// The storage types of the device; host code may include it.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

namespace khmer_fast {

// exp(2 key) needs the range of float32, which float16 does not have.
template <class Storage>
using Factor = std::conditional_t<std::is_same_v<Storage, __half>, __nv_bfloat16, Storage>;

}  // namespace khmer_fast
