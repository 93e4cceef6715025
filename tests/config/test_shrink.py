"""A full-size config becomes a small one that is coherent; what peers got wrong is right."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.faults import refused

from tinybuild.config import overrides
from tinybuild.config import shrink as shrinking
from tinybuild.config.distinct import FAR
from tinybuild.config.shrink import shrink
from tinybuild.config.sizes import SIZES
from tinybuild.config.spread import spread
from tinybuild.config.tree import Tree, shares
from tinybuild.engine.code import closure
from tinybuild.keys import depths, says
from tinybuild.paths import Data, Json, get, mapping
from tinybuild.sections import Model

TINY = SIZES["tiny"]


def small(model_type: str, wishes: Mapping[str, Any] | None = None, **options: Any) -> Any:
    """The default config of a model type, shrunk, as an object of its class."""
    from transformers import CONFIG_MAPPING

    source = CONFIG_MAPPING[model_type]()
    wishes = wishes or {}
    tree = shrink(source, overrides.canonical(source, wishes), **options)
    return overrides.override(source, wishes, tree.overrides, ("model", "config"))


def shapes(config: Any, name: str) -> dict[str, tuple[int, ...]]:
    import torch
    import transformers

    with torch.device("meta"):
        model = getattr(transformers, name)(config)
    return {n: tuple(p.shape) for n, p in model.named_parameters()}


# --- what peers got wrong -------------------------------------------------------------------------


def test_opt_feed_forward_is_not_left_at_full_size() -> None:
    config = small("opt")
    assert config.ffn_dim == 2 * TINY.width
    assert max(shapes(config, "OPTModel")["decoder.layers.0.fc1.weight"]) == 2 * TINY.width
    refusal = refused(small, "opt", {"intermediate_size": 32})
    assert "OPTConfig has no 'intermediate_size'" in refusal.what


def test_an_inner_width_that_the_class_leaves_out_and_the_source_says_is_cut() -> None:
    from transformers import GPT2Config

    assert shrink(GPT2Config(n_embd=2048, n_head=16, n_inner=8192), {}).data["n_inner"] == 128
    assert shrink(GPT2Config(n_embd=2048, n_head=16), {}).data["n_inner"] is None


@pytest.mark.parametrize("layers", range(1, 8))
def test_as_many_first_layers_are_dense_as_were_and_one_is_left_that_is_not(layers: int) -> None:
    made = small("deepseek_v3", {"num_hidden_layers": layers})
    assert made.first_k_dense_replace == min(3, max(1, layers - 1))


@pytest.mark.parametrize("name", ["gemma", "gemma2", "gemma3_text"])
def test_gemma_head_dim_follows(name: str) -> None:
    config = small(name)
    assert config.head_dim == 24  # 256 by default, whatever the width
    heads = config.num_attention_heads * config.head_dim
    assert heads != config.hidden_size  # as in the source
    found = {s for n, s in shapes(config, CLASSES[name]).items() if n.endswith("q_proj.weight")}
    assert found == {(heads, config.hidden_size)}


CLASSES = {"gemma": "GemmaModel", "gemma2": "Gemma2Model", "gemma3_text": "Gemma3TextModel"}


def test_qwen_vl_vision_heads_have_their_own_name() -> None:
    config = small("qwen2_vl")
    vision = config.vision_config
    assert vision.embed_dim // vision.num_heads % 8 == 0
    assert vision.hidden_size // vision.num_heads % 8 == 0


@pytest.mark.parametrize("wishes", [{}, {"num_hidden_layers": 2}])
def test_deepseek_with_two_layers_has_an_expert_layer(wishes: dict[str, Any]) -> None:
    config = small("deepseek_v3", wishes)
    names = shapes(config, "DeepseekV3Model")
    last = wishes.get("num_hidden_layers", 3) - 1
    assert config.num_hidden_layers == last + 1
    assert not any(name.startswith("layers.0.") and "experts" in name for name in names)
    assert any(name.startswith(f"layers.{last}.") and "experts" in name for name in names)


def test_layer_numbers_are_inside_the_depth() -> None:
    vision = small("qwen2_5_vl").vision_config
    assert max(vision.fullatt_block_indexes) < vision.depth
    assert len(vision.fullatt_block_indexes) < vision.depth  # of both kinds
    vision = small("qwen3_vl").vision_config
    assert max(vision.deepstack_visual_indexes) < vision.depth
    llava = small("llava")
    assert -llava.vision_config.num_hidden_layers <= llava.vision_feature_layer < 0
    cross = small("mllama").text_config
    assert max(cross.cross_attention_layers) < cross.num_hidden_layers


def test_gemma_image_tokens_are_the_pooled_patches() -> None:
    config = small("gemma3")
    grid = config.vision_config.image_size // config.vision_config.patch_size
    assert grid**2 % config.mm_tokens_per_image == 0
    assert config.mm_tokens_per_image <= 16  # 256 by default, of 4,096 patches


def test_rotary_sections_fill_half_a_head() -> None:
    for name in ("qwen2_vl", "qwen3_vl", "glm4v"):
        text = small(name).text_config
        sections = text.rope_parameters["mrope_section"]
        share = text.rope_parameters.get("partial_rotary_factor", 1.0)
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        assert len(sections) == 3
        assert sum(sections) == int(head * share) // 2


def test_idefics_child_configs_shrink_too() -> None:
    config = small("idefics")
    assert config.vision_config.embed_dim == 32  # 768 beside the text's 4096
    assert config.vision_config.image_size == 48
    assert config.perceiver_config.resampler_n_latents == 8
    assert config.perceiver_config.resampler_head_dim == 24  # four are not as wide as the text


def test_mt5_is_small_on_both_sides() -> None:
    config = small("mt5")
    assert (config.d_model, config.num_layers, config.num_decoder_layers) == (TINY.width, 2, 2)


# --- kinds of layers ------------------------------------------------------------------------------


def test_one_layer_of_each_kind_in_order() -> None:
    config = small("gemma3_text")
    # The last layer of the source slides, and the last one here. Three, for two are the kv heads.
    assert config.layer_types == ["sliding_attention", "full_attention", "sliding_attention"]
    deeper = small("gemma3_text", layers=4)
    assert deeper.num_hidden_layers == 4
    assert set(deeper.layer_types) == {"sliding_attention", "full_attention"}


def test_shared_keys_come_last_and_have_somebody_to_share_with() -> None:
    config = small("gemma3n_text")
    shared = config.num_kv_shared_layers
    assert 0 < shared < config.num_hidden_layers
    own = config.layer_types[: config.num_hidden_layers - shared]
    assert set(config.layer_types[-shared:]) <= set(own)


def test_a_recipe_may_want_a_depth_of_its_own() -> None:
    config = small("gemma3_text", {"num_hidden_layers": 8})
    assert len(config.layer_types) == 8
    assert set(config.layer_types) == {"sliding_attention", "full_attention"}
    longer = small("gemma3_text", {"num_hidden_layers": 40})  # 26 in the source
    assert len(longer.layer_types) == 40


# --- a recipe's own keys --------------------------------------------------------------------------


def test_what_depends_on_the_recipes_keys_follows() -> None:
    config = small("llama", {"hidden_size": 96})
    assert config.hidden_size == 96
    assert config.intermediate_size == 192
    assert config.hidden_size % config.num_attention_heads == 0
    assert config.head_dim == config.hidden_size // config.num_attention_heads
    tied = small("llava", {"text_config": {"hidden_size": 96}})
    assert tied.text_config.hidden_size == 96


def test_heads_that_the_recipe_sets_are_those_of_keys_and_values_too() -> None:
    """Where they were as many in the source."""
    assert small("llama", {"num_attention_heads": 2}).num_key_value_heads == 2


def test_two_names_of_one_size_change_together() -> None:
    from transformers import GPT2Config

    source = GPT2Config(n_ctx=1024)  # as OpenAI's config.json has it, beside n_positions
    tree = shrink(source, {"n_positions": 128})
    assert tree.overrides["n_ctx"] == 128
    assert tree.reasons["n_ctx",] == "rule synonyms: as n_positions"
    other = GPT2Config(n_ctx=512)  # not the same
    assert shrink(other, {"n_positions": 128}).data["n_ctx"] == 512
    sides = small("bart", {"decoder_attention_heads": 2})  # each has its own
    assert (sides.decoder_attention_heads, sides.encoder_attention_heads) == (2, 4)


def test_layers_that_feed_others_stay_as_many() -> None:
    config = small("qwen3_vl")
    vision, text = config.vision_config, config.text_config
    assert list(vision.deepstack_visual_indexes) == [1, 2, 3]
    assert vision.depth == 5  # three that feed the text; four are the heads
    assert text.num_hidden_layers == 4  # the first three are fed, the last tells other tokens
    wanted = small("qwen3_vl", {"vision_config": {"depth": 2}}).vision_config
    assert list(wanted.deepstack_visual_indexes) == [0, 1][: len(wanted.deepstack_visual_indexes)]


def test_an_image_cut_into_windows_is_a_multiple_of_them() -> None:
    wishes = {"projector_scale_factors": [1.0]}
    backbone = small("lw_detr", wishes).backbone_config
    assert backbone.num_windows == 16
    assert backbone.image_size / backbone.num_windows % 4 == 0


def test_a_patch_laid_flat_has_the_numbers_of_its_pixels() -> None:
    assert small("kosmos-2.5").vision_config.patch_embed_hidden_size == 8 * 8 * 3


def test_small_has_heads_that_engines_take() -> None:
    config = small("qwen3", size="small")
    assert config.head_dim >= 32
    assert config.hidden_size % 128 == 0


def test_what_is_small_already_stays() -> None:
    from transformers import LlamaConfig

    source = LlamaConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=100,
        max_position_embeddings=64,
    )
    assert shrink(source, {}).overrides == {}


def test_every_change_has_a_reason() -> None:
    from transformers import CONFIG_MAPPING

    tree = shrink(CONFIG_MAPPING["qwen3_vl_moe"](), {})

    def leaves(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        found: set[tuple[str, ...]] = set()
        for name, value in data.items():
            inner = (*path, name)
            whole = not isinstance(value, dict) or inner in tree.reasons
            found |= {inner} if whole else leaves(value, inner)
        return found

    assert leaves(tree.overrides) == set(tree.reasons)
    assert all(re.match("rule|derived|exception", reason) for reason in tree.reasons.values())


def test_another_type_for_a_sub_config_shrinks_and_says_so() -> None:
    from transformers import DetrConfig, DetrModel

    from tinybuild.model.resized import resize

    stages = ["stage1", "stage2", "stage3", "stage4"]
    section: Model = {
        "architecture": "DetrModel",
        "config": {"backbone_config": {"model_type": "resnet", "out_features": stages}},
        "shrink": "auto",
        "size": "tiny",
        "dtype": "float32",
    }
    config, changes = resize(DetrConfig(), section, None, DetrModel, 0).spread()
    reasons = {change.key: change.reason for change in changes}
    assert config.backbone_config.hidden_sizes == [16, 24, 32, 96]  # 64 is the width beside
    assert reasons["backbone_config.model_type"] == "recipe"
    assert reasons["backbone_config.hidden_sizes"] == "rule pyramid"
    assert reasons["backbone_config.layer_type"] == "recipe: another model_type"


@pytest.mark.parametrize(
    ("model_type", "wishes"), [("dbrx", {}), ("moonshine_streaming", {}), ("t5gemma2_encoder", {})]
)
def test_keys_that_the_config_class_lacks_are_an_exception(
    model_type: str, wishes: dict[str, Any]
) -> None:
    import torch
    from transformers import AutoModel

    config = small(model_type, wishes)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    assert sum(tensor.numel() for tensor in model.parameters()) < 500_000


def test_latent_heads_that_differ_by_layer() -> None:
    config = small("dots3_note_text")
    assert "sliding_attention" in config.layer_types
    layer = config.per_layer_config["sliding_attention"]
    assert layer.head_dim == layer.qk_nope_head_dim + layer.qk_rope_head_dim
    whole = config.per_layer_config["indexed_attention"]
    assert layer.qk_nope_head_dim > whole.qk_nope_head_dim  # as in the source
    assert layer.kv_lora_rank > whole.kv_lora_rank


@pytest.mark.parametrize("model_type", ["gemma4_text", "embedding_gemma2_text"])
def test_heads_of_some_layers_are_small_too_and_wider_than_the_others(model_type: str) -> None:
    config = small(model_type)
    assert "full_attention" in config.layer_types
    near, far = (config.per_layer_config[kind] for kind in ("sliding_attention", "full_attention"))
    assert far.head_dim == 2 * near.head_dim <= SIZES["tiny"].width


def test_a_modality_keeps_its_stretch_of_the_vocabulary() -> None:
    config = small("gemma3n")
    vision, audio = config.vision_config, config.audio_config
    ids = [config.eoi_token_id, config.image_token_id, config.eoa_token_id, config.audio_token_id]
    assert ids == [260, 261, 262, 263]
    assert (vision.vocab_offset, vision.vocab_size) == (260, 2)
    assert (audio.vocab_offset, audio.vocab_size) == (262, 2)
    assert config.text_config.vocab_size_per_layer_input == 260
    assert config.boi_token_id < config.boa_token_id < 260


def test_a_modality_has_the_end_of_a_vocabulary_whose_special_tokens_come_first() -> None:
    """Gemma 3n's class takes every id from the first of a stretch on for its modality's."""
    ids = {"audio_token_id": 5, "boa_token_id": 6, "eoa_token_id": 7, "image_token_id": 8}
    ids |= {"boi_token_id": 9, "eoi_token_id": 10}
    text = {"vocab_size": 500, "vocab_size_per_layer_input": 500}
    config = small("gemma3n", {**ids, "text_config": text})
    vision, audio = config.vision_config, config.audio_config
    assert (vision.vocab_offset, vision.vocab_size) == (496, 2)
    assert (audio.vocab_offset, audio.vocab_size) == (498, 2)
    assert {name: getattr(config, name) for name in ids} == ids


@pytest.mark.parametrize("model_type", ["csm", "kyutai_speech_to_text"])
def test_ids_of_codes_are_those_of_their_codebooks(model_type: str) -> None:
    """Also beside a tokenizer, whose ids are of text."""
    text = "text_vocab_size" if model_type == "csm" else "vocab_size"
    config = small(model_type, {text: 500, "bos_token_id": 400})
    if model_type == "csm":
        assert config.codebook_pad_token_id == config.vocab_size - 1
        assert config.codebook_eos_token_id == 0
    else:
        assert config.audio_bos_token_id == config.codebook_vocab_size - 1
        rows = config.vocab_size + config.num_codebooks * config.codebook_vocab_size
        assert config.audio_pad_token_id == rows
    assert config.bos_token_id == 400


def shrunk(source: Any) -> Any:
    return overrides.override(source, {}, shrink(source, {}).overrides, ())


def test_a_codec_makes_as_many_codes_as_its_decoder_takes() -> None:
    """MusicGen's checkpoints: four codebooks of 11 bits at 2.2 kbit/s, and a row behind the codes
    that pads."""
    from transformers import EncodecConfig, MusicgenConfig, MusicgenDecoderConfig, T5Config

    codec = EncodecConfig(
        target_bandwidths=[2.2],
        sampling_rate=32_000,
        upsampling_ratios=[8, 5, 4, 4],
        codebook_size=2048,
    )
    parts = {"text_encoder": T5Config(), "decoder": MusicgenDecoderConfig()}
    source = MusicgenConfig(audio_encoder=codec, **parts)
    made = shrunk(source)
    assert source.audio_encoder.num_quantizers == made.audio_encoder.num_quantizers == 4
    assert made.audio_encoder.codebook_nbits < 11
    decoder = made.decoder
    assert decoder.num_codebooks == 4
    assert decoder.pad_token_id == decoder.bos_token_id == decoder.vocab_size < 2048


@pytest.mark.parametrize(
    ("rates", "books"), [([1.5, 3.0, 6.0, 12.0, 24.0], [2, 4]), ([6.0, 12.0], [4])]
)
def test_a_codec_keeps_the_rates_of_few_codebooks(rates: list[float], books: list[int]) -> None:
    from transformers import EncodecConfig

    codec = shrunk(EncodecConfig(target_bandwidths=rates))
    each = codec.frame_rate * codec.codebook_nbits
    assert [int(1000 * rate // each) for rate in codec.target_bandwidths] == books


@pytest.mark.parametrize(
    "odd", [{"codebook_size": 0}, {"codebook_size": -4}, {"upsampling_ratios": [8, 0, 4, 2]}]
)
def test_a_codec_of_no_size_is_no_fault_of_ours(odd: dict[str, Any]) -> None:
    """What its class makes of it is for the class to say."""
    from transformers import EncodecConfig

    source = EncodecConfig(**odd)
    assert shrink(source, {}).data["target_bandwidths"] == [*source.target_bandwidths]


def test_ids_are_inside_the_vocabulary_and_equal_ones_stay_equal() -> None:
    config = small("qwen2_vl")
    size = config.text_config.vocab_size
    ids = [config.image_token_id, config.video_token_id, config.vision_start_token_id]
    assert len(set(ids)) == 3
    assert max(ids) < size


def test_layers_wanted_are_never_more_than_the_source_has() -> None:
    assert small("gpt2", layers=5).n_layer == 5
    assert small("gpt2", layers=100).n_layer == 12  # the source's


def test_tables_of_positions_along_each_axis_are_as_long_as_a_side() -> None:
    assert math.prod(small("reformer").axial_pos_shape) == 128  # of an exception: 8 x 16
    wishes = {"vision_config": {"model_type": "gemma4_unified_vision"}}
    # Of all places of images that are as long as they are wide, and of those that are not.
    assert small("gemma4_unified", wishes).vision_config.mm_posemb_size == TINY.positions


def test_a_table_of_blocks_shrinks_where_no_list_has_its_widths() -> None:
    config = small("pp_ocrv5_mobile_rec").backbone_config
    rows = [row for stage in config.block_configs for row in stage]
    assert max(width for _, *widths, _, _ in rows for width in widths) == TINY.width
    assert all(before[2] == after[1] for before, after in itertools.pairwise(rows))
    assert config.stem_channels == rows[0][1]


def test_widths_that_a_class_scales_and_rounds_stay_apart() -> None:
    """What branches a block has hangs on whether its two widths are equal once they are rounded."""
    from transformers.models.pp_lcnet_v3.modeling_pp_lcnet_v3 import make_divisible

    config = small("pp_ocrv5_mobile_rec").backbone_config
    for _, before, after, *_ in (row for stage in config.block_configs for row in stage):
        made = [make_divisible(w * config.scale, config.divisor) for w in (before, after)]
        assert (made[0] == made[1]) == (before == after)


def test_maps_are_as_wide_as_those_of_masks() -> None:
    config = small("mask2former")
    assert config.feature_size == config.mask_feature_size == config.hidden_dim


def test_a_map_of_a_stage_is_as_wide_where_another_key_says_so() -> None:
    config = small("pp_doclayout_v3")
    assert config.x4_feat_dim == config.backbone_config.stage_out_channels[0]


def test_other_tables_of_numbers_are_no_widths() -> None:
    points = [[48, 96], [96, 48], [96, 96], [144, 48], [48, 144]]
    assert [list(point) for point in small("llava_next").image_grid_pinpoints] == points
    sizes = small("sam3_vision_model").backbone_feature_sizes
    assert [a[0] // b[0] for a, b in itertools.pairwise(sizes)] == [2, 2]


def test_what_is_large_by_itself_does_not_ruin_the_rest() -> None:
    from tinybuild.config.search import search

    tree = Tree({"hidden_size": 64, "table": 1000}, {"table": 1000}, TINY, None)

    def measure(changed: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        wide = changed.get("hidden_size", 64)
        return {"table": (1000, 1000), "layer": (wide, wide)}

    assert search(tree, 500_000, measure, lambda _: True, narrow=True) == 1_000_000 + 64 * 64
    assert tree.overrides == {}


# --- rules by themselves --------------------------------------------------------------------------


def ruled(source: Data) -> Tree:
    """What the rules make of a config that no class has."""
    tree = Tree(source, {}, TINY, None)
    for rule in shrinking.RULES:
        rule(tree)
    return tree


def test_shuffled_pixels_stay_as_many_widths_as_in_the_source() -> None:
    def inner(source: dict[str, Json]) -> Json:
        return ruled({"hidden_size": 512, **source}).data["intermediate_size"]

    assert inner({"pixel_shuffle_ratio": 0.5, "intermediate_size": 2048}) == 4 * TINY.width
    assert inner({"pixel_shuffle_ratio": 0.25, "intermediate_size": 8192}) == 16 * TINY.width
    assert inner({"pixel_shuffle_ratio": 0.5, "intermediate_size": 1024}) == 2 * TINY.width


def test_attention_over_a_doubled_width_has_heads_that_cover_it() -> None:
    config = small("zamba2")
    assert config.attention_hidden_size == 2 * config.hidden_size
    assert config.attention_head_dim * config.num_attention_heads == 2 * config.hidden_size
    source: dict[str, Json] = {"hidden_size": 512, "num_attention_heads": 8}
    assert ruled({**source, "attention_head_dim": 128}).data["attention_head_dim"] == 32
    # Without the word the heads are only as wide as said: Gemma's cover more than the width.
    assert ruled({**source, "head_dim": 128}).data["head_dim"] == 24


def test_checks_know_every_depth_that_the_rules_cut() -> None:
    """Over the default configs: what a rule sets as a depth is one in the vocabulary, by which the
    checks of layers know it. 39 keys that were cut were not known to them once."""
    from transformers import CONFIG_MAPPING

    cut = set()
    for name in sorted(CONFIG_MAPPING.keys())[::12]:
        source = CONFIG_MAPPING[name]()
        for path, reason in shrink(source, {}).reasons.items():
            was = get(source.to_dict(), path)
            if reason.startswith("rule depth: one layer") and not says(path[-1], "spread layers"):
                assert was in depths(mapping(source.to_dict(), path[:-1])), path
                cut.add(path[-1])
    assert len(cut) > 10


def test_checks_do_not_depend_on_rules() -> None:
    """What is edited here to shrink or to refuse does not run every validate again."""
    modules = {f for f in closure("tinybuild.validate:make") if f.startswith("config/")}
    rules = ("shrink", "search", "relations", "layers", "attention", "images", "pyramids", "carry")
    assert modules
    assert not [module for module in modules if module.removeprefix("config/").startswith(rules)]


def test_a_rule_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def petals(tree: Tree) -> None:
        """A flower has five."""
        for path, name, _ in tree.items():
            if name == "petals":
                tree.set((*path, name), 5, "rule petals")

    monkeypatch.setattr(shrinking, "RULES", (*shrinking.RULES, petals))
    tree = ruled({"text_config": {"petals": 99}})
    assert tree.overrides == {"text_config": {"petals": 5}}
    assert tree.reasons == {("text_config", "petals"): "rule petals"}


@given(
    parts=st.lists(st.integers(1, 64), min_size=1, max_size=4),
    total=st.integers(4, 64),
)
@settings(deadline=None)
def test_shares_have_the_sum_and_nobody_is_left_out(parts: list[int], total: int) -> None:
    made = shares(parts, total)
    assert sum(made) == total
    assert len(made) == len(parts)
    assert min(made) >= 1


def test_series_are_of_fewer_categories_that_differ_as_they_did() -> None:
    from transformers import TimeSeriesTransformerConfig

    labels = {"num_static_categorical_features": 4, "embedding_dimension": [6, 6, 6, 2]}
    source = TimeSeriesTransformerConfig(
        prediction_length=24, cardinality=[366, 52, 366, 7], **labels
    )
    tree = shrink(source, {})
    assert tree.data["cardinality"] == [20, 19, 20, 7]
    assert tree.reasons["cardinality",] == "rule categories"


def test_a_tree_can_be_tried_on() -> None:
    tree = Tree({"hidden_size": 512}, {}, TINY, None)
    trial = tree.copy()
    trial.set(("hidden_size",), 8, "search")
    assert (tree.overrides, trial.overrides) == ({}, {"hidden_size": 8})


def test_the_search_leaves_widths_that_say_something() -> None:
    from tinybuild.config.search import search

    source = {"model_type": "x", "hidden_size": 4096, "num_hidden_layers": 118}

    def measure(changes: Data) -> dict[str, tuple[int, ...]]:
        wide = {**source, **changes}["hidden_size"]
        return {f"layers.{n}": (wide, wide) for n in range(118)}

    for narrow, width in ((False, 32), (True, 16)):
        tree = Tree(source, {}, TINY, None)
        tree.set(("hidden_size",), 64, "rule width")
        search(tree, 40_000, measure, lambda _: True, narrow=narrow)
        assert tree.data["hidden_size"] == width
        below = ": below a width of 32, for the recipe's goal"
        assert tree.reasons["hidden_size",] == "search" + (below if narrow else "")


def test_half_of_a_size_is_not_the_size_of_something_else() -> None:
    from tinybuild.config.search import search

    tower = {"model_type": "y", "hidden_size": 1024}
    source = {"model_type": "x", "hidden_size": 4096, "vision_config": tower}
    tree = Tree(source, {}, TINY, None)
    tree.set(("hidden_size",), 64, "rule width")
    tree.set(("vision_config", "hidden_size"), 32, "rule width")

    def measure(changes: Data) -> dict[str, tuple[int, ...]]:
        wide = {**source, **changes}["hidden_size"]
        return {"layer": (wide, wide)}

    search(tree, 2_000, measure, lambda _: True, narrow=False)
    assert tree.data["hidden_size"] == 40


@pytest.mark.parametrize(("goal", "reason"), [(2_000, "rule"), (1_000, f"search: {FAR}")])
def test_sizes_that_a_search_makes_equal_say_why(goal: int, reason: str) -> None:
    """About half of a rank is taken: only a model of more than twice the goal may have that."""
    from tinybuild.config.search import search

    source = {"model_type": "x", "hidden_size": 4096, "num_attention_heads": 64}
    others = {"num_key_value_heads": 32, "n_group": 16, "qk_head_dim": 256}
    tree = Tree({**source, **others, "q_lora_rank": 128}, {}, TINY, None)
    taken = {"num_attention_heads": 4, "num_key_value_heads": 5, "n_group": 6, "qk_head_dim": 7}
    for name, value in {"hidden_size": 48, "q_lora_rank": 8, **taken}.items():
        tree.set((name,), value, "rule")

    def measure(changes: Data) -> dict[str, tuple[int, ...]]:
        made = {"hidden_size": 48, "q_lora_rank": 8, **changes}
        return {"layer": (300, made["q_lora_rank"])}

    search(tree, goal, measure, lambda _: True, narrow=False)
    assert tree.reasons["q_lora_rank",] == reason


@pytest.mark.parametrize(
    ("goal", "now"), [(5_200, (64, 80)), (4_200, (40, 104)), (3_000, (32, 72))]
)
def test_the_halving_that_reaches_a_goal_loses_as_little_as_may_be(
    goal: int, now: tuple[int, int]
) -> None:
    """Of those that reach the goal the nearest; where none does, the smallest."""
    from tinybuild.config.search import search

    source = {"model_type": "x", "hidden_size": 4096, "intermediate_size": 12288}
    tree = Tree(source, {}, TINY, None)
    for name, value in {"hidden_size": 64, "intermediate_size": 104}.items():
        tree.set((name,), value, "rule")

    def measure(changes: Data) -> dict[str, tuple[int, ...]]:
        made = {**source, **changes}
        return {"ffn": (made["hidden_size"], made["intermediate_size"])}

    search(tree, goal, measure, lambda _: True, narrow=False)
    assert (tree.data["hidden_size"], tree.data["intermediate_size"]) == now


def test_an_axis_of_a_full_size_model_is_halved_first() -> None:
    """Nemotron's moe_latent_size of 1024 was left at 536, the nearest to the goal."""
    from tinybuild.config.search import search

    source = {"model_type": "x", "hidden_size": 64, "moe_latent_size": 2048}
    tree = Tree(source, {}, TINY, None)

    def measure(changes: Data) -> dict[str, tuple[int, ...]]:
        made = {**source, **changes}
        return {"up": (made["hidden_size"], made["moe_latent_size"])}

    search(tree, 66_000, measure, lambda _: True, narrow=False)
    assert tree.data == {**source, "moe_latent_size": 1024}


@pytest.mark.parametrize(("head", "now"), [(64, 10), (128, 16)])
def test_a_head_that_is_its_widths_share_stays_it(head: int, now: int) -> None:
    from tinybuild.config.search import search

    source = {"model_type": "x", "hidden_size": 1024, "num_attention_heads": 16, "head_dim": head}
    tree = Tree(source, {}, TINY, None)
    made = {"hidden_size": 64, "num_attention_heads": 4, "head_dim": 16}
    for name, value in made.items():
        tree.set((name,), value, "rule")

    def measure(changes: Data) -> dict[str, tuple[int, ...]]:
        wide = {**source, **changes}["hidden_size"]
        return {"layer": (wide, 300)}

    search(tree, 12_000, measure, lambda _: True, narrow=False)
    assert (tree.data["hidden_size"], tree.data["head_dim"]) == (40, now)


@pytest.mark.parametrize("narrow", [False, True])
def test_places_of_a_text_are_halved_for_a_recipes_own_goal_alone(narrow: bool) -> None:
    """A querying model with fewer than the text beside it takes no text that is cut for that."""
    from tinybuild.config.search import search

    source = {"model_type": "x", "hidden_size": 32, "max_position_embeddings": 512}
    tree = Tree(source, {}, TINY, None)

    def measure(changes: Data) -> dict[str, tuple[int, ...]]:
        made = {**source, **changes}
        return {"positions": (made["max_position_embeddings"], 32)}

    search(tree, 10_000, measure, lambda _: True, narrow=narrow)
    assert (tree.data["max_position_embeddings"] < 512) == narrow


KINDS = ["linear_attention", "mlp", "linear_attention", "mlp", "full_attention", "mlp"] * 9


@pytest.mark.parametrize(
    ("wishes", "layers", "depth"),
    [({}, None, 3), ({}, 4, 4), ({"num_hidden_layers": 4}, None, 4), ({}, 7, 7)],
)
def test_layers_that_only_a_list_counts(
    wishes: dict[str, Any], layers: int | None, depth: int
) -> None:
    from transformers import NemotronHConfig

    source = NemotronHConfig(layers_block_type=KINDS)
    tree = shrink(source, wishes, layers=layers)
    made = overrides.override(source, wishes, tree.overrides, ("model", "config"))
    assert len(made.layers_block_type) == made.num_hidden_layers == depth
    assert {*made.layers_block_type} == {*KINDS}
    assert made.layers_block_type[-1] == KINDS[-1]
    assert tree.reasons["layers_block_type",] == "rule depth: the kept layers'"


def test_the_search_keeps_a_layer_of_each_kind() -> None:
    from tinybuild.config.search import search

    source = {"model_type": "x", "hidden_size": 64, "num_hidden_layers": 5}
    tree = Tree(source, {}, TINY, None)

    def measure(changes: Data) -> dict[str, tuple[int, ...]]:
        deep = {**source, **changes}["num_hidden_layers"]
        return {f"layers.{n}": (5, 100) for n in range(deep)}

    assert search(tree, 100, measure, lambda _: True, narrow=True) == 5 * 500
    assert tree.overrides == {}


@pytest.mark.parametrize(("was", "now"), [(40, {}), (80, {"moe_intermediate_size": 40})])
def test_the_search_leaves_experts_a_multiple_of_eight_wide(was: int, now: Data) -> None:
    from tinybuild.config.search import search

    source = {"model_type": "x", "hidden_size": 32, "moe_intermediate_size": was}
    tree = Tree(source, {}, TINY, None)

    def measure(changes: Data) -> dict[str, tuple[int, ...]]:
        return {"experts": (8, 32, {**source, **changes}["moe_intermediate_size"])}

    search(tree, 100, measure, lambda _: True, narrow=False)
    assert tree.overrides == now


@pytest.mark.parametrize(("experts", "new"), [({"num_experts": 4}, 48), ({}, 52)])
def test_where_all_multiples_of_eight_are_taken(experts: Data, new: int) -> None:
    """A width of experts stays one; another becomes a multiple of four."""
    from tinybuild.config.search import _halved

    others = ("hidden_size", "intermediate_size", "head_dim", "q_lora_rank", "kv_lora_rank")
    sizes = dict(zip((*others, "qk_rope_head_dim"), range(48, 96, 8), strict=True))
    path = ("moe_intermediate_size",)
    tree = Tree({"model_type": "x", **sizes, **experts, path[0]: 96}, {}, TINY, None)
    assert _halved(tree, [(path, 96)], 96)[0] == ((path, new),)


def test_a_model_that_only_has_channels_by_stage_is_drawn_wide_as_well() -> None:
    assert spread({"base_attn_unit_dims": [8, 12], "initializer_range": 0.02}) == {
        "initializer_range": 0.25
    }


def test_a_model_without_a_width_is_drawn_as_wide_as_what_has_the_logits() -> None:
    parts = {"vision_config": {"hidden_size": 4}, "text_config": {"hidden_size": 16}}
    assert spread({**parts, "initializer_range": 0.02}) == {"initializer_range": 0.5}


def test_layers_that_are_named_stay_as_many_and_in_order() -> None:
    from tinybuild.config.layers import _spread

    assert _spread([2, 5, 8, 11], 12, 6) == [2, 3, 4, 5]
    assert _spread([3, 7], 24, 4) == [2, 3]
    assert _spread([-1, -4], 12, 6) == [-1, -2]


def test_sizes_divide_as_kernels_and_rules_want_them() -> None:
    for size in SIZES.values():
        wide = (size.width, *size.narrower, *size.wider, *size.choices["head dim"])
        for numbers, by in (
            (wide, 8),
            (size.choices["rope dim"], 8),
            (size.choices["expert width"], 8),
            (size.choices["mels"], 8),
            (size.choices["rank"], 4),
            (size.choices["state"], 4),
        ):
            assert [number for number in numbers if number % by] == []


def test_what_an_axis_hangs_on() -> None:
    from tinybuild.config.search import _explains

    assert all(_explains(number, 48) for number in (48, 96, 192, 24, 47))
    assert not any(_explains(number, 48) for number in (240, 50, 130))


def test_the_shape_of_a_backbones_map_follows_its_widths() -> None:
    widths = [64, 128, 256, 512]
    tree = ruled({"backbone_config": {"hidden_sizes": widths}, "featmap_shape": [1, 256, 24, 24]})
    assert get(tree.data, ("featmap_shape",)) == [
        *(1, get(tree.data, ("backbone_config", "hidden_sizes", "2")), 24, 24)
    ]


def test_a_list_of_one_width_follows_the_width_beside_it() -> None:
    stages = {"encoder_in_channels": [128, 256, 512], "decoder_in_channels": [256, 256, 256]}
    data = ruled({"d_model": 256, "encoder_hidden_dim": 256, **stages}).data
    assert data["decoder_in_channels"] == [data["encoder_hidden_dim"]] * 3
    assert data["d_model"] == data["encoder_hidden_dim"]
