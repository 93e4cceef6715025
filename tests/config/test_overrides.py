"""Overrides are merged, named, derived from and refused; ids and sizes follow the tokenizer."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.faults import refused

from tinybuild import paths
from tinybuild.config import carry, overrides, spread
from tinybuild.facts import Ids

KEY = ("model", "config")


def config(name: str, **arguments: Any) -> Any:
    import transformers

    return getattr(transformers, name)(**arguments)


def override(source: Any, wishes: Mapping[str, Any], **implied: Any) -> Any:
    before, own = json.dumps(wishes), source.to_dict()
    made = overrides.override(source, wishes, implied, KEY)
    assert json.dumps(wishes) == before, "the recipe was written to"
    assert source.to_dict() == own, "the source was written to"
    assert type(made) is type(source)
    return made


def refusals(
    source: Any, wishes: Mapping[str, Any]
) -> list[tuple[tuple[str | int, ...], str, str]]:
    """(key, what, hint) of each finding."""
    findings = refused(override, source, wishes).findings
    return [(finding.key, finding.what, finding.hint) for finding in findings]


# --- merging --------------------------------------------------------------------------------------


def test_plain_overrides_change_only_what_they_name() -> None:
    source = config("LlamaConfig", head_dim=128, num_key_value_heads=32)
    made = override(source, {"hidden_size": 64, "vocab_size": 100})
    changed = {k for k, v in made.to_dict().items() if source.to_dict()[k] != v}
    assert (made.hidden_size, made.vocab_size) == (64, 100)
    assert changed <= {"hidden_size", "vocab_size", "head_dim"}


def test_sub_configs_are_merged_deeply() -> None:
    source = config("CLIPConfig")
    made = override(
        source,
        {
            "projection_dim": 16,
            "text_config": {"hidden_size": 32, "num_attention_heads": 2},
            "vision_config": {"hidden_size": 48, "num_attention_heads": 4, "image_size": 32},
        },
    )
    assert made.projection_dim == 16
    assert (made.text_config.hidden_size, made.vision_config.hidden_size) == (32, 48)
    assert made.vision_config.image_size == 32
    assert made.text_config.num_hidden_layers == source.text_config.num_hidden_layers
    assert made.vision_config.patch_size == source.vision_config.patch_size
    assert made.text_config.vocab_size == source.text_config.vocab_size
    assert type(made.text_config) is type(source.text_config)


def test_sub_sub_configs_keep_the_type_the_source_gave_them() -> None:
    text = config("Qwen2Config", vocab_size=500)
    source = config("LlavaConfig", text_config=text)
    made = override(source, {"text_config": {"hidden_size": 64, "num_attention_heads": 4}})
    assert made.text_config.model_type == "qwen2"
    assert (made.text_config.hidden_size, made.text_config.vocab_size) == (64, 500)


def test_wishes_win_over_implied_ones_at_every_depth() -> None:
    source = config("CLIPConfig")
    made = override(
        source,
        {"text_config": {"vocab_size": 300}},
        text_config={"vocab_size": 200, "eos_token_id": 7},
    )
    assert (made.text_config.vocab_size, made.text_config.eos_token_id) == (300, 7)


def test_merge_leaves_its_arguments_alone() -> None:
    below, above = {"a": {"x": 1, "y": 2}, "b": [1]}, {"a": {"x": 3}, "b": [2]}
    before = copy.deepcopy((below, above))
    assert paths.merge(below, above) == {"a": {"x": 3, "y": 2}, "b": [2]}
    assert (below, above) == before


def test_rope_parameters_are_merged_key_by_key() -> None:
    source = config("LlamaConfig", rope_parameters={"rope_type": "linear", "factor": 4.0})
    made = override(source, {"rope_parameters": {"rope_theta": 500.0}})
    assert made.rope_parameters["rope_theta"] == 500.0
    assert (made.rope_parameters["rope_type"], made.rope_parameters["factor"]) == ("linear", 4.0)


def test_rope_scaling_is_an_old_name_and_the_recipe_is_not_written_to() -> None:
    made = override(config("LlamaConfig"), {"rope_scaling": {"rope_type": "linear", "factor": 2.0}})
    assert made.rope_parameters["factor"] == 2.0


# --- names ----------------------------------------------------------------------------------------


def test_the_common_names_of_gpt2() -> None:
    made = override(
        config("GPT2Config"),
        {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "n_positions": 32},
    )
    assert (made.n_embd, made.n_layer, made.n_head, made.n_positions) == (64, 2, 4, 32)
    assert "hidden_size" not in made.to_dict()


def test_two_names_of_one_key() -> None:
    ((key, what, hint),) = refusals(config("GPT2Config"), {"hidden_size": 64, "n_embd": 32})
    assert key == ("model", "config", "hidden_size")
    assert what == "hidden_size and n_embd are two names of one key of GPT2Config"
    assert hint == "give one of them"


@pytest.mark.parametrize(
    ("name", "wishes", "key", "near"),
    [
        ("LlamaConfig", {"hiden_size": 64}, ("hiden_size",), "hidden_size"),
        ("LlamaConfig", {"num_layers": 2}, ("num_layers",), "num_hidden_layers"),
        ("GPT2Config", {"n_layers": 2}, ("n_layers",), "n_layer"),
        ("OPTConfig", {"intermediate_size": 64}, ("intermediate_size",), "ffn_dim"),
        (
            "CLIPConfig",
            {"text_config": {"hidden_sizes": 64}},
            ("text_config", "hidden_sizes"),
            "hidden_size",
        ),
        (
            "LlavaConfig",
            {"vision_config": {"patchsize": 4}},
            ("vision_config", "patchsize"),
            "patch_size",
        ),
    ],
)
def test_unknown_keys_are_named_with_the_nearest(
    name: str, wishes: dict[str, Any], key: tuple[str, ...], near: str
) -> None:
    ((where, what, hint),) = refusals(config(name), wishes)
    assert where == (*KEY, *key)
    assert f"has no {key[-1]!r}" in what
    assert near in hint


def test_all_unknown_keys_at_once() -> None:
    found = refusals(
        config("CLIPConfig"),
        {"projection": 2, "text_config": {"width": 2}, "vision_config": {"depth": 1}},
    )
    assert [key[2:] for key, _, _ in found] == [
        ("projection",),
        ("text_config", "width"),
        ("vision_config", "depth"),
    ]


@pytest.mark.parametrize(
    ("name", "wish", "hint"),
    [
        # (not the thirty keys that the class has)
        (
            "Qwen2_5_VLConfig",
            "hidden_size",
            "text_config: {hidden_size: 64} or vision_config: {hidden_size: 64}",
        ),
        ("LlavaConfig", "num_key_value_heads", "text_config: {num_key_value_heads: 64}"),
        ("Qwen3OmniMoeConfig", "n_window", "thinker_config: {audio_config: {n_window: 64}}"),
        ("LlavaConfig", "text_config.hidden_size", "text_config: {hidden_size: 64}"),
    ],
)
def test_a_key_that_only_the_parts_have(name: str, wish: str, hint: str) -> None:
    ((key, _, said),) = refusals(config(name), {wish: 64})
    assert key == (*KEY, wish)
    assert said == f"did you mean {hint}?"


# --- labels ---------------------------------------------------------------------------------------


def test_labels_are_a_whole_and_not_merged_with_the_defaults() -> None:
    made = override(config("BertConfig"), {"id2label": {0: "score"}})
    assert (made.num_labels, made.id2label, made.label2id) == (1, {0: "score"}, {"score": 0})
    more = override(config("BertConfig"), {"label2id": {"no": 0, "yes": 1, "perhaps": 2}})
    assert more.id2label == {0: "no", 1: "yes", 2: "perhaps"}
    assert more.label2id == {"no": 0, "yes": 1, "perhaps": 2}
    source = config(
        "BertConfig", id2label={0: "a", 1: "b", 2: "c"}, label2id={"a": 0, "b": 1, "c": 2}
    )
    few = override(source, {"id2label": {0: "x", 1: "y"}, "label2id": {"x": 0, "y": 1}})
    assert (few.id2label, few.label2id) == ({0: "x", 1: "y"}, {"x": 0, "y": 1})


def test_a_number_of_labels_names_them_anew() -> None:
    source = config("BertConfig", id2label={0: "a", 1: "b"}, label2id={"a": 0, "b": 1})
    made = override(source, {"num_labels": 3})
    assert made.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert made.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    ((_, what, _),) = refusals(source, {"num_labels": 3, "id2label": {0: "a"}})
    assert what.endswith(" of id2label: {0: 'a'}")  # nobody gets one of two answers


# --- another kind of sub-config -------------------------------------------------------------------


def test_a_sub_config_of_another_type() -> None:
    source = config("DetrConfig")
    assert source.backbone_config.model_type == "timm_backbone"
    wish = {"model_type": "resnet", "depths": [1, 1], "hidden_sizes": [8, 16]}
    made = override(source, {"backbone_config": wish, "d_model": 64}, decoder_layers=2)
    backbone = made.backbone_config
    assert (type(backbone).__name__, backbone.depths) == ("ResNetConfig", [1, 1])
    assert backbone.embedding_size == config("ResNetConfig").embedding_size
    assert (made.d_model, made.decoder_layers) == (64, 2)


def test_a_sub_config_inside_another_of_another_type() -> None:
    wish = {"decoder_config": {"backbone_config": {"model_type": "resnet", "depths": [1, 1, 1, 1]}}}
    made = override(config("MaskFormerConfig"), wish)
    assert made.decoder_config.backbone_config.depths == [1, 1, 1, 1]
    assert made.backbone_config.model_type == config("MaskFormerConfig").backbone_config.model_type


def test_a_sub_config_where_the_source_has_none() -> None:
    source = config("UperNetConfig")
    source.backbone_config = None
    made = override(source, {"backbone_config": {"model_type": "resnet", "embedding_size": 8}})
    assert made.backbone_config.embedding_size == 8


def test_the_same_type_changes_nothing_else() -> None:
    source = config("LlavaConfig", text_config=config("Qwen2Config", vocab_size=500))
    made = override(source, {"text_config": {"model_type": "qwen2", "hidden_size": 64}})
    assert (made.text_config.vocab_size, made.text_config.hidden_size) == (500, 64)


@pytest.mark.parametrize(
    ("name", "wishes", "where", "words", "hint"),
    [
        (
            "DetrConfig",
            {"backbone_config": {"model_type": "resnt"}},
            ("backbone_config", "model_type"),
            "transformers does not know the model type resnt",
            "did you mean resnet",
        ),
        (
            "IdeficsConfig",
            {"vision_config": {"model_type": "llama"}},
            ("vision_config", "model_type"),
            "IdeficsConfig does not take a config of llama for vision_config",
            "leave model_type out",
        ),
        (
            "DetrConfig",
            {"backbone_config": {"model_type": "resnet", "num_layers": 2}},
            ("backbone_config", "num_layers"),
            "ResNetConfig has no 'num_layers'",
            "",
        ),
        (
            "LlavaConfig",
            {"text_config": {"model_type": 5}},
            ("text_config",),
            "LlamaConfig makes 'llama' of model_type: 5",
            "",
        ),
    ],
)
def test_another_type_is_refused(
    name: str, wishes: dict[str, Any], where: tuple[str, ...], words: str, hint: str
) -> None:
    ((key, what, said),) = refusals(config(name), wishes)
    assert key[: 2 + len(where)] == (*KEY, *where)
    assert words in what
    assert hint in said


def test_what_differs_by_layer_may_be_said_anew() -> None:
    source = config("Gemma4TextConfig")
    kinds = ["sliding_attention", "full_attention"]
    small = {"num_hidden_layers": 2, "layer_types": kinds, "head_dim": 16}
    derived = override(source, {}, **small)
    assert derived.to_dict()["per_layer_config"] == {"1": {"head_dim": 512}}, "the class's own"
    made = override(source, {}, **small, per_layer_config={1: {"head_dim": 32}})
    assert made.to_dict()["per_layer_config"] == {"1": {"head_dim": 32}}


def test_a_key_that_the_source_has_beyond_its_class() -> None:
    source = config("FastVlmConfig")  # the projector reads vision_config.hidden_size
    made = override(source, {"vision_config": {"hidden_size": 64, "model_args": {"depth": 1}}})
    assert made.vision_config.hidden_size == 64
    assert "hidden_sizes" in refusals(source, {"vision_config": {"hidden_sizes": 64}})[0][1]


def test_a_class_that_is_made_in_another_way_inside_another() -> None:
    wish = {"vision_config": {"backbone_config": {"architecture": "repvit_m1"}}}
    made = override(config("EdgeTamConfig"), wish)
    assert made.vision_config.backbone_config.num_labels == 2


def test_lists_where_the_class_makes_tuples() -> None:
    made = override(config("Granite4VisionConfig"), {"deepstack_layer_map": [[-2, 0], [-1, 1]]})
    assert made.deepstack_layer_map == [(-2, 0), (-1, 1)]


@pytest.mark.parametrize("name", ["transformers_version", "model_type", "_name_or_path"])
def test_what_transformers_writes_itself_cannot_be_set(name: str) -> None:
    ((key, what, _),) = refusals(config("LlamaConfig"), {name: "x"})
    assert key == (*KEY, name)
    assert "has no" in what


def test_a_value_where_a_config_belongs() -> None:
    ((key, what, hint),) = refusals(config("CLIPConfig"), {"text_config": 5})
    assert key == (*KEY, "text_config")
    assert "a config of its own (CLIPTextConfig)" in what
    assert "text_config: {...}" in hint


# --- what follows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Qwen2Config", "Gemma2Config", "Qwen3Config", "Gemma3TextConfig"])
def test_layer_types_follow_the_number_of_layers(name: str) -> None:
    made = override(config(name), {"num_hidden_layers": 2})
    assert made.layer_types == config(name, num_hidden_layers=2).layer_types
    assert len(made.layer_types) == 2


def test_given_layer_types_are_kept() -> None:
    kinds = ["full_attention", "sliding_attention"]
    made = override(config("Gemma2Config"), {"num_hidden_layers": 2, "layer_types": kinds})
    assert made.layer_types == kinds


def test_head_dim_of_llama_follows_the_width() -> None:
    made = override(config("LlamaConfig"), {"hidden_size": 64, "num_attention_heads": 4})
    assert made.head_dim == 16


def test_a_head_dim_that_is_not_derived_is_kept() -> None:
    source = config("LlamaConfig", head_dim=48)
    assert override(source, {"hidden_size": 64, "num_attention_heads": 4}).head_dim == 48


def test_key_value_heads_follow_the_heads_unless_the_source_groups_them() -> None:
    wishes = {"hidden_size": 64, "num_attention_heads": 4}
    assert override(config("LlamaConfig"), wishes).num_key_value_heads == 4
    grouped = config("LlamaConfig", num_key_value_heads=2)
    assert override(grouped, wishes).num_key_value_heads == 2
    given_ = override(config("LlamaConfig"), {**wishes, "num_key_value_heads": 1})
    assert given_.num_key_value_heads == 1


def test_what_follows_also_follows_in_sub_configs() -> None:
    source = config("LlavaConfig", text_config=config("Qwen2Config"))
    made = override(
        source,
        {"text_config": {"num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 4}},
    )
    assert len(made.text_config.layer_types) == 3


# --- refused values -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wishes", "key"),
    [
        ({"hidden_size": "big"}, "hidden_size"),
        ({"num_hidden_layers": 2.5}, "num_hidden_layers"),
        ({"num_hidden_layers": None}, "num_hidden_layers"),
        ({"hidden_size": [64]}, "hidden_size"),
        ({"hidden_act": 7}, "hidden_act"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
    ],
)
def test_wrong_types_are_refused_with_the_key(wishes: dict[str, Any], key: str) -> None:
    ((where, what, hint),) = refusals(config("LlamaConfig"), wishes)
    assert where == (*KEY, key)
    assert "LlamaConfig refuses these overrides" in what
    assert key in what
    assert hint


def test_wrong_type_in_a_sub_config_points_there() -> None:
    ((where, what, _),) = refusals(config("CLIPConfig"), {"vision_config": {"image_size": "x"}})
    assert where == (*KEY, "vision_config", "image_size")
    assert "image_size" in what


@pytest.mark.parametrize(
    ("name", "wishes", "words"),
    [
        ("LlamaConfig", {"hidden_size": 64, "num_attention_heads": 5}, "not a multiple"),
        ("Qwen2Config", {"num_hidden_layers": 2, "layer_types": ["full_attention"]}, "layer_types"),
        ("Qwen2Config", {"num_hidden_layers": 1, "layer_types": ["x"]}, "layer_types"),
    ],
)
def test_values_that_the_class_refuses(name: str, wishes: dict[str, Any], words: str) -> None:
    ((where, what, hint),) = refusals(config(name), wishes)
    assert where[:2] == KEY
    assert words in what
    assert hint == "override the keys that it depends on as well"


def test_a_wish_that_another_key_decides() -> None:
    wishes = {"id2label": {"0": "a"}, "num_labels": 5}
    ((where, what, hint),) = refusals(config("LlamaConfig"), wishes)
    assert where == (*KEY, "id2label")
    assert "LABEL_4" in what
    assert hint == "another key decides it: change that one"


def test_a_mapping_whose_keys_become_numbers() -> None:
    made = override(config("LlamaConfig"), {"id2label": {"0": "no", "1": "yes", "2": "?"}})
    assert made.id2label == {0: "no", 1: "yes", 2: "?"}
    assert made.num_labels == 3


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_dtype_stands_elsewhere(name: str) -> None:
    ((where, _, hint),) = refusals(config("CLIPConfig"), {"text_config": {name: "float16"}})
    assert where == (*KEY, "text_config", name)
    assert hint == "set model.dtype"


# --- widths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key"),
    [("LlamaConfig", "initializer_range"), ("FSMTConfig", "init_std"), ("BartConfig", "init_std")],
)
def test_widths_under_the_class_own_name(name: str, key: str) -> None:
    assert spread.chosen(config(name), 0.5) == {key: 0.5}


def test_widths_in_a_whole_tree() -> None:
    found = spread.chosen(config("LlavaConfig"), 0.5)
    assert found["text_config"] == found["vision_config"] == {"initializer_range": 0.5}
    made = override(config("LlavaConfig"), {}, **found)
    assert made.text_config.initializer_range == made.vision_config.initializer_range == 0.5


def test_widths_where_there_are_none() -> None:
    refusal = refused(spread.chosen, config("T5Config"), 0.5)
    assert "has no initializer_range or init_std" in refusal.what
    assert "initializer_factor" in refusal.hint
    assert refusal.key == ("model", "initializer_range")


# --- ids ------------------------------------------------------------------------------------------


def facts(**more: Any) -> Ids:
    """A tokenizer's facts: 50 tokens, bos 1, eos 2, pad 3; the source's id 100 is now 5."""
    ids = Ids(
        sizes={"vocab_size": 50},
        special={"bos": 1, "eos": 2, "pad": 3},
        moved={"100": 5},
        keep=False,
        missing="error",
    )
    return replace(ids, **more)


def test_align_by_token_before_role() -> None:
    data = {"vocab_size": 200, "eos_token_id": 100}
    assert carry.align(data, facts(), {}) == {"eos_token_id": 5}


def test_align_by_role() -> None:
    data = {"vocab_size": 200, "eos_token_id": 150, "bos_token_id": 151}
    assert carry.align(data, facts(), {}) == {"eos_token_id": 2, "bos_token_id": 1}


def test_align_by_a_stand_in_role() -> None:
    tokenizer = facts(special={"sep": 8, "cls": 9})
    data = {"vocab_size": 200, "eos_token_id": 150, "bos_token_id": 151}
    assert carry.align(data, tokenizer, {}) == {"eos_token_id": 8, "bos_token_id": 9}


def test_align_by_equality_with_another_role() -> None:
    data = {"vocab_size": 200, "pad_token_id": 150, "decoder_start_token_id": 150}
    assert carry.align(data, facts(), {}) == {"pad_token_id": 3, "decoder_start_token_id": 3}


def test_align_by_equality_with_one_of_a_list() -> None:
    data = {"vocab_size": 200, "eos_token_id": [150, 100], "forced_eos_token_id": 150}
    assert carry.align(data, facts(), {})["forced_eos_token_id"] == 2


def test_a_short_name_is_a_role_too() -> None:
    assert carry.align({"pad_id": 7, "eos_id": 7}, facts(), {}) == {"pad_id": 3, "eos_id": 2}


def test_align_by_equality_finds_the_role_at_the_top() -> None:
    data = {"eos_token_id": 150, "text_config": {"vocab_size": 200, "forced_eos_token_id": 150}}
    found = carry.align(data, facts(), {})
    assert found == {"eos_token_id": 2, "text_config": {"forced_eos_token_id": 2}}


def test_align_lists_follow_and_drop_what_is_gone() -> None:
    data = {
        "vocab_size": 200,
        "eos_token_id": [100, 150],
        "suppress_tokens": [100, 42],
        "begin_suppress_tokens": [],
        "bad_words_token_ids": [100, 100],
    }
    found = carry.align(data, facts(special={}), {"x": 1})
    assert found["eos_token_id"] == [5]
    assert found["suppress_tokens"] == [5]
    assert found["begin_suppress_tokens"] == []
    assert found["bad_words_token_ids"] == [5]


def test_align_numbers_that_are_no_ids_stay() -> None:
    data = {"vocab_size": 200, "image_token_index": -200, "pad_token_id": -1}
    assert carry.align(data, facts(), {}) == {"image_token_index": -200, "pad_token_id": -1}


def test_align_fills_the_three_roles_a_source_left_open_and_no_other() -> None:
    data = {"vocab_size": 200, "pad_token_id": None, "sep_token_id": None, "mask_token_id": None}
    tokenizer = facts(special={"pad": 3, "sep": 4, "mask": 6})
    assert carry.align(data, tokenizer, {}) == {"pad_token_id": 3}


def test_align_what_cannot_be_known_is_an_error_with_the_key() -> None:
    data = {"vocab_size": 200, "text_config": {"image_token_id": 77}, "video_token_id": 78}
    findings = refused(carry.align, data, facts(), {}).findings
    found = {finding.key: finding for finding in findings}
    assert set(found) == {(*KEY, "text_config", "image_token_id"), (*KEY, "video_token_id")}
    one = found[*KEY, "text_config", "image_token_id"]
    assert "text_config.image_token_id is 77 in the source" in one.what
    assert one.hint == "set it in the recipe: model.config.text_config.image_token_id"


def test_align_leaves_what_the_recipe_sets() -> None:
    data = {"vocab_size": 200, "text_config": {"image_token_id": 77}, "eos_token_id": 150}
    given_ = {"text_config": {"image_token_id": 4}, "eos_token_id": 9}
    assert carry.align(data, facts(), given_) == {}


def test_align_falls_back_to_the_config_of_the_model() -> None:
    data = {"forced_bos_token_id": 77, "no_timestamps_token_id": 78}
    found = carry.align(
        {"forced_bos_token_id": 77}, facts(), {}, fallback={"forced_bos_token_id": 6}
    )
    assert found == {"forced_bos_token_id": 6}
    refusal = refused(carry.align, data, facts(), {}, fallback={"forced_bos_token_id": 6})
    assert "no_timestamps_token_id" in refusal.text


def test_align_leaves_a_sub_config_with_another_vocabulary_alone() -> None:
    data = {
        "vocab_size": 200,
        "eos_token_id": 150,
        "audio": {"vocab_size": 1024, "pad_token_id": 9},
    }
    assert carry.align(data, facts(), {}) == {"eos_token_id": 2}


def test_align_beside_the_codes_of_a_model_that_has_a_vocabulary_for_each() -> None:
    """CSM's: it counts its text in text_vocab_size, and codes in vocab_size."""
    data = {
        "vocab_size": 90,
        "text_vocab_size": 200,
        "eos_token_id": 150,
        "codebook_pad_token_id": 89,
        "depth_decoder_config": {"vocab_size": 90, "pad_token_id": 89},
    }
    assert carry.align(data, facts(), {}) == {"eos_token_id": 2}
    assert carry.sizes(data, facts()) == {"text_vocab_size": 50}


def test_align_of_a_text_part_with_more_rows_than_the_whole_counts() -> None:
    data = {"vocab_size": 200, "text_config": {"vocab_size": 210, "eos_token_id": 150}}
    assert carry.align(data, facts(), {}) == {"text_config": {"eos_token_id": 2}}


def test_align_is_at_rest_when_nothing_moved() -> None:
    data = {"vocab_size": 50, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 3}
    tokenizer = facts(moved={"1": 1, "2": 2, "3": 3})
    assert carry.align(data, tokenizer, {}) == {k: v for k, v in data.items() if k != "vocab_size"}


# --- sizes ----------------------------------------------------------------------------------------


def test_sizes_of_the_text_config_of_clip() -> None:
    data = json.loads(config("CLIPConfig").to_json_string(use_diff=False))
    assert carry.sizes(data, facts()) == {"text_config": {"vocab_size": 50}}


def test_sizes_of_fsmt_with_two_vocabularies() -> None:
    data = json.loads(config("FSMTConfig").to_json_string(use_diff=False))
    both = {"vocab_size": 50, "src_vocab_size": 50, "tgt_vocab_size": 40}
    found = carry.sizes(data, facts(sizes=both))
    assert (found["src_vocab_size"], found["tgt_vocab_size"]) == (50, 40)
    made = override(config("FSMTConfig"), {}, **found)
    assert (made.src_vocab_size, made.tgt_vocab_size) == (50, 40)


def test_sizes_keep_the_padding_of_a_tokenizer_that_is_kept() -> None:
    assert carry.sizes({"vocab_size": 64}, facts(keep=True)) == {"vocab_size": 64}
    assert carry.sizes({"vocab_size": 40}, facts(keep=True)) == {"vocab_size": 50}
    assert carry.sizes({"vocab_size": 64}, facts()) == {"vocab_size": 50}


def test_sizes_leave_another_vocabulary_alone() -> None:
    data = {"vocab_size": 200, "codes": {"vocab_size": 1024}, "text": {"vocab_size": 200}}
    assert carry.sizes(data, facts()) == {"vocab_size": 50, "text": {"vocab_size": 50}}


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        # Marian: encoder and decoder have a vocabulary each, of the same tokens.
        ({"vocab_size": 200, "decoder_vocab_size": 200}, ("decoder_vocab_size",)),
        ({"vocab_size": 200, "decoder_vocab_size": 90}, ()),
        # Gemma: each layer has an embedding of its own, of as many tokens or of a few less.
        ({"vocab_size": 200, "vocab_size_per_layer_input": 200}, ("vocab_size_per_layer_input",)),
        ({"vocab_size": 200, "vocab_size_per_layer_input": 180}, ("vocab_size_per_layer_input",)),
        # InstructBLIP: the querying model takes text, too.
        (
            {"vocab_size": 200, "qformer_config": {"vocab_size": 30}},
            ("qformer_config", "vocab_size"),
        ),
        # Ovis 2: the whole counts the rows of the head, the text's part those of the embedding.
        ({"vocab_size": 200, "text_config": {"vocab_size": 210}}, ("text_config", "vocab_size")),
        ({"text_encoder": {}, "vocab_size": 200, "decoder": {"vocab_size": 210}}, ()),
        ({"vocab_size": 200, "codebook_size": 200, "type_vocab_size": 2}, ()),
    ],
)
def test_sizes_of_every_vocabulary_of_the_text(
    data: dict[str, Any], wanted: tuple[str, ...]
) -> None:
    found: Any = carry.sizes(data, facts())
    assert found.pop("vocab_size") == 50
    for name in wanted:
        found = found[name]
    assert found == (50 if wanted else {})


def test_sizes_of_a_text_encoder_before_a_decoder_of_codes() -> None:
    data = {"text_encoder": {"vocab_size": 200}, "decoder": {"vocab_size": 1024}}
    assert carry.sizes(data, facts()) == {"text_encoder": {"vocab_size": 50}}


# --- packing --------------------------------------------------------------------------------------


def test_packing_cannot_be_asked_for_and_null_asks_for_nothing() -> None:
    ((where, what, hint),) = refusals(config("LlamaConfig"), {"quantization_config": {"bits": 4}})
    assert where == (*KEY, "quantization_config")
    assert what == (
        "quantization_config cannot be had: weights are drawn and written as plain numbers"
    )
    assert "leave it out" in hint
    made = override(config("LlamaConfig"), {"quantization_config": None})
    assert not hasattr(made, "quantization_config")


# --- properties -----------------------------------------------------------------------------------

CLASSES = ("LlamaConfig", "GPT2Config", "Qwen2Config", "Gemma2Config", "CLIPConfig", "T5Config")


@functools.cache
def source(name: str) -> Any:
    return config(name)


def own(name: str) -> dict[str, Any]:
    """A class's default values as JSON data, without what transformers writes itself."""

    def clean(data: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: clean(value) if isinstance(value, Mapping) else value
            for key, value in data.items()
            if key not in (*overrides.OURS, "dtype") and not key.startswith("_")
        }

    return clean(json.loads(source(name).to_json_string(use_diff=False)))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data(), name=st.sampled_from(CLASSES))
def test_overriding_with_the_own_values_changes_nothing(data: st.DataObject, name: str) -> None:
    values = own(name)
    keys = data.draw(st.sets(st.sampled_from(sorted(values))))
    made = override(source(name), {key: values[key] for key in sorted(keys)})
    assert made.to_dict() == source(name).to_dict()


SIZES = {
    "LlamaConfig": {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 3},
    "GPT2Config": {"hidden_size": 32, "n_head": 4, "num_hidden_layers": 3},
    "Qwen2Config": {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 3},
    "Gemma2Config": {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 3},
    "CLIPConfig": {"projection_dim": 8, "text_config": {"hidden_size": 32}},
    "T5Config": {"d_model": 32, "num_heads": 4, "num_layers": 3},
}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data(), name=st.sampled_from(CLASSES))
def test_overriding_twice_is_overriding_once(data: st.DataObject, name: str) -> None:
    wishes = dict(SIZES[name])
    if data.draw(st.booleans()):
        wishes["use_cache" if name != "CLIPConfig" else "return_dict"] = data.draw(st.booleans())
    for key in data.draw(st.sets(st.sampled_from(sorted(wishes)), max_size=1)):
        del wishes[key]
    once = override(source(name), wishes)
    assert override(once, wishes).to_dict() == once.to_dict()


def test_ids_of_generation_are_keys_though_the_class_has_no_field() -> None:
    source = config("T5Config")
    made = override(source, {"decoder_start_token_id": 5})
    assert made.decoder_start_token_id == 5


def test_nobody_spells_out_what_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A validator's message has the whole of a part in it, for each kind that the part is not."""
    from transformers import PreTrainedConfig

    spelled, spell = list[str](), PreTrainedConfig.__repr__

    def told(self: Any) -> str:
        spelled.append(type(self).__name__)
        return spell(self)

    monkeypatch.setattr(PreTrainedConfig, "__repr__", told)
    source = config("MMGroundingDinoConfig")
    said = overrides._Said(config=source, text="a config that nobody asked for before")
    spelled.clear()
    assert "num_queries" in overrides._derived(said, frozenset())
    assert spelled == []
    repr(source)
    assert spelled == ["MMGroundingDinoConfig"]
