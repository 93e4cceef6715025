"""What became of an upstream since a lock was written, as types and in words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tinybuild import wire
from tinybuild.compare.differences import Change, Rows, Setting, Template, Vocabulary
from tinybuild.files import digest
from tinybuild.paths import Data, Json

# same: nothing moved. commit: only the commit did. moved: what is used did. unlocked: there is no
# pin that answers to the recipe. refused: it cannot be known.
State = Literal["same", "commit", "moved", "unlocked", "refused"]
SETTINGS, TOKENS, LINES, FILES, OWNERS = 20, 10, 40, 8, 12  # as many are shown; JSON data has all


@dataclass(frozen=True, kw_only=True)
class Question:
    """A pin to be held against its upstream. recipe, slot: whose it is; pin: as the lock has it."""

    recipe: str
    slot: str
    pin: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class Questions:
    every: tuple[Question, ...]


@dataclass(frozen=True, kw_only=True)
class Said:
    """Why something cannot be known, and what to do."""

    what: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What became of the upstream of one slot of one recipe.

    source: as messages call it. locked, now: commits, or versions. files: those that are used and
    are not the same. facts: what the upstream says of itself (license, language, gated, version);
    "" where it says nothing. unread: what of the difference cannot be said, and why.
    """

    recipe: str
    slot: str
    source: str
    state: State
    revision: str = ""
    locked: str = ""
    now: str = ""
    files: tuple[str, ...] = ()
    facts: tuple[Change, ...] = ()
    settings: tuple[Setting, ...] = ()
    templates: tuple[Template, ...] = ()
    vocabularies: tuple[Vocabulary, ...] = ()
    rows: tuple[Rows, ...] = ()
    unread: tuple[str, ...] = ()
    refusals: tuple[Said, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answers:
    every: tuple[Moved, ...]


def lines(every: Sequence[Moved]) -> Iterator[str]:
    """What moved, for people; the same upstream of several recipes is told once."""
    alike, owners = dict[str, Moved](), dict[str, list[str]]()
    for one in every:
        key = digest(wire.dump(dataclasses.replace(one, recipe="", slot="")))
        alike[key] = one
        owners.setdefault(key, []).append(owner(one))
    for key, one in alike.items():
        if one.state != "same":
            at = f" at {one.revision}" if one.revision else ""
            yield f"{one.source}{at} ({few(owners[key], OWNERS)}): {_head(one)}"
            yield from (f"  {_printable(line)}" for line in _body(one))


def owner(one: Moved) -> str:
    """llama, or llama.dataset for what is not its main source."""
    return one.recipe if one.slot == "source" else f"{one.recipe}.{one.slot}"


def _printable(text: str) -> str:
    """Without what would steer a terminal: an upstream's text is anybody's."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _head(one: Moved) -> str:
    if one.state == "unlocked":
        return "not locked yet"
    if one.state == "refused":
        return "cannot be known"
    if one.locked == one.now:
        return f"still at {one.now[:12]}"
    unit = "commit" if one.revision else "version"
    what = f"only the {unit} moved, " if one.state == "commit" else ""
    return f"{what}{one.locked[:12]} -> {one.now[:12]}"


def _body(one: Moved) -> Iterator[str]:
    for said in one.refusals:
        yield said.what
        if said.hint:
            yield f"  hint: {said.hint}"
    yield from (f"{f.name}: {f.before or 'none'} -> {f.after or 'none'}" for f in one.facts)
    told = {setting.file for setting in one.settings} | {v.file for v in one.vocabularies}
    others = [file for file in one.files if file not in told]
    if others:
        yield f"other bytes: {few(others, FILES)}"
    shown = one.settings[:SETTINGS]
    yield from (f"{setting.file}: {_setting(setting)}" for setting in shown)
    if len(shown) < len(one.settings):
        yield f"... and {len(one.settings) - len(shown)} more values"
    for vocabulary in one.vocabularies:
        yield f"{vocabulary.file}: {_tokens(vocabulary)}"
    for template in one.templates:
        yield f"chat template {template.name}:"
        yield from (f"  {line}" for line in template.diff[:LINES])
        if len(template.diff) > LINES:
            yield f"  ... and {len(template.diff) - LINES} more lines"
    yield from (f"{split.split}: {_split(split)}" for split in one.rows)
    yield from one.unread


def _setting(one: Setting) -> str:
    if one.before is None:
        return f"added {one.key}: {_value(one.after)}"
    if one.after is None:
        return f"removed {one.key} (was {_value(one.before)})"
    return f"{one.key}: {_value(one.before)} -> {_value(one.after)}"


def _value(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _tokens(one: Vocabulary) -> str:
    kinds: Mapping[str, Iterable[str]] = {
        "added": one.added,
        "removed": one.removed,
        "with another id": [moved.token for moved in one.moved],
    }
    told = [f"{one.before:,} -> {one.after:,} tokens"] if one.before != one.after else []
    for what, tokens in kinds.items():
        listed = [json.dumps(token, ensure_ascii=False) for token in tokens]
        if listed:
            told.append(f"{len(listed):,} {what}: {few(listed, TOKENS)}")
    return "; ".join(told)


def _split(one: Rows) -> str:
    told = list[str]()
    if one.before != one.after:
        before, after = ("none" if n is None else f"{n:,}" for n in (one.before, one.after))
        told.append(f"{before} -> {after} rows")
    for column in one.columns:
        if column.before is None:
            told.append(f"added column {column.name} ({column.after})")
        elif column.after is None:
            told.append(f"removed column {column.name}")
        else:
            told.append(f"column {column.name}: {column.before} -> {column.after}")
    return "; ".join(told)


def few(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def data(every: Sequence[Moved]) -> Data:
    """For `--json`."""
    return {"sources": wire.dump(tuple(every))}
