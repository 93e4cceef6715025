"""What one run shares (the zoo, the builder, the workers, the screen), and how it ends."""

from __future__ import annotations

import atexit
import contextlib
import fnmatch
import functools
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn, Protocol

from tinybuild.engine.clean import Clean
from tinybuild.engine.stages import STAGES, Task
from tinybuild.errors import Fault, Finding, RecipeFault, did_you_mean, nearest
from tinybuild.files import Memo, write
from tinybuild.paths import Json
from tinybuild.progress import Progress

if TYPE_CHECKING:
    from tinybuild.engine.plan import Zoo
    from tinybuild.engine.run import Builder
    from tinybuild.engine.shards import Shard
    from tinybuild.machines.dispatch import Result
    from tinybuild.recipe import Broken, Cache, Recipe
    from tinybuild.workers import Pool

SHARD = "TINYBUILD_SHARD"  # I/N: what is selected is shared by N machines, and we are the I-th
COSTS = "TINYBUILD_COSTS"  # a build's run.json: what recipes cost
PAST = ".seconds.json"  # in build/: what each task took the last time


class Session:
    """What one run of doit shares. What reads the zoo is made when somebody asks for it: where
    nothing is to do, nobody does."""

    def __init__(self, root: Path):
        self.root = root
        self.clean = Clean(root)  # it looks at everything before anybody reads it
        self.screen = Progress()
        self.built: dict[str, float] = {}  # task -> seconds
        self.elsewhere: set[str] = set()  # tasks that another doit did while we waited
        self.failed: set[str] = set()
        self.sent: Mapping[str, Result] = {}  # what became of recipes on other machines
        self.outcome: Json = None  # of a build, when it is over
        self.begun = time.monotonic()
        self.shard: Shard | None = None  # of the machines that share what is selected
        self.took: Mapping[str, float] = {}  # by recipes in a past build, where a file tells
        self.asked: Sequence[str] | None = None  # what a build selects; None: nobody knows yet

    @functools.cached_property
    def memo(self) -> Memo:
        return Memo(self.root / "build" / ".digests.json")

    @functools.cached_property
    def cache(self) -> Cache:
        from tinybuild.engine.code import closure
        from tinybuild.recipe import Cache

        readers = closure("tinybuild.recipe")
        return Cache(self.root / "build" / ".recipes.json", self.memo, readers)

    @functools.cached_property
    def pool(self) -> Pool:
        from tinybuild.workers import Pool

        return Pool()

    @functools.cached_property
    def builder(self) -> Builder:
        from tinybuild.engine.run import Builder

        return Builder(self.root, self.memo, self.pool)

    @property
    def zoo(self) -> Zoo:
        return self._read[0]

    @property
    def fault(self) -> Fault | None:
        """Why there is no zoo here."""
        return self._read[1]

    @functools.cached_property
    def _read(self) -> tuple[Zoo, Fault | None]:
        from tinybuild.engine.plan import Zoo, load
        from tinybuild.engine.shards import Shard, remembered
        from tinybuild.engine.stored import Stored
        from tinybuild.store.place import place

        assert self.builder  # the code as it is now is what tasks are made by
        try:
            if given := os.environ.get(SHARD):
                self.shard = Shard.read(given, SHARD)
            self.builder.stored = Stored(place(os.environ, self.root), self.pool)
            if given := os.environ.get(COSTS):
                self.took = remembered(self.root / given, COSTS)
            return load(self.root, self.memo, self.cache), None
        except Fault as fault:
            return Zoo(root=self.root, recipes={}, broken=(), tasks={}, groups={"": ()}), fault

    @property
    def planned(self) -> bool:
        """Whether the zoo was read."""
        return "_read" in self.__dict__

    def reread(self) -> None:
        """Forget the zoo: locks were written, or are to be read otherwise."""
        self.__dict__.pop("_read", None)

    def close(self) -> None:
        if "builder" in self.__dict__:
            self.builder.stop()
        self.screen.close()
        # What is kept only saves time; a full disk must not hide what went before.
        with contextlib.suppress(OSError):
            if self.planned and (self.root / "build").is_dir():
                self.memo.save()
                if self.cache.dirty:
                    write(self.cache.path, self.cache.content())
                self._keep()

    def _keep(self) -> None:
        """Save what tasks took, and which recipes are known to have nothing to do."""
        libraries = set[str]()
        for task in self.zoo.tasks.values():
            libraries.update(task.libraries)
            libraries.update(wish.text() for wish in task.wishes if wish.kind == "package")
        done = {task: took for task, took in self.built.items() if not self.builder.restored(task)}
        if done:
            kept = {task: took for task, took in self.past.items() if task in self.zoo.tasks}
            rounded = {task: round(took, 2) for task, took in done.items()}
            write(self.root / "build" / PAST, json.dumps({**kept, **rounded}))
        whole = not (self.zoo.broken or self.cache.forgiving)
        if self.fault is None:
            self.clean.save(self.zoo.groups, libraries, whole=whole)

    # --- what is to do ---------------------------------------------------------------------------

    def ask(self, words: Sequence[str]) -> None:
        """What a build selects; what was made of other words before is forgotten."""
        self.asked = words
        for known in ("selected", "todo"):
            self.__dict__.pop(known, None)

    @functools.cached_property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """The recipes by group; the zoo is read only where its recipes are not as they were."""
        known = None if self.planned else self.clean.groups
        return self.zoo.groups if known is None else known

    @functools.cached_property
    def selected(self) -> tuple[str, ...] | None:
        """The recipes that a build selects; None where it selects something else, such as stages,
        or a shard."""
        if self.asked is None or self.shard is not None or os.environ.get(SHARD):
            return None
        known = {name for names in self.groups.values() for name in names}
        selected = list[str]()
        for word in self.asked:
            group = "" if word == "zoo" else word
            if word not in known and group not in self.groups:
                return None
            selected += self.groups.get(group, [word])
        return tuple(dict.fromkeys(selected))

    @functools.cached_property
    def todo(self) -> frozenset[str] | None:
        """The recipes whose stages doit asks one by one: those that are not known to have nothing
        to do, and all that they are made from. None: every recipe of the zoo."""
        if self.selected is None:
            return None
        todo = {name for name in self.selected if self.clean.find(name) is None}
        if todo or self.planned:
            if self.fault is not None:
                return None
            # Whoever was fine may be broken by another one that is new.
            todo |= {broken.name for broken in self.zoo.broken}.intersection(self.selected)
            made = (task for name in todo for task in self.zoo.tasks_of(name))
            todo |= {task.recipe.name for task in self.with_upstreams(made)}
        return frozenset(todo)

    def numbers(self, name: str) -> dict[str, int | None]:
        """What tables say of a recipe: parameters, vocabulary, bytes; None where it has none."""
        tasks = [task.name for task in self.zoo.tasks_of(name)]
        receipts = [receipt for task in tasks if (receipt := self.builder.receipt(task))]
        told = {key: value for receipt in receipts for key, value in receipt.facts.items()}
        numbers = {key: value for key, value in told.items() if isinstance(value, int)}
        return {
            "parameters": numbers.get("parameters"),
            "vocabulary": numbers.get("vocab_size"),
            "bytes": numbers.get("bytes"),
        }

    def settle(self, name: str) -> None:
        """Take note of a recipe all of whose stages were found up to date."""
        tasks = self.zoo.tasks_of(name)
        found = [self.builder.seen.pop(task.name, None) for task in tasks]
        seen = {path: stamp for one in found if one is not None for path, stamp in one.items()}
        if None not in found:
            others = {before.partition(":")[2] for task in tasks for before in task.before}
            self.clean.keep(name, tasks[0].recipe.file, seen, others - {name}, **self.numbers(name))

    # --- names -----------------------------------------------------------------------------------

    def named(self, words: Sequence[str]) -> tuple[str, ...]:
        """The recipes that words name, each once; a group's name stands for its recipes, and a
        pattern such as `llama-*` for all that it matches. Raises RecipeFault."""
        groups = {group: names for group, names in self.zoo.groups.items() if group}
        known = {*self.zoo.names, *groups}
        names = [name for word in words for name in matching(word, known)]
        return tuple(dict.fromkeys(recipe for name in names for recipe in groups.get(name, [name])))

    def tasks(self, words: Sequence[str]) -> list[Task]:
        """The tasks that words name: all stages of a recipe, or one as STAGE:NAME.
        Raises RecipeFault."""
        tasks = dict[str, Task]()
        for name in (name for word in words for name in self.places(word)):
            own = [self.zoo.tasks[name]] if name in self.zoo.tasks else self.zoo.tasks_of(name)
            tasks.update((task.name, task) for task in own)
        return list(tasks.values())

    def places(self, word: str) -> list[str]:
        """The recipes that a word names, or the tasks that one such as model:mt* does.
        Raises RecipeFault."""
        if ":" not in word:
            return [*self.named([word])]
        tasks = fnmatch.filter(self.zoo.tasks, word)
        if not tasks:
            stage, _, name = word.rpartition(":")
            own = [task.name for task in self.zoo.tasks_of(self.recipe(name).name)]
            known = stage in STAGES  # and the recipe has no such section
            hint = f"{name} has {', '.join(own)}" if known else did_you_mean(word, own)
            raise RecipeFault.of(f"there is no task {word}", hint=hint)
        return tasks

    def share(self, names: Sequence[str], shard: str = "") -> tuple[str, ...]:
        """Those of a selection that are ours: all, or a shard's. Raises RecipeFault."""
        from tinybuild.engine.shards import Shard, deal

        zoo = self.zoo  # what is read with it says which shard is ours
        given = Shard.read(shard, "--shard") if shard else self.shard
        return tuple(names) if given is None else deal(zoo, names, given, self.took)

    def longest_first(self, names: Sequence[str]) -> list[str]:
        """Recipes in the order in which they are begun, by what each stage took the last time."""
        from tinybuild.engine.shards import longest_first

        return longest_first(self.zoo, names, self.past)

    @functools.cached_property
    def past(self) -> Mapping[str, float]:
        """Task -> the seconds of the last time that it was done here."""
        try:
            told: Json = json.loads((self.root / "build" / PAST).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        listed = told.items() if isinstance(told, Mapping) else ()
        return {task: took for task, took in listed if isinstance(took, float)}

    def ours(self, selected: Sequence[str]) -> list[str]:
        """Those of the tasks that doit selected which are ours; a group stands for its recipes."""
        zoo = self.zoo  # what is read with it says which shard is ours
        if self.shard is None:
            return list(selected)
        recipes = dict[str, str]()  # task -> recipe
        for name in selected:
            if name in STAGES:
                names = [task for task in zoo.tasks if task.startswith(f"{name}:")]
            else:
                names = self.longest_first(zoo.groups.get("" if name == "zoo" else name, [name]))
            recipes |= {task: task.rpartition(":")[2] for task in names}
        mine = {*self.share(list(dict.fromkeys(recipes.values())))}
        return [task for task, recipe in recipes.items() if recipe in mine]

    def recipe(self, name: str) -> Recipe:
        """The recipe of a name; raises RecipeFault where it is broken, or there is none."""
        for broken in self.zoo.broken:
            if broken.name == name:
                raise self.refusal(broken)
        if name not in self.zoo.recipes:
            raise unknown(name, self.zoo.recipes)
        return self.zoo.recipes[name]

    def bundle(self, name: str) -> Path:
        """The folder of a recipe's bundle; raises RecipeFault where there is none."""
        from tinybuild.catalog.rows import is_bundle

        place = self.root / "dist" / self.recipe(name).name
        if not is_bundle(place):
            raise RecipeFault.of(f"{name} is not built", hint=f"tinybuild build {name}")
        return place

    def refusal(self, broken: Broken) -> Fault:
        """What is wrong with a recipe, with places in its file."""
        return placed(self.located(broken.fault, broken.file), self.shown(broken.file))

    def shown(self, file: Path) -> str:
        """What messages call a file of the zoo."""
        return file.relative_to(self.root).as_posix()

    def located(self, fault: Fault, file: Path) -> Fault:
        """A fault with places in a recipe's file."""
        from tinybuild.recipe.reading import locate

        return locate(fault, file, self.shown(file))

    def with_upstreams(self, tasks: Iterable[Task]) -> list[Task]:
        """Tasks and all that must be done before them, in an order in which they can be done."""
        ordered: dict[str, Task] = {}

        def visit(task: Task) -> None:
            for before in task.before:
                if before not in ordered:
                    visit(self.zoo.tasks[before])
            ordered[task.name] = task

        for task in tasks:
            visit(task)
        return list(ordered.values())


FEW = 12  # names that a hint lists


def matching(word: str, known: Collection[str]) -> list[str]:
    """The names that a word stands for: itself, or all that it matches as a pattern.
    Raises RecipeFault where there is none."""
    if word in known:
        return [word]
    names = fnmatch.filter(sorted(known), word)
    if not names:
        raise unknown(word, known)
    return names


def unknown(name: str, known: Collection[str]) -> Fault:
    """A name that is not known: the nearest ones, or all where there are few."""
    listed = len(known) <= FEW or nearest(name, known)
    hint = did_you_mean(name, known) if listed else "see tinybuild list"
    return RecipeFault.of(f"there is no recipe {name}", hint=hint)


def nothing(zoo: Zoo) -> str:
    """What is said where recipes/ itself holds none."""
    groups = sorted(group for group in zoo.groups if group)
    if groups:
        hint = f"build a group: tinybuild build {groups[0]}"
        return f"there is no recipe in recipes/ itself\n  hint: {hint}"
    return "there is no recipe in recipes/\n  hint: tinybuild new SOURCE writes one"


def placed(fault: Fault, where: str) -> Fault:
    """The same fault; findings without a place get this one, if they do not begin with it."""
    return type(fault)(
        finding
        if finding.where or finding.what.startswith(f"{where} ")
        else Finding(what=finding.what, where=where, hint=finding.hint)
        for finding in fault.findings
    )


def findings(fault: Fault) -> Json:
    """A fault as data, for `--json`."""
    told = [{"what": one.what, "where": one.where, "hint": one.hint} for one in fault.findings]
    return {"findings": [*told]}


@functools.cache
def session() -> Session:
    """The session of this process; doit has changed to the folder of the dodo.py by now."""
    # Planning makes a million small objects that all stay: looking through them for cycles again
    # and again took a quarter of a `doit` with nothing to do on 1,000 recipes.
    gc.set_threshold(500_000)
    # Reading the recipes can be interrupted, too.
    sys.excepthook = functools.partial(_last_words, sys.excepthook)
    signal.signal(signal.SIGTERM, _terminate)
    made = Session(Path.cwd())
    owner = os.getpid()
    atexit.register(lambda: made.close() if os.getpid() == owner else None)
    return made


class _Hook(Protocol):
    """What Python calls with an exception that nobody caught."""

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None, /
    ) -> object: ...


def _last_words(
    otherwise: _Hook,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """Ctrl-C and SIGTERM end with a sentence, not with a traceback."""
    if not issubclass(kind, KeyboardInterrupt):
        otherwise(kind, error, trace)
        return
    screen = Progress()
    if session.cache_info().currsize:
        screen = session().screen
        if "builder" in session().__dict__:
            session().builder.stop()
    screen.close()
    screen.warn(
        "interrupted: finished stages are kept, nothing half-made is left\n"
        "  hint: give the same command again to go on"
    )


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
