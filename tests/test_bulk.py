"""Many files: what sources mean, what is done once, and what kills and bad files leave."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("pyarrow")

from khmer_fast.bulk.folder import BulkOptions, RunFolder
from khmer_fast.bulk.plan import Ledger, Sources
from khmer_fast.bulk.read_pages import FileFacts
from khmer_fast.bulk.records import (
    DONE,
    FAILED,
    PageRecord,
    clean,
    forget_failed,
    merge,
    parts,
    read_rows,
    record_id,
    write_part,
)
from khmer_fast.bulk.sources import expand
from khmer_fast.cli import main
from khmer_fast.errors import BulkError
from tests.conftest import draw


def record(sha256: str, page: int, status: str = DONE) -> PageRecord:
    return PageRecord(
        record_id(sha256, page), "a.png", page, status, "", "text", 0.5, 1, 0.1, "1", "w", "{}"
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of lines, one file of two frames, and three that cannot be read."""
    folder = tmp_path_factory.mktemp("pages")
    for i in range(6):
        Image.fromarray(draw(f"Page {i}")).save(folder / f"{i}.png")
    frames = [Image.fromarray(draw(f"Frame {i}")) for i in range(2)]
    frames[0].save(folder / "frames.tiff", save_all=True, append_images=frames[1:])
    (folder / "empty.png").write_bytes(b"")
    (folder / "not_a_pdf.pdf").write_bytes(b"<html>an error message</html>")
    (folder / "damaged.png").write_bytes((folder / "0.png").read_bytes()[:200])
    return folder


@pytest.fixture
def options(tiny_weights: Path) -> list[str]:
    return ["--weights", str(tiny_weights), "--beam", "1", "--workers", "1"]


def bulk(*arguments: str, **more) -> subprocess.Popen:
    command = [sys.executable, "-m", "khmer_fast", "bulk", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def rows(out: Path) -> list[dict]:
    """The results without what differs between two runs, in order."""
    found = list(read_rows(parts(out / "results")))
    return sorted(
        ({k: v for k, v in row.items() if k != "seconds"} for row in found), key=lambda r: r["id"]
    )


# ---- sources ----


def test_sources_are_files_folders_patterns_lists_and_tables(tmp_path):
    import pyarrow
    import pyarrow.parquet

    for name in ("b.png", "a.PDF", "notes.txt", "sub/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = str(tmp_path)
    inside = [f"{folder}/a.PDF", f"{folder}/b.png", f"{folder}/sub/c.jpg"]
    assert list(expand([folder])) == inside
    assert list(expand([f"{folder}/*.png", f"{folder}/b.png"])) == inside[1:2]
    assert list(expand(["-"], io.StringIO("x.png\n\ny y.pdf\r\n"))) == ["x.png", "y y.pdf"]
    table = tmp_path / "list.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"path": ["1.png", None, "2.png"]}), table)
    assert list(expand([str(table)])) == ["1.png", "2.png"]
    assert list(expand(["missing.png"])) == ["missing.png"]  # reading it says what is wrong


def test_sources_that_mean_nothing_are_errors(tmp_path):
    import pyarrow
    import pyarrow.parquet

    with pytest.raises(BulkError, match="no file matches"):
        list(expand([f"{tmp_path}/*.png"]))
    table = tmp_path / "list.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"name": ["1.png"]}), table)
    with pytest.raises(BulkError, match="column path"):
        list(expand([str(table)]))
    table.write_bytes(b"no table")
    with pytest.raises(BulkError, match="cannot be read"):
        list(expand([str(table)]))


def test_urls_are_listed(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    filesystem = fsspec.filesystem("memory")
    for name in ("/docs/b.png", "/docs/x/a.pdf", "/docs/readme.txt"):
        filesystem.pipe(name, b"bytes")
    found = list(expand(["memory://docs"]))
    assert [name.rpartition("docs/")[2] for name in found] == ["b.png", "x/a.pdf"]


# ---- records and ledger ----


def test_parts_are_the_ledger(tmp_path):
    file = FileFacts("a.pdf", "ab" * 32, 7)
    write_part(tmp_path, file.sha256, [record(file.sha256, n) for n in (1, 2, 3)])
    write_part(tmp_path, file.sha256, [record(file.sha256, 5, FAILED)])
    ledger = Ledger.read(tmp_path)
    assert ledger.failed == 1
    assert [task.pages for task in ledger.plan(file, 2)] == [(4, 6), (7,)]
    assert ledger.plan(file, 2) == []  # the same bytes under a second name
    broken = FileFacts("b.pdf", "cd" * 32, 0, "damaged")
    assert [task.pages for task in ledger.plan(broken, 9)] == [(0,)]


@pytest.mark.parametrize("merged", [False, True])
def test_failed_pages_are_read_once_more_and_no_page_is_lost(tmp_path, merged):
    file = FileFacts("a.pdf", "ab" * 32, 6)
    status = {1: FAILED, 6: FAILED}
    write_part(
        tmp_path, file.sha256, [record(file.sha256, n, status.get(n, DONE)) for n in range(1, 7)]
    )
    if merged:
        merge(tmp_path, least=1)
    assert forget_failed(tmp_path) == 2
    (task,) = Ledger.read(tmp_path).plan(file, 9)
    assert task.pages == (1, 6)
    write_part(tmp_path, file.sha256, [record(file.sha256, n) for n in task.pages])
    for _ in range(2):
        clean(tmp_path)
        found = {row["page"]: row["status"] for row in read_rows(parts(tmp_path))}
        assert found == dict.fromkeys(range(1, 7), DONE)
    assert forget_failed(tmp_path) == 0


def test_names_that_are_no_utf8_can_be_written(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    found = PageRecord("ab" * 32 + ":1", name, 1, DONE, name, "ខ្មែរ", 0.5, 1, 0.1, "1", "w", "{}")
    write_part(tmp_path, "ab" * 32, [found])
    (row,) = read_rows(parts(tmp_path))
    assert row["source"] == "caf\\udce9.png" and row["text"] == "ខ្មែរ"


def test_sources_are_counted_and_kept(tmp_path):
    names = ["a b", "", os.fsdecode(b"caf\xe9"), "line\nbreak", *(str(n) for n in range(20_000))]
    sources = Sources(iter(names))
    assert sources.count == len(names) and list(sources) == names == list(sources)


def test_merging_keeps_every_record_once(tmp_path):
    for n in range(1, 8):
        write_part(tmp_path, "ab" * 32, [record("ab" * 32, n)])
    before = sorted(row["id"] for row in read_rows(parts(tmp_path)))
    kept = parts(tmp_path)[0]
    data = kept.read_bytes()
    merge(tmp_path, least=3)
    assert len(parts(tmp_path)) == 3  # two merged ones, one part
    kept.write_bytes(data)  # as if killed before the parts were removed
    assert sorted(row["id"] for row in read_rows(parts(tmp_path))) == before
    (tmp_path / ".part.123").write_bytes(b"half")
    clean(tmp_path)
    assert not kept.exists() and not (tmp_path / ".part.123").exists()
    assert sorted(row["id"] for row in read_rows(parts(tmp_path))) == before


def test_a_damaged_result_is_named(tmp_path):
    (tmp_path / "part-1.parquet").write_bytes(b"half a file")
    with pytest.raises(BulkError, match="part-1.parquet"):
        Ledger.read(tmp_path)


def test_a_folder_belongs_to_one_run_with_its_options(tmp_path):
    options = BulkOptions(beam=5)
    with RunFolder(tmp_path, options, "w"):
        with pytest.raises(BulkError, match="another khmer-fast bulk"):
            RunFolder(tmp_path, options, "w").__enter__()
    with RunFolder(tmp_path, options, "w"):
        pass
    with pytest.raises(BulkError, match="beam 5 .now 1"):
        RunFolder(tmp_path, BulkOptions(beam=1), "w").__enter__()
    with pytest.raises(BulkError, match="weights sha256 'w'"):
        RunFolder(tmp_path, options, "v").__enter__()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(BulkError, match="damaged"):
        RunFolder(tmp_path, options, "w").__enter__()


# ---- runs ----


def test_a_run_reads_all_and_a_second_one_nothing(pages, options, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["bulk", str(pages), "--out", str(out), "--format", "json", "--json", *options]
    assert main(arguments) == 1  # three files failed
    first = json.loads(capsys.readouterr().out)
    assert (first["files"], first["pages"], first["failed"]) == (10, 11, 3)
    found = rows(out)
    assert [row["status"] for row in found].count(DONE) == 8
    bad = {Path(row["source"]).name: row["error"] for row in found if row["status"] == FAILED}
    assert bad.keys() == {"empty.png", "not_a_pdf.pdf", "damaged.png"} and all(bad.values())
    written = json.loads((out / "frames.json").read_text("utf-8"))
    assert len(written["pages"] if isinstance(written, dict) else written[0]["pages"]) == 2
    assert main(arguments) == 1
    second = json.loads(capsys.readouterr().out)
    assert (second["pages"], second["skipped"], second["failed_before"]) == (0, 11, 3)
    assert rows(out) == found


def test_the_same_bytes_are_read_once(pages, options, tmp_path, capsys):
    twin = tmp_path / "twin.png"
    twin.write_bytes((pages / "1.png").read_bytes())
    out = tmp_path / "out"
    assert main(["bulk", str(pages / "1.png"), str(twin), "--out", str(out), *options]) == 0
    assert len(list(parts(out / "results"))) == 1 and len(rows(out)) == 1


def test_wrong_options_are_said_before_work(pages, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["bulk", str(pages), "--out", str(tmp_path / "o"), "--format", "wav"])
    assert "expected one of" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["bulk", str(pages), "--out", str(tmp_path / "file")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_ray_gives_the_same_results(pages, options, tmp_path):
    pytest.importorskip("ray")
    local, remote = tmp_path / "local", tmp_path / "remote"
    bulk(str(pages), "--out", str(local), *options).communicate()
    process = bulk(str(pages), "--out", str(remote), "--ray", *options)
    said = process.communicate(timeout=600)
    assert rows(remote) == rows(local) and len(rows(remote)) == 11, said
