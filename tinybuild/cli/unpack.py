"""Rows of a recipe's dataset source become files that a person can edit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinybuild import source
from tinybuild.dataset.parts import parts
from tinybuild.engine.run import Builder
from tinybuild.engine.slices import sized
from tinybuild.engine.stages import Task
from tinybuild.errors import BuildFault
from tinybuild.files import explain, fresh
from tinybuild.recipe import Recipe, lock, size
from tinybuild.workers import Job, Limits


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to unpack: rows of the source by number from 1 ("1,4-10"; else the first ten, or as many
    as there are), of which config and split of it (else those that the recipe takes first), and the
    new folder below the zoo's."""

    to: str
    rows: str = ""
    config: str = ""
    split: str = ""


def unpack(
    recipe: Recipe,
    asked: Asked,
    builder: Builder,
    before: Callable[[str], list[Task]],
    say: Callable[[str], None],
) -> str:
    """Write the rows, before anything is chosen or made small, to a folder that takes its place
    when it is complete; what to say then. Raises Fault.

    before: a task's name -> it and the tasks that it needs, in their order.
    """
    root, place = builder.root, builder.root / asked.to
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
            call = _Calls(recipe=recipe, builder=builder)
            inputs, upstream = _origin(recipe, section, call, before, say, stack, aside)
            settings = {"dataset": section, "numbers": asked.rows or None}
            facts = call("dataset:unpack", made, settings, inputs, upstream)
            os.rename(made, place)
    except OSError as error:
        if error.filename is not None:
            error.filename = os.path.relpath(error.filename, root)
        raise explain(error) or error from None
    finally:
        for folder in place.parents:
            if folder == above or any(folder.iterdir()):
                break
            folder.rmdir()
    count = len(facts["rows"])
    records = os.path.relpath(place, recipe.file.parent)
    return (
        f"wrote {count} row{'s' * (count != 1)} to {asked.to}, a file for each of "
        f"{', '.join(facts['columns'])}\n"
        f"edit them; a recipe packs them again with\n"
        f"  dataset:\n    records: {records}"
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
class _Calls:
    """Has work done by a worker."""

    recipe: Recipe
    builder: Builder

    def __call__(
        self,
        function: str,
        out: Path,
        settings: Mapping[str, Any],
        inputs: Mapping[str, Path],
        upstream: Mapping[str, Mapping[str, str]],
    ) -> Any:
        limits = self.recipe.data["limits"]
        job = Job(
            task=f"unpack:{self.recipe.name}",
            settings=settings,
            inputs=inputs,
            facts={},
            root=self.builder.root,
            out=out,
            seed=0,
            upstream=upstream,
        )
        most = Limits(seconds=limits["seconds"], memory=size(limits["memory"]))
        online = function == "source:fetch"
        return self.builder.pool.call(f"tinybuild.{function}", job, most, online)


def _origin(
    recipe: Recipe,
    section: Mapping[str, Any],
    call: _Calls,
    before: Callable[[str], list[Task]],
    say: Callable[[str], None],
    stack: contextlib.ExitStack,
    aside: Path,
) -> tuple[dict[str, Path], dict[str, dict[str, str]]]:
    """The inputs and the upstream of a dataset stage's job: where the source's files are."""
    wishes = source.wishes(recipe.data, recipe.file.parent)
    wish = next((wish for wish in wishes if wish.slot == "dataset"), None)
    if wish is None:
        return {}, {}
    if source.in_place(wish):
        names = dict.fromkeys(sorted(source.local(wish)), "")
        return {"dataset": wish.place}, {"dataset": names}
    if source.KINDS[wish.kind].rows is not None:  # the rows of the recipe are not these
        fetched = stack.enter_context(fresh(aside))
        wanted = {"dataset": sized(wish.data)}
        pins = lock.holding(recipe.pins, wanted)
        settings = {
            "wishes": wanted,
            "rows": section,
            "base": recipe.file.parent.relative_to(call.builder.root).as_posix(),
            "locks": {slot: pin.json() for slot, pin in pins.items()},
        }
        call("source:fetch", fetched, settings, {}, {})
        return {"fetch": fetched}, {}
    fetch = f"fetch:{recipe.name}"
    for task in before(fetch):
        if call.builder.reasons(task):
            say(f"{task.name} comes first")
            call.builder.perform(task, say)
    return {"fetch": call.builder.place(fetch)}, {}
