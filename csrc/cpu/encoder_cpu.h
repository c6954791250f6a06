// The encoder, its weights packed once, over the lines of a batch: python_ref/encoder.py without
// padding, since every line is computed at its own width.
//
// Raw pointers and no torch, so that the sanitizer harness can run it (docs/architecture.md,
// Traps).
#pragma once

#include <array>
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
  static constexpr int64_t kLinesTogether = 8;   // through the GRU's steps: they share reading W_hh
  static constexpr int64_t kStepsTogether = 16;  // whose input's part is computed at once

  struct Buffers {  // scratch of one thread
    ConvBuffers convs;
    QuantizedBuffers quantized;
    Buffer image;    // [Y, X] of one line, of bytes
    Buffer columns;  // [T, Y' C] of one line
    Buffer feature;  // [lines, T, Fp], or their whole numbers
    Buffer rows;     // [<= lines * kStepsTogether, Fp] of the next steps
    Buffer input;    // [the same, 3 Hp] the input's part of their gates
    Buffer hidden;   // [lines, 3 Hp]
    Buffer h;        // [lines, Hp]
    Buffer level;    // [lines, Hp] of h, whole numbers
    Buffer zeros;    // [3 Hp]
  };

  // 5. a direction's half of memory [B, T, 2H] from the features of its lines
  void recurrent(int direction, const std::vector<Line>& lines, int64_t T, float* memory,
                 Buffers& buffers) const;
  // The input's part of the gates of the steps from s on, of the first `live` lines; returns the
  // row of each line's step s.
  std::array<int64_t, kLinesTogether> inputs(int direction, const std::vector<Line>& lines,
                                             int64_t live, int64_t s, Buffers& buffers) const;

  // [3H, K], packed as [3 Hp, K]
  Buffer pack_gates(const float* W, int64_t K) const;
  // 1. to 4. of a line: image [Y, X] -> feature [T, Fp], or its whole numbers; false where a pixel
  // is not finite and whole numbers cannot show it
  bool features(const float* image, int64_t ld, int64_t X, float* feature, Buffers& buffers) const;
  // Floats that a position's feature takes
  int64_t feature_size() const { return quantized_ ? quantized_->floats(Fp_) : Fp_; }

  std::optional<Convolutions> convolutions_;  // one of the two
  std::optional<QuantizedFeatures> quantized_;
  const Kernels& kernels_;
  const int64_t F_, H_, Fp_, Hp_;
  Buffer W_project_, b_project_, norm_gain_, norm_bias_;
  Buffer W_input_[2], b_input_[2];    // [3 Hp, F]
  Buffer W_hidden_[2], b_hidden_[2];  // [3 Hp, H]; float32: b_hr and b_hz are in b_input_
};

}  // namespace khmer_fast
