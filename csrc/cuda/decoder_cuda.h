// The decoder on a GPU: raw pointers and a stream, no torch. The steps are those of
// python_ref/attn_gru_step.py and python_ref/beam_search.py, one kernel or two each.
//
// Seats: as many lines are at work at once; a seat takes the next line from the queue when its own
// is done, so that the buffers of a step are bounded and the steps stay full.
//
// Rows: slot k of the line in a seat is row n = seat*K + k everywhere. A hypothesis is a child: its
// slot holds its last token and the row of its parent's state, `state_row`. Children of one parent
// share query, attention and context, so that those are computed on the rows that are somebody's
// state_row, the parents. Nothing is gathered: h_new of child n is the state in row n of the next
// step.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "cuda/storage.h"
#include "decoder_weights.h"
#include "dims.h"
#include "energy_form.h"

namespace khmer_fast {

constexpr int kMaxBeam = 64;
constexpr int kMaxSeats = 256;  // from about 64 lines on, more at once are no faster a line
constexpr size_t kStaticShared = 4 << 10;  // bytes at most of a kernel that has dynamic ones, too

// What a kernel tells whether the WHILE node around it goes on.
#if CUDART_VERSION >= 12040
#define KHMER_FAST_WHILE_NODE
using LoopHandle = cudaGraphConditionalHandle;
#else
using LoopHandle = unsigned long long;
#endif

// Kernels of which only a GPU can say which is faster; what loses there goes.
struct Variants {
  int select_threads = 256;  // of a line's selection, a warp a hypothesis: 256 or 128
  int rows_ahead = 16;       // of memory that a thread of attend_kernel has under way: 16 or 4
  bool early = false;        // a kernel of the step is started while the one before it runs; sm_90
};

// Mangled name of the kernel whose launch failed last on this thread, or null.
inline const char*& failed_kernel() {
  static thread_local const char* name = nullptr;
  return name;
}

// Sizes of one call. Padded sizes are multiples of kLanes, what lies there is 0.
struct DecodeSizes {
  int B, K, T, S;  // S: the largest step limit of a line
  int seats;       // N = seats * K
  int V, D, E, A, H;
  int Ep, Ap, Hp;
  int n_best;
  double alpha;
  bool forced;  // the limit of each line is its length
  Variants variants{};
};

// Row of the attention at a step of line b, which counts from 0.
KHMER_FAST_ANYWHERE constexpr size_t attention_row(const DecodeSizes& s, int b, int step, int k) {
  return (static_cast<size_t>(b) * s.S + step) * s.K + k;
}

// Every pointer of the device is aligned to 16 bytes.
template <class Storage>
struct PackedDecoder {
  Storage* W_k;       // [A, Ep]
  float* b_k;         // [A]
  Storage* W_init;    // [H, Ep]
  float* b_init;      // [H]
  float* u;           // [Ap]  -2v
  Storage* W_hidden;  // [A + 3H, Hp]  W_q, then W_hh
  float* b_hn;        // [H]
  Storage* W_ic;      // [3H, Ep]
  Storage* W_o;       // [V, Hp + Ep]
  float* b_o;         // [V]
  float* table;       // [V, 3H]  W_ie embedding + b_ih + (b_hr, b_hz, 0)
};

// On the device, contiguous float32.
using DeviceWeights = DecoderPointers;

// What one step of a line chose, for each slot; an empty slot has parent -1.
struct Chosen {
  int32_t parent, token;
  float score, log_prob;
  int32_t state_row;  // k of the parent's state, whose attention it is
  int32_t length;     // tokens so far: the number of this step, or less if finished before
  int32_t position;   // of the largest attention weight, the first of equals
};

template <class Storage>
struct Workspace {
  Storage* memory;     // [B, T, Ep], 0 at padding
  Storage* key;        // [B, T, Ap]
  Factor<Storage>* P;  // [B, T, Ap]  exp(2 key)
  unsigned* max_p;     // [B]  bits of the largest |key| of the valid positions
  Storage* mean;       // [B, Ep]
  float* h_0;          // [B, Hp]
  int* step;           // [B]  steps that the line ran
  double* power;       // [S + 1]  length ** alpha; unread where alpha is 0
  Chosen* history;     // [B, S, K]
  float* attention;    // [B, S, K, T] on request, else null; at a parent's k
  float* h;            // [2, N, Hp]  states before odd steps in [0], before even ones in [1]
  Storage* h_narrow;   // [2, N, Hp]  rounded, as products read them; float32: null, they read h
  float* hidden;       // [N, A + 3H]  query, then W_hh h + (0, 0, b_hn)
  Storage* context;    // [N, Ep]
  int* position;       // [N]  of a parent's largest attention weight
  float* logits;       // [N, V]
  float* score;        // [N]  -infinity: empty
  int* token;          // [N]
  int* slot_length;    // [N]  tokens so far
  int* finished;       // [N]
  int* state_row;      // [N]
  int* parents;        // [2, N]  rows to compute in odd and even steps, in no order
  int* children;       // [2, N]
  int* line;           // [seats]  -1: the queue was empty
  int* counts;         // [2, 2]  of parents and children; 0 in the lists of the next step
  int* clock;          // [1]  number of this step, counted over all lines
  int* queue;          // [1]  the next line that no seat took
  int* running;        // [1]  seats with a line
  int* selected;       // [1]  seats whose selection of this step has ended
};

struct DecodeInput {
  const float* memory;    // [B, T, E] contiguous
  const int64_t* length;  // [B]
  const int64_t* limit;   // [B]  S_b
};

// As python_ref.beam_search.BeamResult; S as in the sizes. Everything is written.
struct DecodeOutput {
  int64_t* tokens;    // [B, n_best, S]
  int64_t* length;    // [B, n_best]
  float* score;       // [B, n_best]
  float* log_prob;    // [B, n_best, S]
  bool* truncated;    // [B, n_best]
  bool* failed;       // [B]
  int64_t* steps;     // [B]
  int64_t* position;  // [B, n_best, S]
  float* attention;   // [B, n_best, S, T] or null
};

// Names every array of a packed decoder or a workspace: take(pointer, elements).
template <class Storage, class Take>
void visit_packed(PackedDecoder<Storage>& w, const DecodeSizes& s, Take&& take) {
  const size_t V = s.V, A = s.A, H = s.H, Ep = s.Ep, Ap = s.Ap, Hp = s.Hp;
  take(w.W_k, A * Ep);
  take(w.b_k, A);
  take(w.W_init, H * Ep);
  take(w.b_init, H);
  take(w.u, Ap);
  take(w.W_hidden, (A + 3 * H) * Hp);
  take(w.b_hn, H);
  take(w.W_ic, 3 * H * Ep);
  take(w.W_o, V * (Hp + Ep));
  take(w.b_o, V);
  take(w.table, V * 3 * H);
}

template <class Storage, class Take>
void visit_workspace(Workspace<Storage>& w, const DecodeSizes& s, bool attention, Take&& take) {
  const size_t B = s.B, T = s.T, S = s.S, Ep = s.Ep, Ap = s.Ap;
  const size_t seats = s.seats, N = seats * s.K;
  take(w.memory, B * T * Ep);
  take(w.key, B * T * Ap);
  take(w.P, B * T * Ap);
  take(w.max_p, B);
  take(w.mean, B * Ep);
  take(w.h_0, B * s.Hp);
  take(w.step, B);
  take(w.power, S + 1);
  take(w.history, B * S * s.K);
  w.attention = nullptr;
  if (attention) take(w.attention, B * S * s.K * T);
  take(w.h, 2 * N * s.Hp);
  w.h_narrow = nullptr;
  if constexpr (!std::is_same_v<Storage, float>) take(w.h_narrow, 2 * N * s.Hp);
  take(w.hidden, N * (s.A + 3 * size_t(s.H)));
  take(w.context, N * Ep);
  take(w.position, N);
  take(w.logits, N * s.V);
  take(w.score, N);
  take(w.token, N);
  take(w.slot_length, N);
  take(w.finished, N);
  take(w.state_row, N);
  take(w.parents, 2 * N);
  take(w.children, 2 * N);
  take(w.line, seats);
  take(w.counts, size_t{4});
  take(w.clock, size_t{1});
  take(w.queue, size_t{1});
  take(w.running, size_t{1});
  take(w.selected, size_t{1});
}

inline DecodeSizes decode_sizes(const Dims& d, int B, int K, int T, int S, int seats, int n_best,
                                double alpha, bool forced, Variants variants = {}) {
  const auto narrow = [](int64_t x) { return static_cast<int>(x); };
  return {B,
          K,
          T,
          S,
          seats,
          narrow(d.V),
          narrow(d.D),
          narrow(d.E),
          narrow(d.A),
          narrow(d.H),
          narrow(padded(d.E)),
          narrow(padded(d.A)),
          narrow(padded(d.H)),
          n_best,
          alpha,
          forced,
          variants};
}

// The largest T of a line whose additive attention the current device can take.
cudaError_t longest_line_cuda(const DecodeSizes& sizes, int64_t* positions);

// Once a model and device. `w` is written.
template <class Storage>
cudaError_t pack_decoder_cuda(const DecodeSizes& sizes, const DeviceWeights& from,
                              const PackedDecoder<Storage>& w, cudaStream_t stream);

// The steps, each a kernel or two. All return the error of the launch; B, K, T and S are at
// least 1.
template <class Storage>
cudaError_t attn_gru_init_cuda(const DecodeSizes& sizes, const PackedDecoder<Storage>& w,
                               const DecodeInput& in, const Workspace<Storage>& space,
                               cudaStream_t stream);
// `space.position` and `space.attention` may be null.
template <class Storage>
cudaError_t attend_cuda(const DecodeSizes& sizes, const PackedDecoder<Storage>& w,
                        const DecodeInput& in, const Workspace<Storage>& space,
                        cudaStream_t stream);
template <class Storage>
cudaError_t attn_gru_step_cuda(const DecodeSizes& sizes, const PackedDecoder<Storage>& w,
                               const DecodeInput& in, const Workspace<Storage>& space,
                               cudaStream_t stream);

cudaError_t beam_power_cuda(const DecodeSizes& sizes, double* power, cudaStream_t stream);
template <class Storage>
cudaError_t beam_begin_cuda(const DecodeSizes& sizes, const DecodeInput& in,
                            const Workspace<Storage>& space, cudaStream_t stream);
template <class Storage>
cudaError_t beam_select_cuda(const DecodeSizes& sizes, const DecodeInput& in,
                             const Workspace<Storage>& space, cudaStream_t stream);
// The same inside a WHILE node, which ends with the last line. Its kernel has a file of its own: a
// driver that cannot load it loses the node, not the other loops.
template <class Storage>
cudaError_t beam_select_while_cuda(const DecodeSizes& sizes, const DecodeInput& in,
                                   const Workspace<Storage>& space, LoopHandle loop,
                                   cudaStream_t stream);
template <class Storage>
cudaError_t beam_finish_cuda(const DecodeSizes& sizes, const DecodeInput& in,
                             const Workspace<Storage>& space, const DecodeOutput& out,
                             cudaStream_t stream);

// The whole search in the simple way: the host launches every step, and looks at every kLook-th
// whether a line is left.
template <class Storage>
cudaError_t beam_search_cuda(const DecodeSizes& sizes, const PackedDecoder<Storage>& w,
                             const DecodeInput& in, const Workspace<Storage>& space,
                             const DecodeOutput& out, cudaStream_t stream);

// The step's kernels as a graph over one workspace and one input, whose pointers are its own.
struct StepGraph {
  cudaGraphExec_t exec = nullptr;
  bool loops = false;          // a WHILE node is around the step
  cudaEvent_t used = nullptr;  // the end of the last search; who uses the workspace records it
  int* running = nullptr;      // [2] pinned; of the last two launches
  cudaEvent_t looked[2] = {};
};

template <class Storage>
cudaError_t capture_steps_cuda(const DecodeSizes& sizes, const PackedDecoder<Storage>& w,
                               const DecodeInput& in, const Workspace<Storage>& space,
                               StepGraph* graph);
void destroy_steps_cuda(StepGraph* graph);

// The whole search, with the arguments that `graph` was captured with. The host waits for nothing
// where there is a WHILE node, else for the launch before the last one.
template <class Storage>
cudaError_t beam_search_graph_cuda(const DecodeSizes& sizes, const PackedDecoder<Storage>& w,
                                   const DecodeInput& in, const Workspace<Storage>& space,
                                   const DecodeOutput& out, const StepGraph& graph,
                                   cudaStream_t stream);

// The whole search in one kernel; every line has a seat.
constexpr int kMaxPersistentRows = 32;
constexpr int kChunk = 32;                  // positions that a block attends to at once
constexpr long long kPatience = 1ll << 34;  // ticks of the clock, about 10 s

struct PersistentSpace {
  float* context;  // [N, chunks, Ep]  of each chunk of T, before the division by the sum
  float* top;      // [N, chunks]  largest energy
  float* sum;      // [N, chunks]  of exponentials
  int* position;   // [N, chunks]  of the largest exponential
  unsigned*
      arrived;   // [1]  blocks so far at meetings; kGaveUp is set when one did not come in time
  int* gave_up;  // [1]  1: a block did not come to a meeting in time, nothing is right
};
constexpr unsigned kGaveUp = 1u << 31;

template <class Take>
void visit_persistent(PersistentSpace& w, const DecodeSizes& s, Take&& take) {
  const size_t rows = static_cast<size_t>(s.B) * s.K * ((s.T + kChunk - 1) / kChunk);
  take(w.context, rows * s.Ep);
  take(w.top, rows);
  take(w.sum, rows);
  take(w.position, rows);
  take(w.arrived, size_t{1});
  take(w.gave_up, size_t{1});
}

struct PersistentPlan {
  int blocks;            // one a multiprocessor
  size_t shared;         // bytes of each
  const char* obstacle;  // why this GPU cannot take these sizes, or null
};

template <class Storage>
PersistentPlan persistent_plan_cuda(const DecodeSizes& sizes);

template <class Storage>
cudaError_t beam_search_persistent_cuda(const DecodeSizes& sizes, const PackedDecoder<Storage>& w,
                                        const DecodeInput& in, const Workspace<Storage>& space,
                                        const PersistentSpace& part, const PersistentPlan& plan,
                                        const DecodeOutput& out, long long patience,
                                        cudaStream_t stream);

}  // namespace khmer_fast
