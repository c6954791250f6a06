// Threads shared by everything in the process: they sleep when idle and never spin.
#pragma once

#include <functional>

namespace khmer_fast {

// Runs `work` on the calling thread and on at most `threads - 1` idle helpers at the same time;
// returns when all of them are through, and rethrows the first exception. `work` takes its share
// from a queue of its own and must do right when fewer threads come than were asked for. Callers
// on several threads share the helpers instead of multiplying them. A forked child starts with
// none and makes its own.
void run_parallel(int threads, const std::function<void()>& work);

}  // namespace khmer_fast
