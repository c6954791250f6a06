// Runs CUDA kernels without a GPU: g++ -std=c++20 compiles the same .cu source that nvcc does.
//
//   g++ -std=c++20 -x c++ -Itests/cuda_emulator -Icsrc -Icsrc/cuda kernel.cu -pthread
//
// A CUDA thread is a fiber. The blocks of a launch run one after another on the calling OS thread,
// several at once on OS threads of their own where options().parallel is set, or all at once when
// the launch is cooperative.
// Fibers change only where threads can wait (barriers, warp functions, atomics, fences,
// __nanosleep), each time to a fiber drawn from a seeded generator. What a test can see by that:
//
//   a missing barrier      shared memory is NaN until written, and other orders give other results;
//                          under -fsanitize=thread each fiber is a thread to the sanitizer, which
//                          knows only the barriers of the source, and so finds the race itself
//   a divergent barrier    threads that meet in different lines, or wait for one that never comes:
//                          the launch returns cudaErrorLaunchFailure, and report() tells who waits
//                          where
//   a wrong index          dynamic shared memory and cudaMalloc end at a page without access
//   an unwritten output    cudaMalloc gives NaN
//   a missing cp.async     what a copy writes to is NaN from its issue to its thread's wait, so
//   that wait, or one copy      both who reads too early and who still reads what was there see NaN
//   into what is read
//
// It cannot see memory order between blocks, occupancy, or the rounding of the real approximations.
//
//   types.h, fibers.h, block.h, grid.h, device_functions.h   the device
//   streams.h, launches.h, graphs.h                          the host
#pragma once

#include "graphs.h"
