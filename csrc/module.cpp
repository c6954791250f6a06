// The Python module `_khmer_fast`: importing it registers the operators.
#include <pybind11/pybind11.h>

PYBIND11_MODULE(_khmer_fast, m) {
}
