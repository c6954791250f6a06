"""Small texts and the fonts that Debian has, for the tests of khmer_fast.data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from khmer_fast.data import LineSource, RenderConfig, load_config
from khmer_fast.data.mixture import TextFile

KHMER_FONTS = Path("/usr/share/fonts/truetype/khmeros")
LATIN_FONTS = Path("/usr/share/fonts/truetype/dejavu")
FONT = KHMER_FONTS / "KhmerOSsiemreap.ttf"

RUNNING = """\
ក្រសួង​ប្រៃសណីយ៍ និង​ទូរគមនាគមន៍ សូម​ជម្រាប​ជូន​ដល់​និស្សិត​ដែល​កំពុង​សិក្សា ។
ព្រះរាជាណាចក្រកម្ពុជា ជាតិ សាសនា ព្រះមហាក្សត្រ
លោកបន្តថា ខាងមន្ទីរបានឱ្យមន្ត្រីជំនាញចុះត្រួតពិនិត្យតាមគោលដៅ ១២ កន្លែង (Side Event) នៅ www.example.com.kh។
ថ្ងៃនេះ អាកាសធាតុត្រជាក់ល្មម មនុស្សម្នាក់ៗដើរលេងតាមមាត់ទន្លេ ហើយក្មេងៗរត់លេងយ៉ាងសប្បាយ។
"""
WORDS = "សាលា\t5\nផ្ទះ\t4\nកម្ពុជា\nវិទ្យាល័យ\n"

needs_fonts = pytest.mark.skipif(
    not FONT.exists() or not LATIN_FONTS.exists(),
    reason=f"needs Debian's fonts-khmeros and fonts-dejavu-core ({FONT} is missing)",
)


def small_config(**text) -> RenderConfig:
    """The packaged mixture over the two small files; keywords replace fields of its texts."""
    config = load_config()
    files = (TextFile("running.txt", "running", 1.0), TextFile("words.tsv", "words", 1.0))
    return replace(config, text=replace(config.text, files=files, **text))


def write_texts(folder: Path) -> Path:
    """The two small files in `folder`."""
    (folder / "running.txt").write_text(RUNNING, encoding="utf-8")
    (folder / "words.tsv").write_text(WORDS, encoding="utf-8")
    return folder


def small_source(folder: Path, **text) -> LineSource:
    """Lines of the small texts in the fonts that every machine with the tests has."""
    write_texts(folder)
    return LineSource(
        small_config(**text), text_folder=folder, font_folders=(KHMER_FONTS, LATIN_FONTS)
    )
