"""What the rules make in a test of this room is held to the table of the test's module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest
from kit import tables

from tinybuild.config import carry, found, heads, relations
from tinybuild.config.tree import Tree
from tinybuild.paths import Data

MOST = 20  # rows of a test: properties are tried on hundreds of configs


def _read(made: found.Found) -> Data:
    mended = {".".join(one.path): one.new for one in made.mended}
    named = {"class": type(made.config).__name__, "architectures": made.config.architectures}
    return {**named, "dtype": made.dtype, "mended": mended}


def _chosen(made: tuple[type, Any]) -> Data:
    return {"model": made[0].__name__, "config": type(made[1]).__name__}


def _broken(made: list[Any]) -> Data:
    return {str(n): f"{one.what} ({one.hint})" for n, one in enumerate(made)}


# What is asked of a module, and what of its answer is held.
ASKED: tuple[tuple[ModuleType, str, Callable[[Any], Data]], ...] = (
    (found, "read", _read),
    (heads, "choose", _chosen),
    (carry, "sizes", dict),
    (carry, "align", dict),
    (relations, "broken", _broken),
)


@pytest.fixture(autouse=True)
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    trees, answers, begin = list[Tree](), list[tuple[str, Data]](), Tree.__init__

    def begun(self: Tree, *given: Any) -> None:
        begin(self, *given)
        trees.append(self)

    def asking(name: str, plain: Callable[..., Any], shown: Callable[[Any], Data]) -> Any:
        def asked(*given: Any, **more: Any) -> Any:
            made = plain(*given, **more)
            answers.append((name, shown(made)))
            return made

        return asked

    monkeypatch.setattr(Tree, "__init__", begun)
    for module, name, shown in ASKED:
        monkeypatch.setattr(module, name, asking(name, getattr(module, name), shown))
    yield
    made: list[tuple[str, Mapping[str, Any]]] = [*answers, *(("tree", t.overrides) for t in trees)]
    test = request.node.name
    rows = {f"{test} {n} {what}": tables.row(data) for n, (what, data) in enumerate(made) if data}
    few = tables.always(request) and len(made) <= MOST
    tables.held(str(request.path), rows if few else {}, all_=False)
