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

// Four times the mean of four pixels along x: grey [Y, X] -> rows of X - 3. They are asked for from
// the first on, and the last kKept are there.
class Fours {
 public:
  static constexpr int64_t kKept = 16;

  Fours(const uint8_t* grey, int64_t X) : grey_(grey), X_(X), rows_(kKept * (X - 3)) {}

  const int16_t* row(int64_t y) {
    for (; next_ <= y; ++next_) {
      const uint8_t* in = grey_ + next_ * X_;
      int16_t* sum = place(next_);
      for (int64_t x = 0; x < X_ - 3; ++x)
        sum[x] = static_cast<int16_t>(in[x] + in[x + 1] + in[x + 2] + in[x + 3]);
    }
    return place(y);
  }

 private:
  int16_t* place(int64_t y) { return rows_.data() + y % kKept * (X_ - 3); }

  const uint8_t* grey_;
  int64_t X_, next_ = 0;
  std::vector<int16_t> rows_;
};

// What is said of each pixel, rows `stride` apart, a multiple of kBlock: 1, -1 or 0.
struct Signs {
  static constexpr int64_t kBlock = 8;
  int64_t Y, X, stride;
  std::vector<int8_t> values;

  Signs(int64_t Y, int64_t X)
      : Y(Y), X(X), stride((X + 2 * kBlock - 1) / kBlock * kBlock), values(Y * stride, 0) {}
  int8_t* row(int64_t y) { return values.data() + y * stride; }
  const int8_t* row(int64_t y) const { return values.data() + y * stride; }
};

// Where a pixel, smoothed along x, is darker (1) or lighter (-1) than what is above and below it.
// Sums of four grey levels and their differences fit 16 bits, and all is done in them: that is what
// compilers turn into vectors.
Signs stands_out(const uint8_t* grey, int64_t Y, int64_t X, int32_t least) {
  Signs out(Y, X);
  if (Y < 2 * kSides[1] + 1 || X < 4) return out;
  const int64_t width = X - 3;
  Fours fours(grey, X);
  const int16_t most = static_cast<int16_t>(4 * std::min(least, 256));
  const auto sign = [most](int16_t above, int16_t middle, int16_t below) {
    const int16_t rise = static_cast<int16_t>(std::min(above, below) - middle);
    const int16_t fall = static_cast<int16_t>(middle - std::max(above, below));
    const int16_t darker = rise > most ? 1 : 0, lighter = fall > most ? 1 : 0;
    return static_cast<int16_t>(darker - lighter);
  };
  std::vector<int16_t> signs(width);
  for (int64_t y = kSides[0]; y < Y - kSides[0]; ++y) {
    const int64_t far = y < kSides[1] || y >= Y - kSides[1] ? kSides[0] : kSides[1];
    static_assert(2 * kSides[1] < Fours::kKept);
    const int16_t *far_below = fours.row(y + far), *far_above = fours.row(y - far);
    const int16_t *below = fours.row(y + kSides[0]), *above = fours.row(y - kSides[0]);
    const int16_t* middle = fours.row(y);
    for (int64_t x = 0; x < width; ++x) {
      const int16_t near = sign(above[x], middle[x], below[x]);
      const int16_t other = sign(far_above[x], middle[x], far_below[x]);
      signs[x] = near == 0 ? other : near;
    }
    int8_t* found = out.row(y) + 1;
    for (int64_t x = 0; x < width; ++x) found[x] = static_cast<int8_t>(signs[x]);
  }
  return out;
}

// Where the ground below a pixel, smoothed along x, is darker (1) or lighter (-1) than that above
// it, both of them even.
Signs edges_of(const uint8_t* grey, int64_t Y, int64_t X, int32_t least) {
  Signs out(Y, X);
  if (Y < 2 * kFarEdge + 1 || X < 4) return out;
  const int64_t width = X - 3;
  Fours fours(grey, X);
  const int16_t most = static_cast<int16_t>(4 * std::min(least, 256));
  const auto distance = [](int16_t a, int16_t b) {
    return static_cast<int16_t>(std::max(a, b) - std::min(a, b));
  };
  std::vector<int16_t> signs(width);
  for (int64_t y = kFarEdge; y < Y - kFarEdge; ++y) {
    static_assert(2 * kFarEdge < Fours::kKept);
    const int16_t *far_below = fours.row(y + kFarEdge), *far_above = fours.row(y - kFarEdge);
    const int16_t *below = fours.row(y + kNearEdge), *above = fours.row(y - kNearEdge);
    for (int64_t x = 0; x < width; ++x) {
      const int16_t size = distance(above[x], below[x]);
      const int16_t varies =
          std::max(distance(far_above[x], above[x]), distance(far_below[x], below[x]));
      const int16_t uneven = static_cast<int16_t>(kEvenGround[1] * varies);
      const int16_t allowed = static_cast<int16_t>(kEvenGround[0] * size);
      const int16_t sign = above[x] > below[x] ? 1 : -1;
      const int16_t large = size > most ? sign : 0;
      signs[x] = uneven < allowed ? large : 0;
    }
    int8_t* found = out.row(y) + 1;
    for (int64_t x = 0; x < width; ++x) found[x] = static_cast<int8_t>(signs[x]);
  }
  return out;
}

struct Group {
  int64_t top, last, left, right, last_left, last_right;
};

// Long runs of `sign`, thickened by a row up and down, those over one another together.
std::vector<Group> groups_of(const Signs& found, int8_t sign) {
  std::vector<Group> groups;
  std::vector<size_t> near, kept;
  const int64_t stride = found.stride;
  std::vector<uint8_t> thick(stride);
  const auto whole = [&](int64_t block) {  // the rest of a row is 0: no block of it is
    uint64_t eight;
    std::memcpy(&eight, thick.data() + block * Signs::kBlock, Signs::kBlock);
    return eight == 0x0101010101010101;
  };
  for (int64_t y = 0; y < found.Y; ++y) {
    const int8_t* row = found.row(y);
    const int8_t* up = y > 0 ? row - stride : row;
    const int8_t* down = y + 1 < found.Y ? row + stride : row;
    for (int64_t x = 0; x < stride; ++x)
      thick[x] = (row[x] == sign) | (up[x] == sign) | (down[x] == sign);
    // a long run has two whole blocks, one after the other
    static_assert(kShortest >= 3 * Signs::kBlock - 1);
    for (int64_t block = 0; block + 1 < stride / Signs::kBlock; ++block) {
      if (!whole(block + 1)) {
        ++block;
        continue;
      }
      if (!whole(block)) continue;
      int64_t left = block * Signs::kBlock, x = left + 2 * Signs::kBlock;
      while (left > 0 && thick[left - 1]) --left;
      while (thick[x]) ++x;
      block = x / Signs::kBlock;
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

// Marks what was found of a piece and no farther from it than it is thick: mask [y step_y +
// x step_x].
void mark(const Signs& found, int8_t sign, const RulePiece& piece, uint8_t* mask, int64_t step_y,
          int64_t step_x) {
  const int64_t half = static_cast<int64_t>(std::ceil(piece.thickness / 2)) + 1;
  for (int64_t x = static_cast<int64_t>(piece.left); x < static_cast<int64_t>(piece.right); ++x) {
    const int64_t at =
        static_cast<int64_t>(std::nearbyint(piece.slope * static_cast<double>(x) + piece.offset));
    for (int64_t y = std::max<int64_t>(0, at - half); y <= std::min(found.Y - 1, at + half); ++y)
      if (found.row(y)[x] == sign) mask[y * step_y + x * step_x] = 1;
  }
}

std::vector<RulePiece> rule_pieces(const uint8_t* grey, int64_t Y, int64_t X, int32_t least,
                                   uint8_t* mask, int64_t step_y, int64_t step_x) {
  const Signs found = stands_out(grey, Y, X, least);
  std::vector<RulePiece> pieces;
  for (int8_t sign : {int8_t{1}, int8_t{-1}})  // darker, lighter than what is beside
    for (const Group& group : groups_of(found, sign)) {
      RulePiece piece;
      if (!fit(grey, Y, X, sign, group, least, piece)) continue;
      pieces.push_back(piece);
      mark(found, sign, piece, mask, step_y, step_x);
    }
  return pieces;
}

std::vector<RulePiece> edge_pieces(const uint8_t* grey, int64_t Y, int64_t X, int32_t least) {
  const Signs found = edges_of(grey, Y, X, least);
  std::vector<RulePiece> pieces;
  for (int8_t sign : {int8_t{1}, int8_t{-1}})  // darker below, lighter below
    for (const Group& group : groups_of(found, sign)) {
      const int64_t width = group.right - group.left;
      std::vector<int64_t> at;  // columns from the left that have the edge
      std::vector<double> middle;
      int64_t all = 0;
      for (int64_t x = 0; x < width; ++x) {
        int64_t count = 0, sum = 0;
        for (int64_t y = group.top; y <= group.last; ++y)
          if (found.row(y)[group.left + x] == sign) ++count, sum += y - group.top;
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

std::vector<uint8_t> transposed(const uint8_t* grey, int64_t Y, int64_t X) {
  std::vector<uint8_t> out(Y * X);
  constexpr int64_t kSide = 8;
  int64_t y = 0;
  for (; y + kSide <= Y; y += kSide) {
    int64_t x = 0;
    for (; x + kSide <= X; x += kSide) {
      uint64_t rows[kSide];
      for (int64_t i = 0; i < kSide; ++i) std::memcpy(rows + i, grey + (y + i) * X + x, kSide);
      // halves, quarters and eighths of the square change places across its diagonal
      for (int64_t half = 4; half > 0; half /= 2) {
        const uint64_t low = half == 4   ? 0x00000000FFFFFFFF
                             : half == 2 ? 0x0000FFFF0000FFFF
                                         : 0x00FF00FF00FF00FF;
        for (int64_t i = 0; i < kSide; ++i) {
          if (i & half) continue;
          const uint64_t a = rows[i], b = rows[i + half];
          rows[i] = (a & low) | (b & low) << (8 * half);
          rows[i + half] = (a >> (8 * half) & low) | (b & ~low);
        }
      }
      for (int64_t i = 0; i < kSide; ++i)
        std::memcpy(out.data() + (x + i) * Y + y, rows + i, kSide);
    }
    for (; x < X; ++x)
      for (int64_t i = y; i < y + kSide; ++i) out[x * Y + i] = grey[i * X + x];
  }
  for (; y < Y; ++y)
    for (int64_t x = 0; x < X; ++x) out[x * Y + y] = grey[y * X + x];
  return out;
}

std::vector<uint8_t> halved(const uint8_t* grey, int64_t Y, int64_t X) {
  std::vector<uint8_t> out((Y / 2) * (X / 2));
  for (int64_t y = 0; y < Y / 2; ++y) {
    const uint8_t *upper = grey + 2 * y * X, *lower = upper + X;
    uint8_t* row = out.data() + y * (X / 2);
    for (int64_t x = 0; x < X / 2; ++x)
      row[x] = static_cast<uint8_t>(
          (upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1]) / 4);
  }
  return out;
}

}  // namespace

PageRules find_rules(const uint8_t* grey, int64_t Y, int64_t X, int32_t least, uint8_t* mask) {
  std::fill_n(mask, Y * X, 0);
  PageRules found;
  const auto look = [&](const uint8_t* page, int64_t rows, int64_t columns, int64_t step_y,
                        int64_t step_x, std::vector<RulePiece>& rules,
                        std::vector<RulePiece>& edges) {
    rules = rule_pieces(page, rows, columns, least, mask, step_y, step_x);
    edges = edge_pieces(halved(page, rows, columns).data(), rows / 2, columns / 2, least);
  };
  look(grey, Y, X, X, 1, found.level, found.level_edges);
  look(transposed(grey, Y, X).data(), X, Y, 1, X, found.upright, found.upright_edges);
  return found;
}

}  // namespace khmer_fast
