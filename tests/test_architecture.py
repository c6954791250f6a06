"""The house: who may import whom, and that what comments and documents cite is there."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "khmer_fast"

# A room: a folder or a module at the top of khmer_fast. It may import the rooms named here.
FOUNDATION = {"errors", "text", "document", "threads", "memory"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "document": {"formats"},  # Document.save alone, when it is called
    "text": {"errors"},
    "threads": set(),
    "memory": set(),
    "ops": {"errors"},
    "sequence": {"errors", "ops"},
    "archive": {"errors"},
    "atomic": set(),
    "weights_file": {"archive", "atomic", "errors"},
    "weights": {"archive", "atomic", "errors", "text", "weights_file"},
    "segmenter_weights": {"archive", "atomic", "errors", "weights_file", "weights"},
    "pdfium": {"errors"},  # the one library that files and formats share, and its lock
    "toml_file": {"errors"},
    "files": FOUNDATION | {"pdfium"},
    "recognize": FOUNDATION | {"files", "ops", "weights"},
    "page": FOUNDATION | {"files", "ops", "weights", "segmenter_weights", "recognize"},
    "formats": {"errors", "document", "pdfium"},
    "evaluation": FOUNDATION | {"atomic", "files"},
    "data": FOUNDATION | {"toml_file", "files", "recognize", "evaluation"},
    "train": FOUNDATION
    | {"files", "ops", "sequence", "weights", "segmenter_weights", "recognize", "page"}
    | {"evaluation", "data", "atomic", "archive", "toml_file", "weights_file"},
    "bulk": FOUNDATION | {"files", "recognize", "page", "formats", "weights", "atomic"},
    "serve": FOUNDATION | {"files", "recognize", "page", "formats", "weights"},
}
ON_TOP = {"__init__", "__main__", "cli"}  # may import every room
NO_TORCH = {"document", "errors", "text", "files", "formats", "threads", "memory", "pdfium"}


def sources(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import of a file: in functions, relative ones, by name too."""
    tree = ast.parse(path.read_text("utf-8"))
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args:
            name = ast.unparse(node.func)
            first = node.args[0]
            if name in ("importlib.import_module", "import_module", "__import__"):
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield node.lineno, first.value


def room(name: str) -> str:
    """The room of khmer_fast that a dotted name or a file lies in."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def files_of_rooms() -> list[tuple[str, Path]]:
    found = []
    for path in sources(PACKAGE):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        found.append((parts[0], path))
    return found


def test_every_room_has_its_rule():
    rooms = {name for name, _ in files_of_rooms()} - ON_TOP
    assert rooms <= ALLOWED.keys(), f"no rule for {sorted(rooms - ALLOWED.keys())}"


def test_arrows_point_one_way():
    wrong = []
    for name, path in files_of_rooms():
        if name in ON_TOP:
            continue
        for line, target in imported(path):
            if target.split(".")[0] != PACKAGE or room(target) in (name, "__init__"):
                continue
            if room(target) not in ALLOWED[name]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_rooms_do_not_use_the_package_itself():
    """`from khmer_fast import Reader` inside a room would hide an arrow."""
    rooms = {name for name, _ in files_of_rooms()}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for name, path in files_of_rooms()
        if name not in ON_TOP
        for line, target in imported(path)
        if re.fullmatch(r"khmer_fast\.\w+", target) and target.split(".")[1] not in rooms
    ]
    assert not wrong, "\n".join(wrong)


def test_the_reference_imports_torch_alone():
    allowed = {"__future__", "torch", "math", "dataclasses", "typing", "collections", "python_ref"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for path in sources("python_ref")
        for line, target in imported(path)
        if target.split(".")[0] not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_what_needs_no_tensors_imports_no_torch():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for name, path in files_of_rooms()
        if name in NO_TORCH
        for line, target in imported(path)
        if target.split(".")[0] in ("torch", "python_ref") and name != "threads"
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_circles():
    """Modules of khmer_fast, TYPE_CHECKING and functions included, import each other one way."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sources(PACKAGE)
    }
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        targets = set()
        for _, target in imported(path):
            for candidate in (target, target.rpartition(".")[0]):
                if candidate in modules and candidate != name:
                    targets.add(candidate)
                    break
        graph[name] = targets
    graph["khmer_fast.document"].discard("khmer_fast.formats")  # Document.save
    for package in ("khmer_fast", "khmer_fast.data", "khmer_fast.train", "khmer_fast.formats"):
        graph.get(package, set()).clear()  # they name their public parts, loaded when asked for
    state: dict[str, int] = {}
    circles: list[str] = []

    def visit(name: str, way: list[str]) -> None:
        state[name] = 1
        for target in sorted(graph[name]):
            if state.get(target) == 1:
                circles.append(" > ".join([*way[way.index(target) :], target]))
            elif target not in state:
                visit(target, [*way, target])
        state[name] = 2

    for name in sorted(graph):
        if name not in state:
            visit(name, [name])
    assert not circles, "\n".join(circles)


def tracked() -> list[Path]:
    run = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if run.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in run.stdout.decode().split("\0") if name]


CITATION = re.compile(r"(?<![\w/.-])((?:[\w-]+/)*[\w-]+\.(?:md|toml|sh|cuh|cu|cpp))(?![\w/-])")


def test_what_is_cited_is_there():
    """Documents, scripts and sources that comments and documents name exist in the repository."""
    names = {str(path.relative_to(ROOT)) for path in tracked()}
    stems = {Path(name).name for name in names}
    outside = re.compile(r"[A-Z]+\.\w+|config\.toml|law\.md|_harness\.cpp|my_op.*")  # users' files
    made = {"gpu.md", "probe.cu", "kernel.cu", "FOLDER/gpu.md"}  # by code
    missing = []
    for path in tracked():
        if path.suffix not in (".py", ".md", ".h", ".cpp", ".cu", ".cuh", ".sh"):
            continue
        if "tests" in path.parts and path.suffix == ".py":
            continue  # tests make files of their own
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            for cited in CITATION.findall(line):
                where = (path.parent / cited).resolve()
                if cited in names or where.exists() or cited in made:
                    continue
                if Path(cited).name in stems and any(name.endswith(cited) for name in names):
                    continue
                if outside.fullmatch(Path(cited).name):
                    continue
                missing.append(f"{path.relative_to(ROOT)}:{number} cites {cited}")
    assert not missing, "\n".join(missing)


def test_nothing_names_a_private_place():
    """What is tracked reaches development data by KHMER_FAST_DATA alone."""
    private = re.compile(r"\.\./shared|shared/(?:data|design)|[\"']shared[\"'] */")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix in (".py", ".md", ".toml", ".sh", ".h", ".cpp", ".cu", ".cuh")
        and path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if private.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_development_sets_are_called_so_where_they_are_quoted():
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text("utf-8")
        if re.search(r"real_lines|real_varied|[0-9] labelled lines", text):
            assert "development set" in text, f"{path.name} quotes a development set as if unseen"


def test_one_file_knows_devices():
    """The seam for a device: recognize/engine.py."""
    knows = re.compile(r"""torch\.cuda|["']cuda["']|is_cuda|nccl""")
    found = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.is_relative_to(ROOT / "khmer_fast")
        and path.suffix == ".py"
        and knows.search(path.read_text("utf-8"))
    ]
    assert found == ["khmer_fast/recognize/engine.py"]


LONGEST = 450  # lines of a file that still can be read at one go
LONGER = {  # and why they are
    "csrc/cuda/attn_gru_sequence_cuda.cu": "forward and backward of one op, read side by side",
    "csrc/cuda/beam_search_persistent_cuda.cu": "one kernel, in the reference's order",
}


def test_no_file_is_too_long():
    long = []
    for path in tracked():
        name = str(path.relative_to(ROOT))
        if path.suffix in (".py", ".h", ".cpp", ".cu", ".cuh") and name not in LONGER:
            count = len(path.read_text("utf-8").splitlines())
            if count >= LONGEST:
                long.append(f"{name}: {count}")
    assert not long, "\n".join(long)
