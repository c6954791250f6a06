// The decoder on a CPU for torch: tensors in, tensors out.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cpu/decoder_cpu.h"

namespace khmer_fast {

// In the order of python_ref.attn_gru_step.DecoderWeights; dtype: float32 or bfloat16.
Decoder make_decoder(const std::vector<at::Tensor>& weights, const std::string& dtype);

// The fields of khmer_fast.ops.DecodeResult.
struct DecodeResult {
  at::Tensor tokens;                               // [B, n_best, S] int64
  at::Tensor length;                               // [B, n_best] int64
  at::Tensor score;                                // [B, n_best]
  at::Tensor log_prob;                             // [B, n_best, S]
  at::Tensor truncated;                            // [B, n_best] bool
  at::Tensor failed;                               // [B] bool
  at::Tensor steps;                                // [B] int64
  std::optional<at::Tensor> attention;             // [B, n_best, S, T]
  std::optional<std::array<at::Tensor, 3>> trace;  // parent, token, score: [B, S, K]
  at::Tensor position;                             // [B, n_best, S] int64
  at::Tensor live;                                 // [B] int64
  at::Tensor parents;                              // [B] int64
};

DecodeResult decode(const Decoder& decoder, const at::Tensor& memory, const at::Tensor& length,
                    int64_t beam, int64_t n_best, double alpha,
                    const std::optional<at::Tensor>& step_limit,
                    const std::optional<at::Tensor>& force_length, bool return_attention,
                    bool return_trace, int64_t threads);

}  // namespace khmer_fast
