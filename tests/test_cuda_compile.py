"""Every .cu compiles alone for sm_80 and sm_90, spills nothing and keeps to its registers."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.cuda_emulator import ROOT

NVCC = shutil.which("nvcc")
ARCHITECTURES = ("sm_80", "sm_90")
# Registers a thread: 128 leaves room for four blocks of 128 threads on a multiprocessor of 65,536;
# the small kernels are far below.
BUDGET = {"attend_kernel": 128, "select_kernel": 64, "finish_kernel": 96}
BUDGET["beam_search_persistent_kernel"] = 128  # one block of 512 threads
PRODUCT_BUDGET = 128
USUAL_BUDGET = 80
# Tiles of csrc/cuda/product.cuh, and the parents that a block attends for, in mangled names.
SHAPES = {
    "float32 tile": r"FmaTileILi",
    "narrow tile": r"MmaTileILi\dELi4E", "wide tile": r"MmaTileILi\dELi1E",
    "one parent": r"attend_kernelI\w+Li1E", "four parents": r"attend_kernelI\w+Li4E",
}  # fmt: skip

pytestmark = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")

# The products of attn_gru_sequence: blocks of 256 threads, whose launch bounds leave room for two
# in float32, or one in the two deep ones; float64, for gradient checks, takes the most.
BUDGET |= {"hidden_kernel": 136, "gate_kernel": 160}
BUDGET |= {"state_gradient_kernel": 136, "context_gradient_kernel": 136}

ENTRY = re.compile(
    r"Compiling entry function '(\S+)' for '(sm_\d+)'.*?"
    r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?"
    r"Used (\d+) registers",
    re.DOTALL,
)


@pytest.mark.parametrize("source", sorted((ROOT / "csrc/cuda").glob("*.cu")), ids=lambda x: x.name)
def test_compiles_within_its_budget(source, tmp_path):
    rows = []
    for architecture in ARCHITECTURES:
        done = subprocess.run(
            [NVCC, "-std=c++17", "-O3", f"-arch={architecture}", "-Icsrc", "-Icsrc/cuda",
             "-Xptxas", "-v", "-c", source, "-o", tmp_path / "kernel.o"],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        for name, arch, _, stores, loads, registers in ENTRY.findall(done.stderr):
            short = re.search(r"\d+([a-z_]+_kernel)(I\S+?EE)?", name)
            storage = {"f": "float", "d": "double", "_": "half", "1": "bfloat16"}
            kind = re.search(r"_kernelI(f|d|6__half|13__nv_bfloat16)", name)
            kind = "" if kind is None else storage[{"6": "_"}.get(kind[1][0], kind[1][0])]
            shape = next((key for key, found in SHAPES.items() if re.search(found, name)), "")
            spilled = int(stores) + int(loads)
            rows.append((short[1], shape, kind, arch, int(registers), spilled))
    print(f"\n{'kernel':20}{'shape':14}{'storage':10}{'for':7}{'registers':>10}{'spilled':>9}")
    for kernel, shape, kind, arch, registers, spilled in sorted(rows):
        print(f"{kernel:20}{shape:14}{kind:10}{arch:7}{registers:10}{spilled:9}")
    kernels = "__global__" in source.read_text()
    assert {row[3] for row in rows} == (set(ARCHITECTURES) if kernels else set())
    assert all(spilled == 0 for *_, spilled in rows)

    def budget(kernel: str, shape: str) -> int:
        return PRODUCT_BUDGET if "tile" in shape else BUDGET.get(kernel, USUAL_BUDGET)

    over = [row for row in rows if row[4] > budget(*row[:2])]
    assert not over, f"above the budget: {over}"
