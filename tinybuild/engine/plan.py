"""Recipes and locks become tasks: what each depends on, without touching anything."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tinybuild import source
from tinybuild.engine import slices
from tinybuild.engine.stages import STAGES, Task
from tinybuild.errors import Fault, Finding, RecipeFault, nearest
from tinybuild.files import Memo
from tinybuild.recipe import Broken, Cache, Recipe, zoofile
from tinybuild.source.pins import slot_key

# Names that doit or the stages already have.
RESERVED = frozenset(
    (
        *STAGES,
        *(
            "all",
            "zoo",
            "build",
            "init",
            "new",
            "plan",
            "path",
            "schema",
            "sign",
            "show",
            "check",
            "ci",
            "why",
            "unpack",
            "missing",
            "table",
            "verify",
            "rebuild",
            "import",
            "affected",
            "completion",
            "publish",
            "outdated",
            "update",
            "diff",
            "page",
            "store",
        ),
        *("run", "list", "clean", "forget", "ignore", "info", "help", "auto", "dumpdb"),
        *("strace", "tabcompletion", "reset-dep"),
    )
)
LONGEST = 96  # characters of a name; the Hub's limit, and a tar entry has 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_LETTERS = "use letters, digits, -, _ and ., the first a letter or a digit"
_SUFFIXES = (".yaml", ".yml")  # in letters of either case, to be told of


@dataclass(frozen=True, kw_only=True)
class Zoo:
    """Everything a folder of recipes asks for. `groups` maps a subfolder's name to recipe names."""

    root: Path
    recipes: Mapping[str, Recipe]
    broken: tuple[Broken, ...]
    tasks: Mapping[str, Task]
    groups: Mapping[str, tuple[str, ...]]

    @property
    def files(self) -> Sequence[Recipe | Broken]:
        """Every recipe, those that cannot be read last."""
        return (*self.recipes.values(), *self.broken)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.files)

    def tasks_of(self, name: str) -> list[Task]:
        """A recipe's tasks in the order in which they run."""
        names = (f"{stage}:{name}" for stage in STAGES)
        return [self.tasks[task] for task in names if task in self.tasks]

    def one_by_one(
        self, selected: Iterable[str], order: Callable[[Sequence[str]], Iterable[str]] = iter
    ) -> list[str]:
        """What is selected, with the recipes of each group in its place, one after another.

        order: in which a group's are begun; a recipe comes after those that it builds on. doit
        takes up what is selected in this order, and the next only when there is nothing to do for
        those before it: so each recipe is packed as soon as it can be, and an interrupted run
        leaves whole bundles.
        """
        names = list[str]()
        for name in selected:
            group = "" if name == "zoo" else name
            names += [*self._in_order(order(self.groups.get(group, ()))), name]
        return list(dict.fromkeys(names))

    def _in_order(self, names: Iterable[str]) -> Iterable[str]:
        """Recipes, those that others build on first."""
        graph = dict[str, list[str]]()
        for name in names:
            fetch = self.tasks.get(f"fetch:{name}")
            before = fetch.slice.after if fetch is not None else ()
            graph[name] = [task.partition(":")[2] for task in before]
        return TopologicalSorter(graph).static_order()


def load(root: Path, memo: Memo, cache: Cache) -> Zoo:
    """Read root/recipes/*.yaml and root/recipes/GROUP/*.yaml; broken ones are set aside.

    Raises RecipeFault only when there is no recipes/ folder.
    """
    folder = root / "recipes"
    if not folder.is_dir():
        above = next((one for one in root.parents if (one / "recipes").is_dir()), None)
        hint = "go to your zoo, or make one: tinybuild init DIR"
        if above is not None:
            hint = f"there is one above: tinybuild -C {os.path.relpath(above, root)} COMMAND"
        raise RecipeFault.of(
            "there is no folder recipes/ here", where=str(root.name or root), hint=hint
        )
    files, groups = listed(folder)
    common = cache.common(root / zoofile.FILE, zoofile.FILE)
    read, broken = _read(root, files, groups, cache)
    recipes = {name: zoofile.joined(recipe, common) for name, recipe in read.items()}
    wishes = {name: source.wishes(r.data, r.file.parent) for name, r in recipes.items()}
    upstreams = {name: slices.upstreams(asked) for name, asked in wishes.items()}
    tasks: dict[str, Task] = {}

    def set_aside(name: str, fault: Fault) -> None:
        recipe = recipes[name]
        broken.append(Broken(name=name, file=recipe.file, group=recipe.group, fault=fault))

    doubled, unread = dict(zoofile.twice(recipes)), {one.name for one in broken}
    for name, recipe in recipes.items():
        try:
            if name in doubled:
                raise doubled[name]
            _chain(name, recipes, upstreams, unread)
            _outside(wishes[name], root)
            asked = slices.Asked(recipe=recipe, wishes=wishes[name], others=recipes, root=root)
            tasks.update((task.name, task) for task in slices.tasks(asked))
        except Fault as fault:
            set_aside(name, fault)
    lost = {one.name for one in broken}
    for name in _downstream(upstreams):
        others = (wish.text() for wish in upstreams.get(name, ()))
        away = next((other for other in others if other in lost), None)
        if away is not None and name not in lost:
            lost.add(name)
            set_aside(name, _lost(away, where=recipes[name].file.relative_to(root).as_posix()))
    good = {name: recipe for name, recipe in recipes.items() if name not in lost}
    members: dict[str, list[str]] = {group: [] for group in groups}
    for recipe in good.values():
        members[recipe.group].append(recipe.name)
    for one in broken:
        members[one.group].append(one.name)
    return Zoo(
        root=root,
        recipes=good,
        broken=tuple(broken),
        tasks={name: task for name, task in tasks.items() if task.recipe.name in good},
        groups={group: tuple(names) for group, names in members.items()},
    )


def listed(folder: Path) -> tuple[list[tuple[Path, str]], list[str]]:
    """(file, group) of each recipe, in their order, and the groups; "" is recipes/ itself."""
    files, groups = list[tuple[Path, str]](), [""]
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue  # an editor's lock, or checkpoints
        if _like_a_recipe(path):
            files.append((path, ""))
        elif path.is_dir():
            inner = [p for p in sorted(path.iterdir()) if _like_a_recipe(p)]
            inner = [p for p in inner if not p.name.startswith(".")]
            # Where the folder cannot be a group, each of its recipes will say so.
            group = path.name if path.name not in RESERVED and _NAME.match(path.name) else ""
            if inner and group:
                groups.append(group)
            files += [(p, group) for p in inner]
    return files, groups


def _like_a_recipe(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES


def _read(
    root: Path, files: Iterable[tuple[Path, str]], groups: Iterable[str], cache: Cache
) -> tuple[dict[str, Recipe], list[Broken]]:
    """The recipes by their names, and those that cannot be read or named so."""
    recipes, broken, first = dict[str, Recipe](), list[Broken](), dict[str, str]()
    for path, group in files:
        shown = path.relative_to(root).as_posix()
        read = cache.read(path, shown, group)
        name = read.name
        faults = [*_name_faults(path, shown, name, groups), *_twice(name, shown, first)]
        first.setdefault(name, shown)
        if isinstance(read, Recipe) and not faults:
            recipes[name] = read
            continue
        more = read.fault.findings if isinstance(read, Broken) else ()
        taken = name in recipes or any(b.name == name for b in broken) or name in RESERVED
        name = _task_name(shown) if taken or not _NAME.match(name) else name
        fault = RecipeFault([*faults, *more])
        broken.append(Broken(name=name, file=path, group=group, fault=fault))
    return recipes, broken


def _task_name(shown: str) -> str:
    """A file's path as doit can have it: without `=`, and as UTF-8."""
    return shown.encode("utf-8", "backslashreplace").decode().replace("=", "%3D")


def _name_faults(path: Path, shown: str, name: str, groups: Iterable[str]) -> Iterator[Finding]:
    if path.suffix != ".yaml":
        yield Finding(what="a recipe's file ends in .yaml", where=shown, hint="rename it")
    if wrong := wrong_name(name, groups):
        hint = "rename the file" if _NAME.match(name) else f"rename the file: {_LETTERS}"
        yield Finding(what=wrong, where=shown, hint=hint)
    within = path.parent.name
    if "/" in shown.removeprefix("recipes/") and within not in groups:
        if within in RESERVED:
            what, hint = f"{within} is the name of a command or a stage", "rename the folder"
        else:
            what = f"{within!r} cannot be the name of a group of recipes"
            hint = f"rename the folder: {_LETTERS}"
        yield Finding(what=what, where=shown, hint=hint)


def wrong_name(name: str, groups: Iterable[str]) -> str:
    """Why a recipe cannot have a name; "" where it can."""
    if not _NAME.match(name):
        return f"{name!r} cannot be a recipe's name"
    if len(name) > LONGEST:
        return f"the name has {len(name)} characters; at most {LONGEST} are allowed"
    if name.endswith(".tar.gz"):
        return f"{name} would be built where the archive of {name.removesuffix('.tar.gz')} is"
    if name in groups:
        return f"{name} is the name of a group of recipes"
    return f"{name} is the name of a command or a stage" if name in RESERVED else ""


def _twice(name: str, shown: str, first: Mapping[str, str]) -> Iterator[Finding]:
    if name in first:
        hint = f"the other is {first[name]}; rename one"
        yield Finding(what=f"there are two recipes named {name}", where=shown, hint=hint)


Upstreams = Mapping[str, tuple[source.Wish, ...]]  # recipe -> its wishes that name another recipe


def _lost(other: str, where: str = "", key: Iterable[str | int] = ()) -> Fault:
    what, hint = f"its source, the recipe {other}, is broken", f"see tinybuild check {other}"
    return RecipeFault.of(what, where=where, key=key, hint=hint)


def _chain(
    name: str, recipes: Mapping[str, Recipe], upstreams: Upstreams, unread: Set[str]
) -> None:
    """Refuse sources that name no recipe, or one that could not be read, and circles of them."""
    for wish in upstreams[name]:
        other, key = wish.text(), (*slot_key(wish), wish.kind)
        if other in unread:
            raise _lost(other, key=key)
        if other not in recipes:
            near = nearest(other, {*recipes, *unread} - {name})
            hint = f"did you mean {' or '.join(near)}?" if near else "see tinybuild list"
            raise RecipeFault.of(f"there is no recipe {other}", key=key, hint=hint)
        if wish.slot == "dataset" and "dataset" not in recipes[other].data:
            raise RecipeFault.of(f"the recipe {other} makes no dataset", key=key)
    seen, todo = [name], [name]
    while todo:
        for wish in upstreams[todo.pop()]:
            other = wish.text()
            if other == name:
                circle = " -> ".join([*seen, name])
                what = f"the recipes need one another: {circle}"
                raise RecipeFault.of(what, key=(*slot_key(wish), wish.kind))
            if other in recipes and other not in seen:
                seen.append(other)
                todo.append(other)


def _downstream(upstreams: Upstreams) -> list[str]:
    """Recipes, those that others build on first; a recipe in a circle is broken as it is."""
    graph = {name: {wish.text() for wish in others} for name, others in upstreams.items()}
    while True:
        try:
            return list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            for name in error.args[1]:
                graph[name] = set()


def _outside(wishes: Iterable[source.Wish], root: Path) -> None:
    """Refuse sources that are what this zoo builds: in which order would be anybody's guess."""
    for wish in wishes:
        if source.KINDS[wish.kind].local is None:
            continue
        place = wish.place.resolve()
        for made in (root / "build", root / "dist"):
            out = made.resolve()
            below = wish.slot == "dataset" and out.is_relative_to(place)
            if below or place.is_relative_to(out):
                raise RecipeFault.of(
                    f"{wish.text()} {'holds' if below else 'is in'} {made.name}/, "
                    "which this zoo writes",
                    key=(*slot_key(wish), wish.kind),
                    hint="name the recipe instead (source: {recipe: NAME}), or copy the files",
                )
