"""`publish`: bundles become repositories of the Hub, or pull requests to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tinybuild import wire
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import Session, placed
from tinybuild.errors import BuildFault, Fault, RecipeFault
from tinybuild.paths import Json
from tinybuild.publish.collections import Listed, Listing
from tinybuild.publish.target import Kind, Published, Target
from tinybuild.publish.wishes import repositories, targets
from tinybuild.recipe import Recipe
from tinybuild.workers import Limits

PATIENCE = Limits(seconds=3600.0)  # the Hub may ask to wait, minutes each time
WORDS: Mapping[str, str] = {
    "same": "is there already",
    "created": "created",
    "committed": "committed",
    "pull request": "pull request",
    "waiting": "waits in a pull request",
    "would create": "would be created",
    "would commit": "would be committed",
    "would propose": "would be a pull request",
}


def _publish(here: Session, words: Sequence[str], options: Options) -> Lines:
    """One recipe that is refused does not stop the others."""
    recipes = _wanted(here, words)
    dry, done, faults = bool(options["dry-run"]), list[Published](), list[Fault]()
    for recipe in recipes:
        try:
            for target in _targets(here, recipe, dry=dry):
                done.append(_sent(here, target))
                yield from _lines(done[-1], dry=dry)
        except Fault as fault:
            faults.append(_located(here, recipe, fault))
            here.screen.warn(str(faults[-1]))
    listed = [] if dry else [_listed(here, listing) for listing in _listings(recipes, done)]
    for one in listed:
        if one.added:
            yield f"{one.title}: added {', '.join(one.added)}  {one.url}"
    data: dict[str, Json] = {
        "published": wire.dump(done),
        "collections": wire.dump(listed),
        "failed": [str(fault) for fault in faults],
    }
    return Answer(data=data, code=1 if faults else 0)


def _wanted(here: Session, words: Sequence[str]) -> list[Recipe]:
    """The recipes that words name, or those of recipes/ itself, that name a repository."""
    names = here.named(words) or here.zoo.groups[""]
    recipes = [here.recipe(name) for name in names]
    homeless = [recipe.name for recipe in recipes if not repositories(recipe)]
    if homeless and (words or len(homeless) == len(recipes)):
        what = f"no repository is named for {', '.join(homeless)}"
        hint = "write publish: {repo: OWNER/NAME} into the recipe, or into zoo.yaml for all"
        raise RecipeFault.of(what, hint=hint)
    return [recipe for recipe in recipes if recipe.name not in homeless]


def _targets(here: Session, recipe: Recipe, *, dry: bool) -> Iterator[Target]:
    """A recipe's targets, of a bundle that is up to date; raises BuildFault."""
    pack = f"pack:{recipe.name}"
    for task in here.with_upstreams(here.zoo.tasks_of(recipe.name)):
        # What of the bundle itself is not as it was built, publishing says in its own words.
        reasons = here.builder.reasons(task) if task.name != pack else ()
        if task.name == pack and here.builder.receipt(pack) is None:
            reasons = ("not built yet",)
        if reasons:
            what = f"{recipe.name} is not up to date: {task.name} runs: {reasons[0]}"
            raise BuildFault.of(what, hint=f"tinybuild build {recipe.name}")
    receipt = here.builder.receipt(pack)
    assert receipt is not None  # else it was refused
    top = f"{recipe.name}/"
    files = {
        name.removeprefix(top): entry["sha256"]
        for name, entry in receipt.files.items()
        if name.startswith(top)
    }
    bundle: Path = here.root / "dist" / recipe.name
    for target in targets(recipe, here.zoo.recipes, bundle, files):
        yield dataclasses.replace(target, dry=dry)


def _sent(here: Session, target: Target) -> Published:
    told = here.pool.call("tinybuild.publish:publish", target, PATIENCE, "online")
    return wire.load(Published, told)


def _lines(done: Published, *, dry: bool) -> Iterator[str]:
    files = f"{len(done.changes)} file{'s' * (len(done.changes) != 1)}" if done.changes else ""
    place = f"datasets/{done.repo}" if done.kind == "dataset" else done.repo
    yield "  ".join(filter(None, (f"{done.name:<24}", place, WORDS[done.state], files, done.url)))
    yield from (f"  warning: {text}" for text in done.warnings)
    if done.kept:
        yield f"  not ours, and left there: {', '.join(done.kept)}"
    if dry and done.changes:
        yield from (f"  {line}".rstrip() for line in done.description.splitlines())


def _listings(recipes: Sequence[Recipe], done: Sequence[Published]) -> list[Listing]:
    """The collections that have to list what was published."""
    items: dict[tuple[str, str, bool], list[tuple[Kind, str]]] = {}
    sections = {recipe.name: recipe.data.get("publish", {}) for recipe in recipes}
    for one in done:
        section = sections[one.name]
        if "collection" in section:
            owner = one.repo.partition("/")[0]
            key = (owner, section["collection"], section.get("private", False))
            items.setdefault(key, []).append((one.kind, one.repo))
    return [
        Listing(owner=owner, title=title, private=private, items=tuple(names))
        for (owner, title, private), names in items.items()
    ]


def _listed(here: Session, listing: Listing) -> Listed:
    told = here.pool.call("tinybuild.publish:collect", listing, PATIENCE, "online")
    return wire.load(Listed, told)


def _located(here: Session, recipe: Recipe, fault: Fault) -> Fault:
    """A fault with its place: in the recipe's file, or what was to be published."""
    return placed(here.located(fault, recipe.file), f"publish:{recipe.name}")


PUBLISH = Command(
    doc="put bundles on the Hub: a new repository, or a pull request with what changed",
    do=_publish,
    options={"dry-run": Option(help="only say what would be done")},
    group="hub",
    more="Without a name: the recipes of recipes/ itself that name a repository (publish: in the\n"
    "recipe, or in zoo.yaml for all). Identical bytes are no commit. Safe to interrupt and repeat.",
)
