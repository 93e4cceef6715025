"""Reviews from the command line: what a revision affects, what it changed, and shards."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from kit import git, zoo
from kit.files import contents
from kit.hub import connected
from kit.laid import Bundle
from kit.said import said

from tinybuild import wire
from tinybuild.cli.session import Session
from tinybuild.compare import Comparison
from tinybuild.errors import RecipeFault
from tinybuild.files import tree


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


def test_machines_share_a_build_without_speaking(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = zoo.doit(root, TINYBUILD_SHARD="2/2")
    assert done.code == 0
    assert {task.rpartition(":")[2] for task in done.ran} == {"b"}
    assert zoo.doit(root, TINYBUILD_SHARD="3/3").code == 0  # which has nothing to do
    monkeypatch.setenv("TINYBUILD_SHARD", "1/2")
    selected = {
        ("zoo",): ["a"],
        ("b",): ["b"],
        ("dataset",): ["dataset:a"],
        ("pack:a", "b"): ["pack:a"],
    }
    for given, ours in selected.items():
        assert Session(root).ours(given) == ours
    shares = [said(root, "list", shard=f"{n}/2")[0] for n in (1, 2)]
    assert [lines[0].count("rows only") for lines in shares] == [1, 1]


def test_a_shard_that_is_none_is_an_error_and_builds_nothing(root: Path) -> None:
    done = zoo.doit(root, TINYBUILD_SHARD="5/4")
    assert done.code == 1
    assert "TINYBUILD_SHARD: '5/4' is not a shard" in done.out
    assert not (root / "dist").exists()


def test_a_diff_with_a_revision_builds_what_it_affects_as_it_was(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    text = zoo.LIGHT.replace("samples: 5", "source: {path: ../data}, samples: 1")
    (root / "recipes" / "b.yaml").write_text(text)  # of which the revision lacks the data
    git.commit(root)
    (root / "data").mkdir()
    (root / "data" / "rows.csv").write_text("text\none\n")
    zoo.edit(root, "a", "samples: 5", "samples: 6")
    with pytest.raises(
        RecipeFault, match="not built as they are now: a, b\n  hint: tinybuild build a b"
    ):
        said(root, "diff", "HEAD")
    (root / "recipes" / "late.yaml").write_text(zoo.LIGHT)
    assert zoo.doit(root, "a", "b").code == 0
    lines, answer = said(root, "diff", "HEAD")
    assert answer.code == 3
    assert lines[0].endswith(": 1 bundle: 1 changed")
    assert lines[1] == "a                        dataset 1, checks 1"
    assert "  recipe: line 3, dataset.samples: 5 -> 6 (dataset, checks)" in lines
    assert "note: late is not built as it is now: tinybuild build late" in lines
    assert lines[-1].startswith("note: b cannot be built as it was: ")
    assert "there is no ../data" in lines[-1]
    data = wire.load(Told, answer.data)
    (changed,) = data.bundles
    (split,) = changed.rows
    assert (split.before, split.after, split.added, split.removed) == (5, 6, 1, 0)
    (root / "one.json").write_text(json.dumps(answer.data))
    (text,) = said(root, "diff", "one.json", markdown="yes")[0]
    assert "| `train` | 5 | 6 | 1 new, 0 gone |" in text
    assert not [*temporary.iterdir()]


@dataclass(frozen=True, kw_only=True)
class Told:
    base: str
    bundles: tuple[Comparison, ...]
    notes: tuple[str, ...]


def laid(root: Path, *names: str, after: Bundle | None = None) -> None:
    """Bundles in dist/, without a build."""
    for name in names:
        folder = (after or Bundle()).write(root / "dist" / name)
        sums = [f"{entry['sha256']}  {path}\n" for path, entry in tree(folder).items()]
        (folder / "SHA256SUMS").write_text("".join(sums))


def test_a_diff_with_a_folder_of_bundles(root: Path, tmp_path: Path) -> None:
    laid(tmp_path / "other", "a", "old")
    laid(root, "a", "b", after=Bundle(vocabulary={"<pad>": 0}))
    for base in ("../other", "../other/dist"):
        lines, answer = said(root, "diff", base)
        assert answer.code == 3
        assert lines[0] == (f"compared with the folder {base}: 3 bundles: 1 changed, 1 new, 1 gone")
        assert lines[1] == "a                        vocabulary 2"
        assert lines[-2:] == ["b                        is new", "old                      is gone"]
    assert [line.split()[0] for line in said(root, "diff", "../other", "b")[0][1:]] == ["b"]


def test_a_base_that_is_none(root: Path) -> None:
    (root / "empty").mkdir()
    (root / "main").mkdir()
    for base, said_ in {
        "nowhere": "the repository has no revision nowhere",
        "empty": "there is no bundle in empty",
        "main": "main is a folder and a revision\n  hint: write ./main or refs/heads/main",
    }.items():
        with pytest.raises(RecipeFault, match=said_):
            said(root, "diff", base)
    (root / "x.json").write_text('{"bundles": [{"name": 1}]}')
    with pytest.raises(RecipeFault, match=r"x\.json is not a diff"):
        said(root, "diff", "x.json")


WORDS = """\
version: 1
summary: words
source: {transformers: bert}
tokenizer: {method: train, vocab_size: 400}
publish: {repo: org/words}
"""


def test_a_diff_with_what_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that is ours to the byte costs one small file; files of others do not count."""
    rows = f"{zoo.LIGHT}publish: {{dataset_repo: org/rows}}\n"
    more = {name: WORDS.replace("org/words", f"org/{name}") for name in ("equal", "fresh")}
    root = zoo.make(tmp_path / "zoo", words=WORDS, rows=rows, alone=zoo.LIGHT, **more)
    laid(root, "words", "rows", "equal", "fresh", "alone")
    there = tmp_path / "there"
    laid(there, "equal")
    laid(there, "words", "rows", after=Bundle(vocabulary={"<pad>": 0}, rows=({"text": "x"},)))
    with connected(tmp_path, monkeypatch, "hf_secret") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        theirs = {".gitattributes": b"x", "notes.md": b"theirs"}
        for name in ("words", "equal"):
            hub.repo(f"org/{name}").commit({**contents(there / "dist" / name), **theirs})
        hub.dataset("org/rows").commit(contents(there / "dist" / "rows" / "dataset"))
        lines, answer = said(root, "diff")
        asked = hub.asked("GET /org/equal/resolve")
    assert answer.code == 3
    assert lines[0].endswith(": 4 bundles: 1 the same, 2 changed, 1 new")
    assert "fresh                    is new" in lines
    assert lines[-1] == "note: alone names no repository"
    assert len(asked) == 1  # SHA256SUMS, and nothing more
    found = {one.name: one for one in wire.load(Told, answer.data).bundles}
    assert found["words"].counts == {"vocabulary": 2, "dataset": 1}
    assert not theirs.keys() & {file.path for file in found["words"].files}
    assert found["rows"].counts == {"dataset": 1}
    assert [file.path for file in found["rows"].files] == [
        "dataset/data/train-00000-of-00001.parquet"
    ]


def test_a_diff_of_what_is_published_nowhere(root: Path) -> None:
    laid(root, "a")
    with pytest.raises(RecipeFault, match="no bundle here names the repository"):
        said(root, "diff")
