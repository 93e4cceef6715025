"""What a store holds, and what goes when it has become too old or too large."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tinybuild.files import remove
from tinybuild.store.folder import Folder
from tinybuild.store.kept import Kept, read

# What a writer is about to name in an entry is younger than this; nobody needs an hour for that.
GRACE = 3600.0


@dataclass(frozen=True, kw_only=True)
class Held:
    """An entry. used: when it was written or taken last, in seconds. files: size by sha256."""

    key: str
    used: float
    files: Mapping[str, int]


class Shelf(Protocol):
    """A store that can be swept: the one on this machine, or one at a URL (`store.far`)."""

    def held(self) -> Iterator[Held]:
        """The entries that can be read. Raises OSError."""

    def loose(self, named: Collection[str], now: float) -> Iterator[tuple[str, int]]:
        """Files that no entry names, with their size, and what killed writers left; none that
        somebody may be about to name."""

    def drop(self, keys: Collection[str], places: Collection[str]) -> None:
        """Remove entries, then files that `loose` said."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What may stay. age: seconds since an entry was used; size: bytes of all files; None: any.
    roots: the keys of entries that stay in any case."""

    age: float | None = None
    size: int | None = None
    roots: Collection[str] = ()


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What went, and what stays."""

    entries: int
    bytes: int
    left: int
    left_bytes: int


def total(entries: Collection[Held]) -> int:
    """Bytes of the files of entries, each once."""
    return sum({digest: size for one in entries for digest, size in one.files.items()}.values())


def sweep(shelf: Shelf, bounds: Bounds, now: float, *, dry: bool = False) -> Swept:
    """Remove what is out of bounds, the longest unused first, then files that no entry names.

    Beside writers and readers: a file that an entry lost is a miss, and is made again.
    """
    every = oldest(shelf.held())
    going = {one.key for one in _going(every, bounds, now)}
    stay = [one for one in every if one.key not in going]
    loose = dict(shelf.loose({digest for one in stay for digest in one.files}, now))
    if not dry:
        shelf.drop(going, loose)
    freed = sum(loose.values())
    return Swept(entries=len(going), bytes=freed, left=len(stay), left_bytes=total(stay))


def _going(every: Collection[Held], bounds: Bounds, now: float) -> Iterator[Held]:
    """The entries that are out of bounds."""
    users = Counter(digest for one in every for digest in one.files)
    size = total(every)
    for one in every:
        old = bounds.age is not None and now - one.used > bounds.age
        large = bounds.size is not None and size > bounds.size
        if (old or large) and one.key not in bounds.roots:
            yield one
            users.subtract(one.files.keys())
            size -= sum(size for digest, size in one.files.items() if not users[digest])


def unused(kept: Kept, used: float) -> Held:
    """What an entry holds. used: when it was, in seconds."""
    files = {blob.sha256: blob.size for blob in kept.files.values()}
    return Held(key=kept.key, used=used, files=files)


def oldest(found: Iterable[Held]) -> list[Held]:
    """The longest unused first."""
    return sorted(found, key=lambda one: (one.used, one.key))


@dataclass(frozen=True)
class Near:
    """The store on this machine."""

    folder: Folder

    def held(self) -> Iterator[Held]:
        for path in self.folder.root.glob("entries/*/*.json"):
            with contextlib.suppress(OSError):
                kept = read(path.read_bytes(), path.stem)
                if kept is not None:
                    yield unused(kept, path.stat().st_mtime)

    def loose(self, named: Collection[str], now: float) -> Iterator[tuple[str, int]]:
        root = self.folder.root
        for path in [*root.glob("files/*/*"), *root.glob(".far-*")]:
            with contextlib.suppress(OSError):
                info = path.lstat()
                if path.name not in named and now - info.st_mtime > GRACE:
                    yield str(path), info.st_size

    def drop(self, keys: Collection[str], places: Collection[str]) -> None:
        for key in keys:
            self.folder.forget(key)
        for place in places:
            with contextlib.suppress(OSError):
                remove(Path(place))
        self._unlock()

    def _unlock(self) -> None:
        """Remove the locks that nobody holds."""
        for path in self.folder.root.glob("making/.lock.*"):
            with contextlib.suppress(OSError):
                handle = os.open(path, os.O_RDWR)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(handle)
