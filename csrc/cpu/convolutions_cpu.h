// The encoder's convolutions, their weights packed once, over one line at a time: the steps of
// python_ref/encoder.py's Encoder.convolutions.
//
// Lines are computed at their own width, so that there is no padding to mask and nothing that a
// batch mate could change. Raw pointers and no torch, so that the sanitizer harness can run it.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/kernels.h"
#include "dims.h"

namespace khmer_fast {

// One convolution with strides, then `blocks` residual blocks of two at its resolution.
struct ConvStage {
  int64_t channels, stride_y, stride_x, blocks;
};

// In torch's layout: W [outputs, inputs, 3, 3], b [outputs].
struct ConvWeights {
  const float* W;
  const float* b;
};

// Scratch of one thread. A column is [Y + 2, Cp]: the rows of one x, with one row of zeros above
// and one below, Cp = padded(channels).
struct ConvBuffers {
  Buffer image;    // [X + 2, Y + 2], turned so that columns lie in one piece
  Buffer x;        // columns: what a layer reads
  Buffer next;     // and what it writes
  Buffer patches;  // [rows, 9 Cp] of one column, for a layer that is not transformed
  Buffer V;        // [6, tiles, (Y + 2) Cp] transformed input
  Buffer M;        // [6, tiles, rows, Cp] products; without transform [rows, Cp]
  Buffer row_V;    // [5, tiles, rows / 3, Cp] of one of the six, transformed along y, too
  Buffer row_M;    // and their products
  Buffer zeros;    // one column
};

class Convolutions {
 public:
  // `weights` in the order of use; the first stage reads one channel.
  Convolutions(int64_t height, const std::vector<ConvStage>& stages,
               const std::vector<ConvWeights>& weights, const Kernels& kernels);

  // Positions T of a line X pixels wide.
  int64_t positions(int64_t X) const;
  // Rows of a line, and rows and channels of a position.
  int64_t height() const { return height_; }
  int64_t rows() const { return layers_.back().rows; }
  int64_t channels() const { return layers_.back().outputs; }

  // image [Y, X], rows `ld` apart, paper 0 and ink 1 -> out [T, rows * channels].
  void run(const float* image, int64_t ld, int64_t X, float* out, ConvBuffers& buffers) const;

  const Kernels& kernels;

 private:
  struct Layer {
    int64_t inputs, outputs;  // channels
    int64_t height, rows;     // rows in and out
    int64_t stride_y, stride_x;
    bool first;     // reads the image: one channel that is not padded
    bool residual;  // adds what the block began with
    // [9 inputs, outputs] by (dx, dy, c), [6][3 inputs, outputs] by (dy, c), or
    // [6, 5][inputs, outputs]
    Buffer W;
    Buffer bias;  // [rows, outputs]

    bool transformed() const { return stride_x == 1 && !first; }
    bool rows_transformed() const { return transformed() && stride_y == 1 && rows % 3 == 0; }
    int64_t depth() const { return first ? 1 : padded(inputs); }
    int64_t width() const { return padded(outputs); }
    int64_t column_in() const { return (height + 2) * depth(); }
    int64_t column_out() const { return (rows + 2) * width(); }
  };

  Layer pack_layer(int64_t inputs, int64_t outputs, int64_t height, int64_t stride_y,
                   int64_t stride_x, bool residual, const ConvWeights& weights) const;
  // [X, column_in] -> [ceil(X / stride_x), column_out]; `out` may be `add`. A layer that is
  // transformed() takes F(4, 3) along x: half of the multiplications; one that is
  // rows_transformed() F(3, 3) along y, too: five ninths of what is left.
  void direct(const Layer& layer, const float* in, int64_t X, const float* add, float* out,
              ConvBuffers& buffers) const;
  void winograd(const Layer& layer, const float* in, int64_t X, const float* add, float* out,
                ConvBuffers& buffers) const;
  // The products of transformed column j of `count` tiles: V [count, column_in] ->
  // M [count, rows, Cp].
  void multiply(const Layer& layer, int64_t j, int64_t count, const float* V, float* M) const;
  void multiply_rows(const Layer& layer, int64_t j, int64_t count, const float* V, float* M,
                     ConvBuffers& buffers) const;

  int64_t height_;
  std::vector<Layer> layers_;
};

}  // namespace khmer_fast
