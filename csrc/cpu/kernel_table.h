// The tables of one instruction set; included last.
#pragma once

#include "cpu/attn_gru_sequence_loops.h"
#include "cpu/decoder_loops.h"
#include "cpu/encoder_loops.h"
#include "cpu/gru_sequence_loops.h"
#include "cpu/int8_loops.h"
#include "cpu/kernels.h"
#include "cpu/product.h"
#include "cpu/resample_loops.h"
#include "cpu/segmenter_loops.h"

namespace khmer_fast {
namespace {

template <class V>
constexpr SequenceKernels<Scalar<V>> make_sequence_kernels() {
  return {kSequenceVectors * kLanesOf<V>,
          linear<V>,
          weight_gradient<V>,
          sequence_workspace<V>,
          sequence_forward<V>,
          sequence_backward<V>,
          gru_workspace<V>,
          gru_forward<V>,
          gru_backward<V>};
}

constexpr SequenceKernels<float> kSequenceKernels = make_sequence_kernels<F>();

constexpr SegmenterKernels kSegmenterKernels = {stem, convolve, depthwise};

constexpr Kernels make_kernels(const char* name) {
  return {name,
          kPanelVectors * W,
          Bf16Operands::kDepth == 2,
          gemm,
          gemm_bf16,
          to_bf16,
          add_key_bias,
          exp_twice<F>,
          energy,
          softmax<F>,
          gru,
          log_softmax,
          top_k,
          layer_norm,
          winograd_input,
          winograd_output,
          winograd_rows_input,
          winograd_rows_output,
          weigh_bytes,
          &kInt8Kernels,
          &kSegmenterKernels,
          &kSequenceKernels};
}

}  // namespace
}  // namespace khmer_fast
