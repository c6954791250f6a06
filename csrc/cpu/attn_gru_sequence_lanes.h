// exp and tanh of float vectors, written once for every width; included after a target pragma.
#pragma once

namespace khmer_fast {
namespace {

// e^x to 1 ulp or so; 0 below -87.3, finite above 88.3, NaN stays NaN.
// X: V, a vector of float, and I, of int32. Polynomial: Cephes expf.
template <class X>
inline __attribute__((always_inline)) typename X::V exp_float(typename X::V x) {
  using V = typename X::V;
  const V y = x > 88.3f ? V{} + 88.3f : x;
  const V shift = X::fma(y, V{} + 1.44269504f, V{} + 12582912.f);  // rounds
  const V n = shift - 12582912.f;
  const V r = X::fma(n, V{} + 2.12194440e-4f, X::fma(n, V{} - 0.693359375f, y));
  V p = X::fma(r, V{} + 1.9875691500e-4f, V{} + 1.3981999507e-3f);
  p = X::fma(p, r, V{} + 8.3334519073e-3f);
  p = X::fma(p, r, V{} + 4.1665795894e-2f);
  p = X::fma(p, r, V{} + 1.6666665459e-1f);
  p = X::fma(p, r, V{} + 5.0000001201e-1f);
  p = X::fma(p, r * r, r) + 1.f;
  const typename X::I scale = ((typename X::I)shift << 23) + 0x3f800000;
  const V e = p * (V)scale;
  return x < -87.3f ? V{} : e;
}

// tanh to 2 ulp or so. Polynomial of the small half: Cephes tanhf.
template <class X>
inline __attribute__((always_inline)) typename X::V tanh_float(typename X::V x) {
  using V = typename X::V;
  const V square = x * x;
  V p = X::fma(square, V{} - 5.70498872745e-3f, V{} + 2.06390887954e-2f);
  p = X::fma(p, square, V{} - 5.37397155531e-2f);
  p = X::fma(p, square, V{} + 1.33314422036e-1f);
  p = X::fma(p, square, V{} - 3.33332819422e-1f);
  const V small = X::fma(p * square, x, x);
  const V large = 1.f - 2.f / (1.f + exp_float<X>(2.f * x));
  const V size = x < 0.f ? -x : x;
  return size < 0.625f ? small : large;
}

}  // namespace
}  // namespace khmer_fast
