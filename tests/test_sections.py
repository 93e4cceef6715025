"""The types of the recipe's sections and the schema say the same, in both directions."""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

import pytest

from tinybuild import sections
from tinybuild.recipe import contract

# A form is what a value may be: JSON types, ("literal", VALUE), ("list", FORM), ("mapping", FORM)
# and ("keys", {(KEY, whether it is always there, FORM)}).
Form = frozenset[Any]
NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def union(forms: typing.Iterable[Form]) -> Form:
    joined = frozenset().union(*forms)
    return joined - {"integer"} if "number" in joined else joined


def said(rules: Mapping[str, Any]) -> Form:
    """What the schema says."""
    if "$ref" in rules:
        rules = {**pointed(rules["$ref"]), **rules}
    if "const" in rules or "enum" in rules:
        return frozenset(("literal", value) for value in rules.get("enum", [rules.get("const")]))
    branches = [*rules.get("anyOf", ()), *rules.get("oneOf", ())]
    if branches and "properties" not in rules:
        return union(map(said, branches))
    named = rules["type"] if isinstance(rules["type"], list) else [rules["type"]]
    return union(frozenset([one(name, rules)]) for name in named)


def one(name: str, rules: Mapping[str, Any]) -> Any:
    if name == "array":
        return "list", said(rules["items"])
    if name == "object" and "properties" in rules:
        return "keys", frozenset(
            (key, key in rules.get("required", ()) or "default" in rule, said(rule))
            for key, rule in rules["properties"].items()
        )
    if name == "object":
        more = rules.get("additionalProperties")
        return "mapping", said(more) if more is not None else "json"
    return name


def pointed(reference: str) -> Mapping[str, Any]:
    rules: Any = contract.contract("recipe")
    for key in reference.split("/")[1:]:
        rules = rules[key]
    return typing.cast("Mapping[str, Any]", rules)


def typed(kind: Any) -> Form:
    """What a type says."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is NotRequired:
        return typed(inner[0])
    if origin in (typing.Union, types.UnionType):
        return union(map(typed, inner))
    if origin is Literal:
        return frozenset(("literal", value) for value in inner)
    if origin is list:
        return frozenset([("list", typed(inner[0]))])
    if origin is Mapping:
        return frozenset([("mapping", "json" if inner[1] == sections.Json else typed(inner[1]))])
    if typing.is_typeddict(kind):
        always = kind.__required_keys__
        hints = kind.__annotations__.items()
        return frozenset([("keys", frozenset((k, k in always, typed(h)) for k, h in hints))])
    return frozenset([NAMES[kind]])


def expected() -> dict[str, Any]:
    """The schema; methods are a table of the tokenizer room, and its test holds that enum."""
    rules = copy.deepcopy(dict(contract.contract("recipe")))
    method = rules["$defs"]["tokenizer"]["properties"]["method"]
    assert method.pop("enum")
    method["type"] = "string"
    return rules


def test_sections_are_what_the_schema_says(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = expected()
    monkeypatch.setattr(contract, "contract", lambda _: rules)
    ((_, wanted),) = said(rules)
    ((_, given),) = typed(sections.Sections)
    assert {key for key, *_ in given} == {key for key, *_ in wanted}
    for entry in sorted(wanted, key=lambda entry: str(entry[0])):
        assert entry in given, entry[0]


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ({"type": "string"}, int),
        ({"type": "number"}, int),
        ({"type": ["string", "null"]}, str),
        ({"enum": ["a", "b"]}, Literal["a"]),
        ({"type": "array", "items": {"type": "string"}}, list[int]),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, TypedDict("A", {"a": str})),
        (
            {"type": "object", "properties": {"a": {"type": "string", "default": ""}}},
            TypedDict("B", {"a": NotRequired[str]}),
        ),
        (
            {"type": "object", "properties": {}},
            TypedDict("C", {"a": NotRequired[str]}),
        ),
    ],
)
def test_a_difference_shows(rules: Mapping[str, Any], kind: Any) -> None:
    assert said(rules) != typed(kind)
