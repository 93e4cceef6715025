"""A backbone that a config only names becomes transformers' own, and nobody asks the Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kit.faults import refused

from tinybuild.config import backbones, found
from tinybuild.model.resized import resize
from tinybuild.sections import Model

# As published, with what transformers would ask the Hub for.
DETR = {
    "model_type": "detr",
    "backbone": "resnet50",
    "backbone_config": None,
    "backbone_kwargs": {"in_chans": 3, "out_indices": [1, 2, 3, 4]},
    "use_timm_backbone": True,
    "use_pretrained_backbone": True,
}


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers.backbone_utils

    monkeypatch.setattr(transformers.backbone_utils, "hf_api", lambda: pytest.fail("asks the Hub"))


def loaded(tmp_path: Path, **keys: Any) -> Any:
    (tmp_path / "config.json").write_text(json.dumps({**DETR, **keys}))
    return found.load(tmp_path)


def section(**config: Any) -> Model:
    model: Model = {
        "architecture": "auto",
        "config": config,
        "shrink": "auto",
        "size": "tiny",
        "dtype": "float32",
    }
    return model


def test_timms_resnet_is_built_as_transformers_own(tmp_path: Path) -> None:
    import torch
    from transformers import DetrForObjectDetection

    source = loaded(tmp_path)
    assert source.backbone_config.model_type == "timm_backbone"
    assert source.backbone_config.out_indices == [1, 2, 3, 4]
    config, changes = resize(source, section(), None, DetrForObjectDetection, 0).spread()
    backbone = config.backbone_config
    assert (backbone.model_type, backbone.layer_type) == ("resnet", "bottleneck")
    assert backbone.out_features == ["stage1", "stage2", "stage3", "stage4"]
    assert len({backbone.embedding_size, *backbone.hidden_sizes}) == 5
    reasons = {change.key: change.reason for change in changes}
    assert reasons["backbone_config.layer_type"].startswith("rule backbone: transformers' own")
    assert "resnet50" in reasons["backbone_config.out_features"]
    assert reasons["backbone_config.hidden_sizes"] == "rule pyramid"
    with torch.device("meta"):
        model = DetrForObjectDetection(config)
    assert sum(tensor.numel() for tensor in model.parameters()) < 500_000


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({"backbone": "resnet18"}, ("resnet", ["stage1", "stage2", "stage3", "stage4"])),
        # The first map of timm's Swin is that of the first stage; ResNet's that of the stem.
        (
            {
                "backbone": "swin_tiny_patch4_window7_224",
                "backbone_kwargs": {"out_indices": [1, 2, 3]},
            },
            ("swin", ["stage2", "stage3", "stage4"]),
        ),
        (
            {"backbone": "convnextv2_tiny", "backbone_kwargs": {"out_indices": [-4, 3]}},
            ("convnextv2", ["stage1", "stage4"]),
        ),
        # transformers has none of this kind, or not so many stages.
        ({"backbone": "resnetv2_50x1_bit"}, ("timm_backbone", None)),
        ({"backbone_kwargs": {"out_indices": [7]}}, ("timm_backbone", None)),
    ],
)
def test_names_of_backbones(
    tmp_path: Path, keys: dict[str, Any], wanted: tuple[str, list[str] | None]
) -> None:
    made, _ = backbones.own(loaded(tmp_path, **keys), {})
    kind, features = wanted
    assert made.backbone_config.model_type == kind
    if features is not None:
        assert made.backbone_config.out_features == features
    if keys.get("backbone") == "resnet18":
        assert made.backbone_config.layer_type == "basic"


def test_a_type_that_transformers_does_not_know_says_nothing_of_its_backbone() -> None:
    made = backbones.described({"model_type": "unheard-of", "backbone": "resnet18"})
    told = {"model_type": "timm_backbone", "backbone": "resnet18"}
    assert made == {"model_type": "unheard-of", "backbone_config": told}


def test_inside_another_config_and_as_the_recipe_says() -> None:
    from transformers import DetrConfig, MaskFormerConfig

    made, reasons = backbones.own(MaskFormerConfig(), {})
    assert made.decoder_config.backbone_config.model_type == "resnet"
    assert [*reasons] == [("decoder_config", "backbone_config")]
    wish = {"backbone_config": {"model_type": "swin"}}
    made, reasons = backbones.own(DetrConfig(), wish)
    assert (made.backbone_config.model_type, reasons) == ("timm_backbone", {})


NAMING = {
    "backbone": "microsoft/resnet-50",
    "backbone_kwargs": {"out_features": ["stage2", "stage4"]},
    "use_timm_backbone": False,
}


def naming(tmp_path: Path, told: Any, **keys: Any) -> Any:
    """A config that names a repository, whose config.json fetch has beside it."""
    part = tmp_path / "source.backbone"
    part.mkdir()
    (part / "config.json").write_text(json.dumps(told))
    (tmp_path / "source").mkdir()
    return loaded(tmp_path / "source", **{**NAMING, **keys})


def test_a_repository_is_what_its_config_says(tmp_path: Path) -> None:
    """As transformers itself would have it from the Hub."""
    told = {"model_type": "resnet", "hidden_sizes": [8, 16, 24, 40], "depths": [1, 1, 2, 1]}
    more = {"architectures": ["ResNetForImageClassification"], "_name_or_path": "a/b"}
    backbone = naming(tmp_path, told | more).backbone_config
    assert (backbone.model_type, backbone.depths) == ("resnet", [1, 1, 2, 1])
    assert backbone.hidden_sizes == [8, 16, 24, 40]
    assert backbone.out_features == ["stage2", "stage4"]
    assert backbone.architectures is None
    read = found.read(tmp_path / "source")
    assert {".".join(one.path): one.reason for one in read.mended} == dict.fromkeys(
        ("backbone", "backbone_kwargs", "backbone_config"),
        "rule backbone: the config.json of microsoft/resnet-50",
    )
    assert "microsoft" not in json.dumps(read.config.to_dict())


def test_a_repository_of_timm_is_described_as_such(tmp_path: Path) -> None:
    told = {"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {}}
    backbone = naming(tmp_path, told, backbone_kwargs={"out_indices": [1, 2]}).backbone_config
    assert (backbone.model_type, backbone.backbone) == ("timm_backbone", "resnet18")
    assert backbone.out_indices == [1, 2]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"model_type": "llama"}, "is of the type llama, which cannot be one"),
        ([], "is not a JSON object"),
        ({}, "is of the type None"),
    ],
)
def test_a_repository_that_cannot_be_a_backbone(tmp_path: Path, told: Any, said: str) -> None:
    refusal = refused(naming, tmp_path, told)
    assert said in refusal.what
    assert "microsoft/resnet-50" in refusal.what


def test_a_repository_that_nobody_fetched_is_refused_by_name(tmp_path: Path) -> None:
    refusal = refused(loaded, tmp_path, **NAMING)
    assert "microsoft/resnet-50" in refusal.what
    assert "backbone_config" in refusal.hint


def test_what_timm_would_ask_the_hub_for_is_refused(tmp_path: Path) -> None:
    from transformers import DetrForObjectDetection

    told = {"model_type": "timm_backbone", "backbone": "microsoft/resnet-50"}
    source = loaded(tmp_path, backbone=None, backbone_kwargs={}, backbone_config=told)
    refusal = refused(resize, source, section(), None, DetrForObjectDetection, 0)
    assert "is a repository of the Hub, microsoft/resnet-50" in refusal.what
