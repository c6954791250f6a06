// Which form of the additive energy is safe: the range guards of docs/performance.md, section 2.1.
#pragma once

#if defined(__CUDACC__)
#define KHMER_FAST_ANYWHERE __host__ __device__
#else
#define KHMER_FAST_ANYWHERE
#endif

namespace khmer_fast {

enum class EnergyForm { kPaired, kFactored, kTanh };

// max_p: largest |key| of the line's valid positions; max_q: largest |query| element. Each query
// decides for itself, so that its neighbours change nothing. Written so that NaN fails the guards.
KHMER_FAST_ANYWHERE constexpr EnergyForm energy_form(float max_p, float max_q) {
  if (2.0f * (max_p + max_q) < 42.0f) return EnergyForm::kPaired;
  if (2.0f * max_p < 87.0f && 2.0f * max_q < 87.0f) return EnergyForm::kFactored;
  return EnergyForm::kTanh;
}

}  // namespace khmer_fast
