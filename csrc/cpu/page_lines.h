// Lines by columns of a page: for page_owners.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/page_ink.h"

namespace khmer_fast {

// A line of text by columns.
struct Line {
  int64_t first, end;    // page columns
  int64_t from_x, to_x;  // of them those that the band reaches
  double letter;
  const float *middle, *above, *below;  // [end - first]
  std::vector<int32_t> from_y, to_y;    // [to_x - from_x] rows of the band
  int64_t top, bottom;                  // and of all its columns
  std::vector<int32_t> lettered;        // [end - first + 1] columns before with ink in the band

  int64_t at(int64_t x) const { return std::clamp(x, first, end - 1) - first; }
  bool holds(int64_t x) const { return first <= x && x < end; }
  // Whether column x, one of the band's, has it at row y.
  bool in_band(int64_t y, int64_t x) const {
    return from_y[x - from_x] <= y && y < to_y[x - from_x];
  }
};

// The lines of a page of Y rows.
inline std::vector<Line> lines_of(const LineColumns& columns, int64_t Y) {
  const auto row = [Y](double y) {
    return static_cast<int32_t>(std::clamp(y + 0.5, 0.0, static_cast<double>(Y)));
  };
  std::vector<Line> lines(columns.lines);
  for (int64_t l = 0; l < columns.lines; ++l) {
    Line& line = lines[l];
    const int64_t begin = columns.begin[l];
    line.first = columns.left[l], line.end = line.first + columns.begin[l + 1] - begin;
    line.from_x = columns.inner[2 * l], line.to_x = columns.inner[2 * l + 1];
    line.letter = columns.letter[l];
    line.middle = columns.middle + begin;
    line.above = columns.above + begin, line.below = columns.below + begin;
    line.top = Y, line.bottom = 0;
    for (int64_t x = line.from_x; x < line.to_x; ++x) {
      const double middle = line.middle[x - line.first];
      line.from_y.push_back(row(middle - line.letter / 2));
      line.to_y.push_back(row(middle + line.letter / 2));
      line.top = std::min<int64_t>(line.top, line.from_y.back());
      line.bottom = std::max<int64_t>(line.bottom, line.to_y.back());
    }
  }
  return lines;
}

}  // namespace khmer_fast
