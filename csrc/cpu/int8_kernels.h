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
  // out[i] = multiplier[i] x[i] + bias[i], rounded to a whole number of 0..255; n a multiple of
  // kLanes. Without multiplier and bias x itself is rounded.
  void (*to_wholes)(int64_t n, const float* x, const float* multiplier, const float* bias,
                    void* out);
  // A GRU's cell: the input's part of the gates [3H], the recurrent part [3H] and h [H] -> h, and
  // its levels [H]; H a multiple of kLanes.
  void (*gru)(int64_t H, const float* input, const float* hidden, float* h, void* level);
};

}  // namespace khmer_fast
