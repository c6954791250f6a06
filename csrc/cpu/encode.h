// The encoder on a CPU for torch: tensors in, tensors out.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>
#include <vector>

#include "cpu/encoder_cpu.h"

namespace khmer_fast {

// stages: channels, stride_y, stride_x, blocks. convs: W [outputs, inputs, 3, 3] and b [outputs] of
// each, in the order of use. features: weight and bias of project, then of norm. gru: W_ih, W_hh,
// b_ih and b_hh of the left-to-right direction, then of the other.
Encoder make_encoder(int64_t height,
                     const std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t>>& stages,
                     std::vector<at::Tensor> convs, std::vector<at::Tensor> features,
                     std::vector<at::Tensor> gru);

// The same in 8-bit integers (quantized_cpu.h). A layer is W int8 (int16 of the first), multiplier,
// bias and, where a block ends, residual; project, and both directions' gates and hidden, are
// layers.
Encoder make_quantized_encoder(
    int64_t height, const std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t>>& stages,
    std::vector<std::vector<at::Tensor>> convs, std::vector<at::Tensor> project,
    std::vector<at::Tensor> norm, std::vector<std::vector<at::Tensor>> gates,
    std::vector<std::vector<at::Tensor>> hidden);

at::Tensor encode(const Encoder& encoder, const at::Tensor& image, const at::Tensor& width,
                  int64_t threads);

}  // namespace khmer_fast
