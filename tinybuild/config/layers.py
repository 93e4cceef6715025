"""Which layers are kept: one of each distinct kind; lists and numbers by layer are cut alike."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tinybuild.config.tree import Tree, divisor
from tinybuild.keys import (
    BY_LAYER,
    NAMES,
    counted,
    first,
    is_depth,
    is_id,
    measures,
    numbers_layers,
    of_modality,
    says,
    takes_layers,
)
from tinybuild.paths import Data, Json, Path, mapping, texts, whole, wholes

KEPT = "rule depth: the kept layers'"
EACH = "rule depth: one layer of each kind"
# The width of a head, and its parts with multi-head latent attention.
HEAD = ("head_dim", "qk_nope_head_dim", "qk_rope_head_dim")
COUNTS = ("heads", "kv heads", "experts", "top k", "groups", "top groups", "depth")


def stacks(tree: Tree) -> Iterator[tuple[Stack, int, bool]]:
    """Each stack of layers with the least depth that has every kind of layer, and whether it may be
    deeper; the recipe's own depth where that says."""
    for stack, _, wished in _stacks(tree):
        least = len(stack.kept(_least(tree, stack), wished))
        yield stack, least, wished is None and not tree.layers


def _least(tree: Tree, stack: Stack) -> int:
    """The least depth, whatever kinds of layers there are."""
    return max(tree.layers or 2, _fed(tree, stack.path))


def depth(tree: Tree) -> None:
    """One layer of each distinct kind, the lists by layer and the layer numbers cut alike."""
    for stack, names, wished in list(_stacks(tree)):
        path, number = stack.path, stack.number
        kept = stack.kept(tree.sizes.get((path, "depth", number)) or _least(tree, stack), wished)
        stack.cut(tree, kept)
        for name in names:
            tree.set((*path, name), len(kept), EACH)
        for name, value in list(mapping(tree.data, path).items()):
            if says(name, "place of a layer") and whole(value) and 0 < value < number:
                tree.set((*path, name), value * len(kept) // number, KEPT)
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            if says(name, "spread layers") and whole(value) and value > 1:
                tree.set((*path, name), 1, EACH)


def _stacks(tree: Tree) -> Iterator[tuple[Stack, list[str], int | None]]:
    """Each stack of layers, the keys that have its depth, and the depth that the recipe sets."""
    towers = [
        (path, number)
        for path, node in tree.nodes()
        for name, number in node.items()
        if whole(number) and is_depth(name, number)
    ]
    for path, node in tree.nodes():
        found: dict[tuple[int, Json], list[str]] = {}
        for name, value in node.items():
            if whole(value) and is_depth(name, value):
                was = tree.was((*path, name))
                mark = (was if whole(was) else value, tree.fixed.get((*path, name)))
                found.setdefault(mark, []).append(name)
        listed = len(counted(mapping(tree.source, path)))
        if listed:
            given = [tree.fixed[*path, n] for n in NAMES["depth"] if (*path, n) in tree.fixed]
            found = {(listed, given[0] if given else None): []}
        elsewhere = _taken_elsewhere(tree, path, towers)
        for (number, wished), names in sorted(found.items(), key=repr, reverse=True):
            stack = Stack.of(tree, path, number, elsewhere)
            yield stack, names, wished if whole(wished) else None


def _taken_elsewhere(
    tree: Tree, tower: Path, towers: Sequence[tuple[Path, int]]
) -> dict[Path, list[int]]:
    """Lists of taken layers that stand in another config than the layers they number.

    They belong to the tower beside them that sees or hears, and has that many layers.
    """
    lists: dict[Path, list[int]] = {}
    for path, name, value in tree.items():
        if not (says(name, "layers taken") and wholes(value)):
            continue
        fitting = [place for place, number in towers if takes_layers(name, value, number)]
        beside = [place for place in fitting if place and of_modality(place[-1], "image", "audio")]
        if path not in fitting and beside and beside[0] == tower:
            lists[(*path, name)] = list(value)
    return lists


def _fed(tree: Tree, tower: Path) -> int:
    """How many layers of a text are fed from layers of the tower beside it, and one more: without
    it what the last is fed reaches no other token, and nothing that made it learns."""
    if not tower or not of_modality(tower[-1], "text"):
        return 0
    tapped = (
        len(value) + 1
        for path, name, value in tree.items()
        if path[:-1] == tower[:-1] and says(name, "layers tapped") and wholes(value)
    )
    return max(tapped, default=0)


def _member(name: str, index: int, numbers: Sequence[int]) -> str:
    """Whether a layer is in a list; where each of the list feeds another, which of them it is."""
    if says(name, "layers tapped") and index in numbers:
        return str(numbers.index(index))
    return str(index in numbers)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The `number` layers of a config, and all that it says of them.

    by_layer: lists with an entry for each. members: lists with the numbers of layers of another
    kind. taken: lists of layers whose outputs are taken, at their paths. first, last: so many of
    them are of another kind. own: what differs by layer, by its number. cycle: the least depth that
    shows every kind where kinds repeat.
    """

    path: Path
    number: int
    by_layer: Mapping[str, Sequence[Json]]
    members: Mapping[str, Sequence[int]]
    taken: Mapping[Path, Sequence[int]]
    first: Mapping[str, int]
    last: Mapping[str, int]
    own: Mapping[int, Json]
    cycle: int

    @classmethod
    def of(cls, tree: Tree, path: Path, number: int, elsewhere: Mapping[Path, list[int]]) -> Stack:
        node = mapping(tree.data, path)
        members = {n: v for n, v in node.items() if wholes(v) and numbers_layers(n, v, number)}
        by_layer = {
            name: value
            for name, value in node.items()
            if isinstance(value, list | tuple)
            and len(value) == number > 1
            and not (says(name, "layers taken") or is_id(name) or name in members)
        }
        taken = {
            (*path, name): list(value)
            for name, value in node.items()
            if wholes(value) and takes_layers(name, value, number)
        }
        counts = {n: v for n, v in node.items() if whole(v) and 0 < v <= number}
        first = {n: v for n, v in counts.items() if says(n, "first layers")}
        last = {n: v for n, v in counts.items() if says(n, "last layers") and n not in first}
        return cls(
            path=path,
            number=number,
            by_layer=by_layer,
            members=members,
            taken={**taken, **elsewhere},
            first=first,
            last=last,
            own=_smaller(node, mapping(tree.source, path)),
            cycle=0 if by_layer else max(_period(node), _longest_cycle(node, number)),
        )

    def mark(self, index: int) -> str:
        """What tells the kinds of layers apart."""
        parts = [repr(self.own.get(index))] + [repr(v[index]) for v in self.by_layer.values()]
        parts += [_member(name, index, value) for name, value in self.members.items()]
        parts += [str(index < bound) for bound in self.first.values()]
        parts += [str(index < self.number - bound) for bound in self.last.values()]
        return "|".join(parts)

    def kept(self, least: int, wished: int | None) -> list[int]:
        """The layers to keep: `least`, or as many as there are kinds.

        `wished` is the recipe's own depth: as many, the kinds first, and the pattern again where
        that is deeper than the source.
        """
        kinds: dict[str, int] = {}
        for index in range(self.number):
            kinds.setdefault(self.mark(index), index)
        kept = sorted(kinds.values())
        # The last layer keeps its kind: some classes look at it (shared keys, norms).
        kept.remove(kinds[self.mark(self.number - 1)])
        kept.append(self.number - 1)
        extra = [index for index in range(self.number) if index not in kept]
        if wished is not None:
            kept = sorted([*kept, *extra][:wished])
            return kept + [index % self.number for index in range(len(kept), wished)]
        least = max(least, self.cycle, *(len(set(value)) for value in self.taken.values()), 0)
        return sorted([*kept, *extra[: max(0, min(least, self.number) - len(kept))]])

    def cut(self, tree: Tree, kept: Sequence[int]) -> None:
        """Cut the lists and numbers that speak of layers alike."""
        for name, value in self.by_layer.items():
            tree.set((*self.path, name), [value[index] for index in kept], KEPT)
        for name, numbers in self.members.items():
            places = [place for place, index in enumerate(kept) if index in numbers]
            tree.set((*self.path, name), places, KEPT)
        if self.own:
            own = {place: self.own[index] for place, index in enumerate(kept) if index in self.own}
            tree.set((*self.path, BY_LAYER), cast("Json", own), KEPT)  # keys that are numbers
        for name, bound in self.first.items():
            tree.set((*self.path, name), sum(index < bound for index in kept), KEPT)
        for name, bound in self.last.items():
            tree.set((*self.path, name), sum(index >= self.number - bound for index in kept), KEPT)
        for place, taken in self.taken.items():
            tree.set(place, _spread(taken, self.number, len(kept)), "rule depth: layers taken")


def _smaller(node: Data, source: Data) -> dict[int, Json]:
    """What differs by layer, as much smaller as the whole: what is another number than the whole's
    is one again, on the same side of it."""
    made: dict[int, Json] = {}
    for index, given in mapping(node.get(BY_LAYER)).items():
        own = dict(mapping(given))
        for name, value in own.items():
            if whole(value):
                own[name] = beside(name, value, node, source)
        before, after = (
            [{**whole_, **layer}.get(n) for n in HEAD]
            for whole_, layer in ((source, mapping(given)), (node, own))
        )
        if (
            wholes(before)
            and wholes(after)
            and before[0] == sum(before[1:])
            and after[0] != sum(after[1:])
        ):
            own[HEAD[0]] = sum(after[1:])
        made[int(index)] = own
    return made


def beside(name: str, value: int, node: Data, source: Data) -> int:
    """A layer's own number, in proportion to the whole's: kv heads divide the heads, and of experts
    there are as many as are chosen."""
    now, was = node.get(name), source.get(name)
    if not (whole(now) and whole(was)) or min(now, was, value) <= 0:
        return value
    if value == was:
        return now
    step = 1 if measures(name) in COUNTS else math.gcd(now, 8)
    new = max(now * value // was // step * step, step)
    if (new > now) != (value > was) or new == now:
        new = now + step if value > was else max(now - step, 1)
    heads, chosen = (node.get(first(node, names) or "") for names in ("heads", "top k"))
    if whole(heads) and measures(name) == "kv heads":
        return divisor(heads, new)
    return max(new, chosen) if whole(chosen) and measures(name) == "experts" else new


def _longest_cycle(node: Data, number: int) -> int:
    """The longest list of kinds shorter than the depth, which repeats."""
    return max(
        (
            len(value)
            for name, value in node.items()
            if texts(value) and says(name, "cycle of layers") and 1 < len(value) < number
        ),
        default=0,
    )


def _period(node: Data) -> int:
    """The least depth that shows every kind where each n-th layer is of another."""
    most = 0
    for name, value in node.items():
        if whole(value) and 1 < value <= 8 and says(name, "period of layers"):
            offset = node.get(re.sub(r"_period$", "_offset", name))
            most = max(most, (offset + 1) if whole(offset) and "_period" in name else value)
    return most


def _spread(taken: Sequence[int], before: int, now: int) -> list[Json]:
    """Numbers of layers in a shallower model: as many, in order, the last near the end.

    A layer's states have number 0 for what goes into the first layer; negative numbers count from
    the end, and still do afterwards.
    """
    places = [item if item >= 0 else before + 1 + item for item in taken]
    unique = sorted(set(places))
    top = now - (before - unique[-1] if unique[-1] >= before - 1 else 1)
    rank = {item: max(top - (len(unique) - 1 - n), 0) for n, item in enumerate(unique)}
    return [
        rank[place] if item >= 0 else rank[place] - now - 1
        for item, place in zip(taken, places, strict=True)
    ]
