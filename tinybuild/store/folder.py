"""A store in a folder: entries by key, and files by sha256, read with suspicion.

A file is never changed: it comes to its place complete, by one rename, and an entry after all of
its files. So a reader sees a whole entry or none, also beside other writers and after a kill, and
two that write the same do no harm. What is taken is a copy (a clone where the file system has
them), and its digest is that of the copy: who edits it later edits nothing here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tinybuild.files import locked, remove, sha256, write
from tinybuild.store.kept import Blob, Kept, read

LAYOUT = "v1"
_CLONE = 0x40049409  # FICLONE of linux/fs.h: share the blocks until one of the two is written to


class Damaged(Exception):
    """An entry or a file of it is not what it was; it is removed where the store may be written."""


class Folder:
    """The store in one folder. writes: whether anything may be written there."""

    def __init__(self, root: Path, *, writes: bool = True) -> None:
        self.root, self.writes = root / LAYOUT, writes

    def entry(self, key: str) -> Path:
        return self.root / "entries" / key[:2] / f"{key}.json"

    def blob(self, digest: str) -> Path:
        return self.root / "files" / digest[:2] / digest

    def find(self, key: str) -> Kept | None:
        """The entry of a key, its files unread; None where there is none. Raises Damaged."""
        try:
            text = self.entry(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        kept = read(text, key)
        if kept is None:
            self.forget(key)
            raise Damaged
        return kept

    def take(self, kept: Kept, out: Path) -> bool:
        """Lay an entry's files into an empty folder; False where one is not there any more, and
        then nothing is laid. Raises Damaged."""
        wrong, whole = list[str](), False
        try:
            for name, blob in kept.files.items():
                if not transfer(self.blob(blob.sha256), out / name, blob):
                    wrong.append(blob.sha256)
            whole = not wrong
        except FileNotFoundError:
            self.forget(kept.key)
        finally:
            if not whole:
                for path in out.iterdir():
                    remove(path)
        if wrong:
            self.forget(kept.key, *wrong)
            raise Damaged
        if whole:
            with contextlib.suppress(OSError):  # it was used: the oldest go first
                os.utime(self.entry(kept.key))
        return whole

    def keep(self, kept: Kept, files: Mapping[str, Path]) -> bool:
        """Write an entry. files: where those that may not be here yet lie, by digest. False, and
        nothing is written, where one was edited meanwhile. Raises OSError."""
        for blob in kept.files.values():
            if not self._hold(blob, files.get(blob.sha256)):
                return False
        write(self.entry(kept.key), kept.text())
        return True

    def _hold(self, blob: Blob, source: Path | None) -> bool:
        """Have a file by its digest; False where the one that is given is another."""
        place = self.blob(blob.sha256)
        if source is None or self.has(blob):
            with contextlib.suppress(OSError):
                os.utime(place)  # it is in use: nobody should sweep it away now
            return self.has(blob)
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=".new-")
        os.close(handle)
        try:
            if not transfer(source, Path(temporary), blob):
                return False
            os.chmod(temporary, 0o444)
            os.replace(temporary, place)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return True

    def has(self, blob: Blob) -> bool:
        """Whether a file of this digest and size is there; its bytes are looked at when it is
        taken."""
        try:
            info = self.blob(blob.sha256).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return stat.S_ISREG(info.st_mode) and info.st_size == blob.size

    def forget(self, key: str, *wrong: str) -> None:
        """Remove an entry, and damaged files of it."""
        for path in (self.entry(key), *map(self.blob, wrong)) if self.writes else ():
            with contextlib.suppress(OSError):
                remove(path)

    @contextlib.contextmanager
    def making(self, key: str, waiting: Callable[[], None]) -> Iterator[bool]:
        """Hold the right to make what a key stands for; True if somebody else had it meanwhile.
        Where the folder has no locks to give (it is read-only, or a network's), all may."""
        with contextlib.ExitStack() as stack:
            waited = False
            if self.writes:
                with contextlib.suppress(OSError):
                    place = self.root / "making" / key
                    waited = stack.enter_context(locked(place, waiting))
            yield waited


def transfer(source: Path, target: Path, blob: Blob) -> bool:
    """Copy or clone a file; whether the copy is the file that is meant. Raises OSError."""
    if not stat.S_ISREG(source.lstat().st_mode):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    if not _cloned(source, target):
        shutil.copyfile(source, target)
    return target.stat().st_size == blob.size and sha256(target) == blob.sha256


def _cloned(source: Path, target: Path) -> bool:
    """Whether the file system could make a copy that shares its blocks."""
    with source.open("rb") as read, target.open("wb") as written:
        try:
            fcntl.ioctl(written.fileno(), _CLONE, read.fileno())
        except OSError:
            return False
    return True
