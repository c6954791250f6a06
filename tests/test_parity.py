"""The fused decoder against the reference: docs/spec.md, section 3, to the tie."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from benchmarks.parity import compare, first_difference
from khmer_fast import ops
from python_ref.attn_gru_step import DecoderWeights, attn_gru_init, attn_gru_step
from python_ref.beam_search import BOS, EOS, PAD, beam_search
from tests.random_models import random_case, random_weights

MODELS = 2000
INSTRUCTION_SETS = ("baseline", "avx2", "avx512", "avx512_bf16")


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    monkeypatch.setenv("KHMER_FAST_POISON", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=INSTRUCTION_SETS)
def isa(request, monkeypatch):
    monkeypatch.setenv("KHMER_FAST_ISA", request.param)
    if ops.instruction_set() != request.param:
        pytest.skip(f"this processor has no {request.param}")
    return request.param


def search(case, decode, **options):
    arguments = dict(beam=case.beam, n_best=case.n_best, alpha=case.alpha, return_trace=True)
    arguments |= dict(step_limit=case.step_limit) | options
    return decode(case.memory, case.length, **arguments)


def test_random_models(monkeypatch):
    available = []
    for name in INSTRUCTION_SETS:
        monkeypatch.setenv("KHMER_FAST_ISA", name)
        if ops.instruction_set() == name:
            available.append(name)
    seen = dict.fromkeys(
        ("different_ends", "ties", "more_beams_than_tokens", "not_paired", "tanh", "limit"), 0
    )
    lines, excused, near = 0, dict.fromkeys(available, 0), dict.fromkeys(available, 0)
    tokens = 0
    for seed in range(MODELS):
        case = random_case(seed)
        with torch.no_grad():
            expected = search(case, partial(beam_search, case.weights), return_attention=True)
        lines += len(case.length)
        tokens += int(expected.length.sum())
        count(case, expected, seen)
        for name in available:
            monkeypatch.setenv("KHMER_FAST_ISA", name)
            got = search(case, ops.Decoder(case.weights).beam_search)
            parity = compare(case.weights, case.memory, case.length, expected, got)
            assert not parity.failures, (seed, name, parity.failures)
            excused[name] += len(parity.excused)
            near[name] += parity.near
    print(f"\n{lines} lines, excused {excused}, {tokens} tokens, near {near}, seen {seen}")
    assert all(n <= 0.01 * lines for n in excused.values()), excused
    assert all(n <= 0.01 * tokens for n in near.values()), near
    assert min(seen.values()) >= MODELS // 40, seen


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_draft_changes_no_bit(dtype):
    """Without a trace, the beam goes without what scores below the greedy hypothesis' end."""
    lines = saved = pushed_out = failed = 0
    names = (
        "tokens", "length", "score", "log_prob", "position", "truncated", "failed", "steps",
        "attention",
    )  # fmt: skip
    for seed in range(MODELS):
        case = random_case(seed)
        if seed % 50 == 0:
            case.memory[0, 0, 0] = torch.nan
        decode = ops.Decoder(case.weights, dtype).beam_search
        options = dict(n_best=1, alpha=0.0, return_attention=True)
        if seed % 4 == 0:
            options["force_length"] = case.step_limit
        whole = search(case, decode, **options)
        drafted = search(case, decode, return_trace=False, **options)
        greedy = search(case, decode, beam=1, **options)
        for name in names:
            assert_same(getattr(whole, name), getattr(drafted, name), (seed, name))
        lines += len(case.length)
        saved += int((drafted.parents < whole.parents).sum())
        pushed_out += int((whole.score < greedy.score).sum())
        failed += int(whole.failed.sum())
    print(f"\n{lines} lines, {saved} with fewer parents, {pushed_out} pushed out, {failed} failed")
    assert saved >= lines // 20 and pushed_out >= 5 and failed >= MODELS // 100


def assert_same(a: torch.Tensor, b: torch.Tensor, where) -> None:
    assert a.shape == b.shape and torch.equal(a.nan_to_num(7e30), b.nan_to_num(7e30)), where


def count(case, result, seen) -> None:
    ends = result.length.masked_fill(result.truncated, 0)
    seen["different_ends"] += int(any(len(set(row.tolist()) - {0}) > 1 for row in ends))
    seen["limit"] += int(result.truncated.any())
    seen["more_beams_than_tokens"] += int(case.beam > case.weights.embedding.shape[0])
    score = result.trace.score
    tied = (score[:, :, 1:] == score[:, :, :-1]) & score[:, :, 1:].isfinite()
    seen["ties"] += int(tied.any())
    key, _ = attn_gru_init(case.memory, case.length, case.weights)
    p = float(key.nan_to_num(0).abs().max())
    seen["not_paired"] += int(2 * p >= 42)
    seen["tanh"] += int(2 * p >= 87)


def test_comparison_sees_a_wrong_choice():
    case = random_case(3)
    expected = search(case, partial(beam_search, case.weights))
    assert expected.trace.token.shape[1] > 1 and expected.trace.token.shape[2] > 1
    expected.trace.token[0, 1, 0] = case.weights.embedding.shape[0] - 1
    got = search(case, ops.Decoder(case.weights).beam_search)
    assert first_difference(expected.trace, got.trace, 0) == (1, 0)


def test_comparison_sees_a_wrong_position():
    case = random_case(16)  # 67 positions
    expected = search(case, partial(beam_search, case.weights), return_attention=True)
    got = search(case, ops.Decoder(case.weights).beam_search)
    assert not failures(case, expected, got)
    got.position[0, 0, 0] = (got.position[0, 0, 0] + 1) % case.length[0]
    assert ["token 0 stands at" in text for text in failures(case, expected, got)] == [True]


def failures(case, expected, got) -> tuple[str, ...]:
    return compare(case.weights, case.memory, case.length, expected, got).failures


@pytest.mark.parametrize("n_best", [1, 3])  # with a draft and without
def test_position_is_the_first_of_the_largest_weights(isa, n_best):
    w, memory, length = batch(20, T=70)
    options = dict(n_best=n_best, return_attention=True)
    got = ops.Decoder(w).beam_search(memory, length, **options)
    inside = torch.arange(got.tokens.shape[2]) < got.length[:, :, None]
    assert torch.equal(got.position, got.attention.argmax(3) * inside)
    assert got.position.unique().numel() > 10
    w.v.zero_()  # every position is like every other
    got = ops.Decoder(w).beam_search(memory, length, **options)
    assert bool(got.length.all()) and not got.position.any()


def test_forced_length(isa):
    for seed in range(40):
        case = random_case(seed)
        force = torch.randint(
            0, 12, case.length.shape, generator=torch.Generator().manual_seed(seed)
        )
        options = dict(step_limit=None, force_length=force)
        expected = search(case, partial(beam_search, case.weights), **options)
        got = search(case, ops.Decoder(case.weights).beam_search, **options)
        parity = compare(case.weights, case.memory, case.length, expected, got)
        assert not parity.failures, (seed, parity.failures)
        assert torch.equal(got.steps, force)
        for b, steps in enumerate(force.tolist()):
            for i in range(case.n_best):
                if got.length[b, i] > 0:
                    assert int(got.length[b, i]) == steps
                    assert int(got.tokens[b, i, steps - 1]) == EOS


def test_default_limit_and_attention(isa):
    for seed in range(40):
        case = random_case(seed)
        options = dict(step_limit=None, return_attention=True)
        expected = search(case, partial(beam_search, case.weights), **options)
        got = search(case, ops.Decoder(case.weights).beam_search, **options)
        parity = compare(case.weights, case.memory, case.length, expected, got)
        assert not parity.failures, (seed, parity.failures)
        if not parity.excused:
            torch.testing.assert_close(got.attention, expected.attention, atol=1e-4, rtol=0)


def batch(B: int, T: int = 37, seed: int = 0):
    rng = torch.Generator().manual_seed(seed)
    w = random_weights(rng, V=37, D=8, E=72, A=23, H=40)
    w.b_o[EOS] += 1.5
    memory = torch.randn(B, T, 72, generator=rng)
    length = torch.randint(1, T + 1, (B,), generator=rng)
    return w, memory, length


def test_beam_of_one_is_greedy(isa):
    w, memory, length = batch(8)
    key, h = attn_gru_init(memory, length, w)
    rest = (w.embedding, w.W_q, w.v, w.W_ih, w.W_hh, w.b_ih, w.b_hh, w.W_o, w.b_o)
    token, ended = torch.full((8,), BOS), torch.zeros(8, dtype=torch.bool)
    chosen, log_prob = [], []
    for _ in range(12):
        log_probs, h, _ = ops.attn_gru_step(memory, key, length, token, h, *rest)
        best, token = log_probs[:, EOS:].max(1)
        token = token + EOS
        chosen.append(token.masked_fill(ended, PAD))
        log_prob.append(best.masked_fill(ended, 0.0))
        ended = ended | (token == EOS)
    got = ops.Decoder(w).beam_search(memory, length, beam=1, step_limit=torch.full((8,), 12))
    S = got.tokens.shape[2]
    assert torch.equal(got.tokens[:, 0], torch.stack(chosen, 1)[:, :S])
    torch.testing.assert_close(got.log_prob[:, 0], torch.stack(log_prob, 1)[:, :S])


def same_line(a, i, b, j) -> None:
    """Line i of one result is line j of another, bit for bit."""
    for name in ("length", "score", "truncated", "failed", "steps", "live", "parents"):
        assert torch.equal(getattr(a, name)[i], getattr(b, name)[j]), name
    S = int(a.length[i].max())
    for name in ("tokens", "log_prob", "attention", "position"):
        x, y = getattr(a, name)[i, :, :S], getattr(b, name)[j, :, :S]
        T = min(x.shape[-1], y.shape[-1]) if name == "attention" else None
        assert torch.equal(x[..., :T], y[..., :T]), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("beam", [1, 5, 10])
def test_line_does_not_depend_on_its_batch(isa, beam, dtype):
    w, memory, length = batch(40)
    decoder = ops.Decoder(w, dtype)
    options = dict(beam=beam, n_best=min(beam, 2), return_attention=True)
    alone = [
        decoder.beam_search(
            memory[b : b + 1, : int(length[b])], length[b : b + 1], threads=1, **options
        )
        for b in range(40)
    ]
    rng = torch.Generator().manual_seed(beam)
    for B in (1, 2, 3, 7, 15, 16, 17, 40):
        lines = torch.randperm(40, generator=rng)[:B]
        for threads in (1, 2, 3):
            together = decoder.beam_search(memory[lines], length[lines], threads=threads, **options)
            for slot, b in enumerate(lines.tolist()):
                same_line(alone[b], 0, together, slot)


def test_rows_do_not_depend_on_their_number(isa):
    """Each product sums in one order for 1 to 160 rows."""
    w, memory, length = batch(1)
    key, _ = attn_gru_init(memory, length, w)
    h = torch.randn(160, 40, generator=torch.Generator().manual_seed(1))
    token = torch.arange(160) % 37
    rest = (w.embedding, w.W_q, w.v, w.W_ih, w.W_hh, w.b_ih, w.b_hh, w.W_o, w.b_o)
    everything = ops.attn_gru_step(memory, key, length, token, h, *rest)
    for rows in range(1, 161):
        part = ops.attn_gru_step(memory, key, length, token[-rows:], h[-rows:], *rest)
        assert all(torch.equal(x, y[-rows:]) for x, y in zip(part, everything, strict=True)), rows


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_padding_has_no_influence(isa, dtype):
    w, memory, length = batch(6)
    decoder = ops.Decoder(w, dtype)
    outside = torch.arange(memory.shape[1])[None, :] >= length[:, None]
    clean = decoder.beam_search(memory.masked_fill(outside[:, :, None], 0), length)
    dirty = decoder.beam_search(memory.masked_fill(outside[:, :, None], torch.nan), length)
    assert torch.equal(clean.tokens, dirty.tokens) and torch.equal(clean.log_prob, dirty.log_prob)


def test_non_finite_line_fails_alone(isa):
    w, memory, length = batch(5)
    decoder = ops.Decoder(w)
    clean = decoder.beam_search(memory, length, return_attention=True)
    for poison in (torch.nan, torch.inf, -torch.inf):
        broken = memory.clone()
        broken[2, 0, 5] = poison
        got = decoder.beam_search(broken, length, return_attention=True)
        for b in (0, 1, 3, 4):
            same_line(clean, b, got, b)
        assert bool(((got.tokens >= 0) & (got.tokens < 37)).all())
    got = decoder.beam_search(memory.index_fill(0, torch.tensor([2]), torch.nan), length)
    assert got.failed.tolist() == [False, False, True, False, False]
    assert int(got.length[2, 0]) == 0 and float(got.score[2, 0]) == -torch.inf


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_empty(isa, dtype):
    w, memory, length = batch(3)
    decoder = ops.Decoder(w, dtype)
    nothing = decoder.beam_search(memory[:0], length[:0], return_trace=True, return_attention=True)
    assert nothing.tokens.shape == (0, 1, 0) and nothing.trace.token.shape == (0, 0, 5)
    no_positions = decoder.beam_search(memory[:, :0], torch.zeros(3, dtype=torch.int64))
    assert no_positions.failed.all() and (no_positions.length == 0).all()
    mixed = decoder.beam_search(memory, torch.tensor([0, 5, 0]))
    assert mixed.failed.tolist() == [True, False, True]
    no_steps = decoder.beam_search(memory, length, step_limit=torch.zeros(3, dtype=torch.int64))
    assert no_steps.failed.all() and (no_steps.steps == 0).all()


def test_bfloat16_error_is_at_most_twice_torchs(isa):
    """After one step, over all tokens: a beam as wide as the vocabulary."""
    worst = 0.0
    for seed in range(10):
        w, memory, length = batch(4, seed=seed)
        decoder = ops.Decoder(w, "bfloat16")
        assert decoder.computes_in == ("bfloat16" if isa == "avx512_bf16" else "float32")
        V = w.embedding.shape[0]
        got = decoder.beam_search(
            memory, length, V - 2, V - 2, step_limit=torch.ones(4, dtype=torch.int64)
        )
        fused = torch.zeros(4, V).scatter(1, got.tokens[:, :, 0], got.score)[:, EOS:].double()

        def first_step(dtype, w=w, memory=memory, length=length):
            weights = DecoderWeights(*(x.to(dtype) for x in w))
            x = memory.nan_to_num(0).to(dtype)
            key, h = attn_gru_init(x, length, weights)
            log_probs, _, _ = attn_gru_step(
                x, key, length, torch.full((4,), BOS), h, weights.embedding, weights.W_q,
                weights.v, weights.W_ih, weights.W_hh, weights.b_ih, weights.b_hh, weights.W_o,
                weights.b_o,
            )  # fmt: skip
            return log_probs[:, EOS:].double()

        exact, plain = first_step(torch.float64), first_step(torch.bfloat16)
        bound = 2 * (plain - exact).abs().max() + 1e-6 * exact.abs().max()
        worst = max(worst, float((fused - exact).abs().max() / bound))
    assert 0.001 < worst <= 1.0


def test_memory_in_other_strides(isa):
    w, memory, length = batch(4)
    decoder = ops.Decoder(w)
    plain = decoder.beam_search(memory, length)
    for other in (
        memory.transpose(0, 1).contiguous().transpose(0, 1),
        memory.transpose(1, 2).contiguous().transpose(1, 2),
    ):
        got = decoder.beam_search(other, length)
        assert torch.equal(plain.tokens, got.tokens) and torch.equal(plain.log_prob, got.log_prob)


def test_threads_share_a_decoder(isa):
    w, memory, length = batch(24)
    decoder = ops.Decoder(w)
    alone = decoder.beam_search(memory, length, threads=1, return_attention=True)
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(decoder.beam_search, memory, length, threads=3, return_attention=True)
            for _ in range(12)
        ]
        for job in jobs:
            for b in range(24):
                same_line(alone, b, job.result(), b)


def test_forked_process_decodes():
    w, memory, length = batch(4)
    decoder = ops.Decoder(w)
    expected = decoder.beam_search(memory, length, threads=2)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that waits for its parent's threads dies here
        got = decoder.beam_search(memory, length, threads=2)
        os._exit(0 if torch.equal(got.tokens, expected.tokens) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
