// Sizes of one decoder, in the letters of docs/spec.md, section 1.
#pragma once

#include <cstdint>

namespace khmer_fast {

struct Dims {
  int64_t V;  // vocabulary with the special tokens
  int64_t D;  // token embedding
  int64_t E;  // memory
  int64_t A;  // attention
  int64_t H;  // GRU hidden
};

constexpr int32_t kPad = 0, kBos = 1, kEos = 2;

// Rows of packed buffers are padded with zeros to whole vectors of the widest instruction set.
constexpr int64_t kLanes = 16;

constexpr int64_t round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

constexpr int64_t padded(int64_t n) { return round_up(n, kLanes); }

}  // namespace khmer_fast
