"""Recipes remembered by the sha256 of their text, so that an unchanged one is not checked again."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypedDict, cast

from tinybuild.errors import Fault, RecipeFault
from tinybuild.files import Memo, digest
from tinybuild.recipe import lock, zoofile
from tinybuild.recipe.contract import contract
from tinybuild.recipe.wish import Broken, Recipe
from tinybuild.sections import Publish, Sections
from tinybuild.source import Pin


class Entry(TypedDict):
    """What is kept of a recipe: its data, and the digest of its text."""

    data: Sections
    text: str


NONE: Mapping[str, str] = MappingProxyType({})
# What to do about a recipe's file that cannot be opened.
UNREAD: Mapping[type[OSError], str] = {
    FileNotFoundError: "it is a link that leads nowhere: mend it, or delete it",
    IsADirectoryError: "a recipe is a file: give the folder another name",
}


class Cache:
    """Checked recipes by the sha256 of their text, so that an unchanged zoo of 1,000 is read in the
    time of its stat calls. With another schema or other `code` (file -> sha256) of the reader, all
    are forgotten. forgiving: a lock that cannot be read counts as none."""

    def __init__(self, path: Path, memo: Memo, code: Mapping[str, str] = NONE):
        self.path, self.memo, self.read_anew = path, memo, False
        self.stamp = digest([contract("recipe"), contract("lock"), dict(code)])
        self.known: Mapping[str, Entry] = {}
        self.known_locks: frozenset[str] = frozenset()  # digests of those that are well-formed
        # Whatever is wrong with the file, it is only a cache.
        with contextlib.suppress(
            OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError
        ):
            loaded = json.loads(path.read_text())
            kept = loaded["recipes"], loaded["locks"]
            if loaded["stamp"] == self.stamp and loaded["digest"] == digest(kept):
                self.known, self.known_locks = dict(kept[0]), frozenset(kept[1])
        self.forgiving = False
        self.used: dict[str, Entry] = {}
        self.used_locks: set[str] = set()

    def read(self, file: Path, shown: str, group: str) -> Recipe | Broken:
        """The recipe in a file, or why there is none."""
        try:
            key = self.memo.sha256(str(file)) or ""
            entry = self.known.get(key)
            if entry is None:
                from tinybuild.recipe.reading import check, own_digest

                text = file.read_bytes()
                entry = {"data": check(text, shown), "text": own_digest(text)}
                # The file may have changed since it was hashed.
                key, self.read_anew = hashlib.sha256(text).hexdigest(), True
            self.used[key] = entry
            return Recipe(
                name=file.stem,
                file=file,
                group=group,
                data=entry["data"],
                sha256=entry["text"],
                pins=self._pins(file),
            )
        except OSError as error:
            hint = UNREAD.get(type(error), f"`ls -ld {shown}` says whose it is, and who may")
            fault = RecipeFault.of(f"cannot be read ({error.strerror})", where=shown, hint=hint)
        except Fault as wrong:
            fault = wrong
        return Broken(name=file.stem, file=file, group=group, fault=fault)

    def _pins(self, file: Path) -> Mapping[str, Pin]:
        try:
            return lock.read(file, self.known_locks, self.used_locks)
        except Fault:
            if self.forgiving:
                return {}
            raise

    def common(self, file: Path, shown: str) -> Publish:
        """What zoo.yaml says for all recipes; nothing where there is none. Raises RecipeFault."""
        key = f"{shown} {self.memo.sha256(str(file)) or ''}"
        entry = self.known.get(key)
        if entry is None:
            if not file.is_file():
                return zoofile.NONE
            found = zoofile.check(file.read_bytes(), shown)
            entry, self.read_anew = {"data": cast(Sections, found), "text": ""}, True
        self.used[key] = entry
        return cast(Publish, entry["data"])

    @property
    def dirty(self) -> bool:
        """Whether it holds more than its file."""
        return self.read_anew or not self.used_locks <= self.known_locks

    def content(self) -> str:
        """The text of the cache's file."""
        kept = self.used, sorted(self.used_locks)
        data = {"stamp": self.stamp, "digest": digest(kept), "recipes": kept[0], "locks": kept[1]}
        return json.dumps(data, separators=(",", ":"))
