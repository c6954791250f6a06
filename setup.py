"""Build of the compiled module `_khmer_fast`; everything else stands in pyproject.toml.

KHMER_FAST_CUDA=auto (default) builds csrc/cuda when torch is a CUDA build and its toolkit is found,
and falls back to a CPU build otherwise; 0 never builds it; 1 fails where it cannot.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from setuptools import setup
from torch.utils import cpp_extension

ROOT = Path(__file__).resolve().parent
MINIMUM_TORCH = (2, 10)
CUDA_ARCHITECTURES = "8.0;9.0+PTX"
TORCH_VERSION = torch.__version__.split("+")[0]
# -ffp-contract=off: a sum is fused only where the kernels say so, hence equal for any row count.
CXX_FLAGS = [
    "-std=c++20",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-Wall",
    "-Wno-unknown-pragmas",
]
NVCC_FLAGS = ["-O3", "-lineinfo", "--expt-relaxed-constexpr"]


def sources(*patterns: str) -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for pattern in patterns for p in ROOT.glob(pattern))


def toolkit_root() -> Path | None:
    """Folder of the CUDA toolkit; nvcc on PATH may be a wrapper, so ask it where it really is."""
    candidates = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    nvcc = shutil.which("nvcc")
    if nvcc:
        dry = subprocess.run(
            [nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True
        )
        top = re.search(r"^#\$ TOP=(.+)$", dry.stdout + dry.stderr, re.MULTILINE)
        candidates.append(top.group(1).strip() if top else str(Path(nvcc).resolve().parents[1]))
    candidates.append("/usr/local/cuda")
    for candidate in candidates:
        if candidate and (Path(candidate) / "bin" / "nvcc").is_file():
            return Path(candidate).resolve()
    return None


def cuda_obstacle(root: Path | None) -> str | None:
    """Why CUDA cannot be built here, or None if it can."""
    if not sources("csrc/cuda/*.cu"):
        return "there are no CUDA sources in csrc/cuda"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a CPU build"
    if root is None:
        return "no CUDA toolkit was found (nvcc is neither on PATH nor under CUDA_HOME)"
    text = subprocess.run(
        [str(root / "bin" / "nvcc"), "--version"], capture_output=True, text=True
    ).stdout
    found = re.search(r"release (\d+)\.(\d+)", text)
    if found is None:
        return f"{root}/bin/nvcc does not tell its version"
    if found.group(1) != torch.version.cuda.split(".")[0]:
        return (
            f"the CUDA toolkit in {root} is {found.group(1)}.{found.group(2)}, "
            f"torch was built with {torch.version.cuda}"
        )
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe.cu"
        probe.write_text("#include <string>\n#include <vector>\n__global__ void probe() {}\n")
        run = subprocess.run(
            [str(root / "bin" / "nvcc"), "-c", str(probe), "-o", str(probe) + ".o"],
            capture_output=True,
            text=True,
        )
        if run.returncode != 0:
            return f"nvcc in {root} cannot compile an empty kernel: {run.stderr.strip()[-300:]}"
    return None


def cuda_decision() -> tuple[Path | None, str]:
    """(toolkit folder or None for a CPU build, the reason in words)."""
    switch = os.environ.get("KHMER_FAST_CUDA", "auto")
    if switch not in ("auto", "0", "1"):
        raise SystemExit(f"KHMER_FAST_CUDA must be auto, 0 or 1, got {switch!r}")
    if switch == "0":
        return None, "KHMER_FAST_CUDA=0"
    root = toolkit_root()
    obstacle = cuda_obstacle(root)
    if obstacle is None:
        return root, f"toolkit in {root} fits torch {torch.__version__}"
    if switch == "1":
        raise SystemExit(f"KHMER_FAST_CUDA=1, but CUDA cannot be built: {obstacle}")
    return None, obstacle


def extension(cuda_root: Path | None):
    common = {"name": "_khmer_fast", "include_dirs": [str(ROOT / "csrc")]}
    cpp = sources("csrc/*.cpp", "csrc/cpu/*.cpp")
    if cuda_root is None:
        return cpp_extension.CppExtension(
            sources=cpp, extra_compile_args={"cxx": CXX_FLAGS}, **common
        )
    os.environ["CUDA_HOME"] = str(cuda_root)
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", CUDA_ARCHITECTURES)
    cpp_extension.CUDA_HOME = str(cuda_root)
    return cpp_extension.CUDAExtension(
        sources=cpp + sources("csrc/cuda/*.cpp", "csrc/cuda/*.cu"),
        extra_compile_args={"cxx": CXX_FLAGS, "nvcc": NVCC_FLAGS},
        **common,
    )


class BuildExtension(cpp_extension.BuildExtension):
    """Builds `_khmer_fast` and, beside it, `_khmer_fast_build.py`, which says what was built.

    khmer_fast.ops reads that record before it loads the binary, so that a foreign torch gives one
    sentence and not an undefined symbol.
    """

    def finalize_options(self) -> None:
        self.cuda_root, self.cuda_reason = cuda_decision()
        self.distribution.ext_modules = [extension(self.cuda_root)]
        super().finalize_options()

    def run(self) -> None:
        self.announce_choice()
        try:
            super().run()
        except Exception as error:
            if self.cuda_root is None or os.environ.get("KHMER_FAST_CUDA", "auto") == "1":
                raise
            self.cuda_root, self.cuda_reason = None, f"the CUDA build failed: {error}"
            self.announce_choice()
            self.distribution.ext_modules = [extension(None)]
            super().finalize_options()
            super().run()
        folder = ROOT if self.inplace else Path(self.build_lib)
        (folder / "_khmer_fast_build.py").write_text(
            '"""Written by setup.py: what `_khmer_fast` was built against."""\n'
            f"TORCH = {TORCH_VERSION!r}\n"
            f"CUDA = {torch.version.cuda if self.cuda_root else None!r}\n"
            f"TOOLKITS = { ({'cuda': torch.version.cuda} if self.cuda_root else {})!r}\n"
            f"CUDA_REASON = {self.cuda_reason!r}\n"
            f"MACHINE = {platform.machine()!r}\n"
        )

    def announce_choice(self) -> None:
        what = "CUDA and CPU" if self.cuda_root else "CPU only"
        print(f"khmer_fast: building {what}: {self.cuda_reason}", flush=True)


if tuple(int(part) for part in TORCH_VERSION.split(".")[:2]) < MINIMUM_TORCH:
    raise SystemExit(f"khmer_fast needs torch >= 2.10 to build, got {torch.__version__}")

setup(
    ext_modules=[extension(None)],
    cmdclass={"build_ext": BuildExtension},
    install_requires=[
        f"torch=={TORCH_VERSION}",
        "numpy>=1.24",
        "pillow>=13.0",
        "fonttools>=4.60.2",
        "rapidfuzz>=3.0",
        "safetensors>=0.4",
        "tqdm>=4.66.3",
    ],
)
