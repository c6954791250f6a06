"""Data sets of strangers: every damage is a named problem or one clear error."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from pathlib import Path

import pytest
from PIL import Image

from khmer_fast.cli import main
from khmer_fast.data.dataset import DatasetError, StoredSource, read_lines


def png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (30, 12), 255).save(file, "PNG")
    return file.getvalue()


def write_shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


GOOD = {"good.png": png(), "good.txt": "ក".encode()}


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"a.png": png(), "a.txt": b"\xff"}, "UTF-8"),
        ({"a.png": png(), "a.txt": b"1\n2"}, "one line"),
        ({"a.png": png()}, "a.txt"),
        ({"a.png": png(), "a.txt": b"1", "a.json": b"[1]"}, "columns"),
        ({"a.png": png(), "a.txt": b"1", "a.json": b'{"kind": 5}'}, "columns"),
        ({"a.png": png(), "a.txt": b"1", "a.json": b"[" * 100_000}, "JSON"),
        ({"\x1b[2J\n.png": png(), "\x1b[2J\n.txt": b"\xff"}, r"\x1b[2J\n"),
    ],
)
def test_a_bad_line_of_a_shard_is_one_problem(tmp_path, files, word):
    shard = write_shard(tmp_path / "a.tar", {**files, **GOOD})
    for read in (
        lambda problems: [line.text for line in read_lines(shard, problems.append)],
        lambda problems: [t for _, t in StoredSource(shard, on_problem=problems.append).labels()],
    ):
        problems: list = []
        assert read(problems) == ["ក"]
        assert len(problems) == 1 and word in str(problems[0])
        assert str(problems[0]).isprintable()
    with pytest.raises(DatasetError):
        list(read_lines(shard))
    with pytest.raises(DatasetError):
        StoredSource(shard)


def test_damaged_shards_are_errors_that_name_them(tmp_path):
    shard = write_shard(tmp_path / "a.tar", GOOD)
    content = shard.read_bytes()
    damaged = [content[:700], content[:512] + b"\xff" * 512 + content[1024:], b"no tar at all" * 99]
    for number, part in enumerate(damaged):
        path = tmp_path / f"damaged{number}.tar"
        path.write_bytes(part)
        for read in (lambda p: list(read_lines(p)), StoredSource):
            try:
                read(path)
            except DatasetError as error:
                assert path.name in str(error)


def test_a_member_that_claims_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "sparse.tar"
    member = tarfile.TarInfo("a.txt")
    member.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.txt",
        "GNU.sparse.realsize": str(20 << 30),
    }  # fmt: skip
    content = b"1\n0\n1\n".ljust(512, b"\0") + b"x"  # a map of one byte, then the byte
    member.size = len(content)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(content))
        for name, data in (("a.png", png()), ("b.png", png()), ("b.txt", b"1")):
            other = tarfile.TarInfo(name)
            other.size = len(data)
            tar.addfile(other, io.BytesIO(data))
    with tarfile.open(path) as tar:
        assert tar.getmember("a.txt").size == 20 << 30
    start = time.process_time()
    for read in (lambda p: list(read_lines(p)), StoredSource):
        with pytest.raises(DatasetError, match="21,474,836,480 bytes"):
            read(path)
    assert time.process_time() - start < 5


def test_data_check_names_what_it_cannot_read(tmp_path, capfdbinary):
    folder = tmp_path / "set"
    folder.mkdir()
    name = os.fsdecode(b"b\xff\x1b[2J")
    (folder / f"{name}.png").write_bytes(b"no image")
    (folder / f"{name}.gt.txt").write_text("ក", "utf-8")
    (folder / "good.png").write_bytes(png())
    (folder / "good.gt.txt").write_text("", "utf-8")
    assert main(["data", "check", str(folder)]) == 1
    out = capfdbinary.readouterr().out.decode("utf-8")
    assert r"b\xff\x1b[2J" in out and all(line.isprintable() for line in out.split("\n"))
    assert main(["data", "check", str(folder), "--json"]) == 1
    document = json.loads(capfdbinary.readouterr().out.decode("utf-8"))
    assert any(r"b\xff\x1b[2J" in fault["where"] for fault in document["findings"])
