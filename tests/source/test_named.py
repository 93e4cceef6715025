"""What a source's config names on the Hub is fetched with it, and locked as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import faults
from kit.files import contents
from kit.hub import Hub, connected
from kit.stage import MakeJob

from tinybuild import named, source
from tinybuild.source.pins import taken

TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"
DETR = {"model_type": "detr", "backbone": "org/resnet", "use_timm_backbone": False}
RESNET = json.dumps({"model_type": "resnet"}).encode()
WEIGHTS = b"weights that nobody asks for"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, TOKEN) as server:
        server.repo("org/detr").commit({"config.json": json.dumps(DETR).encode()})
        part = server.repo("org/resnet")
        part.commit({"config.json": RESNET, "tokenizer.json": b"{}", "model.safetensors": WEIGHTS})
        part.told = {"cardData": {"license": "mit", "language": ["en", "de"]}}
        yield server


def fetch(
    job: MakeJob, wish: Mapping[str, Any], locks: Mapping[str, Any] | None = None
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The fetched files, and the pins."""
    made = job({"wishes": {"source": wish}, "base": "recipes", "locks": locks or {}})
    facts: Any = source.fetch(made)
    return contents(made.out), facts["pins"]


def test_the_config_alone_is_fetched_and_pinned(job: MakeJob, hub: Hub) -> None:
    files, pins = fetch(job, {"hub": "org/detr"})
    assert files == {
        "source/config.json": json.dumps(DETR).encode(),
        "source.backbone/config.json": RESNET,
    }
    assert pins["source.backbone"]["wish"] == {"hub": "org/resnet"}
    assert pins["source.backbone"]["commit"] == hub.repo("org/resnet").refs["main"]
    assert pins["source.backbone"]["license"] == "mit"
    assert pins["source.backbone"]["language"] == "en, de"
    assert [*pins["source.backbone"]["files"]] == ["config.json"]
    assert not hub.asked("safetensors")
    assert not hub.asked("tokenizer.json")


def test_a_pin_holds_it_at_its_commit(job: MakeJob, hub: Hub) -> None:
    _, pins = fetch(job, {"hub": "org/detr"})
    hub.repo("org/resnet").commit({"config.json": b'{"model_type": "bit"}'})
    hub.log.clear()
    files, again = fetch(job, {"hub": "org/detr"}, pins)
    assert files["source.backbone/config.json"] == RESNET
    assert again == pins
    assert not hub.log  # the cache has it
    # A pin of another repository than the config names is not held.
    other = {**pins["source.backbone"], "wish": {"hub": "org/another"}}
    files, again = fetch(job, {"hub": "org/detr"}, {**pins, "source.backbone": other})
    assert files["source.backbone/config.json"] == b'{"model_type": "bit"}'
    assert again["source.backbone"]["wish"] == {"hub": "org/resnet"}


def test_a_folder_may_name_one_too(job: MakeJob, hub: Hub, tmp_path: Path) -> None:
    within = {"model_type": "maskformer", "decoder_config": DETR}
    folder = tmp_path / "recipes" / "local"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(within))
    wish = source.Wish(slot="source", kind="path", data={"path": "local"}, base=folder.parent)
    (part,) = source.parts(wish)
    assert (part.slot, part.text()) == ("source.decoder_config.backbone", "org/resnet")
    made = job({"wishes": {"source": wish.data}, "base": "recipes", "locks": {}}, root=tmp_path)
    pins: Any = source.fetch(made)["pins"]
    assert [*pins] == ["source", "source.decoder_config.backbone"]
    assert (made.out / "source.decoder_config.backbone/config.json").read_bytes() == RESNET


def test_the_refusal_says_who_names_it(job: MakeJob, hub: Hub) -> None:
    del hub.repos["org/resnet"]
    refusal = faults.refused(fetch, job, {"hub": "org/detr"})
    assert "the Hub has no model org/resnet that you may see" in refusal.what
    assert "the source's config.json names it (backbone)" in refusal.what
    hub.repo("org/resnet").commit({"README.md": b"-"})
    refusal = faults.refused(fetch, job, {"hub": "org/detr"})
    assert "org/resnet at main holds no config" in refusal.what


@pytest.mark.parametrize(
    "config",
    [
        {"backbone": "resnet50"},  # timm's
        {"backbone": "org/resnet", "backbone_config": {"model_type": "resnet"}},
        {"model_type": "timm_backbone", "backbone": "org/resnet"},
        {"backbone": "../resnet"},
        {"backbone": "org/../resnet"},
        {"backbone": ["org/resnet"]},
        {"../x": {"backbone": "org/resnet"}},
    ],
)
def test_what_names_nothing(config: dict[str, Any]) -> None:
    assert named.parts(config) == {}


def test_many_are_not_fetched(job: MakeJob, hub: Hub) -> None:
    config = {f"part_{n}": DETR for n in range(20)}
    hub.repo("org/detr").commit({"config.json": json.dumps(config).encode()})
    refusal = faults.refused(fetch, job, {"hub": "org/detr"})
    assert "names 20 parts; at most 8 are fetched" in refusal.what
    assert not hub.asked("org/resnet")


CLASSES = b'{"0": {"name": "wall", "isthing": 0}, "1": {"name": "cat", "isthing": 1}}'
SEES = {"repo_path": "org/classes", "class_info_file": "of/ade.json", "num_text": 4}


@pytest.mark.parametrize("noun", ["model", "dataset"])
def test_a_file_that_a_processor_names(job: MakeJob, hub: Hub, noun: str) -> None:
    """Of a dataset where there is one, as the class looks; that alone, and at its commit."""
    place = {"model": hub.repo, "dataset": hub.dataset}[noun]("org/classes")
    place.commit({"of/ade.json": CLASSES, "config.json": b"{}", "rows.parquet": WEIGHTS})
    detr = hub.repo("org/detr")
    detr.commit({"config.json": b"{}", "preprocessor_config.json": json.dumps(SEES).encode()})
    files, pins = fetch(job, {"hub": "org/detr"})
    slot = "source.class_info_file"
    assert [name for name in files if name.startswith("source.")] == [f"{slot}/of/ade.json"]
    assert files[f"{slot}/of/ade.json"] == CLASSES
    assert pins[slot]["wish"] == {"hub": "org/classes", "file": "of/ade.json"}
    assert (pins[slot]["type"], pins[slot]["commit"]) == (noun, place.refs["main"])
    assert not hub.asked("parquet")
    place.commit({"of/ade.json": b"{}"})
    hub.log.clear()
    assert fetch(job, {"hub": "org/detr"}, pins) == (files, pins)
    assert not hub.log  # the cache has it
    # One that is not there is refused, and said who names it.
    place.commit({})
    refusal = faults.refused(fetch, job, {"hub": "org/detr"})
    assert "org/classes at main holds no of/ade.json" in refusal.what
    assert "the source's preprocessor_config.json names it (class_info_file)" in refusal.what
    del hub.repos[f"{'datasets/' if noun == 'dataset' else ''}org/classes"]
    refusal = faults.refused(fetch, job, {"hub": "org/detr"})
    assert "the Hub has no model org/classes that you may see" in refusal.what


@pytest.mark.parametrize(
    "told",
    [
        {"repo_path": None},
        {"repo_path": "/etc"},
        {"repo_path": "org/../classes"},
        {"class_info_file": "../../passwd.json"},
        {"class_info_file": "/etc/passwd.json"},
        {"class_info_file": "weights.bin"},
        {"class_info_file": ".hidden.json"},
        {"class_info_file": ["ade.json"]},
    ],
)
def test_what_a_processor_may_not_name(told: dict[str, Any]) -> None:
    assert named.beside(SEES) == {"class_info_file": ("org/classes", "of/ade.json")}
    assert named.beside({**SEES, **told}) == {}


def test_a_part_of_a_processor_may_name_one(tmp_path: Path) -> None:
    path = tmp_path / "processor_config.json"
    path.write_text(json.dumps({"image_processor": SEES, "processor_class": "OneFormerProcessor"}))
    part = named.Part(repo="org/classes", file="of/ade.json", by=path.name)
    assert named.read({path.name: path}) == {"image_processor.class_info_file": part}
    path.write_text("[")
    assert named.read({path.name: path}) == {}


def test_a_lock_may_name_no_more_than_the_config() -> None:
    wish = source.Wish(slot="source.backbone", kind="hub", data={"hub": "a/b"}, base=Path())
    assert taken(wish, "config.json")
    assert not any(taken(wish, name) for name in ("tokenizer.json", "a/config.json", "x.jinja"))
    data = {"hub": "a/b", "file": "c.json"}
    wish = source.Wish(slot="source.class_info_file", kind="hub", data=data, base=Path())
    assert [name for name in ("c.json", "config.json", "c.bin") if taken(wish, name)] == ["c.json"]
    wish = source.Wish(slot="source.x", kind="hub", data={**data, "file": "w.bin"}, base=Path())
    assert not taken(wish, "w.bin")
