"""A store behind the one on this machine, at any URL that fsspec opens: S3, Google, SSH, a folder.

These are calls of the worker that reaches a network. What they bring is laid into the folder on
this machine, where it is read with suspicion like the rest; a file that came half is not one.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tinybuild.errors import BuildFault, PackageFault, install
from tinybuild.files import sha256
from tinybuild.store.folder import LAYOUT, Damaged, Folder
from tinybuild.store.kept import Blob, Kept, read
from tinybuild.store.sweep import GRACE, Bounds, Held, Swept, sweep, unused

DAY = 86400.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An entry to bring or to send. folder: the store on this machine, of which the layout is in
    `Folder`. writes: whether the far one may be written to."""

    url: str
    key: str
    folder: Path
    writes: bool


class Far:
    """A store at a URL: the layout of a folder."""

    def __init__(self, url: str) -> None:
        self.files, top = _opened(url)
        self.top = f"{top.rstrip('/')}/{LAYOUT}"

    def entry(self, key: str) -> str:
        return f"{self.top}/entries/{key[:2]}/{key}.json"

    def blob(self, digest: str) -> str:
        return f"{self.top}/files/{digest[:2]}/{digest}"

    def find(self, key: str) -> bytes | None:
        try:
            text: bytes = self.files.cat_file(self.entry(key))
        except FileNotFoundError:
            return None
        return text

    def has(self, blob: Blob) -> bool:
        try:
            return bool(self.files.info(self.blob(blob.sha256))["size"] == blob.size)
        except FileNotFoundError:
            return False

    def put(self, source: Path | bytes, target: str) -> None:
        """Write one file; a store of objects has no folders, others make them here."""

        def send() -> None:
            if isinstance(source, bytes):
                self.files.pipe_file(target, source)
            else:
                self.files.put_file(str(source), target)

        try:
            send()
        except FileNotFoundError:
            self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
            send()

    def forget(self, places: Iterable[str]) -> None:
        for place in places:
            with contextlib.suppress(OSError):
                self.files.rm_file(place)

    def used(self, key: str, text: bytes) -> None:
        """Write an entry anew, once a day: the longest unused go first, and objects keep no time
        but that of writing."""
        place = self.entry(key)
        with contextlib.suppress(OSError):
            if time.time() - self.files.modified(place).timestamp() > DAY:
                self.files.pipe_file(place, text)

    def held(self) -> Iterator[Held]:
        found = {place: used for place, _, used in self._listed("entries")}
        texts = self.files.cat([*found], on_error="omit") if found else {}
        for place, text in texts.items():
            kept = read(text, PurePosixPath(place).stem)
            if kept is not None:
                yield unused(kept, found[place])

    def loose(self, named: Collection[str], now: float) -> Iterator[tuple[str, int]]:
        for place, size, used in self._listed("files"):
            if PurePosixPath(place).name not in named and now - used > GRACE:
                yield place, size

    def drop(self, keys: Collection[str], places: Collection[str]) -> None:
        self.forget([*map(self.entry, keys), *places])

    def _listed(self, kind: str) -> Iterator[tuple[str, int, float]]:
        """The place, the bytes and the time (s) of each file of a kind."""
        for place, info in self.files.find(f"{self.top}/{kind}", detail=True).items():
            with contextlib.suppress(FileNotFoundError):  # another sweeper
                yield place, info["size"], self.files.modified(place).timestamp()


def _opened(url: str) -> tuple[Any, str]:
    """fsspec's file system, and the path in it; raises Fault where a package is not there."""
    from fsspec.core import url_to_fs
    from fsspec.registry import known_implementations

    kind = url.partition("://")[0]
    try:
        files, top = url_to_fs(url)
    except ImportError:
        hint = str(known_implementations.get(kind, {}).get("err", ""))
        hint = install("s3fs") if "s3fs" in hint else hint
        raise PackageFault.of(f"a store at {kind}:// needs another package", hint=hint) from None
    except ValueError as error:
        hint = "such as s3://BUCKET/FOLDER, or a folder of this machine"
        raise BuildFault.of(f"no store can be at {kind}:// ({error})", hint=hint) from None
    return files, top


def pull(asked: Asked) -> str:
    """Bring an entry with its files to the folder on this machine: "there", "missing" or "damaged".
    A damaged one is removed where that is allowed."""
    far, near = Far(asked.url), Folder(asked.folder)
    text = far.find(asked.key)
    if text is None:
        return "missing"
    kept, wrong = read(text, asked.key), list[str]()
    if kept is not None:
        near.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=near.root, prefix=".far-") as aside:
            wrong = _brought(far, near, kept, Path(aside))
    if kept is not None and not wrong:
        if asked.writes:
            far.used(asked.key, text)
        return "there"
    if asked.writes:
        far.forget([far.entry(asked.key), *wrong])
    return "damaged"


def _brought(far: Far, near: Folder, kept: Kept, aside: Path) -> list[str]:
    """Bring the files of an entry that are not here; the places of those that are not right."""
    lacking = {blob.sha256: blob for blob in kept.files.values() if not near.has(blob)}
    try:
        far.files.get(
            [far.blob(digest) for digest in lacking], [str(aside / digest) for digest in lacking]
        )
    except FileNotFoundError:
        return [far.entry(kept.key)]
    wrong = [digest for digest in lacking if sha256(aside / digest) != digest]
    if not wrong:
        near.keep(kept, {digest: aside / digest for digest in lacking})
    return [far.blob(digest) for digest in wrong]


def push(asked: Asked) -> None:
    """Send an entry and those of its files that are not there; the entry last. Raises OSError."""
    far, near = Far(asked.url), Folder(asked.folder)
    kept = None
    with contextlib.suppress(Damaged):
        kept = near.find(asked.key)
    if kept is None or far.find(asked.key) == kept.text().encode():
        return
    blobs: Mapping[str, Blob] = {blob.sha256: blob for blob in kept.files.values()}
    for digest, blob in blobs.items():
        if not far.has(blob):
            far.put(near.blob(digest), far.blob(digest))
    far.put(kept.text().encode(), far.entry(asked.key))


@dataclass(frozen=True, kw_only=True)
class Sweeping:
    """A far store to sweep. now: in seconds. dry: only say what would go."""

    url: str
    bounds: Bounds
    now: float
    dry: bool


def swept(asked: Sweeping) -> Swept:
    """Remove from a far store what is out of bounds. Raises Fault, OSError."""
    return sweep(Far(asked.url), asked.bounds, asked.now, dry=asked.dry)
