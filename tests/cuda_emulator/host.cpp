// What Python needs of the emulator: guarded memory, the seed, the report of a failed launch.
#include "cuda_emulator.h"

extern "C" {

void* emulator_malloc(std::size_t bytes) {
  void* pointer = nullptr;
  return cudaMalloc(&pointer, bytes) == cudaSuccess ? pointer : nullptr;
}
int emulator_free(void* pointer) { return cudaFree(pointer); }
void emulator_options(std::uint64_t seed, bool parallel, double patience) {
  cuda_emulator::options().seed = seed;
  cuda_emulator::options().parallel = parallel;
  cuda_emulator::options().patience = patience;
}
void emulator_device(int driver, int multiprocessors, int shared, bool conditional_nodes) {
  cuda_emulator::options().driver = driver;
  cuda_emulator::options().multiprocessors = multiprocessors;
  cuda_emulator::options().shared = shared;
  cuda_emulator::options().conditional_nodes = conditional_nodes;
}
// The least that a kernel was allowed, -1: none was.
long long emulator_least_shared() {
  long long least = -1;
  for (const auto& [kernel, bytes] : cuda_emulator::shared_limits())
    if (least < 0 || static_cast<long long>(bytes) < least) least = static_cast<long long>(bytes);
  return least;
}
const char* emulator_report() { return cuda_emulator::report().c_str(); }
std::uint64_t emulator_launches() { return cuda_emulator::launches(); }
}
