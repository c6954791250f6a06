// The encoder's products in 8-bit integers: python_ref/quantized_encoder.py, bit for bit.
//
// A line at a time, at its own width, as in convolutions_cpu.h; the GRU's steps are Encoder's. Raw
// pointers and no torch, so that the sanitizer harness can run it.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/convolutions_cpu.h"
#include "cpu/kernels.h"

namespace khmer_fast {

// A layer whose outputs are multiplier * (sum of whole numbers) + bias + residual * input.
struct QuantizedLayer {
  const int8_t* W;          // [outputs, inputs, 3, 3] or [outputs, inputs], in -127..127
  const float* multiplier;  // [outputs]
  const float* bias;        // [outputs]
  const float* residual;    // [outputs], or null
};

struct QuantizedWeights {
  const int16_t* first_W;             // [outputs, 1, 3, 3] of convs[0], in -4095..4095
  std::vector<QuantizedLayer> convs;  // in the order of use; W of the first is null
  QuantizedLayer project;             // [F, Y' C]
  const float* norm_gain;             // [F], over the scale of the feature
  const float* norm_bias;             // [F], likewise, plus 128
  QuantizedLayer gates[2];            // [3H, F], forward, backward
  QuantizedLayer hidden[2];           // [3H, H], likewise
};

// Scratch of one thread. A column is [Y + 2, Cp] whole numbers, a row of zeros above and one below.
struct QuantizedBuffers {
  Buffer image;     // [X + 2, Y + 2]
  Buffer patches;   // [rows, 9] of one column
  Buffer products;  // [rows, Cp]
  Buffer x, next;   // [X + 2, column], a column of zeros before and after
  Buffer V;         // [6, tiles, column] transformed columns
  Buffer sums;      // [6, tiles, rows, Cp] of their products, int32
  Buffer row_V;     // [5, tiles, rows / 3, Cp] of one of the six, transformed along y, too
  Buffer row_sums;  // and of their products
  Buffer feature;   // [T, Fp]
};

class QuantizedFeatures {
 public:
  QuantizedFeatures(int64_t height, const std::vector<ConvStage>& stages, int64_t F, int64_t H,
                    const QuantizedWeights& weights, const Kernels& kernels);

  int64_t height() const { return height_; }
  int64_t positions(int64_t X) const;

  // image [Y, X], rows `ld` apart -> levels [T, Fp] of the features; false, and levels of 0, where
  // a pixel is not finite.
  bool run(const float* image, int64_t ld, int64_t X, void* levels,
           QuantizedBuffers& buffers) const;
  // levels [rows, Fp] -> the input's part of the gates [rows, 3 Hp]
  void input(int direction, int64_t rows, const void* levels, float* out) const;
  // Floats that hold so many whole numbers
  int64_t floats(int64_t wholes) const {
    return (wholes + kernels_.int8->depth - 1) / kernels_.int8->depth;
  }

  // The recurrent half, by steps of several lines. level [lines, Hp]: of states of 0
  void begin(int64_t lines, Buffer& level) const;
  // level [lines, Hp] -> the recurrent part of the gates [lines, 3 Hp]
  void recurrent(int direction, int64_t lines, const Buffer& level, Buffer& hidden) const;
  // Both parts of a line's gates [3 Hp], h [Hp] -> h, and row `line` of level
  void cell(int64_t line, const float* input, const float* hidden, float* h, Buffer& level) const {
    kernels_.int8->gru(Hp_, input, hidden, h, at(level, line * Hp_));
  }

 private:
  struct Dense {
    int64_t K, N;             // padded
    Buffer W;                 // packed
    Buffer multiplier, bias;  // [N]
  };
  struct Conv {
    int64_t depth, width;  // channels in and out, padded
    int64_t height, rows, stride_y, stride_x;
    Dense product;
    Buffer residual;              // [N], or empty
    std::vector<int32_t> offset;  // of each group of k, from the column left of the output's
    // F(4, 3) along x and, for 144 times, F(3, 3) along y, where the kernels have it and its
    // outputs fit 32 bits; else empty:
    int64_t times = 0;   // the weights: 24 or 144
    Buffer transformed;  // [6][3 depth, width], by (dy, c), or [6, 5][depth, width]
    Buffer multipliers, biases, residuals;  // [rows, width]

    int64_t column_in() const { return (height + 2) * depth; }
    int64_t column_out() const { return (rows + 2) * width; }
  };

  Dense pack_dense(const std::vector<int8_t>& W, int64_t N, int64_t K,
                   const QuantizedLayer& layer) const;
  // Of [3H, K]: each gate begins at a padded row, K is padded.
  Dense pack_gates(int64_t H, int64_t K, const QuantizedLayer& layer) const;
  // 8 or 16 bits each, see Int8Kernels::depth
  uint8_t* at(Buffer& buffer, int64_t i) const {
    return reinterpret_cast<uint8_t*>(buffer.data()) + i * 4 / kernels_.int8->depth;
  }
  const uint8_t* at(const Buffer& buffer, int64_t i) const {
    return reinterpret_cast<const uint8_t*>(buffer.data()) + i * 4 / kernels_.int8->depth;
  }

  // The image to the first layer's whole numbers; false where a pixel is not finite.
  bool take_image(const float* image, int64_t ld, int64_t X, Buffer& out) const;
  void first(int64_t X, Buffer& out, QuantizedBuffers& buffers) const;
  void convolve(const Conv& layer, int64_t X, Buffer& in, Buffer& out) const;
  void pack_transformed(Conv& layer, int64_t inputs, int64_t outputs,
                        const QuantizedLayer& weights) const;
  void winograd(const Conv& layer, int64_t X, Buffer& in, Buffer& out,
                QuantizedBuffers& buffers) const;
  // Of transformed column j of `count` tiles: V [count, column_in] -> sums [count, rows, Cp]
  void multiply(const Conv& layer, int64_t j, int64_t count, const void* V, int32_t* sums) const;
  void multiply_rows(const Conv& layer, int64_t j, int64_t count, const void* V, int32_t* sums,
                     QuantizedBuffers& buffers) const;
  void clear_borders(const Conv& layer, int64_t columns, Buffer& out) const;

  int64_t height_, F_, Fp_, Hp_;
  const Kernels& kernels_;
  std::vector<Conv> convs_;
  Buffer first_W_;                        // [9, Cp] packed floats
  Buffer first_multiplier_, first_bias_;  // [rows, Cp]
  Dense project_, gates_[2], hidden_[2];
  std::vector<double> norm_gain_, norm_bias_;  // [Fp]
};

}  // namespace khmer_fast
