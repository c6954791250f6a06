// The decoder's tensors in torch: checks and pointers, on any device.
#pragma once

#include <vector>

#include "check.h"
#include "decoder_weights.h"
#include "dims.h"

namespace khmer_fast {

using DecoderTensors = DecoderWeights<at::Tensor>;

// From a list in the order of python_ref.attn_gru_step.DecoderWeights.
inline DecoderTensors decoder_tensors(const std::vector<at::Tensor>& list) {
  DecoderTensors w;
  at::Tensor* const fields[] = {
#define KHMER_FAST_ADDRESS(name, ...) &w.name,
      KHMER_FAST_DECODER_WEIGHTS(KHMER_FAST_ADDRESS)
#undef KHMER_FAST_ADDRESS
  };
  TORCH_CHECK_VALUE(list.size() == std::size(fields), "a decoder has ", std::size(fields),
                    " tensors, got ", list.size());
  for (size_t i = 0; i < list.size(); ++i) *fields[i] = list[i];
  return w;
}

// The tensors that are there, against sizes that were taken from some of them or from elsewhere.
inline void check_weights(const DecoderTensors& w, const Dims& dims, at::ScalarType dtype,
                          at::Device device) {
  const auto [V, D, E, A, H] = dims;
  TORCH_CHECK_VALUE(V > kEos, "embedding must have at least 3 rows (<pad>, <bos>, <eos>), got ", V);
  TORCH_CHECK_VALUE(D > 0 && E > 0 && A > 0 && H > 0, "sizes must be at least 1, got D = ", D,
                    ", E = ", E, ", A = ", A, ", H = ", H);
  const auto check = [&](const char* name, const at::Tensor& x, const char* letters,
                         std::initializer_list<int64_t> shape) {
    if (!x.defined()) return;
    check_shape(name, x, letters, shape);
    check_dtype(name, x, dtype);
    check_device(name, x, device);
  };
#define KHMER_FAST_CHECK(name, letters, ...) check(#name, w.name, letters, {__VA_ARGS__});
  KHMER_FAST_DECODER_WEIGHTS(KHMER_FAST_CHECK)
#undef KHMER_FAST_CHECK
}

// All the tensors of a decoder; returns its sizes.
inline Dims check_decoder_weights(const DecoderTensors& w, at::ScalarType dtype,
                                  at::Device device) {
  check_rank("embedding", w.embedding, "[V, D]", 2);
  check_rank("W_k", w.W_k, "[A, E]", 2);
  check_rank("W_q", w.W_q, "[A, H]", 2);
  const Dims dims{w.embedding.size(0), w.embedding.size(1), w.W_k.size(1), w.W_k.size(0),
                  w.W_q.size(1)};
  check_weights(w, dims, dtype, device);
  return dims;
}

// Makes every tensor contiguous, and points to their float32 values.
inline DecoderPointers pointers(DecoderTensors& w) {
  const auto pointer = [](at::Tensor& x) -> const float* {
    if (!x.defined()) return nullptr;
    x = plain(x);
    return x.const_data_ptr<float>();
  };
  DecoderPointers p;
#define KHMER_FAST_POINTER(name, ...) p.name = pointer(w.name);
  KHMER_FAST_DECODER_WEIGHTS(KHMER_FAST_POINTER)
#undef KHMER_FAST_POINTER
  return p;
}

}  // namespace khmer_fast
