"""Why two bundles differ: what is not the same in how they were made, and what that can reach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybuild import bundle, statement
from tinybuild.compare.differences import Cause, Comparison, Part
from tinybuild.engine import receipts
from tinybuild.engine.stages import STAGES
from tinybuild.paths import Data, Json, differences, get, mapping
from tinybuild.paths import Path as Key
from tinybuild.recipe.marked import Marks, parse
from tinybuild.source import KINDS
from tinybuild.source.pins import LISTS

# Which stage makes what can differ, in the order of the stages.
MADE: Mapping[str, tuple[Part, ...]] = {
    "dataset": ("dataset",),
    "tokenizer": ("tokenizer", "vocabulary", "template"),
    "model": ("config", "ids", "processor", "tensors"),
    "validate": ("expected", "checks"),
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
class Recipe:
    """The text of a recipe, the data in it, and where its keys stand."""

    text: bytes
    data: Json
    marks: Marks

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """One without data where there is no such file, or it is not YAML."""
        text = receipts.read(str(path))
        data, marks, _ = parse(text)
        return cls(text=text, data=data, marks=marks)

    def line(self, where: Key) -> int:
        """The line of a key, or of the nearest above it that stands in the text."""
        key: tuple[str | int, ...] = tuple(int(one) if one.isdecimal() else one for one in where)
        while key and key not in self.marks:
            key = key[:-1]
        return self.marks.get(key, (1, 1))[0]


@dataclass(frozen=True, kw_only=True)
class Made:
    """How a bundle was made. others: the recipes that it was made from. pins: of its lock.
    toolchain: library -> version, tinybuild among them; code: stage -> {file: sha256}. Either is
    empty where nobody kept it."""

    recipe: Recipe
    others: Mapping[str, Recipe]
    pins: Data
    toolchain: Mapping[str, str]
    code: Mapping[str, Data]

    @classmethod
    def of(cls, folder: Path, build: Path | None) -> Made:
        """From what stands in the bundle, and from build/NAME of the zoo beside it."""
        below = sorted((folder / bundle.RECIPES).glob("*.yaml"))
        code = dict[str, Data]()
        for stage in STAGES if build is not None else ():
            state = receipts.papers(f"{build}/{stage}")[1]
            if state is not None and build is not None:
                kept = receipts.read(f"{build.parent}/.code-{state.code[:16]}.json")
                code[stage] = mapping(receipts.data(kept))
        try:
            toolchain = statement.read(folder).toolchain
        except (OSError, ValueError, RecursionError):
            toolchain = {}
        return cls(
            recipe=Recipe.read(folder / bundle.RECIPE),
            others={path.stem: Recipe.read(path) for path in below},
            pins=mapping(receipts.data(receipts.read(str(folder / bundle.LOCK))), ("pins",)),
            toolchain=toolchain,
            code=code,
        )


def lines(made: Made) -> dict[str, str]:
    """Key of config.json -> the line of the recipe that sets it."""
    given = mapping(made.recipe.data, ("model", "config"))
    return {
        ".".join(where): f"recipe, line {made.recipe.line(('model', 'config', *where))}"
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
    known = [*_recipe("", before.recipe, after.recipe)]
    for name in sorted({*before.others} & {*after.others}):
        known += _recipe(f"recipe {name}, ", before.others[name], after.others[name])
    known += [*_upstream(before, after), *_libraries(before, after), *_code(before, after)]
    differing = set(found.counts)
    made = [
        Cause(kind=one.kind, what=one.what, parts=_reached(one.stages, differing)) for one in known
    ]
    explained = {part for cause in made for part in cause.parts}
    left = tuple(part for part in found.counts if part not in explained)
    if left:
        what = "the recipe, its upstreams and the libraries are the same: the code of tinybuild, "
        what += "which is known for bundles beside their build/ only"
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


def _recipe(title: str, before: Recipe, after: Recipe) -> Iterator[_Known]:
    """title: of a recipe that the bundle was made from; its sections reach all that is made."""
    changed = list(differences(before.data, after.data))
    for where, old, new in changed:
        line = f"line {after.line(where)}" if new is not None else f"was line {before.line(where)}"
        said = f"{title}{line}, {'.'.join(where)}: {_short(old)} -> {_short(new)}"
        section = where[0] if where else "seed"
        yield _Known(kind="recipe", what=said, stages=_enters("source" if title else section))
    if not changed and before.text != after.text:
        yield _Known(kind="recipe", what=f"{title}its text, but no value")


def _upstream(before: Made, after: Made) -> Iterator[_Known]:
    for slot in sorted({*before.pins, *after.pins}):
        old, new = mapping(before.pins, (slot,)), mapping(after.pins, (slot,))
        stages = ("model",) if "." in slot else _enters(slot.partition("-")[0])
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


def _libraries(before: Made, after: Made) -> Iterator[_Known]:
    if not before.toolchain or not after.toolchain:
        return
    for where, old, new in differences(before.toolchain, after.toolchain):
        uses = [stage for stage in MADE if where[0] in STAGES[stage].libraries]
        said = f"{where[0]}: {_short(old)} -> {_short(new)}"
        yield _Known(kind="library", what=said, stages=tuple(uses or MADE))


def _code(before: Made, after: Made) -> Iterator[_Known]:
    """The files of tinybuild that changed; those that the same stages read are told together."""
    readers = dict[str, list[str]]()
    for stage in [stage for stage in before.code if stage in after.code]:
        for where, _, _ in differences(before.code[stage], after.code[stage]):
            readers.setdefault(f"tinybuild/{where[0]}", []).append(stage)
    together = dict[tuple[str, ...], list[str]]()
    for file, stages in readers.items():
        together.setdefault(_shown(stages), []).append(file)
    for shown, files in together.items():
        more = f" and {len(files) - FEW} more files" if len(files) > FEW else ""
        said = f"{', '.join(files[:FEW])}{more} changed"
        yield _Known(kind="code", what=said, stages=shown)


def _shown(stages: Sequence[str]) -> tuple[str, ...]:
    """Where code shows: that of fetch in all that is made of what it fetched."""
    fetched = ("tokenizer", "model", "dataset") if "fetch" in stages else ()
    return tuple(stage for stage in MADE if stage in (*stages, *fetched))


def _enters(section: str) -> tuple[str, ...]:
    """Where a section of the recipe, or a slot of its lock, comes in."""
    return ENTERS.get("tokenizer" if section in LISTS else section, ())


def _short(value: Json) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
