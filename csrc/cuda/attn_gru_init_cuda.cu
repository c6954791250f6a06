// Before the steps, in the order of python_ref/attn_gru_step.py: packing, once a model, and keys,
// mean and first state of a batch.
//
// The times are derived, not measured, as in attn_gru_step_cuda.cu.
#include "cuda/decoder_cuda.h"
#include "cuda/device_math.cuh"
#include "cuda/launch.cuh"
#include "cuda/product.cuh"

namespace khmer_fast {
namespace {

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

#define KHMER_FAST_INSTANTIATE(Storage)                                                      \
  template cudaError_t pack_decoder_cuda(const DecodeSizes&, const DeviceWeights&,           \
                                         const PackedDecoder<Storage>&, cudaStream_t);       \
  template cudaError_t attn_gru_init_cuda(const DecodeSizes&, const PackedDecoder<Storage>&, \
                                          const DecodeInput&, const Workspace<Storage>&,     \
                                          cudaStream_t);
KHMER_FAST_INSTANTIATE(float)
KHMER_FAST_INSTANTIATE(__nv_bfloat16)
KHMER_FAST_INSTANTIATE(__half)

}  // namespace khmer_fast
