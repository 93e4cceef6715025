"""A config as a tree of keys, while the rules make it small."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tinybuild import keys, paths
from tinybuild.config.sizes import Size
from tinybuild.paths import Data, Json, Path, whole


@dataclass(frozen=True, kw_only=True)
class Number:
    """A whole number in a config: where it is, its value now and in the source."""

    node: Data  # its config
    at: Path
    value: int
    was: int

    @property
    def name(self) -> str:
        return self.at[-1]


# What a size measures, what it was, and what it is not to become.
Barred: TypeAlias = tuple[str, int, int]


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Which sizes are alike although they differ in the source, because a class needs it: widths
    of the source that become the text's, and whether all other sizes of a config may coincide. And
    what a size must not become, because it met another so."""

    widths: frozenset[int] = frozenset()
    parts: bool = False
    barred: frozenset[Barred] = frozenset()


DISTINCT = Alike()


class Tree:
    """A config as nested mappings, while it shrinks: `source` as it was, `data` as it will be.

    `fixed` are the values that the recipe sets; `reasons` says which rule set a key that differs.
    `sizes`: what a size has become: (config, what it measures, value in the source) -> value; the
    widths are those of the whole tree, at ().
    """

    def __init__(self, source: Data, wishes: Data, size: Size, layers: int | None):
        self.source, self.size, self.layers = source, size, layers
        self.sizes: dict[tuple[Path, str, int], int] = {}
        self.alike = DISTINCT
        self.data: dict[str, Json] = copy.deepcopy(dict(source))
        self.reasons: dict[Path, str] = {}
        self.fixed = dict(paths.leaves(wishes, lambda name, _: name not in keys.PLAIN))
        for path, value in self.fixed.items():
            paths.put(self.data, path, copy.deepcopy(value))
        for path, value, name in list(self._synonyms()):
            paths.put(self.data, path, value)
            self.fixed[path], self.reasons[path] = value, f"rule synonyms: as {name}"

    def _synonyms(self) -> Iterator[tuple[Path, int, str]]:
        """The other names of what the recipe sets, where the source gives both one value: their
        paths, the value, and the name that the recipe gives."""
        for path, value in self.fixed.items():
            if not whole(value):
                continue
            for name in keys.synonyms(path[-1]):
                other = (*path[:-1], name)
                was = self.was(other)
                if whole(was) and was == self.was(path) and other not in self.fixed:
                    yield other, value, path[-1]

    def nodes(self) -> Iterator[tuple[Path, Data]]:
        """Every config of the tree with its path, the whole first."""
        return keys.configs(self.data)

    def items(self) -> Iterator[tuple[Path, str, Json]]:
        """(path of its config, key, value) of each key; a rule may set keys on the way."""
        for path, node in self.nodes():
            for name, value in list(node.items()):
                yield path, name, value

    def numbers(self, *measures: str) -> Iterator[Number]:
        """The whole numbers of these measures."""
        for path, node in self.nodes():
            for name, value in list(node.items()):
                if whole(value) and not keys.is_id(name) and keys.measures(name) in measures:
                    was = self.was((*path, name))
                    at = (*path, name)
                    yield Number(node=node, at=at, value=value, was=was if whole(was) else value)

    def was(self, path: Path) -> Json:
        """The source's value at a path; None where there is none."""
        return paths.get(self.source, path)

    def width_was(self, path: Path) -> int | None:
        """The source's width of the config at a path."""
        return keys.width(paths.mapping(self.source, path))

    def set(self, path: Path, value: Json, reason: str) -> None:
        """Give a key its value, unless the recipe has."""
        if path in self.fixed:
            return
        paths.put(self.data, path, value)
        if value == self.was(path):
            self.reasons.pop(path, None)
        else:
            self.reasons[path] = reason

    def free(self, measured: str, was: int, choices: Iterable[int]) -> tuple[int, ...]:
        """The choices that a size may become; all where it may become none."""
        listed = tuple(choices)
        barred = self.alike.barred
        return tuple(n for n in listed if (measured, was, n) not in barred) or listed

    @property
    def narrower_and_wider(self) -> frozenset[int]:
        """Widths of the source, as wide as the size's at least, that have become another."""
        return frozenset(
            was
            for (path, measure, was), now in self.sizes.items()
            if not path and measure == "width" and was > self.size.width != now
        )

    def touches(self, path: Path) -> bool:
        """Whether the recipe sets this key, or something in it."""
        return any(path[: len(fixed)] == fixed[: len(path)] for fixed in self.fixed)

    def copy(self) -> Tree:
        """The same tree, to try something on."""
        other = copy.copy(self)
        other.data, other.reasons = copy.deepcopy(self.data), dict(self.reasons)
        return other

    @property
    def overrides(self) -> dict[str, Json]:
        """The changed keys with their values, nested: overrides of the source's config."""
        made: dict[str, Json] = {}
        for path in self.reasons:
            paths.put(made, path, paths.get(self.data, path))
        return made


def shares(parts: Sequence[int], total: int) -> list[int]:
    """`parts` scaled to a sum of `total`, each at least 1 while there is enough."""
    whole_sum = sum(parts)
    made = [max(1, part * total // whole_sum) if part else 0 for part in parts]
    while sum(made) > total and max(made) > 0:
        made[made.index(max(made))] -= 1
    index = 0
    while sum(made) < total:
        if parts[index % len(parts)]:
            made[index % len(made)] += 1
        index += 1
    return made


def divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`."""
    return next(d for d in range(most, 0, -1) if number % d == 0)
