// The decoder's tensors and their checks, shared by the operators and the decoder, on any device.
#pragma once

#include "check.h"
#include "cpu/decoder_cpu.h"
#include "dims.h"

namespace khmer_fast {

// In the order of python_ref.attn_gru_step.DecoderWeights.
struct DecoderTensors {
  at::Tensor embedding;  // [V, D]
  at::Tensor W_k;        // [A, E]
  at::Tensor b_k;        // [A]
  at::Tensor W_init;     // [H, E]
  at::Tensor b_init;     // [H]
  at::Tensor W_q;        // [A, H]
  at::Tensor v;          // [A]
  at::Tensor W_ih;       // [3H, D + E]
  at::Tensor W_hh;       // [3H, H]
  at::Tensor b_ih;       // [3H]
  at::Tensor b_hh;       // [3H]
  at::Tensor W_o;        // [V, H + E]
  at::Tensor b_o;        // [V]
};

// The tensors that a step needs, from sizes that other arguments gave.
inline void check_step_weights(const DecoderTensors& w, const Dims& dims, at::ScalarType dtype,
                               at::Device device) {
  const auto [V, D, E, A, H] = dims;
  TORCH_CHECK_VALUE(V > kEos, "embedding must have at least 3 rows (<pad>, <bos>, <eos>), got ", V);
  TORCH_CHECK_VALUE(D > 0 && E > 0 && A > 0 && H > 0,
                    "sizes must be at least 1, got D = ", D, ", E = ", E, ", A = ", A, ", H = ", H);
  check_shape("embedding", w.embedding, "[V, D]", {V, D});
  check_shape("W_q", w.W_q, "[A, H]", {A, H});
  check_shape("v", w.v, "[A]", {A});
  check_shape("W_ih", w.W_ih, "[3H, D + E]", {3 * H, D + E});
  check_shape("W_hh", w.W_hh, "[3H, H]", {3 * H, H});
  check_shape("b_ih", w.b_ih, "[3H]", {3 * H});
  check_shape("b_hh", w.b_hh, "[3H]", {3 * H});
  check_shape("W_o", w.W_o, "[V, H + E]", {V, H + E});
  check_shape("b_o", w.b_o, "[V]", {V});
  const std::pair<const char*, const at::Tensor*> all[] = {
      {"embedding", &w.embedding}, {"W_q", &w.W_q},   {"v", &w.v},     {"W_ih", &w.W_ih},
      {"W_hh", &w.W_hh},           {"b_ih", &w.b_ih}, {"b_hh", &w.b_hh}, {"W_o", &w.W_o},
      {"b_o", &w.b_o}};
  for (const auto& [name, tensor] : all) {
    check_dtype(name, *tensor, dtype);
    check_device(name, *tensor, device);
  }
}

// All the tensors of a decoder; returns its sizes.
inline Dims check_decoder_weights(const DecoderTensors& w, at::ScalarType dtype,
                                  at::Device device) {
  check_rank("embedding", w.embedding, "[V, D]", 2);
  check_rank("W_k", w.W_k, "[A, E]", 2);
  check_rank("W_q", w.W_q, "[A, H]", 2);
  const Dims dims{w.embedding.size(0), w.embedding.size(1), w.W_k.size(1), w.W_k.size(0),
                  w.W_q.size(1)};
  check_step_weights(w, dims, dtype, device);
  check_shape("b_k", w.b_k, "[A]", {dims.A});
  check_shape("W_init", w.W_init, "[H, E]", {dims.H, dims.E});
  check_shape("b_init", w.b_init, "[H]", {dims.H});
  const std::pair<const char*, const at::Tensor*> rest[] = {
      {"W_k", &w.W_k}, {"b_k", &w.b_k}, {"W_init", &w.W_init}, {"b_init", &w.b_init}};
  for (const auto& [name, tensor] : rest) {
    check_dtype(name, *tensor, dtype);
    check_device(name, *tensor, device);
  }
  return dims;
}

// Makes every defined tensor contiguous, and points to their float32 values.
inline DecoderWeights raw_weights(DecoderTensors& w) {
  at::Tensor* all[] = {&w.embedding, &w.W_k,  &w.b_k,  &w.W_init, &w.b_init, &w.W_q, &w.v,
                       &w.W_ih,      &w.W_hh, &w.b_ih, &w.b_hh,   &w.W_o,    &w.b_o};
  const float* raw[13];
  for (int i = 0; i < 13; ++i) {
    if (all[i]->defined()) *all[i] = all[i]->contiguous();
    raw[i] = all[i]->defined() ? all[i]->const_data_ptr<float>() : nullptr;
  }
  return {raw[0], raw[1], raw[2], raw[3], raw[4],  raw[5], raw[6],
          raw[7], raw[8], raw[9], raw[10], raw[11], raw[12]};
}

}  // namespace khmer_fast
