"""What was built, what this machine can use, and which backend would be chosen and why."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

from khmer_fast.cli import program_version
from khmer_fast.errors import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="FILE", help="weights (default: the packaged ones)")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """Prints `collect`; exits 1 if lines cannot be read here by default."""
    facts = collect(args.weights)
    if args.json:
        print(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        for title, values in facts.items():
            print(f"{title}:")
            for key, value in values.items():
                print(f"  {key.replace('_', ' '):20}{_shown(value)}")
    usable = not any("error" in facts[part] for part in ("processor", "weights", "backend"))
    return 0 if usable else 1


def collect(weights: str | None = None) -> dict[str, dict[str, Any]]:
    """All facts; what cannot be had is an `error` in its place."""
    return {
        "khmer_fast": _program(),
        "torch": _torch(),
        "processor": _processor(),
        "gpu": _gpu(),
        "weights": _weights(weights),
        "backend": _backend(weights),
        "training": _training(),
    }


def _program() -> dict[str, Any]:
    return {
        "version": program_version(),
        "python": platform.python_version(),
        "folder": str(Path(__file__).resolve().parents[1]),
    }


def _torch() -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {"version": str(torch.__version__)}
    build, error = _compiled()
    facts["built_against"] = None if build is None else build.TORCH
    if error:
        facts["error"] = error
    return facts


def _compiled() -> tuple[Any, str]:
    """What `_khmer_fast` was built against, or why it cannot be used."""
    from khmer_fast.errors import KhmerFastError

    try:
        from khmer_fast.ops import build
    except KhmerFastError as error:
        return None, str(error)
    return build, ""


def _processor() -> dict[str, Any]:
    import torch

    build, error = _compiled()
    facts = {
        "name": _processor_name(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch_uses": torch.backends.cpu.get_cpu_capability(),
    }
    if build is None:
        return {**facts, "error": error}
    from khmer_fast.ops import instruction_set, multiplies_bfloat16

    try:
        facts["instruction_set"] = instruction_set()
        facts["bfloat16"] = multiplies_bfloat16()
    except ValueError as error:  # KHMER_FAST_ISA
        return {**facts, "error": str(error)}
    if "KHMER_FAST_ISA" in os.environ:
        facts["capped_by"] = f"KHMER_FAST_ISA={os.environ['KHMER_FAST_ISA']}"
    return facts


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # no Linux
    return platform.processor() or "unknown"


def _gpu() -> dict[str, Any]:
    from khmer_fast.recognize.engine import gpu_facts

    build, error = _compiled()
    return {"error": error} if build is None else gpu_facts()


def _weights(path: str | None) -> dict[str, Any]:
    from khmer_fast.errors import KhmerFastError
    from khmer_fast.weights import load_weights

    try:
        weights = load_weights(path)
    except KhmerFastError as error:
        return {"error": str(error)}
    config = weights.config
    parameters = sum(tensor.numel() for tensor in weights.state.values())
    return {
        "file": printable(weights.path),
        "sha256": weights.sha256,
        "configuration": config.name,
        "parameters": parameters,
        "height": config.height,
        "characters": len(weights.charset),
        "normalizer_version": weights.metadata.get("normalizer_version"),
        "commit": weights.metadata.get("commit"),
    }


def _backend(path: str | None) -> dict[str, Any]:
    from khmer_fast.errors import KhmerFastError
    from khmer_fast.recognize.engine import choose
    from khmer_fast.weights import load_weights

    try:
        choice = choose(weights=load_weights(path))
    except KhmerFastError as error:
        return {"error": str(error)}
    return vars(choice)


def _training() -> dict[str, Any]:
    """Which operators training runs through by default: decoder and encoder GRU."""
    build, error = _compiled()
    if build is None:
        return {"error": error}
    from khmer_fast.recognize.engine import GPU
    from khmer_fast.sequence import has_kernels

    fused = "khmer_fast::attn_gru_sequence"
    return {
        "backend": "fast",
        "decoder": fused,
        "encoder": "khmer_fast::gru_sequence",
        "gpu_decoder": fused if has_kernels(GPU) else "the plain loop: built for the CPU alone",
        "gpu_encoder": "torch.nn.GRU",
    }


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else printable(value)
