"""The face: tasks as doit's dictionaries, messages, exit codes, and the table at the end.

A dodo.py that says `from tinybuild.tasks import *` makes the folder it stands in a zoo.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import inspect
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from doit.cmdparse import CmdOption, CmdParseError, TaskParse
from doit.exceptions import BaseFail, TaskError, TaskFailed, UnmetDependency

from tinybuild import progress
from tinybuild.cli import architectures
from tinybuild.cli.unpack import Asked, unpack
from tinybuild.engine.plan import STAGES, Task, Zoo, load
from tinybuild.engine.run import Builder
from tinybuild.errors import Fault, Finding, RecipeFault, did_you_mean
from tinybuild.files import Memo, write
from tinybuild.recipe import Broken, Cache, locate
from tinybuild.workers import Bug, Pool

__all__ = [
    *("DOIT_CONFIG", "task_check", "task_missing", "task_recipes", "task_table", "task_unpack"),
    "task_why",
]


class Session:
    """What one run of doit shares: the zoo, the builder, the workers, the screen."""

    def __init__(self, root: Path):
        self.root = root
        self.memo = Memo(root / "build" / ".digests.json")
        self.cache = Cache(root / "build" / ".recipes.json", self.memo)
        self.pool = Pool()
        self.builder = Builder(root, self.memo, self.pool)
        self.screen = progress.Progress()
        self.fault: Fault | None = None
        self.built: dict[str, float] = {}  # task -> seconds
        self.elsewhere: set[str] = set()  # tasks that another doit did while we waited
        self.failed: set[str] = set()
        try:
            self.zoo = load(root, self.memo, self.cache)
        except Fault as fault:
            self.fault = fault
            self.zoo = Zoo(root=root, recipes={}, broken=(), tasks={}, groups={"": ()})

    def close(self) -> None:
        self.builder.stop()
        self.screen.close()
        # The memo and the cache only save time; a full disk must not hide what went before.
        with contextlib.suppress(OSError):
            if (self.root / "build").is_dir():
                self.memo.save()
                if self.cache.dirty:
                    write(self.cache.path, self.cache.content())


@functools.cache
def session() -> Session:
    """The session of this process; doit has changed to the folder of the dodo.py by now."""
    # Planning makes a million small objects that all stay: looking through them for cycles again
    # and again took a quarter of a `doit` with nothing to do on 1,000 recipes.
    gc.set_threshold(500_000)
    made = Session(Path.cwd())
    owner = os.getpid()
    atexit.register(lambda: made.close() if os.getpid() == owner else None)
    sys.excepthook = functools.partial(_last_words, sys.excepthook, made)
    signal.signal(signal.SIGTERM, _terminate)
    return made


def _last_words(
    otherwise: Callable[..., Any],
    made: Session,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """Ctrl-C and SIGTERM end with a sentence, not with a traceback."""
    if not issubclass(kind, KeyboardInterrupt):
        otherwise(kind, error, trace)
        return
    made.builder.stop()
    made.screen.close()
    made.screen.warn(
        "interrupted: finished stages are kept, nothing half-made is left\n"
        "  hint: run doit again to go on"
    )


def _terminate(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


# --- tasks ----------------------------------------------------------------------------------------


def task_recipes() -> Iterator[dict[str, Any]]:
    """Every stage of every recipe, a task for each recipe, one for each group, and the zoo."""
    here = session()
    zoo = here.zoo
    for stage in STAGES:
        yield {"basename": stage, "name": None, "doc": f"the {stage} stage of every recipe"}
    for task in zoo.tasks.values():
        yield _stage(task)
    for name, recipe in zoo.recipes.items():
        yield {
            "basename": name,
            "actions": None,
            "task_dep": [f"pack:{name}"],
            "clean": [functools.partial(here.builder.clean, t.name) for t in zoo.tasks_of(name)],
            "doc": recipe.summary,
        }
    for broken in zoo.broken:
        yield {
            "basename": broken.name,
            "actions": [functools.partial(_broken, broken)],
            "doc": "(a broken recipe)",
        }
    if here.fault is not None:
        yield {"basename": "zoo", "actions": [functools.partial(_refuse, here.fault)]}
        return
    for group, names in zoo.groups.items():
        doc = f"the recipes in recipes/{group}/" if group else "the recipes in recipes/"
        yield {"basename": group or "zoo", "actions": None, "task_dep": list(names), "doc": doc}


def _stage(task: Task) -> dict[str, Any]:
    builder = session().builder
    return {
        "basename": task.stage,
        "name": task.recipe.name,
        "actions": [functools.partial(_perform, task)],
        "task_dep": list(task.before),
        "uptodate": [_UpToDate(task)],
        "clean": [functools.partial(builder.clean, task.name)],
        "doc": f"{task.stage} of {task.recipe.name}",
    }


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


def _perform(task: Task) -> BaseFail | None:
    """A stage's action. Expected trouble becomes TaskFailed (exit 1), a bug TaskError (exit 2)."""
    here = session()
    try:
        if not here.builder.perform(task, here.screen.say):
            here.elsewhere.add(task.name)
    except Fault as fault:
        return TaskFailed(str(_placed(fault, task.name)))
    except Bug as bug:
        return TaskError(f"a bug in {task.name}; please report it with its recipe\n{bug}")
    return None


def _placed(fault: Fault, task: str) -> Fault:
    """Findings without a place are about the task."""
    return type(fault)(
        finding if finding.where else Finding(what=finding.what, where=task, hint=finding.hint)
        for finding in fault.findings
    )


def _broken(broken: Broken) -> BaseFail:
    root = session().root
    shown = broken.file.relative_to(root).as_posix()
    return TaskFailed(str(_placed(locate(broken.fault, broken.file, shown), shown)))


def _refuse(fault: Fault) -> BaseFail:
    return TaskFailed(str(fault))


def task_check() -> dict[str, Any]:
    """read the recipes and say what is wrong with them; builds nothing"""
    return {"actions": [_check], "pos_arg": "names", "uptodate": [False]}


def _check(names: list[str]) -> BaseFail | None:
    here = session()
    if here.fault is not None:
        return _refuse(here.fault)
    known = {*here.zoo.recipes, *(b.name for b in here.zoo.broken), *here.zoo.groups}
    unknown = [name for name in names if name not in known]
    if unknown:
        return _unknown(unknown[0], known)
    groups = here.zoo.groups
    wanted = {inner for name in names for inner in groups.get(name, (name,))}
    broken = [b for b in here.zoo.broken if not wanted or b.name in wanted]
    count = len(wanted) or len(here.zoo.recipes) + len(here.zoo.broken)
    if broken:
        text = "\n".join(str(_broken(b).message) for b in broken)
        return TaskFailed(f"{text}\n{len(broken)} of {count} recipes are broken")
    here.screen.say(f"{count} recipes are well-formed")
    return None


def _unknown(name: str, known: Any) -> BaseFail:
    return TaskFailed(f"there is no recipe {name}\n  hint: {did_you_mean(name, known)}")


def task_why() -> dict[str, Any]:
    """say what doit would do for a recipe, stage by stage, and the reasons"""
    return {"actions": [_why], "pos_arg": "names", "uptodate": [False]}


def _why(names: list[str]) -> BaseFail | None:
    here = session()
    if here.fault is not None:
        return _refuse(here.fault)
    told: set[str] = set()  # two recipes may be made from a third
    for name in names or here.zoo.groups[""]:
        broken = next((b for b in here.zoo.broken if b.name == name), None)
        if broken is not None:
            return _broken(broken)
        if name not in here.zoo.recipes:
            return _unknown(name, here.zoo.recipes)
        lines = [line for line in _explained(name) if line not in told]
        told.update(lines)
        if lines:
            here.screen.say("\n".join(lines))
    return None


# What `doit unpack` takes beside a name, before it or after it.
UNPACKING: tuple[dict[str, Any], ...] = (
    {"name": "rows", "long": "rows", "default": "", "help": "numbers such as 1,4-10 [1-10]"},
    {"name": "to", "long": "to", "default": "", "help": "a new folder [recipes/records/NAME]"},
    {"name": "config", "long": "config", "default": "", "help": "of the source"},
    {"name": "split", "long": "split", "default": "", "help": "of the source"},
)


def task_unpack() -> dict[str, Any]:
    """write rows of a recipe's dataset source as files to edit: NAME [--rows 1-10] [--to DIR]"""
    params = [dict(option) for option in UNPACKING]
    return {"actions": [_unpack], "params": params, "pos_arg": "words", "uptodate": [False]}


def _unpack(words: list[str], **given: str) -> BaseFail | None:
    """Fetches the source if need be, and unpacks to a fresh folder, which then takes its place.

    doit itself ends the options at the first word, here the recipe's name.
    """
    here = session()
    if here.fault is not None:
        return _refuse(here.fault)
    try:
        name, wish = _unpacking(words, given)
        recipe = here.zoo.recipes[name]
        shown = recipe.file.relative_to(here.root).as_posix()
        try:
            lines = unpack(
                recipe,
                Asked(**wish),
                here.builder,
                lambda task: _with_upstreams([here.zoo.tasks[task]]),
                here.screen.say,
            )
        except Fault as fault:
            raise locate(_of_options(fault, wish), recipe.file, shown) from None
    except Fault as fault:
        return TaskFailed(str(_placed(fault, "unpack")))
    except Bug as bug:
        return TaskError(f"a bug in unpack; please report it with its recipe\n{bug}")
    here.screen.say(lines)
    return None


def _of_options(fault: Fault, wish: Mapping[str, str]) -> Fault:
    """What the command's options ask for is not in the recipe."""
    keys: dict[tuple[str | int, ...], str] = {("dataset", "rows"): "rows"}
    keys |= {("dataset", "source", option): option for option in ("config", "split")}
    return type(fault)(
        Finding(what=finding.what, where=f"--{keys[finding.key]}", hint=finding.hint)
        if finding.key in keys and wish[keys[finding.key]]
        else finding
        for finding in fault.findings
    )


def _unpacking(words: list[str], given: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The recipe's name and the options; raises Fault where they say nothing that can be done."""
    zoo = session().zoo
    names, options = [], dict(given)
    while words:
        names.append(words[0])
        try:
            more, words = TaskParse([CmdOption(dict(o)) for o in UNPACKING]).parse(words[1:])
        except CmdParseError as error:
            # doit goes on with all that it knows of its options.
            what = str(error).partition(" (parsing")[0].partition("Task: ")[2]
            raise RecipeFault.of(what, hint="see doit help unpack") from None
        options.update({key: value for key, value in more.items() if value})
    known = [name for name, recipe in zoo.recipes.items() if "dataset" in recipe.data]
    if len(names) != 1:
        what = "unpack takes the name of one recipe"
        raise RecipeFault.of(what, hint=f"those with a dataset: {', '.join(known) or 'none'}")
    name = names[0]
    broken = next((b for b in zoo.broken if b.name == name), None)
    if broken is not None:
        raise locate(broken.fault, broken.file, broken.file.relative_to(zoo.root).as_posix())
    if name not in zoo.recipes:
        raise RecipeFault.of(f"there is no recipe {name}", hint=did_you_mean(name, known))
    if name not in known:
        what = f"the recipe {name} has no dataset"
        raise RecipeFault.of(what, hint=f"those with one: {', '.join(known) or 'none'}")
    if options["rows"] and not ROWS.fullmatch(options["rows"]):
        what = f"--rows {options['rows']} is no list of row numbers"
        raise RecipeFault.of(what, hint="give numbers from 1 and ranges, such as 1,4-10")
    options["to"] = options["to"] or f"recipes/records/{name}"
    return name, options


ROWS = re.compile(r"[1-9][0-9]{0,17}(-[1-9][0-9]{0,17})?(,[1-9][0-9]{0,17}(-[1-9][0-9]{0,17})?)*")


def task_missing() -> dict[str, Any]:
    """write a recipe for each model type of transformers that recipes/architectures/ lacks"""
    return {"actions": [_missing], "uptodate": [False]}


def _missing() -> None:
    here = session()
    files = architectures.missing(here.root)
    for file, text in files.items():
        write(file, text)
        here.screen.say(f"wrote {file.relative_to(here.root)}")
    if not files:
        here.screen.say("every model type has its recipe")


def task_table() -> dict[str, Any]:
    """write docs/architectures.md: what became of each architecture"""
    return {"actions": [_table], "uptodate": [False]}


def _table() -> None:
    here = session()
    text = architectures.table(architectures.rows(here.zoo, here.builder))
    write(here.root / architectures.TABLE, text)
    here.screen.say(f"wrote {architectures.TABLE}")


def _explained(name: str) -> Iterator[str]:
    """One line for each reason of each stage of a recipe, and of the recipes it is made from."""
    here = session()
    running: set[str] = set()
    for task in _with_upstreams(here.zoo.tasks_of(name)):
        reasons = here.builder.reasons(task)
        waits = [before for before in task.before if before in running]
        if reasons:
            running.add(task.name)
            yield from (f"{task.name:<24} runs: {reason}" for reason in reasons)
        elif waits:
            running.add(task.name)
            yield f"{task.name:<24} runs if {' or '.join(waits)} gives something else"
        else:
            yield f"{task.name:<24} is up to date"


def _with_upstreams(tasks: Iterable[Task]) -> list[Task]:
    """Tasks and all that must be done before them, in an order in which they can be done."""
    zoo, found = session().zoo, dict[str, Task]()

    def visit(task: Task) -> None:
        for before in task.before:
            if before not in found:
                visit(zoo.tasks[before])
        found[task.name] = task

    for task in tasks:
        visit(task)
    return list(found.values())


# --- the screen -----------------------------------------------------------------------------------


class Reporter:
    """doit's reporter: a line per finished stage, messages of faults, a table at the end."""

    desc = "a line for each stage and a table of the bundles"

    def __init__(self, outstream: Any, options: Any):
        self.faults: list[tuple[str, BaseFail]] = []
        self.errors: list[str] = []
        self.selected: list[str] = []
        self.unmet = False

    def initialize(self, tasks: dict[str, Any], selected: list[str]) -> None:
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
        self.selected = [name for name in session().zoo.recipes if f"pack:{name}" in stages]
        session().screen.total = len(stages)

    def get_status(self, task: Any) -> None:
        pass

    def execute_task(self, task: Any) -> None:
        if task.name in session().zoo.tasks:
            session().screen.start(task.name)

    def add_success(self, task: Any) -> None:
        here = session()
        if task.name not in here.zoo.tasks:
            return
        took = here.screen.finish(task.name)
        here.builder.receipts.pop(task.name, None)  # doit -P process: it was done elsewhere
        if task.name in here.elsewhere:
            return
        here.built[task.name] = took
        here.screen.say(f"{task.name:<32} {progress.seconds(took):>8}  {_gist(task.name)}".rstrip())

    def add_failure(self, task: Any, fail: BaseFail) -> None:
        here = session()
        here.screen.finish(task.name)
        here.failed.add(task.name)
        if isinstance(fail, UnmetDependency):
            self.unmet = True
            return
        self.faults.append((task.name, fail))
        here.screen.say(f"{task.name:<32} FAILED\n{_message(fail)}")

    def skip_uptodate(self, task: Any) -> None:
        if task.name in session().zoo.tasks:
            session().screen.finish(task.name)

    def skip_ignore(self, task: Any) -> None:
        session().screen.finish(task.name)

    def cleanup_error(self, exception: Any) -> None:
        self.errors.append(exception.get_msg())

    def runtime_error(self, msg: str) -> None:
        self.errors.append(msg)

    def teardown_task(self, task: Any) -> None:
        pass

    def complete_run(self) -> None:
        """The table, the failures once more, and the exit code.

        doit counts a task whose dependency failed as an error (2); it is as expected as the failure
        itself (1), so the code is decided here.
        """
        here = session()
        here.screen.close()
        if self.selected and sys.exc_info()[0] is None:
            here.screen.say(_summary(self.selected))
        for text in self.errors:
            here.screen.warn(text)
        if self.faults:
            count = len(self.faults)
            names = ", ".join(name for name, _ in self.faults)
            here.screen.say(f"{count} task{'s' if count > 1 else ''} failed: {names}")
        bug = self.errors or any(not isinstance(fail, TaskFailed) for _, fail in self.faults)
        if self.unmet and not bug and sys.exc_info()[0] is None:  # an interruption goes its own way
            raise SystemExit(1)


def _message(fail: BaseFail) -> str:
    if isinstance(fail, TaskFailed) or not fail.traceback:
        return str(fail.message)
    return str(fail.get_msg())


def _gist(task: str) -> str:
    """The fact of a finished stage that one wants to see."""
    receipt = session().builder.receipt(task)
    facts = receipt["facts"] if receipt else {}
    if "parameters" in facts:
        return f"{facts['class']}, {facts['parameters']:,} parameters"
    if "vocab_size" in facts:
        return f"{facts['class']}, {facts['vocab_size']:,} tokens"
    if "rows" in facts:
        return f"{facts['rows']:,} row{'s' * (facts['rows'] != 1)}"
    if "checks" in facts:
        untried = f", {facts['untried']} not tried" if facts["untried"] else ""
        return f"{facts['checks']} check{'s' * (facts['checks'] != 1)} passed{untried}"
    if "tar" in facts:
        return f"dist/{task.partition(':')[2]}/, {progress.size(facts['bytes'])}"
    if "pins" in facts:
        return f"{sum(len(pin['files']) for pin in facts['pins'].values())} files"
    return ""


def _summary(names: list[str]) -> str:
    """recipe, parameters, vocabulary, bytes, seconds, and what became of it."""
    here, rows = session(), []
    fresh = 0
    for name in names:
        tasks = [task.name for task in here.zoo.tasks_of(name)]
        facts: dict[str, Any] = {}
        for task in tasks:
            receipt = here.builder.receipt(task)
            if receipt is not None:
                facts.update(receipt["facts"])
        ran = [task for task in tasks if task in here.built]
        failed = here.failed.intersection(tasks)
        outcome = "FAILED" if failed else "built" if ran else "up to date"
        fresh += outcome == "up to date"
        took = progress.seconds(sum(here.built[task] for task in ran)) if ran else "-"
        numbers = (
            ("-", "-", "-")
            if failed
            else (
                progress.count(facts.get("parameters")),
                progress.count(facts.get("vocab_size")),
                progress.size(facts.get("bytes")),
            )
        )
        rows.append((name, *numbers, took, outcome))
    if fresh == len(rows) and fresh > 1:
        return f"{fresh} recipes are up to date"
    head = ("recipe", "parameters", "vocabulary", "bytes", "seconds", "")
    return progress.table(head, rows, right=(1, 2, 3, 4))


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
