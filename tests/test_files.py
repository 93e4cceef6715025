"""Digests, atomic writes, locks and archives."""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybuild import files
from tinybuild.errors import Fault
from tinybuild.files import Memo

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_canonical_json_is_one_text_for_one_value(value: object) -> None:
    if any(abs(f) == float("inf") for f in _floats(value)):
        with pytest.raises(ValueError, match="not JSON compliant"):
            files.canonical(value)
        return
    text = files.canonical(value)
    assert json.loads(text) == value
    assert files.canonical(json.loads(text)) == text
    if isinstance(value, dict):
        assert files.digest(dict(reversed(value.items()))) == files.digest(value)


def _floats(value: object) -> list[float]:
    if isinstance(value, float):
        return [value]
    if isinstance(value, list):
        return [f for item in value for f in _floats(item)]
    if isinstance(value, dict):
        return [f for item in value.values() for f in _floats(item)]
    return []


def aged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock of the memo run ahead, so that files are old enough to be remembered."""
    monkeypatch.setattr(files, "TOO_YOUNG", -(10**15))


def test_memo_reads_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aged(tmp_path, monkeypatch)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    memo = Memo(tmp_path / "memo.json")
    assert memo.sha256(str(path)) == hashlib.sha256(b"one").hexdigest()
    memo.save()
    Memo(tmp_path / "nothing.json").save()
    assert not (tmp_path / "nothing.json").exists()
    (saved := tmp_path / "memo.json").rename(tmp_path / "kept.json")
    memo.save()
    assert not saved.exists()  # there was nothing new to write
    (tmp_path / "kept.json").rename(saved)
    read: list[str] = []
    monkeypatch.setattr(files, "sha256", lambda p: read.append(str(p)) or "new")
    again = Memo(tmp_path / "memo.json")
    assert again.sha256(str(path)) == hashlib.sha256(b"one").hexdigest()
    assert read == []
    times = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # only the ctime tells
    assert again.sha256(str(path)) == "new"


def test_memo_does_not_trust_young_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    memo = Memo()
    memo.sha256(str(path))
    assert memo.entries == {}


def test_memo_of_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "memo.json").write_text("[1")
    memo = Memo(tmp_path / "memo.json")
    assert memo.sha256(str(tmp_path)) is None
    assert memo.sha256(str(tmp_path / "nothing")) is None
    assert memo.sha256(str(tmp_path / "memo.json" / "below")) is None


def test_write_leaves_the_old_bytes_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    files.write(path, "old")
    assert path.stat().st_mode & 0o777 == 0o644  # whatever it was written as

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a", "a/../../b", "a\\b", "a\0b"])
def test_no_name_leads_out_of_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="leads out") as caught:
        files.inside(tmp_path, name)
    assert str(tmp_path) not in str(caught.value)


def test_no_link_leads_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to(tmp_path)
    with pytest.raises(Fault, match=r"^in: 'link/secret' leads out .* through a link") as caught:
        files.inside(tmp_path / "in", "link/secret")
    assert str(tmp_path) not in str(caught.value)
    assert files.inside(tmp_path / "in", "a/b") == tmp_path / "in/a/b"


@given(st.text(max_size=30))
def test_inside_is_inside(name: str) -> None:
    root = Path("/nowhere/at/all")
    try:
        path = files.inside(root, name)
    except Fault:
        return
    assert path.resolve().is_relative_to(root)


def test_tree_refuses_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    assert files.tree(tmp_path) == {
        "a": {"sha256": hashlib.sha256(b"a").hexdigest(), "size": 1},
    }
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(Fault, match="not a plain file"):
        files.tree(tmp_path)


def test_fresh_removes_leftovers_and_itself(tmp_path: Path) -> None:
    place = tmp_path / "stage"
    (tmp_path / ".stage.killed").mkdir()
    (tmp_path / ".other.killed").mkdir()
    with files.fresh(place) as folder:
        (folder / "a").write_text("a")
        assert not (tmp_path / ".stage.killed").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.killed"]
    with files.fresh(place) as folder:
        (folder / "a").write_text("new")
        files.put(folder, place)
    with files.fresh(place) as folder:
        (folder / "b").write_text("newer")
        (tmp_path / ".stage.restored").touch()
        files.put(folder, place)
    (tmp_path / ".stage.restored").unlink()  # a note on what was made: it was still there
    assert [p.name for p in place.iterdir()] == ["b"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.killed", "stage"]
    with files.fresh(tmp_path / "a/b/stage") as folder:
        assert folder.stat().st_mode & 0o777 == 0o755  # others may read what becomes of it
        assert folder.parent == tmp_path / "a/b"


def test_an_interruption_leaves_no_fresh_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come when the folder is made and nobody has its name yet."""

    def made(**where: Any) -> str:
        make(**where)
        raise KeyboardInterrupt

    make = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", made)
    with pytest.raises(KeyboardInterrupt), files.fresh(tmp_path / "stage"):
        pytest.fail("the interruption was lost")
    assert not list(tmp_path.iterdir())


def test_a_lock_is_waited_for_and_given_back_by_a_killed_process(tmp_path: Path) -> None:
    place = tmp_path / "stage"
    code = (
        "import sys, time; from pathlib import Path; from tinybuild.files import locked\n"
        "with locked(Path(sys.argv[1]), lambda: None):\n"
        "    print('locked', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    begun = time.monotonic()
    with files.locked(place, process.kill) as waited:
        assert waited
        with (tmp_path / ".lock.stage").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is ours now
    assert time.monotonic() - begun < 30
    process.wait()
    process.stdout.close()
    with files.locked(place, pytest.fail) as waited:
        assert not waited
    assert (tmp_path / ".lock.stage").stat().st_mode & 0o111 == 0


def test_archives_are_equal_whatever_the_times_and_modes(tmp_path: Path) -> None:
    made = []
    for number, mode in ((1, 0o600), (2, 0o755)):
        folder = tmp_path / f"f{number}"
        (folder / "sub").mkdir(parents=True)
        for name in ("b", "sub/c", "a") if number == 1 else ("a", "sub/c", "b"):
            path = folder / name
            path.write_bytes(name.encode() * 1000)
            path.chmod(mode)
            os.utime(path, (number * 1e6, number * 1e6))
        target = tmp_path / f"{number}.tar.gz"
        made.append((files.archive(folder, target, "top"), target.read_bytes()))
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "1.tar.gz") as tar:
        names = tar.getnames()
        assert names == ["top", "top/a", "top/b", "top/sub", "top/sub/c"]
        assert all((m.uid, m.gid, m.mtime, m.uname) == (0, 0, 0, "") for m in tar.getmembers())
        assert {(m.isdir(), m.mode) for m in tar.getmembers()} == {(True, 0o755), (False, 0o644)}
    assert made[0][1][4:8] == bytes(4)  # no time in the header of gzip


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_expected_system_errors_are_faults(number: int) -> None:
    fault = files.explain(OSError(number, "x", "build/a"))
    assert fault is not None
    assert str(fault).startswith("build/a: ")
    assert "hint:" in str(fault)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_an_error_of_no_file_names_none(number: int, tmp_path: Path) -> None:
    """Who asks says what it was at: a task."""
    fault = files.explain(OSError(number, "x"), tmp_path)
    assert fault is not None
    assert fault.findings[0].where == ""
    assert "ls -ld ` " not in fault.findings[0].hint


def test_other_system_errors_are_bugs() -> None:
    assert files.explain(OSError(errno.EBADF, "x")) is None


def test_an_archive_says_the_digest_of_what_it_packs(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x").write_text("text")
    said = files.archive(tmp_path / "a", tmp_path / "a.tar.gz", "a")
    packed = gzip.decompress((tmp_path / "a.tar.gz").read_bytes())
    assert said == hashlib.sha256(packed).hexdigest()


def test_what_pack_lays_aside_goes_by_packs_own_lock(tmp_path: Path) -> None:
    """Another stage that nobody is at work on says nothing of it."""
    build, aside = tmp_path / "build/x", tmp_path / "dist/.x.old-1"
    for folder in (build, aside):
        folder.mkdir(parents=True)
    for stage in ("model", "pack"):
        (build / f".lock.{stage}").touch()
    with files.locked(build / "pack", lambda: None):
        files.sweep(tmp_path / "build", tmp_path / "dist")
        assert aside.exists()
    (build / ".lock.pack").touch()
    files.sweep(tmp_path / "build", tmp_path / "dist")
    assert not aside.exists()


def test_a_pointer_is_short(tmp_path: Path) -> None:
    for name, more, is_one in (("short", 0, True), ("long", files.LARGEST_POINTER, False)):
        (tmp_path / name).write_bytes(files.POINTS + b"1\n" + b"x" * more)
        assert files.is_pointer(tmp_path / name) is is_one


MEMORY = Path("/dev/shm")  # another file system than that of temporary folders


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="there is no file system in memory")
def test_what_was_made_is_put_on_another_disk(tmp_path: Path) -> None:
    """Over what stood there, and gone from where it was made."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as disk:
        if (there := Path(disk)).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("temporary folders are in memory too")
        for turn in ("old", "new"):
            (made := tmp_path / "made").mkdir()
            (made / turn).write_text(turn)
            (tmp_path / "made.tar.gz").write_text(turn)
            files.put(made, there / "dist/x")
            files.put(tmp_path / "made.tar.gz", there / "dist/x.tar.gz")
        assert sorted(p.name for p in (there / "dist").iterdir()) == ["x", "x.tar.gz"]
        assert [p.read_text() for p in (there / "dist/x").iterdir()] == ["new"]
        assert (there / "dist/x.tar.gz").read_text() == "new"
        assert not made.exists()


def test_a_copy_makes_the_folders_above_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "a").chmod(0o700)
    files.copy(tmp_path / "a", tmp_path / "b/c/d")
    files.copy(tmp_path / "a", tmp_path / "b/c/d")
    assert (tmp_path / "b/c/d").read_text() == "a"
    assert (tmp_path / "b/c/d").stat().st_mode & 0o100 == 0
