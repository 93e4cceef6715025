"""A Dask cluster on loopback: a scheduler and workers, each a real process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from kit import warm, zoo

PATIENCE = 240  # seconds; the machine may be busy


class Cluster:
    """Workers without a nanny: one that is killed is gone, unless `respawn` begins another in its
    place. Each has a folder of its own, in which it lays what it builds."""

    def __init__(self, top: Path, env: Mapping[str, str]):
        self.top, self.env = top, env
        self.file = top / "scheduler.json"
        self.processes = dict[str, subprocess.Popen[bytes]]()

    def begin(self, name: str, *words: str, **env: str) -> None:
        command = [sys.executable, "-m", "dask", *words, "--scheduler-file", str(self.file)]
        with (self.top / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env={**self.env, **env}, cwd=self.top, stdout=log, stderr=log
            )

    def scheduler(self) -> str:
        """Start one, on any free port; its address."""
        self.file.unlink(missing_ok=True)
        self.begin("scheduler", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        wait(lambda: self.file.is_file() and self.file.stat().st_size > 0)
        return str(json.loads(self.file.read_bytes())["address"])

    def worker(self, number: int, **env: str) -> None:
        folder = self.folder(number)
        folder.mkdir(exist_ok=True)
        words = ["worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(folder)]
        self.begin(f"worker-{number}", *words, "--no-dashboard", **env)

    def folder(self, number: int) -> Path:
        return self.top / f"work-{number}"

    def at_work(self, recipe: str) -> list[int]:
        """The workers that have laid a recipe's file."""
        numbers = [int(name.partition("-")[2]) for name in self.processes if "worker-" in name]
        return [n for n in numbers if any(self.folder(n).rglob(f"recipes/{recipe}.yaml"))]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.processes[name].pid, number)
        if number == signal.SIGKILL:
            self.processes[name].wait()

    def poisoned(self, recipe: str, over: threading.Event) -> list[int]:
        """Kill whichever worker takes up a recipe, and begin another in its place, until `over`;
        what was killed."""
        killed = list[int]()
        while not over.wait(0.02):
            for number in self.at_work(recipe):
                self.kill(f"worker-{number}")
                killed.append(number)
                subprocess.run(["rm", "-rf", str(self.folder(number))], check=True)
                self.worker(number)
        return killed

    def close(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


@contextlib.contextmanager
def cluster(top: Path, workers: int, **env: str) -> Iterator[Cluster]:
    top.mkdir()
    made = Cluster(top, warm.joined(zoo.environment(**env)))
    try:
        made.scheduler()
        for number in range(workers):
            made.worker(number)
        yield made
    finally:
        made.close()


def wait(until: Callable[[], bool]) -> None:
    patience = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < patience, "it never came"
        time.sleep(0.02)
