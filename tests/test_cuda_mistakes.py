"""Mistakes planted in the decoder's kernels: each must be noticed by the check that is named.

All are compiled into one library at once, and `planted_mistake` says which of them is made.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.cuda_emulator import COMPILER, HERE, Emulator, EmulatorError, compile_sources
from tests.cuda_emulator.decoder import (
    CUDA,
    batch,
    compile_objects,
    decoder_objects,
    differing_ties,
    disagreements,
    emulated,
    lines_that_differ,
    link,
    ragged,
    usual,
    wide_beam,
)
from tests.cuda_emulator.planting import Mistake, make, plant
from tests.random_models import random_case
from tests.test_cuda_attend import wrong_shares

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


# ---- the checks: True where something is wrong


def random_models(emulator) -> bool:
    """As test_cuda_decoder.test_random_models, the first of them."""
    for seed in filter(lambda x: usual(random_case(x)), range(40)):
        emulator.seed(seed)
        if disagreements(emulator, random_case(seed))[0]:
            return True
    return False


def wide(emulator) -> bool:
    """As test_cuda_decoder.test_wide_beam."""
    return bool(disagreements(emulator, wide_beam())[0])


def ties(emulator) -> bool:
    """As test_cuda_decoder.test_ties."""
    return bool(differing_ties(emulator))


def large_batch(emulator) -> bool:
    """As test_cuda_decoder.test_large_batches_have_the_bits_of_small_ones."""
    return bool(lines_that_differ(emulator, torch.bfloat16))


def shares(emulator) -> bool:
    """As test_cuda_attend.test_each_block_touches_its_share."""
    return wrong_shares(emulator, T=128, Ep=512)


def loop(**options) -> Callable[[Emulator], bool]:
    """As test_cuda_loops: lines that end at different steps, few seats, blocks that wait."""

    def check(emulator) -> bool:
        emulator.device(multiprocessors=5)
        for seed in range(6):
            emulator.seed(seed, patience=2)
            if disagreements(emulator, ragged(5, seed), **options)[0]:
                return True
        return False

    return check


SEATS, GRAPH, PERSISTENT = loop(seats=2), loop(loop="graph", seats=5), loop(loop="persistent")
EARLY = loop(seats=2, variants=(256, 16, True))


def absent_block(emulator) -> bool:
    """As test_cuda_loops: a block that does not come is given up, and the call says so."""
    try:
        emulated(emulator, batch(2), loop="persistent", patience=300_000_000)
    except EmulatorError as error:
        return "gave 702" in str(error)
    return False


ATTEND, STEP, QUEUE = "attend_cuda.cu", "attn_gru_step_cuda.cu", "beam_queue.cuh"
SELECT, WHOLE = "beam_select.cuh", "beam_search_persistent_cuda.cu"
ARRIVE = "atomicAdd(shared_by_all.arrived, 1u);"
LOWEST = "__reduce_min_sync(kAllLanes, order == top ? place : ~0u)"
MISTAKES = {
    # attention
    "barrier dropped": Mistake(
        large_batch, ATTEND, "__syncthreads();", "", after="\n\n  if (space.attention &&"),
    "mask off by one": Mistake(
        random_models, ATTEND, "length", "length - 1", "if (t + i * kParts >= ", ") continue;"),
    "part of a context left out": Mistake(
        large_batch, ATTEND, "blockDim.x", "2 * blockDim.x", "i0 < share.end; i0 += "),
    "later rows left out": Mistake(
        random_models, ATTEND, "t += kParts * Ahead;", "t += 2 * kParts * Ahead;"),
    "parent left out": Mistake(
        large_batch, ATTEND, "Parents", "Parents - 1", "min(__popc(mask) - rank, "),
    "query of another parent": Mistake(
        large_batch, ATTEND, "Q + r * Ap + a", "Q + a"),
    # as the kernels of the first version had it
    "one block has the whole context": Mistake(
        shares, ATTEND, "(eights + gridDim.y - 1) / gridDim.y", "eights"),
    "kernels before not waited for": Mistake(
        EARLY, ATTEND, "wait_for_the_kernels_before();", ""),
    # step
    "children of all parents": Mistake(
        random_models, STEP, "space.state_row[n] == parent", "space.state_row[n] >= 0"),
    "children of one window": Mistake(
        wide, STEP, "slots", "1", "begin < ", "; begin"),
    "list before all have read it": Mistake(
        wide, STEP, "__syncthreads();", "", after="\n      find"),
    # selection
    # before the next, which lies in what is right here
    "tie to the last lane": Mistake(
        ties, SELECT, LOWEST, "__reduce_max_sync(kAllLanes, order == top ? place : 0u)"),
    "best of another lane": Mistake(
        random_models, SELECT, "order == top ? place : ~0u", "place",
        "__reduce_min_sync(kAllLanes, "),
    "tie to a lane's last token": Mistake(
        ties, SELECT, "order_[i] > best_", "order_[i] && order_[i] >= best_"),
    "tie to a lane's last token in memory": Mistake(
        ties, SELECT, "order > best_", "order && order >= best_", "if (left && "),
    "tie to a lane's second list": Mistake(
        ties, SELECT, "head[1] > head[0]", "head[1] && head[1] >= head[0]"),
    "token taken twice": Mistake(
        random_models, SELECT, "if (i == at_) order_[i] = 0;", ""),
    # seats
    "position of another row": Mistake(
        random_models, QUEUE, "space.position[state]", "space.position[first + t]"),
    "seat not begun again": Mistake(
        SEATS, QUEUE, "begin_line(beam, s.K);", ""),
    "first state of another line": Mistake(
        SEATS, QUEUE, "b", "blockIdx.x", "space.h_0[static_cast<size_t>(", ") * s.Hp + j]"),
    "seat taken for line": Mistake(
        SEATS, ATTEND, "space.line[seat]", "seat", ", b = "),
    "limit of another line": Mistake(
        SEATS, QUEUE, "b", "seat", "static_cast<int>(in.limit[", "]), step,"),
    # loops
    "clock stands still": Mistake(
        GRAPH, QUEUE, "*space.clock += 1;", ""),
    "lists not emptied": Mistake(
        GRAPH, QUEUE, "space.counts[2 * now] = space.counts[2 * now + 1] = 0;", ""),
    "no meeting after the cell": Mistake(
        PERSISTENT, WHOLE, "if (!meet(part, wanted, patience)) return;", "",
        after="\n\n    // 5."),
    "chunk left out": Mistake(
        PERSISTENT, WHOLE, "0", "1", "for (int c = ", "; c < line_chunks; ++c)"),
    "block that does not come": Mistake(
        absent_block, WHOLE, ARRIVE, f"if (blockIdx.x != 1 || wanted < 4 * gridDim.x) {ARRIVE}"),
}  # fmt: skip


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> tuple[Path, Path]:
    """The decoder and the attention's shares alone, with all mistakes in them."""
    folder = tmp_path_factory.mktemp("planted")
    plant(folder, MISTAKES)
    which = folder / "planted.cpp"
    users = ["beam_search_cuda.cu", "beam_select_while_cuda.cu"]  # of the planted headers
    sources = [folder / "cuda" / x if (folder / "cuda" / x).exists() else CUDA / x
               for x in (ATTEND, STEP, WHOLE, *users)]  # fmt: skip
    objects = decoder_objects(tmp_path_factory)
    objects |= compile_objects(folder, [*sources, which], f"-I{folder}")
    flags = ("-O1", "-fPIC", "-shared", f"-I{folder}")
    harness = [HERE / "attend_harness.cu", HERE / "host.cpp", which]
    return link(folder, objects), compile_sources(folder / "attend.so", harness, *flags)


def notices(library: Path, number: int, check: Callable[[Emulator], bool]) -> bool:
    """Whether the check sees mistake `number` (0: none), in a child, which may end at a page
    without access: that is a way of noticing, as are a report and a wild index."""
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        torch.set_num_threads(1)  # OpenMP's threads do not live on in a child
        signal.alarm(300)
        status = 4  # of an error nobody expects: pytest must not go on in the child
        try:
            emulator = Emulator(library)
            make(emulator, number)
            status = 0 if check(emulator) else 3
        except (RuntimeError, IndexError, AssertionError):  # an EmulatorError is the first
            status = 0
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 3, -signal.SIGSEGV), code
    return code != 3


@pytest.mark.parametrize("name", MISTAKES)
def test_planted_mistakes_are_noticed(libraries, name):
    mistake = MISTAKES[name]
    library = libraries[mistake.check is shares]
    assert notices(library, list(MISTAKES).index(name) + 1, mistake.check)


def test_nothing_is_noticed_where_no_mistake_is_made(libraries):
    for check in {x.check for x in MISTAKES.values()} - {absent_block}:
        assert not notices(libraries[check is shares], 0, check), check
