"""A config.json as it is found: what is dropped, what is put right, and what is matched."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from kit.faults import refused

from tinybuild.config import found

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "vocab_size": 100,
}


def read(folder: Path, *without: str, **more: Any) -> found.Found:
    data = {name: value for name, value in {**LLAMA, **more}.items() if name not in without}
    (folder / "config.json").write_text(json.dumps(data))
    return found.read(folder)


def changes(made: found.Found) -> dict[str, Any]:
    return {".".join(one.path): one.new for one in made.mended}


def test_what_is_right_stays_as_it_is(tmp_path: Path) -> None:
    made = read(tmp_path)
    assert made.mended == ()
    assert (made.config.hidden_size, made.config.architectures) == (64, ["LlamaForCausalLM"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "has no config.json"),
        ("{", "is not JSON: Expecting property name enclosed in double quotes (line 1, column 2)"),
        ("{}\n[http]", "is not JSON: Extra data (line 2, column 1)"),
        ("\ufeff{}", "is not JSON: Unexpected UTF-8 BOM"),
        ("[" * 5000, "is not JSON"),
        ("[]", "is not a JSON object"),
        (b"{\xff}", "config.json is not UTF-8 (byte 1)"),
        ("{}", "names no model_type"),
        ('{"model_type": "gpt22"}', "transformers does not know: gpt22"),
        ('{"model_type": "gpt2", "n_embd": "wide"}', "expected int"),
        ('{"model_type": "gpt2", "n_embd": 64.5}', "expected int"),
    ],
)
def test_a_config_that_is_none(text: str | bytes | None, words: str, tmp_path: Path) -> None:
    if text is not None:
        written = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "config.json").write_bytes(written)
    refusal = refused(found.read, tmp_path)
    assert words in refusal.what
    assert refusal.key == ("source",)
    if text == '{"model_type": "gpt22"}':
        assert "nearest by name gpt2" in refusal.what
        assert "give its config.json the model_type" in refusal.hint


# --- what no bundle may say -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["quantization_config", "compression_config"])
def test_packed_weights_are_plain_ones(name: str, tmp_path: Path) -> None:
    packed = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    made = read(tmp_path, **{name: packed}, torch_dtype="bfloat16")
    assert not hasattr(made.config, name)
    (one,) = made.mended
    assert (one.path, one.old, one.new) == ((name,), packed, None)
    assert one.reason == "rule precision: the weights are plain, not packed as fp8"
    assert made.dtype == "bfloat16"


def test_packed_weights_of_a_part(tmp_path: Path) -> None:
    text = {**LLAMA, "quantization_config": {"quant_method": "mxfp4"}, "dtype": "float16"}
    made = read(tmp_path, model_type="llava", architectures=None, text_config=text)
    assert "quantization_config" not in made.config.text_config.to_dict()
    assert made.dtype == "float16"


@pytest.mark.parametrize(
    "more",
    [
        {"auto_map": {"AutoConfig": "configuration_x.X"}},
        {"custom_generate": "owner/name"},
        {"norm_kernel": "owner/name@v1:RMSNorm"},
        {"_name_or_path": "/home/me/llama"},
        {"_name_or_path": "owner/name"},
        {"vocab_file": "/etc/passwd"},
        {"mm_vision_tower": "openai/clip-vit-large-patch14"},
        {"save": "../elsewhere"},
        {"save": "https://example.org/x.json"},
        {"tokenizer_name": "~/tokenizers/mine"},
    ],
)
def test_what_leads_elsewhere_is_dropped(more: dict[str, Any], tmp_path: Path) -> None:
    made = read(tmp_path, **more)
    assert changes(made) == dict.fromkeys(more)
    assert not any(made.config.to_dict().get(name) for name in more)


def test_what_leads_nowhere_is_no_change(tmp_path: Path) -> None:
    assert changes(read(tmp_path, _name_or_path="", auto_map={}, vocab_file=None)) == {}


@pytest.mark.parametrize("more", [{"prefix": "</s>"}, {"save": "a word"}, {"save": "1/2 of it"}])
def test_words_lead_nowhere(more: dict[str, Any], tmp_path: Path) -> None:
    assert changes(read(tmp_path, **more)) == {}


@pytest.mark.usefixtures("no_network")
def test_a_backbone_that_is_a_repository_is_refused_without_a_request(tmp_path: Path) -> None:
    refusal = refused(read, tmp_path, model_type="dpt", backbone="owner/unheard-of")
    assert "backbone of the source's config.json is a repository of the Hub" in refusal.what
    assert "backbone_config" in refusal.hint


@pytest.mark.usefixtures("no_network")
def test_a_backbone_of_a_part_that_is_described_beside_its_name_is_none(tmp_path: Path) -> None:
    named = {"backbone": "owner/unheard-of", "num_labels": 2}
    told = {**named, "backbone_config": {"model_type": "resnet", "depths": [1]}}
    depth: dict[str, Any] = {"model_type": "depth_anything", "neck_config": {}}
    refusal = refused(read, tmp_path, part_config={**depth, **named})
    assert "part_config.backbone of the source's config.json is a repository" in refusal.what
    assert "part_config" in read(tmp_path, part_config={**depth, **told}).config.to_dict()


def test_generation_that_layers_elsewhere_help(tmp_path: Path) -> None:
    made = read(tmp_path, use_mtp=True, num_mtp_modules=3)
    assert changes(made) == {"use_mtp": None}
    assert "rule generation" in reasons(made)


# --- old ways -------------------------------------------------------------------------------------


def test_numbers_are_numbers(tmp_path: Path) -> None:
    text = {"hidden_size": "64", "num_hidden_layers": "4", "rms_norm_eps": "1e-06"}
    words = {"mlp_bias": "false", "attention_bias": "true"}
    more = {"bos_token_id": "1", **words, "rope_theta": 10000}
    made = read(tmp_path, **text, **more)
    config = made.config
    assert (config.hidden_size, config.num_hidden_layers, config.bos_token_id) == (64, 4, 1)
    assert config.rms_norm_eps == 1e-6
    assert (config.mlp_bias, config.attention_bias) == (False, True)
    assert {*changes(made)} == {*text, *words, "bos_token_id"}
    assert all(one.reason.startswith("rule legacy: ") for one in made.mended)


@pytest.mark.parametrize("said", [0, 1])
def test_a_switch_that_is_a_number(said: int, tmp_path: Path) -> None:
    made = read(tmp_path, mlp_bias=said)
    assert made.config.mlp_bias is bool(said)


def test_none_where_a_class_takes_none_is_the_default(tmp_path: Path) -> None:
    made = read(tmp_path, initializer_range=None)
    assert made.config.initializer_range == 0.02
    assert changes(made) == {"initializer_range": None}
    assert not changes(read(tmp_path, num_key_value_heads=None))  # which it takes


def test_a_scaling_of_no_kind_is_none(tmp_path: Path) -> None:
    made = read(tmp_path, rope_scaling={"type": None})
    assert changes(made) == {"rope_scaling": None}
    assert made.config.rope_parameters["rope_type"] == "default"
    assert not changes(read(tmp_path, rope_scaling={"type": "linear", "factor": 2.0}))


def test_a_rotation_in_sections_is_the_usual_one(tmp_path: Path) -> None:
    """A text model that has it alone, a draft for Qwen 2.5 VL, does not know its name."""
    sections = {"type": "mrope", "mrope_section": [2, 2, 4]}
    made = read(tmp_path, rope_scaling=sections)
    assert made.config.rope_parameters["rope_type"] == "default"
    assert made.config.rope_parameters["mrope_section"] == [2, 2, 4]
    assert changes(made) == {"rope_scaling": {**sections, "type": "default"}}


def test_labels_in_a_list(tmp_path: Path) -> None:
    made = read(tmp_path, id2label=["no", "yes", "?"], label2id=["no", "yes", "?"])
    assert made.config.id2label == {0: "no", 1: "yes", 2: "?"}
    assert made.config.label2id == {"no": 0, "yes": 1, "?": 2}


@pytest.mark.parametrize(
    ("said", "dtype"),
    [
        ({"torch_dtype": "float16"}, "float16"),
        ({"dtype": "torch.bfloat16"}, "bfloat16"),
        ({"dtype": "bfloat16", "torch_dtype": "float32"}, "bfloat16"),
        ({"torch_dtype": "auto"}, "float32"),
        ({"dtype": "float8_e4m3fn"}, "float32"),
        ({"dtype": None}, "float32"),
        ({}, "float32"),
    ],
)
def test_the_type_of_a_checkpoint(said: dict[str, Any], dtype: str, tmp_path: Path) -> None:
    assert read(tmp_path, **said).dtype == dtype


# --- types and classes that are not known ---------------------------------------------------------


def reasons(made: found.Found) -> str:
    return " | ".join(dict.fromkeys(one.reason for one in made.mended))


def test_a_type_that_is_spelt_otherwise(tmp_path: Path) -> None:
    made = read(tmp_path, model_type="DeepSeek-V3", architectures=["DeepSeekV3ForCausalLM"])
    assert made.config.model_type == "deepseek_v3"
    assert made.config.architectures == ["DeepseekV3ForCausalLM"]
    assert "spells it deepseek_v3" in reasons(made)
    assert "spells it DeepseekV3ForCausalLM" in reasons(made)


@pytest.mark.parametrize("more", [{"model_type": "kimi_k2"}, {"model_type": None}])
def test_a_type_by_its_class(more: dict[str, Any], tmp_path: Path) -> None:
    made = read(tmp_path, architectures=["DeepseekV3ForCausalLM"], **more)
    assert made.config.model_type == "deepseek_v3"
    assert "DeepseekV3ForCausalLM is a class of deepseek_v3" in reasons(made)


def test_a_type_by_a_class_that_no_table_has(tmp_path: Path) -> None:
    """A vocoder's config says hifigan, which is the name of no type."""
    named = {"model_type": "hifigan", "architectures": ["SpeechT5HifiGan"]}
    (tmp_path / "config.json").write_text(json.dumps({**named, "upsample_rates": [4, 4, 4, 4]}))
    made = found.read(tmp_path)
    assert made.config.model_type == "speecht5_hifigan"
    assert made.config.architectures == ["SpeechT5HifiGan"]


def test_a_type_by_its_text_part(tmp_path: Path) -> None:
    text = {**LLAMA, "model_type": "kimi_k2", "architectures": ["DeepseekV3ForCausalLM"]}
    whole = {"architectures": ["KimiK9ForConditionalGeneration"], "model_type": "kimi_k9"}
    parts = {"text_config": text, "vision_config": {"patch_size": 14}, "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps({**whole, **parts}))
    made = found.read(tmp_path)
    assert (made.config.model_type, made.config.hidden_size) == ("deepseek_v3", 64)
    assert made.config.tie_word_embeddings
    assert "its text_config is of deepseek_v3" in reasons(made)
    assert {"model_type", "text_config", "vision_config"} <= {*changes(made)}


@pytest.mark.parametrize(
    ("more", "model_type"),
    [
        ({"attention_bias": False, "mlp_bias": False, "pretraining_tp": 1}, "llama"),
        ({"use_sliding_window": False, "max_window_layers": 4, "sliding_window": None}, "qwen"),
    ],
)
def test_a_type_by_its_keys(more: dict[str, Any], model_type: str, tmp_path: Path) -> None:
    unknown = {"model_type": "mine", "architectures": ["MineForCausalLM"], "hidden_act": "silu"}
    made = read(tmp_path, num_key_value_heads=2, max_position_embeddings=64, **unknown, **more)
    assert made.config.model_type.startswith(model_type)
    assert "does not know mine" in reasons(made)
    assert "% of its keys" in reasons(made)
    assert made.config.architectures is not None
    assert made.config.architectures[0].endswith("ForCausalLM")


def test_the_keys_of_a_text_part_at_the_top(tmp_path: Path) -> None:
    made = read(tmp_path, model_type="llava", architectures=["LlavaLlamaForCausalLM"])
    assert (made.config.model_type, made.config.hidden_size) == ("llama", 64)
    assert "the keys at the top are those of its text_config" in reasons(made)


def test_a_text_part_without_a_class_of_its_own_gets_the_keys_at_the_top(tmp_path: Path) -> None:
    made = read(tmp_path, model_type="mllama", architectures=["MllamaForConditionalGeneration"])
    assert (made.config.model_type, made.config.text_config.hidden_size) == ("mllama", 64)
    assert changes(made)["text_config"]["hidden_size"] == 64
    assert changes(made)["hidden_size"] is None


@pytest.mark.parametrize("size", [64, 4096])
def test_keys_that_are_the_default_hide_no_others(size: int, tmp_path: Path) -> None:
    """LLaVA-1.5-7B's are all Llama's but for the positions; 13B's are not."""
    usual = {"intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
    more = {**usual, "hidden_size": size, "vocab_size": 32000, "max_position_embeddings": 4096}
    made = read(tmp_path, model_type="llava", architectures=None, **more)
    assert made.config.model_type == "llama"
    assert made.config.max_position_embeddings == 4096


def test_a_class_that_looks_for_them_at_the_top_is_asked(tmp_path: Path) -> None:
    """Qwen2-VL's first config.json says all of the text there, and a window that it does not use:
    its class drops that."""
    usual = {"num_hidden_layers": 80, "num_attention_heads": 64}
    window = {"sliding_window": 32768, "use_sliding_window": False}
    data = {"model_type": "qwen2_vl", "hidden_size": 1280, **usual, **window}
    (tmp_path / "config.json").write_text(json.dumps(data))
    made = found.read(tmp_path)
    assert made.mended == ()
    assert (made.config.model_type, made.config.text_config.hidden_size) == ("qwen2_vl", 1280)


def test_a_class_by_its_head(tmp_path: Path) -> None:
    made = read(tmp_path, architectures=["MyLlamaForSequenceClassification"])
    assert made.config.architectures == ["LlamaForSequenceClassification"]
    assert "llama has no MyLlamaForSequenceClassification" in reasons(made)
    assert read(tmp_path, architectures=["Something"]).config.architectures is None


def test_a_class_by_what_its_head_does(tmp_path: Path) -> None:
    named = ["Wav2Vec2ForSpeechClassification"]
    made = read(tmp_path, model_type="wav2vec2", architectures=named)
    assert made.config.architectures == ["Wav2Vec2ForSequenceClassification"]
    assert "Wav2Vec2ForSequenceClassification is the nearest Classification" in reasons(made)


def test_a_type_whose_name_begins_alike_comes_first(tmp_path: Path) -> None:
    """MiniMax M3's text is one of MiniMax M3 VL's parts; DeepSeek's code was copied more often."""
    keys = {
        "index_head_dim": 8,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "swiglu_limit": 7.0,
    }
    more = {"routed_scaling_factor": 2.0, "head_dim": 16, "partial_rotary_factor": 0.5}
    named = {"model_type": "minimax_m3", "architectures": ["MiniMaxM3ForCausalLM"]}
    made = read(
        tmp_path, num_key_value_heads=2, num_nextn_predict_layers=1, **keys, **more, **named
    )
    assert made.config.model_type == "minimax_m3_vl_text"


def test_a_class_of_another_type_is_not_taken(tmp_path: Path) -> None:
    kinds = {"layer_types": ["full_attention", "sliding_attention"] * 2, "sliding_window": 8}
    made = read(tmp_path, model_type="mistral", architectures=["MistralForCausalLM"], **kinds)
    assert made.config.model_type == "ministral"  # what transformers makes of such lists
    assert made.config.architectures == ["MinistralForCausalLM"]


@pytest.mark.parametrize(
    ("keys", "model_type"),
    [
        (
            {
                **{"hidden_size": 768, "intermediate_size": 3072, "type_vocab_size": 2},
                **{"num_attention_heads": 12, "num_hidden_layers": 12, "vocab_size": 30522},
                **{"attention_probs_dropout_prob": 0.1, "hidden_act": "gelu"},
                **{"max_position_embeddings": 512, "directionality": "bidi"},
            },
            "bert",
        ),
        (
            {
                **{"hidden_size": 64, "intermediate_size": 128, "rms_norm_eps": 1e-6},
                **{"num_attention_heads": 4, "num_hidden_layers": 2, "hidden_act": "silu"},
                **{"max_position_embeddings": 128, "vocab_size": 100},
            },
            "llama",
        ),
        (
            {
                **{"d_model": 64, "d_ff": 128, "d_kv": 16, "num_layers": 2, "num_heads": 4},
                **{"relative_attention_num_buckets": 32, "vocab_size": 100},
            },
            "t5",
        ),
    ],
)
def test_of_types_that_fit_alike_it_is_the_one_that_others_were_copied_from(
    keys: dict[str, Any], model_type: str, tmp_path: Path
) -> None:
    """As Google's bert_config.json says it: neither a type nor a class."""
    (tmp_path / "config.json").write_text(json.dumps(keys))
    assert found.read(tmp_path).config.model_type == model_type


def test_the_nearest_types_stand_by_what_they_share(tmp_path: Path) -> None:
    """Also those that others were copied from: llama (4%), bert (4%), xcodec (19%) told nothing."""
    strange = {"model_type": "audio-classification", "hidden_size": 768, "sample_rate": 16000}
    (tmp_path / "config.json").write_text(json.dumps({**strange, "num_classes": 5, "duration": 3}))
    shares = re.findall(r"\((\d+)%\)", refused(found.read, tmp_path).what)
    assert shares
    assert shares == sorted(shares, key=int, reverse=True)
