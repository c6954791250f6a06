"""The renderer's word lists: none of them is a label of what accuracy is measured on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from khmer_fast import data
from khmer_fast.data.corpus import data_folder
from khmer_fast.data.words import words
from khmer_fast.evaluation.labels import load_labels
from khmer_fast.text import canonical
from khmer_fast.toml_file import read_toml

FOLDER = Path(data.__file__).parent
# what stands at the head of every letter: kingdom and motto, government, kinds of documents
STOCK = {
    "ព្រះរាជាណាចក្រកម្ពុជា",
    "ជាតិ សាសនា ព្រះមហាក្សត្រ",
    "រាជរដ្ឋាភិបាលកម្ពុជា",
    "សេចក្តីជូនដំណឹង",
    "សេចក្តីណែនាំ",
    "សេចក្តីប្រកាសព័ត៌មាន",
    "ស្តីពី",
}


def bare(text: str) -> str:
    return canonical(text).replace(" ", "")


def texts_of_toml(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts_of_toml(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of_toml(item)


def texts_of_the_renderer() -> dict[str, str]:
    """Every Khmer text in the renderer's lists and code, bare, with the file that it stands in."""
    found: dict[str, str] = {}
    for path in sorted([*FOLDER.glob("*.py"), *FOLDER.glob("*.toml")]):
        if path.suffix == ".toml":
            texts = list(texts_of_toml(read_toml(path, ValueError)))  # type: ignore[type-var]
        else:
            tree = ast.parse(path.read_text("utf-8"))
            constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
            texts = [node.value for node in constants if isinstance(node.value, str)]
        for text in texts:
            for part in (text, *text.split()):
                if any("\u1780" <= character <= "\u17ff" for character in part):
                    found.setdefault(bare(part), path.name)
    return found


def test_nothing_is_a_label_of_the_development_sets(capsys):
    labels: dict[str, str] = {}
    for folder in sorted(data_folder().glob("real_*")):
        if (folder / "labels.tsv").is_file():
            labels |= {bare(label.text): label.where for label in load_labels(folder)}
    if not labels:
        pytest.skip("KHMER_FAST_DATA has no development sets")
    texts = texts_of_the_renderer()
    stock = {bare(text) for text in STOCK}
    copied = {text: texts[text] for text in texts.keys() & labels.keys()}
    with capsys.disabled():  # CI's log says how many
        print(
            f"\n{len(texts)} Khmer texts in the renderer, {len(labels)} labels: {len(copied)} in "
            f"both, all but {len(copied.keys() - stock)} of them stock phrases"
        )
    assert copied.keys() <= stock, {text: copied[text] for text in copied.keys() - stock}


def test_the_lists_are_read_whole():
    assert len(words("months")) == 12 and len(words("places")) == 25
    assert words("closers").count("។") == 4  # what stands several times is drawn as often
    assert all(canonical(word) for name in ("state", "fields", "openers") for word in words(name))
    with pytest.raises(KeyError):
        words("no such list")
