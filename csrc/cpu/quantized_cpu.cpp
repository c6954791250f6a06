#include "cpu/quantized_cpu.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/pack.h"

namespace khmer_fast {
namespace {

constexpr int64_t kTiles = 32;  // that go through the products together, see convolutions_cpu.cpp
constexpr float kLevels = 255;
constexpr float kCentre = 128;         // the level of a state of 0
constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds, ties to even

Buffer padded_copy(const float* x, int64_t n) {
  Buffer out = zeros(padded(n));
  std::copy_n(x, n, out.data());
  return out;
}

}  // namespace

QuantizedFeatures::QuantizedFeatures(int64_t height, const std::vector<ConvStage>& stages,
                                     int64_t F, int64_t H, const QuantizedWeights& weights,
                                     const Kernels& kernels)
    : height_(height), F_(F), Fp_(padded(F)), Hp_(padded(H)), kernels_(kernels) {
  int64_t inputs = 1, rows = height;
  auto next = weights.convs.begin();
  const auto add = [&](int64_t outputs, int64_t stride_y, int64_t stride_x) {
    const bool first = convs_.empty();
    const int64_t C = first ? 1 : padded(inputs), N = padded(outputs);
    Conv layer{C,  N,  rows, (rows - 1) / stride_y + 1, stride_y, stride_x, {}, {}, {}, {},
               {}, {}, {}};
    if (first) {
      std::vector<float> W(outputs * 9);
      for (int64_t o = 0; o < outputs; ++o)
        for (int64_t tap = 0; tap < 9; ++tap)
          W[o * 9 + tap % 3 * 3 + tap / 3] = weights.first_W[o * 9 + tap];  // by (dx, dy)
      first_W_ = Buffer(9 * N);
      pack(W.data(), outputs, 9, 9, kernels.panel, first_W_.data());
      first_multiplier_ = zeros(layer.rows * N);
      first_bias_ = zeros(layer.rows * N);
      for (int64_t y = 0; y < layer.rows; ++y) {
        std::copy_n(next->multiplier, outputs, first_multiplier_.data() + y * N);
        std::copy_n(next->bias, outputs, first_bias_.data() + y * N);
      }
    } else {
      std::vector<int8_t> W(outputs * 9 * C);  // by (dy, dx, c)
      for (int64_t o = 0; o < outputs; ++o)
        for (int64_t c = 0; c < inputs; ++c)
          for (int64_t tap = 0; tap < 9; ++tap)
            W[(o * 9 + tap) * C + c] = next->W[(o * inputs + c) * 9 + tap];
      layer.product = pack_dense(W, outputs, 9 * C, *next);
      if (next->residual) layer.residual = padded_copy(next->residual, outputs);
      for (int64_t k = 0; k < 9 * C; k += kernels.int8->depth) {
        const int64_t dy = k / (3 * C), dx = k / C % 3;
        layer.offset.push_back(static_cast<int32_t>(dx * layer.column_in() + dy * C + k % C));
      }
      pack_transformed(layer, inputs, outputs, *next);
    }
    inputs = outputs;
    rows = layer.rows;
    convs_.push_back(std::move(layer));
    ++next;
  };
  for (const auto& [channels, stride_y, stride_x, blocks] : stages) {
    add(channels, stride_y, stride_x);
    for (int64_t i = 0; i < 2 * blocks; ++i) add(channels, 1, 1);
  }
  const int64_t N = padded(inputs);
  std::vector<int8_t> W(F * rows * N);
  for (int64_t f = 0; f < F; ++f)
    for (int64_t y = 0; y < rows; ++y)
      std::copy_n(weights.project.W + (f * rows + y) * inputs, inputs, &W[(f * rows + y) * N]);
  project_ = pack_dense(W, F, rows * N, weights.project);
  norm_gain_.assign(weights.norm_gain, weights.norm_gain + F);
  norm_bias_.assign(weights.norm_bias, weights.norm_bias + F);
  norm_gain_.resize(Fp_);
  norm_bias_.resize(Fp_);
  for (int d = 0; d < 2; ++d) {
    gates_[d] = pack_gates(H, F, weights.gates[d]);
    hidden_[d] = pack_gates(H, H, weights.hidden[d]);
  }
}

QuantizedFeatures::Dense QuantizedFeatures::pack_dense(const std::vector<int8_t>& W, int64_t N,
                                                       int64_t K,
                                                       const QuantizedLayer& layer) const {
  Dense dense{K, padded(N), Buffer(padded(N) * K / kernels_.int8->depth), {}, {}};
  pack_int8(W.data(), N, K, K, kernels_.panel, kernels_.int8->depth, dense.W.data());
  dense.multiplier = padded_copy(layer.multiplier, N);
  dense.bias = padded_copy(layer.bias, N);
  return dense;
}

QuantizedFeatures::Dense QuantizedFeatures::pack_gates(int64_t H, int64_t K,
                                                       const QuantizedLayer& layer) const {
  const int64_t Kp = padded(K);
  std::vector<int8_t> W(3 * Hp_ * Kp);
  std::vector<float> multiplier(3 * Hp_), bias(3 * Hp_);
  for (int64_t i = 0; i < 3 * H; ++i) {
    const int64_t to = i / H * Hp_ + i % H;
    std::copy_n(layer.W + i * K, K, &W[to * Kp]);
    multiplier[to] = layer.multiplier[i];
    bias[to] = layer.bias[i];
  }
  return pack_dense(W, 3 * Hp_, Kp, {nullptr, multiplier.data(), bias.data(), nullptr});
}

int64_t QuantizedFeatures::positions(int64_t X) const {
  for (const Conv& layer : convs_) X = (X - 1) / layer.stride_x + 1;
  return X;
}

bool QuantizedFeatures::take_image(const float* image, int64_t ld, int64_t X, Buffer& out) const {
  const int64_t column = height_ + 2;
  out.reserve((X + 2) * column);
  out.zero();
  bool finite = true;
  for (int64_t x = 0; x < X; x += kLanes)  // a few columns at a time: they stay in the L1
    for (int64_t y = 0; y < height_; ++y)
      for (int64_t i = x; i < std::min(x + kLanes, X); ++i) {
        const float value = image[y * ld + i];
        finite &= std::fabs(value) <= std::numeric_limits<float>::max();
        const float level = std::min(1.0f, std::max(0.0f, value)) * kLevels;
        out.data()[(i + 1) * column + y + 1] = (level + kMagic) - kMagic;
      }
  return finite;
}

void QuantizedFeatures::clear_borders(const Conv& layer, int64_t columns, Buffer& out) const {
  const int64_t column = layer.column_out(), N = layer.width;
  const auto clear = [&](int64_t i, int64_t n) {
    std::memset(at(out, i), 0, static_cast<size_t>(n * 4 / kernels_.int8->depth));
  };
  clear(0, column);
  for (int64_t x = 1; x <= columns; ++x) {
    clear(x * column, N);
    clear((x + 1) * column - N, N);
  }
  clear((columns + 1) * column, column);
}

// In float32, which holds these sums exactly: 9 products of at most 255 * 4095.
void QuantizedFeatures::first(int64_t X, Buffer& out, QuantizedBuffers& buffers) const {
  const Conv& layer = convs_[0];
  const int64_t N = layer.width, rows = layer.rows, columns = (X - 1) / layer.stride_x + 1;
  buffers.patches.reserve(rows * 9);
  buffers.products.reserve(rows * N);
  for (int64_t x = 0; x < columns; ++x) {
    for (int64_t dx = 0; dx < 3; ++dx) {
      const float* from = buffers.image.data() + (x * layer.stride_x + dx) * (height_ + 2);
      float* to = buffers.patches.data() + dx * 3;
      for (int64_t y = 0; y < rows; ++y)
        for (int64_t dy = 0; dy < 3; ++dy) to[y * 9 + dy] = from[y * layer.stride_y + dy];
    }
    kernels_.gemm(rows, N, 9, buffers.patches.data(), 9, first_W_.data(), nullptr,
                  buffers.products.data(), N);
    kernels_.int8->to_wholes(rows * N, buffers.products.data(), first_multiplier_.data(),
                             first_bias_.data(), at(out, (x + 1) * layer.column_out() + N));
  }
}

void QuantizedFeatures::convolve(const Conv& layer, int64_t X, Buffer& in, Buffer& out) const {
  const int64_t columns = (X - 1) / layer.stride_x + 1, C = layer.depth, N = layer.width;
  for (int64_t n = 0; n < N; n += kernels_.panel) {
    const int64_t w = std::min(kernels_.panel, N - n);
    for (int64_t y = 0; y < layer.rows; ++y) {
      // The rows of zeros above and below are left out.
      const int64_t top = y * layer.stride_y, skip = top == 0;
      const int64_t taps = std::min<int64_t>(3, layer.height + 1 - top) - skip;
      kernels_.int8->convolve(columns, w, taps * 3 * C, at(in, top * C),
                              layer.stride_x * layer.column_in(),
                              layer.offset.data() + skip * 3 * C / kernels_.int8->depth,
                              at(layer.product.W, n * 9 * C + skip * 3 * C * w),
                              layer.product.multiplier.data() + n, layer.product.bias.data() + n,
                              layer.residual.data() ? layer.residual.data() + n : nullptr,
                              at(out, layer.column_out() + (y + 1) * N + n), layer.column_out());
    }
  }
}

void QuantizedFeatures::pack_transformed(Conv& layer, int64_t inputs, int64_t outputs,
                                         const QuantizedLayer& weights) const {
  const int64_t C = layer.depth, N = layer.width;
  if (!kernels_.int8->winograd_input || layer.stride_x != 1) return;
  int64_t most = 0;  // the largest sum of an output's weights of one sign
  for (int64_t o = 0; o < outputs; ++o) {
    int64_t sum[2] = {};
    for (int64_t i = 0; i < 9 * inputs; ++i)
      sum[weights.W[o * 9 * inputs + i] < 0] += std::abs(weights.W[o * 9 * inputs + i]);
    most = std::max({most, sum[0], sum[1]});
  }
  const auto fits = [&](int64_t times) {
    return most * 255 * times <= std::numeric_limits<int32_t>::max();
  };
  if (!fits(24)) return;
  layer.times = layer.stride_y == 1 && layer.rows % 3 == 0 && fits(144) ? 144 : 24;
  const int64_t rows = layer.times == 144 ? 5 : 3, K = rows == 5 ? C : 3 * C;
  std::vector<int16_t> U(6 * rows * N * C);  // [6, 5][N, C] or [6][N, 3 C]
  for (int64_t o = 0; o < outputs; ++o)
    for (int64_t c = 0; c < inputs; ++c) {
      int u[6][3];  // 24 times the weights, along x
      for (int64_t dy = 0; dy < 3; ++dy) {
        const int8_t* w = weights.W + ((o * inputs + c) * 3 + dy) * 3;
        const int even = w[0] + w[2], far = w[0] + 4 * w[2];
        const int along_x[6] = {6 * w[0],       -4 * (even + w[1]), -4 * (even - w[1]),
                                far + 2 * w[1], far - 2 * w[1],     24 * w[2]};
        for (int64_t j = 0; j < 6; ++j) u[j][dy] = along_x[j];
      }
      for (int64_t j = 0; j < 6; ++j) {
        const auto [top, middle, bottom] = u[j];
        if (rows == 3) {
          for (int64_t dy = 0; dy < 3; ++dy)
            U[((j * N + o) * 3 + dy) * C + c] = static_cast<int16_t>(u[j][dy]);
          continue;
        }
        const int along_y[5] = {3 * top, -3 * (top + middle + bottom), -(top - middle + bottom),
                                top + 2 * middle + 4 * bottom, 6 * bottom};
        for (int64_t k = 0; k < 5; ++k)
          U[((j * 5 + k) * N + o) * C + c] = static_cast<int16_t>(along_y[k]);
      }
    }
  layer.transformed = Buffer(6 * rows * N * C / 2);
  int16_t* packed = reinterpret_cast<int16_t*>(layer.transformed.data());
  for (int64_t j = 0; j < 6 * rows * C / K; ++j)
    pack_int16(U.data() + j * N * K, N, K, K, kernels_.panel, packed + j * N * K);
  const auto by_rows = [&](const Buffer& from, Buffer& to) {
    if (!from.data()) return;
    to = Buffer(layer.rows * N);
    for (int64_t y = 0; y < layer.rows; ++y) std::copy_n(from.data(), N, to.data() + y * N);
  };
  by_rows(layer.product.multiplier, layer.multipliers);
  by_rows(layer.product.bias, layer.biases);
  by_rows(layer.residual, layer.residuals);
}

void QuantizedFeatures::winograd(const Conv& layer, int64_t X, Buffer& in, Buffer& out,
                                 QuantizedBuffers& buffers) const {
  const int64_t N = layer.width, column = layer.column_in();
  const int64_t row = layer.rows * N, tiles = (X + 3) / 4;
  const int64_t chunks = (tiles + kTiles - 1) / kTiles;
  buffers.V.reserve(floats(6 * kTiles * column));
  buffers.sums.reserve(6 * kTiles * row);
  int32_t* sums = reinterpret_cast<int32_t*>(buffers.sums.data());
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t first = tiles * chunk / chunks, count = tiles * (chunk + 1) / chunks - first;
    for (int64_t i = 0; i < count; ++i) {
      const void* columns[6];
      for (int64_t k = 0; k < 6; ++k) {
        const int64_t x = 4 * (first + i) + k;  // column 0 is one of zeros
        columns[k] = at(in, x > X ? 0 : x * column);
      }
      kernels_.int8->winograd_input(column, columns, at(buffers.V, i * column), count * column);
    }
    for (int64_t j = 0; j < 6; ++j)
      if (layer.times == 144)
        multiply_rows(layer, j, count, at(buffers.V, j * count * column), sums + j * count * row,
                      buffers);
      else
        multiply(layer, j, count, at(buffers.V, j * count * column), sums + j * count * row);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t x = 4 * (first + i);
      kernels_.int8->winograd_output(
          row, sums + i * row, count * row, layer.times, layer.multipliers.data(),
          layer.biases.data(), layer.residuals.data(), at(out, (x + 1) * layer.column_out() + N),
          layer.column_out(), std::min<int64_t>(4, X - x));
    }
  }
}

void QuantizedFeatures::multiply(const Conv& layer, int64_t j, int64_t count, const void* V,
                                 int32_t* sums) const {
  const int64_t C = layer.depth, N = layer.width;
  const int16_t* U = reinterpret_cast<const int16_t*>(layer.transformed.data()) + j * N * 3 * C;
  for (int64_t n = 0; n < N; n += kernels_.panel) {
    const int64_t w = std::min(kernels_.panel, N - n);
    for (int64_t y = 0; y < layer.rows; ++y) {
      // The rows of zeros above and below are left out.
      const int64_t top = y * layer.stride_y, skip = top == 0;
      const int64_t taps = std::min<int64_t>(3, layer.height + 1 - top) - skip;
      kernels_.int8->sums(count, w, taps * C, static_cast<const int16_t*>(V) + (top + skip) * C,
                          layer.column_in(), U + n * 3 * C + skip * C * w, sums + y * N + n,
                          layer.rows * N);
    }
  }
}

void QuantizedFeatures::multiply_rows(const Conv& layer, int64_t j, int64_t count, const void* V,
                                      int32_t* sums, QuantizedBuffers& buffers) const {
  const int64_t C = layer.depth, N = layer.width, tiles = layer.rows / 3, places = count * tiles;
  buffers.row_V.reserve(floats(5 * places * C));
  buffers.row_sums.reserve(5 * places * N);
  const int16_t* U = reinterpret_cast<const int16_t*>(layer.transformed.data()) + j * 5 * N * C;
  int32_t* row_sums = reinterpret_cast<int32_t*>(buffers.row_sums.data());
  for (int64_t i = 0; i < count; ++i)
    kernels_.int8->winograd_rows_input(tiles, C,
                                       static_cast<const int16_t*>(V) + i * layer.column_in(),
                                       at(buffers.row_V, i * tiles * C), places * C);
  for (int64_t k = 0; k < 5; ++k)
    kernels_.int8->sums(places, N, C, at(buffers.row_V, k * places * C), C, U + k * N * C,
                        row_sums + k * places * N, N);
  for (int64_t i = 0; i < count; ++i)
    kernels_.int8->winograd_rows_output(tiles, N, row_sums + i * tiles * N, places * N,
                                        sums + i * layer.rows * N);
}

bool QuantizedFeatures::run(const float* image, int64_t ld, int64_t X, void* levels,
                            QuantizedBuffers& buffers) const {
  const int64_t T = positions(X);
  if (!take_image(image, ld, X, buffers.image)) {
    std::memset(levels, 0, static_cast<size_t>(T * Fp_ * 4 / kernels_.int8->depth));
    return false;
  }
  int64_t width = X, widest = 0;
  for (const Conv& layer : convs_) {
    width = (width - 1) / layer.stride_x + 1;
    widest = std::max(widest, (width + 2) * layer.column_out());
  }
  buffers.x.reserve(floats(widest));
  buffers.next.reserve(floats(widest));
  Buffer *in = &buffers.x, *out = &buffers.next;
  for (const Conv& layer : convs_) {
    // The second half of a block adds to, and writes over, what the block began with.
    if (&layer == &convs_[0])
      first(X, *out, buffers);
    else if (layer.transformed.data())
      winograd(layer, X, *in, *out, buffers);
    else
      convolve(layer, X, *in, *out);
    X = (X - 1) / layer.stride_x + 1;
    clear_borders(layer, X, *out);
    std::swap(in, out);
  }

  const Conv& last = convs_.back();
  buffers.feature.reserve(T * Fp_);
  float* feature = buffers.feature.data();
  kernels_.int8->gemm(T, Fp_, project_.K, at(*in, last.column_out() + last.width),
                      last.column_out(), project_.W.data(), project_.multiplier.data(),
                      project_.bias.data(), feature, Fp_);
  for (int64_t t = 0; t < T; ++t)
    kernels_.int8->normalise(F_, feature + t * Fp_, norm_gain_.data(), norm_bias_.data());
  kernels_.int8->to_wholes(T * Fp_, feature, nullptr, nullptr, levels);
  return true;
}

void QuantizedFeatures::input(int direction, int64_t rows, const void* levels, float* out) const {
  const Dense& layer = gates_[direction];
  kernels_.int8->gemm(rows, layer.N, layer.K, levels, Fp_, layer.W.data(), layer.multiplier.data(),
                      layer.bias.data(), out, layer.N);
}

void QuantizedFeatures::begin(int64_t lines, Buffer& level) const {
  level.reserve(floats(lines * Hp_));
  const std::vector<float> centre(lines * Hp_, kCentre);
  kernels_.int8->to_wholes(lines * Hp_, centre.data(), nullptr, nullptr, at(level, 0));
}

void QuantizedFeatures::recurrent(int direction, int64_t lines, const Buffer& level,
                                  Buffer& hidden) const {
  const Dense& layer = hidden_[direction];
  kernels_.int8->gemm(lines, layer.N, layer.K, at(level, 0), Hp_, layer.W.data(),
                      layer.multiplier.data(), layer.bias.data(), hidden.data(), layer.N);
}

}  // namespace khmer_fast
