#include "cpu/page_ink.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace khmer_fast {
namespace {

constexpr int64_t kPaperReach = 2, kContrastReach = 1;  // cells around a node that count
constexpr int32_t kBins = 32, kBin = 8;                 // grey levels of a bin
constexpr int32_t kTail = 96;           // one pixel of so many is beyond the contrast
constexpr int32_t kLeastContrast = 12;  // grey levels between paper and ink
constexpr int32_t kInkShare[2] = {5, 16};

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
      for (int64_t j = 0; j < columns; ++j)
        add(sums[i * columns + j], across[k * columns + j]);
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

// How far the darkest or the lightest pixels are from paper.
int32_t contrast(const Histogram& counts, int32_t paper) {
  int32_t total = 0;
  for (int32_t count : counts) total += count;
  const int32_t least = total / kTail;
  int32_t darkest = 0, lightest = kBins - 1;
  for (int32_t sum = counts[0]; sum <= least;) sum += counts[++darkest];
  for (int32_t sum = counts[kBins - 1]; sum <= least;) sum += counts[--lightest];
  return std::max(paper - (kBin * darkest + kBin / 2), kBin * lightest + kBin / 2 - paper);
}

}  // namespace

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
    threshold[i] = static_cast<uint8_t>(std::max(
        kLeastContrast, contrast(near[i], value) * kInkShare[0] / kInkShare[1]));
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
    for (int64_t x = 0; x < X; ++x) {
      const int difference = static_cast<int>(level[x]) - in[x];
      out[x] = static_cast<uint8_t>((difference >= least[x] ? kDarker : 0) |
                                    (-difference >= least[x] ? kLighter : 0));
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
      runs.push_back({static_cast<int32_t>(y), static_cast<int32_t>(begin),
                      static_cast<int32_t>(x), i});
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
