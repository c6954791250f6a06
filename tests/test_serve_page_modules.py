"""The web page's pure modules in a browser: clusters, edits of lines and pages, and merging."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from khmer_fast.document import Alternative, Cell, Character, Document, Line, Page, Region, Word
from khmer_fast.formats import json as json_format
from khmer_fast.formats import write
from khmer_fast.text import clusters
from tests.page_browser import ROOT, browser, tab

__all__ = ["browser"]  # a fixture


class Quiet(SimpleHTTPRequestHandler):
    """Serves the page's files, without a line for each."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript"}

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def modules(browser: Any) -> Iterator[Any]:
    """A blank browser page beside the page's files, for `import('./js/NAME.js')`."""
    folder = ROOT / "khmer_fast" / "serve" / "static"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    with tab(browser, address) as page:
        page.goto(f"{address}icon.svg")
        yield page
    server.shutdown()
    server.server_close()


def line(text: str, top: int, sure: float = 0.9, placed: bool = True) -> Line:
    """A line of 20 px a cluster from (40, top) on, 30 px high."""
    parts = clusters(text)
    right = 40 + 20 * max(len(parts), 1)
    boxes = [(40 + 20 * i, top, 60 + 20 * i, top + 30) for i in range(len(parts))]
    characters = tuple(
        Character(part, sure, box if placed else None)
        for part, box in zip(parts, boxes, strict=True)
    )
    words = tuple(Word(word, sure, (40, top, right, top + 30)) for word in text.split())
    baseline = ((40.0, top + 25.0), (float(right), top + 25.0))
    return Line(text, sure, (40, top, right, top + 30), baseline, (), words, characters)


def small_page() -> Page:
    """Two regions and a table, one line without text, one without places."""
    text = Region(
        "text",
        (40, 40, 400, 170),
        (
            line("ព្រះរាជាណាចក្រ កម្ពុជា", 40, 0.5),
            line("", 90),
            line("ជាតិ សាសនា 2025", 140, placed=False),
        ),
    )
    cells = (
        Cell(0, 0, (40, 200, 300, 230), (line("ចំនួន", 200),)),
        Cell(0, 1, (320, 200, 500, 230), ()),
        Cell(1, 0, (40, 240, 300, 310), (line("១២", 240), line("x", 280))),
    )
    table = Region("table", (40, 200, 500, 310), (), cells)
    return Page(1, 600, 800, (text, table, Region("footer", (40, 700, 80, 730), (line("៣", 700),))))


def as_json(page: Page) -> dict:
    return json.loads(write(Document("x", (page,)), "json"))["pages"][0]


def as_page(record: dict) -> Page:
    document = json.dumps({"version": 1, "source": "x", "pages": [record]})
    return json_format.read(document).pages[0]


def texts(record: dict) -> list[str]:
    return [line.text for line in as_page(record).lines()]


def test_clusters_are_the_readers(modules: Any):
    """js/clusters.js splits texts as khmer_fast.text does."""
    samples = [
        "ព្រះរាជាណាចក្រកម្ពុជា", "ក្រ្ដ ខ្ញុំ២០២៥ web ។ល។", "្ក្", "៛១០០", "a\u200bក៏😀", "", "ស៊ីញ៉េ", "\u25ccិ",
    ]  # fmt: skip
    split = "all => import('./js/clusters.js').then(m => all.map(m.clusters))"
    assert modules.evaluate(split, samples) == [clusters(text) for text in samples]


@pytest.mark.parametrize(
    ("a", "b"), [("abcdef", "abXdf"), ("", "ab"), ("ab", ""), ("aXbYc", "abc"), ("abab", "baba")]
)
def test_differences_lead_from_one_to_the_other(modules: Any, a: str, b: str):
    find = "([a, b]) => import('./js/clusters.js').then(m => m.differences(a, b))"
    result = list(a)
    for i0, i1, j0, j1 in reversed(modules.evaluate(find, [list(a), list(b)])):
        result[i0:i1] = b[j0:j1]
    assert "".join(result) == b


def test_an_edit_keeps_what_stayed(modules: Any):
    """Clusters that stay keep box and confidence, a new one is sure and takes the old one's box."""
    before = as_json(small_page())["regions"][0]["lines"][0]
    typed = before["text"].replace("រា", "រ៉ា")
    edit = "([line, text]) => import('./js/line.js').then(m => m.withText(line, text))"
    after = modules.evaluate(edit, [before, typed])
    at = clusters(before["text"]).index("រា")
    for i, (old, new) in enumerate(zip(before["characters"], after["characters"], strict=True)):
        expected = {"text": "រ៉ា", "confidence": 1, "box": old["box"]} if i == at else old
        assert new == expected
    assert [word["text"] for word in after["words"]] == typed.split()


def test_alternatives_of_a_cluster(modules: Any):
    """Where another reading of the line parts from it, its stretch is offered."""
    found = line("កខគ", 0)
    other = Line(
        **vars(found)
        | {"alternatives": tuple(Alternative(t, -1.0) for t in ("កឃគ", "កគ", "កខគងច"))}
    )
    record = as_json(Page(1, 100, 100, (Region("text", found.box, (other,)),)))
    find = "([line, i]) => import('./js/line.js').then(m => m.alternatives(line, i))"
    of = [modules.evaluate(find, [record["regions"][0]["lines"][0], i]) for i in range(3)]
    assert of == [
        [],
        [{"start": 1, "end": 2, "text": "ឃ"}, {"start": 1, "end": 2, "text": ""}],
        [{"start": 2, "end": 3, "text": "គងច"}],
    ]


EDITS = """
async ([page, seed]) => {
  const model = await import('./js/page_model.js');
  const lines = await import('./js/line.js');
  let state = seed;
  const below = (n) => (state = (state * 48271) % 2147483647) % n;
  let now = model.opened(page);
  for (let i = 0; i < 60; i += 1) {
    const all = model.places(now);
    const { line } = all[below(all.length)];
    const at = below(line.text.length + 1);
    const typed = ['', 'ក', ' ', 'ស្ត្រី x'][below(4)];
    const text = line.text.slice(0, at) + typed + line.text.slice(at + below(3));
    now = [
      () => model.withLine(now, lines.withText(line, text.trim())),
      () => (at > 0 && at < line.text.length ? model.splitLine(now, line.key, at).page : now),
      () => model.joinLine(now, line.key)?.page ?? now,
      () => model.moveLine(now, line.key, below(2) * 2 - 1) ?? now,
      () => (all.length > 3 ? model.removeLine(now, line.key) : now),
      () => model.insertLine(now, { ...line, key: undefined }).page,
      () => model.withLine(now, lines.accepted(line)),
    ][below(7)]();
  }
  return JSON.parse(model.serialized(now));
}
"""


@pytest.mark.parametrize("seed", range(1, 41))
def test_edits_leave_a_page_that_agrees_with_itself(modules: Any, seed: int):
    """After sixty random edits: characters and words say the text, boxes lie on the page, and the
    service takes it without another change of a text than the canonical form."""
    corrected = pytest.importorskip("khmer_fast.serve.corrected")
    before = small_page()
    page = as_page(modules.evaluate(EDITS, [as_json(before), seed]))
    for one in page.lines():
        assert "".join(c.text for c in one.characters) == one.text
        assert [word.text for word in one.words] == one.text.split()
        places = [one.box, *(w.box for w in one.words), *(c.box for c in one.characters if c.box)]
        for left, top, right, bottom in places:
            assert 0 <= left < right <= page.width and 0 <= top < bottom <= page.height, one
    settled = corrected.settled(page, before)
    assert len(list(settled.lines())) == len(list(page.lines()))


MERGE = """
async ([base, mine, theirs]) => {
  const model = await import('./js/page_model.js');
  const { merge } = await import('./js/merge.js');
  const opened = model.opened(base);
  const lines = model.places(opened).map(({ line }) => line);
  let own = opened;
  for (const [i, text] of Object.entries(mine)) {
    own = model.withLine(own, { ...lines[i], text, characters: [] });
  }
  const merged = merge(opened, own, model.opened(theirs));
  return merged && { page: JSON.parse(model.serialized(merged.page)), both: merged.both };
}
"""


def test_merging_two_edits(modules: Any):
    base = as_json(small_page())
    theirs = as_json(small_page())
    theirs["regions"][0]["lines"][0]["text"] = "ក"
    theirs["regions"][0]["lines"][2]["text"] = "គ"
    merged = modules.evaluate(MERGE, [base, {"2": "ឃ", "3": "ង"}, theirs])
    assert texts(merged["page"])[:4] == ["ក", "", "ឃ", "ង"]
    assert [(one["mine"], one["theirs"]) for one in merged["both"]] == [("ឃ", "គ")]
    del theirs["regions"][0]["lines"][1]
    assert modules.evaluate(MERGE, [base, {"2": "ឃ"}, theirs]) is None


def test_both_languages_say_everything(modules: Any):
    """No key is missing in Khmer, and placeholders are the same."""
    read = "n => import(`./texts/${n}.js`).then(m => m[n])"
    en, km = modules.evaluate(read, "en"), modules.evaluate(read, "km")
    assert en.keys() <= km.keys()

    def placeholders(text: str | list[str]) -> set[str]:
        last = text if isinstance(text, str) else text[-1]
        return {part.split("}")[0] for part in last.split("{")[1:]}

    assert {k: placeholders(km[k]) for k in en} == {k: placeholders(en[k]) for k in en}
    sources = " ".join(path.read_text("utf-8") for path in _sources())
    unused = [
        key for key in en if f'"{key}"' not in sources and key.rpartition(".")[0] not in DYNAMIC
    ]
    assert not unused


DYNAMIC = {  # keys whose last part is data
    "conflict", "error", "flag", "format", "option", "option.layout", "option.text_layer", "region",
    "save", "status", "upload",
}  # fmt: skip


def _sources() -> list[Path]:
    return sorted((ROOT / "khmer_fast" / "serve" / "static" / "js").glob("*.js"))
