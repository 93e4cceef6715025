"""One vocabulary of config keys: what a name means to the rules it means to the checks."""

from __future__ import annotations

import re

import pytest

from tinybuild import keys
from tinybuild.paths import Data, Json

# Not of the measure that their row says: where it stands beside no experts it is of sampling.
UNMEASURED = {"top_k"}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("hidden_size", "width"),
        ("text_embed_dim", "width"),
        ("num_attention_heads", "heads"),
        ("encoder_attention_heads", "heads"),
        ("num_key_value_heads", "kv heads"),
        ("qk_rope_head_dim", "rope dim"),
        ("v_head_dim", "head dim"),
        ("decoder_ffn_dim", "ffn width"),
        ("n_routed_experts", "experts"),
        ("num_experts_per_tok", "top k"),
        ("vocab_size", "vocabulary"),
        ("kv_lora_rank", "rank"),
        ("num_mel_bins", "mels"),
        ("chunk_size_feed_forward", ""),
        ("feed_forward_size", "ffn width"),
        ("memory_attention_feed_forward_hidden_size", "ffn width"),
        ("num_key_value_heads_per_layer", "kv heads"),
        ("num_attention_heads_per_layer", "heads"),
        ("moe_intermediate_size", "expert width"),
        ("ffn_dim", "ffn width"),
        ("n_inner", "ffn width"),
        ("src_vocab_size", "vocabulary"),
        ("type_vocab_size", ""),
        ("conv_kernel_size", ""),
        ("num_hidden_layers", "depth"),
        ("t2u_encoder_layers", "depth"),
        ("num_conv_pos_embeddings_layers", ""),
        ("max_window_layers", ""),
        ("max_depth", "pooled"),
        ("nothing_known", ""),
    ],
)
def test_a_name_measures_one_thing(name: str, wanted: str) -> None:
    assert keys.measures(name) == wanted


@pytest.mark.parametrize("row", sorted({*keys.MEASURES} & {*keys.NAMES}))
def test_what_families_call_it_measures_it(row: str) -> None:
    for name in keys.NAMES[row]:
        if name not in UNMEASURED:
            assert keys.measures(name) == row


def test_a_measure_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MEASURES", {"petals": r"~petal_count", **keys.MEASURES})
    keys.measures.cache_clear()
    data: Data = {"rose_petal_count": 5, "petal_count": 0, "hidden_size": 4}
    assert list(keys.numbers(data, "petals")) == [("rose_petal_count", 5)]
    monkeypatch.undo()
    keys.measures.cache_clear()
    assert list(keys.numbers(data, "petals")) == []


def test_words_before_are_before_something() -> None:
    """~ stands for words that end in _: at the end of a name it matches none."""
    for pattern in (*keys.MEASURES.values(), *keys.SAYS.values()):
        assert not re.search(r"~(?=[|)]|$)", pattern), pattern
    assert keys.measures("num_codevectors_per_group") == "vocabulary"


def test_every_row_is_a_pattern_that_works() -> None:
    for what in keys.SAYS:
        assert not keys.says("nothing_known", what)
    with pytest.raises(KeyError):
        keys.says("depth", "mistyped")


def test_the_depths_of_a_config_are_all_that_the_rules_cut() -> None:
    data: Data = {
        "num_hidden_layers": 4,
        "t2u_decoder_layers": 6,
        "num_conv_layers": 99,
        "depths": [2, 2, 6],
        "num_mtp_layers": 50,
    }
    assert keys.depths(data) == [4, 6, 3, 10]


@pytest.mark.parametrize("part", keys.NAMES["text part"])
def test_the_vocabulary_of_the_text_is_in_its_part(part: str) -> None:
    """Of pi0, too, whose text is inside its vlm_config."""
    data: Data = {part: {"text_config": {"vocab_size": 7}}, "vision_config": {"vocab_size": 3}}
    assert keys.vocabulary(data) == 7
    assert keys.vocabulary({"vocab_size": 5, **data}) == 5
    assert keys.vocabulary({"vision_config": {"vocab_size": 3}}) is None
    assert keys.vocabulary({"model_config": {"vocab_size": 6}, "vocoder_config": {}}) == 6


@pytest.mark.parametrize(
    ("name", "value", "taken", "kind"),
    [
        ("out_indices", [-1, 4], True, False),
        ("out_indices", [5], False, False),
        ("mlp_only_layers", [0, 3], False, True),
        ("mlp_only_layers", [3, 0], False, False),
        ("mlp_only_layers", [0, 4], False, False),
        ("eos_token_ids", [0, 3], False, False),
        ("hidden_sizes", [0, 3], False, False),
        ("mlp_only_layers", 3, False, False),
    ],
)
def test_lists_of_layers(name: str, value: Json, taken: bool, kind: bool) -> None:
    assert keys.takes_layers(name, value, 4) is taken
    assert keys.numbers_layers(name, value, 4) is kind


def test_token_ids() -> None:
    assert all(map(keys.is_id, ("eos_token_id", "bad_words_ids", "pad_id", "lang_to_id")))
    assert not any(map(keys.is_id, ("id", "token_type_id", "label2id", "worker_id")))
    assert keys.role("eos_token_id") == "eos"
    assert keys.role("image_token_index") == "image"
    data: Data = {
        "eos_token_id": [1, 2],
        "forced_decoder_ids": [[1, 7], [2, None]],
        "lang_to_id": {"en": 9},
        "inside": [{"pad_token_id": 3, "mask_token_id": -1}],
    }
    assert list(keys.mentioned(data)) == [1, 2, 7, 9, 3]
    assert list(keys.mentioned(data, named=False)) == [1, 2, 7, 3]


def test_configs_are_entered_and_data_are_not() -> None:
    data: Data = {
        "text_config": {"rope_parameters": {}},
        "id2label": {"0": "x"},
        "per_layer_config": {"0": {}},
        "lang_to_id": {"en": 1},
    }
    at = [path for path, _ in keys.configs(data)]
    assert at == [(), ("text_config",), ("text_config", "rope_parameters")]
