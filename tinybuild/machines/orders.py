"""Which recipes go to workers, with which files, and how many together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinybuild import source
from tinybuild.engine import stored
from tinybuild.engine.plan import Zoo
from tinybuild.engine.shards import cost
from tinybuild.errors import Fault
from tinybuild.paths import Data
from tinybuild.recipe import Recipe, lock, zoofile

LARGEST = 100_000_000  # bytes of local files that travel with a recipe
GROUP = 60.0  # expected seconds of a parcel of small recipes: importing torch takes 8 of them
SHARES = 3  # parcels that each worker should get at least, so that none ends long after the others


@dataclass(frozen=True, kw_only=True)
class Order:
    """A recipe that a worker is to build. files: where its own are, by their path in a parcel.
    upstream: the recipes that it is made from, whose files are theirs. cost: expected seconds.
    longest: seconds that its stages may take, by their limits."""

    name: str
    files: Mapping[str, Path]
    upstream: tuple[str, ...]
    packages: tuple[str, ...]
    cost: float
    longest: float


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What there is to send. root: the zoo's folder in a parcel. away: by name. home: recipes that
    are built here, and why."""

    root: str
    away: Mapping[str, Order]
    home: Mapping[str, str]

    def content(self, names: Iterable[str]) -> dict[str, bytes]:
        """The files of recipes and of all that they are made from, read now."""
        files = dict[str, Path]()
        for name in self.whole(names):
            files.update(self.away[name].files)
        return {name: path.read_bytes() for name, path in files.items()}

    def whole(self, names: Iterable[str]) -> list[str]:
        """Recipes and all that they are made from."""
        todo, found = list(names), dict[str, None]()
        while todo:
            name = todo.pop()
            if name not in found:
                found[name] = None
                todo += self.away[name].upstream
        return [*found]


def orders(zoo: Zoo, names: Sequence[str], took: Mapping[str, float]) -> Orders:
    """What of these recipes, and of those that they are made from, workers can build. names: in the
    order of need. took: seconds of recipes in a past build."""
    local = {name: _local(zoo.recipes[name]) for name in names}
    top = Path(os.path.commonpath([zoo.root, *(p for paths in local.values() for p in paths)]))
    home, away = dict[str, str](), dict[str, Order]()
    for name in names:
        upstream = made_from(zoo, name)
        here = next((other for other in upstream if other in home), None)
        why = f"it is made from {here}" if here else _stays(zoo, name, local[name])
        if why:
            home[name] = why
            continue
        recipe, tasks = zoo.recipes[name], zoo.tasks_of(name)
        paths = [recipe.file, lock.place(recipe.file), zoo.root / zoofile.FILE, *local[name]]
        away[name] = Order(
            name=name,
            files={path.relative_to(top).as_posix(): path for path in paths if path.is_file()},
            upstream=upstream,
            packages=tuple(
                wish.text() for task in tasks for wish in task.wishes if wish.kind == "package"
            ),
            cost=took.get(name) or cost(tasks),
            longest=recipe.data["limits"]["seconds"] * len(tasks),
        )
    return Orders(root=zoo.root.relative_to(top).as_posix(), away=away, home=home)


def made_from(zoo: Zoo, name: str) -> tuple[str, ...]:
    """The recipes that a recipe is made from, directly."""
    others = (before for task in zoo.tasks_of(name) for before in task.before)
    names = (task.partition(":")[2] for task in others)
    return tuple(dict.fromkeys(other for other in names if other != name))


def _local(recipe: Recipe) -> list[Path]:
    """The files of this machine that a recipe is made from; what is wrong with them is said by the
    build."""
    paths = list[Path]()
    for wish in source.wishes(recipe.data, recipe.file.parent):
        try:
            names = source.local(wish)
        except (Fault, OSError):
            continue
        place = Path(os.path.normpath(wish.place))
        paths += [place] if place.is_file() else [place / name for name in names]
    return paths


def _stays(zoo: Zoo, name: str, local: Sequence[Path]) -> str:
    """Why a recipe is built here; "" where a worker can."""
    recipe = zoo.recipes[name]

    def pins(other: str) -> Data:
        fetch = zoo.tasks.get(f"fetch:{other}")
        return stored.wished(fetch.settings) if fetch is not None else {}

    if lock.unfit(recipe):
        return "its lock is to be written"
    if stored.closed(pins(name), pins):
        return "the store keeps nothing of a gated repository"
    if sum(path.stat().st_size for path in local) > LARGEST:
        return f"it has more than {LARGEST / 1e6:.0f} MB of local files"
    return ""


def grouped(orders: Sequence[Order], places: int) -> Iterator[tuple[Order, ...]]:
    """Orders that can be done now, the dearest first; small ones together. places: how many parcels
    are worked at at a time."""
    total = sum(order.cost for order in orders)
    most = min(GROUP, total / (SHARES * max(places, 1)))
    group, sum_ = list[Order](), 0.0
    for order in sorted(orders, key=lambda order: (-order.cost, order.name)):
        if group and sum_ + order.cost > most:
            yield tuple(group)
            group, sum_ = [], 0.0
        group.append(order)
        sum_ += order.cost
    if group:
        yield tuple(group)
