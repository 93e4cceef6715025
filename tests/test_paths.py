"""Nested mappings by path."""

from __future__ import annotations

from typing import cast

import pytest

from tinybuild import paths
from tinybuild.paths import Data, Json

TREE: Data = {"a": 1, "b": {"c": 2, "d": {}, "e": {"f": None}}, "l": [{"g": 3}, [4, 5]]}


def test_every_mapping_and_every_value_comes_with_its_path() -> None:
    assert [path for path, _ in paths.mappings(TREE)] == [(), ("b",), ("b", "d"), ("b", "e")]
    assert [path for path, _ in paths.mappings(TREE, lambda name, _: name != "b")] == [()]
    assert dict(paths.leaves(TREE)) == {
        ("a",): 1,
        ("b", "c"): 2,
        ("b", "d"): {},
        ("b", "e", "f"): None,
        ("l",): [{"g": 3}, [4, 5]],
    }
    assert dict(paths.leaves(TREE, lambda name, _: name != "e"))[("b", "e")] == {"f": None}
    assert dict(paths.items({"l": TREE["l"]})) == {
        ("l", "0", "g"): 3,
        ("l", "1", "0"): 4,
        ("l", "1", "1"): 5,
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), TREE),
        (("b", "c"), 2),
        (("l", "0", "g"), 3),
        (("l", "1", "1"), 5),
        (("l", "7"), None),
        (("l", "x"), None),
        (("a", "x"), None),
        (("x", "y"), None),
    ],
)
def test_a_value_at_a_path(path: paths.Path, value: Json) -> None:
    assert paths.get(TREE, path) == value


def test_none_is_there_and_what_is_missing_is_not() -> None:
    assert paths.has(TREE, ("b", "e", "f"))
    assert paths.has(TREE, ())
    assert not paths.has(TREE, ("b", "e", "g"))
    assert not paths.has(TREE, ("a", "b"))
    assert paths.mapping(TREE, ("b", "e")) == {"f": None}
    assert paths.mapping(TREE, ("a",)) == {}


def test_a_value_is_put_in_place_or_into_a_copy() -> None:
    made: dict[str, Json] = {"a": 1, "b": {"c": 2}}
    copy = paths.having(made, ("b", "x", "y"), 3)
    assert copy == {"a": 1, "b": {"c": 2, "x": {"y": 3}}}
    assert made == {"a": 1, "b": {"c": 2}}
    assert paths.having({"l": [1, {"g": 2}]}, ("l", "1", "g"), 3) == {"l": [1, {"g": 3}]}
    paths.put(made, ("b", "d"), 4)
    paths.put(made, ("a", "e"), 5)
    assert made == {"a": {"e": 5}, "b": {"c": 2, "d": 4}}
    assert paths.without(made, ("b", "c")) == {"a": {"e": 5}, "b": {"d": 4}}
    assert paths.without(made, ("b", "x")) == paths.without(made, ("x",)) == made


def test_merging_is_deep_and_above_has_the_last_word() -> None:
    below: Data = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    above: Data = {"a": {"c": {"d": 4}, "f": 5}, "e": {"g": 6}}
    assert paths.merge(below, above) == {"a": {"b": 1, "c": {"d": 4}, "f": 5}, "e": {"g": 6}}
    assert below == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


def test_differences_are_sorted_by_path() -> None:
    old: Data = {"b": {"x": 1, "y": 2}, "a": 1, "same": [1, {"z": 2}]}
    new: Data = {"a": 2, "b": {"y": 3}, "same": [1, {"z": 2}], "c": {}}
    assert list(paths.differences(old, new)) == [
        (("a",), 1, 2),
        (("b", "x"), 1, None),
        (("b", "y"), 2, 3),
        (("c",), None, {}),
    ]


def test_whole_numbers() -> None:
    assert paths.whole(3)
    assert not paths.whole(True)
    assert not paths.whole(3.0)
    assert paths.wholes((1, 2))
    assert not paths.wholes([])
    assert not paths.wholes([1, None])
    assert not paths.wholes("12")


def test_numbers_as_names_are_text_in_a_path() -> None:
    tree = cast(Data, {"queries": {490: 128}, "sizes": [3]})
    assert dict(paths.items(tree)) == {("queries", "490"): 128, ("sizes", "0"): 3}
