"""What the bundles here are compared with: a revision, a folder, or what is published."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinybuild import bundle
from tinybuild.cli.session import Session
from tinybuild.compare import folders
from tinybuild.compare.affected import affected
from tinybuild.compare.bundles import Place
from tinybuild.compare.rebuilt import rebuilt
from tinybuild.compare.revision import checked_out, is_revision
from tinybuild.errors import RecipeFault
from tinybuild.files import sha256
from tinybuild.workers import Job


@dataclass(frozen=True, kw_only=True)
class Base:
    """What ours is compared with. title: what it is, in words. places: its bundles. same: recipes
    that are known to give the same. gone: recipes that only it has. notes: what cannot be compared,
    and why."""

    title: str
    places: Mapping[str, Place]
    same: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    parts: Mapping[str, str] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def base(
    here: Session, words: Sequence[str], ours: Sequence[str], held: contextlib.ExitStack
) -> Base:
    """What the first word stands for; a folder or revision that is held until it was compared."""
    name = words[0] if words else ""
    folder = here.root / name
    if not name:
        return _published(here, ours, held)
    if folder.is_dir():
        if "/" not in name and is_revision(here.root, name):
            hint = f"write ./{name} or refs/heads/{name}"
            raise RecipeFault.of(f"{name} is a folder and a revision", hint=hint)
        return _folder(folder, name, here.zoo.names if not words[1:] else None)
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
    stale = [one.recipe for one in changed if _stale(here, one.recipe)]
    if stale and len(stale) == len(changed):
        what = f"not built as {'they are' if len(stale) > 1 else 'it is'} now: {', '.join(stale)}"
        raise RecipeFault.of(what, hint=f"tinybuild build {' '.join(stale)}")
    again = [one.recipe for one in changed if one.state == "changed" and one.recipe not in stale]
    places, notes = rebuilt(here.zoo, revision, again) if again else ({}, ())
    late = [f"{one} is not built as it is now: tinybuild build {one}" for one in stale]
    return Base(
        title=f"{name} ({revision.commit[:12]})",
        places=places,
        same=frozenset(ours) - {one.recipe for one in changed},
        lost=frozenset((*again, *stale)) - places.keys(),
        gone=verdict.gone,
        notes=(*verdict.notes, *late, *notes),
    )


def _published(here: Session, ours: Sequence[str], held: contextlib.ExitStack) -> Base:
    """Each bundle of ours that names a repository, as that has it."""
    built = mine(here)
    every = {name: _repository(here, name) for name in ours if name in built}
    repos = {name: repo for name, repo in every.items() if repo is not None}
    if not repos:
        hint = "publish: {repo: OWNER/NAME} in a recipe or in zoo.yaml; or name a base: diff main"
        raise RecipeFault.of("no bundle here names the repository it is published to", hint=hint)
    aside = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="tinybuild-"))).resolve()
    states, places = dict[str, str](), dict[str, Place]()
    for name, (noun, repo) in repos.items():
        folder = aside / name
        folder.mkdir()
        sums = built[name].folder / bundle.SUMS
        states[name] = _fetched(here, folder, {"repo": repo, "noun": noun, "sums": sha256(sums)})
        if states[name] == "here":
            places[name] = Place(folder=folder)
    without = [name for name in every if name not in repos]
    return Base(
        title="the published repositories",
        places=places,
        same=frozenset(name for name, state in states.items() if state == "same"),
        lost=frozenset(without),
        parts={name: "dataset/" for name, (noun, _) in repos.items() if noun == "dataset"},
        notes=tuple(f"{name} names no repository" for name in without),
    )


def _repository(here: Session, name: str) -> tuple[str, str] | None:
    """What holds most of a recipe's bundle: its model repository has all."""
    section = here.zoo.recipes[name].data.get("publish", {})
    if "repo" in section:
        return "model", section["repo"]
    return ("dataset", section["dataset_repo"]) if "dataset_repo" in section else None


def _fetched(here: Session, folder: Path, wanted: Mapping[str, str]) -> str:
    """What became of a published bundle: it lies in the folder, or it is missing, or the same."""
    job = Job(
        task=f"download:{wanted['repo']}",
        settings=wanted,
        inputs={},
        facts={},
        root=folder,
        out=folder,
        seed=0,
    )
    told = here.pool.call("tinybuild.compare.published:fetch", job, sort="online")
    return str(told["state"])


def mine(here: Session) -> Mapping[str, Place]:
    """The bundles here."""
    return folders.bundles(here.root) if (here.root / "dist").is_dir() else {}


def _stale(here: Session, name: str) -> bool:
    return any(here.builder.reasons(task) for task in here.zoo.tasks_of(name))
