// Layouts of matrices as the kernels read them.
#pragma once

#include <cstdint>

#include "cpu/buffer.h"

namespace khmer_fast {

// A matrix [N, K] in panels of `panel` columns n: [padded(N) / panel][K][panel], the last panel as
// narrow as padded(N) allows; the padding is 0. Takes padded(N) * K elements. With `pairs`
// (bfloat16 alone) two values of k stand together, [K / 2][panel][2], and K is rounded up to even.

// From W [N, K], rows `ld` apart (torch's layout of a linear layer's weight).
template <class T>  // float or double
void pack(const T* W, int64_t N, int64_t K, int64_t ld, int64_t panel, T* out);
void pack_bf16(const float* W, int64_t N, int64_t K, int64_t ld, int64_t panel, bool pairs,
               uint16_t* out);

// For Int8Kernels::gemm: `depth` values of k stand together, of 8 bits (4) or 16 bits (2); K is a
// multiple of it.
void pack_int8(const int8_t* W, int64_t N, int64_t K, int64_t ld, int64_t panel, int64_t depth,
               void* out);

// The same of weights with 16 bits, by pairs.
void pack_int16(const int16_t* W, int64_t N, int64_t K, int64_t ld, int64_t panel, int16_t* out);

// From its transpose X [K, N], rows `ld` apart.
template <class T>  // float or double
void pack_transposed(const T* X, int64_t N, int64_t K, int64_t ld, int64_t panel, T* out);
void pack_transposed_bf16(const float* X, int64_t N, int64_t K, int64_t ld, int64_t panel,
                          bool pairs, uint16_t* out);

// To the nearest bfloat16, ties to even.
uint16_t to_bf16(float x);

// Copies block [rows, columns] of a matrix with rows `ld` apart to `out` with rows `out_ld` apart.
void copy_block(const float* from, int64_t rows, int64_t columns, int64_t ld, float* out,
                int64_t out_ld);

// Gates [3H, columns] to [3 Hp, columns]: each gate begins at a padded row.
void copy_gates(const float* from, int64_t H, int64_t columns, int64_t ld, float* out,
                int64_t out_ld);

Buffer zeros(int64_t size);

}  // namespace khmer_fast
