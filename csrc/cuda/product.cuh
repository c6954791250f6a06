// Products of one tile by a block of kProductThreads: sum over k of x[m, k] W[n, k], in float32,
// each element in one order whatever the tile's shape, the number of rows and the place in the
// grid:
//   float32   k ascending, by one thread
//   16-bit    k ascending by 16 in each quarter of k, then the quarters in their order: a narrow
//             tile has a warp for each, a wide one takes them in turn
#pragma once

#include "cuda/launch.cuh"
#include "cuda/mma.cuh"

namespace khmer_fast {

constexpr int kProductThreads = 128, kProductWarps = kProductThreads / 32;
constexpr int kQuarters = 4;
constexpr size_t kLeastShared = 99 << 10;  // bytes that a block may take on sm_86 and sm_89

template <int Rows, int Columns>
struct TileShape {
  static constexpr int kRows = Rows, kColumns = Columns;
  static dim3 grid(int rows, int columns) {
    return dim3((rows + Rows - 1) / Rows, (columns + Columns - 1) / Columns);
  }
};

// On the float32 units. A tile has G matrices, of the same columns each.
template <int G>
struct FmaTile : TileShape<16, 32> {
  static constexpr int kMatrices = G, kDepth = 32, kThreadRows = kRows / kProductWarps;
  static constexpr int kPitch = G * kColumns;
  struct alignas(16) Shared {
    float x[kRows][kDepth + 4];  // + 4: quads of neighbouring rows lie in other banks
    float W[G][kColumns][kDepth + 4];
  };
  static constexpr size_t kShared = sizeof(Shared);
  static_assert(kShared >= kRows * kPitch * sizeof(float));
};

// On tensor cores. A team of warps shares a pipeline of stages of 64 k; RowWarps x ColumnWarps
// warps, of WarpRows x WarpColumns each.
template <int G, int Teams, int RowWarps, int ColumnWarps, int WarpRows, int WarpColumns,
          int Stages>
struct MmaTile : TileShape<RowWarps * WarpRows, ColumnWarps * WarpColumns> {
  using Shape = TileShape<RowWarps * WarpRows, ColumnWarps * WarpColumns>;
  static constexpr int kMatrices = G, kTeams = Teams, kColumnWarps = ColumnWarps, kStages = Stages;
  static constexpr int kWarpRows = WarpRows, kWarpColumns = WarpColumns, kDepth = 64;
  static constexpr int kStage = (Shape::kRows + G * Shape::kColumns) * kDepth;  // elements
  static constexpr int kPitch = G * Shape::kColumns + 8;  // + 8: pairs of four rows in other banks
  static constexpr size_t kPipelines = size_t{2} * Teams * Stages * kStage;
  static constexpr size_t kSums = sizeof(float) * Teams * Shape::kRows * kPitch;
  static constexpr size_t kShared = kPipelines > kSums ? kPipelines : kSums;
  static_assert(Teams * RowWarps * ColumnWarps == kProductWarps && kShared <= kLeastShared);
};
// 16 rows x 16 columns: few rows, the weights spread over many blocks.
template <int G>
using NarrowTile = MmaTile<G, kQuarters, 1, 1, 16, 16, G == 1 ? 5 : 3>;
// 64 rows x 64 columns, or 32 columns of three matrices.
template <int G>
using WideTile = MmaTile<G, 1, 2, 2, 32, G == 1 ? 32 : 16, G == 1 ? 4 : 3>;

// Sums [parts, kRows, kPitch] in shared memory, those of one row and matrix side by side.
template <class Tile>
struct Sums {
  const float* sums;
  int parts;

  __device__ __forceinline__ void get(int m, int n, float (&total)[Tile::kMatrices]) const {
#pragma unroll
    for (int g = 0; g < Tile::kMatrices; ++g) total[g] = 0;
    for (int part = 0; part < parts; ++part)
#pragma unroll
      for (int g = 0; g < Tile::kMatrices; ++g)
        total[g] += sums[(part * Tile::kRows + m) * Tile::kPitch + g * Tile::kColumns + n];
  }
  // Calls store(m, n, sum) for every m < rows, n < kColumns: by 16 lanes with the same m.
  template <class Store>
  __device__ __forceinline__ void each(int rows, Store store) const {
    const int count = min(rows, Tile::kRows) * Tile::kColumns;
    for (int i = threadIdx.x; i < count; i += kProductThreads) {
      float total[Tile::kMatrices];
      get(i / Tile::kColumns, i % Tile::kColumns, total);
      store(i / Tile::kColumns, i % Tile::kColumns, total[0]);
    }
  }
};

// Element k of a row, as product() asks for it.
template <class Storage>
__device__ __forceinline__ const Storage* element(const Storage* row, int k) {
  return row + k;
}

struct Nothing {
  __device__ __forceinline__ void operator()() const {}
};

// row(m) names row m < rows of x, at(name, k) points to its elements from k on, a multiple of 8
// (float32: 4). Matrix g begins g * stride rows after W; `columns` of them exist. All threads call
// meanwhile() while the first copies are under way.
template <int G, class Row, class At, class Meanwhile = Nothing>
__device__ __forceinline__ Sums<FmaTile<G>> product(FmaTile<G>, int rows, Row row, At at,
                                                    const float* W, int depth, int stride,
                                                    int columns, Meanwhile meanwhile = {}) {
  using Tile = FmaTile<G>;
  typename Tile::Shared& tile = *dynamic_shared<typename Tile::Shared>();
  const int lane = threadIdx.x % 32, first = threadIdx.x / 32 * Tile::kThreadRows;
  const int m = threadIdx.x / 8, quad = threadIdx.x % 8 * 4;
  const auto x = row(min(m, rows - 1));
  meanwhile();
  float sum[G][Tile::kThreadRows];
#pragma unroll
  for (int g = 0; g < G; ++g)
#pragma unroll
    for (int r = 0; r < Tile::kThreadRows; ++r) sum[g][r] = 0;
  for (int k0 = 0; k0 < depth; k0 += Tile::kDepth) {
    const int k = k0 + quad;
    const float4 zero = make_float4(0, 0, 0, 0);
    *reinterpret_cast<float4*>(&tile.x[m][quad]) =
        m < rows && k < depth ? load_quad(at(x, k)) : zero;
#pragma unroll
    for (int g = 0; g < G; ++g)
#pragma unroll
      for (int n = m; n < Tile::kColumns; n += kProductThreads / 8) {
        const bool inside = n < columns && k < depth;
        const float* w = W + (static_cast<size_t>(g) * stride + n) * depth + k;
        *reinterpret_cast<float4*>(&tile.W[g][n][quad]) = inside ? load_quad(w) : zero;
      }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < Tile::kDepth; i += 4) {
      float4 x[Tile::kThreadRows];
#pragma unroll
      for (int r = 0; r < Tile::kThreadRows; ++r) x[r] = load_quad(&tile.x[first + r][i]);
#pragma unroll
      for (int g = 0; g < G; ++g) {
        const float4 w = load_quad(&tile.W[g][lane][i]);
#pragma unroll
        for (int r = 0; r < Tile::kThreadRows; ++r) {
          sum[g][r] = fmaf(x[r].x, w.x, sum[g][r]);
          sum[g][r] = fmaf(x[r].y, w.y, sum[g][r]);
          sum[g][r] = fmaf(x[r].z, w.z, sum[g][r]);
          sum[g][r] = fmaf(x[r].w, w.w, sum[g][r]);
        }
      }
    }
    __syncthreads();
  }
  float* sums = dynamic_shared<float>();
#pragma unroll
  for (int g = 0; g < G; ++g)
#pragma unroll
    for (int r = 0; r < Tile::kThreadRows; ++r)
      sums[(first + r) * Tile::kPitch + g * Tile::kColumns + lane] = sum[g][r];
  __syncthreads();
  return {sums, 1};
}

template <class Tile, class Storage, class Row, class At, class Meanwhile = Nothing>
__device__ __forceinline__ Sums<Tile> product(Tile, int rows, Row row, At at, const Storage* W,
                                              int depth, int stride, int columns,
                                              Meanwhile meanwhile = {}) {
  constexpr int G = Tile::kMatrices, kDepth = Tile::kDepth, kPieces = kDepth / 8;
  constexpr int kTeamThreads = kProductThreads / Tile::kTeams, kRowStep = kTeamThreads / kPieces;
  constexpr int kXCopies = Tile::kRows / kRowStep, kWCopies = G * Tile::kColumns / kRowStep;
  constexpr int kRowBlocks = Tile::kWarpRows / 16, kColumnBlocks = Tile::kWarpColumns / 16;
  const int lane = threadIdx.x % 32, team = threadIdx.x / kTeamThreads;
  const int warp = threadIdx.x % kTeamThreads / 32;
  const int m0 = warp / Tile::kColumnWarps * Tile::kWarpRows;
  const int n0 = warp % Tile::kColumnWarps * Tile::kWarpColumns;
  Storage* stages = dynamic_shared<Storage>() + team * Tile::kStages * Tile::kStage;

  const int chunks = (depth + kDepth - 1) / kDepth, quarter = (chunks + kQuarters - 1) / kQuarters;
  const int begin = Tile::kTeams == 1 ? 0 : team * quarter;
  const int end = Tile::kTeams == 1 ? chunks : min(begin + quarter, chunks);

  // A stage holds rows of x, then of W, 128 bytes each; piece p of row r lies at p ^ (r % 8), so
  // that eight rows of a piece, which ldmatrix reads at once, lie in other banks.
  const auto place = [](int r, int piece) { return r * kDepth + (piece ^ r % 8) * 8; };
  const int copied = threadIdx.x % kTeamThreads / kPieces, piece = threadIdx.x % kPieces;
  decltype(row(0)) x[kXCopies];
#pragma unroll
  for (int i = 0; i < kXCopies; ++i) x[i] = row(min(copied + i * kRowStep, rows - 1));
  const auto fill = [&](int chunk) {
    if (chunk < end) {
      Storage* stage = stages + (chunk - begin) % Tile::kStages * Tile::kStage;
      const int k = chunk * kDepth + piece * 8;
#pragma unroll
      for (int i = 0; i < kXCopies; ++i) {
        const int m = copied + i * kRowStep;
        const bool inside = m < rows && k < depth;
        copy_async(stage + place(m, piece), at(x[i], inside ? k : 0), inside);
      }
#pragma unroll
      for (int i = 0; i < kWCopies; ++i) {
        const int r = copied + i * kRowStep, g = r / Tile::kColumns, n = r % Tile::kColumns;
        const bool inside = n < columns && k < depth;
        const Storage* w = W + (static_cast<size_t>(g) * stride + n) * depth + k;
        copy_async(stage + place(Tile::kRows + r, piece), inside ? w : W, inside);
      }
    }
    commit_copies();
  };

  float part[kRowBlocks][2 * G * kColumnBlocks][4] = {};
  float sum[kRowBlocks][2 * G * kColumnBlocks][4] = {};
#pragma unroll
  for (int i = 0; i < Tile::kStages - 1; ++i) fill(begin + i);
  meanwhile();
  int left = quarter;
  for (int chunk = begin; chunk < end; ++chunk) {
    wait_copies<Tile::kStages - 2>();
    if constexpr (Tile::kTeams == 1)  // all have copied this stage, and none reads the one before
      __syncthreads();
    else
      __syncwarp();
    fill(chunk + Tile::kStages - 1);
    const Storage* stage = stages + (chunk - begin) % Tile::kStages * Tile::kStage;
#pragma unroll
    for (int k = 0; k < kPieces; k += 2) {
      uint32_t a[kRowBlocks][4];
#pragma unroll
      for (int i = 0; i < kRowBlocks; ++i)
        ldmatrix_x4(a[i], stage + place(m0 + i * 16 + lane % 16, k + lane / 16));
#pragma unroll
      for (int j = 0; j < G * kColumnBlocks; ++j) {
        const int n = j / kColumnBlocks * Tile::kColumns + n0 + j % kColumnBlocks * 16;
        uint32_t b[4];  // of columns n to n + 7, and n + 8 to n + 15
        ldmatrix_x4(b, stage + place(Tile::kRows + n + lane / 16 * 8 + lane % 8, k + lane / 8 % 2));
#pragma unroll
        for (int i = 0; i < kRowBlocks; ++i) {
          mma_m16n8k16<Storage>(part[i][2 * j], a[i], {b[0], b[1]});
          mma_m16n8k16<Storage>(part[i][2 * j + 1], a[i], {b[2], b[3]});
        }
      }
    }
    if (Tile::kTeams == 1 && (--left == 0 || chunk + 1 == end)) {
      left = quarter;
#pragma unroll
      for (int i = 0; i < kRowBlocks; ++i)
#pragma unroll
        for (int j = 0; j < 2 * G * kColumnBlocks; ++j)
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            sum[i][j][c] += part[i][j][c];
            part[i][j][c] = 0;
          }
    }
  }

  __syncthreads();
  float* sums = dynamic_shared<float>();
#pragma unroll
  for (int i = 0; i < kRowBlocks; ++i)
#pragma unroll
    for (int j = 0; j < 2 * G * kColumnBlocks; ++j)
#pragma unroll
      for (int c = 0; c < 4; c += 2) {
        const int m = m0 + i * 16 + c / 2 * 8 + lane / 4, block = j / 2;
        const int n = block / kColumnBlocks * Tile::kColumns + n0 + block % kColumnBlocks * 16 +
                      j % 2 * 8 + lane % 4 * 2;
        const float (&own)[4] = Tile::kTeams == 1 ? sum[i][j] : part[i][j];
        *reinterpret_cast<float2*>(sums + (team * Tile::kRows + m) * Tile::kPitch + n) =
            make_float2(own[c], own[c + 1]);
      }
  __syncthreads();
  return {sums, Tile::kTeams == 1 ? 1 : (chunks + quarter - 1) / quarter};
}

// Calls launch_as(Tile) with the shape for `rows` x `columns` of G matrices: wide where that gives
// a quarter of the multiprocessors work; half of them for three matrices, since gates follow those.
template <class Storage, int G, class Launch>
cudaError_t choose_tile(int rows, int columns, Launch launch_as) {
  if constexpr (std::is_same_v<Storage, float>) {
    return launch_as(FmaTile<G>{});
  } else {
    const dim3 grid = WideTile<G>::grid(rows, columns);
    const bool wide = grid.x > 1 && grid.x * grid.y >= (G == 1 ? 32 : 64);
    return wide ? launch_as(WideTile<G>{}) : launch_as(NarrowTile<G>{});
  }
}

// The states as products read them: rounded to the storage type, [2, N, Hp].
template <class Storage>
__device__ __forceinline__ Storage* state_operand(const Workspace<Storage>& space) {
  if constexpr (std::is_same_v<Storage, float>)
    return space.h;
  else
    return space.h_narrow;
}

template <class Storage>
__device__ __forceinline__ void store_state(const Workspace<Storage>& space, size_t at, float h) {
  space.h[at] = h;
  if constexpr (!std::is_same_v<Storage, float>) space.h_narrow[at] = from_float<Storage>(h);
}

}  // namespace khmer_fast
