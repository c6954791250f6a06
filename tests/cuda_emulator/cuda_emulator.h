// Runs CUDA kernels without a GPU: g++ -std=c++20 compiles the same .cu source that nvcc does.
//
//   g++ -std=c++20 -x c++ -Itests/cuda_emulator -Icsrc -Icsrc/cuda kernel.cu -pthread
//
// A CUDA thread is a fiber. The blocks of a launch run one after another on the calling OS thread, or
// all at once on one OS thread each when the launch is cooperative or options().parallel is set.
// Fibers change only where threads can wait (barriers, warp functions, atomics, fences, __nanosleep),
// each time to a fiber drawn from a seeded generator. What a test can see by that:
//
//   a missing barrier      shared memory is NaN until written, and other orders give other results;
//                          under -fsanitize=thread each fiber is a thread to the sanitizer, which
//                          knows only the barriers of the source, and so finds the race itself
//   a divergent barrier    threads that meet in different lines, or wait for one that never comes:
//                          the launch returns cudaErrorLaunchFailure, and report() tells who waits where
//   a wrong index          dynamic shared memory and cudaMalloc end at a page without access
//   an unwritten output    cudaMalloc gives NaN
//   a missing cp.async     what a copy writes to is NaN from its issue to its thread's wait, so that
//   wait, or one copy      both who reads too early and who still reads what was there see NaN
//   into what is read
//
// It cannot see memory order between blocks, occupancy, or the rounding of the real approximations.
#pragma once

#include <dlfcn.h>
#include <link.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <source_location>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define CUDA_EMULATOR_UNSEEN __attribute__((noinline, no_sanitize_thread))
#else
#define CUDA_EMULATOR_UNSEEN
#endif
#if !defined(__x86_64__) && !defined(CUDA_EMULATOR_UCONTEXT)
#define CUDA_EMULATOR_UCONTEXT
#endif
#if defined(CUDA_EMULATOR_UCONTEXT)
#include <ucontext.h>
#endif

#define CUDA_EMULATOR 1
#ifndef CUDART_VERSION
#define CUDART_VERSION 13000
#endif
#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static thread_local  // one OS thread runs one block at a time
constexpr int warpSize = 32;

struct uint3 { unsigned x, y, z; };
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) int4 { int x, y, z, w; };
inline constinit thread_local uint3 threadIdx{}, blockIdx{};
inline constinit thread_local dim3 blockDim{}, gridDim{};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorNotReady = 600,
  cudaErrorLaunchTimeout = 702,
  cudaErrorLaunchFailure = 719,
};

namespace cuda_emulator {

using Location = std::source_location;

struct Options {
  std::uint64_t seed = 1;
  bool parallel = false;           // blocks of every launch at once, as in a cooperative one
  std::size_t stack_bytes = 128 << 10;
  double patience = 20;            // seconds that a block may wait for other blocks
  int driver = 13000;              // what cudaDriverGetVersion gives
  int multiprocessors = 3;
  int shared = 163 << 10;          // bytes a block may ask for, as on sm_80
};
inline Options& options() { static Options instance; return instance; }

inline std::string& report() { static std::string text; return text; }  // of the last failed launch
inline std::uint64_t& launches() { static std::uint64_t count = 0; return count; }

// What a fiber asks for before it lets others run.
enum class Wait : std::uint8_t { kNothing, kBarrier, kWarp, kDone, kError };
enum class WarpOp : std::uint8_t { kSync, kShuffle, kBallot, kMax, kMin, kAdd, kOr, kLoadMatrix, kMma };

// cp.async: a copy of 16 bytes that happens when its thread waits for its group.
struct Copy {
  void* to;
  const void* from;  // null: zeros
  unsigned group;
};

struct Fiber {
  void* stack_pointer = nullptr;
  uint3 index{};
  Wait wait = Wait::kNothing;
  Location where{};
  const char* what = "";
  // Barriers
  unsigned barrier = 0, expected = 0;  // expected 0: every thread that has not ended
  unsigned vote = 0;                   // in: predicate; out: how many are true
  // Warps
  WarpOp op{};
  unsigned mask = 0;
  int source = 0;                      // lane, -1: own
  std::uint64_t value = 0;             // in and out
  std::uint32_t* words = nullptr;      // of the matrix functions, in and out
  float (*widen)(std::uint16_t) = nullptr;
  // Asynchronous copies
  std::vector<Copy> copies;
  unsigned groups = 0;                 // committed
#if defined(CUDA_EMULATOR_UCONTEXT)
  ucontext_t context{};
#endif
#if defined(__SANITIZE_THREAD__)
  void* tsan = nullptr;
#endif
};

class BlockRun;
class Grid;

struct State {
  BlockRun* run;
  Fiber* fiber;
};
inline constinit thread_local State state{};

#if !defined(CUDA_EMULATOR_UCONTEXT)
extern "C" void cuda_emulator_switch(void** from, void* to);
asm(R"(
.pushsection .text
.weak cuda_emulator_switch
.hidden cuda_emulator_switch
.type cuda_emulator_switch, @function
cuda_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_emulator_switch, .-cuda_emulator_switch
.popsection
)");
#endif

// Memory that ends at a page without access, and begins after one.
class Guarded {
 public:
  explicit Guarded(std::size_t bytes, std::size_t align = 16) : bytes_(bytes) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t inner = (bytes + page - 1) / page * page;
    mapped_ = inner + 2 * page;
    base_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_NONE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    if (inner) mprotect(base_ + page, inner, PROT_READ | PROT_WRITE);
    slack_ = (align - bytes % align) % align;
    data_ = base_ + page + inner - bytes - slack_;
    std::memset(base_ + page, 0xff, inner);
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() { munmap(base_, mapped_); }

  char* data() const { return data_; }
  std::size_t size() const { return bytes_; }
  void poison() const { std::memset(data_, 0xff, bytes_); }
  // Whether the bytes between the end and the page without access are as they were.
  bool intact() const {
    return std::all_of(data_ + bytes_, data_ + bytes_ + slack_,
                       [](char c) { return c == static_cast<char>(0xff); });
  }

 private:
  std::size_t bytes_, slack_ = 0, mapped_ = 0;
  char *base_ = nullptr, *data_ = nullptr;
};

// Fiber stacks, kept between launches; a page without access lies under each.
class Stacks {
 public:
  Stacks(std::size_t count, std::size_t bytes) : bytes_(bytes) {
    while (stacks_.size() < count) stacks_.push_back(std::make_unique<Guarded>(bytes));
  }
  char* top(std::size_t i) const { return stacks_[i]->data() + bytes_; }
  char* bottom(std::size_t i) const { return stacks_[i]->data(); }
  std::size_t count() const { return stacks_.size(); }
  std::size_t bytes() const { return bytes_; }

  static std::unique_ptr<Stacks> take(std::size_t count, std::size_t bytes) {
    std::lock_guard lock(mutex());
    auto& free = pool();
    for (auto it = free.begin(); it != free.end(); ++it)
      if ((*it)->count() >= count && (*it)->bytes() == bytes) {
        auto found = std::move(*it);
        free.erase(it);
        return found;
      }
    return std::make_unique<Stacks>(count, bytes);
  }
  static void give(std::unique_ptr<Stacks> stacks) {
    std::lock_guard lock(mutex());
    pool().push_back(std::move(stacks));
  }

 private:
  static std::mutex& mutex() { static std::mutex m; return m; }
  static std::vector<std::unique_ptr<Stacks>>& pool() {
    static std::vector<std::unique_ptr<Stacks>> p;
    return p;
  }
  std::size_t bytes_;
  std::vector<std::unique_ptr<Guarded>> stacks_;
};

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

// All threads of one block.
class BlockRun {
 public:
  BlockRun(std::function<void()> body, dim3 grid_dim, dim3 block_dim, uint3 block,
           std::size_t shared_bytes, std::uint64_t seed, Grid& grid)
      : grid(grid), body_(std::move(body)), random_(seed * 0x9e3779b97f4a7c15u + 1),
        shared_(shared_bytes), block_(block), grid_dim_(grid_dim), block_dim_(block_dim) {}

  void run() {
    poison_static_shared();
    blockIdx = block_;
    blockDim = block_dim_;
    gridDim = grid_dim_;
    state.run = this;
    const std::size_t n = std::size_t{block_dim_.x} * block_dim_.y * block_dim_.z;
    fibers_ = std::vector<Fiber>(n);
    stacks_ = Stacks::take(n, options().stack_bytes);
    for (std::size_t i = 0; i < n; ++i) prepare(i);
    ready_.resize(n);
    for (std::size_t i = 0; i < n; ++i) ready_[i] = static_cast<int>(i);
    std::string problem;
    try {
      schedule();
    } catch (const std::runtime_error& error) {
      problem = error.what();
    }
    for (std::size_t i = 0; i < n; ++i) forget(i);
    Stacks::give(std::move(stacks_));
    state = State{};
    if (!problem.empty()) throw std::runtime_error(problem);
  }

  // Called by fibers: lets others run until what the fiber waits for has happened.
  CUDA_EMULATOR_UNSEEN void pause(Wait wait, const char* what, const Location& where) {
    Fiber& fiber = *state.fiber;
    fiber.wait = wait;
    fiber.what = what;
    fiber.where = where;
    to_scheduler(fiber, wait == Wait::kDone);
  }
  // Atomics and fences: other threads may come between.
  CUDA_EMULATOR_UNSEEN void maybe_yield(const Location& where) {
    if (next_random() % 4 == 0) pause(Wait::kNothing, "yield", where);
  }
  char* shared() const { return shared_.data(); }
  std::size_t shared_bytes() const { return shared_.size(); }
  const std::function<void()>& body() const { return body_; }

  Grid& grid;

 private:
  CUDA_EMULATOR_UNSEEN std::uint64_t next_random() {  // xorshift64*
    random_ ^= random_ >> 12;
    random_ ^= random_ << 25;
    random_ ^= random_ >> 27;
    return random_ * 0x2545f4914f6cdd1du >> 20;
  }

  static void entry() {
    enter_fiber();
    BlockRun* run = state.run;
    run->body()();
#if defined(__SANITIZE_THREAD__)
    __tsan_release(run);
#endif
    run->pause(Wait::kDone, "end", Location::current());
    std::abort();
  }

  void prepare(std::size_t i) {
    Fiber& fiber = fibers_[i];
    const unsigned t = static_cast<unsigned>(i);
    fiber.index = {t % block_dim_.x, t / block_dim_.x % block_dim_.y,
                   t / block_dim_.x / block_dim_.y};
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stacks_->bottom(i), stacks_->bytes());
#endif
#if defined(__SANITIZE_THREAD__)
    fiber.tsan = __tsan_create_fiber(0);
#endif
#if defined(CUDA_EMULATOR_UCONTEXT)
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks_->bottom(i);
    fiber.context.uc_stack.ss_size = stacks_->bytes();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &BlockRun::entry, 0);
#else
    // As if `entry` had been called: 6 registers, its address, and a stack aligned as at a call.
    void** top = reinterpret_cast<void**>(stacks_->top(i)) - 2;
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(&BlockRun::entry);
    for (int r = 0; r < 6; ++r) *--top = nullptr;
    fiber.stack_pointer = top;
#endif
  }

  void forget([[maybe_unused]] std::size_t i) {
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(fibers_[i].tsan);
#endif
  }

  static CUDA_EMULATOR_UNSEEN void enter_fiber() {
#if defined(__SANITIZE_ADDRESS__)
    BlockRun& run = *state.run;
    __sanitizer_finish_switch_fiber(nullptr, &run.main_bottom_, &run.main_bytes_);
#endif
  }

  CUDA_EMULATOR_UNSEEN void to_scheduler(Fiber& fiber, [[maybe_unused]] bool last) {
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(last ? nullptr : &fake, main_bottom_, main_bytes_);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(main_tsan_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(CUDA_EMULATOR_UCONTEXT)
    swapcontext(&fiber.context, &main_context_);
#else
    cuda_emulator_switch(&fiber.stack_pointer, main_stack_pointer_);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, &main_bottom_, &main_bytes_);
#endif
  }

  CUDA_EMULATOR_UNSEEN void to_fiber(std::size_t i) {
    Fiber& fiber = fibers_[i];
    threadIdx = fiber.index;
    state.fiber = &fiber;
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, stacks_->bottom(i), stacks_->bytes());
#endif
#if defined(__SANITIZE_THREAD__)
    main_tsan_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber.tsan, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(CUDA_EMULATOR_UCONTEXT)
    swapcontext(&main_context_, &fiber.context);
#else
    cuda_emulator_switch(&main_stack_pointer_, fiber.stack_pointer);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  }

  CUDA_EMULATOR_UNSEEN void schedule() {
    std::chrono::steady_clock::time_point since;
    std::size_t idle = 0;
    alive_ = static_cast<unsigned>(fibers_.size());
    while (alive_ > 0) {
      if (ready_.empty()) throw std::runtime_error(dump("deadlock"));
      const std::size_t choice = next_random() % ready_.size();
      const std::size_t i = static_cast<std::size_t>(ready_[choice]);
      ready_[choice] = ready_.back();
      ready_.pop_back();
      to_fiber(i);
      Fiber& fiber = fibers_[i];
      if (fiber.wait != Wait::kNothing) idle = 0;
      switch (fiber.wait) {
        case Wait::kNothing:
          ready_.push_back(static_cast<int>(i));
          if (++idle == 1) since = std::chrono::steady_clock::now();
          if (ready_.size() == 1) sched_yield();  // it waits for another block
          if (idle % 4096 == 0) {
            if (grid.failed) throw std::runtime_error("another block failed");
            sched_yield();
            const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - since;
            if (waited.count() > options().patience) throw std::runtime_error(dump("no progress"));
          }
          break;
        case Wait::kDone:
          --alive_;
          for (unsigned b = 0; b < 16; ++b)
            if (arrived_[b]) release_barrier(b);
          break;
        case Wait::kBarrier:
          ++arrived_[fiber.barrier];
          release_barrier(fiber.barrier);
          break;
        case Wait::kWarp:
          release_warp(i);
          break;
        case Wait::kError:
          throw std::runtime_error(place(i) + ": " + fiber.what + " (" + line(fiber.where) + ")");
      }
    }
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(this);
#endif
  }

  void release_barrier(unsigned id) {
    const auto waits = [&](const Fiber& x) { return x.wait == Wait::kBarrier && x.barrier == id; };
    const Fiber& first = *std::find_if(fibers_.begin(), fibers_.end(), waits);
    if (arrived_[id] < (first.expected ? first.expected : alive_)) return;
    unsigned votes = 0;
    for (const Fiber& fiber : fibers_) {
      if (!waits(fiber)) continue;
      if (fiber.expected != first.expected || fiber.where.line() != first.where.line() ||
          std::strcmp(fiber.where.file_name(), first.where.file_name()) != 0)
        throw std::runtime_error(dump("threads of a block meet in different barriers"));
      votes += fiber.vote != 0;
    }
    arrived_[id] = 0;
    for (std::size_t i = 0; i < fibers_.size(); ++i)
      if (waits(fibers_[i])) {
        fibers_[i].vote = votes;
        wake(i);
      }
  }

  void release_warp(std::size_t i) {
    const Fiber& last = fibers_[i];
    const std::size_t first = i / 32 * 32;
    for (int lane = 0; lane < 32; ++lane) {
      if (!(last.mask >> lane & 1)) continue;
      const std::size_t j = first + static_cast<std::size_t>(lane);
      if (j >= fibers_.size())
        throw std::runtime_error(place(i) + ": the mask of " + last.what +
                                 " names a lane that does not exist (" + line(last.where) + ")");
      const Fiber& fiber = fibers_[j];
      if (fiber.wait != Wait::kWarp || fiber.mask != last.mask) return;
      if (fiber.op != last.op || fiber.where.line() != last.where.line())
        throw std::runtime_error(dump("lanes of a warp meet in different functions"));
    }
    if (last.words) {
      std::uint32_t* words[32];
      for (std::size_t lane = 0; lane < 32; ++lane) {
        words[lane] = fibers_[first + lane].words;
        wake(first + lane);
      }
      return last.op == WarpOp::kMma ? multiply_matrices(words, last.widen) : spread_rows(words);
    }
    std::uint64_t value[32], ballot = 0, result = last.value;
    for (int lane = 0; lane < 32; ++lane) {
      value[lane] = ~std::uint64_t{0};  // what an absent lane gives is NaN
      if (!(last.mask >> lane & 1)) continue;
      value[lane] = fibers_[first + static_cast<std::size_t>(lane)].value;
      if (value[lane]) ballot |= std::uint64_t{1} << lane;
    }
    if (last.op == WarpOp::kAdd || last.op == WarpOp::kOr) result = 0;
    for (int lane = 0; lane < 32; ++lane) {
      if (!(last.mask >> lane & 1)) continue;
      if (last.op == WarpOp::kMax) result = std::max(result, value[lane]);
      if (last.op == WarpOp::kMin) result = std::min(result, value[lane]);
      if (last.op == WarpOp::kAdd) result += value[lane];
      if (last.op == WarpOp::kOr) result |= value[lane];
    }
    for (int lane = 0; lane < 32; ++lane) {
      if (!(last.mask >> lane & 1)) continue;
      Fiber& fiber = fibers_[first + static_cast<std::size_t>(lane)];
      if (fiber.op == WarpOp::kShuffle)
        fiber.value = value[fiber.source < 0 ? lane : fiber.source];
      else
        fiber.value = fiber.op == WarpOp::kBallot ? ballot : result;
      wake(first + static_cast<std::size_t>(lane));
    }
  }

  // ldmatrix.x4: lane l gave row l % 8 of matrix l / 8, and gets elements 2 (l % 4) and the next of
  // row l / 4 of each matrix.
  CUDA_EMULATOR_UNSEEN static void spread_rows(std::uint32_t* (&words)[32]) {
    std::uint32_t row[32][4];
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i) row[lane][i] = words[lane][i];
    for (int lane = 0; lane < 32; ++lane)
      for (int matrix = 0; matrix < 4; ++matrix)
        words[lane][matrix] = row[matrix * 8 + lane / 4][lane % 4];
  }

  // mma.m16n8k16: D += A B; words of a lane: 4 of A [16, 16], 2 of B [16, 8], 4 of D [16, 8]. The
  // fragments are those of the PTX manual: a word of A or B holds k and k + 1, a word of D a float.
  CUDA_EMULATOR_UNSEEN static void multiply_matrices(std::uint32_t* (&words)[32],
                                                     float (*widen)(std::uint16_t)) {
    float A[16][16], B[16][8];
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 12; ++i) {
        const int word = i / 2, half = i % 2, group = lane / 4, k = lane % 4 * 2 + half;
        const float x = widen(static_cast<std::uint16_t>(words[lane][word] >> 16 * half));
        if (word < 4)
          A[group + word % 2 * 8][k + word / 2 * 8] = x;
        else
          B[k + (word - 4) * 8][group] = x;
      }
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i) {
        const std::uint32_t word = words[lane][6 + i];
        double sum = std::bit_cast<float>(word);
        for (int k = 0; k < 16; ++k)
          sum += static_cast<double>(A[lane / 4 + i / 2 * 8][k]) * B[k][lane % 4 * 2 + i % 2];
        const float rounded = static_cast<float>(sum);
        words[lane][6 + i] = std::bit_cast<std::uint32_t>(rounded);
      }
  }

  void wake(std::size_t i) {
    fibers_[i].wait = Wait::kNothing;
    ready_.push_back(static_cast<int>(i));
  }

  static std::string line(const Location& where) {
    const char* slash = std::strrchr(where.file_name(), '/');
    return std::string(slash ? slash + 1 : where.file_name()) + ":" + std::to_string(where.line());
  }
  std::string place(std::size_t i) const {
    const uint3 t = fibers_[i].index;
    return "block (" + std::to_string(block_.x) + ", " + std::to_string(block_.y) + ", " +
           std::to_string(block_.z) + ") thread (" + std::to_string(t.x) + ", " +
           std::to_string(t.y) + ", " + std::to_string(t.z) + ")";
  }
  // Who waits where, the same waits in one line.
  std::string dump(const std::string& title) const {
    std::map<std::string, std::pair<int, std::size_t>> groups;
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      const Fiber& fiber = fibers_[i];
      char mask[24] = "";
      if (fiber.wait == Wait::kWarp) std::snprintf(mask, sizeof mask, " mask %08x", fiber.mask);
      const std::string key =
          fiber.wait == Wait::kDone      ? "ended"
          : fiber.wait == Wait::kNothing ? "run"
                                         : fiber.what + std::string(mask) + " " + line(fiber.where);
      auto& group = groups.try_emplace(key, 0, i).first->second;
      ++group.first;
    }
    std::string text = title;
    for (const auto& [key, group] : groups)
      text += "\n  " + std::to_string(group.first) + " threads: " + key + ", first " +
              place(group.second);
    return text;
  }

  // Static shared variables are this module's thread-local ones: find them and fill them with NaN.
  static void poison_static_shared() {
    const State saved = state;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void*) {
          char* data = static_cast<char*>(info->dlpi_tls_data);
          for (int i = 0; data && i < info->dlpi_phnum; ++i) {
            const auto& header = info->dlpi_phdr[i];
            const char* own = reinterpret_cast<const char*>(&state);
            if (header.p_type != PT_TLS || own < data || own >= data + header.p_memsz) continue;
            std::memset(data, 0xff, header.p_memsz);
            return 1;
          }
          return 0;
        },
        nullptr);
    state = saved;
  }

  std::function<void()> body_;
  std::uint64_t random_;
  Guarded shared_;
  uint3 block_;
  dim3 grid_dim_, block_dim_;
  std::vector<Fiber> fibers_;
  std::vector<int> ready_;
  unsigned alive_ = 0;
  unsigned arrived_[16] = {};
  std::unique_ptr<Stacks> stacks_;
#if defined(CUDA_EMULATOR_UCONTEXT)
  ucontext_t main_context_{};
#else
  void* main_stack_pointer_ = nullptr;
#endif
#if defined(__SANITIZE_ADDRESS__)
  const void* main_bottom_ = nullptr;
  std::size_t main_bytes_ = 0;
#endif
#if defined(__SANITIZE_THREAD__)
  void* main_tsan_ = nullptr;
#endif
};

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
  return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32);
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

inline cudaError_t run_grid(const std::function<void()>& body, dim3 grid_dim, dim3 block_dim,
                            std::size_t shared, bool together) {
  const std::size_t count = std::size_t{grid_dim.x} * grid_dim.y * grid_dim.z;
  const std::uint64_t launch = ++launches();
  Grid grid(count);
  const auto run_block = [&](std::size_t i) {
    const unsigned b = static_cast<unsigned>(i);
    const uint3 index{b % grid_dim.x, b / grid_dim.x % grid_dim.y, b / grid_dim.x / grid_dim.y};
    try {
      BlockRun(body, grid_dim, block_dim, index, shared,
               options().seed * 0x100000001b3u + launch * 0x10001 + i, grid)
          .run();
    } catch (const std::runtime_error& error) {
      grid.fail(error.what());
    }
  };
  if (together) {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < count; ++i) threads.emplace_back(run_block, i);
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

// ---- device functions

#define CUDA_EMULATOR_WHERE \
  const ::cuda_emulator::Location& where = ::cuda_emulator::Location::current()

inline void __syncthreads(CUDA_EMULATOR_WHERE) {
  cuda_emulator::barrier(0, 0, 0, "__syncthreads", where);
}
inline int __syncthreads_count(int predicate, CUDA_EMULATOR_WHERE) {
  return static_cast<int>(cuda_emulator::barrier(0, 0, predicate != 0, "__syncthreads_count", where));
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
  char* address = reinterpret_cast<char*>(cuda_emulator::state.run) + 32 +
                  threadIdx.x / 32 % 32;
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
  return cuda_emulator::from_bits<T>(cuda_emulator::warp(
      cuda_emulator::WarpOp::kShuffle, mask, cuda_emulator::to_bits(value),
      source / width <= lane / width ? source : -1, "__shfl_xor_sync", where));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_EMULATOR_WHERE) {
  const int lane = cuda_emulator::lane_id(), source = lane - static_cast<int>(delta);
  return cuda_emulator::from_bits<T>(cuda_emulator::warp(
      cuda_emulator::WarpOp::kShuffle, mask, cuda_emulator::to_bits(value),
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
  return static_cast<unsigned>(
      cuda_emulator::warp(cuda_emulator::WarpOp::kMax, mask, value, -1, "__reduce_max_sync", where));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, CUDA_EMULATOR_WHERE) {
  return static_cast<unsigned>(
      cuda_emulator::warp(cuda_emulator::WarpOp::kMin, mask, value, -1, "__reduce_min_sync", where));
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value, CUDA_EMULATOR_WHERE) {
  return static_cast<unsigned>(
      cuda_emulator::warp(cuda_emulator::WarpOp::kAdd, mask, value, -1, "__reduce_add_sync", where));
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
inline long long clock64() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

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
  return cuda_emulator::atomic_update(address, [&](T old) { return static_cast<T>(old + value); }, where);
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
T __ldg(const T* address) { return *address; }
template <class T>
T __ldcg(const T* address) { return *address; }

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

// ---- host functions

using cudaStream_t = struct CUstream_st*;
namespace cuda_emulator {
using Node = std::function<cudaError_t()>;
bool captured(cudaStream_t stream, Node node);  // true: it became a node of a graph
}  // namespace cuda_emulator
enum cudaLaunchAttributeID { cudaLaunchAttributeCooperative = 2 };
union cudaLaunchAttributeValue { int cooperative; };
struct cudaLaunchAttribute { cudaLaunchAttributeID id; cudaLaunchAttributeValue val; };
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };

namespace cuda_emulator {
constexpr std::size_t kPlainShared = 48 << 10;     // without cudaFuncSetAttribute
inline std::mutex& host_mutex() { static std::mutex m; return m; }
inline std::map<const void*, std::size_t>& shared_limits() {
  static std::map<const void*, std::size_t> limits;
  return limits;
}
inline std::map<void*, std::unique_ptr<Guarded>>& allocations() {
  static std::map<void*, std::unique_ptr<Guarded>> all;
  return all;
}
}  // namespace cuda_emulator

inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorLaunchTimeout: return "the launch timed out and was terminated";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
  }
  return "unknown error";
}
struct cudaFuncAttributes { std::size_t sharedSizeBytes; };  // static variables: not known here
inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  attributes->sharedSizeBytes = 0;
  return cudaSuccess;
}
inline cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute, int value) {
  if (value < 0 || value > cuda_emulator::options().shared) return cudaErrorInvalidValue;
  std::lock_guard lock(cuda_emulator::host_mutex());
  cuda_emulator::shared_limits()[function] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const dim3 grid = config->gridDim, block = config->blockDim;
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  std::size_t limit = cuda_emulator::kPlainShared;
  {
    std::lock_guard lock(cuda_emulator::host_mutex());
    const auto found =
        cuda_emulator::shared_limits().find(reinterpret_cast<const void*>(kernel));
    if (found != cuda_emulator::shared_limits().end()) limit = std::max(limit, found->second);
  }
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 ||
      !threads || threads > 1024 || config->dynamicSmemBytes > limit)
    return cudaErrorInvalidConfiguration;
  bool together = cuda_emulator::options().parallel;
  for (unsigned i = 0; i < config->numAttrs; ++i)
    if (config->attrs[i].id == cudaLaunchAttributeCooperative && config->attrs[i].val.cooperative)
      together = true;
  const std::tuple<Parameters...> values(static_cast<Parameters>(arguments)...);
  const auto run = [=, shared = config->dynamicSmemBytes] {
    return cuda_emulator::run_grid([=] { std::apply(kernel, values); }, grid, block, shared,
                                   together);
  };
  return cuda_emulator::captured(config->stream, run) ? cudaSuccess : run();
}

inline cudaError_t cudaMalloc(void** out, std::size_t bytes) {
  auto memory = std::make_unique<cuda_emulator::Guarded>(bytes);
  std::lock_guard lock(cuda_emulator::host_mutex());
  *out = memory->data();
  cuda_emulator::allocations()[*out] = std::move(memory);
  return cudaSuccess;
}
// cudaErrorInvalidValue where the bytes behind the end were written to.
inline cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  std::lock_guard lock(cuda_emulator::host_mutex());
  const auto found = cuda_emulator::allocations().find(pointer);
  if (found == cuda_emulator::allocations().end()) return cudaErrorInvalidValue;
  const bool intact = found->second->intact();
  cuda_emulator::allocations().erase(found);
  return intact ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t = nullptr) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                   cudaStream_t = nullptr) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaFuncGetName(const char** name, const void* function) {
  Dl_info info{};
  *name = dladdr(function, &info) && info.dli_sname ? info.dli_sname : "kernel";
  return cudaSuccess;
}

enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
inline cudaError_t cudaGetDevice(int* device) { *device = 0; return cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount
               ? cuda_emulator::options().multiprocessors
               : cuda_emulator::options().shared;
  return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = cuda_emulator::options().driver;
  return cudaSuccess;
}
inline cudaError_t cudaHostAlloc(void** out, std::size_t bytes, unsigned) {
  return cudaMalloc(out, bytes);
}
inline cudaError_t cudaFreeHost(void* pointer) { return cudaFree(pointer); }

// ---- events: done at once, but the first question of each record gets "not ready"

struct CUevent_st { bool asked = true; };
using cudaEvent_t = CUevent_st*;
enum { cudaEventDisableTiming = 2, cudaStreamNonBlocking = 1 };
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) { delete event; return cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->asked = false;
  return cudaSuccess;
}
inline cudaError_t cudaEventQuery(cudaEvent_t event) {
  return std::exchange(event->asked, true) ? cudaSuccess : cudaErrorNotReady;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }

// ---- graphs: lists of launches, and WHILE nodes around other lists

using cudaGraphConditionalHandle = unsigned long long;
namespace cuda_emulator {
struct Condition { unsigned value, first; };
struct Graph {
  std::vector<Node> nodes;
  std::vector<std::unique_ptr<Condition>> conditions;
  cudaError_t run() const {
    for (const auto& condition : conditions) condition->value = condition->first;
    for (const Node& node : nodes)
      if (const cudaError_t error = node(); error != cudaSuccess) return error;
    return cudaSuccess;
  }
};
}  // namespace cuda_emulator
struct CUgraph_st {
  std::shared_ptr<cuda_emulator::Graph> graph = std::make_shared<cuda_emulator::Graph>();
  std::vector<std::unique_ptr<CUgraph_st>> bodies;
  std::vector<std::unique_ptr<CUgraph_st*>> pointers;
};
using cudaGraph_t = CUgraph_st*;
struct CUgraphExec_st { std::shared_ptr<cuda_emulator::Graph> graph; };
using cudaGraphExec_t = CUgraphExec_st*;
using cudaGraphNode_t = void*;
struct cudaGraphEdgeData {};
struct CUstream_st {
  cudaGraph_t capture = nullptr;
};
inline bool cuda_emulator::captured(cudaStream_t stream, Node node) {
  if (!stream || !stream->capture) return false;
  stream->capture->graph->nodes.push_back(std::move(node));
  return true;
}
enum cudaStreamCaptureMode { cudaStreamCaptureModeRelaxed = 2 };
enum cudaGraphNodeType { cudaGraphNodeTypeConditional = 13 };
enum cudaGraphConditionalNodeType { cudaGraphCondTypeWhile = 1 };
enum { cudaGraphCondAssignDefault = 1 };
struct cudaConditionalNodeParams {
  cudaGraphConditionalHandle handle;
  cudaGraphConditionalNodeType type;
  unsigned size;
  cudaGraph_t* phGraph_out;
};
struct cudaGraphNodeParams {
  cudaGraphNodeType type;
  cudaConditionalNodeParams conditional;
};
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) { delete stream; return cudaSuccess; }
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capture = new CUgraph_st;
  return cudaSuccess;
}
inline cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t graph,
                                                 const cudaGraphNode_t*, const cudaGraphEdgeData*,
                                                 std::size_t, cudaStreamCaptureMode) {
  stream->capture = graph;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream->capture, nullptr);
  return cudaSuccess;
}
inline cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned) {
  *graph = new CUgraph_st;
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) { delete graph; return cudaSuccess; }
inline cudaError_t cudaGraphConditionalHandleCreate(cudaGraphConditionalHandle* handle,
                                                    cudaGraph_t graph, unsigned first, unsigned) {
  auto& all = graph->graph->conditions;
  all.push_back(std::make_unique<cuda_emulator::Condition>(first, first));
  *handle = reinterpret_cast<std::uintptr_t>(all.back().get());
  return cudaSuccess;
}
inline void cudaGraphSetConditional(cudaGraphConditionalHandle handle, unsigned value) {
  reinterpret_cast<cuda_emulator::Condition*>(static_cast<std::uintptr_t>(handle))->value = value;
}
inline cudaError_t cudaGraphAddNode(cudaGraphNode_t*, cudaGraph_t graph, const cudaGraphNode_t*,
                                    const cudaGraphEdgeData*, std::size_t,
                                    cudaGraphNodeParams* params) {
  graph->bodies.push_back(std::make_unique<CUgraph_st>());
  graph->pointers.push_back(std::make_unique<CUgraph_st*>(graph->bodies.back().get()));
  params->conditional.phGraph_out = graph->pointers.back().get();
  const auto* condition = reinterpret_cast<cuda_emulator::Condition*>(
      static_cast<std::uintptr_t>(params->conditional.handle));
  graph->graph->nodes.push_back([condition, body = graph->bodies.back()->graph] {
    while (condition->value)
      if (const cudaError_t error = body->run(); error != cudaSuccess) return error;
    return cudaSuccess;
  });
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                        unsigned long long) {
  *exec = new CUgraphExec_st{graph->graph};
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { delete exec; return cudaSuccess; }
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) { return exec->graph->run(); }

namespace cooperative_groups {
// this_grid().sync() of a cooperative launch: each block's threads first, then the blocks.
struct grid_group {
  void sync(CUDA_EMULATOR_WHERE) const {
    cuda_emulator::barrier(0, 0, 0, "grid.sync", where);
    const uint3 t = threadIdx;
    const bool first = t.x == 0 && t.y == 0 && t.z == 0;
    const bool came = !first || cuda_emulator::state.run->grid.arrive_and_wait();
    if (!came) cuda_emulator::fail("grid.sync: another block did not come", where);
    cuda_emulator::barrier(0, 0, 0, "grid.sync", where);
  }
};
inline grid_group this_grid() { return {}; }
}  // namespace cooperative_groups
