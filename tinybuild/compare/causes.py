"""Why two bundles differ: what is not the same in how they were made, and what that can reach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybuild.compare.differences import Cause, Comparison, Part
from tinybuild.engine import receipts
from tinybuild.engine.stages import STAGES
from tinybuild.paths import Data, Json, differences, get, mapping
from tinybuild.recipe.marked import Marks, parse
from tinybuild.source import KINDS
from tinybuild.source.pins import LISTS

RECIPE, LOCK = "recipe.yaml", "recipe.lock.json"
# Which stage makes what can differ, in the order of the stages.
MADE: Mapping[str, tuple[Part, ...]] = {
    "dataset": ("dataset",),
    "tokenizer": ("tokenizer", "vocabulary", "template"),
    "model": ("config", "ids", "processor", "tensors"),
    "validate": ("checks",),
}
FEEDS: Mapping[str, frozenset[str]] = {
    "dataset": frozenset(("tokenizer", "validate")),
    "tokenizer": frozenset(("model", "validate")),
    "model": frozenset(("validate",)),
    "validate": frozenset(),
}
# Where a section of the recipe, or a slot of its lock, comes in first.
ENTERS: Mapping[str, tuple[str, ...]] = {
    "dataset": ("dataset",),
    "tokenizer": ("tokenizer",),
    "source": ("tokenizer", "model"),
    "compat": ("tokenizer", "model"),
    "model": ("model",),
    "checks": ("validate",),
    "seed": tuple(MADE),
}
FEW = 4  # files of code that are named


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage's provenance says: versions of libraries, and {file: sha256} of the code."""

    versions: Data
    code: Data


@dataclass(frozen=True, kw_only=True)
class Made:
    """How a bundle was made. text: of its recipe; recipe: the data in it; marks: where its
    keys stand. pins: of its lock. stages: empty where nobody kept that."""

    text: bytes
    recipe: Json
    marks: Marks
    pins: Data
    stages: Mapping[str, Stage]

    @classmethod
    def of(cls, folder: Path, build: Path | None) -> Made:
        """From the recipe and the lock in the bundle, and from build/NAME of the zoo beside it."""
        text = receipts.read(str(folder / RECIPE))
        recipe, marks, _ = parse(text)
        stages = dict[str, Stage]()
        for stage in STAGES if build is not None else ():
            state = receipts.papers(f"{build}/{stage}")[1]
            if state is not None and build is not None:
                kept = receipts.read(f"{build.parent}/.code-{state.code[:16]}.json")
                stages[stage] = Stage(
                    versions=state.versions,
                    code=mapping(receipts.data(kept)),
                )
        pins = mapping(receipts.data(receipts.read(str(folder / LOCK))), ("pins",))
        return cls(text=text, recipe=recipe, marks=marks, pins=pins, stages=stages)


def lines(made: Made) -> dict[str, str]:
    """Key of config.json -> the line of the recipe that sets it."""
    given = mapping(made.recipe, ("model", "config"))
    return {
        ".".join(where): f"recipe, line {_line(made.marks, ('model', 'config', *where))}"
        for where, _, _ in differences({}, given)
    }


@dataclass(frozen=True, kw_only=True)
class _Known:
    """Something that is not the same on both sides, and the stages where it comes in."""

    kind: Literal["recipe", "upstream", "library", "code"]
    what: str
    stages: tuple[str, ...] = ()


def causes(before: Made, after: Made, found: Comparison) -> tuple[Cause, ...]:
    """What can have made the differences that were found, what people write first."""
    known = (*_recipe(before, after), *_upstream(before, after), *_toolchain(before, after))
    differing = set(found.counts)
    made = [
        Cause(kind=one.kind, what=one.what, parts=_reached(one.stages, differing)) for one in known
    ]
    explained = {part for cause in made for part in cause.parts}
    left = tuple(part for part in found.counts if part not in explained)
    if left:
        sides = [name for name, one in (("earlier", before), ("later", after)) if not one.stages]
        kept = f"; nobody kept those of the {' and the '.join(sides)} bundle" if sides else ""
        what = f"neither recipe nor upstream: code or libraries{kept}"
        made.append(Cause(kind="unknown", what=what, parts=left))
    return tuple(made)


def _reached(stages: tuple[str, ...], differing: set[Part]) -> tuple[Part, ...]:
    """The parts that something which comes in at these stages can have changed: theirs, and those
    made from them where they differ."""
    reached = set(stages)
    for stage, parts in MADE.items():
        if stage in reached and differing.intersection(parts):
            reached |= FEEDS[stage]
    return tuple(
        p for stage, parts in MADE.items() if stage in reached for p in parts if p in differing
    )


def _recipe(before: Made, after: Made) -> Iterator[_Known]:
    changed = list(differences(before.recipe, after.recipe))
    for where, old, new in changed:
        gone = new is None and get(after.recipe, where) is None
        line = _line((before if gone else after).marks, where)
        side = " of the earlier one" if gone else ""
        said = f"line {line}{side}, {'.'.join(where)}: {_short(old)} -> {_short(new)}"
        yield _Known(kind="recipe", what=said, stages=_enters(where[0] if where else ""))
    if not changed and before.text != after.text:
        yield _Known(kind="recipe", what="its text, but no value")


def _upstream(before: Made, after: Made) -> Iterator[_Known]:
    for slot in sorted({*before.pins, *after.pins}):
        old, new = mapping(before.pins, (slot,)), mapping(after.pins, (slot,))
        stages = _enters(slot.partition("-")[0])
        title = _title(mapping(new or old, ("wish",)))
        for where, a, b in differences(_facts(old), _facts(new)):
            said = f"{slot} ({title}), {where[0]}: {_short(a)} -> {_short(b)}"
            yield _Known(kind="upstream", what=said, stages=stages)
        files = mapping(old, ("files",)), mapping(new, ("files",))
        for name in sorted({*files[0], *files[1]}):
            digests = [get(one, (name, "sha256")) for one in files]
            if digests[0] != digests[1]:
                how = (
                    "is new"
                    if digests[0] is None
                    else "is gone"
                    if digests[1] is None
                    else "changed"
                )
                said = f"{slot} ({title}): {name} {how}"
                yield _Known(kind="upstream", what=said, stages=stages)


def _facts(pin: Data) -> dict[str, Json]:
    """What a pin says beside its files: a commit, a version."""
    return {name: value for name, value in pin.items() if name not in ("wish", "files")}


def _title(wish: Data) -> str:
    """The kind of a source and what it names."""
    return next((f"{kind} {wish[kind]}" for kind in KINDS if kind in wish), "unknown")


def _toolchain(before: Made, after: Made) -> Iterator[_Known]:
    """Libraries and code, each with the stages that it decides."""
    libraries, code = dict[str, list[str]](), dict[str, list[str]]()
    for stage in [stage for stage in before.stages if stage in after.stages]:
        old, new = before.stages[stage], after.stages[stage]
        for where, a, b in differences(old.versions, new.versions):
            libraries.setdefault(f"{where[0]}: {_short(a)} -> {_short(b)}", []).append(stage)
        for where, _, _ in differences(old.code, new.code):
            code.setdefault(f"tinybuild/{where[0]}", []).append(stage)
        if old.code != new.code and not (old.code and new.code):
            code.setdefault("tinybuild", []).append(stage)
    for what, stages in libraries.items():
        yield _Known(kind="library", what=what, stages=_made(stages))
    together = dict[tuple[str, ...], list[str]]()  # of many files those that the same stages read
    for file, stages in code.items():
        together.setdefault(_made(stages), []).append(file)
    for reading, files in together.items():
        more = f" and {len(files) - FEW} more files" if len(files) > FEW else ""
        yield _Known(kind="code", what=f"{', '.join(files[:FEW])}{more} changed", stages=reading)


def _made(stages: Sequence[str]) -> tuple[str, ...]:
    """The stages where what differs shows: what is fetched shows in all that is made of it."""
    fetched = ("tokenizer", "model", "dataset") if "fetch" in stages else ()
    return tuple(stage for stage in MADE if stage in (*stages, *fetched))


def _enters(section: str) -> tuple[str, ...]:
    """Where a section of the recipe, or a slot of its lock, comes in."""
    return ENTERS.get("tokenizer" if section in LISTS else section, ())


def _line(marks: Marks, where: tuple[str, ...]) -> int:
    """The line of a key, or of the nearest above it that stands in the text."""
    key: tuple[str | int, ...] = tuple(int(one) if one.isdecimal() else one for one in where)
    while key and key not in marks:
        key = key[:-1]
    return marks.get(key, (1, 1))[0]


def _short(value: Json) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
