#include "cpu/line_marks.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace khmer_fast {
namespace {

// As in leaders.py and fillers.py.
constexpr int64_t kBand = 8, kRoom = 24, kRule = 60, kLeastMarks = 6;
constexpr uint8_t kInks[] = {160, 208};
constexpr int64_t kFillerMarks = 4, kSpeck = 1, kHigh = 16;
constexpr double kNarrowest = 0.45, kWidest = 1.5, kLevel = 0.12, kLevelPixels = 2;

// leaders._may_hold_marks, of how many bands of a column hold ink.
bool may_hold_marks(const std::vector<uint8_t>& inked) {
  const int64_t X = static_cast<int64_t>(inked.size());
  int64_t columns = 0, runs = 0, longest = 0, stretch = 0;
  bool flat = true;
  for (int64_t x = 0; x <= X; ++x) {
    const uint8_t bands = x < X ? inked[x] : 0;
    const bool thin = 0 < bands && bands <= 2;
    if (thin) ++columns;
    stretch = thin ? stretch + 1 : 0;
    longest = std::max(longest, stretch);
    if (bands == 0) {  // the end of a run, all of which was flat
      if (x > 0 && inked[x - 1] && flat) ++runs;
      flat = true;
    } else if (!thin) {
      flat = false;
    }
  }
  return columns >= kLeastMarks && (runs >= kLeastMarks || longest >= kRule);
}

// fillers._is_chevron, but for the shape of its arms: whether the mean of marks `width` wide that
// begin at `left` is of a filler's size and has white between its arms.
bool may_be_filler(const uint8_t* line, int64_t height, int64_t X, const int64_t* left,
                   int64_t width) {
  std::vector<uint8_t> inked(height * width);
  int64_t top = height, bottom = 0, first = width, end = 0;
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      int64_t sum = 0;
      for (int64_t i = 0; i < kFillerMarks; ++i) sum += line[y * X + left[i] + x];
      if (sum >= kFillerMarks * kInks[0]) continue;
      inked[y * width + x] = 1;
      top = std::min(top, y), bottom = y + 1;
      first = std::min(first, x), end = std::max(end, x + 1);
    }
  const int64_t rows = bottom - top, columns = end - first;
  const double high = static_cast<double>(rows), wide = static_cast<double>(columns);
  if (rows < kHigh || wide < kNarrowest * high || wide > kWidest * high) return false;
  const auto at = [&](double share) {  // Python's round: ties to even
    return top + static_cast<int64_t>(std::nearbyint(share * high));
  };
  for (int64_t y = at(0.4); y < at(0.6); ++y)
    for (int64_t x = first + columns * 2 / 3; x < end; ++x)
      if (inked[y * width + x]) return false;
  return true;
}

}  // namespace

bool may_hold_leader(const uint8_t* line, int64_t height, int64_t X) {
  const int64_t bands = height / kBand;
  // 1. Where letters stand close, higher than two bands, there is no room for a leader.
  // Bands with ink: in every other row, clear; in all rows, clear and faint
  std::vector<uint8_t> sparse(X), clear(X), faint(X), half(X), whole(X);
  for (int64_t band = 0; band < bands; ++band) {
    std::fill(half.begin(), half.end(), uint8_t{255});
    std::fill(whole.begin(), whole.end(), uint8_t{255});
    for (int64_t y = 0; y < kBand; ++y) {
      const uint8_t* row = line + (band * kBand + y) * X;
      if (y % 2 == 0)
        for (int64_t x = 0; x < X; ++x) half[x] = std::min(half[x], row[x]);
      else
        for (int64_t x = 0; x < X; ++x) whole[x] = std::min(whole[x], row[x]);
    }
    for (int64_t x = 0; x < X; ++x) {
      const uint8_t darkest = std::min(half[x], whole[x]);
      sparse[x] = static_cast<uint8_t>(sparse[x] + (half[x] < kInks[0]));
      clear[x] = static_cast<uint8_t>(clear[x] + (darkest < kInks[0]));
      faint[x] = static_cast<uint8_t>(faint[x] + (darkest < kInks[1]));
    }
  }
  int64_t last = -1, widest = 0;  // column of high ink
  for (int64_t x = 0; x < X; ++x) {
    if (sparse[x] <= 2) continue;
    widest = std::max(widest, last < 0 ? x : x - last);
    last = x;
  }
  if (last >= 0 && std::max(widest, X - last) < kRoom) return false;
  return may_hold_marks(clear) || may_hold_marks(faint);
}

bool may_hold_filler(const uint8_t* line, int64_t height, int64_t X) {
  std::vector<uint8_t> ink(X);
  for (int64_t y = 0; y < height; y += 2)
    for (int64_t x = 0; x < X; ++x)
      ink[x] = static_cast<uint8_t>(ink[x] + (line[y * X + x] < kInks[0]));
  std::vector<int64_t> left, width;  // of stretches of ink
  for (int64_t x = 0; x < X; ++x) {
    if (ink[x] <= kSpeck) continue;
    const int64_t start = x;
    while (x < X && ink[x] > kSpeck) ++x;
    left.push_back(start);
    width.push_back(x - start);
  }
  // four of one pitch and one width
  const int64_t stretches = static_cast<int64_t>(left.size());
  int64_t even = 0, alike = 0;  // neighbours on end, the last of which begin at i
  for (int64_t i = 1; i < stretches; ++i) {
    const int64_t step = left[i] - left[i - 1];
    const double level = std::max(kLevelPixels, kLevel * static_cast<double>(step));
    const auto near = [&](int64_t a, int64_t b) {
      return static_cast<double>(std::abs(a - b)) <= level;
    };
    even = i >= 2 && near(step, left[i - 1] - left[i - 2]) ? even + 1 : 0;
    alike = near(width[i], width[i - 1]) && static_cast<double>(width[i]) >= kNarrowest * kHigh
                ? alike + 1
                : 0;
    if (even < kFillerMarks - 2 || alike < kFillerMarks - 1) continue;
    const int64_t first = i - kFillerMarks + 1;
    const int64_t widest = *std::max_element(&width[first], &width[i] + 1);
    if (left[i] + widest <= X && may_be_filler(line, height, X, &left[first], widest)) return true;
  }
  return false;
}

}  // namespace khmer_fast
