"""Every recipe held against its sources, its lock and the installed transformers."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from tinybuild import source, wire
from tinybuild.config import heads
from tinybuild.engine.plan import Zoo
from tinybuild.engine.run import Builder, limits
from tinybuild.engine.stages import Task
from tinybuild.errors import Fault, Finding, PackageFault
from tinybuild.facts import Ids
from tinybuild.model import Size, Sketch
from tinybuild.paths import Data, Json, get, mapping, whole
from tinybuild.recipe import Recipe, lock
from tinybuild.review.stages import Asked, Origin
from tinybuild.sections import Model
from tinybuild.source import Pin, Wish
from tinybuild.source.pins import title
from tinybuild.workers import Job, Sort


@dataclass(kw_only=True)
class Seen:
    """What a look at a recipe came to. findings: what is wrong. unseen: what could not be looked
    at, and why."""

    findings: list[Finding] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """What is wrong, and what of it needs a package that is not here."""
        try:
            yield
        except PackageFault as fault:
            self.unseen += [finding.what for finding in fault.findings]
        except Fault as fault:
            self.findings += [one for one in fault.findings if one not in self.findings]


@dataclass(frozen=True, kw_only=True)
class Reviewer:
    """Looks at recipes of a zoo. What needs transformers is asked of the builder's warm workers, of
    which one answers for all recipes."""

    zoo: Zoo
    builder: Builder
    scratch: Path  # an empty folder

    def review(self, name: str) -> Seen:
        """What of a recipe cannot be, as far as that shows without a network and a build."""
        recipe, seen = self.zoo.recipes[name], Seen()
        held = self._held(recipe)
        for wish in source.wishes(recipe.data, recipe.file.parent):
            with seen.looking():
                source.hold(wish, held.get(wish.slot), name)
        lost = bool(seen.findings)  # what is made of these would say the same once more
        if recipe.pins:  # a recipe without a lock was never built, which is no finding
            seen.findings += lock.unfit(recipe)
        looks = {"dataset": self._dataset, "tokenizer": self._tokenizer, "model": self._model}
        for stage, look in looks.items() if not lost else ():
            task = self.zoo.tasks.get(f"{stage}:{name}")
            if task is not None:
                with seen.looking():
                    look(task, seen)
        return seen

    def size(self, name: str) -> Size | None:
        """How large a recipe's model would be; None where only a network can tell. A tokenizer that
        is not built is taken to be as large as the recipe says. Raises Fault."""
        told = self._told(name, "sized")
        return None if told is None else wire.load(Size, told)

    def sketch(self, name: str) -> Sketch | None:
        """The same, with what of its config would be otherwise than in the source."""
        told = self._told(name, "sketched")
        return None if told is None else wire.load(Sketch, told)

    def _told(self, name: str, function: str) -> Json:
        """What a question of review.stages about a recipe's model is answered."""
        task = self.zoo.tasks[f"model:{name}"]
        wishes = source.wishes(task.recipe.data, task.recipe.file.parent)
        (wish,) = (wish for wish in wishes if wish.slot == "source")
        fetched, origins = self._fetched(task.recipe), dict[str, Origin]()
        if fetched is None:
            origin = self._origin(wish)
            if origin is None or origin.through or source.parts(wish):
                return None
            origins["source"] = origin
        asked = wire.dump(Asked(stage=task.settings, origins=origins))
        job = self._job(task, asked, {"fetch": fetched} if fetched is not None else {})
        wanted = get(cast("Data", task.recipe.data), ("tokenizer", "vocab_size"))
        if whole(wanted):
            ids = Ids(sizes={"vocab_size": wanted}, special={}, moved={}, keep=False, missing="any")
            job = replace(job, facts={"tokenizer": {"ids": wire.dump(ids)}})
        call = self.builder.pool.call
        told: Json = call(f"tinybuild.review.stages:{function}", job, limits(task), "warm")
        return told

    # --- locks -----------------------------------------------------------------------------------

    def _held(self, recipe: Recipe) -> Mapping[str, Pin]:
        """The pins that answer to the recipe's wishes."""
        return lock.holding(recipe.pins, self._wanted(recipe))

    def _wanted(self, recipe: Recipe) -> Mapping[str, Data]:
        fetch = self.zoo.tasks.get(f"fetch:{recipe.name}")
        wishes = mapping(fetch.settings, ("wishes",)) if fetch is not None else {}
        return {slot: mapping(wish) for slot, wish in wishes.items()}

    # --- stages ----------------------------------------------------------------------------------

    def _dataset(self, task: Task, seen: Seen) -> None:
        wishes = source.wishes(task.recipe.data, task.recipe.file.parent)
        wish = next((wish for wish in wishes if wish.slot == "dataset"), None)
        inputs, upstream = dict[str, Path](), dict[str, Mapping[str, Json]]()
        if wish is not None and source.in_place(wish):
            inputs["dataset"] = wish.place
            upstream["dataset"] = dict.fromkeys(sorted(source.local(wish)), "")
        elif wish is not None:
            fetched = self._fetched(task.recipe)
            if fetched is None:
                seen.unseen.append(_unfetched(wish))
                return
            inputs["fetch"] = fetched
        job = self._job(task, task.settings, inputs)
        self._ask("dataset.stage:review", replace(job, upstream=upstream), task, "light")

    def _tokenizer(self, task: Task, seen: Seen) -> None:
        wishes = source.wishes(task.recipe.data, task.recipe.file.parent)
        slots = {str(task.settings["slot"]), *(w.slot for w in wishes if source.is_text(w.slot))}
        self._stage(task, [wish for wish in wishes if wish.slot in slots], seen)

    def _model(self, task: Task, seen: Seen) -> None:
        wishes = source.wishes(task.recipe.data, task.recipe.file.parent)
        (wish,) = (wish for wish in wishes if wish.slot == "source")
        if not (_plain(task.recipe.data["model"]) and wish.text("transformers") in _types()):
            self._stage(task, [wish], seen)

    def _stage(self, task: Task, wishes: Sequence[Wish], seen: Seen) -> None:
        """Ask a stage what it would refuse of these sources."""
        fetched = self._fetched(task.recipe) if wishes else None
        settings, origins = dict(task.settings), dict[str, Origin]()
        for wish in wishes if fetched is None else ():
            if task.stage == "model" and (parts := source.parts(wish)):
                seen.unseen += map(_unfetched, parts)
                return
            origin = self._origin(wish)
            if origin is None or (origin.through and task.stage == "tokenizer"):
                seen.unseen.append(_unfetched(wish))
                return
            if origin.through:
                # What a recipe before this one makes is smaller: names hold, numbers do not.
                model = mapping(settings, ("model",))
                kept = {key: value for key, value in model.items() if key != "layers"}
                settings["model"] = {**kept, "shrink": "auto"}
            origins[wish.slot] = origin
        asked = wire.dump(Asked(stage=settings, origins=origins))
        job = self._job(task, asked, {"fetch": fetched} if fetched is not None else {})
        told = self._ask(f"review.stages:{task.stage}", job, task, "warm")
        seen.unseen += [told] if told else []

    def _origin(self, wish: Wish) -> Origin | None:
        """Where a source comes from, past recipes that are not built; None where only a network can
        tell."""
        through = list[str]()
        while source.KINDS[wish.kind].builds_on:
            other = self.zoo.recipes[wish.text()]
            above = source.wishes(other.data, other.file.parent)
            made = next((one for one in above if one.slot == "source"), None)
            if made is None or "model" not in other.data:
                return None
            through.insert(0, other.data["model"]["architecture"])
            wish = made
        kind = source.KINDS[wish.kind]
        if not kind.here and kind.config is None:
            return None
        base = wish.base.relative_to(self.zoo.root).as_posix()
        return Origin(wish=wish.data, base=base, through=tuple(through))

    def _fetched(self, recipe: Recipe) -> Path | None:
        """The folder of a recipe's fetch, where that is up to date."""
        task = self.zoo.tasks[f"fetch:{recipe.name}"]
        return None if self.builder.reasons(task) else self.builder.place(task.name)

    def _job(self, task: Task, settings: Data, inputs: Mapping[str, Path]) -> Job:
        return Job(
            task=task.name,
            settings=settings,
            inputs=inputs,
            facts={},
            root=self.zoo.root,
            out=self.scratch,
            seed=task.seed,
        )

    def _ask(self, function: str, job: Job, task: Task, sort: Sort) -> str | None:
        told: str | None = self.builder.pool.call(f"tinybuild.{function}", job, limits(task), sort)
        return told


def _plain(section: Model) -> bool:
    """Whether a model section asks for nothing that a model type could refuse."""
    return (
        section["architecture"] == heads.AUTO and not section["config"] and "layers" not in section
    )


@functools.cache
def _types() -> frozenset[str]:
    return frozenset(heads.types())


def _unfetched(wish: Wish) -> str:
    return f"nothing of {title(wish)} is here yet"
