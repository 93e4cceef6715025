"""Which recipes a revision affects: the tasks of both sides are planned and compared, not built."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybuild import source
from tinybuild.compare import pins
from tinybuild.compare.plans import Plan, plan, plan_of
from tinybuild.compare.revision import Revision
from tinybuild.engine import why
from tinybuild.engine.plan import Zoo
from tinybuild.engine.receipts import State
from tinybuild.engine.stages import STAGES, Task
from tinybuild.errors import Fault
from tinybuild.files import Memo
from tinybuild.paths import Data, mapping


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage that may make something else. reasons: what of its own changed; none where only what
    it takes from others may."""

    stage: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Affected:
    """A recipe of which a stage may make something else; a mended one could not be built."""

    recipe: str
    state: Literal["new", "mended", "changed"]
    stages: tuple[Stage, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a revision affects. gone: recipes that only it has. broken: recipes of the zoo that
    cannot be built. notes: what could not be told apart."""

    commit: str
    affected: tuple[Affected, ...]
    gone: tuple[str, ...]
    broken: tuple[str, ...]
    notes: tuple[str, ...]


def affected(zoo: Zoo, memo: Memo, revision: Revision) -> Verdict:
    """The recipes that differ from a revision in what decides what their stages make: settings,
    seeds, locks, local sources, code, and the versions that the repository pins."""
    now, moved = plan(zoo, memo), pins.moved(zoo.root, revision)
    then, notes = plan_of(revision)
    kept = {
        name: tuple((slot, file) for slot, file, _ in elsewhere(task, revision))
        for name, task in zoo.tasks.items()
    }
    pair = _Pair(now=now, then=then, moved=moved, kept=kept)
    told = []
    for recipe in now.recipes:
        stages = tuple(
            Stage(stage=stage, reasons=pair.reasons(task))
            for stage in STAGES
            if (task := f"{stage}:{recipe}") in now.tasks and pair.touched(task)
        )
        if stages:
            told.append(Affected(recipe=recipe, state=_was(then, recipe), stages=stages))
    every = {*then.recipes, *then.broken}
    return Verdict(
        commit=revision.commit,
        affected=tuple(told),
        gone=tuple(sorted(every - {*now.recipes, *now.broken})),
        broken=tuple(sorted(now.broken)),
        notes=notes,
    )


def _was(then: Plan, recipe: str) -> Literal["new", "mended", "changed"]:
    if recipe in then.recipes:
        return "changed"
    return "mended" if recipe in then.broken else "new"


class _Pair:
    """Both plans. moved: library -> how its pin changed. kept: task -> (slot, name) of local files
    that git does not keep: a revision cannot say what they were."""

    def __init__(
        self,
        *,
        now: Plan,
        then: Plan,
        moved: Mapping[str, str],
        kept: Mapping[str, tuple[tuple[str, str], ...]],
    ):
        self.now, self.then, self.moved, self.kept = now, then, moved, kept
        self.known = dict[str, bool]()
        self.codes: dict[str, Data] = {**then.code, **now.code}

    def touched(self, task: str) -> bool:
        """Whether a task, or one that it takes something from, is not what it was."""
        if task not in self.known:
            before = self.now.tasks[task].before
            self.known[task] = bool(self.reasons(task)) or any(map(self.touched, before))
        return self.known[task]

    def reasons(self, task: str) -> tuple[str, ...]:
        """What of a task's own changed."""
        now, then = self.now.tasks[task], self.then.tasks.get(task)
        if then is None:
            recipe = task.partition(":")[2]
            was = self.then.broken.get(recipe)
            return (f"it could not be built: {was}" if was else "it is new",)
        state = _with(then.state, now.state, self.kept[task])
        words = list(why.reasons(state, now.state, lambda ours: self.codes.get(ours, {})))
        words += [self.moved[name] for name in ("tinybuild", *now.libraries) if name in self.moved]
        return tuple(dict.fromkeys(words))


def _with(then: State, now: State, kept: tuple[tuple[str, str], ...]) -> State:
    """The earlier state, with the files that git does not keep as they are now."""
    upstream = dict(then.upstream)
    for slot, name in kept:
        looked = mapping(now.upstream, (slot,))
        upstream[slot] = {name: looked[name], **mapping(upstream, (slot,))}
    return dataclasses.replace(then, upstream=upstream)


def elsewhere(task: Task, revision: Revision) -> Iterator[tuple[str, str, Path]]:
    """The local files of a task that git does not keep: slot, name, and where each is."""
    for wish in task.wishes:
        for name, path in _local(wish).items():
            if not revision.keeps(path):
                yield wish.slot, name, path


def _local(wish: source.Wish) -> Mapping[str, Path]:
    """The files of a source that is on this machine; none where it is not there."""
    try:
        return source.local(wish)
    except Fault:
        return {}
