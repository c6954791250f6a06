#include "cpu/pack.h"

#include <algorithm>
#include <cstring>

#include "dims.h"

namespace khmer_fast {
namespace {

float convert(float x, float) { return x; }
uint16_t convert(float x, uint16_t) { return to_bf16(x); }

// Element (n, k) of the matrix is from[n * n_step + k * k_step].
template <int64_t depth, class T>
void pack_any(const float* from, int64_t N, int64_t K, int64_t n_step, int64_t k_step,
              int64_t panel, T* out) {
  constexpr int64_t kBlock = 16;  // k at a time: whole cache lines of W are read
  const int64_t K_padded = round_up(K, depth);
  for (int64_t n0 = 0; n0 < padded(N); n0 += panel) {
    const int64_t w = std::min(panel, padded(N) - n0);
    T* to = out + n0 * K_padded;
    for (int64_t k0 = 0; k0 < K_padded; k0 += kBlock) {
      const int64_t k1 = std::min(K_padded, k0 + kBlock);
      for (int64_t j = 0; j < w; ++j) {
        const float* row = from + (n0 + j) * n_step;
        T* column = to + j * depth;
        for (int64_t k = k0; k < k1; ++k) {
          const bool inside = n0 + j < N && k < K;
          column[k / depth * w * depth + k % depth] = inside ? convert(row[k * k_step], T{}) : T{};
        }
      }
    }
  }
}

}  // namespace

uint16_t to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void pack(const float* W, int64_t N, int64_t K, int64_t ld, int64_t panel, float* out) {
  pack_any<1>(W, N, K, ld, 1, panel, out);
}

void pack_bf16(const float* W, int64_t N, int64_t K, int64_t ld, int64_t panel, bool pairs,
               uint16_t* out) {
  if (pairs) return pack_any<2>(W, N, K, ld, 1, panel, out);
  pack_any<1>(W, N, K, ld, 1, panel, out);
}

void pack_transposed(const float* X, int64_t N, int64_t K, int64_t ld, int64_t panel, float* out) {
  for (int64_t n0 = 0; n0 < padded(N); n0 += panel) {
    const int64_t w = std::min(panel, padded(N) - n0);
    const int64_t valid = std::min(w, N - n0);
    for (int64_t k = 0; k < K; ++k) {
      float* to = out + n0 * K + k * w;
      std::copy_n(X + k * ld + n0, valid, to);
      std::fill(to + valid, to + w, 0.0f);
    }
  }
}

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
