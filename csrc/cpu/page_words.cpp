#include "cpu/page_words.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace khmer_fast {
namespace {

constexpr double kSearched = 1.0;  // letter heights to both sides of a border

int64_t whole(double x) { return static_cast<int64_t>(x); }

// A box in the crop to the one on the page, which follows the line where it is not level.
PageBox on_page(const PageBox& box, const CropPlace& crop) {
  const int64_t first = std::clamp<int64_t>(box.left, 0, crop.width - 1);
  const int64_t end = std::clamp(box.right, first + 1, std::max(crop.width, first + 1));
  const auto [low, high] = std::minmax_element(crop.rows + first, crop.rows + end);
  return {crop.left + box.left, whole(std::floor(static_cast<double>(box.top) + *low)),
          crop.left + box.right, whole(std::ceil(static_cast<double>(box.bottom) + *high))};
}

// The middle of the widest run of columns without ink in low to high, or rather of a nearer one;
// `at` without any.
int64_t widest_gap(const InkOfLine& ink, int64_t low, int64_t high, int64_t at) {
  int64_t best = at;
  double most = -1e300;
  for (int64_t x = low; x < high;) {
    if (std::isfinite(ink.top[x])) {
      ++x;
      continue;
    }
    const int64_t start = x;
    while (x < high && !std::isfinite(ink.top[x])) ++x;
    const int64_t middle = (start + x) / 2;
    const double score =
        static_cast<double>(x - start) - 0.5 * static_cast<double>(std::abs(middle - at));
    if (score > most) best = middle, most = score;
  }
  return best;
}

// Columns that have ink, from each on and up to each.
struct Inked {
  const InkOfLine& ink;
  std::vector<int64_t> following, before;  // count and -1 where there is none

  explicit Inked(const InkOfLine& ink) : ink(ink), following(ink.count), before(ink.count) {
    int64_t last = -1;
    for (int64_t x = 0; x < ink.count; ++x) {
      if (std::isfinite(ink.top[x])) last = x;
      before[x] = last;
    }
    last = ink.count;
    for (int64_t x = ink.count - 1; x >= 0; --x) {
      if (std::isfinite(ink.top[x])) last = x;
      following[x] = last;
    }
  }

  // The page's box of the ink in columns first to end (exclusive); false where there is none.
  bool box(int64_t first, int64_t end, PageBox& out) const {
    first = std::clamp<int64_t>(first, 0, ink.count - 1);
    end = std::min(std::max(end, first + 1), ink.count);
    const int64_t low = following[first], high = before[end - 1];
    if (low > high) return false;
    out = {whole(std::floor(ink.left + ink.step * static_cast<double>(low))),
           whole(std::floor(*std::min_element(ink.top + first, ink.top + end))),
           whole(std::ceil(ink.left + ink.step * static_cast<double>(high + 1))),
           whole(std::ceil(*std::max_element(ink.bottom + first, ink.bottom + end)))};
    return true;
  }
};

// The box cut off where it leaves the line's, and at least a pixel large.
PageBox within(const PageBox& box, const PageBox& line) {
  const int64_t left = std::min(std::max(box.left, line.left), line.right - 1);
  const int64_t top = std::min(std::max(box.top, line.top), line.bottom - 1);
  return {left, top, std::min(std::max(box.right, left + 1), line.right),
          std::min(std::max(box.bottom, top + 1), line.bottom)};
}

}  // namespace

void place_boxes(const CropPlace& crop, const InkOfLine& ink, const PageBox& line, PageBox* words,
                 int64_t word_count, PageBox* characters, int64_t character_count) {
  const Inked inked(ink);
  const auto column = [&](double x) { return (x - ink.left) / ink.step; };
  // 1. words end in the widest gap near where the reader saw their border
  const int64_t reach =
      std::max<int64_t>(1, whole(std::nearbyint(kSearched * ink.letter / ink.step)));
  for (int64_t k = 0; k < word_count; ++k) words[k] = on_page(words[k], crop);
  int64_t first = 0;
  for (int64_t k = 0; k < word_count; ++k) {
    int64_t end = ink.count;
    if (k + 1 < word_count) {
      const double x = column(static_cast<double>(words[k].right + words[k + 1].left) / 2);
      const int64_t at = std::min(std::max(whole(std::nearbyint(x)), first), ink.count);
      end = widest_gap(ink, std::max(at - reach, first), std::min(at + reach, ink.count), at);
    }
    PageBox box = words[k];
    inked.box(first, end, box);
    words[k] = within(box, line);
    first = end;
  }
  // 2. characters are as wide as the reader looked at, at most; as high as their ink
  for (int64_t k = 0; k < character_count; ++k) {
    PageBox box = on_page(characters[k], crop), own;
    if (inked.box(whole(std::floor(column(static_cast<double>(box.left)))),
                  whole(std::ceil(column(static_cast<double>(box.right)))), own)) {
      const int64_t left = std::max(box.left, own.left);
      box = {left, own.top, std::max(std::min(box.right, own.right), left + 1), own.bottom};
    }
    characters[k] = within(box, line);
  }
}

}  // namespace khmer_fast
