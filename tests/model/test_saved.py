"""What is saved beside the weights: limits that the tokenizer and generation keep to."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kit.models import build
from kit.stage import MakeJob

from tinybuild.model import saved

SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 50,
}
BART = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "vocab_size": 50,
}
ENDS = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "decoder_start_token_id": 2}
SIZES = {name: size for name, size in SMALL.items() if name != "vocab_size"}
CLIP = {"text_config": {**SMALL, **ENDS}, "vision_config": {**SIZES, "image_size": 32}}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 50, "n_positions": 24}
WHISPER = {**BART, **ENDS, "max_source_positions": 40, "max_target_positions": 20}
LENGTHS: dict[str, tuple[str, dict[str, Any], int | None]] = {
    "BertConfig": ("BertForMaskedLM", {**SMALL, "max_position_embeddings": 24}, 24),
    "RobertaConfig": ("RobertaForMaskedLM", {**SMALL, "max_position_embeddings": 24}, 22),
    "GPT2Config": ("GPT2LMHeadModel", {**GPT2, "bos_token_id": 1, "eos_token_id": 1}, 24),
    "BartConfig": ("BartForConditionalGeneration", {**BART, "max_position_embeddings": 24}, 24),
    "LlamaConfig": ("LlamaForCausalLM", {**SMALL, "max_position_embeddings": 24}, 24),
    "CLIPConfig": ("CLIPModel", CLIP, 77),
    # The places of a sound are not those of a text.
    "WhisperConfig": ("WhisperForConditionalGeneration", WHISPER, 20),
    "MambaConfig": ("MambaForCausalLM", {"hidden_size": 16, "num_hidden_layers": 1}, None),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_how_long_a_text_may_be(name: str, job: MakeJob, tmp_path: Path) -> None:
    """(RoBERTa's first two positions are for padding.)"""
    kind, config, wanted = LENGTHS[name]
    facts, _ = build(job, tmp_path, name, architecture=kind, config=config)
    assert facts["length"] == wanted


def test_a_key_of_other_things_bounds_a_text_where_a_table_has_as_many_places() -> None:
    """block_size is how far Big Bird sees at once, and how many places Bark has."""
    from transformers import BarkSemanticConfig, BarkSemanticModel, BigBirdConfig, BigBirdModel

    small = {"num_layers": 1, "num_heads": 2, "hidden_size": 16, "input_vocab_size": 50}
    assert saved.longest(BarkSemanticModel(BarkSemanticConfig(**small, block_size=24))) == 24
    big = BigBirdConfig(**SMALL, max_position_embeddings=128, block_size=16)
    assert saved.longest(BigBirdModel(big)) == 128


def test_a_text_that_a_voice_reads_leaves_room_for_what_its_class_puts_around_it() -> None:
    """CLVP's."""

    class Config:
        def get_text_config(self) -> Config:
            return self

        def to_dict(self) -> dict[str, Any]:
            return {"decoder_config": {"max_text_tokens": 40}}

    model: Any = SimpleNamespace(config=Config(), named_modules=list)
    assert saved.longest(model) == 37


@pytest.mark.parametrize(("asked", "wanted"), [(448, 24), (20, 20)])
def test_generation_ends_where_the_positions_do(
    asked: int, wanted: int, job: MakeJob, tmp_path: Path
) -> None:
    config = {**BART, **ENDS, "max_position_embeddings": 24}
    told = json.dumps({"max_length": asked, **ENDS})
    section = {"architecture": "BartForConditionalGeneration", "config": config}
    _, out = build(job, tmp_path, "BartConfig", generation=told, **section)
    assert json.loads((out / "generation_config.json").read_text())["max_length"] == wanted


def test_without_a_tokenizer_generation_has_no_id_past_the_vocabulary(
    job: MakeJob, tmp_path: Path
) -> None:
    told = {"bos_token_id": 50256, "eos_token_id": 2, "lang_to_id": {"<|en|>": 50259}}
    section = {"architecture": "GPT2LMHeadModel", "config": {**GPT2, "bos_token_id": 1}}
    _, out = build(job, tmp_path, "GPT2Config", generation=json.dumps(told), **section)
    made = json.loads((out / "generation_config.json").read_text())
    assert (made["bos_token_id"], made["eos_token_id"]) == (1, 2)
    assert made.get("lang_to_id") is None


@pytest.mark.parametrize("own", [None, {"pad_token_id": 2048, "decoder_start_token_id": 2048}])
def test_what_generates_codes_begins_and_pads_with_the_row_behind_them(
    tmp_path: Path, own: dict[str, int] | None
) -> None:
    """MusicGen takes what pads out of the codes that it made: a code is not to be among it."""
    from transformers import GenerationConfig, MusicgenDecoderConfig, MusicgenForCausalLM

    config = MusicgenDecoderConfig(
        vocab_size=32,
        pad_token_id=32,
        bos_token_id=32,
        hidden_size=16,
        ffn_dim=16,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    model = MusicgenForCausalLM(config)
    if own is not None:
        GenerationConfig(**own).save_pretrained(tmp_path)
    saved.generation(model, tmp_path, None, {})
    made = model.generation_config
    assert made.pad_token_id == made.bos_token_id == made.decoder_start_token_id == 32
