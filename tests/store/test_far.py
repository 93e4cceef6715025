"""A store behind the one on this machine: brought when it is needed, sent when it is made."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tinybuild.engine import stored
from tinybuild.engine.receipts import Receipt, State
from tinybuild.engine.stored import Stored
from tinybuild.errors import Fault
from tinybuild.files import tree
from tinybuild.store.far import DAY, Asked, Far, Sweeping, pull, push, swept
from tinybuild.store.folder import Folder
from tinybuild.store.kept import Kept
from tinybuild.store.place import Place
from tinybuild.store.sweep import Bounds, Swept, oldest
from tinybuild.workers import Pool

STATE = State(settings={}, seed=0, inputs={}, upstream={}, code="c", versions={})
BUCKETS = itertools.count()  # all servers of a process have the same ones
TEXTS = {"a.txt": "one", "b/c.txt": "two", "d.txt": "one"}


@contextlib.contextmanager
def bucket() -> Iterator[str]:
    """The URL of a folder in a bucket of a server that speaks S3, on this machine."""
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    import fsspec

    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    with pytest.MonkeyPatch.context() as patch:
        host, port = running.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()  # of another test's server
        name = f"tiny-{next(BUCKETS)}"
        fsspec.filesystem("s3").mkdir(name)
        try:
            yield f"s3://{name}/zoo"
        finally:
            running.stop()


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield (tmp_path / "far").as_uri()
        return
    with bucket() as place:
        yield place


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """A piece of work, in tmp_path/made."""
    for name, text in TEXTS.items():
        path = tmp_path / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return stored.kept("x", STATE, Receipt(files=tree(tmp_path / "made"), facts={"rows": 3}))


def sent(tmp_path: Path, url: str, kept: Kept, name: str = "near") -> None:
    near = Folder(tmp_path / name)
    near.keep(kept, {blob.sha256: tmp_path / "made" / n for n, blob in kept.files.items()})
    push(Asked(url=url, key=kept.key, folder=tmp_path / name, writes=True))


def brought(tmp_path: Path, url: str, kept: Kept, name: str, *, writes: bool = True) -> str:
    return pull(Asked(url=url, key=kept.key, folder=tmp_path / name, writes=writes))


def test_what_is_sent_is_brought(tmp_path: Path, url: str, kept: Kept) -> None:
    assert brought(tmp_path, url, kept, "other") == "missing"
    sent(tmp_path, url, kept)
    sent(tmp_path, url, kept)  # again: it is there
    assert brought(tmp_path, url, kept, "other") == "there"
    other = Folder(tmp_path / "other")
    assert other.find(kept.key) == kept
    (tmp_path / "out").mkdir()
    assert other.take(kept, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "made")


@pytest.mark.parametrize("where", ["a file", "the entry"])
def test_what_is_poisoned_there_is_not_brought_and_is_replaced(
    tmp_path: Path, url: str, kept: Kept, where: str
) -> None:
    sent(tmp_path, url, kept)
    far = Far(url)
    place = far.blob(kept.files["b/c.txt"].sha256) if where == "a file" else far.entry(kept.key)
    far.files.pipe_file(place, b"owt")
    assert brought(tmp_path, url, kept, "other", writes=False) == "damaged"
    assert far.files.exists(place)  # it is only read
    assert brought(tmp_path, url, kept, "other") == "damaged"
    assert not far.files.exists(place)
    assert Folder(tmp_path / "other").find(kept.key) is None
    sent(tmp_path, url, kept)
    assert brought(tmp_path, url, kept, "other") == "there"


def test_half_of_a_file_is_sent_again(tmp_path: Path, url: str, kept: Kept) -> None:
    far = Far(url)
    far.put(b"on", far.blob(kept.files["a.txt"].sha256))  # its writer was killed
    sent(tmp_path, url, kept)
    assert brought(tmp_path, url, kept, "other") == "there"


def test_a_builder_uses_both(tmp_path: Path, url: str, kept: Kept) -> None:
    pool, said = Pool(), list[str]()
    try:
        for name, writes in (("reader", False), ("writer", True), ("reader", False)):
            place = Place(folder=tmp_path / name, far=url, writes=writes)
            store = Stored(place, pool)
            (tmp_path / "out" / name).mkdir(parents=True, exist_ok=True)
            found = store.take(kept.key, tmp_path / "out" / name, said.append)
            if name == "writer":
                store.keep(kept, tmp_path / "made", said.append)
        assert found is not None
        assert found.files == tree(tmp_path / "made") == tree(tmp_path / "out/reader")
        assert said == []
    finally:
        pool.stop()


def test_a_place_that_cannot_be_is_said(tmp_path: Path, kept: Kept) -> None:
    with pytest.raises(Fault, match="no store can be at nowhere://"):
        brought(tmp_path, "nowhere://a/b", kept, "near")


def test_a_far_store_that_is_away_leaves_the_near_one(tmp_path: Path, kept: Kept) -> None:
    pool, said = Pool(), list[str]()
    try:
        store = Stored(Place(folder=tmp_path / "near", far="nowhere://user:secret@host/b"), pool)
        assert store.take(kept.key, tmp_path, said.append) is None
        store.keep(kept, tmp_path / "made", said.append)
        (tmp_path / "out").mkdir()
        assert store.take(kept.key, tmp_path / "out", said.append) is not None
        assert len(said) == 1
        assert said[0].startswith(
            "the store at nowhere://host/b is not used from here on: no store can be at nowhere://"
        )
        assert "secret" not in said[0]
    finally:
        pool.stop()


def test_the_longest_unused_go_there_too(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file that two entries name the last one keeps it; what is taken is in use again."""
    keys = list[str]()
    for seed, text in enumerate(("one", "two")):
        (tmp_path / "made").mkdir(exist_ok=True)
        for name, held in (("own", text * 10), ("shared", "same")):
            (tmp_path / "made" / name).write_text(held)
        receipt = Receipt(files=tree(tmp_path / "made"), facts={})
        kept = stored.kept("x", replace(STATE, seed=seed), receipt)
        sent(tmp_path, url, kept)
        keys.append(kept.key)
    far = Far(url)
    first = far.files.modified(far.entry(keys[0]))
    later = time.time() + 2 * DAY
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: later)
        time.sleep(1.1)  # a bucket tells whole seconds
        assert pull(Asked(url=url, key=keys[0], folder=tmp_path / "other", writes=False)) == "there"
        assert far.files.modified(far.entry(keys[0])) == first
        assert pull(Asked(url=url, key=keys[0], folder=tmp_path / "other", writes=True)) == "there"
    asked = Sweeping(url=url, bounds=Bounds(size=34), now=later, dry=True)
    assert [one.key for one in oldest(Far(url).held())] == keys[::-1]
    would = Swept(entries=1, bytes=30, left=1, left_bytes=34)
    assert swept(asked) == would
    assert len(oldest(Far(url).held())) == 2
    soon = replace(asked, now=time.time(), dry=False)  # what a writer may be about to name stays
    assert swept(soon) == replace(would, bytes=0)
    assert swept(replace(asked, dry=False)) == replace(would, entries=0)
    assert [one.key for one in oldest(Far(url).held())] == keys[:1]
    assert pull(Asked(url=url, key=keys[0], folder=tmp_path / "third", writes=True)) == "there"
    roots = replace(asked, dry=False, bounds=Bounds(size=0, roots=(keys[0],)))
    assert swept(roots) == Swept(entries=0, bytes=0, left=1, left_bytes=34)
    assert swept(replace(asked, dry=False, bounds=Bounds(size=0))).bytes == 34
    assert swept(asked) == Swept(entries=0, bytes=0, left=0, left_bytes=0)
