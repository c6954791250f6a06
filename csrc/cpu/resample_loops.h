// The weighted sums of a resized picture, for one instruction set. Whole numbers: every instruction
// set gives the same bits.
#pragma once

#include "cpu/isa/lanes.h"
#include "cpu/resample.h"

namespace khmer_fast {
namespace {

// `count` vectors side by side, which share the weights.
template <int count>
KHMER_FAST_MATH void weigh_vectors(int64_t taps, const int32_t* weight, const uint8_t* x,
                                   int64_t ld, uint8_t* out) {
  I sum[count];
  for (int v = 0; v < count; ++v) sum[v] = I{} + (1 << (kWeightBits - 1));
  for (int64_t k = 0; k < taps; ++k)
    for (int v = 0; v < count; ++v) sum[v] += weight[k] * load_bytes(x + k * ld + v * W);
  for (int v = 0; v < count; ++v) store_bytes(out + v * W, sum[v] >> kWeightBits);
}

static void weigh_bytes(int64_t n, int64_t taps, const int32_t* weight, const uint8_t* x,
                        int64_t ld, uint8_t* out) {
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W) weigh_vectors<4>(taps, weight, x + i, ld, out + i);
  for (; i < n; i += W) weigh_vectors<1>(taps, weight, x + i, ld, out + i);
}

}  // namespace
}  // namespace khmer_fast
