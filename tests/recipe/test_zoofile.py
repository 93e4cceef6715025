"""zoo.yaml: what is the same for all recipes, and what a recipe says against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinybuild.engine import plan
from tinybuild.errors import RecipeFault
from tinybuild.files import Memo
from tinybuild.recipe import Cache

DATASET = "version: 1\nsummary: x\ndataset: {samples: 2}\n"
TOKENIZER = "version: 1\nsummary: x\nsource: {transformers: gpt2}\ntokenizer: {vocab_size: 500}\n"
COMMON = """\
version: 1
publish:
  repo: my-org/tiny-{name}
  dataset_repo: my-org/rows-{name}
  private: true
"""


def zoo(folder: Path, common: str | None = None, **recipes: str) -> Path:
    (folder / "recipes").mkdir()
    for name, text in recipes.items():
        (folder / "recipes" / f"{name}.yaml").write_text(text)
    if common is not None:
        (folder / "zoo.yaml").write_text(common)
    return folder


def load(root: Path) -> plan.Zoo:
    return plan.load(root, Memo(), Cache(root / "cache.json", Memo()))


def test_a_recipe_has_what_the_zoo_says_as_far_as_it_has_the_part(tmp_path: Path) -> None:
    both = TOKENIZER + "dataset: {samples: 2}\n"
    found = load(zoo(tmp_path, COMMON, rows=DATASET, words=TOKENIZER, both=both)).recipes
    private = {"private": True}
    assert found["rows"].data["publish"] == {"dataset_repo": "my-org/rows-rows", **private}
    assert found["words"].data["publish"] == {"repo": "my-org/tiny-words", **private}
    assert found["both"].data["publish"] == {
        **{"repo": "my-org/tiny-both", "dataset_repo": "my-org/rows-both"},
        **private,
    }


def test_a_recipe_goes_before_the_zoo(tmp_path: Path) -> None:
    own = TOKENIZER + "publish: {repo: 'me/{name}-x', private: false, direct: true}\n"
    recipe = load(zoo(tmp_path, COMMON, words=own)).recipes["words"]
    assert recipe.data["publish"] == {"repo": "me/words-x", "private": False, "direct": True}


def test_without_a_zoo_file(tmp_path: Path) -> None:
    own = TOKENIZER + "publish: {repo: me/words}\n"
    found = load(zoo(tmp_path, None, words=own, rows=DATASET)).recipes
    assert found["words"].data["publish"] == {"repo": "me/words"}
    assert "publish" not in found["rows"].data


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("version: 1\npublish: {repos: a/b}\n", "zoo.yaml:2:11", "unknown key 'repos' in publish"),
        ("version: 1\npublish: {repo: a}\n", "zoo.yaml:2:11", "publish.repo"),
        ("version: 2\n", "zoo.yaml:1:1", "version must be 1, not 2"),
        ("model: {}\n", "zoo.yaml:1:1", "unknown key 'model' in zoo.yaml"),
        ("- 1\n", "zoo.yaml:1:1", "zoo.yaml is a mapping of keys"),
        ("a: [\n", "zoo.yaml:2:1", ""),
    ],
)
def test_a_broken_zoo_file(tmp_path: Path, text: str, where: str, what: str) -> None:
    with pytest.raises(RecipeFault) as caught:
        load(zoo(tmp_path, text, words=TOKENIZER))
    finding = caught.value.findings[0]
    assert finding.where == where
    assert what in finding.what


def test_two_recipes_for_one_repository(tmp_path: Path) -> None:
    common = "version: 1\npublish: {repo: my-org/tiny}\n"
    found = load(zoo(tmp_path, common, a=TOKENIZER, b=TOKENIZER))
    (broken,) = found.broken
    assert broken.name == "b"
    (finding,) = broken.fault.findings
    assert finding.what == "publish.repo: the recipe a is published to my-org/tiny, too"
    assert "{name}" in finding.hint


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (DATASET + "publish: {repo: a/b}\n", "publish.repo is for a model or a tokenizer"),
        (TOKENIZER + "publish: {dataset_repo: a/b}\n", "publish.dataset_repo is for a dataset"),
    ],
)
def test_a_repository_for_what_is_not_made(tmp_path: Path, text: str, what: str) -> None:
    (broken,) = load(zoo(tmp_path, None, x=text)).broken
    assert what in broken.fault.findings[0].what
