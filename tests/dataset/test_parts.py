"""A dataset section becomes parts: what a config or split says wins, and keeps its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.faults import refused

from tinybuild.dataset.parts import Part, middles, parts, shares, spans
from tinybuild.errors import BuildFault


def only(section: dict[str, Any]) -> Part:
    (part,) = parts(section)
    return part


def test_a_plain_section_is_one_part() -> None:
    part = only({"samples": 3, "source": {"path": "x"}, "seed": 1})
    assert (part.config, part.split, part.of_config, part.of_split) == ("default", None, None, None)
    assert part.wish == {"samples": 3}
    assert part.keys["samples"] == ("dataset", "samples")


def test_config_and_split_of_the_source() -> None:
    part = only({"samples": 3, "source": {"hub": "x/y", "config": "en", "split": "validation"}})
    assert (part.config, part.split) == ("default", None)
    assert (part.of_config, part.of_split) == ("en", "validation")


def test_a_name_that_no_file_can_have_is_refused() -> None:
    """Of a card: files are named after configs and splits."""
    part, long = only({"samples": 3}), "s" * 201
    for names, what in (({"default": (long,)}, "split"), ({long: ("train",)}, "config")):
        finding = refused(part.named, names, None)
        assert finding.what.startswith(f"a {what} of the source has a name of 201 bytes")
        assert "at most 200 bytes" in finding.hint
    assert part.named({"default": (long[:200],)}, None) == ("default", long[:200])


def test_splits_are_the_sources_of_that_name_unless_they_say_another() -> None:
    section = {
        "samples": 3,
        "splits": {"train": None, "test": {"split": "validation", "samples": 1}},
    }
    train, test = parts(section)
    assert (train.split, train.of_split, train.wish) == ("train", "train", {"samples": 3})
    assert (test.split, test.of_split, test.wish) == ("test", "validation", {"samples": 1})
    assert test.keys["samples"] == ("dataset", "splits", "test", "samples")
    assert test.keys["split"] == ("dataset", "splits", "test", "split")
    assert train.keys["split"] == ("dataset", "splits", "train")


def test_configs_are_the_sources_of_that_name_unless_the_source_or_they_say_another() -> None:
    section = {"samples": 3, "configs": {"en": None, "de": {"config": "german", "samples": 2}}}
    assert [(p.config, p.of_config, p.wish) for p in parts(section)] == [
        ("en", "en", {"samples": 3}),
        ("de", "german", {"samples": 2}),
    ]
    section["source"] = {"path": "x", "config": "all"}
    assert [p.of_config for p in parts(section)] == ["all", "german"]


def test_a_config_has_its_own_splits() -> None:
    section = {
        "samples": 3,
        "splits": {"train": None},
        "configs": {"a": None, "b": {"splits": {"test": {"rows": "1-2"}}}},
    }
    first, second = parts(section)
    assert (first.config, first.split) == ("a", "train")
    assert (second.config, second.split, second.wish) == ("b", "test", {"rows": "1-2"})
    assert second.keys["rows"] == ("dataset", "configs", "b", "splits", "test", "rows")


def test_one_way_to_choose_rows_replaces_the_other() -> None:
    section = {"samples": 3, "select": "random", "where": {"a": 1}, "images": {"max_size": 8}}
    numbered = only({**section, "splits": {"train": {"rows": "2"}}})
    assert numbered.wish == {"rows": "2", "images": {"max_size": 8}}
    counted = only({"rows": "1-9", "splits": {"train": {"samples": 2}}})
    assert counted.wish == {"samples": 2}


@pytest.mark.parametrize(
    ("source", "names", "default", "expected"),
    [
        ({}, {"default": ("train",)}, None, ("default", "train")),
        ({}, {"a": ("test",), "b": ("train",)}, "b", ("b", "train")),
        ({}, {"only": ("validation",)}, None, ("only", "validation")),
        ({}, {"a": ("test", "train")}, None, ("a", "train")),
        ({"config": "b", "split": "test"}, {"a": (), "b": ("train", "test")}, "a", ("b", "test")),
    ],
)
def test_what_a_part_is_taken_from(
    source: dict[str, str],
    names: dict[str, tuple[str, ...]],
    default: str | None,
    expected: tuple[str, str],
) -> None:
    assert only({"samples": 1, "source": source}).named(names, default) == expected


@pytest.mark.parametrize(
    ("source", "names", "message", "key"),
    [
        (
            {},
            {"a": (), "b": ()},
            "the source has several configs\n  hint: name one: a, b",
            "config",
        ),
        (
            {"config": "em"},
            {"en": (), "de": ()},
            "no config em\n  hint: known: de, en",
            "config",
        ),
        ({}, {"a": ("x", "y")}, "several splits, none is train\n  hint: name one: x, y", "split"),
        (
            {"split": "tset"},
            {"a": ("test", "x")},
            "no split tset\n  hint: did you mean test?",
            "split",
        ),
    ],
)
def test_what_the_source_does_not_have(
    source: dict[str, str], names: dict[str, tuple[str, ...]], message: str, key: str
) -> None:
    with pytest.raises(BuildFault) as caught:
        only({"samples": 1, "source": source}).named(names, None)
    assert message in str(caught.value)
    assert caught.value.findings[0].key == ("dataset", "source", key)


def test_a_fault_is_led_to_the_place_that_the_key_stands_at() -> None:
    _, part = parts({"samples": 3, "where": {"a": 1}, "splits": {"x": None, "y": {"samples": 9}}})
    fault = BuildFault.of("x", key=("dataset", "samples"))
    assert part.place(fault).findings[0].key == ("dataset", "splits", "y", "samples")
    fault = BuildFault.of("x", key=("dataset", "where", "a"))
    assert part.place(fault).findings[0].key == ("dataset", "where", "a")
    fault = BuildFault.of("x", key=("dataset", "source"))
    assert part.place(fault).findings[0].key == ("dataset", "source")


# --- rows by number, and spread evenly ------------------------------------------------------------


def test_spans() -> None:
    assert spans("4-10,1, 2,9-12") == (range(2), range(3, 12))
    assert spans("3") == (range(2, 3),)


@given(st.lists(st.integers(0, 30), max_size=8), st.integers(0, 100))
def test_shares(counts: list[int], wanted: int) -> None:
    found = shares(counts, wanted)
    assert sum(found) == min(wanted, sum(counts))
    assert all(0 <= f <= c for f, c in zip(found, counts, strict=True))
    short = [f for f, c in zip(found, counts, strict=True) if f < c]
    assert not short or max(found) - min(short) <= 1


def test_few_rows_lie_apart_over_many_shards() -> None:
    assert shares([5] * 10, 3) == [0, 1, 0, 0, 0, 1, 0, 0, 1, 0]
    assert middles(10, 2) == [2, 7]
    assert middles(4, 4) == [0, 1, 2, 3]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 200))
def test_rows_are_spread_as_evenly_as_shards_allow(counts: list[int], wanted: int) -> None:
    wanted = min(wanted, sum(counts))
    found = shares(counts, wanted)
    assert sum(found) == wanted
    for count, own in zip(counts, found, strict=True):
        picked = middles(count, own)
        assert len(set(picked)) == own <= count
        assert all(0 <= row < count for row in picked)
        # Who gives less than another by more than one has no more.
        assert all(own + 1 >= other or own == count for other in found)
