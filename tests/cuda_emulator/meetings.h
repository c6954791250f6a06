// Where blocks meet: the barrier of a grid, and the wait of a launch that began early.
#pragma once

#include "fibers.h"

namespace cuda_emulator {

// The grid-wide barrier of a cooperative launch, and the flag that ends all blocks when one failed.
class Grid {
 public:
  explicit Grid(std::size_t blocks) : blocks_(blocks) {}
  // False: another block failed, or did not come in time.
  bool arrive_and_wait() {
    std::unique_lock lock(mutex_);
    const std::uint64_t mine = generation_;
    if (++arrived_ == blocks_) {
      arrived_ = 0;
      ++generation_;
      condition_.notify_all();
      return true;
    }
    const auto limit = std::chrono::duration<double>(options().patience);
    return condition_.wait_for(lock, limit, [&] { return generation_ != mine || failed; }) &&
           generation_ != mine;
  }
  void fail(const std::string& text) {
    std::lock_guard lock(mutex_);
    if (!failed) report() = text;
    failed = true;
    condition_.notify_all();
  }
  std::atomic<bool> failed{false};

 private:
  const std::size_t blocks_;
  std::size_t arrived_ = 0;
  std::uint64_t generation_ = 0;
  std::mutex mutex_;
  std::condition_variable condition_;
};

// A launch that began before the ones before it ran: its blocks come to griddepcontrol.wait, and go
// on when it is released.
class EarlyLaunch {
 public:
  explicit EarlyLaunch(std::size_t blocks) : grid(blocks), blocks_(blocks) {}
  // Of a block none of whose threads can go on before, or that has ended.
  void arrive(bool wait) {
    std::unique_lock lock(mutex_);
    ++arrived_;
    condition_.notify_all();
    if (wait) condition_.wait(lock, [&] { return released_; });
  }
  void wait_for_the_blocks() {
    std::unique_lock lock(mutex_);
    condition_.wait(lock, [&] { return arrived_ >= blocks_; });
  }
  cudaError_t release_and_join() {
    {
      const std::lock_guard lock(mutex_);
      released_ = true;
      condition_.notify_all();
    }
    for (std::thread& thread : threads) thread.join();
    return grid.failed ? cudaErrorLaunchFailure : cudaSuccess;
  }
  Grid grid;
  std::vector<std::thread> threads;

 private:
  const std::size_t blocks_;
  std::size_t arrived_ = 0;
  bool released_ = false;
  std::mutex mutex_;
  std::condition_variable condition_;
};

}  // namespace cuda_emulator
