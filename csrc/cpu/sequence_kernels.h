// attn_gru_sequence and gru_sequence on a CPU: what the torch layers and the files of the
// instruction sets share. Plain pointers: no torch here.
#pragma once

#include <cstdint>

namespace khmer_fast {

struct CpuSequenceDims {
  int64_t B, S, T, A, E, H;
};

template <typename scalar_t>
struct SequenceForward {
  CpuSequenceDims dims;
  const scalar_t* memory;        // [B, T, E]
  const scalar_t* key;           // [B, T, A]
  const int64_t* length;         // [B]
  const scalar_t* h_0;           // [B, H]
  const scalar_t* gate_input;    // [B, S, 3H]
  const int64_t* target_length;  // [B]
  const scalar_t* W_state;       // packed [H][A + 3H]: columns q, r, z, n
  const scalar_t* W_ic;          // packed [E][3H]
  const scalar_t* v;             // [A]
  const scalar_t* b_hh;          // [3H]
  scalar_t* state;               // [B, S, H]
  scalar_t* context;             // [B, S, E]
  scalar_t* weight;              // [B, S, T]
  scalar_t* gates;               // [B, S, 4H]: r, z, n and W_hn h + b_hn
  scalar_t* q;                   // [B, S, A]
};

// Rows of steps that exist lie one after another: step s of line b is row offset[b] + s of R.
template <typename scalar_t>
struct SequenceBackward {
  CpuSequenceDims dims;
  const scalar_t* memory;        // [B, T, E]
  const scalar_t* key;           // [B, T, A]
  const int64_t* length;         // [B]
  const scalar_t* h_0;           // [B, H]
  const int64_t* target_length;  // [B]
  const int64_t* offset;         // [B]
  const scalar_t* W_state;       // packed [A + 3H][H]: rows q, n, r, z
  const scalar_t* W_ic;          // packed [3H][E]
  const scalar_t* v;             // [A]
  const scalar_t* state;         // [B, S, H]
  const scalar_t* context;       // [B, S, E]
  const scalar_t* weight;        // [B, S, T]
  const scalar_t* gates;         // [B, S, 4H]
  const scalar_t* q;             // [B, S, A]
  const scalar_t* d_state;       // [B, S, H] or null
  const scalar_t* d_context;     // [B, S, E] or null
  const scalar_t* d_weight;      // [B, S, T] or null
  scalar_t* d_memory;            // [B, T, E]
  scalar_t* d_key;               // [B, T, A]
  scalar_t* d_h_0;               // [B, H]
  scalar_t* d_gate_input;        // [B, S, 3H]
  scalar_t* d_v_line;            // [B, A], to be summed over B
  scalar_t* d_product;           // [R, A + 4H]: q, the hidden n, r, z, the input n
  scalar_t* h_row;               // [R, H]: the state a step starts from
  scalar_t* context_row;         // [R, E]
  scalar_t* d_context_row;       // [R, padded(E)]
  scalar_t* d_energy_row;        // [R, padded(T)]
};

struct CpuGruDims {
  int64_t B, T, H;
};

// Both directions: columns of the left-to-right one first. Right to left, a line begins at its
// last position.
template <typename scalar_t>
struct GruForward {
  CpuGruDims dims;
  const scalar_t* gate_input;  // [B, T, 6H]
  const int64_t* length;       // [B]
  const scalar_t* W_hh[2];     // packed [H][3H], of each direction
  const scalar_t* b_hh;        // [6H]
  scalar_t* state;             // [B, T, 2H]
  scalar_t* gates;             // [B, T, 8H]: of each direction r, z, n and W_hn h + b_hn
};

// Rows of positions that exist lie one after another: step s of line b is row offset[b] + s of R.
template <typename scalar_t>
struct GruBackward {
  CpuGruDims dims;
  const int64_t* length;    // [B]
  const int64_t* offset;    // [B]
  const scalar_t* W_hh[2];  // packed [3H][H], of each direction: rows n, r, z
  const scalar_t* state;    // [B, T, 2H]
  const scalar_t* gates;    // [B, T, 8H]
  const scalar_t* d_state;  // [B, T, 2H]
  scalar_t* d_gate_input;   // [B, T, 6H]
  scalar_t* d_hidden;       // [2, R, 3H]: n, r, z
  scalar_t* h_row;          // [2, R, H]: the state a step starts from
  int64_t R;
};

// What a file of one instruction set provides. `line` [count] is sorted by steps, longest first;
// `workspace` holds as many elements as the function of that name says.
template <typename scalar_t>
struct SequenceKernels {
  int64_t panel;  // columns of a packed panel, see pack.h

  // C [M, N] = A W^T + bias of A [M, K], W [N, K], packed, and bias [N] or null
  void (*linear)(int64_t M, int64_t N, int64_t K, const scalar_t* A, const scalar_t* W,
                 const scalar_t* bias, scalar_t* C);
  // C [M, N] = A^T X of A [R, M], rows `lda` apart, and X [R, N], packed as a transpose is
  void (*weight_gradient)(int64_t M, int64_t N, int64_t R, const scalar_t* A, int64_t lda,
                          const scalar_t* X, scalar_t* C);

  int64_t (*sequence_workspace)(const CpuSequenceDims& dims, int64_t count);
  void (*sequence_forward)(const SequenceForward<scalar_t>& p, const int64_t* line, int64_t count,
                           scalar_t* workspace);
  void (*sequence_backward)(const SequenceBackward<scalar_t>& p, const int64_t* line, int64_t count,
                            scalar_t* workspace);

  int64_t (*gru_workspace)(const CpuGruDims& dims, int64_t count);
  void (*gru_forward)(const GruForward<scalar_t>& p, int64_t direction, const int64_t* line,
                      int64_t count, scalar_t* workspace);
  void (*gru_backward)(const GruBackward<scalar_t>& p, int64_t direction, const int64_t* line,
                       int64_t count, scalar_t* workspace);
};

// The kernels of one instruction set: those of select_kernels() in kernels.h.
template <typename scalar_t>
const SequenceKernels<scalar_t>& select_sequence_kernels();

}  // namespace khmer_fast
