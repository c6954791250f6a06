// Storage types and the arithmetic of step_math.h on the device. Sums are float32 whatever the
// storage.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "cuda/storage.h"

namespace khmer_fast {

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }

template <class Storage>
__device__ __forceinline__ Storage from_float(float x) {
  if constexpr (std::is_same_v<Storage, float>)
    return x;
  else if constexpr (std::is_same_v<Storage, __half>)
    return __float2half(x);
  else
    return __float2bfloat16(x);
}

// Two and four neighbours; the address is a multiple of their size.
__device__ __forceinline__ float2 load_pair(const float* p) {
  return *reinterpret_cast<const float2*>(p);
}
__device__ __forceinline__ float2 load_pair(const __nv_bfloat16* p) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(p));
}
__device__ __forceinline__ float2 load_pair(const __half* p) {
  return __half22float2(*reinterpret_cast<const __half2*>(p));
}
__device__ __forceinline__ float4 load_quad(const float* p) {
  return *reinterpret_cast<const float4*>(p);
}
template <class Storage>
__device__ __forceinline__ float4 load_quad(const Storage* p) {
  struct alignas(8) Quad {
    Storage x, y, z, w;
  };
  const Quad quad = *reinterpret_cast<const Quad*>(p);
  return make_float4(to_float(quad.x), to_float(quad.y), to_float(quad.z), to_float(quad.w));
}

// Eight neighbours as they lie in memory; the address is a multiple of 16 bytes.
template <class Storage>
struct alignas(16) Eight {
  Storage x[8];
};
template <>
struct alignas(16) Eight<__nv_bfloat16> {
  uint4 pairs;
};
template <class Storage>
__device__ __forceinline__ Eight<Storage> load_raw(const Storage* p) {
  return *reinterpret_cast<const Eight<Storage>*>(p);
}
template <class Storage>
__device__ __forceinline__ void widen(const Eight<Storage>& eight, float (&x)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) x[i] = to_float(eight.x[i]);
}
__device__ __forceinline__ void widen(const Eight<__nv_bfloat16>& eight, float (&x)[8]) {
  const unsigned pairs[4] = {eight.pairs.x, eight.pairs.y, eight.pairs.z, eight.pairs.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {  // a bfloat16 is the upper half of a float
    x[2 * i] = __uint_as_float(pairs[i] << 16);
    x[2 * i + 1] = __uint_as_float(pairs[i] & 0xffff0000u);
  }
}
template <class Storage>
__device__ __forceinline__ void load_eight(const Storage* p, float (&x)[8]) {
  widen(load_raw(p), x);
}
template <class Storage>
__device__ __forceinline__ void store_eight(Storage* p, const float (&x)[8]) {
  struct alignas(16) {
    Storage x[8];
  } eight;
#pragma unroll
  for (int i = 0; i < 8; ++i) eight.x[i] = from_float<Storage>(x[i]);
  *reinterpret_cast<decltype(eight)*>(p) = eight;
}

// 1 / x to 1 ulp in one special-function operation; 0 for x above 2^126, infinity below 2^-126.
__device__ __forceinline__ float reciprocal(float x) {
#if defined(__CUDACC__)
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return cuda_emulator::rcp_approx_ftz(x);
#endif
}

// A float that divides by multiplying with the reciprocal: what step_math.h calls F, whose divisors
// lie between 1 and 2^126 or may as well be infinite. Plain float division would cost eight
// instructions for each pair of energies.
struct Real {
  float value;
  Real() = default;
  __device__ __forceinline__ Real(float value) : value(value) {}
};
#define KHMER_FAST_MATH static __device__ __forceinline__
KHMER_FAST_MATH Real operator+(Real a, Real b) { return a.value + b.value; }
KHMER_FAST_MATH Real operator-(Real a, Real b) { return a.value - b.value; }
KHMER_FAST_MATH Real operator-(Real a) { return -a.value; }
KHMER_FAST_MATH Real operator*(Real a, Real b) { return a.value * b.value; }
KHMER_FAST_MATH Real operator/(Real a, Real b) { return a.value * reciprocal(b.value); }
KHMER_FAST_MATH Real fma(Real a, Real b, Real c) { return fmaf(a.value, b.value, c.value); }
KHMER_FAST_MATH Real fast_exp(Real x) { return expf(x.value); }
KHMER_FAST_MATH Real fast_tanh(Real x) { return tanhf(x.value); }
// Plain floats would take the one for float64 without the first.
KHMER_FAST_MATH float fma(float a, float b, float c) { return fmaf(a, b, c); }
KHMER_FAST_MATH double fma(double a, double b, double c) { return ::fma(a, b, c); }
KHMER_FAST_MATH double fast_exp(double x) { return exp(x); }
KHMER_FAST_MATH double fast_tanh(double x) { return tanh(x); }
KHMER_FAST_MATH float value_of(Real x) { return x.value; }
KHMER_FAST_MATH double value_of(double x) { return x; }
template <class F>
KHMER_FAST_MATH F splat(float x) {
  return F(x);
}

#include "step_math.h"

// ---- sums and maxima in one fixed order, for every lane

constexpr unsigned kAllLanes = 0xffffffffu;

__device__ __forceinline__ float larger(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ double larger(double a, double b) { return fmax(a, b); }

template <class F>
__device__ __forceinline__ F warp_sum(F x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}
template <class F>
__device__ __forceinline__ F warp_max(F x) {  // NaN lanes may be lost
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x = larger(x, __shfl_xor_sync(kAllLanes, x, step));
  return x;
}

// Over a block of `Warps` warps; `scratch` [Warps] may be used again at once.
template <int Warps, class F>
__device__ __forceinline__ F block_sum(F x, F* scratch) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  x = 0;
#pragma unroll
  for (int w = 0; w < Warps; ++w) x += scratch[w];
  __syncthreads();
  return x;
}
template <int Warps, class F>
__device__ __forceinline__ F block_max(F x, F* scratch) {
  x = warp_max(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  x = scratch[0];
#pragma unroll
  for (int w = 1; w < Warps; ++w) x = larger(x, scratch[w]);
  __syncthreads();
  return x;
}

// The bits of |x|: as integers they are ordered, infinity and NaN last.
__device__ __forceinline__ unsigned absolute_bits(float x) {
  return __float_as_uint(x) & 0x7fffffffu;
}

}  // namespace khmer_fast
