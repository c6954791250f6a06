// Lines by columns of a page, and walks over rows of ink: for page_owners.cpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cpu/page_ink.h"

namespace khmer_fast {

// Calls `each` for the columns of a row from `from` to `to` (exclusive) whose value is not 0.
template <class T, class Each>
void each_inked(const T* row, int64_t from, int64_t to, Each&& each) {
  static_assert(std::endian::native == std::endian::little);
  constexpr int64_t kStep = 8 / sizeof(T), kBits = 8 * sizeof(T);
  constexpr uint64_t kTop = ~uint64_t{0} / ((uint64_t{1} << kBits) - 1) << (kBits - 1);
  int64_t x = from;
  for (; x + kStep <= to; x += kStep) {  // as many values as 64 bits hold
    uint64_t values;
    std::memcpy(&values, row + x, sizeof(values));
    // the top bit of each value that is not 0: paper and ink alternate, and branches would guess
    for (uint64_t left = (((values & ~kTop) + ~kTop) | values) & kTop; left; left &= left - 1)
      each(x + std::countr_zero(left) / kBits);
  }
  for (; x < to; ++x)
    if (row[x]) each(x);
}

// A line of text by columns.
struct Line {
  int64_t first, end;    // page columns
  int64_t from_x, to_x;  // of them those that the band reaches
  double letter;
  const float *middle, *above, *below;  // [end - first]
  std::vector<int32_t> lettered;        // [end - first + 1] columns before with ink in the band

  int64_t at(int64_t x) const { return std::clamp(x, first, end - 1) - first; }
  bool holds(int64_t x) const { return first <= x && x < end; }
  // Rows of the band at column x, within Y rows.
  int64_t from_y(int64_t x, int64_t Y) const { return row(middle[at(x)] - letter / 2, Y); }
  int64_t to_y(int64_t x, int64_t Y) const { return row(middle[at(x)] + letter / 2, Y); }

 private:
  static int64_t row(double y, int64_t Y) {
    return std::clamp<int64_t>(static_cast<int64_t>(std::floor(y + 0.5)), 0, Y);
  }
};

inline std::vector<Line> lines_of(const LineColumns& columns) {
  std::vector<Line> lines;
  lines.reserve(columns.lines);
  for (int64_t l = 0; l < columns.lines; ++l) {
    const int64_t begin = columns.begin[l], first = columns.left[l];
    lines.push_back({first, first + columns.begin[l + 1] - begin, columns.inner[2 * l],
                     columns.inner[2 * l + 1], columns.letter[l], columns.middle + begin,
                     columns.above + begin, columns.below + begin});
  }
  return lines;
}

// Rows of a line's band by column, from_x to to_x.
struct BandRows {
  std::vector<int32_t> from, to;
  int64_t top, bottom;  // of all columns

  BandRows(const Line& line, int64_t Y)
      : from(line.to_x - line.from_x), to(from), top(Y), bottom(0) {
    for (int64_t x = line.from_x; x < line.to_x; ++x) {
      const int64_t first = line.from_y(x, Y), end = line.to_y(x, Y);
      from[x - line.from_x] = static_cast<int32_t>(first);
      to[x - line.from_x] = static_cast<int32_t>(end);
      top = std::min(top, first), bottom = std::max(bottom, end);
    }
  }
};

}  // namespace khmer_fast
