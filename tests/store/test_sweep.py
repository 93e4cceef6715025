"""What goes from a store, and what stays in any case."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinybuild.files import sha256
from tinybuild.store.folder import Folder
from tinybuild.store.kept import Blob, Kept
from tinybuild.store.sweep import GRACE, Bounds, Near, Swept, oldest, sweep

NOW = 1_000_000_000.0
DAY = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    """Entries a, b, c of 10, 20 and 30 bytes and 5 that all share; unused for 3, 2 and 1 days."""
    store = Folder(tmp_path / "store")
    for number, key in enumerate("abc"):
        files, places = {}, {}
        for name, text in (("own", key * 10 * (number + 1)), ("shared", "12345")):
            path = tmp_path / name
            path.write_text(text)
            files[name] = Blob(sha256=sha256(path), size=len(text))
            places[files[name].sha256] = path
        store.keep(Kept(version=1, key=key * 64, files=files, facts={}), places)
        used = NOW - (3 - number) * DAY
        os.utime(store.entry(key * 64), (used, used))
    for path in store.root.glob("files/*/*"):
        os.utime(path, (NOW - 3 * DAY, NOW - 3 * DAY))
    return store


def keys(store: Folder) -> str:
    return "".join(one.key[0] for one in oldest(Near(store).held()))


def files(store: Folder) -> int:
    return len([*store.root.glob("files/*/*")])


@pytest.mark.parametrize(
    ("bounds", "left", "freed"),
    [
        (Bounds(), "abc", 0),
        (Bounds(age=1.5 * DAY), "c", 30),
        (Bounds(age=1.5 * DAY, roots=("a" * 64,)), "ac", 20),
        (Bounds(size=65), "abc", 0),
        (Bounds(size=64), "bc", 10),
        (Bounds(size=54), "c", 30),
        (Bounds(size=54, roots=("b" * 64,)), "b", 40),
        (Bounds(size=0), "", 65),
    ],
)
def test_the_longest_unused_go_first_and_roots_stay(
    store: Folder, bounds: Bounds, left: str, freed: int
) -> None:
    first = sweep(Near(store), bounds, NOW, dry=True)
    assert (keys(store), files(store)) == ("abc", 4)
    assert sweep(Near(store), bounds, NOW) == first
    assert first == Swept(entries=3 - len(left), bytes=freed, left=len(left), left_bytes=65 - freed)
    assert keys(store) == left
    assert files(store) == len(left) + bool(left)


def test_what_a_writer_is_about_to_name_stays(store: Folder) -> None:
    young, old = store.blob("d" * 64), store.blob("e" * 64)
    for path, age in ((young, GRACE - 1), (old, GRACE + 1)):
        path.parent.mkdir(exist_ok=True)
        for each in (path, path.with_name(f".new-{path.name[:5]}")):
            each.write_text("1234")
            os.utime(each, (NOW - age, NOW - age))
    assert sweep(Near(store), Bounds(), NOW).bytes == 8
    assert young.exists()
    assert not old.exists()
    assert len([*store.root.glob("files/*/.new-*")]) == 1


def test_locks_that_are_held_stay(store: Folder) -> None:
    with store.making("a" * 64, lambda: None), store.making("b" * 64, lambda: None):
        sweep(Near(store), Bounds(), NOW)
        assert len([*store.root.glob("making/.lock.*")]) == 2
    sweep(Near(store), Bounds(), NOW)
    assert [*store.root.glob("making/*")] == []
