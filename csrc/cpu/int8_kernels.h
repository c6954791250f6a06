// The inner loops of the encoder in whole numbers, once for each instruction set; see kernels.h.
#pragma once

#include <cstdint>

namespace khmer_fast {

struct Int8Kernels {
  // Products of whole numbers, exact: A of 0..255, B of -127..127 packed by depths, K a multiple of
  // depth. Elements of A and B have 8 bits where the depth is 4, and 16 where it is 2.
  int64_t depth;
  // C[m, n] = multiplier[n] sum_k A[m, k] B[n, k] + bias[n]; N a multiple of kLanes.
  void (*gemm)(int64_t M, int64_t N, int64_t K, const void* A, int64_t lda, const void* B,
               const float* multiplier, const float* bias, float* C, int64_t ldc);
  // The same, rounded to a whole number of 0..255, for A of places `step` apart whose values of k
  // lie at offset[k / depth] from them; where there is a `residual`, residual[n] C[m, n] is added.
  void (*convolve)(int64_t M, int64_t N, int64_t K, const void* A, int64_t step,
                   const int32_t* offset, const void* B, const float* multiplier, const float* bias,
                   const float* residual, void* C, int64_t ldc);
  // Where elements have 16 bits, else null: F(4, 3) along x from the points 0, +-1, +-2 and
  // infinity, exact in whole numbers, for four outputs of three taps each.
  // V[j ld + i], j < 6, i < n, from the six columns x[0..5] [n]; n a multiple of kLanes.
  void (*winograd_input)(int64_t n, const void* const* x, void* V, int64_t ld);
  // C[m, n] = sum_k A[m, k] B[n, k], for A of either sign
  void (*sums)(int64_t M, int64_t N, int64_t K, const void* A, int64_t lda, const void* B,
               int32_t* C, int64_t ldc);
  // F(3, 3) along y of what is transformed along x, from the points 0, +-1, 2 and infinity:
  // V[j ld + q n + i], j < 5, q < tiles, from the rows x[(3 q + k) n + i], k < 5.
  void (*winograd_rows_input)(int64_t tiles, int64_t n, const void* x, void* V, int64_t ld);
  // out[(3 q + k) n + i], k < 3, of the sums S[j ld + q n + i].
  void (*winograd_rows_output)(int64_t tiles, int64_t n, const int32_t* S, int64_t ld,
                               int32_t* out);
  // out[k column + i], k < valid <= 4, of the sums S[j ld + i], which are `times` the weights';
  // 24 times, or 144 where they were transformed along y, too; multiplier, bias and residual [n] as
  // of `convolve`.
  void (*winograd_output)(int64_t n, const int32_t* S, int64_t ld, int64_t times,
                          const float* multiplier, const float* bias, const float* residual,
                          void* out, int64_t column, int64_t valid);
  // out[i] = multiplier[i] x[i] + bias[i], rounded to a whole number of 0..255; n a multiple of
  // kLanes. Without multiplier and bias x itself is rounded.
  void (*to_wholes)(int64_t n, const float* x, const float* multiplier, const float* bias,
                    void* out);
  // In place over x[0, n): normalised, times gain, plus bias, rounded to a whole number; gain and
  // bias hold 0 from n to padded(n).
  void (*normalise)(int64_t n, float* x, const double* gain, const double* bias);
  // A GRU's cell: the input's part of the gates [3H], the recurrent part [3H] and h [H] -> h, and
  // its levels [H]; H a multiple of kLanes.
  void (*gru)(int64_t H, const float* input, const float* hidden, float* h, void* level);
};

}  // namespace khmer_fast
