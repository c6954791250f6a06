// The inner loops of decoder and encoder, once for each instruction set, behind one table of
// functions.
//
// Every buffer that a kernel reads or writes in whole vectors is padded to kLanes floats. Each
// output element is summed in one fixed order, whatever the number of rows.
#pragma once

#include <cstdint>

#include "cpu/int8_kernels.h"
#include "cpu/segmenter_kernels.h"
#include "cpu/sequence_kernels.h"
#include "energy_form.h"

// The attributes of every function that a kernel calls.
#define KHMER_FAST_INLINE inline __attribute__((always_inline))
#define KHMER_FAST_MATH static KHMER_FAST_INLINE

namespace khmer_fast {

struct Candidate {
  float score;
  int32_t parent;
  int32_t token;
};

// Inserts into best [count <= K], sorted in the total order of docs/spec.md, section 3, if the
// candidate's score is finite and it belongs there; candidates come with parent, then token,
// ascending, so equal scores stay behind. Returns the new count. Static: see docs/architecture.md,
// Traps.
static inline int64_t insert_candidate(Candidate candidate, Candidate* best, int64_t count,
                                       int64_t K) {
  if (!(__builtin_fabsf(candidate.score) < __builtin_inff())) return count;
  if (count == K && !(candidate.score > best[K - 1].score)) return count;
  int64_t k = count < K ? count++ : K - 1;
  for (; k > 0 && best[k - 1].score < candidate.score; --k) best[k] = best[k - 1];
  best[k] = candidate;
  return count;
}

struct Kernels {
  const char* name;  // as KHMER_FAST_ISA spells it
  int64_t panel;     // columns of a packed panel, see pack.h
  bool bf16_pairs;   // bfloat16 products multiply pairs of bfloat16; else they widen B to float32

  // C[m, n] = sum_k A[m, k] B[n, k] + bias[n]; B packed, N a multiple of kLanes, bias may be null.
  void (*gemm)(int64_t M, int64_t N, int64_t K, const float* A, int64_t lda, const float* B,
               const float* bias, float* C, int64_t ldc);

  // The same for B in bfloat16, packed in pairs of k where bf16_pairs (K is then even and A is
  // bfloat16), else one by one (A is float). Sums are float32.
  void (*gemm_bf16)(int64_t M, int64_t N, int64_t K, const void* A, int64_t lda, const uint16_t* B,
                    const float* bias, float* C, int64_t ldc);
  // Rounds to the nearest, ties to even; n a multiple of kLanes.
  void (*to_bf16)(const float* x, uint16_t* out, int64_t n);

  // x[a, t] += bias[a] for t < valid, 0 for valid <= t < w; returns the largest |x|, NaN as NaN.
  float (*add_key_bias)(float* x, int64_t A, int64_t w, int64_t valid, const float* bias);
  // y = exp(2 x), n a multiple of kLanes; returns the largest |x|, NaN as NaN.
  float (*exp_twice)(const float* x, float* y, int64_t n);

  // energy[t] of one query over one panel P [A, w] of keys: P and Q hold exp(2p), exp(2q), or p, q
  // in the tanh form; u = -2v; A even.
  void (*energy)(EnergyForm form, int64_t A, int64_t w, const float* P, const float* Q,
                 const float* u, float* energy);
  // In place over x[0, n); x[n, padded(n)) becomes 0. Returns the first place of the largest.
  int32_t (*softmax)(float* x, int64_t n);

  // h' [H] from table and context parts gi, ci [3H], recurrent part gh [3H], h [H]; H padded.
  void (*gru)(int64_t H, const float* gi, const float* ci, const float* gh, const float* h,
              float* h_new);
  // out = log_softmax(x + y); n padded, where padding holds -infinity in x or y.
  void (*log_softmax)(const float* x, const float* y, float* out, int64_t n);
  // Inserts score + log_prob[token] for all tokens of one parent; returns the new count.
  int64_t (*top_k)(const float* log_prob, int64_t n, float score, int32_t parent, Candidate* best,
                   int64_t count, int64_t K);

  // In place over x[0, n), with torch's epsilon of 1e-5; gain and bias hold 0 at n and after.
  void (*layer_norm)(int64_t n, float* x, const float* gain, const float* bias);

  // The transforms of convolutions_cpu.cpp, for four outputs along x of three taps each; n a
  // multiple of kLanes. V[j ld + i], j < 6, from the six columns x[0..5] [n].
  void (*winograd_input)(int64_t n, const float* const* x, float* V, int64_t ld);
  // out[k column + i] = relu(bias[i] + add[k column + i] + the outputs of M[j ld + i]), k < valid
  // <= 4; add may be null, or out.
  void (*winograd_output)(int64_t n, const float* M, int64_t ld, const float* bias,
                          const float* add, float* out, int64_t column, int64_t valid);
  // Along y, for three outputs of three taps each; n a multiple of kLanes. V[j ld + q n + i], j <
  // 5, q < tiles, from the rows x[(3 q + k) n + i], k < 5.
  void (*winograd_rows_input)(int64_t tiles, int64_t n, const float* x, float* V, int64_t ld);
  // out[(3 q + k) n + i], k < 3, of M[j ld + q n + i].
  void (*winograd_rows_output)(int64_t tiles, int64_t n, const float* M, int64_t ld, float* out);

  // out[i] = sum_k weight[k] x[k ld + i], rounded from kWeightBits and held to a byte, i < n; n a
  // multiple of kLanes.
  void (*weigh_bytes)(int64_t n, int64_t taps, const int32_t* weight, const uint8_t* x, int64_t ld,
                      uint8_t* out);

  // Of whole numbers, of the segmenter and of training in float32, on this instruction set.
  const Int8Kernels* int8;
  const SegmenterKernels* segmenter;
  const SequenceKernels<float>* sequence;
};

// The kernels for this processor, capped by the environment variable KHMER_FAST_ISA
// (baseline, avx2, avx2_vnni, avx512, avx512_vnni, avx512_bf16). Throws std::invalid_argument for
// another value.
const Kernels& select_kernels();

// Null where the compiler or the processor family has no such code.
extern const Kernels* const kKernelsAvx512Bf16;
extern const Kernels* const kKernelsAvx512;
extern const Kernels* const kKernelsAvx2;
extern const Kernels* const kKernelsBaseline;
extern const Int8Kernels* const kInt8KernelsAvx512Vnni;
extern const Int8Kernels* const kInt8KernelsAvx2Vnni;
extern const SequenceKernels<double> kSequenceKernelsDouble;  // gradcheck's, on any processor

}  // namespace khmer_fast
