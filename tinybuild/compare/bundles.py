"""Two folders of a bundle become what differs between them."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tinybuild import bundle, tensors
from tinybuild.compare import outputs, rows, tokens
from tinybuild.compare.causes import Made, causes, lines
from tinybuild.compare.differences import (
    Change,
    Check,
    Comparison,
    Expectation,
    File,
    Moved,
    Number,
    Part,
    Rows,
    Setting,
    Template,
    TensorChange,
    Tensors,
    Vocabulary,
)
from tinybuild.errors import Fault, first_line
from tinybuild.expected import format as expected
from tinybuild.files import Entry, digest, tree
from tinybuild.keys import is_id
from tinybuild.paths import Data, Json, differences, get, mapping, without
from tinybuild.paths import Path as Key

CONFIGS = ("config.json", "generation_config.json")
TOKENIZERS = ("tokenizer.json", tokens.TOKENIZER, "special_tokens_map.json", "added_tokens.json")
CHANGES, REPORT, DATA = "config_changes.json", "report.json", ".parquet"
# JSON files whose values are told as another part, or follow from others.
TOLD = (
    *(CHANGES, REPORT, expected.FILES[0], bundle.LOCK, bundle.MADE),
    *("vocab_map.json", "model.safetensors.index.json"),
)
# Keys whose values are told as vocabulary and templates.
TOKENS: tuple[Key, ...] = (("model", "vocab"), ("added_tokens",), ("added_tokens_decoder",))
MERGES: Key = ("model", "merges")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Side:
    """A bundle: its folder, its files, and how it was made as far as that is known."""

    folder: Path
    files: Mapping[str, Entry]
    made: Made

    @classmethod
    def of(cls, folder: Path, build: Path | None = None) -> Side:
        """build: the bundle's folder in a zoo's build/, which knows libraries and code."""
        return cls(folder=folder, files=tree(folder), made=Made.of(folder, build))

    def within(self, below: str) -> Side:
        """Only the files whose paths begin so."""
        files = {path: entry for path, entry in self.files.items() if path.startswith(below)}
        return dataclasses.replace(self, files=files)

    @property
    def bytes(self) -> int:
        return sum(entry["size"] for entry in self.files.values())


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a bundle stands, and its folder in the zoo's build/, where there is one."""

    folder: Path
    build: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A bundle to compare; None where one side has none. within: compare only what lies there."""

    name: str
    before: Place | None
    after: Place | None
    within: str = ""


def compared(asked: Asked) -> Comparison:
    """What a worker is asked: one that is stopped when what it reads is not what it seems."""
    sides = [
        Side.of(one.folder, one.build).within(asked.within) if one else None
        for one in (asked.before, asked.after)
    ]
    return compare(asked.name, sides[0], sides[1])


def compare(name: str, before: Side | None, after: Side | None) -> Comparison:
    """What differs between two bundles, or two states of one; None: there is none on that side."""
    sizes = before.bytes if before else None, after.bytes if after else None
    made = Comparison(name=name, before=sizes[0], after=sizes[1])
    if before is None or after is None:
        return made
    pair = Pair(before=before, after=after)
    if not pair.files:
        return made
    made = dataclasses.replace(
        made,
        files=tuple(pair.files.values()),
        settings=tuple(_settings(pair)),
        vocabularies=tuple(_vocabularies(pair)),
        templates=tuple(_templates(pair)),
        tensors=_tensors(pair),
        rows=tuple(_rows(pair)),
        expected=tuple(_expected(pair)),
        checks=tuple(_checks(pair)),
        unread=tuple(dict.fromkeys(pair.unread)),
    )
    return dataclasses.replace(made, causes=causes(before.made, after.made, made))


class Pair:
    """Both sides of a bundle, the files that differ, and what of them cannot be read."""

    def __init__(self, *, before: Side, after: Side):
        self.before, self.after = before, after
        self.unread = list[str]()
        self.files = {
            path: File(path=path, before=before.files.get(path), after=after.files.get(path))
            for path in sorted({*before.files, *after.files})
            if before.files.get(path) != after.files.get(path)
        }

    def differs(self, *suffixes: str) -> bool:
        """Whether any file that ends so is not the same on both sides."""
        return any(path.endswith(suffixes) for path in self.files)

    def read(self, what: str, reader: Callable[[Path], T], nothing: T) -> tuple[T, T]:
        """What both sides say; `nothing` of both where one of them cannot be read."""
        try:
            return reader(self.before.folder), reader(self.after.folder)
        except (OSError, ValueError, KeyError, RecursionError, Fault) as error:
            said = error.findings[0].what if isinstance(error, Fault) else str(error)
            self.unread.append(f"{what}: {said.splitlines()[0] if said else 'cannot be read'}")
            return nothing, nothing


# --- configs --------------------------------------------------------------------------------------


def _settings(pair: Pair) -> Iterator[Setting]:
    reasons = _reasons(pair)
    for path in pair.files:
        alone = tokens.is_vocabulary(path) and path not in TOKENIZERS
        if "/" in path or not path.endswith(".json") or path in TOLD or alone:
            continue
        nothing = dict[str, Json]()
        old, new = pair.read(path, functools.partial(_values, path), nothing)
        for where, before, after in differences(old, new):
            yield Setting(
                part=_part(path, where[-1]),
                file=path,
                key=".".join(where),
                before=before,
                after=after,
                reason=reasons.get((path, ".".join(where)), ""),
            )


def _values(path: str, folder: Path) -> dict[str, Json]:
    """The values of a JSON file that are told one by one; of merges, how many and their digest."""
    data, merges = bundle.data(folder / path), list[Json]()
    if path in TOKENIZERS:
        given = get(data, MERGES)
        merges = list(given) if isinstance(given, list) else []
        for key in (*TOKENS, MERGES, (tokens.TEMPLATE,)):
            data = without(data, key)
    if merges:
        data["merges"] = f"{len(merges):,} merges, sha256 {digest(merges)[:12]}"
    return data


def _part(path: str, name: str) -> Part:
    if path in TOKENIZERS:
        return "tokenizer"
    if is_id(name):
        return "ids"
    return "config" if path in CONFIGS else "processor"


def _reasons(pair: Pair) -> dict[tuple[str, str], str]:
    """(file, key) -> why the later bundle has that value: the recipe's line, else what
    config_changes.json says."""
    nothing = dict[str, Json]()
    changes = pair.read(CHANGES, lambda folder: bundle.data(folder / CHANGES), nothing)[1]
    listed, reasons = changes.get("changes"), dict[tuple[str, str], str]()
    for one in listed if isinstance(listed, list) else []:
        reasons["config.json", str(get(one, ("key",)))] = str(get(one, ("reason",)))
    for key, said in lines(pair.after.made).items():
        reasons["config.json", key] = said
    return reasons


# --- tokens ---------------------------------------------------------------------------------------


def _vocabularies(pair: Pair) -> Iterator[Vocabulary]:
    both = [path for path in pair.before.files if path in pair.after.files]
    whole = [path for path in both if path == "tokenizer.json"]
    for path in whole or [path for path in both if tokens.is_vocabulary(path)]:
        if path not in pair.files:
            continue
        nothing = dict[str, int]()
        old, new = pair.read(path, functools.partial(_tokens, path), nothing)
        if old != new:
            yield Vocabulary(
                file=path,
                before=len(old),
                after=len(new),
                added=tuple(token for token in new if token not in old),
                removed=tuple(token for token in old if token not in new),
                moved=tuple(
                    Moved(token=token, before=number, after=new[token])
                    for token, number in old.items()
                    if new.get(token, number) != number
                ),
            )


def _tokens(path: str, folder: Path) -> dict[str, int]:
    return tokens.read(folder / path)


def _templates(pair: Pair) -> Iterator[Template]:
    if not pair.differs(".jinja", tokens.TOKENIZER, tokens.PROCESSOR):
        return
    nothing = dict[str, str]()
    old, new = pair.read("the chat template", tokens.templates, nothing)
    for name in sorted({*old, *new}):
        before, after = (side.get(name, "").splitlines() for side in (old, new))
        diff = tuple(difflib.unified_diff(before, after, "before", "after", lineterm="", n=2))
        if diff:
            yield Template(name=name, diff=diff)


# --- tensors --------------------------------------------------------------------------------------


def _tensors(pair: Pair) -> Tensors | None:
    if not pair.differs(tensors.SUFFIX):
        return None

    nothing = dict[str, tensors.Tensor]()
    old, new = pair.read("the weights", tensors.held, nothing)
    changed = tuple(
        TensorChange(name=name, before=old.get(name), after=new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )
    return Tensors(changed=changed, same=len({*old, *new}) - len(changed))


# --- rows -----------------------------------------------------------------------------------------


def _rows(pair: Pair) -> Iterator[Rows]:
    if not pair.differs(DATA):
        return
    old, new = (_splits(side) for side in (pair.before, pair.after))
    for split in sorted({*old, *new}):
        given = old.get(split, []), new.get(split, [])
        names = [path for _, path in [*given[0], *given[1]]]
        if not any(path in pair.files for path in names):
            continue
        files = [[side.folder / path for side, path in one] for one in given]
        try:
            yield _split(split, files)
        except (OSError, ValueError, KeyError) as error:
            pair.unread.append(f"{split}: {first_line(error)}")


def _splits(side: Side) -> dict[str, list[tuple[Side, str]]]:
    """CONFIG/SPLIT -> its files, in their order."""
    splits = dict[str, list[tuple[Side, str]]]()
    for path in side.files:
        if path.startswith(f"{bundle.DATASET}/") and path.endswith(DATA):
            splits.setdefault(rows.split_of(path), []).append((side, path))
    return splits


def _split(name: str, files: Sequence[Sequence[Path]]) -> Rows:
    """A split that differs; where one side has none, its rows are all new or all gone."""
    columns = [rows.columns(one) if one else {} for one in files]
    shared = [column for column in columns[0] if columns[0][column] == columns[1].get(column)]
    sides = [rows.read(one, shared) if one else None for one in files]
    old, new = sides
    added = removed = None
    if old is None or new is None:
        added, removed = new.rows if new else 0, old.rows if old else 0
    elif old.digests is not None and new.digests is not None and shared:
        added = (new.digests - old.digests).total()
        removed = (old.digests - new.digests).total()
    return Rows(
        split=name,
        before=old.rows if old else None,
        after=new.rows if new else None,
        added=added,
        removed=removed,
        columns=tuple(
            Change(name=column, before=columns[0].get(column), after=columns[1].get(column))
            for column in sorted({*columns[0], *columns[1]})
            if columns[0].get(column) != columns[1].get(column)
        ),
    )


# --- what a port is held to -----------------------------------------------------------------------


def _expected(pair: Pair) -> Iterator[Expectation]:
    if not pair.differs(*expected.FILES):
        return
    if not all(expected.has(side.folder) for side in (pair.before, pair.after)):
        return  # the files tell which side has none
    nothing = dict[str, outputs.Side]()
    old, new = pair.read("what a port is held to", outputs.read, nothing)
    yield from outputs.changed(old, new)


# --- checks ---------------------------------------------------------------------------------------


def _checks(pair: Pair) -> Iterator[Check]:
    """Checks whose state or numbers differ."""
    if REPORT not in pair.files:
        return
    nothing = dict[str, Data]()
    old, new = pair.read(REPORT, _report, nothing)
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(name, {}), new.get(name, {})
        states = str(before.get("state", "")), str(after.get("state", ""))
        measured = mapping(before, ("values",)), mapping(after, ("values",))
        values = tuple(
            Number(key=".".join(where), before=a, after=b)
            for where, a, b in (differences(measured[0], measured[1]) if all(states) else ())
        )
        if values or states[0] != states[1]:
            yield Check(name=name, before=states[0], after=states[1], values=values)


def _report(folder: Path) -> dict[str, Data]:
    """name -> what the report says of a check."""
    listed = bundle.data(folder / REPORT).get("checks")
    every = listed if isinstance(listed, list) else []
    return {str(get(one, ("name",))): mapping(one) for one in every}
