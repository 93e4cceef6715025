"""The commands, one entry each: what it is for, what it takes, what it does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tinybuild import wire
from tinybuild.cli import (
    architectures,
    artefact,
    building,
    checking,
    ci,
    compare,
    drift,
    editors,
    paging,
    planning,
    publish,
    showing,
    starting,
    storing,
)
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import Session
from tinybuild.cli.unpack import Asked, Work, unpack
from tinybuild.errors import Fault, Finding, RecipeFault
from tinybuild.files import write


def _why(here: Session, words: Sequence[str], options: Options) -> Lines:
    told: dict[str, list[str]] = {}  # task -> reasons; two recipes may be made from a third
    names = here.named(words) or here.zoo.groups[""]
    broken = [recipe for recipe in here.zoo.broken if recipe.name in names]
    for name in [name for name in names if name in here.zoo.recipes]:
        for task, reasons in _explained(here, name):
            if task not in told:
                told[task] = reasons
                yield from (f"{task:<24} {said}" for said in reasons or [_settled(here, task)])
    if broken:
        raise RecipeFault([one for recipe in broken for one in here.refusal(recipe).findings])
    return Answer(data={task: [*reasons] for task, reasons in told.items()})


def _settled(here: Session, task: str) -> str:
    """What is said of a task that does not run."""
    return f"is up to date{', restored from the store' if here.builder.restored(task) else ''}"


def _explained(here: Session, name: str) -> Iterator[tuple[str, list[str]]]:
    """Each stage of a recipe, and of the recipes it is made from, with why it runs or may run."""
    running: set[str] = set()
    for task in here.with_upstreams(here.zoo.tasks_of(name)):
        reasons = [f"runs: {reason}" for reason in here.builder.reasons(task)]
        waits = [before for before in task.before if before in running]
        if not reasons and waits:
            reasons = [f"runs if {' or '.join(waits)} gives something else"]
        if reasons:
            running.add(task.name)
        yield task.name, reasons


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
        hint = (
            f"those with one: {', '.join(known)}" if known else "give it one: dataset: {samples: 9}"
        )
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
        from tinybuild.recipe.reading import locate

        shown = recipe.file.relative_to(here.root).as_posix()
        raise locate(_of_options(fault, options), recipe.file, shown) from None
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


def _missing(here: Session, words: Sequence[str], options: Options) -> Lines:
    files = architectures.missing(here.root)
    for file, text in files.items():
        write(file, text)
        yield f"wrote {file.relative_to(here.root)}"
    if not files:
        yield "every model type has its recipe"
    return Answer(data={"wrote": [file.relative_to(here.root).as_posix() for file in files]})


def _table(here: Session, words: Sequence[str], options: Options) -> Lines:
    text = architectures.table(architectures.rows(here.zoo, here.builder))
    write(here.root / architectures.TABLE, text)
    yield f"wrote {architectures.TABLE}"
    return Answer(data={"wrote": [architectures.TABLE]})


COMMANDS: Mapping[str, Command] = {
    "affected": compare.AFFECTED,
    "diff": compare.DIFF,
    "build": building.BUILD,
    "clean": building.CLEAN,
    "store": storing.STORE_COMMAND,
    "list": building.LIST,
    "path": building.PATH,
    "why": Command(
        doc="what a build would do for a recipe, stage by stage, and the reasons",
        do=_why,
        more="Without a name: the recipes of recipes/ itself.",
    ),
    "check": checking.CHECK,
    "plan": planning.PLAN,
    "show": showing.SHOW,
    "page": paging.PAGE,
    "outdated": drift.OUTDATED,
    "update": drift.UPDATE,
    "ci": ci.CI,
    "init": starting.INIT,
    "new": starting.NEW,
    "schema": editors.WRITE,
    "verify": artefact.VERIFY,
    "sign": artefact.SIGN,
    "publish": publish.PUBLISH,
    "rebuild": artefact.REBUILD,
    "import": artefact.IMPORT,
    "unpack": Command(
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
    ),
    "missing": Command(
        doc="write a recipe for each model type of transformers that recipes/architectures/ lacks",
        do=_missing,
        words="",
        group="zoo",
    ),
    "table": Command(
        doc="write docs/architectures.md: what became of each architecture",
        do=_table,
        words="",
        group="zoo",
    ),
}
