"""What a recipe may say follows from the tables of tokenizer methods and of kinds of sources."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from kit.faults import refused

from tinybuild import recipe
from tinybuild.recipe import lock, reading
from tinybuild.recipe.contract import contract
from tinybuild.source import KINDS
from tinybuild.tokenizer.methods import EVERY, METHODS, Method

FIRST = Method(
    make="tinybuild.tokenizer.shrink:truncate",
    about="the first tokens",
    needs=("vocab_size",),
    takes=("text",),
    texts=("plain",),
)
VALUES: dict[str, Any] = {
    "vocab_size": 9,
    "text": ["a"],
    "keep": ["a"],
    "weighted": True,
    "vocab": ["a"],
    "merges": ["a b"],
    "options": {"langs": ["en"]},
}


def read(section: str) -> recipe.Recipe:
    text = f"version: 1\nsummary: s\nsource: {{transformers: mt5}}\ntokenizer: {section}\n"
    return reading.read(Path("recipes/x.yaml"), "x.yaml", "", text.encode())


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that nothing but its entry in the table tells of."""
    monkeypatch.setitem(METHODS, "first", FIRST)  # type: ignore[arg-type]


@pytest.mark.usefixtures("first")
def test_a_method_from_outside_is_told_key_by_key() -> None:
    refusal = refused(read, "{method: first, vocab: [a], merges: [a b], weighted: true}")
    assert [(f.where, f.what) for f in refusal.findings] == [
        ("x.yaml:4:1", "tokenizer has no vocab_size"),
        ("x.yaml:4:28", "tokenizer.vocab is only for method: scratch"),
        ("x.yaml:4:40", "tokenizer.merges is only for method: scratch"),
        ("x.yaml:4:55", "tokenizer.weighted is only for method: train"),
    ]
    assert "known" not in refusal.text
    assert read("{method: first, vocab_size: 9, text: plain}").data["tokenizer"]["vocab_size"] == 9


@pytest.mark.usefixtures("first")
def test_a_method_from_outside_is_among_those_that_are_known() -> None:
    known = "truncate, corpus, train, scratch, keep, first"
    assert f"one of {known}, not 'frist'" in refused(read, "{method: frist}").what
    assert refused(read, "{method: frist}").hint == "did you mean first?"
    text = refused(read, "{method: first, vocab_size: 9, text: dataset}")
    assert text.what == "tokenizer.text cannot be dataset with method: first"
    assert text.hint == "write plain or a list of texts"
    only = refused(read, "{method: keep, vocab_size: 9}").what
    assert only.endswith("is only for method: truncate, corpus, train, or first")


def test_a_section_without_a_method_has_the_one_that_its_source_wants() -> None:
    assert read("{vocab_size: 9}").data["tokenizer"]["method"] == "train"
    assert read("{vocab_size: 9, source: {path: a}}").data["tokenizer"]["method"] == "corpus"
    assert read("{vocab_size: 9, source: {recipe: a}}").data["tokenizer"]["method"] == "corpus"
    assert refused(read, "{}").what == "tokenizer has no vocab_size"
    assert refused(read, "{vocab_size: 9, keep: [a]}").what.endswith("method: truncate or corpus")


def valid(section: dict[str, Any]) -> bool:
    """Whether the schema, as editors read it, takes a tokenizer section."""
    rules = {"$ref": "#/$defs/tokenizer", "$defs": contract("recipe")["$defs"]}
    return jsonschema.Draft202012Validator(rules).is_valid(section)


def test_the_schema_names_the_methods_and_their_keys() -> None:
    tokenizer = contract("recipe")["$defs"]["tokenizer"]["properties"]
    assert tokenizer["method"]["enum"] == list(METHODS)
    assert {*VALUES, *EVERY} == set(tokenizer)
    assert {key for method in METHODS.values() for key in method.keys} == set(VALUES)


@pytest.mark.parametrize("name", METHODS)
def test_the_schema_says_of_each_method_what_the_table_says(name: str) -> None:
    method = METHODS[name]
    least = {"method": name, **{key: VALUES[key] for key in method.needs}}
    assert valid(least)
    for key in method.needs:
        assert not valid({k: v for k, v in least.items() if k != key}), key
    for key in VALUES:
        more = least | {key: VALUES[key]}
        if key == "weighted":
            more["text"] = "vocabulary"
        assert valid(more) == (key in method.keys), key
    for word in {word for other in METHODS.values() for word in other.texts}:
        assert valid(least | {"text": word}) == (word in method.texts), word


@pytest.mark.parametrize("name", METHODS)
def test_the_reader_says_of_each_section_what_the_schema_says(name: str) -> None:
    """Every set of keys, beside every word that text may be."""
    words = ["dataset", "plain", "multilingual", "vocabulary", ["a"]]
    for count in range(len(VALUES) + 1):
        for keys in itertools.combinations(VALUES, count):
            for word in words if "text" in keys else words[:1]:
                section = {"method": name} | {key: VALUES[key] for key in keys}
                if "text" in keys:
                    section["text"] = word
                assert valid(section) == (not list(recipe.agree.methods(section))), section


# --- kinds of sources -----------------------------------------------------------------------------


def test_the_schema_names_the_kinds_of_sources() -> None:
    parts = contract("recipe")["$defs"]
    named = [branch["required"][0] for branch in parts["source"]["oneOf"]]
    assert named == list(KINDS)
    rows = [branch["required"][0] for branch in parts["dataset_source"]["oneOf"]]
    assert rows == [kind for kind in KINDS if kind != "transformers"]  # it has no rows
    pin = contract("lock")["properties"]["pins"]["additionalProperties"]["properties"]
    assert {fact for kind in KINDS.values() for fact in kind.facts} <= set(pin)


def test_a_kind_from_outside_is_read_refused_and_locked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kind = dataclasses.replace(KINDS["hub"], facts=("etag",))
    monkeypatch.setitem(KINDS, "mirror", kind)  # type: ignore[arg-type]
    head = "version: 1\nsummary: s\n"
    file = tmp_path / "x.yaml"

    def text(section: str) -> recipe.Recipe:
        return reading.read(file, "x.yaml", "", f"{head}{section}\n".encode())

    assert text("source: {mirror: a/b}\nmodel: {}").data["source"] == {"mirror": "a/b"}
    text("dataset: {source: {mirror: a/b}, samples: 3}")
    what = refused(text, "source: {mirror: a/b, hub: a/b}\nmodel: {}").what
    assert what.endswith("transformers, recipe, mirror; it has hub and mirror")
    assert refused(text, "source: {mirror: 3}\nmodel: {}").what.startswith(
        "source.mirror must be text"
    )

    files = {"config.json": {"sha256": "0" * 64, "size": 3}}
    pin: dict[str, Any] = {"wish": {"mirror": "a/b"}, "files": files}
    lock.place(file).write_text(json.dumps({"version": 1, "pins": {"source": pin}}))
    assert refused(lock.read, file).what == "pins.source has no etag"
    pin["etag"] = "e"
    lock.place(file).write_text(json.dumps({"version": 1, "pins": {"source": pin}}))
    assert lock.read(file)["source"].facts == {"etag": "e"}
