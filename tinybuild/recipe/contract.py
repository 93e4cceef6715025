"""The contracts in schemas/: read, held against data, and the defaults they fill in."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from tinybuild.paths import Json
from tinybuild.source import KINDS
from tinybuild.tokenizer.methods import METHODS

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

# What of JSON Schema this package reads; jsonschema reads all of it.
Rules = TypedDict(
    "Rules",
    {
        "$ref": str,
        "$defs": "dict[str, Rules]",
        "type": "str | list[str]",
        "description": str,
        "default": Json,
        "examples": "list[Json]",
        "enum": "list[Json]",
        "const": Json,
        "properties": "dict[str, Rules]",
        "required": "list[str]",
        "additionalProperties": "Rules",
        "items": "Rules",
        "allOf": "list[Rules]",
        "anyOf": "list[Rules]",
        "oneOf": "list[Rules]",
    },
    total=False,
)


@functools.cache
def contract(name: str) -> Rules:
    """What schemas/NAME.v1.schema.json says."""
    return cast(Rules, json.loads(file(name).read_text(encoding="utf-8")))


def file(name: str) -> Path:
    """schemas/NAME.v1.schema.json."""
    package = Path(__file__).parents[1]
    folders = (package / "schemas", package.parent / "schemas")  # installed; a working copy
    return next(one for one in folders if one.is_dir()) / f"{name}.v1.schema.json"


def _referred(reference: str) -> Rules:
    """What a "$ref" of the recipe's contract leads to: "#/$defs/source/properties/package"."""
    rules: object = contract("recipe")
    for key in reference.split("/")[1:]:
        rules = cast("dict[str, object]", rules)[key]
    return cast(Rules, rules)


def resolved(rules: Rules) -> Rules:
    """Rules with what their "$ref" leads to; their own words win."""
    return cast(Rules, {**_referred(rules["$ref"]), **rules}) if "$ref" in rules else rules


def errors(name: str, data: Json) -> Iterator[ValidationError]:
    """What of the data is not as the contract says."""
    return _validator(name, tuple(METHODS), tuple(KINDS)).iter_errors(data)


@functools.cache
def _validator(name: str, methods: tuple[str, ...], kinds: tuple[str, ...]) -> Validator:
    """Draft 2020-12 with three changes: 1.0 is not an integer; `$` is the end of the text and not,
    as Python has it, also the place before a last newline; items are unique in linear time
    (jsonschema takes minutes for a recipe with 30,000 mixed items).

    """
    import jsonschema

    def pattern(_: Validator, wanted: str, value: Json, rules: Rules) -> Iterator[ValidationError]:
        if isinstance(value, str) and not re.search(wanted.replace("$", r"\Z"), value):
            yield jsonschema.ValidationError("")

    def unique(_: Validator, wanted: bool, value: Json, rules: Rules) -> Iterator[ValidationError]:
        texts = [v for v in value if isinstance(v, str)] if isinstance(value, list) else []
        if wanted and len(set(texts)) < len(texts):
            yield jsonschema.ValidationError("")

    extend: Callable[..., type[Validator]] = jsonschema.validators.extend
    draft = extend(
        jsonschema.Draft202012Validator,
        {"pattern": pattern, "uniqueItems": unique},
        type_checker=jsonschema.Draft4Validator.TYPE_CHECKER,
    )
    return draft(_with_tables(name, methods, kinds))


def _with_tables(name: str, methods: Iterable[str], kinds: Iterable[str]) -> Rules:
    """A contract that takes what the tables of methods, kinds and ways have beyond it.

    What the file says of each method is for editors (tests hold it to the table); `agree.methods`
    asks the table.
    """
    rules = copy.deepcopy(contract(name))
    if name == "recipe":
        from tinybuild.dataset.select import WAYS

        parts = rules["$defs"]
        parts["tokenizer"]["properties"]["method"]["enum"] = list(methods)
        del parts["tokenizer"]["allOf"]
        parts["select"]["enum"] = list(WAYS)
        known = set(parts["source"]["properties"])
        for kind in [kind for kind in kinds if kind not in known]:
            for section in (parts["source"], parts["dataset_source"]):
                section["properties"][kind] = {"type": "string"}
                section["oneOf"].append({"required": [kind]})
    elif name == "lock":
        pin = rules["properties"]["pins"]["additionalProperties"]
        for fact in [fact for kind in kinds for fact in KINDS[kind].facts]:
            pin["properties"].setdefault(fact, {"type": "string"})
    return rules


def fill(rules: Rules, data: MutableMapping[str, Json]) -> None:
    """Write the recipe's defaults into the sections that are there."""
    for key, rule in resolved(rules).get("properties", {}).items():
        if key not in data and "default" in rule:
            data[key] = copy.deepcopy(rule["default"])
        inner = data.get(key)
        if isinstance(inner, dict):
            fill(rule, inner)
