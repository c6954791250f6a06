#include "segmenter_module.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "check.h"
#include "cpu/segmenter_cpu.h"

namespace py = pybind11;

namespace khmer_fast {
namespace {

constexpr int64_t kAny = -1;

// Takes the convolutions in the order of use, and checks that each fits the one before.
class Reader {
 public:
  explicit Reader(std::vector<at::Tensor>& tensors) : tensors_(tensors) {}

  FilterWeights dense(int64_t inputs, int64_t outputs, int64_t size) {
    return take(inputs, outputs, size, size);
  }

  SegmenterWeights::Pair pair(int64_t inputs, int64_t outputs) {
    FilterWeights depthwise = take(1, inputs, kAny, kAny);
    return {depthwise, take(inputs, outputs, 1, 1)};
  }

  size_t taken() const { return next_; }

 private:
  FilterWeights take(int64_t inputs, int64_t outputs, int64_t rows, int64_t columns) {
    TORCH_CHECK_VALUE(next_ + 1 < tensors_.size(),
                      "weights must hold W and b of each convolution, got ", tensors_.size(),
                      " tensors");
    at::Tensor &W = tensors_[next_], &b = tensors_[next_ + 1];
    next_ += 2;
    for (at::Tensor* x : {&W, &b}) {
      check_dtype("weights", *x, at::kFloat);
      check_device("weights", *x, at::kCPU);
      *x = plain(*x);
    }
    check_rank("W", W, "[outputs, inputs, rows, columns]", 4);
    const auto or_own = [&](int64_t asked, int64_t dim) {
      return asked == kAny ? W.size(dim) : asked;
    };
    check_shape("W", W, "[outputs, inputs, rows, columns]",
                {or_own(outputs, 0), or_own(inputs, 1), or_own(rows, 2), or_own(columns, 3)});
    TORCH_CHECK_VALUE(W.numel() > 0 && W.size(2) % 2 == 1 && W.size(3) % 2 == 1,
                      "W must have odd rows and columns, got ", shape_text(W.sizes()));
    check_shape("b", b, "[outputs]", {W.size(0)});
    return {W.const_data_ptr<float>(),
            b.const_data_ptr<float>(),
            W.size(0),
            W.size(1),
            W.size(2),
            W.size(3)};
  }

  std::vector<at::Tensor>& tensors_;
  size_t next_ = 0;
};

// blocks: (down, up) of each level from stride 8 on.
std::unique_ptr<Segmenter> pack_segmenter(const std::vector<std::pair<int64_t, int64_t>>& blocks,
                                          std::vector<at::Tensor> tensors) {
  Reader read(tensors);
  SegmenterWeights weights;
  weights.stem = read.dense(1, kAny, 3);
  weights.fine = read.dense(weights.stem.outputs, kAny, 3);
  int64_t channels = weights.fine.outputs;
  for (const auto& [down, up] : blocks) {
    SegmenterWeights::Level level;
    level.down = read.pair(channels, kAny);
    const int64_t wide = level.down.pointwise.outputs;
    for (int64_t i = 0; i < down; ++i) level.blocks.push_back(read.pair(wide, wide));
    level.up = read.dense(wide, channels, 1);
    for (int64_t i = 0; i < up; ++i) level.up_block.push_back(read.pair(wide, wide));
    weights.levels.push_back(std::move(level));
    channels = wide;
  }
  weights.merge = read.dense(weights.fine.outputs, weights.fine.outputs, 3);
  weights.head = read.dense(weights.fine.outputs, kMaps, 1);
  weights.turn = read.dense(channels, kRotations + 1, 1);
  TORCH_CHECK_VALUE(read.taken() == tensors.size(), "weights must hold ", read.taken(),
                    " tensors for these blocks, got ", tensors.size());
  return std::make_unique<Segmenter>(weights, select_kernels());
}

// image [B, 1, Y, X] -> maps [B, 4, ceil(Y / 4), ceil(X / 4)], rotation [B, 4]
py::tuple segment(const Segmenter& segmenter, const at::Tensor& image, int64_t threads) {
  check_rank("image", image, "[B, 1, Y, X]", 4);
  const int64_t B = image.size(0), Y = image.size(2), X = image.size(3);
  check_shape("image", image, "[B, 1, Y, X]", {B, 1, Y, X});
  check_dtype("image", image, at::kFloat);
  check_device("image", image, at::kCPU);
  TORCH_CHECK_VALUE(Y >= 1 && X >= 1, "image must have pixels, got ", shape_text(image.sizes()));
  TORCH_CHECK_VALUE(threads >= 1, "threads must be at least 1, got ", threads);
  const at::Tensor pixels = plain(image);
  const int64_t y = (Y + 3) / 4, x = (X + 3) / 4;
  at::Tensor maps = at::empty({B, kMaps, y, x}), rotation = at::empty({B, kRotations});
  const float* from = pixels.const_data_ptr<float>();
  float *map = maps.mutable_data_ptr<float>(), *turn = rotation.mutable_data_ptr<float>();
  {
    py::gil_scoped_release release;
    for (int64_t b = 0; b < B; ++b)
      segmenter.run(from + b * Y * X, Y, X, map + b * kMaps * y * x, turn + b * kRotations,
                    static_cast<int>(std::min<int64_t>(threads, 1024)));
  }
  return py::make_tuple(maps, rotation);
}

}  // namespace

void bind_segmenter(py::module_& m) {
  py::class_<Segmenter>(m, "Segmenter")
      .def(py::init(&pack_segmenter), py::arg("blocks"), py::arg("weights"))
      .def("__call__", &segment, py::arg("image"), py::arg("threads"));
}

}  // namespace khmer_fast
