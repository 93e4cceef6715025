"""Numbers chosen together: each from a short list, by laws, and unequal where they were unequal."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

Name: TypeAlias = tuple[str, int]  # what a number measures, and what it was
Values: TypeAlias = dict[Name, int]
Seen: TypeAlias = Mapping[int, frozenset[int]]  # number -> what was it

TRIES = 3000  # numbers placed before an answer may cost more
# The most that an answer may cost before one that breaks no law is made better step by step; what a
# coincidence costs, a number that is dear, and a 1 that was more, with which much is as without.
MOST, EACH, DEAR, ONE = 4, 2, 1, 4


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """A number to choose: what it may become, best first. dear: what is above is half as
    bad as a coincidence."""

    name: Name
    choices: tuple[int, ...]
    dear: int | None = None


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


@dataclass(frozen=True, kw_only=True)
class Product:
    """Numbers of these names whose product (or `of` them) is a size as well, and what it was."""

    over: tuple[Name, ...]
    was: int
    of: Callable[[Iterable[int]], int] = math.prod


@dataclass(kw_only=True)
class Puzzle:
    """Unknowns in the order in which they are placed, what binds them, and numbers that are already
    there: (now, before)."""

    unknowns: list[Unknown] = field(default_factory=list)
    laws: list[Law] = field(default_factory=list)
    aparts: list[Apart] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    taken: list[tuple[int, int]] = field(default_factory=list)

    def solved(self, *, distinct: bool = True) -> Values:
        """The first choices that keep the laws and in which no two numbers coincide that did not
        before; at as little cost as a bounded search finds: among many sizes a better one of one or
        two at a time, from an answer that keeps the laws alone. Where the laws cannot be kept
        (the recipe's numbers contradict them), the first choice that breaks fewest.

        Deterministic. distinct: whether coincidences matter at all.
        """
        ready = _Ready.of(self)
        for allowed in range(MOST + 1) if distinct else ():
            made = ready.search(self.taken, allowed)
            if made is not None:
                return made
        plain = ready.search([], None)
        return ready.bettered(plain, self.taken) if plain and distinct else plain or ready.greedy()


T = TypeVar("T", Law, Apart, Product)


@dataclass(kw_only=True)
class _Ready:
    """A puzzle with all that binds its unknowns at the one that completes it. left: the numbers
    that may still be placed."""

    unknowns: Sequence[Unknown]
    laws: Mapping[int, Sequence[Law]]
    aparts: Mapping[int, Sequence[Apart]]
    products: Mapping[int, Sequence[Product]]
    left: int = 0

    @classmethod
    def of(cls, puzzle: Puzzle) -> _Ready:
        order = {unknown.name: place for place, unknown in enumerate(puzzle.unknowns)}

        def placed(found: Iterable[T]) -> Mapping[int, Sequence[T]]:
            made = defaultdict[int, list[T]](list)
            for one in found:
                made[max(order[name] for name in one.over)].append(one)
            return made

        return cls(
            unknowns=puzzle.unknowns,
            laws=placed(puzzle.laws),
            aparts=placed(puzzle.aparts),
            products=placed(puzzle.products),
        )

    def search(self, taken: Iterable[tuple[int, int]], allowed: int | None) -> Values | None:
        """The first answer that costs so much at most; None for `allowed`: they do not matter."""
        self.left = TRIES
        return self._place({}, _seen(taken), allowed)

    def _place(self, values: Values, seen: Seen, allowed: int | None) -> Values | None:
        place = len(values)
        if place == len(self.unknowns):
            return values
        unknown = self.unknowns[place]
        for choice in unknown.choices:
            self.left -= 1
            if self.left < 0:
                return None
            now = {**values, unknown.name: choice}
            if not self._lawful(place, now):
                continue
            also, left = seen, allowed
            if allowed is not None:
                also, met = self._met(place, now, seen)
                left = allowed - met
            made = self._place(now, also, left) if left is None or left >= 0 else None
            if made is not None:
                return made
        return None

    def _met(self, place: int, values: Values, seen: Seen) -> tuple[Seen, int]:
        """What is there with the number just placed, and what coincidences cost that it brings."""
        unknown = self.unknowns[place]
        numbers = [(values[unknown.name], unknown.name[1])]
        for product in self.products.get(place, ()):
            numbers.append((product.of(values[name] for name in product.over), product.was))
        aparts = self.aparts.get(place, ())
        met = EACH * sum(a.meets(*(values[n] for n in a.over)) for a in aparts)
        met += ONE * (values[unknown.name] == 1 < unknown.choices[0])
        met += DEAR * (unknown.dear is not None and values[unknown.name] > unknown.dear)
        also = dict(seen)
        for now, before in numbers:
            known = also.get(now, frozenset())
            met += EACH * (now > 1 and bool(known - {before}))
            also[now] = known | {before}
        return also, met

    def bettered(self, values: Values, taken: Sequence[tuple[int, int]]) -> Values:
        """An answer that keeps the laws, with one or two other numbers while it costs less."""
        least, seen = self._cost(values, _seen(taken), math.inf), _seen(taken)
        while True:
            for moved in self._moves(values):
                cost = self._cost(moved, seen, least)
                if cost < least:
                    values, least = moved, cost
                    break
            else:
                return values

    def _moves(self, values: Values) -> Iterator[Values]:
        ones = [
            {**values, unknown.name: choice}
            for unknown in self.unknowns
            for choice in unknown.choices
            if choice != values[unknown.name]
        ]
        yield from ones
        for one, other in itertools.combinations(ones, 2):
            changed = {n: v for n, v in other.items() if v != values[n]}
            if not any(one[name] != values[name] for name in changed):
                yield {**one, **changed}

    def _cost(self, values: Values, seen: Seen, most: float) -> float:
        """What an answer costs, or more than `most`; without end where it breaks a law."""
        placed: Values = {}
        cost = 0
        for place, unknown in enumerate(self.unknowns):
            placed[unknown.name] = values[unknown.name]
            if not self._lawful(place, placed):
                return math.inf
            seen, met = self._met(place, placed, seen)
            cost += met
            if cost >= most:
                break
        return cost

    def _lawful(self, place: int, values: Values) -> bool:
        return all(law.holds(*(values[n] for n in law.over)) for law in self.laws.get(place, ()))

    def greedy(self) -> Values:
        values: Values = {}
        for place, unknown in enumerate(self.unknowns):
            laws = self.laws.get(place, ())

            def broken(choice: int, laws: Sequence[Law] = laws, name: Name = unknown.name) -> int:
                now = {**values, name: choice}
                return sum(not law.holds(*(now[n] for n in law.over)) for law in laws)

            values[unknown.name] = min(unknown.choices, key=broken)
        return values


def _seen(taken: Iterable[tuple[int, int]]) -> Seen:
    """What the numbers that are there were."""
    seen: dict[int, frozenset[int]] = {}
    for now, before in taken:
        seen[now] = seen.get(now, frozenset()) | {before}
    return seen
