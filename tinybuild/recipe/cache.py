"""Recipes remembered by the sha256 of their text, so that an unchanged one is not checked again."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from tinybuild.errors import Fault, RecipeFault
from tinybuild.files import Memo, digest, sha256
from tinybuild.recipe.contract import contract
from tinybuild.recipe.reading import Broken, Recipe, read
from tinybuild.sections import Sections


class Entry(TypedDict):
    """What is kept of a recipe: its data, and the digest of its text."""

    data: Sections
    text: str


# What recipe/ asks to say whether a recipe is well-formed.
ASKED = ("config/heads.py", "dataset/parts.py", "tokenizer/__init__.py")


class Cache:
    """Checked recipes by the sha256 of their text, so that an unchanged zoo of 1,000 is read in the
    time of its stat calls. A changed schema or reader forgets everything."""

    def __init__(self, path: Path, memo: Memo):
        self.path, self.memo, self.dirty = path, memo, False
        package = Path(__file__).parents[1]
        readers = [*sorted(Path(__file__).parent.glob("*.py")), *(package / name for name in ASKED)]
        self.stamp = digest([contract("recipe"), *map(sha256, readers)])
        self.known: Mapping[str, Entry] = {}
        # Whatever is wrong with the file, it is only a cache.
        with contextlib.suppress(
            OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError
        ):
            loaded = json.loads(path.read_text())
            if loaded["stamp"] == self.stamp and loaded["digest"] == digest(loaded["recipes"]):
                self.known = dict(loaded["recipes"])
        self.used: dict[str, Entry] = {}

    def read(self, file: Path, shown: str, group: str) -> Recipe | Broken:
        """The recipe in a file, or why there is none."""
        try:
            key = self.memo.sha256(str(file))
            entry = self.known.get(key) if key is not None else None
            if entry is not None and key is not None:
                self.used[key] = entry
                return Recipe(
                    name=file.stem, file=file, group=group, data=entry["data"], sha256=entry["text"]
                )
            text = file.read_bytes()
            recipe = read(file, shown, group, text)
        except OSError as error:
            fault = RecipeFault.of(f"cannot be read ({error.strerror})", where=shown)
            return Broken(name=file.stem, file=file, group=group, fault=fault)
        except Fault as fault:
            return Broken(name=file.stem, file=file, group=group, fault=fault)
        # The key is that of the text just read: the file may have changed since it was hashed.
        self.used[hashlib.sha256(text).hexdigest()] = {"data": recipe.data, "text": recipe.sha256}
        self.dirty = True
        return recipe

    def content(self) -> str:
        """The text of the cache's file."""
        data = {"stamp": self.stamp, "digest": digest(self.used), "recipes": self.used}
        return json.dumps(data, separators=(",", ":"))
