"""Locks: read through their schema, kept while the wish is the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from kit.faults import refused

from tinybuild.files import Memo
from tinybuild.recipe import Broken, Cache, Recipe, lock
from tinybuild.recipe.reading import read
from tinybuild.source import KINDS, Entry, Pin

SHA = "0" * 64
COMMIT = "1" * 40
FILE = {"sha256": SHA, "size": 3}
PART = {"sha256": SHA, "size": 3, "ranges": {"1-4": SHA}, "whole": {"oid": SHA, "size": 9}}


def written(folder: Path, data: object) -> Path:
    """The recipe beside which a lock stands."""
    text = data if isinstance(data, str) else json.dumps(data)
    (folder / "x.lock.json").write_text(text)
    return folder / "x.yaml"


def test_locks_are_kept_only_while_the_wish_is_the_same(tmp_path: Path) -> None:
    recipe = tmp_path / "a.yaml"
    assert lock.read(recipe) == {}
    files = {"config.json": Entry(sha256=SHA, size=3)}
    pin = Pin(wish={"hub": "a/b"}, facts={"commit": COMMIT}, files=files)
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
        ({"wish": {"hub": "a/b"}, "files": {"config.json": FILE}}, "pins.source has no commit"),
        (
            {"wish": {"package": "a", "files": {"a.json": "b"}}, "files": {"a.json": FILE}},
            "pins.source has no version",
        ),
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
    assert refusal.hint == "tinybuild update x writes it anew"


@pytest.mark.parametrize(
    ("slot", "files", "what"),
    [
        ("source", {}, "pins.source.files is empty"),
        (
            "source",
            {"model.safetensors": FILE},
            "pins.source.files names model.safetensors, which is not fetched",
        ),
        ("source", {"modeling_x.py": FILE}, "names modeling_x.py, which is not fetched"),
        ("tokenizer", {"model.safetensors.index.json": FILE}, "index.json, which is not fetched"),
        ("source", {"onnx/config.json": FILE}, "names onnx/config.json, which is not fetched"),
        ("source", {"../../a.jinja": FILE}, "names ../../a.jinja, which is not fetched"),
        ("source", {"/etc/a.jinja": FILE}, "names /etc/a.jinja, which is not fetched"),
        ("source", {".a.jinja": FILE}, "names .a.jinja, which is not fetched"),
        (
            "source",
            {"config.json": {"sha256": SHA, "size": 100_000_001}},
            "config.json of hub a/b has 100,000,001 bytes; at most 100,000,000 are fetched",
        ),
        ("source", {"config.json": PART}, "config.json was not read in parts"),
        ("dataset", {"data.pkl": PART}, "names data.pkl, which is not fetched"),
        ("dataset", {"data.jsonl": FILE}, "data.jsonl does not say which ranges were read"),
        (
            "dataset",
            {"data.jsonl": {**PART, "ranges": {"7-10": SHA}}},
            "data.jsonl cannot have the range 7-10: it has 9 bytes",
        ),
        (
            "dataset",
            {"data.jsonl": {**PART, "ranges": {"4-1": SHA}}},
            "data.jsonl cannot have the range 4-1: it has 9 bytes",
        ),
        ("dataset", {"data.jsonl": {**PART, "size": 4}}, "data.jsonl has ranges of 3 bytes, not 4"),
    ],
)
def test_a_lock_is_held_to_the_rules_of_fresh_resolving(
    tmp_path: Path, slot: str, files: object, what: str
) -> None:
    """A lock that a pull request edits is as untrusted as its recipe."""
    pin = {"wish": {"hub": "a/b"}, "commit": COMMIT, "files": files}
    recipe = written(tmp_path, {"version": 1, "pins": {slot: pin}})
    refusal = refused(lock.read, recipe)
    assert what in refusal.only.what
    assert refusal.only.where == "x.lock.json"
    assert refusal.hint == "tinybuild update x writes it anew"


@pytest.mark.parametrize("commit", ["main", "1" * 39, "1" * 41, "A" * 40, "refs/pr/1", ""])
@pytest.mark.parametrize("fact", ["commit", "card"])
def test_a_commit_is_a_whole_hash(tmp_path: Path, commit: str, fact: str) -> None:
    pin = {"wish": {"hub": "a/b"}, "commit": COMMIT, "files": {"rows.csv": PART}, fact: commit}
    refusal = refused(lock.read, written(tmp_path, {"version": 1, "pins": {"dataset": pin}}))
    assert refusal.only.what == f"pins.dataset.{fact} cannot be {commit!r}"


def test_a_package_is_locked_with_the_files_that_the_recipe_names(tmp_path: Path) -> None:
    wish = {"package": "a", "files": {"a.json": "b.json"}}
    pin = {"wish": wish, "version": "1", "files": {"a.json": FILE}}
    assert lock.read(written(tmp_path, {"version": 1, "pins": {"source": pin}}))
    pin["files"] = {"a.json": FILE, "b.json": FILE}
    refusal = refused(lock.read, written(tmp_path, {"version": 1, "pins": {"source": pin}}))
    assert refusal.only.what == "pins.source.files names b.json, which is not fetched"


# --- a lock that must fit -------------------------------------------------------------------------


def recipe_of(folder: Path, source: str, pins: Mapping[str, object]) -> Recipe:
    """A recipe with this source, and its lock (none where there are no pins)."""
    file = folder / "x.yaml"
    file.write_text(f"version: 1\nsummary: s\nsource: {source}\ntokenizer: {{method: keep}}\n")
    if pins:
        written(folder, {"version": 1, "pins": pins})
    return read(file, "x.yaml", "")


PINNED = {"wish": {"hub": "a/b"}, "commit": COMMIT, "files": {"config.json": FILE}}


@pytest.mark.parametrize(
    ("source", "pins", "words"),
    [
        ("{hub: a/b}", {}, ["there is no lock for source (hub a/b)"]),
        (
            "{hub: a/b, revision: v1}",
            {"source": PINNED},
            ["source.revision is 'v1' in the recipe; the lock has none"],
        ),
        (
            "{hub: a/c}",
            {"source": {**PINNED, "wish": {"hub": "a/b", "revision": "v1"}}},
            [
                "source.hub is 'a/c' in the recipe; the lock has 'a/b'",
                "source.revision is not given in the recipe; the lock has 'v1'",
            ],
        ),
        (
            "{hub: a/b}",
            {"source": PINNED, "tokenizer": PINNED},
            ["the lock pins tokenizer (hub a/b), which the recipe does not have"],
        ),
        (
            "{hub: a/b}",
            {"tokenizer": PINNED},
            [
                "there is no lock for source (hub a/b)",
                "the lock pins tokenizer (hub a/b), which the recipe does not have",
            ],
        ),
        ("{hub: a/b}", {"source": PINNED}, []),
        ("{transformers: llama}", {}, []),
    ],
)
def test_why_a_lock_does_not_fit(
    tmp_path: Path, source: str, pins: Mapping[str, object], words: list[str]
) -> None:
    findings = lock.unfit(recipe_of(tmp_path, source, pins))
    assert [finding.what for finding in findings] == words
    assert all(finding.where == "x.lock.json" for finding in findings)
    assert all(finding.hint == "tinybuild update x writes it anew" for finding in findings)


@pytest.mark.parametrize(
    ("environment", "frozen"),
    [
        ({}, False),
        ({"CI": "true"}, True),
        ({"CI": "1"}, True),
        ({"CI": "false"}, False),
        ({"TINYBUILD_LOCKED": "1"}, True),
        ({"CI": "true", "TINYBUILD_LOCKED": "0"}, False),
    ],
)
def test_what_says_that_locks_must_hold(environment: Mapping[str, str], frozen: bool) -> None:
    assert lock.frozen(environment) is frozen


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
