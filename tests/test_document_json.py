"""The JSON of a document: its schema, and there and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khmer_fast import document as document_module
from khmer_fast import formats
from khmer_fast.document import Document, Line, Page, Region
from khmer_fast.errors import FormatError
from khmer_fast.formats.json import VERSION, read
from khmer_fast.formats.json_schema import schema
from tests.support import documents

SCHEMA = Path(__file__).parents[1] / "docs" / "document.schema.json"


def test_the_schema_in_the_docs_is_the_dataclasses():
    assert json.loads(SCHEMA.read_text("utf-8")) == schema(), (
        "python -m khmer_fast.formats.json_schema > docs/document.schema.json"
    )


def test_the_schema_has_every_field():
    definitions = {"Document": schema(), **schema()["$defs"]}
    kinds = [
        kind
        for kind in vars(document_module).values()
        if dataclasses.is_dataclass(kind) and kind.__module__ == document_module.__name__
    ]
    assert {kind.__name__ for kind in kinds} == set(definitions)
    for kind in kinds:
        names = {field.name for field in dataclasses.fields(kind)}
        assert set(definitions[kind.__name__]["properties"]) - {"version"} == names


@pytest.mark.parametrize("document", [documents.document(3), Document("empty")], ids=str)
def test_what_is_written_validates_and_comes_back(document):
    jsonschema = pytest.importorskip("jsonschema")
    data = formats.write(document, "json")
    jsonschema.Draft202012Validator(schema()).validate(json.loads(data))
    assert read(data) == document
    assert json.loads(data)["version"] == VERSION


def test_hostile_text_comes_back():
    document = documents.hostile_document()
    again = read(formats.write(document, "json"))
    lone = str.maketrans({code: "?" for code in range(0xD800, 0xE000)})  # UTF-8 has none
    assert [line.text for line in again.lines()] == [
        line.text.translate(lone) for line in document.lines()
    ]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats(0, 1))
def test_any_text_comes_back(text, confidence):
    line = Line(text, confidence, (0, 0, 9, 9))
    document = Document(text, (Page(1, 9, 9, (Region("text", (0, 0, 9, 9), (line,)),)),))
    assert read(formats.write(document, "json")) == document


def test_numbers_that_json_lacks_are_an_error():
    document = Document("x", (Page(1, 9, 9, dpi=float("nan")),))
    with pytest.raises(FormatError, match="no way to write a number"):
        formats.write(document, "json")


def mutated(**changes):
    record = json.loads(formats.write(documents.document(), "json"))
    record.update(changes)
    return json.dumps(record)


@pytest.mark.parametrize(
    "data, message",
    [
        ("", "not the JSON of a document"),
        ("[" * 100_000, "not the JSON of a document"),
        ("[]", "expected the JSON of a document, with its version"),
        ("{}", "expected the JSON of a document, with its version"),
        (mutated(version=2), "expected a document of JSON version 1, got 2"),
        (mutated(extra=1), "document: no field 'extra' is known"),
        (mutated(source=5), "document.source: expected a value of type str, got 5"),
        (mutated(pages={}), "document.pages: expected a list, got {}"),
        (mutated(pages=[{"number": 1}]), r"document.pages\[0\]: .*missing.*'width'"),
        (mutated(pages=[{"number": True, "width": 1, "height": 1}]), "expected .* int, got True"),
        ('{"version": 1, "source": "", "pages": NaN}', "NaN is not a number"),
        (
            mutated(pages=[{"number": 1, "width": 1, "height": 1, "transform": [1]}]),
            "transform: expected 6 values, got 1",
        ),
        (
            mutated(
                pages=[
                    {"number": 1, "width": 1, "height": 1, "regions": [{"kind": "x", "box": []}]}
                ]
            ),
            "expected one of text, heading, list",
        ),
    ],
)
def test_what_is_no_document_is_said(data, message):
    with pytest.raises(FormatError, match=message):
        read(data)
