// What each of the blocks that share a context writes of it.
#include "cuda/attend_cuda.cu"

using namespace khmer_fast;

// out [gridDim.y, Ep]: block y's part of the context of weight [T] and memory [T, Ep]; the rest
// stays
__global__ void shares_kernel(const __nv_bfloat16* memory, const float* weight, int T, int Ep,
                              __nv_bfloat16* out) {
  const int row[1] = {static_cast<int>(blockIdx.y)};
  const Share share = share_of(Ep);
  RowsAhead<16, __nv_bfloat16> rows;
  rows.load(memory + min((share.begin + static_cast<int>(threadIdx.x)) / kParts * 8, Ep - 8), Ep,
            threadIdx.x % kParts, T);
  contexts<1>(rows, share, memory, weight, T, T, Ep, row, out);
}

extern "C" int emulated_shares(const void* memory, const float* weight, int T, int Ep, void* out) {
  return launch(shares_kernel, dim3(1, kShares), kAttendThreads<1>, 0, nullptr,
                static_cast<const __nv_bfloat16*>(memory), weight, T, Ep,
                static_cast<__nv_bfloat16*>(out));
}
