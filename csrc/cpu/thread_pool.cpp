#include "cpu/thread_pool.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

namespace khmer_fast {
namespace {

struct Job {
  const std::function<void()>* work;
  int unclaimed;
  int running = 0;
  std::exception_ptr error;
};

class ThreadPool {
 public:
  void run(int threads, const std::function<void()>& work) {
    Job job{&work, threads - 1};
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (; helpers_ < threads - 1; ++helpers_) std::thread([this] { help(); }).detach();
      jobs_.push_back(&job);
    }
    wake_.notify_all();
    std::exception_ptr error;
    try {
      work();
    } catch (...) {
      error = std::current_exception();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    for (auto it = jobs_.begin(); it != jobs_.end(); ++it)
      if (*it == &job) {
        jobs_.erase(it);
        break;
      }
    done_.wait(lock, [&] { return job.running == 0; });
    if (!error) error = job.error;
    lock.unlock();
    if (error) std::rethrow_exception(error);
  }

 private:
  void help() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return !jobs_.empty(); });
      Job* job = jobs_.front();
      ++job->running;
      if (--job->unclaimed == 0) jobs_.pop_front();
      lock.unlock();
      std::exception_ptr error;
      try {
        (*job->work)();
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error && !job->error) job->error = error;
      if (--job->running == 0) done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::deque<Job*> jobs_;
  int helpers_ = 0;
};

// Never destroyed: its helpers sleep in it until the process ends.
ThreadPool* pool = nullptr;

ThreadPool& shared_pool() {
  static std::once_flag once;
  std::call_once(once, [] {
    pool = new ThreadPool;
    pthread_atfork(nullptr, nullptr, [] { pool = new ThreadPool; });
  });
  return *pool;
}

}  // namespace

void run_parallel(int threads, const std::function<void()>& work) {
  if (threads <= 1) return work();
  shared_pool().run(threads, work);
}

}  // namespace khmer_fast
