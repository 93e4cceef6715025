"""The face for doit: tasks as its dictionaries, outcomes as its exit codes.

A dodo.py that says `from tinybuild.tasks import *` makes the folder it stands in a zoo.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from doit.exceptions import BaseFail, TaskError, TaskFailed

from tinybuild.cli.screen import Reporter
from tinybuild.cli.session import Session, placed, session
from tinybuild.engine.stages import STAGES, Task
from tinybuild.errors import Fault

if TYPE_CHECKING:
    from tinybuild.recipe import Broken

__all__ = ["DOIT_CONFIG", "task_recipes"]

Definition = dict[str, object]  # of a task, as doit takes it


def task_recipes() -> Iterator[Definition]:
    """Every stage of every recipe that may have something to do, a task for each recipe, one for
    each group, and the zoo."""
    here = session()
    todo = here.todo
    for stage in STAGES:
        yield {"basename": stage, "name": None, "doc": f"the {stage} stage of every recipe"}
    if todo is None or todo:
        yield from _of_recipes(here, todo)
    if todo is not None:
        for word in {*(here.asked or ())} - {"zoo", *here.groups, *todo}:
            yield {"basename": word, "actions": None, "doc": "(up to date)"}
    if todo is None and here.fault is not None:
        yield {"basename": "zoo", "actions": [functools.partial(TaskFailed, str(here.fault))]}
        return
    for group, names in here.groups.items():
        doc = f"the recipes in recipes/{group}/" if group else "the recipes in recipes/"
        needed = [name for name in names if todo is None or name in todo]
        yield {"basename": group or "zoo", "actions": None, "task_dep": needed, "doc": doc}


def _of_recipes(here: Session, todo: Collection[str] | None) -> Iterator[Definition]:
    """The tasks of recipes, of all where none are named."""
    zoo = here.zoo
    for task in zoo.tasks.values():
        if todo is None or task.recipe.name in todo:
            yield {
                "basename": task.stage,
                "name": task.recipe.name,
                "actions": [functools.partial(_perform, task)],
                "task_dep": list(task.before),
                "uptodate": [_UpToDate(task)],
                "clean": [functools.partial(here.builder.clean, task.name)],
                "doc": f"{task.stage} of {task.recipe.name}",
            }
    for name, recipe in zoo.recipes.items():
        if todo is None or name in todo:
            clean = [functools.partial(here.builder.clean, t.name) for t in zoo.tasks_of(name)]
            yield {
                "basename": name,
                "actions": None,
                "task_dep": [f"pack:{name}"],
                "clean": clean,
                "doc": recipe.summary,
            }
    for broken in zoo.broken:
        if todo is None or broken.name in todo:
            refuse = functools.partial(_refuse, broken)
            yield {"basename": broken.name, "actions": [refuse], "doc": "(a broken recipe)"}


class _UpToDate:
    """Asked by doit whether a task is up to date, when the tasks before it are done.

    doit asks for the signature first; having it at hand saves a tenth of a `doit` with nothing to
    do on 1,000 recipes.
    """

    __signature__ = inspect.Signature()

    def __init__(self, task: Task):
        self.task = task

    def __call__(self) -> bool:
        return not session().builder.reasons(self.task)


def _outcome(name: str, work: Callable[[], None]) -> BaseFail | None:
    """Expected trouble becomes TaskFailed (exit 1), a bug TaskError (exit 2)."""
    from tinybuild.workers import Bug

    try:
        work()
    except Fault as fault:
        return TaskFailed(str(placed(fault, name)))
    except Bug as bug:
        return TaskError(f"a bug in {name}; please report it with its recipe\n{bug}")
    return None


def _perform(task: Task) -> BaseFail | None:
    """Does a stage."""
    here = session()

    def work() -> None:
        if here.builder.perform(task, here.screen.say) == "elsewhere":
            here.elsewhere.add(task.name)

    return _outcome(task.name, work)


def _refuse(broken: Broken) -> BaseFail:
    return TaskFailed(str(session().refusal(broken)))


# doit keeps no record of its own: receipts decide. Work happens in our workers, so doit's
# parallelism is threads that wait for them.
DOIT_CONFIG = {
    "default_tasks": ["zoo"],
    "backend": "sqlite3",
    "dep_file": ":memory:",
    "reporter": Reporter,
    "par_type": "thread",
    "continue": True,
    "verbosity": 2,
}
