// Straight level rules and edges of a page at the network's scale:
// khmer_fast/page/rules_reference.py, exactly.
#pragma once

#include <cstdint>
#include <vector>

namespace khmer_fast {

// y = slope x + offset for columns left to right (exclusive).
struct RulePiece {
  double left, right, slope, offset, thickness;
};

// The rules of a page and the edges between even grounds, whose thickness is 0; edges are found at
// half the scale. Upright ones are those of the transposed page.
struct PageRules {
  std::vector<RulePiece> level, upright, level_edges, upright_edges;
};

// grey [Y, X] -> rules and edges, and mask [Y, X]: 1 for the rules' pixels, else 0. `least` is the
// difference of grey that counts.
PageRules find_rules(const uint8_t* grey, int64_t Y, int64_t X, int32_t least, uint8_t* mask);

}  // namespace khmer_fast
