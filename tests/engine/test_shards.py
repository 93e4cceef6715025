"""Shards: every machine deals alike, all together do all, and each has about as much to do."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import zoo
from kit.files import ROOT

from tinybuild.engine.plan import Zoo, load
from tinybuild.engine.shards import Shard, cost, deal, longest_first, remembered
from tinybuild.errors import RecipeFault
from tinybuild.files import Memo
from tinybuild.recipe import Cache

MADE = "version: 1\nsummary: from another\ndataset: {source: {recipe: a}, samples: 2}\n"


def read(root: Path) -> Zoo:
    return load(root, Memo(), Cache(root / "build" / ".recipes.json", Memo()))


@functools.cache
def ours() -> Zoo:
    """The repository's own zoo: over 600 recipes, read when the first test asks for them."""
    return read(ROOT)


@given(
    names=st.deferred(lambda: st.lists(st.sampled_from(sorted(ours().recipes)), unique=True)),
    count=st.integers(1, 9),
)
def test_all_shards_together_are_the_selection(names: list[str], count: int) -> None:
    shards = [deal(ours(), names, Shard(number=n, count=count)) for n in range(1, count + 1)]
    assert sorted(name for shard in shards for name in shard) == sorted(names)
    for shard in shards:
        assert list(shard) == [name for name in names if name in shard]
    backwards = deal(ours(), names[::-1], Shard(number=1, count=count))
    assert backwards == shards[0][::-1]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_each_has_about_as_much_to_do(count: int) -> None:
    names = ours().groups["architectures"]
    loads = []
    for number in range(1, count + 1):
        shard = deal(ours(), names, Shard(number=number, count=count))
        loads.append(sum(cost(ours().tasks_of(name)) for name in shard))
    assert max(loads) - min(loads) < 10


def test_a_recipe_stays_with_what_it_is_made_from_where_that_costs_nothing(tmp_path: Path) -> None:
    """A shard that has one builds the other as well."""
    root = zoo.make(tmp_path / "zoo", a=zoo.LIGHT, b=zoo.LIGHT, made=MADE)
    here = read(root)
    shards = [deal(here, tuple(here.recipes), Shard(number=n, count=2)) for n in (1, 2)]
    assert sorted(shards) == [("a", "made"), ("b",)]


def test_a_broken_recipe_is_in_one_shard(tmp_path: Path) -> None:
    here = read(zoo.make(tmp_path / "zoo", a=zoo.LIGHT, broken="version: 7\n"))
    shards = [deal(here, ("a", "broken"), Shard(number=n, count=2)) for n in (1, 2)]
    assert sorted(shards) == [("a",), ("broken",)]


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", " 1/2"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(RecipeFault, match="is not a shard"):
        Shard.read(text, "--shard")


def test_a_past_run_says_what_recipes_cost(tmp_path: Path) -> None:
    here = read(zoo.make(tmp_path / "zoo", a=zoo.LIGHT, b=zoo.LIGHT, c=zoo.LIGHT, made=MADE))
    rows = [{"recipe": "b", "outcome": "built", "seconds": 90.0}]
    rows += [{"recipe": name, "outcome": "up to date", "seconds": 0.0} for name in ("a", "c")]
    (tmp_path / "run.json").write_text(json.dumps({"recipes": rows}))
    took = remembered(tmp_path / "run.json", "x")
    assert took == {"b": 90.0}
    names = tuple(here.recipes)
    shards = [deal(here, names, Shard(number=n, count=2), took) for n in (1, 2)]
    assert shards == [("b",), ("a", "c", "made")]


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff"])
def test_a_run_that_tells_nothing(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(text)
    with pytest.raises(RecipeFault, match=r"COSTS: run\.json does not tell what recipes took"):
        remembered(tmp_path / "run.json", "COSTS")
    with pytest.raises(RecipeFault, match="COSTS: none: No such file"):
        remembered(tmp_path / "none", "COSTS")


def test_what_takes_longest_begins_first(tmp_path: Path) -> None:
    """As recipes tell, and as a build here found."""
    learns = "source: {transformers: gpt2}\ntokenizer: {method: train, vocab_size: 9000}\n"
    root = zoo.make(tmp_path / "zoo", a=zoo.LIGHT, b=zoo.LIGHT, c=zoo.LIGHT + learns)
    assert longest_first(read(root), "abc", {}) == ["c", "a", "b"]
    assert longest_first(read(root), "abc", {"dataset:b": 90.0}) == ["b", "c", "a"]


def test_a_build_begins_with_what_took_longest_here(tmp_path: Path) -> None:
    root = zoo.make(tmp_path / "zoo", a=zoo.LIGHT, b=zoo.LIGHT)
    first = zoo.doit(root)
    assert first.out.index("pack:a") < first.out.index("pack:b")
    took = json.loads((root / "build/.seconds.json").read_text())
    assert {"dataset:a", "pack:b"} <= took.keys()
    (root / "build/.seconds.json").write_text(json.dumps({**took, "dataset:b": 90.0}))
    for name in "ab":
        zoo.edit(root, name, "samples: 5", "samples: 4")
    again = zoo.doit(root)
    assert again.out.index("pack:b") < again.out.index("pack:a")
