// A line cut out of its page: khmer_fast/page/pixels_reference.py, exactly.
#pragma once

#include <cstdint>

namespace khmer_fast {

enum class Polarity { kAsItIs, kTurned, kBoth };

// A page at full resolution [page_y, page_x], where it is painted over and with what [Y, X].
struct CutPage {
  const uint8_t* grey;
  int64_t page_y, page_x;
  const uint8_t* painted;
  const uint8_t* paper;
  int64_t Y, X;
};

// The crop from page column `left` on, along rows [width] (of its top edge) -> out [height, width].
void cut_line(const CutPage& page, int64_t left, const float* rows, int64_t height, int64_t width,
              Polarity polarity, uint8_t* out);

}  // namespace khmer_fast
