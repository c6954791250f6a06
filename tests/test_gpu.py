"""What only a GPU can show; skipped without one. `python -m benchmarks.gpu` runs it."""

from __future__ import annotations

import threading

import pytest
import torch

from benchmarks.gpu import LARGEST_BEAM, search
from benchmarks.parity import compare
from khmer_fast import ops
from khmer_fast.reader import Reader, cuda_obstacle
from python_ref.attn_gru_step import DecoderWeights
from python_ref.beam_search import beam_search
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
        got = search(ops.make_decoder(on_gpu(case)), case, "cuda", options)
        parity = compare(case.weights, case.memory, case.length, expected, got)
        assert not parity.failures, (seed, parity.failures)
        lines, excused = lines + parity.lines, excused + len(parity.excused)
    assert excused <= 0.01 * lines


def test_streams_and_threads():
    case = random_case(3)
    decoder = ops.make_decoder(on_gpu(case))
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
    decoder = ops.make_decoder(on_gpu(case))
    with pytest.raises(ValueError, match="memory must be on cuda:0, got cpu"):
        decoder.beam_search(case.memory, case.length.cuda())
    with pytest.raises(TypeError, match="memory must have dtype Float"):
        decoder.beam_search(case.memory.cuda().double(), case.length.cuda())
    with pytest.raises(ValueError, match="beam must be at most"):
        decoder.beam_search(case.memory.cuda(), case.length.cuda(), beam=LARGEST_BEAM + 1)


def test_reader(line_image):
    gpu, cpu = Reader(device="cuda"), Reader(device="cpu")
    assert gpu.read(line_image).text == cpu.read(line_image).text


def test_batch_is_split_when_memory_is_short(line_image, monkeypatch):
    reader = Reader(device="cuda", batch_size=8)
    expected = [line.text for line in reader.read_batch([line_image] * 8)]
    decode = reader._decode

    def short(lines):
        if len(lines) > 2:
            raise torch.OutOfMemoryError("planted")
        return decode(lines)

    monkeypatch.setattr(reader, "_decode", short)
    with pytest.warns(UserWarning, match="too little free memory") as said:
        assert [line.text for line in reader.read_batch([line_image] * 8)] == expected
    assert len(said) == 1
