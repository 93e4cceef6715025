"""Images by rule: patches are as many as nothing else is wide, and what divides them still does."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tinybuild.config.images import images
from tinybuild.config.sizes import SIZES
from tinybuild.config.tree import Tree
from tinybuild.paths import Data

VIT = {"hidden_size": 768, "num_attention_heads": 12, "image_size": 224, "patch_size": 16}
VIT = {**VIT, "num_channels": 3}


def ruled(source: Data, **now: Any) -> dict[str, Any]:
    """What the rules of images make of a config whose other sizes are `now`."""
    tree = Tree(source, {}, SIZES["tiny"], None)
    tree.data |= now
    images(tree)
    return tree.data


def counts(made: dict[str, Any]) -> set[int]:
    grid = made["image_size"] // made["patch_size"]
    return {grid, grid**2, grid**2 + 1}


@pytest.mark.parametrize("width", [64, 48, 36, 37, 96, 100, 144])
@pytest.mark.parametrize("heads", [4, 6, 8])
def test_patches_are_as_many_as_nothing_else_is_wide(width: int, heads: int) -> None:
    made = ruled(VIT, hidden_size=width, num_attention_heads=heads)
    assert made["image_size"] % made["patch_size"] == 0
    assert not counts(made) & {width, heads}


@pytest.mark.parametrize("joined", [2, 3, 4])
def test_joined_patches_divide_a_side_and_are_several(joined: int) -> None:
    made = ruled({**VIT, "scale_factor": joined}, hidden_size=64, num_attention_heads=4)
    grid = made["image_size"] // made["patch_size"]
    assert grid % joined == 0
    assert grid // joined >= 2
    assert not {*counts(made), (grid // joined) ** 2} & {64, 4}


def test_tokens_of_an_image_that_a_config_counts_are_pooled_as_in_the_source() -> None:
    source = {"mm_tokens_per_image": 16, "vision_config": {**VIT, "image_size": 256}}
    made = ruled(source, vision_config={**source["vision_config"], "hidden_size": 64})
    grid = made["vision_config"]["image_size"] // made["vision_config"]["patch_size"]
    assert made["mm_tokens_per_image"] == (grid // 4) ** 2 > 1


def test_an_image_that_is_pooled_to_less_than_a_token_is_one() -> None:
    made = ruled({"mm_tokens_per_image": 4, "vision_config": {**VIT, "image_size": 256}})
    assert made["mm_tokens_per_image"] == 1


def test_the_stages_of_a_pyramid_divide_its_image() -> None:
    source = {"image_size": 224, "num_channels": 3, "patch_size": 4, "depths": [2, 2, 6, 2]}
    made = ruled({**source, "window_size": 7}, window_size=7)
    assert made["image_size"] == 64
    assert made["window_size"] == 2  # a softmax over a single place has nothing to learn
    assert made["patch_size"] == 4


def test_windows_divide_an_image() -> None:
    """Counted along a side, or in all where the config has those of a side as well."""
    tower = {**VIT, "num_windows": 4, "hidden_size": 64}
    for windows, each in ((4, {}), (2, {"num_windows": 4, "num_windows_side": 2})):
        made = ruled({"backbone_config": tower | each})["backbone_config"]
        assert made["image_size"] // made["patch_size"] % windows == 0


@pytest.mark.parametrize("side", [16, 24, 32, 224])
def test_a_window_is_half_an_image(side: int) -> None:
    made = ruled({**VIT, "image_size": side, "patch_size": 8, "window_size": 14})
    assert made["window_size"] == made["image_size"] // 8 // 2


def test_a_stride_is_no_patch() -> None:
    """SAM 2's prompts say 16 pixels for a place of the map that a pyramid makes."""
    tower = {"image_size": [1024, 1024], "num_channels": 3, "query_stride": [2, 2]}
    source = {"prompt_config": {"image_size": 1024, "patch_size": 16}, "tower_config": tower}
    made = ruled({**source, "backbone_feature_sizes": [[256, 256], [128, 128], [64, 64]]})
    side = made["tower_config"]["image_size"][0]
    assert made["prompt_config"] == {"image_size": side, "patch_size": 16}
    assert made["backbone_feature_sizes"][0] == [side // 4] * 2
    assert ruled(VIT)["patch_size"] == 8


def test_a_config_without_a_patch_gets_none() -> None:
    towers = {"text_config": {"hidden_size": 64}, "vision_config": VIT, "audio_config": {}}
    assert "patch_size" not in ruled(towers)
    cut = ruled({"patch_size": 224, "vision_config": VIT})
    assert cut["patch_size"] == cut["vision_config"]["image_size"]


def test_sides_keep_their_ratio() -> None:
    high, wide = ruled({**VIT, "image_size": [256, 192], "patch_size": [16, 16]})["image_size"]
    assert high > wide
    assert math.gcd(high, wide) % 8 == 0
    assert ruled({**VIT, "image_size": 32, "patch_size": 4})["image_size"] == 32  # small already
