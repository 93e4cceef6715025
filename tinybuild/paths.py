"""Nested mappings by path: walk, read, set, merge and compare them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

# JSON data, to be read: whoever writes into it holds dict[str, Json] or list[Json].
Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Data: TypeAlias = Mapping[str, Json]
# The names from the top down; () is the whole. The place in a list stands as text: ("depths", "0").
Path: TypeAlias = tuple[str, ...]
Inside: TypeAlias = Callable[[str, Data], bool]


def everywhere(name: str, inner: Data) -> bool:
    return True


def mappings(
    tree: Data, inside: Inside = everywhere, path: Path = ()
) -> Iterator[tuple[Path, Data]]:
    """Every mapping with its path, the whole first. `inside(name, mapping)` says which to enter."""
    yield path, tree
    for name, value in tree.items():
        if isinstance(value, Mapping) and inside(name, value):
            yield from mappings(value, inside, (*path, name))


def leaves(tree: Data, inside: Inside = everywhere, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Every value that is not entered, with its path. A mapping with nothing in it is one."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value and inside(name, value):
            yield from leaves(value, inside, (*path, name))
        else:
            yield (*path, name), value


def items(value: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Every value that is neither mapping nor list, with its path through both.

    A config object in memory may have numbers as names ({490: 128}): in a path they are text.
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from items(inner, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from items(inner, (*path, str(place)))
    else:
        yield path, value


def get(tree: Json, path: Path) -> Json:
    """The value at a path, also through lists; None where there is none."""
    for name in path:
        if isinstance(tree, Mapping):
            tree = tree.get(name)
        elif isinstance(tree, list | tuple) and name.isdecimal() and int(name) < len(tree):
            tree = tree[int(name)]
        else:
            return None
    return tree


def mapping(tree: Json, path: Path = ()) -> Data:
    """The mapping at a path; an empty one where there is none."""
    value = get(tree, path)
    return value if isinstance(value, Mapping) else {}


def has(tree: Data, path: Path) -> bool:
    """Whether there is a value at a path, None included."""
    return not path or path[-1] in mapping(tree, path[:-1])


def put(tree: dict[str, Json], path: Path, value: Json) -> None:
    """Set a value in place. What is not a mapping on the way becomes one."""
    for name in path[:-1]:
        inner = tree.get(name)
        if not isinstance(inner, dict):
            inner = tree[name] = {}
        tree = inner
    tree[path[-1]] = value


def having(tree: Json, path: Path, value: Json) -> Json:
    """A copy with another value at a path, also through lists; what is beside it is shared."""
    if not path:
        return value
    name, rest = path[0], path[1:]
    if isinstance(tree, list | tuple):
        place = int(name)
        return [*tree[:place], having(tree[place], rest, value), *tree[place + 1 :]]
    tree = mapping(tree)
    return {**tree, name: having(tree.get(name), rest, value)}


def without(tree: Data, path: Path) -> dict[str, Json]:
    """A copy without the key at a path."""
    made = {name: value for name, value in tree.items() if name != path[0] or len(path) > 1}
    inner = made.get(path[0])
    if isinstance(inner, Mapping):
        made[path[0]] = without(inner, path[1:])
    return made


def merge(below: Data, above: Data) -> dict[str, Json]:
    """Both, deeply: of what is not a mapping on both sides `above` has the last word."""
    made = dict(below)
    for name, value in above.items():
        old = made.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        made[name] = merge(mapping(old), mapping(value)) if both else value
    return made


def differences(old: Json, new: Json, path: Path = ()) -> Iterator[tuple[Path, Json, Json]]:
    """(path, old, new) of each value that differs, sorted by path; None where there is none."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}, key=str):
            yield from differences(old.get(name), new.get(name), (*path, name))
    else:
        yield path, old, new


def whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number: True and 2.0 are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def texts(value: object) -> TypeGuard[Sequence[str]]:
    """Whether a value is a list of texts with at least one in it."""
    if not isinstance(value, list | tuple):
        return False
    return bool(value) and all(isinstance(item, str) for item in value)


def lists(value: Any) -> Any:
    """A value with lists for tuples, at every depth: JSON and YAML know no tuples."""
    return [lists(item) for item in value] if isinstance(value, list | tuple) else value


def wholes(value: object) -> TypeGuard[Sequence[int]]:
    """Whether a value is a list of whole numbers with at least one in it."""
    return isinstance(value, list | tuple) and bool(value) and all(map(whole, value))
