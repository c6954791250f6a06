// The Python module `_khmer_fast`: importing it registers the operators; it holds encoder and
// decoder, which own packed weights and so are objects and no operators.
#include <torch/csrc/utils/pybind.h>

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>

#include <algorithm>
#include <chrono>

#include "beam_search.h"
#include "cpu/beam_search_cpu.h"
#include "cpu/decoder_cpu.h"
#include "cpu/encoder_cpu.h"
#include "decoder_weights.h"
#include "page_module.h"
#include "segmenter_module.h"

namespace py = pybind11;

namespace khmer_fast {
namespace {

Decoder pack_decoder(DecoderTensors tensors, const std::string& dtype) {
  TORCH_CHECK_VALUE(dtype == "float32" || dtype == "bfloat16",
                    "dtype must be float32 or bfloat16, got ", dtype);
  const Dims dims = check_decoder_weights(tensors, at::kFloat, at::kCPU);
  const Precision precision = dtype == "float32" ? Precision::kFloat32 : Precision::kBfloat16;
  return Decoder(dims, raw_weights(tensors), precision, select_kernels());
}

// What at::full gives, without the way through the dispatcher: short searches feel it.
template <class T>
at::Tensor filled(at::IntArrayRef sizes, T value) {
  at::Tensor x = at::detail::empty_cpu(sizes, at::TensorOptions(c10::CppTypeToScalarType<T>::value));
  std::fill_n(x.mutable_data_ptr<T>(), x.numel(), value);
  return x;
}

py::tuple to_tensors(const std::vector<LineOutput>& lines, const BeamOptions& options, int64_t T) {
  const int64_t B = static_cast<int64_t>(lines.size()), n = options.n_best, K = options.beam;
  int64_t S = 0, longest = 0;
  for (const LineOutput& line : lines) {
    longest = std::max(longest, line.steps);
    for (const Answer& answer : line.answers)
      S = std::max(S, static_cast<int64_t>(answer.tokens.size()));
  }
  const float empty = -std::numeric_limits<float>::infinity();
  at::Tensor tokens = filled<int64_t>({B, n, S}, kPad);
  at::Tensor length = filled<int64_t>({B, n}, 0);
  at::Tensor score = filled({B, n}, empty);
  at::Tensor log_prob = filled({B, n, S}, 0.0f);
  at::Tensor position = filled<int64_t>({B, n, S}, 0);
  at::Tensor truncated = filled({B, n}, false);
  at::Tensor failed = filled({B}, false);
  at::Tensor steps = filled<int64_t>({B}, 0);
  at::Tensor live = filled<int64_t>({B}, 0);
  at::Tensor parents = filled<int64_t>({B}, 0);
  at::Tensor attention;
  if (options.attention) attention = filled({B, n, S, T}, 0.0f);
  for (int64_t b = 0; b < B; ++b) {
    const LineOutput& line = lines[b];
    failed.data_ptr<bool>()[b] = line.answers.empty();
    steps.data_ptr<int64_t>()[b] = line.steps;
    live.data_ptr<int64_t>()[b] = line.live;
    parents.data_ptr<int64_t>()[b] = line.parents;
    for (size_t i = 0; i < line.answers.size(); ++i) {
      const Answer& answer = line.answers[i];
      const int64_t row = b * n + static_cast<int64_t>(i);
      const int64_t count = static_cast<int64_t>(answer.tokens.size());
      std::copy(answer.tokens.begin(), answer.tokens.end(), tokens.data_ptr<int64_t>() + row * S);
      std::copy(answer.log_prob.begin(), answer.log_prob.end(),
                log_prob.data_ptr<float>() + row * S);
      std::copy(answer.position.begin(), answer.position.end(),
                position.data_ptr<int64_t>() + row * S);
      length.data_ptr<int64_t>()[row] = count;
      score.data_ptr<float>()[row] = answer.score;
      truncated.data_ptr<bool>()[row] = answer.truncated;
      const int64_t positions = count ? static_cast<int64_t>(answer.attention.size()) / count : 0;
      for (int64_t s = 0; options.attention && s < count; ++s)
        std::copy_n(answer.attention.data() + s * positions, positions,
                    attention.data_ptr<float>() + (row * S + s) * T);
    }
  }
  py::object trace = py::none();
  if (options.trace) {
    at::Tensor parent = filled<int64_t>({B, longest, K}, -1);
    at::Tensor token = filled<int64_t>({B, longest, K}, kPad);
    at::Tensor value = filled({B, longest, K}, empty);
    for (int64_t b = 0; b < B; ++b)
      for (size_t i = 0; i < lines[b].trace.size(); ++i) {
        const int64_t at = b * longest * K + static_cast<int64_t>(i);
        parent.data_ptr<int64_t>()[at] = lines[b].trace[i].parent;
        token.data_ptr<int64_t>()[at] = lines[b].trace[i].token;
        value.data_ptr<float>()[at] = lines[b].trace[i].score;
      }
    trace = py::make_tuple(parent, token, value);
  }
  return py::make_tuple(tokens, length, score, log_prob, truncated, failed, steps,
                        options.attention ? py::cast(attention) : py::none(), trace, position, live,
                        parents);
}

py::tuple beam_search(const Decoder& decoder, at::Tensor memory, const at::Tensor& length,
                      int64_t beam, int64_t n_best, double alpha,
                      const std::optional<at::Tensor>& step_limit,
                      const std::optional<at::Tensor>& force_length, bool return_attention,
                      bool return_trace, int64_t threads) {
  check_device("memory", memory, at::kCPU);
  check_device("length", length, at::kCPU);
  check_beam_search(decoder.dims, memory, length, beam, n_best, alpha, step_limit, force_length,
                    threads);
  const int64_t B = memory.size(0), T = memory.size(1);
  if (memory.stride(2) != 1) memory = memory.contiguous();
  const at::Tensor positions = length.contiguous();
  const at::Tensor limit =
      (force_length ? *force_length : step_limit ? *step_limit : length + 8).contiguous();

  std::vector<LineInput> lines(B);
  for (int64_t b = 0; b < B; ++b)
    lines[b] = {memory.const_data_ptr<float>() + b * memory.stride(0), memory.stride(1),
                positions.const_data_ptr<int64_t>()[b], limit.const_data_ptr<int64_t>()[b]};
  BeamOptions options;
  options.beam = beam;
  options.n_best = n_best;
  options.alpha = alpha;
  options.forced = force_length.has_value();
  options.attention = return_attention;
  options.trace = return_trace;
  options.threads = static_cast<int>(std::min<int64_t>(threads, 1024));
  std::vector<LineOutput> outputs;
  {
    py::gil_scoped_release release;
    outputs = beam_search_cpu(decoder, lines, options);
  }
  return to_tensors(outputs, options, T);
}

Encoder pack_encoder(
    int64_t height, const std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t>>& stages,
    std::vector<at::Tensor> convs, std::vector<at::Tensor> features, std::vector<at::Tensor> gru) {
  const auto take = [](const char* name, at::Tensor& x, const char* letters,
                       std::initializer_list<int64_t> shape) {
    check_shape(name, x, letters, shape);
    check_dtype(name, x, at::kFloat);
    check_device(name, x, at::kCPU);
    x = x.contiguous();
    return x.const_data_ptr<float>();
  };
  EncoderWeights weights;
  std::vector<ConvStage> shapes;
  int64_t inputs = 1, rows = height;
  size_t next = 0;
  for (const auto& [channels, stride_y, stride_x, blocks] : stages) {
    shapes.push_back({channels, stride_y, stride_x, blocks});
    for (int64_t i = 0; i <= 2 * blocks; ++i, next += 2) {
      TORCH_CHECK_VALUE(next + 1 < convs.size(), "convs must hold W and b of each convolution, got ",
                        convs.size(), " tensors");
      const float* W = take("W", convs[next], "[outputs, inputs, 3, 3]", {channels, inputs, 3, 3});
      weights.convs.push_back({W, take("b", convs[next + 1], "[outputs]", {channels})});
      inputs = channels;
    }
    rows = (rows - 1) / stride_y + 1;
  }
  TORCH_CHECK_VALUE(features.size() == 4, "features must hold the weight and bias of project and "
                    "norm, got ", features.size(), " tensors");
  TORCH_CHECK_VALUE(gru.size() == 8, "gru must hold W_ih, W_hh, b_ih and b_hh of both directions, got ",
                    gru.size(), " tensors");
  const int64_t F = features[1].numel(), H = gru[2].numel() / 3;
  weights.W_project = take("project.weight", features[0], "[F, Y' C]", {F, rows * inputs});
  weights.b_project = take("project.bias", features[1], "[F]", {F});
  weights.norm_gain = take("norm.weight", features[2], "[F]", {F});
  weights.norm_bias = take("norm.bias", features[3], "[F]", {F});
  for (size_t d = 0; d < 2; ++d) {
    at::Tensor* x = &gru[4 * d];
    weights.gru[d].W_ih = take("W_ih", x[0], "[3H, F]", {3 * H, F});
    weights.gru[d].W_hh = take("W_hh", x[1], "[3H, H]", {3 * H, H});
    weights.gru[d].b_ih = take("b_ih", x[2], "[3H]", {3 * H});
    weights.gru[d].b_hh = take("b_hh", x[3], "[3H]", {3 * H});
  }
  return Encoder(height, shapes, F, H, weights, select_kernels());
}

// image [B, 1, Y, X], width [B] -> memory [B, T, E], 0 at padding
at::Tensor encode(const Encoder& encoder, const at::Tensor& image, const at::Tensor& width,
                  int64_t threads) {
  check_rank("image", image, "[B, 1, Y, X]", 4);
  const int64_t B = image.size(0), X = image.size(3);
  check_shape("image", image, "[B, 1, Y, X]", {B, 1, encoder.height(), X});
  check_dtype("image", image, at::kFloat);
  check_device("image", image, at::kCPU);
  check_shape("width", width, "[B]", {B});
  check_dtype("width", width, at::kLong);
  check_device("width", width, at::kCPU);
  TORCH_CHECK_VALUE(threads >= 1, "threads must be at least 1, got ", threads);
  const at::Tensor pixels = image.contiguous(), widths = width.contiguous();
  check_range("width", widths, 1, X);
  at::Tensor memory = at::empty({B, B ? encoder.positions(X) : 0, encoder.memory_size()});
  py::gil_scoped_release release;
  encoder.run(pixels.const_data_ptr<float>(), widths.const_data_ptr<int64_t>(), B, X,
              memory.mutable_data_ptr<float>(), static_cast<int>(std::min<int64_t>(threads, 1024)));
  return memory;
}

// Float32 operations a second of one thread in the packed product, all operands in the first cache.
double peak_flops(double seconds) {
  const Kernels& kernels = select_kernels();
  const int64_t M = 24, N = kernels.panel, K = 96;
  const std::vector<float> A(M * K, 1.0f), B(K * N, 1.0f);
  std::vector<float> C(M * N);
  using Clock = std::chrono::steady_clock;
  const auto elapsed = [](Clock::time_point since) {
    return std::chrono::duration<double>(Clock::now() - since).count();
  };
  double best = std::numeric_limits<double>::infinity();
  for (const auto begin = Clock::now(); elapsed(begin) < seconds;) {
    const auto start = Clock::now();
    for (int i = 0; i < 100; ++i)
      kernels.gemm(M, N, K, A.data(), K, B.data(), nullptr, C.data(), N);
    best = std::min(best, elapsed(start) / 100);
  }
  return 2.0 * M * N * K / best;
}

}  // namespace
}  // namespace khmer_fast

PYBIND11_MODULE(_khmer_fast, m) {
  using namespace khmer_fast;
  m.def("instruction_set", [] { return select_kernels().name; },
        "Name of the kernels that this process uses now.");
  m.def("peak_flops", &peak_flops, py::arg("seconds"),
        "Float32 operations a second of one thread, measured for so many seconds.");
  bind_page(m);
  bind_segmenter(m);
  py::class_<Encoder>(m, "Encoder")
      .def(py::init(&pack_encoder), py::arg("height"), py::arg("stages"), py::arg("convs"),
           py::arg("features"), py::arg("gru"))
      .def("__call__", &encode, py::arg("image"), py::arg("width"), py::arg("threads"));
  py::class_<Decoder>(m, "Decoder")
      .def(py::init([](at::Tensor embedding, at::Tensor W_k, at::Tensor b_k, at::Tensor W_init,
                       at::Tensor b_init, at::Tensor W_q, at::Tensor v, at::Tensor W_ih,
                       at::Tensor W_hh, at::Tensor b_ih, at::Tensor b_hh, at::Tensor W_o,
                       at::Tensor b_o, const std::string& dtype) {
             return pack_decoder({embedding, W_k, b_k, W_init, b_init, W_q, v, W_ih, W_hh, b_ih,
                                  b_hh, W_o, b_o},
                                 dtype);
           }),
           py::arg("embedding"), py::arg("W_k"), py::arg("b_k"), py::arg("W_init"),
           py::arg("b_init"), py::arg("W_q"), py::arg("v"), py::arg("W_ih"), py::arg("W_hh"),
           py::arg("b_ih"), py::arg("b_hh"), py::arg("W_o"), py::arg("b_o"),
           py::arg("dtype"))
      .def_property_readonly("sizes",
                             [](const Decoder& d) {
                               py::dict sizes;
                               sizes["V"] = d.dims.V;
                               sizes["D"] = d.dims.D;
                               sizes["E"] = d.dims.E;
                               sizes["A"] = d.dims.A;
                               sizes["H"] = d.dims.H;
                               return sizes;
                             })
      .def_property_readonly("computes_in",
                             [](const Decoder& d) {
                               const bool narrow = d.precision == Precision::kBfloat16 &&
                                                   d.kernels.bf16_pairs;
                               return narrow ? "bfloat16" : "float32";
                             })
      .def_property_readonly("instruction_set", [](const Decoder& d) { return d.kernels.name; })
      .def("beam_search", &beam_search, py::arg("memory"), py::arg("length"), py::arg("beam"),
           py::arg("n_best"), py::arg("alpha"), py::arg("step_limit"), py::arg("force_length"),
           py::arg("return_attention"), py::arg("return_trace"), py::arg("threads"));
}
