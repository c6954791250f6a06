// Input checks shared by the devices: they say what was expected and what came.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
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

// `letters` names the shape in the letters of docs/spec.md: "[N, H]".
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

// What raw pointers may be taken from: torch's lazy negation and conjugation done, no holes.
inline at::Tensor plain(const at::Tensor& x) {
  return (x.is_neg() || x.is_conj() ? x.resolve_conj().resolve_neg() : x).contiguous();
}

inline std::optional<at::Tensor> plain(const std::optional<at::Tensor>& x) {
  return x ? std::optional(plain(*x)) : std::nullopt;
}

inline void check_dtype(const char* name, const at::Tensor& x, at::ScalarType expected) {
  TORCH_CHECK_VALUE(x.layout() == at::kStrided, name, " must be a dense tensor, got layout ",
                    x.layout());
  TORCH_CHECK_TYPE(x.scalar_type() == expected, name, " must have dtype ", at::toString(expected),
                   ", got ", at::toString(x.scalar_type()));
}

inline void check_device(const char* name, const at::Tensor& x, at::Device expected) {
  TORCH_CHECK_VALUE(x.device() == expected, name, " must be on ", expected.str(), ", got ",
                    x.device().str());
}

inline void check_range(const char* name, const at::Tensor& x, int64_t low, int64_t high) {
  const int64_t* values = x.const_data_ptr<int64_t>();  // [B], plain, of the host
  for (int64_t b = 0; b < x.size(0); ++b) {
    TORCH_CHECK_VALUE(values[b] >= low && values[b] <= high, name, " must lie in [", low, ", ",
                      high, "], got ", values[b], " for line ", b);
  }
}

}  // namespace khmer_fast
