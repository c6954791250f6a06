#include "cpu/page_ink.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

namespace khmer_fast {
namespace {

constexpr int64_t kPaperReach = 2, kContrastReach = 1;  // cells around a node that count
constexpr int32_t kBins = 32, kBin = 8;                 // grey levels of a bin
constexpr int32_t kTail = 96;           // one pixel of so many is beyond the contrast
constexpr int32_t kLeastContrast = 12;  // grey levels between paper and ink
constexpr int32_t kInkShare[2] = {5, 16};
constexpr double kLineReach = 2.0;     // letter heights along a line whose pixels tell its paper
constexpr int32_t kFaint[2] = {2, 5};  // of a line's usual threshold
constexpr double kStrip = 1.25;        // of a line's distances: what its own paper is asked about

using Histogram = std::array<int32_t, kBins>;

// Sums over the cells within `reach`, along x and then along y: [rows, columns] both.
std::vector<Histogram> window_sum(const std::vector<Histogram>& counts, int64_t rows,
                                  int64_t columns, int64_t reach) {
  std::vector<Histogram> across(counts.size(), Histogram{}), sums(counts.size(), Histogram{});
  const auto add = [](Histogram& sum, const Histogram& x) {
    for (int32_t b = 0; b < kBins; ++b) sum[b] += x[b];
  };
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      for (int64_t k = std::max<int64_t>(j - reach, 0); k <= std::min(j + reach, columns - 1); ++k)
        add(across[i * columns + j], counts[i * columns + k]);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t k = std::max<int64_t>(i - reach, 0); k <= std::min(i + reach, rows - 1); ++k)
      for (int64_t j = 0; j < columns; ++j) add(sums[i * columns + j], across[k * columns + j]);
  return sums;
}

// The most frequent value, the lighter one of two: the mode of the smoothed histogram, then the
// mean of its three bins.
int32_t paper_value(const Histogram& counts) {
  const auto count = [&](int32_t b) { return b < 0 || b >= kBins ? 0 : counts[b]; };
  int32_t mode = 0, most = -1;
  for (int32_t b = 0; b < kBins; ++b) {
    const int32_t smooth = count(b - 1) + 2 * count(b) + count(b + 1);
    if (smooth >= most) mode = b, most = smooth;
  }
  int32_t total = 0, sum = 0;
  for (int32_t b = mode - 1; b <= mode + 1; ++b) {
    total += count(b);
    sum += count(b) * (kBin * b + kBin / 2);
  }
  return (sum + total / 2) / total;
}

// A share of how far the darkest or the lightest pixels are from paper.
int32_t threshold_value(const Histogram& counts, int32_t paper) {
  int32_t total = 0;
  for (int32_t count : counts) total += count;
  const int32_t least = total / kTail;
  int32_t darkest = 0, lightest = kBins - 1;
  for (int32_t sum = counts[0]; sum <= least;) sum += counts[++darkest];
  for (int32_t sum = counts[kBins - 1]; sum <= least;) sum += counts[--lightest];
  const int32_t contrast =
      std::max(paper - (kBin * darkest + kBin / 2), kBin * lightest + kBin / 2 - paper);
  return std::max(kLeastContrast, contrast * kInkShare[0] / kInkShare[1]);
}

uint8_t ink_kind(int32_t difference, int32_t least) {
  return static_cast<uint8_t>((difference >= least ? kDarker : 0) |
                              (-difference >= least ? kLighter : 0));
}

}  // namespace

void shrink(const uint8_t* grey, int64_t page_y, int64_t page_x, int64_t Y, int64_t X,
            uint8_t* out) {
  const auto edge = [](int64_t i, int64_t size, int64_t parts) {
    return (2 * i * size + parts) / (2 * parts);
  };
  std::vector<int64_t> left(X + 1);
  for (int64_t x = 0; x <= X; ++x) left[x] = edge(x, page_x, X);
  constexpr int64_t kRows = 256;  // that 16 bits can sum
  std::vector<uint16_t> part(page_x);
  std::vector<uint32_t> sum(page_x);
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
    for (int64_t x = 0; x < X; ++x) {
      uint64_t total = 0;
      for (int64_t i = left[x]; i < left[x + 1]; ++i) total += sum[i];
      const uint64_t count = static_cast<uint64_t>((bottom - top) * (left[x + 1] - left[x]));
      out[y * X + x] = static_cast<uint8_t>((total + count / 2) / count);
    }
  }
}

void estimate_paper(const uint8_t* grey, int64_t Y, int64_t X, uint8_t* paper, uint8_t* threshold) {
  const int64_t rows = cells(Y), columns = cells(X);
  std::vector<Histogram> counts(rows * columns, Histogram{});
  for (int64_t y = 0; y < Y; ++y) {
    Histogram* row = counts.data() + y / kCell * columns;
    for (int64_t x = 0; x < X; ++x) ++row[x / kCell][grey[y * X + x] / kBin];
  }
  const std::vector<Histogram> around = window_sum(counts, rows, columns, kPaperReach);
  const std::vector<Histogram> near = window_sum(counts, rows, columns, kContrastReach);
  for (int64_t i = 0; i < rows * columns; ++i) {
    const int32_t value = paper_value(around[i]);
    paper[i] = static_cast<uint8_t>(value);
    threshold[i] = static_cast<uint8_t>(threshold_value(near[i], value));
  }
}

void spread_row(const uint8_t* nodes, int64_t rows, int64_t columns, int64_t y, int64_t X,
                int32_t* scratch, uint8_t* out) {
  // 1. between the rows of nodes
  const int64_t up = std::clamp<int64_t>((y - kCell / 2) >> 4, 0, rows - 1);
  const int64_t down = std::min(up + 1, rows - 1);
  const int32_t share = y < kCell / 2 ? 0 : static_cast<int32_t>((y - kCell / 2) % kCell);
  for (int64_t j = 0; j < columns; ++j)
    scratch[j] = nodes[up * columns + j] * (kCell - share) + nodes[down * columns + j] * share;
  // 2. between two nodes of the row
  const auto round = [](int32_t value) {
    return static_cast<uint8_t>((value + kCell * kCell / 2) / (kCell * kCell));
  };
  const int64_t head = std::min<int64_t>(kCell / 2, X);
  std::fill_n(out, head, round(kCell * scratch[0]));
  for (int64_t j = 0, x = head; x < X; ++j, x += kCell) {
    const int32_t a = scratch[j], b = scratch[std::min(j + 1, columns - 1)];
    const int32_t n = static_cast<int32_t>(std::min<int64_t>(kCell, X - x));
    for (int32_t i = 0; i < n; ++i)
      out[x + i] = round(a * (static_cast<int32_t>(kCell) - i) + b * i);
  }
}

void find_ink(const uint8_t* grey, int64_t Y, int64_t X, const uint8_t* paper,
              const uint8_t* threshold, uint8_t* ink) {
  const int64_t rows = cells(Y), columns = cells(X);
  std::vector<int32_t> scratch(columns);
  std::vector<uint8_t> level(X), least(X);
  for (int64_t y = 0; y < Y; ++y) {
    spread_row(paper, rows, columns, y, X, scratch.data(), level.data());
    spread_row(threshold, rows, columns, y, X, scratch.data(), least.data());
    const uint8_t* in = grey + y * X;
    uint8_t* out = ink + y * X;
    for (int64_t x = 0; x < X; ++x) out[x] = ink_kind(level[x] - in[x], least[x]);
  }
}

void line_paper(const uint8_t* grey, int64_t Y, int64_t X, const LineColumns& columns,
                uint8_t* paper, uint8_t* threshold) {
  std::vector<uint8_t> values, least;
  std::vector<int32_t> scratch;
  for (int64_t l = 0; l < columns.lines; ++l) {
    const int64_t begin = columns.begin[l], width = columns.begin[l + 1] - begin;
    const int64_t blocks = cells(width);
    std::vector<Histogram> counts(blocks, Histogram{});
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
    values.resize(blocks), least.resize(blocks), scratch.resize(blocks);
    for (int64_t k = 0; k < blocks; ++k) {
      Histogram& around = counts[k];
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
    spread_row(values.data(), 1, blocks, 0, width, scratch.data(), paper + begin);
    spread_row(least.data(), 1, blocks, 0, width, scratch.data(), threshold + begin);
  }
}

void find_line_ink(const uint8_t* grey, int64_t Y, int64_t X, const LineColumns& columns,
                   const uint8_t* line_paper, const uint8_t* threshold, uint8_t* ink,
                   uint8_t* paper) {
  std::vector<double> nearest(Y * X, std::numeric_limits<double>::infinity());
  for (int64_t l = 0; l < columns.lines; ++l) {
    const int64_t begin = columns.begin[l], width = columns.begin[l + 1] - begin;
    for (int64_t i = 0; i < width; ++i) {
      const double middle = columns.middle[begin + i];
      const double above = columns.above[begin + i], below = columns.below[begin + i];
      const int64_t top =
          static_cast<int64_t>(std::clamp<double>(std::floor(middle - kStrip * above) - 1, 0, Y));
      const int64_t bottom =
          static_cast<int64_t>(std::clamp<double>(std::ceil(middle + kStrip * below) + 1, 0, Y));
      for (int64_t y = top; y < bottom; ++y) {
        const int64_t place = y * X + columns.left[l] + i;
        const double u = y + 0.5 - middle;
        const double distance = std::abs(u) / (u < 0 ? above : below);
        if (distance > kStrip || distance >= nearest[place]) continue;
        nearest[place] = distance;
        const int32_t level = line_paper[begin + i];
        ink[place] = ink_kind(level - grey[place], threshold[begin + i]);
        paper[place] = line_paper[begin + i];
      }
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
