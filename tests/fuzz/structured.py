"""Inputs whose form is right and whose content is odd: one value of a document is another one.

Changed bytes seldom get past a file's form; these do. Pure functions of the random numbers given.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Callable
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, 0, -1, 5, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "abc", "0", "\x1b[2J\n\u202e", "../../etc/passwd", "\ud800", "x" * 5000,
    [], {}, [[]], [None], {"a": 1}, {"": {}}, [1, 2],
)  # fmt: skip


def nested(depth: int, key: str | None) -> Any:
    """Lists, or dicts under one key, inside each other."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


def odd(value: Any, rng: random.Random, oddities: tuple[Any, ...] = ODD) -> Any:
    """`value` with one part of it replaced, taken out, doubled, or under another name."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        copy = dict(value)
        key = rng.choice(list(copy))
        roll = rng.random()
        if roll < 0.7:
            copy[key] = odd(copy[key], rng, oddities)
        elif roll < 0.8:
            del copy[key]
        elif roll < 0.9:
            copy[rng.choice((5, "", "surplus", f"{key}x"))] = copy.pop(key)
        else:
            copy["surplus"] = rng.choice(oddities)
        return copy
    if isinstance(value, list | tuple) and value and rng.random() < 0.8:
        copy = list(value)
        at = rng.randrange(len(copy))
        if rng.random() < 0.8:
            copy[at] = odd(copy[at], rng, oddities)
        else:
            copy[at:at] = [rng.choice(oddities)] * rng.choice((1, 3))
        return copy
    if rng.random() < 0.05:
        return nested(rng.choice((50, 3000)), rng.choice((None, "a")))
    return rng.choice(oddities)


def as_json(value: Any) -> bytes:
    """JSON of whatever it is; a key that is no text becomes one."""
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 5000


def predictions(rng: random.Random) -> bytes:
    """What `read --json` and `evaluate --json` write, and what others write."""
    line = {
        "text": "ក", "confidence": 0.5, "truncated": False,
        "characters": [{"text": "ក", "confidence": 0.5}],
    }  # fmt: skip
    result = {"image": "a.png", "reference": "ក", "prediction": "ខ", "text": "ខ"}
    document = rng.choice(
        (
            [{"file": "a.png", "lines": [line]}, {"file": "b.png", "error": "broken"}],
            {"results": [result, {**result, "image": "b.png"}]},
            {"a.png": "ក", "b.png": "ខ"},
        )
    )
    return as_json(odd(document, rng))


def shards(rng: random.Random) -> bytes:
    """A tar of lines, with odd names, columns and sizes."""
    file = io.BytesIO()
    form = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for stem in ("a", rng.choice(("a", "b", "../b", "\x1b[2J", "c/" * 60, "", "b.png"))):
            parts = {
                ".png": b"x",
                ".txt": rng.choice((b"1", b"\xff", b"1\n2", b"")),
                ".json": as_json(odd({"kind": "a", "other": "b"}, rng)),
            }
            for suffix, content in parts.items():
                if rng.random() < 0.1:
                    continue
                member = tarfile.TarInfo(stem + suffix)
                member.size = len(content)
                member.type = rng.choice(
                    (tarfile.REGTYPE,) * 9 + (tarfile.SYMTYPE, tarfile.LNKTYPE)
                )
                if form == tarfile.PAX_FORMAT and rng.random() < 0.1:
                    member.pax_headers = {
                        "GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                        "GNU.sparse.realsize": str(rng.choice((0, 5, 1 << 40))),
                    }  # fmt: skip
                tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def runs(rng: random.Random) -> bytes:
    """A manifest and a history."""
    entry = {"size": 5, "sha256": "a", "epoch": 1, "step": None}
    manifest = {
        "version": 1,
        "run": "abc",
        "files": {
            "models/best_model.pth": {**entry, "previous": {**entry, "step": 7}},
            "models/checkpoint_epoch_001.pth": entry,
        },
    }
    record = {
        "epoch": 1, "step": 10, "end_of_epoch": True, "lines": 100, "seconds": 5.0,
        "train_loss": 3.0, "val_loss": 3.5, "val_cer": 0.5, "lock_on": 0.5, "data_share": 0.1,
    }  # fmt: skip
    rows = [{**record, "epoch": e, "step": 10 * e} for e in range(1, 6)]
    if rng.random() < 0.5:
        manifest = odd(manifest, rng)
    rows = [odd(row, rng) if rng.random() < 0.3 else row for row in rows]
    return as_json(manifest) + b"\n\n" + b"".join(as_json(row) + b"\n" for row in rows)


def logs(rng: random.Random) -> bytes:
    """Lines of JSON as trainers write them."""
    row = {"epoch": 1, "loss": 2.5, "val": {"loss": 2.0, "cer": "50%"}, "lr": 1e-3}
    rows = [odd({**row, "epoch": e}, rng) for e in range(rng.randrange(1, 9))]
    return b"".join(as_json(row) + b"\n" for row in rows)


def weights(rng: random.Random) -> bytes:
    """A weights file or a checkpoint of the smallest model."""
    import torch

    from tests.fuzz.readers import smallest_model

    config, state = smallest_model()
    if rng.random() < 0.5:
        return _safetensors(rng, config, state)
    one = torch.zeros(1)
    kinds = (
        one, one.expand(10**9), one.to(torch.int64), one.to(torch.complex64), one.to("meta"),
        one.to_sparse(), torch.zeros(0), torch.full((1,), torch.nan), torch._neg_view(one),
        one.to(torch.float8_e4m3fn), torch.zeros(3, 3).T,
    )  # fmt: skip
    content = {"config": config, "charset": "abc", "model": state, "normalizer_version": "1"}
    if rng.random() < 0.3:
        content["average"] = state
    file = io.BytesIO()
    try:
        torch.save(odd(content, rng, (*ODD, *kinds)), file)
    except (RecursionError, UnicodeEncodeError):
        return b"PK\x03\x04"
    return file.getvalue()


def _safetensors(rng: random.Random, config: dict, state: dict) -> bytes:
    header: dict[str, Any] = {}
    body = b""
    for name, tensor in state.items():
        data = tensor.numpy().tobytes()
        places = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": places}
        body += data
    metadata = {
        "format": "khmer_fast", "format_version": "1", "charset": "abc", "height": "8",
        "normalizer_version": "1", "config": as_json(config).decode(),
        "calibration": '{"line": [1.0, 0.0]}',
    }  # fmt: skip
    roll = rng.random()
    if roll < 0.4:
        metadata["config"] = as_json(odd(config, rng)).decode()
    elif roll < 0.6:
        metadata["calibration"] = as_json(odd({"line": [1.0, 0.0]}, rng)).decode()
    elif roll < 0.8:
        metadata = odd(metadata, rng)
    header["__metadata__"] = metadata
    if roll >= 0.8:
        header = odd(header, rng)
    packed = as_json(header)
    packed += b" " * (-len(packed) % 8)
    return len(packed).to_bytes(8, "little") + packed + body


STRUCTURED: dict[str, Callable[[random.Random], bytes]] = {
    "logs": logs,
    "predictions": predictions,
    "shards": shards,
    "runs": runs,
    "weights": weights,
}
