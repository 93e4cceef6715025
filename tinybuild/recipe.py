"""A recipe: YAML read with line numbers, checked against the schema, all findings at once."""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tinybuild.errors import Fault, Finding, RecipeFault, did_you_mean, nearest
from tinybuild.files import Memo, digest, sha256

KNOWN_VERSIONS = (1,)
LARGEST = 256 * 1024  # bytes of a recipe file; the longest in the zoo has 2 kB
MOST_VALUES = 50_000  # values after aliases are expanded; a vocabulary given in full fits
DEEPEST = 40  # levels of nesting

Path_ = tuple[str | int, ...]
Mark = tuple[int, int]  # line and column, from 1


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


# --- YAML -> values with marks ------------------------------------------------------------------


class _Loader(yaml.CSafeLoader):
    """libyaml's composer with the scalars of YAML 1.2's core schema: `no` is text, 1e-5 a number."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first
    )


class _Broken(Exception):
    def __init__(self, what: str, mark: Mark, hint: str = ""):
        self.what, self.mark, self.hint = what, mark, hint


class _Reader:
    """Turns a node graph into plain values; `marks` says where each key path stands."""

    def __init__(self) -> None:
        self.marks: dict[Path_, Mark] = {}
        self.findings: list[tuple[Mark, str, str]] = []
        self.count = 0

    def read(self, node: yaml.Node, path: Path_, above: tuple[yaml.Node, ...] = ()) -> Any:
        mark = (node.start_mark.line + 1, node.start_mark.column + 1)
        self.marks.setdefault(path, mark)
        self.count += 1
        if self.count > MOST_VALUES:
            raise _Broken(
                f"more than {MOST_VALUES:,} values",
                mark,
                "aliases (*name) multiply what they point to; write a recipe without them",
            )
        if node in above:
            raise _Broken("an alias that contains itself", mark, "write the values out")
        above = (*above, node)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, mark)
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag[18:] not in ("map", "seq"):
            raise self.tagged(node, mark)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, i), above) for i, item in enumerate(node.value)]
        values: dict[str, Any] = {}
        for key, value in node.value:
            where = (key.start_mark.line + 1, key.start_mark.column + 1)
            if not isinstance(key, yaml.ScalarNode):
                self.findings.append((where, "a key must be plain text", ""))
                continue
            name = key.value
            if name == "" and not key.style:
                self.findings.append((where, "a key is empty", ""))
                continue
            if name in values:
                line = self.marks[(*path, name)][0]
                self.findings.append(
                    (where, f"the key {name!r} stands twice (first in line {line})", "delete one")
                )
                continue
            self.marks[(*path, name)] = where
            values[name] = self.read(value, (*path, name), above)
        return values

    def tagged(self, node: yaml.Node, mark: Mark) -> _Broken:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        return _Broken(f"the tag {tag} is not allowed", mark, "a recipe is plain data: remove it")

    def scalar(self, node: yaml.ScalarNode, mark: Mark) -> Any:
        text: str = node.value
        plain = not node.style
        resolved = _RESOLVER.resolve(yaml.ScalarNode, text, (plain, not plain))
        if node.tag != resolved:
            raise self.tagged(node, mark)
        kind = resolved.rpartition(":")[2]
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind == "int":
            if text[:2] in ("0o", "0x"):
                return int(text, 0)
            if len(text) > 40:
                raise _Broken("a number with more than 40 digits", mark)
            return int(text)
        if kind == "float":
            number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            if not math.isfinite(number):
                raise _Broken(f"{text} is not a finite number", mark)
            return number
        return text


_RESOLVER = _Loader("")


def _shallow(text: str) -> None:
    """Refuse deep nesting before composing: libyaml's composer recurses and would crash."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                mark = (event.start_mark.line + 1, event.start_mark.column + 1)
                raise _Broken(f"nested deeper than {DEEPEST} levels", mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def parse(text: bytes) -> tuple[Any, dict[Path_, Mark], list[tuple[Mark, str, str]]]:
    """YAML bytes -> (value, marks, findings). Findings are (line and column, what, hint)."""
    reader = _Reader()
    if len(text) > LARGEST:
        what = f"the file has {len(text):,} bytes; a recipe has at most {LARGEST:,}"
        return None, {}, [((1, 1), what, "a recipe names its upstream, it does not contain it")]
    loader = None
    try:
        _shallow(text.decode("utf-8-sig"))
        loader = _Loader(text.decode("utf-8-sig"))
        node = loader.get_single_node()
        value = reader.read(node, ()) if node is not None else None
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        return None, {}, [((line, 1), "the file is not UTF-8", "save it as UTF-8")]
    except _Broken as error:
        return None, {}, [*reader.findings, (error.mark, error.what, error.hint)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = error.problem or "not YAML"
        hint = ""
        if isinstance(error, yaml.composer.ComposerError) and "but found another" in what:
            what, hint = "a second document starts here", "one recipe, one file, one document"
        elif "cannot start any token" in what and "\t" in text.decode("utf-8-sig"):
            hint = "YAML is indented with spaces, not tabs"
        return None, {}, [(where, f"not YAML: {what}" if not hint else what, hint)]
    except yaml.reader.ReaderError as error:
        decoded = text.decode("utf-8-sig")
        before = decoded[: error.position]
        where = (before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        return None, {}, [(where, "a character that YAML does not allow", "remove it")]
    finally:
        if loader is not None:
            loader.dispose()
    return value, reader.marks, reader.findings


# --- values -> findings ---------------------------------------------------------------------------


@functools.cache
def schema() -> dict[str, Any]:
    """The contract for recipes, version 1: schemas/recipe.v1.schema.json."""
    packaged = importlib.resources.files("tinybuild") / "schemas" / "recipe.v1.schema.json"
    if packaged.is_file():
        text = packaged.read_text()
    else:  # an editable install: the schemas stand beside the package
        text = (Path(__file__).parents[1] / "schemas" / "recipe.v1.schema.json").read_text()
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@functools.cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(schema())


_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def _named(value: Any) -> str:
    """What a value is, in words, with the value itself when it is short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _types(types: str | list[str]) -> str:
    names = [_TYPES[t] for t in ([types] if isinstance(types, str) else types)]
    return " or ".join(names)


def _wanted(branch: Mapping[str, Any]) -> str:
    """What one branch of an anyOf or oneOf asks for, in words."""
    if "$ref" in branch:
        branch = schema()["$defs"][branch["$ref"].rpartition("/")[2]]
    kind = _types(branch["type"])
    if branch.get("pattern", "").endswith("[kKMB]$"):
        return "text such as 50M"
    if branch.get("pattern", "").endswith("MB|GB)$"):
        return "text such as 4MB"
    if "minimum" in branch:
        return f"{kind} of at least {branch['minimum']}"
    return kind


_SAID = {
    "summary": "one line that says what this is for",
    "version": "the first line is `version: 1`",
    "samples": "how many rows to keep",
    "method": "one of keep, train, scratch",
    "vocab_size": "the number of tokens to train, special tokens included",
    "vocab": "the tokens in the order of their ids",
    "text": "text: vocabulary is what weighted is for",
}


def _findings(error: Any) -> Iterator[tuple[Path_, str, str]]:
    """One jsonschema error -> (path, what, hint), usually one, in words."""
    path = tuple(error.absolute_path)
    name = ".".join(str(p) for p in path) or "the recipe"
    value, wanted, kind = error.instance, error.validator_value, error.validator
    if kind is None:  # a schema that is `false`: the key has no meaning beside the chosen method
        key = str(path[-1])
        for method in ("train", "scratch"):
            if key in _METHOD_KEYS[method]:
                yield path, f"{name} is only for method: {method}", f"remove {key}"
    elif kind == "additionalProperties":
        known = sorted(error.schema.get("properties", ()))
        for key in value:
            if key not in known:
                at = f" in {'.'.join(map(str, path))}" if path else ""
                yield (*path, key), f"unknown key {key!r}{at}", did_you_mean(str(key), known)
    elif kind == "required":
        for key in wanted:
            if key not in value:
                yield path, f"{name} has no {key}", _SAID.get(key, "")
    elif kind == "dependentRequired":
        for key, needs in wanted.items():
            for need in needs:
                if key in value and need not in value:
                    yield (*path, key), f"{name}.{key} is only for a {need} source", f"add {need}"
    elif kind == "oneOf" and all(set(branch) == {"required"} for branch in wanted):
        kinds = [branch["required"][0] for branch in wanted]
        found = [k for k in kinds if k in value]
        what = f"found {' and '.join(found)}" if found else "found none of them"
        yield path, f"{name} needs exactly one of {', '.join(kinds)}; {what}", ""
    elif kind in ("oneOf", "anyOf"):
        branches: dict[int, list[Any]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        for errors in branches.values():
            if not any(e.validator == "type" and not e.path for e in errors):
                for inner in errors:
                    yield from _findings(inner)
                return
        choices = " or ".join(dict.fromkeys(_wanted(branch) for branch in wanted))
        yield path, f"{name} must be {choices}, not {_named(value)}", ""
    elif kind == "type":
        hint = "write it in quotes" if wanted == "string" and isinstance(value, int | float) else ""
        yield path, f"{name} must be {_types(wanted)}, not {_named(value)}", hint
    elif kind == "enum":
        near = nearest(str(value), [str(w) for w in wanted], 1)
        hint = f"did you mean {near[0]}?" if near else ""
        choices = ", ".join(str(w) for w in wanted)
        yield path, f"{name} must be one of {choices}, not {_named(value)}", hint
    elif kind == "const":
        yield path, f"{name} must be {wanted}, not {_named(value)}", ""
    elif kind == "minimum":
        yield path, f"{name} must be at least {wanted:,}, not {value:,}", ""
    elif kind == "maximum":
        yield path, f"{name} must be at most {wanted:,}, not {value:,}", ""
    elif kind == "exclusiveMinimum":
        yield path, f"{name} must be more than {wanted}, not {value}", ""
    elif kind in ("minLength", "minItems", "minProperties"):
        yield path, f"{name} is empty", ""
    elif kind == "maxLength":
        yield path, f"{name} has {len(value)} characters; at most {wanted} are allowed", ""
    elif kind == "uniqueItems":
        seen: set[str] = set()
        for i, item in enumerate(value):
            if isinstance(item, str) and item in seen:
                yield (*path, i), f"{name} holds {item!r} twice", "each token has one id"
            seen.add(item if isinstance(item, str) else "")
    elif kind == "pattern":
        examples = error.schema.get("examples", ())
        yield (
            path,
            f"{name} cannot be {_named(value)}",
            f"for example {examples[0]}" if examples else f"it must match {wanted}",
        )
    else:
        yield path, f"{name}: {error.message}", ""


_METHOD_KEYS = {
    "train": ("vocab_size", "text", "weighted"),
    "scratch": ("vocab", "merges", "options"),
}


def _agree(data: Mapping[str, Any]) -> Iterator[tuple[Path_, str, str]]:
    """What a schema cannot say: sections that need one another."""
    tokenizer, model, dataset = (data.get(k) for k in ("tokenizer", "model", "dataset"))
    if tokenizer is None and model is None and dataset is None:
        yield (), "nothing to build", "add a dataset, a tokenizer or a model section"
    if model is not None and "source" not in data:
        yield ("model",), "the model has no source", "add source: {transformers: ...}, or another"
    if tokenizer is not None:
        given = "source" in tokenizer or "source" in data
        if tokenizer["method"] in ("keep", "train") and not given:
            hint = "add source: {transformers: ...}, or another"
            yield ("tokenizer",), f"method: {tokenizer['method']} needs a source", hint
        if tokenizer["method"] == "scratch" and not given and "class" not in tokenizer:
            yield ("tokenizer",), "method: scratch needs a class or a source", "add class: ..."
        if tokenizer.get("text") == "dataset" and dataset is None:
            yield ("tokenizer", "text"), "there is no dataset to learn from", "add dataset:"
    if dataset is not None and "source" in dataset:
        kinds = [k for k in ("hub", "transformers", "recipe") if k in dataset["source"]]
        if kinds:
            what = f"a dataset cannot come from {kinds[0]} yet"
            yield ("dataset", "source"), what, "give a path or a package"


def _fill(rules: Mapping[str, Any], data: dict[str, Any]) -> None:
    """Write the schema's defaults into sections that are there."""
    if "$ref" in rules:
        rules = {**schema()["$defs"][rules["$ref"].rpartition("/")[2]], **rules}
    for key, rule in rules.get("properties", {}).items():
        if rule is False:
            continue
        if key not in data and "default" in rule:
            data[key] = json.loads(json.dumps(rule["default"]))
        if isinstance(data.get(key), dict):
            _fill(rule, data[key])


def read(file: Path, shown: str, group: str, text: bytes | None = None) -> Recipe:
    """Read one recipe file; raises RecipeFault with all findings, sorted by place."""
    text = file.read_bytes() if text is None else text
    value, marks, broken = parse(text)
    found = list(broken)

    def place(path: Path_) -> Mark:
        while path and path not in marks:
            path = path[:-1]
        return marks.get(path, (1, 1))

    if not broken or value is not None:
        if not isinstance(value, dict):
            what = "the file is empty" if value is None else "a recipe is a mapping of keys"
            found.append(((1, 1), what, "start with `version: 1` and `summary: ...`"))
        elif "version" in value and value["version"] not in KNOWN_VERSIONS:
            known = ", ".join(map(str, KNOWN_VERSIONS))
            what = f"version {_named(value['version'])} is not known"
            found.append((place(("version",)), what, f"known: {known}"))
        elif "version" in value and isinstance(value["version"], bool | float):
            found.append((place(("version",)), "version must be the whole number 1", ""))
        else:
            errors = [f for e in _validator().iter_errors(value) for f in _findings(e)]
            if not errors:
                errors = list(_agree(value))
            found += [(place(path), what, hint) for path, what, hint in dict.fromkeys(errors)]
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
    """The same fault with each finding's `key` turned into file:line:column."""
    try:
        _, marks, _ = parse(file.read_bytes())
    except OSError:
        return fault
    findings = []
    for finding in fault.findings:
        path = finding.key
        while path and path not in marks:
            path = path[:-1]
        if path and not finding.where:
            line, column = marks[path]
            finding = Finding(
                what=finding.what, where=f"{shown}:{line}:{column}", hint=finding.hint
            )
        findings.append(finding)
    return type(fault)(findings)


_UNITS = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}
_SIZES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def amount(value: int | str) -> int:
    """50M -> 50000000 (parameters)."""
    if isinstance(value, int):
        return value
    return round(float(value[:-1]) * _UNITS[value[-1]])


def size(value: int | str) -> int:
    """4MB -> 4000000 (bytes; units are powers of 1000)."""
    if isinstance(value, int):
        return value
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]+)", value)
    assert match is not None  # the schema saw to it
    return round(float(match[1]) * _SIZES[match[2]])


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
        self.stamp = digest([schema(), sha256(__file__)])
        self.known: dict[str, Any] = {}
        try:
            loaded = json.loads(path.read_text())
            if loaded.get("stamp") == self.stamp:
                self.known = loaded["recipes"]
        except (FileNotFoundError, ValueError, AttributeError, KeyError):
            pass
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
        if key is not None:
            self.used[key] = {"data": recipe.data, "text": recipe.sha256}
            self.dirty = True
        return recipe

    def content(self) -> str:
        return json.dumps({"stamp": self.stamp, "recipes": self.used}, separators=(",", ":"))
