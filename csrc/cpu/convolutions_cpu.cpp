#include "cpu/convolutions_cpu.h"

#include <algorithm>
#include <array>

#include "cpu/pack.h"

namespace khmer_fast {
namespace {

constexpr int64_t kTiles = 24;  // that go through the products together: V and M stay in the L2

// Points of F(4, 3) along x and of F(3, 3) along y (Lavin and Gray 2016), infinity after them;
// encoder_loops.h has the transforms. With 1/sqrt(2) and sqrt(2) float32 loses less than with 1 and
// 2; the four of F(3, 3) without 0 lose hardly more than direct products.
constexpr double kRoot = 1.4142135623730951;
constexpr std::array<double, 5> kPointsX = {0, 1 / kRoot, -1 / kRoot, kRoot, -kRoot};
constexpr std::array<double, 4> kPointsY = {0.5, -0.5, 1.5, -1.5};

// Three taps at the points and at infinity.
template <size_t n>
std::array<double, n + 1> transform(const std::array<double, n>& points, double w0, double w1,
                                    double w2) {
  std::array<double, n + 1> U;
  for (size_t j = 0; j < n; ++j) {
    const double p = points[j];
    double scale = 1;
    for (double other : points)
      if (other != p) scale *= p - other;
    U[j] = (w0 + p * w1 + p * p * w2) / scale;
  }
  U[n] = w2;
  return U;
}

void clear_borders(float* columns, int64_t X, int64_t column, int64_t depth) {
  for (int64_t x = 0; x < X; ++x) {
    float* c = columns + x * column;
    std::fill_n(c, depth, 0.0f);
    std::fill_n(c + column - depth, depth, 0.0f);
  }
}

}  // namespace

Convolutions::Convolutions(int64_t height, const std::vector<ConvStage>& stages,
                           const std::vector<ConvWeights>& weights, const Kernels& kernels)
    : kernels(kernels), height_(height) {
  int64_t inputs = 1;
  auto next = weights.begin();
  for (const auto& [channels, stride_y, stride_x, blocks] : stages) {
    layers_.push_back(pack_layer(inputs, channels, height, stride_y, stride_x, false, *next++));
    height = layers_.back().rows;
    for (int64_t i = 0; i < 2 * blocks; ++i)
      layers_.push_back(pack_layer(channels, channels, height, 1, 1, i % 2 == 1, *next++));
    inputs = channels;
  }
}

Convolutions::Layer Convolutions::pack_layer(int64_t inputs, int64_t outputs, int64_t height,
                                             int64_t stride_y, int64_t stride_x, bool residual,
                                             const ConvWeights& weights) const {
  Layer layer{inputs,   outputs,  height,          (height - 1) / stride_y + 1,
              stride_y, stride_x, layers_.empty(), residual,
              {},       {}};
  const int64_t C = layer.depth(), N = layer.width();
  const auto tap = [&](int64_t o, int64_t c, int64_t dy, int64_t dx) {
    return weights.W[((o * inputs + c) * 3 + dy) * 3 + dx];
  };
  // Matrices [K, N] of `plain`, packed one after another.
  const auto pack_all = [&](int64_t matrices, int64_t K, const Buffer& plain) {
    layer.W = Buffer(matrices * K * N);
    for (int64_t j = 0; j < matrices; ++j)
      pack_transposed(plain.data() + j * K * N, N, K, N, kernels.panel, layer.W.data() + j * K * N);
  };
  if (!layer.transformed()) {
    Buffer plain = zeros(9 * C * N);
    for (int64_t dx = 0; dx < 3; ++dx)
      for (int64_t dy = 0; dy < 3; ++dy)
        for (int64_t c = 0; c < inputs; ++c)
          for (int64_t o = 0; o < outputs; ++o)
            plain.data()[((dx * 3 + dy) * C + c) * N + o] = tap(o, c, dy, dx);
    pack_all(1, 9 * C, plain);
  } else {
    const int64_t rows = layer.rows_transformed() ? 5 : 3;
    Buffer plain = zeros(6 * rows * C * N);
    for (int64_t c = 0; c < inputs; ++c)
      for (int64_t o = 0; o < outputs; ++o) {
        std::array<double, 6> U[3];  // by dy
        for (int64_t dy = 0; dy < 3; ++dy)
          U[dy] = transform(kPointsX, tap(o, c, dy, 0), tap(o, c, dy, 1), tap(o, c, dy, 2));
        const auto put = [&](int64_t matrix, double value) {
          plain.data()[(matrix * C + c) * N + o] = static_cast<float>(value);
        };
        for (int64_t j = 0; j < 6; ++j)
          if (rows == 5) {
            const auto both = transform(kPointsY, U[0][j], U[1][j], U[2][j]);
            for (int64_t i = 0; i < 5; ++i) put(j * 5 + i, both[i]);
          } else {
            for (int64_t dy = 0; dy < 3; ++dy) put(j * 3 + dy, U[dy][j]);
          }
      }
    if (rows == 5)
      pack_all(6 * 5, C, plain);
    else
      pack_all(6, 3 * C, plain);
  }
  layer.bias = Buffer(layer.rows * N);
  layer.bias.zero();
  for (int64_t y = 0; y < layer.rows; ++y)
    std::copy_n(weights.b, outputs, layer.bias.data() + y * N);
  return layer;
}

int64_t Convolutions::positions(int64_t X) const {
  for (const Layer& layer : layers_) X = (X - 1) / layer.stride_x + 1;
  return X;
}

void Convolutions::direct(const Layer& layer, const float* in, int64_t X, const float* add,
                          float* out, ConvBuffers& buffers) const {
  const int64_t C = layer.depth(), N = layer.width(), column = layer.column_in();
  const int64_t columns = (X - 1) / layer.stride_x + 1;
  buffers.patches.reserve(layer.rows * 9 * C);
  buffers.M.reserve(layer.rows * N);
  float *patches = buffers.patches.data(), *products = buffers.M.data();
  for (int64_t x = 0; x < columns; ++x) {
    for (int64_t dx = 0; dx < 3; ++dx) {
      const int64_t at = x * layer.stride_x + dx - 1;
      const float* from = at < 0 || at >= X ? buffers.zeros.data() : in + at * column;
      if (C == 1) {  // three floats are no call of memmove
        for (int64_t y = 0; y < layer.rows; ++y)
          for (int64_t dy = 0; dy < 3; ++dy)
            patches[(y * 3 + dx) * 3 + dy] = from[y * layer.stride_y + dy];
        continue;
      }
      for (int64_t y = 0; y < layer.rows; ++y)
        std::copy_n(from + y * layer.stride_y * C, 3 * C, patches + (y * 3 + dx) * 3 * C);
    }
    const int64_t at = x * layer.column_out() + N;
    kernels.gemm(layer.rows, N, 9 * C, patches, 9 * C, layer.W.data(), layer.bias.data(), products,
                 N);
    for (int64_t i = 0; i < layer.rows * N; ++i) {
      const float total = add ? products[i] + add[at + i] : products[i];
      out[at + i] = total < 0 ? 0.0f : total;
    }
  }
}

void Convolutions::winograd(const Layer& layer, const float* in, int64_t X, const float* add,
                            float* out, ConvBuffers& buffers) const {
  const int64_t N = layer.width(), column = layer.column_in();
  const int64_t row = layer.rows * N, tiles = (X + 3) / 4;
  const int64_t chunks = (tiles + kTiles - 1) / kTiles;
  buffers.V.reserve(6 * kTiles * column);
  buffers.M.reserve(6 * kTiles * row);
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t first = tiles * chunk / chunks, count = tiles * (chunk + 1) / chunks - first;
    float *V = buffers.V.data(), *M = buffers.M.data();
    for (int64_t i = 0; i < count; ++i) {
      const float* columns[6];
      for (int64_t k = 0; k < 6; ++k) {
        const int64_t x = 4 * (first + i) + k - 1;
        columns[k] = x < 0 || x >= X ? buffers.zeros.data() : in + x * column;
      }
      kernels.winograd_input(column, columns, V + i * column, count * column);
    }
    for (int64_t j = 0; j < 6; ++j)
      if (layer.rows_transformed())
        multiply_rows(layer, j, count, V + j * count * column, M + j * count * row, buffers);
      else
        multiply(layer, j, count, V + j * count * column, M + j * count * row);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t x = 4 * (first + i), valid = std::min<int64_t>(4, X - x);
      float* to = out + x * layer.column_out() + N;
      kernels.winograd_output(row, M + i * row, count * row, layer.bias.data(),
                              add ? add + x * layer.column_out() + N : nullptr, to,
                              layer.column_out(), valid);
    }
  }
}

void Convolutions::multiply(const Layer& layer, int64_t j, int64_t count, const float* V,
                            float* M) const {
  const int64_t C = layer.depth(), N = layer.width();
  for (int64_t n = 0; n < N; n += kernels.panel) {
    const int64_t w = std::min(kernels.panel, N - n);
    const float* W = layer.W.data() + j * 3 * C * N + n * 3 * C;
    for (int64_t y = 0; y < layer.rows; ++y) {
      // The rows of zeros above and below are left out.
      const int64_t top = y * layer.stride_y, skip = top == 0;
      const int64_t taps = std::min<int64_t>(3, layer.height + 1 - top) - skip;
      kernels.gemm(count, w, taps * C, V + (top + skip) * C, layer.column_in(), W + skip * C * w,
                   nullptr, M + y * N + n, layer.rows * N);
    }
  }
}

void Convolutions::multiply_rows(const Layer& layer, int64_t j, int64_t count, const float* V,
                                 float* M, ConvBuffers& buffers) const {
  const int64_t C = layer.depth(), N = layer.width(), tiles = layer.rows / 3;
  const int64_t places = count * tiles;
  buffers.row_V.reserve(5 * places * C);
  buffers.row_M.reserve(5 * places * N);
  float *row_V = buffers.row_V.data(), *row_M = buffers.row_M.data();
  for (int64_t i = 0; i < count; ++i)
    kernels.winograd_rows_input(tiles, C, V + i * layer.column_in(), row_V + i * tiles * C,
                                places * C);
  for (int64_t k = 0; k < 5; ++k)
    kernels.gemm(places, N, C, row_V + k * places * C, C, layer.W.data() + (j * 5 + k) * C * N,
                 nullptr, row_M + k * places * N, N);
  for (int64_t i = 0; i < count; ++i)
    kernels.winograd_rows_output(tiles, N, row_M + i * tiles * N, places * N,
                                 M + i * layer.rows * N);
}

void Convolutions::run(const float* image, int64_t ld, int64_t X, float* out,
                       ConvBuffers& buffers) const {
  // 1. the image by columns, a few at a time: they stay in the L1
  const int64_t column = height_ + 2;
  buffers.image.reserve(X * column);
  for (int64_t x = 0; x < X; x += kLanes)
    for (int64_t y = 0; y < height_; ++y)
      for (int64_t i = x; i < std::min(x + kLanes, X); ++i)
        buffers.image.data()[i * column + y + 1] = image[y * ld + i];
  clear_borders(buffers.image.data(), X, column, 1);
  int64_t width = X, widest = 0, zeros = 0;
  for (const Layer& layer : layers_) {
    width = (width - 1) / layer.stride_x + 1;
    widest = std::max(widest, width * layer.column_out());
    zeros = std::max(zeros, layer.column_in());
  }
  buffers.x.reserve(widest);
  buffers.next.reserve(widest);
  buffers.zeros.reserve(zeros);
  buffers.zeros.zero();

  // 2. stages
  const float* in = buffers.image.data();
  float *x = buffers.x.data(), *next = buffers.next.data();
  for (const Layer& layer : layers_) {
    // The second half of a block adds to, and writes over, what the block began with.
    float* to = in == x ? next : x;
    if (layer.transformed())
      winograd(layer, in, X, layer.residual ? to : nullptr, to, buffers);
    else
      direct(layer, in, X, layer.residual ? to : nullptr, to, buffers);
    X = (X - 1) / layer.stride_x + 1;
    clear_borders(to, X, layer.column_out(), layer.width());
    in = to;
  }

  // 3. one vector a position
  const Layer& last = layers_.back();
  for (int64_t t = 0; t < X; ++t)
    for (int64_t y = 0; y < last.rows; ++y)
      std::copy_n(in + t * last.column_out() + (y + 1) * last.width(), last.outputs,
                  out + (t * last.rows + y) * last.outputs);
}

}  // namespace khmer_fast
