// Vectors of two doubles for any processor: gradcheck's, so plain and not fast.
#pragma once

#include <cmath>

namespace khmer_fast {
namespace {

typedef double D __attribute__((vector_size(16)));

KHMER_FAST_MATH D fma(D a, D b, D c) { return a * b + c; }
KHMER_FAST_MATH void keep(D&) {}
KHMER_FAST_MATH D fast_exp(D x) { return D{std::exp(x[0]), std::exp(x[1])}; }
KHMER_FAST_MATH D fast_tanh(D x) { return D{std::tanh(x[0]), std::tanh(x[1])}; }

}  // namespace
}  // namespace khmer_fast
