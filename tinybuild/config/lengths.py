"""Lengths: vocabularies and positions, which follow nothing else in a config."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinybuild.config.distinct import NEEDED
from tinybuild.config.tree import Number, Tree
from tinybuild.keys import is_id, measures
from tinybuild.paths import whole

PLACED = ("width", "channels")  # sizes that are chosen by now
SHORTER = (16, 14, 12, 10, 15, 13, 11, 9, 8)  # sixteenths of the positions, best first
LONGER = 32  # a vocabulary, or positions that fit, are longer by one part of so many


def lengths(tree: Tree) -> None:
    """At most the size's; in the source equal ones stay equal, and what differs in one config
    differs from one another and from its widths. Of vocabularies that differ the smaller in the
    source is the smaller."""
    most = tree.size.lengths
    numbers = [n for n in tree.numbers(*most) if n.at not in tree.fixed]
    small = [n for n in numbers if n.value <= most[measures(n.name)]]
    large = [n for n in numbers if n not in small]
    positions = [n for n in (*small, *large) if measures(n.name) == "positions"]
    vocabularies = sorted((n for n in large if n not in positions), key=lambda n: n.was)
    became = {("vocabulary", n.was): n.value for n in small if n not in positions}
    for number in (*positions, *vocabularies):
        measured = measures(number.name)
        size = (measured, number.was)
        if size not in became:
            plain = min(number.value, most[measured])
            alike = [n for n in numbers if (measures(n.name), n.was) == size]
            taken = {now for n in alike for now in _taken(tree, n, became)}
            kept = plain == number.value  # a processor may fill as many places as the source has
            choices = _longer(plain) if measured == "vocabulary" or kept else _shorter(plain)
            free = (n for n in tree.free(*size, choices) if n not in taken)
            became[size] = plain if tree.alike.parts else next(free, plain)
            tree.sizes[(), measured, number.was] = became[size]
        if became[size] != number.value:
            why = f": plain, {NEEDED}" if tree.alike.parts else ""
            tree.set(number.at, became[size], f"rule {measured}{why}")


def _taken(tree: Tree, number: Number, became: dict[tuple[str, int], int]) -> Iterator[int]:
    """What the other sizes of its config are that were no such number."""
    for name, value in number.node.items():
        at, measured = (*number.at[:-1], name), measures(name)
        if not whole(value) or is_id(name) or not measured:
            continue
        was = tree.was(at)
        if was == number.was:
            continue
        if at in tree.fixed or measured in PLACED:
            yield value
        elif whole(was) and (measured, was) in became:
            yield became[measured, was]


def _shorter(plain: int) -> Sequence[int]:
    return [plain * part // 16 for part in SHORTER]


def _longer(plain: int) -> Sequence[int]:
    return [plain + plain * times // LONGER for times in range(LONGER)]
