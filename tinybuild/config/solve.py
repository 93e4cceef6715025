"""Numbers chosen together: each from a short list, by laws, and unequal where they were unequal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Name: TypeAlias = tuple[str, int]  # what a number measures, and what it was

TRIES = 3000  # numbers placed before one more coincidence is allowed
COINCIDENCES = 4  # as many are allowed before all are
ONE = 2  # coincidences that are better than a 1 that was more: with it much is as without


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """A number to choose: what it may become, best first."""

    name: Name
    choices: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Law:
    """What must hold of the numbers of these names."""

    over: tuple[Name, ...]
    holds: Callable[..., bool]


@dataclass(frozen=True, kw_only=True)
class Apart:
    """What comes of the numbers of these names (a product) and should not meet another."""

    over: tuple[Name, ...]
    meets: Callable[..., bool]


@dataclass(kw_only=True)
class Puzzle:
    """Unknowns in the order in which they are placed, what binds them, and numbers that are already
    there: (now, before)."""

    unknowns: list[Unknown] = field(default_factory=list)
    laws: list[Law] = field(default_factory=list)
    aparts: list[Apart] = field(default_factory=list)
    taken: list[tuple[int, int]] = field(default_factory=list)

    def solved(self, *, distinct: bool = True) -> dict[Name, int]:
        """The first choices that keep the laws and in which no two numbers coincide that did not
        before; with as few coincidences as a bounded search finds. Where the laws cannot be kept
        (the recipe's numbers contradict them), the first choice that breaks fewest.

        Deterministic. distinct: whether coincidences matter at all.
        """
        ready = _Ready.of(self)
        for allowed in range(COINCIDENCES + 1) if distinct else ():
            made = ready.search(self.taken, allowed)
            if made is not None:
                return made
        return ready.search([], None) or ready.greedy()


@dataclass(kw_only=True)
class _Ready:
    """A puzzle with its laws and what is to be apart at the unknown that completes them."""

    unknowns: Sequence[Unknown]
    laws: Mapping[int, Sequence[Law]]
    aparts: Mapping[int, Sequence[Apart]]
    left: int = 0

    @classmethod
    def of(cls, puzzle: Puzzle) -> _Ready:
        order = {unknown.name: place for place, unknown in enumerate(puzzle.unknowns)}
        laws, aparts = defaultdict[int, list[Law]](list), defaultdict[int, list[Apart]](list)
        for law in puzzle.laws:
            laws[max(order[name] for name in law.over)].append(law)
        for apart in puzzle.aparts:
            aparts[max(order[name] for name in apart.over)].append(apart)
        return cls(unknowns=puzzle.unknowns, laws=laws, aparts=aparts)

    def search(
        self, taken: Iterable[tuple[int, int]], allowed: int | None
    ) -> dict[Name, int] | None:
        """allowed: so many coincidences; None where they do not matter."""
        self.left = TRIES
        seen: dict[int, frozenset[int]] = {}
        for now, before in taken:
            seen[now] = seen.get(now, frozenset()) | {before}
        return self._place(0, {}, seen, allowed)

    def _place(
        self,
        place: int,
        values: dict[Name, int],
        seen: dict[int, frozenset[int]],
        allowed: int | None,
    ) -> dict[Name, int] | None:
        if place == len(self.unknowns):
            return values
        unknown = self.unknowns[place]
        for choice in unknown.choices:
            if self.left <= 0:
                return None
            self.left -= 1
            now = {**values, unknown.name: choice}
            if not all(law.holds(*(now[n] for n in law.over)) for law in self.laws.get(place, ())):
                continue
            met, also = 0, seen
            if allowed is not None:
                known = seen.get(choice, frozenset())
                also = {**seen, choice: known | {unknown.name[1]}}
                met = int(bool(known - {unknown.name[1]}))
                if choice == 1:  # which is everywhere
                    met = ONE if unknown.choices[0] > 1 else 0
                met += sum(a.meets(*(now[n] for n in a.over)) for a in self.aparts.get(place, ()))
                if met > allowed:
                    continue
            made = self._place(place + 1, now, also, None if allowed is None else allowed - met)
            if made is not None:
                return made
        return None

    def greedy(self) -> dict[Name, int]:
        values: dict[Name, int] = {}
        for place, unknown in enumerate(self.unknowns):
            laws = self.laws.get(place, ())

            def broken(choice: int, laws: Sequence[Law] = laws, name: Name = unknown.name) -> int:
                now = {**values, name: choice}
                return sum(not law.holds(*(now[n] for n in law.over)) for law in laws)

            values[unknown.name] = min(unknown.choices, key=broken)
        return values
