"""The program: verbs, exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from khmer_fast.cli import VERBS, main
from khmer_fast.errors import KhmerFastError
from tests.conftest import draw
from tests.test_images import bad_files

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> list[str]:
    """Files of six line images, in an order that is not that of their widths."""
    folder = tmp_path_factory.mktemp("lines")
    paths = [folder / f"{i}.png" for i in range(6)]
    for i, path in enumerate(paths):
        Image.fromarray(draw(f"line {i} {'w' * (i * 5 % 6)}", 240)).save(path)
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def options(tiny_weights) -> list[str]:
    weights = ["--weights", str(tiny_weights), "--backend", "reference", "--beam", "2"]
    return [*weights, "--layout", "line"]


def start(*arguments: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "khmer_fast", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, env=ENVIRONMENT, text=True, **pipes)


def errors(said: str) -> list[str]:
    """What was said on stderr but for warnings: a model of random numbers earns many."""
    return [line for line in said.splitlines() if not line.startswith("khmer-fast: warning: ")]


# ---- the program ----


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, khmer_fast.cli\n"
        "try: khmer_fast.cli.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'safetensors', 'rapidfuzz', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    seconds = []  # of processor time: others may keep the processor busy
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0, done.stderr
        assert all(verb in done.stdout.decode() for verb in VERBS)
    assert min(seconds) < 0.3


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_without_torch(verb):
    module = VERBS[verb][0]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not written yet")
    code = (
        "import sys, khmer_fast.cli\n"
        f"try: khmer_fast.cli.main(['{verb}', '--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert f"khmer-fast {verb}" in done.stdout.decode()


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0 and "khmer-fast" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["read"],
        ["paint"],
        ["--colour"],
        ["read", "x.png", "--beam", "0"],
        ["read", "x.png", "--beam", "many"],
        ["read", "x.png", "--batch-size", "-3"],
        ["read", "x.png", "--backend", "quick"],
        ["read", "x.png", "--device", "tpu"],
        ["read", "x.png", "--dtype", "int3"],
        ["read", "x.png", "--threads", "0"],
        ["read", "x.png", "--beam", "2", "--n-best", "3"],
        ["info", "surplus"],
    ],
)
def test_usage_errors(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    output = capsys.readouterr()
    assert end.value.code == 2 and output.out == "" and "khmer-fast" in output.err


# ---- read ----


def test_read_prints_one_line_each(lines, options, capsys):
    assert main(["read", *lines, *options]) == 0
    together = capsys.readouterr()
    assert errors(together.err) == []
    texts = together.out.splitlines()
    assert len(texts) == len(lines) and len(set(texts)) > 1
    assert main(["read", lines[2], *options]) == 0
    assert capsys.readouterr().out == texts[2] + "\n"


def test_read_json(lines, options, capsys):
    assert main(["read", *lines, *options]) == 0
    texts = capsys.readouterr().out.splitlines()
    assert main(["read", *lines, *options, "--n-best", "2", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["source"] for record in records] == lines
    for record, text in zip(records, texts, strict=True):
        assert record.keys() == {"version", "source", "pages"}
        (page,) = record["pages"]
        assert (page["number"], page["width"], page["height"]) == (1, 240, 48)
        (region,) = page["regions"]
        (line,) = region["lines"]
        assert line.keys() == {
            "text", "confidence", "box", "baseline", "polygon", "words", "characters",
            "alternatives", "flags",
        }  # fmt: skip
        assert line["text"] == text and 0 <= line["confidence"] <= 1
        left, top, right, bottom = line["box"]
        assert 0 <= left < right <= 240 and 0 <= top < bottom <= 48
        assert "".join(x["text"] for x in line["characters"]) == text
        for part in (*line["characters"], *line["words"]):
            assert part.keys() == {"text", "confidence", "box"} and len(part["box"]) == 4
        assert isinstance(line["flags"], list)
        assert all(x.keys() == {"text", "score"} for x in line["alternatives"])


def test_bad_files_lose_no_neighbours(lines, options, capsys, tmp_path):
    assert main(["read", *lines, *options]) == 0
    texts = capsys.readouterr().out.splitlines()
    bad = [str(path) for path, _ in bad_files(tmp_path, draw()).values()]
    mixed = [*lines[:2], *bad, *lines[2:]]
    assert main(["read", *mixed, *options]) == 1
    output = capsys.readouterr()
    assert output.out.splitlines() == [*texts[:2], *[""] * len(bad), *texts[2:]]
    said = errors(output.err)
    assert len(said) == len(bad)
    for path, message in zip(bad, said, strict=True):
        assert message.startswith(f"khmer-fast: error: {path}: ")
    assert main(["read", *mixed, *options, "--json"]) == 1
    records = json.loads(capsys.readouterr().out)
    assert [record["source"] for record in records] == mixed
    for path, record in zip(bad, records[2:], strict=False):
        assert record.keys() == {"source", "error"} and path in record["error"]
    read = [r["pages"][0]["regions"][0]["lines"][0] for r in records if "pages" in r]
    assert [line["text"] for line in read] == texts


def test_names_cannot_forge_messages(options, capsys, tmp_path):
    path = tmp_path / "\x1b[2Ja\nkhmer-fast: error: forged.png"
    path.write_bytes(b"no image")
    assert main(["read", str(path), *options]) == 1
    output = capsys.readouterr()
    assert output.out == "\n" and "\x1b" not in output.err
    (message,) = output.err.splitlines()
    assert "\\x1b[2Ja\\nkhmer-fast: error: forged.png: is not an image" in message


def test_lines_that_lost_something_are_said(lines, options, capsys):
    assert main(["read", *lines, *options, "--json"]) == 0
    output = capsys.readouterr()
    for record in json.loads(output.out):
        flags = {f for page in record["pages"] for region in page["regions"]
                 for line in region["lines"] for f in line["flags"]}  # fmt: skip
        said = f"{record['source']}, page 1: 1 line may be misread"
        assert (said in output.err) == bool(flags & {"unread ink", "doubtful", "truncated"})


def test_a_blank_image_is_an_empty_line(options, capsys, tmp_path):
    Image.new("L", (300, 40), 255).save(tmp_path / "blank.png")
    assert main(["read", str(tmp_path / "blank.png"), *options]) == 0
    assert capsys.readouterr().out == "\n"


def test_bad_weights(lines, capsys, tmp_path):
    (tmp_path / "foreign").write_bytes(b"something else")
    for weights in (tmp_path / "missing", tmp_path / "foreign", tmp_path, Path(lines[0])):
        assert main(["read", lines[0], "--weights", str(weights), "--backend", "reference"]) == 1
        output = capsys.readouterr()
        assert output.out == "" and str(weights) in output.err and "Traceback" not in output.err


def test_cuda_where_there_is_none(lines, tiny_weights, capsys):
    pytest.importorskip("_khmer_fast", reason="the compiled module is not built")
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["read", lines[0], "--weights", str(tiny_weights), "--device", "cuda"]) == 1
    assert "cuda" in capsys.readouterr().err


def test_odd_file_names(options, capsys, tmp_path):
    name = os.fsdecode(b"\xff\xfe line.png")
    (tmp_path / name).write_bytes(b"")
    assert main(["read", str(tmp_path / name), *options, "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["source"].endswith(" line.png") and "error" in record


# ---- pipes, disks, signals ----


def test_a_locale_without_khmer(lines, options):
    environment = {**ENVIRONMENT, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "khmer_fast", "read", lines[0], *options]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0 and errors(done.stderr.decode()) == []
    assert done.stdout.decode("utf-8").strip()


def test_a_closed_pipe_is_quiet(lines, options):
    process = start("read", *lines * 20, *options)
    assert process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(60) == 141 and errors(said) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_full_disk_is_an_error(lines, options, form):
    with open("/dev/full", "w") as full:
        process = start("read", *lines, *options, *form, stdout=full)
        said = process.stderr.read()
        assert process.wait(60) == 1
    assert said.splitlines() == [
        "khmer-fast: error: cannot write the results: No space left on device"
    ]


def test_interrupting_is_quiet_and_quick(lines, options):
    process = start("read", *lines * 200, *options)
    assert process.stdout.readline()
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    said = process.stderr.read()
    assert process.wait(60) == 130 and errors(said) == []
    assert time.monotonic() - begin < 60


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_with_a_name_is_an_error_and_not_waited_for(lines, options, capsys, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert main(["read", str(tmp_path / "pipe.png"), lines[0], *options]) == 1
    output = capsys.readouterr()
    assert "is no regular file" in output.err and output.out.strip()


# ---- info ----


def test_info_tells_what_reading_uses(tiny_weights, capsys):
    code = main(["info", "--weights", str(tiny_weights), "--json"])
    facts = json.loads(capsys.readouterr().out)
    import torch

    assert facts["torch"]["version"] == torch.__version__
    assert facts["weights"]["configuration"] == "tiny" and facts["weights"]["commit"] == "0123abc"
    assert facts["backend"].keys() in ({"error"}, {"device", "backend", "dtype", "reason"})
    assert code == (1 if "error" in facts["backend"] else 0)
    assert main(["info", "--weights", str(tiny_weights)]) == code
    shown = capsys.readouterr().out
    assert torch.__version__ in shown and "0123abc" in shown


@pytest.mark.parametrize("cap", ["baseline", "avx2", "avx512"])
def test_info_tells_the_capped_instruction_set(cap, capsys, monkeypatch):
    ops = pytest.importorskip("khmer_fast.ops", exc_type=KhmerFastError)
    order = ["baseline", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16"]
    native = ops.instruction_set()
    monkeypatch.setenv("KHMER_FAST_ISA", cap)
    main(["info", "--json"])
    facts = json.loads(capsys.readouterr().out)
    expected = order[min(order.index(cap), order.index(native))]
    assert facts["processor"]["instruction_set"] == expected
    assert facts["processor"]["capped_by"] == f"KHMER_FAST_ISA={cap}"
    assert facts["processor"]["bfloat16"] is False  # these sets widen it, whatever the processor


def test_info_says_which_instruction_set_there_is_not(capsys, monkeypatch, tiny_weights):
    pytest.importorskip("khmer_fast.ops", exc_type=KhmerFastError)
    monkeypatch.setenv("KHMER_FAST_ISA", "sse")
    assert main(["info", "--weights", str(tiny_weights), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert "KHMER_FAST_ISA must be baseline" in facts["processor"]["error"]


def test_info_says_what_is_wrong(capsys, tmp_path):
    assert main(["info", "--weights", str(tmp_path / "missing"), "--json"]) == 1
    assert "missing" in json.loads(capsys.readouterr().out)["weights"]["error"]
