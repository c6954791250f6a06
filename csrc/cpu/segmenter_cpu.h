// The segmenter, its weights packed once, over one page: the steps of python_ref/segmenter.py.
//
// A page is computed at its own size: every level has ceil(n / 2) of the one before, and what a
// filter sees beyond it is 0. Raw pointers and no torch, so that the sanitizer harness can run it.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/kernels.h"
#include "dims.h"

namespace khmer_fast {

constexpr int64_t kMaps = 4;       // band, above, below, offset
constexpr int64_t kRotations = 4;  // 0, 90, 180, 270 degrees

// In torch's layout, the weights standardised: W [outputs, inputs, rows, columns], where a
// depthwise convolution has one input; b [outputs].
struct FilterWeights {
  const float* W;
  const float* b;
  int64_t outputs, inputs, rows, columns;
};

struct SegmenterWeights {
  struct Pair {
    FilterWeights depthwise, pointwise;
  };
  struct Level {  // strides 8, 16, ...
    Pair down;
    std::vector<Pair> blocks;
    FilterWeights up;            // to the level before
    std::vector<Pair> up_block;  // one on the way up; none at the coarsest level
  };
  FilterWeights stem, fine;
  std::vector<Level> levels;
  FilterWeights merge, head, turn;
};

class Segmenter {
 public:
  Segmenter(const SegmenterWeights& weights, const Kernels& kernels);

  // image [Y, X] contiguous, paper 0 and ink 1 -> maps [4, ceil(Y / 4), ceil(X / 4)], rotation [4].
  void run(const float* image, int64_t Y, int64_t X, float* maps, float* rotation,
           int threads) const;

 private:
  // Channels last, with a border of zeros: kAbove rows above and below, kBeside columns at the
  // sides.
  struct Map {
    int64_t Y, X, C;
    Buffer data;

    Map(int64_t Y, int64_t X, int64_t C, int64_t above, int64_t beside);
    int64_t row() const { return (X + 2 * beside) * C; }
    float* at(int64_t y, int64_t x) { return data.data() + (y + above) * row() + (x + beside) * C; }
    const float* at(int64_t y, int64_t x) const { return const_cast<Map*>(this)->at(y, x); }

    int64_t above, beside;
  };
  struct Dense {  // a convolution over all channels, as `convolve` reads it
    int64_t inputs, outputs, rows, columns;  // inputs as they lie in memory, outputs padded
    Buffer W, bias;
  };
  struct Depthwise {
    int64_t channels, rows, columns;  // channels padded
    Buffer W, bias;
  };
  struct Pair {
    Depthwise depthwise;
    Dense pointwise;
  };
  struct Level {
    Pair down;
    std::vector<Pair> blocks;
    Dense up;
    std::vector<Pair> up_block;
  };

  Dense pack_dense(const FilterWeights& w, int64_t inputs) const;
  Depthwise pack_depthwise(const FilterWeights& w) const;
  Pair pack_pair(const SegmenterWeights::Pair& w) const;

  Map make_map(int64_t Y, int64_t X, int64_t C) const { return Map(Y, X, C, above_, beside_); }
  // Strides 2 and 4 together: the first never leaves the cache.
  void fine(const float* image, int64_t Y, int64_t X, Map& out, int threads) const;
  // relu(pointwise(depthwise(in))) with stride 2
  void down(const Pair& pair, const Map& in, Map& out, int threads) const;
  // relu(in + pointwise(relu(depthwise(in))))
  void block(const Pair& pair, const Map& in, Map& out, int threads) const;
  // skip += pointwise(in), each place four times
  void up(const Dense& pointwise, const Map& in, Map& skip, int threads) const;
  void heads(const Map& in, float* maps, int threads) const;
  void turn(const Map& in, float* rotation) const;

  const SegmenterKernels& kernels_;
  const int64_t panel_;             // columns of a packed panel, see pack.h
  int64_t above_ = 1, beside_ = 1;  // the borders that the largest filter needs
  int64_t stem_channels_;
  Buffer stem_W_, stem_b_;  // [C, 3, 3], [C]
  Dense fine_, merge_, head_, turn_;
  std::vector<Level> levels_;
};

}  // namespace khmer_fast
