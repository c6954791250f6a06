// Whose line each pixel of ink is: khmer_fast/page/owners_reference.py, exactly.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/page_ink.h"

namespace khmer_fast {

// ink, labels [Y, X] and offset [Y/4, X/4], rows `offset_ld` apart -> owners [Y, X]: 0 paper,
// line + 1, kNobody, or kFrame (frames, bars and rules).
void assign_ink(const uint8_t* ink, const int32_t* labels, int64_t Y, int64_t X,
                const std::vector<Component>& components, const float* offset, int64_t offset_ld,
                const LineColumns& columns, uint16_t* owners);

// owners [Y, X] -> painted [Y, X], 0 or 1: ink of frames and rules, and paper beside it that has no
// other ink beside it.
void paint_mask(const uint16_t* owners, int64_t Y, int64_t X, uint8_t* painted);

// First and last + 1 row of each line's ink by column: top, bottom [M]; its pixels darker and
// lighter than paper: counts [L, 2].
void line_extents(const uint16_t* owners, const uint8_t* ink, int64_t Y, int64_t X,
                  const LineColumns& columns, int32_t* top, int32_t* bottom, int32_t* counts);

// Of each line's band: runs of the line's ink along its middle and a quarter of a letter above and
// below it, the most of the three; pixels of its ink; and of other ink: counts [L, 3].
void band_ink(const uint16_t* owners, int64_t Y, int64_t X, const LineColumns& columns,
              int32_t* counts);

// Pixels of each piece that are kNobody's, and kFrame's, rules aside: areas [C, 2].
void unread_ink(const uint16_t* owners, const uint8_t* ink, const int32_t* labels, int64_t Y,
                int64_t X, int32_t* areas, int64_t C);

}  // namespace khmer_fast
