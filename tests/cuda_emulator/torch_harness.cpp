// csrc/cuda/decoder_torch.cpp over the emulator: the same host code on CPU tensors, under the name
// khmer_fast_emulated so that it stands beside the real module.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/custom_class.h>
#include <torch/library.h>

#define CUDA CPU  // of TORCH_LIBRARY_IMPL
#include "../../csrc/cuda/decoder_torch.cpp"
#include "../../csrc/ops.cpp"
