"""What several test files share: a model too small to read, and images that the tests draw."""

from __future__ import annotations

import os
import subprocess
import sys

# Threads that wait must sleep: beside other load, spinning ones make the suite 10 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("khmer_fast", deadline=None)  # machines here are shared
settings.load_profile("khmer_fast")


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `tiny` model with random numbers, as a weights file."""
    import torch

    from khmer_fast.text import DEFAULT_CHARSET
    from khmer_fast.weights import save_weights
    from python_ref.config import make_config
    from python_ref.model import Model

    config = make_config("tiny", len(DEFAULT_CHARSET) + 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = Model(config)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, model.state_dict(), config, DEFAULT_CHARSET, {"commit": "0123abc"})
    return path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch works on one thread: the emulator's blocks are threads of their own."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def draw(text: str = "Khmer OCR 2025", width: int = 260, height: int = 48) -> np.ndarray:
    """Black text on white as a scanner gives it: uint8 [height, width]."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("L", (width, height), 255)
    font = ImageFont.load_default(size=height * 0.55)
    ImageDraw.Draw(image).text((height // 4, height // 8), text, font=font, fill=0)
    return np.asarray(image)


@pytest.fixture(scope="session")
def line_image() -> np.ndarray:
    return draw()


class ShortOfMemory:
    """An engine that decodes at most so many lines at once: what only a GPU does by itself."""

    def __init__(self, engine, most: int):
        self.engine, self.most = engine, most
        self.choice, self.threads = engine.choice, engine.threads
        self.max_padding = engine.max_padding
        self.released = 0

    def encode(self, batch):
        return self.engine.encode(batch)

    def decode(self, encoded, beam: int, n_best: int):
        import torch

        if len(encoded.length) > self.most:
            raise torch.OutOfMemoryError("planted")
        return self.engine.decode(encoded, beam, n_best)

    def second_opinion(self, encoded, lines):
        return self.engine.second_opinion(encoded, lines)

    def release(self) -> None:
        self.released += 1
        self.engine.release()


def run_with(isa: str, code: str) -> None:
    """Runs Python code in a process of its own that is held to an instruction set."""
    environment = os.environ | {"KHMER_FAST_ISA": isa}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
