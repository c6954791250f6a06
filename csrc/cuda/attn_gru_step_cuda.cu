// One decoder step on the device, in the order of python_ref/attn_gru_step.py.
//
// The times are derived, not measured: H200, bfloat16, H = A = E = 512, V = 208, T = 128, B = 256,
// K = 5 with 2.5 parents a line (640 parents, 1280 children). Products run on the float32 units at
// about 40 % of their 30 T multiply-adds/s; L2 gives about 5.5 TB/s.
#include "cuda/decoder_cuda.h"
#include "cuda/device_math.cuh"
#include "cuda/launch.cuh"
#include "energy_form.h"

namespace khmer_fast {
namespace {

// ---- products: sum over k of x[m, k] W[n, k], k ascending in one thread, hence equal for any number
// of rows and any place in the grid.

constexpr int kRows = 16, kColumns = 32, kDepth = 32, kTileThreads = 128;
constexpr int kRowsThread = kRows / (kTileThreads / 32);

template <int G>
struct alignas(16) Tile {
  float x[kRows][kDepth + 4];  // + 4: quads of neighbouring rows lie in other banks
  float W[G][kColumns][kDepth + 4];
};

// sum[g][r]: row warp * kRowsThread + r of the tile, column `lane` of matrix g. x_at(m, k) points to
// four elements or is null; matrix g begins g * stride rows after W; `columns` of them exist.
template <int G, class Storage, class XAt>
__device__ __forceinline__ void tile_product(Tile<G>& tile, XAt x_at, const Storage* W, int depth,
                                             int stride, int columns,
                                             float (&sum)[G][kRowsThread]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = threadIdx.x / 8, quad = threadIdx.x % 8 * 4;
#pragma unroll
  for (int g = 0; g < G; ++g)
#pragma unroll
    for (int r = 0; r < kRowsThread; ++r) sum[g][r] = 0;
  for (int k0 = 0; k0 < depth; k0 += kDepth) {
    const int k = k0 + quad;
    const float4 zero = make_float4(0, 0, 0, 0);
    {
      const auto* x = k < depth ? x_at(row, k) : nullptr;
      *reinterpret_cast<float4*>(&tile.x[row][quad]) = x ? load_quad(x) : zero;
    }
#pragma unroll
    for (int g = 0; g < G; ++g)
#pragma unroll
      for (int n = row; n < kColumns; n += kTileThreads / 8) {
        const bool inside = n < columns && k < depth;
        const Storage* w = W + (static_cast<size_t>(g) * stride + n) * depth + k;
        *reinterpret_cast<float4*>(&tile.W[g][n][quad]) = inside ? load_quad(w) : zero;
      }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kDepth; i += 4) {
      float4 x[kRowsThread];
#pragma unroll
      for (int r = 0; r < kRowsThread; ++r)
        x[r] = load_quad(&tile.x[warp * kRowsThread + r][i]);
#pragma unroll
      for (int g = 0; g < G; ++g) {
        const float4 w = load_quad(&tile.W[g][lane][i]);
#pragma unroll
        for (int r = 0; r < kRowsThread; ++r) {
          sum[g][r] = fmaf(x[r].x, w.x, sum[g][r]);
          sum[g][r] = fmaf(x[r].y, w.y, sum[g][r]);
          sum[g][r] = fmaf(x[r].z, w.z, sum[g][r]);
          sum[g][r] = fmaf(x[r].w, w.w, sum[g][r]);
        }
      }
    }
    __syncthreads();
  }
}

__device__ __forceinline__ int tile_row(int r) {  // of this thread's r-th row
  return static_cast<int>(blockIdx.x) * kRows + threadIdx.x / 32 * kRowsThread + r;
}

dim3 tiles(int rows, int columns) {
  return dim3((rows + kRows - 1) / kRows, (columns + kColumns - 1) / kColumns);
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

// key = memory W_k^T + b_k, P = exp(2 key) and the largest |key|; tiles of [B * T, Ap]
template <class Storage>
__global__ void __launch_bounds__(kTileThreads)
    key_kernel(DecodeSizes s, PackedDecoder<Storage> w, DecodeInput in, Workspace<Storage> space) {
  __shared__ Tile<1> tile;
  const int rows = s.B * s.T, first = blockIdx.x * kRows, n0 = blockIdx.y * kColumns;
  float sum[1][kRowsThread];
  const auto memory = [&](int m, int k) -> const Storage* {
    return first + m < rows ? space.memory + static_cast<size_t>(first + m) * s.Ep + k : nullptr;
  };
  tile_product(tile, memory, w.W_k + static_cast<size_t>(n0) * s.Ep, s.Ep, 0, s.A - n0, sum);
  const int lane = threadIdx.x % 32, a = n0 + lane;
#pragma unroll
  for (int r = 0; r < kRowsThread; ++r) {
    const int row = tile_row(r);
    if (row >= rows || row % s.T >= in.length[row / s.T]) continue;  // the same in the whole warp
    const float key = a < s.A ? sum[0][r] + w.b_k[a] : 0.0f;
    const unsigned largest = __reduce_max_sync(kAllLanes, absolute_bits(key));
    if (lane == 0) atomicMax(space.max_p + row / s.T, largest);
    if (a >= s.Ap) continue;
    const size_t at = static_cast<size_t>(row) * s.Ap + a;
    space.key[at] = from_float<Storage>(key);
    space.P[at] = from_float<Factor<Storage>>(expf(2.0f * key));
  }
}

// mean [B, Ep]; NaN for a line without positions; a block a line
template <class Storage>
__global__ void mean_kernel(DecodeSizes s, DecodeInput in, Workspace<Storage> space) {
  const size_t b = blockIdx.x;
  const int length = static_cast<int>(in.length[b]);
  for (int e = threadIdx.x; e < s.Ep; e += blockDim.x) {
    double sum = 0;
    for (int t = 0; t < length; ++t) sum += to_float(space.memory[(b * s.T + t) * s.Ep + e]);
    space.mean[b * s.Ep + e] = e < s.E ? static_cast<float>(sum / length) : 0.0f;
  }
}

// h_0 = tanh(W_init mean + b_init); tiles of [B, Hp]
template <class Storage>
__global__ void __launch_bounds__(kTileThreads)
    first_state_kernel(DecodeSizes s, PackedDecoder<Storage> w, Workspace<Storage> space) {
  __shared__ Tile<1> tile;
  const int first = blockIdx.x * kRows, n0 = blockIdx.y * kColumns;
  float sum[1][kRowsThread];
  const auto mean = [&](int m, int k) -> const float* {
    return first + m < s.B ? space.mean + static_cast<size_t>(first + m) * s.Ep + k : nullptr;
  };
  tile_product(tile, mean, w.W_init + static_cast<size_t>(n0) * s.Ep, s.Ep, 0, s.H - n0, sum);
  const int j = n0 + threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < kRowsThread; ++r) {
    const int b = tile_row(r);
    if (b >= s.B || j >= s.Hp) continue;
    space.h_0[static_cast<size_t>(b) * s.Hp + j] =
        j < s.H ? tanhf(sum[0][r] + w.b_init[j]) : 0.0f;
  }
}

// ---- attn_gru_step

// 1. query and recurrent product of the parents: hidden = [W_q; W_hh] h; tiles of [parents, A + 3H].
// 640 x 2048 x 512 multiply-adds: 56 us on the float32 units.
template <class Storage>
__global__ void __launch_bounds__(kTileThreads)
    query_kernel(DecodeSizes s, PackedDecoder<Storage> w, Workspace<Storage> space) {
  const int N = s.seats * s.K, now = *space.clock & 1;
  const int rows = space.counts[2 * now], first = blockIdx.x * kRows, n0 = blockIdx.y * kColumns;
  if (first >= rows) return;
  __shared__ Tile<1> tile;
  const int* parents = space.parents + now * N;
  const float* h = space.h + static_cast<size_t>(now ^ 1) * N * s.Hp;
  const int width = s.A + 3 * s.H;
  float sum[1][kRowsThread];
  const auto state = [&](int m, int k) -> const float* {
    return first + m < rows ? h + static_cast<size_t>(parents[first + m]) * s.Hp + k : nullptr;
  };
  tile_product(tile, state, w.W_hidden + static_cast<size_t>(n0) * s.Hp, s.Hp, 0, width - n0, sum);
  const int n = n0 + threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < kRowsThread; ++r) {
    const int m = tile_row(r);
    if (m >= rows || n >= width) continue;
    const float bias = n >= s.A + 2 * s.H ? w.b_hn[n - s.A - 2 * s.H] : 0.0f;
    space.hidden[static_cast<size_t>(parents[m]) * width + n] = sum[0][r] + bias;
  }
}

constexpr int kAttendThreads = 256, kAttendWarps = kAttendThreads / 32;
constexpr int kPositions = 4;  // that a warp scores at once

// energy [length] of one parent: P and Q hold exp(2 key), exp(2 q), or key, q in the tanh form.
template <EnergyForm form, class P_t>
__device__ __forceinline__ void energies(const P_t* P, const float* Q, const float* u, int Ap,
                                         int length, float* energy) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int t0 = warp * kPositions; t0 < length; t0 += kAttendWarps * kPositions) {
    Real sum[kPositions];
#pragma unroll
    for (int i = 0; i < kPositions; ++i) sum[i] = 0.0f;
    for (int a = 2 * lane; a < Ap; a += 64) {
      const float2 q = load_pair(Q + a), v = load_pair(u + a);
#pragma unroll
      for (int i = 0; i < kPositions; ++i) {
        const int t = min(t0 + i, length - 1);
        const float2 p = load_pair(P + static_cast<size_t>(t) * Ap + a);
        if constexpr (form == EnergyForm::kPaired) {
          sum[i] = energy_paired(sum[i], Real(p.x), Real(q.x), Real(v.x), Real(p.y), Real(q.y),
                                 Real(v.y));
        } else if constexpr (form == EnergyForm::kFactored) {
          sum[i] = energy_factored(sum[i], Real(p.x), Real(q.x), Real(v.x));
          sum[i] = energy_factored(sum[i], Real(p.y), Real(q.y), Real(v.y));
        } else {
          sum[i] = energy_tanh(sum[i], Real(p.x), Real(q.x), Real(v.x));
          sum[i] = energy_tanh(sum[i], Real(p.y), Real(q.y), Real(v.y));
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kPositions; ++i) {
      const float total = warp_sum(sum[i].value);
      if (lane == 0 && t0 + i < length) energy[t0 + i] = total;
    }
  }
}

// 2. additive attention and 3. context; a block a parent; shared: Q [Ap], energy [T].
// 640 x 128 x 256 pairs, one special-function operation each (3.9 T/s): 5 us; P and memory once a
// parent, 256 KiB each, from L2: 30 us.
template <class Storage>
__global__ void __launch_bounds__(kAttendThreads)
    attend_kernel(DecodeSizes s, PackedDecoder<Storage> w, DecodeInput in,
                  Workspace<Storage> space) {
  const int N = s.seats * s.K, now = *space.clock & 1;
  if (static_cast<int>(blockIdx.x) >= space.counts[2 * now]) return;
  const int row = space.parents[now * N + blockIdx.x], b = space.line[row / s.K];
  const int length = static_cast<int>(in.length[b]);
  float* context = space.context + static_cast<size_t>(row) * s.Ep;
  if (length == 0) {
    for (int e = threadIdx.x; e < s.Ep; e += kAttendThreads) context[e] = NAN;
    return;
  }
  __shared__ float scratch[kAttendWarps];
  float* Q = dynamic_shared<float>();
  float* energy = Q + s.Ap;

  // The largest |q| chooses the form; for NaN the guards fail.
  const float* q = space.hidden + static_cast<size_t>(row) * (s.A + 3 * s.H);
  float largest = 0;
  bool nan = false;
  for (int a = threadIdx.x; a < s.A; a += kAttendThreads) {
    nan = nan || q[a] != q[a];
    largest = fmaxf(largest, fabsf(q[a]));
  }
  largest = block_max<kAttendWarps>(largest, scratch);
  if (__syncthreads_or(nan)) largest = NAN;
  const EnergyForm form = energy_form(__uint_as_float(space.max_p[b]), largest);
  for (int a = threadIdx.x; a < s.Ap; a += kAttendThreads) {
    const float x = a < s.A ? q[a] : 0.0f;
    Q[a] = form == EnergyForm::kTanh ? x : expf(2.0f * x);
  }
  __syncthreads();

  const size_t line = static_cast<size_t>(b) * s.T;
  const Factor<Storage>* P = space.P + line * s.Ap;
  if (form == EnergyForm::kPaired)
    energies<EnergyForm::kPaired>(P, Q, w.u, s.Ap, length, energy);
  else if (form == EnergyForm::kFactored)
    energies<EnergyForm::kFactored>(P, Q, w.u, s.Ap, length, energy);
  else
    energies<EnergyForm::kTanh>(space.key + line * s.Ap, Q, w.u, s.Ap, length, energy);
  __syncthreads();

  float top = -INFINITY;
  for (int t = threadIdx.x; t < length; t += kAttendThreads) top = fmaxf(top, energy[t]);
  top = block_max<kAttendWarps>(top, scratch);
  float sum = 0;
  for (int t = threadIdx.x; t < length; t += kAttendThreads) {
    energy[t] = expf(energy[t] - top);
    sum += energy[t];
  }
  sum = block_sum<kAttendWarps>(sum, scratch);
  for (int t = threadIdx.x; t < length; t += kAttendThreads) {
    energy[t] /= sum;
    if (space.attention)
      space.attention[attention_row(s, b, space.step[b], row % s.K) * s.T + t] = energy[t];
  }
  __syncthreads();

  const Storage* memory = space.memory + line * s.Ep;
  for (int e = 2 * threadIdx.x; e < s.Ep; e += 2 * kAttendThreads) {
    float2 part[4] = {};
    for (int t0 = 0; t0 < length; t0 += 4)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (t0 + i >= length) continue;
        const float2 m = load_pair(memory + static_cast<size_t>(t0 + i) * s.Ep + e);
        part[i].x = fmaf(energy[t0 + i], m.x, part[i].x);
        part[i].y = fmaf(energy[t0 + i], m.y, part[i].y);
      }
    context[e] = part[0].x + part[1].x + (part[2].x + part[3].x);
    context[e + 1] = part[0].y + part[1].y + (part[2].y + part[3].y);
  }
}

// 4. GRU cell: the context's product of the parents, and the gates of all their children; tiles of
// [parents, Hp], three columns of W_ic each. 640 x 1536 x 512 multiply-adds: 42 us.
template <class Storage>
__global__ void __launch_bounds__(kTileThreads)
    cell_kernel(DecodeSizes s, PackedDecoder<Storage> w, Workspace<Storage> space) {
  const int N = s.seats * s.K, now = *space.clock & 1;
  const int rows = space.counts[2 * now], first = blockIdx.x * kRows, n0 = blockIdx.y * kColumns;
  if (first >= rows) return;
  __shared__ Tile<3> tile;
  const int* parents = space.parents + now * N;
  float sum[3][kRowsThread];
  const auto context = [&](int m, int k) -> const float* {
    return first + m < rows ? space.context + static_cast<size_t>(parents[first + m]) * s.Ep + k
                            : nullptr;
  };
  tile_product(tile, context, w.W_ic + static_cast<size_t>(n0) * s.Ep, s.Ep, s.H, s.H - n0, sum);
  const int j = n0 + threadIdx.x % 32, H = s.H;
  if (j >= s.Hp) return;
#pragma unroll
  for (int r = 0; r < kRowsThread; ++r) {
    const int m = tile_row(r);
    if (m >= rows) continue;
    const int parent = parents[m], line = parent / s.K * s.K;
    const float* recurrent = space.hidden + static_cast<size_t>(parent) * (s.A + 3 * H) + s.A;
    const float h = space.h[(static_cast<size_t>(now ^ 1) * N + parent) * s.Hp + j];
    for (int n = line; n < line + s.K; ++n) {
      if (space.state_row[n] != parent) continue;  // -1: no live hypothesis
      float h_new = 0;
      if (j < H) {
        const float* input = w.table + static_cast<size_t>(space.token[n]) * 3 * H;
        h_new = gru_cell(Real(input[j] + sum[0][r] + recurrent[j]),
                         Real(input[H + j] + sum[1][r] + recurrent[H + j]),
                         Real(input[2 * H + j] + sum[2][r]), Real(recurrent[2 * H + j]), Real(h))
                    .value;
      }
      space.h[(static_cast<size_t>(now) * N + n) * s.Hp + j] = h_new;
    }
  }
}

// 5. projection of the children: logits = W_o [h_new; context] + b_o; tiles of [children, V]. The
// log_softmax is the first thing that the selection does. 1280 x 208 x 1024: 23 us.
template <class Storage>
__global__ void __launch_bounds__(kTileThreads)
    projection_kernel(DecodeSizes s, PackedDecoder<Storage> w, Workspace<Storage> space) {
  const int N = s.seats * s.K, now = *space.clock & 1;
  const int rows = space.counts[2 * now + 1], first = blockIdx.x * kRows;
  const int n0 = blockIdx.y * kColumns, depth = s.Hp + s.Ep;
  if (first >= rows) return;
  __shared__ Tile<1> tile;
  const int* children = space.children + now * N;
  const float* h_new = space.h + static_cast<size_t>(now) * N * s.Hp;
  float sum[1][kRowsThread];
  const auto state_and_context = [&](int m, int k) -> const float* {
    if (first + m >= rows) return nullptr;
    const int n = children[first + m];
    return k < s.Hp ? h_new + static_cast<size_t>(n) * s.Hp + k
                    : space.context + static_cast<size_t>(space.state_row[n]) * s.Ep + (k - s.Hp);
  };
  tile_product(tile, state_and_context, w.W_o + static_cast<size_t>(n0) * depth, depth, 0, s.V - n0,
               sum);
  const int v = n0 + threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < kRowsThread; ++r) {
    const int m = tile_row(r);
    if (m < rows && v < s.V)
      space.logits[static_cast<size_t>(children[m]) * s.V + v] = sum[0][r] + w.b_o[v];
  }
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
  KHMER_FAST_TRY(launch(key_kernel<Storage>, tiles(s.B * s.T, s.Ap), kTileThreads, 0, stream, s, w,
                        in, space));
  KHMER_FAST_TRY(launch(mean_kernel<Storage>, s.B, 128, 0, stream, s, in, space));
  return launch(first_state_kernel<Storage>, tiles(s.B, s.Hp), kTileThreads, 0, stream, s, w, space);
}

template <class Storage>
cudaError_t attn_gru_step_cuda(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                               const DecodeInput& in, const Workspace<Storage>& space,
                               cudaStream_t stream) {
  const int N = s.seats * s.K;
  const size_t shared = (static_cast<size_t>(s.Ap) + s.T) * sizeof(float);
  KHMER_FAST_TRY(launch(query_kernel<Storage>, tiles(N, s.A + 3 * s.H), kTileThreads, 0, stream, s,
                        w, space));
  KHMER_FAST_TRY(launch(attend_kernel<Storage>, N, kAttendThreads, shared, stream, s, w, in, space));
  KHMER_FAST_TRY(launch(cell_kernel<Storage>, tiles(N, s.Hp), kTileThreads, 0, stream, s, w, space));
  return launch(projection_kernel<Storage>, tiles(N, s.V), kTileThreads, 0, stream, s, w, space);
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
