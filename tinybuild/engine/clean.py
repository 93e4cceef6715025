"""Which recipes have nothing to do: all that was looked at when that was found out is as it was.

When every stage of a recipe was found up to date, what was looked at for it is kept, as one digest
of inodes, sizes, mtimes and ctimes: its text and its lock, the papers and files of its stages, the
folders that hold them, and the local files that it is made from. While these are the same it has
nothing to do, and nobody reads a recipe, a lock or a receipt. Nobody can set a ctime, and what was
younger than two seconds is not kept (`files.TOO_YOUNG`).

All recipes depend on the code of tinybuild, the versions of libraries, and zoo.yaml: where one of
these moved, nothing is known. The record only saves time: a recipe that it does not know is asked
stage by stage (`run.Builder.reasons`), as if there were none.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import struct
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinybuild import wire
from tinybuild.engine import code
from tinybuild.engine.stages import STAGES
from tinybuild.files import TOO_YOUNG, Stamp, digest, stamp, write
from tinybuild.paths import Data

FILE = ".clean.json"
ZOO_FILE = "zoo.yaml"
READ = (".yaml", ".yml", ".lock.json")  # what the plan of a zoo is made from
NAME = "\1"  # stands for the recipe's name in paths

STAMP, NOTHING = struct.Struct("Qqqq").pack, (0, -1, 0, 0)
Stamps = Mapping[str, Stamp | None]  # path -> its stamp before it was read; None: not there


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A recipe that had nothing to do. file: its text, below recipes/. shape: which list of paths
    was looked at. digest: of their stamps. upstream: the recipes that it is made from -> their
    digests then. The rest is what tables say of it."""

    file: str
    shape: int
    digest: str
    upstream: Mapping[str, str] = field(default_factory=dict)
    parameters: int | None = None
    vocabulary: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the file holds. common: digest of what all recipes depend on. libraries: whose versions
    are in it. plan: digest of the recipes and locks that `groups` was read from; "" where one of
    them was broken. shapes: lists of paths, each as one text. recipes: name -> Kept."""

    common: str = ""
    libraries: tuple[str, ...] = ()
    plan: str = ""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shapes: tuple[str, ...] = ()
    recipes: Mapping[str, Data] = field(default_factory=dict)


class Clean:
    """The record of a zoo. What it compares it looks at first, before anybody reads anything."""

    def __init__(self, root: Path):
        self.root, self.path = str(root), root / "build" / FILE
        self.begun = time.time_ns()
        self.files = _listed(f"{root}/recipes")
        package = code.PACKAGE
        self.shared = {
            **_tree(str(package), ""),
            **_tree(str(package.parent / "schemas"), "../schemas/"),
            ZOO_FILE: stamp(f"{root}/{ZOO_FILE}"),
        }
        found = _read(self.path)
        self.record = found if found.common == self._common(found.libraries) else Record()
        self.shapes = {shape: number for number, shape in enumerate(self.record.shapes)}
        self.known = dict[str, Kept | None]()  # recipes that were asked for; None: not clean
        self.fresh = dict[str, Kept]()

    @functools.cached_property
    def groups(self) -> Mapping[str, tuple[str, ...]] | None:
        """The names of the recipes by group. None where a recipe or a lock is not as it was, or one
        is broken: then the zoo must be read."""
        same = self.record.plan and self.record.plan == digest(self.files)
        return self.record.groups if same else None

    def find(self, name: str) -> Kept | None:
        """A recipe that, with all that it is made from, is known to have nothing to do; or None."""
        if name not in self.known:
            data = self.record.recipes.get(name)
            kept = wire.load(Kept, data) if data is not None else None
            self.known[name] = kept if kept is not None and self._same(name, kept) else None
        return self.known[name]

    def _same(self, name: str, kept: Kept) -> bool:
        for other, then in kept.upstream.items():
            now = self.find(other)
            if now is None or now.digest != then:
                return False
        paths = self.record.shapes[kept.shape].replace(NAME, name).split("\0")
        here = f"{self.root}/"
        return kept.digest == self._digest(
            kept.file, [stamp(path if path[0] == "/" else here + path) for path in paths]
        )

    def keep(
        self, name: str, file: Path, seen: Stamps, upstream: Collection[str], **told: int | None
    ) -> None:
        """Take note that a recipe has nothing to do. seen: what was looked at to find that out.
        Not where something of it is too young, or an upstream is not known itself."""
        shown, here = file.relative_to(f"{self.root}/recipes").as_posix(), f"{self.root}/"
        above = {other: self.fresh.get(other) or self.find(other) for other in sorted(upstream)}
        if not self._settled([*seen.values(), self.files.get(shown), self._lock(shown)]):
            return
        paths = "\0".join(path.removeprefix(here) for path in seen)
        if None in above.values() or shown not in self.files or NAME in paths:
            return
        shape = paths.replace(name, NAME)
        self.fresh[name] = Kept(
            file=shown,
            shape=self.shapes.setdefault(shape, len(self.shapes)),
            digest=self._digest(shown, seen.values()),
            upstream={other: kept.digest for other, kept in above.items() if kept is not None},
            **told,
        )

    def save(
        self, groups: Mapping[str, tuple[str, ...]], libraries: Iterable[str], *, whole: bool
    ) -> None:
        """Write what is known of a zoo that was read. whole: none of its recipes is broken."""
        named = {*libraries, *(name for stage in STAGES.values() for name in stage.libraries)}
        every = [name for names in groups.values() for name in names]
        fresh: Mapping[str, Data] = {name: wire.dump(kept) for name, kept in self.fresh.items()}
        known = {**self.record.recipes, **fresh}
        recipes = {name: known[name] for name in every if name in known}
        if not recipes or not self._settled(self.shared.values()):
            return
        made = Record(
            common=self._common(tuple(sorted(named))),
            libraries=tuple(sorted(named)),
            plan=digest(self.files) if whole and self._settled(self.files.values()) else "",
            groups=groups,
            shapes=tuple(self.shapes),
            recipes=recipes,
        )
        if made != self.record:
            text = json.dumps(wire.dump(made), separators=(",", ":"))
            write(self.path, f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")

    def _common(self, libraries: tuple[str, ...]) -> str:
        return digest([self.shared, code.versions(libraries)])

    def _lock(self, file: str) -> Stamp | None:
        return self.files.get(f"{file.removesuffix('.yaml')}.lock.json")

    def _digest(self, file: str, stamps: Iterable[Stamp | None]) -> str:
        # (JSON takes a quarter of what asking for the stamps takes.)
        seen = (self.files.get(file), self._lock(file), *stamps)
        packed = b"".join([STAMP(*(one or NOTHING)) for one in seen])
        return hashlib.sha256(packed).hexdigest()

    def _settled(self, stamps: Iterable[Stamp | None]) -> bool:
        """Whether none of this can have changed again, unseen, after it was looked at."""
        return all(one is None or self.begun - one[3] > TOO_YOUNG for one in stamps)


def _read(path: Path) -> Record:
    """Whatever is wrong with the file, it is forgotten: it only saves time."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        said, _, text = path.read_bytes().partition(b"\n")
        if said == hashlib.sha256(text).hexdigest().encode():
            return wire.load(Record, json.loads(text))
    return Record()


def _listed(folder: str) -> dict[str, Stamp | None]:
    """The stamps of recipes and locks, those of groups included, by their path below recipes/."""
    stamps = dict[str, Stamp | None]()
    for entry in _entries(folder):
        if entry.name.endswith(READ):
            stamps[entry.name] = stamp(entry.path)
        elif entry.is_dir():
            for inner in _entries(entry.path):
                if inner.name.endswith(READ):
                    stamps[f"{entry.name}/{inner.name}"] = stamp(inner.path)
    return stamps


def _tree(folder: str, prefix: str) -> dict[str, Stamp | None]:
    """The stamps of all files below a folder; not of what Python left there."""
    stamps = dict[str, Stamp | None]()
    for entry in _entries(folder):
        if entry.is_dir():
            if entry.name != "__pycache__":
                stamps.update(_tree(entry.path, f"{prefix}{entry.name}/"))
        else:
            stamps[prefix + entry.name] = stamp(entry.path)
    return stamps


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder and not hidden, sorted by name; nothing where there is none."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if e.name[0] != "."), key=lambda entry: entry.name)
    except OSError:
        return []
