"""Operators and the decoder's shell: schema, checks, float error, build record."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import python_ref.attn_gru_step as reference
from khmer_fast import ops
from python_ref.attn_gru_step import DecoderWeights, attn_gru_init
from tests.random_models import random_weights

ROOT = Path(__file__).resolve().parents[1]
STEP_WEIGHTS = ("embedding", "W_q", "v", "W_ih", "W_hh", "b_ih", "b_hh", "W_o", "b_o")


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    monkeypatch.setenv("KHMER_FAST_POISON", "1")


@pytest.fixture(params=("baseline", "avx2", "avx512", "avx512_bf16"))
def isa(request, monkeypatch):
    monkeypatch.setenv("KHMER_FAST_ISA", request.param)
    if ops.instruction_set() != request.param:
        pytest.skip(f"this processor has no {request.param}")


def step_inputs(seed: int = 0, B: int = 2, K: int = 3, T: int = 21, saturate: float = 0.0) -> dict:
    rng = torch.Generator().manual_seed(seed)
    w = random_weights(rng, V=19, D=5, E=34, A=23, H=17)
    w.b_k[::5] += saturate
    memory = torch.randn(B, T, 34, generator=rng)
    length = torch.randint(1, T + 1, (B,), generator=rng)
    key, _ = attn_gru_init(memory, length, w)
    h = torch.rand(B * K, 17, generator=rng) * 2 - 1
    token = torch.randint(0, 19, (B * K,), generator=rng)
    inputs = dict(memory=memory, key=key, length=length, token=token, h=h)
    return inputs | {name: getattr(w, name) for name in STEP_WEIGHTS}


def test_schema_names_the_arguments_of_the_reference():
    for name, function in (("attn_gru_step", reference.attn_gru_step),):
        schema = getattr(torch.ops.khmer_fast, name).default._schema
        names = [argument.name for argument in schema.arguments]
        assert names == list(inspect.signature(function).parameters)
        assert names == list(inspect.signature(getattr(ops, name)).parameters)


def test_opcheck():
    torch.library.opcheck(torch.ops.khmer_fast.attn_gru_step.default, tuple(step_inputs().values()))


def test_step_under_compile():
    inputs = step_inputs()
    compiled = torch.compile(ops.attn_gru_step, fullgraph=True, backend="aot_eager")
    for x, y in zip(compiled(**inputs), ops.attn_gru_step(**inputs), strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("saturate", [0.0, 18.0, 40.0, 60.0])
def test_float_error_is_at_most_twice_torchs(isa, saturate):
    worst = {}
    for seed in range(30):
        inputs = step_inputs(seed, saturate=saturate)
        exact = reference.attn_gru_step(
            **{k: x.double() if x.is_floating_point() else x for k, x in inputs.items()}
        )
        plain = reference.attn_gru_step(**inputs)
        fused = ops.attn_gru_step(**inputs)
        for name, e, p, f in zip(("log_probs", "h", "weight"), exact, plain, fused, strict=True):
            bound = 2 * (p - e).abs().max() + 1e-6 * e.abs().max()
            worst[name] = max(worst.get(name, 0.0), float((f - e).abs().max() / bound))
    assert all(ratio <= 1.0 for ratio in worst.values()), worst


def test_query_out_of_range_takes_the_tanh(isa):
    inputs = step_inputs()
    for scale in (100.0, 1e4, 1e30):
        saturated = inputs | dict(W_q=inputs["W_q"] * scale)
        plain, fused = reference.attn_gru_step(**saturated), ops.attn_gru_step(**saturated)
        for p, f in zip(plain, fused, strict=True):
            torch.testing.assert_close(f, p, atol=1e-3, rtol=1e-3)


def test_length_zero_gives_nan(isa):
    inputs = step_inputs() | dict(length=torch.tensor([0, 5]))
    plain, fused = reference.attn_gru_step(**inputs), ops.attn_gru_step(**inputs)
    for p, f in zip(plain, fused, strict=True):
        assert torch.equal(p.isnan(), f.isnan())
        assert f[:3].isnan().all() and not f[3:].isnan().any()


def test_nothing_to_do(isa):
    for x in ops.attn_gru_step(**step_inputs(B=2, K=0)):
        assert x.shape[0] == 0
    inputs = step_inputs()
    empty = {name: inputs[name][:0] for name in ("memory", "key", "length", "token", "h")}
    log_probs, h, weight = ops.attn_gru_step(**(inputs | empty))
    assert (log_probs.shape, h.shape, weight.shape) == ((0, 19), (0, 17), (0, 21))


@pytest.mark.parametrize(
    ("name", "change", "error", "words"),
    [
        ("h", lambda x: x[:, :-1], ValueError, ("W_q", "[A, H] = [23, 16]", "got [23, 17]")),
        ("h", lambda x: x[:-1], ValueError, ("multiple of B = 2", "got 5")),
        ("h", lambda x: x.double(), TypeError, ("h must have dtype Float", "got Double")),
        ("memory", lambda x: x[0], ValueError, ("memory", "[B, T, E]", "got [21, 34]")),
        ("key", lambda x: x[:, 1:], ValueError, ("key", "[2, 21, 23]", "got [2, 20, 23]")),
        ("W_o", lambda x: x.T, ValueError, ("W_o", "[V, H + E] = [19, 51]", "got [51, 19]")),
        ("b_hh", lambda x: x.half(), TypeError, ("b_hh", "Float", "got Half")),
        ("token", lambda x: x.int(), TypeError, ("token", "Long", "got Int")),
        ("token", lambda x: x + 19, ValueError, ("token", "[0, 19)")),
        ("token", lambda x: x - 20, ValueError, ("token", "[0, 19)", "got -")),
        ("length", lambda x: x + 21, ValueError, ("length", "at most T = 21")),
        ("length", lambda x: x - 22, ValueError, ("length", "at least 0")),
        ("embedding", lambda x: x[:2], ValueError, ("embedding", "at least 3 rows", "got 2")),
    ],
)
def test_wrong_input_says_expected_and_got(name, change, error, words):
    inputs = step_inputs()
    inputs[name] = change(inputs[name])
    with pytest.raises(error) as caught:
        ops.attn_gru_step(**inputs)
    assert all(word in str(caught.value) for word in words), caught.value


def decoder_inputs() -> tuple[DecoderWeights, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return random_weights(rng, 19, 5, 34, 23, 17), torch.randn(2, 9, 34), torch.tensor([9, 4])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (dict(b_init=torch.zeros(16)), ValueError, ("b_init", "[H] = [17]", "got [16]")),
        (dict(W_k=torch.zeros(23, 33)), ValueError, ("W_init", "[17, 33]", "got [17, 34]")),
        (dict(W_k=torch.zeros(23, 34).half()), TypeError, ("W_k", "Float", "got Half")),
        (dict(embedding=torch.zeros(19)), ValueError, ("embedding", "[V, D]", "got [19]")),
    ],
)
def test_wrong_weights_say_expected_and_got(change, error, words):
    w, _, _ = decoder_inputs()
    with pytest.raises(error) as caught:
        ops.Decoder(w._replace(**change))
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (dict(beam=0), ValueError, ("beam must be at least 1", "got 0")),
        (dict(beam=3, n_best=4), ValueError, ("n_best", "[1, 3]", "got 4")),
        (dict(n_best=0), ValueError, ("n_best", "got 0")),
        (dict(alpha=-0.5), ValueError, ("alpha", "at least 0", "got -0.5")),
        (dict(alpha=float("nan")), ValueError, ("alpha", "finite")),
        (dict(threads=0), ValueError, ("threads", "got 0")),
        (dict(length=torch.tensor([9, 10])), ValueError, ("length", "at most T = 9", "got 10")),
        (dict(length=torch.tensor([9])), ValueError, ("length", "[B] = [2]", "got [1]")),
        (dict(step_limit=torch.tensor([1, -1])), ValueError, ("step_limit", "at least 0")),
        (dict(memory=torch.zeros(2, 9, 33)), ValueError, ("memory", "[2, 9, 34]", "[2, 9, 33]")),
        (dict(memory=torch.zeros(2, 9, 34).bfloat16()), TypeError, ("memory", "got BFloat16")),
        (dict(memory=torch.zeros(2, 9, 34).to_sparse()), ValueError, ("memory", "dense", "Sparse")),
        (dict(beam=1025), ValueError, ("beam must be at most 1024", "got 1025")),
        (dict(beam=2**27), ValueError, ("beam must be at most 1024", "got 134217728")),
        (
            dict(step_limit=torch.tensor([1, 2**62])),
            ValueError,
            ("step_limit must be at most 65536", "got 4611686018427387904"),
        ),
        (
            dict(force_length=torch.tensor([10**12, 1])),
            ValueError,
            ("force_length must be at most 65536", "got 1000000000000"),
        ),
    ],
)
def test_wrong_search_says_expected_and_got(change, error, words):
    w, memory, length = decoder_inputs()
    with pytest.raises(error) as caught:
        ops.Decoder(w).beam_search(**(dict(memory=memory, length=length) | change))
    assert all(word in str(caught.value) for word in words), caught.value


def test_long_lines_may_have_long_answers():
    w, _, _ = decoder_inputs()
    w.b_o[2] += 100.0  # ends at once
    memory, length = torch.zeros(1, 1, 34).expand(1, 70000, 34), torch.tensor([70000])
    limit = torch.tensor([70008])
    assert ops.Decoder(w).beam_search(memory, length, step_limit=limit).length.tolist() == [[1]]
    with pytest.raises(ValueError, match="step_limit must be at most 70008, got 70009"):
        ops.Decoder(w).beam_search(memory, length, step_limit=limit + 1)


def test_unknown_dtype():
    with pytest.raises(ValueError, match="dtype must be float32 or bfloat16, got int8"):
        ops.Decoder(decoder_inputs()[0], "int8")


def test_unknown_instruction_set(monkeypatch):
    monkeypatch.setenv("KHMER_FAST_ISA", "sse9")
    with pytest.raises(ValueError, match="KHMER_FAST_ISA must be .* got sse9"):
        ops.Decoder(decoder_inputs()[0])


def import_ops(folder: Path) -> str:
    """What importing khmer_fast.ops says where `folder` comes first on the path."""
    run = subprocess.run(
        [sys.executable, "-c", "import khmer_fast.ops"],
        env={"PYTHONPATH": f"{folder}:{ROOT}", "PATH": ""},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    return run.stderr.strip().splitlines()[-1]


def test_foreign_torch_is_one_sentence(tmp_path):
    (tmp_path / "_khmer_fast_build.py").write_text("TORCH = '2.9.9'\nCUDA = None\n")
    message = import_ops(tmp_path)
    assert "BuildMismatchError" in message and "undefined symbol" not in message
    assert "torch 2.9.9" in message and torch.__version__.split("+")[0] in message
    assert "pip install" in message


def test_missing_build_is_one_sentence(tmp_path):
    (tmp_path / "_khmer_fast_build.py").write_text("raise ImportError\n")
    assert "pip install" in import_ops(tmp_path)


def test_rooms_import_one_way():
    """python_ref imports torch alone; device code includes no torch header."""
    for path in (ROOT / "python_ref").glob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("import ", "from ")):
                package = line.split()[1].split(".")[0]
                assert package in {"torch", "python_ref", "__future__", *sys.stdlib_module_names}
    for path in (ROOT / "csrc" / "cuda").glob("*.cu*"):
        assert "torch/" not in path.read_text() and "ATen/" not in path.read_text(), path
