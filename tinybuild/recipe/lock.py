"""Locks: the facts that a recipe's wishes resolved to, kept beside it as NAME.lock.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tinybuild import named, source
from tinybuild.errors import Fault, Finding, RecipeFault
from tinybuild.files import pretty, write
from tinybuild.paths import Json
from tinybuild.sections import DatasetSource, Source
from tinybuild.source import KINDS, Entry, Pin, Wish
from tinybuild.source.pins import check_sizes, taken, title

if TYPE_CHECKING:
    from tinybuild.recipe.wish import Recipe

VERSION = 1
Pinned = Mapping[str, Mapping[str, Json]]  # a pin as JSON data
# Which part of a dataset is read, and how much of it: another part of the same upstream.
PARTS = DatasetSource.__annotations__.keys() - Source.__annotations__.keys()
# Set to 1, or in CI (CI=true, unless it is 0): every lock must hold, and none is written.
LOCKED = "TINYBUILD_LOCKED"


def place(recipe: Path) -> Path:
    """recipes/x.yaml -> recipes/x.lock.json"""
    return recipe.with_suffix(".lock.json")


def anew(name: str) -> str:
    """What to do about a recipe's lock."""
    return f"tinybuild update {name} writes it anew"


def frozen(environment: Mapping[str, str]) -> bool:
    """Whether locks must hold as they are: nothing is resolved, and none is written."""
    given = environment.get(LOCKED) or environment.get("CI", "")
    return given.lower() in ("1", "true", "yes", "on")


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
        raise RecipeFault.of(what, where=path.name, hint=anew(recipe.stem)) from None
    digest = hashlib.sha256(text).hexdigest()
    if digest not in known and (wrong := list(_wrong(data))):
        raise RecipeFault(
            Finding(what=what, where=path.name, hint=hint or anew(recipe.stem))
            for what, hint in dict.fromkeys(wrong)
        )
    if used is not None:
        used.add(digest)
    return {slot: Pin.read(pin) for slot, pin in data["pins"].items()}


def _wrong(data: Json) -> Iterator[tuple[str, str]]:
    """(what, hint) of what is not as the contract says, or not what fresh resolving would give; no
    hint where the lock is to be written anew."""
    from tinybuild.recipe.contract import errors
    from tinybuild.recipe.words import findings

    if isinstance(data, dict) and data.get("version", VERSION) != VERSION:
        what = f"version {data['version']} of the lock is not known"
        yield what, f"known: {VERSION}; it was written by another tinybuild"
        return
    wrong = [said.what for error in errors("lock", data) for said in findings(error, "the lock")]
    yield from ((what, "") for what in wrong)
    if wrong:
        return
    for slot, pin in cast("Mapping[str, Mapping[str, Pinned]]", data)["pins"].items():
        for kind in [kind for kind in KINDS if kind in pin["wish"]]:
            for fact in [fact for fact in KINDS[kind].facts if fact not in pin]:
                yield f"pins.{slot} has no {fact}", ""
            if KINDS[kind].locked:
                wish = Wish(slot=slot, kind=kind, data=pin["wish"], base=Path())
                yield from ((what, "") for what in _untrue(wish, Pin.read(pin).files))


def _untrue(wish: Wish, files: Mapping[str, Entry]) -> Iterator[str]:
    """What of the files of a pin could not have come from its wish: somebody wrote it by hand."""
    place = f"pins.{wish.slot}.files"
    if not files:
        yield f"{place} is empty"
    for name, entry in files.items():
        if not taken(wish, name) or name.startswith("/") or ".." in name.split("/"):
            yield f"{place} names {name}, which is not fetched"
        elif wish.slot == "dataset" and KINDS[wish.kind].rows is not None:
            yield from (f"{place}.{name} {what}" for what in _unread(entry))
        elif entry.ranges or entry.whole:
            yield f"{place}.{name} was not read in parts"
        else:
            try:
                check_sizes(wish, [(name, entry.size)])
            except Fault as fault:
                yield from (finding.what for finding in fault.findings)


def _unread(entry: Entry) -> Iterator[str]:
    """What cannot be of a file that was read in parts."""
    if entry.whole is None or not entry.ranges:
        yield "does not say which ranges were read, and of what"
        return
    size = 0
    for place in entry.ranges:
        start, stop = map(int, place.split("-"))
        size += stop - start
        if not start < stop <= entry.whole.size:
            yield f"cannot have the range {place}: it has {entry.whole.size:,} bytes"
            return
    if size != entry.size:
        yield f"has ranges of {size:,} bytes, not {entry.size:,}"


def holding(pins: Mapping[str, Pin], wishes: Mapping[str, Mapping[str, Json]]) -> dict[str, Pin]:
    """The pins that still answer to the recipe's wishes; an edited wish is resolved anew. Whether
    those of parts that a source's config names do, fetch sees where they are not among the wishes.
    """

    def upstream(wish: Mapping[str, Json]) -> dict[str, Json]:
        return {key: value for key, value in wish.items() if key not in PARTS}

    return {
        slot: pin
        for slot, pin in pins.items()
        if (
            upstream(wishes[slot]) == upstream(pin.wish)
            if slot in wishes
            else named.is_part(slot) and named.owner(slot) in wishes
        )
    }


def wanted(recipe: Recipe) -> dict[str, Wish]:
    """What of a recipe is to be locked, as far as that is known without a fetch: a config that has
    to be fetched names what its lock says."""
    wishes = dict[str, Wish]()
    for wish in source.wishes(recipe.data, recipe.file.parent):
        if KINDS[wish.kind].locked:
            wishes[wish.slot] = wish
        wishes |= {part.slot: part for part in source.parts(wish)}
        for slot, pin in recipe.pins.items() if not KINDS[wish.kind].here else ():
            if named.is_part(slot) and named.owner(slot) == wish.slot:
                wishes[slot] = Wish(slot=slot, kind="hub", data=pin.wish, base=wish.base)
    return wishes


def unfit(recipe: Recipe) -> tuple[Finding, ...]:
    """Why a recipe's lock does not answer to its wishes; nothing where it does."""
    wishes, what = wanted(recipe), list[str]()
    for slot, wish in wishes.items():
        pin = recipe.pins.get(slot)
        if pin is None:
            what.append(f"there is no lock for {slot} ({title(wish)})")
            continue
        for key in sorted((wish.data.keys() | pin.wish.keys()) - PARTS):
            asked, held = wish.data.get(key), pin.wish.get(key)
            if asked != held:
                said = "is not given" if asked is None else f"is {asked!r}"
                known = "has none" if held is None else f"has {held!r}"
                what.append(f"{slot}.{key} {said} in the recipe; the lock {known}")
    for slot in sorted(recipe.pins.keys() - wishes.keys()):
        pinned = recipe.pins[slot].wish
        shown = f"{source.kind_of(pinned)} {pinned[source.kind_of(pinned)]}"
        what.append(f"the lock pins {slot} ({shown}), which the recipe does not have")
    where, hint = place(recipe.file).name, anew(recipe.name)
    return tuple(Finding(what=one, where=where, hint=hint) for one in what)


def lacking(recipe: Recipe, pins: Mapping[str, Pin]) -> tuple[Finding, ...]:
    """What a fetch took that the lock does not hold: other parts of the same upstream."""
    where, hint = place(recipe.file).name, anew(recipe.name)
    found = []
    for slot, pin in pins.items():
        held = recipe.pins[slot].files if slot in recipe.pins else {}
        names = [name for name, entry in sorted(pin.files.items()) if _new(entry, held.get(name))]
        if names:
            kind = source.kind_of(pin.wish)
            what = f"the lock lacks what is read of {kind} {pin.wish[kind]} now: {', '.join(names)}"
            found.append(Finding(what=what, where=where, hint=hint))
    return tuple(found)


def _new(entry: Entry, held: Entry | None) -> bool:
    """Whether something of a file is not held."""
    if held is None or entry.whole is None:
        return entry != held
    return entry.whole != held.whole or bool(entry.ranges.items() - held.ranges.items())


def save(recipe: Path, pins: Mapping[str, Pin]) -> None:
    """Write the lock, or remove it when there is nothing to lock; unchanged, it is left alone."""
    path = place(recipe)
    if not pins:
        path.unlink(missing_ok=True)
        return
    text = pretty({"version": VERSION, "pins": {slot: pin.json() for slot, pin in pins.items()}})
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write(path, text)
