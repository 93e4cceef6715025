"""A store in a folder: entries come complete, and what was damaged is never taken."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from tinybuild.files import sha256
from tinybuild.store import folder
from tinybuild.store.folder import Damaged, Folder
from tinybuild.store.kept import Blob, Kept, read

KEY = "ab" * 32


def made(where: Path, **files: str) -> tuple[Kept, dict[str, Path]]:
    """Files in a folder, as a piece of work that could be kept."""
    blobs, places = {}, {}
    for name, text in files.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        blobs[name] = Blob(sha256=sha256(path), size=path.stat().st_size)
        places[blobs[name].sha256] = path
    return Kept(version=1, key=KEY, files=blobs, facts={"rows": 3}), places


def taken(store: Folder, out: Path) -> dict[str, str] | None:
    """What a key gives: {file: text}; None where there is nothing."""
    out.mkdir(parents=True)
    kept = store.find(KEY)
    if kept is None or not store.take(kept, out):
        assert [*out.iterdir()] == []
        return None
    return {p.relative_to(out).as_posix(): p.read_text() for p in out.rglob("*") if p.is_file()}


def test_what_is_kept_is_taken_and_is_a_copy(tmp_path: Path) -> None:
    store = Folder(tmp_path / "store")
    kept, places = made(tmp_path / "made", **{"a.txt": "one", "b/c.txt": "two", "d.txt": "one"})
    assert store.keep(kept, places)
    assert taken(store, tmp_path / "first") == {"a.txt": "one", "b/c.txt": "two", "d.txt": "one"}
    assert len([*(tmp_path / "store/v1/files").rglob("*")]) == 4  # two files in two folders
    held = store.blob(kept.files["a.txt"].sha256)
    assert stat.S_IMODE(held.stat().st_mode) == 0o444
    for name in ("made", "first"):  # neither side is a door to the store
        assert not (tmp_path / name / "a.txt").samefile(held)
        (tmp_path / name / "a.txt").write_text("edited")
    assert taken(store, tmp_path / "second") == {"a.txt": "one", "b/c.txt": "two", "d.txt": "one"}


def test_a_clone_of_the_file_system_is_taken_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def clone(target: int, request: int, source: int) -> int:
        asked.append(request)
        os.write(target, os.read(source, 100))
        return 0

    monkeypatch.setattr(folder.fcntl, "ioctl", clone)
    monkeypatch.setattr(folder.shutil, "copyfile", None)
    kept, places = made(tmp_path / "made", a="one")
    assert Folder(tmp_path / "store").keep(kept, places)
    assert taken(Folder(tmp_path / "store"), tmp_path / "out") == {"a": "one"}
    assert set(asked) == {0x40049409}


@pytest.mark.parametrize("how", ["other bytes", "shorter", "a link", "a folder"])
def test_a_poisoned_file_is_noticed_and_replaced(tmp_path: Path, how: str) -> None:
    store = Folder(tmp_path / "store")
    kept, places = made(tmp_path / "made", a="one", b="two")
    store.keep(kept, places)
    held = store.blob(kept.files["b"].sha256)
    held.unlink()
    if how == "a folder":
        held.mkdir()
    elif how == "a link":
        held.symlink_to(tmp_path / "made" / "a")
    else:
        held.write_text("owt" if how == "other bytes" else "t")
    with pytest.raises(Damaged):
        taken(store, tmp_path / "out")
    assert [*(tmp_path / "out").iterdir()] == []  # the good file neither
    assert store.find(KEY) is None
    store.keep(kept, places)
    assert taken(store, tmp_path / "again") == {"a": "one", "b": "two"}


def test_a_poisoned_entry_is_noticed_and_replaced(tmp_path: Path) -> None:
    store = Folder(tmp_path / "store")
    kept, places = made(tmp_path / "made", a="one")
    edited = [kept.text().replace(*edit) for edit in ((KEY, "cd" * 32), ("3}", "NaN}"))]
    edited.append(kept.text().replace("3}", '"\\ud800"}'))
    for text in ("", "{", "[]", "null", '{"version": 1}', *edited):
        store.keep(kept, places)
        store.entry(KEY).write_text(text)
        with pytest.raises(Damaged):
            store.find(KEY)
        assert not store.entry(KEY).exists()
    store.keep(kept, places)
    assert store.find(KEY) == kept


@pytest.mark.parametrize(
    "name", ["../a", "/a", "b/../../a", "", ".", "./a", "b//a", "b\\a", "b/", "a\0"]
)
def test_an_entry_leads_nowhere_else(name: str) -> None:
    blob = {"sha256": "0" * 64, "size": 1}
    text = json.dumps({"version": 1, "key": KEY, "files": {name: blob}, "facts": {}})
    assert read(text.encode(), KEY) is None
    assert read(text.replace(json.dumps(name), '"b/a"').encode(), KEY) is not None
    bad = text.replace(json.dumps(name), '"b/a"').replace("0" * 64, "../" * 21 + "a")
    assert read(bad.encode(), KEY) is None


def test_a_file_that_is_gone_is_a_miss(tmp_path: Path) -> None:
    store = Folder(tmp_path / "store")
    kept, places = made(tmp_path / "made", a="one", b="two")
    store.keep(kept, places)
    store.blob(kept.files["b"].sha256).unlink()
    assert taken(store, tmp_path / "out") is None
    assert not store.entry(KEY).exists()


def test_what_was_edited_meanwhile_is_not_kept(tmp_path: Path) -> None:
    store = Folder(tmp_path / "store")
    kept, places = made(tmp_path / "made", a="one")
    (tmp_path / "made/a").write_text("edited")
    assert not store.keep(kept, places)
    assert store.find(KEY) is None
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_a_store_that_may_not_be_written_forgets_nothing(tmp_path: Path) -> None:
    kept, places = made(tmp_path / "made", a="one")
    Folder(tmp_path / "store").keep(kept, places)
    store = Folder(tmp_path / "store", writes=False)
    store.entry(KEY).write_text("poison")
    with pytest.raises(Damaged):
        store.find(KEY)
    assert store.entry(KEY).read_text() == "poison"
    with store.making(KEY, pytest.fail) as waited:  # there is no lock to be had
        assert not waited
    assert not (tmp_path / "store/v1/making").exists()


def _write(root: Path, source: Path, rounds: int) -> None:
    store = Folder(root)
    kept, places = made(source, **{f"f{n}": f"{n}" * 2000 for n in range(20)})
    for _ in range(rounds):
        for blob in kept.files.values():
            store.blob(blob.sha256).unlink(missing_ok=True)
        store.entry(KEY).unlink(missing_ok=True)
        store.keep(kept, places)


def test_writers_that_are_killed_leave_a_whole_entry_or_none(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    store = Folder(tmp_path / "store")
    (tmp_path / "here").mkdir()
    for number in range(6):
        two = [
            context.Process(
                target=_write, args=(tmp_path / "store", tmp_path / f"made-{writer}", 1000)
            )
            for writer in range(2)
        ]
        for process in two:
            process.start()
        time.sleep(0.05 + 0.01 * number)
        for process in two:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        found = taken(store, tmp_path / f"out-{number}")
        assert found is None or len(found) == 20
    _write(tmp_path / "store", tmp_path / "made", 1)
    assert len(taken(store, tmp_path / "out") or ()) == 20


def test_one_of_those_who_want_the_same_makes_it(tmp_path: Path) -> None:
    store, said = Folder(tmp_path / "store"), list[str]()
    context = multiprocessing.get_context("fork")
    begun, done = context.Event(), context.Event()

    def other() -> None:
        with store.making(KEY, lambda: None):
            begun.set()
            done.wait(20)

    process = context.Process(target=other)
    process.start()
    assert begun.wait(20)
    with store.making(KEY, lambda: (said.append("waits"), done.set())[0]) as waited:
        assert waited
    process.join()
    assert said == ["waits"]
