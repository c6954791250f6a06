// product() of every tile's shape, without the decoder.
#include "cuda/product.cuh"

using namespace khmer_fast;

// out [G, rows, columns] = x [rows, depth] W [G, columns, depth]^T
template <class Storage, class Tile, int G>
__global__ void product_kernel(const Storage* x, const Storage* W, float* out, int rows,
                               int columns, int depth) {
  const int first = blockIdx.x * Tile::kRows, n0 = blockIdx.y * Tile::kColumns;
  const auto row = [&](int m) { return x + static_cast<size_t>(first + m) * depth; };
  const auto at = [](const Storage* x, int k) { return x + k; };
  const auto sums = product(Tile{}, rows - first, row, at, W + static_cast<size_t>(n0) * depth,
                            depth, columns, columns - n0);
  const int count = min(rows - first, Tile::kRows) * Tile::kColumns;
  for (int i = threadIdx.x; i < count; i += kProductThreads) {
    const int m = i / Tile::kColumns, n = i % Tile::kColumns;
    float sum[G];
    sums.get(m, n, sum);
    for (int g = 0; g < G && n0 + n < columns; ++g)
      out[(static_cast<size_t>(g) * rows + first + m) * columns + n0 + n] = sum[g];
  }
}

template <class Storage, template <int> class Tile, int G>
int run(const void* x, const void* W, float* out, int rows, int columns, int depth) {
  using T = Tile<G>;
  return launch(product_kernel<Storage, T, G>, T::grid(rows, columns), kProductThreads, T::kShared,
                nullptr, static_cast<const Storage*>(x), static_cast<const Storage*>(W), out, rows,
                columns, depth);
}

// shape: 0 float32, 1 bfloat16 narrow, 2 bfloat16 wide, 3 float16 narrow, 4 float16 wide
template <int G>
int run_shape(int shape, const void* x, const void* W, float* out, int rows, int columns,
              int depth) {
  switch (shape) {
    case 0:
      return run<float, FmaTile, G>(x, W, out, rows, columns, depth);
    case 1:
      return run<__nv_bfloat16, NarrowTile, G>(x, W, out, rows, columns, depth);
    case 2:
      return run<__nv_bfloat16, WideTile, G>(x, W, out, rows, columns, depth);
    case 3:
      return run<__half, NarrowTile, G>(x, W, out, rows, columns, depth);
    default:
      return run<__half, WideTile, G>(x, W, out, rows, columns, depth);
  }
}

extern "C" int emulated_product(int shape, int G, const void* x, const void* W, float* out,
                                int rows, int columns, int depth) {
  return G == 1 ? run_shape<1>(shape, x, W, out, rows, columns, depth)
                : run_shape<3>(shape, x, W, out, rows, columns, depth);
}
