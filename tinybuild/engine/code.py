"""Which code decides what a stage makes: the files that it imports, to the end, and versions.

Every file is read once: its digest and its imports come from the same bytes, so that what is
recorded is the code as it was before any worker loaded it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
NAME = PACKAGE.name

# The house's law: imports are absolute, one statement a line or in parentheses, as ruff formats it.
# Patterns that begin with a fixed text are searched ten times faster than those that begin with ^.
_FROM = re.compile(rb"from (tinybuild[\w.]*) import (\([^)]*\)|[^\n#]+)")
# A function that is named as text, "module:name", is imported when it is called.
_NAMED = re.compile(rb'"(tinybuild[\w.]*):\w+"')
_PLAIN = re.compile(rb"import (tinybuild[\w.]*)")
_COMMENT = re.compile(r"#[^\n]*")


@dataclass(frozen=True, kw_only=True)
class Module:
    """A file of the package: its path in it, the sha256 of its bytes, and the modules (by their
    dotted name) and data files (by their path) that it names."""

    path: str
    sha256: str
    imports: tuple[str, ...]
    data: tuple[str, ...]


def closure(function: str, package: Path = PACKAGE) -> dict[str, str]:
    """{file of the package: sha256} of all that a function ("module:name") may run or read.
    package: another state of it may be asked.

    Importing a.b.c runs a.b as well, so it belongs to it; not so the package itself, which holds
    the version, and the functions that people's scripts call: what tells the version imports it by
    name, and calls none of these.
    """
    modules, data = _read(package)
    seen: dict[str, str] = {}
    todo, known = [function.partition(":")[0]], set[str]()
    while todo:
        name = todo.pop()
        if name in known or name not in modules:
            continue
        known.add(name)
        module = modules[name]
        seen[module.path] = module.sha256
        seen.update((path, data[path]) for path in module.data)
        todo += module.imports if name != NAME else ()
        above = name.rpartition(".")[0]
        if above != NAME:
            todo.append(above)
    return dict(sorted(seen.items()))


@functools.cache
def _read(package: Path) -> tuple[Mapping[str, Module], Mapping[str, str]]:
    """(modules by their dotted name, sha256 of the data files by their path)."""
    texts, data = dict[str, tuple[str, bytes]](), dict[str, str]()
    for path in _files(str(package), ""):
        content = Path(package, path).read_bytes()
        if path.endswith(".py"):
            dotted = f"{NAME}/{path}".removesuffix(".py").removesuffix("/__init__")
            texts[dotted.replace("/", ".")] = (path, content)
        else:
            data[path] = hashlib.sha256(content).hexdigest()
    names = {path: path.rpartition("/")[2].encode() for path in data}
    modules = {
        name: Module(
            path=path,
            sha256=hashlib.sha256(content).hexdigest(),
            imports=tuple(dict.fromkeys(imported(content, texts))),
            data=tuple(path for path, file in names.items() if b'"%s"' % file in content),
        )
        for name, (path, content) in texts.items()
    }
    return modules, data


def imported(content: bytes, known: Mapping[str, object]) -> Iterator[str]:
    """The modules of the package that a file's text imports, at its top or inside functions, and
    those whose functions it names."""
    yield from (named[1].decode() for named in _NAMED.finditer(content))
    for statement in _PLAIN.finditer(content):
        if _begins(content, statement.start()):
            yield statement[1].decode()
    for statement in _FROM.finditer(content):
        if _begins(content, statement.start()):
            above = statement[1].decode()
            for item in _COMMENT.sub("", statement[2].decode().strip("()")).split(","):
                name = item.split(" as ")[0].strip()
                if name:
                    below = f"{above}.{name}"
                    yield below if below in known else above


def _begins(content: bytes, start: int) -> bool:
    """Whether a statement begins there: only blanks stand before it on its line."""
    return not content[content.rfind(b"\n", 0, start) + 1 : start].strip()


def _files(folder: str, prefix: str) -> Iterator[str]:
    """Posix paths of the package's files, sorted; not what Python or an editor left."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith((".", "__pycache__")):
                continue
            if entry.is_dir():
                yield from _files(entry.path, f"{prefix}{entry.name}/")
            elif not entry.name.endswith(".typed"):
                yield prefix + entry.name


_VERSION = re.compile(r"^Version:[ \t]*(\S+)[ \t]*$", re.MULTILINE)


@functools.cache
def versions(libraries: tuple[str, ...]) -> dict[str, str | None]:
    """{name: version} of the toolchain that a stage's bytes depend on."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        **{name: _version(name) for name in libraries},
    }


def _version(name: str) -> str | None:
    """The version of an installed distribution; None for an optional one that is not there."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    # Its whole description is parsed where one asks for the version: a tenth of a `doit` with
    # nothing to do.
    head = (found.read_text("METADATA") or "").partition("\n\n")[0]
    said = _VERSION.search(head)
    return said[1] if said else found.version
