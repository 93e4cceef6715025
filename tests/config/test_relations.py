"""Overrides that contradict each other or the architecture: relation, values, and what works."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import faults
from kit.files import contents
from kit.models import TINY, build, refused
from kit.stage import MakeJob

from tinybuild.config import relations
from tinybuild.config.relations import clash
from tinybuild.config.relations.clash import Wish, clashes
from tinybuild.config.relations.relation import Relation, together
from tinybuild.paths import merge

KEY = ("model", "config")
ROPE = {"rope_theta": 10000.0, "rope_type": "default"}
MOE = {"n_routed_experts": 16, "n_group": 4, "topk_group": 2, "num_experts_per_tok": 4}
MLA = {
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "qk_head_dim": 16,
}
BERT = {"model_type": "bert", "hidden_size": 64, "num_attention_heads": 4}
MAMBA = {"mamba_d_head": 16, "mamba_n_heads": 8, "mamba_expand": 2, "hidden_size": 64}


def said(tree: Mapping[str, Any], wishes: Mapping[str, Any]) -> list[str]:
    """The findings on a tree with these wishes in it."""
    whole = merge(tree, wishes)
    return [f"{f.what} | {f.hint}" for f in relations.broken(whole, wishes, KEY)]


# A config that keeps all relations, the overrides that break one, and what is said.
BROKEN: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"num_hidden_layers": 2},
        {"num_hidden_layers": 0},
        "num_hidden_layers (0) must be at least 1 | num_hidden_layers: 1",
    ),
    (
        {"decoder_layers": 2},
        {"decoder_layers": -1},
        "decoder_layers (-1) must be at least 1 | decoder_layers: 1",
    ),
    (
        {"num_key_value_heads": 2, "num_attention_heads": 4},
        {"num_key_value_heads": 0},
        "num_key_value_heads (0) must be at least 1 | num_key_value_heads: 1",
    ),
    (
        BERT,
        {"num_attention_heads": 12},
        "num_attention_heads (12) must divide hidden_size (64) | "
        "num_attention_heads: 8 or 16, or hidden_size: 60 or 72",
    ),
    (
        BERT,
        {"hidden_size": 2},
        "num_attention_heads (4) must divide hidden_size (2) | "
        "hidden_size: 4, or num_attention_heads: 2",
    ),
    (
        {"hidden_sizes": [16, 32], "num_attention_heads": [1, 2]},
        {"num_attention_heads": [3, 4]},
        "num_attention_heads ([3, 4]) must be a number for each of hidden_sizes ([16, 32]), "
        "and divide it | num_attention_heads: [1, 4]",
    ),
    (
        {"hidden_sizes": [16, 32], "num_attention_heads": [1, 2]},
        {"num_attention_heads": [2]},
        "num_attention_heads ([2]) must be a number for each of hidden_sizes ([16, 32]), "
        "and divide it | num_attention_heads: [2, 2]",
    ),
    (
        {"depths": [2, 2], "num_heads": [3, 6], "embed_dim": 24},
        {"num_heads": [5, 6]},
        "num_heads ([5, 6]) must divide embed_dim (24), doubled with each stage | "
        "num_heads: [1, 6], or embed_dim: 15 or 30",
    ),
    (
        {"num_key_value_heads": 2, "num_attention_heads": 8},
        {"num_key_value_heads": 3},
        "num_key_value_heads (3) must divide num_attention_heads (8) | "
        "num_key_value_heads: 2 or 4, or num_attention_heads: 6 or 9",
    ),
    (
        {
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "swa_num_attention_heads": 6,
            "swa_num_key_value_heads": 3,
        },
        {"swa_num_key_value_heads": 4},
        "swa_num_key_value_heads (4) must divide swa_num_attention_heads (6) | "
        "swa_num_key_value_heads: 3 or 6, or swa_num_attention_heads: 4 or 8",
    ),
    (
        {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "num_attention_heads": 3},
        {"linear_num_key_heads": 3},
        "linear_num_key_heads (3) must divide linear_num_value_heads (4) | "
        "linear_num_key_heads: 2 or 4, or linear_num_value_heads: 3 or 6",
    ),
    (
        MLA,
        {"num_key_value_heads": 2},
        "num_key_value_heads (2) must be num_attention_heads (4): with latent attention each head "
        "has keys of its own | num_key_value_heads: 4, or num_attention_heads: 2",
    ),
    (
        MLA,
        {"qk_head_dim": 12},
        "qk_head_dim (12) must be qk_nope_head_dim (8) and qk_rope_head_dim (8) together | "
        "qk_head_dim: 16, or qk_nope_head_dim: 4",
    ),
    (
        {"head_dim": 16, "rope_parameters": ROPE},
        {"head_dim": 15},
        "head_dim (15) must be even: it is rotated in pairs | head_dim: 14 or 16",
    ),
    (
        {"hidden_size": 64, "num_attention_heads": 4, "rope_parameters": ROPE},
        {"hidden_size": 60},
        "hidden_size (60) / num_attention_heads (4) must be even: a head is rotated in pairs | "
        "hidden_size: 56 or 64, or num_attention_heads: 3 or 5",
    ),
    (
        {"head_dim": 16, "rope_parameters": {**ROPE, "mrope_section": [2, 3, 3]}},
        {"rope_parameters": {"mrope_section": [16, 24, 24]}},
        "rope_parameters.mrope_section ([16, 24, 24]) must sum to half of head_dim (16) | "
        "rope_parameters.mrope_section: [2, 3, 3]",
    ),
    (
        {"head_dim": 8, "rope_parameters": {**ROPE, "long_factor": [1.0] * 4}},
        {"rope_parameters": {"long_factor": [1.0] * 48}},
        "rope_parameters.long_factor (48 entries) must have an entry for each pair of "
        "head_dim (8) | rope_parameters.long_factor: the first 4 entries",
    ),
    (
        {"rotary_dim": 8, "n_embd": 64, "n_head": 4},
        {"rotary_dim": 18},
        "rotary_dim (18) must be even and at most n_embd (64) / n_head (4) | "
        "rotary_dim: 16, or n_embd: 72",
    ),
    (
        {"num_experts": 8, "num_experts_per_tok": 2},
        {"num_experts": 4, "num_experts_per_tok": 8},
        "num_experts_per_tok (8) must be at most num_experts (4) | "
        "num_experts_per_tok: 4, or num_experts: 8",
    ),
    (
        MOE,
        {"n_group": 5},
        "n_group (5) must divide n_routed_experts (16) | "
        "n_group: 4 or 8, or n_routed_experts: 15 or 20",
    ),
    (
        MOE,
        {"n_group": 16, "num_experts_per_tok": 2},
        "n_group (16) must leave 2 of n_routed_experts (16) to a group: its score is that of the "
        "best two | n_group: 8, or n_routed_experts: 32",
    ),
    (
        MOE,
        {"topk_group": 5},
        "topk_group (5) must be at most n_group (4) | topk_group: 4, or n_group: 8",
    ),
    (
        MOE,
        {"topk_group": 1, "num_experts_per_tok": 6},
        "num_experts_per_tok (6) must be at most what the chosen groups hold: topk_group (1) of "
        "n_group (4), with n_routed_experts (16) in all | num_experts_per_tok: 4, or topk_group: 2",
    ),
    (
        {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3},
        {"layer_types": ["full_attention"]},
        "layer_types (1 entry) must have as many entries as num_hidden_layers (3) | "
        "layer_types: 3 entries, or num_hidden_layers: 1",
    ),
    (
        {"num_hidden_layers": 3, "no_rope_layers": [1, 1, 0]},
        {"num_hidden_layers": 4},
        "no_rope_layers ([1, 1, 0]) must have an entry for each layer of num_hidden_layers (4) | "
        "num_hidden_layers: 3, or no_rope_layers: 4 entries",
    ),
    (
        {"vision_config": {"depth": 32, "fullatt_block_indexes": [7, 15, 23, 31]}},
        {"vision_config": {"depth": 16}},
        "vision_config.fullatt_block_indexes ([7, 15, 23, 31]) must be numbers of layers, below "
        "vision_config.depth (16) | "
        "vision_config.depth: 32, or vision_config.fullatt_block_indexes: [7, 15]",
    ),
    (
        {"num_hidden_layers": 12, "intermediate_layers_indices": [3, 11]},
        {"num_hidden_layers": 4},
        "intermediate_layers_indices ([3, 11]) must be layers that exist: "
        "num_hidden_layers (4) | "
        "num_hidden_layers: 11, or intermediate_layers_indices: [3, 4]",
    ),
    (
        {"vision_feature_layer": -2, "vision_config": {"num_hidden_layers": 24}},
        {"vision_feature_layer": -9, "vision_config": {"num_hidden_layers": 2}},
        "vision_feature_layer (-9) must be a layer that exists: "
        "vision_config.num_hidden_layers (2) | "
        "vision_feature_layer: -2, or vision_config.num_hidden_layers: 9",
    ),
    (
        {"num_hidden_layers": 8, "first_k_dense_replace": 3},
        {"num_hidden_layers": 2},
        "first_k_dense_replace (3) must be at most num_hidden_layers (2) | "
        "num_hidden_layers: 4, or first_k_dense_replace: 1",
    ),
    (
        {"num_hidden_layers": 8, "num_kv_shared_layers": 3},
        {"num_kv_shared_layers": 8},
        "num_kv_shared_layers (8) must be below num_hidden_layers (8) | "
        "num_kv_shared_layers: 7, or num_hidden_layers: 9",
    ),
    (
        {"vocab_size": 100, "pad_token_id": 0},
        {"vocab_size": 60, "pad_token_id": 60},
        "pad_token_id (60) must be below vocab_size (60) | pad_token_id: 59, or vocab_size: 61",
    ),
    (
        {"vocab_size": 100, "pad_token_id": 0},
        {"vocab_size": 1, "pad_token_id": 1},
        "pad_token_id (1) must be below vocab_size (1) | pad_token_id: 0, or vocab_size: 2",
    ),
    (
        {"vocab_size": 100, "pad_token_id": 0},
        {"vocab_size": 60, "pad_token_id": 100_000},
        "pad_token_id (100000) must be below vocab_size (60) | pad_token_id: 59",
    ),
    (
        {"vocab_size": 100, "pad_token_id": 0},
        {"vocab_size": 61, "pad_token_id": 100_000},
        "pad_token_id (100000) must be below vocab_size (61) | pad_token_id: 60",
    ),
    (
        {"vocab_size": 100, "bos_token_id": 0},
        {"vocab_size": 1, "bos_token_id": 1},
        "bos_token_id (1) must be below vocab_size (1) | bos_token_id: 0, or vocab_size: 2",
    ),
    (
        {"vocab_size": 100, "pad_token_id": 70},
        {"vocab_size": 60},
        "pad_token_id (70) must be below vocab_size (60) | vocab_size: 71, or pad_token_id: 59",
    ),
    (
        {"text_config": {"vocab_size": 100}, "image_token_id": 5},
        {"image_token_id": 120},
        "image_token_id (120) must be below text_config.vocab_size (100) | "
        "image_token_id: 99, or text_config.vocab_size: 121",
    ),
    (
        {"vocab_size": 100, "eos_token_id": 2},
        {"eos_token_id": [2, 100]},
        "eos_token_id ([2, 100]) must be below vocab_size (100) | vocab_size: 101",
    ),
    (
        {"image_size": 64, "patch_size": 8},
        {"image_size": 4},
        "patch_size (8) must be at most image_size (4) | image_size: 8, or patch_size: 4",
    ),
    (
        MAMBA,
        {"mamba_d_head": 10},
        "mamba_d_head (10) x mamba_n_heads (8) must be mamba_expand (2) x hidden_size (64) | "
        "mamba_d_head: 16, or hidden_size: 40",
    ),
    (
        {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16},
        {"mamba_d_ssm": 60},
        "mamba_d_ssm (60) must be mamba_n_heads (4) x mamba_d_head (16) | "
        "mamba_d_ssm: 64, or mamba_d_head: 15",
    ),
    (
        {"mamba_n_groups": 2, "mamba_n_heads": 8},
        {"mamba_n_groups": 3},
        "mamba_n_groups (3) must divide mamba_n_heads (8) | "
        "mamba_n_groups: 2 or 4, or mamba_n_heads: 6 or 9",
    ),
    (
        {"num_conv_pos_embedding_groups": 16, "hidden_size": 64},
        {"hidden_size": 40},
        "num_conv_pos_embedding_groups (16) must divide hidden_size (40) | "
        "hidden_size: 32 or 48, or num_conv_pos_embedding_groups: 10 or 20",
    ),
]


@pytest.mark.parametrize(("tree", "wishes", "message"), BROKEN, ids=lambda value: "")
def test_the_relation_the_values_and_the_nearest_that_work(
    tree: dict[str, Any], wishes: dict[str, Any], message: str
) -> None:
    assert said(tree, {}) == []
    assert said(tree, wishes) == [message]


def test_every_relation_has_its_example() -> None:
    """Each entry of the table is the one that some example breaks."""
    broken = set()
    for tree, wishes, _ in BROKEN:
        whole = merge(tree, wishes)
        wish = Wish(wishes=wishes, key=KEY, names={})
        broken |= {one.relation for one in clashes(whole, wish)}
    assert broken == {*clash.RELATIONS}


def test_a_relation_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Relation(
        words="{0} must be twice {1}",
        keys=together("petals", "leaves"),
        holds=lambda petals, leaves: petals == 2 * leaves,
    )
    monkeypatch.setattr(clash, "RELATIONS", (*clash.RELATIONS, ours))
    tree = {"text_config": {"petals": 6, "leaves": 3}}
    assert said(tree, {}) == []
    assert said(tree, {"text_config": {"petals": 5}}) == [
        "text_config.petals (5) must be twice text_config.leaves (3) | text_config.petals: 6"
    ]


def test_what_the_hint_says_works() -> None:
    """Each whole number of a hint, put in place, leaves nothing to say."""
    tried = 0
    for tree, wishes, message in BROKEN:
        for name, values in re.findall(
            r"([\w.]+): (\d+(?: or \d+)?)(?:,|$)", message.split("|")[1]
        ):
            for value in values.split(" or "):
                mended = copy.deepcopy(merge(tree, wishes))
                node = mended
                *path, last = name.split(".")
                for part in path:
                    node = node[part]
                node[last] = int(value)
                assert relations.broken(mended, wishes, KEY) == [], (name, value)
                tried += 1
    assert tried > 70


@given(
    experts=st.integers(1, 40),
    groups=st.integers(1, 12),
    chosen=st.integers(1, 12),
    top_k=st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_hints_of_numbers_that_hang_together_make_nothing_worse(
    experts: int, groups: int, chosen: int, top_k: int
) -> None:
    names = ("n_routed_experts", "n_group", "topk_group", "num_experts_per_tok")
    tree = dict(zip(names, (experts, groups, chosen, top_k), strict=True))
    found = relations.broken(tree, tree, KEY)
    works = (
        experts % groups == 0
        and (groups == 1 or experts // groups >= 2)
        and chosen <= groups
        and top_k <= min(experts, chosen * (experts // groups))
    )
    assert bool(found) != works
    assert found == relations.broken(tree, dict(reversed(tree.items())), KEY)
    for finding in found:
        assert finding.key[-1] in names
        assert finding.hint


@given(heads=st.integers(1, 64), kv_heads=st.integers(1, 64), wide=st.integers(1, 256))
@settings(max_examples=200, deadline=None)
def test_hints_are_the_nearest(heads: int, kv_heads: int, wide: int) -> None:
    """The first hint of each finding, alone in its relation, is the nearest below and above."""
    tree = {"num_key_value_heads": kv_heads, "num_attention_heads": heads}
    found = relations.broken(tree, tree, KEY)
    assert bool(found) == (heads % kv_heads != 0)
    if found:
        divisors = [n for n in range(1, heads + 1) if heads % n == 0]
        near = [max((n for n in divisors if n < kv_heads), default=None)]
        near += [min((n for n in divisors if n > kv_heads), default=None)]
        wanted = " or ".join(str(n) for n in near if n is not None)
        assert found[0].hint.startswith(f"num_key_value_heads: {wanted}, or num_attention_heads: ")
    bert = {"model_type": "bert", "hidden_size": wide, "num_attention_heads": heads}
    assert bool(relations.broken(bert, bert, KEY)) == (wide % heads != 0)


def test_hints_of_far_values_come_at_once() -> None:
    far = {"num_experts": 4, "num_experts_per_tok": 10**12}
    assert relations.broken(far, far, KEY)[0].hint == "num_experts_per_tok: 4"
    wide = {"model_type": "bert", "hidden_size": 10**12 + 1, "num_attention_heads": 64}
    assert relations.broken(wide, wide, KEY)[0].hint.startswith("num_attention_heads: ")


GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70) | st.floats(allow_nan=False) | st.text("ab"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
NAMES = sorted({name for tree, _, _ in BROKEN for name in tree} | {"rope_parameters", "model_type"})


@given(tree=st.dictionaries(st.sampled_from(NAMES), GARBAGE, max_size=12))
@settings(max_examples=300, deadline=None)
def test_values_of_any_kind_are_looked_at(tree: dict[str, Any]) -> None:
    for finding in relations.broken({"num_hidden_layers": 2, **tree}, tree, KEY):
        assert finding.what


# --- what is no relation ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tree",
    [
        {"image_size": 384, "patch_size": 14},  # the rest of the image is left out
        {"image_size": 8, "patch_size": 14, "window_size": 7},  # and filled up here
        {"hidden_size": 64, "num_attention_heads": 12, "head_dim": 16, "model_type": "llama"},
        {"hidden_size": 64, "num_attention_heads": 12, "model_type": "vivit"},  # rounds down
        {"hidden_size": 64, "num_attention_heads": 12, "model_type": "no such type"},
        {"hidden_size": 2048, "mamba_n_heads": 3},
        {"num_kv_heads": 71, "num_attention_heads": 3, "multi_query": True},  # not read
        {"num_hidden_layers": 2, "max_window_layers": 28},  # looked at by those with windows only
        {"num_hidden_layers": 2, "layer_rope_theta": [1.0] * 8},  # the first two are read
        {"n_routed_experts": 8, "n_group": 8, "topk_method": "group_limited_greedy"},
        {"n_routed_experts": 8, "n_group": 3, "topk_method": "greedy"},
        {"head_dim": 10, "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5}},
        {"vocab_size": 10, "eos_token_id": 50},  # moved by rule where the recipe does not set it
        {"vocab_size": 10, "pad_token_id": -1},
        {"vocab_size": 10, "num_codebooks": 4, "pad_token_id": 10},
        {"num_experts": 0, "num_experts_per_tok": 2},  # no experts at all
        {"n_shared_experts": 0, "projection_dim": 0, "num_hidden_layers": None},
        {"num_hidden_layers": 2, "layer_types": None, "mlp_only_layers": []},
        {"hidden_size": 0.5, "num_attention_heads": "four"},
    ],
    ids=str,
)
def test_what_models_take_is_not_refused(tree: dict[str, Any]) -> None:
    assert relations.broken(tree, {}, KEY) == []


# Defaults that their own classes cannot run: 14 heads in a width of 1152, and a rotated head of 73.
UNBUILT = {"aya_vision", "qwen3_omni_moe_thinker"}


def defaults(step: int) -> dict[str, dict[str, Any]]:
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return {name: CONFIG_MAPPING[name]().to_dict() for name in sorted(MODEL_MAPPING_NAMES)[::step]}


def test_no_relation_refuses_a_default_config() -> None:
    for name, tree in defaults(12).items():
        assert name in UNBUILT or relations.broken(tree, {}, KEY) == [], name


@pytest.mark.slow
def test_no_relation_refuses_any_default_config() -> None:
    broken = {name for name, tree in defaults(1).items() if relations.broken(tree, {}, KEY)}
    assert broken == UNBUILT


def test_a_default_that_breaks_a_relation_is_refused_by_its_class() -> None:
    import torch
    from transformers import AyaVisionConfig, AyaVisionModel

    with torch.device("meta"), pytest.raises(ValueError, match="1152 and `num_heads`: 14"):
        AyaVisionModel(AyaVisionConfig())


def test_what_the_source_breaks_itself_is_not_told() -> None:
    from transformers import AyaVisionConfig

    made = relations.override(AyaVisionConfig(), {"vision_config": {"hidden_size": 1100}}, {}, KEY)
    assert made.vision_config.hidden_size == 1100


# --- where --------------------------------------------------------------------------------------


def test_all_at_once_in_the_order_of_the_configs() -> None:
    wishes = {
        "text_config": {"num_attention_heads": 4, "num_key_value_heads": 3},
        "vision_config": {"image_size": 4, "patch_size": 8, "num_hidden_layers": 0},
        "pad_token_id": 300,
    }
    tree = {**wishes, "text_config": {**wishes["text_config"], "vocab_size": 256}}
    found = relations.broken(tree, wishes, KEY)
    assert [finding.key for finding in found] == [
        (*KEY, "pad_token_id"),
        (*KEY, "text_config", "num_key_value_heads"),
        (*KEY, "vision_config", "num_hidden_layers"),
        (*KEY, "vision_config", "patch_size"),
    ]
    turned = dict(reversed(wishes.items()))
    assert relations.broken(tree, turned, KEY) == found


def test_the_place_is_that_of_the_override() -> None:
    tree = {"num_attention_heads": 8, "num_key_value_heads": 3}
    places = [
        relations.broken(tree, wishes, KEY)[0].key
        for wishes in ({}, {"num_attention_heads": 8}, {"num_key_value_heads": 3}, tree)
    ]
    assert places == [
        KEY,
        (*KEY, "num_attention_heads"),
        (*KEY, "num_key_value_heads"),
        (*KEY, "num_key_value_heads"),
    ]


def test_a_key_is_called_as_the_recipe_calls_it() -> None:
    from transformers import GPT2Config

    wishes = {"hidden_size": 30, "num_attention_heads": 4}
    refusal = faults.refused(relations.possible, GPT2Config(), wishes, KEY)
    assert refusal.text == (
        "num_attention_heads (4) must divide hidden_size (30)\n"
        "  hint: num_attention_heads: 3 or 5, or hidden_size: 28 or 32"
    )
    assert refusal.key == (*KEY, "num_attention_heads")


def test_a_default_that_a_class_refuses_a_wish_for_is_named() -> None:
    from transformers import LlamaConfig

    wishes = {"num_attention_heads": 12, "num_key_value_heads": 12}
    refusal = faults.refused(relations.override, LlamaConfig(), wishes, {}, KEY)
    assert refusal.what == "num_attention_heads (12) must divide hidden_size (4096)"


# --- through the model stage --------------------------------------------------------------------


@pytest.mark.parametrize("shrink", ["none", "auto"])
@pytest.mark.parametrize(
    "case",
    [
        (
            "LlamaConfig",
            {"hidden_size": 64, "num_attention_heads": 12, "num_key_value_heads": 12},
            ["num_attention_heads (12) must divide hidden_size (64)"],
        ),
        (
            "LlamaConfig",
            {"num_attention_heads": 0, "num_hidden_layers": 0, "hiden_size": 3},
            [
                "LlamaConfig has no 'hiden_size'",
                "num_hidden_layers (0) must be at least 1",
                "num_attention_heads (0) must be at least 1",
            ],
        ),
        (
            "BertConfig",
            {"hidden_size": 64, "num_attention_heads": 12, "vocab_size": 90, "pad_token_id": 90},
            [
                "num_attention_heads (12) must divide hidden_size (64)",
                "pad_token_id (90) must be below vocab_size (90)",
            ],
        ),
        (
            "DeepseekV3Config",
            {"n_routed_experts": 6, "n_group": 4, "topk_group": 5, "num_experts_per_tok": 7},
            [
                "num_experts_per_tok (7) must be at most n_routed_experts (6)",
                "n_group (4) must divide n_routed_experts (6)",
                "topk_group (5) must be at most n_group (4)",
            ],
        ),
    ],
)
def test_contradictions_are_told_before_anything_is_built(
    job: MakeJob, tmp_path: Path, case: tuple[str, dict[str, Any], list[str]], shrink: str
) -> None:
    name, config, messages = case
    text, key = refused(job, tmp_path, name, config=config, shrink=shrink)
    told = [line for line in text.splitlines() if not line.startswith("  hint:")]
    assert sorted(told) == sorted(messages)
    assert key[:2] == KEY
    assert key[2] in config


def test_a_wish_against_the_source(job: MakeJob, tmp_path: Path) -> None:
    """What the source says stays without shrinking: two layers of DeepSeek-V3 have no experts."""
    text, key = refused(job, tmp_path, "DeepseekV3Config", config={"num_hidden_layers": 2})
    assert text == (
        "first_k_dense_replace (3) must be at most num_hidden_layers (2)\n"
        "  hint: num_hidden_layers: 4, or first_k_dense_replace: 1"
    )
    assert key == (*KEY, "num_hidden_layers")


def test_the_tokenizer_decides_the_vocabulary(job: MakeJob, tmp_path: Path) -> None:
    ids = {"sizes": {"vocab_size": 70}, "keep": False, "special": {"eos": 1}, "moved": {}}
    config = {name: value for name, value in TINY.items() if name != "vocab_size"}
    text, key = refused(
        job, tmp_path, config={**config, "bos_token_id": 90, "eos_token_id": 1}, ids=ids
    )
    assert text == (
        "bos_token_id (90) must be below vocab_size (70)\n"
        "  hint: bos_token_id: 69, or vocab_size: 91"
    )
    assert key == (*KEY, "bos_token_id")


@pytest.mark.parametrize(
    "case",
    [
        (
            "XLMConfig",
            "XLMModel",
            {"emb_dim": 64, "n_heads": 12, "n_layers": 1, "vocab_size": 50},
            "n_heads (12) must divide emb_dim (64)\n  hint: n_heads: 8 or 16, or emb_dim: 60 or 72",
        ),
        (
            "FalconConfig",
            "FalconModel",
            {"hidden_size": 64, "num_attention_heads": 5, "num_hidden_layers": 1, "vocab_size": 50},
            "num_attention_heads (5) must divide hidden_size (64)\n"
            "  hint: num_attention_heads: 4 or 8, or hidden_size: 60 or 70",
        ),
    ],
)
def test_what_only_the_model_class_refuses_is_explained(
    job: MakeJob, tmp_path: Path, case: tuple[str, str, dict[str, Any], str]
) -> None:
    name, model, config, message = case
    text, _ = refused(job, tmp_path, name, architecture=model, config=config, shrink="none")
    assert text == message


def test_a_refusal_that_no_relation_explains_stays(job: MakeJob, tmp_path: Path) -> None:
    config = {**TINY, "rope_parameters": {"rope_type": "lama3"}}
    text, _ = refused(job, tmp_path, architecture="LlamaForCausalLM", config=config)
    assert "does not know lama3" in text


def test_what_the_class_says_of_another_key_is_told_as_well(job: MakeJob, tmp_path: Path) -> None:
    config = {**TINY, "num_attention_heads": 8, "num_key_value_heads": 3, "rms_norm_eps": "small"}
    text, key = refused(job, tmp_path, architecture="LlamaForCausalLM", config=config)
    assert key == (*KEY, "rms_norm_eps")
    assert "num_key_value_heads (3) must divide num_attention_heads (8)" in text
    assert text.count("hint:") == 2


def test_heads_of_a_size_of_their_own_need_not_divide(job: MakeJob, tmp_path: Path) -> None:
    config = {**TINY, "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 8}
    facts, out = build(job, tmp_path, "Qwen3Config", architecture="Qwen3Model", config=config)
    assert facts["parameters"] > 0
    assert "model.safetensors" in contents(out)


def test_more_layers_than_the_source_has() -> None:
    source = {"encoder_layers": 2, "text_config": {"layer_types": ["a", "b", "a", "b"]}}
    relations.layers(4, source, {}, ("model",))
    relations.layers(9, {"no": "depth"}, {}, ("model",))
    refusal = faults.refused(relations.layers, 5, source, {}, ("model",))
    assert refusal.what == "layers (5) cannot be had: the source has 4"
    assert refusal.key == ("model", "layers")
    assert refusal.hint.startswith("layers: 4; or, instead of layers,")


def test_layers_and_a_depth_of_the_recipe() -> None:
    for deep in (3, 5):
        relations.layers(3, {"num_hidden_layers": 5}, {"num_hidden_layers": deep}, ("model",))
    source = {"num_hidden_layers": 5}
    refusal = faults.refused(relations.layers, 3, source, {"num_hidden_layers": 2}, ("model",))
    assert refusal.text == (
        "layers (3) must be at most num_hidden_layers (2): it is the least depth of every stack\n"
        "  hint: layers: 2, or num_hidden_layers: 3"
    )
    assert refusal.key == ("model", "layers")


def test_layers_and_the_depth_of_one_of_two_towers(job: MakeJob, tmp_path: Path) -> None:
    config = {"vision_config": {"num_hidden_layers": 1}}
    more = {"architecture": "CLIPModel", "shrink": "auto", "layers": 2, "config": config}
    text, key = refused(job, tmp_path, "CLIPConfig", **more)
    assert "layers (2) must be at most vision_config.num_hidden_layers (1)" in text
    assert key == ("model", "layers")
