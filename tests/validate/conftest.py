"""What every check says in a test of this room is held to the table of the test's module."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from kit import tables

from tinybuild.validate.check import Check, Result
from tinybuild.validate.subject import Subject

# Between CPUs the last bits differ: of such a number it is held that there is one.
FOLDER = re.compile(r"/\S*/pytest-\S*")
FRACTION = re.compile(r"-?\d+\.\d+(e[+-]?\d+)?|-?\d+e[+-]?\d+")


@pytest.fixture(autouse=True)
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    said = dict[str, str]()

    def run(
        self: Check, subject: Subject, plain: Callable[..., Result | None] = Check.run
    ) -> Result | None:
        result = plain(self, subject)
        times = sum(name.startswith(f"{self.name} ") for name in said) + 1
        said[f"{self.name} {times}"] = told(result)
        return result

    monkeypatch.setattr(Check, "run", run)
    yield
    rows = {f"{request.node.name} {name}": row for name, row in said.items()}
    usual = {key: key.split(" ")[-2] for key in rows}
    tables.held(str(request.path), rows if tables.always(request) else {}, usual, all_=False)


def told(result: Result | None) -> str:
    """Of what failed that it did: what a broken bundle gives may hang on chance (weights that are
    missing are drawn), and its test says what is told of it."""
    if result is None:
        return "does not apply"
    if result.state == "failed":
        return result.state
    values = {name: value for name, value in result.values.items() if not isinstance(value, float)}
    words = " / ".join((result.state, result.measured, result.note, tables.row(values)))
    return FRACTION.sub("#", FOLDER.sub("FOLDER", words))
