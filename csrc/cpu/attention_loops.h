// Kernels of the attention that decoding and training share, for one instruction set.
#pragma once

#include "cpu/isa/lanes.h"

namespace khmer_fast {
namespace {

// Has the cache fetch what lies ahead; the end of an array may be passed.
template <int64_t kBytes>
KHMER_FAST_MATH void fetch(const void* ahead) {
#pragma GCC unroll 16
  for (int64_t i = 0; i < kBytes; i += 64) __builtin_prefetch(static_cast<const char*>(ahead) + i);
}

// y = exp(2 x), n whole vectors; returns the largest |x|, NaN as NaN.
template <class V = F>
static Scalar<V> exp_twice(const Scalar<V>* x, Scalar<V>* y, int64_t n) {
  Bits<V> largest{};
  for (int64_t i = 0; i < n; i += kLanesOf<V>) {
    const V value = load<V>(x + i);
    largest = max_vector(largest, absolute_bits(value));
    store(y + i, fast_exp(value + value));
  }
  return max_absolute<V>(largest);
}

// In place over x[0, n), the rest of its vectors becomes 0; returns the first place of the largest.
template <class V = F>
static int32_t softmax(Scalar<V>* x, int64_t n) {
  constexpr int64_t kVector = kLanesOf<V>;
  const int64_t end = padded(n);
  for (int64_t i = n; i < end; ++i) x[i] = -__builtin_inff();
  V largest = load<V>(x);
  for (int64_t i = kVector; i < end; i += kVector) largest = max_vector(largest, load<V>(x + i));
  const V top = splat<V>(max_lanes(largest));
  V sum{};
  for (int64_t i = 0; i < end; i += kVector) {
    const V e = fast_exp(load<V>(x + i) - top);
    store(x + i, e);
    sum = sum + e;
  }
  const V total = splat<V>(sum_lanes(sum));
  for (int64_t i = 0; i < end; i += kVector) store(x + i, load<V>(x + i) / total);
  const V most = 1.0f / total;  // exp(0) is 1
  for (int64_t i = 0; i < end; i += kVector) {
    const unsigned found = ~mask_greater(most, load<V>(x + i)) & ((1u << kVector) - 1);
    if (found) return static_cast<int32_t>(i) + __builtin_ctz(found);
  }
  return 0;
}

}  // namespace
}  // namespace khmer_fast
