"""The commands of a review: what a revision affects, and what it changed in the bundles."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinybuild import bundle, wire
from tinybuild.cli.building import SHARD
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import Session
from tinybuild.compare import Comparison, folders, markdown, summary
from tinybuild.compare.affected import Affected, Verdict, affected
from tinybuild.compare.bundles import Asked, Place
from tinybuild.compare.rebuilt import rebuilt
from tinybuild.compare.revision import checked_out, is_revision
from tinybuild.errors import RecipeFault


def _affected(here: Session, words: Sequence[str], options: Options) -> Lines:
    if len(words) != 1:
        hint = "such as doit affected main, or doit affected HEAD~1"
        raise RecipeFault.of("affected takes one revision of the repository", hint=hint)
    with checked_out(here.root, words[0]) as revision:
        verdict = affected(here.zoo, here.memo, revision)
    names = [one.recipe for one in verdict.affected]
    names = list(here.share(names, options["shard"]))
    told = [one for one in verdict.affected if one.recipe in names]
    yield from names if options["names"] else _told(verdict, told)
    return Answer(data={**wire.dump(verdict), "affected": wire.dump(told), "names": names})


def _told(verdict: Verdict, told: Sequence[Affected]) -> Lines:
    for one in told:
        if one.state == "new":
            yield f"{one.recipe:<24} is new"
        for stage in one.stages if one.state != "new" else ():
            task = f"{stage.stage}:{one.recipe}"
            follows = "may differ: what it takes from others does"
            yield from (f"{task:<24} {reason}" for reason in stage.reasons or [follows])
    yield from (f"{name:<24} is gone" for name in verdict.gone)
    yield from (f"{name:<24} is broken: see doit check {name}" for name in verdict.broken)
    yield from (f"note: {note}" for note in verdict.notes)
    if not told and not verdict.gone and not verdict.broken:
        yield f"nothing differs from {verdict.commit[:12]}"
    return Answer()


AFFECTED = Command(
    doc="the recipes of which a stage would differ from those of a revision; build nothing",
    do=_affected,
    words="BASE",
    options={
        "shard": SHARD,
        "names": Option(help="only their names: doit $(doit affected BASE --names)"),
    },
    group="hub",
    more="BASE is a branch, a tag or a commit of the git repository that the zoo is in. Settings,\n"
    "seeds, locks, local sources, code and pinned libraries are compared. Exit code 0.",
)


@dataclass(frozen=True, kw_only=True)
class Base:
    """What ours is compared with. title: what it is, in words. places: its bundles. same: recipes
    that are known to give the same. gone: recipes that only it has. notes: what cannot be compared,
    and why."""

    title: str
    places: Mapping[str, Place]
    same: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    gone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _diff(here: Session, words: Sequence[str], options: Options) -> Lines:
    if words and all(word.endswith(".json") for word in words):
        base = Base(title="what was written before", places={})
        found = folders.written([here.root / word for word in words])
    else:
        ours = here.share(here.named(words[1:]) or [*here.zoo.recipes], options["shard"])
        with contextlib.ExitStack() as held:
            base = _base(here, words, ours, held)
            found = list(_compared(here, base, ours))
    differ = [one for one in found if not one.same]
    if options["markdown"]:
        yield markdown(found).rstrip()
    else:
        yield f"compared with {base.title}: {summary(found)}"
        yield from (line for one in differ for line in _lines(one))
    yield from (f"{'- ' if options['markdown'] else ''}note: {note}" for note in base.notes)
    data = {"base": base.title, "bundles": wire.dump(found), "notes": list(base.notes)}
    return Answer(data=data, code=3 if differ else 0)


def _base(
    here: Session, words: Sequence[str], ours: Sequence[str], held: contextlib.ExitStack
) -> Base:
    """What the first word stands for; a folder or revision that is held until it was compared."""
    name = words[0] if words else ""
    folder = here.root / name
    if not name:
        raise RecipeFault.of("diff needs a base", hint="doit diff main, or doit diff FOLDER")
    if folder.is_dir():
        if "/" not in name and is_revision(here.root, name):
            hint = f"write ./{name} or refs/heads/{name}"
            raise RecipeFault.of(f"{name} is a folder and a revision", hint=hint)
        known = {*here.zoo.recipes, *(broken.name for broken in here.zoo.broken)}
        return _folder(folder, name, known if not words[1:] else None)
    return _revision(here, name, ours, held)


def _folder(folder: Path, name: str, known: Collection[str] | None) -> Base:
    """known: the recipes that there are; None where only some are asked for."""
    places = folders.bundles(folder)
    if not places:
        hint = "give a zoo, its dist/, or a folder that holds such folders as dist/NAME"
        raise RecipeFault.of(f"there is no bundle in {name}", hint=hint)
    gone = [place for place in places if place not in known] if known is not None else []
    return Base(title=f"the folder {name}", places=places, gone=tuple(gone))


def _revision(here: Session, name: str, ours: Sequence[str], held: contextlib.ExitStack) -> Base:
    revision = held.enter_context(checked_out(here.root, name))
    verdict = affected(here.zoo, here.memo, revision)
    changed = [one for one in verdict.affected if one.recipe in ours]
    todo = [one.recipe for one in changed if _stale(here, one.recipe)]
    if todo:
        what = f"not built as {'they are' if len(todo) > 1 else 'it is'} now: {', '.join(todo)}"
        raise RecipeFault.of(what, hint=f"doit {' '.join(todo)}")
    again = [one.recipe for one in changed if one.state == "changed"]
    places, notes = rebuilt(here.zoo, revision, again) if again else ({}, ())
    return Base(
        title=f"{name} ({revision.commit[:12]})",
        places=places,
        same=frozenset(ours) - {one.recipe for one in changed},
        lost=frozenset(again) - places.keys(),
        gone=verdict.gone,
        notes=(*verdict.notes, *notes),
    )


def _stale(here: Session, name: str) -> bool:
    return any(here.builder.reasons(task) for task in here.zoo.tasks_of(name))


def _compared(here: Session, base: Base, ours: Sequence[str]) -> Iterator[Comparison]:
    """Each bundle that either side has, read by a worker: a base may be from anywhere."""
    mine = folders.bundles(here.root) if (here.root / "dist").is_dir() else {}
    for name in [name for name in ours if name in mine and name not in base.lost]:
        if name in base.same:
            size = bundle.size(mine[name].folder)
            yield Comparison(name=name, before=size, after=size)
            continue
        asked = Asked(name=name, before=base.places.get(name), after=mine[name])
        told = here.pool.call("tinybuild.compare.bundles:compared", asked)
        yield wire.load(Comparison, told)
    for name in base.gone:
        yield Comparison(name=name, before=0, after=None)


def _lines(one: Comparison) -> Iterator[str]:
    """What is said of a bundle where not all is told."""
    told = ", ".join(f"{part} {number}" for part, number in one.counts.items())
    how = "is new" if one.before is None else "is gone" if one.after is None else told
    yield f"{one.name:<24} {how or ', '.join(file.path for file in one.files)}"
    for cause in one.causes:
        parts = f" ({', '.join(cause.parts)})" if cause.parts else ""
        yield f"  {cause.kind}: {cause.what}{parts}"


DIFF = Command(
    doc="what changed in the bundles, and why",
    do=_diff,
    words="[BASE [NAME ...] | DIFF.json ...]",
    options={
        "markdown": Option(help="all of it, for a pull request"),
        "shard": SHARD,
    },
    group="hub",
    more="BASE is a revision of the repository (what it affects is built as it was, in a\n"
    "temporary folder), or a folder of bundles. DIFF.json is what --json wrote:\n"
    "several are told as one. Exit code 3 where something differs.",
)
