"""`doit outdated`, `doit update` and locks that must hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import zoo
from kit.hub import Hub, connected, serve

from tinybuild import wire, workers
from tinybuild.cli.command import Answer
from tinybuild.cli.commands import COMMANDS
from tinybuild.cli.session import Session
from tinybuild.errors import Fault

TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"
ROWS = b'{"text": "one"}\n{"text": "two"}\n{"text": "three"}\n'
DATASET = "version: 1\nsummary: rows\ndataset: {source: {hub: a/rows}, samples: 2}\n"
LINES = b'{"text": "zero"}\n' + ROWS  # one more


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, TOKEN) as server:
        server.dataset("a/rows").commit({"train.jsonl": ROWS})
        yield server


def call(function: str, argument: object, *of_a_process: object) -> object:
    """What a worker answers, in this process."""
    return json.loads(json.dumps(wire.dump(workers.call(function, argument))))


class Zoo:
    """A zoo whose commands run in this process, and in one session each."""

    def __init__(self, root: Path, **recipes: str):
        self.root = zoo.make(root / "zoo", **recipes)

    @property
    def here(self) -> Session:
        here = Session(self.root)
        here.pool.call = call  # type: ignore[method-assign]
        return here

    def do(self, name: str, *words: str, **options: str) -> tuple[str, Answer]:
        """The lines of a command, and its answer."""
        command, lines = COMMANDS[name], list[str]()
        given = {**dict.fromkeys(command.options, ""), **options}
        steps = command.do(self.here, words, given)
        while True:
            try:
                lines.append(next(steps))
            except StopIteration as end:
                return "\n".join(lines), end.value

    def said(self, name: str, *words: str, code: int = 0, **options: str) -> str:
        text, answer = self.do(name, *words, **options)
        assert answer.code == code, text
        assert TOKEN not in text + json.dumps(answer.data)
        return text

    def build(self, name: str) -> list[str]:
        """The tasks that ran."""
        here, ran = self.here, list[str]()
        for task in here.zoo.tasks_of(name):
            if here.builder.reasons(task):
                here.builder.perform(task, ran.append)
                ran.append(task.name)
        return ran

    def refused(self, name: str) -> str:
        """Why a build of a recipe is refused."""
        with pytest.raises(Fault) as caught:
            self.build(name)
        return str(caught.value)

    def lock(self, name: str) -> Path:
        return self.root / "recipes" / f"{name}.lock.json"

    def pins(self, name: str) -> Mapping[str, Any]:
        pins: Mapping[str, Any] = json.loads(self.lock(name).read_text())["pins"]
        return pins


def test_a_broken_recipe_leaves_the_others(hub: Hub, tmp_path: Path) -> None:
    """A schedule goes on with them, and names the one."""
    here = Zoo(tmp_path, x=DATASET, y="version: 1\nsummary: y\ndatset: {samples: 2}\n", z=DATASET)
    here.said("update", "x", "z", code=3)
    hub.dataset("a/rows").commit({"train.jsonl": LINES})
    text, answer = here.do("outdated")
    assert answer.code == 1
    assert "hub a/rows at main (x.dataset, z.dataset)" in text
    assert "recipes/y.yaml (y): cannot be known" in text
    assert "datset" in text
    rows: Any = answer.data
    states = {row["recipe"]: row["state"] for row in rows["sources"]}
    assert states == {"x": "moved", "y": "refused", "z": "moved"}
    assert here.said("outdated", "x", code=3)


def test_an_update_goes_on(hub: Hub, tmp_path: Path) -> None:
    """What is broken, or names what is not there, keeps nobody else from being pinned."""
    gone = DATASET.replace("a/rows", "a/gone")
    broken = "version: 1\nsummary: y\ndatset: {samples: 2}\n"
    here = Zoo(tmp_path, a=gone, x=DATASET, y=broken, z=DATASET)
    text, answer = here.do("update")
    assert answer.code == 1
    assert "recipes/a.yaml (a): cannot be known" in text
    assert "the Hub has no dataset a/gone" in text
    assert "recipes/y.yaml (y): cannot be known" in text
    assert "wrote recipes/x.lock.json\nwrote recipes/z.lock.json" in text
    assert [*here.pins("x")] == [*here.pins("z")] == ["dataset"]
    assert not here.lock("a").exists()
    data: Any = answer.data
    assert data["wrote"] == ["recipes/x.lock.json", "recipes/z.lock.json"]
    refused = [one["recipe"] for one in data["sources"] if one["state"] == "refused"]
    assert refused == ["y", "a"]
    text, answer = here.do("update", "y")
    assert (answer.code, "datset" in text) == (1, True)


def test_a_month_of_a_dataset(hub: Hub, tmp_path: Path) -> None:
    """Nothing moved; rows came; update; what it names is what is built."""
    here = Zoo(tmp_path, x=DATASET, y=DATASET)
    assert "not locked yet" in here.said("outdated", "x", code=3)
    here.said("update", code=3)
    first = here.pins("x")["dataset"]["commit"]
    assert here.build("x") == ["fetch:x", "dataset:x", "validate:x", "pack:x"]
    assert here.pins("x")["dataset"]["commit"] == first  # the build held it
    before = zoo.snapshot(here.root)
    hub.log.clear()
    assert here.said("outdated") == "nothing moved"
    assert len(hub.log) == 1  # two recipes, one repository
    assert here.said("update") == "nothing moved"
    assert here.said("update", "x") == "nothing moved"
    assert zoo.snapshot(here.root) == before

    second = hub.dataset("a/rows").commit({"train.jsonl": LINES})
    said = here.said("outdated", code=3)
    assert f"hub a/rows at main (x.dataset, y.dataset): {first[:12]} -> {second[:12]}" in said
    assert "  train: 3 -> 4 rows" in said
    assert zoo.snapshot(here.root) == before
    data: Any = here.do("outdated", "x")[1].data
    assert [(one["recipe"], one["slot"], one["state"]) for one in data["sources"]] == [
        ("x", "dataset", "moved")
    ]
    said = here.said("update", "x", only="a/rows", code=3)
    assert "wrote recipes/x.lock.json" in said
    assert "to be rebuilt: fetch:x, dataset:x, validate:x, pack:x" in said
    assert here.pins("x")["dataset"]["commit"] == second
    assert here.pins("y")["dataset"]["commit"] == first
    assert here.build("x") == ["fetch:x", "dataset:x", "validate:x", "pack:x"]
    assert here.said("outdated", "x") == "nothing moved"


def test_only_what_is_read_is_rebuilt(hub: Hub, tmp_path: Path) -> None:
    here = Zoo(tmp_path, x=DATASET)
    here.said("update", code=3)
    here.build("x")
    hub.dataset("a/rows").commit({"train.jsonl": ROWS, "model.bin": b"other"})
    said = here.said("update", code=3)
    assert "only the commit moved" in said
    assert "to be rebuilt: fetch:x, pack:x" in said
    assert here.build("x") == ["fetch:x", "pack:x"]


def test_a_config_that_moved_reaches_tokenizer_and_model(hub: Hub, tmp_path: Path) -> None:
    """Recipes over one source share its pin; each file is fetched once."""
    recipe = "version: 1\nsummary: s\nsource: {hub: a/b}\nmodel: {}\ntokenizer: {vocab_size: 9}\n"
    here = Zoo(tmp_path, **{f"r{n}": recipe for n in range(5)})
    files = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}"}
    hub.repo("a/b").commit(files)
    here.said("update", code=3)
    assert len(hub.asked("GET /a/b/resolve")) == 2
    assert len({here.lock(f"r{n}").read_bytes() for n in range(5)}) == 1
    hub.repo("a/b").commit({**files, "config.json": b'{"model_type": "gpt2"}'})
    data: Any = here.do("update", only="source")[1].data
    assert data["wrote"] == [f"recipes/r{n}.lock.json" for n in range(5)]
    assert "model:r4" in data["rebuild"]
    assert data["sources"][0]["settings"] == [
        {
            "part": "config",
            "file": "config.json",
            "key": "model_type",
            "before": "llama",
            "after": "gpt2",
        }
    ]


@pytest.mark.parametrize("name", ["CI", "TINYBUILD_LOCKED"])
def test_locks_that_must_hold(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each reason is named with the command that mends it, which does; nothing is asked for."""
    monkeypatch.setenv(name, "true")
    here = Zoo(tmp_path, x=DATASET)
    said = here.refused("x")
    assert "x.lock.json: there is no lock for dataset (hub a/rows)" in said
    assert "hint: tinybuild update x writes it anew" in said
    assert hub.log == []
    assert not here.lock("x").exists()
    here.said("update", "x", code=3)
    here.build("x")
    zoo.edit(here.root, "x", "{hub: a/rows}", "{hub: a/rows, revision: v1}")
    hub.log.clear()
    assert "dataset.revision is 'v1' in the recipe; the lock has none" in here.refused("x")
    assert hub.log == []
    zoo.edit(here.root, "x", ", revision: v1", "")
    zoo.edit(here.root, "x", "samples: 2", "samples: 1")  # less than the lock holds
    locked = here.lock("x").read_bytes()
    hub.dataset("a/rows").commit({"train.jsonl": LINES})
    here.build("x")
    assert here.build("x") == []
    assert here.lock("x").read_bytes() == locked


def test_a_lock_that_lacks_what_is_read_now(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.dataset("a/rows").commit({f"{split}.jsonl": ROWS for split in ("train", "test")})
    here = Zoo(tmp_path, x=DATASET)
    here.said("update", code=3)
    locked = here.lock("x").read_bytes()
    zoo.edit(here.root, "x", "{hub: a/rows}", "{hub: a/rows, split: test}")
    with monkeypatch.context() as patch:
        patch.setenv("CI", "true")
        said = here.refused("x")
        assert "x.lock.json: the lock lacks what is read of hub a/rows now: test.jsonl" in said
        assert here.lock("x").read_bytes() == locked
        hub.dataset("a/rows").commit({"test.jsonl": LINES})
        assert "train.jsonl" in here.said("update", "x", code=3)  # it moved, and is read anew
        assert "test.jsonl" in here.pins("x")["dataset"]["files"]


def test_other_parts_of_the_same_commit(hub: Hub, tmp_path: Path) -> None:
    hub.dataset("a/rows").commit({f"{split}.jsonl": ROWS for split in ("train", "test")})
    here = Zoo(tmp_path, x=DATASET)
    here.said("update", code=3)
    zoo.edit(here.root, "x", "{hub: a/rows}", "{hub: a/rows, split: test}")
    assert "wrote recipes/x.lock.json" in here.said("update", "x", code=3)
    assert "test.jsonl" in here.pins("x")["dataset"]["files"]
    assert here.said("update", "x") == "nothing moved"


def test_a_lock_that_cannot_be_read_is_written_anew(hub: Hub, tmp_path: Path) -> None:
    here = Zoo(tmp_path, x=DATASET)
    here.lock("x").write_text("<<<<<<< HEAD")
    (broken,) = here.here.zoo.broken
    assert "the lock is not JSON" in str(broken.fault)
    assert "hint: tinybuild update x writes it anew" in str(broken.fault)
    here.said("update", "x", code=3)
    assert set(here.pins("x")) == {"dataset"}
    assert here.here.zoo.broken == ()


def test_what_cannot_be_known(hub: Hub, tmp_path: Path) -> None:
    here = Zoo(tmp_path, x=DATASET)
    here.said("update", code=3)
    locked = here.lock("x").read_bytes()
    del hub.repos["datasets/a/rows"]
    for command in ("outdated", "update"):
        said = here.said(command, code=1)
        assert "hub a/rows at main (x.dataset): cannot be known" in said
        assert "the Hub has no dataset a/rows that you may see" in said
    assert here.lock("x").read_bytes() == locked
    with pytest.raises(Fault, match="--only source: none of the recipes has it"):
        here.do("update", only="source")


def test_a_slot_that_the_recipe_no_longer_has(hub: Hub, tmp_path: Path) -> None:
    here = Zoo(tmp_path, x="version: 1\nsummary: rows\ndataset: {samples: 2}\n")
    files = {"config.json": {"sha256": "0" * 64, "size": 1}}
    pin = {"wish": {"hub": "a/b"}, "commit": "1" * 40, "files": files}
    here.lock("x").write_text(json.dumps({"version": 1, "pins": {"source": pin}}))
    said = here.said("update", code=3)
    assert "the lock pins source (hub a/b), which the recipe does not have" in said
    assert not here.lock("x").exists()


def test_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen on this machine; a version that brings the same bytes is only a version."""
    files = "{tokenizer.model: mistral_common/data/mistral_instruct_tokenizer_240323.model.v3}"
    source = f"source: {{package: mistral-common, files: {files}}}\n"
    here = Zoo(tmp_path, x=f"version: 1\nsummary: s\n{source}tokenizer: {{method: keep}}\n")
    here.said("update", code=3)
    assert here.said("outdated") == "nothing moved"
    locked = here.lock("x").read_text()
    pin = here.pins("x")["source"]
    here.lock("x").write_text(locked.replace(pin["version"], "0.1"))
    moved = f"0.1 -> {pin['version']}"
    said = here.said("outdated", code=3)
    assert f"package mistral-common (x): only the version moved, {moved}" in said
    sha = pin["files"]["tokenizer.model"]["sha256"]
    here.lock("x").write_text(locked.replace(sha, "0" * 64))
    assert "  other bytes: tokenizer.model" in here.said("outdated", code=3)
    here.said("update", code=3)
    assert here.lock("x").read_text() == locked


@pytest.mark.slow
def test_the_exit_codes_of_doit(tmp_path: Path) -> None:
    """As scripts see them, in processes of their own."""
    with serve() as server:
        server.dataset("a/rows").commit({"train.jsonl": ROWS})
        root = zoo.make(tmp_path / "zoo", x=DATASET)
        environment = {
            "HF_ENDPOINT": server.url,
            "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "home"),
        }
        assert zoo.doit(root, "outdated", **environment).code == 3
        done = zoo.doit(root, "x", **environment, CI="true")
        assert (done.code, "tinybuild update x writes it anew" in done.out + done.err) == (1, True)
        done = zoo.doit(root, "build", "--locked", "x", **environment)
        assert (done.code, "tinybuild update x writes it anew" in done.out + done.err) == (1, True)
        done = zoo.doit(root, "update", "--json", **environment, CI="true")
        assert (done.code, json.loads(done.out)["wrote"]) == (3, ["recipes/x.lock.json"])
        assert zoo.doit(root, "x", **environment, CI="true").code == 0
        done = zoo.doit(root, "outdated", **environment)
        assert (done.code, done.out) == (0, "nothing moved\n")
