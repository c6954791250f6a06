// Plain PNG files to grey pixels: what Pillow gives, exactly.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace khmer_fast {

constexpr int64_t kMaxPngSide = 65500, kMaxPngPixels = int64_t{1} << 22;

struct GreyPicture {
  int64_t Y = 0, X = 0;
  std::vector<uint8_t> grey;  // [Y, X]
};

// A PNG of 8 bits, grey or RGB, without interlacing, transparency, orientation or texts. Nothing
// for other files, large ones, and such as are damaged in any way: Pillow reads or refuses them.
std::optional<GreyPicture> read_png(const uint8_t* data, int64_t bytes);

}  // namespace khmer_fast
