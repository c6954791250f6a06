// Products of 16-bit matrices on tensor cores (sm_80 and newer), and copies to shared memory that
// run on while the thread computes. Thin names for PTX; the emulator has functions of its own.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "cuda/device_math.cuh"

namespace khmer_fast {

#if defined(__CUDACC__)
__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}
#endif

// Four 8 x 8 matrices from shared memory: lane l points to row l % 8 of matrix l / 8, 16 bytes,
// aligned; it gets elements 2 (l % 4) and the next of row l / 4 of each.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&out)[4], const void* row) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
#else
  cuda_emulator::ldmatrix_x4(out, row);
#endif
}

// D [16, 8] += A [16, 16] B [16, 8] by one warp. Lane l holds, with g = l / 4 and c = 2 (l % 4):
//   a: A[g][c, c + 1], A[g + 8][c, c + 1], A[g][c + 8, c + 9], A[g + 8][c + 8, c + 9]
//   b: B[c, c + 1][g], B[c + 8, c + 9][g]      d: D[g][c, c + 1], D[g + 8][c, c + 1]
template <class Storage>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4],
                                             const uint32_t (&b)[2]) {
#if defined(__CUDACC__)
#define KHMER_FAST_MMA(type)                                                 \
  asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                 \
      ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                       \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
  if constexpr (std::is_same_v<Storage, __half>)
    KHMER_FAST_MMA("f16");
  else
    KHMER_FAST_MMA("bf16");
#undef KHMER_FAST_MMA
#else
  cuda_emulator::mma_m16n8k16(d, a, b,
                              [](uint16_t bits) { return to_float(std::bit_cast<Storage>(bits)); });
#endif
}

// 16 bytes from global to shared memory, both aligned to 16; zeros where not `inside` (`from` is
// not read then). Nobody sees them before the thread that copies has waited and met the reader in a
// barrier.
__device__ __forceinline__ void copy_async(void* to, const void* from, bool inside = true) {
#if defined(__CUDACC__)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(shared_address(to)), "l"(__cvta_generic_to_global(from)), "r"(inside ? 16 : 0)
               : "memory");
#else
  cuda_emulator::copy_async(to, from, !inside);
#endif
}

// Ends a group of this thread's copies.
__device__ __forceinline__ void commit_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  cuda_emulator::commit_copies();
#endif
}

// Until at most the `Pending` newest groups of this thread are under way.
template <int Pending>
__device__ __forceinline__ void wait_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#else
  cuda_emulator::wait_copies(Pending);
#endif
}

}  // namespace khmer_fast
