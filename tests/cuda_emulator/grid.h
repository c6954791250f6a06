// A grid of blocks, and what a fiber asks its block for.
#pragma once

#include <atomic>

#include "block.h"

namespace cuda_emulator {

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(state.run->shared());
}

CUDA_EMULATOR_UNSEEN inline unsigned barrier(unsigned id, unsigned expected, unsigned vote,
                                             const char* what, const Location& where) {
  BlockRun* run = state.run;
  Fiber* fiber = state.fiber;
  fiber->barrier = id;
  fiber->expected = expected;
  fiber->vote = vote;
#if defined(__SANITIZE_THREAD__)
  __tsan_release(reinterpret_cast<char*>(run) + 1 + id);
#endif
  run->pause(Wait::kBarrier, what, where);
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(reinterpret_cast<char*>(run) + 1 + id);
#endif
  return fiber->vote;
}

CUDA_EMULATOR_UNSEEN inline int lane_id() {
  return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) %
                          32);
}

[[noreturn]] inline void fail(const char* what, const Location& where) {
  state.run->pause(Wait::kError, what, where);
  std::abort();
}

CUDA_EMULATOR_UNSEEN inline std::uint64_t warp(WarpOp op, unsigned mask, std::uint64_t value,
                                               int source, const char* what,
                                               const Location& where) {
  Fiber* fiber = state.fiber;
  if (!(mask >> lane_id() & 1)) fail("the mask does not name the calling lane", where);
  fiber->op = op;
  fiber->mask = mask;
  fiber->value = value;
  fiber->source = source;
  fiber->words = nullptr;
  state.run->pause(Wait::kWarp, what, where);
  return fiber->value;
}

// Of a whole warp, as the matrix functions are.
CUDA_EMULATOR_UNSEEN inline void warp_matrix(WarpOp op, std::uint32_t* words,
                                             float (*widen)(std::uint16_t), const char* what,
                                             const Location& where) {
  Fiber* fiber = state.fiber;
  fiber->op = op;
  fiber->mask = 0xffffffffu;
  fiber->words = words;
  fiber->widen = widen;
  state.run->pause(Wait::kWarp, what, where);
}

inline void check_aligned(const void* pointer, const char* what, const Location& where) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0) fail(what, where);
}

template <class T>
std::uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline void launch_dependents_and_wait(const Location& where = Location::current()) {
  if (state.run->early) state.run->pause(Wait::kLaunch, "griddepcontrol.wait", where);
}

// What runs block i of a launch.
struct Launch {
  std::function<void()> body;
  dim3 grid_dim, block_dim;
  std::size_t shared;
  std::uint64_t number = ++launches();

  std::size_t blocks() const { return std::size_t{grid_dim.x} * grid_dim.y * grid_dim.z; }
  std::size_t block_threads() const { return std::size_t{block_dim.x} * block_dim.y * block_dim.z; }
  void run_block(std::size_t i, Grid& grid, EarlyLaunch* early) const {
    const unsigned b = static_cast<unsigned>(i);
    const uint3 index{b % grid_dim.x, b / grid_dim.x % grid_dim.y, b / grid_dim.x / grid_dim.y};
    const std::uint64_t seed = options().seed * 0x100000001b3u + number * 0x10001 + i;
    try {
      BlockRun(body, grid_dim, block_dim, index, shared, seed, grid, early).run();
    } catch (const std::runtime_error& error) {
      grid.fail(error.what());
    } catch (const std::bad_alloc&) {
      grid.fail("no memory for the stacks of a block");
    }
  }
};

// Launches that have begun and were not released, in their order; on this thread of the host.
inline std::deque<std::unique_ptr<EarlyLaunch>>& early_launches() {
  static std::mutex mutex;  // not thread_local: those variables are a block's shared memory
  static std::map<std::thread::id, std::deque<std::unique_ptr<EarlyLaunch>>> all;
  const std::lock_guard lock(mutex);
  return all[std::this_thread::get_id()];
}
// Lets the oldest ones run to their end until `left` are left.
inline cudaError_t end_early_launches(std::size_t left = 0) {
  cudaError_t error = cudaSuccess;
  while (early_launches().size() > left) {
    const cudaError_t own = early_launches().front()->release_and_join();
    if (error == cudaSuccess) error = own;
    early_launches().pop_front();
  }
  return error;
}

// As programmatic dependent launch may have it at worst: a launch comes to its wait before the ones
// before it, up to kEarly of them, have done anything behind theirs.
constexpr std::size_t kEarly = 3;
inline cudaError_t start_early(Launch launch) {
  if (const cudaError_t error = end_early_launches(kEarly)) return error;
  auto early = std::make_unique<EarlyLaunch>(launch.blocks());
  for (std::size_t i = 0; i < launch.blocks(); ++i)
    early->threads.emplace_back(
        [launch, i, own = early.get()] { launch.run_block(i, own->grid, own); });
  early->wait_for_the_blocks();
  early_launches().push_back(std::move(early));
  return cudaSuccess;
}

// How the blocks of a launch run: one after the other, several at once, or all at once since they
// wait for each other.
enum class Blocks { kInTurn, kSeveral, kAll };

// The stack of a fiber is two areas of the process's memory, of which Linux allows 65,530: where
// blocks need not be there together, no more of them than this many fibers.
constexpr std::size_t kMostFibers = 8192;

inline cudaError_t run_grid(const Launch& launch, Blocks how) {
  const std::size_t count = launch.blocks();
  Grid grid(count);
  const auto run_block = [&](std::size_t i) { launch.run_block(i, grid, nullptr); };
  if (how != Blocks::kInTurn) {
    const std::size_t fit = std::max<std::size_t>(1, kMostFibers / launch.block_threads());
    std::atomic<std::size_t> next{0};
    const auto run_blocks = [&] {
      for (std::size_t i; (i = next++) < count;) run_block(i);
    };
    std::vector<std::thread> threads(how == Blocks::kAll ? count : std::min(count, fit));
    for (std::thread& thread : threads) thread = std::thread(run_blocks);
    for (std::thread& thread : threads) thread.join();
  } else {
    // Any order of blocks is legal: a stride coprime to their number, from a start by the seed.
    std::size_t stride = options().seed * 7919 % count + 1;
    while (std::gcd(stride, count) != 1) ++stride;
    for (std::size_t i = 0; i < count && !grid.failed; ++i)
      run_block((options().seed + i * stride) % count);
  }
  return grid.failed ? cudaErrorLaunchFailure : cudaSuccess;
}

}  // namespace cuda_emulator
