"""Runs a benchmark and keeps what it printed; writes docs/benchmarks.md from what is kept.

python -m benchmarks.record decode --compile       # runs it, keeps benchmarks/results/decode.json
python -m benchmarks.record decode@avx2 --quick    # the same benchmark under a second name
python -m benchmarks.record --write                # docs/benchmarks.md from all results
"""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
KEPT_ENVIRONMENT = ("KHMER_FAST_ISA", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")

TITLES = {  # in the order of the page: name, heading, what it tells
    "pages": ("Pages", "Whole pages, beside Tesseract (psm 3, khm+Khmer) on the same pages."),
    "documents": ("Documents", "PDFs in, every format out."),
    "read": (
        "Lines",
        "Line images to text. `real_lines` and `real_varied` are development sets: nothing was "
        "trained on them, but the renderer was improved by looking at their errors.",
    ),
    "hard": ("Hard lines", "Rendered lines of the kinds that readers stumble over."),
    "rendered": ("Rendered lines", "Fonts that training draws, and fonts that it never sees."),
    "foreign": ("No Khmer", "What is read where no Khmer stands."),
    "decode": (
        "The decoder",
        "Beam search alone. Eager is the decoder as a good engineer writes it "
        "(`benchmarks/eager.py`); the floor is the least that the machine could need for the "
        "unique parents that were met.",
    ),
    "ops": ("One step", "The operators of one decoder step."),
    "segment": ("The page network", "Parts of finding lines."),
    "train": ("Training", "Forward and backward of the decoder, and whole steps."),
    "render": ("Rendering", "Lines a second."),
    "serve": ("The service", "Load from clients on the same machine."),
    "bulk": ("Bulk", "Many pages, by processes and by Ray."),
}


def split_output(output: str) -> tuple[str, dict[str, Any]]:
    """What a benchmark printed for people, and the JSON document that it printed last."""
    decoder = json.JSONDecoder()
    for match in reversed(list(re.finditer(r"^\{", output, re.MULTILINE))):
        try:
            document, end = decoder.raw_decode(output, match.start())
        except ValueError:
            continue
        if not output[end:].strip():
            return output[: match.start()].strip("\n"), document
    raise ValueError("expected a JSON document at the end of what the benchmark printed")


def run(name: str, arguments: list[str]) -> Path:
    """Runs `benchmarks.NAME` (what follows an @ is only a name) and keeps its record."""
    module = name.partition("@")[0]
    command = ["python", "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(
        [sys.executable, *command[1:]], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"benchmarks.{module} ended with {done.returncode}; nothing was kept")
    printed, document = split_output(done.stdout)
    held = [f"{key}={os.environ[key]}" for key in KEPT_ENVIRONMENT if key in os.environ]
    folders = os.environ.get("KHMER_FAST_DATA")
    shown = " ".join([*held, *command])
    if folders:  # a stranger's folder of that name is elsewhere
        shown = shown.replace(folders, "$KHMER_FAST_DATA")
        printed = printed.replace(folders, "$KHMER_FAST_DATA")
    record = {
        "name": name,
        "command": shown,
        "date": datetime.date.today().isoformat(),
        "printed": printed,
        "document": document,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    text = json.dumps(record, ensure_ascii=False, indent=1)
    path.write_text(text.replace(folders, "$KHMER_FAST_DATA") if folders else text, "utf-8")
    return path


def page(records: list[dict[str, Any]]) -> str:
    """docs/benchmarks.md."""
    parts = [
        "# Benchmarks",
        "Written by `python -m benchmarks.record --write` from `benchmarks/results/`; what each "
        "figure means stands in [performance.md](performance.md). Every block is what its command "
        "printed, on the machine that it names.",
    ]
    order = list(TITLES)
    known = [record for record in records if record["name"].partition("@")[0] in TITLES]
    for record in sorted(
        known, key=lambda r: (order.index(r["name"].partition("@")[0]), r["name"])
    ):
        module, _, variant = record["name"].partition("@")
        title, about = TITLES[module]
        parts.append(f"## {title}" + (f", {variant}" if variant else ""))
        if not variant:
            parts.append(about)
        parts.append(f"`{record['command']}`, {record['date']}:")
        parts.append(f"```\n{record['printed']}\n```")
    return "\n\n".join(parts) + "\n"


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    if arguments == ["--write"]:
        records = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))]
        PAGE.write_text(page(records), "utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)} from {len(records)} results")
        return 0
    if arguments[0].partition("@")[0] not in TITLES:
        print(f"unknown benchmark {arguments[0]!r}; known: {', '.join(TITLES)}", file=sys.stderr)
        return 2
    print(f"kept {run(arguments[0], arguments[1:]).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
