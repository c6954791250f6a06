// A clean line of an ordinary picture: khmer_fast/recognize/line_image.py, prepare_reference,
// exactly.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/resample.h"

namespace khmer_fast {

struct CleanLine {
  int64_t width;                  // of the line, margin included
  PixelBox ink;                   // in the line, margin left out
  PixelBox box;                   // of the ink in the picture
  std::vector<uint8_t> image;     // [height, width], ink 0, paper 255
  bool may_lean;                  // if it does, it is not the line
  std::vector<uint8_t> edge_ink;  // [Y, X] of 0 and 1, and nothing else: it may be other lines'
};

// grey [Y, X], at least 1 pixel -> its line; nothing where the reference has to look closer:
// without ink, on several papers, in two inks (unless it is known to be `plain`: neither of these),
// in uneven light or far too large. Unless a line stands `alone`, ink at its upper or lower edge
// that may be another's is answered instead of it.
std::optional<CleanLine> clean_line(const uint8_t* grey, int64_t Y, int64_t X, int64_t height,
                                    bool alone, bool plain, const Kernels& kernels);

}  // namespace khmer_fast
