"""What a store keeps of one piece of work: its files by sha256, and its facts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from tinybuild import wire
from tinybuild.files import Entry, canonical
from tinybuild.paths import Data
from tinybuild.wire import Misshapen

VERSION = 1
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A file, by its bytes."""

    sha256: str
    size: int

    def entry(self) -> Entry:
        """As a receipt has it."""
        return {"sha256": self.sha256, "size": self.size}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a piece of work made. key: the digest of what decides it. files: by their path."""

    version: int
    key: str
    files: Mapping[str, Blob]
    facts: Data

    def text(self) -> str:
        """As it stands in a store: equal work has equal bytes."""
        return canonical(wire.dump(self)).decode() + "\n"

    def sha256(self) -> str:
        """What signs it off: with the digests of the files, all that is taken."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def read(text: bytes, key: str) -> Kept | None:
    """From a store's text; None unless it is whole, of this key, and its paths stay where they
    belong: nobody knows who wrote it."""
    try:
        kept = wire.load(Kept, json.loads(text))
        kept.text()  # numbers and letters that no receipt can hold
    except (Misshapen, ValueError, RecursionError):
        return None
    sound = kept.version == VERSION and kept.key == key
    if not sound or not all(_plain(name) for name in kept.files):
        return None
    return kept if all(SHA256.fullmatch(blob.sha256) for blob in kept.files.values()) else None


def _plain(name: str) -> bool:
    """Whether a name is that of a file below a folder, written in the one way there is."""
    path = PurePosixPath(name)
    return (
        name == path.as_posix()
        and not path.is_absolute()
        and name != "."
        and ".." not in path.parts
        and not {"\\", "\0"} & {*name}
    )
