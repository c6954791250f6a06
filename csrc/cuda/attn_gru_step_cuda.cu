// One decoder step on the device, in the order of python_ref/attn_gru_step.py.
//
// The times are derived, not measured: H200, bfloat16, H = A = E = 512, V = 208, T = 128, K = 5
// with 2.5 parents a line, for B = 1 / 32 / 256, which is 2.5 / 80 / 640 parents and 5 / 160 / 1280
// children. Reading L2 takes 0.3 us, of which a kernel has a chain before its copies begin, and
// gives 5.5 TB/s, to one multiprocessor 64 bytes a cycle (0.118 MB/us); tensor cores give 470
// TFLOP/s through mma.sync (60 % of 790), special functions 3.9 T/s, HBM 4.3 TB/s. Starting a
// kernel, about 1 us after the end of the one before, is not in them.
#include "cuda/decoder_cuda.h"
#include "cuda/device_math.cuh"
#include "cuda/launch.cuh"
#include "cuda/product.cuh"
#include "energy_form.h"

namespace khmer_fast {
namespace {

// Element k of a row, as product() asks for it.
template <class Storage>
__device__ __forceinline__ const Storage* element(const Storage* row, int k) {
  return row + k;
}

// ---- packing, once a model

// to [rows, columns padded], from rows `ld` apart; blocks of 256 elements
template <class Storage>
__global__ void pack_rows_kernel(const float* from, int rows, int columns, int ld, Storage* to,
                                 int to_ld, int to_columns) {
  const size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int r = static_cast<int>(i / to_columns), c = static_cast<int>(i % to_columns);
  if (r >= rows) return;
  to[static_cast<size_t>(r) * to_ld + c] =
      from_float<Storage>(c < columns ? from[static_cast<size_t>(r) * ld + c] : 0.0f);
}

// table [V, 3H], u [Ap]
__global__ void pack_table_kernel(DecodeSizes s, DeviceWeights from, float* table, float* u) {
  const size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < static_cast<size_t>(s.Ap)) u[i] = i < static_cast<size_t>(s.A) ? -2.0f * from.v[i] : 0.0f;
  const int token = static_cast<int>(i / (3 * s.H)), j = static_cast<int>(i % (3 * s.H));
  if (token >= s.V) return;
  float sum = 0;
  for (int d = 0; d < s.D; ++d)
    sum = fmaf(from.W_ih[static_cast<size_t>(j) * (s.D + s.E) + d],
               from.embedding[static_cast<size_t>(token) * s.D + d], sum);
  table[i] = sum + from.b_ih[j] + (j < 2 * s.H ? from.b_hh[j] : 0.0f);
}

template <class Storage>
cudaError_t pack_rows(const float* from, int rows, int columns, int ld, Storage* to, int to_ld,
                      int to_columns, cudaStream_t stream) {
  const size_t count = static_cast<size_t>(rows) * to_columns;
  return launch(pack_rows_kernel<Storage>, dim3(static_cast<unsigned>((count + 255) / 256)), 256, 0,
                stream, from, rows, columns, ld, to, to_ld, to_columns);
}

// ---- attn_gru_init: once a line

// memory [B, T, Ep] of the storage type, 0 outside the lines; max_p = 0
template <class Storage>
__global__ void pack_memory_kernel(DecodeSizes s, DecodeInput in, Workspace<Storage> space) {
  const size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const size_t row = i / s.Ep;
  const int e = static_cast<int>(i % s.Ep);
  if (row >= static_cast<size_t>(s.B) * s.T) return;
  const size_t b = row / s.T, t = row % s.T;
  const bool inside = e < s.E && static_cast<int64_t>(t) < in.length[b];
  space.memory[i] = from_float<Storage>(inside ? in.memory[row * s.E + e] : 0.0f);
  if (t == 0 && e == 0) space.max_p[b] = 0;
}

// key = memory W_k^T + b_k, P = exp(2 key) and the largest |key|; tiles of [B * T, Ap]. B = 256:
// 4096 tiles of 128 KB from L2, 98 us; 17 GFLOP, 37 us; key and P to HBM, 16 us.
template <class Storage, class Tile>
__global__ void __launch_bounds__(kProductThreads)
    key_kernel(DecodeSizes s, PackedDecoder<Storage> w, DecodeInput in, Workspace<Storage> space) {
  const int rows = s.B * s.T, first = blockIdx.x * Tile::kRows, n0 = blockIdx.y * Tile::kColumns;
  __shared__ unsigned largest[Tile::kRows];
  for (int m = threadIdx.x; m < Tile::kRows; m += kProductThreads) largest[m] = 0;
  __syncthreads();
  const auto memory = [&](int m) { return space.memory + static_cast<size_t>(first + m) * s.Ep; };
  const auto store = [&](int m, int n, float sum) {
    const int row = first + m, a = n0 + n;
    if (row % s.T >= in.length[row / s.T]) return;  // the same for all 16 lanes
    const float key = a < s.A ? sum + w.b_k[a] : 0.0f;
    const unsigned half = 0xffffu << threadIdx.x % 32 / 16 * 16;
    const unsigned top = __reduce_max_sync(half, absolute_bits(key));
    if (n % 16 == 0) atomicMax(largest + m, top);
    if (a >= s.Ap) return;
    const size_t at = static_cast<size_t>(row) * s.Ap + a;
    space.key[at] = from_float<Storage>(key);
    space.P[at] = from_float<Factor<Storage>>(expf(2.0f * key));
  };
  product(Tile{}, rows - first, memory, element<Storage>, w.W_k + static_cast<size_t>(n0) * s.Ep,
          s.Ep, 0, s.A - n0)
      .each(rows - first, store);
  __syncthreads();
  for (int m = threadIdx.x; m < min(rows - first, Tile::kRows); m += kProductThreads)
    if (largest[m] != 0) atomicMax(space.max_p + (first + m) / s.T, largest[m]);
}

// mean [B, Ep]; NaN for a line without positions; a block a line
template <class Storage>
__global__ void mean_kernel(DecodeSizes s, DecodeInput in, Workspace<Storage> space) {
  const size_t b = blockIdx.x;
  const int length = static_cast<int>(in.length[b]);
  for (int e = threadIdx.x; e < s.Ep; e += blockDim.x) {
    double sum = 0;
    for (int t = 0; t < length; ++t) sum += to_float(space.memory[(b * s.T + t) * s.Ep + e]);
    space.mean[b * s.Ep + e] =
        from_float<Storage>(e < s.E ? static_cast<float>(sum / length) : 0.0f);
  }
}

// h_0 = tanh(W_init mean + b_init); tiles of [B, Hp]. B = 256: 32 blocks of 128 KB, 2 us.
template <class Storage, class Tile>
__global__ void __launch_bounds__(kProductThreads)
    first_state_kernel(DecodeSizes s, PackedDecoder<Storage> w, Workspace<Storage> space) {
  const int first = blockIdx.x * Tile::kRows, n0 = blockIdx.y * Tile::kColumns;
  const auto mean = [&](int m) { return space.mean + static_cast<size_t>(first + m) * s.Ep; };
  const auto store = [&](int m, int n, float sum) {
    const int j = n0 + n;
    if (j >= s.Hp) return;
    space.h_0[static_cast<size_t>(first + m) * s.Hp + j] =
        j < s.H ? tanhf(sum + w.b_init[j]) : 0.0f;
  };
  product(Tile{}, s.B - first, mean, element<Storage>, w.W_init + static_cast<size_t>(n0) * s.Ep,
          s.Ep, 0, s.H - n0)
      .each(s.B - first, store);
}

// ---- attn_gru_step

// 1. query and recurrent product of the parents: hidden = [W_q; W_hh] h; tiles of [parents, A +
// 3H]. 1.5 / 2 / 9 us: a chain of three reads (counts, parents, operands), 0.9; then B = 1: 128
// blocks of at most 32 KB, 0.3, and 8 products of 16 k in a row, 0.2; B = 32: 64 blocks of 128 KB,
// 1.1; B = 256: 320 of them, 42 MB of L2, 7.6 (tensor cores 2.9), and 5 MB to write.
template <class Storage, class Tile>
__global__ void __launch_bounds__(kProductThreads)
    query_kernel(DecodeSizes s, PackedDecoder<Storage> w, Workspace<Storage> space) {
  const int N = s.seats * s.K, now = *space.clock & 1;
  const int rows = space.counts[2 * now], first = blockIdx.x * Tile::kRows;
  const int n0 = blockIdx.y * Tile::kColumns, width = s.A + 3 * s.H;
  if (first >= rows) return;
  const int* parents = space.parents + now * N + first;
  const Storage* h = state_operand(space) + static_cast<size_t>(now ^ 1) * N * s.Hp;
  const auto state = [&](int m) { return h + static_cast<size_t>(parents[m]) * s.Hp; };
  const auto store = [&](int m, int i, float sum) {
    const int n = n0 + i;
    if (n >= width) return;
    const float bias = n >= s.A + 2 * s.H ? w.b_hn[n - s.A - 2 * s.H] : 0.0f;
    space.hidden[static_cast<size_t>(parents[m]) * width + n] = sum + bias;
  };
  product(Tile{}, rows - first, state, element<Storage>,
          w.W_hidden + static_cast<size_t>(n0) * s.Hp, s.Hp, 0, width - n0)
      .each(rows - first, store);
}

constexpr int kSpread = 16;  // lanes over the elements of one position's energy
constexpr int kParts = 8;    // of a context's sum over t

constexpr int kTogether = 4;     // parents of a line that share the reading of P and memory
constexpr int kManyRows = 512;   // N from which on there are more of them than multiprocessors
constexpr int kFewRows = 32;     // N up to which multiprocessors are idle: blocks share a context
constexpr int kShares = 4;
template <int Parents>
constexpr int kAttendThreads = Parents == 1 ? 512 : 256;

// energy [n, T] of n parents of one line: P and Q [n, Ap] hold exp(2 key), exp(2 q), or key, q in
// the tanh form. 16 lanes a position, 8 elements a lane; each takes as many positions at once as
// keep 32 to 64 bytes of P under way.
template <EnergyForm form, int n, class P_t>
__device__ __forceinline__ void energies(const P_t* P, const float* Q, const float* u, int Ap,
                                         int length, int T, float* energy) {
  constexpr int kAhead = n == 1 && sizeof(P_t) == 2 ? 4 : 2;
  const int lane = threadIdx.x % kSpread, groups = blockDim.x / kSpread;
  // Both halves of a warp go round equally often.
  for (int t0 = 0; t0 < length; t0 += kAhead * groups) {
    const int first = t0 + static_cast<int>(threadIdx.x) / kSpread;
    Real sum[kAhead][n];
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
#pragma unroll
      for (int r = 0; r < n; ++r) sum[i][r] = 0.0f;
    for (int a = 8 * lane; a < Ap; a += 8 * kSpread) {
      float p[kAhead][8], v[8];
#pragma unroll
      for (int i = 0; i < kAhead; ++i)
        load_eight(P + static_cast<size_t>(min(first + i * groups, length - 1)) * Ap + a, p[i]);
      load_eight(u + a, v);
#pragma unroll
      for (int r = 0; r < n; ++r) {
        float q[8];
        load_eight(Q + r * Ap + a, q);
#pragma unroll
        for (int i = 0; i < kAhead; ++i)
#pragma unroll
          for (int c = 0; c < 8; c += 2) {
            Real& x = sum[i][r];
            const Real p0 = p[i][c], p1 = p[i][c + 1];
            if constexpr (form == EnergyForm::kPaired) {
              x = energy_paired(x, p0, Real(q[c]), Real(v[c]), p1, Real(q[c + 1]), Real(v[c + 1]));
            } else if constexpr (form == EnergyForm::kFactored) {
              x = energy_factored(x, p0, Real(q[c]), Real(v[c]));
              x = energy_factored(x, p1, Real(q[c + 1]), Real(v[c + 1]));
            } else {
              x = energy_tanh(x, p0, Real(q[c]), Real(v[c]));
              x = energy_tanh(x, p1, Real(q[c + 1]), Real(v[c + 1]));
            }
          }
      }
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
#pragma unroll
      for (int r = 0; r < n; ++r) {
        float total = sum[i][r].value;
#pragma unroll
        for (int half = kSpread / 2; half > 0; half /= 2)
          total += __shfl_xor_sync(kAllLanes, total, half);
        if (lane == 0 && first + i * groups < length) energy[r * T + first + i * groups] = total;
      }
  }
}

// Calls work(n) with n = count as a constant, 1 to Most.
template <int Most, class Work>
__device__ __forceinline__ void with_count(int count, Work work) {
  if constexpr (Most > 1)
    if (count < Most) return with_count<Most - 1>(count, work);
  work(std::integral_constant<int, Most>{});
}

// softmax of x [length] in place, by one warp
__device__ __forceinline__ void softmax(float* x, int length) {
  const int lane = threadIdx.x % 32;
  float top = -INFINITY, sum = 0;
  for (int t = lane; t < length; t += 32) top = fmaxf(top, x[t]);
  top = warp_max(top);
  for (int t = lane; t < length; t += 32) {
    x[t] = expf(x[t] - top);
    sum += x[t];
  }
  const float scale = 1.0f / warp_sum(sum);
  for (int t = lane; t < length; t += 32) x[t] *= scale;
}

// context[row[r]] [Ep] of n parents from weight [n, T]: part i of 8 sums t = i, i + 8, ...; the
// parts lie in neighbouring lanes and are added in pairs. The grid's y shares the elements.
template <int n, class Storage>
__device__ __forceinline__ void contexts(const Storage* memory, const float* weight, int length,
                                         int T, int Ep, const int* row, Storage* context) {
  const int part = threadIdx.x % kParts, items = Ep / 8 * kParts, threads = gridDim.y * blockDim.x;
  for (int i0 = blockIdx.y * blockDim.x; i0 < items; i0 += threads) {
    const int i = i0 + static_cast<int>(threadIdx.x), e = min(i / kParts * 8, Ep - 8);
    float sum[n][8] = {};
#pragma unroll 4
    for (int t = part; t < length; t += kParts) {
      float m[8];
      load_eight(memory + static_cast<size_t>(t) * Ep + e, m);
#pragma unroll
      for (int r = 0; r < n; ++r)
#pragma unroll
        for (int c = 0; c < 8; ++c) sum[r][c] = fmaf(weight[r * T + t], m[c], sum[r][c]);
    }
#pragma unroll
    for (int r = 0; r < n; ++r)
#pragma unroll
      for (int c = 0; c < 8; ++c) {
#pragma unroll
        for (int step = 1; step < kParts; step *= 2)
          sum[r][c] += __shfl_xor_sync(kAllLanes, sum[r][c], step);
      }
    if (part != 0 || i >= items) continue;
#pragma unroll
    for (int r = 0; r < n; ++r) store_eight(context + static_cast<size_t>(row[r]) * Ep + e, sum[r]);
  }
}

// 2. additive attention and 3. context; a block for up to `Parents` parents of a line; shared: Q
// [Parents, Ap], energy [Parents, T].
// 3.5 / 6 / 19 us: counts, parents, query and exp, 1.0; softmax 0.3. One parent, B = 1: P is 128
// KiB of one multiprocessor's L2, 1.1, while 32,768 pairs take 12 instructions each in four
// schedulers, 1.7; a quarter of memory, 0.3. B = 32: P and memory of 80 parents from L2, 1.9 each.
// B = 256: both once a line from HBM, 67 MB, 16; special functions 5.4 and 9 to 12 instructions a
// pair, 7, lie under it.
template <class Storage, int Parents>
__global__ void __launch_bounds__(kAttendThreads<Parents>)
    attend_kernel(DecodeSizes s, PackedDecoder<Storage> w, DecodeInput in,
                  Workspace<Storage> space) {
  constexpr int kWarps = kAttendThreads<Parents> / 32;
  const int N = s.seats * s.K, now = *space.clock & 1;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (static_cast<int>(blockIdx.x) >= space.counts[2 * now]) return;
  const int own = space.parents[now * N + blockIdx.x], seat = own / s.K, b = space.line[seat];
  __shared__ int row[Parents];
  __shared__ unsigned scratch[Parents][kWarps];
  int count = 1;
  if constexpr (Parents == 1) {
    if (threadIdx.x == 0) row[0] = own;
  } else {
    // The parents among the 32 slots around this one; every Parents-th takes those up to the next.
    const int slot = own % s.K % 32, first = own - slot;
    unsigned mask = 0;
    for (int k = lane; k < s.K; k += 32) {
      const int parent = space.state_row[seat * s.K + k] - first;
      if (parent >= 0 && parent < 32) mask |= 1u << parent;
    }
    mask = __reduce_or_sync(kAllLanes, mask);
    const int rank = __popc(mask & ((1u << slot) - 1));
    if (rank % Parents != 0) return;
    count = min(__popc(mask) - rank, Parents);
    const int place = __popc(mask & ((1u << lane) - 1)) - rank;
    if (warp == 0 && (mask >> lane & 1) && place >= 0 && place < Parents) row[place] = first + lane;
  }
  __syncthreads();
  const int length = static_cast<int>(in.length[b]);
  if (length == 0) {
    for (int r = 0; r < count; ++r)
      for (int e = threadIdx.x; e < s.Ep; e += blockDim.x)
        space.context[static_cast<size_t>(row[r]) * s.Ep + e] = from_float<Storage>(NAN);
    return;
  }
  float* Q = dynamic_shared<float>();
  float* energy = Q + Parents * s.Ap;

  // The largest |q| chooses the form; as bits, NaN is the largest of all and fails the guards.
  const auto query = [&](int r) {
    return space.hidden + static_cast<size_t>(row[r]) * (s.A + 3 * s.H);
  };
  for (int r = 0; r < count; ++r) {
    unsigned largest = 0;
    for (int a = threadIdx.x; a < s.A; a += blockDim.x)
      largest = max(largest, absolute_bits(query(r)[a]));
    largest = __reduce_max_sync(kAllLanes, largest);
    if (lane == 0) scratch[r][warp] = largest;
  }
  __syncthreads();
  const auto form = [&](int r) {
    unsigned largest = scratch[r][0];
#pragma unroll
    for (int i = 1; i < kWarps; ++i) largest = max(largest, scratch[r][i]);
    return energy_form(__uint_as_float(space.max_p[b]), __uint_as_float(largest));
  };
  bool paired = true;
  for (int r = 0; r < count; ++r) {
    const bool plain = form(r) == EnergyForm::kTanh;
    paired = paired && form(r) == EnergyForm::kPaired;
    for (int a = threadIdx.x; a < s.Ap; a += blockDim.x) {
      const float q = a < s.A ? query(r)[a] : 0.0f;
      Q[r * s.Ap + a] = plain ? q : expf(2.0f * q);
    }
  }
  __syncthreads();

  const size_t line = static_cast<size_t>(b) * s.T;
  const Factor<Storage>* P = space.P + line * s.Ap;
  if (paired) {
    with_count<Parents>(count, [&](auto n) {
      energies<EnergyForm::kPaired, n.value>(P, Q, w.u, s.Ap, length, s.T, energy);
    });
  } else {
    for (int r = 0; r < count; ++r) {  // each in its own form
      const float* Q_r = Q + r * s.Ap;
      float* out = energy + r * s.T;
      if (form(r) == EnergyForm::kPaired)
        energies<EnergyForm::kPaired, 1>(P, Q_r, w.u, s.Ap, length, s.T, out);
      else if (form(r) == EnergyForm::kFactored)
        energies<EnergyForm::kFactored, 1>(P, Q_r, w.u, s.Ap, length, s.T, out);
      else
        energies<EnergyForm::kTanh, 1>(space.key + line * s.Ap, Q_r, w.u, s.Ap, length, s.T, out);
    }
  }
  __syncthreads();

  if (warp < count) softmax(energy + warp * s.T, length);
  __syncthreads();

  if (space.attention && blockIdx.y == 0)
    for (int r = 0; r < count; ++r)
      for (int t = threadIdx.x; t < length; t += blockDim.x)
        space.attention[attention_row(s, b, space.step[b], row[r] % s.K) * s.T + t] =
            energy[r * s.T + t];
  with_count<Parents>(count, [&](auto n) {
    contexts<n.value>(space.memory + line * s.Ep, energy, length, s.T, s.Ep, row, space.context);
  });
}

// 4. GRU cell: the context's product of the parents, and the gates of all their children; tiles of
// [parents, Hp], three columns of W_ic each.
// 2 / 3 / 9 us: counts, parents, operands, 0.9; the gates' numbers, 0.3, and 200 cycles of gates,
// 0.1. B = 1: 32 blocks of at most 64 KB, 0.5; B = 32: 160 of them, 10 MB of L2, 1.9; B = 256: 160
// blocks of 160 KB, 4.8, then 8 rounds of four children a thread, 700 cycles each, 3.
template <class Storage, class Tile>
__global__ void __launch_bounds__(kProductThreads)
    cell_kernel(DecodeSizes s, PackedDecoder<Storage> w, Workspace<Storage> space) {
  constexpr int kWindow = 8 * Tile::kRows;  // slots that are looked through at once
  constexpr int kAhead = 4;                 // children of a thread whose numbers are under way
  const int N = s.seats * s.K, now = *space.clock & 1, H = s.H;
  const int rows = space.counts[2 * now], first = blockIdx.x * Tile::kRows;
  const int n0 = blockIdx.y * Tile::kColumns;
  if (first >= rows) return;
  const int* parents = space.parents + now * N + first;
  const int slots = min(rows - first, Tile::kRows) * s.K;  // of the lines of the tile's parents
  struct Child {
    int m, parent, n, token;
  };
  __shared__ Child children[kWindow];
  __shared__ int count;
  static_assert(Tile::kShared + sizeof children + sizeof count <= kLeastShared);
  const auto find_children = [&](int begin) {
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    const int end = min(begin + kWindow, slots);
    for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kProductThreads) {
      const int m = i / s.K, parent = parents[m], n = parent / s.K * s.K + i % s.K;
      if (space.state_row[n] == parent)
        children[atomicAdd(&count, 1)] = {m, parent, n, space.token[n]};
    }
    __syncthreads();
  };
  const auto context = [&](int m) {
    return space.context + static_cast<size_t>(parents[m]) * s.Ep;
  };
  const auto sums = product(Tile{}, rows - first, context, element<Storage>,
                            w.W_ic + static_cast<size_t>(n0) * s.Ep, s.Ep, H, H - n0,
                            [&] { find_children(0); });
  constexpr int kStep = kProductThreads / Tile::kColumns;  // children side by side
  const int column = threadIdx.x % Tile::kColumns, j = n0 + column, hidden = min(j, H - 1);
  for (int begin = 0; begin < slots; begin += kWindow) {
    if (begin > 0) {
      __syncthreads();
      find_children(begin);
    }
    for (int c0 = threadIdx.x / Tile::kColumns; c0 < count; c0 += kStep * kAhead) {
      float input[kAhead][3], recurrent[kAhead][3], h[kAhead];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const Child child = children[min(c0 + i * kStep, count - 1)];
        const float* from = w.table + static_cast<size_t>(child.token) * 3 * H + hidden;
        const float* rest =
            space.hidden + static_cast<size_t>(child.parent) * (s.A + 3 * H) + s.A + hidden;
#pragma unroll
        for (int g = 0; g < 3; ++g) {
          input[i][g] = from[g * H];
          recurrent[i][g] = rest[g * H];
        }
        h[i] = space.h[(static_cast<size_t>(now ^ 1) * N + child.parent) * s.Hp + hidden];
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (c0 + i * kStep >= count || j >= s.Hp) continue;
        const Child child = children[c0 + i * kStep];
        float sum[3];
        sums.get(child.m, column, sum);
        const Real h_new = gru_cell(Real(input[i][0] + sum[0] + recurrent[i][0]),
                                    Real(input[i][1] + sum[1] + recurrent[i][1]),
                                    Real(input[i][2] + sum[2]), Real(recurrent[i][2]), Real(h[i]));
        store_state(space, (static_cast<size_t>(now) * N + child.n) * s.Hp + j,
                    j < H ? h_new.value : 0.0f);
      }
    }
  }
}

// 5. projection of the children: logits = W_o [h_new; context] + b_o; tiles of [children, V]. The
// log_softmax is the first thing that the selection does.
// 2 / 3 / 5 us: counts, children, their parents, operands, 1.2; B = 1: 13 blocks of at most 64 KB,
// 0.5, and 16 products in a row, 0.3; B = 32: 130 of them, 1.6; B = 256: 80 blocks of 256 KB, 3.8.
template <class Storage, class Tile>
__global__ void __launch_bounds__(kProductThreads)
    projection_kernel(DecodeSizes s, PackedDecoder<Storage> w, Workspace<Storage> space) {
  const int N = s.seats * s.K, now = *space.clock & 1;
  const int rows = space.counts[2 * now + 1], first = blockIdx.x * Tile::kRows;
  const int n0 = blockIdx.y * Tile::kColumns, depth = s.Hp + s.Ep;
  if (first >= rows) return;
  const int* children = space.children + now * N + first;
  const Storage* h_new = state_operand(space) + static_cast<size_t>(now) * N * s.Hp;
  struct Child {
    const Storage *h, *context;
  };
  const auto child = [&](int m) {
    const int n = children[m];
    return Child{h_new + static_cast<size_t>(n) * s.Hp,
                 space.context + static_cast<size_t>(space.state_row[n]) * s.Ep};
  };
  const auto at = [&](const Child& x, int k) {
    return k < s.Hp ? x.h + k : x.context + (k - s.Hp);
  };
  const auto store = [&](int m, int n, float sum) {
    const int v = n0 + n;
    if (v < s.V) space.logits[static_cast<size_t>(children[m]) * s.V + v] = sum + w.b_o[v];
  };
  product(Tile{}, rows - first, child, at, w.W_o + static_cast<size_t>(n0) * depth, depth, 0,
          s.V - n0)
      .each(rows - first, store);
}

}  // namespace

template <class Storage>
cudaError_t pack_decoder_cuda(const DecodeSizes& s, const DeviceWeights& from,
                              const PackedDecoder<Storage>& w, cudaStream_t stream) {
  const int V = s.V, D = s.D, E = s.E, A = s.A, H = s.H, Ep = s.Ep, Hp = s.Hp;
  Storage* W_hh = w.W_hidden + static_cast<size_t>(A) * Hp;
  KHMER_FAST_TRY(pack_rows(from.W_k, A, E, E, w.W_k, Ep, Ep, stream));
  KHMER_FAST_TRY(pack_rows(from.b_k, 1, A, A, w.b_k, A, A, stream));
  KHMER_FAST_TRY(pack_rows(from.W_init, H, E, E, w.W_init, Ep, Ep, stream));
  KHMER_FAST_TRY(pack_rows(from.b_init, 1, H, H, w.b_init, H, H, stream));
  KHMER_FAST_TRY(pack_rows(from.W_q, A, H, H, w.W_hidden, Hp, Hp, stream));
  KHMER_FAST_TRY(pack_rows(from.W_hh, 3 * H, H, H, W_hh, Hp, Hp, stream));
  KHMER_FAST_TRY(pack_rows(from.b_hh + 2 * H, 1, H, H, w.b_hn, H, H, stream));
  KHMER_FAST_TRY(pack_rows(from.W_ih + D, 3 * H, E, D + E, w.W_ic, Ep, Ep, stream));
  KHMER_FAST_TRY(pack_rows(from.W_o, V, H, H + E, w.W_o, Hp + Ep, Hp, stream));
  KHMER_FAST_TRY(pack_rows(from.W_o + H, V, E, H + E, w.W_o + Hp, Hp + Ep, Ep, stream));
  KHMER_FAST_TRY(pack_rows(from.b_o, 1, V, V, w.b_o, V, V, stream));
  const size_t count = static_cast<size_t>(V) * 3 * H > static_cast<size_t>(s.Ap)
                           ? static_cast<size_t>(V) * 3 * H
                           : static_cast<size_t>(s.Ap);
  return launch(pack_table_kernel, dim3(static_cast<unsigned>((count + 255) / 256)), 256, 0, stream,
                s, from, w.table, w.u);
}

template <class Storage>
cudaError_t attn_gru_init_cuda(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                               const DecodeInput& in, const Workspace<Storage>& space,
                               cudaStream_t stream) {
  const size_t count = static_cast<size_t>(s.B) * s.T * s.Ep;
  KHMER_FAST_TRY(launch(pack_memory_kernel<Storage>,
                        dim3(static_cast<unsigned>((count + 255) / 256)), 256, 0, stream, s, in,
                        space));
  KHMER_FAST_TRY((choose_tile<Storage, 1>(s.B * s.T, s.Ap, [&](auto tile) {
    return launch(key_kernel<Storage, decltype(tile)>, tile.grid(s.B * s.T, s.Ap), kProductThreads,
                  tile.kShared, stream, s, w, in, space);
  })));
  KHMER_FAST_TRY(launch(mean_kernel<Storage>, s.B, 128, 0, stream, s, in, space));
  return choose_tile<Storage, 1>(s.B, s.Hp, [&](auto tile) {
    return launch(first_state_kernel<Storage, decltype(tile)>, tile.grid(s.B, s.Hp),
                  kProductThreads, tile.kShared, stream, s, w, space);
  });
}

template <class Storage>
cudaError_t attn_gru_step_cuda(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                               const DecodeInput& in, const Workspace<Storage>& space,
                               cudaStream_t stream) {
  const int N = s.seats * s.K, width = s.A + 3 * s.H;
  KHMER_FAST_TRY((choose_tile<Storage, 1>(N, width, [&](auto tile) {
    return launch(query_kernel<Storage, decltype(tile)>, tile.grid(N, width), kProductThreads,
                  tile.kShared, stream, s, w, space);
  })));
  const size_t shared = (static_cast<size_t>(s.Ap) + s.T) * sizeof(float);
  if (N >= kManyRows && kTogether * shared <= kPlainShared)
    KHMER_FAST_TRY(launch(attend_kernel<Storage, kTogether>, N, kAttendThreads<kTogether>,
                          kTogether * shared, stream, s, w, in, space));
  else
    KHMER_FAST_TRY(launch(attend_kernel<Storage, 1>, dim3(N, N <= kFewRows ? kShares : 1),
                          kAttendThreads<1>, shared, stream, s, w, in, space));
  KHMER_FAST_TRY((choose_tile<Storage, 3>(N, s.Hp, [&](auto tile) {
    return launch(cell_kernel<Storage, decltype(tile)>, tile.grid(N, s.Hp), kProductThreads,
                  tile.kShared, stream, s, w, space);
  })));
  return choose_tile<Storage, 1>(N, s.V, [&](auto tile) {
    return launch(projection_kernel<Storage, decltype(tile)>, tile.grid(N, s.V), kProductThreads,
                  tile.kShared, stream, s, w, space);
  });
}

#define KHMER_FAST_INSTANTIATE(Storage)                                                           \
  template cudaError_t pack_decoder_cuda(const DecodeSizes&, const DeviceWeights&,                \
                                         const PackedDecoder<Storage>&, cudaStream_t);            \
  template cudaError_t attn_gru_init_cuda(const DecodeSizes&, const PackedDecoder<Storage>&,      \
                                          const DecodeInput&, const Workspace<Storage>&,          \
                                          cudaStream_t);                                          \
  template cudaError_t attn_gru_step_cuda(const DecodeSizes&, const PackedDecoder<Storage>&,      \
                                          const DecodeInput&, const Workspace<Storage>&,          \
                                          cudaStream_t);
KHMER_FAST_INSTANTIATE(float)
KHMER_FAST_INSTANTIATE(__nv_bfloat16)
KHMER_FAST_INSTANTIATE(__half)

}  // namespace khmer_fast
