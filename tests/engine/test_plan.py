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


FROM = "version: 1\nsummary: x\nsource: {recipe: %s}\nmodel: {}\n"
ROWS_FROM = "version: 1\nsummary: x\ndataset: {source: {%s}, samples: 2}\n"


def said(zoo: plan.Zoo) -> dict[str, str]:
    """What is wrong with each broken recipe: its message, without its place and hint."""
    return {one.name: one.fault.findings[0].what for one in zoo.broken}


def test_recipes_that_need_what_cannot_be(tmp_path: Path) -> None:
    sources = {"a": FROM % "b", "b": FROM % "c", "c": FROM % "a", "far": FROM % "nowher"}
    below = {
        "below": FROM % "far",
        "rows": ROWS_FROM % "recipe: ok",
        "ok": FULL,
        "last": FROM % "ok",
    }
    below["ok"] = FULL.replace("dataset: {samples: 60}\n", "")
    below |= {"unread": "version: 1\n", "lost": FROM % "unread", "typo": FROM % "unreat"}
    zoo = load(make(tmp_path / "zoo", nowhere=LIGHT, **sources, **below))
    assert said(zoo) == {
        "a": "the recipes need one another: a -> b -> c -> a",
        "b": "the recipes need one another: b -> c -> a -> b",
        "c": "the recipes need one another: c -> a -> b -> c",
        "far": "there is no recipe nowher",
        "below": "its source, the recipe far, is broken",
        "rows": "the recipe ok makes no dataset",
        "unread": "the recipe has no summary",
        "lost": "its source, the recipe unread, is broken",
        "typo": "there is no recipe unreat",
    }
    hints = {one.name: one.fault.findings[0].hint for one in zoo.broken}
    assert hints["below"] == "see tinybuild check far"
    assert (hints["lost"], hints["typo"]) == ("see tinybuild check unread", "did you mean unread?")
    (far,) = [one.fault.findings[0] for one in zoo.broken if one.name == "far"]
    assert (far.hint, far.key) == ("did you mean nowhere?", ("source", "recipe"))
    assert set(zoo.recipes) == {"nowhere", "ok", "last"}
    assert {task.recipe.name for task in zoo.tasks.values()} == set(zoo.recipes)
    assert {*zoo.groups[""]} == {"nowhere", *sources, *below}


def test_names_of_files_and_folders(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", ok=LIGHT, model=LIGHT, group=LIGHT)
    long = "x" * 96
    inner = ("group/b", "group/.hidden", "group/ok", "build/c", "a b/d", ".git/e", "empty/f.txt/g")
    for name in (*inner, ".mine", "up=", "x.tar.gz", long, f"{long}x"):
        path = root / f"recipes/{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LIGHT)
    (root / "recipes/old.yml").write_text(LIGHT)
    (root / "recipes/notes.txt").write_text("none")
    zoo = load(root)
    assert said(zoo) == {
        "recipes/model.yaml": "model is the name of a command or a stage",
        "group": "group is the name of a group of recipes",
        "recipes/ok.yaml": "there are two recipes named ok",  # the first of them is in a group
        "c": "build is the name of a command or a stage",
        "d": "'a b' cannot be the name of a group of recipes",
        "recipes/up%3D.yaml": "'up=' cannot be a recipe's name",
        "x.tar.gz": "x.tar.gz would be built where the archive of x is",
        f"{long}x": "the name has 97 characters; at most 96 are allowed",
        "old": "a recipe's file ends in .yaml",
    }
    assert set(zoo.recipes) == {"ok", "b", long}
    grouped = {name: set(names) for name, names in zoo.groups.items()}
    assert grouped == {"group": {"b", "ok"}, "": {long, *said(zoo)}}


def test_sources_that_this_zoo_writes(tmp_path: Path) -> None:
    path = "version: 1\nsummary: x\nsource: {path: %s}\nmodel: {}\n"
    root = make(
        tmp_path / "zoo",
        made=path % "../build/ok/model",
        dist=path % "../dist",
        above=ROWS_FROM % "path: ..",
        packed=ROWS_FROM % "path: ../dist/ok/dataset",
        model=path % "..",
        beside=ROWS_FROM % "path: ../rows",
    )
    (root / "recipes/model.yaml").rename(root / "recipes/whole.yaml")
    zoo = load(root)
    assert said(zoo) == {
        "made": "../build/ok/model is in build/, which this zoo writes",
        "dist": "../dist is in dist/, which this zoo writes",
        "above": ".. holds build/, which this zoo writes",
        "packed": "../dist/ok/dataset is in dist/, which this zoo writes",
    }
    assert set(zoo.recipes) == {"whole", "beside"}


def test_what_a_tokenizer_s_stage_is_told_of_its_source(tmp_path: Path) -> None:
    """Whether it is the model's own, and whether it has a vocabulary."""
    own = "version: 1\nsummary: x\nsource: {path: ../a}\ntokenizer: {method: keep%s}\n"
    scratch = (
        "version: 1\nsummary: x\ntokenizer: {method: scratch, vocab: [a], class: BertTokenizer}\n"
    )
    zoo = load(
        make(
            tmp_path / "zoo",
            own=own % "",
            other=own % ", source: {hub: org/b}",
            named=own % ", class: BertTokenizer",
            blank=FULL,
            scratch=scratch,
            given=scratch.replace(", class: BertTokenizer", "") + "source: {path: ../a}\n",
        )
    )
    told = {name: zoo.tasks[f"tokenizer:{name}"].settings for name in zoo.recipes}
    keys = ("slot", "kind", "blank", "related")
    assert {name: tuple(data[key] for key in keys) for name, data in told.items()} == {
        "own": ("source", "path", False, True),
        "other": ("tokenizer", "hub", False, False),
        "blank": ("source", "transformers", True, True),
        "scratch": ("", "", False, False),
        **dict.fromkeys(("named", "given"), ("source", "path", False, True)),
    }
    assert {
        name: [need.task for need in zoo.tasks[f"tokenizer:{name}"].needs] for name in told
    } == {
        "own": ["fetch:own"],
        "other": ["fetch:other"],
        "blank": ["fetch:blank", "dataset:blank"],
        "scratch": [],
        **{name: [f"fetch:{name}"] for name in ("named", "given")},
    }


def test_which_rows_are_fetched_follows_from_what_decides_it(tmp_path: Path) -> None:
    """Of a kind that can fetch rows alone; not what becomes of the rows afterwards."""
    rows = (
        "version: 1\nsummary: x\ndataset: "
        "{source: {%s}, samples: 2, select: random, columns: [a]%s}\n"
    )
    parts = ", splits: {train: {samples: 3}, test: {}}"
    configs = ", configs: {c: {samples: 3, text: {max_chars: 9}}, d: null}"
    more = {"one": "", "two": parts, "three": configs}
    made = {name: rows % ("hub: o/d", text) for name, text in more.items()}
    zoo = load(make(tmp_path / "zoo", up=LIGHT, down=ROWS_FROM % "recipe: up", **made))
    assert said(zoo) == {}
    told = {name: zoo.tasks[f"fetch:{name}"].settings for name in (*made, "down")}
    source = {"hub": "o/d", "max_read": 10**9}
    assert told["one"]["rows"] == {"source": source, "samples": 2, "select": "random"}
    assert told["two"]["rows"] == {
        **told["one"]["rows"],
        "splits": {"train": {"samples": 3}, "test": {}},
    }
    assert told["three"]["rows"]["configs"] == {"c": {"samples": 3}, "d": None}
    assert "rows" not in told["down"]
    assert [need.task for need in zoo.tasks["fetch:down"].needs] == ["dataset:up"]


def test_a_card_says_of_which_text_a_vocabulary_was_learned(tmp_path: Path) -> None:
    """Where it is not the recipe's own dataset, and the vocabulary is not the source's."""
    text = (
        "version: 1\nsummary: x\nsource: {path: ../a}\ntokenizer: {method: %s, vocab_size: 99%s}\n"
    )
    made = {
        "plain": text % ("train", ""),
        "many": text % ("train", ", text: multilingual"),
        "shrunk": text % ("corpus", ", text: plain"),
        "rows": text % ("train", "") + "dataset: {samples: 2}\n",
    }
    zoo = load(make(tmp_path / "zoo", light=LIGHT, **made))
    assert {name: zoo.tasks[f"pack:{name}"].settings.get("text") for name in zoo.recipes} == {
        **{"plain": "plain", "many": "multilingual"},
        **dict.fromkeys(("shrunk", "rows", "light")),
    }


def test_a_bundle_depends_on_the_libraries_of_its_own_stages(tmp_path: Path) -> None:
    zoo = load(make(tmp_path / "zoo", full=FULL, light=LIGHT))
    used = {name: set(zoo.tasks[f"pack:{name}"].libraries) for name in zoo.recipes}
    made = {stage: set(of.libraries) for stage, of in stages.STAGES.items()}
    assert used["light"] == made["dataset"] | made["validate"] < used["full"]
