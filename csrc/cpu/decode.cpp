#include "cpu/decode.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>

#include <algorithm>
#include <limits>

#include "beam_search.h"
#include "cpu/beam_search_cpu.h"
#include "decoder_tensors.h"

namespace khmer_fast {
namespace {

// What at::full gives, without the way through the dispatcher: short searches feel it.
template <class T>
at::Tensor filled(at::IntArrayRef sizes, T value) {
  at::Tensor x =
      at::detail::empty_cpu(sizes, at::TensorOptions(c10::CppTypeToScalarType<T>::value));
  std::fill_n(x.mutable_data_ptr<T>(), x.numel(), value);
  return x;
}

DecodeResult to_tensors(const std::vector<LineOutput>& lines, const BeamOptions& options,
                        int64_t T) {
  const int64_t B = static_cast<int64_t>(lines.size()), n = options.n_best, K = options.beam;
  int64_t S = 0, longest = 0;
  for (const LineOutput& line : lines) {
    longest = std::max(longest, line.steps);
    for (const Answer& answer : line.answers)
      S = std::max(S, static_cast<int64_t>(answer.tokens.size()));
  }
  const float empty = -std::numeric_limits<float>::infinity();
  DecodeResult out;
  out.tokens = filled<int64_t>({B, n, S}, kPad);
  out.length = filled<int64_t>({B, n}, 0);
  out.score = filled({B, n}, empty);
  out.log_prob = filled({B, n, S}, 0.0f);
  out.position = filled<int64_t>({B, n, S}, 0);
  out.truncated = filled({B, n}, false);
  out.failed = filled({B}, false);
  out.steps = filled<int64_t>({B}, 0);
  out.live = filled<int64_t>({B}, 0);
  out.parents = filled<int64_t>({B}, 0);
  if (options.attention) out.attention = filled({B, n, S, T}, 0.0f);
  for (int64_t b = 0; b < B; ++b) {
    const LineOutput& line = lines[b];
    out.failed.data_ptr<bool>()[b] = line.answers.empty();
    out.steps.data_ptr<int64_t>()[b] = line.steps;
    out.live.data_ptr<int64_t>()[b] = line.live;
    out.parents.data_ptr<int64_t>()[b] = line.parents;
    for (size_t i = 0; i < line.answers.size(); ++i) {
      const Answer& answer = line.answers[i];
      const int64_t row = b * n + static_cast<int64_t>(i);
      const int64_t count = static_cast<int64_t>(answer.tokens.size());
      std::copy(answer.tokens.begin(), answer.tokens.end(),
                out.tokens.data_ptr<int64_t>() + row * S);
      std::copy(answer.log_prob.begin(), answer.log_prob.end(),
                out.log_prob.data_ptr<float>() + row * S);
      std::copy(answer.position.begin(), answer.position.end(),
                out.position.data_ptr<int64_t>() + row * S);
      out.length.data_ptr<int64_t>()[row] = count;
      out.score.data_ptr<float>()[row] = answer.score;
      out.truncated.data_ptr<bool>()[row] = answer.truncated;
      const int64_t positions = count ? static_cast<int64_t>(answer.attention.size()) / count : 0;
      for (int64_t s = 0; options.attention && s < count; ++s)
        std::copy_n(answer.attention.data() + s * positions, positions,
                    out.attention->data_ptr<float>() + (row * S + s) * T);
    }
  }
  if (options.trace) {
    at::Tensor parent = filled<int64_t>({B, longest, K}, -1);
    at::Tensor token = filled<int64_t>({B, longest, K}, kPad);
    at::Tensor score = filled({B, longest, K}, empty);
    for (int64_t b = 0; b < B; ++b)
      for (size_t i = 0; i < lines[b].trace.size(); ++i) {
        const int64_t at = b * longest * K + static_cast<int64_t>(i);
        parent.data_ptr<int64_t>()[at] = lines[b].trace[i].parent;
        token.data_ptr<int64_t>()[at] = lines[b].trace[i].token;
        score.data_ptr<float>()[at] = lines[b].trace[i].score;
      }
    out.trace = {parent, token, score};
  }
  return out;
}

}  // namespace

Decoder make_decoder(const std::vector<at::Tensor>& weights, const std::string& dtype) {
  TORCH_CHECK_VALUE(dtype == "float32" || dtype == "bfloat16",
                    "dtype must be float32 or bfloat16, got ", dtype);
  DecoderTensors tensors = decoder_tensors(weights);
  const Dims dims = check_decoder_weights(tensors, at::kFloat, at::kCPU);
  const Precision precision = dtype == "float32" ? Precision::kFloat32 : Precision::kBfloat16;
  return Decoder(dims, pointers(tensors), precision, select_kernels());
}

DecodeResult decode(const Decoder& decoder, const at::Tensor& memory, const at::Tensor& length,
                    int64_t beam, int64_t n_best, double alpha,
                    const std::optional<at::Tensor>& step_limit,
                    const std::optional<at::Tensor>& force_length, bool return_attention,
                    bool return_trace, int64_t threads) {
  check_device("memory", memory, at::kCPU);
  check_device("length", length, at::kCPU);
  check_beam_search(decoder.dims, memory, length, beam, n_best, alpha, step_limit, force_length,
                    threads);
  const int64_t B = memory.size(0), T = memory.size(1);
  const at::Tensor rows = memory.stride(2) == 1 && !memory.is_neg() ? memory : plain(memory);
  const at::Tensor positions = plain(length);
  const at::Tensor limit = plain(force_length ? *force_length
                                 : step_limit ? *step_limit
                                              : length + 8);

  std::vector<LineInput> lines(B);
  for (int64_t b = 0; b < B; ++b)
    lines[b] = {rows.const_data_ptr<float>() + b * rows.stride(0), rows.stride(1),
                positions.const_data_ptr<int64_t>()[b], limit.const_data_ptr<int64_t>()[b]};
  BeamOptions options;
  options.beam = beam;
  options.n_best = n_best;
  options.alpha = alpha;
  options.forced = force_length.has_value();
  options.attention = return_attention;
  options.trace = return_trace;
  options.threads = static_cast<int>(std::min<int64_t>(threads, 1024));
  return to_tensors(beam_search_cpu(decoder, lines, options), options, T);
}

}  // namespace khmer_fast
