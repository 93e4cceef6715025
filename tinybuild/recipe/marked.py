"""YAML 1.2 read as plain values, each with its place; whatever is not plain is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NoReturn, Protocol

import yaml

from tinybuild.paths import Json

LARGEST = 256 * 1024  # bytes of a recipe file; the longest in the zoo has 2 kB
LARGEST_EXPANDED = 400_000  # values and letters once aliases are expanded; no file without is near
DEEPEST = 40  # levels of nesting

Key = tuple[str | int, ...]
Mark = tuple[int, int]  # line and column, from 1
Marks = Mapping[Key, Mark]  # where each key path stands
Problem = tuple[Mark, str, str]  # place, what, hint


class _Loader(yaml.CSafeLoader):
    """libyaml's composer with YAML 1.2's core scalars: `no` is text, 1e-5 a number."""


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
    """Reading cannot go on."""


class _Place(Protocol):
    """A mark of libyaml's, or of PyYAML's."""

    line: int
    column: int


def _mark(mark: _Place | None) -> Mark:
    assert mark is not None  # a text that is read always has its places
    return mark.line + 1, mark.column + 1


class _Reader:
    """Turns a node graph into plain values; `marks` says where each key path stands."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.marks: dict[Key, Mark] = {}
        self.size = 0

    def read(self, node: yaml.Node, path: Key = (), above: tuple[yaml.Node, ...] = ()) -> Json:
        mark = self.marks.setdefault(path, _mark(node.start_mark))
        self.size += 1 + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
        if node in above:
            self.stop(mark, "an alias (*name) stands inside what it repeats")
        if self.size > LARGEST_EXPANDED or len(above) > DEEPEST:
            self.stop(mark, "too large or too deep once its aliases (*name) are written out")
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, mark)
        above = (*above, node)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, i), above) for i, item in enumerate(node.value)]
        values: dict[str, Json] = {}
        for key, value in node.value:
            where, name = _mark(key.start_mark), key.value
            if not isinstance(key, yaml.ScalarNode) or (name == "" and not key.style):
                self.problems.append((where, "a key must be plain text", "write key: value"))
            elif name == "<<" and not key.style:
                what = "merge keys (<<) are not part of YAML 1.2"
                self.problems.append((where, what, "write the values out"))
            elif name in values:
                line = self.marks[(*path, name)][0]
                what = f"the key {named(name)} stands twice (first in line {line})"
                self.problems.append((where, what, "delete one"))
            else:
                self.marks[(*path, name)] = where
                values[name] = self.read(value, (*path, name), above)
        return values

    def stop(self, mark: Mark, what: str) -> NoReturn:
        self.problems.append((mark, what, "write the values out, without aliases"))
        raise _Broken

    def scalar(self, node: yaml.ScalarNode, mark: Mark) -> Json:
        text: str = node.value
        tag = node.tag.rpartition(":")[2]
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        if tag == "int" and len(text) > 40:
            what = f"a number of {len(text):,} characters"
            self.problems.append((mark, what, "at most 40 are read; write text in quotes"))
        elif tag == "int":
            return int(text, 0 if text[:2] in ("0o", "0x") else 10)
        elif tag == "float":
            number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            if math.isfinite(number):
                return number
            what = f"{named(text)} is not a finite number"
            self.problems.append((mark, what, "write a number that JSON can hold"))
        return text


def _events(text: str, problems: list[Problem]) -> None:
    """What must be refused before composing: tags, which composing forgets, and deep nesting,
    on which libyaml's composer recurses until it crashes."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            mark = _mark(event.start_mark)
            if event.tag is not None:
                tag = event.tag.replace("tag:yaml.org,2002:", "!!")
                what = f"the tag {named(tag)} is not allowed"
                problems.append((mark, what, "a recipe is plain data; delete the tag"))
            depth += isinstance(event, yaml.CollectionStartEvent)
            if depth > DEEPEST:
                what = f"nested deeper than {DEEPEST} levels"
                problems.append((mark, what, "a recipe is flat; is a bracket missing?"))
                raise _Broken
    if problems:
        raise _Broken


def _scanned(error: yaml.MarkedYAMLError, text: str) -> Problem:
    """libyaml's complaint, with the place where the thing it could not finish began."""
    mark, problem = error.problem_mark or error.context_mark, error.problem or "not YAML"
    assert mark is not None  # libyaml sets one of them
    if "but found another" in problem:
        return _mark(mark), "a second document starts here", "one recipe, one file, one document"
    if "cannot start any token" in problem and text[mark.index : mark.index + 1] == "\t":
        return _mark(mark), "a tab where only spaces may stand", "YAML is indented with spaces"
    what = f"not YAML: {problem}"
    if error.context and error.context_mark and "next token" not in error.context:
        what = f"not YAML: {error.context} (line {error.context_mark.line + 1}): {problem}"
    return _mark(mark), what, _LIBYAML.get(problem, "check the brackets, quotes and indentation")


_LIBYAML = {
    "mapping values are not allowed in this context": "quote text with a colon; check indentation",
    "could not find expected ':'": "the line named here needs a colon after its key, or quotes",
    "second occurrence": "an anchor (&name) stands once; without aliases none is needed",
    "found undefined alias": "text that starts with * needs quotes",
    "found a tab character that violates indentation": "YAML is indented with spaces",
    "found character that cannot start any token": "text that starts with @, ` or % needs quotes",
}


def parse(raw: bytes) -> tuple[Json, Marks, list[Problem]]:
    """YAML bytes -> (value, marks, problems); where reading broke off the value is None."""
    if len(raw) > LARGEST:
        what = f"the file has {len(raw):,} bytes; a recipe has at most {LARGEST:,}"
        return None, {}, [((1, 1), what, "a recipe names its upstream, it does not contain it")]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        return None, {}, [(_end(before), "the file is not UTF-8", "save it as UTF-8")]
    problems: list[Problem] = []
    reader = _Reader(problems)
    loader = None
    try:
        _events(text, problems)
        loader = _Loader(text)
        node = loader.get_single_node()
        return reader.read(node) if node is not None else None, reader.marks, problems
    except _Broken:
        pass
    except yaml.MarkedYAMLError as error:
        problems.append(_scanned(error, text))
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position].decode(errors="ignore")
        what = f"the character U+{error.character:04X} is not allowed in YAML"
        hint = 'delete it, or write it as "\\u...." in double quotes'
        problems.append((_end(before), what, hint))
    finally:
        if loader is not None:
            loader.dispose()
    return None, {}, problems


def _end(before: str) -> Mark:
    """The line and column that follow a piece of text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def named(value: object) -> str:
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


def place(marks: Marks, path: Key) -> Mark:
    """Where a key path stands, or the nearest section around it that does."""
    while path and path not in marks:
        path = path[:-1]
    return marks.get(path, (1, 1))
