"""What a class's default leaves open is filled in; what a source says, or leaves out, stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tinybuild.config import found, overrides
from tinybuild.config.completed import complete, left_open
from tinybuild.config.shrink import shrink
from tinybuild.paths import get


def default(model_type: str, **arguments: Any) -> Any:
    from transformers import CONFIG_MAPPING

    return CONFIG_MAPPING[model_type](**arguments)


def test_a_pyramid_of_codes_is_as_wide_as_its_stages() -> None:
    """Emu 3's codes are 4 wide, and its attention four times the first stage."""
    assert "vq_config" not in left_open(default("emu3"))


@pytest.mark.parametrize(
    ("model_type", "key", "value"),
    [
        ("ministral", "head_dim", 128),  # 4096 / 32
        ("nemotron", "num_key_value_heads", 48),  # as many as heads
        ("deepseek_v2", "num_experts_per_tok", 2),
        ("bamba", "attn_layer_indices", [16]),  # of 32: some layer attends
        ("wav2vec2-bert", "vocab_size", 32),
        ("esm", "mask_token_id", 31),
        ("informer", "prediction_length", 12),
        ("gemma4", "vision_config.model_type", "gemma4_vision"),
        ("hunyuan_vl", "text_config.rope_parameters.mrope_section", [16] * 4),
        ("t5", "decoder_start_token_id", 0),
        ("llama4", "vision_config.vision_output_dim", 4096),  # what the projector gives
        ("xmod", "default_language", "en_XX"),  # the first of languages
        ("pvt", "num_labels", 2),
        # What a tower gives is as wide as the text.
        ("qwen2_vl", "vision_config.hidden_size", 8192),
        ("qwen3_vl", "vision_config.out_hidden_size", 4096),
        ("glm_ocr", "vision_config.out_hidden_size", 1024),
        ("molmo2", "adapter_config.text_hidden_size", 4096),
        ("granite_speech_plus", "projector_config.encoder_hidden_size", 1024),
    ],
)
def test_what_a_default_leaves_open(model_type: str, key: str, value: Any) -> None:
    source = default(model_type)
    path = tuple(key.split("."))
    left = left_open(source)
    assert get(left, path) == value
    made = complete(source, left)
    assert get(made.to_dict(), path) == value
    assert left_open(made) == {}


@pytest.mark.parametrize("model_type", ["lfm2_moe", "granitemoehybrid"])
def test_some_layer_attends(model_type: str) -> None:
    source = default(model_type)
    made = complete(source, left_open(source))
    assert len({*made.layer_types}) == 2
    assert made.layer_types[-1] == "full_attention"
    tree = shrink(made, {})
    small = overrides.override(made, {}, tree.overrides, ())
    assert small.layer_types[-1] == "full_attention"


@pytest.mark.parametrize(
    "model_type", ["mixtral", "llama", "gemma4_text", "mbart", "moshi", "neucodec", "blip-2"]
)
def test_none_that_the_class_understands_stays(model_type: str) -> None:
    assert left_open(default(model_type)) == {}


def test_what_a_source_leaves_out_is_a_fact_of_it() -> None:
    text = default("gemma4_text", hidden_size=1024)
    assert left_open(default("gemma4", text_config=text)) == {}  # a model of text
    assert left_open(default("bamba", num_hidden_layers=4)) == {}


def test_what_ends_a_text_pads_labels_where_nothing_does() -> None:
    """Moonshine shifts labels by a padding token that its checkpoints leave out."""
    from transformers import MoonshineConfig

    assert left_open(MoonshineConfig(pad_token_id=None, eos_token_id=7))["pad_token_id"] == 7
    assert left_open(MoonshineConfig(pad_token_id=None, eos_token_id=[5, 7]))["pad_token_id"] == 5


def test_a_start_that_only_the_generation_config_says(tmp_path: Path) -> None:
    default("t5").save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"decoder_start_token_id": 9}')
    assert found.load(tmp_path).decoder_start_token_id == 9


def test_a_decoders_start_is_what_generation_takes() -> None:
    assert left_open(default("t5", bos_token_id=3))["decoder_start_token_id"] == 3
    assert left_open(default("t5", decoder_start_token_id=7)) == {}
    assert left_open(default("udop", pad_token_id=5))["decoder_start_token_id"] == 5


def test_what_the_recipe_leaves_out_is_not_filled_in() -> None:
    """A part that its class can be without, such as Gemma 4's audio tower."""
    source = default("gemma4")
    left = left_open(source, {"audio_config": None})
    assert [*left] == ["vision_config"]
    made = overrides.override(complete(source, left), {"audio_config": None}, {}, ())
    assert made.audio_config is None
