"""Every .cu compiles alone for sm_80, sm_86 and sm_90, spills nothing and keeps to its registers.

`pytest -s` prints the table: registers, static shared memory and spilled bytes of each kernel and,
where cuobjdump is at hand (on PATH, named by CUOBJDUMP, or in the package triton), its instructions
and the widths of its loads from global memory. KHMER_FAST_ARCHITECTURES names fewer architectures.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cuda_emulator import ROOT

NVCC = shutil.which("nvcc")
ARCHITECTURES = os.environ.get("KHMER_FAST_ARCHITECTURES", "sm_80 sm_86 sm_90").split()
# Registers a thread: 128 leaves room for four blocks of 128 threads on a multiprocessor of 65,536;
# the small kernels are far below.
BUDGET = {"attend_kernel": 128, "select_kernel": 64, "select_while_kernel": 64, "finish_kernel": 96}
BUDGET["beam_search_persistent_kernel"] = 128  # one block of 512 threads
PRODUCT_BUDGET = 128
USUAL_BUDGET = 80
# The products of attn_gru_sequence: blocks of 256 threads, whose launch bounds leave room for two
# in float32, or one in the two deep ones; float64, for gradient checks, takes the most.
BUDGET |= {"hidden_kernel": 136, "gate_kernel": 160, "query_gradient_kernel": 128}
BUDGET |= {"state_gradient_kernel": 136, "context_gradient_kernel": 136}
# csrc/cuda/decoder_cuda.h, kStaticShared: of kernels that ask for dynamic shared memory by T
STATIC_SHARED = 4 << 10
DYNAMIC = ("attend_kernel", "beam_search_persistent_kernel", "energy_kernel", "context_kernel",
           "query_gradient_kernel")  # fmt: skip
# What the arguments of a template say, in mangled names.
SHAPES = {
    "float32 tile": r"FmaTileILi", "narrow tile": r"MmaTileILi\dELi4E",
    "wide tile": r"MmaTileILi\dELi1E", "one parent, 16 rows": r"attend_kernelI\w+Li1ELi16E",
    "one parent, 4 rows": r"attend_kernelI\w+Li1ELi4E",
    "four parents, 16 rows": r"attend_kernelI\w+Li4ELi16E",
    "four parents, 4 rows": r"attend_kernelI\w+Li4ELi4E",
    "256, registers": r"select_\w*kernelILi256ELi8E",
    "128, registers": r"select_\w*kernelILi128ELi8E", "256, memory": r"select_\w*kernelILi256ELi0E",
    "registers": r"persistent_kernelI\w+Li8E", "memory": r"persistent_kernelI\w+Li0E",
}  # fmt: skip

pytestmark = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")

ENTRY = re.compile(
    r"Compiling entry function '(\S+)' for '(sm_\d+)'.*?"
    r"(\d+) bytes spill stores, (\d+) bytes spill loads.*?"
    r"Used (\d+) registers([^\n]*)",
    re.DOTALL,
)


@dataclass(frozen=True, order=True)
class Row:
    kernel: str
    shape: str
    storage: str
    architecture: str
    registers: int
    shared: int  # bytes, static
    spilled: int  # bytes
    instructions: int | None  # None: there is no disassembler
    loads: str  # of global memory: bits x how many


def disassembler() -> str | None:
    named = os.environ.get("CUOBJDUMP") or shutil.which("cuobjdump")
    triton = importlib.util.find_spec("triton")
    if named is None and triton is not None and triton.origin is not None:
        packaged = Path(triton.origin).parent / "backends/nvidia/bin/cuobjdump"
        named = str(packaged) if packaged.is_file() else None
    return named


def instructions(program: str, file: Path) -> dict[str, tuple[int, str]]:
    """Of each kernel in an object: its SASS instructions, and its loads by width."""
    folder = os.environ | {"PATH": f"{Path(program).parent}:{os.environ['PATH']}"}  # for nvdisasm
    sass = subprocess.run(
        [program, "--dump-sass", file], capture_output=True, text=True, env=folder
    ).stdout
    found = {}
    for part in sass.split("Function : ")[1:]:
        code = re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+([^;]+);", part, re.MULTILINE)
        operations = [x[0] for c in code if (x := re.search(r"\bLDG[.\w]*", c))]
        widths = Counter(
            int(x[1]) if (x := re.search(r"\.[US]?(8|16|64|128)\b", operation)) else 32
            for operation in operations
        )
        loads = " ".join(f"{bits}x{count}" for bits, count in sorted(widths.items(), reverse=True))
        found[part.split(None, 1)[0]] = (len(code), loads)
    return found


def compile_rows(source: Path, architecture: str, folder: Path) -> list[Row]:
    file = folder / f"{architecture}.o"
    done = subprocess.run(
        [NVCC, "-std=c++17", "-O3", f"-arch={architecture}", "-Icsrc", "-Icsrc/cuda",
         "-Xptxas", "-v", "-c", source, "-o", file],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    program = disassembler()
    code = instructions(program, file) if program else {}
    rows = []
    for name, arch, stores, loads, registers, more in ENTRY.findall(done.stderr):
        short = re.search(r"\d+([a-z_]+_kernel)", name)
        kind = re.search(r"_kernelI(?:Li\d+E)*(f|d|6__half|13__nv_bfloat16)", name)
        storage = {"f": "float", "d": "double", "6": "half", "1": "bfloat16"}
        shape = next((key for key, found in SHAPES.items() if re.search(found, name)), "")
        shared = re.search(r"(\d+) bytes smem", more)
        count, widths = code.get(name, (None, ""))
        rows.append(Row(short[1], shape, storage[kind[1][0]] if kind else "", arch, int(registers),
                        int(shared[1]) if shared else 0, int(stores) + int(loads), count,
                        widths))  # fmt: skip
    return rows


def print_table(rows: list[Row]) -> None:
    print(f"\n{'kernel':31}{'shape':23}{'storage':10}{'for':7}{'registers':>9}{'shared':>8}"
          f"{'spilled':>9}{'instructions':>14}  loads")  # fmt: skip
    for r in sorted(rows):
        print(f"{r.kernel:31}{r.shape:23}{r.storage:10}{r.architecture:7}{r.registers:9}"
              f"{r.shared:8}{r.spilled:9}{r.instructions or '-':>14}  {r.loads}")  # fmt: skip


def budget(row: Row) -> int:
    return PRODUCT_BUDGET if "tile" in row.shape else BUDGET.get(row.kernel, USUAL_BUDGET)


@pytest.mark.parametrize("source", sorted((ROOT / "csrc/cuda").glob("*.cu")), ids=lambda x: x.name)
def test_compiles_within_its_budget(source, tmp_path):
    rows = [row for a in ARCHITECTURES for row in compile_rows(source, a, tmp_path)]
    print_table(rows)
    kernels = "__global__" in source.read_text()
    assert {row.architecture for row in rows} == (set(ARCHITECTURES) if kernels else set())
    assert not [row for row in rows if row.spilled], "spills"
    over = [row for row in rows if row.registers > budget(row)]
    assert not over, f"above the budget: {over}"
    large = [r for r in rows if r.kernel in DYNAMIC and r.shared > STATIC_SHARED]
    assert not large, f"more static shared memory than the dynamic one leaves: {large}"


def test_table_reads_what_the_compiler_says(tmp_path):
    """A kernel with what the test must refuse: it spills, and it loads 128 bits."""
    source = tmp_path / "spilling.cu"
    source.write_text(
        "__global__ void __launch_bounds__(1024) spilling_kernel(float4* x) {\n"
        "  float4 y[24];\n#pragma unroll\n  for (int i = 0; i < 24; ++i) y[i] = x[i * 7];\n"
        "  __syncthreads();\n#pragma unroll\n"
        "  for (int i = 0; i < 24; ++i) x[i] = y[(23 - i)];\n}\n"
    )
    (row,) = compile_rows(source, ARCHITECTURES[-1], tmp_path)
    assert row.kernel == "spilling_kernel" and row.spilled > 0 and row.registers <= 64
    if disassembler():
        assert row.instructions and "128x24" in row.loads
