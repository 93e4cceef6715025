"""Dataclasses to and from JSON: what goes out comes in again, and wrong shapes name their place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybuild import facts, wire
from tinybuild.wire import Misshapen


class Section(TypedDict):
    free: int


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    share: float = 1.0
    more: tuple[Part, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Whole:
    class_: str
    number: int | None
    pair: tuple[str, int]
    parts: Mapping[str, Part]
    how: Literal["first", "random"] = "first"
    section: Section | None = None
    anything: Mapping[str, object] = field(default_factory=dict)
    yes: bool = True


DATA = {
    "class": "x",
    "number": None,
    "pair": ["a", 1],
    "parts": {"p": {"name": "q", "share": 2, "more": [{"name": "r"}]}},
    "section": {"free": 1},
    "anything": {"deep": [{"x": 1.5}]},
}


def test_there_and_back() -> None:
    whole = wire.load(Whole, DATA)
    assert whole.parts["p"].more == (Part(name="r"),)
    assert whole.pair == ("a", 1)
    assert wire.dump(whole) == DATA
    assert wire.load(Whole, json.loads(json.dumps(wire.dump(whole)))) == whole
    assert wire.keys(Whole)[:2] == ("class", "number")


names = st.text(max_size=5)
parts = st.recursive(
    st.builds(Part, name=names, share=st.floats(allow_nan=False)),
    lambda below: st.builds(Part, name=names, more=st.lists(below, max_size=3).map(tuple)),
    max_leaves=5,
)


@given(
    st.builds(
        Whole,
        class_=names,
        number=st.none() | st.integers(),
        pair=st.tuples(names, st.integers()),
        parts=st.dictionaries(names, parts, max_size=3),
        how=st.sampled_from(["first", "random"]),
        yes=st.booleans(),
    )
)
def test_whatever_goes_out_comes_in_again(whole: Whole) -> None:
    assert wire.load(Whole, json.loads(json.dumps(wire.dump(whole)))) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": 1}, "class: must be text"),
        ({"class_": "x"}, "class_: is not known"),
        ({"number": True}, "number: must be an integer or must be null"),
        ({"number": "1"}, "number: must be an integer or must be null"),
        ({"yes": 1}, "yes: must be true or false"),
        ({"pair": ["a"]}, "pair: must be a list of 2"),
        ({"pair": ["a", 1.5]}, "pair.1: must be an integer"),
        ({"parts": []}, "parts: must be a mapping"),
        ({"parts": {"p": {}}}, "parts.p.name: is missing"),
        ({"parts": {"p": {"name": "q", "share": "2"}}}, "parts.p.share: must be a number"),
        ({"parts": {"p": {"name": "q", "more": {}}}}, "parts.p.more: must be a list"),
        (
            {"parts": {"p": {"name": "q", "more": [{"name": 3}]}}},
            "parts.p.more.0.name: must be text",
        ),
        ({"how": "last"}, "how: must be one of first, random"),
        ({"section": 3}, "section: must be"),
        ({"anything": 3}, "anything: must be a mapping"),
    ],
)
def test_a_wrong_shape_names_its_place(change: dict[str, object], message: str) -> None:
    with pytest.raises(Misshapen) as caught:
        wire.load(Whole, {**DATA, **change})
    assert str(caught.value).startswith(message)
    with pytest.raises(Misshapen, match="must be a mapping"):
        wire.load(Whole, [])


def test_a_type_that_json_does_not_have() -> None:
    with pytest.raises(TypeError, match="is not read from JSON"):
        wire.load(set, [])


def test_facts_in_their_order_and_by_their_keys() -> None:
    assert set(wire.keys(facts.TokenizerFacts)) == {
        *wire.keys(facts.TokenizerShown),
        *wire.keys(facts.TokenizerIds),
    }
    assert "class" in wire.keys(facts.ModelShown)
