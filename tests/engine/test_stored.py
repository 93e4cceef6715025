"""The store behind real builds: what is shared, what is restored, and what goes wrong with it."""

from __future__ import annotations

import dataclasses
import errno
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from kit import hub
from kit.zoo import FULL, LIGHT, command, doit, edit, environment, make, snapshot, tinybuild

from tinybuild.engine import stored
from tinybuild.engine.receipts import Receipt, State
from tinybuild.engine.stored import Stored
from tinybuild.paths import Data
from tinybuild.store.folder import Folder
from tinybuild.store.kept import Kept
from tinybuild.store.place import Place
from tinybuild.workers import Pool


def outcomes(root: Path) -> Mapping[str, str]:
    told = json.loads((root / "build/run.json").read_text())
    return {row["recipe"]: row["outcome"] for row in told["recipes"]}


def restored(root: Path) -> set[str]:
    """The tasks that a build says it had from the store."""
    notes = (root / "build").glob("*/.*.restored")
    return {f"{note.name[1:].removesuffix('.restored')}:{note.parent.name}" for note in notes}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a built zoo and the store that it filled; not to be changed."""
    top = tmp_path_factory.mktemp("filled")
    root = make(top / "zoo", rows=LIGHT, more=LIGHT)
    result = doit(root, "-n", "2", TINYBUILD_STORE=str(top / "store"))
    assert result.code == 0, result.out + result.err
    assert "2 built in " in result.out
    return top


@pytest.fixture
def top(filled: Path, tmp_path: Path) -> Path:
    """A clone of the zoo, where nothing was built, and a copy of the store."""
    shutil.copytree(filled / "store", tmp_path / "store")
    for name in ("recipes", "dodo.py"):
        copy = shutil.copytree if (filled / "zoo" / name).is_dir() else shutil.copy
        (tmp_path / "zoo").mkdir(exist_ok=True)
        copy(filled / "zoo" / name, tmp_path / "zoo" / name)
    return tmp_path


def shared(root: Path, stage: str, one: str, two: str) -> bool:
    """Whether two recipes have the same of a stage, which one of them had from the store."""
    receipts = [(root / f"build/{name}/{stage}/receipt.json").read_text() for name in (one, two)]
    from_store = {f"{stage}:{one}", f"{stage}:{two}"} & restored(root)
    return receipts[0] == receipts[1] and len(from_store) == 1


def test_recipes_that_ask_the_same_share_the_stage(filled: Path) -> None:
    """Whichever comes first makes it; what has the recipe's name in it is made for each."""
    assert shared(filled / "zoo", "dataset", "rows", "more")
    assert not {task for task in restored(filled / "zoo") if task.startswith("pack:")}
    assert outcomes(filled / "zoo") == {"more": "built", "rows": "built"}


@pytest.mark.slow
def test_three_shards_over_one_store_are_one_build(tmp_path: Path) -> None:
    """Each in a folder of its own, and a build after them has nothing to make."""
    rows = {f"r{n}": LIGHT.replace("samples: 5", f"samples: {n}") for n in range(4, 10)}
    one, store = make(tmp_path / "one", **rows), str(tmp_path / "store")
    assert doit(one).code == 0
    made = dict[str, bytes]()
    for number in range(1, 4):
        part = make(tmp_path / f"part-{number}", **rows)
        result = doit(part, TINYBUILD_SHARD=f"{number}/3", TINYBUILD_STORE=store)
        assert "2 built in " in result.out, result.out + result.err
        found = snapshot(part / "dist")
        assert not found.keys() & made.keys()
        made |= found
    assert made == snapshot(one / "dist")
    whole = make(tmp_path / "whole", **rows)
    result = doit(whole, TINYBUILD_STORE=store)
    assert "6 restored in " in result.out
    assert snapshot(whole) == snapshot(one)


@pytest.mark.slow
def test_a_tokenizer_is_made_once_and_a_model_is_the_recipes_own(tmp_path: Path) -> None:
    zoo, store = make(tmp_path / "zoo", one=FULL, two=FULL), str(tmp_path / "store")
    assert doit(zoo, "-n", "2", TINYBUILD_STORE=store).code == 0
    for stage in ("fetch", "dataset", "tokenizer"):
        assert shared(zoo, stage, "one", "two"), stage
    assert not {"model:one", "model:two"} & restored(zoo)  # the seed is made from the name
    other = make(tmp_path / "other", one=FULL, two=FULL)
    result = doit(other, TINYBUILD_STORE=store)
    assert "2 restored in " in result.out.splitlines()[-1]
    assert re.search(r"^tokenizer:one +[\d.]+ s  restored: \w+, 700 tokens$", result.out, re.M)
    assert snapshot(other) == snapshot(zoo)


def test_a_fresh_clone_is_restored_without_a_worker(top: Path, filled: Path) -> None:
    store = str(top / "store")
    result = doit(top / "zoo", "-n", "2", TINYBUILD_STORE=store)
    assert result.code == 0, result.out + result.err
    assert "2 restored in " in result.out.splitlines()[-1]
    assert re.search(r"^dataset:rows +[\d.]+ s  restored: 5 rows$", result.out, re.M)
    assert outcomes(top / "zoo") == {"more": "restored", "rows": "restored"}
    told = json.loads((top / "zoo/build/run.json").read_text())
    assert [row["restored"] for row in told["recipes"]] == [3, 3]
    assert snapshot(top / "zoo") == snapshot(filled / "zoo")  # receipts, provenance and reports too
    why = doit(top / "zoo", "why", "rows", TINYBUILD_STORE=store)
    assert "dataset:rows             is up to date, restored from the store\n" in why.out
    assert doit(top / "zoo", TINYBUILD_STORE=store).out == "2 recipes are up to date\n"
    # What is made again here is no longer from the store.
    result = doit(top / "zoo", "-a", "rows", TINYBUILD_STORE=store)
    assert outcomes(top / "zoo") == {"rows": "built"}, result.out
    assert not {task for task in restored(top / "zoo") if task.endswith(":rows")}
    assert snapshot(top / "zoo") == snapshot(filled / "zoo")


@pytest.mark.slow
def test_a_deleted_artefact_is_restored_and_an_edit_is_built(top: Path) -> None:
    zoo, store = top / "zoo", str(top / "store")
    doit(zoo, "rows", "more", TINYBUILD_STORE=store)
    shutil.rmtree(zoo / "build/rows/dataset")
    edit(zoo, "more", "samples: 5", "samples: 6")
    result = doit(zoo, "rows", "more", TINYBUILD_STORE=store)
    assert result.ran == {"dataset:rows", "dataset:more", "validate:more", "pack:more"}
    assert outcomes(zoo) == {"rows": "restored", "more": "built"}
    assert "1 built, 1 restored in " in result.out
    edit(zoo, "more", "samples: 6", "samples: 5")  # and back
    doit(zoo, "rows", "more", TINYBUILD_STORE=store)
    assert outcomes(zoo) == {"rows": "up to date", "more": "restored"}


def test_a_poisoned_store_costs_a_build_and_is_mended(top: Path, filled: Path) -> None:
    zoo, store = top / "zoo", top / "store"
    for path in store.glob("v1/files/*/*"):
        path.chmod(0o644)
        path.write_bytes(b"x" * path.stat().st_size)
    result = doit(zoo, "rows", "more", TINYBUILD_STORE=str(store))
    assert result.code == 0
    assert "dataset:rows: the store held something damaged: it is made anew" in result.out
    assert outcomes(zoo) == {"rows": "built", "more": "built"}
    for name in ("build/rows", "build/more", "dist"):
        there = snapshot(filled / "zoo" / name)
        assert snapshot(zoo / name).items() <= there.items()
    for name in ("build", "dist"):
        shutil.rmtree(zoo / name)
    doit(zoo, "rows", TINYBUILD_STORE=str(store))
    assert outcomes(zoo) == {"rows": "restored"}


def test_two_builds_at_once_over_one_store(top: Path, filled: Path) -> None:
    shutil.rmtree(top / "store")
    shutil.copytree(top / "zoo", top / "other")
    running = [
        subprocess.Popen(
            command("rows", "more"),
            cwd=top / name,
            env=environment(TINYBUILD_STORE=str(top / "store")),
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("zoo", "other")
    ]
    assert [process.wait(120) for process in running] == [0, 0]
    assert snapshot(top / "zoo") == snapshot(top / "other")
    assert snapshot(top / "zoo/dist").items() <= snapshot(filled / "zoo/dist").items()
    made = {"dataset:rows", "dataset:more"} - restored(top / "zoo")
    assert len(made) + len({"dataset:rows", "dataset:more"} - restored(top / "other")) == 1


def test_a_store_that_is_read_only_or_off_is_not_written(top: Path) -> None:
    zoo, store = top / "zoo", top / "store"
    edit(zoo, "more", "samples: 5", "samples: 6")
    before = snapshot(store)
    doit(zoo, "rows", "more", TINYBUILD_STORE=str(store), TINYBUILD_STORE_MODE="read")
    assert outcomes(zoo) == {"rows": "restored", "more": "built"}
    assert snapshot(store) == before
    shutil.rmtree(zoo / "build")
    doit(zoo, "rows", TINYBUILD_STORE="off")
    assert outcomes(zoo) == {"rows": "built"}
    result = doit(zoo, "rows", TINYBUILD_STORE_MODE="rad", TINYBUILD_STORE=str(store))
    assert result.code == 1
    assert "TINYBUILD_STORE_MODE: 'rad' is not a mode of the store\n  hint: set it to" in result.err


@pytest.mark.slow
def test_only_what_was_signed_off_is_taken(top: Path, filled: Path) -> None:
    zoo, store = top / "zoo", str(top / "store")
    told = tinybuild(filled / "zoo", "store", "sums", "rows", TINYBUILD_STORE=store).out
    assert [line.split()[2] for line in told.splitlines()] == [
        "dataset:rows",
        "validate:rows",
        "pack:rows",
    ]
    (zoo / "store.sums").write_text(told)
    sums = {"TINYBUILD_STORE": store, "TINYBUILD_STORE_SUMS": "store.sums"}
    doit(zoo, "rows", "more", **sums)
    assert outcomes(zoo) == {"rows": "restored", "more": "built"}
    # Somebody who may write to the store gives another answer, whole by itself.
    (_, key, _), folder = told.splitlines()[0].split(), Folder(top / "store")
    kept = folder.find(key)
    assert kept is not None
    other = dataclasses.replace(kept, facts={**kept.facts, "rows": 7})
    assert folder.keep(other, {})
    shutil.rmtree(zoo / "build")
    doit(zoo, "rows", **sums)
    assert outcomes(zoo) == {"rows": "built"}
    assert json.loads((zoo / "build/rows/dataset/receipt.json").read_text())["facts"]["rows"] == 5
    result = doit(zoo, "rows", TINYBUILD_STORE=store, TINYBUILD_STORE_SUMS="none.sums")
    assert result.code == 1
    assert "none.sums cannot be read (No such file or directory)" in result.err


ROWS = """\
version: 1
summary: rows of the Hub
dataset: {source: {hub: owner/rows}, samples: 2}
"""


def clone(root: Path, name: str) -> Path:
    """What is committed of a zoo: recipes and locks."""
    other = root.with_name(name)
    shutil.copytree(root / "recipes", other / "recipes")
    shutil.copy(root / "dodo.py", other)
    return other


@pytest.mark.slow
def test_a_locked_source_of_the_hub_is_restored_without_the_hub(tmp_path: Path) -> None:
    root, store = make(tmp_path / "zoo", a=ROWS), str(tmp_path / "store")
    away = {"HF_HOME": str(tmp_path / "none"), "HF_ENDPOINT": "http://hub.invalid"}
    with hub.serve() as server:
        server.dataset("owner/rows").commit({"data.jsonl": b'{"text": "a"}\n{"text": "b"}\n'})
        home = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": server.url}
        assert doit(root, TINYBUILD_STORE=store, HF_HUB_OFFLINE="0", **home).code == 0
    result = doit(clone(root, "locked"), TINYBUILD_STORE=store, CI="true", **away)
    assert "1 restored in " in result.out, result.out + result.err
    assert snapshot(tmp_path / "locked") == snapshot(root)
    # Without a lock nobody but the Hub knows what the wish stands for.
    unlocked = clone(root, "unlocked")
    (unlocked / "recipes/a.lock.json").unlink()
    assert doit(unlocked, TINYBUILD_STORE=store, HF_HUB_OFFLINE="1", **away).code == 1


@pytest.mark.slow
@pytest.mark.parametrize("told", [{"gated": "auto"}, {"private": True}], ids=str)
def test_a_store_gives_nothing_that_the_hub_would_not_give_to_all(
    tmp_path: Path, told: dict[str, str | bool]
) -> None:
    root, store = make(tmp_path / "zoo", a=ROWS), tmp_path / "store"
    with hub.serve() as server:
        rows = server.dataset("owner/rows")
        rows.commit({"data.jsonl": b'{"text": "a"}\n{"text": "b"}\n'})
        rows.told = told
        home = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": server.url}
        result = doit(root, TINYBUILD_STORE=str(store), HF_HUB_OFFLINE="0", **home)
    assert result.code == 0, result.out + result.err
    assert not [path for path in store.rglob("*") if path.is_file() and "making" not in path.parts]
    lock = json.loads((root / "recipes/a.lock.json").read_text())
    assert lock["pins"]["dataset"]["gated"] == told.get("gated", "private")


STATE = State(settings={"a": 1}, seed=0, inputs={}, upstream={}, code="c", versions={"torch": "2"})


def test_all_that_decides_the_bytes_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [
        dataclasses.replace(STATE, settings={"a": 2}),
        dataclasses.replace(STATE, seed=1),
        dataclasses.replace(STATE, inputs={"fetch": "x"}),
        dataclasses.replace(STATE, upstream={"source": {"a.json": "x"}}),
        dataclasses.replace(STATE, code="d"),
        dataclasses.replace(STATE, versions={"torch": "3"}),
    ]
    keys = {stored.key("model", state) for state in (STATE, *others)}
    keys |= {stored.key("validate", STATE)}
    monkeypatch.setattr(stored.platform, "machine", lambda: "another")
    assert len(keys | {stored.key("model", STATE)}) == 9


HUB: Data = {"wish": {"hub": "a/b"}, "gated": "no"}


@pytest.mark.parametrize(
    ("pin", "shut"),
    [
        (HUB, False),
        ({**HUB, "gated": "auto"}, True),
        ({**HUB, "gated": "manual"}, True),
        ({**HUB, "gated": "private"}, True),
        ({"wish": {"hub": "a/b"}}, True),  # a lock of an older tinybuild
        ({"wish": {"transformers": "llama"}}, False),
        ({"wish": {"recipe": "open"}}, False),
        ({"wish": {"recipe": "gated"}}, True),
        ({"wish": {"recipe": "above"}}, True),
    ],
)
def test_nothing_that_was_made_of_a_gated_source_is_kept(pin: Data, shut: bool) -> None:
    recipes: Mapping[str, Data] = {
        "open": {"source": HUB},
        "gated": {"source": HUB, "dataset": {**HUB, "gated": "auto"}},
        "above": {"source": {"wish": {"recipe": "gated"}}},
    }
    assert stored.closed({"source": pin}, lambda name: recipes[name]) == shut


def full(self: Folder, kept: Kept, files: Mapping[str, Path]) -> bool:
    raise OSError(errno.ENOSPC, "No space left on device", "somewhere")


def broken(self: Folder, key: str) -> None:
    raise OSError(errno.EIO, "Input/output error", "somewhere")


@pytest.mark.parametrize(
    ("method", "instead", "why"),
    [("keep", full, "the disk is full"), ("find", broken, "Input/output error")],
)
def test_a_store_that_fails_is_done_without(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    instead: Callable[..., object],
    why: str,
) -> None:
    monkeypatch.setattr(Folder, method, instead)
    store, said = Stored(Place(folder=tmp_path / "store"), Pool()), list[str]()
    kept = stored.kept("model", STATE, Receipt(files={}, facts={}))
    for _ in range(2):
        assert store.take(kept.key, tmp_path, said.append) is None
        store.keep(kept, tmp_path, said.append)
    assert len(said) == 1
    assert said[0].startswith("the store is not used from here on: ")
    assert why in said[0]
