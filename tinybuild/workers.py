"""Warm processes: torch and transformers are imported once a build, work is done many times.

The process that runs doit stays light and never computes; work is sent to others. Those that need
torch are forked from one that has imported it and does nothing else (`tinybuild.warm`): nothing is
ever forked after torch has computed, or while a thread runs. A worker that dies, hangs or wants too
much memory takes its own task with it and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, TypeVar

from tinybuild import fence, network, reading, wire
from tinybuild.errors import COMPILED, BuildFault, Fault, PackageFault, install
from tinybuild.paths import Data

T = TypeVar("T")
WARM = "tinybuild.warm"  # what warm workers are forked from imports it

# One thread in each library: the bytes do not depend on the number of cores, and for models this
# small it is faster (0.87 s a recipe against 1.2 s with threads).
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "critical",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "error",  # its warnings hold addresses, with the passwords in them
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # load_dataset reports each load to a server
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "PYTHONWARNINGS": "ignore",
}
# Of workers that reach a network, where the user says nothing else. The store of the Hub's large
# files is asked for two and a half minutes by hf_xet where it refuses connections; with these for
# 9 s, or 40 s where nothing answers.
ONLINE = {"HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2", "HF_XET_CLIENT_CONNECT_TIMEOUT": "10s"}


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a stage gets: a function from settings and input folders to files in `out` and facts.

    `settings` is the task's own slice of the recipe (JSON data); `inputs` are folders that are only
    read and `facts` what their receipts say, as far as the task depends on it; `upstream` is, for
    each source that is read where it is, the sha256 of its files by name; `root` is the zoo's
    folder; `seed` is the stage's own (0 .. 2**32 - 1); `versions` are those of the toolchain, by
    library (None: it is not installed); `closed` are folders of which it opens nothing but its own
    and `sources`, those of its sources that are on this machine.

    A stage reads settings and facts through dataclasses that name each of them (`asked`, `read`),
    and may return its own facts as one.
    """

    task: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Path]
    facts: Mapping[str, Mapping[str, Any]]
    root: Path
    out: Path
    seed: int
    upstream: Mapping[str, Data] = field(default_factory=dict)
    versions: Data = field(default_factory=dict)
    closed: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()

    def asked(self, kind: type[T]) -> T:
        """The settings as a dataclass of them all."""
        return wire.load(kind, self.settings)

    def read(self, stage: str, kind: type[T]) -> T:
        """What a stage before this one told: the fields of `kind` are what the task depends on."""
        return wire.load(kind, self.facts[stage])

    def find(self, stage: str, kind: type[T]) -> T | None:
        """The same, or None where the recipe does not have that stage."""
        return self.read(stage, kind) if stage in self.facts else None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one call may take: seconds of its own (None: another call around it bounds it), and
    bytes of memory for its whole process. While it waits for a processor that others use, no
    second passes."""

    seconds: float | None = 600.0
    memory: int = 8_000_000_000


class Bug(Exception):
    """An unexpected exception in a worker, with the traceback it had there."""


def call(function: str, argument: object) -> Any:
    """Call "module:name" with one argument."""
    module, name = function.split(":")
    asked = getattr(importlib.import_module(module), name)
    if not isinstance(argument, Job) or not argument.closed:
        return asked(argument)
    within = (argument.out.parent, *argument.inputs.values(), *argument.sources)
    with fence.around(argument.closed[0].parent, argument.closed, within):
        return asked(argument)


# What a process is for. light: it imports what it needs. warm: it was forked with torch and
# transformers in it. online: the only one that reaches a network, and sees a token.
Sort = Literal["light", "warm", "online"]


def serve(connection: Connection, sort: Sort, other: Connection | None) -> None:
    """A worker's life: take a call, do it, answer; end when the other side is gone.

    other: the pipe to the process beside it. An answer says whether the worker is whole: without
    that process it is not.
    """
    # Ctrl-C reaches the whole process group; the parent decides and stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    fence.stand()
    if sort != "online":
        network.shut()
    if other is not None:
        _beside.append(Remote(other))

    def tell(suspect: reading.Suspect | None) -> None:
        with contextlib.suppress(OSError):
            connection.send(("at", suspect, True))

    while True:
        try:
            function, argument, memory = connection.recv()
        except EOFError:
            return
        reading.listen(tell)
        answer = _answer(function, argument, memory)
        host = None if answer[0] == "fault" else network.tried()
        if host is not None:
            answer = _fault(network.fault(host))
        whole = other is None or bool(_beside)
        try:
            try:
                connection.send((*answer, whole))
            except MemoryError:  # the answer itself is too large
                bound(None)
                connection.send((*_fault(_out_of_memory(memory)), whole))
        except BrokenPipeError:
            return


Answer = tuple[str, object]


def _answer(function: str, argument: object, memory: int) -> Answer:
    """What a call gives: how it ended, and what belongs to that."""
    network.tried()  # of an earlier call
    try:
        bound(memory)
        return "done", wire.dump(call(function, argument))  # facts may be a dataclass
    except Fault as fault:
        return _fault(fault)
    except MemoryError:
        bound(None)  # what is left to say needs some, too
        return _fault(_out_of_memory(memory))
    except BaseException as error:  # noqa: BLE001 - the parent raises it again
        wanted = network.offline(error)
        if wanted is not None:
            return _fault(network.fault(wanted))
        if out_of_memory(error):
            return _fault(_out_of_memory(memory))
        trace = network.scrubbed(traceback.format_exc())
        if isinstance(error, OSError):
            return "os", (error.errno, error.strerror, error.filename, trace)
        # Libraries written in Rust raise types of their own for a full disk and the like.
        system = re.search(r"\(os error (\d+)\)", str(error))
        if system:
            return "os", (int(system[1]), os.strerror(int(system[1])), None, trace)
        return "bug", trace


def _fault(fault: Fault) -> Answer:
    """A fault, with the trace of what it was made of where nobody foresaw that."""
    return "fault", (type(fault), fault.findings, network.scrubbed(_cause(fault)))


def _cause(fault: Fault) -> str:
    """The trace of the error that a fault, or one that it was placed from, was made of."""
    at: BaseException | None = fault
    while isinstance(at, Fault):
        if at.__cause__ is not None:
            return "".join(traceback.format_exception(at.__cause__))
        at = at.__context__
    return ""


def bound(memory: int | None) -> None:
    """Let this process allocate at most so many bytes, all together (not what files are mapped to).

    An allocation beyond it fails here, where it can be told, instead of waking the system's own
    killer, which ends whatever process it likes. macOS knows the limit but does not keep to it.
    None: as many as the system lets it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bounds = [limit for limit in (memory, hard) if limit not in (None, resource.RLIM_INFINITY)]
    most = min(bounds, default=resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is torch's way to say MemoryError."""
    return "DefaultCPUAllocator" in str(error)


def _out_of_memory(memory: int) -> Fault:
    at = reading.suspect() or reading.failed()
    return BuildFault.of(
        f"{at.file if at else 'this'} needs more memory than there is, or than the "
        f"{memory / 1e9:.3g} GB it may take",
        key=at.key if at else (),
        hint="make the model or its source smaller, or raise limits.memory in the recipe",
    )


class Remote:
    """A process at the other end of a pipe, which does one call after another."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.at: reading.Suspect | None = None  # what it is at work on, as far as it told

    def call(self, function: str, argument: object, limits: Limits) -> Any:
        """What a function gives there. Raises Fault, OSError, Bug."""
        self.at = reading.suspect()
        try:
            self.connection.send((function, argument, limits.memory))
            how, value, whole = self._answer(limits.seconds)
        except KeyboardInterrupt:
            self.stop()  # it would go on to write into a folder that is being removed
            raise
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise _died(self.stop(5), self.at) from None
        if how == "bug" or not whole:
            self.stop()  # whatever went wrong may have left something behind in the libraries
        if how == "done":
            return value
        if how == "fault":
            kind, findings, trace = value
            fault = kind(findings)
            if trace:
                fault.add_note(trace)
            raise fault
        if how == "os":
            number, text, filename, trace = value
            error = OSError(number, text, filename)
            error.add_note(trace)
            raise error
        raise Bug(value)

    def _answer(self, seconds: float | None) -> tuple[str, Any, bool]:
        """How the call ended; on the way, which file it is at work on. Raises Fault when its
        seconds are over."""
        begun, waited = time.monotonic(), self.waited()
        while True:
            left = seconds
            if seconds is not None:
                left = seconds - (time.monotonic() - begun) + (self.waited() - waited)
            if left is not None and left <= 0:
                self.stop()
                raise _late(seconds, self.at)
            if self.connection.poll(left):
                answer: tuple[str, Any, bool] = self.connection.recv()
                if answer[0] != "at":
                    return answer
                self.at = answer[1]

    def waited(self) -> float:
        """Seconds that it could have worked in all its life, had a processor been free."""
        return 0.0

    def stop(self, patience: float = 0) -> int | None:
        """Have no more to do with it. Its exit code, where it is ours and ends by itself within so
        many seconds."""
        self.connection.close()
        if self in _beside:
            _beside.remove(self)
        return None


class Worker(Remote):
    """A process of our own, of one sort for all its life; a warm one has another beside it."""

    def __init__(self, sort: Sort = "light") -> None:
        self.sort = sort
        other = _begin(sort, None) if sort == "warm" else None
        self.other = other[0] if other is not None else None
        self.process, connection = _begin(sort, other[1] if other is not None else None)
        if other is not None:
            other[1].close()
        super().__init__(connection)

    def waited(self) -> float:
        both = (self.process, self.other)
        return sum(_waited(process.pid) for process in both if process is not None)

    def stop(self, patience: float = 0) -> int | None:
        self.process.join(patience)
        code = self.process.exitcode
        self.kill()
        super().stop()
        return code

    def kill(self) -> None:
        """End it; whoever waits for its answer is told, and closes the pipe."""
        for process in (self.process, self.other):
            if process is not None:
                process.kill()
                process.join()


def _begin(sort: Sort, other: Connection | None) -> tuple[BaseProcess, Connection]:
    """Start a process that serves, and our end of the pipe to it.

    A warm one costs some milliseconds once the first was started, which waits for the imports.
    Where forking is not safe (macOS) it is spawned like the others.
    """
    context: SpawnContext | ForkServerContext = multiprocessing.get_context("spawn")
    if sort == "warm" and sys.platform == "linux":
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([WARM])
    ours, theirs = context.Pipe()
    online = {name: os.environ.get(name, value) for name, value in ONLINE.items()}
    with _environment({**SETTINGS, **(online if sort == "online" else network.ENVIRONMENT)}):
        process = context.Process(target=serve, args=(theirs, sort, other), daemon=True)
        try:
            if isinstance(context, ForkServerContext):
                with _deaf():
                    forkserver.ensure_running()
                process.start()  # which waits for the imports: not without Ctrl-C
            else:
                with _deaf():
                    process.start()
        except EOFError:  # what warm ones are forked from ended while it imported
            raise _unimportable() from None
    theirs.close()
    return process, ours


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """What is started inside is told of no Ctrl-C until it has said what it does with one: else it
    ends with a traceback while it imports."""
    resource_tracker.ensure_running()  # one of its own would be started inside, and let Ctrl-C in
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _unimportable() -> Fault:
    """What warm workers import does not load here; the package that is to blame, where one that is
    compiled for another torch is among what was on the way."""
    asked = [sys.executable, "-c", f"import {WARM}"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stderr
    last = next(reversed(said.strip().splitlines()), "it ended by itself")
    last = re.sub(r"/\S*/site-packages/", "", last)
    blamed = next((name for name in COMPILED if f"/{name}/" in said), "")
    return PackageFault.of(
        f"{blamed or 'torch or transformers'} does not load here: {last}",
        hint=install(blamed) if blamed else f"python -c 'import {WARM}' shows where it ends",
    )


_beside: list[Remote] = []


def beside() -> Remote:
    """The process beside this one, which does only what this one tells it; one of its own where it
    is not a warm worker."""
    if not _beside:
        _beside.append(Worker("light"))
    return _beside[0]


def _waited(pid: int | None) -> float:
    """Seconds that a process was ready to work and no processor was free; 0 where the system does
    not say."""
    try:
        _, nanoseconds, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    except (OSError, ValueError):
        return 0.0
    return int(nanoseconds) / 1e9


def _late(seconds: float | None, at: reading.Suspect | None) -> Fault:
    work = f", at work on {at.file}," if at else ""
    return BuildFault.of(
        f"this took longer than {seconds:g} s{work} and was stopped",
        key=at.key if at else (),
        hint="raise limits.seconds in the recipe if it only needs more time",
    )


# What a library does to its own process: it would do it again.
CRASHES = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


def _died(code: int | None, at: reading.Suspect | None) -> Fault:
    who = f"the process that worked on {at.file}" if at else "the process that did this"
    key = at.key if at else ()
    if code is not None and -code in CRASHES:
        hint = f"{reading.HINT}, or raise limits.memory in the recipe if it is only large"
        if at is None:
            hint = "a library crashed: raise limits.memory in the recipe, or report it"
        name = signal.Signals(-code).name
        return BuildFault.of(f"{who} crashed ({name})", key=key, hint=hint)
    if code is not None and code < 0:
        hint = "run it again to go on"
        if -code == signal.SIGKILL:
            hint = "often this is the system running out of memory; " + hint
        return BuildFault.of(f"{who} was killed ({signal.Signals(-code).name})", key=key, hint=hint)
    known = "" if code is None else f" (exit code {code})"
    hint = reading.REPORT if at else "report it with the recipe"
    return BuildFault.of(f"{who} ended early{known}", key=key, hint=hint)


@contextlib.contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Environment variables (None: without it) for children started inside; ours are put back."""
    before = {name: os.environ.get(name) for name in values}

    def put(wanted: Mapping[str, str | None]) -> None:
        for name, value in wanted.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    put(values)
    try:
        yield
    finally:
        put(before)


class Pool:
    """Workers, started when needed, kept warm, one call each at a time.

    As many threads as call at once get as many workers: `doit -n 2` has two. Each call says of
    which sort: libraries read their environment once, and a process that computes is never one
    that has seen a token.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: list[Worker] = []
        self.all: list[Worker] = []
        self.stopped = False

    def call(
        self, function: str, argument: object, limits: Limits | None = None, sort: Sort = "light"
    ) -> Any:
        with self.lock:
            if self.stopped:
                raise KeyboardInterrupt
            worker = next((one for one in reversed(self.idle) if one.sort == sort), None)
            if worker is None:
                worker = Worker(sort)
                self.all.append(worker)
            else:
                self.idle.remove(worker)
        try:
            return worker.call(function, argument, limits or Limits())
        finally:
            with self.lock:
                if worker.process.is_alive():
                    self.idle.append(worker)
                elif worker in self.all:
                    self.all.remove(worker)

    def stop(self) -> None:
        """End all workers now, whatever they are doing. Who calls later is interrupted, too."""
        with self.lock:
            self.stopped = True
            for worker in self.all:
                if worker in self.idle:
                    worker.stop()
                else:
                    worker.kill()
            self.all.clear()
            self.idle.clear()
