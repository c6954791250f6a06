// csrc/cuda/attn_gru_sequence_torch.cpp over the emulator, as torch_harness.cpp does it.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#define CUDA CPU  // of TORCH_LIBRARY_IMPL
#include "../../csrc/cuda/attn_gru_sequence_torch.cpp"
#include "../../csrc/ops.cpp"
