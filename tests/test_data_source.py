import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from fontTools.ttLib import TTFont

from khmer_fast.cli import main
from khmer_fast.data import LineSource, fonts, source
from khmer_fast.data.corpus import TextError
from khmer_fast.data.draw import (
    GlyphCache,
    Ink,
    Setting,
    ShapingError,
    draw_glyph,
    draw_line,
    require_raqm,
)
from khmer_fast.data.fonts import FontError, Span, load_fonts, open_face
from khmer_fast.data.mixture import LengthRange
from khmer_fast.data.text_parts import CONSONANTS, VOWELS, legal_cluster
from khmer_fast.data.texts import KINDS
from khmer_fast.text import COENG, Vocabulary, canonical, clusters
from tests.data_fixtures import (
    FONT,
    KHMER_FONTS,
    LATIN_FONTS,
    needs_fonts,
    small_config,
    small_source,
    write_texts,
)

pytestmark = needs_fonts


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> LineSource:
    return small_source(tmp_path_factory.mktemp("texts"))


def _pixels(folder, indices: list[int]) -> list[bytes]:
    made = small_source(folder)
    return [made.sample(7, i).image.tobytes() for i in indices]


def test_sample_depends_on_seed_and_index_alone(lines, tmp_path):
    first = [lines.sample(7, i) for i in range(24)]
    backwards = [lines.sample(7, i) for i in reversed(range(24))][::-1]
    assert [s.text for s in first] == [s.text for s in backwards]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, backwards, strict=True))
    other = [lines.sample(8, i).text for i in range(24)]
    assert len(set(other) & {s.text for s in first}) < 8
    with ProcessPoolExecutor(2) as pool:
        halves = list(pool.map(_pixels, [tmp_path] * 2, [[*range(0, 24, 2)], [*range(1, 24, 2)]]))
    assert halves[0] == [s.image.tobytes() for s in first[::2]]
    assert halves[1] == [s.image.tobytes() for s in first[1::2]]


def test_images_are_grey_lines_and_labels_are_canonical(lines):
    vocabulary = Vocabulary()
    longest = max(length.high for length in lines.config.text.lengths)
    kinds = set()
    for i in range(300):
        sample = lines.sample(1, i)
        kinds.add(sample.kind.split("/")[0])
        assert sample.image.dtype == np.uint8 and sample.image.ndim == 2
        assert 8 <= sample.image.shape[0] <= 240
        assert sample.text == canonical(sample.text)
        assert len(sample.text) <= longest
        assert all(token >= 3 for token in vocabulary.encode(sample.text))
        assert bool(sample.text) != (sample.kind.split("/")[0] == "blank")
    assert len(kinds) > len(KINDS) * 2 // 3


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_gives_canonical_text_of_the_length_asked_for(lines, kind):
    rng = random.Random(kind)
    for length in (1, 2, 9, 40, 130):
        for _ in range(20):
            text = lines.texts.text(rng, kind, length)
            assert text and text == canonical(text)
            assert len(text) <= max(length, len(clusters(text)[0]))
            assert not Vocabulary().unknown(text)


def test_length_ranges_are_kept(tmp_path):
    made = small_source(tmp_path, lengths=(LengthRange(20, 24, 1.0),), kinds={"running": 1.0})
    lengths = [len(made.texts.line(random.Random(i)).text) for i in range(200)]
    assert max(lengths) <= 24
    assert np.mean(lengths) > 14


def test_every_consonant_meets_every_subscript(lines):
    rng = random.Random(3)
    text = "".join(lines.texts.text(rng, "clusters", 100) for _ in range(4000))
    pairs = {(a, c) for a, b, c in zip(text, text[1:], text[2:], strict=False) if b == COENG}
    expected = {(a, "ត" if c == "ដ" else c) for a in CONSONANTS for c in CONSONANTS}
    assert expected <= pairs
    signs = "".join(chr(c) for c in range(0x17C6, 0x17D2)) + VOWELS
    assert set(signs) <= set(text)


def test_legal_clusters_are_one_cluster_without_dotted_circle(tmp_path):
    font = TTFont(FONT)
    assert 0x25CC in font.getBestCmap()
    for table in font["cmap"].tables:
        table.cmap.pop(0x25CC, None)
    bare = tmp_path / "bare.ttf"
    font.save(bare)
    rng = random.Random(5)
    made = {canonical(legal_cluster(rng)) for _ in range(1500)}
    for cluster in made:
        assert clusters(cluster) == [cluster]
        with_circle = draw_glyph(str(FONT), 32, cluster).ink
        assert np.array_equal(with_circle, draw_glyph(str(bare), 32, cluster).ink), cluster
    broken = "ក\u17b6\u17b6\u17b7"
    ink = draw_glyph(str(FONT), 32, broken).ink
    assert not np.array_equal(ink, draw_glyph(str(bare), 32, broken).ink)


def test_what_is_drawn_is_the_label(lines, monkeypatch):
    drawn: list[list[Span]] = []

    def record(spans, setting, cache, bold_span=None, nudge=None):
        drawn.append(spans)
        return draw_line(spans, setting, cache, bold_span, nudge)

    monkeypatch.setattr(source, "draw_line", record)
    for i in range(150):
        drawn.clear()
        text = lines.sample(2, i).text
        if text:
            assert "".join(span.text for span in drawn[0]) == text
            for span in drawn[0]:
                assert span.face.covers(span.text)
                if any("\u1780" <= c <= "\u17d3" for c in span.text):
                    assert span.face.khmer


def test_clusters_side_by_side_look_like_raqm_on_the_whole_line():
    face = open_face(str(FONT))
    text = "ក្រសួងប្រៃសណីយ៍និងទូរគមនាគមន៍សូមជម្រាប"
    line = draw_line([Span(text, face)], Setting(40, 0, 0.0, 0.0, False), GlyphCache())
    whole = draw_glyph(str(FONT), 40, text)
    assert line.ink.shape[0] == whole.ink.shape[0]
    assert abs(line.advance - whole.advance) < 0.02 * whole.advance
    width = min(line.ink.shape[1], whole.ink.shape[1])
    a, b = line.ink[:, :width] > 128, whole.ink[:, :width] > 128
    assert (a & b).sum() > 0.7 * (a | b).sum()
    assert abs(int(line.ink.sum()) - int(whole.ink.sum())) < 0.02 * whole.ink.sum()


def test_vowels_run_into_their_consonants_and_nothing_is_lost():
    face, cache = open_face(str(FONT)), GlyphCache()
    setting = Setting(40, 0, 0.0, 0.0, False)
    plain = draw_line([Span("ការលើក", face)], setting, cache)
    near = draw_line([Span("ការលើក", face)], replace(setting, overlap=6), cache)
    assert plain.advance - near.advance == 6  # one vowel stands before its consonant
    assert plain.ink.shape[1] - near.ink.shape[1] == 6
    until = cache.get(str(FONT), 40, 0, "កា").ink.shape[1]
    assert np.array_equal(plain.ink[:, :until], near.ink[:, :until])
    assert 0.8 * plain.ink.sum() < near.ink.sum() <= plain.ink.sum()
    far = draw_line([Span("លើ", face)], replace(setting, overlap=1000), cache)  # no further back
    assert far.ink.any() and far.advance > 0


def test_legacy_faces_set_marks_over_the_base_alone():
    face, cache = open_face(str(FONT)), GlyphCache()

    def drawn(text: str, legacy: bool) -> np.ndarray:
        setting = Setting(40, 0, 0.0, 0.0, False, legacy=legacy)
        return draw_line([Span(text, face)], setting, cache).ink > 128

    for text in ("ម្ប", "មី", "ស្ត្រី", "ទ្ធិ", "១"):  # nothing to move: no mark, or all of it below
        assert np.array_equal(drawn(text, True), drawn(text, False)), text
    modern, legacy = drawn("ម្បី", False), drawn("ម្បី", True)
    top = legacy[: len(legacy) - drawn("ម្ប", False).shape[0]]  # rows of the vowel alone
    alone = drawn("មី", False)
    assert not np.array_equal(modern, legacy) and abs(legacy.sum() - modern.sum()) < 60
    assert np.array_equal(top[:, : alone.shape[1]].any(0), alone[: len(top)].any(0))
    one, again = drawn("១", True), drawn("ៗ", True)
    assert again.shape[0] == pytest.approx(0.8 * one.shape[0], abs=2)


def test_small_letters_stand_for_subscripts_below_their_base():
    face, cache = open_face(str(FONT)), GlyphCache()

    def drawn(text: str, size: float) -> Ink:
        return draw_line(
            [Span(text, face)], Setting(40, 0, 0.0, 0.0, False, subscripts=size), cache
        )

    for text in ("កម", "ស្រ", "ក្យ", "ញ្ញ", "ស្ត្រ", "ក្នុ", "លើ", "ស្មើ"):  # no room for one
        assert np.array_equal(drawn(text, 0.6).ink, drawn(text, 0.0).ink), text
    own, small = drawn("ទ្ធិ", 0.0), drawn("ទ្ធិ", 0.6)
    assert own.advance == small.advance and not np.array_equal(own.ink, small.ink)
    below, letter = small.ink[small.baseline + 1 :] > 30, drawn("ធ", 0.0).ink > 30
    for axis in (0, 1):
        extent, whole = (np.ptp(np.flatnonzero(ink.any(axis))) + 1 for ink in (below, letter))
        assert extent == pytest.approx(0.6 * whole, abs=2)
    columns = np.flatnonzero(below.any(0))
    base = np.flatnonzero((drawn("ទិ", 0.0).ink > 128).any(0))
    assert columns.mean() == pytest.approx(base.mean(), abs=4)


def test_clusters_stand_beside_their_places():
    face, cache = open_face(str(FONT)), GlyphCache()
    setting = Setting(40, 0, 10.0, 0.0, False)
    moves = iter([0.0, 5.0, 0.0])
    line = draw_line([Span("កកក", face)], setting, cache, nudge=lambda: next(moves))
    letter = cache.get(str(FONT), 40, 0, "ក")
    for i, move in enumerate((0, 5, 0)):
        x = round(i * (letter.advance + 10) + move)
        assert np.array_equal(line.ink[:, x : x + letter.ink.shape[1]], letter.ink), i


def test_rows_are_stretched_in_order():
    ink = np.repeat(np.arange(100, dtype=np.uint8)[:, None], 30, 1)
    out = source._stretch_rows(random.Random(3), ink, 0.3)
    assert out.shape == ink.shape and not np.array_equal(out, ink)
    rows = out[:, 15].astype(int)
    assert (np.diff(rows) >= 0).all() and rows[0] < 4 and rows[-1] > 95
    assert abs(rows - np.arange(100)).max() < 25
    assert np.array_equal(source._stretch_rows(random.Random(3), ink, 0.0), ink)


def test_a_style_that_is_off_draws_no_number(lines, tmp_path):
    """So mixtures from before `overlap`, `uneven` and `proportions` give the same pixels."""
    style = lines.config.style
    assert not (style.overlap or style.uneven or style.proportions or style.subscripts)
    on = replace(lines.config, style=replace(style, proportions=1.0, proportion=(0.2, 0.3)))
    other = LineSource(on, text_folder=lines._text_folder, font_folders=(KHMER_FONTS, LATIN_FONTS))
    pairs = [(lines.sample(7, i), other.sample(7, i)) for i in range(6)]
    assert all(a.text == b.text for a, b in pairs)
    assert any(not np.array_equal(a.image, b.image) for a, b in pairs)


@pytest.mark.parametrize("path", sorted(KHMER_FONTS.glob("*.ttf")), ids=lambda path: path.stem)
def test_fonts_draw_letters_apart_and_spaces_empty(path):
    mixture = small_config().fonts
    library = load_fonts(mixture, (path.parent, LATIN_FONTS))
    library_held = load_fonts(mixture, (path.parent, LATIN_FONTS), held_out=True)
    faces = [f for f in library.faces() + library_held.faces() if f.path == str(path)]
    assert len(faces) == 1
    covered = faces[0].covered
    assert not draw_glyph(str(path), 40, " ").ink.any()
    subscripts = [f"ក{COENG}{c}" for c in CONSONANTS if c != "ដ" and c in covered]
    signs = [f"ក{chr(c)}" for c in range(0x17B6, 0x17D2) if chr(c) in covered]
    letters = [chr(c) for c in range(0x1780, 0x17B4) if chr(c) in covered]
    seen: dict[tuple, str] = {}
    for text in letters + signs + subscripts:
        glyph = draw_glyph(str(path), 40, text)
        key = (glyph.ink.tobytes(), glyph.ink.shape, glyph.left, glyph.top)
        assert key not in seen, f"{text} looks like {seen[key]}"
        seen[key] = text


def test_packaged_mixture_leaves_out_fonts_that_draw_spaces():
    try:
        library = load_fonts(small_config().fonts)
    except FontError as error:
        pytest.skip(str(error))
    for face in library.faces():
        assert not draw_glyph(face.path, 24, " ").ink.any(), face.path
        if face.khmer and face.covers("ក\u17d2"):
            circle = draw_glyph(face.path, 24, "\u25cc").ink
            assert not np.array_equal(draw_glyph(face.path, 24, "ក").ink, circle), face.path


def test_held_out_fonts_are_never_trained_on(tmp_path):
    train = load_fonts(small_config().fonts, (KHMER_FONTS, LATIN_FONTS))
    held = load_fonts(small_config().fonts, (KHMER_FONTS, LATIN_FONTS), held_out=True)
    names = [{face.path for face in library.faces() if face.khmer} for library in (train, held)]
    assert names[0] and names[1] and not names[0] & names[1]


def test_latin_falls_back_run_by_run():
    library = load_fonts(replace(small_config().fonts, own_latin=0.0), (KHMER_FONTS, LATIN_FONTS))
    face = open_face(str(FONT))
    spans = library.spans(random.Random(0), "ក្រុម ABC និង ១២", face)
    assert [span.text for span in spans] == ["ក្រុម ", "ABC", " និង ១២"]
    assert [span.face.khmer for span in spans] == [True, False, True]
    assert library.spans(random.Random(0), "ក\u4e00", face) is None


def test_glyph_cache_stays_within_its_limit():
    cache = GlyphCache(limit=60_000)
    rng = random.Random(1)
    for _ in range(400):
        cache.get(str(FONT), 40, rng.choice((0, 2)), canonical(legal_cluster(rng)))
    held = sum(glyph.ink.nbytes for glyph in cache._glyphs.values())
    assert 0 < held <= 60_000


def test_blank_lines_hold_no_text(tmp_path):
    made = small_source(tmp_path, blank=1.0)
    samples = [made.sample(3, i) for i in range(10)]
    assert all(s.text == "" and s.kind.startswith("blank/") for s in samples)
    assert all(s.image.size for s in samples)


def test_description_names_versions_and_hashes(lines):
    described = lines.describe()
    assert {"numpy", "pillow", "raqm", "freetype", "harfbuzz"} <= set(described["versions"])
    assert all(described["versions"].values())
    assert set(described["texts"]) == {"running.txt", "words.tsv"}
    assert str(FONT) in described["fonts"]


def test_without_raqm_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("khmer_fast.data.draw.features.check", lambda name: False)
    with pytest.raises(ShapingError, match="install"):
        require_raqm()


def test_fonts_that_cannot_be_used_are_named(tmp_path):
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font at all")
    empty = tmp_path / "empty"
    empty.mkdir()
    fonts = small_config().fonts
    with pytest.raises(FontError, match=r"broken\.ttf: does not open"):
        load_fonts(fonts, (KHMER_FONTS,), only=(broken,))
    with pytest.raises(FontError, match=r"DejaVuSans\.ttf: the font has no Khmer"):
        load_fonts(fonts, (KHMER_FONTS,), only=(LATIN_FONTS / "DejaVuSans.ttf",))
    with pytest.raises(FontError, match="found none"):
        load_fonts(fonts, (KHMER_FONTS,), only=(empty,))
    with pytest.raises(FontError, match="no such"):
        load_fonts(fonts, (KHMER_FONTS,), only=(tmp_path / "absent",))
    with pytest.raises(FontError, match="fonts-khmeros"):
        load_fonts(fonts, (empty,))


def test_nothing_that_the_fonts_can_draw_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_TRIES", 20)
    config = small_config(kinds={"url_in_text": 1.0}, blank=0.0)
    made = LineSource(config, text_folder=write_texts(tmp_path), font_folders=(KHMER_FONTS,))
    bare = replace(made.fonts.groups[0][0], covered=frozenset(CONSONANTS))
    made.fonts = replace(made.fonts, groups=((bare,),), weights=(1.0,), headings=(1.0,))
    with pytest.raises(FontError, match="20 lines"):
        made.sample(0, 0)
    assert made.dropped["font"] == 20


def test_a_missing_text_file_names_the_remedies(tmp_path):
    with pytest.raises(TextError, match=r"running.txt.*--text.*KHMER_FAST_DATA"):
        LineSource(small_config(), text_folder=tmp_path)


def test_a_sheet_needs_no_latin_font(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "SYSTEM_FOLDERS", (str(KHMER_FONTS),))
    monkeypatch.setenv("KHMER_FAST_DATA", str(tmp_path))
    (tmp_path / "a.txt").write_text("ព្រះរាជាណាចក្រកម្ពុជា ជាតិ សាសនា ព្រះមហាក្សត្រ\n", encoding="utf-8")
    sheet = tmp_path / "sheet.png"
    arguments = ["--text", str(tmp_path / "a.txt"), "--sheet", str(sheet), "--lines", "3"]
    assert main(["render", *arguments]) == 0
    assert sheet.stat().st_size > 1000
