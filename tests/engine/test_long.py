"""Many builds in one process: nothing of one stays for the next, whatever became of its workers.

The suite takes 4 builds, the slow set as many as `TINYBUILD_BUILDS` says (200; 5,000 each week).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from kit.zoo import environment, make

from tinybuild.engine.plan import load
from tinybuild.engine.run import Builder
from tinybuild.errors import BuildFault
from tinybuild.files import Memo
from tinybuild.recipe import Cache
from tinybuild.workers import Limits, Pool, Sort

ROWS = "version: 1\nsummary: rows\ndataset: {samples: 2, source: {path: ../rows}}\n"


@dataclass(frozen=True, kw_only=True)
class Used:
    """What a process holds. memory: bytes of it and of its worker that are not shared."""

    handles: int
    threads: int
    scratch: int
    memory: tuple[int, ...]


def used(pool: Pool) -> Used:
    processes = [os.getpid(), *(worker.process.pid or 0 for worker in pool.all)]
    return Used(
        handles=len(os.listdir("/proc/self/fd")),
        threads=threading.active_count(),
        scratch=len(os.listdir(tempfile.gettempdir())),
        memory=tuple(map(anonymous, processes)),
    )


def anonymous(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("RssAnon:"))
    return int(kilobytes) * 1024


class Deadly(Pool):
    """Kills its worker, where it is told to, instead of having the work done."""

    kills = False

    def call(
        self, function: str, argument: object, limits: Limits | None = None, sort: Sort = "light"
    ) -> object:
        if self.kills:
            self.kills = False
            return super().call("engine.test_long:die", None, limits, sort)
        return super().call(function, argument, limits, sort)


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def build(root: Path, pool: Deadly, number: int, kills: bool) -> None:
    """A build after an edit of the source. kills: its worker dies, and it begins again."""
    rows = [{"text": str(number)}, {"text": "b"}]
    (root / "rows/a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    memo = Memo(root / "build/.memo.json")
    zoo = load(root, memo, Cache(root / "build/.recipes.json", memo))
    builder = Builder(root, memo, pool)
    first, *others = zoo.tasks_of("x")
    if kills:
        pool.kills = True
        with pytest.raises(BuildFault, match=r"killed \(SIGKILL\)"):
            builder.perform(first, lambda _: None)
    for task in (first, *others):
        assert builder.perform(task, lambda _: None) == "built"
    memo.save()


def repeat(root: Path, builds: int, every: int) -> tuple[Used, Used]:
    """What this process and its worker hold before so many builds, and after."""
    pool = Deadly()
    try:
        for number in range(3):
            build(root, pool, number, kills=number == 1)
        before = used(pool)
        for number in range(builds):
            build(root, pool, number, kills=number % every == 1)
        return before, used(pool)
    finally:
        pool.stop()


PROGRAM = """
import dataclasses, json, sys
from pathlib import Path
from engine.test_long import repeat
root, builds, every = sys.argv[1:]
made = repeat(Path(root), int(builds), int(every))
print(json.dumps([dataclasses.asdict(one) for one in made]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says it on Linux only")
@pytest.mark.parametrize(
    ("builds", "every"),
    [
        (4, 4),
        pytest.param(int(os.environ.get("TINYBUILD_BUILDS", "200")), 100, marks=pytest.mark.slow),
    ],
)
def test_nothing_grows_with_the_number_of_builds(tmp_path: Path, builds: int, every: int) -> None:
    """Also where some lose their worker. In a process that does nothing else."""
    scratch, root = tmp_path / "scratch", make(tmp_path / "zoo", x=ROWS)
    for folder in (scratch, root / "rows"):
        folder.mkdir()
    words = [sys.executable, "-c", PROGRAM, str(root), str(builds), str(every)]
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        words,
        env=environment(TMPDIR=str(scratch), PYTHONPATH=path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, after = (Used(**one) for one in json.loads(done.stdout))
    print(f"{builds} builds: {before} -> {after}")  # noqa: T201 - the figures are kept
    assert after.handles <= before.handles
    assert after.threads <= before.threads
    assert after.scratch == before.scratch == 0
    ours = after.memory[0] - before.memory[0]
    assert ours < 20_000_000, f"{ours / builds:,.0f} bytes a build"
    hidden = [path for path in (root / "build").rglob(".*") if path.is_dir()]
    hidden += (root / "dist").glob(".*")
    assert hidden == []
