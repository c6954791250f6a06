#include "cpu/png.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "cpu/inflate.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace khmer_fast {
namespace {

typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef uint32_t Words __attribute__((vector_size(16)));
typedef int16_t Shorts __attribute__((vector_size(16)));

constexpr int64_t kSlack = 4;  // bytes behind a row: pixels of three are read and written as four

Shorts load_pixel(const uint8_t* p) {
  uint32_t pixel;  // in a register: through memory the vector would wait for it
  std::memcpy(&pixel, p, 4);
  const Words word = {pixel};
  return (Shorts)__builtin_shufflevector((Bytes)word, Bytes{}, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5,
                                         21, 6, 22, 7, 23);
}

void store_pixel(uint8_t* p, Shorts x) {
#ifdef __SSE2__
  const Words low = (Words)_mm_packus_epi16((__m128i)x, (__m128i)x);
#else
  const Bytes bytes = (Bytes)x;
  const Words low = (Words)__builtin_shufflevector(bytes, bytes, 0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4,
                                                   6, 8, 10, 12, 14);
#endif
  const uint32_t pixel = low[0];
  std::memcpy(p, &pixel, 4);
}

Shorts smaller(Shorts a, Shorts b) { return a < b ? a : b; }
Shorts absolute(Shorts x) { return x > -x ? x : -x; }

// Of left, above and left above, the one nearest to left + above - left above (PNG, section 9.4).
Shorts paeth(Shorts left, Shorts above, Shorts corner) {
  const Shorts up = above - corner, back = left - corner;
  const Shorts to_left = absolute(up), to_above = absolute(back), to_corner = absolute(up + back);
  const Shorts least = smaller(smaller(to_left, to_above), to_corner);
  return least == to_left ? left : (least == to_above ? above : corner);
}

Shorts back(Shorts left, Shorts, Shorts) { return left; }
Shorts mean(Shorts left, Shorts above, Shorts) { return (left + above) >> 1; }

// A row's bytes from its filtered ones and the row above, pixel by pixel: what a byte is predicted
// to be from left, above and left above.
template <int channels, class Prediction>
void undo(const uint8_t* filtered, const uint8_t* above, int64_t X, uint8_t* row,
          const Prediction& prediction) {
  Shorts left = {}, corner = {};
  for (int64_t x = 0; x < channels * X; x += channels) {
    const Shorts up = load_pixel(above + x);
    left = (load_pixel(filtered + x) + prediction(left, up, corner)) & 255;
    corner = up;
    store_pixel(row + x, left);
  }
}

// Rows of a filter's number and X pixels -> grey [Y, X], as Pillow's convert("L"). False where a
// filter is none of the five.
template <int channels>
bool rows(const uint8_t* filtered, int64_t Y, int64_t X, uint8_t* grey) {
  std::vector<uint8_t> above(channels * X + kSlack), row(channels * X + kSlack);
  for (int64_t y = 0; y < Y; ++y, filtered += 1 + channels * X, grey += X) {
    const uint8_t *from = filtered + 1, *up = above.data();
    uint8_t* to = row.data();
    switch (*filtered) {
      case 0:
        std::copy_n(from, channels * X, to);
        break;
      case 1:
        undo<channels>(from, up, X, to, back);
        break;
      case 2:
        for (int64_t i = 0; i < channels * X; ++i) to[i] = static_cast<uint8_t>(from[i] + up[i]);
        break;
      case 3:
        undo<channels>(from, up, X, to, mean);
        break;
      case 4:
        undo<channels>(from, up, X, to, paeth);
        break;
      default:
        return false;
    }
    if constexpr (channels == 1)
      std::copy_n(to, X, grey);
    else  // ITU-R 601
      for (int64_t x = 0; x < X; ++x)
        grey[x] = static_cast<uint8_t>(
            (19595 * to[3 * x] + 38470 * to[3 * x + 1] + 7471 * to[3 * x + 2] + 0x8000) >> 16);
    std::swap(above, row);
  }
  return true;
}

constexpr std::array<uint32_t, 256> kCrc = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    table[i] = c;
  }
  return table;
}();

uint32_t big_endian(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
}

struct Chunk {
  const uint8_t* name;
  const uint8_t* data;
  int64_t size;

  bool is(const char* other) const { return std::memcmp(name, other, 4) == 0; }
  bool undamaged() const {
    uint32_t c = ~0u;
    for (const uint8_t* p = name; p < data + size; ++p) c = kCrc[(c ^ *p) & 255] ^ c >> 8;
    return ~c == big_endian(data + size);
  }
};

// Chunks that change no pixel: of colours, sizes, times.
bool is_harmless(const Chunk& chunk) {
  for (const char* name : {"pHYs", "gAMA", "cHRM", "sRGB", "iCCP", "sBIT", "bKGD", "tIME"})
    if (chunk.is(name)) return chunk.size <= 4096;
  return false;
}

}  // namespace

std::optional<GreyPicture> read_png(const uint8_t* data, int64_t bytes) {
  constexpr uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  if (bytes < 8 || std::memcmp(data, signature, 8) != 0) return std::nullopt;
  GreyPicture picture;
  int64_t channels = 0;
  std::vector<uint8_t> joined;  // what several chunks hold
  const uint8_t* stream = nullptr;
  int64_t length = 0;
  bool ended = false;
  for (int64_t at = 8; !ended;) {
    if (bytes - at < 12) return std::nullopt;
    const Chunk chunk{data + at + 4, data + at + 8, big_endian(data + at)};
    if (chunk.size > bytes - at - 12) return std::nullopt;
    const bool first = at == 8;
    at += 12 + chunk.size;
    if (first != chunk.is("IHDR")) return std::nullopt;
    if (chunk.is("IDAT")) {
      if (!stream) {
        stream = chunk.data, length = chunk.size;
        continue;
      }
      if (joined.empty()) joined.assign(stream, stream + length);
      joined.insert(joined.end(), chunk.data, chunk.data + chunk.size);
      continue;
    }
    if (!chunk.undamaged()) return std::nullopt;
    if (first) {
      if (chunk.size != 13) return std::nullopt;
      picture.X = big_endian(chunk.data), picture.Y = big_endian(chunk.data + 4);
      const uint8_t* kind = chunk.data + 8;  // depth, colours, compression, filters, interlacing
      if (kind[0] != 8 || (kind[1] != 0 && kind[1] != 2) || kind[2] || kind[3] || kind[4])
        return std::nullopt;
      channels = kind[1] == 2 ? 3 : 1;
      if (picture.X < 1 || picture.Y < 1 || picture.X > kMaxPngSide || picture.Y > kMaxPngSide ||
          picture.X * picture.Y > kMaxPngPixels)
        return std::nullopt;
    } else if (chunk.is("IEND")) {
      if (at != bytes || chunk.size != 0) return std::nullopt;
      ended = true;
    } else if (stream || !is_harmless(chunk)) {
      return std::nullopt;
    }
  }
  if (!stream) return std::nullopt;
  if (!joined.empty()) stream = joined.data(), length = static_cast<int64_t>(joined.size());
  const int64_t size = picture.Y * (1 + channels * picture.X);
  // A stream holds at most 1,032 times its bytes: what claims more is not made room for.
  if (size / 1032 > length) return std::nullopt;
  std::vector<uint8_t> filtered(size + kInflateSlack);
  if (!inflate(stream, length, filtered.data(), size)) return std::nullopt;
  picture.grey.resize(picture.Y * picture.X);
  const bool known = channels == 1
                         ? rows<1>(filtered.data(), picture.Y, picture.X, picture.grey.data())
                         : rows<3>(filtered.data(), picture.Y, picture.X, picture.grey.data());
  if (!known) return std::nullopt;
  return picture;
}

}  // namespace khmer_fast
