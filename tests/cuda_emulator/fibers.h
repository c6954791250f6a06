// A CUDA thread as a fiber: what it waits for, its stack, and how one is left for another.
#pragma once

#include "types.h"

namespace cuda_emulator {

using Location = std::source_location;

struct Options {
  std::uint64_t seed = 1;
  bool parallel = false;  // several blocks of every launch at once
  std::size_t stack_bytes = 128 << 10;
  double patience = 20;  // seconds that a block may wait for other blocks
  int driver = 13000;    // what cudaDriverGetVersion gives
  int multiprocessors = 3;
  int shared = 163 << 10;         // bytes a block may ask for, as on sm_80
  bool conditional_nodes = true;  // whether graphs have them
};
inline Options& options() {
  static Options instance;
  return instance;
}

inline std::string& report() {
  static std::string text;
  return text;
}  // of the last failed launch
inline std::uint64_t& launches() {
  static std::uint64_t count = 0;
  return count;
}

// What a fiber asks for before it lets others run.
enum class Wait : std::uint8_t { kNothing, kBarrier, kWarp, kLaunch, kDone, kError };
enum class WarpOp : std::uint8_t {
  kSync,
  kShuffle,
  kBallot,
  kMax,
  kMin,
  kAdd,
  kOr,
  kLoadMatrix,
  kMma
};

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
  int source = 0;                  // lane, -1: own
  std::uint64_t value = 0;         // in and out
  std::uint32_t* words = nullptr;  // of the matrix functions, in and out
  float (*widen)(std::uint16_t) = nullptr;
  // Asynchronous copies
  std::vector<Copy> copies;
  unsigned groups = 0;  // committed
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

// Thread-local variables of the host's code: they are no block's shared memory, which alone is
// filled with NaN.
struct HostVariable {
  void* (*address)();
  std::size_t bytes;
};
inline std::vector<HostVariable>& host_variables() {
  static std::vector<HostVariable> all{{+[]() -> void* { return &state; }, sizeof(State)}};
  return all;
}

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
    base_ = static_cast<char*>(
        mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    if (inner && mprotect(base_ + page, inner, PROT_READ | PROT_WRITE) != 0) {
      munmap(base_, mapped_);
      throw std::bad_alloc();  // such as: more areas than vm.max_map_count
    }
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

// Fiber stacks, some of them kept between launches; a page without access lies under each, so that
// each is two areas of the process's memory, of which Linux allows 65,530.
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
        kept() -= found->count();
        return found;
      }
    return std::make_unique<Stacks>(count, bytes);
  }
  static void give(std::unique_ptr<Stacks> stacks) {
    std::lock_guard lock(mutex());
    if (kept() + stacks->count() > kMostKept) return;
    kept() += stacks->count();
    pool().push_back(std::move(stacks));
  }

 private:
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  static std::vector<std::unique_ptr<Stacks>>& pool() {
    static std::vector<std::unique_ptr<Stacks>> p;
    return p;
  }
  static constexpr std::size_t kMostKept = 3072;  // three of the largest blocks
  static std::size_t& kept() {
    static std::size_t count = 0;
    return count;
  }
  std::size_t bytes_;
  std::vector<std::unique_ptr<Guarded>> stacks_;
};

}  // namespace cuda_emulator
