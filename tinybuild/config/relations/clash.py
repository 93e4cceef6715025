"""A relation that does not hold: between which keys, in words, and the nearest values that work."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tinybuild import paths
from tinybuild.config import overrides
from tinybuild.config.relations.heads import HEADS
from tinybuild.config.relations.layers import EXPERTS, LAYERS
from tinybuild.config.relations.relation import Node, Places, Relation, entries, is_list
from tinybuild.config.relations.sizes import LEAST, SIZES
from tinybuild.errors import Finding
from tinybuild.keys import configs
from tinybuild.paths import Data, Json, Path, get, whole, wholes

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# Values that are tried for a hint: so many of the nearest on this relation, and so many of those
# that it allows on all others.
FAR, NEAR = 10_000, 16
SHOWN = 8  # entries of a list in a message
Name: TypeAlias = tuple[Relation, Places]
# In the order in which they are told. A relation is here only if no default config that its class
# can run breaks it; what merely is so in most of them is not: a patch need not divide the image
# (classes leave the rest out), a vision tower's output need not be as wide as the text.
RELATIONS: tuple[Relation, ...] = (*LEAST, *HEADS, *EXPERTS, *LAYERS, *SIZES)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The recipe's overrides, where they stand, and how it calls the keys of the class.

    `strict`: the class has refused the heads. `alone`: other keys may yet become anything.
    """

    wishes: Data
    key: overrides.Key
    names: Mapping[Path, Path]
    strict: bool = False
    alone: bool = False

    def called(self, path: Path) -> Path:
        return self.names.get(path, path)

    def has(self, path: Path) -> bool:
        """Whether the recipe sets the key at a path of the tree."""
        return paths.has(self.wishes, self.called(path))


NOBODY = Wish(wishes={}, key=(), names={})


def names(
    config: PreTrainedConfig, wishes: Data, path: Path = (), said: Path = ()
) -> Iterator[tuple[Path, Path]]:
    """(the path of a key of the class, the recipe's path of it) for each key of the wishes."""
    for name, value in wishes.items():
        own = config.attribute_map.get(name, name)
        yield (*path, own), (*said, name)
        inner = overrides.sub_config(config, name)
        if inner is not None and isinstance(value, Mapping):
            yield from names(inner, value, (*path, own), (*said, name))


@dataclass(frozen=True, kw_only=True)
class Clash:
    """A relation that does not hold between the keys at these paths of a tree."""

    relation: Relation
    paths: Places
    tree: Data
    wish: Wish

    @property
    def name(self) -> Name:
        return self.relation, self.paths

    def finding(self, present: Sequence[Clash]) -> Finding:
        """`present`: all clashes of the tree; a value in the hint makes no new one."""
        named = [f"{self._called(path)} ({_shown(get(self.tree, path))})" for path in self.paths]
        wished = [path for path in self.paths if self.wish.has(path)]
        known = {clash.name for clash in present}
        hints = []  # what works for two of the keys, those of the recipe first
        for path in [*wished, *(path for path in self.paths if path not in wished)]:
            values = self._values(path, known)
            if values:
                hints.append(f"{self._called(path)}: {values}")
        return Finding(
            what=self.relation.words.format(*named, head=" / ".join(named[1:])),
            key=(*self.wish.key, *(self.wish.called(wished[0]) if wished else ())),
            hint=", or ".join(hints[:2]),
        )

    def _called(self, path: Path) -> str:
        return ".".join(self.wish.called(path))

    def _values(self, path: Path, known: Set[Name]) -> str:
        value = get(self.tree, path)
        if whole(value):
            return " or ".join(str(number) for number in self._nearest(path, value, known))
        if path == self.paths[0] and self.relation.other is not None:
            return self.relation.other(*(get(self.tree, place) for place in self.paths)) or ""
        return ""

    def _nearest(self, path: Path, value: int, known: Set[Name]) -> list[int]:
        """The next value below and the next above that work, for this relation and, if there are
        such near by, for all others that the key is in and that hold now."""
        least = self.relation.least if path == self.paths[0] else 1
        others = (get(self.tree, place) for place in self.paths if place != path)
        most = 2 * max((abs(v) for v in others if whole(v)), default=0) + NEAR
        low, high = max(value - FAR, least), max(value + 1, least)
        near = range(value - 1, low - 1, -1)
        ways: list[Iterable[int]] = [
            itertools.chain(near, range(min(low - 1, most), max(least, most - FAR) - 1, -1)),
            range(high, min(max(most, 2 * value + NEAR), high + FAR)),
        ]
        works = [list(itertools.islice(filter(self._fits(path), way), NEAR)) for way in ways]
        best = [next((n for n in way if not self._breaks(path, n, known)), None) for way in works]
        if best == [None, None]:
            best = [next(iter(way), None) for way in works]
        return [number for number in best if number is not None]

    def _fits(self, path: Path) -> Callable[[int], bool]:
        relation = self.relation
        now = {place: get(self.tree, place) for place in self.paths}

        def fits(number: int) -> bool:
            given = tuple({**now, path: number}.values())
            return relation.holds(*given) and (not relation.prefer or relation.prefer(*given))

        return fits

    def _breaks(self, path: Path, number: int, known: Set[Name]) -> bool:
        tree = paths.mapping(paths.having(self.tree, path, number))
        return any(
            path in clash.paths and clash.name not in known for clash in clashes(tree, self.wish)
        )


def clashes(tree: Data, wish: Wish) -> Iterator[Clash]:
    """Of relations between the same keys, the first that does not hold."""
    seen: set[frozenset[Path]] = set()
    for path, data in configs(tree):
        node = Node(path=path, data=data, strict=wish.strict)
        for relation in RELATIONS:
            for places in relation.keys(node):
                needed = places if wish.alone else places[: relation.wished]
                if frozenset(places) in seen or not all(map(wish.has, needed)):
                    continue
                if relation.holds(*(get(tree, place) for place in places)):
                    continue
                seen.add(frozenset(places))
                yield Clash(relation=relation, paths=places, tree=tree, wish=wish)


def _shown(value: Json) -> str:
    if not is_list(value):
        return str(value)
    short = wholes(value) and len(value) <= SHOWN
    return str(list(value)) if short else entries(len(value))
