"""What the segmenter learns from: targets of a drawn page, losses, crops, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from khmer_fast.train.loop import LossError
from khmer_fast.train.page_loss import PageObjective, collate_pages, page_losses
from khmer_fast.train.page_measure import measure_pages
from khmer_fast.train.page_samples import CROP, CropDataset, draw_crop, whole_page
from khmer_fast.train.page_targets import STRIDE, PageCrop, Window, page_crop
from khmer_fast.train.samples import batches
from python_ref.segmenter import SEGMENTERS, Segmenter, SegmenterOutput

CPU = torch.device("cpu")


@dataclass(frozen=True)
class DrawnLine:
    baseline: np.ndarray
    letter_height: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class DrawnPage:
    image: np.ndarray
    owner: np.ndarray
    lines: tuple[DrawnLine, ...]
    rotation: int = 0


def draw_page(
    boxes: list[tuple[int, int, int, int]],  # of the plain letters: baseline is the bottom
    size: tuple[int, int] = (640, 768),
    rise: int = 6,  # of a mark above the letters at each line's left, and below at its right
    slope: float = 0.0,
) -> DrawnPage:
    """Lines of blocks of ink, each with one mark above its first and one below its last letter."""
    image, owner = np.full(size, 240, np.uint8), np.zeros(size, np.uint16)
    lines = []
    for number, (left, top, right, bottom) in enumerate(boxes, 1):
        ink = np.zeros(size, bool)
        for x in range(left, right):
            shift = round(slope * (x - left))
            letters = (x - left) % 8 < 6
            ink[top + shift : bottom + shift, x] = letters
            if x < left + 6:
                ink[top + shift - rise : top + shift, x] = True
            if x >= right - 6:
                ink[bottom + shift : bottom + shift + rise, x] = True
        owner[ink & (owner == 0)] = number
        image[ink] = 20
        rows, columns = np.nonzero(ink)
        drop = slope * (right - left)
        lines.append(
            DrawnLine(
                np.array([[left, bottom], [right, bottom + drop]], np.float32),
                float(bottom - top),
                tuple(map(int, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))),
            )
        )
    return DrawnPage(image, owner, tuple(lines))


WHOLE = Window(1.0, 0, 0, 768, 640)


def test_a_band_lies_between_baseline_and_letter_top():
    page = draw_page([(100, 200, 500, 216)])
    crop = page_crop(page, WHOLE)
    band = crop.maps[0].astype(float)
    assert band[50:54, 26:124].min() == 1 and band[54:].max() == 0 and band[:50].max() == 0
    assert np.all(crop.line[51:53, 30:120] == 1) and crop.line.max() == 1
    assert band[:, :24].max() == 0 and band[:, 126:].max() == 0
    # half a cell on both sides: the band's edge is soft, its area that of the letters
    half = page_crop(draw_page([(100, 202, 500, 218)]), WHOLE).maps[0].astype(float)
    assert half[50, 60] == half[54, 60] == 0.5 and half[51:54, 60].min() == 1


def test_neighbours_do_not_touch():
    page = draw_page([(100, 200, 500, 212), (100, 200 + 28, 500, 212 + 28)])  # pitch 2.3 letters
    band = page_crop(page, WHOLE).maps[0]
    assert band[54:56, 40:100].max() == 0


def test_distances_reach_to_the_ink_within_a_letter_or_so():
    page = draw_page([(100, 200, 500, 216)], rise=10)
    crop = page_crop(page, WHOLE)
    above, below = (4 * (2 ** crop.maps[i].astype(float) - 1) for i in (1, 2))
    middle = slice(51, 53)
    assert above[middle, 27].mean() == pytest.approx(18, abs=0.1)  # 8 of letter, 10 of mark
    assert above[middle, 60].mean() == pytest.approx(8, abs=0.1)
    assert below[middle, 60].mean() == pytest.approx(8, abs=0.1)
    assert below[middle, 122].mean() == pytest.approx(18, abs=0.1)
    reach = 106 + 1.2 * 16
    columns = STRIDE * (np.arange(crop.maps.shape[2]) + 0.5)
    seen = above[51] > 17
    assert columns[seen].max() == pytest.approx(reach, abs=STRIDE)
    assert crop.weight[1][51, 30] > 0 and crop.weight[1][:, 10].max() == 0


def test_offsets_lead_from_ink_to_its_own_middle():
    page = draw_page([(100, 200, 500, 212), (100, 226, 500, 238)], rise=6)
    crop = page_crop(page, WHOLE)
    offset, weight = 16 * crop.maps[3].astype(float), crop.weight[2].astype(float)
    rows = STRIDE * (np.arange(160) + 0.5)
    upper_mark, lower_mark = (48, 25), (60, 124)
    assert weight[upper_mark] > 0 and weight[lower_mark] > 0
    assert offset[upper_mark] == pytest.approx(206 - rows[48], abs=0.1)
    assert offset[lower_mark] == pytest.approx(232 - rows[60], abs=0.1)
    assert weight[51, 10] == 0  # paper


@pytest.mark.parametrize("slope", [0.05, -0.05])
def test_a_line_may_slope(slope):
    page = draw_page([(100, 300, 500, 316)], slope=slope)
    crop = page_crop(page, WHOLE)
    for column in (30, 75, 120):
        x = STRIDE * (column + 0.5)
        rows = np.nonzero(crop.maps[0][:, column] >= 0.5)[0]
        assert STRIDE * (rows.mean() + 0.5) == pytest.approx(308 + slope * (x - 100), abs=2.5)


def test_scale_and_window_move_everything_along():
    page = draw_page([(100, 200, 500, 216)])
    whole = page_crop(page, WHOLE)
    moved = page_crop(page, Window(1.0, 40, 80, 320, 320))
    for name in ("maps", "weight", "line"):
        own, cut = getattr(moved, name), getattr(whole, name)[..., 20:100, 10:90]
        assert np.array_equal(own, cut), name
    double = page_crop(page, Window(2.0, 0, 0, 1536, 1280))
    rows = np.nonzero(double.maps[0][:, 120] >= 0.5)[0]
    assert (rows.min(), rows.max()) == (100, 107)
    beyond = page_crop(page, Window(1.0, -64, -64, 256, 256))
    assert np.all(beyond.image[:64] == 255) and np.all(beyond.image[:, :64] == 255)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_turned_page_tells_its_turn_and_nothing_else(turn):
    page = draw_page([(100, 200, 500, 216)])
    upright, turned = page_crop(page, WHOLE), page_crop(page, WHOLE, turn)
    assert (upright.rotation, turned.rotation) == (0, turn)
    assert not turned.weight.any() and upright.weight.any()
    assert np.array_equal(np.rot90(upright.image, -turn), turned.image)
    drawn = DrawnPage(page.image, page.owner, page.lines, rotation=90)
    assert page_crop(drawn, WHOLE, turn).rotation == (turn + 1) % 4


def test_a_page_with_hardly_any_text_tells_no_rotation():
    assert page_crop(draw_page([(100, 200, 140, 216)]), WHOLE).rotation == -1
    assert page_crop(draw_page([]), WHOLE).rotation == -1


def test_too_small_is_paper_and_what_is_between_is_unknown():
    for height, known, line in ((2, True, False), (3, False, False), (4, True, True)):
        crop = page_crop(draw_page([(100, 200, 500, 200 + height)], rise=0), WHOLE)
        assert (crop.weight[0].min() > 0) == known and bool(crop.line.any()) == line
    huge = page_crop(draw_page([(100, 200, 500, 300)]), WHOLE)
    assert huge.weight[0][60, 60] == 0 and not huge.line.any()


def test_a_digit_weighs_as_much_as_a_line():
    page = draw_page([(100, 100, 110, 112), (100, 200, 700, 212)], rise=0)
    crop = page_crop(page, WHOLE)
    digit, line = (crop.weight[0][crop.line == number].astype(float).sum() for number in (1, 2))
    cells = [int((crop.line == number).sum()) for number in (1, 2)]
    assert cells[1] > 40 * cells[0] and line < 12 * digit


def perfect(crop: PageCrop) -> SegmenterOutput:
    maps = torch.from_numpy(crop.maps.astype(np.float32))[None]
    logit = torch.logit(maps[:, 0], 1e-6)
    rotation = torch.full((1, 4), -20.0)
    rotation[0, crop.rotation] = 20
    return SegmenterOutput(logit, maps[:, 1], maps[:, 2], maps[:, 3], rotation)


def test_losses_of_a_perfect_answer_are_none():
    crop = page_crop(draw_page([(100, 200, 500, 216), (100, 300, 120, 316)]), WHOLE)
    output, batch = perfect(crop), collate_pages([crop])
    losses = page_losses(output, batch)
    entropy = torch.nn.functional.binary_cross_entropy(batch.maps[:, 0], batch.maps[:, 0])
    assert float(losses.extent) == float(losses.offset) == 0
    assert float(losses.dice) < 1e-4 and float(losses.rotation) < 1e-6
    assert float(losses.band) < 4 * float(entropy) + 1e-5
    for name in ("band", "above", "offset", "rotation"):
        worse = output._replace(**{name: getattr(output, name).flip(-1) + 0.5})
        assert float(page_losses(worse, batch).total()) > float(losses.total()) + 1e-3, name


def test_crops_add_up():
    crops = [
        page_crop(draw_page([(100, 200, 300 + 50 * i, 216)]), WHOLE, i % 2 * 2) for i in range(3)
    ]
    torch.manual_seed(0)
    objective = PageObjective(SEGMENTERS["tiny"], torch.float64, CPU)
    model = objective.make_model().double()
    together = objective.sums(model, crops, 0)
    alone = [objective.sums(model, [crop], 0) for crop in crops]
    assert float(together.total) == pytest.approx(sum(float(part.total) for part in alone))
    for i, name in enumerate(objective.losses):
        parts = sum(float(part.values[i]) for part in alone)
        assert float(together.values[i]) == pytest.approx(parts), name
        assert together.counts[i] == sum(part.counts[i] for part in alone)


def test_unknown_cells_have_no_influence():
    crop = page_crop(draw_page([(100, 200, 500, 300), (100, 400, 500, 416)]), WHOLE)
    torch.manual_seed(0)
    output = Segmenter(SEGMENTERS["tiny"])(collate_pages([crop]).image)
    unknown = torch.from_numpy(crop.weight[0] == 0)[None]
    assert unknown.any()
    other = output._replace(band=output.band.masked_fill(unknown, 9.0))
    batch = collate_pages([crop])
    assert torch.equal(page_losses(output, batch).total(), page_losses(other, batch).total())


def test_impossible_losses_name_the_step():
    objective = PageObjective(SEGMENTERS["tiny"], torch.float32, CPU)
    objective.check({"band": 0.0, "dice": 0.3}, 1)
    for wrong in (float("nan"), float("inf"), -0.1):
        with pytest.raises(LossError, match="dice loss at step 7"):
            objective.check({"band": 0.1, "dice": wrong}, 7)


class Pages:
    """A source of drawn pages that counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def sample(self, seed: int, index: int) -> DrawnPage:
        self.asked += 1
        rng = np.random.default_rng((seed, index))
        top = int(rng.integers(50, 500))
        return draw_page([(60, top, 660, top + 14)], size=(900, 700))


def test_a_crop_is_that_of_seed_and_index_alone():
    one, other = CropDataset(Pages(), 5), CropDataset(Pages(), 5)
    crops = [one[i] for i in range(8)]
    assert one.source.asked == 2
    for i in (7, 0, 3):
        again = other[i]
        for name in ("image", "maps", "weight", "line"):
            assert np.array_equal(getattr(again, name), getattr(crops[i], name)), name
        assert again.rotation == crops[i].rotation
    assert not np.array_equal(CropDataset(Pages(), 6)[0].image, crops[0].image)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_mix_pages_and_go_on_where_they_were(workers):
    def images(first: int, workers: int) -> list[list[int]]:  # of the second epoch
        stream = batches(CropDataset(Pages(), 3), 1, 40, 4, first, workers)
        return [[hash(crop.image.tobytes()) for crop in batch] for batch in stream]

    whole = images(0, 0)
    assert [len(batch) for batch in whole] == [4] * 10
    dataset = CropDataset(Pages(), 3)
    images_of_epoch = [hash(dataset[40 + i].image.tobytes()) for i in range(40)]
    assert sorted(sum(whole, [])) == sorted(images_of_epoch)
    own = {image: i // 4 for i, image in enumerate(images_of_epoch)}
    assert max(len({own[image] for image in batch}) for batch in whole) > 2
    for first in (0, 3, 9):
        assert images(first, workers) == whole[first:]


def test_crops_have_one_size_and_a_whole_page_fills_up():
    rng = np.random.default_rng(0)
    for size in ((300, 200), (3000, 2000), (60, 1200)):
        page = draw_page([(10, 20, 150, 34)], size=size, rise=4)
        assert draw_crop(page, rng).image.shape == CROP
        whole = whole_page(page, 640)
        assert all(side % 32 == 0 for side in whole.image.shape)
        assert whole.maps.shape[1:] == tuple(side // STRIDE for side in whole.image.shape)


class Answer(torch.nn.Module):
    """A model that gives what it was told."""

    def __init__(self, output: SegmenterOutput):
        super().__init__()
        self.output = output

    def forward(self, image: torch.Tensor) -> SegmenterOutput:
        return self.output


def test_measures_tell_what_is_wrong():
    crop = page_crop(draw_page([(100, 200, 500, 216), (100, 300, 120, 316)]), WHOLE)
    right = perfect(crop)
    found = measure_pages(Answer(right), [crop])
    assert found["lines"] == 2 and found["missed"] == found["lost"] == found["invented"] == 0
    assert found["above"] == found["below"] == found["offset"] == found["turned"] == 0
    second = torch.from_numpy(crop.line == 2)[None]
    lost = measure_pages(Answer(right._replace(band=right.band.masked_fill(second, -9))), [crop])
    assert lost["missed"] == lost["lost"] == 0.5
    band = right.band.clone()
    band[0, 140:144, 20:40] = 9
    assert measure_pages(Answer(right._replace(band=band)), [crop])["invented"] > 0.1
    shifted = right._replace(offset=right.offset + 1 / 16)
    assert measure_pages(Answer(shifted), [crop])["offset"] == pytest.approx(1, abs=1e-3)
    turned = right._replace(rotation=right.rotation.flip(1))
    assert measure_pages(Answer(turned), [crop])["turned"] == 1
