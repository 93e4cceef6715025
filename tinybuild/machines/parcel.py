"""What goes to a worker and what comes back: JSON and the bytes of files, no code."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from tinybuild import __version__, wire
from tinybuild.engine import code
from tinybuild.engine.stages import STAGES
from tinybuild.files import digest
from tinybuild.paths import Json

T = TypeVar("T")
Toolchain = Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Recipes for one worker. key, topic: of the task at Dask, and of what is told of the run.
    root: the zoo's folder among the files. packages: sources that are installed packages. store:
    what TINYBUILD_STORE is to be. proof: a file that the client wrote into the folder of the store;
    "" where the store is not one folder for all."""

    key: str
    topic: str
    names: tuple[str, ...]
    root: str
    store: str
    toolchain: Toolchain
    packages: tuple[str, ...] = ()
    proof: str = ""


@dataclass(frozen=True, kw_only=True)
class Built:
    """What became of a recipe, as the run.json of a build says it."""

    recipe: str
    outcome: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a parcel. refused: why the worker took nothing of it. died: how the process
    that built it ended, where it came to no end of its own. failed: task -> message. notes: of
    failures, by their path in the zoo's folder."""

    worker: str
    refused: tuple[str, ...] = ()
    died: str = ""
    built: tuple[Built, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def packed(value: Parcel | Outcome) -> str:
    return json.dumps(wire.dump(value))


def unpacked(kind: type[T], text: str) -> T:
    data: Json = json.loads(text)
    return wire.load(kind, data)


def toolchain(packages: Collection[str] = ()) -> Toolchain:
    """What decides the bytes that a machine makes of a recipe, beside the recipe."""
    libraries = {name for stage in STAGES.values() for name in stage.libraries}
    codes = {name: code.closure(stage.function) for name, stage in STAGES.items()}
    return {
        "tinybuild": __version__,
        "the code of tinybuild": digest(codes)[:12],
        "the system": f"{sys.platform} {platform.machine()}",
        **code.versions(tuple(sorted({*libraries, *packages}))),
    }


def differences(here: Toolchain, there: Toolchain) -> Iterator[str]:
    """What a worker has otherwise, in words."""
    for name in sorted({*here, *there}):
        ours, theirs = here.get(name) or "not installed", there.get(name) or "not installed"
        if ours != theirs:
            yield f"{name}: {ours} here, {theirs} there"
