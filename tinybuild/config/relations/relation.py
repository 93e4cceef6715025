"""A relation: keys of a config that belong together, in words, and when it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from tinybuild import keys
from tinybuild.paths import Data, Json, Path, whole

Places: TypeAlias = tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Node:
    """One config of a tree: its path and its own keys."""

    path: Path
    data: Data
    strict: bool = False  # the class has refused the heads: nothing excuses them

    def at(self, *names: str) -> Path:
        return (*self.path, *names)

    def number(self, name: str | None) -> int:
        """The whole number of a key; 0 where there is none."""
        value = self.data.get(name) if name is not None else None
        return value if whole(value) else 0

    def all(self, *names: str) -> bool:
        """Whether all these keys are whole numbers."""
        return all(whole(self.data.get(name)) for name in names)

    def first(self, row: str) -> str | None:
        """The first of the names of one thing (a row of keys.NAMES) that is a whole number."""
        return keys.first(self.data, row)

    def measuring(self, *measures: str) -> list[str]:
        """The keys with positive whole numbers of these measures."""
        return [name for name, _ in keys.numbers(self.data, *measures)]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Keys that belong together.

    `keys` finds them in a config: tuples of paths in the tree, the one to mend first at the front.
    `words` says the relation, with {0}, {1} ... for the keys and their values; `holds` takes the
    values. `prefer` is what a value in the hint keeps beyond that. `other` makes a value for the
    first key where that is not a whole number; None where it has none to offer. `least` is the
    least that the first key may be. `wished`: so many keys at the front must be the recipe's: what
    it does not set is moved by rule.
    """

    words: str
    keys: Callable[[Node], Iterable[Places]]
    holds: Callable[..., bool]
    prefer: Callable[..., bool] | None = None
    other: Callable[..., str | None] | None = None
    least: int = 1
    wished: int = 0


def together(*names: str) -> Callable[[Node], Iterator[Places]]:
    """Finds these keys where all of them are whole numbers."""

    def places(node: Node) -> Iterator[Places]:
        if node.all(*names):
            yield tuple(node.at(name) for name in names)

    return places


def is_list(value: Json) -> TypeGuard[list[Json] | tuple[Json, ...]]:
    return isinstance(value, list | tuple)


def entries(number: int) -> str:
    return f"{number} entr{'y' if number == 1 else 'ies'}"


def cut(value: list[Json], number: int) -> str:
    """What to write for a list that must have `number` entries."""
    return f"the first {entries(number)}" if len(value) > number else entries(number)
