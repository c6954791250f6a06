#include "cpu/pack.h"

#include <algorithm>
#include <cstring>

#include "dims.h"

namespace khmer_fast {
namespace {

template <class T>
T convert(T x, T) {
  return x;
}
int16_t convert(int8_t x, int16_t) { return x; }
uint16_t convert(float x, uint16_t) { return to_bf16(x); }

// Element (n, k) of the matrix is from[n * n_step + k * k_step].
template <int64_t depth, class From, class T>
void pack_any(const From* from, int64_t N, int64_t K, int64_t n_step, int64_t k_step, int64_t panel,
              T* out) {
  constexpr int64_t kBlock = 16;  // k at a time: whole cache lines of W are read
  const int64_t K_padded = round_up(K, depth);
  for (int64_t n0 = 0; n0 < padded(N); n0 += panel) {
    const int64_t w = std::min(panel, padded(N) - n0), valid = std::min(w, N - n0);
    T* to = out + n0 * K_padded;
    for (int64_t k0 = 0; k0 < K; k0 += kBlock) {
      const int64_t k1 = std::min(K, k0 + kBlock);
      for (int64_t j = 0; j < valid; ++j) {
        const From* row = from + (n0 + j) * n_step;
        T* column = to + j * depth;
        for (int64_t k = k0; k < k1; ++k)
          column[k / depth * w * depth + k % depth] = convert(row[k * k_step], T{});
      }
    }
    for (int64_t k = 0; k < K_padded; ++k)
      for (int64_t j = k < K ? valid : 0; j < w; ++j)
        to[k / depth * w * depth + j * depth + k % depth] = T{};
  }
}

}  // namespace

uint16_t to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <class T>
void pack(const T* W, int64_t N, int64_t K, int64_t ld, int64_t panel, T* out) {
  pack_any<1>(W, N, K, ld, 1, panel, out);
}
template void pack(const float*, int64_t, int64_t, int64_t, int64_t, float*);
template void pack(const double*, int64_t, int64_t, int64_t, int64_t, double*);

void pack_bf16(const float* W, int64_t N, int64_t K, int64_t ld, int64_t panel, bool pairs,
               uint16_t* out) {
  if (pairs) return pack_any<2>(W, N, K, ld, 1, panel, out);
  pack_any<1>(W, N, K, ld, 1, panel, out);
}

void pack_int8(const int8_t* W, int64_t N, int64_t K, int64_t ld, int64_t panel, int64_t depth,
               void* out) {
  if (depth == 4) return pack_any<4>(W, N, K, ld, 1, panel, static_cast<int8_t*>(out));
  pack_any<2>(W, N, K, ld, 1, panel, static_cast<int16_t*>(out));
}

void pack_int16(const int16_t* W, int64_t N, int64_t K, int64_t ld, int64_t panel, int16_t* out) {
  pack_any<2>(W, N, K, ld, 1, panel, out);
}

template <class T>
void pack_transposed(const T* X, int64_t N, int64_t K, int64_t ld, int64_t panel, T* out) {
  for (int64_t n0 = 0; n0 < padded(N); n0 += panel) {
    const int64_t w = std::min(panel, padded(N) - n0);
    const int64_t valid = std::min(w, N - n0);
    for (int64_t k = 0; k < K; ++k) {
      T* to = out + n0 * K + k * w;
      std::copy_n(X + k * ld + n0, valid, to);
      std::fill(to + valid, to + w, T{});
    }
  }
}
template void pack_transposed(const float*, int64_t, int64_t, int64_t, int64_t, float*);
template void pack_transposed(const double*, int64_t, int64_t, int64_t, int64_t, double*);

void pack_transposed_bf16(const float* X, int64_t N, int64_t K, int64_t ld, int64_t panel,
                          bool pairs, uint16_t* out) {
  if (pairs) return pack_any<2>(X, N, K, 1, ld, panel, out);
  pack_any<1>(X, N, K, 1, ld, panel, out);
}

void copy_block(const float* from, int64_t rows, int64_t columns, int64_t ld, float* out,
                int64_t out_ld) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * ld, columns, out + r * out_ld);
}

void copy_gates(const float* from, int64_t H, int64_t columns, int64_t ld, float* out,
                int64_t out_ld) {
  for (int64_t g = 0; g < 3; ++g)
    copy_block(from + g * H * ld, H, columns, ld, out + g * padded(H) * out_ld, out_ld);
}

Buffer zeros(int64_t size) {
  Buffer buffer(size);
  buffer.zero();
  return buffer;
}

}  // namespace khmer_fast
