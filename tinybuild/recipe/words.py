"""What a schema finds wrong, in words: one function for each kind of error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from tinybuild.errors import Finding, did_you_mean, nearest
from tinybuild.paths import Json
from tinybuild.recipe.contract import Rules, resolved
from tinybuild.recipe.marked import Key, named

if TYPE_CHECKING:
    from jsonschema import ValidationError

# What to write for a key that is missing or empty, where an example would not say it.
HINTS: Mapping[str, str] = {
    "summary": "summary: one line that says what this is for",
    "version": "the first line is `version: 1`",
    "model": "write model: {} for a model with all its defaults",
    "tokenizer": "for example tokenizer: {vocab_size: 500}",
    "samples": "samples: 100 keeps a hundred rows",
    "vocab_size": "vocab_size: 5000 is so many tokens, special tokens included",
    "vocab": "vocab: [...] has the tokens in the order of their ids",
    "text": "dataset, plain, multilingual, vocabulary, or a list of texts",
    "path": "a path from the recipe's folder, for example ../my-model",
    "records": "a folder, from the recipe's folder, for example records/pmd",
    "files": "add files: {NAME HERE: ITS PATH IN THE PACKAGE}",
}
TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


class Wrong:
    """An error of jsonschema: `value` at `path` is not what a word of the schema has `wanted`."""

    def __init__(self, error: ValidationError, whole: str):
        self.error, self.whole = error, whole
        self.path: Key = tuple(error.absolute_path)
        self.name = ".".join(map(str, self.path)) or whole
        self.value: Any = error.instance
        self.wanted: Any = error.validator_value
        self.rules = cast(Rules, error.schema)

    @property
    def hint(self) -> str:
        """The schema's first example."""
        return _example(self.rules)

    @property
    def asked(self) -> str:
        """What to write for the last key of the path."""
        return HINTS.get(str(self.path[-1]) if self.path else "", self.hint)

    def finding(self, what: str, hint: str = "", *below: str | int) -> Finding:
        return Finding(key=(*self.path, *below), what=what, hint=hint)

    def must(self, what: str, hint: str) -> Finding:
        return self.finding(f"{self.name} must be {what}, not {named(self.value)}", hint)


Findings = Iterator[Finding]


def _example(rules: Rules, before: str = "") -> str:
    """What a schema says may be written: one of few words, or its first example."""
    if "enum" in rules:
        return f"one of {', '.join(map(str, rules['enum']))}"
    for example in rules.get("examples", ())[:1]:
        text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
        return f"for example {before}{text}"
    return ""


def findings(error: ValidationError, whole: str) -> Findings:
    """An error of jsonschema in words: usually one finding, whose key is its place in the data.

    whole: what to call the data itself.
    """
    names = "propertyNames" in error.absolute_schema_path
    word = "propertyNames" if names else str(error.validator)
    yield from WORDS.get(word, _other)(Wrong(error, whole))


def either(names: Sequence[str]) -> str:
    """a; a or b; a, b, or c"""
    *others, last = names
    return f"{', '.join(others)}{',' * (len(others) > 1)} or {last}" if others else last


def types(names: str | list[str]) -> list[str]:
    return [TYPES[name] for name in ([names] if isinstance(names, str) else names)]


def branch(rules: Rules) -> list[str]:
    """What one branch of an anyOf or oneOf asks for."""
    rules = resolved(rules)
    return [rules["description"]] if "description" in rules else types(rules["type"])


def _property_name(wrong: Wrong) -> Findings:
    name = wrong.value
    what = f"{wrong.name} cannot have the key {named(name)}"
    yield wrong.finding(what, f"write {either(branch(wrong.rules))}", name)


def _unknown(wrong: Wrong) -> Findings:
    known = sorted(wrong.rules.get("properties", ()))
    at = f" in {wrong.name}" if wrong.path else ""
    for key in wrong.value:
        if key not in known:
            yield wrong.finding(f"unknown key {named(key)}{at}", did_you_mean(key, known), key)


def _required(wrong: Wrong) -> Findings:
    for key in wrong.wanted:
        if key not in wrong.value:
            rules = wrong.rules.get("properties", {}).get(key, {})
            yield missing(wrong.path, wrong.name, key, _example(rules, f"{key}: "))


def missing(path: Key, name: str, key: str, otherwise: str = "") -> Finding:
    """A key that must be there; otherwise: the hint where HINTS has none for it."""
    hint = HINTS.get(key, otherwise)
    return Finding(key=path, what=f"{name} has no {key}", hint=hint)


def _beside(wrong: Wrong) -> Findings:
    for key, needs in wrong.wanted.items():
        for need in needs:
            if key in wrong.value and need not in wrong.value:
                hint = HINTS.get(need, f"add {need}, or delete {key}")
                yield wrong.finding(f"{wrong.name}.{key} needs {need} beside it", hint, key)


def _any_of(wrong: Wrong) -> Findings:
    """Each branch is a type, or each is a key that excludes the others."""
    branches: list[Rules] = wrong.wanted
    if "required" in branches[0]:
        yield from _exclusive(wrong, [branch["required"][0] for branch in branches])
        return
    inside: dict[int | str, list[ValidationError]] = {}
    for inner in wrong.error.context:
        inside.setdefault(inner.schema_path[0], []).append(inner)
    for errors in inside.values():
        # The branch that is meant: the value has its type, and something in it is wrong.
        if not any(error.validator == "type" and not error.path for error in errors):
            for inner in errors:
                yield from findings(inner, wrong.whole)
            return
    choices = [name for rules in branches for name in branch(rules)]
    yield wrong.must(either(choices), wrong.hint)


def _exclusive(wrong: Wrong, keys: list[str]) -> Findings:
    value: Json = wrong.value
    if not isinstance(value, dict):
        return  # its type is a finding of its own
    given = [key for key in keys if key in value]
    what = f"{wrong.name} needs exactly one of {', '.join(keys)}; it has "
    hint = "keep one of them" if given else wrong.hint
    yield wrong.finding(what + (" and ".join(given) or "none of them"), hint)


def _type(wrong: Wrong) -> Findings:
    value, names, hint = wrong.value, wrong.wanted, wrong.hint
    if names == "string" and isinstance(value, int | float | None):
        hint = hint if value is None and hint else "write it in quotes"
    elif value is None:
        hint = wrong.asked
    yield wrong.must(either(types(names)), hint)


def _enum(wrong: Wrong) -> Findings:
    value, names = wrong.value, [str(name) for name in wrong.wanted]
    near = nearest(value, names, 1) if isinstance(value, str) else []
    choices = f"one of {', '.join(names)}" if len(names) > 1 else names[0]
    yield wrong.must(choices, f"did you mean {near[0]}?" if near else "")


def _const(wrong: Wrong) -> Findings:
    yield wrong.must(str(wrong.wanted), wrong.asked)


def _number(words: str) -> Callable[[Wrong], Findings]:
    def bound(wrong: Wrong) -> Findings:
        what = f"{wrong.name} must be {words} {wrong.wanted:,}, not {wrong.value:,}"
        yield wrong.finding(what, wrong.hint)

    return bound


def _empty(wrong: Wrong) -> Findings:
    yield wrong.finding(f"{wrong.name} is empty", wrong.asked or "say what it holds, or delete it")


def _long(wrong: Wrong) -> Findings:
    long = f"has {len(wrong.value):,} characters; at most {wrong.wanted:,} are allowed"
    yield wrong.finding(f"{wrong.name} {long}", wrong.asked)


def _twice(wrong: Wrong) -> Findings:
    seen: set[str] = set()
    for number, item in enumerate(wrong.value):
        if isinstance(item, str):
            if item in seen:
                hint = "each token has one id" if "tokenizer" in wrong.path else "delete one"
                yield wrong.finding(f"{wrong.name} holds {named(item)} twice", hint, number)
            seen.add(item)


def _pattern(wrong: Wrong) -> Findings:
    what = f"{wrong.name} cannot be {named(wrong.value)}"
    if str(wrong.value).startswith(("/", "~")):
        what = f"{wrong.name} must be relative to the recipe's folder, not {named(wrong.value)}"
    yield wrong.finding(what, wrong.asked or f"write {either(branch(wrong.rules))}")


def _other(wrong: Wrong) -> Findings:
    yield wrong.finding(f"{wrong.name}: {wrong.error.message}", wrong.hint)


# A word of JSON Schema -> what its errors say.
WORDS: Mapping[str, Callable[[Wrong], Findings]] = {
    "propertyNames": _property_name,
    "additionalProperties": _unknown,
    "required": _required,
    "dependentRequired": _beside,
    "oneOf": _any_of,
    "anyOf": _any_of,
    "type": _type,
    "enum": _enum,
    "const": _const,
    "minimum": _number("at least"),
    "maximum": _number("at most"),
    "exclusiveMinimum": _number("more than"),
    "minLength": _empty,
    "minItems": _empty,
    "minProperties": _empty,
    "maxLength": _long,
    "uniqueItems": _twice,
    "pattern": _pattern,
}
