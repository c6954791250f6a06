// Additive attention and context of the parents of a step, in the order of
// python_ref/attn_gru_step.py. The times are derived, not measured, as in attn_gru_step_cuda.cu.
#include "cuda/decoder_cuda.h"
#include "cuda/device_math.cuh"
#include "cuda/launch.cuh"
#include "energy_form.h"

namespace khmer_fast {
namespace {

constexpr int kSpread = 16;  // lanes over the elements of one position's energy
constexpr int kParts = 8;    // of a context's sum over t

constexpr int kTogether = 4;    // parents of a line that share the reading of P and memory
constexpr int kManyRows = 512;  // N from which on there are more of them than multiprocessors
constexpr int kFewRows = 32;    // N up to which multiprocessors are idle: blocks share a context
constexpr int kShares = 4;
template <int Parents>
constexpr int kAttendThreads = Parents == 1 ? 512 : 256;
// Rows of memory that a thread has under way: 16 of 16 bytes are those of a line of 128 positions,
// in 64 registers; with the sums of four parents half as many, which leaves room for two blocks.
template <class Storage, int Parents, int Ahead>
constexpr int kRowsAhead = Ahead == 4                           ? 4
                           : Parents > 1 || sizeof(Storage) > 2 ? 8
                                                                : Ahead;

// energy [n, T] of n parents of one line: P and Q [n, Ap] hold exp(2 key), exp(2 q), or key, q in
// the tanh form. 16 lanes a position, 8 elements a lane; each takes as many positions at once as
// keep 32 to 64 bytes of P under way, and asks for the next elements before it computes with these.
template <EnergyForm form, int n, class P_t>
__device__ __forceinline__ void energies(const P_t* P, const float* Q, const float* u, int Ap,
                                         int length, int T, float* energy) {
  constexpr int kAhead = n == 1 && sizeof(P_t) == 2 ? 4 : 2, kStride = 8 * kSpread;
  const int lane = threadIdx.x % kSpread, groups = blockDim.x / kSpread;
  // Both halves of a warp go round equally often.
  for (int t0 = 0; t0 < length; t0 += kAhead * groups) {
    const int first = t0 + static_cast<int>(threadIdx.x) / kSpread;
    Real sum[kAhead][n];
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
#pragma unroll
      for (int r = 0; r < n; ++r) sum[i][r] = 0.0f;
    Eight<P_t> next[kAhead];
    const auto ask = [&](int a) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i)
        next[i] = load_raw(P + static_cast<size_t>(min(first + i * groups, length - 1)) * Ap + a);
    };
    ask(min(8 * lane, Ap - 8));
    for (int a = 8 * lane; a < Ap; a += kStride) {
      float p[kAhead][8], v[8];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) widen(next[i], p[i]);
      ask(a + kStride < Ap ? a + kStride : a);
      load_eight(u + a, v);
#pragma unroll
      for (int r = 0; r < n; ++r) {
        float q[8];
        load_eight(Q + r * Ap + a, q);
#pragma unroll
        for (int i = 0; i < kAhead; ++i)
#pragma unroll
          for (int c = 0; c < 8; c += 2) {
            Real& x = sum[i][r];
            const Real p0 = p[i][c], p1 = p[i][c + 1];
            if constexpr (form == EnergyForm::kPaired) {
              x = energy_paired(x, p0, Real(q[c]), Real(v[c]), p1, Real(q[c + 1]), Real(v[c + 1]));
            } else if constexpr (form == EnergyForm::kFactored) {
              x = energy_factored(x, p0, Real(q[c]), Real(v[c]));
              x = energy_factored(x, p1, Real(q[c + 1]), Real(v[c + 1]));
            } else {
              x = energy_tanh(x, p0, Real(q[c]), Real(v[c]));
              x = energy_tanh(x, p1, Real(q[c + 1]), Real(v[c + 1]));
            }
          }
      }
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
#pragma unroll
      for (int r = 0; r < n; ++r) {
        float total = sum[i][r].value;
#pragma unroll
        for (int half = kSpread / 2; half > 0; half /= 2)
          total += __shfl_xor_sync(kAllLanes, total, half);
        if (lane == 0 && first + i * groups < length) energy[r * T + first + i * groups] = total;
      }
  }
}

// Calls work(n) with n = count as a constant, 1 to Most.
template <int Most, class Work>
__device__ __forceinline__ void with_count(int count, Work work) {
  if constexpr (Most > 1)
    if (count < Most) return with_count<Most - 1>(count, work);
  work(std::integral_constant<int, Most>{});
}

// softmax of x [length] in place, by one warp; returns the position of the largest weight, the
// first of equals, or one of NaN
__device__ __forceinline__ int softmax(float* x, int length) {
  const int lane = threadIdx.x % 32;
  float top = -INFINITY, sum = 0;
  for (int t = lane; t < length; t += 32) top = fmaxf(top, x[t]);
  top = warp_max(top);
  for (int t = lane; t < length; t += 32) {
    x[t] = expf(x[t] - top);
    sum += x[t];
  }
  const float scale = 1.0f / warp_sum(sum);
  unsigned largest = 0, place = lane;  // weights are not negative: their bits are in their order
  for (int t = lane; t < length; t += 32) {
    x[t] *= scale;
    if (absolute_bits(x[t]) > largest) largest = absolute_bits(x[t]), place = t;
  }
  const unsigned most = __reduce_max_sync(kAllLanes, largest);
  return static_cast<int>(__reduce_min_sync(kAllLanes, largest == most ? place : ~0u));
}

// A context is the sum of memory's rows with the attention weights: part i of kParts sums t = i,
// i + kParts, ...; the parts lie in neighbouring lanes, 8 elements each, and are added in pairs.
// `Ahead` rows of a part are under way at once.
template <int Ahead, class Storage>
struct RowsAhead {
  Eight<Storage> m[Ahead];

  // memory points to the 8 elements of position 0
  __device__ __forceinline__ void load(const Storage* memory, int Ep, int t, int length) {
#pragma unroll
    for (int i = 0; i < Ahead; ++i)
      m[i] = load_raw(memory + static_cast<size_t>(min(t + i * kParts, length - 1)) * Ep);
  }
  // weight [n, T]
  template <int n>
  __device__ __forceinline__ void add(const float* weight, int T, int t, int length,
                                      float (&sum)[n][8]) const {
#pragma unroll
    for (int i = 0; i < Ahead; ++i) {
      if (t + i * kParts >= length) continue;
      float x[8];
      widen(m[i], x);
#pragma unroll
      for (int r = 0; r < n; ++r)
#pragma unroll
        for (int c = 0; c < 8; ++c)
          sum[r][c] = fmaf(weight[r * T + t + i * kParts], x[c], sum[r][c]);
    }
  }
};

// The elements of a context that a block computes, 8 a lane of each part: the blocks of the grid's
// y have equal shares.
struct Share {
  int begin, end;  // of items: kParts for 8 elements
};
__device__ __forceinline__ Share share_of(int Ep) {
  const int eights = Ep / 8, each = (eights + gridDim.y - 1) / gridDim.y;
  return {min(static_cast<int>(blockIdx.y) * each, eights) * kParts,
          min((static_cast<int>(blockIdx.y) + 1) * each, eights) * kParts};
}

// context[row[r]] [Ep] of n parents from weight [n, T]. `rows` has loaded the first rows of item
// share.begin + threadIdx.x.
template <int n, int Ahead, class Storage>
__device__ __forceinline__ void contexts(RowsAhead<Ahead, Storage>& rows, const Share& share,
                                         const Storage* memory, const float* weight, int length,
                                         int T, int Ep, const int* row, Storage* context) {
  const int part = threadIdx.x % kParts;
  for (int i0 = share.begin; i0 < share.end; i0 += blockDim.x) {
    const int i = i0 + static_cast<int>(threadIdx.x), e = min(i / kParts * 8, Ep - 8);
    float sum[n][8] = {};
    if (i0 > share.begin) rows.load(memory + e, Ep, part, length);
    for (int t = part;;) {
      rows.template add<n>(weight, T, t, length, sum);
      t += kParts * Ahead;
      if (t - part >= length) break;  // the whole block
      rows.load(memory + e, Ep, t, length);
    }
#pragma unroll
    for (int r = 0; r < n; ++r)
#pragma unroll
      for (int c = 0; c < 8; ++c) {
#pragma unroll
        for (int step = 1; step < kParts; step *= 2)
          sum[r][c] += __shfl_xor_sync(kAllLanes, sum[r][c], step);
      }
    if (part != 0 || i >= share.end) continue;
#pragma unroll
    for (int r = 0; r < n; ++r) store_eight(context + static_cast<size_t>(row[r]) * Ep + e, sum[r]);
  }
}

// 2. additive attention and 3. context; a block for up to `Parents` parents of a line; shared: Q
// [Parents, Ap], energy [Parents, T].
// 3.6 / 4.7 / 20 us: counts, parents, query and exp, 1.0; a first read of P 0.3, then 32,768 pairs
// of 12 instructions each in four schedulers, 1.7, while the rest of its 128 KiB comes, 1.1. The
// softmax, 0.3, while the first rows of memory come; their sum 0.3. B = 32: all of memory in one
// block, 1.1 more. B = 256: P and memory once a line from HBM, 67 MB, 16; special functions 5.4 and
// 9 to 12 instructions a pair, 7, lie under it. Of one parent, one block a multiprocessor: for two
// of 512 threads the compiler would spill.
template <class Storage, int Parents, int Ahead>
__global__ void __launch_bounds__(kAttendThreads<Parents>, Parents == 1)
    attend_kernel(DecodeSizes s, PackedDecoder<Storage> w, DecodeInput in,
                  Workspace<Storage> space) {
  wait_for_the_kernels_before();
  constexpr int kWarps = kAttendThreads<Parents> / 32;
  const int N = s.seats * s.K, now = *space.clock & 1;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (static_cast<int>(blockIdx.x) >= space.counts[2 * now]) return;
  const int own = space.parents[now * N + blockIdx.x], seat = own / s.K, b = space.line[seat];
  __shared__ int row[Parents];
  __shared__ unsigned scratch[Parents][kWarps];
  int count = 1;
  if constexpr (Parents == 1) {
    if (threadIdx.x == 0) row[0] = own;
  } else {
    // The parents among the 32 slots around this one; every Parents-th takes those up to the next.
    const int slot = own % s.K % 32, first = own - slot;
    unsigned mask = 0;
    for (int k = lane; k < s.K; k += 32) {
      const int parent = space.state_row[seat * s.K + k] - first;
      if (parent >= 0 && parent < 32) mask |= 1u << parent;
    }
    mask = __reduce_or_sync(kAllLanes, mask);
    const int rank = __popc(mask & ((1u << slot) - 1));
    if (rank % Parents != 0) return;
    count = min(__popc(mask) - rank, Parents);
    const int place = __popc(mask & ((1u << lane) - 1)) - rank;
    if (warp == 0 && (mask >> lane & 1) && place >= 0 && place < Parents) row[place] = first + lane;
  }
  __syncthreads();
  const int length = static_cast<int>(in.length[b]);
  if (length == 0) {
    for (int r = 0; r < count; ++r)
      for (int e = threadIdx.x; e < s.Ep; e += blockDim.x)
        space.context[static_cast<size_t>(row[r]) * s.Ep + e] = from_float<Storage>(NAN);
    return;
  }
  float* Q = dynamic_shared<float>();
  float* energy = Q + Parents * s.Ap;

  // The largest |q| chooses the form; as bits, NaN is the largest of all and fails the guards.
  const auto query = [&](int r) {
    return space.hidden + static_cast<size_t>(row[r]) * (s.A + 3 * s.H);
  };
  for (int r = 0; r < count; ++r) {
    unsigned largest = 0;
    for (int a = threadIdx.x; a < s.A; a += blockDim.x)
      largest = max(largest, absolute_bits(query(r)[a]));
    largest = __reduce_max_sync(kAllLanes, largest);
    if (lane == 0) scratch[r][warp] = largest;
  }
  __syncthreads();
  const auto form = [&](int r) {
    unsigned largest = scratch[r][0];
#pragma unroll
    for (int i = 1; i < kWarps; ++i) largest = max(largest, scratch[r][i]);
    return energy_form(__uint_as_float(space.max_p[b]), __uint_as_float(largest));
  };
  bool paired = true;
  for (int r = 0; r < count; ++r) {
    const bool plain = form(r) == EnergyForm::kTanh;
    paired = paired && form(r) == EnergyForm::kPaired;
    for (int a = threadIdx.x; a < s.Ap; a += blockDim.x) {
      const float q = a < s.A ? query(r)[a] : 0.0f;
      Q[r * s.Ap + a] = plain ? q : expf(2.0f * q);
    }
  }
  __syncthreads();

  const size_t line = static_cast<size_t>(b) * s.T;
  const Factor<Storage>* P = space.P + line * s.Ap;
  if (paired) {
    with_count<Parents>(count, [&](auto n) {
      energies<EnergyForm::kPaired, n.value>(P, Q, w.u, s.Ap, length, s.T, energy);
    });
  } else {
    for (int r = 0; r < count; ++r) {  // each in its own form
      const float* Q_r = Q + r * s.Ap;
      float* out = energy + r * s.T;
      if (form(r) == EnergyForm::kPaired)
        energies<EnergyForm::kPaired, 1>(P, Q_r, w.u, s.Ap, length, s.T, out);
      else if (form(r) == EnergyForm::kFactored)
        energies<EnergyForm::kFactored, 1>(P, Q_r, w.u, s.Ap, length, s.T, out);
      else
        energies<EnergyForm::kTanh, 1>(space.key + line * s.Ap, Q_r, w.u, s.Ap, length, s.T, out);
    }
  }
  __syncthreads();

  // What the context reads first is under way while one warp a parent does the softmax.
  const Storage* memory = space.memory + line * s.Ep;
  const Share share = share_of(s.Ep);
  RowsAhead<kRowsAhead<Storage, Parents, Ahead>, Storage> rows;
  rows.load(memory + min((share.begin + static_cast<int>(threadIdx.x)) / kParts * 8, s.Ep - 8),
            s.Ep, threadIdx.x % kParts, length);
  if (warp < count) {
    const int position = softmax(energy + warp * s.T, length);
    if (space.position && lane == 0 && blockIdx.y == 0) space.position[row[warp]] = position;
  }
  __syncthreads();

  if (space.attention && blockIdx.y == 0)
    for (int r = 0; r < count; ++r)
      for (int t = threadIdx.x; t < length; t += blockDim.x)
        space.attention[attention_row(s, b, space.step[b], row[r] % s.K) * s.T + t] =
            energy[r * s.T + t];
  with_count<Parents>(count, [&](auto n) {
    contexts<n.value>(rows, share, memory, energy, length, s.T, s.Ep, row, space.context);
  });
}

template <int Ahead, class Storage>
cudaError_t launch_attend(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                          const DecodeInput& in, const Workspace<Storage>& space,
                          cudaStream_t stream) {
  const int N = s.seats * s.K;
  const size_t shared = (static_cast<size_t>(s.Ap) + s.T) * sizeof(float);
  if (N >= kManyRows && kTogether * shared <= kPlainShared)
    return launch_step(s.variants.early, attend_kernel<Storage, kTogether, Ahead>, N,
                       kAttendThreads<kTogether>, kTogether * shared, stream, s, w, in, space);
  return launch_step(s.variants.early, attend_kernel<Storage, 1, Ahead>,
                     dim3(N, N <= kFewRows ? kShares : 1), kAttendThreads<1>, shared, stream, s, w,
                     in, space);
}

}  // namespace

template <class Storage>
cudaError_t attend_cuda(const DecodeSizes& s, const PackedDecoder<Storage>& w,
                        const DecodeInput& in, const Workspace<Storage>& space,
                        cudaStream_t stream) {
  if constexpr (sizeof(Storage) == 2)
    if (s.variants.rows_ahead == 4) return launch_attend<4>(s, w, in, space, stream);
  return launch_attend<16>(s, w, in, space, stream);
}

cudaError_t longest_line_cuda(const DecodeSizes& s, int64_t* positions) {
  int device = 0;
  size_t bytes = 0;
  KHMER_FAST_TRY(cudaGetDevice(&device));
  KHMER_FAST_TRY(shared_of_device(device, &bytes));
  *positions = static_cast<int64_t>((bytes - kStaticShared) / sizeof(float)) - s.Ap;
  return cudaSuccess;
}

#define KHMER_FAST_INSTANTIATE(Storage)                                               \
  template cudaError_t attend_cuda(const DecodeSizes&, const PackedDecoder<Storage>&, \
                                   const DecodeInput&, const Workspace<Storage>&, cudaStream_t);
KHMER_FAST_INSTANTIATE(float)
KHMER_FAST_INSTANTIATE(__nv_bfloat16)
KHMER_FAST_INSTANTIATE(__half)

}  // namespace khmer_fast
