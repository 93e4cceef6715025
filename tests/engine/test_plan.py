"""Recipes become tasks: their slices, seeds and needs; locks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.zoo import FULL, LIGHT, make

from tinybuild.engine import plan, stages
from tinybuild.files import Memo
from tinybuild.recipe import Cache


def load(root: Path) -> plan.Zoo:
    return plan.load(root, Memo(), Cache(root / "cache.json", Memo()))


def test_planning_touches_nothing(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=FULL)
    before = sorted(root.rglob("*"))
    zoo = load(root)
    assert sorted(root.rglob("*")) == before
    assert [task.name for task in zoo.tasks_of("a")] == [f"{stage}:a" for stage in stages.STAGES]


def test_each_task_has_its_own_slice(tmp_path: Path) -> None:
    zoo = load(make(tmp_path / "zoo", a=FULL))
    tasks = {task.stage: task for task in zoo.tasks.values()}
    assert tasks["dataset"].needs == ()
    assert tasks["dataset"].settings == {"dataset": {"samples": 60}}
    needs = {need.name: need for need in tasks["model"].needs}
    assert needs["fetch"].files == ("source/", "source.")  # and what the source only names
    assert (needs["tokenizer"].files, needs["tokenizer"].facts) == ((), ("ids",))
    assert "vocab_size" not in str(tasks["model"].settings)
    needs = {need.name: need for need in tasks["validate"].needs}
    assert set(needs) == {"tokenizer", "model", "dataset", "fetch"}
    assert needs["fetch"].files == ("source/config", "source/generation_config", "source.")
    assert tasks["pack"].before[0] == "fetch:a"


def test_a_recipe_has_only_the_stages_it_asks_for(tmp_path: Path) -> None:
    zoo = load(make(tmp_path / "zoo", a=LIGHT))
    assert set(zoo.tasks) == {"dataset:a", "validate:a", "pack:a"}


@given(st.integers(0, 2**32 - 1), st.text(max_size=20), st.sampled_from(list(stages.STAGES)))
def test_seeds_are_within_bounds_and_their_own(given_: int, name: str, stage: str) -> None:
    found = stages.seed(given_, name, stage)
    assert 0 <= found < 2**32
    assert found == stages.seed(given_, name, stage)
    assert found != stages.seed(given_, name + "x", stage)


def test_a_stage_may_have_a_seed_of_its_own(tmp_path: Path) -> None:
    own = FULL.replace("model:", "model:\n  seed: 7")
    zoo = load(make(tmp_path / "zoo", a=own, b=FULL + "seed: 7\n"))
    tasks = zoo.tasks
    assert tasks["model:a"].seed == stages.seed(7, "a", "model")
    assert tasks["dataset:a"].seed == tasks["tokenizer:a"].seed == 0  # nothing is drawn there
    assert tasks["validate:b"].seed == stages.seed(7, "b", "validate")
    assert "seed" not in str(tasks["model:a"].settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "the lock must be a mapping, not a list"),
        ('{"version": 1, "pins": {"source": 1}}', "pins.source must be a mapping, not 1"),
        ('{"version": 2, "pins": {}}', "version 2 of the lock is not known"),
    ],
)
def test_a_lock_that_cannot_be_used_breaks_its_recipe(
    text: str, message: str, tmp_path: Path
) -> None:
    root = make(tmp_path / "zoo", a=FULL, b=LIGHT)
    (root / "recipes/a.lock.json").write_text(text)
    zoo = load(root)
    (broken,) = zoo.broken
    assert broken.name == "a"
    assert message in str(broken.fault)
    assert set(zoo.recipes) == {"b"}


def test_only_what_draws_has_the_recipe_s_own_seed(tmp_path: Path) -> None:
    """What does not depend on the seed must not depend on the recipe's name: recipes share it."""
    rows = "version: 1\nsummary: rows\ndataset: {samples: 5%s}\n"
    parted = rows % ", splits: {train: {}, test: {select: random}}"
    zoo = load(
        make(tmp_path / "zoo", first=rows % "", drawn=rows % ", select: random", parted=parted)
    )
    assert zoo.tasks["dataset:first"].seed == 0
    for name in ("drawn", "parted"):
        assert zoo.tasks[f"dataset:{name}"].seed == stages.seed(0, name, "dataset")
    assert zoo.tasks["validate:first"].seed == stages.seed(0, "first", "validate")
