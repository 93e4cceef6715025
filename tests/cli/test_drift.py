"""`doit outdated`, `doit update` and locks that must hold, from a zoo to its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import zoo
from kit.hub import Hub, serve

TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"
ROWS = b'{"text": "one"}\n{"text": "two"}\n{"text": "three"}\n'
DATASET = "version: 1\nsummary: rows\ndataset: {source: {hub: a/rows}, samples: 2}\n"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as server:
        server.dataset("a/rows").commit({"train.jsonl": ROWS})
        yield server


class Zoo:
    """A zoo whose Hub is the loopback's."""

    def __init__(self, root: Path, hub: Hub, **recipes: str):
        self.root, self.hub = zoo.make(root / "zoo", **recipes), hub
        self.environment = {
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(root / "home"),
        }

    def __call__(self, *words: str, code: int = 0, **env: str) -> str:
        self.hub.log.clear()
        done = zoo.doit(self.root, *words, **self.environment, **env)
        assert done.code == code, done.out + done.err
        assert TOKEN not in done.out + done.err
        return done.out + done.err

    def json(self, *words: str, code: int = 0) -> Any:
        out = zoo.doit(self.root, *words, "--json", **self.environment)
        assert out.code == code, out.out + out.err
        return json.loads(out.out)

    def lock(self, name: str) -> Path:
        return self.root / "recipes" / f"{name}.lock.json"

    def pins(self, name: str) -> Mapping[str, Any]:
        pins: Mapping[str, Any] = json.loads(self.lock(name).read_text())["pins"]
        return pins

    @property
    def files(self) -> Mapping[str, bytes]:
        return zoo.snapshot(self.root)


def test_a_month_of_a_dataset(hub: Hub, tmp_path: Path) -> None:
    """Nothing moved; rows came; update; only what depends on it is built."""
    here = Zoo(tmp_path, hub, x=DATASET, y=DATASET)
    assert "not locked yet" in here("outdated", "x", code=3)
    here("update", code=3)
    first = here.pins("x")["dataset"]["commit"]
    here("x", "y")
    assert here.pins("x")["dataset"]["commit"] == first  # the build held it
    before = here.files
    assert here("outdated").strip() == "nothing moved"
    assert len(hub.log) == 1  # two recipes, one repository
    assert here("update").strip() == "nothing moved"
    assert here.files == before

    second = hub.dataset("a/rows").commit({"train.jsonl": b'{"text": "zero"}\n' + ROWS})
    said = here("outdated", code=3)
    assert f"hub a/rows at main (x.dataset, y.dataset): {first[:12]} -> {second[:12]}" in said
    assert "  train: 3 -> 4 rows" in said
    assert here.files == before
    told = here.json("outdated", "x", code=3)
    assert [(one["recipe"], one["slot"], one["state"]) for one in told["sources"]] == [
        ("x", "dataset", "moved")
    ]
    said = here("update", "x", "--only", "a/rows", code=3)
    assert "  train: 3 -> 4 rows" in said
    assert "wrote recipes/x.lock.json" in said
    assert "to be rebuilt: fetch:x, dataset:x, validate:x, pack:x" in said
    assert here.pins("x")["dataset"]["commit"] == second
    assert here.pins("y")["dataset"]["commit"] == first
    assert "fetch:x" in here("why", "x")
    here("x")
    assert here("outdated", "x").strip() == "nothing moved"


def test_only_what_is_read_is_rebuilt(hub: Hub, tmp_path: Path) -> None:
    here = Zoo(tmp_path, hub, x=DATASET)
    here("update", code=3)
    here("x")
    hub.dataset("a/rows").commit({"train.jsonl": ROWS, "README.md": b"# words"})
    said = here("update", code=3)
    assert "only the commit moved" in said
    assert "to be rebuilt: fetch:x, pack:x" in said
    here("x")


def test_locks_that_must_hold(hub: Hub, tmp_path: Path) -> None:
    """Each reason is named with the command that mends it, which does; nothing is asked for."""
    here = Zoo(tmp_path, hub, x=DATASET)
    for environment in ({"CI": "true"}, {"TINYBUILD_LOCKED": "1"}):
        said = here("x", code=1, **environment)
        assert "x.lock.json: there is no lock for dataset (hub a/rows)" in said
        assert "hint: doit update x writes it anew" in said
        assert hub.log == []
        assert not here.lock("x").exists()
    here("update", "x", code=3, CI="true")
    here("x", CI="true")
    zoo.edit(here.root, "x", "{hub: a/rows}", "{hub: a/rows, revision: v1}")
    said = here("x", code=1, CI="true")
    assert "dataset.revision is 'v1' in the recipe; the lock has none" in said
    assert hub.log == []
    zoo.edit(here.root, "x", ", revision: v1", "")
    locked = here.lock("x").read_bytes()
    hub.dataset("a/rows").commit({"train.jsonl": b'{"text": "zero"}\n' + ROWS})
    here("-a", "x", CI="true")  # the locked commit
    assert here.lock("x").read_bytes() == locked


def test_a_lock_that_lacks_what_is_read_now(hub: Hub, tmp_path: Path) -> None:
    files = {f"{split}.jsonl": ROWS for split in ("train", "test")}
    hub.dataset("a/rows").commit(files)
    here = Zoo(tmp_path, hub, x=DATASET)
    here("update", code=3)
    locked = here.lock("x").read_bytes()
    zoo.edit(here.root, "x", "{hub: a/rows}", "{hub: a/rows, split: test}")
    said = here("x", code=1, CI="true")
    assert "x.lock.json: the lock lacks what is read of hub a/rows now: test.jsonl" in said
    assert here.lock("x").read_bytes() == locked
    here("update", "x", code=3)
    here("x", CI="true")


def test_a_lock_that_cannot_be_read_is_written_anew(hub: Hub, tmp_path: Path) -> None:
    here = Zoo(tmp_path, hub, x=DATASET)
    here.lock("x").write_text("<<<<<<< HEAD")
    said = here("x", code=1)
    assert "the lock is not JSON" in said
    assert "hint: doit update x writes it anew" in said
    here("update", "x", code=3)
    assert set(here.pins("x")) == {"dataset"}


def test_what_cannot_be_known(hub: Hub, tmp_path: Path) -> None:
    here = Zoo(tmp_path, hub, x=DATASET)
    here("update", code=3)
    locked = here.lock("x").read_bytes()
    del hub.repos["datasets/a/rows"]
    for command in ("outdated", "update"):
        said = here(command, code=1)
        assert "hub a/rows at main (x.dataset): cannot be known" in said
        assert "the Hub has no dataset a/rows that you may see" in said
    assert here.lock("x").read_bytes() == locked
    assert "--only source: none of the recipes has it" in here("update", "--only", "source", code=1)


def test_a_slot_that_the_recipe_no_longer_has(hub: Hub, tmp_path: Path) -> None:
    here = Zoo(tmp_path, hub, x="version: 1\nsummary: rows\ndataset: {samples: 2}\n")
    pin = {"wish": {"hub": "a/b"}, "commit": "1" * 40}
    pin["files"] = {"config.json": {"sha256": "0" * 64, "size": 1}}  # type: ignore[assignment]
    here.lock("x").write_text(json.dumps({"version": 1, "pins": {"source": pin}}))
    said = here("update", code=3)
    assert "the lock pins source (hub a/b), which the recipe does not have" in said
    assert not here.lock("x").exists()
