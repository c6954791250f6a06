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

namespace khmer_fast {
namespace {

// ---- attn_gru_step

// 1. query and recurrent product of the parents: hidden = [W_q; W_hh] h; tiles of [parents, A +
// 3H]. 1.5 / 2 / 9 us: a chain of three reads (counts, parents, operands), 0.9; then B = 1: 128
// blocks of at most 32 KB, 0.3, and 8 products of 16 k in a row, 0.2; B = 32: 64 blocks of 128 KB,
// 1.1; B = 256: 320 of them, 42 MB of L2, 7.6 (tensor cores 2.9), and 5 MB to write.
template <class Storage, class Tile>
__global__ void __launch_bounds__(kProductThreads)
    query_kernel(DecodeSizes s, PackedDecoder<Storage> w, Workspace<Storage> space) {
  wait_for_the_kernels_before();
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
  wait_for_the_kernels_before();
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
  const auto sums =
      product(Tile{}, rows - first, context, element<Storage>,
              w.W_ic + static_cast<size_t>(n0) * s.Ep, s.Ep, H, H - n0, [&] { find_children(0); });
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
  wait_for_the_kernels_before();
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
cudaError_t attn_gru_step_cuda(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                               const DecodeInput& in, const Workspace<Storage>& space,
                               cudaStream_t stream) {
  const int N = s.seats * s.K, width = s.A + 3 * s.H;
  KHMER_FAST_TRY((choose_tile<Storage, 1>(N, width, [&](auto tile) {
    return launch_step(s.variants.early, query_kernel<Storage, decltype(tile)>, tile.grid(N, width),
                       kProductThreads, tile.kShared, stream, s, w, space);
  })));
  KHMER_FAST_TRY(attend_cuda(s, w, in, space, stream));
  KHMER_FAST_TRY((choose_tile<Storage, 3>(N, s.Hp, [&](auto tile) {
    return launch_step(s.variants.early, cell_kernel<Storage, decltype(tile)>, tile.grid(N, s.Hp),
                       kProductThreads, tile.kShared, stream, s, w, space);
  })));
  return choose_tile<Storage, 1>(N, s.V, [&](auto tile) {
    return launch_step(s.variants.early, projection_kernel<Storage, decltype(tile)>,
                       tile.grid(N, s.V), kProductThreads, tile.kShared, stream, s, w, space);
  });
}

#define KHMER_FAST_INSTANTIATE(Storage)                                                      \
  template cudaError_t attn_gru_step_cuda(const DecodeSizes&, const PackedDecoder<Storage>&, \
                                          const DecodeInput&, const Workspace<Storage>&,     \
                                          cudaStream_t);
KHMER_FAST_INSTANTIATE(float)
KHMER_FAST_INSTANTIATE(__nv_bfloat16)
KHMER_FAST_INSTANTIATE(__half)

}  // namespace khmer_fast
