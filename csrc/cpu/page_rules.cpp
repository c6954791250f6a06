#include "cpu/page_rules.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace khmer_fast {
namespace {

constexpr int64_t kShortest = 28;      // pixels of a piece
constexpr int32_t kThickest = 6;       // pixels
constexpr int64_t kSides[2] = {3, 5};  // pixels above and below that a rule differs from
constexpr int64_t kTallest = 10;       // rows of the runs of one piece
constexpr int64_t kReach = 8;          // pixels above and below a piece that are looked at
constexpr double kSteepest = 0.1;      // rise over run
constexpr double kEven = 0.9, kEvenShare = 0.35;
constexpr double kClear = 0.9, kHalfClear = 0.4;
constexpr double kThin = 0.7;
constexpr int64_t kNearEdge = 1, kFarEdge = 4;  // rows between which a ground must be even
constexpr int32_t kEvenGround[2] = {2, 5};      // of an edge's difference that it may vary by
constexpr int64_t kSteepEdge = 3;               // rows in which an edge is found, at most

// The median as numpy has it: the mean of the middle two.
template <class T>
double median(std::vector<T>& values) {
  const size_t n = values.size(), half = n / 2;
  std::nth_element(values.begin(), values.begin() + half, values.end());
  const double upper = values[half];
  if (n % 2) return upper;
  return (static_cast<double>(*std::max_element(values.begin(), values.begin() + half)) + upper) /
         2;
}

// Four times the mean of four pixels along x: grey [Y, X] -> [Y, X - 3].
std::vector<int16_t> fours(const uint8_t* grey, int64_t Y, int64_t X) {
  const int64_t width = X - 3;
  std::vector<int16_t> four(Y * width);
  for (int64_t y = 0; y < Y; ++y) {
    const uint8_t* in = grey + y * X;
    int16_t* sum = four.data() + y * width;
    for (int64_t x = 0; x < width; ++x)
      sum[x] = static_cast<int16_t>(in[x] + in[x + 1] + in[x + 2] + in[x + 3]);
  }
  return four;
}

// Where a pixel, smoothed along x, is darker (1) or lighter (-1) than what is above and below it:
// grey [Y, X] -> [Y, X].
std::vector<int8_t> stands_out(const uint8_t* grey, int64_t Y, int64_t X, int32_t least) {
  std::vector<int8_t> out(Y * X, 0);
  if (Y < 2 * kSides[1] + 1 || X < 4) return out;
  const int64_t width = X - 3;
  const std::vector<int16_t> four = fours(grey, Y, X);
  const int16_t most = static_cast<int16_t>(4 * std::min(least, 256));
  for (int64_t side : kSides) {
    for (int64_t y = side; y < Y - side; ++y) {
      const int16_t* middle = four.data() + y * width;
      const int16_t *above = middle - side * width, *below = middle + side * width;
      int8_t* found = out.data() + y * X + 1;
      for (int64_t x = 0; x < width; ++x) {
        const int16_t low = std::min(above[x], below[x]), high = std::max(above[x], below[x]);
        const int8_t darker = low - middle[x] > most, lighter = middle[x] - high > most;
        const int8_t mine = static_cast<int8_t>(darker - lighter);
        found[x] = found[x] ? found[x] : mine;
      }
    }
  }
  return out;
}

// Where the ground below a pixel, smoothed along x, is darker (1) or lighter (-1) than that above
// it, both of them even: grey [Y, X] -> [Y, X].
std::vector<int8_t> edges_of(const uint8_t* grey, int64_t Y, int64_t X, int32_t least) {
  std::vector<int8_t> out(Y * X, 0);
  if (Y < 2 * kFarEdge + 1 || X < 4) return out;
  const int64_t width = X - 3;
  const std::vector<int16_t> four = fours(grey, Y, X);
  const int32_t most = 4 * std::min(least, 256);
  for (int64_t y = kFarEdge; y < Y - kFarEdge; ++y) {
    const int16_t* row = four.data() + y * width;
    const int16_t *far_above = row - kFarEdge * width, *above = row - kNearEdge * width;
    const int16_t *below = row + kNearEdge * width, *far_below = row + kFarEdge * width;
    int8_t* found = out.data() + y * X + 1;
    for (int64_t x = 0; x < width; ++x) {
      const int32_t difference = above[x] - below[x], size = std::abs(difference);
      const int32_t varies =
          std::max(std::abs(far_above[x] - above[x]), std::abs(far_below[x] - below[x]));
      const bool edge = (size > most) & (kEvenGround[1] * varies < kEvenGround[0] * size);
      found[x] = static_cast<int8_t>(edge * ((difference > 0) - (difference < 0)));
    }
  }
  return out;
}

struct Group {
  int64_t top, last, left, right, last_left, last_right;
};

// Long runs of `sign`, thickened by a row up and down, those over one another together.
std::vector<Group> groups_of(const std::vector<int8_t>& found, int64_t Y, int64_t X, int8_t sign) {
  std::vector<Group> groups;
  std::vector<size_t> near, kept;
  std::vector<uint8_t> thick(X + 8, 0);
  for (int64_t y = 0; y < Y; ++y) {
    const int8_t* row = found.data() + y * X;
    const int8_t* up = y > 0 ? row - X : row;
    const int8_t* down = y + 1 < Y ? row + X : row;
    for (int64_t x = 0; x < X; ++x)
      thick[x] = (row[x] == sign) | (up[x] == sign) | (down[x] == sign);
    for (int64_t x = 0; x < X;) {
      if (!thick[x]) {
        uint64_t eight;
        std::memcpy(&eight, thick.data() + x, 8);
        x += eight ? 1 : 8;
        continue;
      }
      const int64_t left = x;
      while (x < X && thick[x]) ++x;
      if (x - left < kShortest) continue;
      kept.clear();
      for (size_t g : near)
        if (groups[g].last >= y - 1) kept.push_back(g);
      near.swap(kept);
      const auto over = std::find_if(near.begin(), near.end(), [&](size_t g) {
        const Group& group = groups[g];
        return left < group.last_right && group.last_left < x && y - group.top < kTallest;
      });
      if (over == near.end()) {
        near.push_back(groups.size());
        groups.push_back({y, y, left, x, left, x});
        continue;
      }
      Group& group = groups[*over];
      group.last = y;
      group.left = std::min(group.left, left);
      group.right = std::max(group.right, x);
      group.last_left = left, group.last_right = x;
    }
  }
  return groups;
}

// A group's pixels with paper around, so turned that rules are high.
struct Window {
  const uint8_t* grey;  // of the first row and column
  int64_t stride, height, width;
  int32_t sign;

  int32_t at(int64_t y, int64_t x) const {
    return -sign * static_cast<int32_t>(grey[std::clamp<int64_t>(y, 0, height - 1) * stride + x]);
  }
};

// How many pixels of a column, higher than `least`, are one stretch with row y, or with the next
// row or the one before where that is lower.
int32_t thickness_at(const Window& window, int64_t y, int64_t x, double least) {
  const auto inside = [&](int64_t row) { return window.at(row, x) > least; };
  int64_t start = std::clamp<int64_t>(y, 0, window.height - 1);
  for (int64_t shift : {1, -1})
    if (!inside(start)) start = std::clamp<int64_t>(y + shift, 0, window.height - 1);
  if (!inside(start)) return 0;
  int32_t thickness = 1;
  for (int64_t direction : {-1, 1})
    for (int64_t k = 1; k <= kThickest + 1; ++k) {
      const int64_t row = start + direction * k;
      if (row < 0 || row >= window.height || !inside(row)) break;
      ++thickness;
    }
  return thickness;
}

bool fit(const uint8_t* grey, int64_t Y, int64_t X, int32_t sign, const Group& group, int32_t least,
         RulePiece& piece) {
  const int64_t first = std::max<int64_t>(0, group.top - kReach);
  const int64_t end = std::min(Y, group.last + 1 + kReach), width = group.right - group.left;
  const Window window{grey + first * X + group.left, X, end - first, width, sign};
  // 1. the straight line through the highest pixel of each column
  std::vector<int64_t> middle(width);
  for (int64_t x = 0; x < width; ++x) {
    int64_t best = group.top - first;
    for (int64_t y = best + 1; y < group.last + 1 - first; ++y)
      if (window.at(y, x) > window.at(best, x)) best = y;
    middle[x] = best;
  }
  const int64_t third = std::max<int64_t>(1, width / 3);
  std::vector<int64_t> low(middle.begin(), middle.begin() + third);
  std::vector<int64_t> high(middle.end() - third, middle.end());
  const double slope = (median(high) - median(low)) / static_cast<double>(width - third);
  if (std::abs(slope) > kSteepest) return false;
  std::vector<double> level(width);
  for (int64_t x = 0; x < width; ++x)
    level[x] = static_cast<double>(middle[x]) - slope * static_cast<double>(x);
  const double offset = median(level);
  std::vector<int64_t> at(width);
  for (int64_t x = 0; x < width; ++x)
    at[x] = static_cast<int64_t>(std::nearbyint(slope * static_cast<double>(x) + offset));
  // 2. one grey along it, paper beside it
  std::vector<int32_t> ridge(width), above(width), below(width);
  for (int64_t x = 0; x < width; ++x) {
    ridge[x] = std::max({window.at(at[x] - 1, x), window.at(at[x], x), window.at(at[x] + 1, x)});
    above[x] = window.at(at[x] - kSides[1], x);
    below[x] = window.at(at[x] + kSides[1], x);
  }
  std::vector<int32_t> sorted = ridge;
  const double ridge_level = median(sorted);
  sorted = above;
  double paper = median(sorted);
  sorted = below;
  paper = std::min(paper, median(sorted));
  const double contrast = ridge_level - paper;
  if (contrast < least) return false;
  int64_t even = 0, clear[2] = {0, 0};
  for (int64_t x = 0; x < width; ++x) {
    even += std::abs(ridge[x] - ridge_level) < kEvenShare * contrast + least / 2.0;
    clear[0] += ridge[x] - above[x] > 0.5 * contrast;
    clear[1] += ridge[x] - below[x] > 0.5 * contrast;
  }
  const double wide = static_cast<double>(width);
  if (static_cast<double>(even) < kEven * wide ||
      static_cast<double>(std::max(clear[0], clear[1])) < kClear * wide ||
      static_cast<double>(std::min(clear[0], clear[1])) < kHalfClear * wide)
    return false;
  // 3. thin
  std::vector<int32_t> thin;
  for (int64_t x = 0; x < width; ++x) {
    const int32_t thickness = thickness_at(window, at[x], x, ridge_level - 0.5 * contrast);
    if (thickness > 0 && thickness <= kThickest) thin.push_back(thickness);
  }
  if (static_cast<double>(thin.size()) < kThin * wide) return false;
  const double left = static_cast<double>(group.left);
  piece = {left, static_cast<double>(group.right), slope,
           offset + static_cast<double>(first) - slope * left, median(thin)};
  return true;
}

void mark(const std::vector<int8_t>& found, int64_t Y, int64_t X, int8_t sign,
          const RulePiece& piece, uint8_t* mask) {
  const int64_t half = static_cast<int64_t>(std::ceil(piece.thickness / 2)) + 1;
  for (int64_t x = static_cast<int64_t>(piece.left); x < static_cast<int64_t>(piece.right); ++x) {
    const int64_t at =
        static_cast<int64_t>(std::nearbyint(piece.slope * static_cast<double>(x) + piece.offset));
    for (int64_t y = std::max<int64_t>(0, at - half); y <= std::min(Y - 1, at + half); ++y)
      if (found[y * X + x] == sign) mask[y * X + x] = 1;
  }
}

}  // namespace

std::vector<RulePiece> rule_pieces(const uint8_t* grey, int64_t Y, int64_t X, int32_t least,
                                   uint8_t* mask) {
  std::fill_n(mask, Y * X, 0);
  const std::vector<int8_t> found = stands_out(grey, Y, X, least);
  std::vector<RulePiece> pieces;
  for (int8_t sign : {int8_t{1}, int8_t{-1}})  // darker, lighter than what is beside
    for (const Group& group : groups_of(found, Y, X, sign)) {
      RulePiece piece;
      if (!fit(grey, Y, X, sign, group, least, piece)) continue;
      pieces.push_back(piece);
      mark(found, Y, X, sign, piece, mask);
    }
  return pieces;
}

std::vector<RulePiece> edge_pieces(const uint8_t* grey, int64_t Y, int64_t X, int32_t least) {
  const std::vector<int8_t> found = edges_of(grey, Y, X, least);
  std::vector<RulePiece> pieces;
  for (int8_t sign : {int8_t{1}, int8_t{-1}})  // darker below, lighter below
    for (const Group& group : groups_of(found, Y, X, sign)) {
      const int64_t width = group.right - group.left;
      std::vector<int64_t> at;  // columns from the left that have the edge
      std::vector<double> middle;
      int64_t all = 0;
      for (int64_t x = 0; x < width; ++x) {
        int64_t count = 0, sum = 0;
        for (int64_t y = group.top; y <= group.last; ++y)
          if (found[y * X + group.left + x] == sign) ++count, sum += y - group.top;
        if (!count) continue;
        all += count;
        at.push_back(x);
        middle.push_back(static_cast<double>(sum) / static_cast<double>(count));
      }
      if (all > kSteepEdge * width ||
          static_cast<double>(at.size()) < kEven * static_cast<double>(width))
        continue;
      const size_t n = at.size(), third = std::max<size_t>(1, n / 3);
      std::vector<double> low(middle.begin(), middle.begin() + third);
      std::vector<double> high(middle.end() - third, middle.end());
      const double slope = (median(high) - median(low)) / static_cast<double>(n - third);
      if (std::abs(slope) > kSteepest) continue;
      for (size_t i = 0; i < n; ++i) middle[i] -= slope * static_cast<double>(at[i]);
      const double left = static_cast<double>(group.left);
      pieces.push_back({left, static_cast<double>(group.right), slope,
                        median(middle) + static_cast<double>(group.top) - slope * left, 0.0});
    }
  return pieces;
}

}  // namespace khmer_fast
