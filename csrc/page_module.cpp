#include "page_module.h"

#include <pybind11/numpy.h>

#include <c10/util/Exception.h>

#include <algorithm>

#include "cpu/page_crops.h"
#include "cpu/page_ink.h"
#include "cpu/page_owners.h"
#include "cpu/page_rules.h"
#include "cpu/page_words.h"

namespace py = pybind11;

namespace khmer_fast {
namespace {

// A numpy array that is handed over as it is: a copy or a cast would hide a mistake.
template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class T>
void check(const char* name, const Array<T>& x, std::initializer_list<int64_t> shape) {
  bool same = x.ndim() == static_cast<py::ssize_t>(shape.size());
  py::ssize_t axis = 0;
  for (int64_t size : shape) {
    same = same && (size < 0 || x.shape(axis) == size);
    ++axis;
  }
  TORCH_CHECK_VALUE(same, name, " must have shape ", c10::IntArrayRef(shape), " (-1: any), got ",
                    c10::IntArrayRef(x.shape(), x.ndim()));
}

Array<uint8_t> shrink_of(const Array<uint8_t>& grey, int64_t Y, int64_t X) {
  check("grey", grey, {-1, -1});
  TORCH_CHECK_VALUE(1 <= Y && Y <= grey.shape(0) && 1 <= X && X <= grey.shape(1), "a page of ",
                    grey.shape(0), " x ", grey.shape(1), " cannot shrink to ", Y, " x ", X);
  Array<uint8_t> out({Y, X});
  uint8_t* o = out.mutable_data();
  py::gil_scoped_release release;
  shrink(grey.data(), grey.shape(0), grey.shape(1), Y, X, o);
  return out;
}

py::tuple estimate_paper_of(const Array<uint8_t>& grey) {
  check("grey", grey, {-1, -1});
  const int64_t Y = grey.shape(0), X = grey.shape(1);
  Array<uint8_t> paper({cells(Y), cells(X)}), threshold({cells(Y), cells(X)});
  uint8_t *p = paper.mutable_data(), *t = threshold.mutable_data();
  {
    py::gil_scoped_release release;
    estimate_paper(grey.data(), Y, X, p, t);
  }
  return py::make_tuple(paper, threshold);
}

// (left, begin, inner, letter, middle, above, below) of khmer_fast.page.pixels.Columns.
using Columns = std::tuple<Array<int32_t>, Array<int64_t>, Array<int32_t>, Array<float>,
                           Array<float>, Array<float>, Array<float>>;

LineColumns take(const Columns& columns, int64_t X) {
  const auto& [left, begin, inner, letter, middle, above, below] = columns;
  const int64_t L = left.size(), M = middle.size();
  TORCH_CHECK_VALUE(L < kFrame - 1, "at most ", kFrame - 2, " lines a page, got ", L);
  check("left", left, {L});
  check("begin", begin, {L + 1});
  check("inner", inner, {L, 2});
  check("letter", letter, {L});
  check("middle", middle, {M});
  check("above", above, {M});
  check("below", below, {M});
  TORCH_CHECK_VALUE(begin.data()[0] == 0 && begin.data()[L] == M, "begin must lead from 0 to ", M);
  for (int64_t l = 0; l < L; ++l) {
    const int64_t width = begin.data()[l + 1] - begin.data()[l];
    const int32_t* x = inner.data() + 2 * l;
    TORCH_CHECK_VALUE(width > 0 && 0 <= left.data()[l] && left.data()[l] + width <= X &&
                          left.data()[l] <= x[0] && x[0] <= x[1] && x[1] <= left.data()[l] + width,
                      "line ", l, "'s columns do not lie on the page");
  }
  return {L,
          left.data(),
          begin.data(),
          inner.data(),
          letter.data(),
          middle.data(),
          above.data(),
          below.data()};
}

py::tuple line_paper_of(const Array<uint8_t>& grey, const Columns& columns) {
  check("grey", grey, {-1, -1});
  const int64_t Y = grey.shape(0), X = grey.shape(1);
  const LineColumns lines = take(columns, X);
  const int64_t M = lines.begin[lines.lines];
  Array<uint8_t> paper(M), threshold(M);
  uint8_t *p = paper.mutable_data(), *t = threshold.mutable_data();
  {
    py::gil_scoped_release release;
    line_paper(grey.data(), Y, X, lines, p, t);
  }
  return py::make_tuple(paper, threshold);
}

py::tuple find_ink_of(const Array<uint8_t>& grey, const Array<uint8_t>& paper,
                      const Array<uint8_t>& threshold, const Columns& columns,
                      const Array<uint8_t>& line_paper, const Array<uint8_t>& line_threshold,
                      const Array<bool>& rules) {
  check("grey", grey, {-1, -1});
  const int64_t Y = grey.shape(0), X = grey.shape(1);
  check("paper", paper, {cells(Y), cells(X)});
  check("threshold", threshold, {cells(Y), cells(X)});
  const LineColumns lines = take(columns, X);
  check("line_paper", line_paper, {lines.begin[lines.lines]});
  check("line_threshold", line_threshold, {lines.begin[lines.lines]});
  check("rules", rules, {Y, X});
  Array<uint8_t> ink({Y, X}), level({Y, X});
  uint8_t *i = ink.mutable_data(), *p = level.mutable_data();
  {
    py::gil_scoped_release release;
    find_ink(grey.data(), Y, X, {paper.data(), threshold.data()}, lines,
             {line_paper.data(), line_threshold.data()},
             reinterpret_cast<const uint8_t*>(rules.data()), i, p);
  }
  return py::make_tuple(ink, level);
}

py::tuple label_of(const Array<uint8_t>& ink) {
  check("ink", ink, {-1, -1});
  const int64_t Y = ink.shape(0), X = ink.shape(1);
  Array<int32_t> labels({Y, X});
  int32_t* out = labels.mutable_data();
  std::vector<Component> components;
  {
    py::gil_scoped_release release;
    components = label(ink.data(), Y, X, out);
  }
  const int64_t C = static_cast<int64_t>(components.size());
  Array<int32_t> boxes({C, int64_t{4}}), areas(C);
  for (int64_t c = 0; c < C; ++c) {
    const Component& x = components[c];
    int32_t* box = boxes.mutable_data() + 4 * c;
    box[0] = x.left, box[1] = x.top, box[2] = x.right, box[3] = x.bottom;
    areas.mutable_data()[c] = x.area;
  }
  return py::make_tuple(labels, boxes, areas);
}

py::tuple assign_ink_of(const Array<uint8_t>& ink, const Array<int32_t>& labels,
                        const Array<int32_t>& boxes, const Array<int32_t>& areas,
                        const Array<float>& offset, const Columns& columns) {
  check("ink", ink, {-1, -1});
  const int64_t Y = ink.shape(0), X = ink.shape(1), C = areas.size();
  check("labels", labels, {Y, X});
  check("boxes", boxes, {C, 4});
  check("areas", areas, {C});
  check("offset", offset, {-1, -1});
  TORCH_CHECK_VALUE(4 * offset.shape(0) >= Y && 4 * offset.shape(1) >= X,
                    "offset must reach over the page, a quarter of [", Y, ", ", X, "], got [",
                    offset.shape(0), ", ", offset.shape(1), "]");
  const LineColumns lines = take(columns, X);
  std::vector<Component> components(C);
  for (int64_t c = 0; c < C; ++c) {
    const int32_t* box = boxes.data() + 4 * c;
    components[c] = {box[0], box[1], box[2], box[3], areas.data()[c]};
  }
  const int64_t L = lines.lines, M = lines.begin[L];
  Array<uint16_t> owners({Y, X});
  Array<uint8_t> painted({Y, X});
  Array<int32_t> top(M), bottom(M), counts({L, int64_t{2}}), band({L, int64_t{3}});
  Array<int32_t> unread({C, int64_t{2}});
  const Owned out{owners.mutable_data(), painted.mutable_data(), top.mutable_data(),
                  bottom.mutable_data(), counts.mutable_data(),  band.mutable_data(),
                  unread.mutable_data()};
  {
    py::gil_scoped_release release;
    assign_ink(ink.data(), labels.data(), Y, X, components, offset.data(), offset.shape(1), lines,
               out);
  }
  return py::make_tuple(owners, painted, top, bottom, counts, band, unread);
}

Array<uint8_t> cut_line_of(const Array<uint8_t>& grey, const Array<uint8_t>& painted,
                           const Array<uint8_t>& paper, int64_t left, const Array<float>& rows,
                           int64_t height, int64_t polarity) {
  check("grey", grey, {-1, -1});
  check("painted", painted, {-1, -1});
  const int64_t Y = painted.shape(0), X = painted.shape(1), width = rows.size();
  check("paper", paper, {Y, X});
  check("rows", rows, {width});
  TORCH_CHECK_VALUE(height > 0 && width > 0 && grey.size() > 0 && painted.size() > 0,
                    "a crop must have pixels, got ", height, " x ", width);
  TORCH_CHECK_VALUE(0 <= polarity && polarity <= 2, "polarity must be 0, 1 or 2, got ", polarity);
  Array<uint8_t> crop({height, width});
  uint8_t* out = crop.mutable_data();
  py::gil_scoped_release release;
  cut_line({grey.data(), grey.shape(0), grey.shape(1), painted.data(), paper.data(), Y, X}, left,
           rows.data(), height, width, static_cast<Polarity>(polarity), out);
  return crop;
}

py::tuple place_boxes_of(const Array<int64_t>& words, const Array<int64_t>& characters,
                         int64_t crop_left, const Array<float>& rows, double left, double step,
                         double letter, const Array<double>& top, const Array<double>& bottom,
                         const std::tuple<int64_t, int64_t, int64_t, int64_t>& line) {
  static_assert(sizeof(PageBox) == 4 * sizeof(int64_t));
  check("words", words, {-1, 4});
  check("characters", characters, {-1, 4});
  check("rows", rows, {-1});
  check("top", top, {-1});
  check("bottom", bottom, {top.size()});
  TORCH_CHECK_VALUE(rows.size() > 0 && top.size() > 0 && step > 0,
                    "a line must have columns of more than no width, got ", rows.size(), " and ",
                    top.size(), " of ", step);
  const auto copy = [](const Array<int64_t>& boxes) {
    Array<int64_t> out({boxes.shape(0), py::ssize_t{4}});
    std::copy_n(boxes.data(), boxes.size(), out.mutable_data());
    return out;
  };
  Array<int64_t> placed_words = copy(words), placed = copy(characters);
  const auto [x0, y0, x1, y1] = line;
  place_boxes({crop_left, rows.data(), rows.size()},
              {left, step, letter, top.data(), bottom.data(), top.size()}, {x0, y0, x1, y1},
              reinterpret_cast<PageBox*>(placed_words.mutable_data()), words.shape(0),
              reinterpret_cast<PageBox*>(placed.mutable_data()), characters.shape(0));
  return py::make_tuple(placed_words, placed);
}

Array<double> numbers_of(const std::vector<RulePiece>& pieces) {
  Array<double> numbers({static_cast<int64_t>(pieces.size()), int64_t{5}});
  double* out = numbers.mutable_data();
  for (const RulePiece& piece : pieces)
    for (double number : {piece.left, piece.right, piece.slope, piece.offset, piece.thickness})
      *out++ = number;
  return numbers;
}

py::tuple find_rules_of(const Array<uint8_t>& grey, int32_t least) {
  check("grey", grey, {-1, -1});
  TORCH_CHECK_VALUE(least > 0, "least must be above 0, got ", least);
  const int64_t Y = grey.shape(0), X = grey.shape(1);
  Array<bool> mask({Y, X});
  uint8_t* marked = reinterpret_cast<uint8_t*>(mask.mutable_data());
  PageRules found;
  {
    py::gil_scoped_release release;
    found = find_rules(grey.data(), Y, X, least, marked);
  }
  return py::make_tuple(numbers_of(found.level), numbers_of(found.upright),
                        numbers_of(found.level_edges), numbers_of(found.upright_edges), mask);
}

}  // namespace

void bind_page(py::module_& m) {
  m.def("page_shrink", &shrink_of, py::arg("grey").noconvert(), py::arg("Y"), py::arg("X"));
  m.def("page_estimate_paper", &estimate_paper_of, py::arg("grey").noconvert());
  m.def("page_find_ink", &find_ink_of, py::arg("grey").noconvert(), py::arg("paper").noconvert(),
        py::arg("threshold").noconvert(), py::arg("columns"), py::arg("line_paper").noconvert(),
        py::arg("line_threshold").noconvert(), py::arg("rules").noconvert());
  m.def("page_line_paper", &line_paper_of, py::arg("grey").noconvert(), py::arg("columns"));
  m.def("page_find_rules", &find_rules_of, py::arg("grey").noconvert(), py::arg("least"));
  m.def("page_label", &label_of, py::arg("ink").noconvert());
  m.def("page_assign_ink", &assign_ink_of, py::arg("ink").noconvert(),
        py::arg("labels").noconvert(), py::arg("boxes").noconvert(), py::arg("areas").noconvert(),
        py::arg("offset").noconvert(), py::arg("columns"));
  m.def("page_place_boxes", &place_boxes_of, py::arg("words").noconvert(),
        py::arg("characters").noconvert(), py::arg("crop_left"), py::arg("rows").noconvert(),
        py::arg("left"), py::arg("step"), py::arg("letter"), py::arg("top").noconvert(),
        py::arg("bottom").noconvert(), py::arg("line"));
  m.def("page_cut_line", &cut_line_of, py::arg("grey").noconvert(), py::arg("painted").noconvert(),
        py::arg("paper").noconvert(), py::arg("left"), py::arg("rows").noconvert(),
        py::arg("height"), py::arg("polarity"));
}

}  // namespace khmer_fast
