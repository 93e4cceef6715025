"""What is known to have nothing to do: never where anything moved, and doit says the same of it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.zoo import DODO, LIGHT, doit, edit, make, run

from tinybuild.cli.session import Session
from tinybuild.engine import code
from tinybuild.engine.clean import FILE, Clean

ROWS = "version: 1\nsummary: x\ndataset: {source: {path: ../rows}, samples: 2}\n"
COPIED = "version: 1\nsummary: x\ndataset: {source: {recipe: light}, samples: 2}\n"
NAMES = ("copied", "light", "rows")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("clean") / "zoo", copied=COPIED, light=LIGHT, rows=ROWS)
    (root / "rows").mkdir()
    (root / "rows/a.txt").write_text("one\ntwo\nthree\n")
    result = doit(root)
    assert result.code == 0, result.out + result.err
    return root


@pytest.fixture
def zoo(built: Path, tmp_path: Path) -> Path:
    """A copy whose recipes are all known to have nothing to do."""
    root = Path(shutil.copytree(built, tmp_path / "zoo"))
    verify(root)
    assert clean(root) == {*NAMES}
    return root


def verify(root: Path, *names: str, later: int = 10**10) -> None:
    """What a doit does that finds recipes up to date; later: how long (ns) after the last write."""
    here = Session(root)
    here.clean.begun += later
    wanted = (task for name in names or here.zoo.recipes for task in here.zoo.tasks_of(name))
    for task in here.with_upstreams(wanted):
        assert not here.builder.reasons(task), task.name
        if task.stage == "pack":
            here.settle(task.recipe.name)
    here.close()


def clean(root: Path) -> set[str]:
    known = Clean(root)
    return {name for name in NAMES if known.find(name) is not None}


def unseen(path: Path) -> None:
    """Other bytes under the same inode, size and mtime: only the ctime tells."""
    before = path.stat()
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(b"#" if first != b"#" else b"$")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    now = path.stat()
    assert (now.st_ino, now.st_size, now.st_mtime_ns) == (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )


def replaced(folder: Path) -> None:
    """The folder is a link to another one that looks alike."""
    shutil.copytree(folder, folder.with_name("other"))
    shutil.rmtree(folder)
    folder.symlink_to("other")


CASES: dict[str, tuple[set[str], Callable[[Path], object]]] = {
    # what is not clean any more, and what happened
    "recipe": ({"rows"}, lambda root: unseen(root / "recipes/rows.yaml")),
    "lock": ({"rows"}, lambda root: (root / "recipes/rows.lock.json").write_text("{}")),
    "zoo.yaml": ({*NAMES}, lambda root: (root / "zoo.yaml").write_text("version: 1\n")),
    "artefact": ({"rows"}, lambda root: unseen(root / "build/rows/dataset/README.md")),
    "bundle": ({"rows"}, lambda root: unseen(root / "dist/rows/README.md")),
    "archive": ({"rows"}, lambda root: (root / "dist/rows.tar.gz").unlink()),
    "receipt": ({"rows"}, lambda root: unseen(root / "build/rows/dataset/receipt.json")),
    "provenance": ({"rows"}, lambda root: unseen(root / "build/rows/pack/provenance.json")),
    "stage": ({"rows"}, lambda root: shutil.rmtree(root / "build/rows/validate")),
    "added": ({"rows"}, lambda root: (root / "build/rows/dataset/x").write_text("")),
    "added-below": ({"rows"}, lambda root: (root / "build/rows/dataset/data/x").write_text("")),
    "added-to-bundle": ({"rows"}, lambda root: (root / "dist/rows/dataset/x").write_text("")),
    "mode": ({"rows"}, lambda root: (root / "dist/rows/README.md").chmod(0o755)),
    "source": ({"rows"}, lambda root: unseen(root / "rows/a.txt")),
    "source-more": ({"rows"}, lambda root: (root / "rows/b.txt").write_text("four\n")),
    "source-below": ({"rows"}, lambda root: (root / "rows/more").mkdir()),
    "source-gone": ({"rows"}, lambda root: shutil.rmtree(root / "rows")),
    "source-linked": ({"rows"}, lambda root: replaced(root / "rows")),
    "upstream": ({"light", "copied"}, lambda root: unseen(root / "build/light/dataset/README.md")),
    "record": ({*NAMES}, lambda root: unseen(root / "build" / FILE)),
    "record-gone": ({*NAMES}, lambda root: (root / "build" / FILE).unlink()),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_known_of_what_moved(zoo: Path, case: str) -> None:
    lost, happen = CASES[case]
    happen(zoo)
    assert clean(zoo) == {*NAMES} - lost


@pytest.mark.parametrize("place", ["build/rows/dataset", "dist/rows", "rows"])
def test_a_file_in_a_folder_that_was_empty_is_seen(zoo: Path, place: str) -> None:
    (zoo / place / "empty").mkdir()
    verify(zoo, "rows")
    assert clean(zoo) == {*NAMES}
    (zoo / place / "empty/x.txt").write_text("x")
    assert clean(zoo) == {*NAMES} - {"rows"}


def test_a_change_of_code_or_of_a_library_is_one_of_all(
    zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = code.versions
    with monkeypatch.context() as patch:
        patch.setattr(code, "versions", lambda names: {**versions(names), "datasets": "0"})
        assert clean(zoo) == set()
    package = zoo.parent / "tinybuild"
    shutil.copytree(code.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "PACKAGE", package)
    assert clean(zoo) == set()
    verify(zoo)
    assert clean(zoo) == {*NAMES}
    unseen(package / "dataset/values.py")
    assert clean(zoo) == set()


def test_what_is_made_from_a_recipe_is_not_clean_when_that_was_built_again(zoo: Path) -> None:
    """Also where that recipe, by itself, has nothing to do any more."""
    edit(zoo, "light", "samples: 5", "samples: 4")
    assert doit(zoo, "light").code == 0
    verify(zoo, "light")
    assert clean(zoo) == {"light", "rows"}
    assert "dataset:copied" in doit(zoo).ran


def test_what_is_too_young_to_be_sure_is_not_kept(built: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(built, tmp_path / "zoo"))
    verify(root, later=0)
    assert clean(root) == set()
    assert not (root / "build" / FILE).exists()


def test_what_happens_while_it_is_verified_is_seen_next_time(zoo: Path) -> None:
    (zoo / "build" / FILE).unlink()
    here = Session(zoo)
    here.clean.begun += 10**10
    for one in here.zoo.tasks_of("rows"):
        assert not here.builder.reasons(one)
    unseen(zoo / "build/rows/dataset/README.md")
    unseen(zoo / "recipes/rows.yaml")
    here.settle("rows")
    here.close()
    assert clean(zoo) == set()


def test_doit_keeps_what_it_finds_out(built: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(built, tmp_path / "zoo"))
    time.sleep(2.1)
    assert doit(root).ran == set()
    assert clean(root) == {*NAMES}


# --- doit says the same ---------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("rows",), ("copied", "rows"), ("list",), ("why", "copied")])
def test_doit_says_what_it_says_without_a_record(zoo: Path, words: tuple[str, ...]) -> None:
    known = doit(zoo, *words)
    (zoo / "build" / FILE).unlink()
    asked = doit(zoo, *words)
    assert (known.code, known.out, known.err) == (asked.code, asked.out, asked.err)
    assert known.code == 0


def test_nothing_is_read_where_nothing_is_to_do(zoo: Path) -> None:
    names = [str(zoo / "build" / name) for name in (".recipes.json", ".digests.json")]
    for name in names:  # a memo keeps only what has been as it is for two seconds
        Path(name).unlink(missing_ok=True)
    result = run(zoo, [sys.executable, "-X", "importtime", "-m", "doit"])
    assert (result.code, result.out) == (0, "3 recipes are up to date\n")
    imported = {line.rpartition("|")[2].strip() for line in result.err.splitlines()}
    assert "tinybuild.engine.clean" in imported
    assert imported.isdisjoint(("tinybuild.engine.plan", "tinybuild.workers", "tinybuild.source"))
    assert not any(map(os.path.exists, names))


def test_only_what_is_not_clean_is_asked(zoo: Path) -> None:
    edit(zoo, "light", "rows only", "rows, only")
    result = doit(zoo)
    assert result.ran == {"pack:light", "pack:copied"}
    rows = json.loads((zoo / "build/run.json").read_text())["recipes"]
    assert [(row["recipe"], row["outcome"]) for row in rows] == [
        ("copied", "built"),
        ("light", "built"),
        ("rows", "up to date"),
    ]
    assert rows[2]["bytes"] > 1000


def test_all_stages_are_there_for_whoever_asks_for_them(zoo: Path) -> None:
    assert doit(zoo, "-a", "light").ran == {"dataset:light", "validate:light", "pack:light"}
    verify(zoo)
    assert doit(zoo, "dataset:light").code == 0
    (zoo / "dodo.py").write_text(
        DODO + "def task_mine():\n    return {'actions': ['echo'], 'task_dep': ['pack:light']}\n"
    )
    assert doit(zoo, "mine").code == 0
    assert doit(zoo, "nobody").code == 1


def test_a_recipe_that_another_breaks_is_told(zoo: Path) -> None:
    publish = "publish: {dataset_repo: o/n}\n"
    (zoo / "recipes/light.yaml").write_text(LIGHT + publish)
    assert doit(zoo).code == 0
    verify(zoo)
    (zoo / "recipes/again.yaml").write_text(LIGHT + publish)
    result = doit(zoo, "light")
    assert result.code == 1
    assert "is published to o/n, too" in result.out


def test_bundles_without_a_recipe_are_told(zoo: Path) -> None:
    (zoo / "recipes/rows.yaml").unlink()
    assert doit(zoo).code == 0  # the zoo is read, and the record is of what is left
    verify(zoo)
    result = doit(zoo)
    assert "1 bundle has no recipe: rows" in result.out
