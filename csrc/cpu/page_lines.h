// Ink of a page run by run, and its lines by columns: for page_owners.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include "cpu/page_ink.h"

namespace khmer_fast {

// Calls `each` for a row's runs of one class of ink, with the first column and the last + 1.
template <class Each>
void each_run(const uint8_t* row, int64_t X, Each&& each) {
  for (int64_t x = 0; x < X;) {
    if (!row[x]) {
      uint64_t eight;  // pixels of paper at once
      while (x + 8 <= X && (std::memcpy(&eight, row + x, 8), eight == 0)) x += 8;
      while (x < X && !row[x]) ++x;
      continue;
    }
    const int64_t begin = x;
    while (x < X && row[x] == row[begin]) ++x;
    each(begin, x);
  }
}

// A stretch of one piece's ink in a row: columns from, to (exclusive).
struct Run {
  int32_t y, begin, end, piece;
};

// A page's pieces of ink, run by run, and what the network says of them.
struct Pieces {
  int64_t Y, X;
  const float* offset;  // [Y/4, X/4], rows `offset_ld` apart
  int64_t offset_ld;
  std::vector<Run> by_row, by_piece;  // the same runs; a piece's row by row
  std::vector<size_t> row, piece;     // [Y + 1], [C + 1] where the runs of each begin

  Pieces(const uint8_t* ink, const int32_t* labels, int64_t Y, int64_t X, size_t C,
         const float* offset, int64_t offset_ld)
      : Y(Y), X(X), offset(offset), offset_ld(offset_ld), row(Y + 1), piece(C + 1) {
    for (int64_t y = 0; y < Y; ++y) {
      each_run(ink + y * X, X, [&](int64_t begin, int64_t end) {
        const int32_t c = labels[y * X + begin] - 1;
        by_row.push_back(
            {static_cast<int32_t>(y), static_cast<int32_t>(begin), static_cast<int32_t>(end), c});
        ++piece[c + 1];
      });
      row[y + 1] = by_row.size();
    }
    std::partial_sum(piece.begin(), piece.end(), piece.begin());
    by_piece.resize(by_row.size());
    std::vector<size_t> next(piece.begin(), piece.end() - 1);
    for (const Run& run : by_row) by_piece[next[run.piece]++] = run;
  }

  std::span<const Run> of(int32_t c) const {
    return {by_piece.data() + piece[c], piece[c + 1] - piece[c]};
  }

  // The middle of its own line that the network sees from a pixel.
  double opinion(int64_t y, int64_t x) const {
    return (y + 0.5) + static_cast<double>(offset[y / 4 * offset_ld + x / 4]);
  }
};

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
