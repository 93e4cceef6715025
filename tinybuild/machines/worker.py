"""What a worker of Dask does with a parcel: an ordinary build, in a process of its own.

The process ends when the worker does (`leashed`). What it finished is in the store by then, so
whoever builds it again goes on from there.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tinybuild.engine.stages import STAGES
from tinybuild.files import inside
from tinybuild.machines import leashed
from tinybuild.machines.parcel import (
    Built,
    Outcome,
    Parcel,
    differences,
    packed,
    toolchain,
    unpacked,
)
from tinybuild.paths import Json, get
from tinybuild.recipe import lock
from tinybuild.store.place import MODE, STORE, SUMS

# What of a worker's environment is not for the build of a parcel.
OTHERS = (MODE, SUMS, "TINYBUILD_SHARD", "TINYBUILD_COSTS", lock.LOCKED)
LINE = re.compile(rf"(?:{'|'.join(STAGES)}):(\S+) +[\d.]+ s\b")
TAIL = 20  # lines of what a process said that came to no end of its own


def build(text: str, files: Mapping[str, bytes]) -> str:
    """The outcome of a parcel; both as text. files: by their path."""
    from distributed import get_worker

    worker, parcel = get_worker(), unpacked(Parcel, text)
    refused = tuple(_unfit(parcel))
    if refused:
        return packed(Outcome(worker=worker.address, refused=refused))
    worker.log_event(parcel.topic, {"key": parcel.key, "begun": worker.address})
    with tempfile.TemporaryDirectory(prefix="tinybuild-", dir=worker.local_directory) as folder:
        for name, content in files.items():
            path = inside(Path(folder), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        root, said = Path(folder, parcel.root), list[str]()
        process = _begun(parcel, root)
        assert process.stdout is not None
        for line in process.stdout:
            said = [*said[1 - TAIL :], line.rstrip()]
            match = LINE.match(line)
            if match is not None and match[1] in parcel.names:
                worker.log_event(parcel.topic, {"key": parcel.key, "line": line.rstrip()})
        code = process.wait()
        return packed(_outcome(worker.address, root, _died(code, said)))


def _unfit(parcel: Parcel) -> Iterator[str]:
    """Why this worker would make something else, or nothing that anybody could take."""
    yield from differences(parcel.toolchain, toolchain(parcel.packages))
    if parcel.proof and not Path(parcel.proof).is_file():
        yield f"the store: {parcel.store} is another folder there"


def _begun(parcel: Parcel, root: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in OTHERS}
    if parcel.store:
        environment[STORE] = parcel.store
    return subprocess.Popen(
        # -P: what lies in the folder of the zoo is no module.
        [sys.executable, "-P", "-m", leashed.__name__, *parcel.names],
        cwd=root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
    )


def _died(code: int, said: list[str]) -> str:
    """How a process ended that a build does not end with; "" for one that ended as builds do."""
    if code in (0, 1):
        return ""
    if code < 0:
        return f"was killed ({signal.Signals(-code).name})"
    return "\n".join([f"ended with exit code {code}", *said])


def _outcome(worker: str, root: Path, died: str) -> Outcome:
    try:
        told: Json = json.loads((root / "build/run.json").read_bytes())
    except (OSError, ValueError):
        told = None
    rows, failed = get(told, ("recipes",)), get(told, ("failed",))
    messages = {
        str(get(one, ("task",))): str(get(one, ("message",)))
        for one in (failed if isinstance(failed, list) else ())
    }
    return Outcome(
        worker=worker,
        died=died if told is None else "",
        built=tuple(map(_built, rows if isinstance(rows, list) else ())),
        failed=messages,
        notes={
            path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted((root / "build").glob("*/*.failure.json"))
        },
    )


def _built(row: Json) -> Built:
    seconds = get(row, ("seconds",))
    return Built(
        recipe=str(get(row, ("recipe",))),
        outcome=str(get(row, ("outcome",))),
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
    )
