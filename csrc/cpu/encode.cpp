#include "cpu/encode.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "check.h"
#include "cpu/thread_pool.h"

namespace khmer_fast {

Encoder make_encoder(int64_t height,
                     const std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t>>& stages,
                     std::vector<at::Tensor> convs, std::vector<at::Tensor> features,
                     std::vector<at::Tensor> gru) {
  const auto take = [](const char* name, at::Tensor& x, const char* letters,
                       std::initializer_list<int64_t> shape) {
    check_shape(name, x, letters, shape);
    check_dtype(name, x, at::kFloat);
    check_device(name, x, at::kCPU);
    x = plain(x);
    return x.const_data_ptr<float>();
  };
  EncoderWeights weights;
  std::vector<ConvStage> shapes;
  int64_t inputs = 1, rows = height;
  size_t next = 0;
  TORCH_CHECK_VALUE(height >= 1 && !stages.empty(), "height and stages must be at least 1, got ",
                    height, " and ", stages.size());
  for (const auto& [channels, stride_y, stride_x, blocks] : stages) {
    TORCH_CHECK_VALUE(channels >= 1 && stride_y >= 1 && stride_x >= 1 && blocks >= 0,
                      "a stage must have channels and strides of at least 1 and no fewer than 0 "
                      "blocks, got ",
                      channels, ", ", stride_y, ", ", stride_x, ", ", blocks);
    shapes.push_back({channels, stride_y, stride_x, blocks});
    for (int64_t i = 0; i <= 2 * blocks; ++i, next += 2) {
      TORCH_CHECK_VALUE(next + 1 < convs.size(),
                        "convs must hold W and b of each convolution, got ", convs.size(),
                        " tensors");
      const float* W = take("W", convs[next], "[outputs, inputs, 3, 3]", {channels, inputs, 3, 3});
      weights.convs.push_back({W, take("b", convs[next + 1], "[outputs]", {channels})});
      inputs = channels;
    }
    rows = (rows - 1) / stride_y + 1;
  }
  TORCH_CHECK_VALUE(next == convs.size(), "convs must hold ", next,
                    " tensors for these stages, got ", convs.size());
  TORCH_CHECK_VALUE(features.size() == 4,
                    "features must hold the weight and bias of project and "
                    "norm, got ",
                    features.size(), " tensors");
  TORCH_CHECK_VALUE(gru.size() == 8,
                    "gru must hold W_ih, W_hh, b_ih and b_hh of both directions, got ", gru.size(),
                    " tensors");
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

namespace {

// Tensors W int8, multiplier, bias and perhaps residual of a layer with `outputs` outputs; they are
// made plain in place.
QuantizedLayer take_layer(const char* name, std::vector<at::Tensor>& x, const char* letters,
                          std::initializer_list<int64_t> shape, int64_t outputs, bool residual,
                          at::ScalarType dtype = at::kChar) {
  const size_t expected = residual ? 4 : 3;
  TORCH_CHECK_VALUE(x.size() == expected, name, " must hold ", expected, " tensors, got ",
                    x.size());
  check_shape(name, x[0], letters, shape);
  check_dtype(name, x[0], dtype);
  for (size_t i = 0; i < x.size(); ++i) {
    check_device(name, x[i], at::kCPU);
    if (i > 0) {
      check_shape(name, x[i], "[outputs]", {outputs});
      check_dtype(name, x[i], at::kFloat);
    }
    x[i] = plain(x[i]);
  }
  return {dtype == at::kChar ? x[0].const_data_ptr<int8_t>() : nullptr,
          x[1].const_data_ptr<float>(), x[2].const_data_ptr<float>(),
          residual ? x[3].const_data_ptr<float>() : nullptr};
}

}  // namespace

Encoder make_quantized_encoder(
    int64_t height, const std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t>>& stages,
    std::vector<std::vector<at::Tensor>> convs, std::vector<at::Tensor> project,
    std::vector<at::Tensor> norm, std::vector<std::vector<at::Tensor>> gates,
    std::vector<std::vector<at::Tensor>> hidden) {
  QuantizedWeights weights;
  std::vector<ConvStage> shapes;
  int64_t inputs = 1, rows = height;
  size_t next = 0;
  TORCH_CHECK_VALUE(height >= 1 && !stages.empty(), "height and stages must be at least 1, got ",
                    height, " and ", stages.size());
  for (const auto& [channels, stride_y, stride_x, blocks] : stages) {
    TORCH_CHECK_VALUE(channels >= 1 && stride_y >= 1 && stride_x >= 1 && blocks >= 0,
                      "a stage must have channels and strides of at least 1, got ", channels, ", ",
                      stride_y, ", ", stride_x, ", ", blocks);
    shapes.push_back({channels, stride_y, stride_x, blocks});
    for (int64_t i = 0; i <= 2 * blocks; ++i, ++next) {
      TORCH_CHECK_VALUE(next < convs.size(), "convs must hold every convolution, got ",
                        convs.size());
      weights.convs.push_back(take_layer("convs", convs[next], "[outputs, inputs, 3, 3]",
                                         {channels, inputs, 3, 3}, channels, i > 0 && i % 2 == 0,
                                         next == 0 ? at::kShort : at::kChar));
      inputs = channels;
    }
    rows = (rows - 1) / stride_y + 1;
  }
  TORCH_CHECK_VALUE(next == convs.size(), "convs must hold ", next,
                    " layers for these stages, got ", convs.size());
  TORCH_CHECK_VALUE(norm.size() == 2 && gates.size() == 2 && hidden.size() == 2,
                    "norm must hold gain and bias, gates and hidden both directions, got ",
                    norm.size(), ", ", gates.size(), " and ", hidden.size());
  TORCH_CHECK_VALUE(hidden[0].size() > 1, "hidden must hold layers");
  weights.first_W = convs[0][0].const_data_ptr<int16_t>();
  const int64_t F = norm[0].numel(), H = hidden[0][1].numel() / 3;
  weights.project = take_layer("project", project, "[F, Y' C]", {F, rows * inputs}, F, false);
  const auto take = [](const char* name, at::Tensor& x, const char* letters,
                       std::initializer_list<int64_t> shape) {
    check_shape(name, x, letters, shape);
    check_dtype(name, x, at::kFloat);
    check_device(name, x, at::kCPU);
    x = plain(x);
    return x.const_data_ptr<float>();
  };
  weights.norm_gain = take("norm gain", norm[0], "[F]", {F});
  weights.norm_bias = take("norm bias", norm[1], "[F]", {F});
  for (size_t d = 0; d < 2; ++d) {
    weights.gates[d] = take_layer("gates", gates[d], "[3H, F]", {3 * H, F}, 3 * H, false);
    weights.hidden[d] = take_layer("hidden", hidden[d], "[3H, H]", {3 * H, H}, 3 * H, false);
  }
  return Encoder(height, shapes, F, H, weights, select_kernels());
}

at::Tensor encode(const Encoder& encoder, const at::Tensor& image, const at::Tensor& width,
                  int64_t threads) {
  check_rank("image", image, "[B, 1, Y, X]", 4);
  const int64_t B = image.size(0), X = image.size(3);
  check_shape("image", image, "[B, 1, Y, X]", {B, 1, encoder.height(), X});
  const bool bytes = image.scalar_type() == at::kByte;
  if (!bytes) check_dtype("image", image, at::kFloat);
  check_device("image", image, at::kCPU);
  check_shape("width", width, "[B]", {B});
  check_dtype("width", width, at::kLong);
  check_device("width", width, at::kCPU);
  TORCH_CHECK_VALUE(threads >= 1, "threads must be at least 1, got ", threads);
  const at::Tensor pixels = plain(image), widths = plain(width);
  check_range("width", widths, 1, X);
  at::Tensor memory = at::empty({B, B ? encoder.positions(X) : 0, encoder.memory_size()});
  const int64_t* wide = widths.const_data_ptr<int64_t>();
  const int workers = static_cast<int>(std::min<int64_t>(threads, 1024));
  float* to = memory.mutable_data_ptr<float>();
  if (bytes)
    encoder.run(pixels.const_data_ptr<uint8_t>(), wide, B, X, to, workers);
  else
    encoder.run(pixels.const_data_ptr<float>(), wide, B, X, to, workers);
  return memory;
}

}  // namespace khmer_fast
