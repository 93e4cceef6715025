"""Pyramids by rule: widths that differ by stage differ in the small one, in their order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybuild.config.allot import widths
from tinybuild.config.pyramids import doubled_widths, multipliers, pyramids
from tinybuild.config.shrink import plain_sizes
from tinybuild.config.sizes import SIZES
from tinybuild.config.tree import Alike, Tree
from tinybuild.paths import Data, mapping


def ruled(source: Data) -> dict[str, Any]:
    tree = Tree(source, {}, SIZES["tiny"], None)
    pyramids(tree)
    doubled_widths(tree)
    return tree.data


@pytest.mark.parametrize(
    ("stages", "wanted"),
    [
        ([32, 64, 160, 256], [8, 16, 40, 64]),  # SegFormer's: the same multiples
        ([256, 512, 1024, 2048], [8, 16, 32, 64]),
        ([64, 128, 256], [16, 32, 64]),
        ([16, 24, 40, 112, 960], [8, 16, 24, 32, 64]),  # no multiples: the same order
        ([96, 96, 96, 96], [64] * 4),
        ([8, 16, 32, 64], [8, 16, 32, 64]),
    ],
)
def test_distinct_widths_stay_distinct(stages: list[int], wanted: list[int]) -> None:
    assert ruled({"hidden_sizes": stages, "depths": [2] * len(stages)})["hidden_sizes"] == wanted


@pytest.mark.parametrize(
    ("tower", "wanted"),
    [
        (256, [8, 16, 32, 96]),  # DETR's: a projection from one to the other
        (4096, [8, 16, 32, 48]),  # narrower than the tower
        (2048, [8, 16, 32, 64]),  # as wide
    ],
)
def test_the_last_stage_is_no_tower_that_it_was_not(tower: int, wanted: Sequence[int]) -> None:
    backbone = {"hidden_sizes": [256, 512, 1024, 2048], "depths": [3] * 4}
    tree = Tree({"d_model": tower, "backbone_config": backbone}, {}, SIZES["tiny"], None)
    widths(tree)
    pyramids(tree)
    assert tree.data["d_model"] == 64
    assert mapping(tree.data, ("backbone_config",))["hidden_sizes"] == wanted


def test_channels_that_are_the_mel_bins_are_left_alone() -> None:
    source = {"hidden_size": 1024, "subsampling_conv_channels": [128, 32]}
    tree = Tree(source, {}, SIZES["tiny"], None)
    widths(tree)
    pyramids(tree)
    assert tree.data["subsampling_conv_channels"] == [64, 16]


@given(st.lists(st.integers(2, 256), min_size=2, max_size=5))
def test_any_widths_keep_their_pattern(eighths: Sequence[int]) -> None:
    stages = [8 * number for number in eighths]
    made = ruled({"hidden_sizes": stages})["hidden_sizes"]
    for (was, now), (before, after) in itertools.combinations(zip(stages, made, strict=True), 2):
        assert (was < before) == (now < after) or len(set(stages)) == 1
        assert (was == before) == (now == after)
    assert all(number % 8 == 0 for number in made)


def test_the_stem_is_narrower_than_the_first_stage() -> None:
    made = ruled({"embedding_size": 64, "hidden_sizes": [256, 512, 1024, 2048], "depths": [3] * 4})
    assert len({made["embedding_size"], *made["hidden_sizes"]}) == 5
    assert made["embedding_size"] < min(made["hidden_sizes"])


def test_a_list_of_the_widths_that_double_follows_them() -> None:
    swin = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]}
    made = ruled({"encoder_in_channels": [192, 384, 768], "backbone_config": swin})
    width = made["backbone_config"]["embed_dim"]
    assert made["encoder_in_channels"] == [2 * width, 4 * width, 8 * width]


def test_filters_double_from_fewer_than_a_width_that_has_heads() -> None:
    stages = {"depths": [2] * 5, "upsampling_ratios": [2] * 5}
    assert ruled({**stages, "embed_dim": 128})["embed_dim"] == 8
    assert ruled({"upsampling_ratios": [8, 5, 4, 2], "num_filters": 32})["num_filters"] == 4


def test_a_barred_width_that_doubles_becomes_a_little_less() -> None:
    """Where Grounding DINO's last stage met the width beside it, all else was made wider."""
    tree = Tree({"embed_dim": 96, "depths": [2, 2, 6, 2]}, {}, SIZES["tiny"], None)
    doubled_widths(tree)
    assert tree.data["embed_dim"] == tree.sizes[(), "width", 96] == 8
    tree.alike = Alike(barred=frozenset({("width", 96, 8)}))
    tree.data["embed_dim"] = 96
    doubled_widths(tree)
    assert tree.data["embed_dim"] == 6


def test_a_width_that_doubles_is_known_by_what_it_was_in_the_source() -> None:
    """Whatever another rule has made of it: who follows it asks for the source's number."""
    tree = Tree({"embed_dim": 96, "depths": [2, 2, 6, 2]}, {}, SIZES["tiny"], None)
    tree.data["embed_dim"] = 64
    doubled_widths(tree)
    assert [*tree.sizes] == [((), "width", 96)]


def test_attention_behind_the_last_stage_is_as_wide() -> None:
    stages = {"base_channels": 256, "channel_multiplier": [1, 2, 2, 4]}
    tree = Tree({**stages, "hidden_size": 1024}, {}, SIZES["tiny"], None)
    for rule in (widths, plain_sizes, pyramids):
        rule(tree)
    last = [*tree.data["channel_multiplier"]][-1]
    assert (
        tree.data["hidden_size"] == tree.data["base_channels"] * last != tree.data["base_channels"]
    )
    assert ruled({**stages, "hidden_size": 512})["channel_multiplier"] == [1, 2, 2, 1]
    inside = {"hidden_size": 4096, "vq_config": {**stages, "hidden_size": 1024}}  # Emu 3's
    made = ruled(inside)["vq_config"]
    assert made["channel_multiplier"] == [1, 2, 2, 3]  # the first has no shortcut, as before
    assert made["hidden_size"] == 3 * made["base_channels"]


def test_heads_differ_by_stage_as_far_as_there_is_place() -> None:
    source = {"hidden_sizes": [32, 64, 160, 256], "num_attention_heads": [1, 2, 5, 8]}
    made = ruled({**source, "depths": [2, 2, 2, 2]})
    assert made["num_attention_heads"] == [1, 2, 5, 8]
    made = ruled({**source, "hidden_sizes": [64, 128, 320, 512], "depths": [2] * 4})
    assert all(
        w % h == 0 for w, h in zip(made["hidden_sizes"], made["num_attention_heads"], strict=True)
    )


def test_heads_of_narrow_stages_differ_where_the_source_has_others() -> None:
    made = ruled({"hidden_sizes": [128, 256, 384], "num_attention_heads": [4, 6, 8]})
    assert made["hidden_sizes"] == [16, 32, 48]
    assert made["num_attention_heads"] == [2, 4, 6]
    made = ruled({"hidden_sizes": [128, 256, 384], "num_attention_heads": [4, 4, 8]})
    assert made["num_attention_heads"][0] == made["num_attention_heads"][1]


def test_widths_that_a_class_rounds_stay_apart() -> None:
    """EfficientNet rounds what its factor makes of a width to multiples of eight."""
    tree = Tree({"width_coefficient": 1.0, "depth_divisor": 8}, {}, SIZES["tiny"], None)
    multipliers(tree)
    assert tree.data == {"width_coefficient": 1 / 16, "depth_divisor": 2}
