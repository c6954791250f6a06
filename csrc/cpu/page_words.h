// Where words and characters of a line stand on its page: khmer_fast/page/words_reference.py,
// exactly.
#pragma once

#include <cstdint>

namespace khmer_fast {

struct PageBox {
  int64_t left, top, right, bottom;
};

// A line's picture: page column of its first, page row of its top edge by column [width].
struct CropPlace {
  int64_t left;
  const float* rows;
  int64_t width;
};

// A line's ink by columns [count], `step` page pixels each from page pixel `left` on: page rows of
// the first and the last ink, inf and -inf where there is none.
struct InkOfLine {
  double left, step, letter;
  const double *top, *bottom;
  int64_t count;
};

// Boxes in the crop -> those on the page, round their ink and within the line's.
void place_boxes(const CropPlace& crop, const InkOfLine& ink, const PageBox& line, PageBox* words,
                 int64_t word_count, PageBox* characters, int64_t character_count);

}  // namespace khmer_fast
