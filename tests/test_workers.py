"""Warm processes: one call after another, faults as faults, bugs with their traceback."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tinybuild.errors import BuildFault
from tinybuild.workers import Bug, Limits, Pool


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.stop()


def test_a_worker_stays_warm_and_is_not_this_process(pool: Pool) -> None:
    first = pool.call("os:getenv", "OMP_NUM_THREADS")
    assert first == "1"
    (worker,) = pool.all
    pool.call("builtins:len", [1, 2])
    assert pool.all == [worker]
    assert worker.process.pid != os.getpid()


def test_as_many_workers_as_callers(pool: Pool) -> None:
    threads = [threading.Thread(target=pool.call, args=("time:sleep", 1.0)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pool.all) == 2


def test_faults_come_back_as_they_were(pool: Pool) -> None:
    with pytest.raises(BuildFault, match="is missing") as caught:
        pool.call("test_workers:refuse", "is missing")
    assert caught.value.findings[0].key == ("a", 1)


def refuse(what: str) -> None:
    raise BuildFault.of(what, key=("a", 1), hint="x")


def full(_: object) -> None:
    raise RuntimeError("I/O error: No space left on device (os error 28)")


def test_bugs_keep_their_traceback_and_system_errors_their_number(pool: Pool) -> None:
    with pytest.raises(Bug, match=r"(?s)Traceback.*ZeroDivisionError"):
        pool.call("test_workers:divide", 0)
    with pytest.raises(FileNotFoundError) as caught:
        pool.call("os:listdir", "/no/such/folder")
    assert caught.value.filename == "/no/such/folder"
    with pytest.raises(OSError, match="No space left") as error:
        pool.call("test_workers:full", None)
    assert error.value.errno == 28


def divide(by: int) -> float:
    return 1 / by


def test_a_worker_that_dies_is_told_and_replaced(pool: Pool) -> None:
    with pytest.raises(BuildFault, match="killed \\(SIGKILL\\)"):
        pool.call("test_workers:die", signal.SIGKILL)
    with pytest.raises(BuildFault, match="ended early \\(exit code 3\\)"):
        pool.call("os:_exit", 3)
    assert pool.call("builtins:len", "abc") == 3


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def test_ctrl_c_is_the_parents_business(pool: Pool) -> None:
    assert pool.call("signal:getsignal", signal.SIGINT) == signal.SIG_IGN


def test_a_call_that_takes_too_long_is_stopped(pool: Pool) -> None:
    pool.call("builtins:len", "abc")
    (worker,) = pool.all
    begun = time.monotonic()
    with pytest.raises(BuildFault, match=r"longer than 0\.5 s and was stopped") as caught:
        pool.call("time:sleep", 60, Limits(seconds=0.5))
    assert time.monotonic() - begun < 10
    assert "limits.seconds" in caught.value.findings[0].hint
    assert not worker.process.is_alive()
    assert pool.all == []
    assert pool.call("builtins:len", "abc") == 3


@pytest.mark.parametrize("function", ["builtins:bytearray", "test_workers:tensor"])
def test_a_call_that_wants_too_much_memory_fails_by_itself(pool: Pool, function: str) -> None:
    """As Python says it, and as torch does. The worker lives on, and may take more another time."""
    with pytest.raises(BuildFault, match="than the 1 GB it may take") as caught:
        pool.call(function, 3_000_000_000, Limits(memory=1_000_000_000))
    assert "limits.memory" in caught.value.findings[0].hint
    assert pool.call("test_workers:many", 1_500_000_000, Limits(memory=4_000_000_000)) > 0
    assert len(pool.all) == 1


def tensor(size: int) -> None:
    import torch

    torch.empty(size, dtype=torch.int8)


def many(size: int) -> int:
    return len(bytearray(size))


def test_after_a_bug_nobody_trusts_the_worker(pool: Pool) -> None:
    with pytest.raises(Bug):
        pool.call("test_workers:divide", 0)
    assert pool.all == []
