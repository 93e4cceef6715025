"""`check`: what is wrong with recipes, and with what they ask for; nothing is built."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinybuild import source
from tinybuild.catalog.rows import is_bundle
from tinybuild.cli.command import Answer, Command, Lines, Options
from tinybuild.cli.session import Session, nothing
from tinybuild.errors import Finding, RecipeFault, did_you_mean
from tinybuild.paths import Json
from tinybuild.recipe import Broken, Recipe, lock, marked, zoofile
from tinybuild.review.recipes import Reviewer

FEW = 12  # lines on what was not looked at


def _check(here: Session, words: Sequence[str], options: Options) -> Lines:
    names = list(dict.fromkeys(_meant(here, words)))
    if not words and not names:
        yield nothing(here.zoo)
        return Answer(data={"recipes": [], "unseen": {}})
    broken = {recipe.name: recipe for recipe in here.zoo.broken if recipe.name in names}
    if not words:
        broken |= {one.name: one for one in _too_deep(here)}
        names += [name for name in broken if name not in names]
    unseen = dict[str, list[Json]]()
    with tempfile.TemporaryDirectory(prefix="tinybuild-") as scratch:
        reviewer = Reviewer(zoo=here.zoo, builder=here.builder, scratch=Path(scratch))
        for name in [name for name in names if name not in broken]:
            seen = reviewer.review(name)
            if seen.findings:
                broken[name] = _refused(here.zoo.recipes[name], seen.findings)
            if seen.unseen:
                unseen[name] = [*dict.fromkeys(seen.unseen)]
    if broken:
        found = [one for recipe in broken.values() for one in here.refusal(recipe).findings]
        what = f"{len(broken)} of {len(names)} recipes are broken"
        raise RecipeFault([*found, Finding(what=what)])
    lines = [f"{name}: only its text was read: {why}" for name, (why, *_) in unseen.items()]
    yield from lines[:FEW]
    if len(lines) > FEW:
        yield f"... and {len(lines) - FEW} more: see --json"
    if names:
        yield f"{len(names)} recipe{'s have' if len(names) != 1 else ' has'} nothing wrong"
    else:
        yield f"no recipe is made from {', '.join(words)}: there is nothing more to check"
    return Answer(data={"recipes": names, "unseen": unseen})


def _refused(recipe: Recipe, findings: Sequence[Finding]) -> Broken:
    fault = RecipeFault(findings)
    return Broken(name=recipe.name, file=recipe.file, group=recipe.group, fault=fault)


DEPTH = "move it: a recipe is recipes/NAME.yaml or recipes/GROUP/NAME.yaml"


def _too_deep(here: Session) -> Iterator[Broken]:
    """What reads like a recipe in a folder in which nobody looks for one."""
    for path in sorted((here.root / "recipes").glob("*/*/**/*.yaml")):
        shown = here.shown(path)
        if "/." in shown or not path.is_file() or is_bundle(path.parent):
            continue
        value, *_ = marked.parse(path.read_bytes())
        if isinstance(value, dict) and {"version", "summary"} <= {*value}:
            what = "a recipe is not read in a folder so deep"
            fault = RecipeFault.of(what, where=shown, hint=DEPTH)
            yield Broken(name=shown, file=path, group="", fault=fault)


def _meant(here: Session, words: Sequence[str]) -> Iterator[str]:
    """The recipes that words stand for: names, groups, and files, as pre-commit gives them."""
    if not words:
        yield from here.zoo.names
    for word in words:
        if word == zoofile.FILE:
            continue  # it was read with the zoo
        if os.path.lexists(here.root / word) and "/" in word:
            yield from _of_file(here, word)
        elif word.endswith((".yaml", ".yml")):
            files = [here.shown(one.file) for one in here.zoo.files]
            raise RecipeFault.of(f"there is no file {word}", hint=did_you_mean(word, files))
        else:
            yield from here.named([word])


def _of_file(here: Session, word: str) -> Iterator[str]:
    """The recipes that a file is of, and those that build on them: the recipe itself, its lock, or
    a file of a local source. Raises RecipeFault for one that is of none."""
    path = (here.root / word).resolve()
    files = {one.file.resolve(): one.name for one in here.zoo.files}
    names = [name for file, name in files.items() if path in (file, lock.place(file))]
    names += [name for name, recipe in here.zoo.recipes.items() if _reads(recipe, path)]
    if not names and path.suffix in (".yaml", ".yml"):
        known = [here.shown(one.file) for one in here.zoo.files]
        deep = path.is_relative_to((here.root / "recipes").resolve())
        hint = DEPTH if deep else did_you_mean(word, known)
        raise RecipeFault.of(f"{word} is not the file of a recipe", hint=hint)
    for name in names:
        yield name
        yield from (other for other in here.zoo.recipes if name in _under(here, other))


def _reads(recipe: Recipe, path: Path) -> bool:
    """Whether a file is of a local source of the recipe."""
    wishes = source.wishes(recipe.data, recipe.file.parent)
    places = [wish.place.resolve() for wish in wishes if source.KINDS[wish.kind].local is not None]
    return any(path.is_relative_to(place) for place in places)


def _under(here: Session, name: str) -> set[str]:
    """The recipes that a recipe is made from, to the end."""
    tasks = here.with_upstreams(here.zoo.tasks_of(name))
    return {task.recipe.name for task in tasks} - {name}


CHECK = Command(
    doc="say what is wrong with recipes and what they ask for; build nothing",
    do=_check,
    words="[NAME | FILE ...]",
    more="Without a name: all recipes. Also found: unknown model types, classes and keys, files\n"
    "that are not there, numbers that do not fit, a lock that is of another recipe. FILE is a\n"
    "recipe, its lock, or a file of its source.",
)
