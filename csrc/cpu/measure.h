// What one thread of this machine does at most, for the floors of the benchmarks.
#pragma once

namespace khmer_fast {

// Float32 operations a second in the packed product, all operands in the first cache.
double peak_flops(double seconds);

// Terms of the additive energy a second, of one query over keys that stay in the second cache.
double peak_energies(double seconds);

}  // namespace khmer_fast
