"""A recipe: YAML read with line numbers, checked against the schema, all findings at once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.resources
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tinybuild.config import heads
from tinybuild.dataset.parts import AMOUNT, Part, parts
from tinybuild.errors import Fault, Finding, RecipeFault, did_you_mean, nearest
from tinybuild.files import Memo, digest, sha256
from tinybuild.recipe import marked
from tinybuild.recipe.marked import Key, named, parse, place

KNOWN_VERSIONS = (1,)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A wish, checked and with its defaults filled in. `data` is plain JSON data."""

    name: str
    file: Path
    group: str
    data: Mapping[str, Any]
    sha256: str

    @property
    def summary(self) -> str:
        return str(self.data["summary"])


# --- the schema, and its findings in words --------------------------------------------------------


@functools.cache
def schema() -> dict[str, Any]:
    """The contract for recipes, version 1: schemas/recipe.v1.schema.json."""
    packaged = importlib.resources.files("tinybuild") / "schemas" / "recipe.v1.schema.json"
    if packaged.is_file():
        text = packaged.read_text(encoding="utf-8")
    else:  # an editable install: the schemas stand beside the package
        text = (Path(__file__).parents[2] / "schemas" / "recipe.v1.schema.json").read_text(
            encoding="utf-8"
        )
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@functools.cache
def _validator() -> Any:
    """Draft 2020-12, with four changes: 1.0 is no integer; `$` is the end of the text and not, as
    Python has it, also the place before a last newline; a key that is forbidden is named; items
    are unique in linear time (jsonschema takes minutes for a recipe with 30,000 mixed items)."""
    import jsonschema

    def integer(_: Any, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def pattern(_: Any, wanted: str, value: Any, rules: Any) -> Iterator[Any]:
        if isinstance(value, str) and not re.search(wanted.replace("$", r"\Z"), value):
            yield jsonschema.ValidationError("")

    def unique(_: Any, wanted: bool, value: Any, rules: Any) -> Iterator[Any]:
        texts = [v for v in value if isinstance(v, str)] if isinstance(value, list) else []
        if wanted and len(set(texts)) < len(texts):
            yield jsonschema.ValidationError("")

    def properties(validator: Any, rules: Mapping[str, Any], value: Any, _: Any) -> Iterator[Any]:
        for key in [k for k in rules if isinstance(value, dict) and k in value]:
            if rules[key] is False:
                yield jsonschema.ValidationError("", path=[key])
            else:
                yield from validator.descend(value[key], rules[key], path=key, schema_path=key)

    standard = jsonschema.Draft202012Validator
    types = standard.TYPE_CHECKER.redefine("integer", integer)
    words = {"pattern": pattern, "properties": properties, "uniqueItems": unique}
    extend: Any = jsonschema.validators.extend
    return extend(standard, words, type_checker=types)(schema())


_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def _types(types: str | list[str]) -> str:
    names = [_TYPES[t] for t in ([types] if isinstance(types, str) else types)]
    return " or ".join(names)


def _referred(reference: str) -> Any:
    """What a "$ref" leads to: "#/$defs/source/properties/package"."""
    return functools.reduce(lambda rules, key: rules[key], reference.split("/")[1:], schema())


def _wanted(branch: Mapping[str, Any]) -> str:
    """What one branch of an anyOf or oneOf asks for, in words."""
    if "$ref" in branch:
        branch = _referred(branch["$ref"])
    return str(branch.get("description") or _types(branch["type"]))


def _example(rules: Any) -> str:
    """The first of a schema's examples as a hint."""
    if rules is False or not rules.get("examples"):
        return ""
    example = rules["examples"][0]
    text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
    return f"for example {text}"


_SAID = {
    "summary": "one line that says what this is for",
    "version": "the first line is `version: 1`",
    "samples": "how many rows to keep",
    "method": "one of truncate, corpus, train, scratch, keep",
    "vocab_size": "the number of tokens, special tokens included",
    "vocab": "the tokens in the order of their ids",
    "text": "dataset, corpus, vocabulary (which is what weighted is for), or a list of texts",
    "files": "add files: {NAME HERE: ITS PATH IN THE PACKAGE}",
}

_METHOD_KEYS = {
    "keep": (),
    "truncate": ("vocab_size", "text", "keep"),
    "corpus": ("vocab_size", "text", "keep"),
    "train": ("vocab_size", "text", "weighted"),
    "scratch": ("vocab", "merges", "options"),
}


def _moot(error: Any, data: Mapping[str, Any]) -> bool:
    """Whether a rule hangs on a tokenizer method, or on a key of one, that is itself wrong."""
    if "allOf" not in error.absolute_schema_path:
        return False
    method = str(data["tokenizer"].get("method"))
    about = error.validator_value if error.validator == "required" else error.path
    forbids = error.validator == "properties"
    return method not in _METHOD_KEYS or not (forbids or about[-1] in _METHOD_KEYS[method])


def _findings(error: Any) -> Iterator[tuple[Key, str, str]]:
    """One jsonschema error -> (path, what, hint), usually one, in words."""
    path = tuple(error.absolute_path)
    name = ".".join(str(p) for p in path) or "the recipe"
    last = str(path[-1]) if path else ""
    value, wanted, kind = error.instance, error.validator_value, error.validator
    hint = _example(error.schema)
    if kind == "properties":  # `false`: the key has no meaning beside the chosen method
        methods = " or ".join(m for m, keys in _METHOD_KEYS.items() if last in keys)
        yield path, f"{name} is only for method: {methods}", f"delete {last}"
    elif kind == "not":
        hint = "its own tokens are kept: give text to say which (dataset, corpus, or a list)"
        yield path, f"{name} cannot be {named(value)} here", hint
    elif "propertyNames" in error.absolute_schema_path:
        yield (
            (*path, value),
            f"{name} cannot have the key {named(value)}",
            f"write {_wanted(error.schema)}",
        )
    elif kind == "additionalProperties":
        known = sorted(error.schema.get("properties", ()))
        at = f" in {name}" if path else ""
        for key in value:
            if key not in known:
                yield (*path, key), f"unknown key {named(key)}{at}", did_you_mean(key, known)
    elif kind == "required":
        for key in wanted:
            if key not in value:
                yield path, f"{name} has no {key}", _SAID.get(key, "")
    elif kind == "dependentRequired":
        for key, needs in wanted.items():
            for need in needs:
                if key in value and need not in value:
                    hint = _SAID.get(need, f"add {need}, or delete {key}")
                    yield (*path, key), f"{name}.{key} needs {need} beside it", hint
    elif kind == "oneOf" and "required" in wanted[0]:
        if not isinstance(value, dict):
            return  # its type is a finding of its own
        kinds = [branch["required"][0] for branch in wanted]
        found = [k for k in kinds if k in value]
        what = f"{name} needs exactly one of {', '.join(kinds)}; it has "
        yield (
            path,
            what + (" and ".join(found) or "none of them"),
            "keep one of them" if found else hint,
        )
    elif kind in ("oneOf", "anyOf"):
        branches: dict[int, list[Any]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        for errors in branches.values():
            if not any(e.validator == "type" and not e.path for e in errors):
                for inner in errors:
                    yield from _findings(inner)
                return
        choices = " or ".join(_wanted(branch) for branch in wanted)
        yield path, f"{name} must be {choices}, not {named(value)}", hint
    elif kind == "type":
        if wanted == "string" and isinstance(value, int | float | None):
            hint = hint if value is None and hint else "write it in quotes"
        yield path, f"{name} must be {_types(wanted)}, not {named(value)}", hint
    elif kind == "enum":
        near = nearest(value, wanted, 1) if isinstance(value, str) else []
        choices = f"one of {', '.join(wanted)}" if len(wanted) > 1 else wanted[0]
        hint = f"did you mean {near[0]}?" if near else ""
        yield path, f"{name} must be {choices}, not {named(value)}", hint
    elif kind == "const":
        yield path, f"{name} must be {wanted}, not {named(value)}", _SAID.get(last, hint)
    elif kind == "minimum":
        yield path, f"{name} must be at least {wanted:,}, not {value:,}", hint
    elif kind == "maximum":
        yield path, f"{name} must be at most {wanted:,}, not {value:,}", hint
    elif kind == "exclusiveMinimum":
        yield path, f"{name} must be more than {wanted}, not {value}", hint
    elif kind in ("minLength", "minItems", "minProperties"):
        yield path, f"{name} is empty", _SAID.get(last, hint)
    elif kind == "maxLength":
        what = f"{name} has {len(value):,} characters; at most {wanted} are allowed"
        yield path, what, _SAID.get(last, hint)
    elif kind == "uniqueItems":
        seen: set[str] = set()
        for i, item in enumerate(value):
            if isinstance(item, str):
                if item in seen:
                    hint = "each token has one id" if path[0] == "tokenizer" else "delete one"
                    yield (*path, i), f"{name} holds {named(item)} twice", hint
                seen.add(item)
    elif kind == "pattern":
        yield path, f"{name} cannot be {named(value)}", hint or f"write {_wanted(error.schema)}"
    else:
        yield path, f"{name}: {error.message}", hint


def _agree(data: Mapping[str, Any]) -> Iterator[tuple[Key, str, str]]:
    """What a schema cannot say: sections that need one another."""
    tokenizer, model, dataset = (data.get(k) for k in ("tokenizer", "model", "dataset"))
    if tokenizer is None and model is None and dataset is None:
        yield (), "nothing to build", "add a dataset, a tokenizer or a model section"
    if model is not None:
        task = model.get("architecture", heads.AUTO)
        if task != heads.AUTO and not task[0].isupper() and task not in heads.TASKS:
            what = f"model.architecture: there is no task {task}"
            yield ("model", "architecture"), what, did_you_mean(task, heads.TASKS)
    if model is not None and "source" not in data:
        yield ("model",), "the model has no source", "add source: {transformers: ...}, or another"
    if tokenizer is not None:
        given = "source" in tokenizer or "source" in data
        if tokenizer["method"] != "scratch" and not given:
            hint = "add source: {transformers: ...}, or another"
            yield ("tokenizer",), f"method: {tokenizer['method']} needs a source", hint
        if tokenizer["method"] == "scratch" and not given and "class" not in tokenizer:
            yield ("tokenizer",), "method: scratch needs a class or a source", "add class: ..."
        if tokenizer.get("text") == "dataset" and dataset is None:
            yield ("tokenizer", "text"), "there is no dataset to learn from", "add dataset:"
    if dataset is not None:
        yield from _rows_agree(dataset)


def _rows_agree(dataset: Mapping[str, Any]) -> Iterator[tuple[Key, str, str]]:
    """What a schema cannot say of a dataset: each part of it has one way to choose its rows."""
    if "records" in dataset and "source" in dataset:
        what = "dataset.records and dataset.source are both there"
        yield ("dataset", "records"), what, "keep one of them"
    if "expand" in dataset and "configs" in dataset:
        what = "dataset.expand makes configs of its own beside dataset.configs"
        yield ("dataset", "expand"), what, "keep one of them"
    for part in parts(dataset):
        inside: Key = ("dataset", "configs", part.config) if "configs" in dataset else ("dataset",)
        if part.split:
            inside = part.keys["split"]
        if "rows" in part.wish:
            yield from _ranges_agree(part)
            for key in [key for key in AMOUNT if key in part.wish]:
                path = part.keys[key]
                what = f"{'.'.join(map(str, path))} has no meaning beside rows"
                yield path, what, f"delete {key}, or rows"
        elif "samples" not in part.wish and "records" not in dataset:
            yield inside, f"{'.'.join(map(str, inside))} has no samples", _SAID["samples"]


MOST_ROWS = 10_000_000  # by number; they are held in memory


def _ranges_agree(part: Part) -> Iterator[tuple[Key, str, str]]:
    key, wanted = part.keys["rows"], 0
    name = ".".join(key)
    for first, last in re.findall(r"(\d+)(?: *- *(\d+))?", str(part.wish["rows"])):
        wanted += int(last or first) - int(first) + 1
        if last and int(first) > int(last):
            yield key, f"{name}: the range {first}-{last} runs backwards", f"write {last}-{first}"
            return
    if wanted > MOST_ROWS:
        what = f"{name} asks for {wanted:,} rows; at most {MOST_ROWS:,} are taken by number"
        yield key, what, "samples takes any number of them"


def _fill(rules: Mapping[str, Any], data: dict[str, Any]) -> None:
    """Write the schema's defaults into sections that are there."""
    if "$ref" in rules:
        rules = {**_referred(rules["$ref"]), **rules}
    for key, rule in rules.get("properties", {}).items():
        if rule is False:
            continue
        if key not in data and "default" in rule:
            data[key] = json.loads(json.dumps(rule["default"]))
        if isinstance(data.get(key), dict):
            _fill(rule, data[key])


def _known(version: Any) -> bool:
    return type(version) is int and version in KNOWN_VERSIONS  # 1 == 1.0 == True in Python


def read(file: Path, shown: str, group: str, text: bytes | None = None) -> Recipe:
    """Read one recipe file; raises RecipeFault with all findings, sorted by place."""
    text = file.read_bytes() if text is None else text
    value, marks, broken = parse(text)
    found = list(broken)
    if not broken or value is not None:
        if not isinstance(value, dict):
            what = "the file is empty" if value is None else "a recipe is a mapping of keys"
            found.append((place(marks, ()), what, "start with `version: 1` and `summary: ...`"))
        elif "version" in value and not _known(value["version"]):
            what = f"version must be {KNOWN_VERSIONS[-1]}, not {named(value['version'])}"
            found.append((place(marks, ("version",)), what, _SAID["version"]))
        else:
            errors = [e for e in _validator().iter_errors(value) if not _moot(e, value)]
            wrong = [f for e in errors for f in _findings(e)] or _agree(value)
            placed = [(place(marks, path), what, hint) for path, what, hint in dict.fromkeys(wrong)]
            found += [f for f in placed if f[0] not in {mark for mark, _, _ in broken}]
    if found:
        raise RecipeFault(
            Finding(what=what, where=f"{shown}:{line}:{column}", hint=hint)
            for (line, column), what, hint in sorted(found)
        )
    _fill(schema(), value)
    return Recipe(
        name=file.stem, file=file, group=group, data=value, sha256=digest(text.decode("utf-8-sig"))
    )


def locate(fault: Fault, file: Path, shown: str) -> Fault:
    """The same fault with each finding's `key` turned into file:line:column, sorted by place."""
    try:
        _, marks, _ = parse(file.read_bytes())
    except OSError:
        return fault
    placed = []
    for finding in fault.findings:
        line, column = 0, 0
        if finding.key and not finding.where:
            line, column = place(marks, finding.key)
            finding = dataclasses.replace(finding, where=f"{shown}:{line}:{column}")
        placed.append((line, column, finding))
    return type(fault)(finding for *_, finding in sorted(placed, key=lambda item: item[:2]))


_UNITS = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}
_SIZES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def amount(value: int | str) -> int:
    """50M -> 50000000 (parameters)."""
    if isinstance(value, int):
        return value
    return round(Decimal(value[:-1]) * _UNITS[value[-1]])


def size(value: int | str) -> int:
    """4MB -> 4000000 (bytes; units are powers of 1000)."""
    if isinstance(value, int):
        return value
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]+)", value)
    assert match is not None  # the schema saw to it
    return round(Decimal(match[1]) * _SIZES[match[2]])


# --- reading many ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A recipe file that cannot be used, and why."""

    name: str
    file: Path
    group: str
    fault: Fault


class Cache:
    """Checked recipes remembered by the sha256 of their text, so that an unchanged zoo of 1,000 is
    read in the time of its stat calls. A changed schema or reader forgets everything."""

    def __init__(self, path: Path, memo: Memo):
        self.path, self.memo, self.dirty = path, memo, False
        own = Path(__file__).parents[1] / "dataset" / "parts.py"
        readers = (Path(__file__), Path(marked.__file__), Path(heads.__file__), own)
        self.stamp = digest([schema(), *map(sha256, readers)])
        self.known: dict[str, Any] = {}
        # Whatever is wrong with the file, it is only a cache.
        with contextlib.suppress(
            OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError
        ):
            loaded = json.loads(path.read_text())
            if loaded["stamp"] == self.stamp and loaded["digest"] == digest(loaded["recipes"]):
                self.known = dict(loaded["recipes"])
        self.used: dict[str, Any] = {}

    def read(self, file: Path, shown: str, group: str) -> Recipe | Broken:
        try:
            key = self.memo.sha256(str(file))
            entry = self.known.get(key) if key is not None else None
            if entry is not None and key is not None:
                self.used[key] = entry
                return Recipe(
                    name=file.stem, file=file, group=group, data=entry["data"], sha256=entry["text"]
                )
            text = file.read_bytes()
            recipe = read(file, shown, group, text)
        except OSError as error:
            fault = RecipeFault.of(f"cannot be read ({error.strerror})", where=shown)
            return Broken(name=file.stem, file=file, group=group, fault=fault)
        except Fault as fault:
            return Broken(name=file.stem, file=file, group=group, fault=fault)
        # The key is that of the text just read: the file may have changed since it was hashed.
        self.used[hashlib.sha256(text).hexdigest()] = {"data": recipe.data, "text": recipe.sha256}
        self.dirty = True
        return recipe

    def content(self) -> str:
        data = {"stamp": self.stamp, "digest": digest(self.used), "recipes": self.used}
        return json.dumps(data, separators=(",", ":"))
