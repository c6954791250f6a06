// Runs the segmenter without torch, for the sanitizers (scripts/sanitize.sh): random small networks
// on every instruction set, several threads, several callers. A page must come out bit for bit the
// same on any number of threads.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "cpu/segmenter_cpu.h"

using namespace khmer_fast;

namespace {

void check(bool ok, const char* what, const char* kernels, unsigned seed) {
  if (ok) return;
  std::printf("FAILED: %s, %s, seed %u\n", what, kernels, seed);
  std::exit(1);
}

void run(const Kernels& kernels, unsigned seed) {
  std::mt19937 rng(seed);
  const auto size = [&](int low, int high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  std::vector<std::vector<float>> tensors;
  tensors.reserve(200);
  const auto filter = [&](int64_t outputs, int64_t inputs, int64_t rows, int64_t columns) {
    std::normal_distribution<float> normal(0, 1 / std::sqrt(float(inputs * rows * columns)));
    for (const int64_t n : {outputs * inputs * rows * columns, outputs}) {
      std::vector<float> x(n);
      for (float& value : x) value = normal(rng);
      tensors.push_back(std::move(x));
    }
    return FilterWeights{
        tensors[tensors.size() - 2].data(), tensors.back().data(), outputs, inputs, rows, columns};
  };
  const auto pair = [&](int64_t inputs, int64_t outputs) {
    const FilterWeights depthwise = filter(inputs, 1, 2 * size(0, 2) + 1, 2 * size(0, 4) + 1);
    return SegmenterWeights::Pair{depthwise, filter(outputs, inputs, 1, 1)};
  };

  SegmenterWeights weights;
  const int64_t stem = size(1, 12), fine = size(1, 40), levels = size(1, 3);
  weights.stem = filter(stem, 1, 3, 3);
  weights.fine = filter(fine, stem, 3, 3);
  int64_t channels = fine;
  for (int64_t i = 0; i < levels; ++i) {
    SegmenterWeights::Level level;
    const int64_t wide = size(1, 70);
    level.down = pair(channels, wide);
    for (int64_t blocks = size(0, 2); blocks > 0; --blocks)
      level.blocks.push_back(pair(wide, wide));
    level.up = filter(channels, wide, 1, 1);
    if (i + 1 < levels) level.up_block.push_back(pair(wide, wide));
    weights.levels.push_back(std::move(level));
    channels = wide;
  }
  weights.merge = filter(fine, fine, 3, 3);
  weights.head = filter(kMaps, fine, 1, 1);
  weights.turn = filter(kRotations + 1, channels, 1, 1);
  const Segmenter segmenter(weights, kernels);

  const int64_t Y = size(1, 150), X = size(1, 150), y = (Y + 3) / 4, x = (X + 3) / 4;
  std::vector<float> image(Y * X);
  for (float& value : image) value = static_cast<float>(rng() % 256) / 255;
  std::vector<float> maps(kMaps * y * x, std::nanf("")), rotation(kRotations, std::nanf(""));
  segmenter.run(image.data(), Y, X, maps.data(), rotation.data(), 1);
  for (float value : maps) check(std::isfinite(value), "not finite", kernels.name, seed);
  for (float value : rotation) check(std::isfinite(value), "not finite", kernels.name, seed);

  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i)
    callers.emplace_back([&] {
      std::vector<float> again(maps.size()), turn(kRotations);
      segmenter.run(image.data(), Y, X, again.data(), turn.data(), 3);
      check(again == maps && turn == rotation, "a page depends on threads", kernels.name, seed);
    });
  for (std::thread& caller : callers) caller.join();
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned models = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 100;
  setenv("KHMER_FAST_POISON", "1", 1);
  for (const char* isa : {"baseline", "avx2", "avx512"}) {
    setenv("KHMER_FAST_ISA", isa, 1);
    const Kernels& kernels = select_kernels();
    if (std::strcmp(kernels.name, isa) != 0) continue;
    for (unsigned seed = 0; seed < models; ++seed) run(kernels, seed);
    std::printf("%s: %u segmenters\n", isa, models);
  }
}
