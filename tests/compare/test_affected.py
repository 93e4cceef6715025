"""What a revision affects is known without building, and is exactly what a build would do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kit import git, zoo
from kit.files import ROOT

from tinybuild.compare.affected import Verdict, affected
from tinybuild.compare.revision import checked_out
from tinybuild.engine.plan import load
from tinybuild.errors import RecipeFault
from tinybuild.files import Memo
from tinybuild.recipe import Cache

MADE = "version: 1\nsummary: from another\ndataset: {source: {recipe: rows}, samples: 2}\n"
LOCAL = "version: 1\nsummary: a file's rows\ndataset: {source: {path: ../data}, samples: 2}\n"
WORDS = """\
version: 1
summary: words
source: {transformers: bert}
tokenizer: {method: train, vocab_size: 400}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A zoo that is committed."""
    made = zoo.make(
        tmp_path / "zoo", rows=zoo.LIGHT, other=zoo.LIGHT, made=MADE, local=LOCAL, words=WORDS
    )
    (made / "data").mkdir()
    (made / "data" / "rows.csv").write_text("text\none\ntwo\n")
    git.commit(made)
    return made


def asked(root: Path, base: str = "HEAD") -> Verdict:
    memo = Memo()
    here = load(root, memo, Cache(root / "build" / ".recipes.json", memo))
    with checked_out(root, base) as revision:
        return affected(here, memo, revision)


def told(verdict: Verdict) -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        one.recipe: {stage.stage: stage.reasons for stage in one.stages} for one in verdict.affected
    }


def test_nothing_is_affected_where_nothing_changed(root: Path) -> None:
    verdict = asked(root)
    assert (verdict.affected, verdict.gone, verdict.broken, verdict.notes) == ((), (), (), ())
    assert not (root / "build").exists()
    assert git.git(root, "status", "--porcelain") == ""


def test_a_key_affects_its_stage_and_those_after_it_and_recipes_made_from_it(root: Path) -> None:
    zoo.edit(root, "rows", "samples: 5", "samples: 6")
    assert told(asked(root)) == {
        "made": {
            "fetch": (),
            "dataset": (),
            "validate": (),
            "pack": (),
        },
        "rows": {
            "dataset": ("recipe: dataset.samples: 5 -> 6",),
            "validate": (),
            "pack": ("the text of the recipe changed",),
        },
    }


def test_a_comment_affects_what_carries_the_text(root: Path) -> None:
    zoo.edit(root, "rows", "version: 1", "version: 1  # one")
    assert told(asked(root)) == {
        "made": {"pack": ()},
        "rows": {"pack": ("the text of the recipe changed",)},
    }


def test_local_files_affect_who_reads_them(root: Path) -> None:
    (root / "data" / "rows.csv").write_text("text\none\nthree\n")
    assert told(asked(root)) == {
        "local": {
            "dataset": ("the upstream file rows.csv changed",),
            "validate": (),
            "pack": (),
        }
    }


def test_a_lock_affects_the_fetch_and_what_is_made_of_it(root: Path) -> None:
    pin = {"wish": {"transformers": "bert"}, "transformers": "5.0", "files": {}}
    lock = {"version": 1, "pins": {"source": pin}}
    (root / "recipes" / "words.lock.json").write_text(json.dumps(lock))
    (one,) = asked(root).affected
    assert one.recipe == "words"
    assert one.stages[0].stage == "fetch"
    assert "locks" in one.stages[0].reasons[0]


def test_new_gone_renamed_and_broken(root: Path) -> None:
    (root / "recipes" / "other.yaml").rename(root / "recipes" / "renamed.yaml")
    (root / "recipes" / "words.yaml").write_text("version: 7\n")
    verdict = asked(root)
    assert [(one.recipe, one.state) for one in verdict.affected] == [("renamed", "new")]
    assert verdict.gone == ("other",)
    assert verdict.broken == ("words",)


def test_a_recipe_that_was_broken_is_affected(root: Path) -> None:
    before = (root / "recipes" / "rows.yaml").read_text()
    (root / "recipes" / "rows.yaml").write_text("version: 7\n")
    base = git.commit(root)
    (root / "recipes" / "rows.yaml").write_text(before)
    names = [(one.recipe, one.state) for one in asked(root, base).affected]
    assert names == [("made", "mended"), ("rows", "mended")]


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("constraints.txt", "transformers==5.22.0\n", "Transformers==5.23.0  # newer\n"),
        (
            "uv.lock",
            '[[package]]\nname = "transformers"\nversion = "5.22.0"\n',
            '[[package]]\nname = "transformers"\nversion = "5.23.0"\n',
        ),
    ],
)
def test_a_pinned_library_affects_the_stages_that_use_it(
    root: Path, file: str, before: str, after: str
) -> None:
    (root / file).write_text(before)
    base = git.commit(root)
    (root / file).write_text(after)
    said = f"transformers: 5.22.0 -> 5.23.0 ({file})"
    stages = told(asked(root, base))
    assert stages["words"]["fetch"] == stages["words"]["tokenizer"] == (said,)
    assert "dataset" not in stages["rows"]
    assert stages["rows"]["validate"] == (said,)


def test_a_pin_of_tinybuild_affects_all(root: Path) -> None:
    (root / "requirements.txt").write_text("tinybuild @ git+https://example.org/t@aaa\n")
    base = git.commit(root)
    (root / "requirements.txt").write_text("tinybuild @ git+https://example.org/t@bbb\n")
    assert len(told(asked(root, base))) == 5


def test_files_that_git_ignores_are_taken_as_they_are(root: Path) -> None:
    (root / ".gitignore").write_text("data/\n")
    git.git(root, "rm", "-rq", "--cached", "data")
    base = git.commit(root)
    assert not asked(root, base).affected
    (root / "data" / "rows.csv").write_text("text\nother\n")
    assert not asked(root, base).affected  # what they were, nobody can say


def test_a_new_file_that_git_would_keep_counts(root: Path) -> None:
    (root / "data" / "more.csv").write_text("text\nthree\n")
    assert told(asked(root))["local"]["dataset"] == ("the upstream file more.csv is new",)


def test_a_zoo_in_a_folder_of_its_repository(tmp_path: Path) -> None:
    made = zoo.make(tmp_path / "repo" / "zoos" / "a", local=LOCAL.replace("../data", "../../data"))
    data = tmp_path / "repo" / "zoos" / "data"
    data.mkdir()
    (data / "rows.csv").write_text("text\none\n")
    base = git.commit(tmp_path / "repo")
    assert not asked(made, base).affected
    (data / "rows.csv").write_text("text\ntwo\n")
    assert list(told(asked(made, base))) == ["local"]


def test_what_an_archive_of_the_revision_would_leave_out_counts(root: Path) -> None:
    (root / ".gitattributes").write_text("recipes/*.yaml export-ignore\n")
    base = git.commit(root)
    assert not asked(root, base).affected


@pytest.mark.parametrize("name", ["nowhere", "--help", "HEAD:dodo.py", ""])
def test_a_name_that_is_no_revision(root: Path, name: str) -> None:
    with pytest.raises(RecipeFault, match="has no revision"), checked_out(root, name):
        pass


def test_a_folder_without_a_repository(tmp_path: Path) -> None:
    with pytest.raises(RecipeFault, match="not a git repository"), checked_out(tmp_path, "HEAD"):
        pass


def test_nothing_is_left_behind(root: Path) -> None:
    with checked_out(root, "HEAD") as revision:
        assert (revision.root / "recipes" / "rows.yaml").is_file()
    assert not revision.top.exists()
    assert git.git(root, "worktree", "list").count("\n") == 0


@pytest.mark.slow
def test_a_tinybuild_in_the_same_repository_plans_by_its_own_code(tmp_path: Path) -> None:
    """Its code is compared file by file, and what it makes of a recipe by what it says itself."""
    made = zoo.make(tmp_path / "zoo", rows=zoo.LIGHT)
    for name in ("tinybuild", "schemas"):
        shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
    git.commit(made)
    card = made / "tinybuild" / "pack" / "card.py"
    card.write_text(card.read_text() + "# a comment\n")
    assert by_its_own(made) == {"rows": {"pack": ["tinybuild/pack/card.py changed"]}}
    git.commit(made)
    slices = made / "tinybuild" / "engine" / "slices.py"
    text = slices.read_text()
    assert '"name": recipe.name' in text
    slices.write_text(text.replace('"name": recipe.name', '"name": recipe.name + "-"'))
    assert by_its_own(made) == {"rows": {"pack": ['recipe: name: "rows" -> "rows-"']}}


def by_its_own(root: Path) -> dict[str, dict[str, list[str]]]:
    """What the tinybuild in a zoo's repository says that HEAD affects."""
    done = subprocess.run(
        [sys.executable, "-m", "tinybuild", "affected", "HEAD", "--json"],
        cwd=root,
        env={**zoo.environment(), "PYTHONPATH": str(root)},
        capture_output=True,
        check=True,
    )
    verdict = json.loads(done.stdout)
    assert verdict["notes"] == []
    return {
        one["recipe"]: {stage["stage"]: stage["reasons"] for stage in one["stages"]}
        for one in verdict["affected"]
    }
