// Beam search on the CPU: docs/spec.md, section 3, step by step beside python_ref/beam_search.py.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/decoder_cpu.h"

namespace khmer_fast {

struct BeamOptions {
  int64_t beam = 5;
  int64_t n_best = 1;
  double alpha = 0;
  bool forced = false;  // the limit of each line is its length
  bool attention = false;
  bool trace = false;
  int threads = 1;
};

struct LineInput {
  const float* memory;  // [length, E], rows `ld` apart
  int64_t ld;
  int64_t length;
  int64_t limit;  // S_b
};

struct Answer {
  float score;
  bool truncated;
  std::vector<int32_t> tokens;    // <eos> included
  std::vector<float> log_prob;    // one a token
  std::vector<int32_t> position;  // one a token: where its attention weight is largest
  std::vector<float> attention;   // [tokens, length] on request
};

struct Survivor {
  int32_t parent;  // slot in the step before; -1: empty
  int32_t token;
  float score;
  float log_prob;
  int32_t position;   // of the largest attention weight, the first of equals
  int32_t attention;  // row in the line's attention history, where kept
  bool frozen;        // was finished before this step
};

struct LineOutput {
  std::vector<Answer> answers;  // best first; none: the line ran out of candidates
  int64_t steps = 0;
  int64_t live = 0;             // live hypotheses, summed over the steps
  int64_t parents = 0;          // unique parents among them, summed over the steps
  std::vector<Survivor> trace;  // [steps, K] on request
};

// Decodes all lines, several at a time on each thread. Lines never influence each other's numbers.
std::vector<LineOutput> beam_search_cpu(const Decoder& decoder, const std::vector<LineInput>& lines,
                                        const BeamOptions& options);

}  // namespace khmer_fast
