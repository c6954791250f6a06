// Whose line each pixel of ink is: khmer_fast/page/owners_reference.py, exactly.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/page_ink.h"

namespace khmer_fast {

// Whose a page's ink is, and what it comes to: of Y x X pixels, M columns of L lines, C pieces.
struct Owned {
  uint16_t* owners;  // [Y, X]: 0 paper, line + 1, kNobody, or kFrame (frames, bars and rules)
  uint8_t* painted;  // [Y, X], 0 or 1: ink of frames and rules, and paper beside it that has no
                     // other ink beside it
  int32_t *top, *bottom;  // [M] first and last + 1 row of each line's ink by column
  int32_t* counts;        // [L, 2] pixels of each line darker and lighter than paper
  int32_t* band;    // [L, 3] of each line's band: runs of the line's ink along its middle and a
                    // quarter of a letter above and below it, the most of the three; pixels of its
                    // ink; and of other ink
  int32_t* unread;  // [C, 2] pixels of each piece that are kNobody's, and kFrame's, rules aside
};

// ink, labels [Y, X] and offset [Y/4, X/4], rows `offset_ld` apart -> all of `out`.
void assign_ink(const uint8_t* ink, const int32_t* labels, int64_t Y, int64_t X,
                const std::vector<Component>& components, const float* offset, int64_t offset_ld,
                const LineColumns& columns, const Owned& out);

}  // namespace khmer_fast
