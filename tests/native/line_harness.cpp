// Runs the opening and preparing of lines without torch, for the sanitizers (scripts/sanitize.sh):
// damaged PNG files in buffers of their exact size, and random pictures on every instruction set,
// whose lines must be the same bit for bit.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "cpu/inflate.h"
#include "cpu/kernels.h"
#include "cpu/line_image.h"
#include "cpu/png.h"

using namespace khmer_fast;

namespace {

void check(bool ok, const char* what, unsigned seed) {
  if (ok) return;
  std::printf("FAILED: %s, seed %u\n", what, seed);
  std::exit(1);
}

// 21 x 9, RGB, every filter, a block with codes of its own in two chunks.
const std::vector<uint8_t> kFile = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44,
    0x52, 0x00, 0x00, 0x00, 0x15, 0x00, 0x00, 0x00, 0x09, 0x08, 0x02, 0x00, 0x00, 0x00, 0x52,
    0x61, 0xf0, 0x21, 0x00, 0x00, 0x00, 0x28, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x75, 0x51,
    0x09, 0x12, 0xc4, 0x20, 0x08, 0x0b, 0xe7, 0xff, 0x9f, 0xbc, 0x2c, 0x5d, 0x28, 0xd8, 0x6d,
    0x46, 0x1d, 0x39, 0x12, 0xa3, 0x02, 0x01, 0x8b, 0xe9, 0x84, 0x82, 0x43, 0x62, 0x55, 0xcd,
    0x7c, 0x44, 0x9d, 0xc6, 0xdc, 0x92, 0x32, 0x92, 0xdd, 0xba, 0x00, 0x00, 0x00, 0x64, 0x49,
    0x44, 0x41, 0x54, 0x7e, 0x77, 0xc5, 0xb2, 0xbb, 0x48, 0x95, 0xd3, 0x1c, 0x8b, 0xd8, 0x7d,
    0x72, 0x95, 0xc0, 0x57, 0xd5, 0x40, 0xa3, 0x89, 0x31, 0x31, 0xe8, 0x32, 0xaa, 0x49, 0x70,
    0xf9, 0x85, 0x9e, 0xd3, 0xb0, 0xc1, 0xa7, 0x0c, 0x0f, 0x9d, 0xf2, 0x38, 0x8c, 0x75, 0x0f,
    0x7b, 0x09, 0x98, 0x67, 0x3b, 0xc9, 0xd2, 0xb4, 0x37, 0x87, 0x29, 0x1d, 0xd6, 0xc8, 0xe7,
    0x8d, 0xec, 0xd5, 0x16, 0x3d, 0x2f, 0x4c, 0x11, 0xca, 0x62, 0xc9, 0x62, 0xeb, 0x5f, 0xa9,
    0x38, 0xd0, 0x15, 0x0f, 0xe4, 0x2f, 0x29, 0x9f, 0xb4, 0xb6, 0x2c, 0x5a, 0x06, 0x65, 0xbe,
    0xaa, 0xb5, 0xfc, 0xa9, 0x29, 0x3c, 0x7f, 0x0a, 0x1f, 0x9a, 0xc0, 0x01, 0x55, 0x69, 0xce,
    0xcd, 0x41, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};

void read_damaged(unsigned seed) {
  std::mt19937 rng(seed);
  for (int i = 0; i < 200; ++i) {
    std::vector<uint8_t> file = kFile;
    const auto place = [&] { return 41 + rng() % (file.size() - 41); };  // behind the header
    for (int damage = static_cast<int>(rng() % 4); damage >= 0; --damage)
      file[place()] = static_cast<uint8_t>(rng());
    if (rng() % 4 == 0) file.resize(place());
    file.shrink_to_fit();
    read_png(file.data(), static_cast<int64_t>(file.size()));
    // The stream alone, as whatever number of bytes
    const std::vector<uint8_t> stream(file.begin() + std::min<size_t>(41, file.size()), file.end());
    const int64_t size = rng() % 700;
    std::vector<uint8_t> out(size + kInflateSlack);
    inflate(stream.data(), static_cast<int64_t>(stream.size()), out.data(), size);
  }
  const auto whole = read_png(kFile.data(), static_cast<int64_t>(kFile.size()));
  check(whole && whole->X == 21 && whole->Y == 9, "a whole file", seed);
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
    const auto expected = clean_line(grey.data(), Y, X, height, seed % 2, *kKernelsBaseline);
    for (const Kernels* kernels : all) {
      const auto line = clean_line(grey.data(), Y, X, height, seed % 2, *kernels);
      check(line.has_value() == expected.has_value(), "the same lines are ordinary", seed);
      if (line) check(line->image == expected->image, "the same bits", seed);
    }
    may_hold_leader(grey.data(), Y, X);
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
  for (unsigned seed = 0; seed < runs; ++seed) {
    read_damaged(seed);
    prepare(seed, all);
  }
  std::vector<std::thread> callers;
  for (unsigned i = 0; i < 3; ++i)
    callers.emplace_back([i, &all] { read_damaged(i), prepare(i, all); });
  for (std::thread& caller : callers) caller.join();
  std::printf("%u pictures and files, every instruction set of this processor: ok\n", runs);
}
