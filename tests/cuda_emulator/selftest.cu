// Kernels that try the emulator itself. `bug` plants a mistake that it must show.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <cooperative_groups.h>

#include "launch.cuh"
#include "mma.cuh"

using namespace khmer_fast;

enum Bug : int {
  kNone,
  kNoBarrier,
  kDivergent,
  kOutside,
  kUnwritten,
  kWrongMask,
  kEndless,
  kReuse,
  kNoWait,
  kWrongRow,
  kWrongFragment,
  kMisaligned
};

// out[block] = sum of x[block * n, n) by a tree in static shared memory.
__global__ void block_sum_kernel(const float* x, float* out, int n, int bug) {
  __shared__ float part[64];
  const int t = static_cast<int>(threadIdx.x);
  float sum = 0;
  for (int i = t; i < n + (bug == kOutside ? 1 : 0); i += 64) sum += x[blockIdx.x * n + i];
  part[t] = sum;
  if (bug == kDivergent && t == 63) return __syncwarp();
  if (bug != kNoBarrier) __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    if (t < half) part[t] += part[t + half];
    __syncthreads();
  }
  if (t == 0 && bug != kUnwritten) out[blockIdx.x] = part[0];
}

// out[t] = x[63 - t], twice through one buffer; without the second barrier it is overwritten early.
__global__ void reverse_twice_kernel(const float* x, float* out, int bug) {
  float* buffer = dynamic_shared<float>();
  const int t = static_cast<int>(threadIdx.x);
  float value = x[t];
  for (int round = 0; round < 3; ++round) {
    buffer[t] = value;
    __syncthreads();
    value = buffer[63 - t];
    if (bug != kReuse) __syncthreads();
  }
  if (bug == kOutside) buffer[64 + t] = 0;
  out[t] = value;
}

// Every warp function, against values that the host knows.
__global__ void warp_kernel(int* out, int bug) {
  const unsigned all = 0xffffffffu;
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  int sum = lane;
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(all, sum, step);
  out[t * 8 + 0] = sum;
  out[t * 8 + 1] = __shfl_up_sync(all, t, 3);
  out[t * 8 + 2] = __shfl_down_sync(all, t, 5, 8);
  out[t * 8 + 3] = __shfl_sync(all, t, 9, 8);
  out[t * 8 + 4] = static_cast<int>(__ballot_sync(all, lane % 3 == 0));
  if (lane < 16)
    out[t * 8 + 5] = __shfl_sync(bug == kWrongMask ? all : 0x0000ffffu, t, 15);
  else
    out[t * 8 + 5] = __shfl_sync(0xffff0000u, t, 16);
  __syncwarp();
  out[t * 8 + 6] = static_cast<int>(__reduce_max_sync(all, static_cast<unsigned>(t * 7 % 61)));
  out[t * 8 + 7] = __any_sync(all, lane == 31) + 2 * __all_sync(all, lane < 31);
}

// A counter that all blocks share, and a barrier over the grid by hand.
__global__ void grid_kernel(int* count, int* seen, int bug) {
  if (threadIdx.x == 0) {
    atomicAdd(count, 1);
    const int wanted = static_cast<int>(gridDim.x) + (bug == kEndless ? 1 : 0);
    while (atomicAdd(count, 0) < wanted) __nanosleep(20);
  }
  __syncthreads();
  cooperative_groups::this_grid().sync();
  seen[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(count, 0);
}

__global__ void convert_kernel(const float* x, float* bf16, float* half, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  bf16[i] = __bfloat162float(__float2bfloat16(x[i]));
  half[i] = __half2float(__float2half(x[i]));
}

// out[t] = the sum over the rounds of x[round][63 - t], through two stages of asynchronous copies.
__global__ void pipeline_kernel(const float* x, float* out, int rounds, int bug) {
  float* stages = dynamic_shared<float>();
  const int t = static_cast<int>(threadIdx.x);
  const auto fill = [&](int round) {
    const int shift = bug == kMisaligned ? 2 : 0;
    if (t < 16 && round < rounds)
      copy_async(stages + round % 2 * 64 + t * 4, x + round * 64 + t * 4 + shift);
    commit_copies();
  };
  fill(0);
  fill(1);
  float sum = 0;
  for (int round = 0; round < rounds; ++round) {
    if (bug != kNoWait) wait_copies<1>();
    if (bug != kNoBarrier) __syncthreads();
    sum += stages[round % 2 * 64 + 63 - t];
    if (bug != kReuse) __syncthreads();
    fill(round + 2);
  }
  out[t] = sum;
}

// D [16, 16] = A [16, 16] B^T of B [16, 16]: `words` fills the fragments as the PTX manual lists
// them, else ldmatrix does.
template <class Storage>
__global__ void matrix_kernel(const Storage* A, const Storage* B, float* D, bool words, int bug) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, c = lane % 4 * 2;
  uint32_t a[4], b[2][2];
  if (words) {
    const auto pair = [](const Storage* x) { return *reinterpret_cast<const uint32_t*>(x); };
    for (int i = 0; i < 4; ++i) a[i] = pair(A + (g + i % 2 * 8) * 16 + c + i / 2 * 8);
    for (int n = 0; n < 2; ++n)
      for (int i = 0; i < 2; ++i) b[n][i] = pair(B + (n * 8 + g) * 16 + c + i * 8);
  } else {
    __shared__ __align__(16) Storage rows[2][16][16];
    for (int i = lane; i < 64; i += 32)
      copy_async(&rows[i / 32][i % 32 / 2][i % 2 * 8], (i < 32 ? A : B) + i % 32 * 8);
    commit_copies();
    wait_copies<0>();
    __syncwarp();
    const int low = lane % 16, high = lane / 16, shift = bug == kWrongRow;
    uint32_t both[4];
    ldmatrix_x4(a, &rows[0][(low + shift) % 16][high * 8]);
    ldmatrix_x4(both, &rows[1][high * 8 + lane % 8][lane / 8 % 2 * 8]);
    for (int i = 0; i < 4; ++i) b[i / 2][i % 2] = both[i];
  }
  if (bug == kWrongFragment) {
    const uint32_t other = a[1];
    a[1] = a[2];
    a[2] = other;
  }
  for (int n = 0; n < 2; ++n) {
    float d[4] = {};
    mma_m16n8k16<Storage>(d, a, b[n]);
    for (int i = 0; i < 4; ++i) D[(g + i / 2 * 8) * 16 + n * 8 + c + i % 2] = d[i];
  }
}

extern "C" {

int selftest_pipeline(const float* x, float* out, int rounds, int bug) {
  return launch(pipeline_kernel, 1, 64, 128 * sizeof(float), nullptr, x, out, rounds, bug);
}
int selftest_matrix(const void* A, const void* B, float* D, bool half, bool words, int bug) {
  if (half)
    return launch(matrix_kernel<__half>, 1, 32, 0, nullptr, static_cast<const __half*>(A),
                  static_cast<const __half*>(B), D, words, bug);
  return launch(matrix_kernel<__nv_bfloat16>, 1, 32, 0, nullptr,
                static_cast<const __nv_bfloat16*>(A), static_cast<const __nv_bfloat16*>(B), D,
                words, bug);
}
int selftest_block_sum(const float* x, float* out, int blocks, int n, int bug) {
  return launch(block_sum_kernel, blocks, 64, 0, nullptr, x, out, n, bug);
}
int selftest_reverse_twice(const float* x, float* out, int bug) {
  return launch(reverse_twice_kernel, 1, 64, 64 * sizeof(float), nullptr, x, out, bug);
}
// With `bytes` of shared memory where 256 would do.
int selftest_shared(const float* x, float* out, int bytes) {
  return launch(reverse_twice_kernel, 1, 64, static_cast<size_t>(bytes), nullptr, x, out, 0);
}
int selftest_warp(int* out, int bug) { return launch(warp_kernel, 1, 64, 0, nullptr, out, bug); }
int selftest_grid(int* count, int* seen, int blocks, int bug) {
  cudaLaunchAttribute together{};
  together.id = cudaLaunchAttributeCooperative;
  together.val.cooperative = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = static_cast<unsigned>(blocks);
  config.blockDim = 32;
  config.attrs = &together;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, grid_kernel, count, seen, bug);
}
int selftest_convert(const float* x, float* bf16, float* half, int n) {
  return launch(convert_kernel, (n + 63) / 64, 64, 0, nullptr, x, bf16, half, n);
}
}
