"""`why`: what a build would do for a recipe, and the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinybuild.cli.command import Answer, Command, Lines, Options
from tinybuild.cli.session import Session, nothing
from tinybuild.errors import RecipeFault


def _why(here: Session, words: Sequence[str], options: Options) -> Lines:
    told: dict[str, list[str]] = {}  # task -> reasons; two recipes may be made from a third
    names = [name for word in words for name in here.places(word)] or here.zoo.groups[""]
    broken = [recipe for recipe in here.zoo.broken if recipe.name in names]
    if not names:
        yield nothing(here.zoo)
    for name in names:
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
    """Each stage of a recipe, or one task, and of what it is made from, with why it runs or may
    run."""
    running: set[str] = set()
    for task in here.with_upstreams(here.tasks([name])):
        reasons = [f"runs: {reason}" for reason in here.builder.reasons(task)]
        waits = [before for before in task.before if before in running]
        if not reasons and waits:
            reasons = [f"runs if {' or '.join(waits)} gives something else"]
        if reasons:
            running.add(task.name)
        yield task.name, reasons


WHY = Command(
    doc="what a build would do for a recipe, stage by stage, and the reasons",
    do=_why,
    words="[NAME | STAGE:NAME ...]",
    more="Without a name: the recipes of recipes/ itself.",
)
