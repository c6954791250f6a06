#include "cpu/pack.h"

#include <algorithm>

#include "dims.h"

namespace khmer_fast {

void pack(const float* W, int64_t N, int64_t K, int64_t ld, int64_t panel, float* out) {
  constexpr int64_t kBlock = 16;  // k at a time: whole cache lines of W are read
  for (int64_t n0 = 0; n0 < padded(N); n0 += panel) {
    const int64_t w = std::min(panel, padded(N) - n0);
    float* to = out + n0 * K;
    for (int64_t k0 = 0; k0 < K; k0 += kBlock) {
      const int64_t k1 = std::min(K, k0 + kBlock);
      for (int64_t j = 0; j < w; ++j) {
        const float* row = W + (n0 + j) * ld;
        if (n0 + j < N)
          for (int64_t k = k0; k < k1; ++k) to[k * w + j] = row[k];
        else
          for (int64_t k = k0; k < k1; ++k) to[k * w + j] = 0.0f;
      }
    }
  }
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

}  // namespace khmer_fast
