"""What the config of a source names on the Hub: outdated, update, locks that must hold, check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.test_drift import TOKEN, Zoo
from kit.hub import Hub, connected

from tinybuild.review.recipes import Reviewer

RECIPE = "version: 1\nsummary: a detector\nsource: {hub: org/detr}\nmodel: {}\n"
LOCAL = "version: 1\nsummary: a detector\nsource: {path: ../local}\nmodel: {}\n"


def detr(part: str) -> bytes:
    told = {"model_type": "detr", "backbone": part, "use_timm_backbone": False}
    return json.dumps(told).encode()


def resnet(*depths: int) -> bytes:
    return json.dumps({"model_type": "resnet", "depths": depths}).encode()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, TOKEN) as server:
        server.repo("org/detr").commit({"config.json": detr("org/resnet")})
        server.repo("org/resnet").commit({"config.json": resnet(3, 4, 6, 3)})
        server.repo("org/bit").commit({"config.json": b'{"model_type": "bit"}'})
        yield server


def fetched(here: Zoo, name: str) -> list[str]:
    """What the fetch of a recipe holds, and whether it is up to date after it."""
    session = here.here
    task = session.zoo.tasks[f"fetch:{name}"]
    session.builder.perform(task, lambda said: None)
    assert not here.here.builder.reasons(here.here.zoo.tasks[f"fetch:{name}"])
    folder = here.root / "build" / name / "fetch"
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))


def test_a_month_of_a_part(hub: Hub, tmp_path: Path) -> None:
    here = Zoo(tmp_path, x=RECIPE, y=RECIPE)
    here.said("update", code=3)
    assert [*here.pins("x")] == [*here.pins("y")] == ["source", "source.backbone"]
    assert fetched(here, "x") == ["source.backbone/config.json", "source/config.json"]
    before = here.pins("x")
    hub.log.clear()
    assert here.said("outdated") == "nothing moved"
    assert len(hub.log) == 2  # two repositories, each for two recipes

    first = before["source.backbone"]["commit"]
    second = hub.repo("org/resnet").commit({"config.json": resnet(1, 1, 1, 1)})
    said = here.said("outdated", code=3)
    whose = "x.source.backbone, y.source.backbone"
    assert f"hub org/resnet at main ({whose}): {first[:12]} -> {second[:12]}" in said
    assert "depths.0: 3 -> 1" in said or "depths: [3, 4, 6, 3] -> [1, 1, 1, 1]" in said
    said = here.said("update", "x", only="source.backbone", code=3)
    assert "wrote recipes/x.lock.json" in said
    assert "fetch:x" in said
    assert "model:x" in said
    assert here.pins("x")["source"] == before["source"]
    assert here.pins("x")["source.backbone"]["commit"] == second
    assert here.pins("y") == before

    hub.repo("org/detr").commit({"config.json": detr("org/bit")})
    here.said("update", code=3)
    for name in ("x", "y"):
        assert here.pins(name)["source.backbone"]["wish"] == {"hub": "org/bit"}
    assert here.said("outdated") == "nothing moved"
    fetched(here, "x")
    assert here.pins("x")["source.backbone"]["wish"] == {"hub": "org/bit"}

    hub.repo("org/detr").commit({"config.json": b'{"model_type": "detr"}'})
    here.said("update", code=3)
    assert [*here.pins("x")] == [*here.pins("y")] == ["source"]


def test_locks_that_must_hold(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Zoo(tmp_path, x=LOCAL, z=RECIPE)
    config = here.root / "local" / "config.json"
    config.parent.mkdir()
    config.write_bytes(detr("org/resnet"))
    monkeypatch.setenv("TINYBUILD_LOCKED", "1")
    assert "there is no lock for source.backbone (hub org/resnet)" in here.refused("x")
    assert not hub.log
    here.said("update", "x", code=3)
    assert [*here.pins("x")] == ["source.backbone"]
    fetched(here, "x")
    config.write_bytes(detr("org/bit"))
    said = here.refused("x")
    assert "source.backbone.hub is 'org/bit' in the recipe; the lock has 'org/resnet'" in said
    assert "tinybuild update x" in said
    config.write_bytes(b'{"model_type": "detr"}')
    assert "the lock pins source.backbone (hub org/resnet)" in here.refused("x")
    here.said("update", "x", code=3)
    assert not here.lock("x").exists()

    here.said("update", "z", code=3)
    pins = {"version": 1, "pins": {"source": here.pins("z")["source"]}}
    here.lock("z").write_text(json.dumps(pins))
    assert "the lock lacks what is read of hub org/resnet now: config.json" in here.refused("z")


def test_a_lock_that_somebody_wrote(hub: Hub, tmp_path: Path) -> None:
    here = Zoo(tmp_path, x=RECIPE)
    here.said("update", code=3)
    text = here.lock("x").read_text()
    pins = json.loads(text)
    files = pins["pins"]["source.backbone"]["files"]
    files["model.safetensors"] = files["config.json"]
    here.lock("x").write_text(json.dumps(pins))
    said = here.said("outdated", code=1)
    assert "source.backbone.files names model.safetensors, which is not fetched" in said


def test_a_review_knows_what_is_named(hub: Hub, tmp_path: Path) -> None:
    """Not a finding before it is fetched; a finding where the lock is of another one."""
    here = Zoo(tmp_path, x=LOCAL)
    config = here.root / "local" / "config.json"
    config.parent.mkdir()
    config.write_bytes(detr("org/resnet"))

    def seen() -> tuple[list[str], list[str]]:
        session = here.here
        reviewer = Reviewer(zoo=session.zoo, builder=session.builder, scratch=tmp_path / "empty")
        told = reviewer.review("x")
        return [finding.what for finding in told.findings], told.unseen

    (tmp_path / "empty").mkdir()
    assert seen() == ([], ["nothing of hub org/resnet is here yet"])
    here.said("update", code=3)
    config.write_bytes(detr("org/bit"))
    findings, unseen = seen()
    assert findings == ["source.backbone.hub is 'org/bit' in the recipe; the lock has 'org/resnet'"]
    assert unseen == ["nothing of hub org/bit is here yet"]


def test_a_file_that_a_processor_names(hub: Hub, tmp_path: Path) -> None:
    """Of a dataset: it is told as files are, and not as rows."""
    sees = {"repo_path": "org/classes", "class_info_file": "ade.json"}
    files = {"config.json": b"{}", "preprocessor_config.json": json.dumps(sees).encode()}
    hub.repo("org/sees").commit(files)
    classes = hub.dataset("org/classes")
    classes.commit({"ade.json": b'{"0": {"name": "wall"}}', "train.jsonl": b"{}"})
    here = Zoo(tmp_path, x=RECIPE.replace("org/detr", "org/sees"))
    here.said("update", code=3)
    assert here.pins("x")["source.class_info_file"]["type"] == "dataset"
    assert here.said("outdated") == "nothing moved"
    classes.commit({"ade.json": b'{"0": {"name": "floor"}}', "train.jsonl": b"{}"})
    said = here.said("outdated", code=3)
    assert "hub org/classes at main (x.source.class_info_file)" in said
    assert "ade.json" in said
    assert "rows" not in said
    classes.commit({"ade.json": b'{"0": {"name": "floor"}}'})
    here.said("update", "x", code=3)
    assert here.pins("x")["source.class_info_file"]["commit"] == classes.refs["main"]
    classes.commit({**classes.files, "more.jsonl": b"{}"})
    assert "only the commit moved" in here.said("outdated", code=3)
