// The decoder on a GPU for torch: checks, memory from torch's allocator, the caller's stream. It
// registers the class torch.classes.khmer_fast.CudaDecoder, and attn_gru_step for CUDA tensors.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/custom_class.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <limits>
#include <memory>
#include <mutex>
#include <sstream>
#include <tuple>
#include <vector>

#include "attn_gru_step.h"
#include "cuda/packed_decoder.h"

namespace khmer_fast {
namespace {

constexpr int64_t kLargest = std::numeric_limits<int>::max();
constexpr int64_t kChosenWords = sizeof(Chosen) / sizeof(int32_t);
// A graph serves every batch whose sizes round up to its own.
constexpr int64_t kGraphPositions = 32, kGraphSteps = 64;

// What runs the steps, and after each + a variant that benchmarks.gpu compares with the usual one.
struct Plan {
  Loop loop;
  Variants variants;
};
Plan plan_of(const std::string& name) {
  Plan plan{};
  std::istringstream words(name);
  std::string word;
  std::getline(words, word, '+');
  TORCH_CHECK_VALUE(word == "plain" || word == "graph" || word == "persistent",
                    "loop must be plain, graph or persistent, got ", name);
  plan.loop = word == "plain" ? Loop::kPlain : word == "graph" ? Loop::kGraph : Loop::kPersistent;
  while (std::getline(words, word, '+')) {
    TORCH_CHECK_VALUE(word == "select128" || word == "rows4" || word == "early",
                      "a variant of a loop must be select128, rows4 or early, got ", word);
    if (word == "select128") plan.variants.select_threads = 128;
    if (word == "rows4") plan.variants.rows_ahead = 4;
    if (word == "early") plan.variants.early = true;
  }
  return plan;
}

// Returns the largest T that the current device can take; an error where `positions` are more.
int64_t check_positions(const Dims& dims, int64_t positions) {
  int64_t longest = 0;
  check_cuda(longest_line_cuda(decode_sizes(dims, 1, 1, 1, 1, 1, 1, 0, false), &longest),
             "asking for the shared memory");
  TORCH_CHECK_VALUE(positions <= longest, "memory must have at most T = ", longest,
                    " positions on this GPU, whose blocks have no more shared memory, got ",
                    positions, ": cut the line");
  return longest;
}

// What ops.CudaDecoder wraps. The weights may have any device that the kernels run on.
class CudaDecoder : public torch::CustomClassHolder {
 public:
  // weights: the tensors of python_ref.attn_gru_step.DecoderWeights
  CudaDecoder(const std::vector<at::Tensor>& weights, const std::string& dtype,
              const std::string& loop)
      : plan_(plan_of(loop)) {
    DecoderTensors tensors = decoder_tensors(weights);
    device_ = tensors.embedding.device();
    dims_ = check_decoder_weights(tensors, at::kFloat, device_);
    const c10::cuda::CUDAGuard guard(device_);
    if (dtype == "float32")
      float32_ = std::make_unique<Packed<float>>(dims_, tensors, device_);
    else if (dtype == "bfloat16")
      bfloat16_ = std::make_unique<Packed<__nv_bfloat16>>(dims_, tensors, device_);
    else if (dtype == "float16")
      float16_ = std::make_unique<Packed<__half>>(dims_, tensors, device_);
    else
      TORCH_CHECK_VALUE(false, "dtype must be float32, bfloat16 or float16, got ", dtype);
  }

  // V, D, E, A, H
  std::vector<int64_t> sizes() const { return {dims_.V, dims_.D, dims_.E, dims_.A, dims_.H}; }

  // Why the persistent loop cannot take a batch of B lines of T positions, or "".
  std::string persistent_obstacle(int64_t B, int64_t beam, int64_t T) const {
    if (B * beam > kMaxPersistentRows) return "it takes at most 32 rows (lines times beam)";
    const c10::cuda::CUDAGuard guard(device_);
    const DecodeSizes sizes =
        decode_sizes(dims_, static_cast<int>(B), static_cast<int>(beam), static_cast<int>(T), 1,
                     static_cast<int>(B), 1, 0, false);
    const char* obstacle = float32_    ? persistent_plan_cuda<float>(sizes).obstacle
                           : bfloat16_ ? persistent_plan_cuda<__nv_bfloat16>(sizes).obstacle
                                       : persistent_plan_cuda<__half>(sizes).obstacle;
    return obstacle ? obstacle : "";
  }

  // The fields of BeamResult up to `steps`, its position and its attention (without elements where
  // not asked for), then the history [B, S, K, 7] int32, which is the trace (likewise).
  std::vector<at::Tensor> beam_search(const at::Tensor& memory,  // [B, T, E]
                                      const at::Tensor& length,  // [B]
                                      int64_t beam, int64_t n_best, double alpha,
                                      const std::optional<at::Tensor>& step_limit,    // [B]
                                      const std::optional<at::Tensor>& force_length,  // [B]
                                      bool return_attention, bool return_trace) const {
    check_device("memory", memory, device_);
    check_device("length", length, device_);
    if (step_limit) check_device("step_limit", *step_limit, device_);
    if (force_length) check_device("force_length", *force_length, device_);
    const c10::cuda::CUDAGuard guard(device_);
    check_beam_search(dims_, memory, length, beam, n_best, alpha, step_limit, force_length, 1);
    TORCH_CHECK_VALUE(beam <= kMaxBeam, "beam must be at most ", kMaxBeam, " on a GPU, got ", beam);
    const int64_t lines = memory.size(0), positions = memory.size(1);
    const int64_t longest = check_positions(dims_, positions);
    const Loop loop = loop_for(lines, beam, positions);
    // What is rounded up for a graph are lines without steps and positions outside the lines.
    const bool round = loop == Loop::kGraph && lines > 0;
    const int64_t B = !round              ? lines
                      : lines < kMaxSeats ? std::bit_ceil(static_cast<uint64_t>(lines))
                                          : round_up(lines, kMaxSeats);
    const int64_t T =
        round ? std::min(round_up(std::max<int64_t>(positions, 1), kGraphPositions), longest)
              : std::max<int64_t>(positions, 1);
    TORCH_CHECK_VALUE(B * std::max(T, beam * std::max(dims_.V, dims_.A + 3 * dims_.H)) <= kLargest,
                      "a batch of B = ", lines, " lines is too large for a GPU: split it");
    const auto pad_lines = [&](const at::Tensor& x) {
      return plain(B == lines ? x : at::constant_pad_nd(x, {0, B - lines}));
    };
    const at::Tensor limit = pad_lines(force_length ? *force_length
                                       : step_limit ? *step_limit
                                                    : length + 8);
    int64_t S = B ? limit.max().item<int64_t>() : 0;
    TORCH_CHECK_VALUE(S <= kLargest - kGraphSteps, "step limits must be below 2^31, got ", S);
    if (round) S = round_up(S, kGraphSteps);

    const auto of = [&](at::ScalarType type) {
      return at::TensorOptions().dtype(type).device(device_);
    };
    const float empty = -std::numeric_limits<float>::infinity();
    at::Tensor tokens = at::zeros({B, n_best, S}, of(at::kLong));
    at::Tensor count = at::zeros({B, n_best}, of(at::kLong));
    at::Tensor score = at::full({B, n_best}, empty, of(at::kFloat));
    at::Tensor log_prob = at::zeros({B, n_best, S}, of(at::kFloat));
    at::Tensor truncated = at::zeros({B, n_best}, of(at::kBool));
    at::Tensor failed = at::ones({B}, of(at::kBool));
    at::Tensor steps = at::zeros({B}, of(at::kLong));
    at::Tensor position = at::zeros({B, n_best, S}, of(at::kLong));
    at::Tensor attention = at::zeros({return_attention ? B : 0, n_best, S, T}, of(at::kFloat));
    at::Tensor history = at::empty({return_trace ? B : 0, S, beam, kChosenWords}, of(at::kInt));
    if (B > 0 && S > 0) {
      const at::Tensor memory_c =
          plain(B == lines && T == positions
                    ? memory
                    : at::constant_pad_nd(memory, {0, 0, 0, T - positions, 0, B - lines}));
      const at::Tensor length_c = pad_lines(length);
      const DecodeSizes sizes =
          decode_sizes(dims_, static_cast<int>(B), static_cast<int>(beam), static_cast<int>(T),
                       static_cast<int>(S), static_cast<int>(std::min<int64_t>(B, kMaxSeats)),
                       static_cast<int>(n_best), alpha, force_length.has_value(), plan_.variants);
      const DecodeInput in{memory_c.const_data_ptr<float>(), length_c.const_data_ptr<int64_t>(),
                           limit.const_data_ptr<int64_t>()};
      const DecodeOutput out{tokens.data_ptr<int64_t>(),
                             count.data_ptr<int64_t>(),
                             score.data_ptr<float>(),
                             log_prob.data_ptr<float>(),
                             truncated.data_ptr<bool>(),
                             failed.data_ptr<bool>(),
                             steps.data_ptr<int64_t>(),
                             position.data_ptr<int64_t>(),
                             return_attention ? attention.data_ptr<float>() : nullptr};
      Chosen* chosen =
          return_trace ? reinterpret_cast<Chosen*>(history.data_ptr<int32_t>()) : nullptr;
      if (float32_) float32_->search(sizes, in, out, chosen, loop);
      if (bfloat16_) bfloat16_->search(sizes, in, out, chosen, loop);
      if (float16_) float16_->search(sizes, in, out, chosen, loop);
    }
    // S becomes the longest answer, B and T what was given
    const int64_t answer = B ? count.max().item<int64_t>() : 0;
    const auto given = [&](const at::Tensor& x) { return x.narrow(0, 0, lines); };
    return {given(tokens).narrow(2, 0, answer),
            given(count),
            given(score),
            given(log_prob).narrow(2, 0, answer),
            given(truncated),
            given(failed),
            given(steps),
            given(position).narrow(2, 0, answer),
            (return_attention ? given(attention) : attention)
                .narrow(2, 0, answer)
                .narrow(3, 0, positions),
            return_trace ? given(history) : history};
  }

 private:
  // The loop asked for, or the plain one where it cannot take the batch, once said.
  Loop loop_for(int64_t B, int64_t beam, int64_t T) const {
    if (plan_.loop != Loop::kPersistent || B == 0) return plan_.loop;
    const std::string obstacle = persistent_obstacle(B, beam, T);
    if (obstacle.empty()) return plan_.loop;
    if (!told_.exchange(true))
      TORCH_WARN("khmer_fast: the plain loop decodes in place of the persistent one: ", obstacle);
    return Loop::kPlain;
  }

  const Plan plan_;
  mutable std::atomic<bool> told_{false};
  at::Device device_{at::kCPU};
  Dims dims_{};
  std::unique_ptr<Packed<float>> float32_;  // one of the three
  std::unique_ptr<Packed<__nv_bfloat16>> bfloat16_;
  std::unique_ptr<Packed<__half>> float16_;
};

// Packs at every call, as on the CPU: who decodes uses the class.
std::tuple<at::Tensor, at::Tensor, at::Tensor> attn_gru_step_torch(
    const at::Tensor& memory, const at::Tensor& key, const at::Tensor& length,
    const at::Tensor& token, const at::Tensor& h, const at::Tensor& embedding,
    const at::Tensor& W_q, const at::Tensor& v, const at::Tensor& W_ih, const at::Tensor& W_hh,
    const at::Tensor& b_ih, const at::Tensor& b_hh, const at::Tensor& W_o, const at::Tensor& b_o) {
  DecoderTensors tensors{.embedding = embedding,
                         .W_q = W_q,
                         .v = v,
                         .W_ih = W_ih,
                         .W_hh = W_hh,
                         .b_ih = b_ih,
                         .b_hh = b_hh,
                         .W_o = W_o,
                         .b_o = b_o};
  const c10::cuda::CUDAGuard guard(memory.device());
  const Dims dims = check_attn_gru_step(memory, key, length, token, h, tensors);
  const int64_t B = memory.size(0), T = memory.size(1), N = h.size(0);
  const auto options = h.options();
  if (N == 0 || T == 0) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    return {at::full({N, dims.V}, nan, options), at::full({N, dims.H}, nan, options),
            at::empty({N, T}, options)};
  }
  check_positions(dims, T);
  tensors.W_k = at::zeros({dims.A, dims.E}, options);  // the keys are given
  tensors.b_k = at::zeros({dims.A}, options);
  tensors.W_init = at::zeros({dims.H, dims.E}, options);
  tensors.b_init = at::zeros({dims.H}, options);
  const Packed<float> packed(dims, tensors, memory.device());

  // Every row is its own parent and its only child.
  const int64_t Ep = padded(dims.E), Ap = padded(dims.A), Hp = padded(dims.H);
  const at::Tensor length_c = plain(length);
  const at::Tensor outside = at::arange(T, length.options()).ge(length.unsqueeze(1)).unsqueeze(2);
  const at::Tensor memory_p =
      at::constant_pad_nd(memory.masked_fill(outside, 0), {0, Ep - dims.E}).contiguous();
  const at::Tensor key_p =
      at::constant_pad_nd(key.masked_fill(outside, 0), {0, Ap - dims.A}).contiguous();
  const at::Tensor P = at::exp(2 * key_p);
  const at::Tensor max_p = key_p.abs().amax({1, 2});  // NaN stays, and fails the range guard
  const at::Tensor h_p = at::constant_pad_nd(h, {0, Hp - dims.H});
  const at::Tensor states = at::stack({h_p, at::zeros_like(h_p)}).contiguous();  // [2, N, Hp]
  const at::Tensor hidden = at::empty({N, dims.A + 3 * dims.H}, options);
  const at::Tensor context = at::empty({N, Ep}, options);
  const at::Tensor logits = at::empty({N, dims.V}, options);
  const at::Tensor weight = at::zeros({N, T}, options);
  const at::Tensor rows = at::arange(N, options.dtype(at::kInt));
  const at::Tensor both = rows.repeat({2});  // lists of odd and even steps
  const at::Tensor token_c = plain(token.to(at::kInt));
  const at::Tensor counts = at::full({4}, N, options.dtype(at::kInt));
  const at::Tensor steps = at::zeros({B}, options.dtype(at::kInt));
  const at::Tensor clock = at::ones({1}, options.dtype(at::kInt));
  Workspace<float> space{};
  space.memory = memory_p.data_ptr<float>();
  space.key = key_p.data_ptr<float>();
  space.P = P.data_ptr<float>();
  space.max_p = reinterpret_cast<unsigned*>(max_p.data_ptr<float>());
  space.h = states.data_ptr<float>();
  space.hidden = hidden.data_ptr<float>();
  space.context = context.data_ptr<float>();
  space.logits = logits.data_ptr<float>();
  space.token = token_c.data_ptr<int>();
  space.state_row = rows.data_ptr<int>();
  space.parents = both.data_ptr<int>();
  space.children = both.data_ptr<int>();
  space.line = rows.data_ptr<int>();
  space.step = steps.data_ptr<int>();
  space.counts = counts.data_ptr<int>();
  space.clock = clock.data_ptr<int>();
  space.attention = weight.data_ptr<float>();
  const DecodeSizes sizes = decode_sizes(dims, static_cast<int>(B), static_cast<int>(N / B),
                                         static_cast<int>(T), 1, static_cast<int>(B), 1, 0, false);
  const DecodeInput in{nullptr, length_c.const_data_ptr<int64_t>(), nullptr};
  check_cuda(attn_gru_step_cuda(sizes, packed.weights(), in, space,
                                c10::cuda::getCurrentCUDAStream(memory.device().index())),
             "attn_gru_step");
  const at::Tensor empty = length_c.eq(0).repeat_interleave(N / B).unsqueeze(1);
  return {at::log_softmax(logits, 1), states[1].narrow(1, 0, dims.H).contiguous(),
          weight.masked_fill(empty, std::numeric_limits<float>::quiet_NaN())};
}

}  // namespace

TORCH_LIBRARY_IMPL(khmer_fast, CUDA, m) { m.impl("attn_gru_step", &attn_gru_step_torch); }

TORCH_LIBRARY_FRAGMENT(khmer_fast, m) {
  m.class_<CudaDecoder>("CudaDecoder")
      .def(torch::init<std::vector<at::Tensor>, std::string, std::string>())
      .def("sizes", &CudaDecoder::sizes)
      .def("persistent_obstacle", &CudaDecoder::persistent_obstacle)
      .def("beam_search", &CudaDecoder::beam_search);
}

}  // namespace khmer_fast
