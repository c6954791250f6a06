#include "cpu/page_crops.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace khmer_fast {

void cut_line(const CutPage& page, int64_t line, int64_t left, const float* rows, int64_t height,
              int64_t width, Polarity polarity, uint8_t* out) {
  struct Column {
    int64_t page_x, x;  // at full resolution and at the network's
    int64_t row;        // page row of the crop's first
    int32_t share;      // of the row below, in 256ths
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
  std::vector<int64_t> network_row(lowest - highest + 1);  // offset of the row at the network's scale
  for (int64_t y = highest; y <= lowest; ++y)
    network_row[y - highest] = (2 * clip(y) + 1) * page.Y / (2 * page.page_y) * page.X;
  const uint16_t own = static_cast<uint16_t>(line + 1);
  for (int64_t r = 0; r < height; ++r)
    for (int64_t i = 0; i < width; ++i) {
      const Column& column = columns[i];
      const int64_t y = column.row + r;
      const int64_t place = network_row[y + (column.share >= 128) - highest] + column.x;
      const uint16_t owner = page.owners[place];
      int32_t value;
      if (owner != 0 && owner != own) {
        value = page.paper[place];
      } else {
        const int32_t upper = page.grey[clip(y) * page.page_x + column.page_x];
        const int32_t lower = page.grey[clip(y + 1) * page.page_x + column.page_x];
        value = (upper * (256 - column.share) + lower * column.share + 128) >> 8;
      }
      if (polarity == Polarity::kTurned) value = 255 - value;
      if (polarity == Polarity::kBoth) value = 255 - std::abs(value - page.paper[place]);
      out[r * width + i] = static_cast<uint8_t>(value);
    }
}

}  // namespace khmer_fast
