#include "cpu/page_ink.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

namespace khmer_fast {
namespace {

constexpr int64_t kPaperReach = 2, kContrastReach = 1;  // cells around a node that count
constexpr int32_t kBins = 32, kBin = 8;                 // grey levels of a bin
constexpr int32_t kTail = 96;           // one pixel of so many is beyond the contrast
constexpr int32_t kLeastContrast = 12;  // grey levels between paper and ink
constexpr int32_t kInkShare[2] = {5, 16};
constexpr double kLineReach = 2.0;     // letter heights along a line whose pixels tell its paper
constexpr int32_t kFaint[2] = {2, 5};  // of a line's usual threshold
constexpr float kBeyond = 1e30f;       // a distance that is none
constexpr float kStrip = 1.25f;        // of a line's distances: what its own paper is asked about

template <class T>
using Histogram = std::array<T, kBins>;

// Sums over the cells within `reach`, along x and then along y: [rows, columns] both.
template <class T>
std::vector<Histogram<T>> window_sum(const std::vector<Histogram<T>>& counts, int64_t rows,
                                     int64_t columns, int64_t reach) {
  const auto add = [](Histogram<T>& sum, const Histogram<T>& x) {
    for (int32_t b = 0; b < kBins; ++b) sum[b] = static_cast<T>(sum[b] + x[b]);
  };
  std::vector<Histogram<T>> across(counts.size(), Histogram<T>{}), sums(across);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      for (int64_t k = std::max<int64_t>(j - reach, 0); k <= std::min(j + reach, columns - 1); ++k)
        add(across[i * columns + j], counts[i * columns + k]);
  if (rows == 1) return across;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t k = std::max<int64_t>(i - reach, 0); k <= std::min(i + reach, rows - 1); ++k)
      for (int64_t j = 0; j < columns; ++j) add(sums[i * columns + j], across[k * columns + j]);
  return sums;
}

// The most frequent value, the lighter one of two: the mode of the smoothed histogram, then the
// mean of its three bins.
template <class T>
int32_t paper_value(const Histogram<T>& counts) {
  int32_t padded[kBins + 2] = {};
  for (int32_t b = 0; b < kBins; ++b) padded[b + 1] = counts[b];
  int32_t mode = 0, most = -1;
  for (int32_t b = 0; b < kBins; ++b) {
    const int32_t smooth = padded[b] + 2 * padded[b + 1] + padded[b + 2];
    if (smooth >= most) mode = b, most = smooth;
  }
  int32_t total = 0, sum = 0;
  for (int32_t b = mode - 1; b <= mode + 1; ++b) {
    total += padded[b + 1];
    sum += padded[b + 1] * (kBin * b + kBin / 2);
  }
  return (sum + total / 2) / total;
}

// A share of how far the darkest or the lightest pixels are from paper.
template <class T>
int32_t threshold_value(const Histogram<T>& counts, int32_t paper) {
  int32_t total = 0;
  for (T count : counts) total += count;
  const int32_t least = total / kTail;
  int32_t darkest = 0, lightest = kBins - 1;
  for (int32_t sum = counts[0]; sum <= least;) sum += counts[++darkest];
  for (int32_t sum = counts[kBins - 1]; sum <= least;) sum += counts[--lightest];
  const int32_t contrast =
      std::max(paper - (kBin * darkest + kBin / 2), kBin * lightest + kBin / 2 - paper);
  return std::max(kLeastContrast, contrast * kInkShare[0] / kInkShare[1]);
}

// Whether a row of a cell falls into one bin, as most paper does.
bool in_one_bin(const uint8_t* row) {
  uint64_t halves[2];
  static_assert(sizeof(halves) == kCell && kBin == 8);
  std::memcpy(halves, row, kCell);
  const uint64_t bins = halves[0] & 0xF8F8F8F8F8F8F8F8;
  return bins == (halves[1] & 0xF8F8F8F8F8F8F8F8) && bins == (bins & 0xFF) * 0x0101010101010101;
}

// A grid of nodes [rows, columns], linearly between them, row after row from the first. From one
// row to the next, a pixel between the same nodes changes by the same step: sums of 16 bits, the
// upper 8 of which are its value (255 kCell kCell is less than 2^16; what wraps comes out right).
class Spread {
 public:
  Spread(const uint8_t* nodes, int64_t rows, int64_t columns, int64_t X)
      : nodes_(nodes), rows_(rows), columns_(columns), X_(X), at_(columns), sum_(X), step_(X) {
    start(0);
    std::fill(step_.begin(), step_.end(), 0);  // up to the first node
  }

  // The next row: out [X].
  void next(uint8_t* out) {
    if (y_ >= kCell / 2 && (y_ - kCell / 2) % kCell == 0) start((y_ - kCell / 2) / kCell);
    ++y_;
    for (int64_t x = 0; x < X_; ++x) {
      out[x] = static_cast<uint8_t>(sum_[x] >> 8);
      sum_[x] = static_cast<uint16_t>(sum_[x] + step_[x]);
    }
  }

 private:
  // Sums at a row of nodes, and their steps to the next one.
  void start(int64_t row) {
    const uint8_t* up = nodes_ + row * columns_;
    const uint8_t* down = nodes_ + std::min(row + 1, rows_ - 1) * columns_;
    for (int64_t j = 0; j < columns_; ++j) at_[j] = static_cast<uint16_t>(kCell * up[j]);
    along(kCell * kCell / 2, sum_.data());
    for (int64_t j = 0; j < columns_; ++j) at_[j] = static_cast<uint16_t>(down[j] - up[j]);
    along(0, step_.data());
  }

  // kCell times at_, between its nodes, and `more`: out [X].
  void along(uint16_t more, uint16_t* out) const {
    const int64_t head = std::min<int64_t>(kCell / 2, X_);
    std::fill_n(out, head, static_cast<uint16_t>(kCell * at_[0] + more));
    for (int64_t j = 0, x = head; x < X_; ++j, x += kCell) {
      const uint16_t step = static_cast<uint16_t>(at_[std::min(j + 1, columns_ - 1)] - at_[j]);
      uint16_t value = static_cast<uint16_t>(kCell * at_[j] + more);
      for (int64_t i = x; i < std::min(x + kCell, X_); ++i, value += step) out[i] = value;
    }
  }

  const uint8_t* nodes_;
  int64_t rows_, columns_, X_, y_ = 0;
  std::vector<uint16_t> at_, sum_, step_;  // [columns], [X], [X]
};

}  // namespace

void shrink(const uint8_t* grey, int64_t page_y, int64_t page_x, int64_t Y, int64_t X,
            uint8_t* out) {
  const auto edge = [](int64_t i, int64_t size, int64_t parts) {
    return (2 * i * size + parts) / (2 * parts);
  };
  std::vector<int64_t> left(X + 1);
  for (int64_t x = 0; x <= X; ++x) left[x] = edge(x, page_x, X);
  constexpr int64_t kRows = 256;      // that 16 bits can sum
  const int64_t narrow = page_x / X;  // columns of a pixel, or one more
  std::vector<uint16_t> part(page_x);
  std::vector<uint32_t> sum(page_x + 1);
  for (int64_t y = 0; y < Y; ++y) {
    const int64_t top = edge(y, page_y, Y), bottom = edge(y + 1, page_y, Y);
    std::fill(sum.begin(), sum.end(), 0);
    for (int64_t from = top; from < bottom; from += kRows) {
      std::fill(part.begin(), part.end(), 0);
      for (int64_t row = from; row < std::min(from + kRows, bottom); ++row) {
        const uint8_t* in = grey + row * page_x;
        for (int64_t x = 0; x < page_x; ++x) part[x] = static_cast<uint16_t>(part[x] + in[x]);
      }
      for (int64_t x = 0; x < page_x; ++x) sum[x] += part[x];
    }
    // (total + count / 2) / count, rounded down: half a unit more keeps off whole numbers
    const int64_t counts[2] = {(bottom - top) * narrow, (bottom - top) * (narrow + 1)};
    double more[2], share[2];
    for (int i : {0, 1}) {
      more[i] = static_cast<double>(counts[i] / 2) + 0.5;
      share[i] = 1.0 / static_cast<double>(counts[i]);
    }
    for (int64_t x = 0; x < X; ++x) {
      const uint32_t* first = sum.data() + left[x];
      const bool wide = left[x + 1] - left[x] > narrow;
      uint64_t total = wide ? first[narrow] : 0;
      for (int64_t i = 0; i < narrow; ++i) total += first[i];
      out[y * X + x] =
          static_cast<uint8_t>((static_cast<double>(total) + more[wide]) * share[wide]);
    }
  }
}

void estimate_paper(const uint8_t* grey, int64_t Y, int64_t X, uint8_t* paper, uint8_t* threshold) {
  // a cell has 256 pixels and a window 25 cells: 16 bits are enough
  const int64_t rows = cells(Y), columns = cells(X);
  std::vector<Histogram<uint16_t>> counts(rows * columns, Histogram<uint16_t>{});
  // neighbours are counted apart: they often fall into one bin, whose sum would be waited for
  constexpr int64_t kApart = 4;
  std::vector<Histogram<uint16_t>> parts(kApart * columns);
  for (int64_t i = 0; i < rows; ++i) {
    std::fill(parts.begin(), parts.end(), Histogram<uint16_t>{});
    for (int64_t y = i * kCell; y < std::min((i + 1) * kCell, Y); ++y)
      for (int64_t j = 0; j < columns; ++j) {
        const uint8_t* row = grey + y * X + j * kCell;
        const int64_t width = std::min(kCell, X - j * kCell);
        if (width == kCell && in_one_bin(row))
          parts[j * kApart][row[0] / kBin] += kCell;
        else
          for (int64_t k = 0; k < width; ++k) ++parts[j * kApart + k % kApart][row[k] / kBin];
      }
    for (int64_t k = 0; k < kApart * columns; ++k)
      for (int32_t b = 0; b < kBins; ++b)
        counts[i * columns + k / kApart][b] =
            static_cast<uint16_t>(counts[i * columns + k / kApart][b] + parts[k][b]);
  }
  const auto around = window_sum(counts, rows, columns, kPaperReach);
  const auto near = window_sum(counts, rows, columns, kContrastReach);
  for (int64_t i = 0; i < rows * columns; ++i) {
    const int32_t value = paper_value(around[i]);
    paper[i] = static_cast<uint8_t>(value);
    threshold[i] = static_cast<uint8_t>(threshold_value(near[i], value));
  }
}

void line_paper(const uint8_t* grey, int64_t Y, int64_t X, const LineColumns& columns,
                uint8_t* paper, uint8_t* threshold) {
  std::vector<uint8_t> values, least;
  for (int64_t l = 0; l < columns.lines; ++l) {
    const int64_t begin = columns.begin[l], width = columns.begin[l + 1] - begin;
    const int64_t blocks = cells(width);
    std::vector<Histogram<int32_t>> counts(blocks, Histogram<int32_t>{});
    for (int64_t i = 0; i < width; ++i) {
      const double middle = columns.middle[begin + i];
      const double from = std::floor(middle - columns.above[begin + i]);
      const double to = std::ceil(middle + columns.below[begin + i]);
      const int64_t top = static_cast<int64_t>(std::clamp<double>(from, 0, Y));
      const int64_t bottom = static_cast<int64_t>(std::clamp<double>(to, 0, Y));
      const uint8_t* column = grey + columns.left[l] + i;
      for (int64_t y = top; y < bottom; ++y) ++counts[i / kCell][column[y * X] / kBin];
    }
    const double reach = kLineReach * static_cast<double>(columns.letter[l]) / kCell;
    counts = window_sum(counts, 1, blocks, std::max<int64_t>(1, std::ceil(reach)));
    values.resize(blocks), least.resize(blocks);
    for (int64_t k = 0; k < blocks; ++k) {
      Histogram<int32_t>& around = counts[k];
      if (std::all_of(around.begin(), around.end(), [](int32_t n) { return n == 0; }))
        around[kBins - 1] = 1;  // a line beyond the page: no ink
      const int32_t value = paper_value(around);
      values[k] = static_cast<uint8_t>(value);
      least[k] = static_cast<uint8_t>(threshold_value(around, value));
    }
    // where a line has no letters, their contrast elsewhere counts: an edge is none
    std::vector<uint8_t> sorted = least;
    std::nth_element(sorted.begin(), sorted.begin() + (blocks - 1) / 2, sorted.end());
    const int32_t floor = sorted[(blocks - 1) / 2] * kFaint[0] / kFaint[1];
    for (uint8_t& value : least) value = static_cast<uint8_t>(std::max<int32_t>(value, floor));
    Spread(values.data(), 1, blocks, width).next(paper + begin);
    Spread(least.data(), 1, blocks, width).next(threshold + begin);
  }
}

void find_ink(const uint8_t* grey, int64_t Y, int64_t X, const PaperOf& page,
              const LineColumns& columns, const PaperOf& lines, const uint8_t* rules, uint8_t* ink,
              uint8_t* paper) {
  // 1. rows in which each line is looked at
  std::vector<int64_t> top(columns.lines, Y), bottom(columns.lines, 0);
  for (int64_t l = 0; l < columns.lines; ++l)
    for (int64_t i = columns.begin[l]; i < columns.begin[l + 1]; ++i) {
      const auto row = [&](double y) {
        return static_cast<int64_t>(std::clamp<double>(y, 0, static_cast<double>(Y)));
      };
      const double middle = columns.middle[i];
      const double from = std::floor(middle - kStrip * columns.above[i]) - 1;
      const double to = std::ceil(middle + kStrip * columns.below[i]) + 1;
      top[l] = std::min(top[l], row(from));
      bottom[l] = std::max(bottom[l], row(to));
    }
  std::vector<int64_t> by_top(columns.lines), active;
  std::iota(by_top.begin(), by_top.end(), 0);
  std::stable_sort(by_top.begin(), by_top.end(),
                   [&](int64_t a, int64_t b) { return top[a] < top[b]; });
  // 2. row by row: the page's paper, and over it that of the line that reaches a pixel best; both
  //    values as one of 32 bits, as wide as a distance, so that compilers make vectors of it
  const auto chosen = [](int32_t mask, int32_t a, int32_t b) { return (a & mask) | (b & ~mask); };
  const auto both = [](uint8_t level, uint8_t least) { return level | least << 8; };
  std::vector<int32_t> of_lines(columns.begin[columns.lines]), row(X);
  for (size_t i = 0; i < of_lines.size(); ++i)
    of_lines[i] = both(lines.paper[i], lines.threshold[i]);
  Spread papers(page.paper, cells(Y), cells(X), X),
      thresholds(page.threshold, cells(Y), cells(X), X);
  std::vector<uint8_t> level(X), least(X);
  std::vector<float> nearest(X);
  size_t next = 0;
  for (int64_t y = 0; y < Y; ++y) {
    papers.next(level.data());
    thresholds.next(least.data());
    while (next < by_top.size() && top[by_top[next]] <= y) active.push_back(by_top[next++]);
    std::erase_if(active, [&](int64_t l) { return bottom[l] <= y; });
    std::sort(active.begin(), active.end());  // of two that are as near the first counts
    std::fill(nearest.begin(), nearest.end(), std::numeric_limits<float>::infinity());
    for (int64_t l : active) {
      const int64_t begin = columns.begin[l], width = columns.begin[l + 1] - begin;
      const float *middle = columns.middle + begin, *above = columns.above + begin;
      const float *below = columns.below + begin, at = static_cast<float>(y) + 0.5f;
      const int32_t* of_line = of_lines.data() + begin;
      float* best = nearest.data() + columns.left[l];
      int32_t* mine = row.data() + columns.left[l];
      for (int64_t i = 0; i < width; ++i) {
        const float u = at - middle[i];
        const int32_t is_above = -static_cast<int32_t>(u < 0);
        const int32_t reach =
            chosen(is_above, std::bit_cast<int32_t>(above[i]), std::bit_cast<int32_t>(below[i]));
        const float distance = std::abs(u) / std::bit_cast<float>(reach), before = best[i];
        mine[i] = chosen(-static_cast<int32_t>(distance < before), of_line[i], mine[i]);
        best[i] = distance < before ? distance : before;
      }
    }
    const uint8_t *in = grey + y * X, *rule = rules + y * X;
    uint8_t *out = ink + y * X, *kept = paper + y * X;
    for (int64_t x = 0; x < X; ++x) {
      const int32_t is_near = -static_cast<int32_t>(nearest[x] <= kStrip);
      row[x] = chosen(is_near, row[x], both(level[x], least[x]));
    }
    for (int64_t x = 0; x < X; ++x) {
      level[x] = static_cast<uint8_t>(row[x]);
      least[x] = static_cast<uint8_t>(row[x] >> 8);
    }
    std::copy_n(level.data(), X, kept);
    for (int64_t x = 0; x < X; ++x) {
      const uint8_t low = std::min(level[x], in[x]), high = std::max(level[x], in[x]);
      const uint8_t difference = static_cast<uint8_t>(high - low);
      const uint8_t kind = level[x] >= in[x] ? kDarker : kLighter;
      const uint8_t inked = difference >= least[x] ? kind : 0;
      const uint8_t ruled = inked != 0 ? kRule : 0;
      out[x] = rule[x] != 0 ? ruled : inked;
    }
  }
}

std::vector<Component> label(const uint8_t* ink, int64_t Y, int64_t X, int32_t* labels) {
  // 1. runs of one class, each joined to those that it touches in the row above
  struct Run {
    int32_t y, begin, end, root;
  };
  std::vector<Run> runs;
  const auto find = [&](int32_t i) {
    while (runs[i].root != i) i = runs[i].root = runs[runs[i].root].root;
    return i;
  };
  size_t above = 0, above_end = 0;
  for (int64_t y = 0; y < Y; ++y) {
    const uint8_t* row = ink + y * X;
    const size_t first = runs.size();
    size_t next = above;
    for (int64_t x = 0; x < X;) {
      if (!row[x]) {
        // eight pixels of paper at once
        uint64_t eight;
        while (x + 8 <= X && (std::memcpy(&eight, row + x, 8), eight == 0)) x += 8;
        while (x < X && !row[x]) ++x;
        continue;
      }
      const uint8_t kind = row[x];
      const int64_t begin = x;
      while (x < X && row[x] == kind) ++x;
      const int32_t i = static_cast<int32_t>(runs.size());
      runs.push_back(
          {static_cast<int32_t>(y), static_cast<int32_t>(begin), static_cast<int32_t>(x), i});
      while (next < above_end && runs[next].end < begin) ++next;
      for (size_t k = next; k < above_end && runs[k].begin <= x; ++k) {
        const uint8_t other = ink[(y - 1) * X + runs[k].begin];
        if (other != kind) continue;
        const int32_t a = find(static_cast<int32_t>(k)), b = find(i);
        runs[std::max(a, b)].root = std::min(a, b);
      }
    }
    above = first;
    above_end = runs.size();
  }
  // 2. numbers by the first run, boxes and areas
  std::vector<Component> components;
  std::vector<int32_t> number(runs.size());
  std::fill_n(labels, Y * X, 0);
  for (size_t i = 0; i < runs.size(); ++i) {
    const Run& run = runs[i];
    const int32_t root = find(static_cast<int32_t>(i));
    if (root == static_cast<int32_t>(i)) {
      components.push_back({run.begin, run.y, run.end, run.y + 1, 0});
      number[i] = static_cast<int32_t>(components.size());
    }
    number[i] = number[root];
    Component& component = components[number[i] - 1];
    component.left = std::min(component.left, run.begin);
    component.right = std::max(component.right, run.end);
    component.bottom = run.y + 1;
    component.area += run.end - run.begin;
    std::fill(labels + run.y * X + run.begin, labels + run.y * X + run.end, number[i]);
  }
  return components;
}

}  // namespace khmer_fast
