// Kernels that try the emulator itself. `bug` plants a mistake that it must show.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <cooperative_groups.h>

#include "launch.cuh"

using namespace khmer_fast;

enum Bug : int { kNone, kNoBarrier, kDivergent, kOutside, kUnwritten, kWrongMask, kEndless, kReuse };

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

extern "C" {

int selftest_block_sum(const float* x, float* out, int blocks, int n, int bug) {
  return launch(block_sum_kernel, blocks, 64, 0, nullptr, x, out, n, bug);
}
int selftest_reverse_twice(const float* x, float* out, int bug) {
  return launch(reverse_twice_kernel, 1, 64, 64 * sizeof(float), nullptr, x, out, bug);
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
