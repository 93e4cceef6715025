"""What the rules do not see, a bounded search does: halve what dominates while the model works."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tinybuild.config.tree import Tree
from tinybuild.keys import is_id
from tinybuild.keys import measures as kind
from tinybuild.paths import Path

# Tensor name -> shape of a model on the meta device; None where the config makes none.
Shapes = Mapping[str, tuple[int, ...]]
Measure = Callable[[Mapping[str, Any]], Shapes | None]
Works = Callable[[Mapping[str, Any]], bool]

ROUNDS = 12  # accepted halvings
LARGEST = 6  # tensors looked at in each
TRIES = 3  # forwards in each: the savers in their order
WORTH = 32  # a halving saves at least this part: what is large by itself ruins nothing else
LEAST = 4  # a size this small is not halved
MEASURED = 8  # builds in each: the groups that the largest tensors hang on most


def search(tree: Tree, goal: int, measure: Measure, works: Works) -> int | None:
    """Halve the sizes that most parameters hang on until there are at most `goal`.

    A size is all the keys that have one value now and had one in the source: what is equal stays
    equal. `measure` builds on the meta device, `works` forwards a batch. Keys of the recipe, ids
    and vocabularies stay. Deterministic: the same tree gives the same answer. Returns the number of
    parameters reached, None where the tree makes no model at all.
    """
    shapes = measure(tree.overrides)
    if shapes is None:
        return None
    count = total(shapes)
    for _ in range(ROUNDS):
        if count <= goal:
            break
        made: list[tuple[int, int, list[tuple[Path, Any]]]] = []
        for rank, group in enumerate(_groups(tree, shapes)):
            trial = _with(tree, group)
            smaller = measure(trial.overrides)
            if smaller is not None and total(smaller) <= count - count // WORTH:
                made.append((total(smaller), rank, group))
        for fewer, _, group in sorted(made, key=lambda item: item[:2])[:TRIES]:
            trial = _with(tree, group)
            if works(trial.overrides):
                for path, value in group:
                    tree.set(path, value, "search")
                count, shapes = fewer, measure(tree.overrides) or shapes
                break
        else:
            break
    return count


def total(shapes: Shapes) -> int:
    """The number of parameters."""
    return sum(math.prod(shape) for shape in shapes.values())


def _with(tree: Tree, group: list[tuple[Path, Any]]) -> Tree:
    trial = tree.copy()
    for path, value in group:
        trial.set(path, value, "search")
    return trial


def _groups(tree: Tree, shapes: Shapes) -> Iterator[list[tuple[Path, Any]]]:
    """Keys to halve together, with their new values, for the axes of the largest tensors."""
    largest = sorted(shapes.items(), key=lambda item: (-math.prod(item[1]), item[0]))[:LARGEST]
    axes = {axis for _, shape in largest for axis in shape if axis > LEAST}
    groups: dict[tuple[Any, ...], list[tuple[Path, Any]]] = {}

    def hangs(mark: tuple[Any, ...]) -> Callable[[int], bool]:
        return lambda axis: axis > LEAST and _explains(mark[0], axis)

    for path, node in tree.nodes():
        for name, value in node.items():
            place = (*path, name)
            if is_id(name) or kind(name) == "vocabulary" or tree.touches(place):
                continue
            for number in _sizes(value):
                if number > LEAST and any(_explains(number, axis) for axis in axes):
                    new = _halved(value, number)
                    # Equal now and in the source; all of one kind; whatever is equal now.
                    was = _sizes_at(tree.was(place), value, number)
                    measured = kind(name)
                    groups.setdefault((number, "equal", measured, was), []).append((place, new))
                    groups.setdefault((number, measured or name), []).append((place, new))
                    if not GEOMETRY.search(name):
                        groups.setdefault((number, "now"), []).append((place, new))
    unique: list[list[tuple[Path, Any]]] = []
    weights: list[int] = []
    for mark, group in groups.items():
        if group not in unique:
            unique.append(group)
            weights.append(sum(math.prod(s) for _, s in largest if any(map(hangs(mark), s))))
    order = sorted(range(len(unique)), key=lambda n: (-weights[n], n))
    yield from (unique[n] for n in order[:MEASURED])


GEOMETRY = re.compile(r"image|img|patch|pixel|window|crop|grid|resolution|frames|length|num_layers")


def _explains(number: int, axis: int) -> bool:
    """Whether an axis could be a size, a multiple of it, or a part."""
    return axis % number == 0 or (number % axis == 0 and number // axis <= 4) or axis - number == 1


def _sizes(value: Any) -> set[int]:
    """The whole numbers in a value: its own, or those of a list, also of lists."""
    if isinstance(value, list | tuple):
        return {number for item in value for number in _sizes(item)}
    if isinstance(value, int) and not isinstance(value, bool):
        return {value}
    return set()


def _sizes_at(was: Any, value: Any, number: int) -> Any:
    """What `number` was in the source, where the shapes of the values still agree."""
    if isinstance(value, list | tuple):
        if not isinstance(was, list | tuple) or len(was) != len(value):
            return None
        for old, new in zip(was, value, strict=True):
            found = _sizes_at(old, new, number)
            if found is not None:
                return found
        return None
    return was if value == number else None


def _halved(value: Any, number: int) -> Any:
    if isinstance(value, list | tuple):
        return [_halved(item, number) for item in value]
    return number // 2 if value == number and not isinstance(value, bool) else value
