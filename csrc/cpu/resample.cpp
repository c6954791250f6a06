#include "cpu/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "cpu/kernels.h"
#include "dims.h"

namespace khmer_fast {
namespace {

// For each output the inputs [first, first + count) and their weights, `taps` apart.
struct Taps {
  int64_t taps;
  std::vector<int64_t> first, count;
  std::vector<int32_t> weight;

  const int32_t* of(int64_t i) const { return weight.data() + i * taps; }
};

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// `size` outputs of [from, to) of `inputs`, in Pillow's own order of operations.
Taps make_taps(int64_t inputs, int64_t from, int64_t to, int64_t size) {
  const double scale = static_cast<double>(to - from) / static_cast<double>(size);
  const double widened = std::max(scale, 1.0), support = 2.0 * widened, narrow = 1.0 / widened;
  Taps taps{static_cast<int64_t>(std::ceil(support)) * 2 + 1, {}, {}, {}};
  taps.first.resize(size);
  taps.count.resize(size);
  taps.weight.resize(size * taps.taps);
  std::vector<double> weight(taps.taps);
  for (int64_t i = 0; i < size; ++i) {
    const double center = static_cast<double>(from) + (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t end = std::min(inputs, static_cast<int64_t>(center + support + 0.5));
    double sum = 0;
    for (int64_t k = 0; k < end - first; ++k) {
      weight[k] = bicubic((static_cast<double>(k + first) - center + 0.5) * narrow);
      sum += weight[k];
    }
    taps.first[i] = first;
    taps.count[i] = end - first;
    for (int64_t k = 0; k < end - first; ++k) {
      const double unit = (sum != 0.0 ? weight[k] / sum : weight[k]) * (1 << kWeightBits);
      taps.weight[i * taps.taps + k] = static_cast<int32_t>(unit < 0 ? unit - 0.5 : unit + 0.5);
    }
  }
  return taps;
}

typedef uint8_t Bytes __attribute__((vector_size(16)));

inline Bytes interleave_low(Bytes a, Bytes b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Bytes interleave_high(Bytes a, Bytes b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                 31);
}

// in [rows, columns] -> out [columns, rows]; both are padded to kLanes bytes each way.
void transpose(const uint8_t* in, int64_t rows, int64_t columns, uint8_t* out) {
  const int64_t ld = padded(columns), out_ld = padded(rows);
  for (int64_t y = 0; y < rows; y += 16)
    for (int64_t x = 0; x < columns; x += 16) {
      Bytes a[16], b[16];
      for (int i = 0; i < 16; ++i) std::memcpy(&a[i], in + (y + i) * ld + x, 16);
      for (int stage = 0; stage < 4; ++stage) {
        for (int i = 0; i < 8; ++i) {
          b[2 * i] = interleave_low(a[i], a[i + 8]);
          b[2 * i + 1] = interleave_high(a[i], a[i + 8]);
        }
        std::copy_n(b, 16, a);
      }
      for (int i = 0; i < 16; ++i) std::memcpy(out + (x + i) * out_ld + y, &a[i], 16);
    }
}

// A grey picture whose rows and their number are padded to kLanes.
class Picture {
 public:
  Picture(int64_t rows, int64_t columns)
      : rows_(rows), columns_(columns), pixels_(padded(rows) * padded(columns)) {}

  uint8_t* row(int64_t y) { return pixels_.data() + y * padded(columns_); }

  Picture turned() {
    Picture out(columns_, rows_);
    transpose(row(0), rows_, columns_, out.row(0));
    return out;
  }

  // Rows from those beside them, whose first is row `first` of what the taps count.
  Picture weighed(const Taps& taps, int64_t first, const Kernels& kernels) {
    const int64_t size = static_cast<int64_t>(taps.first.size()), ld = padded(columns_);
    Picture out(size, columns_);
    for (int64_t y = 0; y < size; ++y)
      kernels.weigh_bytes(ld, taps.count[y], taps.of(y), row(taps.first[y] - first), ld,
                          out.row(y));
    return out;
  }

  std::vector<uint8_t> pixels() && { return std::move(pixels_); }

 private:
  int64_t rows_, columns_;
  std::vector<uint8_t> pixels_;
};

}  // namespace

std::vector<uint8_t> resize_bicubic(const uint8_t* in, int64_t Y, int64_t X, const PixelBox& box,
                                    int64_t rows, int64_t columns, const Kernels& kernels) {
  const Taps across = make_taps(X, box.left, box.right, columns);
  const Taps down = make_taps(Y, box.top, box.bottom, rows);
  const int64_t top = down.first[0], height = down.first.back() + down.count.back() - top;
  const int64_t left = across.first[0], width = across.first.back() + across.count.back() - left;
  Picture part(height, width);
  for (int64_t y = 0; y < height; ++y) std::memcpy(part.row(y), in + (top + y) * X + left, width);
  // What is weighed along x lies on its side: a column's weights are those of all its rows. Bytes
  // are rounded in between, so that the order is Pillow's: along y first where that drops more than
  // twice the rows that the other drops columns (found by trying it, 13.0).
  const bool down_first = rows < Y && 2 * (X - columns) < Y - rows;
  if (down_first)
    return part.weighed(down, top, kernels)
        .turned()
        .weighed(across, left, kernels)
        .turned()
        .pixels();
  return part.turned().weighed(across, left, kernels).turned().weighed(down, top, kernels).pixels();
}

}  // namespace khmer_fast
