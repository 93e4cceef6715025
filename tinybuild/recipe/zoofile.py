"""zoo.yaml: what is the same for all recipes of a zoo, such as where bundles are published."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import cast

from tinybuild.errors import Finding, RecipeFault
from tinybuild.paths import Json
from tinybuild.recipe.wish import Recipe
from tinybuild.sections import Publish, Sections

FILE = "zoo.yaml"
KEYS = ("version", "publish")
# Which parts of a recipe each repository is for, and what those are called.
PARTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "repo": (("model", "tokenizer"), "a model or a tokenizer"),
    "dataset_repo": (("dataset",), "a dataset"),
}
NONE = Publish()


def check(text: bytes, shown: str) -> Publish:
    """What the file says for all recipes; raises RecipeFault with all findings, sorted by place."""
    from tinybuild.recipe.marked import parse, place

    value, marks, problems = parse(text)
    if value is not None or not problems:
        problems += [(place(marks, f.key), f.what, f.hint) for f in _wrong(value)]
    if problems:
        raise RecipeFault(
            Finding(what=what, where=f"{shown}:{line}:{column}", hint=hint)
            for (line, column), what, hint in sorted(problems)
        )
    return cast(Publish, cast("Mapping[str, Json]", value).get("publish", {}))


def _wrong(value: Json) -> Iterator[Finding]:
    from tinybuild.recipe.contract import errors
    from tinybuild.recipe.marked import named
    from tinybuild.recipe.words import findings

    if not isinstance(value, dict):
        hint = "start with `version: 1`; publish: {repo: my-org/tiny-{name}}"
        yield Finding(what=f"{FILE} is a mapping of keys", hint=hint)
        return
    if type(value.get("version")) is not int or value["version"] != 1:
        what = f"version must be 1, not {named(value.get('version'))}"
        key = ("version",) if "version" in value else ()
        yield Finding(key=key, what=what, hint="the first line is `version: 1`")
    for key in [key for key in value if key not in KEYS]:
        hint = f"it may have {' and '.join(KEYS)}"
        yield Finding(key=(key,), what=f"unknown key {key!r} in {FILE}", hint=hint)
    # The section is that of a recipe, so the recipe's contract says what it may be.
    whole: Json = {"version": 1, "summary": "-", "publish": value.get("publish", {})}
    for error in errors("recipe", whole):
        yield from findings(error, FILE)


def joined(recipe: Recipe, common: Publish) -> Recipe:
    """A recipe with what the zoo says of publishing and it does not, its name in the places."""
    own = recipe.data.get("publish")
    if own is None and not common:
        return recipe
    data = cast("Mapping[str, object]", recipe.data)
    usable = {
        key: value
        for key, value in common.items()
        if key not in PARTS or any(part in data for part in PARTS[key][0])
    }
    both = {**usable, **(own or {})}
    for key in PARTS:
        if key in both:
            both[key] = str(both[key]).replace("{name}", recipe.name)
    whole = cast(Sections, {**recipe.data, "publish": both})
    return dataclasses.replace(recipe, data=whole, common=cast(Publish, usable))


def useless(data: Sections) -> Iterator[Finding]:
    """The repositories that a recipe names for what it does not make."""
    for key, (parts, words) in PARTS.items():
        if key in data.get("publish", {}) and not any(part in data for part in parts):
            what = f"publish.{key} is for {words}, and the recipe makes none"
            other = next(name for name in PARTS if name != key)
            yield Finding(key=("publish", key), what=what, hint=f"write {other}")


def twice(recipes: Mapping[str, Recipe]) -> Iterator[tuple[str, RecipeFault]]:
    """The recipes whose repository is that of an earlier one, and what is wrong with that."""
    first: dict[tuple[str, str], str] = {}
    for name, recipe in recipes.items():
        section = cast("Mapping[str, str]", recipe.data.get("publish", {}))
        for key in PARTS:
            repo = section.get(key)
            if repo is None:
                continue
            other = first.setdefault((key, repo.lower()), name)
            if other != name:
                what = f"publish.{key}: the recipe {other} is published to {repo}, too"
                hint = "give each its own; {name} stands for the recipe's name"
                fault = RecipeFault([Finding(key=("publish", key), what=what, hint=hint)])
                yield name, fault
                break
