"""What can differ between two bundles, as types; all of them are JSON data through wire.dump."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tinybuild.files import Entry
from tinybuild.paths import Json
from tinybuild.tensors import Tensor

# What a difference is of, in the order in which people read it.
Part = Literal[
    "config",
    "ids",
    "tokenizer",
    "processor",
    "vocabulary",
    "template",
    "tensors",
    "dataset",
    "expected",
    "checks",
]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value of a JSON file; None where it does not stand there. reason: what
    config_changes.json says of the later one, or the line of the recipe that sets it."""

    part: Part
    file: str
    key: str
    before: Json
    after: Json
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A token whose id is another one."""

    token: str
    before: int
    after: int


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The tokens of one file: how many, and which came, went and moved."""

    file: str
    before: int
    after: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[Moved, ...]


@dataclass(frozen=True, kw_only=True)
class Template:
    """A chat template: the lines of a unified diff."""

    name: str
    diff: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TensorChange:
    """A tensor; None where there is none of that name."""

    name: str
    before: Tensor | None
    after: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """All of a model's: those that differ, and how many are the same."""

    changed: tuple[TensorChange, ...]
    same: int


@dataclass(frozen=True, kw_only=True)
class Change:
    """What something of a name is, such as a column's type; None, or "", where it is not there."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A split of the dataset. before, after: its rows; None where there is no such split. added,
    removed: rows by their values in the columns of both; None where they were not compared."""

    split: str
    before: int | None
    after: int | None
    added: int | None
    removed: int | None
    columns: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)
class Number:
    """A value that a check measured."""

    key: str
    before: Json
    after: Json


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check of the report: its state ("" where there is no such check) and what it measured."""

    name: str
    before: str
    after: str
    values: tuple[Number, ...]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """An output that a port is held to (CASE/OUTPUT; CASE/greedy: ids), and differs. before, after:
    its value, where it is one number or ids. far: the largest difference of its numbers, as a share
    of the largest; None where it is not of the same places or choices."""

    output: str
    before: Json
    after: Json
    far: float | None


@dataclass(frozen=True, kw_only=True)
class File:
    """A file; None where it is not there."""

    path: str
    before: Entry | None
    after: Entry | None


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why: what differs in how the two were made. parts: what it can have changed."""

    kind: Literal["recipe", "upstream", "library", "code", "unknown"]
    what: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A bundle on both sides. before, after: bytes of all its files; None where there is none.
    unread: what could be compared by digest only, and why."""

    name: str
    before: int | None
    after: int | None
    files: tuple[File, ...] = ()
    settings: tuple[Setting, ...] = ()
    vocabularies: tuple[Vocabulary, ...] = ()
    templates: tuple[Template, ...] = ()
    tensors: Tensors | None = None
    rows: tuple[Rows, ...] = ()
    expected: tuple[Expectation, ...] = ()
    checks: tuple[Check, ...] = ()
    causes: tuple[Cause, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether every byte is."""
        return self.before == self.after and not self.files

    @property
    def counts(self) -> Mapping[Part, int]:
        """How many differences there are of each part that has any."""
        counts: dict[Part, int] = {}
        for setting in self.settings:
            counts[setting.part] = counts.get(setting.part, 0) + 1
        counts["vocabulary"] = sum(
            len(one.added) + len(one.removed) + len(one.moved) for one in self.vocabularies
        )
        counts["template"] = len(self.templates)
        counts["tensors"] = len(self.tensors.changed) if self.tensors else 0
        counts["dataset"] = len(self.rows)
        counts["expected"] = len(self.expected)
        counts["checks"] = len(self.checks)
        return {part: count for part, count in counts.items() if count}
