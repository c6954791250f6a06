// The encoder, its weights packed once, over the lines of a batch: python_ref/encoder.py without
// padding, since every line is computed at its own width.
//
// Raw pointers and no torch, so that the sanitizer harness can run it (docs/architecture.md,
// Traps).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/convolutions_cpu.h"
#include "cpu/kernels.h"
#include "cpu/quantized_cpu.h"

namespace khmer_fast {

// One direction, in torch's names and layout.
struct GruWeights {
  const float* W_ih;  // [3H, F]
  const float* W_hh;  // [3H, H]
  const float* b_ih;  // [3H]
  const float* b_hh;  // [3H]
};

struct EncoderWeights {
  std::vector<ConvWeights> convs;
  const float* W_project;  // [F, Y' C]
  const float* b_project;  // [F]
  const float* norm_gain;  // [F]
  const float* norm_bias;  // [F]
  GruWeights gru[2];       // forward, backward
};

class Encoder {
 public:
  // F: features of a position; H: hidden units of each direction.
  Encoder(int64_t height, const std::vector<ConvStage>& stages, int64_t F, int64_t H,
          const EncoderWeights& weights, const Kernels& kernels);
  // In 8-bit integers.
  Encoder(int64_t height, const std::vector<ConvStage>& stages, int64_t F, int64_t H,
          const QuantizedWeights& weights, const Kernels& kernels);

  int64_t height() const { return quantized_ ? quantized_->height() : convolutions_->height(); }
  int64_t positions(int64_t X) const {
    return quantized_ ? quantized_->positions(X) : convolutions_->positions(X);
  }
  int64_t memory_size() const { return 2 * H_; }

  // image [B, Y, X] contiguous, paper 0 and ink 1 (as float) or 255 (as uint8_t), width [B] in
  // [1, X] -> memory [B, T, 2H], 0 at padding. `threads` share the lines.
  template <class Pixel>
  void run(const Pixel* image, const int64_t* width, int64_t B, int64_t X, float* memory,
           int threads) const;

 private:
  struct Line {
    int64_t b, length;
  };
  struct Buffers {  // scratch of one thread
    ConvBuffers convs;
    QuantizedBuffers quantized;
    Buffer image;    // [Y, X] of one line, of bytes
    Buffer columns;  // [T, Y' C] of one line
    Buffer feature;  // [T, Fp] of one line
    Buffer gates;    // [2, lines, T, 3 Hp] the input's part
    Buffer hidden;   // [lines, 3 Hp]
    Buffer h;        // [lines, Hp]
    Buffer level;    // [lines, Hp] of h, whole numbers
    Buffer zeros;    // [3 Hp]
  };

  // gates [lines, T, 3 Hp] of a direction -> its half of memory
  void recurrent(int direction, const std::vector<Line>& lines, int64_t T, float* memory,
                 Buffers& buffers) const;

  // [3H, K], packed as [3 Hp, K]
  Buffer pack_gates(const float* W, int64_t K) const;
  // 1. to 4. of a line: image [Y, X] -> the input's part of the gates [T, 3 Hp], in float32
  void features(const float* image, int64_t ld, int64_t X, float* forward, float* backward,
                Buffers& buffers) const;

  std::optional<Convolutions> convolutions_;  // one of the two
  std::optional<QuantizedFeatures> quantized_;
  const Kernels& kernels_;
  const int64_t F_, H_, Fp_, Hp_;
  Buffer W_project_, b_project_, norm_gain_, norm_bias_;
  Buffer W_input_[2], b_input_[2];    // [3 Hp, F]
  Buffer W_hidden_[2], b_hidden_[2];  // [3 Hp, H]; float32: b_hr and b_hz are in b_input_
};

}  // namespace khmer_fast
