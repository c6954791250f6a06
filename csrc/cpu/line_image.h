// A clean line of an ordinary picture: khmer_fast/recognize/line_image.py, prepare_reference,
// exactly.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/resample.h"

namespace khmer_fast {

struct CleanLine {
  int64_t width;               // of the line, margin included
  PixelBox ink;                // in the line, margin left out
  PixelBox box;                // of the ink in the picture
  std::vector<uint8_t> image;  // [height, width], ink 0, paper 255
};

// grey [Y, X], at least 1 pixel -> its line; nothing where the reference has to look closer:
// without ink, on several papers, in two inks, in uneven light, far too large, or leaning.
std::optional<CleanLine> clean_line(const uint8_t* grey, int64_t Y, int64_t X, int64_t height,
                                    const Kernels& kernels);

}  // namespace khmer_fast
