"""`doit` with nothing to do on zoos of growing size, in CPU seconds, beside starting doit alone.

One recipe is built for real; the stages of all others are copies of its own, under their own
papers, so that a zoo of 1,000 stands in a minute.

    python benchmarks/growth.py [--sizes 30 200 1000]
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from noop import generate

from tinybuild.engine import receipts
from tinybuild.engine.plan import load
from tinybuild.engine.run import Builder
from tinybuild.files import Memo
from tinybuild.recipe import Cache
from tinybuild.workers import Job, Limits, Pool, Sort

FIRST = "r0"
DOIT = (sys.executable, "-m", "doit")


class Copies(Pool):
    """A pool whose work was done for the first recipe."""

    def __init__(self, root: Path):
        super().__init__()
        self.root = root

    def call(
        self, function: str, argument: object, limits: Limits | None = None, sort: Sort = "light"
    ) -> object:
        assert isinstance(argument, Job)
        stage, _, name = argument.task.partition(":")
        receipt, _ = receipts.papers(str(self.root / "build" / FIRST / stage))
        assert receipt is not None
        for file in receipt.files:
            made = self.root / "build" / FIRST / stage / file
            target = argument.out / file
            if stage == "pack":
                made = self.root / "dist" / file
                target = argument.out / f"{name}{file.removeprefix(FIRST)}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, target)
        return dict(receipt.facts)


def fill(root: Path, count: int) -> None:
    generate(root, count)
    subprocess.run([*DOIT, FIRST], cwd=root, check=True, stdout=subprocess.DEVNULL)
    memo = Memo()
    zoo = load(root, memo, Cache(root / "none", memo))
    builder = Builder(root, memo, Copies(root))
    for task in zoo.tasks.values():
        if builder.reasons(task):
            builder.perform(task, print)


def spent(*command: str, root: Path, runs: int = 5) -> float:
    """CPU seconds of a command, the least of some runs."""
    times = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[30, 200, 1000])
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary).resolve() / "zoo"
        for count in sorted(parser.parse_args().sizes):
            fill(root, count)
            time.sleep(3)  # what is younger than two seconds is not kept
            first = spent(*DOIT, root=root, runs=1)
            known = spent(*DOIT, root=root)
            start = spent(*DOIT, "--version", root=root)
            print(
                f"{count:6} recipes: by content {first:6.2f} s, known {known:6.2f} s "
                f"({first / known:4.1f} times less), starting doit {start:5.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
