// Runs the preparing of lines without torch, for the sanitizers (scripts/sanitize.sh): random
// pictures on every instruction set, whose lines must be the same bit for bit.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/line_image.h"
#include "cpu/line_marks.h"

using namespace khmer_fast;

namespace {

void check(bool ok, const char* what, unsigned seed) {
  if (ok) return;
  std::printf("FAILED: %s, seed %u\n", what, seed);
  std::exit(1);
}

std::vector<uint8_t> picture(std::mt19937& rng, int64_t Y, int64_t X) {
  const auto below = [&](int64_t n) { return static_cast<int64_t>(rng() % n); };
  std::vector<uint8_t> grey(Y * X, static_cast<uint8_t>(150 + below(106)));
  for (int64_t blots = below(60); blots > 0; --blots) {
    const int64_t top = below(Y), left = below(X);
    const uint8_t value = static_cast<uint8_t>(below(150));
    for (int64_t y = top; y < std::min(Y, top + 1 + Y / 3); ++y)
      for (int64_t x = left; x < std::min(X, left + 9); ++x) grey[y * X + x] = value;
  }
  if (below(3) == 0)
    for (uint8_t& value : grey) value = static_cast<uint8_t>(255 - value);
  return grey;
}

void prepare(unsigned seed, const std::vector<const Kernels*>& all) {
  std::mt19937 rng(seed);
  for (int i = 0; i < 20; ++i) {
    const int64_t Y = 1 + rng() % 90, X = 1 + rng() % 400, height = 16 + rng() % 60;
    const std::vector<uint8_t> grey = picture(rng, Y, X);
    const auto expected =
        clean_line(grey.data(), Y, X, height, seed % 2, seed % 3 == 0, *kKernelsBaseline);
    for (const Kernels* kernels : all) {
      const auto line = clean_line(grey.data(), Y, X, height, seed % 2, seed % 3 == 0, *kernels);
      check(line.has_value() == expected.has_value(), "the same lines are ordinary", seed);
      if (line) check(line->image == expected->image, "the same bits", seed);
    }
    may_hold_leader(grey.data(), Y, X);
    may_hold_filler(grey.data(), Y, X);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned runs = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 40;
  std::vector<const Kernels*> all;  // of this processor
  for (const char* isa : {"avx2", "avx512"}) {
    setenv("KHMER_FAST_ISA", isa, 1);
    all.push_back(&select_kernels());
  }
  for (unsigned seed = 0; seed < runs; ++seed) prepare(seed, all);
  std::vector<std::thread> callers;
  for (unsigned i = 0; i < 3; ++i) callers.emplace_back([i, &all] { prepare(i, all); });
  for (std::thread& caller : callers) caller.join();
  std::printf("%u seeds, every instruction set of this processor: ok\n", runs);
}
