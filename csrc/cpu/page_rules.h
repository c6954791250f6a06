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

// grey [Y, X] -> pieces, and mask [Y, X]: 1 for their pixels, else 0. `least` is the difference of
// grey that counts.
std::vector<RulePiece> rule_pieces(const uint8_t* grey, int64_t Y, int64_t X, int32_t least,
                                   uint8_t* mask);

// The same for edges between two even grounds; their thickness is 0.
std::vector<RulePiece> edge_pieces(const uint8_t* grey, int64_t Y, int64_t X, int32_t least);

}  // namespace khmer_fast
