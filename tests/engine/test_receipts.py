"""The papers of a task: read as they were written, or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tinybuild import wire
from tinybuild.engine import receipts
from tinybuild.engine.receipts import Failure, Receipt, Said, State
from tinybuild.files import pretty

RECEIPT = Receipt(files={"a/b": {"sha256": "0" * 64, "size": 3}}, facts={"rows": 5})
STATE = State(
    settings={"seed": 1}, seed=7, inputs={"x": None}, upstream={}, code="c" * 8, versions={}
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in receipts.written("model:x", RECEIPT, STATE).items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_papers_are_read_as_they_were_written(folder: Path) -> None:
    receipt, told = receipts.papers(str(folder))
    assert receipt == RECEIPT
    assert told is not None
    assert {key: getattr(told, key) for key in wire.keys(State)} == wire.dump(STATE)
    assert (told.task, told.receipt) == (
        "model:x",
        hashlib.sha256((folder / "receipt.json").read_bytes()).hexdigest(),
    )


@pytest.mark.parametrize("name", ["receipt.json", "provenance.json"])
@pytest.mark.parametrize("text", [None, "", "{}", "null", "[1]", '{"seed": NaN}', "[" * 10**5])
def test_papers_that_are_not_as_written_are_none(folder: Path, name: str, text: str | None) -> None:
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    assert receipts.papers(str(folder)) == (None, None)


@pytest.mark.parametrize("name", ["receipt.json", "provenance.json"])
def test_papers_that_say_the_same_in_other_bytes_are_none(folder: Path, name: str) -> None:
    with (folder / name).open("a") as file:
        file.write(" ")
    assert receipts.papers(str(folder)) == (None, None)


def test_a_note_of_a_failure() -> None:
    said = Failure(
        version=1,
        task="model:x",
        kind="BuildFault",
        state="s",
        findings=(Said(what="it is so", where="a.yaml:1:2", hint="do this"),),
        report={"checks": 1},
    )
    assert receipts.failure(pretty(wire.dump(said)).encode()) == said
    assert receipts.failure(b"") is receipts.failure(b"{}") is receipts.failure(b"\xff") is None


def test_what_cannot_be_read_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    assert receipts.read(str(tmp_path / "a")) == b"text"
    for name in ("none", ".", "a/below"):
        assert receipts.read(str(tmp_path / name)) == b""
    assert receipts.data(b'{"a": [1]}') == {"a": [1]}
    assert receipts.data(b"{") is receipts.data(b"[" * 10**5) is None
