"""What a recipe wants published: a target for each repository, and whose bytes are in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.publish.target import Kind, Origin, Target
from tinybuild.source import KINDS, wishes
from tinybuild.tokenizer.methods import METHODS, VOCABULARY

if TYPE_CHECKING:
    from tinybuild.recipe import Recipe


def repositories(recipe: Recipe) -> dict[Kind, str]:
    """The repositories that a recipe names, by what they are."""
    section = recipe.data.get("publish", {})
    named: dict[Kind, str] = {}
    if "repo" in section:
        named["model"] = section["repo"]
    if "dataset_repo" in section:
        named["dataset"] = section["dataset_repo"]
    return named


def targets(
    recipe: Recipe, recipes: Mapping[str, Recipe], bundle: Path, receipt: Mapping[str, str]
) -> Iterator[Target]:
    """A target for each repository that a recipe names. recipes: those that it may be made from.
    receipt: file of the bundle -> sha256."""
    section = recipe.data.get("publish", {})
    sources = tuple(dict.fromkeys(origins(recipe, recipes)))
    for kind, repo in repositories(recipe).items():
        yield Target(
            name=recipe.name,
            kind=kind,
            repo=repo,
            folder=str(bundle),
            receipt=receipt,
            private=section.get("private", False),
            direct=section.get("direct", False),
            redistribute=section.get("redistribute", False),
            sources=tuple(one for one in sources if kind == "model" or one.what == "rows"),
            dry=False,
        )


def origins(recipe: Recipe, recipes: Mapping[str, Recipe]) -> Iterator[Origin]:
    """The repositories of the Hub whose tokens or rows a bundle holds."""
    kept = _slot_of_tokens(recipe)
    for wish in wishes(recipe.data, recipe.file.parent):
        what = {kept: "tokens", "dataset": "rows"}.get(wish.slot, "")
        if what and KINDS[wish.kind].builds_on and wish.text() in recipes:
            further = origins(recipes[wish.text()], recipes)
            yield from (one for one in further if one.what == what)
        pin = recipe.pins.get(wish.slot)
        if what and KINDS[wish.kind].on_hub and pin is not None:
            yield Origin(
                what=what,
                kind="dataset" if wish.slot == "dataset" else "model",
                repo=wish.text(),
                commit=pin.facts.get("commit", ""),
            )


def _slot_of_tokens(recipe: Recipe) -> str:
    """Which source a recipe's tokenizer keeps tokens of; "" where it keeps none."""
    section = recipe.data.get("tokenizer")
    if section is None:
        return ""
    method = METHODS[section["method"]]
    keeps = method.shrinks or method.unchanged or section.get("text") == VOCABULARY
    slot = "tokenizer" if "source" in section else "source"
    return slot if keeps and method.source else ""
