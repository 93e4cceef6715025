"""Locks: read through their schema, kept while the wish is the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from kit.faults import refused

from tinybuild.files import Memo
from tinybuild.recipe import Broken, Cache, lock
from tinybuild.source import KINDS, Entry, Pin

SHA = "0" * 64


def written(folder: Path, data: object) -> Path:
    """The recipe beside which a lock stands."""
    text = data if isinstance(data, str) else json.dumps(data)
    (folder / "x.lock.json").write_text(text)
    return folder / "x.yaml"


def test_locks_are_kept_only_while_the_wish_is_the_same(tmp_path: Path) -> None:
    recipe = tmp_path / "a.yaml"
    assert lock.read(recipe) == {}
    files = {"config.json": Entry(sha256=SHA, size=3)}
    pin = Pin(wish={"hub": "a/b"}, facts={"commit": "c"}, files=files)
    lock.save(recipe, {"source": pin})
    before = lock.place(recipe).stat().st_mtime_ns
    lock.save(recipe, {"source": pin})
    assert lock.place(recipe).stat().st_mtime_ns == before
    pins = lock.read(recipe)
    assert pins == {"source": pin}
    assert lock.holding(pins, {"source": {"hub": "a/b"}}) == {"source": pin}
    assert lock.holding(pins, {"source": {"hub": "a/b", "revision": "x"}}) == {}
    lock.save(recipe, {})
    assert not lock.place(recipe).exists()


def test_parts_of_an_upstream_are_what_only_datasets_have() -> None:
    read = {"data_files", "format", "sep", "encoding", "field"}
    assert {"config", "split", "sample_by", "max_read", *read} == lock.PARTS


@pytest.mark.parametrize(
    ("pin", "what"),
    [
        (1, "pins.source must be a mapping, not 1"),
        ({"wish": {"hub": "a/b"}, "files": {}}, "pins.source has no commit"),
        ({"wish": {"package": "a"}, "files": {}}, "pins.source has no version"),
        (
            {"wish": {"hub": "a/b"}, "commit": 3, "files": {}},
            "pins.source.commit must be text, not 3",
        ),
        ({"wish": {"path": "x"}}, "pins.source has no files"),
        (
            {"wish": {"path": "x"}, "files": {"a.json": 3}},
            "pins.source.files.a.json must be a mapping, not 3",
        ),
        (
            {"wish": {"path": "x"}, "files": {"a.json": {"sha256": None, "size": 1}}},
            "pins.source.files.a.json.sha256 must be text, not nothing",
        ),
        (
            {"wish": {"path": "x"}, "files": {"a.json": {"sha256": "12", "size": 1}}},
            "pins.source.files.a.json.sha256 cannot be '12'",
        ),
        (
            {"wish": {"path": "x"}, "files": {"a.json": {"sha256": SHA, "size": -1}}},
            "pins.source.files.a.json.size must be at least 0, not -1",
        ),
        (
            {"wish": {"path": "x"}, "files": {}, "comit": "c"},
            "unknown key 'comit' in pins.source",
        ),
    ],
)
def test_a_lock_of_another_shape_says_what_and_where(
    tmp_path: Path, pin: object, what: str
) -> None:
    recipe = written(tmp_path, {"version": 1, "pins": {"source": pin}})
    refusal = refused(lock.read, recipe)
    assert refusal.what == what
    assert refusal.only.where == "x.lock.json"
    assert refusal.hint


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "the lock is not JSON (Expecting property name"),
        ("[" * 100_000, "the lock is not JSON ("),
        ("[]", "the lock must be a mapping, not a list"),
        ("{}", "the lock has no version"),
        ('{"version": 2, "pins": {}}', "version 2 of the lock is not known"),
        ('{"version": 1, "pins": {"model": {}}}', "pins cannot have the key 'model'"),
    ],
)
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str, what: str) -> None:
    refusal = refused(lock.read, written(tmp_path, text))
    assert refusal.findings[0].what.startswith(what)
    assert all(finding.hint for finding in refusal.findings)


def test_every_kind_of_locked_source_says_which_facts_its_pins_have(tmp_path: Path) -> None:
    assert {name: kind.facts for name, kind in KINDS.items() if kind.locked} == {
        "hub": ("commit",),
        "package": ("version",),
    }


def test_a_lock_that_is_known_to_be_well_formed_is_not_held_against_its_schema_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """jsonschema takes longer to load than a `doit` with nothing to do may take."""
    recipe = written(tmp_path, {"version": 1, "pins": {}})
    recipe.write_text("version: 1\nsummary: s\ndataset: {samples: 3}\n")

    def load() -> Cache:
        cache = Cache(tmp_path / "cache.json", Memo())
        assert not isinstance(cache.read(recipe, "x.yaml", ""), Broken)
        return cache

    cache = load()
    assert cache.dirty
    (tmp_path / "cache.json").write_text(cache.content())
    with monkeypatch.context() as patch:
        patch.setattr("tinybuild.recipe.contract.errors", None)
        assert not load().dirty
    written(tmp_path, {"version": 1, "pins": {"source": 1}})
    again = Cache(tmp_path / "cache.json", Memo()).read(recipe, "x.yaml", "")
    assert isinstance(again, Broken)
    assert "x.lock.json: pins.source must be a mapping" in str(again.fault)
    assert "jsonschema" in sys.modules
