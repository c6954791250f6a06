// attn_gru_step on the CPU. It packs the weights at every call: who decodes uses the Decoder, which
// packs them once; this is the same arithmetic as an operator.
#include "attn_gru_step.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>

#include "cpu/decoder_cpu.h"

namespace khmer_fast {
namespace {

std::tuple<at::Tensor, at::Tensor, at::Tensor> attn_gru_step_cpu(
    const at::Tensor& memory, const at::Tensor& key, const at::Tensor& length,
    const at::Tensor& token, const at::Tensor& h, const at::Tensor& embedding,
    const at::Tensor& W_q, const at::Tensor& v, const at::Tensor& W_ih, const at::Tensor& W_hh,
    const at::Tensor& b_ih, const at::Tensor& b_hh, const at::Tensor& W_o, const at::Tensor& b_o) {
  DecoderTensors weights{.embedding = embedding,
                         .W_q = W_q,
                         .v = v,
                         .W_ih = W_ih,
                         .W_hh = W_hh,
                         .b_ih = b_ih,
                         .b_hh = b_hh,
                         .W_o = W_o,
                         .b_o = b_o};
  const Dims dims = check_attn_gru_step(memory, key, length, token, h, weights);
  const int64_t B = memory.size(0), T = memory.size(1), N = h.size(0);
  const Decoder decoder(dims, pointers(weights), Precision::kFloat32, select_kernels());

  const at::Tensor memory_c = plain(memory), key_c = plain(key);
  const at::Tensor length_c = plain(length), token_c = plain(token);
  const at::Tensor h_c = plain(h);
  at::Tensor log_probs = at::empty({N, dims.V}, h.options());
  at::Tensor h_new = at::empty({N, dims.H}, h.options());
  at::Tensor weight = at::zeros({N, T}, h.options());

  const int64_t K = B ? N / B : 0;
  if (K == 0) return {log_probs, h_new, weight};
  StepBuffers buffers;
  buffers.reserve(decoder, K, K, T);
  LineCache line;
  for (int64_t b = 0; b < B; ++b) {
    line.memory = memory_c.const_data_ptr<float>() + b * T * dims.E;
    line.memory_ld = dims.E;
    line.key = key_c.const_data_ptr<float>() + b * T * dims.A;
    line.key_ld = dims.A;
    line.length = length_c.const_data_ptr<int64_t>()[b];
    decoder.begin_line(line, buffers);
    for (int64_t k = 0; k < K; ++k)
      std::copy_n(h_c.const_data_ptr<float>() + (b * K + k) * dims.H, dims.H,
                  buffers.h.data() + k * decoder.Hp);
    decoder.recurrent(K, buffers);
    decoder.attend(line, 0, K, buffers);
    decoder.contextual(K, buffers);
    for (int64_t k = 0; k < K; ++k) {
      const int64_t id = token_c.const_data_ptr<int64_t>()[b * K + k];
      decoder.cell(k, static_cast<int32_t>(id), k, buffers);
    }
    decoder.project(K, buffers);
    for (int64_t k = 0; k < K; ++k) {
      const int64_t n = b * K + k;
      decoder.normalize(k, k, buffers);
      std::copy_n(buffers.logits.data() + k * decoder.Vp, dims.V,
                  log_probs.data_ptr<float>() + n * dims.V);
      std::copy_n(buffers.h_new.data() + k * decoder.Hp, dims.H,
                  h_new.data_ptr<float>() + n * dims.H);
      if (line.length > 0)
        std::copy_n(buffers.weight.data() + k * buffers.Tp, line.length,
                    weight.data_ptr<float>() + n * T);
      else
        std::fill_n(weight.data_ptr<float>() + n * T, T, std::numeric_limits<float>::quiet_NaN());
    }
  }
  return {log_probs, h_new, weight};
}

}  // namespace

TORCH_LIBRARY_IMPL(khmer_fast, CPU, m) { m.impl("attn_gru_step", &attn_gru_step_cpu); }

}  // namespace khmer_fast
