"""csrc/cuda/product.cuh, emulated: exact products, the same bits for every tile and row count."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.cuda_emulator import COMPILER, HERE, Emulator, EmulatorError, compile_sources
from tests.cuda_emulator.planting import Mistake, make, plant

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

SOURCES = [HERE / "product_harness.cu", HERE / "host.cpp"]
FLOAT32, NARROW, WIDE, HALF_NARROW, HALF_WIDE = range(5)
DTYPES = [torch.float32, torch.bfloat16, torch.bfloat16, torch.float16, torch.float16]
# rows, columns, depth; the last goes round every pipeline's stages
SIZES = [(1, 1, 16), (5, 37, 48), (17, 33, 144), (70, 65, 272), (131, 20, 576), (3, 9, 1616)]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    out = tmp_path_factory.mktemp("product") / "product.so"
    return Emulator(compile_sources(out, SOURCES, "-O1", "-fPIC", "-shared"))


def operands(rows: int, columns: int, depth: int, G: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(rows + depth)
    return (
        torch.randn(rows, depth, generator=rng),
        torch.randn(G, columns, depth, generator=rng),
    )


def multiply(emulator, shape: int, x: torch.Tensor, W: torch.Tensor) -> np.ndarray:
    """[G, rows, columns] from x [rows, depth] and W [G, columns, depth] in the shape's dtype."""
    raw = torch.float32 if shape == FLOAT32 else torch.int16
    arrays = [emulator.put(a.to(DTYPES[shape]).view(raw).numpy()) for a in (x, W)]
    G, columns, depth = W.shape
    out = emulator.empty((G, len(x), columns))
    emulator.run("emulated_product", shape, G, *arrays, out, len(x), columns, depth)
    assert all(a.free() for a in arrays)
    return out.get()


@pytest.mark.parametrize("G", [1, 3])
@pytest.mark.parametrize("shape", range(5), ids="float32 narrow wide half-narrow half-wide".split())
def test_products(emulator, shape, G):
    for seed, size in enumerate(SIZES):
        emulator.seed(seed)
        x, W = operands(*size, G)
        exact = [a.to(DTYPES[shape]).double() for a in (x, W)]
        expected = torch.einsum("mk,gnk->gmn", *exact).numpy()
        np.testing.assert_allclose(
            multiply(emulator, shape, x, W), expected, rtol=0, atol=2e-6 * size[2] ** 0.5 * 4
        )


@pytest.mark.parametrize("G", [1, 3])
@pytest.mark.parametrize("narrow", [NARROW, HALF_NARROW], ids=["bfloat16", "float16"])
def test_same_bits_for_every_tile_and_row_count(emulator, narrow, G):
    for size in SIZES:
        x, W = operands(*size, G)
        whole = multiply(emulator, narrow + 1, x, W)
        assert np.array_equal(multiply(emulator, narrow, x, W), whole)
        for rows in (1, 2, 15, 66):
            part = multiply(emulator, narrow if rows < 60 else narrow + 1, x[-rows:], W)
            assert np.array_equal(part, whole[:, -rows:])


def products_differ(emulator) -> bool:
    """True, or an error, where a test above would fail in bfloat16."""
    for G in (1, 3):
        test_products(emulator, NARROW, G)
        test_products(emulator, WIDE, G)
        test_same_bits_for_every_tile_and_row_count(emulator, NARROW, G)
    return False


def in_product(right: str, wrong: str, before: str = "", after: str = "") -> Mistake:
    return Mistake(products_differ, "product.cuh", right, wrong, before, after)


WAIT = "wait_copies<Tile::kStages - 2>();"
MISTAKES = {
    "wait dropped": in_product(WAIT, ""),
    "one copy not waited for": in_product(WAIT, WAIT.replace("2", "1")),
    "barrier of the pipeline dropped": in_product("__syncthreads();", "", "before\n      "),
    "warp's barrier dropped": in_product("__syncwarp();", ""),
    "barrier before the sums dropped": in_product(
        "__syncthreads();", "", after="\n  float* sums"),
    "barrier after the sums dropped": in_product(
        "__syncthreads();", "", after="\n  return {sums, T"),
    "wrong row of a fragment": in_product("lane % 16", "lane % 8", "m0 + i * 16 + "),
    "halves of k swapped": in_product("k + lane / 8 % 2", "k + 1 - lane / 8 % 2"),
    "swizzle of the copy forgotten": in_product("place(m, piece)", "m * kDepth + piece * 8"),
    "filled while it is read": in_product(
        "fill(chunk + Tile::kStages - 1);", "fill(chunk + Tile::kStages);"),
    "quarter dropped": in_product("parts", "min(parts, 3)", "part < ", "; ++part"),
    "other order of the quarters": in_product(
        "part", "parts - 1 - part", "sums[(", " * Tile::kRows + m) * Tile::kPitch + g"),
}  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    plant(folder, MISTAKES)
    flags = ("-O1", "-fPIC", "-shared", f"-I{folder}")
    sources = [*SOURCES, folder / "planted.cpp"]
    return Emulator(compile_sources(folder / "product.so", sources, *flags))


@pytest.mark.parametrize("mistake", ["none", *MISTAKES])
def test_planted_mistakes_are_noticed(planted, mistake):
    make(planted, ["none", *MISTAKES].index(mistake))
    if mistake == "none":
        assert not products_differ(planted)
        return
    with pytest.raises((AssertionError, EmulatorError)):
        products_differ(planted)
