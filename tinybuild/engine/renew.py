"""Pins anew: what the wishes of a recipe resolve to now, and what would then be rebuilt."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping

from tinybuild import named
from tinybuild.engine.run import Builder, limits, sort
from tinybuild.engine.stages import STAGES, Need, Task
from tinybuild.files import fresh
from tinybuild.paths import mapping
from tinybuild.source import Pin
from tinybuild.workers import Job


def resolve(
    builder: Builder, fetch: Task, slots: Collection[str], held: Collection[str] = ()
) -> dict[str, Pin]:
    """What some of a fetch task's wishes resolve to, and what their configs name; those that are
    held stay at their commit, and other parts of it may be read. What is fetched for that is not
    kept, no lock is written. Raises Fault."""
    wishes = mapping(fetch.settings["wishes"])
    settings = {
        **fetch.settings,
        "wishes": {slot: wishes[slot] for slot in map(named.owner, slots)},
        "locks": {
            slot: pin
            for slot, pin in mapping(fetch.settings["locks"]).items()
            if slot in held or slot not in slots
        },
    }
    place = builder.place(fetch.name).with_name("update")
    try:
        with fresh(place) as out:
            job = Job(
                task=fetch.name,
                settings=settings,
                inputs={},
                facts={},
                root=builder.root,
                out=out,
                seed=fetch.seed,
            )
            function = STAGES[fetch.stage].function
            facts = builder.pool.call(function, job, limits(fetch), sort(fetch))
    finally:
        for folder in (place.parent, place.parent.parent):
            with contextlib.suppress(OSError):
                folder.rmdir()  # where it is empty
    return {slot: Pin.read(mapping(facts, ("pins", slot))) for slot in facts["pins"]}


def rebuilt(
    builder: Builder, ordered: Iterable[Task], changed: Mapping[str, Collection[str] | None]
) -> tuple[str, ...]:
    """The tasks that would run now that fetch tasks have other pins. changed: such a task -> the
    files of it that are others; None: any may be."""
    running = dict[str, Collection[str] | None]()
    recipes = {name.partition(":")[2] for name in changed}
    for task in ordered:
        if any(_reached(need, running) for need in task.needs):
            running[task.name] = None
        elif task.recipe.name in recipes and builder.reasons(task):
            running[task.name] = changed.get(task.name)
    return tuple(running)


def _reached(need: Need, running: Mapping[str, Collection[str] | None]) -> bool:
    """Whether a need may be of something else than before."""
    if need.task not in running:
        return False
    files = running[need.task]
    return files is None or bool(need.facts) or any(map(need.covers, files))
