"""What `benchmarks.gpu` hands back: gpu.json, gpu.md to read, and a tar file for each call."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.gpu_run import Options

NOT_RUN = {"state": "not run", "found": {}, "seconds": 0.0}


def records(out: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The record of each part; what did not run is "not run"."""
    found = {}
    for name in names:
        file = out / f"{name}.json"
        found[name] = json.loads(file.read_text()) if file.exists() else dict(NOT_RUN)
    return found


def fastest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best loop for each batch, and how many times as fast as the plain one it is."""
    groups: dict[tuple, dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row.get("loop"):
            key = (row["sizes"], row["case"], row["dtype"], row["K"], row["B"])
            groups.setdefault(key, {})[row["loop"]] = row
    best = []
    for loops in groups.values():
        row = min(loops.values(), key=lambda r: r["ms"])
        best.append(dict(row, times_plain=loops["plain"]["ms"] / row["ms"]))
    return best


def cell(value: object, digits: int = 1) -> str:
    return (
        f"{value:.{digits}f}" if isinstance(value, float) else "" if value is None else str(value)
    )


def markdown(heads: list[str], rows: list[list[object]]) -> list[str]:
    return [
        "| " + " | ".join(heads) + " |",
        "| --- " * len(heads) + "|",
        *("| " + " | ".join(cell(x) for x in row) + " |" for row in rows),
    ]


def rows_of(parts: dict[str, dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return (parts.get(name) or NOT_RUN)["found"].get("rows", [])


def write_report(options: Options, names: Iterable[str]) -> dict[str, Any]:
    """All parts together in gpu.json and gpu.md; returns what gpu.json holds."""
    parts = records(options.out, names)
    facts = parts.get("environment", NOT_RUN)["found"]
    whole = {"device": facts.get("device"), "quick": options.quick, "parts": parts}
    (options.out / "gpu.json").write_text(json.dumps(whole, ensure_ascii=False, indent=1))
    lines = [f"# {facts.get('device', 'unknown device')}", ""]
    if options.quick or options.device != "cuda":
        lines += ["A dry run: no number here is a measurement of a GPU.", ""]
    lines += markdown(
        ["part", "result", "seconds", "why"],
        [
            [name, part["state"], part["seconds"], str(part.get("error", "")).strip()[-200:]
             .replace("\n", " ")]
            for name, part in parts.items()
        ],
    )  # fmt: skip
    rows = [*rows_of(parts, "table"), *rows_of(parts, "compiled")]
    if rows:
        keys = ("sizes", "V", "case", "B", "K", "engine", "parents", "us_a_step",
                "us_a_step_outside", "ms", "p99_ms", "spread_ms")  # fmt: skip
        lines += ["", "us a step inside: with keys and first state, outside: without them", ""]
        lines += markdown([*keys], [[r.get(k) for k in keys] for r in rows])
    best = fastest(rows_of(parts, "table"))
    if best:
        keys = ("sizes", "case", "dtype", "K", "B", "loop", "us_a_step", "times_plain")
        lines += ["", *markdown([*keys], [[r[k] for k in keys] for r in best])]
    tried = rows_of(parts, "variants")
    if tried:
        keys = ("sizes", "B", "loop", "us_a_step", "p99_ms", "spread_ms")
        lines += ["", *markdown([*keys], [[r[k] for k in keys] for r in tried])]
    for name, part in parts.items():
        if part["state"] == "not run" or name in ("table", "compiled", "variants"):
            continue
        lines += ["", f"## {name}", ""]
        if part.get("error"):
            lines += ["```", part["error"], "```"]
        for key, value in part["found"].items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines += [f"{key}:", "```", text[:6000], "```"]
    (options.out / "gpu.md").write_text("\n".join(lines) + "\n")
    return whole


def pack(options: Options, call: int, names: Iterable[str], more: Iterable[Path]) -> Path:
    """call_N.tar.gz: the report, and what the call's parts wrote; `more` goes below module/."""
    target = options.out / f"call_{call}.tar.gz"
    with tarfile.open(target, "w:gz") as tar:
        files = [options.out / "gpu.json", options.out / "gpu.md"]
        for name in names:
            files += sorted(options.out.glob(f"{name}.*")) + sorted(
                options.out.glob(f"{name}_*.log")
            )
        for file in files:
            if file.is_file() and file.suffix != ".so":
                tar.add(file, file.name)
        for file in more:
            tar.add(file, f"module/{file.name}")
    return target
