// Runs the decoder without torch, for the sanitizers (scripts/sanitize.sh): random small models on
// every instruction set, several threads, several callers. A line must come out bit for bit the
// same alone, in a batch and on any number of threads.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "cpu/beam_search_cpu.h"

using namespace khmer_fast;

namespace {

struct Model {
  Dims dims;
  std::vector<std::vector<float>> tensors;
  DecoderPointers weights;
};

Model random_model(std::mt19937& rng) {
  const auto size = [&](int low, int high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng);
  };
  const Dims d{size(3, 40), size(1, 9), size(1, 70), size(1, 40), size(1, 40)};
  Model model{d, {}, {}};
  // Now and then so large that the energy leaves the paired and the factored form.
  const float scale = size(0, 3) == 0 ? 40.0f : 0.7f;
  const auto random = [&](const char* name, std::initializer_list<int64_t> shape) {
    std::normal_distribution<float> normal(0, std::strcmp(name, "W_k") == 0 ? scale : 0.7f);
    std::vector<float> x(
        std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()));
    for (float& value : x) value = normal(rng);
    model.tensors.push_back(std::move(x));
    return model.tensors.back().data();
  };
  const auto [V, D, E, A, H] = d;
#define KHMER_FAST_RANDOM(name, letters, ...) model.weights.name = random(#name, {__VA_ARGS__});
  KHMER_FAST_DECODER_WEIGHTS(KHMER_FAST_RANDOM)
#undef KHMER_FAST_RANDOM
  return model;
}

bool same(const LineOutput& a, const LineOutput& b) {
  if (a.steps != b.steps || a.answers.size() != b.answers.size()) return false;
  for (size_t i = 0; i < a.answers.size(); ++i) {
    const Answer &x = a.answers[i], &y = b.answers[i];
    if (x.tokens != y.tokens || x.truncated != y.truncated || x.log_prob != y.log_prob ||
        x.attention != y.attention || x.position != y.position || x.score != y.score)
      return false;
  }
  return true;
}

void check(bool ok, const char* what, const char* kernels, unsigned seed) {
  if (ok) return;
  std::printf("FAILED: %s, %s, seed %u\n", what, kernels, seed);
  std::exit(1);
}

void run(const Kernels& kernels, unsigned seed) {
  std::mt19937 rng(seed);
  const Model model = random_model(rng);
  const Precision precision = rng() % 3 ? Precision::kFloat32 : Precision::kBfloat16;
  const Decoder decoder(model.dims, model.weights, precision, kernels);
  const int64_t B = 1 + rng() % 20, E = model.dims.E;
  std::vector<std::vector<float>> memory(B);
  std::vector<LineInput> lines;
  for (int64_t b = 0; b < B; ++b) {
    const int64_t length = rng() % 50;  // now and then 0
    std::normal_distribution<float> normal(0, 1);
    memory[b].resize(length * E);
    for (float& value : memory[b]) value = normal(rng);
    if (length && rng() % 10 == 0) memory[b][0] = std::numeric_limits<float>::quiet_NaN();
    lines.push_back({memory[b].data(), E, length, static_cast<int64_t>(rng() % 12)});
  }
  BeamOptions options;
  options.beam = 1 + rng() % 8;
  options.n_best = 1 + rng() % options.beam;
  options.alpha = rng() % 2 ? 0.6 : 0.0;
  options.attention = rng() % 2;
  options.trace = rng() % 2;
  options.forced = rng() % 3 == 0;
  const std::vector<LineOutput> alone = beam_search_cpu(decoder, lines, options);
  for (int64_t b = 0; b < B; ++b) {
    const LineOutput one = beam_search_cpu(decoder, {lines[b]}, options)[0];
    check(same(one, alone[b]), "a line depends on its batch", kernels.name, seed);
    for (const Answer& answer : one.answers)
      for (int32_t token : answer.tokens)
        check(kBos < token && token < model.dims.V, "token out of range", kernels.name, seed);
  }
  options.threads = 3;
  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i)
    callers.emplace_back([&] {
      const std::vector<LineOutput> shared = beam_search_cpu(decoder, lines, options);
      for (int64_t b = 0; b < B; ++b)
        check(same(shared[b], alone[b]), "a line depends on threads", kernels.name, seed);
    });
  for (std::thread& caller : callers) caller.join();
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned models = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 100;
  setenv("KHMER_FAST_POISON", "1", 1);
  for (const char* isa : {"baseline", "avx2", "avx512", "avx512_bf16"}) {
    setenv("KHMER_FAST_ISA", isa, 1);
    const Kernels& kernels = select_kernels();
    if (std::strcmp(kernels.name, isa) != 0) continue;
    for (unsigned seed = 0; seed < models; ++seed) run(kernels, seed);
    std::printf("%s: %u models\n", isa, models);
  }
}
