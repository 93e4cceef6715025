"""Reviews from the command line: what a revision affects, what it changed, and shards."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit import git, zoo
from kit.said import said

from tinybuild.errors import RecipeFault


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = zoo.make(tmp_path / "zoo", a=zoo.LIGHT, b=zoo.LIGHT)
    (made / ".gitignore").write_text("build/\ndist/\n")
    git.commit(made)
    return made


def test_affected_in_words_names_and_json(root: Path) -> None:
    (line,) = said(root, "affected", "HEAD")[0]
    assert line.startswith("nothing differs from ")
    zoo.edit(root, "a", "samples: 5", "samples: 6")
    zoo.edit(root, "b", "summary: rows only", "summary: other words")
    lines, answer = said(root, "affected", "HEAD")
    assert lines[0] == "dataset:a                recipe: dataset.samples: 5 -> 6"
    assert 'pack:b                   recipe: summary: "rows only" -> "other words"' in lines
    assert answer.code == 0
    assert isinstance(answer.data, dict)
    assert answer.data["names"] == ["a", "b"]
    assert answer.data["commit"] == git.git(root, "rev-parse", "HEAD")
    assert said(root, "affected", "HEAD", names="yes")[0] == ["a", "b"]
    shares = [said(root, "affected", "HEAD", names="yes", shard=f"{n}/2")[0] for n in (1, 2)]
    assert sorted(shares) == [["a"], ["b"]]
    assert not (root / "build").exists()


def test_affected_of_what_is_no_revision(root: Path) -> None:
    with pytest.raises(RecipeFault, match="the repository has no revision nowhere"):
        said(root, "affected", "nowhere")


def test_machines_share_a_build_without_speaking(root: Path) -> None:
    ran = []
    for number in (1, 2, 3):
        done = zoo.doit(root, TINYBUILD_SHARD=f"{number}/3")
        assert done.code == 0
        ran.append({task.rpartition(":")[2] for task in done.ran})
    assert sorted(map(sorted, ran)) == [[], ["a"], ["b"]]
    shares = [said(root, "list", shard=f"{n}/2")[0] for n in (1, 2)]
    assert [lines[0].count("rows only") for lines in shares] == [1, 1]


def test_a_shard_that_is_none_is_an_error_and_builds_nothing(root: Path) -> None:
    done = zoo.doit(root, TINYBUILD_SHARD="5/4")
    assert done.code == 1
    assert "TINYBUILD_SHARD: '5/4' is not a shard" in done.out
    assert not (root / "dist").exists()
