// Layouts of matrices as the kernels read them.
#pragma once

#include <cstdint>

namespace khmer_fast {

// A matrix [N, K] in panels of `panel` columns n: [padded(N) / panel][K][panel], the last panel as
// narrow as padded(N) allows; the padding is 0. Takes padded(N) * K floats.

// From W [N, K], rows `ld` apart (torch's layout of a linear layer's weight).
void pack(const float* W, int64_t N, int64_t K, int64_t ld, int64_t panel, float* out);

// From its transpose X [K, N], rows `ld` apart.
void pack_transposed(const float* X, int64_t N, int64_t K, int64_t ld, int64_t panel, float* out);

}  // namespace khmer_fast
