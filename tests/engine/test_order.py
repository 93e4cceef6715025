"""A recipe is packed as soon as it can be: an interrupted run leaves whole bundles."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from kit.zoo import LIGHT, doit, interrupt, make

from tinybuild.engine.plan import Zoo, load
from tinybuild.files import Memo
from tinybuild.recipe import Cache

NAMES = "abcdef"
MADE_FROM = "version: 1\nsummary: x\ndataset: {{source: {{recipe: {}}}, samples: 2}}\n"


def planned(root: Path) -> Zoo:
    return load(root, Memo(), Cache(root / "none", Memo()))


def test_recipes_come_one_after_another_those_that_others_build_on_first(tmp_path: Path) -> None:
    root = make(
        tmp_path / "zoo", a=MADE_FROM.format("c"), b=LIGHT, c=MADE_FROM.format("d"), d=LIGHT
    )
    (root / "recipes/more").mkdir()
    (root / "recipes/more/e.yaml").write_text(LIGHT)
    (root / "recipes/bad.yaml").write_text("version: 1\n")
    zoo = planned(root)
    order = zoo.one_by_one(["zoo"])
    assert sorted(order) == ["a", "b", "bad", "c", "d", "zoo"]
    assert order.index("d") < order.index("c") < order.index("a") < order.index("zoo")
    assert zoo.one_by_one(["more", "a"]) == ["e", "more", "a"]
    assert zoo.one_by_one(["pack:a", "check"]) == ["pack:a", "check"]


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_an_interrupted_run_has_packed_what_it_began(
    workers: tuple[str, ...], tmp_path: Path
) -> None:
    root = make(tmp_path / "zoo", **dict.fromkeys(NAMES, LIGHT))
    result = interrupt(root, "dataset:e", signal.SIGINT, *workers)
    assert result.code != 0
    packed = {path.name for path in (root / "dist").iterdir() if path.is_dir()}
    # Whichever other worker there is may still be at one of those before it.
    assert len({*"abcd"} - packed) <= (1 if workers else 0)
    assert doit(root).ran.isdisjoint(f"pack:{name}" for name in packed)


def test_stages_finish_recipe_by_recipe(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", **dict.fromkeys(NAMES[:3], LIGHT))
    (root / "recipes/group").mkdir()
    for name in "xy":
        (root / f"recipes/group/{name}.yaml").write_text(LIGHT)
    for what, names in (("zoo", NAMES[:3]), ("group", "xy")):
        lines = re.findall(r"^\w+:(\w) +[\d.]+ s", doit(root, what).out, flags=re.MULTILINE)
        assert "".join(lines) == "".join(name * 3 for name in names)
