// First looks for rows of equal marks in a clean line: most lines have none.
#pragma once

#include <cstdint>

namespace khmer_fast {

// Whether a clean line [height, X] may hold a leader (recognize/leaders.py, find).
bool may_hold_leader(const uint8_t* line, int64_t height, int64_t X);

// The same of fillers (recognize/fillers.py, find).
bool may_hold_filler(const uint8_t* line, int64_t height, int64_t X);

}  // namespace khmer_fast
