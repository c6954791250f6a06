// attn_gru_sequence on a GPU: raw pointers and a stream, no torch. The loops over the steps of
// python_ref/attn_gru_sequence.py, forward and backward, float32 or float64.
//
// What needs no order of steps stands in attn_gru_sequence_torch.cpp, as one product each. Lines
// are worked on in the order of `line`, longest first, so that those that have ended are whole
// blocks, which return at once. All sums have a fixed order, whatever the batch.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace khmer_fast {

constexpr int kKeyPositions = 8;  // of a block of key_gradient_kernel

// Every length lies within its range: 1..T and 0..S.
template <class Scalar>
struct CudaSequence {
  int B, S, T, A, E, H;
  const Scalar* memory;          // [B, T, E]
  const Scalar* key;             // [B, T, A]
  const Scalar* P;               // [B, T, A]  exp(2 key)
  const Scalar* max_p;           // [B]  largest |key| of the valid positions
  const int64_t* length;         // [B]
  const int64_t* target_length;  // [B]
  const int64_t* line;           // [B]  lines by target_length, longest first
  const Scalar* h_0;             // [B, H]
  const Scalar* v;               // [A]
};

// Outputs are 0 before the call, and stay so at steps that do not exist and at padding.
template <class Scalar>
struct CudaSequenceForward : CudaSequence<Scalar> {
  const Scalar* gate_input;  // [B, S, 3H]
  const Scalar* W_state;     // [H, A + 3H]  columns q, r, z, n
  const Scalar* W_ic;        // [E, 3H]
  const Scalar* b_hh;        // [3H]
  Scalar* state;             // [B, S, H]
  Scalar* context;           // [B, S, E]
  Scalar* weight;            // [B, S, T]
  Scalar* gates;             // [B, S, 4H]  r, z, n and W_hn h + b_hn
  Scalar* q;                 // [B, S, A]
  Scalar* hidden;            // [B, 3H]  of the step: W_hh h
  Scalar* energy;            // [B, T]  of the step
};

template <class Scalar>
struct CudaSequenceBackward : CudaSequence<Scalar> {
  const Scalar* W_state;    // [A + 3H, H]  rows q, n, r, z
  const Scalar* W_ic;       // [3H, E]
  const Scalar* state;      // [B, S, H]
  const Scalar* weight;     // [B, S, T]
  const Scalar* gates;      // [B, S, 4H]
  const Scalar* q;          // [B, S, A]
  const Scalar* max_q;      // [B]  largest |q| of the line's steps
  const Scalar* d_state;    // [B, S, H] or null
  const Scalar* d_context;  // [B, S, E] or null
  const Scalar* d_weight;   // [B, S, T] or null
  Scalar* d_h;              // [B, H]  of the step's state before it; in the end d_h_0
  Scalar* d_product;        // [B, S, A + 4H]  q, the hidden n, r, z, the input n; 0 before the call
  Scalar* d_context_row;    // [B, S, E]  with what comes from the gates; 0 before the call
  Scalar* d_weight_row;     // [B, T]  of the step
  Scalar* d_energy;         // [B, S, T]
  Scalar* d_key;            // [B, T, A]
  Scalar* d_v_part;         // [B, T / kKeyPositions, A]  to be summed over the first two
};

// Bytes that the weights [T] of a line, or the query [A], may take on the current device.
cudaError_t longest_sequence_cuda(int64_t* bytes);

// Each returns the error of the launch. B, S, T, A, E and H are at least 1.
template <class Scalar>
cudaError_t attn_gru_sequence_cuda(const CudaSequenceForward<Scalar>& p, cudaStream_t stream);
template <class Scalar>
cudaError_t attn_gru_sequence_backward_cuda(const CudaSequenceBackward<Scalar>& p,
                                            cudaStream_t stream);

}  // namespace khmer_fast
