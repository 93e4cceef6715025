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
            {
                "backbone": "microsoft/resnet-50",
                "backbone_kwargs": {"out_features": ["stage2", "stage4"]},
                "use_timm_backbone": False,
            },
            ("resnet", ["stage2", "stage4"]),
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


def test_inside_another_config_and_as_the_recipe_says() -> None:
    from transformers import DetrConfig, MaskFormerConfig

    made, reasons = backbones.own(MaskFormerConfig(), {})
    assert made.decoder_config.backbone_config.model_type == "resnet"
    assert [*reasons] == [("decoder_config", "backbone_config")]
    wish = {"backbone_config": {"model_type": "swin"}}
    made, reasons = backbones.own(DetrConfig(), wish)
    assert (made.backbone_config.model_type, reasons) == ("timm_backbone", {})


def test_without_shrinking_a_repository_is_refused_by_name(tmp_path: Path) -> None:
    from transformers import DetrForObjectDetection

    source = loaded(tmp_path, backbone="microsoft/resnet-50", use_timm_backbone=False)
    asked: Model = {**section(), "shrink": "none"}
    refusal = refused(resize, source, asked, None, DetrForObjectDetection, 0)
    assert "microsoft/resnet-50" in refusal.what
    assert "backbone_config" in refusal.hint
