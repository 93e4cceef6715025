"""Warm processes: one call after another, faults as faults, bugs with their traceback."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinybuild import network, workers
from tinybuild.errors import BuildFault, install
from tinybuild.workers import Bug, Limits, Pool, Sort, _waited, beside


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


def test_a_pool_that_was_stopped_begins_nothing() -> None:
    """A thread may ask for a worker while the process ends: nobody would end that one."""
    pool = Pool()
    pool.stop()
    with pytest.raises(KeyboardInterrupt):
        pool.call("os:getpid", None)
    assert pool.all == []


def test_a_call_that_takes_too_long_is_stopped(pool: Pool) -> None:
    pool.call("builtins:len", "abc")
    (worker,) = pool.all
    begun = time.monotonic()
    with pytest.raises(BuildFault, match=r"longer than 0\.5 s and was stopped") as caught:
        pool.call("time:sleep", 60, Limits(seconds=0.5))
    assert time.monotonic() - begun < 60
    assert "limits.seconds" in caught.value.findings[0].hint
    assert not worker.process.is_alive()
    assert pool.all == []
    assert pool.call("builtins:len", "abc") == 3


def test_a_second_is_one_of_its_own(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a processor that others use is waited for, no second passes; the worker and the one
    beside it both count."""
    pool.call("builtins:len", "abc")
    (worker,) = pool.all
    waits = itertools.count()
    monkeypatch.setattr("tinybuild.workers._waited", lambda pid: 0.2 * next(waits))
    asked = list[float | None]()
    poll = worker.connection.poll

    def polled(seconds: float | None) -> bool:
        asked.append(seconds)
        return poll(0) if len(asked) < 4 else poll(60)

    monkeypatch.setattr(worker.connection, "poll", polled, raising=False)
    assert pool.call("time:sleep", 0.5, Limits(seconds=0.3)) is None
    assert len(asked) == 4
    monkeypatch.undo()
    monkeypatch.setattr("tinybuild.workers._waited", lambda pid: 0.0)
    with pytest.raises(BuildFault, match=r"longer than 0\.3 s"):
        pool.call("time:sleep", 60, Limits(seconds=0.3))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says it on Linux only")
def test_waiting_is_what_the_system_says(tmp_path: Path) -> None:
    """More processes than processors, tied to one of them, wait for it."""
    code = f"import os, time; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\n"
    code += "end = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass"
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    most = [0.0, 0.0]
    while any(process.poll() is None for process in both):
        most = [max(old, _waited(one.pid)) for old, one in zip(most, both, strict=True)]
        time.sleep(0.01)
    assert sum(most) > 0.1
    assert _waited(None) == 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep to the limit")
def test_a_limit_of_memory_is_of_one_call(pool: Pool) -> None:
    """Also for the process that reads beside a worker: not the first recipe's for all."""
    for most, fits in ((1, False), (4, True), (1, False)):
        limits = Limits(memory=most * 1_000_000_000)
        for function in ("test_workers:many", "test_workers:many_beside"):
            asked = (1_500_000_000, limits)
            if fits:
                assert pool.call(function, asked, limits, "warm") == 1_500_000_000
            else:
                with pytest.raises(BuildFault, match="than the 1 GB it may take"):
                    pool.call(function, asked, limits, "warm")
    assert len(pool.all) == 1


def many_beside(asked: tuple[int, Limits]) -> object:
    return beside().call("test_workers:many", asked, asked[1])


def handles() -> list[str]:
    return sorted(os.readlink(f"/proc/self/fd/{n}") for n in _numbers())


def _numbers() -> list[str]:
    with os.scandir("/proc/self/fd") as found:
        here = [entry.name for entry in found]
    return [n for n in here if os.path.lexists(f"/proc/self/fd/{n}")]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc lists handles on Linux only")
@pytest.mark.parametrize("sort", ["light", "online"])
def test_a_dead_worker_leaves_no_handle_and_no_process(sort: Sort) -> None:
    """However it ends: killed, with an exit code, at its time limit, by a bug, with its pool."""
    ends: tuple[tuple[str, object], ...] = (
        *(("test_workers:die", signal.SIGKILL), ("os:_exit", 3), ("test_workers:divide", 0)),
        ("time:sleep", 60),
    )
    first, pool = Pool(), Pool()
    first.call("builtins:len", "what is opened once, is", sort=sort)
    first.stop()
    before, threads = handles(), threading.active_count()
    others = {*multiprocessing.active_children()}
    for function, argument in ends:
        pool.call("builtins:len", "a worker", sort=sort)
        with pytest.raises((BuildFault, Bug)):
            pool.call(function, argument, Limits(seconds=0.2), sort)
    pool.call("builtins:len", "the last", sort=sort)
    pool.stop()
    # What earlier tests left to the garbage collector may go meanwhile.
    assert not Counter(handles()) - Counter(before)
    assert threading.active_count() <= threads
    assert {*multiprocessing.active_children()} <= others


@pytest.mark.parametrize("function", ["builtins:bytearray", "test_workers:tensor"])
def test_a_call_that_wants_too_much_memory_fails_by_itself(pool: Pool, function: str) -> None:
    """As Python says it, and as torch does. The worker lives on, and may take more another time."""
    with pytest.raises(BuildFault, match="than the 1 GB it may take") as caught:
        pool.call(function, 3_000_000_000, Limits(memory=1_000_000_000))
    assert "limits.memory" in caught.value.findings[0].hint
    more = Limits(memory=4_000_000_000)
    assert pool.call("test_workers:many", (1_500_000_000, more), more) > 0
    assert len(pool.all) == 1


def tensor(size: int) -> None:
    import torch

    torch.empty(size, dtype=torch.int8)


def many(asked: tuple[int, Limits]) -> int:
    return len(bytearray(asked[0]))


def test_after_a_bug_nobody_trusts_the_worker(pool: Pool) -> None:
    with pytest.raises(Bug):
        pool.call("test_workers:divide", 0)
    assert pool.all == []


# --- warm ones ------------------------------------------------------------------------------------


def life(_: object) -> tuple[int, list[int], bool]:
    """The process that this one was forked from, the threads of both, and whether what stages
    import is here."""
    above = os.getppid()
    threads = [len(list(Path(f"/proc/{one}/task").iterdir())) for one in (os.getpid(), above)]
    return above, threads, {"torch", "tinybuild.validate"} <= sys.modules.keys()


FOREIGN = """
import torch
@torch.library.register_fake("torchvision::nms")  # as that of another build of torch does
def nms(*given): ...
"""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a torchvision lies that was compiled for another torch."""
    for name in ("torchvision", "torchvision-0.28.0.dist-info"):
        (tmp_path / "site-packages" / name).mkdir(parents=True)
    place = tmp_path / "site-packages"
    (place / "torchvision/__init__.py").write_text(FOREIGN)
    told = "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n"
    (place / "torchvision-0.28.0.dist-info/METADATA").write_text(told)
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", f"{place}:{os.environ.get('PYTHONPATH', '')}")
    return place


def test_a_torchvision_for_another_torch_is_named(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = 'raise RuntimeError("operator torchvision::nms does not exist")'
    (foreign / "torchvision/__init__.py").write_text(what)
    (foreign / "warmed.py").write_text("import torchvision")
    monkeypatch.setattr(workers, "WARM", "warmed")
    (found,) = workers._unimportable().findings
    assert found.what == (
        "torchvision does not load here: RuntimeError: operator torchvision::nms does not exist"
    )
    assert found.hint == install("torchvision")
    assert "--force-reinstall" in found.hint
    (foreign / "warmed.py").write_text("import os; os._exit(3)")
    (found,) = workers._unimportable().findings
    assert found.what == "torch or transformers does not load here: it ended by itself"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_a_torchvision_for_another_torch_is_no_bug_of_ours(foreign: Path) -> None:
    """In a process that has begun no warm worker."""
    asked = """
from tinybuild.workers import Pool
from tinybuild.errors import Fault
if __name__ == "__main__":
    try:
        Pool().call("os:getpid", None, sort="warm")
    except Fault as fault:
        print(fault)
"""
    script = foreign / "asked.py"
    script.write_text(asked)
    made = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "torchvision does not load here" in made.stdout, made.stderr
    assert str(foreign) not in made.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_warm_workers_are_forked_where_nothing_has_computed(pool: Pool) -> None:
    """No thread runs in the process that forks: torch's begin with the first computation."""
    begun = threading.Barrier(2)
    told: list[tuple[int, list[int], bool]] = []

    def work() -> None:
        begun.wait()
        told.append(pool.call("test_workers:life", None, sort="warm"))
        pool.call("test_workers:tensor", 1_000, sort="warm")
        pool.call("time:sleep", 0.5, sort="warm")

    callers = [threading.Thread(target=work) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(pool.all) == 2
    told.append(pool.call("test_workers:life", None, sort="warm"))  # after one has computed
    assert len({above for above, *_ in told}) == 1
    assert all(threads[1] == 1 and here for _, threads, here in told)


def ask(function: str) -> object:
    return beside().call(function, None, Limits())


def pid(_: object) -> int:
    return os.getpid()


def test_the_process_beside_a_worker_is_its_own(pool: Pool) -> None:
    here = pool.call("test_workers:pid", None, sort="warm")
    there = pool.call("test_workers:ask", "test_workers:pid", sort="warm")
    assert there == pool.call("test_workers:ask", "test_workers:pid", sort="warm")
    assert there not in (here, os.getpid())
    with pytest.raises(BuildFault, match="is missing"):
        pool.call("test_workers:ask", "test_workers:missing", sort="warm")
    # Where it dies, its worker is not whole any more: both are replaced.
    os.kill(there, signal.SIGKILL)
    with pytest.raises(BuildFault, match="ended early"):
        pool.call("test_workers:ask", "test_workers:pid", sort="warm")
    assert pool.all == []
    assert pool.call("test_workers:ask", "test_workers:pid", sort="warm") not in (here, there)


def missing(_: object) -> None:
    raise BuildFault.of("is missing")


def test_the_process_beside_a_worker_ends_with_it(pool: Pool) -> None:
    there = pool.call("test_workers:ask", "test_workers:pid", sort="warm")
    (worker,) = pool.all
    os.kill(worker.process.pid or 0, signal.SIGKILL)
    patience = time.monotonic() + 60
    while Path(f"/proc/{there}").exists():
        assert time.monotonic() < patience
        time.sleep(0.05)


# --- no network -----------------------------------------------------------------------------------


def connect(address: tuple[str, int]) -> str:
    with socket.create_connection(address, timeout=5):
        return "connected"


def connect_and_say_nothing(address: tuple[str, int]) -> str:
    with contextlib.suppress(Exception):
        return connect(address)
    return "never mind"


def look_up(host: str) -> None:
    socket.getaddrinfo(host, 443)


def pipes(_: object) -> bytes:
    """What processes of one machine speak through."""
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"hello")
        return right.recv(5)


def ask_the_hub(_: object) -> None:
    from transformers import AutoConfig

    AutoConfig.from_pretrained("owner/name")


def token(_: object) -> str | None:
    from huggingface_hub import get_token

    return get_token()


@pytest.fixture
def listening() -> Iterator[tuple[tuple[str, int], socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname(), server


@pytest.mark.parametrize("function", ["connect", "connect_and_say_nothing"])
def test_a_worker_reaches_no_host(
    pool: Pool, listening: tuple[tuple[str, int], socket.socket], function: str
) -> None:
    """Not even this one, and also where a library hides that it tried."""
    address, server = listening
    with pytest.raises(BuildFault, match=r"asked for 127\.0\.0\.1; only the fetch stage"):
        pool.call(f"test_workers:{function}", address)
    server.settimeout(0.2)
    with pytest.raises(TimeoutError):
        server.accept()
    assert pool.call("test_workers:pipes", None) == b"hello"
    assert pool.call("test_workers:connect", address, sort="online") == "connected"
    assert [worker.sort for worker in pool.all] == ["light", "online"]
    with pytest.raises(BuildFault, match=r"asked for somewhere\.example"):
        pool.call("test_workers:look_up", "somewhere.example")


def test_a_library_that_asks_the_hub_is_told(pool: Pool) -> None:
    with pytest.raises(BuildFault, match="only the fetch stage reaches a network"):
        pool.call("test_workers:ask_the_hub", None)


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
def test_only_a_worker_with_a_network_sees_a_token(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "hf_secret")
    assert pool.call("os:getenv", name) is None
    assert pool.call("test_workers:token", None) is None
    assert pool.call("os:getenv", name, sort="online") == "hf_secret"
    assert os.environ[name] == "hf_secret"
    assert all(os.environ.get(key) != network._NOWHERE for key in network.ENVIRONMENT)
