#include "cpu/convolutions_cpu.h"

#include <algorithm>
#include <cmath>

#include "cpu/pack.h"

namespace khmer_fast {
namespace {

constexpr int64_t kTiles = 32;  // that go through the products together: V and M stay in the L2

// The weights' transform of F(4, 3) (Lavin and Gray 2016), from the points 0, +-a, +-b, infinity;
// the other two are in encoder_loops.h. With a = 1/b = sqrt(1/2) float32 loses less than with 1, 2.
void transform_weights(const double w[3], double U[6]) {
  const double a = std::sqrt(0.5), b = std::sqrt(2.0);
  const double points[5] = {0, a, -a, b, -b};
  const double scale[5] = {1, -1.5, -1.5, 6, 6};  // products of the differences of the points
  for (int j = 0; j < 5; ++j) {
    const double p = points[j];
    U[j] = (w[0] + p * w[1] + p * p * w[2]) / scale[j];
  }
  U[5] = w[2];
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
  if (!layer.transformed()) {
    layer.W = Buffer(9 * C * N);
    Buffer plain(9 * C * N);
    plain.zero();
    for (int64_t dx = 0; dx < 3; ++dx)
      for (int64_t dy = 0; dy < 3; ++dy)
        for (int64_t c = 0; c < inputs; ++c)
          for (int64_t o = 0; o < outputs; ++o)
            plain.data()[((dx * 3 + dy) * C + c) * N + o] = tap(o, c, dy, dx);
    pack_transposed(plain.data(), N, 9 * C, N, kernels.panel, layer.W.data());
  } else {
    layer.W = Buffer(6 * 3 * C * N);
    Buffer plain(6 * 3 * C * N);
    plain.zero();
    for (int64_t dy = 0; dy < 3; ++dy)
      for (int64_t c = 0; c < inputs; ++c)
        for (int64_t o = 0; o < outputs; ++o) {
          const double w[3] = {tap(o, c, dy, 0), tap(o, c, dy, 1), tap(o, c, dy, 2)};
          double U[6];
          transform_weights(w, U);
          for (int64_t j = 0; j < 6; ++j)
            plain.data()[((j * 3 + dy) * C + c) * N + o] = static_cast<float>(U[j]);
        }
    for (int64_t j = 0; j < 6; ++j)
      pack_transposed(plain.data() + j * 3 * C * N, N, 3 * C, N, kernels.panel,
                      layer.W.data() + j * 3 * C * N);
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
  const int64_t C = layer.depth(), N = layer.width(), column = layer.column_in();
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
      for (int64_t n = 0; n < N; n += kernels.panel) {
        const int64_t w = std::min(kernels.panel, N - n);
        const float* W = layer.W.data() + j * 3 * C * N + n * 3 * C;
        for (int64_t y = 0; y < layer.rows; ++y) {
          // The rows of zeros above and below are left out.
          const int64_t top = y * layer.stride_y, skip = top == 0;
          const int64_t taps = std::min<int64_t>(3, layer.height + 1 - top) - skip;
          kernels.gemm(count, w, taps * C, V + j * count * column + (top + skip) * C, column,
                       W + skip * C * w, nullptr, M + j * count * row + y * N + n, row);
        }
      }
    for (int64_t i = 0; i < count; ++i) {
      const int64_t x = 4 * (first + i), valid = std::min<int64_t>(4, X - x);
      float* to = out + x * layer.column_out() + N;
      kernels.winograd_output(row, M + i * row, count * row, layer.bias.data(),
                              add ? add + x * layer.column_out() + N : nullptr, to,
                              layer.column_out(), valid);
    }
  }
}

void Convolutions::run(const float* image, int64_t ld, int64_t X, float* out,
                       ConvBuffers& buffers) const {
  // 1. the image by columns
  const int64_t column = height_ + 2;
  buffers.image.reserve(X * column);
  for (int64_t x = 0; x < X; ++x) {
    float* to = buffers.image.data() + x * column;
    to[0] = to[column - 1] = 0;
    for (int64_t y = 0; y < height_; ++y) to[y + 1] = image[y * ld + x];
  }
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
