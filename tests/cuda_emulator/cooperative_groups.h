// this_grid().sync() of a cooperative launch.
#pragma once

#include "cuda_emulator.h"

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
