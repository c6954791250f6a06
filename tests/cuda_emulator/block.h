// A block: its fibers, the order they run in, and what happens where they meet.
#pragma once

#include "meetings.h"

namespace cuda_emulator {

// All threads of one block.
class BlockRun {
 public:
  BlockRun(std::function<void()> body, dim3 grid_dim, dim3 block_dim, uint3 block,
           std::size_t shared_bytes, std::uint64_t seed, Grid& grid, EarlyLaunch* early)
      : grid(grid), early(early), body_(std::move(body)), random_(seed * 0x9e3779b97f4a7c15u + 1),
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
    if (early && !released_) {
      early->arrive(false);
      if (problem.empty()) problem = "a block ended that had not waited for the kernels before";
    }
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
  EarlyLaunch* const early;  // null: what runs before has ended

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
      if (ready_.empty() && early && !released_) go_on_when_released();
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
        case Wait::kLaunch:
          if (released_) wake(i);
          break;
        case Wait::kError:
          throw std::runtime_error(place(i) + ": " + fiber.what + " (" + line(fiber.where) + ")");
      }
    }
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(this);
#endif
  }

  void go_on_when_released() {
    released_ = true;
    early->arrive(true);
    for (std::size_t i = 0; i < fibers_.size(); ++i)
      if (fibers_[i].wait == Wait::kLaunch) wake(i);
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
      const std::string key = fiber.wait == Wait::kDone ? "ended"
                              : fiber.wait == Wait::kNothing
                                  ? "run"
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
    std::vector<char> saved;
    for (const HostVariable& x : host_variables()) {
      const char* from = static_cast<const char*>(x.address());
      saved.insert(saved.end(), from, from + x.bytes);
    }
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
    const char* from = saved.data();
    for (const HostVariable& x : host_variables()) {
      std::memcpy(x.address(), from, x.bytes);
      from += x.bytes;
    }
  }

  std::function<void()> body_;
  std::uint64_t random_;
  Guarded shared_;
  uint3 block_;
  dim3 grid_dim_, block_dim_;
  std::vector<Fiber> fibers_;
  std::vector<int> ready_;
  unsigned alive_ = 0;
  bool released_ = false;  // of an early launch
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

}  // namespace cuda_emulator
