// Deflate (RFC 1951) in a zlib stream (RFC 1950), for one whole stream of known size.
#pragma once

#include <cstdint>

namespace khmer_fast {

constexpr int64_t kInflateSlack = 16;  // bytes beyond `size` that `out` has room for

// data [bytes] -> out [size]. False for anything but a whole, undamaged stream of exactly `size`
// bytes with nothing behind it; what stands in `out` then is anything.
bool inflate(const uint8_t* data, int64_t bytes, uint8_t* out, int64_t size);

}  // namespace khmer_fast
