// Ink and paper of a page at the network's scale: khmer_fast/page/pixels_reference.py, exactly.
#pragma once

#include <cstdint>
#include <vector>

namespace khmer_fast {

constexpr int64_t kCell = 16;                            // pixels of a node of the paper's grid
constexpr uint8_t kDarker = 1, kLighter = 2, kRule = 3;  // classes of ink
constexpr uint16_t kNobody = 65535, kFrame = 65534;      // owners of ink that belongs to no line

inline int64_t cells(int64_t pixels) { return (pixels + kCell - 1) / kCell; }

// grey [page_y, page_x] -> out [Y, X], means of whole rows and columns; Y <= page_y, X <= page_x.
void shrink(const uint8_t* grey, int64_t page_y, int64_t page_x, int64_t Y, int64_t X,
            uint8_t* out);

// grey [Y, X] -> paper and threshold [cells(Y), cells(X)].
void estimate_paper(const uint8_t* grey, int64_t Y, int64_t X, uint8_t* paper, uint8_t* threshold);

// The lines of a page by columns of pixels; line l's begin at begin[l] of the arrays [M].
struct LineColumns {
  int64_t lines;
  const int32_t* left;   // [L] page column of a line's first
  const int64_t* begin;  // [L + 1]
  const int32_t* inner;  // [L, 2] page columns that the band reaches from and to
  const float* letter;   // [L] letter height
  const float* middle;   // [M] of the band
  const float* above;    // [M] from there to the top of the ink nearby
  const float* below;    // [M] and to its bottom
};

// Paper and the least difference of ink within each line's reach: grey [Y, X] -> [M] each.
void line_paper(const uint8_t* grey, int64_t Y, int64_t X, const LineColumns& columns,
                uint8_t* paper, uint8_t* threshold);

// Paper and the least difference of ink: by nodes of a page's grid, or by columns of lines.
struct PaperOf {
  const uint8_t *paper, *threshold;
};

// grey [Y, X] and rules [Y, X] (0 or 1) -> ink [Y, X] (kDarker, kLighter, kRule or 0) and its paper
// [Y, X]: within the lines' reach by the paper of the line that reaches a pixel best, else by the
// page's.
void find_ink(const uint8_t* grey, int64_t Y, int64_t X, const PaperOf& page,
              const LineColumns& columns, const PaperOf& lines, const uint8_t* rules, uint8_t* ink,
              uint8_t* paper);

struct Component {
  int32_t left, top, right, bottom, area;
};

// Connected pieces of one class, numbered from 1 by rows: ink [Y, X] -> labels [Y, X].
std::vector<Component> label(const uint8_t* ink, int64_t Y, int64_t X, int32_t* labels);

}  // namespace khmer_fast
