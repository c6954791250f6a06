"""`benchmarks.gpu` without a GPU: every part runs, a part that fails is told and run again."""

from __future__ import annotations

import json

from benchmarks import gpu

DRY = ["--device", "cpu", "--quick"]


def test_parts(tmp_path):
    for part in ("environment", "build", "parity", "table", "probe", "sanitizers"):
        out = ["--out", str(tmp_path), "--part", part, *DRY]
        assert gpu.main(out) == 0, (tmp_path / f"{part}.json").read_text()
    options = gpu.Options(tmp_path, "cpu", True, 0)
    whole = gpu.report(options, list(gpu.PARTS))
    assert whole["parts"]["parity"]["found"]["lines"] > 10
    assert whole["parts"]["training"] is None
    text = (tmp_path / "gpu.md").read_text()
    assert "no number here is a measurement" in text and "| ours float32 |" in text


def test_report_names_the_fastest_loop(tmp_path):
    rows = [
        dict(sizes="512", case="forced", dtype="bfloat16", K=5, B=B, loop=loop, ms=ms,
             spread_ms=0.1, us_a_step=ms, engine=f"ours bfloat16 {loop}")
        for B, loop, ms in ((1, "plain", 6.0), (1, "persistent", 1.5), (256, "plain", 4.0),
                            (256, "graph", 5.0))
    ]  # fmt: skip
    rows.append(dict(rows[0], engine="eager step", ms=0.1))
    del rows[-1]["loop"]
    best = gpu.fastest(rows)
    assert [(r["B"], r["loop"], r["times_plain"]) for r in best] == [
        (1, "persistent", 4.0), (256, "plain", 1.0)
    ]  # fmt: skip
    part = {"ok": True, "found": {"rows": rows}, "seconds": 1}
    (tmp_path / "table.json").write_text(json.dumps(part))
    gpu.report(gpu.Options(tmp_path, "cuda", False, 0), ["table"])
    assert "| bfloat16 | 5 | 1 | persistent | 1.5 | 4.00 |" in (tmp_path / "gpu.md").read_text()


def test_failed_part_is_told_and_run_again(tmp_path, monkeypatch, capsys):
    (tmp_path / "build.json").write_text(json.dumps({"ok": True, "found": {}, "seconds": 1}))
    broken = {"ok": False, "error": "it broke", "found": {}, "seconds": 1}

    def write(*args, **options):
        (tmp_path / "tests.json").write_text(json.dumps(broken))
        raise gpu.subprocess.TimeoutExpired("x", 1)

    monkeypatch.setattr(gpu.subprocess, "run", write)
    assert gpu.main(["--out", str(tmp_path), "--only", "build", "tests", *DRY]) == 1
    said = capsys.readouterr().out
    assert "build: stands" in said and "tests: FAILED: it broke" in said
    assert "FAILED" in (tmp_path / "gpu.md").read_text()
