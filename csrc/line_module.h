// What the Python module offers for lines.
#pragma once

#include <torch/csrc/utils/pybind.h>

namespace khmer_fast {

void bind_line(pybind11::module_& m);

}  // namespace khmer_fast
