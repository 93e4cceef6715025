"""Recipes and locks become tasks: what each depends on, without touching anything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinybuild import source
from tinybuild.dataset.parts import AMOUNT, NUMBERS
from tinybuild.errors import Fault, Finding, RecipeFault, nearest
from tinybuild.files import Memo
from tinybuild.keys import PROCESSORS
from tinybuild.recipe import Broken, Cache, Recipe, amount, lock, size


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One kind of work.

    function: what a worker calls with a Job. code: the parts of the package whose change means that
    the work must be done again. libraries: the installed distributions whose version does.
    """

    function: str
    code: tuple[str, ...]
    libraries: tuple[str, ...]


STAGES: Mapping[str, Stage] = {
    "fetch": Stage(
        function="tinybuild.source:fetch",
        code=("source", "dataset/parts.py", "keys.py", "files.py"),
        libraries=(),
    ),
    "dataset": Stage(
        function="tinybuild.dataset:make",
        code=("dataset", "dataset/corpus.jsonl", "files.py", "progress.py"),
        libraries=("datasets", "pyarrow", "pillow", "soundfile", "soxr"),
    ),
    "tokenizer": Stage(
        function="tinybuild.tokenizer.stage:make",
        code=("tokenizer", "keys.py", "files.py", "dataset/corpus.jsonl"),
        libraries=(
            *("transformers", "tokenizers", "sentencepiece", "sacremoses"),
            *("tiktoken", "mistral-common", "protobuf"),
        ),
    ),
    "model": Stage(
        function="tinybuild.model:make",
        code=(
            *("model", "config", "config/exceptions.json", "feeding"),
            *("keys.py", "files.py"),
        ),
        libraries=("transformers", "torch", "safetensors", "pillow", "torchvision"),
    ),
    "validate": Stage(
        function="tinybuild.validate:make",
        code=(
            "validate",
            "feeding",
            "config",
            "tokenizer",
            "bundle.py",
            "keys.py",
            "files.py",
            "dataset/corpus.jsonl",
        ),
        libraries=(
            *("transformers", "tokenizers", "torch", "datasets", "pyarrow", "soundfile", "soxr"),
            *("sentencepiece", "tiktoken", "mistral-common", "pillow", "torchvision"),
        ),
    ),
    "pack": Stage(
        function="tinybuild.pack:make",
        code=("pack", "bundle.py", "files.py", "progress.py", "__init__.py"),
        libraries=(),
    ),
}

# Names that doit or the stages already have.
RESERVED = frozenset(
    (
        *STAGES,
        *("all", "zoo", "check", "why", "unpack", "missing", "table"),
        *("run", "list", "clean", "forget", "ignore", "info", "help", "auto", "dumpdb"),
        *("strace", "tabcompletion", "reset-dep"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Need:
    """A part of another task's receipt: files below any of `files` ("" is all), and these facts."""

    name: str
    task: str
    files: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Task:
    """One stage of one recipe: its own slice of the recipe and of the receipts before it."""

    name: str
    stage: str
    recipe: Recipe
    settings: Mapping[str, Any]
    needs: tuple[Need, ...]
    wishes: tuple[source.Wish, ...] = ()
    after: tuple[str, ...] = ()
    seed: int = 0

    @property
    def before(self) -> tuple[str, ...]:
        """Names of the tasks that must be done first."""
        return tuple(dict.fromkeys((*self.after, *(need.task for need in self.needs))))


@dataclass(frozen=True, kw_only=True)
class Zoo:
    """Everything a folder of recipes asks for. `groups` maps a subfolder's name to recipe names."""

    root: Path
    recipes: Mapping[str, Recipe]
    broken: tuple[Broken, ...]
    tasks: Mapping[str, Task]
    groups: Mapping[str, tuple[str, ...]]

    def tasks_of(self, name: str) -> list[Task]:
        """A recipe's tasks in the order in which they run."""
        names = (f"{stage}:{name}" for stage in STAGES)
        return [self.tasks[task] for task in names if task in self.tasks]


def seed(given: int, recipe: str, stage: str) -> int:
    """A stage's seed, 0 .. 2**32 - 1: sha256 of the recipe's seed and the two names."""
    return int.from_bytes(hashlib.sha256(f"{given}/{recipe}/{stage}".encode()).digest()[:4], "big")


def load(root: Path, memo: Memo, cache: Cache) -> Zoo:
    """Read root/recipes/*.yaml and root/recipes/GROUP/*.yaml; broken ones are set aside.

    Raises RecipeFault only when there is no recipes/ folder.
    """
    folder = root / "recipes"
    if not folder.is_dir():
        raise RecipeFault.of(
            "there is no folder recipes/ here",
            where=str(root.name or root),
            hint="a zoo is a folder with recipes/ and a dodo.py; see the README",
        )
    files: list[tuple[Path, str]] = []
    groups: dict[str, list[str]] = {"": []}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue  # an editor's lock, or checkpoints
        if path.suffix in (".yaml", ".yml"):
            files.append((path, ""))
        elif path.is_dir():
            inner = [
                (p, path.name)
                for p in sorted(path.iterdir())
                if p.suffix in (".yaml", ".yml") and not p.name.startswith(".")
            ]
            if path.name in RESERVED or not _NAME.match(path.name):
                inner = [(p, "") for p, _ in inner]  # each of its recipes will say so
            elif inner:
                groups[path.name] = []
            files += inner
    recipes: dict[str, Recipe] = {}
    broken: list[Broken] = []
    first: dict[str, str] = {}
    for path, group in files:
        shown = path.relative_to(root).as_posix()
        read = cache.read(path, shown, group)
        name = read.name
        faults = list(_name_faults(path, shown, name, groups, first))
        first.setdefault(name, shown)
        if faults or isinstance(read, Broken):
            more = read.fault.findings if isinstance(read, Broken) else ()
            taken = name in recipes or any(b.name == name for b in broken) or name in RESERVED
            name = _task_name(shown) if taken or not _NAME.match(name) else name
            fault = RecipeFault([*faults, *more])
            broken.append(Broken(name=name, file=path, group=group, fault=fault))
        else:
            recipes[name] = read
    tasks: dict[str, Task] = {}
    for name, recipe in list(recipes.items()):
        try:
            _chain(recipe, recipes)
            _outside(recipe, root)
            made = list(_tasks(recipe, recipes, root))
        except Fault as fault:
            broken.append(Broken(name=name, file=recipe.file, group=recipe.group, fault=fault))
            continue
        tasks.update((task.name, task) for task in made)
    for one in broken:
        recipes.pop(one.name, None)
    _drop_orphans(root, recipes, broken, tasks)
    for name, recipe in recipes.items():
        groups[recipe.group].append(name)
    for one in broken:
        groups[one.group].append(one.name)
    return Zoo(
        root=root,
        recipes=recipes,
        broken=tuple(broken),
        tasks=tasks,
        groups={group: tuple(names) for group, names in groups.items()},
    )


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
LONGEST = 96  # characters of a name; the Hub's limit, and a tar entry has 100


def _task_name(shown: str) -> str:
    """A file's path as doit can have it: without `=`, and as UTF-8."""
    return shown.encode("utf-8", "backslashreplace").decode().replace("=", "%3D")


def _name_faults(
    path: Path, shown: str, name: str, groups: Iterable[str], first: Mapping[str, str]
) -> Iterable[Finding]:
    if path.suffix == ".yml":
        yield Finding(what="a recipe's file ends in .yaml", where=shown, hint="rename it")
    if not _NAME.match(name):
        what = f"{name!r} cannot be a recipe's name"
        yield Finding(what=what, where=shown, hint="use letters, digits, -, _ and .")
    elif len(name) > LONGEST:
        what = f"the name has {len(name)} characters; at most {LONGEST} are allowed"
        yield Finding(what=what, where=shown, hint="rename the file")
    elif name.endswith(".tar.gz"):
        what = f"{name} would be built where the archive of {name.removesuffix('.tar.gz')} is"
        yield Finding(what=what, where=shown, hint="rename the file")
    elif name in RESERVED or (name in groups and name):
        other = "a group of recipes" if name in groups else "a command or a stage"
        yield Finding(what=f"{name} is the name of {other}", where=shown, hint="rename the file")
    within = path.parent.name
    if "/" in shown.removeprefix("recipes/") and within not in groups:
        if within in RESERVED:
            what, hint = f"{within} is the name of a command or a stage", "rename the folder"
        else:
            what = f"{within!r} cannot be the name of a group of recipes"
            hint = "rename the folder: use letters, digits, -, _ and ."
        yield Finding(what=what, where=shown, hint=hint)
    if name in first:
        yield Finding(
            what=f"there are two recipes named {name}",
            where=shown,
            hint=f"the other is {first[name]}; rename one",
        )


def _chain(recipe: Recipe, recipes: Mapping[str, Recipe]) -> None:
    """Refuse sources that name no recipe, and circles of them."""
    seen = [recipe.name]
    queue = [recipe]
    while queue:
        for slot, name in _upstreams(queue.pop()):
            key = ("source", "recipe") if slot == "source" else (slot, "source", "recipe")
            if name not in recipes:
                if len(seen) == 1:
                    near = nearest(name, recipes)
                    hint = f"did you mean {' or '.join(near)}?" if near else "see doit list"
                    raise RecipeFault.of(f"there is no recipe {name}", key=key, hint=hint)
                continue
            if slot == "dataset" and len(seen) == 1 and "dataset" not in recipes[name].data:
                raise RecipeFault.of(f"the recipe {name} makes no dataset", key=key)
            if name == recipe.name:
                circle = " -> ".join([*seen, name])
                raise RecipeFault.of(f"the recipes need one another: {circle}", key=key)
            if name not in seen:
                seen.append(name)
                queue.append(recipes[name])


def _outside(recipe: Recipe, root: Path) -> None:
    """Refuse sources that are what this zoo builds: in which order would be anybody's guess."""
    for wish in source.wishes(recipe.data, recipe.file.parent):
        if source.KINDS[wish.kind].local is None:
            continue
        place = wish.place.resolve()
        for made in (root / "build", root / "dist"):
            out = made.resolve()
            below = wish.slot == "dataset" and out.is_relative_to(place)
            if below or place.is_relative_to(out):
                key = ("source", "path") if wish.slot == "source" else (wish.slot, "source", "path")
                raise RecipeFault.of(
                    f"{wish.data['path']} {'holds' if below else 'is in'} {made.name}/, "
                    "which this zoo writes",
                    key=key,
                    hint="name the recipe instead (source: {recipe: NAME}), or copy the files",
                )


def _upstreams(recipe: Recipe) -> list[tuple[str, str]]:
    return [
        (wish.slot, wish.text())
        for wish in source.wishes(recipe.data, recipe.file.parent)
        if source.KINDS[wish.kind].builds_on
    ]


def _drop_orphans(
    root: Path, recipes: dict[str, Recipe], broken: list[Broken], tasks: dict[str, Task]
) -> None:
    """Set aside recipes whose source is a recipe that cannot be used."""
    while True:
        lost = [
            (name, upstream)
            for name, recipe in recipes.items()
            for _, upstream in _upstreams(recipe)
            if upstream not in recipes
        ]
        if not lost:
            return
        for name, upstream in lost:
            recipe = recipes.pop(name, None)
            if recipe is None:
                continue
            shown = recipe.file.relative_to(root).as_posix()
            fault = RecipeFault.of(f"its source, the recipe {upstream}, is broken", where=shown)
            broken.append(Broken(name=name, file=recipe.file, group=recipe.group, fault=fault))
            for stage in STAGES:
                tasks.pop(f"{stage}:{name}", None)


def _tasks(recipe: Recipe, recipes: Mapping[str, Recipe], root: Path) -> Iterable[Task]:
    """The tasks of one recipe: fetch if it has a source, the stages it asks for, validate, pack."""
    data, name = recipe.data, recipe.name
    wishes = source.wishes(data, recipe.file.parent)
    slots = {wish.slot: wish for wish in wishes}
    dataset, tokenizer, model = (data.get(k) for k in ("dataset", "tokenizer", "model"))

    def task(stage: str, settings: Mapping[str, Any], needs: Iterable[Need], **more: Any) -> Task:
        section = data.get(stage)
        given = section.get("seed", data["seed"]) if section else data["seed"]
        return Task(
            name=f"{stage}:{name}",
            stage=stage,
            recipe=recipe,
            settings=settings,
            needs=tuple(needs),
            seed=seed(given, name, stage),
            **more,
        )

    def fetched(*slots: str) -> Need:
        return Need(name="fetch", task=f"fetch:{name}", files=tuple(f"{slot}/" for slot in slots))

    here = tuple(wish for wish in wishes if source.in_place(wish))
    fetching = tuple(wish for wish in wishes if wish not in here)
    if fetching:
        wanted = {wish.slot: sized(wish.data) for wish in fetching}
        locks = lock.holding(lock.read(recipe.file), wanted)
        needs = []
        for slot, upstream in _upstreams(recipe):
            for stage in MADE if slot != "dataset" else ("dataset",):
                if stage in recipes[upstream].data:
                    files = MADE.get(stage, ("",))
                    needs.append(
                        Need(name=f"{slot}.{stage}", task=f"{stage}:{upstream}", files=files)
                    )
        base = recipe.file.parent.relative_to(root).as_posix()
        settings: dict[str, Any] = {"wishes": wanted, "base": base, "locks": locks}
        if "dataset" in wanted and source.KINDS[slots["dataset"].kind].rows is not None:
            settings["rows"] = {**_deciding(data["dataset"]), "source": wanted["dataset"]}
        yield task(
            "fetch",
            settings,
            needs,
            wishes=fetching,
            after=tuple(f"pack:{upstream}" for _, upstream in _upstreams(recipe)),
        )
    if dataset is not None:
        section = _without(dataset, "seed")
        if "source" in section:
            section["source"] = sized(section["source"])
        settings = {"dataset": section}
        if "source" in section:
            settings["origin"] = source.rows_of(section["source"])
        yield task(
            "dataset",
            settings,
            [fetched("dataset")] if "dataset" in {wish.slot for wish in fetching} else [],
            wishes=here,
        )
    if tokenizer is not None:
        slot = next((s for s in ("tokenizer", "source") if s in slots), "")
        if tokenizer["method"] == "scratch" and "class" in tokenizer:
            slot = ""
        needs = [fetched(slot, *filter(source.is_text, slots))] if slot else []
        text = tokenizer.get("text", "dataset" if dataset is not None else "corpus")
        if tokenizer["method"] in READING and text == "dataset":
            needs.append(Need(name="dataset", task=f"dataset:{name}", files=("data/",)))
        kind = slots[slot].kind if slot else ""
        yield task(
            "tokenizer",
            {
                "tokenizer": _without(tokenizer, "source"),
                "slot": slot,
                "kind": kind,
                "blank": bool(slot) and source.KINDS[kind].blank,
                "related": slot == "source",
            },
            needs,
        )
    if model is not None:
        needs = [fetched("source")]
        if tokenizer is not None:
            needs.append(Need(name="tokenizer", task=f"tokenizer:{name}", facts=("ids",)))
        most = amount(data["checks"]["max_parameters"])
        section = _without(model, "seed")
        for key, number in (("max_parameters", amount), ("max_bytes", size)):
            if key in section:
                section[key] = number(section[key])
        settings = {"model": section, "max_parameters": most}
        yield task("model", settings, needs)
    made = [stage for stage in ("tokenizer", "model", "dataset") if stage in data]
    parts = [Need(name=s, task=f"{s}:{name}", files=("",), facts=_FACTS[s]) for s in made]
    checks = {"max_parameters": amount(data["checks"]["max_parameters"])}
    if "max_bytes" in data["checks"]:
        checks["max_bytes"] = size(data["checks"]["max_bytes"])
    settings, origin = {"checks": checks}, []
    if tokenizer is not None and tokenizer["method"] in SHRINKING:
        origin.append(f"{slot}/")
        settings["source"] = {"slot": slot, "class": tokenizer.get("class")}
    if model is not None:
        origin += ["source/config", "source/generation_config"]
        settings["model"] = {
            key: model[key] for key in ("config", "shrink", "size") if key in model
        }
    looked = [Need(name=s, task=f"{s}:{name}", files=("",), facts=_LOOKED[s]) for s in made]
    if origin:
        looked.append(Need(name="fetch", task=f"fetch:{name}", files=tuple(origin)))
    yield task("validate", settings, looked)
    pins = [Need(name="fetch", task=f"fetch:{name}", facts=("pins", "credits"))] if fetching else []
    local = {
        wish.slot: {"wish": dict(wish.data), "credit": source.credit(wish.data, {})}
        for wish in here
    }
    report = Need(name="validate", task=f"validate:{name}", files=("report.json",))
    yield task(
        "pack",
        {"name": name, "summary": recipe.summary, "recipe": recipe.sha256, "local": local},
        [*pins, *parts, report],
    )


# What a recipe that builds on another one takes of its tokenizer and model, beside their datasets.
MADE = {
    "tokenizer": ("",),
    "model": ("config.json", "generation_config.json", *PROCESSORS, "chat_template.json"),
}
READING = ("truncate", "corpus", "train")  # methods that read the dataset
SHRINKING = READING[:2]  # methods whose result is compared with the source
_FACTS = {
    "tokenizer": ("class", "method", "vocab_size", "rows", "bytes", "shrunk"),
    "model": ("class", "parameters", "dtype", "processor"),
    "dataset": ("rows", "columns", "configs", "source"),
}
_LOOKED = {  # what the checks look at
    **_FACTS,
    "tokenizer": (*_FACTS["tokenizer"], "ids"),
    "dataset": ("rows", "columns", "configs"),
}


def _deciding(section: Mapping[str, Any]) -> dict[str, Any]:
    """What of a dataset section decides which rows are read; not what becomes of them."""
    inner = {
        key: {name: _deciding(part) if part else part for name, part in section[key].items()}
        for key in ("configs", "splits")
        if key in section
    }
    kept = ("source", "config", "split", "seed", *NUMBERS, *AMOUNT)
    return {**{key: section[key] for key in kept if key in section}, **inner}


def sized(wish: Mapping[str, Any]) -> dict[str, Any]:
    """A source as the stages take it: its bound in bytes."""
    return {key: size(value) if key == "max_read" else value for key, value in wish.items()}


def _without(section: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}
