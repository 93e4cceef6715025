"""The page docs/recipe.md, made from the schema: `python -m tinybuild.recipe.reference`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import yaml

from tinybuild.files import write
from tinybuild.paths import Json
from tinybuild.recipe.contract import Rules, contract, resolved
from tinybuild.recipe.words import branch, either, types

HEAD = """\
# The recipe, key by key

{about}

`python -m tinybuild.recipe.reference` makes this page from `schemas/recipe.v1.schema.json`, which
editors read as well. A recipe begins so:

```yaml
# yaml-language-server: $schema=../schemas/recipe.v1.schema.json
version: 1
summary: {summary}
```"""
PAGE = "docs/recipe.md"
NAME = "NAME"  # stands for a key that the recipe is free to choose
BOUNDS = {
    "minimum": "at least {:,}",
    "exclusiveMinimum": "more than {:,}",
    "maximum": "at most {:,}",
    "maxLength": "at most {:,} characters",
}


def page() -> str:
    """The text of the page."""
    rules = contract("recipe")
    summary = rules["properties"]["summary"]["examples"][0]
    head = HEAD.format(about=rules["description"], summary=summary)
    return "\n\n".join([head, *_Keys().of(rules, "#", "")]) + "\n"


@dataclass(frozen=True)
class _Keys:
    """Describes keys, each once. told: pointer into the schema -> the key that it describes."""

    told: dict[str, str] = field(default_factory=dict)

    def of(self, rules: Rules, pointer: str, above: str) -> Iterator[str]:
        """A part for each key of a section, and for the keys inside it."""
        again: dict[str, list[str]] = {}
        for key, given in rules["properties"].items():
            name, at = above + key, given.get("$ref", f"{pointer}/properties/{key}")
            known = self.told.setdefault(at, name)
            if known != name and not {"$ref", "description"} <= given.keys():
                again.setdefault(known.removesuffix(key).rstrip("."), []).append(f"`{key}`")
                continue
            whole = resolved(given)
            yield _entry(name, whole, key in rules.get("required", ()))
            if known == name:
                yield from self.inside(whole, at, name)
            elif "properties" in whole:
                yield f"It has the keys of `{known}`."
        for section, keys in again.items():
            yield f"In `{above.rstrip('.')}`, {', '.join(keys)} mean the same as in `{section}`."

    def inside(self, rules: Rules, pointer: str, name: str) -> Iterator[str]:
        """The keys of what a key may be."""
        if "properties" in rules:
            yield from self.of(rules, pointer, f"{name}.")
        inner = [*rules.get("anyOf", ()), *rules.get("oneOf", ())]
        if "items" in rules:
            inner.append(rules["items"])
        for number, part in enumerate(inner):
            yield from self.inside(resolved(part), part.get("$ref", f"{pointer}/{number}"), name)
        free = rules.get("additionalProperties")
        if isinstance(free, dict):
            yield from self.inside(resolved(free), f"{pointer}/{NAME}", f"{name}.{NAME}")


def _entry(name: str, rules: Rules, required: bool) -> str:
    """What a key may be, its default, what it means, and examples."""
    may = _may(rules)
    lines = [f"{may[0].upper()}{may[1:]}."]
    if required:
        lines[0] += " Required."
    if rules.get("default", {}) != {}:
        lines[0] += f" Default: `{_yaml(rules['default'])}`."
    if "description" in rules:
        lines.append(rules["description"])
    if "examples" in rules:
        key = name.rpartition(".")[2]
        examples = [f"{key}: {_yaml(value)}" for value in rules["examples"]]
        lines.append("\n".join(["```yaml", *examples, "```"]))
    return "\n\n".join([f"{'#' * min(name.count('.') + 2, 4)} `{name}`", *lines])


def _may(rules: Rules) -> str:
    """What a value may be, in words."""
    if "const" in rules:
        return f"always {rules['const']}"
    if "enum" in rules:
        return f"one of {', '.join(f'`{name}`' for name in rules['enum'])}"
    branches = [*rules.get("anyOf", ()), *rules.get("oneOf", ())]
    if "type" not in rules:
        return either([name for inner in branches for name in branch(inner)])
    given = cast("Mapping[str, int]", rules)
    bounds = [words.format(given[word]) for word, words in BOUNDS.items() if word in given]
    return ", ".join([either(types(rules["type"])), *bounds])


def _yaml(value: Json) -> str:
    """A value in one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000).split(
        "\n"
    )[0]


if __name__ == "__main__":
    write(Path(PAGE), page())
