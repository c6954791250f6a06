// Any processor, float and double; double serves gradcheck.
#include <cmath>
#include <cstdint>

#include "sequence_math.h"

namespace khmer_fast {
namespace {

template <typename V>
inline auto lanes_sum(V x) {
  auto y = x[0];
  for (unsigned i = 1; i < sizeof(V) / sizeof x[0]; ++i) y += x[i];
  return y;
}

template <typename V>
inline auto lanes_largest(V x) {
  auto y = x[0];
  for (unsigned i = 1; i < sizeof(V) / sizeof x[0]; ++i) y = x[i] > y ? x[i] : y;
  return y;
}

template <typename V>
inline void paired_reciprocal(V a, V b, V& x, V& y) {
  const V both = 1 / (a * b);
  x = b * both;
  y = a * both;
}

struct Lanes {
  using scalar = float;
  typedef float V __attribute__((vector_size(16)));
  typedef int32_t I __attribute__((vector_size(16)));
  static constexpr int64_t LANES = 4;
  static constexpr int ROWS = 6, PANEL = 2;
  static V fma(V a, V b, V c) { return a * b + c; }
  static V exp(V x) { return exp_float<Lanes>(x); }
  static V tanh(V x) { return tanh_float<Lanes>(x); }
  static float sum(V x) { return lanes_sum(x); }
  static float largest(V x) { return lanes_largest(x); }
  static void reciprocal(V a, V b, V& x, V& y) { paired_reciprocal(a, b, x, y); }
};

struct DoubleLanes {
  using scalar = double;
  typedef double V __attribute__((vector_size(16)));
  static constexpr int64_t LANES = 2;
  static constexpr int ROWS = 6, PANEL = 2;
  static V fma(V a, V b, V c) { return a * b + c; }
  static V exp(V x) { return V{std::exp(x[0]), std::exp(x[1])}; }
  static V tanh(V x) { return V{std::tanh(x[0]), std::tanh(x[1])}; }
  static double sum(V x) { return lanes_sum(x); }
  static double largest(V x) { return lanes_largest(x); }
  static void reciprocal(V a, V b, V& x, V& y) { paired_reciprocal(a, b, x, y); }
};

}  // namespace
}  // namespace khmer_fast

#include "attn_gru_sequence_kernel.h"
#include "gru_sequence_kernel.h"
#include "sequence_table.h"

namespace khmer_fast {
const SequenceKernels<float> sequence_kernels_generic = sequence_table<Lanes>();
const SequenceKernels<double> sequence_kernels_generic_double = sequence_table<DoubleLanes>();
}  // namespace khmer_fast
