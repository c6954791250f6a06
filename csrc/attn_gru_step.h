// attn_gru_step: one decoder step of N hypotheses (python_ref/attn_gru_step.py). Checks shared by
// the devices.
#pragma once

#include "beam_search.h"
#include "check.h"
#include "decoder_tensors.h"

namespace khmer_fast {

// `weights` lacks W_k, b_k, W_init and b_init.
inline Dims check_attn_gru_step(const at::Tensor& memory, const at::Tensor& key,
                                const at::Tensor& length, const at::Tensor& token,
                                const at::Tensor& h, const DecoderTensors& weights) {
  check_rank("memory", memory, "[B, T, E]", 3);
  check_rank("key", key, "[B, T, A]", 3);
  check_rank("h", h, "[N, H]", 2);
  check_rank("embedding", weights.embedding, "[V, D]", 2);
  const int64_t B = memory.size(0), T = memory.size(1), N = h.size(0);
  const Dims dims{weights.embedding.size(0), weights.embedding.size(1), memory.size(2), key.size(2),
                  h.size(1)};
  check_shape("key", key, "[B, T, A]", {B, T, dims.A});
  TORCH_CHECK_VALUE(B == 0 ? N == 0 : N % B == 0, "h must have N rows, a multiple of B = ", B,
                    ", got ", N);
  check_shape("token", token, "[N]", {N});
  check_dtype("token", token, at::kLong);
  for (const auto& [name, tensor] :
       {std::pair<const char*, const at::Tensor*>{"memory", &memory}, {"key", &key}, {"h", &h}}) {
    check_dtype(name, *tensor, at::kFloat);
    check_device(name, *tensor, memory.device());
  }
  check_device("token", token, memory.device());
  check_device("length", length, memory.device());
  check_length(length, B, T);
  check_weights(weights, dims, at::kFloat, memory.device());
  if (N > 0) {
    const int64_t low = token.min().item<int64_t>(), high = token.max().item<int64_t>();
    TORCH_CHECK_VALUE(low >= 0 && high < dims.V, "token must lie in [0, V) = [0, ", dims.V,
                      "), got ", low < 0 ? low : high);
  }
  return dims;
}

}  // namespace khmer_fast
