#include "cpu/page_crops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace khmer_fast {
namespace {

constexpr int32_t kUnit = 1 << 14;  // of the cubic weights

// Catmull-Rom weights of the four rows around a place, for each 256th between the inner two.
std::array<std::array<int32_t, 4>, 256> make_cubic_weights() {
  std::array<std::array<int32_t, 4>, 256> weights;
  const auto round = [](double x) { return static_cast<int32_t>(std::floor(kUnit * x + 0.5)); };
  for (int i = 0; i < 256; ++i) {
    const double t = i / 256.0;
    const int32_t first = round(-0.5 * t * (1 - t) * (1 - t)), outer = round(0.5 * t * t * (t - 1));
    const int32_t inner = round(0.5 * t * (1 + t * (4 - 3 * t)));
    weights[i] = {first, kUnit - first - inner - outer, inner, outer};
  }
  return weights;
}

const std::array<std::array<int32_t, 4>, 256> kCubic = make_cubic_weights();

}  // namespace

void cut_line(const CutPage& page, int64_t left, const float* rows, int64_t height, int64_t width,
              Polarity polarity, uint8_t* out) {
  struct Column {
    int64_t page_x, x;  // at full resolution and at the network's
    int64_t row;        // page row of the crop's first
    int32_t share;      // of the way to the row below, in 256ths
  };
  std::vector<Column> columns(width);
  int64_t highest = page.page_y, lowest = 0;  // page rows that are looked at
  for (int64_t i = 0; i < width; ++i) {
    const int64_t at = static_cast<int64_t>(std::floor(static_cast<double>(rows[i]) * 256 + 0.5));
    const int64_t page_x = std::clamp<int64_t>(left + i, 0, page.page_x - 1);
    columns[i] = {page_x, (2 * page_x + 1) * page.X / (2 * page.page_x), at >> 8,
                  static_cast<int32_t>(at & 255)};
    highest = std::min(highest, columns[i].row);
    lowest = std::max(lowest, columns[i].row + height + 1);
  }
  const auto clip = [&](int64_t y) { return std::clamp<int64_t>(y, 0, page.page_y - 1); };
  std::vector<int64_t> network_row(lowest - highest +
                                   1);  // offset of the row at the network's scale
  for (int64_t y = highest; y <= lowest; ++y)
    network_row[y - highest] = (2 * clip(y) + 1) * page.Y / (2 * page.page_y) * page.X;
  // a level line is the page's own rows, but for those with something painted
  const bool level = polarity != Polarity::kBoth && left >= 0 && left + width <= page.page_x &&
                     std::all_of(columns.begin(), columns.end(), [&](const Column& column) {
                       return column.row == columns[0].row && column.share == 0;
                     });
  for (int64_t r = 0; r < height; ++r) {
    if (level) {
      const int64_t y = columns[0].row + r;
      const uint8_t* painted = page.painted + network_row[y - highest];
      uint8_t any = 0;
      for (int64_t x = columns[0].x; x <= columns[width - 1].x; ++x) any |= painted[x];
      if (!any) {
        const uint8_t* grey = page.grey + clip(y) * page.page_x + left;
        const uint8_t turn = polarity == Polarity::kTurned ? 255 : 0;
        for (int64_t i = 0; i < width; ++i) out[r * width + i] = grey[i] ^ turn;
        continue;
      }
    }
    for (int64_t i = 0; i < width; ++i) {
      const Column& column = columns[i];
      const int64_t y = column.row + r;
      const int64_t place = network_row[y + (column.share >= 128) - highest] + column.x;
      int32_t value;
      if (page.painted[place]) {
        value = page.paper[place];
      } else {
        const auto grey = [&](int64_t row) {
          return static_cast<int32_t>(page.grey[clip(row) * page.page_x + column.page_x]);
        };
        if (column.share == 0) {
          value = grey(y);
        } else {
          const std::array<int32_t, 4>& w = kCubic[column.share];
          const int32_t sum =
              w[0] * grey(y - 1) + w[1] * grey(y) + w[2] * grey(y + 1) + w[3] * grey(y + 2);
          value = std::clamp((sum + kUnit / 2) >> 14, 0, 255);
        }
      }
      if (polarity == Polarity::kTurned) value = 255 - value;
      if (polarity == Polarity::kBoth) value = 255 - std::abs(value - page.paper[place]);
      out[r * width + i] = static_cast<uint8_t>(value);
    }
  }
}

}  // namespace khmer_fast
