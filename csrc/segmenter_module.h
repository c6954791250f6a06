// The class `Segmenter` of the Python module.
#pragma once

#include <torch/csrc/utils/pybind.h>

namespace khmer_fast {

void bind_segmenter(pybind11::module_& m);

}  // namespace khmer_fast
