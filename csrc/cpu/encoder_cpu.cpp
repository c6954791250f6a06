#include "cpu/encoder_cpu.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <numeric>
#include <type_traits>

#include "cpu/pack.h"
#include "cpu/thread_pool.h"

namespace khmer_fast {

Encoder::Encoder(int64_t height, const std::vector<ConvStage>& stages, int64_t F, int64_t H,
                 const EncoderWeights& w, const Kernels& kernels)
    : convolutions_(std::in_place, height, stages, w.convs, kernels), kernels_(kernels), F_(F),
      H_(H), Fp_(padded(F)), Hp_(padded(H)) {
  const int64_t inputs = convolutions_->rows() * convolutions_->channels(), gates = 3 * Hp_;
  W_project_ = Buffer(Fp_ * inputs);
  pack(w.W_project, F, inputs, inputs, kernels.panel, W_project_.data());
  b_project_ = zeros(Fp_);
  norm_gain_ = zeros(Fp_);
  norm_bias_ = zeros(Fp_);
  std::copy_n(w.b_project, F, b_project_.data());
  std::copy_n(w.norm_gain, F, norm_gain_.data());
  std::copy_n(w.norm_bias, F, norm_bias_.data());
  for (int d = 0; d < 2; ++d) {
    const GruWeights& gru = w.gru[d];
    W_input_[d] = pack_gates(gru.W_ih, F);
    W_hidden_[d] = pack_gates(gru.W_hh, H);
    b_input_[d] = zeros(gates);
    copy_gates(gru.b_ih, H, 1, 1, b_input_[d].data(), 1);
    for (int64_t g = 0; g < 2; ++g)
      for (int64_t i = 0; i < H; ++i) b_input_[d].data()[g * Hp_ + i] += gru.b_hh[g * H + i];
    b_hidden_[d] = zeros(gates);
    std::copy_n(gru.b_hh + 2 * H, H, b_hidden_[d].data() + 2 * Hp_);
  }
}

Encoder::Encoder(int64_t height, const std::vector<ConvStage>& stages, int64_t F, int64_t H,
                 const QuantizedWeights& w, const Kernels& kernels)
    : quantized_(std::in_place, height, stages, F, H, w, kernels), kernels_(kernels), F_(F), H_(H),
      Fp_(padded(F)), Hp_(padded(H)) {}

Buffer Encoder::pack_gates(const float* W, int64_t K) const {
  Buffer rows = zeros(3 * Hp_ * K), packed(3 * Hp_ * K);
  copy_gates(W, H_, K, K, rows.data(), K);
  pack(rows.data(), 3 * Hp_, K, K, kernels_.panel, packed.data());
  return packed;
}

bool Encoder::features(const float* image, int64_t ld, int64_t X, float* feature,
                       Buffers& buffers) const {
  if (quantized_) return quantized_->run(image, ld, X, feature, buffers.quantized);
  const int64_t length = positions(X);
  const int64_t inputs = convolutions_->rows() * convolutions_->channels();
  buffers.columns.reserve(length * inputs);
  // 1. to 3. convolutions
  convolutions_->run(image, ld, X, buffers.columns.data(), buffers.convs);
  // 4. projection and normalisation, each position by itself
  kernels_.gemm(length, Fp_, inputs, buffers.columns.data(), inputs, W_project_.data(),
                b_project_.data(), feature, Fp_);
  for (int64_t t = 0; t < length; ++t)
    kernels_.layer_norm(F_, feature + t * Fp_, norm_gain_.data(), norm_bias_.data());
  return true;
}

template <class Pixel>
void Encoder::run(const Pixel* image, const int64_t* width, int64_t B, int64_t X, float* memory,
                  int threads) const {
  const int64_t T = B ? positions(X) : 0, Y = height(), size = feature_size();
  // Lines of like length go together, the longest first.
  std::vector<Line> order(B);
  for (int64_t b = 0; b < B; ++b) order[b] = {b, positions(width[b])};
  std::stable_sort(order.begin(), order.end(),
                   [](const Line& x, const Line& y) { return x.length > y.length; });
  const int64_t together = std::clamp<int64_t>((B + threads - 1) / threads, 1, kLinesTogether);

  std::atomic<int64_t> next{0};
  run_parallel(static_cast<int>(std::min<int64_t>(threads, (B + together - 1) / together)), [&] {
    Buffers buffers;
    for (int64_t first = next.fetch_add(together); first < B; first = next.fetch_add(together)) {
      const std::vector<Line> lines(order.begin() + first,
                                    order.begin() + std::min(B, first + together));
      const int64_t count = static_cast<int64_t>(lines.size()), longest = lines[0].length;
      buffers.feature.reserve(count * longest * size);
      std::vector<Line> failed;
      for (int64_t i = 0; i < count; ++i) {
        const auto [b, length] = lines[i];
        float* feature = buffers.feature.data() + i * longest * size;
        const Pixel* from = image + b * Y * X;
        if constexpr (std::is_same_v<Pixel, float>) {
          if (!features(from, X, width[b], feature, buffers)) failed.push_back(lines[i]);
        } else {
          const int64_t wide = width[b];
          buffers.image.reserve(Y * wide);
          float* to = buffers.image.data();
          for (int64_t y = 0; y < Y; ++y)
            for (int64_t x = 0; x < wide; ++x)
              to[y * wide + x] = static_cast<float>(from[y * X + x]) / 255.0f;
          features(to, wide, wide, feature, buffers);
        }
        std::fill(memory + (b * T + length) * 2 * H_, memory + (b + 1) * T * 2 * H_, 0.0f);
      }
      // 5. both directions, each from a valid position
      for (int d = 0; d < 2; ++d) recurrent(d, lines, T, memory, buffers);
      for (const auto& [b, length] : failed)
        std::fill_n(memory + b * T * 2 * H_, length * 2 * H_,
                    std::numeric_limits<float>::quiet_NaN());
    }
  });
}

template void Encoder::run(const float*, const int64_t*, int64_t, int64_t, float*, int) const;
template void Encoder::run(const uint8_t*, const int64_t*, int64_t, int64_t, float*, int) const;

std::array<int64_t, Encoder::kLinesTogether> Encoder::inputs(int direction,
                                                             const std::vector<Line>& lines,
                                                             int64_t live, int64_t s,
                                                             Buffers& buffers) const {
  const int64_t longest = lines[0].length, size = feature_size(), gates = 3 * Hp_;
  buffers.rows.reserve(live * kStepsTogether * size);
  buffers.input.reserve(live * kStepsTogether * gates);
  std::array<int64_t, kLinesTogether> first;
  int64_t rows = 0;
  for (int64_t i = 0; i < live; ++i) {
    const int64_t length = lines[i].length;
    first[i] = rows;
    for (int64_t step = s; step < std::min(s + kStepsTogether, length); ++step) {
      const int64_t t = direction == 0 ? step : length - 1 - step;
      std::copy_n(buffers.feature.data() + (i * longest + t) * size, size,
                  buffers.rows.data() + rows++ * size);
    }
  }
  if (quantized_)
    quantized_->input(direction, rows, buffers.rows.data(), buffers.input.data());
  else
    kernels_.gemm(rows, gates, F_, buffers.rows.data(), Fp_, W_input_[direction].data(),
                  b_input_[direction].data(), buffers.input.data(), gates);
  return first;
}

void Encoder::recurrent(int direction, const std::vector<Line>& lines, int64_t T, float* memory,
                        Buffers& buffers) const {
  const int64_t count = static_cast<int64_t>(lines.size()), longest = lines[0].length;
  const int64_t gates = 3 * Hp_;
  buffers.hidden.reserve(count * gates);
  buffers.h.reserve(count * Hp_);
  buffers.h.zero();
  buffers.zeros.reserve(gates);
  buffers.zeros.zero();
  if (quantized_) quantized_->begin(count, buffers.level);
  int64_t live = count;
  std::array<int64_t, kLinesTogether> row;  // of each line's step in buffers.input
  for (int64_t s = 0; s < longest; ++s) {
    while (lines[live - 1].length <= s) --live;
    if (s % kStepsTogether == 0) row = inputs(direction, lines, live, s, buffers);
    if (quantized_)
      quantized_->recurrent(direction, live, buffers.level, buffers.hidden);
    else
      kernels_.gemm(live, gates, H_, buffers.h.data(), Hp_, W_hidden_[direction].data(),
                    b_hidden_[direction].data(), buffers.hidden.data(), gates);
    for (int64_t i = 0; i < live; ++i) {
      const auto [b, length] = lines[i];
      const int64_t t = direction == 0 ? s : length - 1 - s;
      const float* from = buffers.input.data() + row[i]++ * gates;
      const float* hidden = buffers.hidden.data() + i * gates;
      float* h = buffers.h.data() + i * Hp_;
      if (quantized_)
        quantized_->cell(i, from, hidden, h, buffers.level);
      else
        kernels_.gru(Hp_, from, buffers.zeros.data(), hidden, h, h);
      std::copy_n(h, H_, memory + ((b * T + t) * 2 + direction) * H_);
    }
  }
}

}  // namespace khmer_fast
