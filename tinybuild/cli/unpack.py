"""Rows of a recipe's dataset source become files that a person can edit."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinybuild import source, wire
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import Session
from tinybuild.dataset.parts import parts
from tinybuild.engine.run import Builder
from tinybuild.engine.slices import sized
from tinybuild.engine.stages import Task
from tinybuild.errors import BuildFault, Fault, Finding, RecipeFault
from tinybuild.files import fresh
from tinybuild.recipe import Recipe, lock, size
from tinybuild.workers import Job, Limits, Sort


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to unpack: rows of the source by number from 1 ("1,4-10"; else the first ten, or as many
    as there are), of which config and split of it (else those that the recipe takes first), and the
    new folder below the zoo's."""

    to: str
    rows: str = ""
    config: str = ""
    split: str = ""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Has work done for a recipe. before: a task's name -> it and the tasks that it needs, in their
    order. say: what people are told meanwhile."""

    recipe: Recipe
    builder: Builder
    before: Callable[[str], list[Task]]
    say: Callable[[str], None]

    def call(
        self, function: str, out: Path, settings: Mapping[str, Any], origin: _Origin
    ) -> Mapping[str, Any]:
        """What a function of a worker gives for a job."""
        limits = self.recipe.data["limits"]
        job = Job(
            task=f"unpack:{self.recipe.name}",
            settings=settings,
            inputs=origin.inputs,
            facts={},
            root=self.builder.root,
            out=out,
            seed=0,
            upstream=origin.upstream,
        )
        most = Limits(seconds=limits["seconds"], memory=size(limits["memory"]))
        sort: Sort = "online" if function == "source:fetch" else "light"
        facts: Mapping[str, Any]
        facts = self.builder.pool.call(f"tinybuild.{function}", job, most, sort)
        return facts


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """folder: from the zoo's. rows: how many. columns: a file for each. records: the folder as the
    recipe would name it."""

    folder: str
    rows: int
    columns: tuple[str, ...]
    records: str

    @property
    def words(self) -> str:
        return (
            f"wrote {self.rows} row{'s' * (self.rows != 1)} to {self.folder}, a file for each of "
            f"{', '.join(self.columns)}\n"
            f"edit them; a recipe packs them again with\n"
            f"  dataset:\n    records: {self.records}"
        )


def unpack(work: Work, asked: Asked) -> Unpacked:
    """Write the rows, before anything is chosen or made small, to a folder that takes its place
    when it is complete. Raises Fault."""
    recipe, root = work.recipe, work.builder.root
    place = root / asked.to
    if os.path.lexists(place):
        what = f"{asked.to} is there already"
        raise BuildFault.of(what, hint="give another folder (--to), or move it away")
    above = next(folder for folder in place.parents if os.path.lexists(folder))
    if not above.is_dir():
        what = f"{os.path.relpath(above, root)} is not a folder"
        raise BuildFault.of(what, hint="give another folder (--to)")
    section = _section(recipe.data["dataset"], asked)
    try:
        with contextlib.ExitStack() as stack:
            made = stack.enter_context(fresh(place))
            aside = place.with_name(f"{place.name}.fetched")
            origin = _origin(work, section, stack, aside)
            settings = {"dataset": section, "numbers": asked.rows or None}
            facts = work.call("dataset.stage:unpack", made, settings, origin)
            os.rename(made, place)
    finally:
        for folder in place.parents:
            if folder == above or any(folder.iterdir()):
                break
            folder.rmdir()
    return Unpacked(
        folder=asked.to,
        rows=len(facts["rows"]),
        columns=tuple(facts["columns"]),
        records=os.path.relpath(place, recipe.file.parent),
    )


def _section(section: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    """A dataset section that asks for these rows and for nothing to be done to them."""
    first = parts(section)[0]
    names = {"config": asked.config or first.of_config, "split": asked.split or first.of_split}
    origin = sized({**section.get("source", {}), **{k: v for k, v in names.items() if v}})
    rows = {"rows": asked.rows} if asked.rows else {"samples": 10, "at_most": True}
    kept = {key: section[key] for key in ("records",) if key in section}
    return {**kept, "source": origin, **rows}


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """Where the files of the source are: the inputs and the upstream of a dataset stage's job."""

    inputs: Mapping[str, Path] = field(default_factory=dict)
    upstream: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def _origin(
    work: Work, section: Mapping[str, Any], stack: contextlib.ExitStack, aside: Path
) -> _Origin:
    """`aside`: a folder for what is fetched only for this."""
    recipe, builder = work.recipe, work.builder
    wishes = source.wishes(recipe.data, recipe.file.parent)
    wish = next((wish for wish in wishes if wish.slot == "dataset"), None)
    if wish is None:
        return _Origin()
    if source.in_place(wish):
        names = dict.fromkeys(sorted(source.local(wish)), "")
        return _Origin(inputs={"dataset": wish.place}, upstream={"dataset": names})
    if source.KINDS[wish.kind].rows is not None:  # the rows of the recipe are not these
        fetched = stack.enter_context(fresh(aside))
        wanted = {"dataset": sized(wish.data)}
        pins = lock.holding(recipe.pins, wanted)
        settings = {
            "wishes": wanted,
            "rows": section,
            "base": recipe.file.parent.relative_to(builder.root).as_posix(),
            "locks": {slot: pin.json() for slot, pin in pins.items()},
        }
        work.call("source:fetch", fetched, settings, _Origin())
        return _Origin(inputs={"fetch": fetched})
    fetch = f"fetch:{recipe.name}"
    for task in work.before(fetch):
        if builder.reasons(task):
            work.say(f"{task.name} comes first")
            builder.perform(task, work.say)
    return _Origin(inputs={"fetch": builder.place(fetch)})


ROWS = re.compile(r"[1-9][0-9]{0,17}(-[1-9][0-9]{0,17})?(,[1-9][0-9]{0,17}(-[1-9][0-9]{0,17})?)*")
# Where in the recipe stands what an option asks for.
OPTION_KEYS: Mapping[tuple[str | int, ...], str] = {
    ("dataset", "rows"): "rows",
    ("dataset", "source", "config"): "config",
    ("dataset", "source", "split"): "split",
}


def _unpack(here: Session, words: Sequence[str], options: Options) -> Lines:
    """Fetches the source if need be, and unpacks to a fresh folder, which then takes its place."""
    known = [name for name, recipe in here.zoo.recipes.items() if "dataset" in recipe.data]
    if len(words) != 1:
        hint = f"those with a dataset: {', '.join(known)}" if known else "no recipe has a dataset"
        raise RecipeFault.of("unpack takes the name of one recipe", hint=hint)
    recipe = here.recipe(words[0])
    if recipe.name not in known:
        others = f"those with one: {', '.join(known)}"
        hint = others if known else "give it one: dataset: {samples: 9}"
        raise RecipeFault.of(f"the recipe {recipe.name} has no dataset", hint=hint)
    if options["rows"] and not ROWS.fullmatch(options["rows"]):
        what = f"--rows {options['rows']} is not a list of row numbers"
        raise RecipeFault.of(what, hint="give numbers from 1 and ranges, such as 1,4-10")
    asked = Asked(**{**options, "to": options["to"] or f"recipes/records/{recipe.name}"})
    try:
        work = Work(
            recipe=recipe,
            builder=here.builder,
            before=lambda task: here.with_upstreams([here.zoo.tasks[task]]),
            say=here.screen.say,
        )
        done = unpack(work, asked)
    except Fault as fault:
        raise here.located(_of_options(fault, options), recipe.file) from None
    yield done.words
    return Answer(data=wire.dump(done))


def _of_options(fault: Fault, options: Options) -> Fault:
    """What the command's options ask for does not stand in the recipe."""
    return type(fault)(
        Finding(what=finding.what, where=f"--{OPTION_KEYS[finding.key]}", hint=finding.hint)
        if finding.key in OPTION_KEYS and options[OPTION_KEYS[finding.key]]
        else finding
        for finding in fault.findings
    )


UNPACK = Command(
    doc="write rows of a recipe's dataset source as files that a person can edit",
    do=_unpack,
    words="NAME",
    options={
        "rows": Option(help="numbers such as 1,4-10 [1-10]", value="ROWS"),
        "to": Option(help="a new folder [recipes/records/NAME]", value="DIR"),
        "config": Option(help="of the source", value="CONFIG"),
        "split": Option(help="of the source", value="SPLIT"),
    },
    group="zoo",
)
