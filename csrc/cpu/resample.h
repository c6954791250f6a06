// Pillow's bicubic `resize` of a grey picture, exactly.
#pragma once

#include <cstdint>
#include <vector>

namespace khmer_fast {

struct Kernels;

constexpr int kWeightBits = 22;  // below the point of a weight, as Pillow has them

struct PixelBox {
  int64_t top, bottom, left, right;  // bottom and right exclusive
};

// The box of in [Y, X] at rows x columns: rows of padded(columns) bytes; what stands beyond
// `columns` is anything. The filter widens where it shrinks, and looks beyond the box.
std::vector<uint8_t> resize_bicubic(const uint8_t* in, int64_t Y, int64_t X, const PixelBox& box,
                                    int64_t rows, int64_t columns, const Kernels& kernels);

}  // namespace khmer_fast
