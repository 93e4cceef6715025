"""`tinybuild store`: where it is, what goes, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from tinybuild.cli.command import Answer, Options
from tinybuild.cli.session import Session
from tinybuild.cli.storing import STORE_COMMAND
from tinybuild.engine import stored
from tinybuild.engine.receipts import Receipt, State, written
from tinybuild.errors import Fault
from tinybuild.files import tree
from tinybuild.store.folder import Folder
from tinybuild.workers import Bug, Pool


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which one stage was built, and a store with that and two more."""
    monkeypatch.setenv("TINYBUILD_STORE", "store")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/x.yaml").write_text("version: 1\nsummary: x\ndataset: {samples: 5}\n")
    built = tmp_path / "build/x/dataset"
    built.mkdir(parents=True)
    (built / "a.txt").write_text("one")
    receipt = Receipt(files=tree(built), facts={})
    for seed in range(3):
        state = State(settings={}, seed=seed, inputs={}, upstream={}, code="c", versions={})
        kept = stored.kept("dataset", state, receipt)
        places = {blob.sha256: built / name for name, blob in kept.files.items()}
        Folder(tmp_path / "store").keep(kept, places)
    for name, text in written("dataset:x", receipt, state).items():
        (built / name).write_text(text)
    return tmp_path


def said(root: Path, *words: str, **options: str) -> tuple[list[str], Answer]:
    every: Mapping[str, str] = dict.fromkeys(STORE_COMMAND.options, "")
    given: Options = {**every, **{name.replace("_", "-"): text for name, text in options.items()}}
    here, lines = Session(root), list[str]()
    asked = STORE_COMMAND.do(here, words, given)
    while True:
        try:
            lines.append(next(asked))
        except StopIteration as end:
            here.close()
            return lines, end.value


def test_where_it_is_and_how_large(zoo: Path) -> None:
    lines, answer = said(zoo)
    assert lines == [
        f"folder   {zoo / 'store'}",
        "mode     written to",
        "entries  3, 1 of them built in this folder",
        "files    3 B",
    ]
    assert answer.data == {
        "folder": str(zoo / "store"),
        "far": "",
        "writes": True,
        "entries": 3,
        "here": 1,
        "bytes": 3,
    }


def test_what_is_built_here_stays(zoo: Path) -> None:
    dry, _ = said(zoo, "gc", age="0h", size="0B", dry_run="yes")
    assert dry == ["would remove 2 entries and 0 B of files", "left: 1 entry, 3 B"]
    lines, answer = said(zoo, "gc", age="0h", size="0B")
    assert lines == ["removed 2 entries and 0 B of files", "left: 1 entry, 3 B"]
    assert answer.data == {"removed": 2, "freed": 0, "entries": 1, "bytes": 3}
    (line,), _ = said(zoo, "sums")
    assert line.endswith("  dataset:x")
    assert Folder(zoo / "store").find(line.split()[1]) is not None


def test_a_far_store_is_named_without_its_password(
    zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYBUILD_STORE", "sftp://me:secret@host/tiny")
    monkeypatch.setenv("XDG_CACHE_HOME", str(zoo / "cache"))
    lines, answer = said(zoo)
    assert lines[:2] == [f"folder   {zoo / 'cache/tinybuild/store'}", "behind   sftp://host/tiny"]
    assert "secret" not in str(answer.data)
    with pytest.raises(Fault, match="a store at sftp:// needs another package"):
        said(zoo, "gc")
    monkeypatch.setenv("TINYBUILD_STORE_MODE", "read")
    assert said(zoo, "gc")[0][-1] == "sftp://host/tiny: only read here"


def test_a_far_store_is_swept_too(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built in this folder stays there as well."""
    far = (zoo / "far").as_uri()
    (zoo / "store").rename(zoo / "far")
    monkeypatch.setenv("TINYBUILD_STORE", far)
    monkeypatch.setenv("XDG_CACHE_HOME", str(zoo / "cache"))
    lines, answer = said(zoo, "gc", age="0h")
    assert lines[2:] == [f"{far}: removed 2 entries and 0 B of files", f"{far}: left: 1 entry, 3 B"]
    none = {"removed": 0, "freed": 0, "entries": 0, "bytes": 0}
    told = {"removed": 2, "freed": 0, "entries": 1, "bytes": 3}
    assert answer.data == {**none, "far": told}


@pytest.mark.parametrize(
    "error", [OSError("no route to me:secret@host"), Bug("no route"), OSError()]
)
def test_a_far_store_that_does_not_answer_is_named(
    zoo: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def call(*_: object) -> NoReturn:
        raise error

    monkeypatch.setenv("TINYBUILD_STORE", "s3://bucket/tiny")
    monkeypatch.setenv("XDG_CACHE_HOME", str(zoo / "cache"))
    monkeypatch.setattr(Pool, "call", call)
    with pytest.raises(Fault, match=r"s3://bucket/tiny could not be swept: (no route|OSError)"):
        said(zoo, "gc")


@pytest.mark.parametrize(
    ("words", "options", "why"),
    [
        (["gcc"], {}, "there is no store gcc"),
        (["gc"], {"age": "30"}, "--age 30 is not an age"),
        (["gc"], {"size": "5 GB"}, "--size 5 GB is not a size"),
        (["gc", "nowhere"], {}, "nothing was built in nowhere"),
        (["sums", "y"], {}, "there is no recipe y"),
    ],
)
def test_what_is_not_known_is_refused(
    zoo: Path, words: list[str], options: dict[str, str], why: str
) -> None:
    with pytest.raises(Fault, match=why):
        said(zoo, *words, **options)


def test_it_may_be_off(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYBUILD_STORE", "off")
    assert said(zoo)[0] == ["the store is off (TINYBUILD_STORE=off)"]
