"""The page on the recipe's keys is the schema's."""

from __future__ import annotations

import re

import pytest
from kit.files import ROOT

from tinybuild.recipe import reference
from tinybuild.recipe.contract import contract
from tinybuild.recipe.marked import parse


def test_the_page_is_current() -> None:
    """Written anew by `python -m tinybuild.recipe.reference`."""
    assert (ROOT / reference.PAGE).read_text(encoding="utf-8") == reference.page()


def test_the_page_describes_every_key_once() -> None:
    text = reference.page()
    titles = re.findall(r"^##+ `(.+)`$", text, flags=re.MULTILINE)
    assert len(titles) == len(set(titles))
    parts = contract("recipe")["$defs"]
    told = {title.rpartition(".")[2] for title in titles}
    assert set(contract("recipe")["properties"]) <= {title for title in titles if "." not in title}
    for name, rules in parts.items():
        assert set(rules.get("properties", ())) <= told, name


def examples() -> list[str]:
    blocks = re.findall(r"```yaml\n(.*?)```", reference.page(), flags=re.DOTALL)
    return [line for block in blocks[1:] for line in block.splitlines()]


@pytest.mark.parametrize("line", examples())
def test_every_example_of_the_page_is_yaml_as_recipes_read_it(line: str) -> None:
    value, _, problems = parse(line.encode())
    assert problems == []
    assert isinstance(value, dict)
    (key,) = value
    known = [r["examples"] for r in properties(contract("recipe"), key) if "examples" in r]
    assert value[key] in [example for examples in known for example in examples]


def properties(rules: object, key: str) -> list[dict[str, list[object]]]:
    """All that the schema says of keys of a name."""
    if isinstance(rules, list):
        return [found for item in rules for found in properties(item, key)]
    if not isinstance(rules, dict):
        return []
    here = rules.get("properties", {}) if isinstance(rules.get("properties"), dict) else {}
    own = [here[key]] if isinstance(here.get(key), dict) else []
    parts = contract("recipe")["$defs"]
    own += [dict(parts[r["$ref"].split("/")[2]]) for r in own if r.get("$ref", "").count("/") == 2]
    return own + [found for item in rules.values() for found in properties(item, key)]
