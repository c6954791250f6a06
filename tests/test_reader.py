"""Reading with a model too small to read: what goes in, and what comes out in whose place."""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from khmer_fast.document import Line
from khmer_fast.errors import ImageError, KhmerFastError, OptionError, WeightsError
from khmer_fast.recognize import batch
from khmer_fast.recognize.batch import collate, plan_batches
from khmer_fast.recognize.decoder import decode
from khmer_fast.recognize.engine import choose, make_engine
from khmer_fast.recognize.lines import carry_over
from khmer_fast.recognize.reader import Reader
from khmer_fast.text import DEFAULT_CHARSET, canonical
from khmer_fast.weights import load_weights
from python_ref.beam_search import EOS
from tests.conftest import ShortOfMemory, draw


@pytest.fixture(scope="module", params=["reference", "fast"])
def reader(request, tiny_weights) -> Reader:
    if request.param == "fast":
        pytest.importorskip("_khmer_fast", reason="the compiled module is not built")
    return Reader(tiny_weights, backend=request.param, beam=3, n_best=2, batch_size=4)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [draw(f"line {'x' * (i * 7 % 12)}{i}", 120 + 17 * (i * 5 % 13)) for i in range(13)]


# ---- one line ----


def test_a_line_has_all_its_fields(reader, line_image):
    line = reader.read(line_image)
    assert line.text and line.text == canonical(line.text)
    assert "".join(character.text for character in line.characters) == line.text
    assert all(0 <= character.confidence <= 1 for character in line.characters)
    assert 0 <= line.confidence <= 1
    ink = np.argwhere(line_image < 128)
    box = (ink[:, 1].min(), ink[:, 0].min(), ink[:, 1].max() + 1, ink[:, 0].max() + 1)
    assert np.abs(np.subtract(line.box, box)).max() <= 2
    for part in (*line.words, *line.characters):
        assert inside(part.box, line.box)
    assert "".join(word.text for word in line.words) == line.text.replace(" ", "")
    assert isinstance(line.truncated, bool) and not line.failed
    assert all(x.text != line.text and x.score < 0 for x in line.alternatives)


def inside(box, outer) -> bool:
    left, top, right, bottom = box
    return outer[0] <= left < right <= outer[2] and outer[1] <= top < bottom <= outer[3]


def test_every_kind_of_source_reads_the_same(reader, line_image, tmp_path: Path):
    path = tmp_path / "line.png"
    Image.fromarray(line_image).save(path)
    expected = reader.read(line_image)
    for source in (path, str(path), path.read_bytes(), Image.open(path), line_image / 255):
        assert reader.read(source) == expected


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (300, 1), (48, 400), (48, 20_000)], ids="{0[0]}x{0[1]}".format
)
def test_nothing_is_read_from_blank_paper(reader, shape):
    line = reader.read(np.full(shape, 255, np.uint8))
    assert line.text == "" and line.characters == () and line.confidence == 1


def test_20000_pixels_are_read(tiny_weights):
    pytest.importorskip("_khmer_fast", reason="the compiled module is not built")
    wide = np.tile(draw("abc ", 100, 60), (1, 200))
    line = Reader(tiny_weights, beam=1).read(wide)
    assert line.box[0] < 60 and line.box[2] > 19_900 and line.text


def test_an_animation_gives_its_first_frame(reader, line_image, tmp_path):
    first = Image.fromarray(line_image)
    path = tmp_path / "moving.gif"
    first.save(path, save_all=True, append_images=[Image.new("L", first.size, 0)])
    assert reader.read(path).text == reader.read(line_image).text


# ---- many lines ----


def test_batches_answer_in_order(reader, images):
    single = [reader.read(image) for image in images]
    together = reader.read_batch(images)
    assert [line.text for line in together] == [line.text for line in single]
    for a, b in zip(single, together, strict=True):
        assert a.confidence == pytest.approx(b.confidence, abs=1e-4) and a.box == b.box


def test_a_bad_file_is_one_error(reader, images, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    bad = tmp_path / "text.png"
    mixed = [*images[:5], bad, *images[5:], None, tmp_path / "missing.png"]
    answers = reader.read_batch(mixed, on_error="return")
    good = reader.read_batch(images)
    assert [type(x) for x in answers].count(ImageError) == 3
    assert str(bad) in str(answers[5]) and "missing.png" in str(answers[-1])
    assert [x.text for x in answers if isinstance(x, Line)] == [x.text for x in good]


def test_errors_are_raised_in_their_turn(reader, images):
    answers = reader.read_many([images[0], images[1], b"", images[2]])
    assert isinstance(next(answers), Line) and isinstance(next(answers), Line)
    with pytest.raises(ImageError):
        next(answers)
    with pytest.raises(ImageError):
        reader.read_batch([images[0], b""])


def test_a_line_too_wide_names_its_file(reader, tmp_path):
    path = tmp_path / "wide.png"
    Image.fromarray(np.tile(draw("abc ", 100, 48), (1, 400))).save(path)
    answers = reader.read_batch([path, draw()], on_error="return")
    assert isinstance(answers[0], ImageError) and str(path) in str(answers[0])
    assert isinstance(answers[1], Line)


def test_no_images_give_no_lines(reader):
    assert reader.read_batch([]) == [] and list(reader.read_many(iter(()))) == []


def test_lines_stream_from_an_endless_source(reader, images):
    taken = 0

    def endless():
        nonlocal taken
        for image in itertools.cycle(images[:3]):
            taken += 1
            yield image

    answers = reader.read_many(endless())
    first = [next(answers) for _ in range(20)]
    answers.close()
    assert [line.text for line in first[:3]] == [line.text for line in first[3:6]]
    assert taken < 100


def test_abandoned_streams_leave_no_threads(reader, images):
    before = threading.active_count()
    for _ in range(3):
        answers = reader.read_many(itertools.cycle(images))
        next(answers)
        answers.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before


def test_a_batch_is_split_when_memory_is_short(tiny_weights, images):
    weights = load_weights(tiny_weights)
    expected = [line.text for line in Reader(weights, backend="reference").read_batch(images)]
    engine = ShortOfMemory(make_engine(weights, backend="reference"), 2)
    with pytest.warns(UserWarning, match="too little free memory") as said:
        lines = Reader(weights, batch_size=8, engine=engine).read_batch(images)
    assert [line.text for line in lines] == expected
    assert len(said) == 1 and engine.released > 0
    none = Reader(weights, engine=ShortOfMemory(engine, 0))
    with pytest.raises(OptionError, match="one line"):
        none.read_batch(images)


def test_two_threads_get_what_one_gets(reader, images):
    expected = [line.text for line in reader.read_batch(images)]
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: reader.read_batch(images), range(4)))
    for run in runs:
        assert [line.text for line in run] == expected


@pytest.mark.parametrize("wrong", ["line.png", b"data", Path("line.png")])
def test_one_image_where_several_are_expected(reader, wrong):
    with pytest.raises(OptionError, match="several"):
        reader.read_batch(wrong)
    with pytest.raises(OptionError, match="on_error"):
        reader.read_many([], on_error="ignore")


# ---- the decoder's answers ----


def test_backends_agree(tiny_weights, images):
    pytest.importorskip("_khmer_fast", reason="the compiled module is not built")
    lines = {
        backend: Reader(tiny_weights, backend=backend, beam=4, n_best=3).read_batch(images)
        for backend in ("fast", "reference")
    }
    for fast, reference in zip(lines["fast"], lines["reference"], strict=True):
        assert fast.text == reference.text and fast.truncated == reference.truncated
        assert fast.confidence == pytest.approx(reference.confidence, abs=1e-4)
        assert [x.text for x in fast.alternatives] == [x.text for x in reference.alternatives]


def test_alternatives_come_best_first(tiny_weights, line_image):
    reader = Reader(tiny_weights, backend="reference", beam=6, n_best=6)
    line = reader.read(line_image)
    scores = [x.score for x in line.alternatives]
    assert scores and scores == sorted(scores, reverse=True)
    assert len({x.text for x in line.alternatives} | {line.text}) == len(scores) + 1
    assert Reader(tiny_weights, backend="reference").read(line_image).alternatives == ()


@pytest.mark.parametrize("backend", ["reference", "fast"])
def test_numbers_that_are_not_finite_end_in_an_empty_line(tiny_weights, line_image, backend):
    if backend == "fast":
        pytest.importorskip("_khmer_fast", reason="the compiled module is not built")
    weights = load_weights(tiny_weights)
    weights.model.decoder.b_o.fill_(torch.nan)
    line = Reader(weights, backend=backend).read(line_image)
    assert line.failed and line.text == "" and line.confidence == 0 and line.characters == ()


@pytest.mark.parametrize("backend", ["fast", "reference"])
def test_a_loop_becomes_what_the_ctc_head_reads(tiny_weights, line_image, backend):
    weights = load_weights(tiny_weights)
    with torch.no_grad():
        weights.model.decoder.b_o[EOS] = -1e4
        weights.model.ctc.bias[3 + DEFAULT_CHARSET.index("ក")] = 1e3
    narrow = line_image[:, :130]
    for line in Reader(weights, backend=backend, n_best=2).read_batch([line_image, narrow]):
        assert line.truncated and line.text == "ក" and len(line.characters) == 1
        assert all(len(x.text) > 1 for x in line.alternatives)


def test_confidence_is_calibrated(tiny_weights, line_image):
    weights = load_weights(tiny_weights)
    plain = Reader(weights, backend="reference").read(line_image)
    calibration = '{"character": [0.5, 1.0], "line": [1.0, -2.0]}'
    tuned = dataclasses.replace(weights, metadata={"calibration": calibration})
    line = Reader(tuned, backend="reference").read(line_image)

    def logit(p: float) -> float:
        return math.log(p / (1 - p))

    assert line.text == plain.text
    assert logit(line.confidence) == pytest.approx(logit(plain.confidence) - 2)
    for a, b in zip(line.characters, plain.characters, strict=True):
        assert logit(a.confidence) == pytest.approx(0.5 * logit(b.confidence) + 1)


KHMER = st.text(st.sampled_from("កខគរសហ្៉៊័ិីុូាេែៃោះំ ៈ\u200b"), max_size=14)


@given(KHMER, st.data())
def test_no_probability_is_lost_in_canonical_form(raw, data):
    text = canonical(raw)
    numbers = st.floats(-9, 0, allow_subnormal=False)
    log_probs = data.draw(st.lists(numbers, min_size=len(raw), max_size=len(raw)))
    sums = carry_over(raw, text, log_probs)
    assert len(sums) == len(text)
    if text:
        assert sum(sums) == pytest.approx(sum(log_probs), abs=1e-9)
    if raw == text:
        assert sums == log_probs


# ---- options ----


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "quick"},
        {"device": "tpu"},
        {"dtype": "float8"},
        {"beam": 0},
        {"beam": 2.5},
        {"beam": True},
        {"n_best": 6},
        {"n_best": 0},
        {"batch_size": 0},
        {"threads": 0},
        {"device": "cuda"},
        {"device": "cuda", "backend": "reference"},
        {"dtype": "bfloat16", "backend": "reference"},
        {"dtype": "int8", "device": "cuda"},
        {"dtype": "int8"},  # no scales beside these weights
    ],
)
def test_options_that_cannot_be(tiny_weights, options):
    if options == {"device": "cuda"} and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(KhmerFastError) as caught:
        Reader(tiny_weights, **options)
    assert any(str(value) in str(caught.value) for value in options.values())


def test_missing_weights():
    with pytest.raises(WeightsError, match="nowhere"):
        Reader("nowhere.safetensors", backend="reference")


def test_the_choice_is_explained():
    assert choose(backend="reference").dtype == "float32"
    pytest.importorskip("_khmer_fast", reason="the compiled module is not built")
    choice = choose()
    assert (choice.backend, choice.dtype) == ("fast", "float32") and choice.reason


def test_bfloat16_reads(tiny_weights, images):
    pytest.importorskip("_khmer_fast", reason="the compiled module is not built")
    lines = Reader(tiny_weights, dtype="bfloat16").read_batch(images[:3])
    assert all(0 <= line.confidence <= 1 for line in lines)


def test_bfloat16_of_a_processor_without_it(tiny_weights, images, monkeypatch):
    """Weights are stored in bfloat16, everything is computed in float32, and it is said."""
    pytest.importorskip("_khmer_fast", reason="the compiled module is not built")
    monkeypatch.setenv("KHMER_FAST_ISA", "baseline")
    reader = Reader(tiny_weights, n_best=2, dtype="bfloat16")
    assert reader.choice.dtype == "float32" and "bfloat16 was asked for" in reader.choice.reason
    assert reader.engine.computes_in == "float32"
    # stored in bfloat16: not float32's scores
    scores, of_float32 = (
        [line.alternatives[0].score for line in made.read_batch(images[:3])]
        for made in (reader, Reader(tiny_weights, n_best=2))
    )
    assert scores != of_float32


def test_an_unknown_instruction_set_is_an_error(tiny_weights, monkeypatch):
    pytest.importorskip("_khmer_fast", reason="the compiled module is not built")
    monkeypatch.setenv("KHMER_FAST_ISA", "sse9")
    with pytest.raises(KhmerFastError, match="KHMER_FAST_ISA must be baseline, avx2.* got sse9"):
        Reader(tiny_weights)


# ---- batches ----


@given(
    st.lists(st.integers(16, 16_384), max_size=60),
    st.integers(1, 40),
    st.sampled_from((0.05, 0.3, 1)),
)
def test_plans_hold_every_line_with_no_more_padding_than_asked(widths, batch_size, max_padding):
    plan = plan_batches(widths, batch_size, max_padding)
    assert sorted(i for group in plan for i in group) == list(range(len(widths)))
    for group in plan:
        columns = len(group) * max(widths[i] for i in group)
        assert len(group) <= batch_size
        assert len(group) == 1 or columns <= batch.MAX_COLUMNS
        assert sum(widths[i] for i in group) >= (1 - max_padding) * columns


def test_collate_pads_with_paper():
    lines = [np.full((48, 20), 0, np.uint8), np.full((48, 30), 55, np.uint8)]
    made = collate(lines)
    assert made.image.shape == (2, 1, 48, 30) and made.image.dtype == torch.uint8
    assert made.width.tolist() == [20, 30]
    assert (made.image[0, 0, :, :20] == 255).all() and (made.image[0, 0, :, 20:] == 0).all()
    assert made.ink.dtype == torch.float32
    assert (made.ink[1] == torch.tensor(200 / 255)).all()
    with pytest.raises(ValueError, match="one height"):
        collate([np.zeros((48, 9), np.uint8), np.zeros((32, 9), np.uint8)])


# ---- the decoder alone ----


def test_decode_takes_weights_in_every_form(tiny_weights):
    state = load_weights(tiny_weights).state
    weights = load_weights(tiny_weights).model.decoder.weights()
    memory, length = torch.randn(3, 9, weights.W_k.shape[1]), torch.tensor([9, 5, 1])
    expected = decode(weights, memory, length, beam=3, n_best=2, backend="reference")
    bare = {name.removeprefix("decoder."): tensor for name, tensor in state.items()}
    for form in (state, bare):
        result = decode(form, memory, length, beam=3, n_best=2, backend="reference")
        assert torch.equal(result.tokens, expected.tokens)
    ops = pytest.importorskip("khmer_fast.ops", exc_type=KhmerFastError)
    for form in (weights, state, ops.Decoder(weights)):
        result = decode(form, memory, length, beam=3, n_best=2)
        assert torch.equal(result.tokens, expected.tokens)
        assert torch.allclose(result.score, expected.score, atol=1e-4)


def test_decode_errors(tiny_weights):
    state = load_weights(tiny_weights).state
    memory, length = torch.zeros(1, 4, 32), torch.tensor([4])
    with pytest.raises(OptionError, match="quick"):
        decode(state, memory, length, backend="quick")
    with pytest.raises(OptionError, match="W_q"):
        decode({k: v for k, v in state.items() if "W_q" not in k}, memory, length)
    with pytest.raises(ValueError, match="beam"):
        decode(state, memory, length, beam=0, backend="reference")
