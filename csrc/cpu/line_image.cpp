#include "cpu/line_image.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "cpu/kernels.h"
#include "dims.h"

namespace khmer_fast {
namespace {

// As in line_image.py, papers.py, two_inks.py, neighbours.py and slant.py.
constexpr int64_t kMinWidth = 16, kMaxWidth = 16384, kMaxPixels = int64_t{1} << 24;
constexpr double kMargin = 0.08, kMaxEnlargement = 4.0, kReducingGap = 3.0;
constexpr double kMinContrast = 16, kClear = 5.0, kLegible = 3.0, kInk = 0.35;
constexpr int64_t kPaperColumns = 16, kPaperRows = 16, kPaperStep = 18;
constexpr int64_t kNear = 12, kApart = 24;
constexpr double kLeastInk = 0.003;
constexpr double kDrift = 1.0, kShort = 4.0;
constexpr int64_t kSlantColumns = 4;
constexpr double kLikelyRoom = 0.85, kOffCentre = 0.8;

using Histogram = std::array<int64_t, 256>;

// Columns [0, X) of rows that lie ld apart.
Histogram count_values(const uint8_t* grey, int64_t Y, int64_t X, int64_t ld) {
  std::array<std::array<uint32_t, 256>, 4> counts{};  // one table waits for its own last addition
  for (int64_t y = 0; y < Y; ++y) {
    const uint8_t* row = grey + y * ld;
    int64_t x = 0;
    for (; x + 4 <= X; x += 4)
      for (int k = 0; k < 4; ++k) ++counts[k][row[x + k]];
    for (; x < X; ++x) ++counts[0][row[x]];
  }
  Histogram total;
  for (int i = 0; i < 256; ++i)
    total[i] = int64_t{counts[0][i]} + counts[1][i] + counts[2][i] + counts[3][i];
  return total;
}

// papers.even: whether the paper along two border rows may change.
bool varies(const uint8_t* border, int64_t X) {
  int64_t most = 0, least = 255;
  for (int64_t x = 0; x + kPaperColumns <= X; x += kPaperColumns) {
    uint8_t lightest = 0;
    for (int64_t i = x; i < x + kPaperColumns; ++i)
      lightest = std::max({lightest, border[i], border[X + i]});
    most = std::max<int64_t>(most, lightest);
    least = std::min<int64_t>(least, lightest);
  }
  return most - least >= kPaperStep / 2;
}

// two_inks.merge: whether a line may hold ink lighter and ink darker than its paper.
bool may_have_two_inks(const Histogram& counts, int64_t size) {
  const int64_t common = std::max_element(counts.begin(), counts.end()) - counts.begin();
  if (std::min(common, 255 - common) < kApart - kNear) return false;
  const auto sum = [&](int64_t first, int64_t end) {
    int64_t total = 0;
    for (int64_t i = std::max<int64_t>(0, first); i < std::min<int64_t>(256, end); ++i)
      total += counts[i];
    return total;
  };
  int64_t paper = 0, most = -1;
  for (int64_t i = 0; i < 256; ++i)
    if (const int64_t near = sum(i - 4, i + 5); near > most) most = near, paper = i;
  if (std::min(paper, 255 - paper) < kApart) return false;
  const double least = kLeastInk * static_cast<double>(size);
  return static_cast<double>(sum(0, paper - kApart + 1)) >= least &&
         static_cast<double>(sum(paper + kApart, 256)) >= least;
}

// Python's round: ties to even.
int64_t rounded(double x) { return static_cast<int64_t>(std::nearbyint(x)); }

// Percentiles of windows along rows [Y, X], ascending ones, given to `found` window by window.
template <size_t N, class Found>
void local_percentiles(const uint8_t* grey, int64_t Y, int64_t X, const int (&percentiles)[N],
                       int64_t window, const Found& found) {
  const int64_t step = std::max<int64_t>(1, window / 16);
  const int64_t rows = (Y + step - 1) / step, all = (X + step - 1) / step;
  const int64_t count = std::max<int64_t>(1, all * step / window), columns = all / count;
  int64_t ranks[N];
  for (size_t i = 0; i < N; ++i)
    ranks[i] = rounded(static_cast<double>((rows * columns - 1) * percentiles[i]) / 100);
  for (int64_t w = 0; w < count; ++w) {
    uint32_t fine[256] = {}, coarse[16] = {};
    for (int64_t y = 0; y < rows; ++y) {
      const uint8_t* row = grey + y * step * X + w * columns * step;
      for (int64_t x = 0; x < columns; ++x) {
        const uint8_t value = row[x * step];
        ++fine[value];
        ++coarse[value >> 4];
      }
    }
    int64_t values[N];
    for (size_t i = 0; i < N; ++i) {
      int64_t below = 0, value = 0;
      while (below + coarse[value >> 4] <= ranks[i]) below += coarse[value >> 4], value += 16;
      while (below + fine[value] <= ranks[i]) below += fine[value++];
      values[i] = value;
    }
    found(values);
  }
}

// turn_dark_background: whether it turns a line; nothing for a draw whose sums floats would round.
std::optional<bool> is_dark(const uint8_t* grey, int64_t Y, int64_t X) {
  int64_t votes = 0, range = 0, dark = 0, light = 0, windows = 0;
  local_percentiles(grey, Y, X, {2, 50, 98}, Y, [&](const int64_t (&value)[3]) {
    votes += (value[2] - value[1]) - (value[1] - value[0]);
    range += value[2] - value[0];
    dark += value[0];
    light += value[2];
    ++windows;
  });
  if (static_cast<double>(std::abs(votes)) >= 0.15 * static_cast<double>(range)) return votes > 0;
  if (2 * X * 255 >= int64_t{1} << 24) return std::nullopt;
  int64_t border = 0;
  for (int64_t x = 0; x < X; ++x) border += grey[x] + grey[(Y - 1) * X + x];
  const auto mean = [](int64_t sum, int64_t n) {
    return static_cast<double>(static_cast<float>(sum) / static_cast<float>(n));
  };
  return (mean(light, windows) + mean(dark, windows)) / 2 - mean(border, 2 * X) > 0;
}

// even_light: whether a line's paper is nearly even, so that nothing changes.
bool is_evenly_lit(const uint8_t* grey, int64_t Y, int64_t X) {
  if (Y < 12 || X < 12) return true;
  int64_t lightest = 0, darkest = 255;
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t top = Y * i / 3, bottom = Y * (i + 1) / 3;
    local_percentiles(grey + top * X, bottom - top, X, {92}, 2 * Y, [&](const int64_t (&value)[1]) {
      lightest = std::max(lightest, value[0]);
      darkest = std::min(darkest, value[0]);
    });
  }
  return static_cast<double>(darkest) >= 0.88 * static_cast<double>(lightest);
}

struct Levels {
  double paper, ink;

  double threshold(double share) const { return paper - share * (paper - ink); }
};

std::optional<Levels> find_levels(const Histogram& counts, double least) {
  Histogram total;
  int64_t sum = 0;
  for (int i = 0; i < 256; ++i) total[i] = sum += counts[i];
  const auto rank = [&](double count) {
    int64_t value = 0;
    while (value < 255 && static_cast<double>(total[value]) <= count) ++value;
    return value;
  };
  const double all = static_cast<double>(sum);
  const int64_t low = rank(std::min(0.001 * all, 8.0)), high = rank(0.98 * all);
  const int64_t middle = (low + high) / 2;
  const double dark = static_cast<double>(total[middle]), light = all - dark;
  if (light == 0) return std::nullopt;
  const int64_t paper = rank(dark + 0.5 * light), grain = rank(dark + 0.84 * light) - paper;
  const int64_t ink = rank(0.2 * dark);
  if (static_cast<double>(paper - ink) < std::max(kMinContrast, least * static_cast<double>(grain)))
    return std::nullopt;
  return Levels{static_cast<double>(paper), static_cast<double>(ink)};
}

// First and last + 1 of the runs of counts [n] above 0, of which there is one at least, that are no
// speck of `speck` squared; of all where all are.
std::pair<int64_t, int64_t> extent(const int32_t* counts, int64_t n, double speck) {
  int64_t first = -1, last = 0, first_large = -1, last_large = 0;
  for (int64_t i = 0; i < n;) {
    if (counts[i] == 0) {
      ++i;
      continue;
    }
    const int64_t start = i;
    int64_t sum = 0;
    for (; i < n && counts[i] != 0; ++i) sum += counts[i];
    if (first < 0) first = start;
    last = i;
    if (static_cast<double>(i - start) <= speck && static_cast<double>(sum) <= speck * speck)
      continue;
    if (first_large < 0) first_large = start;
    last_large = i;
  }
  return first_large < 0 ? std::pair{first, last} : std::pair{first_large, last_large};
}

// ink_box of the pixels below a level; `inks` [Y] becomes how many of each row these are.
std::optional<PixelBox> ink_box(const uint8_t* grey, int64_t Y, int64_t X, double level,
                                std::vector<int64_t>& inks) {
  const int limit = static_cast<int>(std::clamp(std::ceil(level), 0.0, 256.0));
  const int64_t ld = X + 2;
  std::vector<uint8_t> ink((Y + 2) * ld), joined(Y * X);  // ink has a frame of paper
  std::vector<int32_t> rows(Y), columns(X);
  for (int64_t y = 0; y < Y; ++y) {
    const uint8_t* from = grey + y * X;
    uint8_t* to = ink.data() + (y + 1) * ld + 1;
    for (int64_t x = 0; x < X; ++x) to[x] = from[x] < limit;
  }
  int64_t inked = 0, together = 0;
  for (int64_t y = 0; y < Y; ++y) {
    const uint8_t* i = ink.data() + (y + 1) * ld + 1;
    uint8_t* j = joined.data() + y * X;
    int32_t own = 0, all = 0;
    for (int64_t x = 0; x < X; ++x) {
      j[x] = static_cast<uint8_t>(i[x] & (i[x - 1] | i[x + 1] | i[x - ld] | i[x + ld]));
      all += i[x];
      own += j[x];
    }
    for (int64_t x = 0; x < X; ++x) columns[x] += j[x];
    rows[y] = own;
    inks[y] = all;
    inked += all;
    together += own;
  }
  if (2 * together <= inked) return std::nullopt;
  const auto [top, bottom] = extent(rows.data(), Y, 0);
  const double speck = std::max(1.0, static_cast<double>(bottom - top) / 40);
  const auto [left, right] = extent(columns.data(), X, speck);
  for (int64_t y = 0; y < Y; ++y) {
    int32_t own = 0;
    for (int64_t x = left; x < right; ++x) own += joined[y * X + x];
    rows[y] = own;
  }
  const auto [upper, lower] = extent(rows.data(), Y, speck);
  return PixelBox{std::max<int64_t>(0, upper - 1), std::min(Y, lower + 1),
                  std::max<int64_t>(0, left - 1), std::min(X, right + 1)};
}

// neighbours_ink's first look: whether something hangs from an edge that is far from the densest
// rows; `inks` [Y] is the ink of each row.
bool may_have_neighbours(const std::vector<int64_t>& inks) {
  const int64_t Y = static_cast<int64_t>(inks.size()), window = std::max<int64_t>(1, Y / 24);
  std::vector<int64_t> smooth(Y);
  int64_t peak = 0;
  double most = -1;
  for (int64_t y = 0; y < Y; ++y) {
    const int64_t first = y - window / 2;
    for (int64_t i = std::max<int64_t>(0, first); i < std::min(Y, first + window); ++i)
      smooth[y] += inks[i];
    double place = 1;  // from -1 at the top to 1 at the bottom
    if (y < Y - 1) place = 2.0 / static_cast<double>(Y - 1) * static_cast<double>(y) - 1;
    const double here = static_cast<double>(smooth[y]) * (1 - kOffCentre * std::fabs(place));
    if (here > most) most = here, peak = y;
  }
  int64_t first = peak, end = peak + 1;
  while (first > 0 && 2 * smooth[first - 1] > smooth[peak]) --first;
  while (end < Y && 2 * smooth[end] > smooth[peak]) ++end;
  const double room = kLikelyRoom * static_cast<double>(end - first);
  const auto near = [&](int64_t y) { return inks[y] > 0; };
  return ((near(0) || near(std::min<int64_t>(1, Y - 1))) && static_cast<double>(first) >= room) ||
         ((near(Y - 1) || near(std::max<int64_t>(0, Y - 2))) &&
          static_cast<double>(Y - end) >= room);
}

// The ink [Y, X] of the pixels below a level, for neighbours_ink.
std::vector<uint8_t> ink_below(const uint8_t* grey, int64_t Y, int64_t X, double level) {
  const int limit = static_cast<int>(std::clamp(std::ceil(level), 0.0, 256.0));
  std::vector<uint8_t> ink(Y * X);
  for (int64_t i = 0; i < Y * X; ++i) ink[i] = grey[i] < limit;
  return ink;
}

// slant.angle's first look, ink [Y, X] with rows ld apart: whether the ink's middle may drift
// enough for an angle to be looked for. The reference computes in floats: near the limit it
// decides.
bool may_lean(const uint8_t* ink, int64_t Y, int64_t X, int64_t ld) {
  if (static_cast<double>(X) < kShort / 2 * static_cast<double>(Y)) return false;
  double total = 0, first = 0, second = 0, row = 0, both = 0;  // sums of w, w x, w x^2, w y, w x y
  for (int64_t x = 0; x < X; x += kSlantColumns) {
    int64_t weight = 0, moment = 0;
    for (int64_t y = 0; y < Y; y += 2) {
      const int64_t w = 255 - ink[y * ld + x];
      weight += w;
      moment += w * y;
    }
    const double at = static_cast<double>(x);
    total += static_cast<double>(weight);
    first += static_cast<double>(weight) * at;
    second += static_cast<double>(weight) * at * at;
    row += static_cast<double>(moment);
    both += static_cast<double>(moment) * at;
  }
  if (total == 0) return false;
  const double middle = first / total, spread = second - middle * first;
  if (!(spread > 0)) return spread != 0;  // one column has no direction
  constexpr double kDegree = 3.14159265358979323846 / 180;
  return std::fabs((both - middle * row) / spread) >= std::tan(0.98 * kDrift * kDegree);
}

}  // namespace

std::optional<CleanLine> clean_line(const uint8_t* grey, int64_t Y, int64_t X, int64_t height,
                                    bool alone, bool plain, const Kernels& kernels) {
  if (Y * X > kMaxPixels) return std::nullopt;
  if (!plain && Y >= kPaperRows && X >= 2 * kPaperColumns &&
      (varies(grey, X) || varies(grey + (Y - 2) * X, X)))
    return std::nullopt;
  Histogram counts = count_values(grey, Y, X, X);
  if (!plain && may_have_two_inks(counts, Y * X)) return std::nullopt;
  const std::optional<bool> dark = is_dark(grey, Y, X);
  if (!dark) return std::nullopt;
  std::vector<uint8_t> turned;
  if (*dark) {
    turned.resize(Y * X);
    for (int64_t i = 0; i < Y * X; ++i) turned[i] = static_cast<uint8_t>(255 - grey[i]);
    grey = turned.data();
    std::reverse(counts.begin(), counts.end());
  }
  if (!is_evenly_lit(grey, Y, X)) return std::nullopt;
  std::optional<Levels> levels = find_levels(counts, kLegible);
  if (!levels) return std::nullopt;
  std::vector<int64_t> inks(Y);
  const std::optional<PixelBox> box = ink_box(grey, Y, X, levels->threshold(kInk), inks);
  if (!box) return std::nullopt;
  if (!alone && (box->top == 0 || box->bottom == Y) && may_have_neighbours(inks)) {
    CleanLine line{};
    line.edge_ink = ink_below(grey, Y, X, levels->threshold(kInk));
    return line;
  }

  // The line at its final size, as `_scaled`
  const double wide = static_cast<double>(box->right - box->left);
  const double high = static_cast<double>(box->bottom - box->top);
  const int64_t margin = std::max<int64_t>(1, rounded(kMargin * static_cast<double>(height)));
  const int64_t room = height - 2 * margin;
  const double scale = std::min(static_cast<double>(room) / high, kMaxEnlargement);
  if (room < 1 || scale > static_cast<double>(kMaxWidth - 2 * margin) / wide) return std::nullopt;
  const int64_t columns =
      std::min(kMaxWidth - 2 * margin, std::max<int64_t>(1, rounded(scale * wide)));
  const int64_t rows = std::min(room, std::max<int64_t>(1, rounded(scale * high)));
  if (wide / static_cast<double>(columns) / kReducingGap >= 2 ||
      high / static_cast<double>(rows) / kReducingGap >= 2)
    return std::nullopt;  // it is shrunk in two steps
  const std::vector<uint8_t> resized = resize_bicubic(grey, Y, X, *box, rows, columns, kernels);
  const int64_t ld = padded(columns);
  if (const auto sharp = find_levels(count_values(resized.data(), rows, columns, ld), kClear))
    levels = sharp;
  const double white = levels->threshold(0.06);
  const float factor = static_cast<float>(255 / (white - levels->ink));
  uint8_t stretched[256];
  for (int i = 0; i < 256; ++i) {
    const float value = (static_cast<float>(i) - static_cast<float>(levels->ink)) * factor;
    stretched[i] = static_cast<uint8_t>(std::clamp(std::nearbyint(value), 0.0f, 255.0f));
  }
  CleanLine line;
  line.width = std::max(kMinWidth, columns + 2 * margin);
  const int64_t top = (height - rows) / 2, left = (line.width - columns) / 2;
  line.ink = {top, top + rows, left, left + columns};
  line.box = *box;
  line.image.assign(height * line.width, 255);
  for (int64_t y = 0; y < rows; ++y) {
    const uint8_t* from = resized.data() + y * ld;
    uint8_t* to = line.image.data() + (top + y) * line.width + left;
    for (int64_t x = 0; x < columns; ++x) to[x] = stretched[from[x]];
  }
  line.may_lean = may_lean(line.image.data() + top * line.width + left, rows, columns, line.width);
  return line;
}

}  // namespace khmer_fast
