// Vectors of any instruction set: what all kernels compute with. F is a vector of floats, or of
// doubles where a kernel is a template over it.
//
// A file of one instruction set (kernels_*.cpp) sets its target and includes one of the headers
// beside this one, then this one, then kernels; hence everything here has internal linkage, and
// nothing of the standard library is used (see docs/architecture.md, Traps). The header of an
// instruction set provides
// - W, floats in a vector; F, I and U16, vectors of W float, int32, uint16; fma(F, F, F)
// - keep(F&), which holds a value in its register: without it the compiler loads the columns of a
//   product once for each row
// - the shape of a product's tile: kPanelVectors, vectors of columns in a panel; kRows[v], most
// rows
//   beside v of them; kManyRows, vectors beside more rows than a whole panel allows; kRowsToFetch,
//   rows from which on a tile fetches the next columns ahead of their use; kSequenceVectors,
//   vectors in a panel of training's weights, which as many rows are multiplied with as kRows
//   allows
// - if it has a faster way than the ones here: max_vector, min_vector, mask_greater, scale,
//   reciprocals, sum_lanes, max_lanes, dot_shorts, load_bytes, store_bytes
// The build forbids the compiler to fuse, so what is to be fused says so.
#pragma once

#include "dims.h"

namespace khmer_fast {
namespace {

template <class F>
using Scalar = decltype(F{}[0] + F{}[0]);

template <class F>
constexpr int64_t kLanesOf = sizeof(F) / sizeof(Scalar<F>);

template <class F>
using Bits = decltype(F{} > F{});  // a vector of integers as wide as the scalars

template <class V = F>
KHMER_FAST_MATH V load(const Scalar<V>* p) {
  V x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}

template <class V>
KHMER_FAST_MATH void store(Scalar<V>* p, V x) {
  __builtin_memcpy(p, &x, sizeof x);
}

// n elements, the other lanes 0. Through an array: a vector whose lanes are numbered at run time
// would leave its register for good.
template <class V = F>
KHMER_FAST_MATH V load(const Scalar<V>* p, int64_t n) {
  if (n >= kLanesOf<V>) return load<V>(p);
  Scalar<V> lane[kLanesOf<V>] = {};
  for (int64_t i = 0; i < n; ++i) lane[i] = p[i];
  return load<V>(lane);
}

template <class V>
KHMER_FAST_MATH void store(Scalar<V>* p, V x, int64_t n) {
  if (n >= kLanesOf<V>) return store<V>(p, x);
  Scalar<V> lane[kLanesOf<V>];
  store<V>(lane, x);
  for (int64_t i = 0; i < n; ++i) p[i] = lane[i];
}

template <class V = F>
KHMER_FAST_MATH V splat(Scalar<V> x) {
  return x - V{};
}

template <class V>
KHMER_FAST_MATH Bits<V> bits(V x) {
  return reinterpret_cast<Bits<V>>(x);
}

KHMER_FAST_MATH F from_bits(I x) { return reinterpret_cast<F>(x); }

// As the instruction does it: b where either is NaN.
template <class V>
KHMER_FAST_MATH V max_vector(V a, V b) {
  return a > b ? a : b;
}

template <class V>
KHMER_FAST_MATH V min_vector(V a, V b) {
  return a < b ? a : b;
}

KHMER_FAST_MATH F positive(F x) { return x < 0.0f ? F{} : x; }  // NaN stays

struct Reduced {  // x = n ln2 + r, and expm1(r)
  F n;
  F expm1_r;
};

// Coefficients of SLEEF's expf (Shibata and Petrogalli 2020).
KHMER_FAST_MATH Reduced reduce_exp(F x) {
  const F magic = splat(12582912.0f);  // 1.5 * 2^23: the sum's low bits are the rounded integer
  const F t = fma(x, splat(1.44269504088896341f), magic);
  const F n = t - magic;
  F r = fma(n, splat(-0.693145751953125f), x);
  r = fma(n, splat(-1.428606765330187e-06f), r);
  F u = splat(0.000198527617612853646f);
  u = fma(u, r, splat(0.00139304355252534151f));
  u = fma(u, r, splat(0.00833336077630519867f));
  u = fma(u, r, splat(0.0416664853692054749f));
  u = fma(u, r, splat(0.166666671633720398f));
  u = fma(u, r, splat(0.5f));
  return {n, fma(r * r, u, r)};
}

KHMER_FAST_MATH F power_of_two(I n) { return from_bits((n + 127) << 23); }

// x 2^n, rounded once: two steps, since 2^n alone may leave the range.
template <class V>
KHMER_FAST_MATH V scale(V x, V n) {
  const I whole = __builtin_convertvector(n, I), half = whole >> 1;
  return x * power_of_two(half) * power_of_two(whole - half);
}

// Within 1 ulp over all floats; infinities and NaN as in C.
KHMER_FAST_MATH F fast_exp(F x) {
  x = min_vector(splat(89.0f), max_vector(splat(-104.0f), x));
  const Reduced e = reduce_exp(x);
  return scale(1.0f + e.expm1_r, e.n);
}

// expm1(2x) / (expm1(2x) + 2): accurate near 0 too.
KHMER_FAST_MATH F fast_tanh(F x) {
  x = min_vector(splat(10.0f), max_vector(splat(-10.0f), x));
  const Reduced e = reduce_exp(x + x);
  const F s = power_of_two(__builtin_convertvector(e.n, I));
  const F m = fma(s, e.expm1_r, s - 1.0f);
  return m / (m + 2.0f);
}

#include "step_math.h"

// ---- over the lanes of a vector

// As integers, |x| are ordered, infinity and NaN last.
template <class V>
KHMER_FAST_MATH Bits<V> absolute_bits(V x) {
  return bits(x) & ~bits(-V{});
}

// By halves: the same order on every instruction set.
template <class V>
KHMER_FAST_MATH Scalar<V> sum_lanes(V x) {
  Scalar<V> lane[kLanesOf<V>];
  store(lane, x);
  for (int step = kLanesOf<V> / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) lane[i] += lane[i + step];
  return lane[0];
}

// Of a vector of floats or of integers; NaN lanes may be lost.
template <class V>
KHMER_FAST_MATH auto max_lanes(V x) {
  auto result = x[0];
  for (int i = 1; i < static_cast<int>(sizeof(V) / sizeof result); ++i)
    result = x[i] > result ? x[i] : result;
  return result;
}

// The number whose absolute_bits are the largest; NaN if there is one.
template <class V = F>
KHMER_FAST_MATH Scalar<V> max_absolute(Bits<V> largest) {
  const auto bits = max_lanes(largest);
  Scalar<V> value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

// Bit i: a[i] > b[i].
template <class V>
KHMER_FAST_MATH unsigned mask_greater(V a, V b) {
  unsigned mask = 0;
  for (int i = 0; i < kLanesOf<V>; ++i) mask |= static_cast<unsigned>(a[i] > b[i]) << i;
  return mask;
}

// x = 1/a and y = 1/b with one division; a * b is finite.
template <class V>
KHMER_FAST_MATH void reciprocals(V a, V b, V& x, V& y) {
  const V both = 1.0f / (a * b);
  x = b * both;
  y = a * both;
}

// W bytes as integers, which the compiler would take one by one.
template <class Byte>
KHMER_FAST_MATH I load_bytes(const Byte* p) {
  Byte byte[W];
  __builtin_memcpy(byte, p, sizeof byte);
  I x = {};
  for (int i = 0; i < W; ++i) x[i] = byte[i];
  return x;
}

// Held to 0..255, of integers of 16 bits.
template <class Byte>
KHMER_FAST_MATH void store_bytes(Byte* p, I x) {
  for (int i = 0; i < W; ++i) p[i] = static_cast<Byte>(x[i] < 0 ? 0 : x[i] > 255 ? 255 : x[i]);
}

typedef uint32_t Unsigned __attribute__((vector_size(sizeof(I))));

// sum += the products of two 16-bit integers in each lane, modulo 2^32.
template <class V>
KHMER_FAST_MATH V dot_shorts(V sum, V a, V b) {
  const V products = (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
  return reinterpret_cast<V>(reinterpret_cast<Unsigned>(sum) +
                             reinterpret_cast<Unsigned>(products));
}

KHMER_FAST_MATH int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
KHMER_FAST_MATH int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

}  // namespace
}  // namespace khmer_fast
