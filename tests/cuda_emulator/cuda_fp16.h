// float16 as in CUDA's header of this name: what the kernels use of it.
#pragma once

#include "cuda_emulator.h"

struct __half {
  std::uint16_t bits;
  __half() = default;
};
struct alignas(4) __half2 {
  __half x, y;
};

inline float __half2float(__half x) {
  const unsigned sign = static_cast<unsigned>(x.bits & 0x8000) << 16;
  const unsigned exponent = x.bits >> 10 & 0x1f, fraction = x.bits & 0x3ff;
  if (exponent == 0x1f) return __uint_as_float(sign | 0x7f800000u | fraction << 13);
  const float value = exponent
                          ? std::ldexp(static_cast<float>(fraction | 0x400), int(exponent) - 25)
                          : std::ldexp(static_cast<float>(fraction), -24);
  return sign ? -value : value;
}
// To the nearest, ties to even; too large becomes infinite, every NaN 0x7fff.
inline __half __float2half(float x) {
  __half y;
  const unsigned sign = __float_as_uint(x) >> 16 & 0x8000;
  const float a = std::fabs(x);
  if (x != x) {
    y.bits = 0x7fff;
  } else if (a >= 65520.0f) {
    y.bits = static_cast<std::uint16_t>(sign | 0x7c00);
  } else if (a < 0x1p-14f) {  // subnormal: a multiple of 2^-24
    y.bits = static_cast<std::uint16_t>(sign | static_cast<unsigned>(std::nearbyint(a * 0x1p24f)));
  } else {
    const unsigned bits = __float_as_uint(a) - (112u << 23);
    y.bits = static_cast<std::uint16_t>(sign | (bits + 0xfff + (bits >> 13 & 1)) >> 13);
  }
  return y;
}
inline float2 __half22float2(__half2 v) { return {__half2float(v.x), __half2float(v.y)}; }
