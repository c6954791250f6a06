#include "line_module.h"

#include <pybind11/numpy.h>

#include <c10/util/Exception.h>

#include <optional>

#include "cpu/kernels.h"
#include "cpu/line_image.h"
#include "cpu/line_marks.h"

namespace py = pybind11;

namespace khmer_fast {
namespace {

using Image = py::array_t<uint8_t, py::array::c_style>;

py::object clean_line_of(const Image& grey, int64_t height, bool alone, bool plain) {
  TORCH_CHECK_VALUE(grey.ndim() == 2 && grey.size() > 0,
                    "grey must have shape [Y, X] and pixels, got ",
                    c10::IntArrayRef(grey.shape(), grey.ndim()));
  TORCH_CHECK_VALUE(height >= 1 && height <= 4096, "height must be in [1, 4096], got ", height);
  const uint8_t* pixels = grey.data();
  const int64_t Y = grey.shape(0), X = grey.shape(1);
  std::optional<CleanLine> line;
  {
    py::gil_scoped_release release;
    line = clean_line(pixels, Y, X, height, alone, plain, select_kernels());
  }
  if (!line) return py::none();
  if (!line->edge_ink.empty()) {
    py::array_t<bool> ink({Y, X});
    std::copy(line->edge_ink.begin(), line->edge_ink.end(), ink.mutable_data());
    return std::move(ink);
  }
  Image image({height, line->width});
  std::copy(line->image.begin(), line->image.end(), image.mutable_data());
  const auto corners = [](const PixelBox& b) {
    return py::make_tuple(b.left, b.top, b.right, b.bottom);
  };
  return py::make_tuple(std::move(image), corners(line->ink), corners(line->box), line->may_lean);
}

template <bool (*look)(const uint8_t*, int64_t, int64_t)>
bool first_look(const Image& line) {
  TORCH_CHECK_VALUE(line.ndim() == 2, "line must have shape [Y, X], got ",
                    c10::IntArrayRef(line.shape(), line.ndim()));
  return look(line.data(), line.shape(0), line.shape(1));
}

}  // namespace

void bind_line(py::module_& m) {
  m.def(
      "clean_line", &clean_line_of, py::arg("grey").noconvert(), py::arg("height"),
      py::arg("alone"), py::arg("plain"),
      "Image, ink and box of an ordinary line, and whether it may lean; the ink [Y, X] of one that "
      "may not stand alone; or None where the reference has to look closer.");
  m.def("may_hold_leader", &first_look<may_hold_leader>, py::arg("line").noconvert(),
        "Whether a clean line may hold a leader, at a glance.");
  m.def("may_hold_filler", &first_look<may_hold_filler>, py::arg("line").noconvert(),
        "Whether a clean line may hold a filler, at a glance.");
}

}  // namespace khmer_fast
