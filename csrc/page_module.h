// The pixel steps of pages, as functions of numpy arrays.
#pragma once

#include <torch/csrc/utils/pybind.h>

namespace khmer_fast {

void bind_page(pybind11::module_& m);

}  // namespace khmer_fast
