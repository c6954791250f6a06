#include "cpu/segmenter_cpu.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "cpu/pack.h"
#include "cpu/thread_pool.h"

namespace khmer_fast {
namespace {

constexpr int64_t kRowsTogether = 8;  // of stride 4, whose rows of stride 2 stay in the L2

constexpr int64_t half(int64_t n) { return (n + 1) / 2; }

// Runs work(row, scratch) for row < rows; each thread has a scratch of its own.
template <class Work>
void for_rows(int64_t rows, int threads, const Work& work) {
  std::atomic<int64_t> next{0};
  run_parallel(static_cast<int>(std::min<int64_t>(threads, rows)), [&] {
    Buffer scratch;
    for (int64_t row = next.fetch_add(1); row < rows; row = next.fetch_add(1)) work(row, scratch);
  });
}

// Where the taps of a pixel lie: (dy, dx, c) in ascending order.
std::vector<int32_t> offsets(int64_t rows, int64_t columns, int64_t channels, int64_t dy_step,
                             int64_t dx_step, int64_t c_step) {
  std::vector<int32_t> result;
  for (int64_t dy = 0; dy < rows; ++dy)
    for (int64_t dx = 0; dx < columns; ++dx)
      for (int64_t c = 0; c < channels; ++c)
        result.push_back(static_cast<int32_t>(dy * dy_step + dx * dx_step + c * c_step));
  return result;
}

// Splits row [X] into its even and odd columns, each followed by zeros to whole vectors and one
// more.
void deinterleave(const float* row, int64_t X, int64_t room, float* even, float* odd) {
  std::fill_n(even, room, 0.0f);
  std::fill_n(odd - 1, room, 0.0f);
  for (int64_t x = 0; x < X / 2; ++x) {
    even[x] = row[2 * x];
    odd[x] = row[2 * x + 1];
  }
  if (X % 2) even[X / 2] = row[X - 1];
}

}  // namespace

Segmenter::Map::Map(int64_t Y, int64_t X, int64_t C, int64_t above, int64_t beside)
    : Y(Y), X(X), C(C), above(above), beside(beside) {
  data = Buffer((Y + 2 * above) * row());
  float* const begin = data.data();
  std::fill_n(begin, above * row(), 0.0f);
  std::fill_n(begin + (Y + above) * row(), above * row(), 0.0f);
  for (int64_t y = 0; y < Y; ++y) {
    std::fill_n(at(y, -beside), beside * C, 0.0f);
    std::fill_n(at(y, X), beside * C, 0.0f);
  }
}

Segmenter::Segmenter(const SegmenterWeights& w, const Kernels& kernels)
    : kernels_(*kernels.segmenter), panel_(kernels.panel), stem_channels_(w.stem.outputs) {
  stem_W_ = Buffer(9 * stem_channels_);
  stem_b_ = Buffer(stem_channels_);
  std::copy_n(w.stem.W, 9 * stem_channels_, stem_W_.data());
  std::copy_n(w.stem.b, stem_channels_, stem_b_.data());
  fine_ = pack_dense(w.fine, stem_channels_);
  for (const SegmenterWeights::Level& level : w.levels) {
    levels_.push_back(
        {pack_pair(level.down), {}, pack_dense(level.up, padded(level.up.inputs)), {}});
    for (const auto& pair : level.blocks) levels_.back().blocks.push_back(pack_pair(pair));
    for (const auto& pair : level.up_block) levels_.back().up_block.push_back(pack_pair(pair));
  }
  merge_ = pack_dense(w.merge, padded(w.merge.inputs));
  head_ = pack_dense(w.head, padded(w.head.inputs));
  turn_ = pack_dense(w.turn, padded(w.turn.inputs));
  const auto widen = [&](const Pair& pair) {
    above_ = std::max(above_, pair.depthwise.rows / 2);
    beside_ = std::max(beside_, pair.depthwise.columns / 2);
  };
  for (const Level& level : levels_) {
    widen(level.down);
    for (const Pair& pair : level.blocks) widen(pair);
    for (const Pair& pair : level.up_block) widen(pair);
  }
}

Segmenter::Dense Segmenter::pack_dense(const FilterWeights& w, int64_t inputs) const {
  const int64_t N = padded(w.outputs), K = w.rows * w.columns * inputs;
  Dense dense{inputs, N, w.rows, w.columns, Buffer(N * K), zeros(N)};
  Buffer taps = zeros(N * K);  // [N, K], k by (dy, dx, c)
  for (int64_t o = 0; o < w.outputs; ++o)
    for (int64_t c = 0; c < w.inputs; ++c)
      for (int64_t tap = 0; tap < w.rows * w.columns; ++tap)
        taps.data()[o * K + tap * inputs + c] = w.W[(o * w.inputs + c) * w.rows * w.columns + tap];
  pack(taps.data(), N, K, K, panel_, dense.W.data());
  std::copy_n(w.b, w.outputs, dense.bias.data());
  return dense;
}

Segmenter::Depthwise Segmenter::pack_depthwise(const FilterWeights& w) const {
  const int64_t C = padded(w.outputs), taps = w.rows * w.columns;
  Depthwise depthwise{C, w.rows, w.columns, zeros(taps * C), zeros(C)};
  for (int64_t c = 0; c < w.outputs; ++c)
    for (int64_t tap = 0; tap < taps; ++tap) depthwise.W.data()[tap * C + c] = w.W[c * taps + tap];
  std::copy_n(w.b, w.outputs, depthwise.bias.data());
  return depthwise;
}

Segmenter::Pair Segmenter::pack_pair(const SegmenterWeights::Pair& w) const {
  return {pack_depthwise(w.depthwise), pack_dense(w.pointwise, padded(w.pointwise.inputs))};
}

void Segmenter::run(const float* image, int64_t Y, int64_t X, float* maps, float* rotation,
                    int threads) const {
  // 1. strides 2 and 4
  std::vector<Map> levels;
  levels.push_back(make_map(half(half(Y)), half(half(X)), fine_.outputs));
  fine(image, Y, X, levels[0], threads);
  // 2. down to the coarsest stride
  for (const Level& level : levels_) {
    const Map& in = levels.back();
    Map out = make_map(half(in.Y), half(in.X), level.down.pointwise.outputs);
    down(level.down, in, out, threads);
    for (const Pair& pair : level.blocks) {
      Map next = make_map(out.Y, out.X, out.C);
      block(pair, out, next, threads);
      out = std::move(next);
    }
    levels.push_back(std::move(out));
  }
  turn(levels.back(), rotation);
  // 3. up again to stride 4
  for (size_t i = levels_.size(); i > 0; --i) {
    up(levels_[i - 1].up, levels[i], levels[i - 1], threads);
    if (i == 1) break;
    for (const Pair& pair : levels_[i - 2].up_block) {
      Map next = make_map(levels[i - 1].Y, levels[i - 1].X, levels[i - 1].C);
      block(pair, levels[i - 1], next, threads);
      levels[i - 1] = std::move(next);
    }
  }
  // 4. four maps
  heads(levels[0], maps, threads);
}

void Segmenter::fine(const float* image, int64_t Y, int64_t X, Map& out, int threads) const {
  const int64_t C = stem_channels_, Y2 = half(Y), X2 = half(X);
  const int64_t room = round_up(X2, kLanes) + kLanes;  // of half a row of the image
  const int64_t plane = room + 1;                      // of a row of one channel: x = -1 to X2
  const std::vector<int32_t> taps = [&] {
    std::vector<int32_t> result;  // by (dy, dx, c)
    for (int64_t dy = 0; dy < 3; ++dy)
      for (int64_t dx = 0; dx < 3; ++dx)
        for (int64_t c = 0; c < C; ++c)
          result.push_back(static_cast<int32_t>((dy * C + c) * plane + dx));
    return result;
  }();
  const int64_t stem_rows = 2 * kRowsTogether + 1, image_rows = 2 * stem_rows + 1;
  for_rows(
      (out.Y + kRowsTogether - 1) / kRowsTogether, threads, [&](int64_t chunk, Buffer& scratch) {
        scratch.reserve(stem_rows * C * plane + image_rows * 2 * (room + 1));
        float* const stem = scratch.data();
        float* const split = stem + stem_rows * C * plane;
        const auto even = [&](int64_t i) { return split + 2 * i * (room + 1); };
        const auto odd = [&](int64_t i) { return even(i) + room + 1; };
        const int64_t first = chunk * kRowsTogether, last = std::min(first + kRowsTogether, out.Y);
        const int64_t stem_first = 2 * first - 1, image_first = 2 * stem_first - 1;
        const int64_t count = 2 * (last - first) + 1;
        for (int64_t i = 0; i <= 2 * count; ++i) {
          const int64_t y = image_first + i;
          const bool inside = y >= 0 && y < Y;
          deinterleave(image + (inside ? y * X : 0), inside ? X : 0, room, even(i), odd(i));
        }
        for (int64_t i = 0; i < count; ++i) {
          float* row = stem + i * C * plane;
          const int64_t y = stem_first + i;
          if (y < 0 || y >= Y2) {
            std::fill_n(row, C * plane, 0.0f);
            continue;
          }
          const float* const evens[3] = {even(2 * i), even(2 * i + 1), even(2 * i + 2)};
          const float* const odds[3] = {odd(2 * i), odd(2 * i + 1), odd(2 * i + 2)};
          kernels_.stem(X2, C, evens, odds, stem_W_.data(), stem_b_.data(), row + 1, plane);
          for (int64_t c = 0; c < C; ++c) row[c * plane] = row[c * plane + 1 + X2] = 0.0f;
        }
        for (int64_t y = first; y < last; ++y)
          kernels_.convolve(out.X, out.C, 9 * C, stem + 2 * (y - first) * C * plane, taps.data(), 2,
                            fine_.W.data(), fine_.bias.data(), nullptr, true, out.at(y, 0), out.C);
      });
}

void Segmenter::down(const Pair& pair, const Map& in, Map& out, int threads) const {
  const Depthwise& d = pair.depthwise;
  const Dense& p = pair.pointwise;
  const std::vector<int32_t> channels = offsets(1, 1, p.inputs, 0, 0, 1);
  for_rows(out.Y, threads, [&](int64_t y, Buffer& scratch) {
    scratch.reserve(out.X * in.C);
    kernels_.depthwise(out.X, in.C, d.rows, d.columns, in.at(2 * y - d.rows / 2, -d.columns / 2),
                       in.row(), 2, d.W.data(), d.bias.data(), false, scratch.data());
    kernels_.convolve(out.X, out.C, p.inputs, scratch.data(), channels.data(), in.C, p.W.data(),
                      p.bias.data(), nullptr, true, out.at(y, 0), out.C);
  });
}

void Segmenter::block(const Pair& pair, const Map& in, Map& out, int threads) const {
  const Depthwise& d = pair.depthwise;
  const Dense& p = pair.pointwise;
  const std::vector<int32_t> channels = offsets(1, 1, p.inputs, 0, 0, 1);
  for_rows(out.Y, threads, [&](int64_t y, Buffer& scratch) {
    scratch.reserve(out.X * in.C);
    kernels_.depthwise(out.X, in.C, d.rows, d.columns, in.at(y - d.rows / 2, -d.columns / 2),
                       in.row(), 1, d.W.data(), d.bias.data(), true, scratch.data());
    kernels_.convolve(out.X, out.C, p.inputs, scratch.data(), channels.data(), in.C, p.W.data(),
                      p.bias.data(), in.at(y, 0), true, out.at(y, 0), out.C);
  });
}

void Segmenter::up(const Dense& pointwise, const Map& in, Map& skip, int threads) const {
  const int64_t C = skip.C;
  const std::vector<int32_t> channels = offsets(1, 1, pointwise.inputs, 0, 0, 1);
  for_rows(in.Y, threads, [&](int64_t y, Buffer& scratch) {
    scratch.reserve(in.X * C);
    kernels_.convolve(in.X, C, pointwise.inputs, in.at(y, 0), channels.data(), in.C,
                      pointwise.W.data(), pointwise.bias.data(), nullptr, false, scratch.data(), C);
    for (int64_t to = 2 * y; to < std::min(2 * y + 2, skip.Y); ++to)
      for (int64_t x = 0; x < skip.X; ++x) {
        const float* from = scratch.data() + x / 2 * C;
        float* sum = skip.at(to, x);
        for (int64_t c = 0; c < C; ++c) sum[c] += from[c];
      }
  });
}

void Segmenter::heads(const Map& in, float* maps, int threads) const {
  const std::vector<int32_t> taps = offsets(3, 3, merge_.inputs, in.row(), in.C, 1);
  const std::vector<int32_t> channels = offsets(1, 1, head_.inputs, 0, 0, 1);
  const int64_t C = merge_.outputs, N = head_.outputs;
  for_rows(in.Y, threads, [&](int64_t y, Buffer& scratch) {
    scratch.reserve(in.X * (C + N));
    float *merged = scratch.data(), *found = merged + in.X * C;
    kernels_.convolve(in.X, C, 9 * merge_.inputs, in.at(y - 1, -1), taps.data(), in.C,
                      merge_.W.data(), merge_.bias.data(), nullptr, true, merged, C);
    kernels_.convolve(in.X, N, head_.inputs, merged, channels.data(), C, head_.W.data(),
                      head_.bias.data(), nullptr, false, found, N);
    for (int64_t m = 0; m < kMaps; ++m)
      for (int64_t x = 0; x < in.X; ++x) maps[(m * in.Y + y) * in.X + x] = found[x * N + m];
  });
}

void Segmenter::turn(const Map& in, float* rotation) const {
  const std::vector<int32_t> channels = offsets(1, 1, turn_.inputs, 0, 0, 1);
  const int64_t N = turn_.outputs;
  Buffer votes(in.Y * in.X * N);
  for (int64_t y = 0; y < in.Y; ++y)
    kernels_.convolve(in.X, N, turn_.inputs, in.at(y, 0), channels.data(), in.C, turn_.W.data(),
                      turn_.bias.data(), nullptr, false, votes.data() + y * in.X * N, N);
  // each place weighed by exp of its last vote
  float most = votes.data()[kRotations];
  for (int64_t i = 0; i < in.Y * in.X; ++i) most = std::max(most, votes.data()[i * N + kRotations]);
  double total = 0, sums[kRotations] = {};
  for (int64_t i = 0; i < in.Y * in.X; ++i) {
    const float* vote = votes.data() + i * N;
    const double weight = std::exp(static_cast<double>(vote[kRotations]) - most);
    total += weight;
    for (int64_t r = 0; r < kRotations; ++r) sums[r] += weight * vote[r];
  }
  for (int64_t r = 0; r < kRotations; ++r) rotation[r] = static_cast<float>(sums[r] / total);
}

}  // namespace khmer_fast
