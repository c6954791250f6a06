// The decoder's tensors: the one list of them, above every device, in the order of
// python_ref.attn_gru_step.DecoderWeights and in torch's names and layout. No torch here.
#pragma once

#include "dims.h"

namespace khmer_fast {

// X(name, shape in SPEC's letters, the same as numbers)
#define KHMER_FAST_DECODER_WEIGHTS(X)  \
  X(embedding, "[V, D]", V, D)         \
  X(W_k, "[A, E]", A, E)               \
  X(b_k, "[A]", A)                     \
  X(W_init, "[H, E]", H, E)            \
  X(b_init, "[H]", H)                  \
  X(W_q, "[A, H]", A, H)               \
  X(v, "[A]", A)                       \
  X(W_ih, "[3H, D + E]", 3 * H, D + E) \
  X(W_hh, "[3H, H]", 3 * H, H)         \
  X(b_ih, "[3H]", 3 * H)               \
  X(b_hh, "[3H]", 3 * H)               \
  X(W_o, "[V, H + E]", V, H + E)       \
  X(b_o, "[V]", V)

// T: at::Tensor, or a pointer to contiguous float32 on the device. Where only steps are computed,
// W_k, b_k, W_init and b_init are undefined or null.
template <class T>
struct DecoderWeights {
#define KHMER_FAST_FIELD(name, ...) T name{};
  KHMER_FAST_DECODER_WEIGHTS(KHMER_FAST_FIELD)
#undef KHMER_FAST_FIELD
};

using DecoderPointers = DecoderWeights<const float*>;

}  // namespace khmer_fast
