"""What moved upstream since a lock was written: one request a repository, and nothing written."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit.hub import Hub, connected
from kit.stage import MakeJob

from tinybuild import source, wire
from tinybuild.drift import Answers, Moved, Question, Questions, lines
from tinybuild.drift.upstream import ask

TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"
Files = Mapping[str, bytes]


def js(data: object) -> bytes:
    return json.dumps(data).encode()


CONFIG = {"model_type": "llama", "rope_theta": 10000.0, "rope_scaling": {"factor": 8.0}, "old": 1}
TOKENIZER = {
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": []},
    "added_tokens": [{"id": 3, "content": "<s>"}],
}
FILES = {
    "config.json": js(CONFIG),
    "tokenizer.json": js(TOKENIZER),
    "tokenizer_config.json": js({"chat_template": "{{ x }}\nbye", "model_max_length": 10}),
    "README.md": b"# one",
    "model.safetensors": b"W" * 1000,
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, TOKEN) as server:
        yield server


def question(job: MakeJob, wish: Mapping[str, Any], slot: str = "source") -> Question:
    """The pin that a fetch gives now."""
    settings: dict[str, Any] = {"wishes": {slot: wish}, "base": "recipes", "locks": {}}
    if slot == "dataset":
        wish = {"max_read": 10**9, **wish}
        settings["wishes"] = {slot: wish}
        settings["rows"] = {"source": wish, "samples": 3, "at_most": True}
    pin = source.fetch(job(settings))["pins"][slot]
    return Question(recipe="x", slot=slot, pin=pin)  # type: ignore[arg-type]


def told(hub: Hub, *questions: Question) -> tuple[Moved, ...]:
    """What a worker answers, over the wire; no token in it."""
    hub.log.clear()
    data = json.loads(json.dumps(wire.dump(ask(Questions(every=questions)))))
    assert TOKEN not in json.dumps(data)
    return wire.load(Answers, data).every


def only(hub: Hub, one: Question) -> Moved:
    (moved,) = told(hub, one)
    return moved


def said(*moved: Moved) -> str:
    return "\n".join(lines(moved))


def test_nothing_moved_costs_one_request(job: MakeJob, hub: Hub) -> None:
    hub.repo("a/b").commit(FILES)
    pinned = question(job, {"hub": "a/b"})
    moved = only(hub, pinned)
    assert (moved.state, moved.source, moved.revision) == ("same", "hub a/b", "main")
    assert moved.locked == moved.now
    assert hub.log == ["GET /api/models/a/b/revision/main"]
    assert said(moved) == ""


def test_fifty_recipes_over_one_source_cost_one_request(job: MakeJob, hub: Hub) -> None:
    hub.repo("a/b").commit(FILES)
    pinned = question(job, {"hub": "a/b"})
    many = [dataclasses.replace(pinned, recipe=f"r{n}") for n in range(50)]
    assert [moved.recipe for moved in told(hub, *many)] == [f"r{n}" for n in range(50)]
    assert len(hub.log) == 1
    hub.repo("a/b").commit({**FILES, "config.json": b"{}"})
    every = told(hub, *many)
    assert len(hub.log) < 8
    (head, *_) = said(*every).splitlines()
    assert head.startswith("hub a/b at main (r0, r1, ")
    assert " and 38 more): " in head


def test_config_keys_tokens_and_templates(job: MakeJob, hub: Hub) -> None:
    repo = hub.repo("a/b")
    repo.commit(FILES)
    pinned = question(job, {"hub": "a/b"})
    config = {"model_type": "llama", "rope_theta": 500000.0, "rope_scaling": {"factor": 8.0}}
    tokens = {"a": 0, "c": 1, "\x1b[2J": 2}
    repo.commit(
        {
            **FILES,
            "config.json": js({**config, "new": [1]}),
            "tokenizer.json": js({**TOKENIZER, "model": {**TOKENIZER["model"], "vocab": tokens}}),
            "tokenizer_config.json": js(
                {"chat_template": "{{ y }}\nbye\x1b[2J", "model_max_length": 10}
            ),
            "generation_config.json": js({"eos_token_id": 3}),
        }
    )
    moved = only(hub, pinned)
    assert moved.state == "moved"
    names = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
    assert moved.files == names
    text = said(moved)
    for line in (
        "  config.json: rope_theta: 10000.0 -> 500000.0",
        "  config.json: added new: [1]",
        "  config.json: removed old (was 1)",
        "  generation_config.json: added eos_token_id: 3",
        '  tokenizer.json: 1 added: "\\u001b[2J"; 1 removed: "b"; 1 with another id: "c"',
        "  chat template default:",
        "    -{{ x }}",
        "    +{{ y }}",
        "    +bye\\x1b[2J",
    ):
        assert line in text.splitlines(), text
    assert not moved.unread
    assert not hub.asked("safetensors")


def test_only_the_commit_moved(job: MakeJob, hub: Hub, tmp_path: Path) -> None:
    repo = hub.repo("a/b")
    repo.commit(FILES)
    pinned = question(job, {"hub": "a/b"})
    before = {path for path in tmp_path.rglob("*") if "cache" in path.parts}
    repo.commit({**FILES, "README.md": b"# two", "model.safetensors": b"V" * 1000})
    moved = only(hub, pinned)
    assert (moved.state, moved.files) == ("commit", ())
    assert "only the commit moved" in said(moved)
    assert len(hub.log) == 2
    assert not hub.asked("resolve")
    repo.commit({**FILES, "config.json": b"{}"})
    only(hub, pinned)
    assert {path for path in tmp_path.rglob("*") if "cache" in path.parts} == before


def test_licence_and_gating(job: MakeJob, hub: Hub) -> None:
    repo = hub.repo("a/b")
    repo.commit(FILES)
    repo.told = {"cardData": {"license": "mit"}}
    pinned = question(job, {"hub": "a/b"})
    assert {"license": "mit", "gated": "no"}.items() <= pinned.pin.items()
    card = {"license": "other", "license_name": "llama3"}
    repo.told = {"cardData": card, "gated": "manual"}
    moved = only(hub, pinned)
    assert moved.state == "moved"
    assert [wire.dump(fact) for fact in moved.facts] == [
        {"name": "license", "before": "mit", "after": "other (llama3)"},
        {"name": "gated", "before": "no", "after": "manual"},
    ]
    assert "still at" in said(moved)
    assert "  license: mit -> other (llama3)" in said(moved).splitlines()


def test_the_locked_commit_is_gone(
    job: MakeJob, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    repo = hub.repo("a/b")
    repo.commit(FILES)
    pinned = question(job, {"hub": "a/b"})
    repo.commits.clear()
    repo.commit({**FILES, "config.json": js({**CONFIG, "old": 2})})
    moved = only(hub, pinned)  # the cache of the Hub's client still has it
    assert moved.files == ("config.json",)
    assert "  config.json: old: 1 -> 2" in said(moved)
    assert "no longer has the locked commit" in said(moved)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another"))
    moved = only(hub, pinned)
    assert moved.files == ("config.json",)
    assert "what changed in config.json cannot be shown: the locked one is gone" in moved.unread


def test_what_cannot_be_known_is_said_and_the_others_are_told(job: MakeJob, hub: Hub) -> None:
    for name in ("a/gone", "a/b", "a/gated"):
        hub.repo(name).commit(FILES)
    gone, good, gated = (question(job, {"hub": n}) for n in ("a/gone", "a/b", "a/gated"))
    del hub.repos["a/gone"]
    hub.repo("a/gated").gated = True
    answers = told(hub, gone, good, gated)
    assert [moved.state for moved in answers] == ["refused", "same", "refused"]
    text = said(*answers)
    assert "hub a/gone at main (x): cannot be known" in text
    assert "the Hub has no model a/gone that you may see" in text
    assert "a/gated is gated" in text
    assert "hint: " in text


# --- datasets -------------------------------------------------------------------------------------


def parquet(count: int, **more: object) -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    columns = {"id": range(count), **{name: [value] * count for name, value in more.items()}}
    table = pyarrow.table({name: list(values) for name, values in columns.items()})
    pyarrow.parquet.write_table(table, file, row_group_size=2)
    return file.getvalue()


def test_rows_and_columns_by_the_footers(job: MakeJob, hub: Hub) -> None:
    repo = hub.dataset("a/rows")
    one, two = (f"data/train-0000{n}-of-00002.parquet" for n in range(2))
    repo.commit({one: parquet(10), two: parquet(20)})
    pinned = question(job, {"hub": "a/rows"}, "dataset")
    assert only(hub, pinned).state == "same"
    repo.commit({one: parquet(10), two: parquet(30, text="x")})
    moved = only(hub, pinned)
    assert (moved.state, moved.files) == ("moved", (two,))
    assert "  train: 30 -> 40 rows; added column text (string)" in said(moved).splitlines()
    repo.commit({one: parquet(10), two: parquet(20), "README.md": b"# words"})
    assert only(hub, pinned).state == "commit"


def test_rows_and_columns_by_the_card(job: MakeJob, hub: Hub) -> None:
    def card(count: int, dtype: str) -> bytes:
        return (
            f"---\ndataset_info:\n  features:\n  - name: id\n    dtype: {dtype}\n"
            f"  splits:\n  - name: train\n    num_examples: {count}\n---\n"
        ).encode()

    repo = hub.dataset("a/rows")
    repo.commit({"README.md": card(5, "int64"), "train.jsonl": b'{"id": 1}\n' * 5})
    pinned = question(job, {"hub": "a/rows"}, "dataset")
    repo.commit({"README.md": card(6, "int32"), "train.jsonl": b'{"id": 1}\n' * 6})
    text = said(only(hub, pinned)).splitlines()
    assert "  train: 5 -> 6 rows; column id: int64 -> int32" in text


@pytest.mark.parametrize(
    ("name", "files", "line"),
    [
        (
            "train.jsonl",
            (b'{"id": 1}\n' * 5, b'{"id": 1, "x": 2}\n' * 7),
            "  train: 5 -> 7 rows; added column x (json)",
        ),
        ("test.csv", (b"a,b\n1,2\n", b'a\n"1\n2"\n3\n'), "  test: 1 -> 2 rows; removed column b"),
        ("train.txt", (b"a\nb\n", b"a\nc\n"), "  the rows of train.txt were not counted"),
    ],
)
def test_rows_of_lines(
    job: MakeJob, hub: Hub, name: str, files: tuple[bytes, bytes], line: str
) -> None:
    repo = hub.dataset("a/rows")
    repo.commit({name: files[0]})
    split = name.partition(".")[0]
    pinned = question(job, {"hub": "a/rows", "split": split}, "dataset")
    repo.commit({name: files[1]})
    moved = only(hub, pinned)
    assert moved.files == (name,)
    assert line in said(moved).splitlines()
