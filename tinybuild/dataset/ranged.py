"""Files that are read by ranges of bytes: what a repository of them offers, and streams of them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import IO, Protocol

from tinybuild.paths import Data

PIECE = 1 << 16  # bytes of the first range of a stream; each next one is twice as long ...
LONGEST = 1 << 22  # ... up to this


class Repository(Protocol):
    """Files that can be listed, sized and read by ranges, up to a bound: `source/` opens one of the
    Hub. Rows are chosen and read of it as of a local folder.

    label: what messages call it. sizes: name -> bytes. configs: the configs that it has where no
    card of its own says them, as a card would. about: what a card elsewhere says of it. limit and
    used: how many bytes may be read, and how many were.
    """

    @property
    def label(self) -> str: ...
    @property
    def sizes(self) -> Mapping[str, int]: ...
    @property
    def configs(self) -> Sequence[Data]: ...
    @property
    def about(self) -> Data: ...
    @property
    def limit(self) -> int: ...
    @property
    def used(self) -> int: ...

    def read(self, name: str, start: int, stop: int) -> bytes:
        """The bytes from start to before stop, with one request. Raises Spent, SourceFault."""

    def copy(
        self, name: str, start: int, stop: int, file: IO[bytes], inner: Sequence[int] = ()
    ) -> None:
        """Write a range to where `file` stands. The ranges between `inner` (places within it,
        ascending) are remembered each by itself."""


class Spent(Exception):
    """Reading on would take more bytes than the bound allows."""


class Ended(Exception):
    """Reading on would take more bytes than were read, and a stream was told not to."""


def left(files: Repository) -> int:
    """Bytes that may still be read."""
    return files.limit - files.used


def called(files: Repository, name: str) -> str:
    """What messages call a file."""
    return f"{name} of {files.label}"


class Stream(io.RawIOBase):
    """A file from its first byte on, in ranges that grow, as far as it is read.

    `begun` holds its first bytes as they were read, as many as `LONGEST`.
    """

    def __init__(self, files: Repository, name: str):
        self.files, self.name = files, name
        self.at, self.piece, self.held = 0, PIECE, memoryview(b"")
        self.begun = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self.held:
            stop = min(self.at + self.piece, self.files.sizes[self.name])
            if self.at >= stop:
                return 0
            stop = min(stop, self.at + left(self.files))
            if stop == self.at:
                raise Spent
            self.held = memoryview(self.files.read(self.name, self.at, stop))
            self.at, self.piece = stop, min(2 * self.piece, LONGEST)
            if len(self.begun) < LONGEST:
                self.begun += self.held
        count = min(len(buffer), len(self.held))
        buffer[:count], self.held = self.held[:count], self.held[count:]
        return count


class Begun(io.RawIOBase):
    """The bytes that were read of a stream, and no more: where they end, `Ended` is raised."""

    def __init__(self, data: bytes):
        self.held = memoryview(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), len(self.held))
        if not count:
            raise Ended
        buffer[:count], self.held = self.held[:count], self.held[count:]
        return count
