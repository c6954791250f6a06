"""Says which versions with known holes setup.py and pyproject.toml still allow; exits 1 if any.

    python scripts/check_dependencies.py [DISTRIBUTION FOLDER]

The holes stand in KNOWN with their sources, as of the day in AS_OF; whoever hears of a new one adds
a row. A dependency without any says so with an empty list.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import tomllib
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
AS_OF = "2026-11-26"


@dataclass(frozen=True)
class Hole:
    fixed: str  # the first version without it
    what: str
    source: str


KNOWN: dict[str, list[Hole]] = {
    "pillow": [
        Hole("10.3.0", "overflow in ImageCms", "CVE-2024-28219"),
        Hole("11.3.0", "overflow while writing DDS", "CVE-2025-48379"),
        Hole("12.1.1", "write outside of the image by tile offsets of a PSD", "CVE-2026-25990"),
        Hole("12.2.0", "overflow by nested coordinates", "CVE-2026-42309, PYSEC-2026-2251"),
        Hole("12.3.0", "writes outside in paste, crop and the rank filter",
             "CVE-2026-59199, CVE-2026-59197, CVE-2026-59205"),
        Hole("13.0.0", "overflow in ImagingJpegDecode", "CVE-2026-112403, GHSA-8g5g-8vmr-9782"),
        Hole("13.0.0", "overflow in _tiffWriteProc", "CVE-2026-112393, GHSA-332p-7hrc-92wf"),
        Hole("13.0.0", "the decoder of tiled TIFF reads past its tile",
             "CVE-2026-112395, GHSA-462x-pgg6-55fp"),
        Hole("13.0.0", "overflow while writing a JPEG comment", "CVE-2026-96778"),
    ],
    "numpy": [
        Hole("1.21.0", "overflow with more than 32 dimensions", "CVE-2021-33430"),
        Hole("1.22.0", "overflow in f2py's array_from_pyobj", "CVE-2021-41496"),
        Hole("1.22.2", "null pointer in sort", "CVE-2021-41495"),
    ],
    "fonttools": [
        Hole("4.43.0", "external XML entities of OT-SVG fonts", "CVE-2023-45139, PYSEC-2026-1388"),
        Hole("4.60.2", "varLib writes any file", "CVE-2025-66034, PYSEC-2026-1389"),
    ],
    "tqdm": [
        Hole("4.11.2", "runs code out of a git log", "CVE-2016-10075, PYSEC-2017-74"),
        Hole("4.66.3", "evaluates its command line", "CVE-2024-34062, PYSEC-2026-1976"),
    ],
    "fastapi": [Hole("0.109.1", "a Content-Type that takes for ever", "CVE-2024-24762")],
    "starlette": [
        Hole("0.40.0", "form fields of any size", "CVE-2024-47874"),
        Hole("0.47.2", "large files of a form block the server", "CVE-2025-54121"),
        Hole("0.49.1", "a Range header that takes for ever", "CVE-2025-62727"),
    ],
    "h11": [Hole("0.16.0", "takes chunks with wrong ends", "CVE-2025-43859")],
    "python-multipart": [
        Hole("0.0.18", "logs each byte after a form's end", "CVE-2024-53981"),
        Hole("0.0.22", "writes uploads anywhere by their names", "CVE-2026-24486"),
    ],
    "rapidfuzz": [],
    "safetensors": [],
}  # fmt: skip


def requirements(root: Path = ROOT) -> dict[str, list[Requirement]]:
    """What is required, by place: of setup.py what is a constant (torch is pinned by the build)."""
    tree = ast.parse((root / "setup.py").read_text("utf-8"))
    (call,) = (
        x for x in ast.walk(tree) if isinstance(x, ast.keyword) and x.arg == "install_requires"
    )
    assert isinstance(call.value, ast.List)
    constants = [x.value for x in call.value.elts if isinstance(x, ast.Constant)]
    found = {"setup.py": [Requirement(str(text)) for text in constants]}
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    build = project["build-system"]["requires"]
    found["pyproject.toml, build"] = [Requirement(text) for text in build]
    for name, texts in project["project"].get("optional-dependencies", {}).items():
        found[f"pyproject.toml, extra {name}"] = [Requirement(text) for text in texts]
    return found


def oldest(requirement: Requirement) -> Version:
    """The oldest version that a requirement can mean; 0 without a lower bound."""
    bounds = [
        Version(x.version.removesuffix(".*"))
        for x in requirement.specifier
        if x.operator in (">=", "==", "~=", ">", "===")
    ]
    return max(bounds, default=Version("0"))


def complaints(found: dict[str, list[Requirement]]) -> list[str]:
    """One sentence for each known hole that a requirement lets in, and for each unknown package."""
    out = []
    for place, needed in found.items():
        for requirement in needed:
            name = requirement.name.lower()
            if name not in KNOWN:
                if place == "setup.py":
                    out.append(f"{place}: {name} has no row in KNOWN; look its holes up")
                continue
            for hole in KNOWN[name]:
                if oldest(requirement) < Version(hole.fixed):
                    out.append(
                        f"{place}: {requirement} allows versions before {hole.fixed}: "
                        f"{hole.what} ({hole.source})"
                    )
    return out


def main() -> int:
    said = complaints(requirements(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT))
    print("\n".join(said) if said else f"no version with a hole known on {AS_OF} is allowed")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
