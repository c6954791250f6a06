// The emulator captures no CUDA graphs.
#pragma once

namespace c10::cuda {
enum class CaptureStatus { None, Active, Invalidated };
inline CaptureStatus currentStreamCaptureStatusMayInitCtx() { return CaptureStatus::None; }
}  // namespace c10::cuda
