"""Builds CUDA sources for the emulator with g++, and hands arrays to them."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMPILER = shutil.which("g++")
# Not gnu-unique: two such libraries in one process keep their variables apart.
FLAGS = ["-std=c++20", "-g", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-pthread"]
FLAGS += ["-fno-gnu-unique"]
INCLUDE = [f"-I{folder}" for folder in (HERE, ROOT / "csrc", ROOT / "csrc" / "cuda")]


def compile_sources(out: Path, sources: list[Path], *flags: str) -> Path:
    """A library, a program or an object, as `flags` say; raises RuntimeError with g++'s words."""
    objects = [str(x) for x in sources if x.suffix == ".o"]
    code = [str(x) for x in sources if x.suffix != ".o"]
    command = [COMPILER, *FLAGS, *flags, *INCLUDE, *objects, "-x", "c++", *code, "-o", str(out)]
    if not code:
        command = [COMPILER, *FLAGS, *flags, *objects, "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-4000:]}")
    return out


def compile_torch(folder: Path) -> Path:
    """csrc/cuda/decoder_torch.cpp over the emulator, as a library of torch's under the name
    khmer_fast_emulated."""
    import torch

    home = Path(torch.__file__).parent
    include = [home / "include", home / "include/torch/csrc/api/include"]
    flags = ["-Dkhmer_fast=khmer_fast_emulated", "-fPIC", "-c", f"-I{HERE / 'torch'}"]
    flags += [f"-isystem{path}" for path in include]
    objects = [
        compile_sources(folder / f"{x.name}.o", [x], "-O1", *flags)
        for x in (ROOT / "csrc/cuda").glob("*.cu")
    ]
    harness = HERE / "torch_harness.cpp"  # torch's headers take long to compile, and run little
    objects.append(compile_sources(folder / "harness.o", [harness], "-O0", *flags))
    libraries = [f"-L{home / 'lib'}", "-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10"]
    library = compile_sources(folder / "compiled.so", objects, "-shared", *libraries)
    for x in objects:
        x.unlink()
    return library


class Emulator:
    """A library of kernels, and arrays in memory that ends at a page without access."""

    def __init__(self, library: Path):
        self.library = ctypes.CDLL(str(library))
        self.library.emulator_malloc.restype = ctypes.c_void_p
        self.library.emulator_malloc.argtypes = [ctypes.c_size_t]
        self.library.emulator_free.argtypes = [ctypes.c_void_p]
        self.library.emulator_options.argtypes = [ctypes.c_uint64, ctypes.c_bool, ctypes.c_double]
        self.library.emulator_report.restype = ctypes.c_char_p
        self.library.emulator_launches.restype = ctypes.c_uint64
        self.seed(1)

    def seed(self, seed: int, parallel: bool = False, patience: float = 20.0) -> None:
        """Order of threads and blocks; `parallel` runs the blocks of a launch at once."""
        self.library.emulator_options(seed, parallel, patience)

    def device(
        self,
        driver: int = 13000,
        multiprocessors: int = 3,
        shared: int = 163 << 10,
        conditional_nodes: bool = True,
    ) -> None:
        """`shared`: bytes that a block may have, as on sm_80; whether graphs have WHILE nodes."""
        self.library.emulator_device(driver, multiprocessors, shared, conditional_nodes)

    def launches(self) -> int:
        return self.library.emulator_launches()

    def run(self, name: str, *arguments) -> None:
        """Calls an `extern "C"` function; raises EmulatorError with the report."""
        values = [a.pointer if isinstance(a, DeviceArray) else a for a in arguments]
        code = getattr(self.library, name)(*values)
        if code != 0:
            raise EmulatorError(f"{name} gave {code}: {self.library.emulator_report().decode()}")

    def put(self, array: np.ndarray) -> DeviceArray:
        return DeviceArray(self, np.ascontiguousarray(array))

    def empty(self, shape, dtype=np.float32) -> DeviceArray:
        """NaN in floats, -1 in integers."""
        array = DeviceArray(self, np.empty(shape, dtype))
        ctypes.memset(array.pointer, 0xFF, array.bytes)
        return array


class EmulatorError(RuntimeError):
    """A launch failed; the message is the emulator's report."""


class DeviceArray:
    def __init__(self, emulator: Emulator, array: np.ndarray):
        self._free = emulator.library.emulator_free
        self.shape, self.dtype, self.bytes = array.shape, array.dtype, array.nbytes
        self.pointer = ctypes.c_void_p(emulator.library.emulator_malloc(max(self.bytes, 1)))
        ctypes.memmove(self.pointer, array.ctypes.data, self.bytes)

    def get(self) -> np.ndarray:
        array = np.empty(self.shape, self.dtype)
        ctypes.memmove(array.ctypes.data, self.pointer, self.bytes)
        return array

    def free(self) -> bool:
        """False: something wrote behind the end."""
        pointer, self.pointer = self.pointer, None
        return self._free(pointer) == 0

    def __del__(self):
        if self.pointer is not None:
            self._free(self.pointer)
