"""Whole pages with a network that makes no mistake and a reader that knows nothing: what is found,
where it stands, what is said; bounds; layouts."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from khmer_fast.document import Character, Line, Page
from khmer_fast.errors import ImageError, OptionError
from khmer_fast.files.file_page import FilePage
from khmer_fast.page import page_reader
from khmer_fast.page.bands import Maps
from khmer_fast.page.find import _level, find_lines
from khmer_fast.page.page_reader import PageReader
from khmer_fast.page.pictures import save_pictures
from tests.page_drawings import DrawnLine, DrawnPage, level


def paper_maps(shape: tuple[int, int], turned: int = 0) -> Maps:
    y, x = -(-shape[0] // 4), -(-shape[1] // 4)
    zeros = [np.zeros((y, x), np.float32) for _ in range(3)]
    rotation = np.full(4, 0.01, np.float32)
    rotation[turned] = 0.97
    return Maps(np.full((y, x), -9, np.float32), *zeros, rotation)


class DrawnSegmenter:
    """Knows the drawn pages by their pixels, upright or turned by quarters; else sees paper."""

    def __init__(self, *pages: DrawnPage):
        self.pages = pages

    def maps(self, grey: np.ndarray) -> Maps:
        for page in self.pages:
            for turn in range(4):
                if np.array_equal(np.rot90(page.grey, -turn), grey):
                    return page.maps() if turn == 0 else paper_maps(grey.shape, turn)
        return paper_maps(grey.shape)


def text_page(height: int = 1280, width: int = 900) -> DrawnPage:
    lines = [DrawnLine(60, 760, level(y), 14, subscript=0.8) for y in (100, 140, 180)]
    lines += [DrawnLine(60, 400, level(y), 14) for y in (300, 340)]
    return DrawnPage(height, width, lines=lines)


@pytest.fixture(scope="module")
def make_reader(tiny_weights):
    def make(*pages: DrawnPage, **options) -> PageReader:
        return PageReader(tiny_weights, DrawnSegmenter(*pages), beam=1, **options)

    return make


@pytest.fixture(autouse=True)
def all_is_text(monkeypatch):
    """The reader of these tests reads nothing well: to the likelihood of text it were none."""
    ones = "khmer_fast.page.assemble.text_likelihood"
    monkeypatch.setattr(ones, lambda found, numbers, lines: np.ones(len(lines)))


def lines_by_place(page: Page) -> list:
    return sorted(page.lines(), key=lambda line: line.box[1])


def overlap(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (area - shared)


def ink_box(page: DrawnPage, line: int):
    rows, columns = np.nonzero(page.owner == line + 1)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_a_page_has_its_lines_where_they_are(make_reader):
    drawn = text_page()
    page = make_reader(drawn).read_page(drawn.grey, number=7)
    assert (page.number, page.width, page.height, page.rotation) == (7, 900, 1280, 0)
    lines = lines_by_place(page)
    assert len(lines) == 5 and page.notes == () and page.transform == (1, 0, 0, 1, 0, 0)
    for i, line in enumerate(lines):
        assert overlap(line.box, ink_box(drawn, i)) == 1
        (x0, y0), (x1, y1) = line.baseline
        expected = drawn.lines[i].baseline(0)
        assert x0 < 70 and x1 > 380 and y0 == pytest.approx(expected, abs=0.7) == y1
        assert line.text and 0 <= line.confidence <= 1
    for region in page.regions:
        boxes = np.array([line.box for line in region.all_lines()])
        assert region.box == (*boxes[:, :2].min(0), *boxes[:, 2:].max(0))


def test_words_and_characters_stand_on_their_ink(make_reader):
    drawn = text_page()
    page = make_reader(drawn).read_page(drawn.grey)
    for line in page.lines():
        for part in (*line.words, *line.characters):
            if part.box is None:
                continue
            left, top, right, bottom = part.box
            assert line.box[0] <= left < right <= line.box[2]
            assert line.box[1] <= top < bottom <= line.box[3]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_page_is_turned_back(make_reader, rotation):
    drawn = text_page()
    upright = make_reader(drawn).read_page(drawn.grey)
    turned = np.ascontiguousarray(np.rot90(drawn.grey, -rotation // 90))
    page = make_reader(drawn).read_page(turned)
    assert page.rotation == rotation and (page.width, page.height) == (900, 1280)
    assert [line.box for line in page.lines()] == [line.box for line in upright.lines()]
    assert [note.kind for note in page.notes] == ["rotation undone"]
    # the transform leads to the pixels of the file
    a, b, c, d, e, f = page.transform
    x, y = 65.5, 95.5  # on ink: left post of the first letter
    file_x, file_y = a * x + c * y + e, b * x + d * y + f
    x, y = 61.5, 95.5
    file_x, file_y = a * x + c * y + e, b * x + d * y + f
    assert turned[int(file_y), int(file_x)] == drawn.grey[95, 61] == 20


class HastySegmenter(DrawnSegmenter):
    """Takes a page at first sight for one that stands the other way round, but is not sure."""

    seen = 0

    def maps(self, grey: np.ndarray) -> Maps:
        maps = super().maps(grey)
        self.seen += 1
        if self.seen > 1:
            return maps
        (turn,) = np.flatnonzero(maps.rotation > 0.5)
        rotation = np.full(4, 0.01, np.float32)
        rotation[[turn, (turn + 2) % 4]] = 0.38, 0.6
        return dataclasses.replace(maps, rotation=rotation)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_second_look_tells_which_way_round_a_page_stands(rotation):
    drawn = text_page()
    turned = np.ascontiguousarray(np.rot90(drawn.grey, -rotation // 90))
    found = find_lines(turned, HastySegmenter(drawn))
    assert found.rotation == rotation and len(found.lines) == 5
    assert np.array_equal(found.grey, drawn.grey)


class HeadlessSegmenter(DrawnSegmenter):
    """Finds lines on their head as well as upright ones, and takes every page for upright."""

    def maps(self, grey: np.ndarray) -> Maps:
        (page,) = self.pages
        if np.array_equal(page.grey[::-1, ::-1], grey):
            maps = page.maps()
            turned = (a[::-1, ::-1].copy() for a in (maps.band, maps.below, maps.above))
            return Maps(*turned, -maps.offset[::-1, ::-1], maps.rotation)
        return super().maps(grey)


class SureOf:
    """A reader that is sure of pictures of known bytes, and of no others: of their clusters, and
    as much as `line` of their lines."""

    def __init__(self, known: set[bytes], line: float = 0.9):
        self.known, self.line = known, line

    def read_crops(self, images, alone):
        sure = [(0.9, self.line) if x.tobytes() in self.known else (0.3, 0.01) for x in images]
        return [
            Line("text", line, (0, 0, *x.shape[::-1]), characters=(Character("text", cluster),))
            for x, (cluster, line) in zip(images, sure, strict=True)
        ]


@pytest.mark.parametrize("upright", [True, False])
def test_what_reads_surely_is_the_right_way_up(make_reader, upright):
    drawn = text_page()
    reader = make_reader(drawn)
    reader.segmenter = HeadlessSegmenter(drawn)
    found = find_lines(drawn.grey, reader.segmenter, 0)
    reader.reader = SureOf({found.crop(i).grey.tobytes() for i in range(5)})
    grey = drawn.grey if upright else np.ascontiguousarray(drawn.grey[::-1, ::-1])
    page = reader.read_page(grey)
    assert page.rotation == (0 if upright else 180)
    assert [line.confidence for line in page.lines()] == 5 * [0.9]
    assert [line.box for line in lines_by_place(page)] == [ink_box(drawn, i) for i in range(5)]


def test_a_page_of_sure_clusters_is_not_turned_to_try(make_reader, monkeypatch):
    drawn = text_page()
    reader = make_reader(drawn)
    found = find_lines(drawn.grey, reader.segmenter)
    reader.reader = SureOf({found.crop(i).grey.tobytes() for i in range(5)}, line=0.1)
    looks = []
    monkeypatch.setattr(page_reader, "find_lines", lambda *a: looks.append(a) or find_lines(*a))
    page = reader.read_page(drawn.grey)
    assert page.rotation == 0 and len(looks) == 1
    assert [line.confidence for line in page.lines()] == 5 * [0.1]


class SlantedSegmenter(DrawnSegmenter):
    """Knows lines by fitting them anew on whatever page comes: the drawn ones, slanted."""

    def __init__(self, page: DrawnPage, levelled: DrawnPage):
        super().__init__(page)
        self.levelled = levelled

    def maps(self, grey: np.ndarray) -> Maps:
        if grey.shape == self.levelled.grey.shape:
            return self.levelled.maps()
        return super().maps(grey)


def test_a_slanting_page_is_levelled_and_its_places_are_the_pages(make_reader, monkeypatch):
    slope = np.tan(np.radians(5))
    drawn = DrawnPage(
        1280,
        900,
        lines=[DrawnLine(60, 800, lambda x, y=y: y + slope * x, 14) for y in (100, 160, 220)],
    )
    level_grey = _level(drawn.grey, 5.0)
    height, width = level_grey.shape
    dy = (height - 1280) / 2
    # where the lines are on the levelled page: turned about its middle
    angle = np.radians(5)
    levels = []
    for y in (100, 160, 220):
        x, y = 430 - 450, y + slope * 430 - 640
        levels.append(-np.sin(angle) * x + np.cos(angle) * y + height / 2)
    copy = DrawnPage(height, width, lines=[DrawnLine(60, 900, level(y), 14) for y in levels])
    assert dy > 0
    # both are larger than the network's scale: let pages keep theirs
    monkeypatch.setattr("khmer_fast.page.find.network_scale", lambda height, width: 1.0)
    reader = make_reader(drawn)
    reader.segmenter = SlantedSegmenter(drawn, copy)
    page = reader.read_page(drawn.grey)
    assert page.skew == pytest.approx(5, abs=0.2) and (page.width, page.height) == (900, 1280)
    lines = lines_by_place(page)
    assert len(lines) == 3
    for i, line in enumerate(lines):
        assert overlap(line.box, ink_box(drawn, i)) > 0.85
        (x0, y0), *_, (x1, y1) = line.baseline
        assert (y1 - y0) / (x1 - x0) == pytest.approx(slope, abs=0.01)


def test_ink_of_no_line_is_said(make_reader):
    drawn = text_page()
    drawn.box(200, 600, 420, 800, 30)
    page = make_reader(drawn).read_page(drawn.grey)
    (note,) = page.notes
    assert note.kind == "unread ink" and note.share > 0.2
    assert overlap(note.boxes[0], (200, 600, 420, 800)) > 0.9


def test_low_confidence_is_marked_and_nothing_dropped(make_reader):
    drawn = text_page()
    page = make_reader(drawn, min_confidence=1.0).read_page(drawn.grey)
    assert all("low confidence" in line.flags for line in page.lines())
    assert len(list(page.lines())) == 5
    plain = make_reader(drawn).read_page(drawn.grey)
    assert all("low confidence" not in line.flags for line in plain.lines())


def test_too_many_lines_are_said(make_reader):
    drawn = text_page()
    page = make_reader(drawn, most_lines=3).read_page(drawn.grey)
    assert len(list(page.lines())) == 3
    (note,) = [note for note in page.notes if note.kind == "too many lines"]
    assert len(note.boxes) == 2 and "2 of 5 lines" in note.text


def test_reading_ends_in_time_and_says_so(make_reader, monkeypatch):
    monkeypatch.setattr("khmer_fast.page.page_reader.READ_TOGETHER", 2)
    drawn = text_page()
    page = make_reader(drawn, most_seconds=1e-9).read_page(drawn.grey)
    (note,) = [note for note in page.notes if note.kind == "out of time"]
    assert len(list(page.lines())) == 2 and len(note.boxes) == 3


def test_blank_pages_are_empty_pages(make_reader):
    for grey in (0, 255):
        page = make_reader().read_page(np.full((500, 400), grey, np.uint8))
        assert page.regions == () and page.error is None
        assert (page.width, page.height) == (400, 500)


def strip() -> DrawnPage:
    """A picture of one line, with the feet of a neighbour at its upper edge."""
    page = DrawnPage(80, 1280, lines=[DrawnLine(30, 1240, level(50), 24)])
    for x in range(100, 900, 90):
        page.box(x, 0, x + 10, 4, 20)
    return page


def test_layouts(make_reader):
    drawn = strip()
    whole = (0, 0, 1280, 80)
    for layout in ("auto", "line"):
        page = make_reader(drawn, layout=layout).read_page(drawn.grey)
        (line,) = page.lines()
        assert [region.box for region in page.regions] == [whole]
        assert line.text == make_reader(drawn).reader.read(drawn.grey).text
    (region,) = make_reader(drawn, layout="page").read_page(drawn.grey).regions
    assert region.box != whole
    page = make_reader(layout="line").read_page(np.full((40, 300), 255, np.uint8))
    assert [line.text for line in page.lines()] == [""]


def test_a_line_that_lies_on_its_side_is_turned(make_reader):
    drawn = strip()
    page = make_reader(drawn).read_page(np.ascontiguousarray(np.rot90(drawn.grey, -1)))
    assert page.rotation == 90 and (page.width, page.height) == (1280, 80)
    (line,) = page.lines()
    assert line.box[2] - line.box[0] > 1100


@pytest.mark.parametrize("upright", [True, False])
def test_a_line_on_its_head_is_turned_where_it_reads_better_so(make_reader, upright):
    drawn = strip()
    reader = make_reader(drawn)
    reader.segmenter = HeadlessSegmenter(drawn)
    found = find_lines(drawn.grey, reader.segmenter, 0)
    known = {drawn.grey.tobytes(), *(found.crop(i).grey.tobytes() for i in range(len(found.inks)))}
    reader.reader = SureOf(known)
    page = reader.read_page(drawn.grey if upright else drawn.grey[::-1, ::-1])
    assert page.rotation == (0 if upright else 180)
    assert [line.confidence for line in page.lines()] == [0.9]


def test_a_single_line_on_a_page_is_a_page(make_reader):
    drawn = DrawnPage(1280, 900, lines=[DrawnLine(60, 760, level(100), 14)])
    (line,) = make_reader(drawn).read_page(drawn.grey).lines()
    assert line.box == tuple(ink_box(drawn, 0))


def test_pages_come_in_order_and_are_read_together(make_reader):
    drawn = [text_page(), DrawnPage(700, 1280), text_page(1280, 1000)]
    reader = make_reader(*drawn)
    pages = list(reader.read_pages(FilePage(i + 1, x.grey) for i, x in enumerate(drawn)))
    assert [page.number for page in pages] == [1, 2, 3]
    assert [len(list(page.lines())) for page in pages] == [5, 0, 5]
    alone = reader.read_page(drawn[2].grey, 3)
    assert pages[2] == alone


def test_the_first_page_does_not_wait_for_the_last(make_reader, monkeypatch):
    monkeypatch.setattr("khmer_fast.page.page_reader.FIRST_READ", 5)
    drawn = text_page()
    taken = []

    def images():
        for number in range(1, 5):
            taken.append(number)
            yield FilePage(number, drawn.grey)

    pages = make_reader(drawn).read_pages(images())
    assert next(pages).number == 1 and taken == [1]


def test_a_line_that_cannot_be_read_is_flagged(make_reader, monkeypatch):
    drawn = text_page()
    reader = make_reader(drawn)
    real = reader.reader.read_crops

    def read_crops(images, alone):
        answers = real(images, alone)
        answers[0] = ImageError("a line of 30000 x 20 pixels")
        return answers

    monkeypatch.setattr(reader.reader, "read_crops", read_crops)
    page = reader.read_page(drawn.grey)
    failed = [line for line in page.lines() if "failed" in line.flags]
    assert len(failed) == 1 and failed[0].text == ""


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (20_000, 10), (3, 3)])
def test_strange_shapes_are_empty_pages(make_reader, shape):
    rng = np.random.default_rng(1)
    page = make_reader().read_page(rng.integers(0, 256, shape, np.uint8).astype(np.uint8))
    assert list(page.lines()) == [] and (page.height, page.width) == shape


class NoisySegmenter:
    """Sees bands everywhere."""

    def maps(self, grey: np.ndarray) -> Maps:
        maps = paper_maps(grey.shape)
        rng = np.random.default_rng(2)
        cells = rng.random((maps.band.shape[0] // 4 + 1, maps.band.shape[1] // 8 + 1)) < 0.5
        maps.band[:] = np.kron(np.where(cells, 4, -4), np.ones((4, 8)))[
            : maps.band.shape[0], : maps.band.shape[1]
        ]
        maps.above[:] = maps.below[:] = 2
        return maps


def test_noise_does_not_take_minutes(tiny_weights):
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (1280, 1280), np.uint8).astype(np.uint8)
    reader = PageReader(tiny_weights, NoisySegmenter(), beam=1, most_lines=50)
    start = time.monotonic()
    page = reader.read_page(noise)
    assert time.monotonic() - start < 60
    assert len(list(page.lines())) <= 50


def test_debug_pictures(make_reader, tmp_path):
    drawn = text_page()
    seen = []
    reader = make_reader(drawn, on_page=lambda found, page: seen.append((found, page)))
    page = reader.read_page(drawn.grey)
    (entry,) = seen
    assert entry[1] == page
    files = save_pictures(tmp_path, "one", *entry)
    assert [file.name.split(".")[1] for file in files] == [
        "bands",
        "lines",
        "owners",
        "order",
        "crops",
    ]
    assert all(file.stat().st_size > 500 for file in files)


def test_wrong_options(tiny_weights):
    for options in (
        {"layout": "poem"},
        {"min_confidence": 1.5},
        {"most_lines": 0},
        {"most_seconds": 0},
    ):
        with pytest.raises(OptionError):
            PageReader(tiny_weights, DrawnSegmenter(), **options)
