"""What a store holds, and what goes when it has become too old or too large."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild.files import remove
from tinybuild.store.folder import Folder
from tinybuild.store.kept import read

# What a writer is about to name in an entry is younger than this; nobody needs an hour for that.
GRACE = 3600.0


@dataclass(frozen=True, kw_only=True)
class Held:
    """An entry. used: when it was written or taken last, in seconds. files: size by sha256."""

    key: str
    used: float
    files: Mapping[str, int]


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


def held(folder: Folder) -> list[Held]:
    """The entries that can be read, the longest unused first."""
    found = list[Held]()
    for path in folder.root.glob("entries/*/*.json"):
        with contextlib.suppress(OSError):
            kept, used = read(path.read_bytes(), path.stem), path.stat().st_mtime
            if kept is not None:
                files = {blob.sha256: blob.size for blob in kept.files.values()}
                found.append(Held(key=path.stem, used=used, files=files))
    return sorted(found, key=lambda one: (one.used, one.key))


def total(entries: Collection[Held]) -> int:
    """Bytes of the files of entries, each once."""
    return sum({digest: size for one in entries for digest, size in one.files.items()}.values())


def sweep(folder: Folder, bounds: Bounds, now: float, *, dry: bool = False) -> Swept:
    """Remove what is out of bounds, the longest unused first, then files that no entry names.

    Beside writers and readers: a file that an entry lost is a miss, and is made again.
    """
    every = held(folder)
    going = {one.key for one in _going(every, bounds, now)}
    stay = [one for one in every if one.key not in going]
    named = {digest for one in stay for digest in one.files}
    if not dry:
        for key in going:
            folder.forget(key)
    freed = 0
    for path, size in _loose(folder, named, now):
        freed += size
        if not dry:
            with contextlib.suppress(OSError):
                remove(path)
    if not dry:
        _unlock(folder)
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


def _loose(folder: Folder, named: Collection[str], now: float) -> Iterator[tuple[Path, int]]:
    """Files that no entry names, with their size, and what killed writers left; none that somebody
    may be about to name."""
    for path in [*folder.root.glob("files/*/*"), *folder.root.glob(".far-*")]:
        with contextlib.suppress(OSError):
            info = path.lstat()
            if path.name not in named and now - info.st_mtime > GRACE:
                yield path, info.st_size


def _unlock(folder: Folder) -> None:
    """Remove the locks that nobody holds."""
    for path in folder.root.glob("making/.lock.*"):
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(handle)
