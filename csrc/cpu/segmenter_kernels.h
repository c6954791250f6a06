// The segmenter's inner loops, once for each instruction set, behind one table of functions.
//
// Channels are padded to kLanes. Each output is summed in one fixed order, whatever its row, the
// number of pixels asked for, or the threads.
#pragma once

#include <cstdint>

namespace khmer_fast {

struct SegmenterKernels {
  // One row of a 3x3 convolution with stride 2 of one channel, then relu: out[c plane + x], x < X.
  // Input rows lie in two halves, even[dy][x] = row[2x], odd[dy][x] = row[2x + 1], odd[dy][-1] = 0.
  // W [C, 3, 3], b [C]. Reads and writes whole vectors: up to kLanes - 1 beyond X.
  void (*stem)(int64_t X, int64_t C, const float* const even[3], const float* const odd[3],
               const float* W, const float* b, float* out, int64_t plane);

  // out[p out_step + n] = sum_k in[p step + offset[k]] W[n, k] + bias[n] (+ add[p out_step + n]),
  // and relu where asked for; p < pixels, n < N, N a multiple of kLanes, W packed (pack.h). `add`
  // may be null, or out.
  void (*convolve)(int64_t pixels, int64_t N, int64_t K, const float* in, const int32_t* offset,
                   int64_t step, const float* W, const float* bias, const float* add, bool relu,
                   float* out, int64_t out_step);

  // out[x C + c] = sum over (dy, dx) of in[dy row + (stride x + dx) C + c] W[dy, dx, c] + bias[c],
  // and relu where asked for; x < X.
  void (*depthwise)(int64_t X, int64_t C, int64_t rows, int64_t columns, const float* in,
                    int64_t row, int64_t stride, const float* W, const float* bias, bool relu,
                    float* out);
};

}  // namespace khmer_fast
