import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from khmer_fast.cli import main
from khmer_fast.data import PageSource
from khmer_fast.data.config import ConfigError
from khmer_fast.data.dataset import DatasetError
from khmer_fast.data.degrade import STEPS
from khmer_fast.data.mixture import Step
from khmer_fast.data.page_canvas import INKED
from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_config import DEFAULT_PAGES, load_page_config
from khmer_fast.data.page_decoys import DECOYS
from khmer_fast.data.page_files import page_text, read_page, write_pages
from khmer_fast.data.page_geometry import Warp, turn_points, turn_quarter
from khmer_fast.data.page_hard import over_lines
from khmer_fast.data.page_layouts import LAYOUTS, begin
from khmer_fast.data.page_type import Run
from khmer_fast.data.pages import _contrasts, _is_worn, _without_unseen
from khmer_fast.document import REGION_KINDS
from khmer_fast.text import canonical
from tests.data_fixtures import KHMER_FONTS, LATIN_FONTS, needs_fonts, small_config, write_texts

pytestmark = needs_fonts
SIDE = 360
CONFIG = load_page_config()
HARD = load_page_config(DEFAULT_PAGES.with_name("hard_pages.toml"))


def small_pages(folder: Path, config=CONFIG, **options) -> PageSource:
    """Pages of the small texts, small ones unless `long_side` says else."""
    options.setdefault("long_side", SIDE)
    return PageSource(
        config,
        lines=small_config(),
        text_folder=write_texts(folder),
        font_folders=(KHMER_FONTS, LATIN_FONTS),
        **options,
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> PageSource:
    return small_pages(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def hard(tmp_path_factory) -> PageSource:
    return small_pages(tmp_path_factory.mktemp("texts"), HARD)


@pytest.fixture
def flat(pages) -> Composer:
    """An empty page that nothing has been drawn on."""
    rng = random.Random(3)
    numbers = np.random.default_rng(3)
    page = begin(rng, numbers, pages.texts, pages._setter, "columns", "paper", 600)
    page.body = page.body.at(size=20.0, stretch=1.0, slant=0.0, level=0, bold=0)
    page.heading = page.body
    return page


def straight(config=CONFIG, **paper):
    """The mixture with one kind of paper, flat and clean but for `paper`'s fields."""
    still = {"skewed": 0.0, "bent": 0.0, "tilted": 0.0, "edges": 0.0, "steps": ()}
    papers = [replace(next(p for p in config.papers if p.on == on), **{**still, **paper})
              for on in ("paper", "screen")]  # fmt: skip
    return replace(config, papers=tuple(papers), turned=0.0)


def test_sample_depends_on_seed_and_index_alone(pages, tmp_path):
    first = [pages.sample(7, i) for i in range(8)]
    fresh = small_pages(tmp_path)
    backwards = [fresh.sample(7, i) for i in reversed(range(8))][::-1]
    for one, other in zip(first, backwards, strict=True):
        assert np.array_equal(one.image, other.image) and np.array_equal(one.owner, other.owner)
        assert [line.text for line in one.lines] == [line.text for line in other.lines]
    other = [pages.sample(8, i).image.tobytes() for i in range(8)]
    assert not set(other) & {page.image.tobytes() for page in first}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_layout_draws_pages_that_hold_together(pages, hard, layout):
    source = (pages if layout in {choice.name for choice in CONFIG.layouts} else hard).only(layout)
    for index in range(6):
        page = source.sample(11, index)
        Y, X = page.image.shape
        assert page.image.dtype == np.uint8 and page.owner.dtype == np.uint16
        assert page.owner.shape == (Y, X) and 8 <= max(Y, X) <= SIDE
        assert page.layout == layout
        count = np.bincount(page.owner.ravel(), minlength=len(page.lines) + 1)
        assert len(count) == len(page.lines) + 1 and (count[1:] > 0).all()
        regions = [line.region for line in page.lines]
        assert regions == sorted(regions) and set(regions) == set(range(len(page.regions)))
        for i, line in enumerate(page.lines):
            ys, xs = np.nonzero(page.owner == i + 1)
            assert line.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            assert line.text and line.text == canonical(line.text)
            assert line.baseline.dtype == np.float32 and line.baseline.shape[1] == 2
            assert len(line.baseline) >= 2 and 0 < line.letter_height < max(Y, X)
            assert line.cell is None or page.regions[line.region].kind == "table"
        for i, region in enumerate(page.regions):
            assert region.kind in REGION_KINDS
            boxes = [line.box for line in page.lines if line.region == i]
            assert region.box[:2] == tuple(np.min(boxes, 0)[:2])
            assert region.box[2:] == tuple(np.max(boxes, 0)[2:])


def test_ink_belongs_to_the_line_that_drew_it(flat):
    texts = ["ក្រសួងព័ត៌មាន", "ជូនដល់និស្សិត", "១២ Event"]
    tops = (60, 86, 112)  # so near that subscripts reach into the next line
    for text, y in zip(texts, tops, strict=True):
        flat.line(text, 40, y)
    assert [line.text for line in flat.lines] == texts
    drawn_later = np.zeros_like(flat.canvas.owner, bool)
    for i in reversed(range(3)):
        placed, _ = flat.setter.ink(texts[i], flat.body, 40, tops[i])
        alone = np.zeros_like(drawn_later)
        h, w = placed.alpha.shape
        alone[placed.top : placed.top + h, placed.left : placed.left + w] = placed.alpha >= INKED
        assert np.array_equal(flat.canvas.owner == i + 1, alone & ~drawn_later)
        drawn_later |= alone
    ink = flat.canvas.owner > 0
    assert flat.canvas.grey[ink].max() < 160 and flat.canvas.grey[~ink].min() > 100


def test_a_consonant_stands_between_baseline_and_letter_height(flat):
    flat.line("កកក", 40, 100)
    line = flat.lines[0]
    rows = np.flatnonzero(flat.canvas.owner.any(1))
    assert abs(rows[-1] + 1 - 100) <= 1 and abs(rows[0] - (100 - line.letter_height)) <= 1


def test_raised_words_belong_to_their_line(flat):
    small = flat.body.at(size=11.0)
    flat.line(
        [Run("មាត្រា ៤", flat.body), Run("ថ្មី", small, lift=0.5), Run(".-", flat.body)], 40, 100
    )
    assert flat.lines[0].text == "មាត្រា ៤ថ្មី.-"
    assert set(np.unique(flat.canvas.owner)) == {0, 1}
    assert flat.lines[0].letter_height == flat.letter(flat.body)


def test_rules_strokes_and_stamps_own_nothing_and_take_nothing(flat):
    flat.line([Run("ក្រសួងព័ត៌មាន", flat.body, underline=True, strike=True)], 40, 100)
    before = flat.canvas.owner.copy()
    flat.canvas.rule(30, 95, 200, 95, 0, 2)
    flat.canvas.darken(np.full((60, 60), 255, np.uint8), 50, 60, 0.5)
    placed, _ = flat.setter.ink("ក្រសួងព័ត៌មាន", flat.body, 40, 100)
    inside = np.zeros_like(before, bool)
    h, w = placed.alpha.shape
    inside[placed.top : placed.top + h, placed.left : placed.left + w] = placed.alpha >= INKED
    assert np.array_equal(before > 0, inside)
    assert np.array_equal(flat.canvas.owner, before)
    flat.canvas.fill((0, 0, 600, 600), 128)  # something opaque
    assert not flat.canvas.owner.any()


def test_strokes_and_seals_over_lines_leave_them_their_ink(flat):
    flat.line("ក្រសួងព័ត៌មាន", 200, 300)
    owner, grey = flat.canvas.owner.copy(), flat.canvas.grey.copy()
    for _ in range(12):
        over_lines(flat)
    assert np.array_equal(flat.canvas.owner, owner)
    assert (flat.canvas.grey != grey)[280:310, 200:300].mean() > 0.1
    over_lines(flat, first=1)  # there is no such line


@pytest.mark.parametrize("decoy", DECOYS, ids=lambda decoy: decoy.__name__)
def test_ink_of_a_decoy_is_no_lines(flat, decoy):
    decoy(flat, (60.0, 80.0, 360.0, 420.0), 20)
    assert (flat.canvas.grey < 255).any()
    assert not flat.lines and not flat.canvas.owner.any()


def test_decoys_stand_beside_lines(hard):
    source = hard.only("decoys")
    pages = [source.sample(8, i) for i in range(6)]
    assert sum(bool(page.lines) for page in pages) >= 4
    for page in pages:
        paper = np.median(page.image)
        inked = np.abs(page.image.astype(int) - paper) > 60
        assert (inked & (page.owner == 0)).sum() > 0.1 * inked.sum()


def test_lines_are_not_overprinted_and_always_seen(flat):
    flat.line("ក្រសួងព័ត៌មាន", 40, 100)
    flat.line("ជូនដល់និស្សិត", 42, 102)
    flat.line("ជូន", -5, 200)
    assert [line.text for line in flat.lines] == ["ក្រសួងព័ត៌មាន"]
    flat.canvas.fill((0, 300, 400, 360), 10)
    flat.line("កកក", 40, 340)
    assert flat.canvas.grey[flat.canvas.owner == 2].mean() > 120


def test_justified_lines_reach_both_margins(flat):
    text = "ជូន ដល់ និស្សិត ដែល កំពុង សិក្សា ជូន ដល់ និស្សិត"
    width = 1.2 * flat.setter.width(text, flat.body)
    end = flat.line(text, 20, 100, align="justify", width=width)
    assert abs(end - 20 - width) < 0.5
    wrapped = flat.setter.wrap(text * 3, flat.body, 200, 30, 0.2)
    assert max(flat.setter.width(line, flat.body) for line in wrapped) <= 200
    assert canonical("".join(wrapped)).replace(" ", "") == (text * 3).replace(" ", "")


@pytest.mark.parametrize(
    "form",
    [
        {"skew": 5.0},
        {"skew": -3.0, "bend": 0.03, "waves": 4.0, "phase": 1.0, "lean": 0.6},
        {"tilt": (0.03, -0.02, 0.01, 0.03, -0.03, 0.02, 0.02, -0.01), "zoom": 0.85},
    ],
)
def test_points_go_where_pixels_go(form):
    warp = Warp(450, 640, **form)
    places = [(80, 80), (370, 80), (225, 320), (80, 560), (370, 560)]
    flat = np.zeros((640, 450), np.uint16)
    for i, (x, y) in enumerate(places):
        flat[y - 4 : y + 4, x - 4 : x + 4] = i + 1
    seen = warp.apply(flat, Image.Resampling.NEAREST, 0)
    points = warp.forward(np.array(places, float))
    scales = warp.scales(np.array(places, float))
    for i, point in enumerate(points):
        ys, xs = np.nonzero(seen == i + 1)
        assert np.hypot(xs.mean() + 0.5 - point[0], ys.mean() + 0.5 - point[1]) < 0.7
        assert abs(np.sqrt(len(ys)) / 8 - scales[i]) < 0.12


def test_baselines_follow_the_skew(tmp_path):
    config = straight(skewed=1.0, skew=(4.0, 4.0))
    source = small_pages(tmp_path, config, long_side=800, layouts=("columns",))
    page = source.sample(1, 0)
    assert page.skew == 4.0 and len(page.lines) > 5
    for i, line in enumerate(page.lines):
        rise = (line.baseline[-1] - line.baseline[0]).tolist()
        if rise[0] > 100:
            assert abs(rise[1] / rise[0] - np.tan(np.radians(4))) < 0.01
        ys, xs = np.nonzero(page.owner == i + 1)
        above = np.interp(xs, *line.baseline.T) - ys
        assert (np.abs(above) < 3.5 * line.letter_height).mean() > 0.98
        assert 0.5 < np.percentile(above, 90) / line.letter_height < 2.5


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_quarter_turns_take_points_along(rotation):
    flat = np.zeros((30, 50), np.uint8)
    flat[4, 11] = 1
    turned = turn_quarter(flat, rotation)
    place = turn_points(np.array([[11.5, 4.5]]), rotation, 50, 30)[0]
    assert turned[int(place[1]), int(place[0])] == 1
    assert np.array_equal(turn_quarter(turned, (360 - rotation) % 360), flat)


def test_turned_pages_are_the_upright_ones_turned(pages, tmp_path):
    upright = small_pages(tmp_path, replace(CONFIG, turned=0.0))
    turned = small_pages(tmp_path, replace(CONFIG, turned=1.0))
    seen = Counter()
    for index in range(8):
        one, other = upright.sample(5, index), turned.sample(5, index)
        assert one.rotation == 0 and other.rotation in (90, 180, 270)
        assert np.array_equal(turn_quarter(one.image, other.rotation), other.image)
        assert np.array_equal(turn_quarter(one.owner, other.rotation), other.owner)
        Y, X = one.image.shape
        for a, b in zip(one.lines, other.lines, strict=True):
            moved = turn_points(a.baseline.astype(float), other.rotation, X, Y)
            assert a.text == b.text and np.allclose(moved, b.baseline, atol=0.01)
        seen[other.rotation] += 1
    assert len(seen) > 1


def test_pages_without_text_have_no_lines(pages, tmp_path):
    blank = pages.only("blank")
    samples = [(f"{i}", blank.sample(2, i)) for i in range(12)]
    assert all(not page.lines and not page.regions and not page.owner.any() for _, page in samples)
    assert max(page.image.std() for _, page in samples) > 10
    write_pages(samples, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.gt.txt"))


def test_files_give_the_page_back(pages, tmp_path):
    samples = [(f"page{i}", pages.only("table").sample(4, i)) for i in range(3)]
    assert write_pages(samples, tmp_path / "out", owners=True) == 3
    for name, page in samples:
        back = read_page(tmp_path / "out" / f"{name}.json")
        assert np.array_equal(back.image, page.image) and np.array_equal(back.owner, page.owner)
        assert back.regions == page.regions
        for a, b in zip(page.lines, back.lines, strict=True):
            assert (a.text, a.box, a.region, a.cell, a.kind) == (
                b.text, b.box, b.region, b.cell, b.kind,
            )  # fmt: skip
            assert np.allclose(a.baseline, b.baseline, atol=0.01)
        text = (tmp_path / "out" / f"{name}.gt.txt").read_text(encoding="utf-8")
        assert text == page_text(page) + "\n"
        assert sum(len(line.text) for line in page.lines) <= len(text)
    assert any("\t" in page_text(page) for _, page in samples)
    with pytest.raises(DatasetError, match="new or empty"):
        write_pages(samples, tmp_path / "out")
    write_pages(samples[:1], tmp_path / "bare")
    with pytest.raises(DatasetError, match="--owners"):
        read_page(tmp_path / "bare" / "page0.json")


def test_held_out_layouts_are_never_trained_on(pages, tmp_path):
    training = {choice.name for choice in pages.layouts}
    held = {choice.name for choice in CONFIG.layouts if choice.held_out}
    assert held and not training & held
    config = replace(CONFIG, layouts=CONFIG.layouts)
    fonts = replace(small_config().fonts, held_out=("KhmerOSmetalchrieng.ttf",))
    source = PageSource(
        config,
        lines=replace(small_config(), fonts=fonts),
        text_folder=write_texts(tmp_path),
        font_folders=(KHMER_FONTS, LATIN_FONTS),
        held_out=True,
        long_side=SIDE,
    )
    assert {choice.name for choice in source.layouts} == held
    assert {Path(face.path).name for group in source.fonts.groups for face in group} == {
        "KhmerOSmetalchrieng.ttf"
    }
    assert source.sample(0, 0).layout in held


def test_mixtures_say_what_is_wrong(pages, tmp_path):
    with pytest.raises(ConfigError, match="unknown layout 'leter'"):
        pages.only("leter")
    text = Path(str(load_page_config.__defaults__[0])).read_text(encoding="utf-8")
    for old, new, message in (
        ('name = "letter"', 'name = "leter"', "unknown layout 'leter'"),
        ("turned = 0.08", "turned = 1.5", "turned: expected a chance"),
        ("stamp =", "stmp =", "unknown key 'stmp'"),
        ('do = "fade"', 'do = "fad"', "unknown step 'fad'"),
    ):
        assert old in text
        path = tmp_path / "pages.toml"
        path.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            load_page_config(path)


def test_command_writes_pages_and_a_sheet(tmp_path, capsys):
    folder = write_texts(tmp_path)
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    arguments = ["render", "--pages", "3", "--out", str(out), "--sheet", str(sheet), "--json"]
    arguments += ["--text", str(folder / "running.txt"), "--long-side", "300"]
    arguments += ["--fonts", str(KHMER_FONTS / "KhmerOS.ttf"), "--layout", "letter", "table"]
    assert main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["pages"] == 3 and summary["pages_per_second"] > 0
    record = json.loads((out / "00000000.json").read_text(encoding="utf-8"))
    with Image.open(out / record["image"]) as image, Image.open(sheet) as drawn:
        assert image.size == (record["width"], record["height"]) and drawn.size[0] > 300
    assert "pages_mixture" in json.loads((out / "render.json").read_text(encoding="utf-8"))


def test_lines_that_cannot_be_seen_are_none():
    grey = np.full((40, 120), 200, np.uint8)
    owner = np.zeros((40, 120), np.uint16)
    for i, (left, level) in enumerate(((5, 197), (45, 150), (85, 250))):
        owner[10:30:2, left : left + 30] = i + 1
        grey[owner == i + 1] = level
    seen = _without_unseen(owner, list(_contrasts(grey, owner, 3)), 3)
    assert set(np.unique(seen)) == {0, 2, 3}
    grey[owner == 1] = np.tile((80, 255, 255), 100)  # two inks whose mean is near the paper's
    seen = _without_unseen(owner, list(_contrasts(grey, owner, 3)), 3)
    assert set(np.unique(seen)) == {0, 1, 2, 3}


def test_page_is_worn_where_nobody_could_read_it():
    rng = np.random.default_rng(5)
    owner = np.zeros((100, 200), np.uint16)
    for i in range(8):
        owner[5 + 12 * i : 11 + 12 * i, 10:190:2] = i + 1
    for lines, left, worn in ((8, 0.6, False), (8, 0.15, True), (1, 0.15, False)):
        gone = (owner > 0) & (owner <= lines) & (rng.random(owner.shape) > left)
        for paper, ink in ((255, 0), (60, 200)):
            grey = np.where((owner > 0) & ~gone, ink, paper).astype(np.uint8)
            assert _is_worn(list(_contrasts(grey, owner, 8))) == worn
    assert not _is_worn([])


def test_page_that_its_paper_wears_away_is_drawn_anew(tmp_path, monkeypatch):
    worn = []

    def wears(grey, strength, numbers, tones):
        worn.append(len(worn) % 2 == 0)
        gone = numbers.random(grey.shape) < (0.9 if worn[-1] else 0.0)
        return np.where(gone, 255, grey).astype(np.uint8)

    monkeypatch.setitem(STEPS, "fade", wears)
    fade = Step("fade", 1.0, (1.0, 1.0))
    source = small_pages(tmp_path, straight(steps=(fade,)), layouts=("letter",))
    sample = source.sample(3, 1)
    assert worn == [True, False]
    ink = sample.image[sample.owner > 0]
    assert sample.lines and (ink < 128).mean() > 0.3
