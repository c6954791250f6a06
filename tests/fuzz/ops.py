"""Odd arguments to the operators, the decoder, the encoder and the segmenter: each call is answered
or refused in one sentence; no crash, no hang, no other numbers for the same numbers.

`python -m tests.fuzz.ops --minutes 1` runs so long, `--cases 5000` so many; `--case N` makes case N
again. The number of the running case lies in a file that is named on stderr: a crash leaves it.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import khmer_fast.sequence  # noqa: F401  (the fake operators)
from khmer_fast import ops
from khmer_fast.errors import KhmerFastError
from tests import test_borders as borders

SECONDS = 10.0  # of one case
REFUSED = (ValueError, TypeError, KhmerFastError)
# What torch's dispatcher says before a kernel of ours is asked: no such device, layout or type.
DISPATCH = ("Could not run", "expected at most", "Expected a value of type", "has no meaning",
            "not implemented for", "sparse", "Sparse", "meta", "Cannot", "cannot")  # fmt: skip
NUMBERS = (-1, 0, 1, 2, 7, 2**31, 2**40, 2**62, 2**64, -(2**63), 0.5, float("nan"), None, "3")

Call = Callable[..., Any]


def targets() -> dict[str, tuple[Call, dict[str, Any]]]:
    """What is attacked: a call and arguments that are well."""
    found: dict[str, tuple[Call, dict[str, Any]]] = {
        name: (getattr(torch.ops.khmer_fast, name), make())
        for name, make in borders.OPERATORS.items()
    }
    weights, inputs = borders.decoder_inputs()
    found["decoder"] = (
        ops.Decoder(weights).beam_search,
        {**inputs, "beam": 3, "n_best": 2, "alpha": 0.5, "force_length": None, "threads": 1},
    )
    found["weights"] = (
        lambda **tensors: ops.Decoder(type(weights)(**tensors)).beam_search(**inputs, threads=1),
        weights._asdict(),
    )
    encoder = borders.random_encoder(borders.CONFIGS[0])
    image, width = borders.batch(borders.CONFIGS[0], 40)
    lines = {"image": image.nan_to_num(0.5), "width": width, "threads": 1}
    found["encoder"] = (ops.Encoder(encoder), lines)
    segmenter = borders.random_segmenter(borders.ODD)
    found["segmenter"] = (ops.Segmenter(segmenter), {"image": borders.pages(40, 52), "threads": 1})
    return found


def same_numbers(x: Tensor, rng: random.Random) -> Tensor:
    """The tensor in another dress, some of them one over the other."""
    for _ in range(rng.randint(1, 3)):
        other = borders.changed(x, rng.choice(list(borders.WAYS))) if x.dim() else None
        x = x if other is None else other
    return x


def odd(value: Any, rng: random.Random) -> Any:
    """Something else in the place of a tensor or a number."""
    if not isinstance(value, Tensor) or rng.random() < 0.05:
        return rng.choice(NUMBERS)
    floating = value.is_floating_point()
    choices: list[Callable[[], Any]] = [
        lambda: value.to(rng.choice((torch.float64, torch.float16, torch.int32, torch.bool))),
        lambda: value[..., :-1],
        lambda: value[:0],
        lambda: value[None],
        lambda: value.flatten(),
        lambda: value.new_zeros(()),
        lambda: torch.cat([value, value], rng.randrange(value.dim())),
        lambda: value[:1].expand(3, *value.shape[1:]),
        lambda: value.to_sparse(),
        lambda: torch.full_like(value, float("nan") if floating else -1),
        lambda: torch.full_like(value, float("inf") if floating else 2**62),
        lambda: torch.full_like(value, 1e38 if floating else 2**31),
        lambda: value.clone().requires_grad_() if floating else -value,
        lambda: value.to(torch.complex64) if floating else value * 1000,
        lambda: value.tolist(),
    ]
    return rng.choice(choices)()


def run_case(seed: int, index: int, found: dict[str, tuple[Call, dict[str, Any]]]) -> None:
    """Case `index`; what is raised is a finding."""
    rng = random.Random(f"{seed} {index}")
    name = rng.choice(sorted(found))
    call, given = found[name]
    if rng.random() < 0.3:
        dressed = {
            key: same_numbers(x, rng) if isinstance(x, Tensor) and rng.random() < 0.5 else x
            for key, x in given.items()
        }
        for a, b in zip(_tensors(call(**given)), _tensors(call(**dressed)), strict=True):
            assert torch.equal(a, b), f"{name}: other numbers for the same"
        return
    attacked = dict(given)
    for key in rng.sample(sorted(given), min(len(given), rng.choice((1, 1, 1, 2, 3)))):
        attacked[key] = odd(given[key], rng)
    try:
        _tensors(call(**attacked))
    except REFUSED as error:
        assert str(error).strip(), f"{name}: no reason"
    except RuntimeError as error:
        if not any(word in str(error) for word in DISPATCH):
            raise


def _tensors(answer: Any) -> list[Tensor]:
    if isinstance(answer, Tensor):
        return [answer]
    parts = answer if isinstance(answer, tuple) else vars(answer).values()
    return [torch.nan_to_num(x, 7e7) for x in parts if isinstance(x, Tensor)]


def fuzz(
    seed: int, cases: range, minutes: float | None = None, count: Callable[[], Any] = int
) -> Iterator[tuple[int, str]]:
    """Runs cases in this process: the number of each that went wrong, and what it said; `count` is
    called for each."""
    faulthandler.enable()
    end = None if minutes is None else time.monotonic() + 60 * minutes
    found = targets()
    with tempfile.NamedTemporaryFile("w", prefix="khmer_fast_fuzz_ops_", delete=False) as running:
        print(f"the running case is named in {running.name}", file=sys.stderr)
        for index in cases:
            if end is not None and time.monotonic() > end:
                break
            running.seek(0)
            running.write(f"{index:12}")
            running.flush()
            what, began = "", time.process_time()
            try:
                run_case(seed, index, found)
            except Exception:  # all of them are findings
                what = traceback.format_exc()
            if time.process_time() - began > SECONDS:
                what += f"took {time.process_time() - began:.1f} seconds\n"
            count()
            if what:
                yield index, what
    Path(running.name).unlink()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, help="run so long")
    parser.add_argument("--cases", type=int, default=10**9, help="run so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="run this case alone")
    args = parser.parse_args()
    if args.case is not None:
        run_case(args.seed, args.case, targets())
        return 0
    if args.minutes is None and args.cases == 10**9:
        args.minutes = 1.0
    findings, began = 0, time.monotonic()
    ran = itertools.count()
    for index, what in fuzz(args.seed, range(args.cases), args.minutes, lambda: next(ran)):
        findings += 1
        print(f"case {index} (seed {args.seed}): {what}", flush=True)
    seconds = time.monotonic() - began
    print(f"ops: {next(ran):,} inputs in {seconds:.0f} s, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
