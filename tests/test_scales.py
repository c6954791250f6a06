"""The scales of the 8-bit encoder: measured, kept beside their weights, read with suspicion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from khmer_fast.errors import WeightsError
from khmer_fast.recognize.batch import Batch
from khmer_fast.recognize.reader import Reader
from khmer_fast.recognize.scales import load_scales, measure, save_scales, scales_path
from khmer_fast.weights import Weights, load_weights, save_weights
from python_ref.config import make_config
from python_ref.model import Model


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    config = make_config("tiny", len(load_weights().charset) + 3)
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_weights(path, Model(config).state_dict(), config)
    return load_weights(path)


def lines() -> list[Batch]:
    return [Batch(torch.rand(2, 1, 48, 90), torch.tensor([90, 41])) for _ in range(3)]


def test_they_hold_what_was_measured_and_nothing_of_the_padding(weights):
    torch.manual_seed(1)
    batches = lines()
    scales = measure(weights.model.encoder, batches)
    for batch in batches:
        batch.image[1, ..., 41:] = torch.nan
    again = measure(weights.model.encoder, batches)
    for a, b in zip((*scales.convs, scales.feature), (*again.convs, again.feature), strict=True):
        assert torch.equal(a, b) and bool((a > 0).all())
    seen, _ = weights.model.encoder.convolutions(batches[0].image[:1], torch.tensor([90]))
    levels = seen.view(1, seen.shape[1], -1, len(scales.convs[-1])) / scales.convs[-1]
    assert levels.max() <= 255.01


def test_beside_the_weights_and_back(weights):
    scales = measure(weights.model.encoder, lines())
    save_scales(scales_path(weights), scales, weights.sha256)
    loaded = load_scales(weights)
    for a, b in zip((*scales.convs, scales.feature), (*loaded.convs, loaded.feature), strict=True):
        assert torch.allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: None,
        lambda d: [],
        lambda d: d | {"weights": "another"},
        lambda d: d | {"weights": 5},
        lambda d: d | {"convs": d["convs"][:-1]},
        lambda d: d | {"convs": [[1.0], *d["convs"][1:]]},
        lambda d: d | {"feature": [0.0] * len(d["feature"])},
        lambda d: d | {"feature": [1e-60] * len(d["feature"])},
        lambda d: d | {"feature": [True] * len(d["feature"])},
        lambda d: d | {"feature": [float("nan")] * len(d["feature"])},
        lambda d: {"weights": d["weights"]},
    ],
)
def test_damaged_ones_are_an_error_with_a_remedy(weights, damage):
    path = scales_path(weights)
    save_scales(path, measure(weights.model.encoder, lines()), weights.sha256)
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(WeightsError, match=r"tiny\.int8\.json.*calibrate_int8.*float32"):
        load_scales(weights)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 200_000, None])
def test_no_json_or_nothing(weights, content):
    if content is not None:
        scales_path(weights).write_bytes(content)
    with pytest.raises(WeightsError, match=r"tiny\.int8\.json"):
        Reader(weights, dtype="int8")


def test_the_packaged_ones_read_as_the_reference():
    """They belong to the packaged weights, and both backends read the same."""
    pytest.importorskip("_khmer_fast", reason="the compiled module is not built")
    example = Path(__file__).parent.parent / "examples" / "line.png"
    fast, reference = (
        Reader(dtype="int8", backend=backend).read(example) for backend in ("fast", "reference")
    )
    plain = Reader(dtype="float32").read(example)
    assert fast.text == reference.text == plain.text
    assert fast.confidence == pytest.approx(reference.confidence, abs=1e-3)
