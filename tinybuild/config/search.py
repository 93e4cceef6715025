"""What the rules do not see, a bounded search does: halve what dominates while the model works."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tinybuild.config.distinct import FAR, coincident_sizes, measured
from tinybuild.config.meta import Shapes
from tinybuild.config.shrink import rates
from tinybuild.config.tree import Tree
from tinybuild.keys import NAMES, first, is_id, measures, says, width
from tinybuild.paths import Data, Json, Path, mapping, whole

Group: TypeAlias = tuple[tuple[Path, Json], ...]  # keys to halve together, with their new values

ROUNDS = 12  # accepted halvings
LARGEST = 6  # tensors looked at in each
TRIES = 4  # forwards in each: the savers in their order
WORTH = 32  # a halving saves at least this part: what is large by itself ruins nothing else
NARROW = 32  # a width below which a model of many layers says nothing of its architecture
KEPT = ("vocabulary", "depth")  # measures that are not halved
DEAR = 2  # goals, above which sizes may become equal
EIGHT = 8
LEAST = 4  # a size this small is not halved
WIDE = 512  # an axis above it is a full-size model's
LARGE = 64  # above it what is a multiple of 8 stays one
VARIANTS = 3  # of a half: itself, or a little more
MEASURED = 12  # builds in each: the groups that the largest tensors hang on most


def search(
    tree: Tree,
    goal: int,
    shapes: Callable[[Data], Shapes | None],
    works: Callable[[Data], bool],
    *,
    narrow: bool,
) -> int | None:
    """Halve the sizes that most parameters hang on until there are at most `goal`.

    A size is all the keys that have one value now and had one in the source: what is equal stays
    equal. A half may be a little more, and is where that is the size of something else. What makes
    fewest sizes equal goes first, and more of them only a model that is far too large, whose
    reasons say so; then what leaves no axis of a full-size model, what reaches the goal with the
    least loss, or else what leaves the fewest. What loses a tensor is left. `shapes` builds a
    config of these overrides on the meta device (None where it makes no model), `works` forwards a
    batch and looks at the tensors' axes as at the keys. No width gets below NARROW, and places of
    a text stay, which all parts read alike, unless `narrow`: a recipe's own goal may want it, and
    the reason says so. Keys of the recipe and of exceptions, ids, vocabularies and depths (a layer
    of each kind) stay.
    Deterministic: the same tree gives the same answer. Returns the number of parameters reached,
    None where the tree makes no model at all.
    """
    now = shapes(tree.overrides)
    if now is None:
        return None
    for _ in range(ROUNDS):
        if total(now) <= goal:
            break
        made = list[_Halving]()
        before, dear = _met(tree), narrow or total(now) > DEAR * goal
        for group in _groups(tree, now, narrow=narrow):
            if _narrowed(group) and not narrow:
                continue
            trial = _with(tree, group)
            met = _met(trial)
            smaller = shapes(trial.overrides) if dear or met <= before else None
            if smaller is None or smaller.keys() != now.keys():
                continue
            if total(smaller) <= total(now) - total(now) // WORTH:
                made.append(_Halving(tree=trial, group=group, shapes=smaller, met=met))
        best = sorted(made, key=lambda one: one.rank(goal))[:TRIES]
        taken = next((one for one in best if works(one.tree.overrides)), None)
        if taken is None:
            break
        why = (
            f": below a width of {NARROW}, for the recipe's goal" if _narrowed(taken.group) else ""
        )
        why += f": {FAR}" if taken.met > before else ""
        _set(tree, taken.group, "search" + why)
        now = taken.shapes
    return total(now)


@dataclass(frozen=True, kw_only=True)
class _Halving:
    """What a tree becomes with a group of other sizes. met: how many sizes are equal then that
    differ in the source."""

    tree: Tree
    group: Group
    shapes: Shapes
    met: int

    def rank(self, goal: int) -> tuple[int, int, bool, int]:
        """The lowest is tried first."""
        left = total(self.shapes)
        wide = max(WIDE, *(axis for shape in self.shapes.values() for axis in shape))
        return self.met, wide, left > goal, abs(left - goal)


def _met(tree: Tree) -> int:
    """How many sizes are equal that differ in the source."""
    return sum(1 for _ in coincident_sizes(tree.source, tree.source, tree.data))


def _narrowed(group: Group) -> bool:
    """Whether a config's layers would be narrower than anything real behaves."""
    return any(
        path[-1] in NAMES["width"] and whole(value) and NARROW > value >= NARROW // 2
        for path, value in group
    )


def total(shapes: Shapes) -> int:
    """The number of parameters."""
    return sum(math.prod(shape) for shape in shapes.values())


def _with(tree: Tree, group: Group) -> Tree:
    trial = tree.copy()
    _set(trial, group, "search")
    return trial


def _set(tree: Tree, group: Group, reason: str) -> None:
    derived = [*_derived(tree)]
    for path, value in group:
        tree.set(path, value, reason)
    for path, name, heads in derived:
        wide = width(mapping(tree.data, path))
        if wide and wide % heads == 0:
            tree.set((*path, name), wide // heads, reason)
    rates(tree)  # a codec's hang on the steps between its numbers


def _derived(tree: Tree) -> Iterator[tuple[Path, str, int]]:
    """The config, key and number of heads of each width of a head that is the width's share now
    and in the source."""
    for path, node in tree.nodes():
        before = mapping(tree.source, path)
        named = [first(node, row) for row in ("head dim", "heads")]
        if all(named) and all(_shared(config, *map(str, named)) for config in (node, before)):
            yield path, str(named[0]), int(str(node[str(named[1])]))


def _shared(config: Data, head: str, heads: str) -> bool:
    dim, many = config.get(head), config.get(heads)
    return whole(dim) and whole(many) and dim * many == width(config)


@dataclass(frozen=True, kw_only=True)
class _Mark:
    """What the keys of a group have in common: a number now, and what `by` says."""

    number: int
    by: tuple[Json, ...]


def _groups(tree: Tree, shapes: Shapes, *, narrow: bool) -> Iterator[Group]:
    """The groups that the axes of the largest tensors hang on, each with what it may become: first
    those that are an axis of most numbers, then those that explain one."""
    largest = sorted(shapes.items(), key=lambda item: (-math.prod(item[1]), item[0]))[:LARGEST]
    axes = {axis for _, shape in largest for axis in shape if axis > LEAST}
    groups: dict[_Mark, list[tuple[Path, Json]]] = {}
    for path, name, value in tree.items():
        at = (*path, name)
        told = tree.reasons.get(at, "").startswith("exception")
        kept = measures(name) in KEPT or (not narrow and says(name, "places of a text"))
        if is_id(name) or kept or tree.touches(at) or told:
            continue
        for number in _sizes(value):
            if _halves(name, number) and any(_explains(number, axis) for axis in axes):
                for by in _marks(name, _size_at(tree.was(at), value, number)):
                    mark = _Mark(number=number, by=by)
                    groups.setdefault(mark, []).append((at, value))
    unique: dict[int, Sequence[Group]] = {}
    hanging: dict[int, tuple[int, int]] = {}
    for place, (mark, keys) in enumerate(groups.items()):
        variants = _halved(tree, keys, mark.number)
        if variants not in unique.values():
            unique[place], hanging[place] = variants, _hanging(largest, mark.number)
    most = sorted(unique, key=lambda place: -hanging[place][0])
    exact = sorted(unique, key=lambda place: -hanging[place][1])
    for place in [*dict.fromkeys([*exact[: MEASURED // 2], *most])][:MEASURED]:
        yield from unique[place]


def _hanging(tensors: Sequence[tuple[str, tuple[int, ...]]], number: int) -> tuple[int, int]:
    """How many numbers are in tensors with an axis that a number explains, and with one that it
    is."""
    shapes = [shape for _, shape in tensors]
    near = (s for s in shapes if any(axis > LEAST and _explains(number, axis) for axis in s))
    same = (s for s in shapes if number in s)
    return sum(map(math.prod, near)), sum(map(math.prod, same))


def _halves(name: str, number: int) -> bool:
    """Whether a size may be halved: what experts are wide stays a multiple of 8, the 16 bytes of
    bfloat16 that kernels for groups of experts want."""
    return number > LEAST and not (measures(name) == "expert width" and number % 16 == EIGHT)


def _marks(name: str, was: Json) -> Iterator[tuple[Json, ...]]:
    """By what a key belongs together with others of the same number: equal now and in the source;
    all of one measure; whatever is equal now."""
    yield "equal", measures(name), was
    yield (measures(name) or name,)
    if not says(name, "geometry"):
        yield ("now",)


def _explains(number: int, axis: int) -> bool:
    """Whether an axis could be a size, a multiple of it, or a part."""
    return axis % number == 0 or (number % axis == 0 and number // axis <= 4) or axis - number == 1


def _sizes(value: Json) -> set[int]:
    """The whole numbers in a value: its own, or those of a list, also of lists."""
    if isinstance(value, list | tuple):
        return {number for item in value for number in _sizes(item)}
    return {value} if whole(value) else set()


def _size_at(was: Json, value: Json, number: int) -> Json:
    """What `number` was in the source, where the shapes of the values still agree."""
    if not isinstance(value, list | tuple):
        return was if value == number else None
    if not isinstance(was, list | tuple) or len(was) != len(value):
        return None
    inside = (_size_at(old, new, number) for old, new in zip(was, value, strict=True))
    return next((size for size in inside if size is not None), None)


def _halved(tree: Tree, keys: Sequence[tuple[Path, Json]], number: int) -> Sequence[Group]:
    """Keys with about half of a number, and with a little more: what is nothing else in their
    configs, and no other width of the tree where they are widths, comes first."""
    places = {path for path, _ in keys}
    around = {path[:-1] for path in places}
    wide = any(measures(path[-1]) == "width" for path in places)
    taken = {
        size
        for path, name, value in tree.items()
        if measured(name) and (path in around or (wide and measures(name) == "width"))
        for size in _sizes(value)
        if (*path, name) not in places or size != number
    }
    half = number // 2
    if number > LARGE and number % EIGHT == 0:
        half = -(-half // EIGHT) * EIGHT
    step = math.gcd(half, EIGHT)
    # Rows of experts are multiplied in groups, of multiples of 16 bytes.
    experts = any(measures(name) == "experts" for _, name, _ in tree.items())
    counts = all(measures(path[-1]) == "experts" for path, _ in keys)
    finer = 1 if counts else step if experts else max(1, step // 2)
    choices = dict.fromkeys([*range(half, number, step), *range(half, number, finer)])
    free = sorted(choices, key=lambda n: n in taken)[:VARIANTS]
    return [tuple((path, _through(value, number, new)) for path, value in keys) for new in free]


def _through(value: Json, number: int, new: int) -> Json:
    if isinstance(value, list | tuple):
        return [_through(item, number, new) for item in value]
    return new if whole(value) and value == number else value
