"""The zoo that a test or a script takes its bundles from, and the build of those it names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinybuild.errors import BuildFault, Fault, RecipeFault, did_you_mean
from tinybuild.files import digest, write
from tinybuild.use.loaded import Bundle

VARIABLE = "TINYBUILD_ZOO"
SUMS = "SHA256SUMS"
OWN = Path(__file__).parent / "recipes"  # of the wheel
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
GOOD = ("built", "up to date")


@dataclass(frozen=True, kw_only=True)
class Zoo:
    """root: a folder with recipes/, or one of bundles, of which none is built. environment: what
    builds run with."""

    root: Path
    builds: bool
    environment: Mapping[str, str] = field(default_factory=lambda: {**os.environ})

    @property
    def bundles(self) -> Path:
        return self.root / "dist" if self.builds else self.root

    def built(self, names: Iterable[str]) -> dict[str, Fault | None]:
        """Bring bundles up to date, or all of recipes/ where no name is given: what is wrong with
        each, None where nothing is. Raises Fault where that cannot be said of each."""
        asked = [*names]
        for name in asked:
            if not NAME.fullmatch(name):
                raise RecipeFault.of(f"{name!r} cannot be the name of a bundle")
        if self.builds:
            return self._build(asked)
        have = [path.parent.name for path in self.root.glob(f"*/{SUMS}")]
        return {name: None if name in have else _lacking(name, have) for name in asked or have}

    def _build(self, names: list[str]) -> dict[str, Fault | None]:
        words = ["-C", str(self.root), "build", "--json", *names]
        done = subprocess.run(
            [sys.executable, "-m", "tinybuild", *words],
            env={**self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        told = _answer(done.stdout)
        wrong = "\n".join(told.failed) or done.stderr.strip()
        lost = {*names} - {*told.outcomes}
        if lost or (told.failed and not names) or not told.outcomes:
            raise BuildFault.of(
                wrong or f"the zoo has no recipe {', '.join(sorted(lost))}".rstrip()
            )
        return {
            name: None if outcome in GOOD else BuildFault.of(wrong or f"{name} was not built")
            for name, outcome in told.outcomes.items()
        }


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What a build answers. outcomes: by recipe. failed: the messages."""

    outcomes: Mapping[str, str] = field(default_factory=dict)
    failed: tuple[str, ...] = ()


def _answer(text: str) -> _Told:
    """What `build --json` prints; nothing where the build did not begin."""
    try:
        told = json.loads(text)
        outcomes = {str(row["recipe"]): str(row["outcome"]) for row in told["recipes"]}
        return _Told(outcomes=outcomes, failed=tuple(str(one["message"]) for one in told["failed"]))
    except (ValueError, KeyError, TypeError):
        return _Told()


def one(zoo: Zoo, name: str) -> Bundle:
    """A bundle of a zoo, built if need be. Raises Fault."""
    if fault := zoo.built([name])[name]:
        raise fault
    return Bundle(zoo.bundles / name)


def _lacking(name: str, have: Iterable[str]) -> Fault:
    return BuildFault.of(f"there is no bundle {name}", hint=did_you_mean(name, have))


def find(given: str | Path | None, start: Path | None = None) -> Zoo:
    """The zoo that is given, or else named by TINYBUILD_ZOO, or the nearest at or above `start`
    (the current folder), or the recipes that come with tinybuild, in the user's cache.

    Raises RecipeFault.
    """
    named = given or os.environ.get(VARIABLE)
    if named:
        root = Path(named).resolve()
        if (root / "recipes").is_dir():
            return Zoo(root=root, builds=True)
        if any(root.glob(f"*/{SUMS}")):
            return Zoo(root=root, builds=False)
        what = f"{named} is neither a zoo nor a folder of bundles"
        raise RecipeFault.of(what, hint="a zoo is a folder with recipes/, one of bundles its dist/")
    start = start or Path.cwd()
    for folder in [start, *start.parents]:
        if _is_zoo(folder):
            return Zoo(root=folder, builds=True)
    return Zoo(root=_own(), builds=True)


def _is_zoo(folder: Path) -> bool:
    """Whether recipes/ holds recipes of ours: other projects have folders of that name."""
    dodo = folder / "dodo.py"
    if not (folder / "recipes").is_dir():
        return False
    if dodo.is_file() and b"tinybuild" in dodo.read_bytes():
        return True
    files = (folder / "recipes").glob("*.yaml")
    return any(re.search(rb"^version: *1$", file.read_bytes(), re.M) for file in files)


def _own() -> Path:
    """The zoo of tinybuild's own recipes; other recipes are in another folder."""
    texts = {file.name: file.read_text(encoding="utf-8") for file in sorted(OWN.glob("*.yaml"))}
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(cache) / "tinybuild" / digest(texts)[:16]
    for name, text in texts.items():
        if not (root / "recipes" / name).is_file():
            write(root / "recipes" / name, text)
    return root
