"""Bytes that are nearly those of a file: a pure function of (seed, index)."""

from __future__ import annotations

import random
import re

_NUMBERS = (b"0", b"1", b"-1", b"2147483647", b"4294967295", b"99999999999999999999", b"0.0000001")
_TOKENS = tuple(
    b"obj endobj stream endstream xref trailer startxref /Kids /Parent /Length /Filter /FlateDecode"
    b" /DCTDecode /CCITTFaxDecode /Width /Height /MediaBox /CropBox /Rotate /Font /XObject /Form"
    b" /Image /Contents /Resources /ToUnicode /Encrypt /ObjStm /Type /Pages /Page null << >> [ ]"
    b" BT ET q Q Do Tj 1 0 R".split(b" ")
)
LONGEST = 100_000  # bytes of a changed input
_EDGES = (0, 1, 0x7F, 0x80, 0xFF)


def mutated(seeds: list[bytes], seed: int, index: int) -> bytes:
    """One of the seeds with one to eight changes."""
    rng = random.Random(f"{seed}:{index}")
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        rng.choice(_CHANGES)(data, rng, seeds)
        if not data:
            break
    return bytes(data)


def changed(
    data: bytes, seeds: list[bytes], rng: random.Random, tokens: tuple[bytes, ...]
) -> bytes:
    """`data` with one to eight changes; `tokens` are words of its format."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        if not found or rng.random() < 0.3:
            place = _place(found, rng)
            found[place:place] = rng.choice(tokens) * rng.choice((1, 1, 1, 50))
        else:
            rng.choice(_CHANGES[:7])(found, rng, seeds)
    return bytes(found[:LONGEST])


def _place(data: bytearray, rng: random.Random) -> int:
    return rng.randrange(max(len(data), 1))


def _flip(data: bytearray, rng: random.Random, seeds: list[bytes]) -> None:
    for _ in range(rng.choice((1, 4, 32))):
        data[_place(data, rng)] = rng.choice((rng.randrange(256), rng.choice(_EDGES)))


def _cut(data: bytearray, rng: random.Random, seeds: list[bytes]) -> None:
    del data[_place(data, rng) :]


def _remove(data: bytearray, rng: random.Random, seeds: list[bytes]) -> None:
    start = _place(data, rng)
    del data[start : start + rng.choice((1, 16, 512))]


def _repeat(data: bytearray, rng: random.Random, seeds: list[bytes]) -> None:
    start = _place(data, rng)
    piece = bytes(data[start : start + rng.choice((1, 16, 512))])
    data[start:start] = piece * rng.choice((1, 2, 40))


def _splice(data: bytearray, rng: random.Random, seeds: list[bytes]) -> None:
    other = rng.choice(seeds)
    start = rng.randrange(len(other))
    place = _place(data, rng)
    data[place : place + rng.choice((0, 64))] = other[start : start + rng.choice((8, 64, 2048))]


def _number(data: bytearray, rng: random.Random, seeds: list[bytes]) -> None:
    """Another number where the file writes one in digits, as PDF does."""
    numbers = list(re.finditer(rb"\d+", data))
    if numbers:
        found = rng.choice(numbers)
        data[found.start() : found.end()] = rng.choice(_NUMBERS)


def _token(data: bytearray, rng: random.Random, seeds: list[bytes]) -> None:
    place = _place(data, rng)
    data[place:place] = b" " + rng.choice(_TOKENS) + b" "


def _word(data: bytearray, rng: random.Random, seeds: list[bytes]) -> None:
    """An integer of four bytes as image headers have them."""
    place = _place(data, rng)
    value = rng.choice((0, 1, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF))
    data[place : place + 4] = value.to_bytes(4, rng.choice(("little", "big")))


_CHANGES = (_flip, _cut, _remove, _repeat, _splice, _number, _number, _token, _word)
