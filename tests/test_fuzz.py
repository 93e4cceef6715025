"""Damaged inputs for each reader: no traceback, no crash untold, no hang, advice in every finding.

`python -m kit.fuzz 10000` does the same with more; an input's number makes it again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.fuzz import MEMORY, READERS, SLOW, attack, job

from tinybuild.workers import Limits, Pool

QUICK = ("recipe", "lock", "safetensors")
ROWS = [name for name, reader in READERS.items() if reader.slot == "dataset"]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("name", "count"),
    [
        *((name, 200) for name in QUICK),
        *((name, 8) for name in (*ROWS, "Hub")),
        *(pytest.param(name, 300, marks=pytest.mark.slow) for name in READERS),
    ],
)
def test_damaged_inputs_are_findings(pool: Pool, name: str, count: int) -> None:
    figures = attack(name, range(count), pool)
    assert figures.wrong == []
    assert figures.inputs == count
    assert figures.refused, "nothing was damaged"


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in READERS]
)
def test_whole_inputs_are_taken(pool: Pool, name: str) -> None:
    """Else nothing of a damaged one would be read far."""
    reader = READERS[name]
    with tempfile.TemporaryDirectory() as folder:
        asked = job(reader, reader.seed(), Path(folder))
        pool.call(reader.function, asked, Limits(seconds=60), reader.sort)


def test_what_is_wrong_with_an_answer_is_seen(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash that is told is a finding; a bug, a missing hint and a hang are not."""
    reader = READERS["recipe"]
    for function, said in (
        ("json:loads", "Bug"),
        ("test_fuzz:unadvised", "no hint"),
        ("test_fuzz:endless", "took too long"),
    ):
        broken = dict(READERS) | {"recipe": type(reader)(**{**vars(reader), "function": function})}
        monkeypatch.setattr("kit.fuzz.READERS", broken)
        monkeypatch.setattr("kit.fuzz.SLOW", 0.3)
        ((_, what),) = attack("recipe", range(1), pool).wrong
        assert said in what
    assert (SLOW, MEMORY) == (5.0, 4_000_000_000)


def unadvised(_: object) -> None:
    from tinybuild.errors import BuildFault

    raise BuildFault.of("it is wrong")


def endless(_: object) -> None:
    while True:
        pass
