// The decoder's weights, packed once, and the numeric steps of docs/spec.md, section 2 over them.
//
// Raw pointers and no torch, so that the sanitizer harness can run it (docs/architecture.md,
// Traps).
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/kernels.h"
#include "decoder_weights.h"
#include "dims.h"

namespace khmer_fast {

// A line's memory and keys, as the attention reads them. The tensors that it was made of stay with
// the caller and must outlive it.
struct LineCache {
  const float* memory = nullptr;  // [length, E], rows memory_ld apart
  int64_t memory_ld = 0;
  const float* key = nullptr;  // [length, A], rows key_ld apart; null: computed from memory
  int64_t key_ld = 0;
  int64_t length = 0;

  float max_p = 0;  // largest |key|
  bool raw_ready = false;
  Buffer factor;  // panels of positions, [A_even, panel] each: exp(2 key)
  Buffer raw;     // the same of the key itself, made when a query needs it
  Buffer packed;  // memory packed as a matrix [E, length], bfloat16 where products are
};

class Decoder;

// Scratch of one thread, rows counted over all the lines that it decodes together.
struct StepBuffers {
  void reserve(const Decoder& decoder, int64_t rows, int64_t children, int64_t T);

  Buffer h;                       // [rows, Hp] states of the parents
  Buffer hidden;                  // [rows, Ap + 3 Hp] query, then W_hh h + (0, 0, b_hn)
  Buffer Q;                       // [rows, Ap] exp(2 query)
  Buffer weight;                  // [rows, Tp] attention
  std::vector<int32_t> position;  // [rows] of the largest weight, the first of equals
  Buffer context;                 // [rows, Ep]
  Buffer input;                   // [rows, 3 Hp + Vp] W_ic context, then W_oc context + b_o
  Buffer h_new;                   // [children, Hp]
  Buffer logits;                  // [children, Vp] W_oh h', then the log-probabilities
  Buffer packed;                  // memory packed as a matrix [length, E], while keys are computed
  Buffer mean;                    // [E]
  Buffer narrow;                  // rows of a product, rounded to bfloat16
  int64_t Tp = 0;
};

enum class Precision {
  kFloat32,
  kBfloat16,  // weights; and what they multiply where the processor has products of bfloat16
};

class Decoder {
 public:
  Decoder(const Dims& dims, const DecoderPointers& weights, Precision precision,
          const Kernels& kernels);

  const Dims dims;
  const Precision precision;
  const int64_t Hp, Ap, Ep, Vp;  // padded sizes
  const Kernels& kernels;

  // What products multiply: bfloat16, or float32.
  const char* computes_in() const { return narrow_lines() ? "bfloat16" : "float32"; }

  // Fills the cache of a line whose memory (and key, if given) are set.
  void begin_line(LineCache& line, StepBuffers& buffers) const;
  // h_0 [Hp] of a line.
  void first_state(const LineCache& line, StepBuffers& buffers, float* h_0) const;

  // 1. query and the recurrent product of all parents: h -> hidden
  void recurrent(int64_t rows, StepBuffers& buffers) const;
  // 2., 3. attention and context of one line's parents, rows [first, first + count)
  void attend(LineCache& line, int64_t first, int64_t count, StepBuffers& buffers) const;
  // 3. the products of the context of all parents: context -> input
  void contextual(int64_t rows, StepBuffers& buffers) const;
  // 4. GRU cell of one child: token and parent row -> h_new
  void cell(int64_t child, int32_t token, int64_t parent, StepBuffers& buffers) const;
  // 5. the state's half of the projection of all children: h_new -> logits
  void project(int64_t children, StepBuffers& buffers) const;
  // 5. log_softmax of one child, in place
  void normalize(int64_t child, int64_t parent, StepBuffers& buffers) const;

 private:
  // A matrix [N, K] as this decoder's products take it.
  struct Matrix {
    int64_t N, K;
    Buffer data;
  };

  Matrix pack_matrix(const float* W, int64_t N, int64_t K, int64_t ld) const;
  void multiply(int64_t rows, const float* A, int64_t lda, const Matrix& matrix, const float* bias,
                float* C, StepBuffers& buffers) const;
  bool narrow_lines() const { return precision == Precision::kBfloat16 && kernels.bf16_pairs; }
  float compute_key(const LineCache& line, StepBuffers& buffers, float* out) const;

  int64_t A_even_;    // A rounded up for pairs
  Buffer W_k_, b_k_;  // [A_even, E], [A_even]; W_k_ in bfloat16, rows even, with narrow_lines()
  Buffer W_init_, b_init_;
  Buffer u_;                          // [A_even] -2v
  Matrix W_hidden_, W_input_, W_oh_;  // [W_q; W_hh], [W_ic; W_oc]
  Buffer b_hidden_, b_input_;         // (0; 0, 0, b_hn) and (0; b_o, padding -infinity)
  Buffer table_;                      // [V, 3 Hp] W_ie embedding + b_ih + (b_hr, b_hz, 0)
};

}  // namespace khmer_fast
