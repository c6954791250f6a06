// The weighted sums of a resized picture, for one instruction set. Whole numbers: every instruction
// set gives the same bits.
#pragma once

#include "cpu/isa/lanes.h"
#include "cpu/resample.h"

namespace khmer_fast {
namespace {

typedef uint8_t Bytes __attribute__((vector_size(W)));

static void weigh_bytes(int64_t n, int64_t taps, const int32_t* weight, const uint8_t* x,
                        int64_t ld, uint8_t* out) {
  for (int64_t i = 0; i < n; i += W) {
    I sum = I{} + (1 << (kWeightBits - 1));
    for (int64_t k = 0; k < taps; ++k) {
      Bytes bytes;
      __builtin_memcpy(&bytes, x + k * ld + i, sizeof bytes);
      sum += weight[k] * __builtin_convertvector(bytes, I);
    }
    sum >>= kWeightBits;
    sum = sum < 0 ? I{} : sum;
    sum = sum > 255 ? I{} + 255 : sum;
    const Bytes bytes = __builtin_convertvector(sum, Bytes);
    __builtin_memcpy(out + i, &bytes, sizeof bytes);
  }
}

}  // namespace
}  // namespace khmer_fast
