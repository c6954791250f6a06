"""What a worker takes next, and what goes together; what the store keeps of a page."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("fastapi")

from khmer_fast.serve.queue import REQUESTS_IN_A_ROW, TaskQueue, Ticket
from khmer_fast.serve.store import DONE, QUEUED, Store, StoredJob, StoredPage
from khmer_fast.serve.tasks import CountPages, ReadFile, ReadPage, Source

SOURCE = Source("original", "law.pdf")


def page(number: int) -> Ticket:
    return Ticket(ReadPage(SOURCE, number, "auto", "auto"))


def small(name: str, size: int = 0) -> Ticket:
    return Ticket(ReadFile(bytes(size), name, "auto", "auto", "json", None, None, 20))


def names(batch: list[Ticket]) -> list:
    return [x.task.name if isinstance(x.task, ReadFile) else x.task.number for x in batch]


def test_first_pages_of_all_jobs_come_first_then_jobs_in_their_order():
    queue = TaskQueue()
    for created, job in ((1.0, 10), (2.0, 20)):
        for number in range(4):
            queue.put(page(job + number), (number >= 2, created, number))
    taken = [names(queue.take(0))[0] for _ in range(8)]
    assert taken == [10, 11, 20, 21, 12, 13, 22, 23]
    assert queue.take(0) == []


def test_requests_come_before_pages_but_do_not_starve_them():
    queue = TaskQueue()
    queue.put(page(1), (False, 0.0, 1))
    for number in range(REQUESTS_IN_A_ROW + 3):
        queue.put(small(f"r{number}"))
    taken = [names(queue.take(0))[0] for _ in range(REQUESTS_IN_A_ROW + 4)]
    assert taken.index(1) == REQUESTS_IN_A_ROW


def test_small_files_that_wait_go_together_shared_among_the_workers():
    queue = TaskQueue(together=32, workers=2)
    for number in range(5):
        queue.put(small(f"r{number}"))
    other = Ticket(CountPages(SOURCE))
    queue.put(other)
    assert names(queue.take(0)) == ["r0", "r1", "r2"]
    assert names(queue.take(0)) == ["r3"]  # of the two that wait, the other worker's half is r4
    assert names(queue.take(0)) == ["r4"]
    assert queue.take(0) == [other]


def test_large_files_go_alone():
    queue = TaskQueue(together=32)
    for name, size in (("large", 10**6), ("a", 100), ("page", 60_000), ("b", 100), ("more", 9_000)):
        queue.put(small(name, size))
    assert names(queue.take(0)) == ["large"]
    assert names(queue.take(0)) == ["a", "page", "b"]
    assert names(queue.take(0)) == ["more"]


def test_one_that_a_worker_died_under_goes_alone():
    queue = TaskQueue(together=32)
    suspect, *others = (small(f"r{number}") for number in range(3))
    suspect.alone = True
    for ticket in (others[0], suspect, others[1]):
        queue.put(ticket)
    assert names(queue.take(0)) == ["r1", "r2"]
    assert names(queue.take(0)) == ["r0"]


def test_what_was_cancelled_is_passed_over():
    queue = TaskQueue(together=32)
    tickets = [small(f"r{number}") for number in range(3)]
    for ticket in tickets:
        queue.put(ticket)
    assert tickets[0].future.cancel() and tickets[2].future.cancel()
    assert names(queue.take(0)) == ["r1"]
    assert not tickets[1].future.cancel()  # it runs
    assert queue.take(0) == []


def test_nobody_waits_for_others_to_come():
    queue = TaskQueue(together=32)
    took: list[float] = []

    def take():
        queue.take(5)
        took.append(time.monotonic())

    thread = threading.Thread(target=take)
    thread.start()
    time.sleep(0.1)
    began = time.monotonic()
    queue.put(small("r"))
    thread.join()
    assert took[0] - began < 0.5


# ---- the store ----


@pytest.fixture
def store(tmp_path):
    told: list[str] = []
    store = Store(tmp_path, told.append)
    pages = tuple(StoredPage(n, QUEUED, 0, None, None, 0) for n in (1, 2))
    assert store.add(StoredJob("a", "law.pdf", 1.0, 9.0, "auto", "auto", None, 0, pages), "key")
    yield store
    store.close()


def test_a_page_is_begun_once_and_kept_once(store):
    assert store.begin("a", 1) and not store.begin("a", 1)
    assert store.finish("a", 1, '{"rotation": 0}', 0.9, None)
    assert not store.finish("a", 1, "{}", 0.1, None)
    assert not store.give_up("a", 1, "late")
    stored, text = store.page("a", 1)
    assert (stored.status, stored.revision, text) == (DONE, 1, '{"rotation": 0}')
    assert not store.finish("a", 2, "{}", 0.1, None)  # nobody has begun it


def test_a_correction_replaces_the_revision_that_it_names(store):
    store.begin("a", 1)
    store.finish("a", 1, "read", 0.9, None)
    assert store.correct("a", 1, 1, "corrected", 1.0)
    assert not store.correct("a", 1, 1, "late", 1.0)
    ((stored, read, now),) = store.texts("a")
    assert (stored.revision, read, now) == (2, "read", "corrected")


def test_what_was_being_read_waits_again_after_a_restart(store, tmp_path):
    store.begin("a", 1)
    store.close()
    again = Store(tmp_path)
    assert again.waiting() == [("a", 1), ("a", 2)]
    assert again.begin("a", 1)
    again.close()


def test_changes_are_counted_and_told(store):
    store.begin("a", 2)
    store.finish("a", 2, "read", None, None)
    job = store.job("a")
    assert job.changes == 2 and [page.changed for page in job.pages] == [0, 2]
    assert store.remove("a") and not store.remove("a")
    assert store.job("a") is None and store.page("a", 2) is None
