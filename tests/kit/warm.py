"""Processes that have imported what is slow to import, for all the doits of a test session.

Every doit that builds a model starts a process that imports torch and transformers, does nothing
else, and forks its workers from it (8 seconds of work); one that packs rows spawns a worker that
imports datasets (2 seconds). Here the first doit pays, and the others fork from the same processes:
workers, pipes, limits and deaths are what they are without it. A doit whose environment differs in
anything that a library may read as it is imported has processes of its own, and so has one that is
not begun by `zoo.run`, where a signal goes to the whole group or a limit is set.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild import network
from tinybuild.workers import SETTINGS

HOOK = Path(__file__).parent / "warmed"
# What a process imports, by what its workers are asked for with: those of `tinybuild.workers` that
# are forked name the module; those that are spawned import nothing yet, and here what rows need.
PRELOADED = {
    "tinybuild.warm": ["tinybuild.warm"],
    "light": ["datasets", "pyarrow.parquet"],
}
# What says nothing to what is imported, or is not the same in two tests. A worker gets the path of
# its doit, and imports from there what was not imported: a tinybuild with something added, say.
FREE = (
    *("CI", "PYTEST_CURRENT_TEST", "PYTHONDONTWRITEBYTECODE", "KIT_WARM"),
    # These the process that runs doit reads; no stage does.
    *("TINYBUILD_STORE", "TINYBUILD_STORE_MODE", "TINYBUILD_STORE_SUMS"),
    *("TINYBUILD_SHARD", "TINYBUILD_COSTS", "TINYBUILD_LOCKED"),
)
FREE_OF = {"tinybuild.warm": FREE, "light": (*FREE, "PYTHONPATH")}
# It imports when the first doit asks for a worker; it ends with the tests, which hold the pipe.
PROGRAM = """
import select
asked, alive = {asked}, {alive}
if alive not in select.select([asked, alive], [], [])[0]:
    from multiprocessing.forkserver import main
    main(asked, alive, {preloaded})
"""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What ends when the tests end."""

    folder: tempfile.TemporaryDirectory[str]
    alive: int
    processes: list[subprocess.Popen[bytes]]


@functools.cache
def kept() -> Kept:
    """The processes of these tests, begun by the first who asks, and the paper that says where."""
    folder = tempfile.TemporaryDirectory(prefix="warm-")
    paper = Path(folder.name, "paper.json")
    addresses = {name: f"{folder.name}/{name}" for name in PRELOADED}
    told: dict[str, str | None] = {**with_hook(os.environ, paper), **SETTINGS}
    told |= network.ENVIRONMENT
    environment = {name: value for name, value in told.items() if value is not None}
    paper.write_text(
        json.dumps({"addresses": addresses, "environment": environment, "free": FREE_OF})
    )
    heard, alive = os.pipe()
    processes = []
    for name, preloaded in PRELOADED.items():
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(addresses[name])
            listener.listen()
            asked = listener.fileno()
            program = PROGRAM.format(asked=asked, alive=heard, preloaded=preloaded)
            command = [sys.executable, "-c", program]
            processes.append(subprocess.Popen(command, env=environment, pass_fds=(asked, heard)))
    os.close(heard)
    return Kept(folder=folder, alive=alive, processes=processes)


def with_hook(wanted: Mapping[str, str], paper: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(HOOK), wanted.get("PYTHONPATH")]))
    return {**wanted, "PYTHONPATH": path, "KIT_WARM": str(paper)}


def joined(wanted: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of a doit, with the way to these processes where workers are forked."""
    if sys.platform != "linux":
        return wanted
    return with_hook(wanted, Path(kept().folder.name, "paper.json"))
