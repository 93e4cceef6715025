"""Deals recipes out to machines that do not speak with one another, by what each costs.

Every machine deals the whole selection the same way and takes its own share. So the cost comes from
what all of them have: the recipes, and one past run's seconds where all are given the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tinybuild.engine.plan import Zoo
from tinybuild.engine.stages import Task
from tinybuild.errors import RecipeFault
from tinybuild.paths import Json, get, whole

# Seconds that a stage takes on one core: means of the 636 recipes of this repository.
SECONDS: Mapping[str, float] = {
    "fetch": 0.1,
    "dataset": 1.0,
    "tokenizer": 0.4,
    "model": 2.3,
    "validate": 2.8,
    "pack": 0.1,
}
TOKENS = 1_500  # of a vocabulary, that take one more second
SHARD = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The share `number` (from 1) of `count`."""

    number: int
    count: int

    @classmethod
    def read(cls, text: str, where: str) -> Shard:
        """From I/N; raises RecipeFault."""
        match = SHARD.fullmatch(text)
        if match is None or int(match[1]) > int(match[2]):
            hint = "write I/N, such as 1/4, where I is at most N"
            raise RecipeFault.of(f"{text!r} is not a shard", where=where, hint=hint)
        return cls(number=int(match[1]), count=int(match[2]))


def cost(tasks: Iterable[Task]) -> float:
    """Expected seconds, as recipes tell."""
    return sum(SECONDS[task.stage] + _more(task) for task in tasks)


def _more(task: Task) -> float:
    """What a large vocabulary adds: it is learned, and checked."""
    tokens = get(task.settings, ("tokenizer", "vocab_size")) if task.stage == "tokenizer" else 0
    return tokens / TOKENS if whole(tokens) else 0


def remembered(file: Path, where: str) -> dict[str, float]:
    """Recipe -> the seconds that its build took, from a build's run.json; raises RecipeFault."""
    try:
        data: Json = json.loads(file.read_bytes())
    except OSError as error:
        raise RecipeFault.of(f"{file.name}: {error.strerror}", where=where) from None
    except ValueError:
        data = None
    listed = get(data, ("recipes",))
    if not isinstance(listed, list):
        hint = "give the build/run.json of a build"
        raise RecipeFault.of(f"{file.name} does not tell what recipes took", where=where, hint=hint)
    took = {str(get(one, ("recipe",))): get(one, ("seconds",)) for one in listed}
    return {name: float(s) for name, s in took.items() if isinstance(s, int | float) and s > 0}


def deal(
    zoo: Zoo, names: Collection[str], shard: Shard, took: Mapping[str, float] = MappingProxyType({})
) -> tuple[str, ...]:
    """The names of a selection that are one shard's, in their order. took: seconds of recipes.

    The dearest is dealt first, each to where the longest shard grows least, then to where least is
    done twice (a shard builds what its recipes are made from as well), then to the shortest. A name
    without tasks, such as a broken recipe's, costs nothing.
    """
    every = {name: {task.name: task for task in _all(zoo, name)} for name in names}
    made = {task.recipe.name for tasks in every.values() for task in tasks.values()}
    rates = {name: took[name] / cost(zoo.tasks_of(name)) for name in made if name in took}

    def seconds(tasks: Iterable[Task]) -> float:
        return sum(rates.get(task.recipe.name, 1) * cost([task]) for task in tasks)

    costs = {name: seconds(tasks.values()) for name, tasks in every.items()}
    loads, held = [0.0] * shard.count, [set[str]() for _ in range(shard.count)]
    dealt = dict[str, int]()
    for name in sorted(every, key=lambda name: (-costs[name], name)):
        tasks = every[name].items()
        more = [seconds(task for key, task in tasks if key not in have) for have in held]
        ends = [load + rest for load, rest in zip(loads, more, strict=True)]
        most = max(loads)
        place = min(range(shard.count), key=lambda i: (max(most, ends[i]), more[i], ends[i], i))
        loads[place] = ends[place]
        held[place].update(every[name])
        dealt[name] = place + 1
    return tuple(name for name in names if dealt[name] == shard.number)


def longest_first(zoo: Zoo, names: Iterable[str], took: Mapping[str, float]) -> list[str]:
    """The names of recipes, the dearest first with those that they are made from, equals in their
    order: begun last, it would be waited for alone. took: task -> the seconds of its last time."""

    def seconds(name: str) -> float:
        return sum(took.get(task.name, cost([task])) for task in _all(zoo, name))

    return sorted(names, key=seconds, reverse=True)


def _all(zoo: Zoo, name: str) -> list[Task]:
    """The tasks of a recipe and of those that it is made from."""
    todo, found = zoo.tasks_of(name), dict[str, Task]()
    while todo:
        task = todo.pop()
        if task.name not in found:
            found[task.name] = task
            todo += [zoo.tasks[before] for before in task.before]
    return list(found.values())
