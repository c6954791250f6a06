"""The CUDA emulator itself: what it computes, and the planted mistakes that it must show."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.cuda_emulator import COMPILER, HERE, ROOT, Emulator, EmulatorError, compile_sources

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

SOURCES = [HERE / "selftest.cu", HERE / "host.cpp"]
NO_BARRIER, DIVERGENT, OUTSIDE, UNWRITTEN, WRONG_MASK, ENDLESS, REUSE = range(1, 8)
NO_WAIT, WRONG_ROW, WRONG_FRAGMENT, MISALIGNED = range(8, 12)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    out = tmp_path_factory.mktemp("emulator") / "selftest.so"
    return compile_sources(out, SOURCES, "-O1", "-fPIC", "-shared")


@pytest.fixture
def emulator(library):
    return Emulator(library)


def block_sum(emulator, blocks=3, n=130, bug=0):
    x = np.random.default_rng(0).normal(size=(blocks, n)).astype(np.float32)
    out = emulator.empty(blocks)
    emulator.run("selftest_block_sum", emulator.put(x), out, blocks, n, bug)
    return out.get(), x.sum(1, dtype=np.float64)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("parallel", [False, True])
def test_barriers_and_static_shared_memory(emulator, seed, parallel):
    emulator.seed(seed, parallel)
    got, expected = block_sum(emulator)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_missing_barrier_shows_as_nan(emulator):
    for seed in range(3):
        emulator.seed(seed)
        assert not np.isfinite(block_sum(emulator, bug=NO_BARRIER)[0]).all()


def test_missing_second_barrier_shows_as_another_result(emulator):
    x = np.arange(64, dtype=np.float32)
    for bug, expected in ((0, True), (REUSE, False)):
        out = emulator.empty(64)
        emulator.run("selftest_reverse_twice", emulator.put(x), out, bug)
        assert np.array_equal(out.get(), x[::-1]) == expected


def test_shared_memory_is_allowed_once_and_as_much_as_there_is(library):
    """A launch must not take from another thread's what that one has just asked for."""
    code = """
x, out = e.put(x), e.empty(64)
e.library.emulator_least_shared.restype = __import__("ctypes").c_longlong
e.device(shared=99 << 10)
for kilobytes in (90, 60, 99):
    e.run("selftest_shared", x, out, kilobytes << 10)
    assert e.library.emulator_least_shared() == 99 << 10, kilobytes
try:
    e.run("selftest_shared", x, out, 100 << 10)
except Exception as error:
    assert "gave 9" in str(error), error
else:
    raise AssertionError("more than the device has")
"""
    done = in_a_process(library, code)
    assert done.returncode == 0, done.stderr


def test_divergent_barrier_is_reported(emulator):
    with pytest.raises(EmulatorError, match=r"deadlock\n(.|\n)*__syncwarp mask ffffffff"):
        block_sum(emulator, bug=DIVERGENT)
    got, expected = block_sum(emulator)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_unwritten_output_is_nan(emulator):
    assert np.isnan(block_sum(emulator, bug=UNWRITTEN)[0]).all()


def test_warp_functions(emulator):
    for seed in range(4):
        emulator.seed(seed)
        out = emulator.empty((64, 8), np.int32)
        emulator.run("selftest_warp", out, 0)
        got, t = out.get(), np.arange(64)
        lane = t % 32
        assert (got[:, 0] == 496).all()
        assert (got[:, 1] == np.where(lane >= 3, t - 3, t)).all()
        assert (got[:, 2] == np.where(t % 8 < 3, t + 5, t)).all()
        assert (got[:, 3] == t // 8 * 8 + 1).all()
        assert (got[:, 4].view(np.uint32) == sum(1 << i for i in range(0, 32, 3))).all()
        assert (got[:, 5] == t // 32 * 32 + np.where(lane < 16, 15, 16)).all()
        assert (got[:, 6] == (t * 7 % 61).reshape(2, 32).max(1).repeat(32)).all()
        assert (got[:, 7] == 1).all()


def test_wrong_mask_is_reported(emulator):
    with pytest.raises(EmulatorError, match="__shfl_sync mask ffffffff selftest.cu"):
        emulator.run("selftest_warp", emulator.empty((64, 8), np.int32), WRONG_MASK)


def test_blocks_wait_for_each_other(emulator):
    for seed in range(3):
        emulator.seed(seed)
        count, seen = emulator.put(np.zeros(1, np.int32)), emulator.empty((4, 32), np.int32)
        emulator.run("selftest_grid", count, seen, 4, 0)
        assert (seen.get() == 4).all()


def test_endless_wait_is_given_up(emulator):
    emulator.seed(1, patience=0.2)
    with pytest.raises(EmulatorError, match="no progress"):
        count, seen = emulator.put(np.zeros(1, np.int32)), emulator.empty((2, 32))
        emulator.run("selftest_grid", count, seen, 2, ENDLESS)


def test_conversions_round_to_even(emulator):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**32, 20000, dtype=np.uint64).astype(np.uint32)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.99, 65520, 2**-24, 2**-25, 3e-8]
    normal = rng.normal(size=20000).astype(np.float32)
    x = np.concatenate([bits.view(np.float32), normal, np.float32(special)])
    bf16, half = emulator.empty(x.size), emulator.empty(x.size)
    emulator.run("selftest_convert", emulator.put(x), bf16, half, x.size)
    for got, dtype in ((bf16, torch.bfloat16), (half, torch.float16)):
        expected = torch.from_numpy(x).to(dtype).float().numpy()
        np.testing.assert_array_equal(got.get(), expected)


def pipeline(emulator, bug=0, rounds=5):
    x = np.random.default_rng(2).normal(size=(rounds, 64)).astype(np.float32)
    out = emulator.empty(64)
    emulator.run("selftest_pipeline", emulator.put(x), out, rounds, bug)
    return out.get(), x.sum(0)[::-1]


def test_asynchronous_copies(emulator):
    for seed in range(4):
        emulator.seed(seed)
        got, expected = pipeline(emulator)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("bug", [NO_WAIT, NO_BARRIER, REUSE])
def test_wrong_pipelines_show_as_nan(emulator, bug):
    for seed in range(4):
        emulator.seed(seed)
        assert np.isnan(pipeline(emulator, bug)[0]).any()


def test_misaligned_copy_is_reported(emulator):
    with pytest.raises(EmulatorError, match="source is not aligned to 16 bytes"):
        pipeline(emulator, MISALIGNED)


@pytest.mark.parametrize("words", [False, True], ids=["ldmatrix", "words"])
@pytest.mark.parametrize("half", [False, True], ids=["bfloat16", "float16"])
def test_tensor_core_product(emulator, half, words):
    torch = pytest.importorskip("torch")
    rng = torch.Generator().manual_seed(3)
    dtype = torch.float16 if half else torch.bfloat16
    A, B = (torch.randn(16, 16, generator=rng).to(dtype) for _ in range(2))
    arrays = [emulator.put(x.view(torch.int16).numpy()) for x in (A, B)]
    expected = (A.double() @ B.double().T).numpy()
    for seed, bug in ((1, 0), (2, 0), (3, WRONG_FRAGMENT), (4, WRONG_ROW)):
        if bug == WRONG_ROW and words:
            continue
        emulator.seed(seed)
        D = emulator.empty((16, 16))
        emulator.run("selftest_matrix", *arrays, D, half, words, bug)
        assert np.allclose(D.get(), expected, rtol=1e-6, atol=1e-6) == (bug == 0)


def in_a_process(library, code, **environment):
    program = (
        "import numpy as np\nfrom tests.cuda_emulator import Emulator\n"
        f"e = Emulator({str(library)!r})\nx = np.zeros(64, np.float32)\n{code}"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip


def test_indices_outside_hit_a_page_without_access(library):
    call = f"e.run('selftest_reverse_twice', e.put(x), e.empty(64), {OUTSIDE})"
    assert in_a_process(library, call).returncode < 0
    call = f"e.run('selftest_block_sum', e.put(x), e.empty(1), 1, 64, {OUTSIDE})"
    assert in_a_process(library, call).returncode < 0


def test_other_fiber_switch(tmp_path):
    """ucontext, for processors that the assembly is not written for."""
    out = tmp_path / "ucontext.so"
    flags = ("-O1", "-fPIC", "-shared", "-DCUDA_EMULATOR_UCONTEXT")
    got, expected = block_sum(Emulator(compile_sources(out, SOURCES, *flags)))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_sanitizers(tmp_path, sanitizer):
    """Clean kernels stay clean; the thread sanitizer sees a race even where the result is right."""
    main = tmp_path / "main.cpp"
    main.write_text(MAIN)
    program = compile_sources(
        tmp_path / "sanitized", [*SOURCES, main], "-O1", f"-fsanitize={sanitizer}"
    )
    clean = subprocess.run([program, "0"], capture_output=True, text=True)
    if "unexpected memory mapping" in clean.stderr:
        pytest.skip("this kernel's address space layout is not for the thread sanitizer")
    assert clean.returncode == 0, clean.stderr
    if sanitizer == "thread":
        race = subprocess.run([program, str(NO_BARRIER)], capture_output=True, text=True)
        assert "data race" in race.stderr, race.stderr


MAIN = """
#include <cstdlib>
#include <vector>
extern "C" int selftest_block_sum(const float*, float*, int, int, int);
extern "C" int selftest_reverse_twice(const float*, float*, int);
extern "C" int selftest_warp(int*, int);
extern "C" int selftest_grid(int*, int*, int, int);
extern "C" int selftest_pipeline(const float*, float*, int, int);
extern "C" int selftest_matrix(const void*, const void*, float*, bool, bool, int);
int main(int, char** argv) {
  std::vector<float> x(3 * 130, 1.0f), out(64);
  std::vector<int> warp(64 * 8), count(1), seen(4 * 32);
  const int bug = std::atoi(argv[1]);
  int failed = selftest_block_sum(x.data(), out.data(), 3, 130, bug);
  failed |= selftest_reverse_twice(x.data(), out.data(), 0);
  failed |= selftest_warp(warp.data(), 0);
  failed |= selftest_grid(count.data(), seen.data(), 4, 0);
  alignas(16) float matrix[16 * 16] = {}, product[16 * 16];
  failed |= selftest_pipeline(matrix, out.data(), 4, 0);
  failed |= selftest_matrix(matrix, matrix, product, true, false, 0);
  return failed;
}
"""
