"""Locks: the facts that a recipe's wishes resolved to, kept beside it as NAME.lock.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybuild import source
from tinybuild.errors import RecipeFault
from tinybuild.files import pretty, write

VERSION = 1
_PARTS = ("config", "split", "sample_by", "max_read")  # of a dataset's source


def place(recipe: Path) -> Path:
    """recipes/x.yaml -> recipes/x.lock.json"""
    return recipe.with_suffix(".lock.json")


def read(recipe: Path) -> dict[str, Any]:
    """The pins of a recipe's lock, slot -> facts; {} where there is none. Raises RecipeFault."""
    path = place(recipe)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise RecipeFault.of(f"the lock cannot be read ({why})", where=path.name) from None
    try:
        data = json.loads(text)
        version, pins = data["version"], data["pins"]
        for pin in pins.values():
            if not isinstance(pin["wish"], dict) or not isinstance(pin["files"], dict):
                raise TypeError
            kind = source.KINDS[source.kind_of(pin["wish"])]
            if not all(isinstance(pin[fact], str) for fact in kind.facts):
                raise TypeError
            for entry in pin["files"].values():
                if not isinstance(entry["sha256"], str) or not isinstance(entry["size"], int):
                    raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, StopIteration):
        raise RecipeFault.of(
            "the lock cannot be read", where=path.name, hint="delete it to make it anew"
        ) from None
    if version != VERSION:
        raise RecipeFault.of(
            f"version {version} of the lock is not known",
            where=path.name,
            hint=f"known: {VERSION}; it was written by another tinybuild",
        )
    return dict(pins)


def holding(pins: Mapping[str, Any], wishes: Mapping[str, Any]) -> dict[str, Any]:
    """The pins that still answer to the recipe's wishes; an edited wish is resolved anew.

    Which part of a dataset is read, and how much, is another part of the same upstream.
    """

    def upstream(wish: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in wish.items() if key not in _PARTS}

    return {
        slot: pin
        for slot, pin in pins.items()
        if slot in wishes and upstream(wishes[slot]) == upstream(pin["wish"])
    }


def save(recipe: Path, pins: Mapping[str, Any]) -> None:
    """Write the lock, or remove it when there is nothing to lock; unchanged, it is left alone."""
    path = place(recipe)
    if not pins:
        path.unlink(missing_ok=True)
        return
    text = pretty({"version": VERSION, "pins": pins})
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write(path, text)
