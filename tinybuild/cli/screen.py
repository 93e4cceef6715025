"""What people see while it builds: a line for each stage, messages, and a table at the end."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, cast

from doit.exceptions import BaseFail, TaskFailed, UnmetDependency

from tinybuild import progress, wire
from tinybuild.cli.session import Session, nothing, session
from tinybuild.engine.orphans import leftovers, orphans
from tinybuild.files import pretty, write
from tinybuild.paths import Json

if TYPE_CHECKING:
    from doit.task import Task

Facts = Mapping[str, Json]  # of a receipt


class Reporter:
    """doit's reporter: a line per finished stage, messages of faults, a table at the end."""

    desc = "a line for each stage and a table of the bundles"

    def __init__(self, outstream: TextIO, options: Mapping[str, object]):
        self.faults: list[tuple[str, BaseFail]] = []
        self.errors: list[str] = []
        self.selected: list[str] = []
        self.unmet = False
        self.stages: Collection[str] = ()

    def initialize(self, tasks: Mapping[str, Task], selected: list[str]) -> None:
        # doit has not begun to take them up.
        here = session()
        if here.planned:
            every = here.zoo.one_by_one(here.ours(selected), here.longest_first)
            selected[:] = [name for name in every if name in tasks]
        todo, stages = list(selected), set()
        seen = set(todo)
        while todo:
            task = tasks[todo.pop()]
            if task.actions:
                stages.add(task.name)
            for before in task.task_dep:
                if before not in seen:
                    seen.add(before)
                    todo.append(before)
        self.selected, self.stages = _rows_of(here, stages), stages
        here.screen.total = len(stages)

    def get_status(self, task: Task) -> None:
        pass

    def execute_task(self, task: Task) -> None:
        here = session()
        if here.planned and task.name in here.zoo.tasks:
            here.screen.start(task.name)

    def add_success(self, task: Task) -> None:
        here = session()
        if not here.planned or task.name not in here.zoo.tasks:
            return
        took = here.screen.finish(task.name)
        here.builder.receipts.pop(task.name, None)  # doit -P process: it was done elsewhere
        if task.name in here.elsewhere:
            return
        here.built[task.name] = took
        restored = here.builder.restored(task.name)
        if restored and task.name.partition(":")[2] in here.sent:
            return  # its line was said when another machine did it
        how = "restored: " if restored else ""
        gist = f"{how}{_gist(task.name)}"
        here.screen.say(f"{task.name:<32} {progress.seconds(took):>8}  {gist}".rstrip())

    def add_failure(self, task: Task, fail: BaseFail) -> None:
        here = session()
        here.screen.finish(task.name)
        here.failed.add(task.name)
        if isinstance(fail, UnmetDependency):
            self.unmet = True
            return
        self.faults.append((task.name, fail))
        here.screen.say(f"{task.name:<32} FAILED\n{_message(fail)}")

    def skip_uptodate(self, task: Task) -> None:
        here = session()
        if task.name in here.zoo.tasks:
            here.screen.finish(task.name)
            stage, _, name = task.name.partition(":")
            if stage == "pack":
                here.settle(name)

    def skip_ignore(self, task: Task) -> None:
        session().screen.finish(task.name)

    def cleanup_error(self, exception: BaseFail) -> None:
        self.errors.append(exception.get_msg())

    def runtime_error(self, msg: str) -> None:
        self.errors.append(msg)

    def teardown_task(self, task: Task) -> None:
        pass

    def complete_run(self) -> None:
        """The table, the failures once more, and the exit code.

        doit counts a task whose dependency failed as an error (2); it is as expected as the failure
        itself (1), so the code is decided here.
        """
        here = session()
        here.screen.close()
        finished = sys.exc_info()[0] is None  # an interruption goes its own way
        rows = [_row(name) for name in self.selected]
        if rows and finished:
            here.screen.say(_summary(rows))
        elif finished and not (here.screen.total or self.faults or here.shard):
            here.screen.say(nothing(here.zoo))
        elif finished and self.stages and not (here.built or self.faults):
            many = len(self.stages)
            said = f"{many} tasks are" if many > 1 else f"{next(iter(self.stages))} is"
            here.screen.say(f"{said} up to date")
        for text in self.errors:
            here.screen.warn(text)
        if self.faults:
            count = len(self.faults)
            names = ", ".join(name for name, _ in self.faults)
            here.screen.say(f"{count} task{'s' if count > 1 else ''} failed: {names}")
        for line in _left():
            here.screen.say(line)
        if finished:
            if last := _last(rows, [name for name, _ in self.faults]):
                here.screen.say(last)
            self._keep(rows)
        bug = self.errors or any(not isinstance(fail, TaskFailed) for _, fail in self.faults)
        if self.unmet and not bug and finished:
            raise SystemExit(1)

    def _keep(self, rows: Sequence[Row]) -> None:
        """Leaves what the table says in build/run.json, for scripts, where anything was done."""
        here = session()
        here.outcome = {
            "seconds": round(time.monotonic() - here.begun, 1),
            "recipes": [wire.dump(row) for row in rows],
            "failed": [{"task": name, "message": _message(fail)} for name, fail in self.faults],
        }
        if (here.built or self.faults) and (here.root / "build").is_dir():
            # A name may be no UTF-8; a full disk must not hide what went before.
            text = pretty(here.outcome).encode(errors="backslashreplace")
            with contextlib.suppress(OSError):
                write(here.root / "build" / "run.json", text)


def _rows_of(here: Session, stages: Collection[str]) -> list[str]:
    """The recipes that a build tells of: those whose stages were selected, and those that are known
    to have nothing to do, with what they are made from."""
    wanted = [name for name in here.selected or () if name not in (here.todo or ())]
    fresh = set[str]()
    while wanted:
        name = wanted.pop()
        kept = here.clean.find(name) if here.todo is not None else None
        if kept is not None and name not in fresh:
            fresh.add(name)
            wanted += kept.upstream
    if not here.planned:
        return [name for names in here.groups.values() for name in names if name in fresh]
    return [name for name in here.zoo.recipes if name in fresh or f"pack:{name}" in stages]


def _left() -> Iterator[str]:
    """What is said of bundles whose recipe is gone."""
    here = session()
    known = [name for names in here.groups.values() for name in names]
    if here.planned and here.fault is not None:
        return  # no recipe could be read, so none is known to be gone
    if not here.planned and not any(leftovers(here.root, known)):
        return
    names = [str(orphan) for orphan in orphans(here.zoo) if orphan.bundle]
    if names:
        have = "bundle has" if len(names) == 1 else "bundles have"
        yield f"{len(names)} {have} no recipe: {', '.join(names)}"
        yield f"  hint: `tinybuild clean --orphans` removes {'it' if len(names) == 1 else 'them'}"


def _message(fail: BaseFail) -> str:
    if isinstance(fail, TaskFailed) or not fail.traceback:
        return str(fail.message)
    return str(fail.get_msg())


def _gist(task: str) -> str:
    """The fact of a finished stage that one wants to see."""
    receipt = session().builder.receipt(task)
    stage, _, name = task.partition(":")
    return GISTS[stage](receipt.facts, name) if receipt else ""


def _of_model(facts: Facts, name: str) -> str:
    return f"{facts['class']}, {facts['parameters']:,} parameters"


def _of_tokenizer(facts: Facts, name: str) -> str:
    return f"{facts['class']}, {facts['vocab_size']:,} tokens"


def _of_dataset(facts: Facts, name: str) -> str:
    return f"{facts['rows']:,} row{'s' * (facts['rows'] != 1)}"


def _of_validate(facts: Facts, name: str) -> str:
    untried = f", {facts['untried']} not tried" if facts["untried"] else ""
    return f"{facts['checks']} check{'s' * (facts['checks'] != 1)} passed{untried}"


def _of_pack(facts: Facts, name: str) -> str:
    return f"dist/{name}/, {progress.size(cast(int, facts['bytes']))}"


def _of_fetch(facts: Facts, name: str) -> str:
    pins = cast("Mapping[str, Mapping[str, Mapping[str, Json]]]", facts["pins"])
    return f"{sum(len(pin['files']) for pin in pins.values())} files"


GISTS: Mapping[str, Callable[[Facts, str], str]] = {
    "fetch": _of_fetch,
    "dataset": _of_dataset,
    "tokenizer": _of_tokenizer,
    "model": _of_model,
    "validate": _of_validate,
    "pack": _of_pack,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of a recipe. restored: how many of its stages the store had. parameters,
    vocabulary and bytes: None where there are none."""

    recipe: str
    outcome: str
    seconds: float
    restored: int
    parameters: int | None
    vocabulary: int | None
    bytes: int | None


BUILT, RESTORED, FRESH, FAILED = "built", "restored", "up to date", "FAILED"
NOTHING: Mapping[str, int | None] = dict.fromkeys(("parameters", "vocabulary", "bytes"))


def _summary(rows: Sequence[Row]) -> str:
    """recipe, parameters, vocabulary, bytes, seconds, and what became of it."""
    if len(rows) > 1 and all(row.outcome == FRESH for row in rows):
        return f"{len(rows)} recipes are up to date"
    head = ("recipe", "parameters", "vocabulary", "bytes", "seconds", "")
    return progress.table(head, map(_cells, rows), right=(1, 2, 3, 4))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.recipe,
        progress.count(row.parameters),
        progress.count(row.vocabulary),
        progress.size(row.bytes),
        progress.seconds(row.seconds) if row.outcome in (BUILT, RESTORED) else "-",
        row.outcome,
    )


def _last(rows: Sequence[Row], faults: Sequence[str]) -> str:
    """How many of each outcome, how long it took, and where to look; "" where nothing ran.
    faults: the tasks that failed; those of broken recipes are in no row."""
    counts, told = Counter(row.outcome for row in rows), {row.recipe for row in rows}
    counts += Counter({FAILED: len({task.rpartition(":")[2] for task in faults} - told)})
    if not counts.keys() - {FRESH}:
        return ""
    kinds = (BUILT, RESTORED, FRESH, FAILED)
    said = [f"{counts[kind]} {kind.lower()}" for kind in kinds if counts[kind]]
    took = progress.seconds(time.monotonic() - session().begun)
    where = "mend what is said above, then build again" if counts[FAILED] else "look in dist/"
    return f"{', '.join(said)} in {took}: {where}"


def _row(name: str) -> Row:
    here = session()
    if here.todo is not None and name not in here.todo and (kept := here.clean.find(name)):
        return Row(
            recipe=name,
            outcome=FRESH,
            seconds=0.0,
            restored=0,
            parameters=kept.parameters,
            vocabulary=kept.vocabulary,
            bytes=kept.bytes,
        )
    tasks = [task.name for task in here.zoo.tasks_of(name)]
    failed = bool(here.failed.intersection(tasks))
    ran = [task for task in tasks if task in here.built]
    restored = sum(map(here.builder.restored, ran))
    done = BUILT if len(ran) > restored else RESTORED if ran else FRESH
    seconds = round(sum(here.built[task] for task in ran), 1)
    told = here.sent[name].built if name in here.sent else None
    if told is not None and done == RESTORED:  # what another machine says of it
        done, seconds = told.outcome, told.seconds
    return Row(
        recipe=name,
        outcome=FAILED if failed else done,
        seconds=seconds,
        restored=restored,
        **(NOTHING if failed else here.numbers(name)),
    )
