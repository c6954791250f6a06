"""Writes every format of every document of a folder, and has other programs read what was written.

    python scripts/check_documents.py FOLDER [--schemas FOLDER] [--out FOLDER] [--only NAME ...]

`khmer-fast read` writes all formats (old text layers replaced); then ALTO and PAGE validate against
their schemas (alto-4-4.xsd, page-2019-07-15.xsd in --schemas), JSON against
docs/document.schema.json, hOCR nests as it must, LibreOffice opens the docx and gives its text, and
pdfium, poppler and mupdf extract the PDF's text: the first two word by word, mupdf, which parts
words where it ends lines, letter by letter. A line a document; exits 1 if anything differs. Needs
khmer-fast's extras, lxml, pymupdf, jsonschema, poppler-utils and LibreOffice; what is missing is
said and counts as a failure.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
FORMATS = "text,json,hocr,alto,page,markdown,csv,docx,xlsx,pdf"
SUFFIXES = (".pdf", ".jpg", ".jpeg", ".png", ".tif", ".tiff")
HOCR_PARENTS = {
    "ocrx_word": "ocr_line", "ocr_line": "ocr_par", "ocr_par": "ocr_carea",
    "ocr_carea": "ocr_page", "ocr_photo": "ocr_page",
}  # fmt: skip


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--schemas", type=Path, help="with alto-4-4.xsd, page-2019-07-15.xsd")
    parser.add_argument("--out", type=Path, help="keep what was written there")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    options = parser.parse_args()
    schemas = options.schemas or options.folder.parent / "schemas"
    files = [
        path for path in sorted(options.folder.iterdir())
        if path.suffix.lower() in SUFFIXES and (not options.only or path.stem in options.only)
    ]  # fmt: skip
    if not files:
        print(f"no documents in {options.folder}", file=sys.stderr)
        return 2
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for path in files:
            out = (options.out or Path(scratch)) / path.stem
            began = time.monotonic()
            said = read(path, out)
            if not (out / f"{path.stem}.json").exists():
                # what is no document says so, and nothing is left behind
                left = sorted(x.name for x in out.iterdir()) if out.exists() else []
                wrong = [f"left behind {left}"] if left or not said else []
                print(f"{path.name}: not read: {said}" + "".join(f"; WRONG {x}" for x in wrong))
            else:
                wrong = list(differences(path, out, schemas))
                print(f"{path.name}: {summary(out / f'{path.stem}.json')}; "
                      f"{time.monotonic() - began:.0f} s; "
                      + ("; ".join(f"WRONG {x}" for x in wrong) or "ok"), flush=True)  # fmt: skip
            failed += bool(wrong)
    print(f"{len(files)} documents, {failed} with differences")
    return 1 if failed else 0


def read(path: Path, out: Path) -> str:
    """Writes all formats of a file into a folder; what was said on stderr if it failed."""
    command = [sys.executable, "-m", "khmer_fast", "read", str(path), "--out", str(out), "--force",
               "--format", FORMATS, "--replace-text-layer"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    return done.stderr.strip() if done.returncode else ""


def summary(path: Path) -> str:
    """Pages, lines, and where the text came from."""
    document = json.loads(path.read_text("utf-8"))
    lines = sum(len(list(lines_of(page))) for page in document["pages"])
    origins = Counter(
        f"{page['origin']['source']}: {re.sub(r'[0-9.]+ ?%', 'N %', page['origin']['reason'])}"
        for page in document["pages"] if page["origin"]
    )  # fmt: skip
    errors = sum(bool(page.get("error")) for page in document["pages"])
    pages = f"{len(document['pages'])} pages" + (f" ({errors} failed)" if errors else "")
    notes = ", ".join(f"{text} ({count})" for text, count in origins.most_common())
    return f"{pages}, {lines} lines" + (f"; {notes}" if notes else "")


def lines_of(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The lines of a page's JSON, in reading order."""
    for region in page["regions"]:
        yield from region.get("lines", [])
        for cell in region.get("cells", []):
            yield from cell["lines"]


def differences(path: Path, out: Path, schemas: Path) -> Iterator[str]:
    """What is wrong with the files of one document."""
    stem = out / path.stem
    document = json.loads(stem.with_name(f"{path.stem}.json").read_text("utf-8"))
    for check in (json_schema, xml_schemas, hocr, docx, pdf):
        try:
            yield from check(document, stem, schemas)
        except (OSError, ImportError, ValueError, SyntaxError, subprocess.SubprocessError) as error:
            yield f"{check.__name__}: {type(error).__name__}: {error}"


def json_schema(document: dict[str, Any], stem: Path, schemas: Path) -> Iterator[str]:
    import jsonschema

    schema = json.loads((ROOT / "docs" / "document.schema.json").read_text("utf-8"))
    for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
        yield f"json: {error.message:.200}"


def xml_schemas(document: dict[str, Any], stem: Path, schemas: Path) -> Iterator[str]:
    from lxml import etree

    kinds = [("alto-4-4", [stem.with_name(f"{stem.name}.alto.xml")])]
    pages = sorted(stem.parent.glob(f"{glob_escape(stem.name)}*.page.xml"))
    kinds.append(("page-2019-07-15", pages))
    if len(pages) != len(document["pages"]):
        yield f"page: {len(pages)} files of {len(document['pages'])} pages"
    for name, files in kinds:
        schema = etree.XMLSchema(etree.parse(str(schemas / f"{name}.xsd")))
        for file in files:
            if not schema.validate(etree.parse(str(file))):
                yield f"{file.name}: {schema.error_log.last_error}"


def glob_escape(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def hocr(document: dict[str, Any], stem: Path, schemas: Path) -> Iterator[str]:
    root = ElementTree.parse(stem.with_name(f"{stem.name}.hocr")).getroot()
    parents = {child: parent for parent in root.iter() for child in parent}
    for element in root.iter():
        kind = element.get("class", "")
        if kind in HOCR_PARENTS and parents[element].get("class") != HOCR_PARENTS[kind]:
            yield f"hocr: {kind} inside {parents[element].get('class')}"
        if kind.startswith("ocr") and kind != "ocr_page":
            if not re.match(r"bbox -?\d+ -?\d+ -?\d+ -?\d+(;|$)", element.get("title", "")):
                yield f"hocr: {kind} without a box: {element.get('title')!r:.80}"
    words = [element.text for element in root.iter() if element.get("class") == "ocrx_word"]
    wanted = [word["text"] for page in document["pages"] for line in lines_of(page)
              for word in line["words"]]  # fmt: skip
    if words != wanted:
        yield f"hocr: {len(words)} words, {len(wanted)} were read"


def docx(document: dict[str, Any], stem: Path, schemas: Path) -> Iterator[str]:
    program = shutil.which("soffice")
    if program is None:
        yield "docx: no LibreOffice here"
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [program, f"-env:UserInstallation=file://{folder}/profile", "--headless",
                   "--convert-to", "txt:Text (encoded):UTF8", "--outdir", folder,
                   str(stem.with_name(f"{stem.name}.docx"))]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        found = bare((Path(folder) / f"{stem.name}.txt").read_text("utf-8-sig"))
    wanted = bare("".join(line["text"] for page in document["pages"] for line in lines_of(page)))
    # hyphens at ends of lines join words, markers of lists become bullets: neither counts
    if Counter(found) - Counter(wanted) or Counter(wanted) - Counter(found):
        more, less = Counter(found) - Counter(wanted), Counter(wanted) - Counter(found)
        yield f"docx: LibreOffice has {dict(more)} too many, {dict(less)} too few"


def bare(text: str) -> str:
    """Letters and digits alone, in canonical form."""
    from khmer_fast.text import canonical

    return "".join(
        c for c in canonical(text) if unicodedata.category(c)[0] in "LMNS" and c not in "•▪●"
    )


def pdf(document: dict[str, Any], stem: Path, schemas: Path) -> Iterator[str]:
    import pymupdf
    import pypdfium2

    file = stem.with_name(f"{stem.name}.pdf")
    program = shutil.which("pdftotext")
    if program is None:
        yield "pdf: no pdftotext (poppler-utils) here"
        return
    opened, other = pypdfium2.PdfDocument(str(file)), pymupdf.open(str(file))
    for index, page in enumerate(document["pages"]):
        if page.get("error") or is_believed(page):
            continue
        words = [word for line in lines_of(page) for word in line["text"].split()]
        found = opened[index].get_textpage().get_text_range().split()
        if comparable(found) != comparable(words) and not same_words(found, words):
            yield f"pdf page {index + 1}: pdfium {first_difference(found, words)}"
        number = str(index + 1)
        run = subprocess.run([program, "-raw", "-f", number, "-l", number, str(file), "-"],
                             capture_output=True, check=True, timeout=300)  # fmt: skip
        found = run.stdout.decode().split()
        if found != words and not same_words(found, words):
            yield f"pdf page {index + 1}: poppler {first_difference(found, words)}"
        letters = "".join(other[index].get_text().split())
        if sorted(letters) != sorted("".join(words)):
            yield f"pdf page {index + 1}: mupdf has other letters"


def is_believed(page: dict[str, Any]) -> bool:
    """Whether a page's text is its old layer's, which stays alone."""
    return bool(page["origin"]) and page["origin"]["source"] != "ocr"


def comparable(words: list[str]) -> list[str]:
    """As pdfium gives text: compatibility characters replaced, lines joined after a hyphen."""
    text = "\n".join(words).replace("\u0002", "-").replace("\ufffe", "-")
    return unicodedata.normalize("NFKC", re.sub(r"([-\xad])\s+", "-", text)).split()


def same_words(found: list[str], words: list[str]) -> bool:
    """Whether each word is there and nothing else, in another order (lines side by side)."""
    return Counter(comparable(found)) == Counter(comparable(words))


def first_difference(found: list[str], words: list[str]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(found, words, strict=False)) if a != b),
              min(len(found), len(words)))  # fmt: skip
    return (f"{len(found)} words of {len(words)}; word {at + 1} is "
            f"{found[at : at + 1]}, not {words[at : at + 1]}")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
