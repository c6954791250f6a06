"""Bulk over what is not a good file beside it: bad files, S3, failed pages, the queries of docs."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

pytest.importorskip("pyarrow")

from khmer_fast.bulk.records import DONE, FAILED, parts, read_rows
from khmer_fast.cli import bulk as verb
from khmer_fast.cli import main
from khmer_fast.data.corpus import data_folder

GOOD = 500
ROOT = Path(__file__).resolve().parents[1]


def picture(text: str) -> Image.Image:
    """A small line."""
    image = Image.new("L", (104, 40), 255)
    ImageDraw.Draw(image).text((8, 6), text, font=ImageFont.load_default(size=24), fill=0)
    return image


def rows(out: Path) -> list[dict]:
    return list(read_rows(parts(out / "results")))


@pytest.fixture
def options(tiny_weights: Path) -> list[str]:
    return ["--weights", str(tiny_weights), "--beam", "1"]


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises more pixels than a machine has."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def write_bad_files(folder: Path) -> set[str]:
    """Files of which none has a page that can be read: damaged, encrypted, empty, huge, foreign."""
    import pikepdf

    good = folder / "good.pdf"
    picture("encrypted").save(good)
    with pikepdf.open(good) as pdf:
        pdf.save(folder / "encrypted.pdf", encryption=pikepdf.Encryption(user="u", owner="o"))
    bytes_of_pdf = good.read_bytes()
    good.unlink()
    (folder / "cut.pdf").write_bytes(bytes_of_pdf[: len(bytes_of_pdf) // 5])
    picture("cut").save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:100])
    picture("cut").save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:60])
    noise = np.random.default_rng(0).bytes(5000)
    for name in ("empty.png", "empty.pdf", "empty too.tiff"):
        (folder / name).write_bytes(b"")
    (folder / "huge.png").write_bytes(png_that_claims(400_000, 400_000))
    (folder / "noise.webp").write_bytes(noise)
    (folder / "noise.pdf").write_bytes(b"%PDF-1.7\n" + noise)
    (folder / "web page.pdf").write_bytes(b"<html><body>404</body></html>")
    (folder / "text.jpg").write_bytes("អក្សរ\n".encode())
    (folder / "nowhere.png").symlink_to(folder / "is not there.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe.png")
    (folder / os.fsdecode(b"no utf8 \xe9.png")).write_bytes(b"GIF89a")
    return {os.fsencode(path.name).decode("utf-8", "replace") for path in folder.iterdir()}


def test_good_files_among_bad_ones(options, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(GOOD):
        picture(f"{number:04d}").save(folder / f"{number:04d}.png")
    (folder / "bad").mkdir()
    bad = write_bad_files(folder / "bad")
    samples = data_folder() / "hostile"
    hostile = sorted(samples.iterdir()) if samples.is_dir() else []
    sources = [str(folder), *map(str, hostile)]
    status = main(["bulk", *sources, "--out", str(out), "--workers", "2", "--json", *options])
    summary = json.loads(capsys.readouterr().out)
    found = rows(out)
    of_bad = [row for row in found if "/in/bad/" in row["source"]]
    of_hostile = [row for row in found if row["source"] in set(map(str, hostile))]
    assert status == 1 and len(of_bad) == len(bad) and len(of_hostile) == len(hostile)
    assert all(row["status"] == FAILED and row["error"] and not row["json"] for row in of_bad)
    of_good = [row for row in found if row not in of_bad and row not in of_hostile]
    assert len(of_good) == GOOD and all(row["status"] == DONE for row in of_good)
    assert summary["pages"] == len(found) and summary["files"] == len(bad) + len(hostile) + GOOD


def test_failed_pages_are_read_again_when_asked(options, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    picture("one").save(folder / "1.png")
    (folder / "2.png").write_bytes(b"")
    arguments = ["bulk", str(folder), "--out", str(out), "--workers", "1", "--json", *options]
    assert main(arguments) == 1
    picture("two").save(folder / "2.png")
    assert main(arguments) == 1  # what failed before is still there
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["failed_before"] == 1
    assert main([*arguments, "--retry-failed"]) == 0
    assert sorted(row["status"] for row in rows(out)) == [DONE, DONE]


def test_files_of_one_name_and_of_the_same_bytes_have_their_formats(options, tmp_path):
    for name, text in (("a/law.png", "one"), ("b/law.png", "two"), ("c/twin.png", "one")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(text).save(tmp_path / name)
    out = tmp_path / "out"
    arguments = ["bulk", str(tmp_path / "?/*.png"), "--out", str(out), "--format", "json"]
    arguments += ["--format", "alto", "--workers", "2", *options]
    assert main(arguments) == 0
    documents = {path.name: json.loads(path.read_text("utf-8")) for path in out.glob("law*.json")}
    documents["twin.json"] = json.loads((out / "twin.json").read_text("utf-8"))
    assert len(documents) == 3 and len(list(out.glob("*.alto.xml"))) == 3
    sources = {os.path.relpath(x["source"], tmp_path) for x in documents.values()}
    assert sources == {"a/law.png", "b/law.png", "c/twin.png"}
    assert all(len(document["pages"]) == 1 for document in documents.values())
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.*")}
    (out / "twin.json").unlink()
    assert main(arguments) == 0  # writes what is missing, and nothing else
    after = {path: path.stat().st_mtime_ns for path in out.glob("*.*")}
    assert before.keys() == after.keys()
    changed = {path.name for path in before if before[path] != after[path]}
    assert changed <= {"twin.json", "run.lock"}


def test_without_a_terminal_progress_is_lines_of_json(options, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(verb, "REPORT_SECONDS", 0.0)
    for number in range(4):
        picture(str(number)).save(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"")
    out = tmp_path / "out"
    assert main(["bulk", str(tmp_path), "--out", str(out), "--workers", "1", *options]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[0]["pages"] == 0 and lines[0]["files_left"] == 4
    last = lines[-1]
    assert (last["pages"], last["failed"], last["pages_left"]) == (5, 1, 0)
    assert last["pages_per_second"] > 0 and last["seconds_left"] == 0


def test_on_a_terminal_progress_is_a_bar(options, tmp_path):
    import fcntl
    import pty
    import struct
    import subprocess
    import sys
    import termios

    for number in range(3):
        picture(str(number)).save(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "khmer_fast", "bulk", str(tmp_path)]
    command += ["--out", str(tmp_path / "out"), "--workers", "1", *options]
    process = subprocess.Popen(command, stderr=theirs, stdout=subprocess.PIPE, text=True)
    os.close(theirs)
    said = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:  # the terminal is closed: EIO
            break
        if not block:
            break
        said += block
    assert process.communicate()[0].startswith("4 pages of 4 files") and process.returncode == 1
    assert re.search(rb"4/4 \[.*page.*failed=1\]", said), said


# ---- other file systems ----


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 bucket of a server on this machine: its URL."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    import s3fs

    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("scans")
    yield "s3://scans"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_files_of_s3(bucket, options, tmp_path, capsys):
    import s3fs

    system = s3fs.S3FileSystem()
    names = ["1990/a.png", "1990/b c.png", "1991/law.pdf"]
    for number, name in enumerate(names):
        path = tmp_path / Path(name).name
        picture(str(number)).save(path)
        system.put(str(path), f"scans/{name}")
    system.pipe("scans/1991/empty.png", b"")
    system.pipe("scans/1991/notes.txt", b"no page")
    sources = [f"{bucket}/", f"{bucket}/1990/*.png", f"{bucket}/1992/missing.png"]
    out = tmp_path / "out"
    arguments = ["--out", str(out), "--workers", "1", "--json", "--format", "pdf", *options]
    assert main(["bulk", *sources, *arguments]) == 1
    summary = json.loads(capsys.readouterr().out)
    found = {row["source"]: row for row in rows(out)}
    assert found.keys() == {f"{bucket}/{name}" for name in names} | {
        f"{bucket}/1991/empty.png",
        f"{bucket}/1992/missing.png",
    }
    assert all(found[f"{bucket}/{name}"]["status"] == DONE for name in names)
    assert "0 bytes" in found[f"{bucket}/1991/empty.png"]["error"]
    assert "cannot be fetched" in found[f"{bucket}/1992/missing.png"]["error"]
    assert (summary["files"], summary["failed"]) == (5, 2)
    assert (out / "law.pdf").read_bytes().startswith(b"%PDF-")
    capsys.readouterr()
    assert main(["bulk", "s3://no-such-bucket/*.png", *arguments]) == 1
    assert "s3://no-such-bucket/*.png: " in capsys.readouterr().err


# ---- what docs/bulk.md says ----


def test_the_queries_of_the_documentation_run(options, tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    for number in range(3):
        picture(str(number)).save(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    main(["bulk", str(tmp_path), "--out", "results", "--workers", "1", *options])
    document = (ROOT / "docs/bulk.md").read_text("utf-8")
    found = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    assert found
    for code in found:
        names: dict = {}
        exec(compile(code, "docs/bulk.md", "exec"), names)
        assert list(names["failed"].source) == [str(tmp_path / "bad.png")]
        assert len(names["least_sure"]) == 3 and names["pages_a_second"] > 0
