"""docs/benchmarks.md is what the kept results say."""

from __future__ import annotations

import json

import pytest

from benchmarks import record


def test_the_last_document_is_split_off():
    printed, document = record.split_output('{"machine": 1}\n| a | b |\n{"rows": [{"x": 1}]}\n')
    assert printed == '{"machine": 1}\n| a | b |' and document == {"rows": [{"x": 1}]}
    printed, document = record.split_output('table\n{\n "rows": {"x": 2}\n}\n')
    assert printed == "table" and document == {"rows": {"x": 2}}


@pytest.mark.parametrize("output", ["", "no document", '{"a": 1} and more'])
def test_output_without_a_document_is_an_error(output):
    with pytest.raises(ValueError, match="JSON"):
        record.split_output(output)


def test_the_page_is_written_from_the_results():
    records = [
        json.loads(path.read_text("utf-8")) for path in sorted(record.RESULTS.glob("*.json"))
    ]
    if not records:
        pytest.skip("no results are kept yet")
    assert record.PAGE.read_text("utf-8") == record.page(records)


def test_records_stand_in_the_order_of_the_page():
    def made(name: str) -> dict:
        return {"name": name, "command": "c", "date": "d", "printed": "p", "document": {}}

    text = record.page([made("decode"), made("decode@avx2"), made("pages"), made("unknown")])
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["## Pages", "## The decoder", "## The decoder, avx2"]
