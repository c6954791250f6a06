// The loops over the steps of a given target sequence, in the order of python_ref/attn_gru_step.py,
// and back from the last step to the first.
//
// The times are derived, not measured: H200, float32, H = A = E = 512, T = 128, S = 80, B = 32, and
// full lines. L2 gives about 5.5 TB/s to all multiprocessors and 64 bytes a clock to one; a load
// from it takes about 0.35 us. Each launch adds about 1 us, which is not counted.
#include "cuda/attn_gru_sequence_cuda.h"

#include <type_traits>

#include "cuda/device_math.cuh"
#include "cuda/launch.cuh"
#include "energy_form.h"

namespace khmer_fast {
namespace {

constexpr int kWarps = 8, kThreads = 32 * kWarps;

// Blocks that a multiprocessor shall hold at once.
template <class Scalar>
constexpr int kBlocks = std::is_same_v<Scalar, float> ? 2 : 1;

// What step_math.h calls F.
template <class Scalar>
using Number = std::conditional_t<std::is_same_v<Scalar, float>, Real, Scalar>;

template <class Scalar>
__device__ __forceinline__ int steps_of(const CudaSequence<Scalar>& p, int i) {  // -1: no line
  return i < p.B ? static_cast<int>(p.target_length[p.line[i]]) : -1;
}

template <class Scalar>
__device__ __forceinline__ size_t row_of(const CudaSequence<Scalar>& p, size_t b, int s) {
  return b * p.S + s;
}

// The state that step s of line b starts from: [H].
template <class Scalar>
__device__ __forceinline__ const Scalar* state_before(const CudaSequence<Scalar>& p,
                                                      const Scalar* state, size_t b, int s) {
  return s == 0 ? p.h_0 + b * p.H : state + row_of(p, b, s - 1) * p.H;
}

// ---- products: sum over k of x[m, k] W[k, n] for few rows m. The warps of a block share out the
// k's, each adds up its own in ascending order, then the warps follow one another: equal for any
// number of rows and any place in the grid.

constexpr int kRows = 16, kColumns = 16;
static_assert(kRows * kColumns == kThreads);

template <class Scalar>
struct alignas(16) Quad {
  Scalar value[4];
};

// Bytes of each row at once: more hide more of the loads' time, fewer leave registers for a second
// block.
template <int G, int Bytes, class Scalar>
struct alignas(16) Tile {
  static constexpr int kDepth = Bytes / sizeof(Scalar);
  static constexpr int kPad = 16 / sizeof(Scalar);  // neighbouring rows begin in other banks
  Scalar x[kRows][kDepth + kPad];
  Scalar W[kDepth][G * kColumns];
  const Scalar* row[kRows];
};

// out[g]: row threadIdx.x / kColumns and column threadIdx.x % kColumns of the tile. x_at(m) points
// to [depth] or is null; matrix g begins at W + g * stride, its rows are ld apart, and `columns`
// elements of each are left.
template <int G, int Bytes, class Scalar, class XAt>
__device__ __forceinline__ void tile_product(Tile<G, Bytes, Scalar>& tile, XAt x_at,
                                             const Scalar* W, int depth, int ld, int stride,
                                             int columns, Scalar (&out)[G]) {
  constexpr int kDepth = Tile<G, Bytes, Scalar>::kDepth, kSlice = kDepth / kWarps;
  constexpr int kX = kRows * kDepth / kThreads, kW = kColumns * kDepth / kThreads;
  const int thread = threadIdx.x, warp = thread / 32, half = thread / kColumns % 2;
  const int column = thread % kColumns;
  if (thread < kRows) tile.row[thread] = x_at(thread);
  __syncthreads();

  Scalar x[kX], w[G][kW];
  const auto load = [&](int k0) {
#pragma unroll
    for (int i = 0; i < kX; ++i) {
      const int at = i * kThreads + thread, k = k0 + at % kDepth;
      const Scalar* row = tile.row[at / kDepth];
      x[i] = row && k < depth ? row[k] : 0;
    }
    int k = k0 + thread / kColumns;
    const Scalar* from = W + static_cast<size_t>(k) * ld + column;
#pragma unroll
    for (int i = 0; i < kW; ++i) {
#pragma unroll
      for (int g = 0; g < G; ++g) w[g][i] = k < depth && column < columns ? from[g * stride] : 0;
      k += kThreads / kColumns;
      from += static_cast<size_t>(kThreads / kColumns) * ld;
    }
  };

  Scalar sum[G][kRows / 2];  // of rows 2 r + half
#pragma unroll
  for (int g = 0; g < G; ++g)
#pragma unroll
    for (int r = 0; r < kRows / 2; ++r) sum[g][r] = 0;
  if (depth > 0) load(0);
  for (int k0 = 0; k0 < depth; k0 += kDepth) {
#pragma unroll
    for (int i = 0; i < kX; ++i) {
      const int at = i * kThreads + thread;
      tile.x[at / kDepth][at % kDepth] = x[i];
    }
#pragma unroll
    for (int g = 0; g < G; ++g)
#pragma unroll
      for (int i = 0; i < kW; ++i)
        tile.W[(i * kThreads + thread) / kColumns][g * kColumns + column] = w[g][i];
    __syncthreads();
    if (k0 + kDepth < depth) load(k0 + kDepth);
#pragma unroll 1
    for (int k = warp * kSlice; k < (warp + 1) * kSlice; k += 4) {
      Scalar weight[4][G];
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int g = 0; g < G; ++g) weight[i][g] = tile.W[k + i][g * kColumns + column];
#pragma unroll
      for (int r = 0; r < kRows / 2; ++r) {
        const auto quad = *reinterpret_cast<const Quad<Scalar>*>(&tile.x[2 * r + half][k]);
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int g = 0; g < G; ++g) sum[g][r] = fma(quad.value[i], weight[i][g], sum[g][r]);
      }
    }
    __syncthreads();
  }

  static_assert(sizeof(tile.x) + sizeof(tile.W) >= kWarps * kThreads * sizeof(Scalar));
  Scalar* part = reinterpret_cast<Scalar*>(&tile);  // [kWarps, kRows, kColumns]
#pragma unroll
  for (int g = 0; g < G; ++g) {
#pragma unroll
    for (int r = 0; r < kRows / 2; ++r)
      part[(warp * kRows + 2 * r + half) * kColumns + column] = sum[g][r];
    __syncthreads();
    out[g] = 0;
#pragma unroll
    for (int i = 0; i < kWarps; ++i) out[g] += part[i * kThreads + thread];
    __syncthreads();
  }
}

dim3 tiles(int rows, int columns) {
  return dim3((rows + kRows - 1) / kRows, (columns + kColumns - 1) / kColumns);
}

// ---- additive attention: tanh(key + q) = 2 (1/2 - s) with s = 1 / (1 + e^{2 key} e^{2q}); its
// derivative is 4 s (1 - s). The 1/2, which softmax would drop, keeps the sum small and so its
// rounding.

// s of two; k and q are e^{2 key} and e^{2q}, or key and q in the tanh form.
template <EnergyForm form, class F>
__device__ __forceinline__ void sigma(F k0, F q0, F k1, F q1, F& s0, F& s1) {
  const F one = splat<F>(1.0f);
  if constexpr (form == EnergyForm::kTanh) {
    s0 = sigmoid(-2.0f * (k0 + q0));
    s1 = sigmoid(-2.0f * (k1 + q1));
  } else if constexpr (form == EnergyForm::kFactored) {
    s0 = one / fma(k0, q0, one);
    s1 = one / fma(k1, q1, one);
  } else {
    const F d0 = fma(k0, q0, one), d1 = fma(k1, q1, one);
    const F reciprocal = one / (d0 * d1);
    s0 = reciprocal * d1;
    s1 = reciprocal * d0;
  }
}

template <EnergyForm form>
using Form = std::integral_constant<EnergyForm, form>;

template <class Run>
__device__ __forceinline__ void with_form(EnergyForm form, Run run) {
  if (form == EnergyForm::kPaired)
    run(Form<EnergyForm::kPaired>());
  else if (form == EnergyForm::kFactored)
    run(Form<EnergyForm::kFactored>());
  else
    run(Form<EnergyForm::kTanh>());
}

// Keys of line b as `form` takes them: [T, A].
template <EnergyForm form, class Scalar>
__device__ __forceinline__ const Scalar* keys_of(const CudaSequence<Scalar>& p, size_t b) {
  return (form == EnergyForm::kTanh ? p.key : p.P) + b * p.T * p.A;
}

template <EnergyForm form, class Scalar>
__device__ __forceinline__ Number<Scalar> query_as(Scalar q) {
  if constexpr (form == EnergyForm::kTanh)
    return q;
  else
    return fast_exp(Number<Scalar>(2 * q));
}

// ---- forward

// 1. query and the recurrent part of the gates, of the previous state; tiles of [live, A + 3H].
// 256 blocks of 4 chunks of 128 k's: 0.35 us for each chunk's loads, 0.25 us of multiply-adds, and
// 16 MB from L2 beside them: 3 us.
template <class Scalar>
__global__ void __launch_bounds__(kThreads, kBlocks<Scalar>)
    hidden_kernel(CudaSequenceForward<Scalar> p, int s) {
  const int first = blockIdx.x * kRows, n0 = blockIdx.y * kColumns, width = p.A + 3 * p.H;
  if (steps_of(p, first) <= s) return;
  __shared__ Tile<1, 512, Scalar> tile;
  const auto state = [&](int m) -> const Scalar* {
    if (steps_of(p, first + m) <= s) return nullptr;
    return state_before(p, p.state, p.line[first + m], s);
  };
  Scalar sum[1];
  tile_product(tile, state, p.W_state + n0, p.H, width, 0, width - n0, sum);
  const int i = first + threadIdx.x / kColumns, n = n0 + threadIdx.x % kColumns;
  if (steps_of(p, i) <= s || n >= width) return;
  const size_t b = p.line[i];
  if (n < p.A)
    p.q[row_of(p, b, s) * p.A + n] = sum[0];
  else
    p.hidden[b * 3 * p.H + n - p.A] = sum[0];
}

constexpr int kPositions = 4;  // that a warp takes at once
constexpr int kBlockPositions = kWarps * kPositions;

// 2. energy of additive attention; blocks of a line and 32 positions; shared: Q [A].
// 128 blocks, 64 KiB of keys each: 0.5 us at 64 bytes a clock, 0.3 us for half a special-function
// operation an element, after two loads that depend on each other: 1.5 us.
template <class Scalar>
__global__ void __launch_bounds__(kThreads, kBlocks<Scalar>)
    energy_kernel(CudaSequenceForward<Scalar> p, int s) {
  using F = Number<Scalar>;
  if (steps_of(p, blockIdx.x) <= s) return;
  const size_t b = p.line[blockIdx.x];
  const int length = static_cast<int>(p.length[b]), A = p.A;
  if (static_cast<int>(blockIdx.y) * kBlockPositions >= length) return;
  __shared__ float scratch[kWarps];
  Scalar* Q = dynamic_shared<Scalar>();

  // The largest |q| chooses the form; for NaN the guards fail.
  const Scalar* q = p.q + row_of(p, b, s) * A;
  float largest = 0;
  bool nan = false;
  for (int a = threadIdx.x; a < A; a += kThreads) {
    nan = nan || q[a] != q[a];
    largest = larger(largest, fabsf(static_cast<float>(q[a])));
  }
  largest = block_max<kWarps>(largest, scratch);
  if (__syncthreads_or(nan)) largest = NAN;
  with_form(energy_form(static_cast<float>(p.max_p[b]), largest), [&](auto chosen) {
    constexpr EnergyForm form = decltype(chosen)::value;
    for (int a = threadIdx.x; a < A; a += kThreads) Q[a] = value_of(query_as<form>(q[a]));
    __syncthreads();
    const Scalar* key = keys_of<form>(p, b);
    const int lane = threadIdx.x % 32;
    const int t0 = blockIdx.y * kBlockPositions + threadIdx.x / 32 * kPositions;
    F sum[kPositions];
#pragma unroll
    for (int i = 0; i < kPositions; ++i) sum[i] = splat<F>(0.0f);
    for (int a = lane; a < A; a += 64) {
      const bool two = a + 32 < A;
      const F q0 = Q[a], q1 = two ? Q[a + 32] : 0, v0 = p.v[a], v1 = two ? p.v[a + 32] : 0;
      const F half = splat<F>(0.5f);
#pragma unroll
      for (int i = 0; i < kPositions; ++i) {
        const Scalar* k = key + static_cast<size_t>(min(t0 + i, length - 1)) * A + a;
        F s0, s1;
        sigma<form>(F(k[0]), q0, F(two ? k[32] : 0), q1, s0, s1);
        sum[i] = fma(v0, half - s0, sum[i]);
        sum[i] = fma(v1, half - s1, sum[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < kPositions; ++i) {
      const Scalar total = warp_sum(value_of(sum[i]));
      if (lane == 0 && t0 + i < length) p.energy[b * p.T + t0 + i] = 2 * total;
    }
  });
}

// Sums over the positions for 64 columns: thread (column, group) takes every kGroups-th position.
constexpr int kWide = 64, kGroups = kThreads / kWide;

template <class Scalar>
__device__ __forceinline__ Scalar sum_of_groups(Scalar x, Scalar (&part)[kThreads]) {
  const int column = threadIdx.x % kWide;
  part[threadIdx.x] = x;
  __syncthreads();
  return part[column] + part[kWide + column] +
         (part[2 * kWide + column] + part[3 * kWide + column]);
}

// 2. attention weight and 3. context; blocks of a line and 64 columns of the context; shared:
// weight [T]. 256 blocks, 32 KiB of memory each after the softmax, which every block of a line does
// for itself: 2 us.
template <class Scalar>
__global__ void __launch_bounds__(kThreads) context_kernel(CudaSequenceForward<Scalar> p, int s) {
  if (steps_of(p, blockIdx.x) <= s) return;
  const size_t b = p.line[blockIdx.x], row = row_of(p, b, s);
  const int length = static_cast<int>(p.length[b]);
  __shared__ Scalar scratch[kWarps], part[kThreads];
  Scalar* weight = dynamic_shared<Scalar>();
  const Scalar* energy = p.energy + b * p.T;
  Scalar top = -INFINITY, sum = 0;
  for (int t = threadIdx.x; t < length; t += kThreads) top = larger(top, energy[t]);
  top = block_max<kWarps>(top, scratch);
  for (int t = threadIdx.x; t < length; t += kThreads) {
    weight[t] = value_of(fast_exp(Number<Scalar>(energy[t] - top)));
    sum += weight[t];
  }
  sum = block_sum<kWarps>(sum, scratch);
  for (int t = threadIdx.x; t < length; t += kThreads) {
    weight[t] /= sum;
    if (blockIdx.y == 0) p.weight[row * p.T + t] = weight[t];
  }
  __syncthreads();

  const int e = blockIdx.y * kWide + threadIdx.x % kWide;
  const Scalar* memory = p.memory + b * p.T * p.E + e;
  Scalar context = 0;
  if (e < p.E) {
#pragma unroll 8
    for (int t = threadIdx.x / kWide; t < length; t += kGroups)
      context = fma(weight[t], memory[static_cast<size_t>(t) * p.E], context);
  }
  context = sum_of_groups(context, part);
  if (threadIdx.x < kWide && e < p.E) p.context[row * p.E + e] = context;
}

// 4. GRU cell; tiles of [live, H], three columns of W_ic each.
// 64 blocks of 4 chunks of 128 k's, 128 KiB each from L2, 1.1 us at 64 bytes a clock: 3 us.
template <class Scalar>
__global__ void __launch_bounds__(kThreads, kBlocks<Scalar>)
    gate_kernel(CudaSequenceForward<Scalar> p, int s) {
  using F = Number<Scalar>;
  const int first = blockIdx.x * kRows, n0 = blockIdx.y * kColumns, H = p.H;
  if (steps_of(p, first) <= s) return;
  __shared__ Tile<3, 512, Scalar> tile;
  const auto context = [&](int m) -> const Scalar* {
    if (steps_of(p, first + m) <= s) return nullptr;
    return p.context + row_of(p, p.line[first + m], s) * p.E;
  };
  Scalar input[3], hidden[3];
  tile_product(tile, context, p.W_ic + n0, p.E, 3 * H, H, H - n0, input);
  const int i = first + threadIdx.x / kColumns, j = n0 + threadIdx.x % kColumns;
  if (steps_of(p, i) <= s || j >= H) return;
  const size_t b = p.line[i], row = row_of(p, b, s);
#pragma unroll
  for (int g = 0; g < 3; ++g) {
    input[g] += p.gate_input[row * 3 * H + g * H + j];
    hidden[g] = p.hidden[b * 3 * H + g * H + j] + p.b_hh[g * H + j];
  }
  const F r = sigmoid(F(input[0] + hidden[0])), z = sigmoid(F(input[1] + hidden[1]));
  const F n = fast_tanh(fma(r, F(hidden[2]), F(input[2])));
  const F h = state_before(p, p.state, b, s)[j];
  p.state[row * H + j] = value_of(fma(z, h - n, n));
  Scalar* gates = p.gates + row * 4 * H + j;
  gates[0] = value_of(r);
  gates[H] = value_of(z);
  gates[2 * H] = value_of(n);
  gates[3 * H] = hidden[2];
}

// ---- backward, from the last step to the first

// 1. the gradient of the state after step s, which is what step s + 1 gives back, then 4. GRU cell
// of step s; s = -1: of h_0. Tiles of [live, H].
// 64 blocks of 8 chunks of 256 k's, 256 KiB each from L2, 2.1 us at 64 bytes a clock: 5 us.
template <class Scalar>
__global__ void __launch_bounds__(kThreads)
    state_gradient_kernel(CudaSequenceBackward<Scalar> p, int s) {
  const int first = blockIdx.x * kRows, n0 = blockIdx.y * kColumns, A = p.A, H = p.H;
  if (steps_of(p, first) <= s) return;
  __shared__ Tile<1, 1024, Scalar> tile;
  const int width = A + 4 * H, depth = steps_of(p, first) > s + 1 ? A + 3 * H : 0;
  const auto next = [&](int m) -> const Scalar* {
    if (steps_of(p, first + m) <= s + 1) return nullptr;
    return p.d_product + row_of(p, p.line[first + m], s + 1) * width;
  };
  Scalar sum[1];
  tile_product(tile, next, p.W_state + n0, depth, H, 0, H - n0, sum);
  const int i = first + threadIdx.x / kColumns, j = n0 + threadIdx.x % kColumns;
  if (steps_of(p, i) <= s || j >= H) return;
  const size_t b = p.line[i];
  Scalar d_h = steps_of(p, i) > s + 1 ? p.d_h[b * H + j] + sum[0] : 0;
  if (s >= 0) {
    const size_t row = row_of(p, b, s);
    if (p.d_state) d_h += p.d_state[row * H + j];
    const Scalar* gates = p.gates + row * 4 * H + j;
    const Scalar r = gates[0], z = gates[H], n = gates[2 * H], hidden = gates[3 * H];
    const Scalar d_n = d_h * (1 - z) * (1 - n * n);
    Scalar* d_product = p.d_product + row * width + A + j;
    d_product[0] = d_n * r;
    d_product[H] = d_n * hidden * r * (1 - r);
    d_product[2 * H] = d_h * (state_before(p, p.state, b, s)[j] - n) * z * (1 - z);
    d_product[3 * H] = d_n;
    d_h *= z;  // what goes straight to the state before
  }
  p.d_h[b * H + j] = d_h;
}

// 4. the context's gradient from the gates, and from above; tiles of [live, E].
// 64 blocks of 6 chunks of 256 k's, 192 KiB each from L2, 1.6 us at 64 bytes a clock: 4 us.
template <class Scalar>
__global__ void __launch_bounds__(kThreads)
    context_gradient_kernel(CudaSequenceBackward<Scalar> p, int s) {
  const int first = blockIdx.x * kRows, n0 = blockIdx.y * kColumns, H = p.H;
  if (steps_of(p, first) <= s) return;
  __shared__ Tile<1, 1024, Scalar> tile;
  const auto gates = [&](int m) -> const Scalar* {
    if (steps_of(p, first + m) <= s) return nullptr;
    return p.d_product + row_of(p, p.line[first + m], s) * (p.A + 4 * H) + p.A + H;
  };
  Scalar sum[1];
  tile_product(tile, gates, p.W_ic + n0, 3 * H, p.E, 0, p.E - n0, sum);
  const int i = first + threadIdx.x / kColumns, e = n0 + threadIdx.x % kColumns;
  if (steps_of(p, i) <= s || e >= p.E) return;
  const size_t at = row_of(p, p.line[i], s) * p.E + e;
  p.d_context_row[at] = p.d_context ? p.d_context[at] + sum[0] : sum[0];
}

// 3. the attention weight's gradient; blocks of a line and 32 positions.
// 128 blocks, 64 KiB of memory each: 1.5 us.
template <class Scalar>
__global__ void __launch_bounds__(kThreads)
    weight_gradient_kernel(CudaSequenceBackward<Scalar> p, int s) {
  if (steps_of(p, blockIdx.x) <= s) return;
  const size_t b = p.line[blockIdx.x], row = row_of(p, b, s);
  const int length = static_cast<int>(p.length[b]), lane = threadIdx.x % 32;
  const int t0 = blockIdx.y * kBlockPositions + threadIdx.x / 32 * kPositions;
  if (t0 >= length) return;
  const Scalar *memory = p.memory + b * p.T * p.E, *d_context = p.d_context_row + row * p.E;
  Scalar sum[kPositions] = {};
#pragma unroll 4
  for (int e = lane; e < p.E; e += 32) {
    const Scalar d = d_context[e];
#pragma unroll
    for (int i = 0; i < kPositions; ++i)
      sum[i] = fma(d, memory[static_cast<size_t>(min(t0 + i, length - 1)) * p.E + e], sum[i]);
  }
#pragma unroll
  for (int i = 0; i < kPositions; ++i) {
    const Scalar total = warp_sum(sum[i]);
    const int t = t0 + i;
    if (lane == 0 && t < length)
      p.d_weight_row[b * p.T + t] = p.d_weight ? p.d_weight[row * p.T + t] + total : total;
  }
}

// 2. softmax and the query's gradient; blocks of a line and 64 columns of the query; shared:
// d_energy [T]. 256 blocks, 32 KiB of keys each: 2 us.
template <class Scalar>
__global__ void __launch_bounds__(kThreads, kBlocks<Scalar>)
    query_gradient_kernel(CudaSequenceBackward<Scalar> p, int s) {
  using F = Number<Scalar>;
  if (steps_of(p, blockIdx.x) <= s) return;
  const size_t b = p.line[blockIdx.x], row = row_of(p, b, s);
  const int length = static_cast<int>(p.length[b]), A = p.A;
  __shared__ Scalar scratch[kWarps], part[kThreads];
  Scalar* d_energy = dynamic_shared<Scalar>();
  const Scalar *weight = p.weight + row * p.T, *d_weight = p.d_weight_row + b * p.T;
  Scalar mean = 0;
  for (int t = threadIdx.x; t < length; t += kThreads) mean = fma(weight[t], d_weight[t], mean);
  mean = block_sum<kWarps>(mean, scratch);
  for (int t = threadIdx.x; t < length; t += kThreads) {
    d_energy[t] = weight[t] * (d_weight[t] - mean);
    if (blockIdx.y == 0) p.d_energy[row * p.T + t] = d_energy[t];
  }
  __syncthreads();

  const int a = blockIdx.y * kWide + threadIdx.x % kWide;
  const auto form = energy_form(static_cast<float>(p.max_p[b]), static_cast<float>(p.max_q[b]));
  F d_q = splat<F>(0.0f);
  if (a < A) {
    with_form(form, [&](auto chosen) {
      constexpr EnergyForm form = decltype(chosen)::value;
      const Scalar* key = keys_of<form>(p, b) + a;
      const F q = query_as<form>(p.q[row * A + a]);
#pragma unroll 4
      for (int t = threadIdx.x / kWide; t < length; t += 2 * kGroups) {
        const int u = t + kGroups;
        const bool two = u < length;
        const F k0 = key[static_cast<size_t>(t) * A];
        const F k1 = two ? key[static_cast<size_t>(u) * A] : 0;
        F s0, s1;
        sigma<form>(k0, q, k1, q, s0, s1);
        d_q = fma(F(d_energy[t]), fma(-s0, s0, s0), d_q);
        d_q = fma(F(two ? d_energy[u] : 0), fma(-s1, s1, s1), d_q);
      }
    });
  }
  const Scalar total = sum_of_groups(value_of(d_q), part);
  if (threadIdx.x < kWide && a < A) p.d_product[row * (A + 4 * p.H) + a] = 4 * p.v[a] * total;
}

constexpr int kKeyColumns = 128;

// 2. after the loop: the gradients of the keys and of v, over all steps of a line; blocks of
// kKeyPositions positions and 128 columns.
// 168 M elements with half a special-function operation and ten others each: 60 us in all.
template <class Scalar>
__global__ void __launch_bounds__(kKeyColumns) key_gradient_kernel(CudaSequenceBackward<Scalar> p) {
  using F = Number<Scalar>;
  const size_t b = blockIdx.x;
  const int A = p.A, a = blockIdx.z * kKeyColumns + threadIdx.x, t0 = blockIdx.y * kKeyPositions;
  const int length = static_cast<int>(p.length[b]), steps = static_cast<int>(p.target_length[b]);
  if (a >= A) return;
  F d_key[kKeyPositions], d_v = splat<F>(0.0f);
#pragma unroll
  for (int i = 0; i < kKeyPositions; ++i) d_key[i] = splat<F>(0.0f);
  const auto form = energy_form(static_cast<float>(p.max_p[b]), static_cast<float>(p.max_q[b]));
  with_form(form, [&](auto chosen) {
    constexpr EnergyForm form = decltype(chosen)::value;
    const Scalar* key = keys_of<form>(p, b) + a;
    F k[kKeyPositions];
#pragma unroll
    for (int i = 0; i < kKeyPositions; ++i)
      k[i] = t0 + i < length ? key[static_cast<size_t>(t0 + i) * A] : 0;
    for (int s = 0; s < (t0 < length ? steps : 0); ++s) {
      const size_t row = row_of(p, b, s);
      const F q = query_as<form>(p.q[row * A + a]);
#pragma unroll
      for (int i = 0; i < kKeyPositions; i += 2) {
        F sigmas[2];
        sigma<form>(k[i], q, k[i + 1], q, sigmas[0], sigmas[1]);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int t = t0 + i + j;
          const F d = t < length ? p.d_energy[row * p.T + t] : 0, part = d * sigmas[j];
          d_v = d_v + part;
          d_key[i + j] = d_key[i + j] + fma(-part, sigmas[j], part);
        }
      }
    }
  });
  const Scalar factor = 4 * p.v[a];
#pragma unroll
  for (int i = 0; i < kKeyPositions; ++i)
    if (t0 + i < p.T) p.d_key[(b * p.T + t0 + i) * A + a] = factor * value_of(d_key[i]);
  p.d_v_part[(b * gridDim.y + blockIdx.y) * A + a] = -2 * value_of(d_v);
}

unsigned blocks(int n, int each) { return static_cast<unsigned>((n + each - 1) / each); }

}  // namespace

template <class Scalar>
cudaError_t attn_gru_sequence_cuda(const CudaSequenceForward<Scalar>& p, cudaStream_t stream) {
  const size_t scalar = sizeof(Scalar);
  const dim3 positions(p.B, blocks(p.T, kBlockPositions)), wide(p.B, blocks(p.E, kWide));
  for (int s = 0; s < p.S; ++s) {
    KHMER_FAST_TRY(
        launch(hidden_kernel<Scalar>, tiles(p.B, p.A + 3 * p.H), kThreads, 0, stream, p, s));
    KHMER_FAST_TRY(launch(energy_kernel<Scalar>, positions, kThreads, p.A * scalar, stream, p, s));
    KHMER_FAST_TRY(launch(context_kernel<Scalar>, wide, kThreads, p.T * scalar, stream, p, s));
    KHMER_FAST_TRY(launch(gate_kernel<Scalar>, tiles(p.B, p.H), kThreads, 0, stream, p, s));
  }
  return cudaSuccess;
}

template <class Scalar>
cudaError_t attn_gru_sequence_backward_cuda(const CudaSequenceBackward<Scalar>& p,
                                            cudaStream_t stream) {
  const dim3 positions(p.B, blocks(p.T, kBlockPositions)), wide(p.B, blocks(p.A, kWide));
  const dim3 keys(p.B, blocks(p.T, kKeyPositions), blocks(p.A, kKeyColumns));
  const size_t shared = p.T * sizeof(Scalar);
  for (int s = p.S - 1; s >= 0; --s) {
    KHMER_FAST_TRY(
        launch(state_gradient_kernel<Scalar>, tiles(p.B, p.H), kThreads, 0, stream, p, s));
    KHMER_FAST_TRY(
        launch(context_gradient_kernel<Scalar>, tiles(p.B, p.E), kThreads, 0, stream, p, s));
    KHMER_FAST_TRY(launch(weight_gradient_kernel<Scalar>, positions, kThreads, 0, stream, p, s));
    KHMER_FAST_TRY(launch(query_gradient_kernel<Scalar>, wide, kThreads, shared, stream, p, s));
  }
  KHMER_FAST_TRY(
      launch(state_gradient_kernel<Scalar>, tiles(p.B, p.H), kThreads, 0, stream, p, -1));
  return launch(key_gradient_kernel<Scalar>, keys, kKeyColumns, 0, stream, p);
}

cudaError_t longest_sequence_cuda(int64_t* bytes) {
  int device = 0;
  size_t most = 0;
  KHMER_FAST_TRY(cudaGetDevice(&device));
  KHMER_FAST_TRY(shared_of_device(device, &most));
  *bytes = static_cast<int64_t>(most - kStaticShared);
  return cudaSuccess;
}

#define KHMER_FAST_INSTANTIATE(Scalar)                                                           \
  template cudaError_t attn_gru_sequence_cuda(const CudaSequenceForward<Scalar>&, cudaStream_t); \
  template cudaError_t attn_gru_sequence_backward_cuda(const CudaSequenceBackward<Scalar>&,      \
                                                       cudaStream_t);
KHMER_FAST_INSTANTIATE(float)
KHMER_FAST_INSTANTIATE(double)

}  // namespace khmer_fast
