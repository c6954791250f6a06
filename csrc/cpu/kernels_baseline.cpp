// Kernels for every processor of the family: SSE2 on x86, NEON on 64-bit ARM, or what the compiler
// makes of vectors of four floats; and gradcheck's in double.
#include <cmath>

#include "cpu/kernels.h"
#include "dims.h"

// clang-format off
#include "cpu/isa/double.h"
#if defined(__aarch64__)
#include "cpu/isa/neon.h"
#else
#include "cpu/isa/generic.h"
#endif
#include "cpu/isa/lanes.h"
#include "cpu/kernel_table.h"
// clang-format on

namespace khmer_fast {
namespace {
constexpr Kernels kKernels = make_kernels("baseline");
}
const Kernels* const kKernelsBaseline = &kKernels;
const SequenceKernels<double> kSequenceKernelsDouble = make_sequence_kernels<D>();
}  // namespace khmer_fast
