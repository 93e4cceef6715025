"""Rotary positions stay what they are in the source: scaled, in sections, in part, by kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kit.files import SHARED

from tinybuild.config import overrides, rotary, rotation
from tinybuild.config.shrink import shrink

LLAMA3 = {
    **{"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0},
    **{"high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
}
YARN = {
    **{"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0, "beta_fast": 32, "beta_slow": 1},
    **{"original_max_position_embeddings": 4096},
}
LONG = {
    **{"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 4096},
    **{
        "short_factor": [1.0 + n / 48 for n in range(48)],
        "long_factor": [1.0 + n for n in range(48)],
    },
}


def small(model_type: str, wishes: dict[str, Any] | None = None, **source: Any) -> Any:
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[model_type](**source)
    tree = shrink(config, overrides.canonical(config, wishes or {}))
    return overrides.override(config, wishes or {}, tree.overrides, ("model", "config"))


def frequencies(config: Any) -> Any:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    return ROPE_INIT_FUNCTIONS[config.rope_parameters["rope_type"]](config, "cpu")[0]


def plain(config: Any) -> Any:
    import torch

    pairs = len(frequencies(config))
    theta = config.rope_parameters["rope_theta"]
    return theta ** -(torch.arange(pairs) / pairs)


def test_llama3_leaves_a_fast_pair_alone_slows_slow_ones_and_one_is_between() -> None:
    made = small("llama", rope_parameters=dict(LLAMA3), max_position_embeddings=131072)
    slower = (plain(made) / frequencies(made)).tolist()
    assert slower[0] == pytest.approx(1)
    assert 1.5 < slower[1] < 7.5
    assert slower[2:] == pytest.approx([8.0] * len(slower[2:]))
    # Its factor is not that of its positions, which are left alone.
    assert made.max_position_embeddings == 512


def test_yarn_slows_pairs_down_and_its_factor_is_that_of_the_positions() -> None:
    made = small("llama", rope_parameters=dict(YARN), max_position_embeddings=163840)
    slower = (plain(made) / frequencies(made)).tolist()
    assert slower[0] == pytest.approx(1)
    assert slower[-1] == pytest.approx(40)
    original = made.rope_parameters["original_max_position_embeddings"]
    assert made.max_position_embeddings == 40 * original
    assert original >= rotary.LEAST


def test_longrope_takes_its_factors_from_all_over_the_sources() -> None:
    made = small(
        "phi3",
        hidden_size=3072,
        num_attention_heads=32,
        rope_parameters=dict(LONG),
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
    )
    long, short = (made.rope_parameters[name] for name in ("long_factor", "short_factor"))
    assert (long[0], long[-1], short[-1]) == (1.0, 48.0, LONG["short_factor"][-1])
    assert len(long) == len(short) == made.hidden_size // made.num_attention_heads // 2
    # Once by the factor of the positions, not twice; the class prefers the whole's own.
    assert made.original_max_position_embeddings == made.max_position_embeddings // 32
    assert made.rope_parameters["original_max_position_embeddings"] == 16


def test_the_original_positions_are_no_width() -> None:
    rope = {**YARN, "rope_theta": 150000.0, "factor": 32.0}
    made = small(
        "gpt_oss", initial_context_length=4096, rope_parameters=rope, max_position_embeddings=131072
    )
    original = made.rope_parameters["original_max_position_embeddings"]
    assert original == made.initial_context_length == 72  # 64 is the width
    assert made.max_position_embeddings == 32 * original
    slower = (plain(made) / frequencies(made)).tolist()
    assert 1 < slower[1] < 32


def test_what_is_rotated_of_a_head_is_a_part_of_it_and_no_number_of_heads() -> None:
    made = small("gptj")
    assert made.rotary_dim % 2 == 0
    assert made.n_head < made.rotary_dim < made.n_embd // made.n_head
    whole = small("gptj", n_head=64, rotary_dim=64)
    assert whole.rotary_dim == whole.n_embd // whole.n_head


def test_the_share_of_a_joint_head_that_is_rotated_is_its_rotated_part() -> None:
    made = small("mistral4")
    share = made.rope_parameters["partial_rotary_factor"]
    assert made.head_dim == made.qk_rope_head_dim + made.qk_nope_head_dim
    assert share * made.head_dim == made.qk_rope_head_dim


def test_positions_that_the_recipe_sets_are_shared_as_in_the_source() -> None:
    wishes = {"max_position_embeddings": 2048}
    made = small("llama", wishes, rope_parameters=dict(LLAMA3), max_position_embeddings=131072)
    assert made.max_position_embeddings == 2048
    assert made.rope_parameters["original_max_position_embeddings"] == 128


def test_a_head_fits_where_each_section_has_a_pair() -> None:
    rope = {"rope_type": "default", "rope_theta": 1e7, "mrope_section": [11, 11, 10]}
    node = {"rope_parameters": {**rope, "partial_rotary_factor": 0.25}}
    assert [dim for dim in (8, 16, 24, 32, 48) if rotation.fits(node, dim)] == [24, 32, 48]
    assert rotation.sections(node) == [11, 11, 10]
    assert rotation.sections({"rope_parameters": {"rope_theta": 1e4}}) == ()
    assert rotation.fits({"hidden_size": 64}, 7)  # nothing is rotated


def test_layers_with_heads_of_their_own_keep_them() -> None:
    made = small("gemma4_text", num_global_key_value_heads=1, attention_k_eq_v=True)
    near, far = (made.per_layer_config[kind] for kind in ("sliding_attention", "full_attention"))
    assert far.head_dim == 2 * near.head_dim
    assert far.num_key_value_heads < near.num_key_value_heads


def test_scales_that_a_head_gives_follow_it() -> None:
    gemma = small("gemma2", head_dim=256, query_pre_attn_scalar=256)
    assert gemma.query_pre_attn_scalar == gemma.head_dim
    shared = small(  # Gemma 2 9B: 3584 / 16
        "gemma2", hidden_size=3584, num_attention_heads=16, head_dim=256, query_pre_attn_scalar=224
    )
    assert shared.query_pre_attn_scalar == shared.hidden_size // shared.num_attention_heads
    granite = small("granite", hidden_size=4096, attention_multiplier=0.0078125)
    assert granite.attention_multiplier == granite.num_attention_heads / granite.hidden_size
    assert small("granite", attention_multiplier=0.3).attention_multiplier == 0.3
    assert small("gemma2", query_pre_attn_scalar=100).query_pre_attn_scalar == 100


def test_places_from_which_attention_is_scaled_are_few() -> None:
    assert small("llama4_text").floor_scale <= 16


@pytest.mark.parametrize(
    "name", ["deepseek-v3", "gpt-oss-20b", "olmo-3.1-32b", "phi-3.5-mini", "devstral-small-2"]
)
def test_real_positions_are_as_many_times_the_original_ones(name: str) -> None:
    from transformers import CONFIG_MAPPING

    path = SHARED / "configs" / name / "config.json"
    if not path.is_file():
        pytest.skip("no ../shared/configs")
    data = json.loads(path.read_text())
    data.pop("quantization_config", None)
    source = CONFIG_MAPPING[data["model_type"]].from_dict(data)
    made = overrides.override(source, {}, shrink(source, {}).overrides, ())

    def factor(config: Any) -> float:
        text = config.get_text_config()
        ropes = [text.rope_parameters, *text.rope_parameters.values()]
        named = "original_max_position_embeddings"
        (original,) = {rope[named] for rope in ropes if isinstance(rope, dict) and named in rope}
        return text.max_position_embeddings / original

    assert factor(made) == factor(source)
