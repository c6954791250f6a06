// CUDA's functions on the device: barriers, warps, matrices, copies, atomics, mathematics.
#pragma once

#include "grid.h"

#define CUDA_EMULATOR_WHERE \
  const ::cuda_emulator::Location& where = ::cuda_emulator::Location::current()

inline void __syncthreads(CUDA_EMULATOR_WHERE) {
  cuda_emulator::barrier(0, 0, 0, "__syncthreads", where);
}
inline int __syncthreads_count(int predicate, CUDA_EMULATOR_WHERE) {
  return static_cast<int>(
      cuda_emulator::barrier(0, 0, predicate != 0, "__syncthreads_count", where));
}
inline int __syncthreads_or(int predicate, CUDA_EMULATOR_WHERE) {
  return cuda_emulator::barrier(0, 0, predicate != 0, "__syncthreads_or", where) != 0;
}
inline int __syncthreads_and(int predicate, CUDA_EMULATOR_WHERE) {
  return cuda_emulator::barrier(0, 0, predicate == 0, "__syncthreads_and", where) == 0;
}
inline void __barrier_sync_count(unsigned id, unsigned count, CUDA_EMULATOR_WHERE) {
  cuda_emulator::barrier(id, count, 0, "__barrier_sync_count", where);
}

inline void __syncwarp(unsigned mask = 0xffffffffu, CUDA_EMULATOR_WHERE) {
#if defined(__SANITIZE_THREAD__)
  char* address = reinterpret_cast<char*>(cuda_emulator::state.run) + 32 + threadIdx.x / 32 % 32;
  __tsan_release(address);
#endif
  cuda_emulator::warp(cuda_emulator::WarpOp::kSync, mask, 0, -1, "__syncwarp", where);
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(address);
#endif
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDA_EMULATOR_WHERE) {
  const int lane = cuda_emulator::lane_id(), first = lane / width * width;
  return cuda_emulator::from_bits<T>(
      cuda_emulator::warp(cuda_emulator::WarpOp::kShuffle, mask, cuda_emulator::to_bits(value),
                          first + (source & (width - 1)), "__shfl_sync", where));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int other, int width = 32, CUDA_EMULATOR_WHERE) {
  const int lane = cuda_emulator::lane_id(), source = lane ^ other;
  return cuda_emulator::from_bits<T>(
      cuda_emulator::warp(cuda_emulator::WarpOp::kShuffle, mask, cuda_emulator::to_bits(value),
                          source / width <= lane / width ? source : -1, "__shfl_xor_sync", where));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_EMULATOR_WHERE) {
  const int lane = cuda_emulator::lane_id(), source = lane - static_cast<int>(delta);
  return cuda_emulator::from_bits<T>(
      cuda_emulator::warp(cuda_emulator::WarpOp::kShuffle, mask, cuda_emulator::to_bits(value),
                          source >= lane / width * width ? source : -1, "__shfl_up_sync", where));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_EMULATOR_WHERE) {
  const int lane = cuda_emulator::lane_id(), source = lane + static_cast<int>(delta);
  return cuda_emulator::from_bits<T>(cuda_emulator::warp(
      cuda_emulator::WarpOp::kShuffle, mask, cuda_emulator::to_bits(value),
      source < (lane / width + 1) * width ? source : -1, "__shfl_down_sync", where));
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_EMULATOR_WHERE) {
  return static_cast<unsigned>(cuda_emulator::warp(cuda_emulator::WarpOp::kBallot, mask,
                                                   predicate != 0, -1, "__ballot_sync", where));
}
inline int __any_sync(unsigned mask, int predicate, CUDA_EMULATOR_WHERE) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CUDA_EMULATOR_WHERE) {
  return __ballot_sync(mask, predicate, where) == mask;
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value, CUDA_EMULATOR_WHERE) {
  return static_cast<unsigned>(cuda_emulator::warp(cuda_emulator::WarpOp::kMax, mask, value, -1,
                                                   "__reduce_max_sync", where));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, CUDA_EMULATOR_WHERE) {
  return static_cast<unsigned>(cuda_emulator::warp(cuda_emulator::WarpOp::kMin, mask, value, -1,
                                                   "__reduce_min_sync", where));
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value, CUDA_EMULATOR_WHERE) {
  return static_cast<unsigned>(cuda_emulator::warp(cuda_emulator::WarpOp::kAdd, mask, value, -1,
                                                   "__reduce_add_sync", where));
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, CUDA_EMULATOR_WHERE) {
  return static_cast<unsigned>(
      cuda_emulator::warp(cuda_emulator::WarpOp::kOr, mask, value, -1, "__reduce_or_sync", where));
}

namespace cuda_emulator {

// ldmatrix.sync.aligned.m8n8.x4.shared.b16 of the row of 8 elements that this lane points to.
inline void ldmatrix_x4(std::uint32_t (&out)[4], const void* row, CUDA_EMULATOR_WHERE) {
  check_aligned(row, "ldmatrix: the row is not aligned to 16 bytes", where);
  std::memcpy(out, row, sizeof out);
  warp_matrix(WarpOp::kLoadMatrix, out, nullptr, "ldmatrix", where);
}

// mma.sync.aligned.m16n8k16.row.col.f32.T.T.f32; `widen` makes a float of T's bits.
inline void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                         float (*widen)(std::uint16_t), CUDA_EMULATOR_WHERE) {
  std::uint32_t words[10];
  std::copy_n(a, 4, words);
  std::copy_n(b, 2, words + 4);
  std::memcpy(words + 6, d, sizeof d);
  warp_matrix(WarpOp::kMma, words, widen, "mma", where);
  std::memcpy(d, words + 6, sizeof d);
}

// cp.async.cg.shared.global of 16 bytes, or of zeros.
inline void copy_async(void* to, const void* from, bool zeros, CUDA_EMULATOR_WHERE) {
  check_aligned(to, "cp.async: the destination is not aligned to 16 bytes", where);
  check_aligned(from, "cp.async: the source is not aligned to 16 bytes", where);
  std::memset(to, 0xff, 16);
  state.fiber->copies.push_back({to, zeros ? nullptr : from, state.fiber->groups});
}
inline void commit_copies() { ++state.fiber->groups; }
// Until at most the `pending` newest groups are under way.
inline void wait_copies(unsigned pending) {
  Fiber& fiber = *state.fiber;
  std::erase_if(fiber.copies, [&](const Copy& copy) {
    if (copy.group + pending >= fiber.groups) return false;
    if (copy.from)
      std::memcpy(copy.to, copy.from, 16);
    else
      std::memset(copy.to, 0, 16);
    return true;
  });
}

}  // namespace cuda_emulator

inline void __nanosleep(unsigned, CUDA_EMULATOR_WHERE) {
  cuda_emulator::state.run->pause(cuda_emulator::Wait::kNothing, "__nanosleep", where);
}
inline void __threadfence(CUDA_EMULATOR_WHERE) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  cuda_emulator::state.run->maybe_yield(where);
}
inline void __threadfence_block(CUDA_EMULATOR_WHERE) { __threadfence(where); }
[[noreturn]] inline void __trap(CUDA_EMULATOR_WHERE) { cuda_emulator::fail("__trap", where); }
inline long long clock64() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

namespace cuda_emulator {
// The old value, as CUDA's atomics return it.
template <class T, class F>
T atomic_update(T* address, F next, const Location& where) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  static_assert(sizeof(Bits) == sizeof(T));
  state.run->maybe_yield(where);
  Bits* bits = reinterpret_cast<Bits*>(address);
  Bits old = __atomic_load_n(bits, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(bits, &old, std::bit_cast<Bits>(next(std::bit_cast<T>(old))),
                                      false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
  }
  return std::bit_cast<T>(old);
}
}  // namespace cuda_emulator

template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value, CUDA_EMULATOR_WHERE) {
  return cuda_emulator::atomic_update(
      address, [&](T old) { return static_cast<T>(old + value); }, where);
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value, CUDA_EMULATOR_WHERE) {
  return cuda_emulator::atomic_update(address, [&](T old) { return std::max(old, value); }, where);
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value, CUDA_EMULATOR_WHERE) {
  return cuda_emulator::atomic_update(address, [&](T old) { return std::min(old, value); }, where);
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value, CUDA_EMULATOR_WHERE) {
  return cuda_emulator::atomic_update(address, [&](T old) { return old | value; }, where);
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value, CUDA_EMULATOR_WHERE) {
  return cuda_emulator::atomic_update(address, [&](T) { return value; }, where);
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value,
            CUDA_EMULATOR_WHERE) {
  return cuda_emulator::atomic_update(
      address, [&](T old) { return old == expected ? value : old; }, where);
}

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
using std::max;
using std::min;

// ex2.approx of the rounded product: its error grows with |x| as on the device.
inline float __expf(float x) { return exp2f(x * 1.44269504088896341f); }
inline float __logf(float x) { return log2f(x) * 0.693147180559945309f; }
// div.approx: 0 for divisors above 2^126, NaN where the dividend is infinite too.
inline float __fdividef(float x, float y) {
  if (std::fabs(y) > 0x1p126f && std::fabs(y) < INFINITY) return std::isinf(x) ? NAN : 0.0f * x;
  return x * (1.0f / y);
}
namespace cuda_emulator {
inline float rcp_approx_ftz(float x) {
  if (std::fabs(x) < 0x1p-126f) return std::copysign(INFINITY, x);
  const float y = 1.0f / x;
  return std::fabs(y) < 0x1p-126f ? std::copysign(0.0f, x) : y;
}
}  // namespace cuda_emulator
inline float __frcp_rn(float x) { return 1.0f / x; }
