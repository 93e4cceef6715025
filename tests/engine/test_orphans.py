"""What is left of recipes that were deleted or renamed: named by every doit, and removed."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
from kit.zoo import LIGHT, doit, make

from tinybuild.engine.orphans import Orphan, clean, orphans
from tinybuild.engine.plan import Zoo, load
from tinybuild.files import Memo
from tinybuild.recipe import Cache


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("zoo") / "zoo", a=LIGHT, b=LIGHT.replace("5", "6"))
    assert doit(root).code == 0
    return root


@pytest.fixture
def zoo(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "zoo")


def read(root: Path) -> Zoo:
    return load(root, Memo(), Cache(root / "none", Memo()))


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_zoo_without_leftovers_has_no_orphans(zoo: Path) -> None:
    assert orphans(read(zoo)) == ()
    assert "no recipe" not in doit(zoo).out
    (zoo / "recipes/a.yaml").write_text("version: 1\nsummary: x\nnonsense: 1\n")
    assert orphans(read(zoo)) == ()  # a broken recipe is one that will be mended
    (zoo / "zoo.yaml").write_text("version: 2\n")  # then no recipe can be read
    said = doit(zoo)
    assert said.code == 1
    assert "zoo.yaml:1:1: version must be 1" in said.out
    assert "orphans" not in said.out


def test_a_renamed_recipe_leaves_an_orphan(zoo: Path) -> None:
    (zoo / "recipes/a.yaml").rename(zoo / "recipes/c.yaml")
    (found,) = orphans(read(zoo))
    assert found == Orphan(name="a", bundle=True, now="c")
    result = doit(zoo)
    assert result.code == 0
    assert (
        "1 bundle has no recipe: a (renamed to c)\n  hint: `tinybuild clean --orphans`"
        in result.out
    )
    kept = {name for name in files(zoo / "dist") if name.startswith(("b", "c"))}
    assert clean(zoo, found) == ()
    assert files(zoo / "dist") == kept
    assert not (zoo / "build/a").exists()
    assert orphans(read(zoo)) == ()
    assert doit(zoo).ran == set()


def test_clean_removes_orphans_and_nothing_else(zoo: Path) -> None:
    (zoo / "recipes/a.yaml").unlink()
    kept = {name for name in files(zoo / "dist") if name.startswith("b")}
    assert "would remove what is left of a" in doit(zoo, "clean", "--orphans", "--dry-run").out
    assert doit(zoo, "clean", "--orphans", "b").code == 1
    assert files(zoo / "dist") > kept
    (zoo / "dist/a/mine.txt").write_text("a note")
    result = doit(zoo, "clean", "--orphans")
    assert (result.code, result.out) == (
        0,
        "removed what is left of a\n  dist/a/mine.txt stays: no build wrote it\n",
    )
    assert files(zoo / "dist") == {*kept, "a/mine.txt"}
    assert doit(zoo, "clean", "--orphans").out == "every bundle has its recipe\n"


def test_only_what_a_build_wrote_is_removed(zoo: Path) -> None:
    (zoo / "recipes/a.yaml").unlink()
    (zoo / "dist/a/mine.txt").write_text("a note")
    (zoo / "dist/other").mkdir()
    (zoo / "dist/other/weights.bin").write_text("not ours")
    (zoo / "dist/other.tar.gz").write_text("not ours")
    (zoo / "build/scratch").mkdir()
    (zoo / "build/scratch/x").write_text("not ours")
    (found,) = orphans(read(zoo))
    assert clean(zoo, found) == ("dist/a/mine.txt",)
    assert {n for n in files(zoo / "dist") if not n.startswith("b")} == {
        *("a/mine.txt", "other/weights.bin", "other.tar.gz")
    }
    assert (zoo / "build/scratch/x").exists()
    assert orphans(read(zoo)) == ()


def test_sums_that_lead_elsewhere_remove_nothing_there(zoo: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("precious")
    shutil.rmtree(zoo / "build")
    (zoo / "recipes/a.yaml").unlink()
    sums = zoo / "dist/a/SHA256SUMS"
    lines = ("../../../outside/x", f"{outside}/x", "../b/README.md", "link/x")
    (zoo / "dist/a/link").symlink_to(outside)
    sums.write_text(sums.read_text() + "".join(f"{'0' * 64}  {name}\n" for name in lines))
    (found,) = orphans(read(zoo))
    clean(zoo, found)
    assert (outside / "x").read_text() == "precious"
    assert (zoo / "dist/b/README.md").exists()
    assert files(zoo / "dist/a") == set()


def test_a_linked_bundle_is_left_alone(zoo: Path, tmp_path: Path) -> None:
    (zoo / "recipes/a.yaml").unlink()
    shutil.move(zoo / "dist/a", tmp_path / "a")
    (zoo / "dist/a").symlink_to(tmp_path / "a")
    before = files(tmp_path / "a")
    for found in orphans(read(zoo)):
        clean(zoo, found)
    assert files(tmp_path / "a") == before


def test_what_only_build_or_only_dist_holds(zoo: Path) -> None:
    for name in ("a", "b"):
        (zoo / f"recipes/{name}.yaml").unlink()
    shutil.rmtree(zoo / "build/a")
    shutil.rmtree(zoo / "dist/b")
    (zoo / "dist/b.tar.gz").unlink()
    first, second = orphans(read(zoo))
    assert (first.name, first.bundle, second.name, second.bundle) == ("a", True, "b", False)
    assert clean(zoo, first) == clean(zoo, second) == ()
    assert not (zoo / "dist").exists()
    assert [path.name for path in (zoo / "build").iterdir() if path.is_dir()] == []


def test_an_archive_alone_is_one(zoo: Path) -> None:
    """Its bundle and its papers are gone; who lists dist/ would still publish it."""
    (zoo / "recipes/a.yaml").unlink()
    for left in ("dist/a", "build/a"):
        shutil.rmtree(zoo / left)
    for name, text in (("other", b"not an archive"), ("cut", gzip.compress(b"a" * 9)[:-4])):
        (zoo / f"dist/{name}.tar.gz").write_bytes(text)
    (found,) = orphans(read(zoo))
    assert (found.name, found.bundle) == ("a", True)
    assert clean(zoo, found) == ()
    assert {n for n in files(zoo / "dist") if not n.startswith("b")} == {
        *("other.tar.gz", "cut.tar.gz")
    }
