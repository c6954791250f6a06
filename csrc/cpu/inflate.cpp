#include "cpu/inflate.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace khmer_fast {
namespace {

// Bits of the stream, the lowest of a byte first; behind its end stand zeros, which `missing`
// tells.
class Bits {
 public:
  Bits(const uint8_t* data, int64_t bytes) : next_(data), end_(data + bytes) {}

  // Makes at least 56 bits available, or all that are left. Between two calls at most 56 are taken.
  void refill() {
    if (std::endian::native == std::endian::little && end_ - next_ >= 8) {
      uint64_t word;
      std::memcpy(&word, next_, 8);
      bits_ |= word << count_;
      next_ += (63 - count_) >> 3;
      count_ |= 56;
    } else {
      for (; 0 <= count_ && count_ <= 56 && next_ < end_; count_ += 8)
        bits_ |= uint64_t{*next_++} << count_;
    }
  }

  uint64_t peek() const { return bits_; }
  void drop(int n) { bits_ >>= n, count_ -= n; }
  uint32_t take(int n) {  // n < 32
    const uint32_t value = static_cast<uint32_t>(bits_ & ((uint64_t{1} << n) - 1));
    drop(n);
    return value;
  }
  bool missing() const { return count_ < 0; }

  // Drops what is left of a byte; the bytes from there on.
  const uint8_t* bytes() {
    next_ -= count_ >> 3;
    bits_ = 0, count_ = 0;
    return next_;
  }
  void skip(int64_t n) { next_ += n; }
  int64_t left() const { return end_ - next_; }

 private:
  const uint8_t *next_, *end_;
  uint64_t bits_ = 0;
  int count_ = 0;
};

enum Kind : uint8_t { kLiteral = 32, kEnd, kInvalid, kMore = 64 };  // below: a number's extra bits

struct Entry {
  uint16_t value;  // literal, the least of a number, or where a second table begins
  uint8_t kind;    // kMore + the second table's bits, or of Kind, or extra bits
  uint8_t length;  // bits of the code, those of the first table not counted in the second
};

// What the symbols of an alphabet stand for.
struct Meaning {
  uint16_t value;
  uint8_t kind;
};

struct Alphabets {
  Meaning lengths[288], distances[32];

  constexpr Alphabets() : lengths(), distances() {
    for (int i = 0; i < 256; ++i) lengths[i] = {static_cast<uint16_t>(i), kLiteral};
    lengths[256] = {0, kEnd};
    int value = 3;
    for (int i = 0; i < 28; ++i) {
      const int extra = i < 8 ? 0 : i / 4 - 1;
      lengths[257 + i] = {static_cast<uint16_t>(value), static_cast<uint8_t>(extra)};
      value += 1 << extra;
    }
    lengths[285] = {258, 0};
    for (int i = 286; i < 288; ++i) lengths[i] = {0, kInvalid};
    value = 1;
    for (int i = 0; i < 30; ++i) {
      const int extra = i < 2 ? 0 : i / 2 - 1;
      distances[i] = {static_cast<uint16_t>(value), static_cast<uint8_t>(extra)};
      value += 1 << extra;
    }
    for (int i = 30; i < 32; ++i) distances[i] = {0, kInvalid};
  }
};

constexpr Alphabets kAlphabets;
constexpr int kLongest = 15;  // bits of a code

// Codes by their first `bits` bits, and those of longer ones by the rest.
template <int bits, int symbols>
class Table {
 public:
  // False for lengths that make no full code; a lone code of one bit, or none at all, may be one.
  bool build(const uint8_t* length, int count, const Meaning* meaning, bool may_be_lone) {
    int of_length[kLongest + 1] = {}, next[kLongest + 2] = {};
    for (int i = 0; i < count; ++i) ++of_length[length[i]];
    of_length[0] = 0;
    int longest = kLongest;
    while (longest > 0 && of_length[longest] == 0) --longest;
    int room = 1;  // codes of the current length that are free
    for (int n = 1; n <= kLongest; ++n) {
      room = 2 * room - of_length[n];
      if (room < 0) return false;
      next[n + 1] = (next[n] + of_length[n]) << 1;
    }
    if (room > 0 && (longest > 1 || !may_be_lone)) return false;
    const int rest = std::max(0, longest - bits);
    std::fill_n(entries_, 1 << bits, Entry{0, kInvalid, 1});
    int used = 1 << bits;
    for (int i = 0; i < count; ++i) {
      const int n = length[i];
      if (n == 0) continue;
      int code = next[n]++, turned = 0;
      for (int b = 0; b < n; ++b, code >>= 1) turned = turned << 1 | (code & 1);
      if (n <= bits) {
        const Entry entry{meaning[i].value, meaning[i].kind, static_cast<uint8_t>(n)};
        for (int at = turned; at < 1 << bits; at += 1 << n) entries_[at] = entry;
        continue;
      }
      Entry& first = entries_[turned & ((1 << bits) - 1)];
      if (first.kind < kMore) {
        first = {static_cast<uint16_t>(used), static_cast<uint8_t>(kMore + rest), bits};
        std::fill_n(entries_ + used, 1 << rest, Entry{0, kInvalid, 1});
        used += 1 << rest;
      }
      const Entry entry{meaning[i].value, meaning[i].kind, static_cast<uint8_t>(n - bits)};
      for (int at = turned >> bits; at < 1 << rest; at += 1 << (n - bits))
        entries_[first.value + at] = entry;
    }
    return true;
  }

  // The entry of the next code, whose bits are dropped.
  Entry take(Bits& in) const {
    Entry entry = entries_[in.peek() & ((1 << bits) - 1)];
    if (entry.kind >= kMore) {
      in.drop(bits);
      entry = entries_[entry.value + (in.peek() & ((1 << (entry.kind - kMore)) - 1))];
    }
    in.drop(entry.length);
    return entry;
  }

 private:
  // Each first entry of longer codes has one code at least.
  Entry entries_[(1 << bits) + symbols * (1 << (kLongest - bits))];
};

struct Tables {
  Table<7, 19> lengths_of_codes;
  Table<10, 288> lengths;
  Table<8, 32> distances;
};

// The codes of a block whose own are written before it.
bool read_codes(Bits& in, Tables& tables) {
  in.refill();
  const int lengths = static_cast<int>(in.take(5)) + 257,
            distances = static_cast<int>(in.take(5)) + 1;
  const int given = static_cast<int>(in.take(4)) + 4;
  if (lengths > 286 || distances > 30) return false;
  constexpr uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  uint8_t own[19] = {};
  for (int i = 0; i < given; ++i) {
    if (i % 16 == 0) in.refill();
    own[order[i]] = static_cast<uint8_t>(in.take(3));
  }
  Meaning meaning[19];
  for (uint16_t i = 0; i < 19; ++i) meaning[i] = {i, kLiteral};
  if (!tables.lengths_of_codes.build(own, 19, meaning, false)) return false;
  uint8_t length[286 + 30];
  for (int i = 0; i < lengths + distances;) {
    in.refill();
    const Entry entry = tables.lengths_of_codes.take(in);
    if (entry.kind != kLiteral || in.missing()) return false;
    if (entry.value < 16) {
      length[i++] = static_cast<uint8_t>(entry.value);
      continue;
    }
    if (entry.value == 16 && i == 0) return false;
    const uint8_t again = entry.value == 16 ? length[i - 1] : 0;
    const int times = entry.value == 16   ? 3 + static_cast<int>(in.take(2))
                      : entry.value == 17 ? 3 + static_cast<int>(in.take(3))
                                          : 11 + static_cast<int>(in.take(7));
    if (i + times > lengths + distances) return false;
    std::fill_n(length + i, times, again);
    i += times;
  }
  return length[256] != 0 && tables.lengths.build(length, lengths, kAlphabets.lengths, true) &&
         tables.distances.build(length + lengths, distances, kAlphabets.distances, true);
}

void fixed_codes(Tables& tables) {
  uint8_t length[288], distance[32];
  for (int i = 0; i < 288; ++i) length[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  std::fill_n(distance, 32, uint8_t{5});
  tables.lengths.build(length, 288, kAlphabets.lengths, true);
  tables.distances.build(distance, 32, kAlphabets.distances, true);
}

// The bytes that stand `distance` before `to`, again and again; up to 7 beyond `size` are written.
void repeat(uint8_t* to, int64_t distance, int64_t size) {
  int64_t period = distance, i = 0;
  if (distance < 8) {
    while (period < 8) period += distance;
    for (; i < std::min(period, size); ++i) to[i] = to[i - distance];
  }
  for (; i < size; i += 8) std::memcpy(to + i, to + i - period, 8);
}

// A block of codes; the new end of what is written, null where it is damaged.
uint8_t* read_block(Bits& in, const Tables& tables, const uint8_t* out, uint8_t* to,
                    const uint8_t* end) {
  for (;;) {
    in.refill();  // 56 bits: two literals and a length with its extra bits take 50
    Entry entry = tables.lengths.take(in);
    for (int i = 0; i < 2 && entry.kind == kLiteral; ++i) {
      if (to == end) return nullptr;
      *to++ = static_cast<uint8_t>(entry.value);
      entry = tables.lengths.take(in);
    }
    if (in.missing() || entry.kind == kInvalid) return nullptr;
    if (entry.kind == kEnd) return to;
    if (entry.kind == kLiteral) {
      if (to == end) return nullptr;
      *to++ = static_cast<uint8_t>(entry.value);
      continue;
    }
    const int64_t size = entry.value + in.take(entry.kind);
    if (in.missing()) return nullptr;
    in.refill();
    const Entry far = tables.distances.take(in);
    if (far.kind == kInvalid) return nullptr;
    const int64_t distance = far.value + in.take(far.kind);
    if (in.missing() || distance > to - out || size > end - to) return nullptr;
    repeat(to, distance, size);
    to += size;
  }
}

uint32_t adler32(const uint8_t* data, int64_t size) {
  uint32_t a = 1, b = 0;
  for (int64_t at = 0; at < size; at += 4096) {  // sums of so many bytes stay below 2^32
    const uint8_t* block = data + at;
    const uint32_t count = static_cast<uint32_t>(std::min<int64_t>(4096, size - at));
    uint32_t sum = 0, weighted = 0;
    for (uint32_t i = 0; i < count; ++i) {
      sum += block[i];
      weighted += (count - i) * block[i];
    }
    b = (b + static_cast<uint32_t>(uint64_t{a} * count % 65521) + weighted % 65521) % 65521;
    a = (a + sum) % 65521;
  }
  return b << 16 | a;
}

}  // namespace

bool inflate(const uint8_t* data, int64_t bytes, uint8_t* out, int64_t size) {
  if (bytes < 6) return false;
  const int method = data[0], flags = data[1];
  if ((method & 15) != 8 || method >> 4 > 7 || (method << 8 | flags) % 31 != 0 || flags & 32)
    return false;
  Bits in(data + 2, bytes - 2);
  static thread_local Tables tables;
  uint8_t* to = out;
  for (bool last = false; !last;) {
    in.refill();
    last = in.take(1);
    const uint32_t kind = in.take(2);
    if (in.missing() || kind == 3) return false;
    if (kind == 0) {
      const uint8_t* stored = in.bytes();
      if (in.left() < 4) return false;
      const int64_t count = stored[0] | stored[1] << 8;
      if ((count ^ 65535) != (stored[2] | stored[3] << 8)) return false;
      if (in.left() < 4 + count || count > out + size - to) return false;
      std::memcpy(to, stored + 4, count);
      in.skip(4 + count);
      to += count;
      continue;
    }
    if (kind == 1)
      fixed_codes(tables);
    else if (!read_codes(in, tables))
      return false;
    to = read_block(in, tables, out, to, out + size);
    if (!to) return false;
  }
  const uint8_t* check = in.bytes();
  if (to != out + size || in.left() != 4) return false;
  const uint32_t expected = uint32_t{check[0]} << 24 | check[1] << 16 | check[2] << 8 | check[3];
  return adler32(out, size) == expected;
}

}  // namespace khmer_fast
