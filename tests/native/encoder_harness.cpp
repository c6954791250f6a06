// Runs the encoder without torch, for the sanitizers (scripts/sanitize.sh): random small encoders
// on every instruction set, several threads, several callers. A line must come out bit for bit the
// same alone, in a batch and on any number of threads.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "cpu/encoder_cpu.h"

using namespace khmer_fast;

namespace {

void check(bool ok, const char* what, const char* kernels, unsigned seed) {
  if (ok) return;
  std::printf("FAILED: %s, %s, seed %u\n", what, kernels, seed);
  std::exit(1);
}

// Lines alone, together and by several threads.
void check_lines(const Encoder& encoder, int64_t Y, std::mt19937& rng, const char* kernels,
                 unsigned seed) {
  const auto size = [&](int low, int high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  const int64_t B = size(1, 12), X = size(1, 160), T = encoder.positions(X),
                E = encoder.memory_size();
  std::vector<int64_t> width(B);
  for (int64_t& w : width) w = size(1, static_cast<int>(X));
  width[0] = X;
  std::vector<float> image(B * Y * X);
  for (int64_t i = 0; i < B * Y * X; ++i)
    image[i] = i % X < width[i / (Y * X)] ? static_cast<float>(rng() % 256) / 255
                                          : std::numeric_limits<float>::quiet_NaN();
  std::vector<float> memory(B * T * E);
  encoder.run(image.data(), width.data(), B, X, memory.data(), 1);
  for (float value : memory) check(std::isfinite(value), "not finite", kernels, seed);

  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i)
    callers.emplace_back([&] {
      std::vector<float> shared(B * T * E);
      encoder.run(image.data(), width.data(), B, X, shared.data(), 3);
      check(shared == memory, "a line depends on threads", kernels, seed);
    });
  for (std::thread& caller : callers) caller.join();
  for (int64_t b = 0; b < B; ++b) {
    const int64_t length = encoder.positions(width[b]);
    std::vector<float> line(Y * width[b]), alone(length * E);
    for (int64_t y = 0; y < Y; ++y)
      std::copy_n(image.data() + (b * Y + y) * X, width[b], line.data() + y * width[b]);
    encoder.run(line.data(), &width[b], 1, width[b], alone.data(), 1);
    check(std::equal(alone.begin(), alone.end(), memory.begin() + b * T * E),
          "a line depends on its batch", kernels, seed);
  }
}

void run(const Kernels& kernels, unsigned seed) {
  std::mt19937 rng(seed);
  const auto size = [&](int low, int high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  std::vector<std::vector<float>> tensors;
  tensors.reserve(64);
  const auto tensor = [&](int64_t n, float scale) {
    std::normal_distribution<float> normal(0, scale);
    std::vector<float> x(n);
    for (float& value : x) value = normal(rng);
    tensors.push_back(std::move(x));
    return static_cast<const float*>(tensors.back().data());
  };

  const int64_t Y = size(1, 20), F = size(1, 40), H = size(1, 40);
  std::vector<ConvStage> stages;
  EncoderWeights weights;
  int64_t inputs = 1, rows = Y;
  for (int64_t s = size(1, 3); s > 0; --s) {
    const ConvStage stage{size(1, 40), size(1, 2), size(1, 3), size(0, 1)};
    stages.push_back(stage);
    for (int64_t i = 0; i <= 2 * stage.blocks; ++i) {
      const float* W = tensor(stage.channels * inputs * 9, 0.3f);
      weights.convs.push_back({W, tensor(stage.channels, 0.3f)});
      inputs = stage.channels;
    }
    rows = (rows - 1) / stage.stride_y + 1;
  }
  weights.W_project = tensor(F * rows * inputs, 0.1f);
  weights.b_project = tensor(F, 0.1f);
  weights.norm_gain = tensor(F, 1);
  weights.norm_bias = tensor(F, 1);
  for (GruWeights& gru : weights.gru) {
    gru.W_ih = tensor(3 * H * F, 0.3f);
    gru.W_hh = tensor(3 * H * H, 0.3f);
    gru.b_ih = tensor(3 * H, 0.3f);
    gru.b_hh = tensor(3 * H, 0.3f);
  }
  check_lines(Encoder(Y, stages, F, H, weights, kernels), Y, rng, kernels.name, seed);

  // The same shapes in whole numbers.
  std::vector<std::vector<int8_t>> wholes;
  wholes.reserve(64);
  const auto layer = [&](int64_t outputs, int64_t values, bool residual) {
    wholes.emplace_back(outputs * values);
    for (int8_t& value : wholes.back()) value = static_cast<int8_t>(size(-127, 127));
    return QuantizedLayer{wholes.back().data(), tensor(outputs, 0.01f), tensor(outputs, 30),
                          residual ? tensor(outputs, 0.3f) : nullptr};
  };
  QuantizedWeights quantized;
  std::vector<int16_t> first(stages[0].channels * 9);
  for (int16_t& value : first) value = static_cast<int16_t>(size(-4095, 4095));
  quantized.first_W = first.data();
  inputs = 1;
  for (const ConvStage& stage : stages)
    for (int64_t i = 0; i <= 2 * stage.blocks; ++i) {
      quantized.convs.push_back(layer(stage.channels, inputs * 9, i > 0 && i % 2 == 0));
      inputs = stage.channels;
    }
  quantized.project = layer(F, rows * inputs, false);
  quantized.norm_gain = tensor(F, 30);
  quantized.norm_bias = tensor(F, 30);
  for (QuantizedLayer& gates : quantized.gates) gates = layer(3 * H, F, false);
  for (QuantizedLayer& hidden : quantized.hidden) hidden = layer(3 * H, H, false);
  check_lines(Encoder(Y, stages, F, H, quantized, kernels), Y, rng, kernels.name, seed);
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned models = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 100;
  setenv("KHMER_FAST_POISON", "1", 1);
  for (const char* isa :
       {"baseline", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16"}) {
    setenv("KHMER_FAST_ISA", isa, 1);
    const Kernels& kernels = select_kernels();
    if (std::strcmp(kernels.name, isa) != 0) continue;
    for (unsigned seed = 0; seed < models; ++seed) run(kernels, seed);
    std::printf("%s: %u encoders\n", isa, models);
  }
}
