// Schemas of all operators; implementations register themselves, one file a device.
#include <torch/library.h>

TORCH_LIBRARY(khmer_fast, m) {
}
