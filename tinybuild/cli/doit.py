"""The face for doit: tasks as its dictionaries, outcomes as its exit codes.

A dodo.py that says `from tinybuild.tasks import *` makes the folder it stands in a zoo.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator

from doit.exceptions import BaseFail, TaskError, TaskFailed

from tinybuild.cli.screen import Reporter
from tinybuild.cli.session import placed, session
from tinybuild.engine.stages import STAGES, Task
from tinybuild.errors import Fault
from tinybuild.recipe import Broken
from tinybuild.workers import Bug

__all__ = ["DOIT_CONFIG", "task_recipes"]

Definition = dict[str, object]  # of a task, as doit takes it


def task_recipes() -> Iterator[Definition]:
    """Every stage of every recipe, a task for each recipe, one for each group, and the zoo."""
    here = session()
    zoo = here.zoo
    for stage in STAGES:
        yield {"basename": stage, "name": None, "doc": f"the {stage} stage of every recipe"}
    for task in zoo.tasks.values():
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
        yield {
            "basename": name,
            "actions": None,
            "task_dep": [f"pack:{name}"],
            "clean": [functools.partial(here.builder.clean, t.name) for t in zoo.tasks_of(name)],
            "doc": recipe.summary,
        }
    for broken in zoo.broken:
        refuse = functools.partial(_refuse, broken)
        yield {"basename": broken.name, "actions": [refuse], "doc": "(a broken recipe)"}
    if here.fault is not None:
        yield {"basename": "zoo", "actions": [functools.partial(TaskFailed, str(here.fault))]}
        return
    for group, names in zoo.groups.items():
        doc = f"the recipes in recipes/{group}/" if group else "the recipes in recipes/"
        yield {"basename": group or "zoo", "actions": None, "task_dep": list(names), "doc": doc}


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
