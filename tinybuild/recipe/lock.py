"""Locks: the facts that a recipe's wishes resolved to, kept beside it as NAME.lock.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import cast

from tinybuild.errors import Finding, RecipeFault
from tinybuild.files import pretty, write
from tinybuild.paths import Json
from tinybuild.sections import DatasetSource, Source
from tinybuild.source import KINDS, Pin

VERSION = 1
Pinned = Mapping[str, Mapping[str, Json]]  # a pin as JSON data
# Which part of a dataset is read, and how much of it: another part of the same upstream.
PARTS = DatasetSource.__annotations__.keys() - Source.__annotations__.keys()
ANEW = "delete the lock: the next build writes it anew"


def place(recipe: Path) -> Path:
    """recipes/x.yaml -> recipes/x.lock.json"""
    return recipe.with_suffix(".lock.json")


def read(recipe: Path, known: Collection[str] = (), used: set[str] | None = None) -> dict[str, Pin]:
    """The pins of a recipe's lock by slot; {} where there is none. Raises RecipeFault.

    known: digests of texts that are as the contract says, and need not be held against it again.
    used: takes the digest of this one.
    """
    path = place(recipe)
    try:
        text = path.read_bytes()
        data = json.loads(text)
    except FileNotFoundError:
        return {}
    except OSError as error:
        what = f"the lock cannot be read ({error.strerror})"
        raise RecipeFault.of(what, where=path.name) from None
    except (ValueError, RecursionError) as error:
        what = f"the lock is not JSON ({error})"
        raise RecipeFault.of(what, where=path.name, hint=ANEW) from None
    digest = hashlib.sha256(text).hexdigest()
    if digest not in known and (wrong := list(_wrong(data))):
        raise RecipeFault(
            Finding(what=finding.what, where=path.name, hint=finding.hint or ANEW)
            for finding in dict.fromkeys(wrong)
        )
    if used is not None:
        used.add(digest)
    return {slot: Pin.read(pin) for slot, pin in data["pins"].items()}


def _wrong(data: Json) -> Iterator[Finding]:
    """What of a lock is not as the contract says, or lacks a fact that its kind of source needs."""
    from tinybuild.recipe.contract import errors
    from tinybuild.recipe.words import findings, missing

    if isinstance(data, dict) and data.get("version", VERSION) != VERSION:
        what = f"version {data['version']} of the lock is not known"
        hint = f"known: {VERSION}; it was written by another tinybuild"
        yield Finding(what=what, hint=hint)
        return
    wrong = [said for error in errors("lock", data) for said in findings(error, "the lock")]
    yield from wrong
    if wrong:
        return
    for slot, pin in cast("Mapping[str, Mapping[str, Pinned]]", data)["pins"].items():
        for kind in [kind for kind in KINDS if kind in pin["wish"]]:
            for fact in [fact for fact in KINDS[kind].facts if fact not in pin]:
                yield missing(("pins", slot), f"pins.{slot}", fact)


def holding(pins: Mapping[str, Pin], wishes: Mapping[str, Mapping[str, Json]]) -> dict[str, Pin]:
    """The pins that still answer to the recipe's wishes; an edited wish is resolved anew."""

    def upstream(wish: Mapping[str, Json]) -> dict[str, Json]:
        return {key: value for key, value in wish.items() if key not in PARTS}

    return {
        slot: pin
        for slot, pin in pins.items()
        if slot in wishes and upstream(wishes[slot]) == upstream(pin.wish)
    }


def save(recipe: Path, pins: Mapping[str, Pin]) -> None:
    """Write the lock, or remove it when there is nothing to lock; unchanged, it is left alone."""
    path = place(recipe)
    if not pins:
        path.unlink(missing_ok=True)
        return
    text = pretty({"version": VERSION, "pins": {slot: pin.json() for slot, pin in pins.items()}})
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write(path, text)
