"""What was read of the Hub's datasets, kept on this machine for all recipes.

Below HF_HOME, in the folder tinybuild: `ranges/OID/START-STOP-SHA256` holds bytes of the file that
the Hub lists by that digest, `listings/` what it says of a commit, which never changes. All of it
may be removed at any time; a build that needs it again asks the Hub.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from tinybuild.files import sha256, write
from tinybuild.paths import Json

MOST = 1 << 22  # bytes that are given at once
_NAME = re.compile(r"(\d+)-(\d+)-([0-9a-f]{64})")
_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Ranges:
    """Ranges and listings in a folder. `served`: whether anything was given from it.

    fresh: nothing is given; what is written takes the place of what was there. A folder that
    cannot be written, or is damaged, costs time and nothing else.
    """

    def __init__(self, folder: Path, fresh: bool = False):
        self.folder, self.fresh, self.served = folder, fresh, False
        self.right: set[Path] = set()  # ranges whose bytes were held to their digest

    def found(self, oid: str, start: int, stop: int) -> bytes:
        """The bytes of a file from `start` on that are here, before `stop`; b"" where none are."""
        if self.fresh:
            return b""
        for path, begin, end in self._ranges(oid):
            if begin <= start < end and self._right(path):
                with contextlib.suppress(OSError), path.open("rb") as file:
                    file.seek(start - begin)
                    data = file.read(min(stop, end, start + MOST) - start)
                    self.served = self.served or bool(data)
                    return data
        return b""

    @contextlib.contextmanager
    def writing(self, oid: str, start: int) -> Iterator[Written]:
        """What is written becomes a range that begins at `start`, also where an error ends it."""
        written = Written()
        if _OID.fullmatch(oid):
            with contextlib.suppress(OSError):
                place = self._place(oid)
                place.mkdir(parents=True, exist_ok=True)
                handle, written.name = tempfile.mkstemp(dir=place, prefix=".")
                written.file = os.fdopen(handle, "wb")
        try:
            yield written
        finally:
            if written.file is not None:
                with contextlib.suppress(OSError):
                    written.file.close()
                    self._put(oid, start, written)
                Path(written.name).unlink(missing_ok=True)

    def _put(self, oid: str, start: int, written: Written) -> None:
        if not written.size or written.failed:
            return
        stop = start + written.size
        for path, begin, end in self._ranges(oid):
            if begin <= start and stop <= end and not self.fresh:
                return
            if self.fresh and begin < stop and start < end:
                path.unlink(missing_ok=True)
        place = self._place(oid) / f"{start}-{stop}-{written.digest.hexdigest()}"
        os.replace(written.name, place)

    def told(self, name: str, ask: Callable[[], Json]) -> Json:
        """What the Hub says of a commit (`name` holds it): asked for once."""
        path = self.folder / "listings" / f"{name}.json"
        if not self.fresh:
            with contextlib.suppress(OSError, ValueError, RecursionError):
                data: dict[str, Json] = json.loads(path.read_bytes())
                self.served = True
                return data["said"]
        said = ask()
        with contextlib.suppress(OSError):
            write(path, json.dumps({"said": said}))
        return said

    def _place(self, oid: str) -> Path:
        return self.folder / "ranges" / oid

    def _ranges(self, oid: str) -> list[tuple[Path, int, int]]:
        """(path, start, stop) of the ranges of a file that are here."""
        with contextlib.suppress(OSError):
            names = sorted(os.listdir(self._place(oid))) if _OID.fullmatch(oid) else []
            return [
                (self._place(oid) / name, int(match[1]), int(match[2]))
                for name in names
                if (match := _NAME.fullmatch(name))
            ]
        return []

    def _right(self, path: Path) -> bool:
        """Whether a range has the bytes that its name says; one that does not is removed."""
        if path not in self.right:
            with contextlib.suppress(OSError):
                if sha256(path) == path.name.rpartition("-")[2]:
                    self.right.add(path)
                else:
                    path.unlink()
        return path in self.right


class Written:
    """What is written of a range; where there is no room for it, nothing is kept."""

    def __init__(self) -> None:
        self.file: IO[bytes] | None = None
        self.name = ""
        self.size, self.failed, self.digest = 0, False, hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.file is not None and not self.failed:
            try:
                self.file.write(data)
                self.digest.update(data)
            except OSError:
                self.failed = True
