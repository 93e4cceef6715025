"""Folders that may not be written to: what is said, and what a build leaves once they may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kit import rights, zoo
from kit.zoo import LIGHT, Result, edit, make, snapshot

from tinybuild import files

FOLDERS = ("build/rows", "dist", "dist/rows")  # of others, test_state.py
REFUSED = "you may not write there"


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a build leaves after the edit."""
    root = make(tmp_path_factory.mktemp("wanted") / "zoo", rows=LIGHT)
    edit(root, "rows", "samples: 5", "samples: 6")
    assert zoo.doit(root).code == 0
    return snapshot(root / "dist")


def kept_out(root: Path, folder: str, *words: str) -> Result:
    """A command that may not write to a folder of the zoo."""
    with rights.closed(root / folder):
        return zoo.alone(root, rights.without([*zoo.command()[:2], *words]))


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_build_says_where_and_goes_on_once_it_may(
    tmp_path: Path, wanted: dict[str, bytes], folder: str
) -> None:
    root = make(tmp_path / "zoo", rows=LIGHT)
    assert zoo.doit(root).code == 0
    edit(root, "rows", "samples: 5", "samples: 6")
    done = kept_out(root, folder, "doit")
    if done.code == 0:  # it replaced the folder
        assert folder == "dist/rows"
    else:
        assert done.code == 1
        hint = f"hint: `ls -ld {folder}/` says whose it is, and who may"
        assert f"{folder}/: {REFUSED}\n  {hint}\n" in done.out + done.err
    assert "Traceback" not in done.out + done.err
    assert zoo.doit(root).code == 0
    assert snapshot(root / "dist") == wanted


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("build", ("clean", "rows")),
        ("recipes", ("new", "llama")),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_command_says_where(tmp_path: Path, folder: str, words: tuple[str, ...]) -> None:
    root = make(tmp_path / "zoo", rows=LIGHT)
    assert zoo.doit(root).code == 0
    done = kept_out(root, folder, "tinybuild", *words)
    assert (done.code, done.err.splitlines()[0]) == (1, f"{folder}/: {REFUSED}")


@pytest.mark.parametrize("remove", [files.remove, lambda path: files.put(fresh(path), path)])
def test_what_protects_itself_goes_all_the_same(
    tmp_path: Path, remove: Callable[[Path], None]
) -> None:
    """Its owner may; a bundle that was put aside and could not be removed stopped all builds."""
    place = tmp_path / "bundle"
    (place / "data/deep").mkdir(parents=True)
    (place / "data/deep/a").write_text("a")
    (place / "out").symlink_to(tmp_path)
    for folder in (place / "data/deep", place / "data", place):
        folder.chmod(0o500)
    before = tmp_path.stat().st_mode
    with rights.held():
        remove(place)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["bundle"])
    assert tmp_path.stat().st_mode == before


def fresh(place: Path) -> Path:
    made = place.with_name("made")
    made.mkdir()
    return made
