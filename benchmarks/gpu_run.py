"""What the parts of `benchmarks.gpu` share: options, decoders, processes with a limit."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CARRY = ROOT / "carry"  # what scripts/carry_for_gpu.sh collected
LARGEST_BEAM = 64  # of the kernels
LOOPS = ("plain", "graph", "persistent")
# What only a GPU can choose between: loops of `CudaDecoder` with a variant's name behind a +.
VARIANTS = ("plain+early", "graph+early", "graph+select128", "graph+rows4", "persistent+select128")


@dataclass(frozen=True)
class Options:
    out: Path
    device: str  # cuda; cpu: the compiled decoder; emulator: the kernels, emulated
    quick: bool = False
    train_minutes: float = 0

    @property
    def tensors(self) -> str:
        """Where tensors live, in torch's words."""
        return "cuda" if self.device == "cuda" else "cpu"

    @property
    def dtypes(self) -> tuple[str, ...]:
        return ("float32", "bfloat16", "float16") if self.device != "cpu" else ("float32",)


class PartFailed(Exception):
    """A part that found something wrong; carries what it found."""

    def __init__(self, message: str, found: dict[str, Any]):
        super().__init__(message)
        self.found = found


class NotRun(Exception):
    """A part that cannot run here, and why."""


def decoder(weights, dtype: str, loop: str, options: Options) -> Any:
    """The fused decoder of the device; on a CPU there is one loop."""
    from khmer_fast.recognize.engine import CudaDecoder, make_decoder

    if options.device == "cpu":
        return make_decoder(weights, dtype)
    if options.device == "cuda":
        return CudaDecoder(weights, dtype, loop)
    emulated = CudaDecoder.__new__(CudaDecoder)
    emulated._bind(emulated_class(options), weights, dtype, loop)
    return emulated


def decoders(weights, dtype: str, options: Options) -> dict[str, Any]:
    """A decoder for each loop; on a CPU one, without a name."""
    loops = LOOPS if options.device != "cpu" else ("",)
    return {loop: decoder(weights, dtype, loop, options) for loop in loops}


def emulated_class(options: Options) -> Any:
    """torch.classes.khmer_fast_emulated.CudaDecoder, compiled once a folder."""
    import torch

    from tests.cuda_emulator import COMPILER, compile_torch

    if COMPILER is None:
        raise NotRun("g++, which compiles the kernels for the emulator, is not installed")
    library = options.out / "emulated.so"
    if not library.exists():
        compile_torch(options.out).rename(library)
    torch.ops.load_library(str(library))
    return torch.classes.khmer_fast_emulated.CudaDecoder


def obstacle(made: Any, lines: int, beam: int) -> str:
    """Why a decoder would take another loop than its own for such a batch, or ""."""
    if not getattr(made, "loop", "").startswith("persistent"):
        return ""
    return made.persistent_obstacle(lines, beam)


def on_device(tensors, options: Options) -> list[Any]:
    return [x.to(options.tensors) for x in tensors]


def search(made: Any, case: Any, device: str, arguments: dict[str, Any]) -> Any:
    """A traced search on the device, its result on the CPU."""
    from python_ref.beam_search import Trace

    got = made.beam_search(
        case.memory.to(device), case.length.to(device), **arguments,
        step_limit=case.step_limit.to(device), return_trace=True,
    )  # fmt: skip
    names = ("tokens", "length", "score", "log_prob", "truncated", "failed", "steps", "position")
    trace = Trace(*(getattr(got.trace, name).cpu() for name in ("parent", "token", "score")))
    return dataclasses.replace(got, trace=trace, **{n: getattr(got, n).cpu() for n in names})


def write_whole(file: Path, text: str) -> None:
    """All of it or nothing, so that a process that is killed leaves none in part."""
    part = file.with_name(file.name + ".part")
    part.write_text(text)
    part.replace(file)


@dataclass(frozen=True)
class Ended:
    code: int | None  # None: stopped at its limit
    said: str


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def end_with_the_parent() -> None:
    """Linux ends this process with the one that started it, however that one ends."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run_limited(command: list[str], log: Path, seconds: float, **environment: str) -> Ended:
    """Runs a command in a session of its own, and at its limit ends all of its processes.

    What it says goes to `log` while it runs, so that it is there whatever happens. The command ends
    with this process: a call that was killed leaves nobody who writes where its repetition does.
    """
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment, stdout=file, stderr=file,
            start_new_session=True, preexec_fn=end_with_the_parent,
        )  # fmt: skip
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return Ended(code, log.read_text(errors="replace")[-4000:])


def output(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-4000:]
        raise PartFailed(f"{' '.join(command[:4])} gave {done.returncode}", {"said": said})
    return done.stdout


def part_command(name: str, options: Options) -> list[str]:
    """The command that runs one part in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", name, "--out", str(options.out)]
    command += ["--device", options.device, "--train", str(options.train_minutes)]
    return command + (["--quick"] if options.quick else [])


Part = Callable[[Options], dict[str, Any]]
