"""csrc/cuda/product.cuh, emulated: exact products, the same bits for every tile and row count."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.cuda_emulator import COMPILER, HERE, ROOT, Emulator, EmulatorError, compile_sources

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


# Mistakes that the tests must see: (what stands in product.cuh, what is planted)
MISTAKES = {
    "wait dropped": ("    wait_copies<Tile::kStages - 2>();\n", ""),
    "one copy not waited for": ("wait_copies<Tile::kStages - 2", "wait_copies<Tile::kStages - 1"),
    "barrier of the pipeline dropped": ("before\n      __syncthreads();", "before\n      ;"),
    "warp's barrier dropped": ("      __syncwarp();", "      ;"),
    "barrier before the sums dropped": ("  __syncthreads();\n  float* sums", "  float* sums"),
    "barrier after the sums dropped": ("__syncthreads();\n  return {sums, T", "return {sums, T"),
    "wrong row of a fragment": ("m0 + i * 16 + lane % 16", "m0 + i * 16 + lane % 8"),
    "halves of k swapped": ("lane % 8, k + lane / 8 % 2", "lane % 8, k + 1 - lane / 8 % 2"),
    "swizzle of the copy forgotten": ("place(m, piece)", "m * kDepth + piece * 8"),
    "filled while it is read": ("Tile::kStages - 1);\n    const", "Tile::kStages);\n    const"),
    "quarter dropped": ("part < parts; ++part", "part < min(parts, 3); ++part"),
    "other order of the quarters": ("sums[(part * Tile", "sums[((parts - 1 - part) * Tile"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_planted_mistakes_are_caught(tmp_path, mistake):
    right, wrong = MISTAKES[mistake]
    text = (ROOT / "csrc/cuda/product.cuh").read_text()
    assert text.count(right) == 1
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda/product.cuh").write_text(text.replace(right, wrong))
    flags = ("-O0", "-fPIC", "-shared", f"-I{tmp_path}")
    emulator = Emulator(compile_sources(tmp_path / "product.so", SOURCES, *flags))
    with pytest.raises((AssertionError, EmulatorError)):
        for G in (1, 3):
            test_products(emulator, NARROW, G)
            test_products(emulator, WIDE, G)
            test_same_bits_for_every_tile_and_row_count(emulator, NARROW, G)
