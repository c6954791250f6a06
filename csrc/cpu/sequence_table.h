// The table of one lane type's kernels; included last.
#pragma once

namespace khmer_fast {
namespace {

template <class X>
constexpr SequenceKernels<typename X::scalar> sequence_table() {
  return {
      X::LANES,
      X::PANEL * X::LANES,
      pack_transposed<X>,
      pack<X>,
      sequence_workspace<X>,
      sequence_forward<X>,
      sequence_backward<X>,
      gru_workspace<X>,
      gru_forward<X>,
      gru_backward<X>,
  };
}

}  // namespace
}  // namespace khmer_fast
