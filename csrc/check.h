// Input checks shared by the devices: they say what was expected and what came.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <initializer_list>
#include <sstream>
#include <string>

namespace khmer_fast {

inline std::string shape_text(at::IntArrayRef sizes) {
  std::ostringstream out;
  out << '[';
  for (size_t i = 0; i < sizes.size(); ++i) out << (i ? ", " : "") << sizes[i];
  out << ']';
  return out.str();
}

// `letters` names the shape in SPEC's letters: "[N, H]".
inline void check_shape(const char* name, const at::Tensor& x, const char* letters,
                        std::initializer_list<int64_t> expected) {
  TORCH_CHECK_VALUE(x.sizes() == at::IntArrayRef(expected.begin(), expected.size()), name,
                    " must have shape ", letters, " = ",
                    shape_text(at::IntArrayRef(expected.begin(), expected.size())), ", got ",
                    shape_text(x.sizes()));
}

inline void check_rank(const char* name, const at::Tensor& x, const char* letters, int64_t rank) {
  TORCH_CHECK_VALUE(x.dim() == rank, name, " must have shape ", letters, ", got ",
                    shape_text(x.sizes()));
}

inline void check_dtype(const char* name, const at::Tensor& x, at::ScalarType expected) {
  TORCH_CHECK_TYPE(x.scalar_type() == expected, name, " must have dtype ", at::toString(expected),
                   ", got ", at::toString(x.scalar_type()));
}

inline void check_device(const char* name, const at::Tensor& x, at::Device expected) {
  TORCH_CHECK_VALUE(x.device() == expected, name, " must be on ", expected.str(), ", got ",
                    x.device().str());
}

}  // namespace khmer_fast
