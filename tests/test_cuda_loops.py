"""The loops of the CUDA search, emulated: seats and their queue, graph, persistent kernel."""

from __future__ import annotations

import pytest
import torch

from tests.cuda_emulator import COMPILER, Emulator
from tests.cuda_emulator.decoder import (
    CUDA,
    decoder_library,
    disagreements,
    emulated,
    ragged,
    same,
    usual,
)
from tests.random_models import Case, random_case

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="g++ is not installed"),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    return Emulator(decoder_library(tmp_path_factory))


@pytest.mark.parametrize("force", [False, True])
def test_answers_do_not_depend_on_the_seats(emulator, force):
    case = ragged(9, seed=4)
    options = dict(attention=True)
    if force:
        options["force_length"] = torch.tensor([3, 1, 5, 2, 0, 7, 1, 4, 2])
    expected = emulated(emulator, case, **options)
    assert len(set(expected.steps.tolist())) > 3 and bool(expected.truncated.any()) != force
    for seats in (1, 2, 5):
        emulator.seed(seats, parallel=seats == 5)
        assert same(emulated(emulator, case, seats=seats, **options), expected)
    for driver in (12030, 13000):  # a replay of some steps, a WHILE node
        emulator.device(driver)
        assert same(emulated(emulator, case, seats=2, loop="graph", **options), expected)
    del options["attention"]
    failures, _ = disagreements(emulator, case, **options)
    assert not failures


def test_graph_without_a_node_that_the_driver_cannot_have(emulator):
    case = ragged(5, seed=8)
    expected = emulated(emulator, case)
    emulator.device(conditional_nodes=False)
    assert same(emulated(emulator, case, loop="graph", seats=2), expected)
    emulator.device()


def test_one_kernel_alone_needs_the_node():
    """A driver that cannot load it loses that module, which no other loop needs."""
    name = "cudaGraphSetConditional("
    assert [x.name for x in CUDA.iterdir() if name in x.read_text()] == [
        "beam_select_while_cuda.cu"
    ]
    text = (CUDA / "beam_select_while_cuda.cu").read_text()
    assert text.count("__global__") == 1


def test_graph_on_random_models(emulator):
    for seed in range(24):
        case = random_case(seed)
        if not usual(case):
            continue
        emulator.device(12030 if seed % 2 else 13000)
        emulator.seed(seed)
        assert same(emulated(emulator, case, loop="graph"), emulated(emulator, case)), seed
    emulator.device()


def test_persistent_on_random_models(emulator):
    lines = excused = 0
    for seed in range(120):
        case = random_case(seed)
        if not usual(case) or len(case.length) * case.beam > 32:
            continue
        emulator.seed(seed)
        emulator.device(multiprocessors=2 + seed % 4)
        failures, ties = disagreements(emulator, case, loop="persistent")
        assert not failures, (seed, failures)
        lines, excused = lines + len(case.length), excused + ties
    emulator.device()
    assert excused <= 0.02 * lines and lines > 100


@pytest.mark.parametrize("force", [False, True])
def test_persistent_line_does_not_depend_on_its_batch(emulator, force):
    """Nor on the number of blocks; lines without steps, positions or numbers are among them."""
    case = ragged(6, seed=5)
    case.length[1] = 0
    options = dict(attention=True, loop="persistent")
    if force:
        options["force_length"] = torch.tensor([3, 4, 1, 2, 0, 7])
    emulator.device(multiprocessors=6)
    expected = emulated(emulator, case, **options)
    assert expected.failed.tolist() == ([0, 1, 1, 0, 1, 0] if force else [0, 1, 1, 1, 0, 0])
    emulator.device(multiprocessors=11)
    emulator.seed(7)
    assert same(emulated(emulator, case, **options), expected)
    plain = emulated(emulator, case, **(options | dict(loop="plain")))
    good = ~expected.failed
    assert torch.equal(plain.tokens, expected.tokens) and torch.equal(plain.failed, expected.failed)
    torch.testing.assert_close(plain.attention[good], expected.attention[good], atol=1e-5, rtol=0)
    emulator.device()
    for b in (0, 5):
        part = slice(b, b + 1)
        alone = Case(
            case.weights, case.memory[part, : int(case.length[b])].contiguous(), case.length[part],
            case.beam, case.n_best, case.alpha, case.step_limit[part],
        )  # fmt: skip
        one = {k: v[part] if k == "force_length" else v for k, v in options.items()}
        result = emulated(emulator, alone, **(one | dict(attention=False)))
        S = result.tokens.shape[2]
        for name in ("tokens", "log_prob"):
            assert torch.equal(getattr(result, name)[0], getattr(expected, name)[b, :, :S]), name
        assert torch.equal(result.score[0], expected.score[b])
