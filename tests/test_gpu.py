"""What only a GPU can show; skipped without one. `python -m benchmarks.gpu` runs it."""

from __future__ import annotations

import threading

import pytest
import torch

from benchmarks.gpu_run import LARGEST_BEAM, search
from benchmarks.parity import compare
from khmer_fast.recognize.engine import cuda_obstacle, make_decoder, make_engine
from khmer_fast.recognize.reader import Reader
from khmer_fast.sequence import attn_gru_sequence
from khmer_fast.weights import load_weights
from python_ref.attn_gru_sequence import attn_gru_sequence as reference
from python_ref.attn_gru_step import DecoderWeights
from python_ref.beam_search import beam_search
from tests import test_attn_gru_sequence as sequence
from tests.conftest import ShortOfMemory
from tests.random_models import random_case

pytestmark = pytest.mark.skipif(cuda_obstacle() is not None, reason=str(cuda_obstacle()))


def on_gpu(case) -> DecoderWeights:
    return DecoderWeights(*(x.cuda() for x in case.weights))


def test_random_models():
    lines = excused = 0
    for seed in range(100):
        case = random_case(seed)
        if case.beam > LARGEST_BEAM:
            continue
        options = dict(beam=case.beam, n_best=case.n_best, alpha=case.alpha)
        expected = beam_search(
            case.weights, case.memory, case.length, **options, step_limit=case.step_limit,
            return_trace=True,
        )  # fmt: skip
        got = search(make_decoder(on_gpu(case)), case, "cuda", options)
        parity = compare(case.weights, case.memory, case.length, expected, got)
        assert not parity.failures, (seed, parity.failures)
        lines, excused = lines + parity.lines, excused + len(parity.excused)
    assert excused <= 0.01 * lines


def test_streams_and_threads():
    case = random_case(3)
    decoder = make_decoder(on_gpu(case))
    memory, length = case.memory.cuda(), case.length.cuda()
    expected = decoder.beam_search(memory, length, 5)
    results = [None] * 4

    def decode(i: int) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.default_stream())
        with torch.cuda.stream(stream):
            for _ in range(10):
                results[i] = decoder.beam_search(memory, length, 5)
        stream.synchronize()

    torch.cuda.synchronize()
    threads = [threading.Thread(target=decode, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        assert torch.equal(result.tokens, expected.tokens)
        assert torch.equal(result.score, expected.score)


def test_wrong_tensors_are_named():
    case = random_case(3)
    decoder = make_decoder(on_gpu(case))
    with pytest.raises(ValueError, match="memory must be on cuda:0, got cpu"):
        decoder.beam_search(case.memory, case.length.cuda())
    with pytest.raises(TypeError, match="memory must have dtype Float"):
        decoder.beam_search(case.memory.cuda().double(), case.length.cuda())
    with pytest.raises(ValueError, match="beam must be at most"):
        decoder.beam_search(case.memory.cuda(), case.length.cuda(), beam=LARGEST_BEAM + 1)


def test_reader(line_image):
    gpu, cpu = Reader(device="cuda"), Reader(device="cpu")
    assert gpu.read(line_image).text == cpu.read(line_image).text


def test_batch_is_split_when_memory_is_short(line_image):
    weights = load_weights()
    expected = [line.text for line in Reader(weights, device="cuda").read_batch([line_image] * 8)]
    engine = ShortOfMemory(make_engine(weights, "cuda"), 2)
    with pytest.warns(UserWarning, match="too little free memory") as said:
        lines = Reader(weights, batch_size=8, engine=engine).read_batch([line_image] * 8)
    assert [line.text for line in lines] == expected
    assert len(said) == 1 and engine.released > 0


def leaves_on_gpu(arguments):
    return {
        name: x.detach().cuda().requires_grad_(x.requires_grad) for name, x in arguments.items()
    }


def on_cpu(found):
    return {name: x.cpu() for name, x in found.items()}


@pytest.mark.parametrize("scale", sequence.SCALES)
@pytest.mark.parametrize("shape", sequence.SHAPES)
def test_sequence_equals_the_plain_loop(shape: str, scale: str):
    arguments = sequence.make(**sequence.SHAPES[shape], scale=sequence.SCALES[scale])
    found = on_cpu(sequence.run(attn_gru_sequence, leaves_on_gpu(arguments)))
    tolerance = 1e-9 if scale == "usual" else 1e-6
    assert sequence.differing(found, sequence.run(reference, arguments), tolerance) == []


@pytest.mark.parametrize("outlier", [0.0, 30.0, 60.0], ids=["paired", "factored", "direct"])
def test_sequence_error_is_within_twice_eager(outlier: float):
    sizes = dict(B=40, T=130, S=30, E=520, A=516, D=16, H=514, V=50)
    arguments = sequence.make(**sizes, dtype=torch.float32)
    if outlier:
        with torch.no_grad():
            arguments["key"][:, 0, 0] = outlier
    exact = sequence.run(reference, sequence.to_dtype(arguments, torch.float64))
    arguments = leaves_on_gpu(arguments)
    eager = on_cpu(sequence.run(reference, arguments))
    found = on_cpu(sequence.run(attn_gru_sequence, arguments))
    again = on_cpu(sequence.run(attn_gru_sequence, arguments))
    for name, x in exact.items():
        allowed = 2 * (eager[name] - x).abs().max() + 1e-6 * x.abs().max()
        assert bool((found[name] - x).abs().max() <= allowed), name
        assert torch.equal(found[name], again[name]), name


def test_sequence_gradcheck():
    arguments = sequence.op_arguments(sequence.make(**sequence.SHAPES["one_line"]))
    arguments = leaves_on_gpu(arguments)

    def results(*values):
        return sequence.OP(*values)[:3]

    assert torch.autograd.gradcheck(results, tuple(arguments.values()))


def test_sequence_in_a_cuda_graph():
    arguments = sequence.op_arguments(sequence.make(**sequence.SHAPES["ragged"]))
    arguments = {name: x.detach().cuda() for name, x in arguments.items()}
    expected = sequence.OP(**arguments)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = sequence.OP(**arguments)
    graph.replay()
    for x, y in zip(captured, expected, strict=True):
        assert torch.equal(x, y)


def test_sequence_names_wrong_lengths():
    arguments = sequence.op_arguments(sequence.make(**sequence.SHAPES["ragged"]))
    arguments = leaves_on_gpu(arguments)
    arguments["length"][1] = 0
    with pytest.raises(ValueError, match=r"length must lie in \[1, 9\], got 0 for line 1"):
        sequence.OP(**arguments)
