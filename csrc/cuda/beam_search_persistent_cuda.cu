// The whole search of a small batch in one cooperative kernel, in the order of
// python_ref/beam_search.py. Every block keeps its columns of the weights in shared memory; a step
// has three meetings of the grid: after the attention of the parents, after the cell, and after the
// product [W_o; W_q; W_hh] h' of the children, which gives the next query before anybody knows
// which children survive. The selection of a line is repeated by all blocks that attend to it.
//
// Derived, not measured: H200, bfloat16, H = A = E = 512, V = 208, T = 128, B = 1, K = 5 with 2.5
// parents. Three meetings 2.0-3.3 us; attention, a chunk of 32 positions a block, 64 KiB from
// L2: 1.5 us; the chunks' factors, once a parent, and its context, two round trips to L2 and 14
// columns: 1.2 us; gates, states 10 KiB, 18 columns: 1.2 us; selection 1.6 us: 7.5-9 us a step.
#include "cuda/beam_select.cuh"
#include "cuda/decoder_cuda.h"
#include "cuda/device_math.cuh"
#include "cuda/launch.cuh"
#include "energy_form.h"

namespace khmer_fast {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / 32;

// Column i of a block is column blockIdx + i * blocks of the matrix.
KHMER_FAST_ANYWHERE constexpr int share(int columns, int block, int blocks) {
  return (columns - block + blocks - 1) / blocks;
}
KHMER_FAST_ANYWHERE constexpr int larger(int a, int b) { return a > b ? a : b; }
KHMER_FAST_ANYWHERE constexpr int chunks_of(int positions) {
  return (positions + kChunk - 1) / kChunk;
}

// Shared memory of block 0, which has the most columns; offsets in bytes.
struct Layout {
  size_t W_gates, x, gates, factor, end;  // W_state at 0
};
template <class Storage>
KHMER_FAST_ANYWHERE Layout layout(const DecodeSizes& s, int blocks) {
  const int N = s.B * s.K;
  const int columns = share(s.V + s.A + 3 * s.H, 0, blocks);
  const int gates = 3 * share(s.H, 0, blocks) + share(s.V, 0, blocks);
  Layout at{};
  at.W_gates = static_cast<size_t>(columns) * s.Hp * sizeof(Storage);
  at.x = at.W_gates + static_cast<size_t>(gates) * s.Ep * sizeof(Storage);
  const int lists = 2 * s.K * s.K;  // of candidates, two words each
  at.gates =
      at.x + sizeof(float) * larger(N * larger(s.Hp, s.Ep), larger(lists, s.Ap + 2 * kChunk));
  at.factor = at.gates + sizeof(float) * N * gates;
  at.end = at.factor + sizeof(float) * N * chunks_of(s.T);
  return at;
}

// All blocks of the grid meet. False where one did not come in `patience` ticks of the clock: all
// leave then, and *gave_up is 1. `wanted` counts the arrivals so far, in every thread.
__device__ bool meet(const PersistentSpace& shared_by_all, unsigned& wanted, long long patience) {
  bool late = false;
  wanted += gridDim.x;
  __syncthreads();
  if (threadIdx.x == 0) {
    const volatile unsigned* arrived = shared_by_all.arrived;  // one word says both: one poll
    __threadfence();
    atomicAdd(shared_by_all.arrived, 1u);
    const long long start = clock64();
    for (unsigned seen; (seen = *arrived) < wanted || seen >= kGaveUp;) {
      late = seen >= kGaveUp || clock64() - start > patience;
      if (late) break;
      __nanosleep(32);
    }
    if (late) {
      atomicOr(shared_by_all.arrived, kGaveUp);
      atomicExch(shared_by_all.gave_up, 1);
    }
    __threadfence();
  }
  return !__syncthreads_or(late);
}

// What a product multiplies: rounded to the storage, as the other loops' products have it.
template <class Storage>
__device__ __forceinline__ float operand(float x) {
  return to_float(from_float<Storage>(x));
}

// sum over k of x[r, k] W[n, k], to emit(r, n, sum) in one lane; a warp takes two columns and four
// rows at once. The order of a sum does not depend on the number of rows. x and W in shared memory.
template <class Storage, class Emit>
__device__ __forceinline__ void product(const float* x, int rows, const Storage* W, int columns,
                                        int depth, Emit emit) {
  const int lane = threadIdx.x % 32, groups = (rows + 3) / 4, pairs = (columns + 1) / 2;
  for (int i = threadIdx.x / 32; i < groups * pairs; i += kWarps) {
    const int r0 = i % groups * 4, n0 = i / groups * 2;
    float sum[2][4] = {};
    for (int k = 2 * lane; k < depth; k += 64) {
      float2 weight[2];
#pragma unroll
      for (int n = 0; n < 2; ++n)
        weight[n] = load_pair(W + static_cast<size_t>(min(n0 + n, columns - 1)) * depth + k);
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const float2 value = load_pair(x + static_cast<size_t>(min(r0 + r, rows - 1)) * depth + k);
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          sum[n][r] = fmaf(value.x, weight[n].x, sum[n][r]);
          sum[n][r] = fmaf(value.y, weight[n].y, sum[n][r]);
        }
      }
    }
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const float total = warp_sum(sum[n][r]);
        if (lane == 0 && r0 + r < rows && n0 + n < columns) emit(r0 + r, n0 + n, total);
      }
  }
}

// Energy of one position by one warp; P and Q as in attn_gru_step_cuda.cu.
template <EnergyForm form, class P_t>
__device__ __forceinline__ float energy_of(const P_t* P, const float* Q, const float* u, int Ap) {
  Real sum = 0.0f;
  for (int a = 2 * static_cast<int>(threadIdx.x % 32); a < Ap; a += 64) {
    const float2 p = load_pair(P + a), q = load_pair(Q + a), v = load_pair(u + a);
    if constexpr (form == EnergyForm::kPaired) {
      sum = energy_paired(sum, Real(p.x), Real(q.x), Real(v.x), Real(p.y), Real(q.y), Real(v.y));
    } else if constexpr (form == EnergyForm::kFactored) {
      sum = energy_factored(sum, Real(p.x), Real(q.x), Real(v.x));
      sum = energy_factored(sum, Real(p.y), Real(q.y), Real(v.y));
    } else {
      sum = energy_tanh(sum, Real(p.x), Real(q.x), Real(v.x));
      sum = energy_tanh(sum, Real(p.y), Real(q.y), Real(v.y));
    }
  }
  return warp_sum(sum.value);
}

// 1. and 2.: the part of a chunk of positions in the attention of one parent, `row`: its largest
// energy, its sum of exponentials and its context. `buffer`: Q [Ap], energy and weight [kChunk].
template <class Storage>
__device__ void attend(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                       const Workspace<Storage>& space, const PersistentSpace& part, int b,
                       int length, int row, int chunk, float* attention, float* buffer) {
  __shared__ float scratch[kWarps];
  const int t = threadIdx.x, lane = t % 32, warp = t / 32;
  float *Q = buffer, *energy = Q + s.Ap, *weight = energy + kChunk;
  const float* q = space.hidden + static_cast<size_t>(row) * (s.A + 3 * s.H);
  float largest = 0;
  bool nan = false;
  for (int a = t; a < s.A; a += kThreads) {
    nan = nan || q[a] != q[a];
    largest = fmaxf(largest, fabsf(q[a]));
  }
  largest = block_max<kWarps>(largest, scratch);
  if (__syncthreads_or(nan)) largest = NAN;
  const EnergyForm form = energy_form(__uint_as_float(space.max_p[b]), largest);
  for (int a = t; a < s.Ap; a += kThreads) {
    const float x = a < s.A ? q[a] : 0.0f;
    Q[a] = form == EnergyForm::kTanh ? x : expf(2.0f * x);
  }
  __syncthreads();
  const int t0 = chunk * kChunk, count = min(kChunk, length - t0);
  for (int i = warp; i < count; i += kWarps) {
    const size_t at = (static_cast<size_t>(b) * s.T + t0 + i) * s.Ap;
    const float x = form == EnergyForm::kPaired
                        ? energy_of<EnergyForm::kPaired>(space.P + at, Q, w.u, s.Ap)
                    : form == EnergyForm::kFactored
                        ? energy_of<EnergyForm::kFactored>(space.P + at, Q, w.u, s.Ap)
                        : energy_of<EnergyForm::kTanh>(space.key + at, Q, w.u, s.Ap);
    if (lane == 0) energy[i] = x;
  }
  __syncthreads();
  if (warp == 0) {
    const float x = lane < count ? energy[lane] : -INFINITY;
    const float top = warp_max(x), exponential = lane < count ? expf(x - top) : 0.0f;
    const float sum = warp_sum(exponential);
    const unsigned most = __reduce_max_sync(kAllLanes, absolute_bits(exponential));
    const unsigned first = __ballot_sync(kAllLanes, absolute_bits(exponential) == most);
    weight[lane] = exponential;
    if (attention && lane < count) attention[t0 + lane] = x;
    if (lane == 0) {
      const int at = row * chunks_of(s.T) + chunk;
      part.top[at] = top;
      part.sum[at] = sum;
      part.position[at] = t0 + __ffs(static_cast<int>(first)) - 1;
    }
  }
  __syncthreads();
  const Storage* memory = space.memory + (static_cast<size_t>(b) * s.T + t0) * s.Ep;
  float* context = part.context + (static_cast<size_t>(row) * chunks_of(s.T) + chunk) * s.Ep;
  for (int e = t; e < s.Ep; e += kThreads) {
    float sum = 0;
#pragma unroll 8
    for (int i = 0; i < count; ++i)
      sum = fmaf(weight[i], to_float(memory[static_cast<size_t>(i) * s.Ep + e]), sum);
    context[e] = sum;
  }
  __syncthreads();
}

// factor [chunks]: what each chunk's exponentials are multiplied with to be the attention weights
// of a parent, whose chunks begin at `first`; by one warp. Returns the position of the largest
// weight, the first of equals, or one of NaN.
__device__ __forceinline__ int whole_softmax(const PersistentSpace& part, size_t first, int chunks,
                                             float* factor) {
  const int lane = threadIdx.x % 32;
  float top = -INFINITY, sum = 0;
  for (int c = lane; c < chunks; c += 32) top = fmaxf(top, part.top[first + c]);
  top = warp_max(top);
  for (int c = lane; c < chunks; c += 32) {
    factor[c] = expf(part.top[first + c] - top);
    sum = fmaf(part.sum[first + c], factor[c], sum);
  }
  sum = warp_sum(sum);
  unsigned largest = 0;
  int chunk = 0;
  for (int c = lane; c < chunks; c += 32) {
    factor[c] /= sum;  // also the chunk's largest weight: its largest exponential is 1
    if (absolute_bits(factor[c]) > largest) largest = absolute_bits(factor[c]), chunk = c;
  }
  const unsigned most = __reduce_max_sync(kAllLanes, largest);
  const unsigned found =
      __reduce_min_sync(kAllLanes, largest == most ? static_cast<unsigned>(chunk) : ~0u);
  return chunks > 0 ? part.position[first + found] : 0;
}

template <class Storage, int PerLane>
__global__ void __launch_bounds__(kThreads, 1)
    beam_search_persistent_kernel(DecodeSizes s, PackedDecoder<Storage> w, DecodeInput in,
                                  Workspace<Storage> space, PersistentSpace part,
                                  long long patience) {
  const int t = threadIdx.x, block = blockIdx.x, blocks = gridDim.x;
  const int B = s.B, K = s.K, N = B * K, V = s.V, H = s.H, width = s.A + 3 * H;
  const int columns = share(V + width, block, blocks), units = share(H, block, blocks);
  const int outputs = share(V, block, blocks), gate_columns = 3 * units + outputs;
  const Layout at = layout<Storage>(s, blocks);
  unsigned char* memory = dynamic_shared<unsigned char>();
  Storage* W_state = reinterpret_cast<Storage*>(memory);               // [columns, Hp]
  Storage* W_gates = reinterpret_cast<Storage*>(memory + at.W_gates);  // [gate_columns, Ep]
  float* x = reinterpret_cast<float*>(memory + at.x);                  // rows of a product
  float* gates = reinterpret_cast<float*>(memory + at.gates);          // [parents, gate_columns]
  float* factor = reinterpret_cast<float*>(memory + at.factor);        // [parents, chunks of T]
  __shared__ LineBeam beam;
  __shared__ int parent_k[kMaxPersistentRows], parent_count;  // of the line of this block
  __shared__ int parent[kMaxPersistentRows], child[kMaxPersistentRows];  // rows of all lines
  __shared__ int token[kMaxPersistentRows], state_row[kMaxPersistentRows];
  __shared__ int index[kMaxPersistentRows];  // of a child's parent in `parent`
  __shared__ int position[kMaxBeam];         // of the attention of slot k's state, in this line
  __shared__ int parents, children;

  for (int i = 0; i < columns; ++i) {
    const int c = block + i * blocks;
    const Storage* from = c < V ? w.W_o + static_cast<size_t>(c) * (s.Hp + s.Ep)
                                : w.W_hidden + static_cast<size_t>(c - V) * s.Hp;
    for (int k = t; k < s.Hp; k += kThreads) W_state[static_cast<size_t>(i) * s.Hp + k] = from[k];
  }
  for (int i = 0; i < gate_columns; ++i) {
    const int unit = block + i / 3 * blocks, v = block + (i - 3 * units) * blocks;
    const Storage* from = i < 3 * units ? w.W_ic + (static_cast<size_t>(i % 3) * H + unit) * s.Ep
                                        : w.W_o + static_cast<size_t>(v) * (s.Hp + s.Ep) + s.Hp;
    for (int k = t; k < s.Ep; k += kThreads) W_gates[static_cast<size_t>(i) * s.Ep + k] = from[k];
  }

  // The line that this block selects and, as one of `members`, attends to; the first publishes it.
  const int b = block % B, member = block / B, members = share(blocks, b, B);
  const int length = static_cast<int>(in.length[b]), limit = static_cast<int>(in.limit[b]);
  const bool owner = member == 0;
  bool done = limit <= 0;
  begin_line(beam, K);
  __syncthreads();
  const auto publish = [&] {
    if (t < K && done) beam.state[t] = -1;
    if (!owner || t >= K) return;
    space.token[b * K + t] = beam.token[t];
    space.state_row[b * K + t] = beam.state[t] < 0 ? -1 : b * K + beam.state[t];
  };
  publish();

  // What the first step needs of h_0 [B, Hp]: query and recurrent product, and the own units.
  const auto bias_of = [&](int n) { return n >= s.A + 2 * H ? w.b_hn[n - s.A - 2 * H] : 0.0f; };
  for (int i = t; i < B * s.Hp; i += kThreads) x[i] = operand<Storage>(space.h_0[i]);
  for (int i = t; i < B * units; i += kThreads) {
    const int line = i / units, j = block + i % units * blocks;
    space.h[static_cast<size_t>(line) * K * s.Hp + j] =
        space.h_0[static_cast<size_t>(line) * s.Hp + j];
  }
  __syncthreads();
  product(x, B, W_state, columns, s.Hp, [&](int line, int i, float sum) {
    const int n = block + i * blocks - V;
    if (n >= 0) space.hidden[static_cast<size_t>(line) * K * width + n] = sum + bias_of(n);
  });
  unsigned wanted = 0;
  if (!meet(part, wanted, patience)) return;

  for (int step = 1;; ++step) {
    const int now = step & 1;
    // 1. query, 2. additive attention and 3. context, in chunks; the line's parents, each once
    if (t < 32) {
      const bool first = t < K && beam.state[t] >= 0 && first_child(beam, t);
      const unsigned all = __ballot_sync(kAllLanes, first);
      if (first) parent_k[__popc(all & ((1u << t) - 1))] = beam.state[t];
      if (t == 0) parent_count = __popc(all);
    }
    __syncthreads();
    const int chunks = chunks_of(length);
    for (int i = member; i < parent_count * chunks; i += members) {
      const int k = parent_k[i / chunks];
      float* attention =
          space.attention ? space.attention + attention_row(s, b, step - 1, k) * s.T : nullptr;
      attend(s, w, space, part, b, length, b * K + k, i % chunks, attention, x);
    }
    if (!meet(part, wanted, patience)) return;

    // The rows of all lines; none: every line is done.
    if (t < 32) {
      const int row = t < N ? space.state_row[t] : -1;
      state_row[t] = row;
      token[t] = t < N ? space.token[t] : kPad;
      __syncwarp();
      bool first = row >= 0;
      for (int n = 0; n < t; ++n) first = first && state_row[n] != row;
      const unsigned live = __ballot_sync(kAllLanes, row >= 0);
      const unsigned all = __ballot_sync(kAllLanes, first), below = (1u << t) - 1;
      if (row >= 0) child[__popc(live & below)] = t;
      if (first) parent[__popc(all & below)] = row;
      if (t == 0) parents = __popc(all), children = __popc(live);
      __syncwarp();
      for (int i = 0; i < __popc(all); ++i)
        if (parent[i] == row) index[t] = i;
    }
    __syncthreads();
    if (children == 0) break;

    // 4. GRU cell: contexts of the parents, their products, the gates of their children
    for (int i = t / 32; i < parents; i += kWarps) {
      const int row = parent[i], line = row / K;
      const int found =
          whole_softmax(part, static_cast<size_t>(row) * chunks_of(s.T),
                        chunks_of(static_cast<int>(in.length[line])), factor + i * chunks_of(s.T));
      if (t % 32 == 0 && line == b) position[row % K] = found;
    }
    __syncthreads();
    for (int i = t; i < parents * s.Ep; i += kThreads) {
      const int m = i / s.Ep, row = parent[m], e = i - m * s.Ep;
      const int line_chunks = chunks_of(static_cast<int>(in.length[row / K]));
      const float* context = part.context + static_cast<size_t>(row) * chunks_of(s.T) * s.Ep + e;
      float sum = 0;
#pragma unroll 4
      for (int c = 0; c < line_chunks; ++c)
        sum = fmaf(context[static_cast<size_t>(c) * s.Ep], factor[m * chunks_of(s.T) + c], sum);
      x[i] = line_chunks > 0 ? operand<Storage>(sum) : NAN;
    }
    for (int i = block; space.attention && i < parents; i += blocks) {
      const int row = parent[i], line = row / K, T = static_cast<int>(in.length[line]);
      const float* top = part.top + static_cast<size_t>(row) * chunks_of(s.T);
      float* weight = space.attention + attention_row(s, line, step - 1, row % K) * s.T;
      for (int u = t; u < T; u += kThreads)
        weight[u] = expf(weight[u] - top[u / kChunk]) * factor[i * chunks_of(s.T) + u / kChunk];
    }
    __syncthreads();
    product(x, parents, W_gates, gate_columns, s.Ep,
            [&](int i, int n, float sum) { gates[i * gate_columns + n] = sum; });
    __syncthreads();
    float* h_new = space.h + static_cast<size_t>(now) * N * s.Hp;
    for (int i = t; i < children * units; i += kThreads) {
      const int n = child[i / units], unit = i % units, j = block + unit * blocks;
      const int row = state_row[n];
      const float* sum = gates + index[n] * gate_columns + 3 * unit;
      const float* recurrent = space.hidden + static_cast<size_t>(row) * width + s.A;
      const float* input = w.table + static_cast<size_t>(token[n]) * 3 * H;
      const float h = space.h[(static_cast<size_t>(now ^ 1) * N + row) * s.Hp + j];
      h_new[static_cast<size_t>(n) * s.Hp + j] =
          gru_cell(Real(input[j] + sum[0] + recurrent[j]),
                   Real(input[H + j] + sum[1] + recurrent[H + j]), Real(input[2 * H + j] + sum[2]),
                   Real(recurrent[2 * H + j]), Real(h))
              .value;
    }
    if (!meet(part, wanted, patience)) return;

    // 5. projection of the children, and what their children will need of them
    for (int i = t; i < children * s.Hp; i += kThreads) {
      const int n = child[i / s.Hp], j = i % s.Hp;
      x[i] = j < H ? operand<Storage>(h_new[static_cast<size_t>(n) * s.Hp + j]) : 0.0f;
    }
    __syncthreads();
    product(x, children, W_state, columns, s.Hp, [&](int m, int i, float sum) {
      const int n = child[m], c = block + i * blocks;
      if (c < V)
        space.logits[static_cast<size_t>(n) * V + c] =
            sum + gates[index[n] * gate_columns + 3 * units + i] + w.b_o[c];
      else
        space.hidden[static_cast<size_t>(n) * width + c - V] = sum + bias_of(c - V);
    });
    if (!meet(part, wanted, patience)) return;

    // Selection: log_softmax, the best K candidates, the survivors
    if (done) continue;
    const float* logits = space.logits + static_cast<size_t>(b) * K * V;
    LaneTokens<PerLane> tokens;
    tokens.load(logits + static_cast<size_t>(min(t / 32, K - 1)) * V, V);
    if (t < K) beam.position[t] = beam.state[t] < 0 ? 0 : position[beam.state[t]];
    __syncthreads();
    Chosen* history = space.history + (static_cast<size_t>(b) * s.S + step - 1) * K;
    done = select_line<kThreads>(s, limit, step, logits, space.power, tokens, beam,
                                 reinterpret_cast<Candidate*>(x), owner ? history : nullptr);
    if (owner && t == 0) space.step[b] = step;
    publish();
    __syncthreads();
  }
}

}  // namespace

template <class Storage>
PersistentPlan persistent_plan_cuda(const DecodeSizes& s) {
  PersistentPlan plan{0, 0, nullptr};
  int device = 0, largest = 0;
  if (s.B * s.K > kMaxPersistentRows) {
    plan.obstacle = "it takes at most 32 rows (lines times beam)";
  } else if (s.seats < s.B) {
    plan.obstacle = "every line needs a seat of its own";
  } else if (cudaGetDevice(&device) != cudaSuccess ||
             cudaDeviceGetAttribute(&plan.blocks, cudaDevAttrMultiProcessorCount, device) !=
                 cudaSuccess ||
             cudaDeviceGetAttribute(&largest, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) !=
                 cudaSuccess) {
    plan.obstacle = "the GPU does not tell its multiprocessors and shared memory";
  } else if (plan.blocks < s.B) {
    plan.obstacle = "the GPU has fewer multiprocessors than there are lines";
  } else {
    plan.shared = layout<Storage>(s, plan.blocks).end;
    if (plan.shared + kStaticShared > static_cast<size_t>(largest))
      plan.obstacle = "the weights do not fit into the shared memory of the multiprocessors";
  }
  return plan;
}

template <class Storage>
cudaError_t beam_search_persistent_cuda(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                                        const DecodeInput& in, const Workspace<Storage>& space,
                                        const PersistentSpace& part, const PersistentPlan& plan,
                                        const DecodeOutput& out, long long patience,
                                        cudaStream_t stream) {
  KHMER_FAST_TRY(attn_gru_init_cuda(s, w, in, space, stream));
  KHMER_FAST_TRY(beam_power_cuda(s, space.power, stream));
  KHMER_FAST_TRY(cudaMemsetAsync(space.step, 0, s.B * sizeof(int), stream));
  KHMER_FAST_TRY(cudaMemsetAsync(part.arrived, 0, sizeof(unsigned), stream));
  KHMER_FAST_TRY(cudaMemsetAsync(part.gave_up, 0, sizeof(int), stream));
  if (space.attention) {
    const size_t bytes = attention_row(s, s.B, 0, 0) * s.T * sizeof(float);
    KHMER_FAST_TRY(cudaMemsetAsync(space.attention, 0, bytes, stream));
  }
  const auto kernel = in_registers(s.V) ? beam_search_persistent_kernel<Storage, kLaneTokens>
                                        : beam_search_persistent_kernel<Storage, 0>;
  KHMER_FAST_TRY(cudaMemsetAsync(space.logits, 0, sizeof(float) * s.B * s.K * s.V, stream));
  KHMER_FAST_TRY(launch_cooperative(kernel, plan.blocks, kThreads, plan.shared, stream, s, w, in,
                                    space, part, patience));
  return beam_finish_cuda(s, in, space, out, stream);
}

#define KHMER_FAST_INSTANTIATE(Storage)                                         \
  template PersistentPlan persistent_plan_cuda<Storage>(const DecodeSizes&);    \
  template cudaError_t beam_search_persistent_cuda(                             \
      const DecodeSizes&, const PackedDecoder<Storage>&, const DecodeInput&,    \
      const Workspace<Storage>&, const PersistentSpace&, const PersistentPlan&, \
      const DecodeOutput&, long long, cudaStream_t);
KHMER_FAST_INSTANTIATE(float)
KHMER_FAST_INSTANTIATE(__nv_bfloat16)
KHMER_FAST_INSTANTIATE(__half)

}  // namespace khmer_fast
