"""The sizes that timm has in code are said in the config: with a stand-in for the package, whose
ways to take sizes are timm's, and with the package itself where it is installed."""

from __future__ import annotations

import fnmatch
import itertools
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kit.faults import refused
from torch import nn

from tinybuild.config import found, timm
from tinybuild.config.overrides import override, plain
from tinybuild.config.shrink import shrink

TOLD = {"input_size": [3, 224, 224], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


class Plain(nn.Module):
    def __init__(
        self,
        depth: int = 2,
        dims: tuple[int, ...] = (32, 64),
        groups: int = 8,
        ratio: float = 4.0,
        num_classes: int = 10,
    ):
        super().__init__()
        assert groups == 8, "this block does not support other groups"
        sizes = [3, *dims, num_classes]
        self.layers = nn.ModuleList(
            nn.Linear(before, after)
            for _ in range(depth)
            for before, after in itertools.pairwise(sizes)
        )


class Narrow(Plain):
    """As ResNet 18: one module more where a stage is not as wide as its stem."""

    def __init__(self, depth: int = 2, width: int = 32, num_classes: int = 10):
        super().__init__(depth=depth, dims=(width,), num_classes=num_classes)
        self.shortcut = nn.Linear(32, width) if width != 32 else None


class Coded(nn.Module):
    def __init__(self, cfg: Mapping[str, int], kernel: int = 3, num_classes: int = 10):
        super().__init__()
        self.layer = nn.Linear(cfg["width"], num_classes)
        self.kernel = nn.Parameter(torch.zeros(kernel))


def plain_base(**given: Any) -> Plain:
    return Plain(**{"depth": 12, "dims": (96, 192), **given})


def plain_deep(**given: Any) -> Plain:
    return Plain(depth=24, **given)


def narrow_base(**given: Any) -> Narrow:
    return Narrow(depth=6, **given)


def coded_base(**given: Any) -> Coded:
    return Coded(cfg={"width": 1280}, **given)


def test_coded(**given: Any) -> Coded:
    return Coded(cfg={"width": 16}, **given)


def test_other(**given: Any) -> Narrow:
    return Narrow(width=8, **given)


test_coded.__test__ = test_other.__test__ = False  # type: ignore[attr-defined]
ENTRIES: dict[str, Callable[..., nn.Module]] = {
    made.__name__: made
    for made in (plain_base, plain_deep, narrow_base, coded_base, test_coded, test_other)
}


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = SimpleNamespace(
        is_model=ENTRIES.__contains__,
        create_model=lambda name, **given: ENTRIES[name](**given),
        list_models=lambda pattern: fnmatch.filter(ENTRIES, pattern),
    )
    monkeypatch.setitem(sys.modules, "timm", stand_in)
    for kept in (timm._sizes, timm._parameters):
        kept.cache_clear()


def config(name: str, **more: Any) -> dict[str, Any]:
    return {"model_type": "timm_wrapper", "architecture": name, "pretrained_cfg": TOLD, **more}


def written(data: Mapping[str, Any]) -> dict[str, Any]:
    return {".".join(path): new for path, new, _ in timm.written(data)}


@pytest.mark.usefixtures("package")
def test_the_sizes_of_an_architecture_are_said() -> None:
    """Also those that only its class's defaults say; none that it does not take otherwise."""
    assert written(config("plain_base")) == {"model_args": {"depth": 12, "dims": [96, 192]}}
    assert written(config("plain_deep")) == {"model_args": {"dims": [32, 64]}}
    [(_, _, reason)] = timm.written(config("plain_base"))
    assert reason == "rule timm: what plain_base is in code"


@pytest.mark.usefixtures("package")
def test_what_the_source_gives_stays() -> None:
    given = {"depth": 3, "act_layer": "gelu", "num_classes": 10}
    made = written(config("plain_base", model_args=given))["model_args"]
    assert made == {"depth": 3, "dims": [96, 192], "act_layer": "gelu"}
    assert written(config("plain_base", model_args=made)) == {}


@pytest.mark.usefixtures("package")
def test_of_sizes_that_are_fixed_the_smallest_of_the_class_is_taken() -> None:
    data = config("coded_base", num_features=1280)
    assert written(data) == {"architecture": "test_coded", "num_features": None}
    assert written(config("narrow_base")) == {"architecture": "test_other"}
    assert written(config("test_coded")) == {}


def test_images_are_made_as_the_small_model_takes_them() -> None:
    """From config.json alone AutoImageProcessor makes the processor of such a bundle."""
    from transformers import TimmWrapperConfig

    sizes = {"img_size": [224, 224], "patch_size": 16, "embed_dim": 192, "depth": 12}
    source = TimmWrapperConfig(architecture="plain", model_args=sizes, pretrained_cfg=TOLD)
    made = shrink(source, {}).data
    side = made["model_args"]["img_size"]
    assert side == [48, 48]
    assert made["pretrained_cfg"] == {**TOLD, "input_size": [3, *side]}
    source.model_args = {"img_size": [224, 224]}  # of stages that timm has in code
    assert shrink(source, {}).data["model_args"] == {"img_size": [64, 64]}
    source.model_args = {}  # takes images of any size
    assert shrink(source, {}).data["pretrained_cfg"]["input_size"] == [3, 64, 64]


@pytest.mark.usefixtures("package")
def test_parts_are_read_too() -> None:
    tower = {"model_type": "gemma3n_vision", "architecture": "plain_base", "model_args": None}
    data = {"model_type": "gemma3n", "vision_config": tower}
    assert written(data) == {"vision_config.model_args": {"depth": 12, "dims": [96, 192]}}
    assert written({"architecture": "plain_base", "model_type": "other"}) == {}
    assert written(config("of_another_version")) == {}


def test_without_the_package_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers.models.timm_wrapper.configuration_timm_wrapper as module

    def lacks(owner: object, backends: object) -> None:
        raise ImportError("TimmWrapperConfig requires the timm library: `pip install timm`")

    monkeypatch.setattr(module, "requires_backends", lacks)
    monkeypatch.setitem(sys.modules, "timm", None)
    (tmp_path / "config.json").write_text(json.dumps(config("resnet18")))
    finding = refused(found.read, tmp_path)
    assert "needs the package timm" in finding.what
    assert "pip install" in finding.what + finding.hint


def test_without_the_package_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    timm._sizes.cache_clear()
    assert written(config("plain_base")) == {}


@pytest.mark.parametrize(
    "data",
    [
        config("local-dir:/etc"),
        config("hf-hub:owner/name"),
        {"model_type": "timm_backbone", "backbone": "local-dir:there"},
        {"model_type": "detr", "backbone_config": {"backbone": "local-dir:/etc"}},
    ],
)
def test_a_folder_or_a_repository_is_refused(data: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(data))
    finding = refused(found.read, tmp_path)
    assert "of the source's config.json is a place elsewhere, " in finding.what
    assert "name an architecture of timm's own" in finding.hint


@pytest.mark.usefixtures("package")
def test_without_labels_it_is_the_model_without_a_head() -> None:
    assert written(config("plain_deep", num_classes=0))["architectures"] == ["TimmWrapperModel"]
    assert "architectures" not in written(config("plain_deep", num_classes=3))


def test_a_config_of_timm_has_no_type() -> None:
    data = {n: v for n, v in config("resnet18").items() if n != "model_type"}
    assert timm.typed(data)
    assert not timm.typed({**data, "model_type": "resnet"})
    assert not timm.typed({"architecture": "resnet18"})


def test_labels_are_said_as_the_constructor_takes_them() -> None:
    from transformers import TimmWrapperConfig

    made = TimmWrapperConfig(num_labels=5, architecture="resnet18")
    assert TimmWrapperConfig(**plain(made)).num_labels == 5
    assert plain(made)["num_classes"] == 5  # as a part of another config is read


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("resnet50", {"layers": [3, 4, 6, 3], "channels": [64, 128, 256, 512], "stem_width": 64}),
        ("vit_tiny_patch16_224", {"embed_dim": 192, "depth": 12, "num_heads": 3, "patch_size": 16}),
        ("convnext_tiny", {"depths": [3, 3, 9, 3], "dims": [96, 192, 384, 768]}),
    ],
)
def test_architectures_of_timm(name: str, sizes: dict[str, Any]) -> None:
    pytest.importorskip("timm", exc_type=ImportError)
    timm._sizes.cache_clear()
    assert sizes.items() <= written(config(name))["model_args"].items()


@pytest.mark.parametrize(
    ("name", "smallest"),
    [("efficientnet_b0", "test_efficientnet"), ("resnet18", "test_resnet")],
)
def test_an_architecture_of_timm_with_fixed_sizes(name: str, smallest: str) -> None:
    pytest.importorskip("timm", exc_type=ImportError)
    timm._sizes.cache_clear()
    assert written(config(name)) == {"architecture": smallest}


def test_labels_that_a_recipe_gives_are_counted() -> None:
    """Of timm's; other classes have classes beside their labels."""
    from transformers import OneFormerConfig, TimmWrapperConfig

    made = override(TimmWrapperConfig(num_labels=5), {"num_labels": 3}, {}, ())
    assert made.to_dict()["num_classes"] == made.num_labels == 3
    other = override(OneFormerConfig(num_classes=7), {"num_labels": 3}, {}, ())
    assert other.num_classes == 7


def test_another_architecture_has_none_of_the_sizes_before() -> None:
    from transformers import TimmWrapperConfig

    before = TimmWrapperConfig(architecture="resnet50", model_args={"stem_width": 64})
    wishes = {"architecture": "vit_tiny_patch16_224", "model_args": {"depth": 2}}
    assert override(before, wishes, {}, ()).model_args == {"depth": 2}
    kept = override(before, {"model_args": {"layers": [1]}}, {}, ())
    assert kept.model_args == {"stem_width": 64, "layers": [1]}
