// The Python module `_khmer_fast`: importing it registers the operators; it binds encoder and
// decoder, which own packed weights and so are objects and no operators.
#include <torch/csrc/utils/pybind.h>

#include "cpu/decode.h"
#include "cpu/encode.h"
#include "cpu/kernels.h"
#include "cpu/measure.h"
#include "line_module.h"
#include "page_module.h"
#include "segmenter_module.h"

PYBIND11_MODULE(_khmer_fast, m) {
  namespace py = pybind11;
  using namespace khmer_fast;
  using Unlocked = py::call_guard<py::gil_scoped_release>;

  m.def(
      "instruction_set", [] { return select_kernels().name; },
      "Name of the kernels that this process uses now.");
  m.def(
      "multiplies_bfloat16", [] { return select_kernels().bf16_pairs; },
      "Whether these kernels multiply bfloat16, rather than widen it to float32.");
  m.def("peak_flops", &peak_flops, py::arg("seconds"), Unlocked(),
        "Float32 operations a second of one thread, measured for so many seconds.");
  m.def("peak_energies", &peak_energies, py::arg("seconds"), Unlocked(),
        "Terms of the additive energy a second of one thread, measured for so many seconds.");

  bind_line(m);
  bind_page(m);
  bind_segmenter(m);

  py::class_<Encoder>(m, "Encoder")
      .def(py::init(&make_encoder), py::arg("height"), py::arg("stages"), py::arg("convs"),
           py::arg("features"), py::arg("gru"))
      .def_static("quantized", &make_quantized_encoder, py::arg("height"), py::arg("stages"),
                  py::arg("convs"), py::arg("project"), py::arg("norm"), py::arg("gates"),
                  py::arg("gru"))
      .def("__call__", &encode, py::arg("image"), py::arg("width"), py::arg("threads"), Unlocked());

  py::class_<Decoder>(m, "Decoder")
      .def(py::init(&make_decoder), py::arg("weights"), py::arg("dtype"))
      .def_property_readonly("sizes",
                             [](const Decoder& d) {
                               py::dict sizes;
                               sizes["V"] = d.dims.V;
                               sizes["D"] = d.dims.D;
                               sizes["E"] = d.dims.E;
                               sizes["A"] = d.dims.A;
                               sizes["H"] = d.dims.H;
                               return sizes;
                             })
      .def_property_readonly("computes_in", &Decoder::computes_in)
      .def_property_readonly("instruction_set", [](const Decoder& d) { return d.kernels.name; })
      .def("beam_search", &decode, py::arg("memory"), py::arg("length"), py::arg("beam"),
           py::arg("n_best"), py::arg("alpha"), py::arg("step_limit"), py::arg("force_length"),
           py::arg("return_attention"), py::arg("return_trace"), py::arg("threads"), Unlocked());

  py::class_<DecodeResult>(m, "DecodeResult").def("fields", [](const DecodeResult& r) {
    return py::make_tuple(r.tokens, r.length, r.score, r.log_prob, r.truncated, r.failed, r.steps,
                          r.attention, r.trace, r.position, r.live, r.parents);
  });
}
