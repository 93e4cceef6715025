"""What transformers 4 reads of a config: said in its keys, or named as what it does not read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tinybuild.config.older import FIVE, FOUR, least, spelled, unread

YARN = {
    "rope_type": "yarn",
    "rope_theta": 5000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}
GEMMA = {
    "full_attention": {"rope_type": "linear", "rope_theta": 70_000.0, "factor": 8.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 7000.0},
}
PLAIN = {"rope_type": "default", "rope_theta": 7000.0}


def config(name: str, **more: Any) -> dict[str, Any]:
    """The config.json of a class's defaults."""
    import transformers

    made: dict[str, Any] = json.loads(getattr(transformers, name)(**more).to_json_string())
    return made


@pytest.mark.parametrize(
    ("name", "said", "keys"),
    [
        ("LlamaConfig", PLAIN, {"rope_theta": 7000.0, "rope_scaling": None}),
        (
            "LlamaConfig",
            YARN,
            {
                "rope_theta": 5000.0,
                "rope_scaling": {k: v for k, v in YARN.items() if k != "rope_theta"},
            },
        ),
        (
            "Gemma3TextConfig",
            GEMMA,
            {
                "rope_theta": 70_000.0,
                "rope_local_base_freq": 7000.0,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            },
        ),
        (
            "GPTNeoXConfig",
            {**PLAIN, "partial_rotary_factor": 0.5},
            {"rotary_emb_base": 7000.0, "rotary_pct": 0.5, "rope_scaling": None},
        ),
        (
            "ModernBertConfig",
            {"full_attention": PLAIN, "sliding_attention": {**PLAIN, "rope_theta": 500.0}},
            {"global_rope_theta": 7000.0, "local_rope_theta": 500.0},
        ),
    ],
)
def test_a_rotation_in_the_keys_of_version_4(
    name: str, said: dict[str, Any], keys: dict[str, Any]
) -> None:
    data = config(name, rope_parameters=said)
    assert unread(data) == [()]
    made = spelled(data)
    assert unread(made) == []
    assert {key: made[key] for key in keys} == keys
    assert made["rope_parameters"] == data["rope_parameters"]


def test_a_rotation_that_every_version_has_by_default() -> None:
    data = config("LlamaConfig")
    assert unread(data) == []
    assert spelled(data) == data
    assert least(data, {}, {}).version == FOUR
    assert least(config("T5Config"), {}, {}).version == FOUR


def test_a_rotation_inside_a_part() -> None:
    data = config("Gemma3Config", text_config={"rope_parameters": GEMMA})
    assert unread(data) == [("text_config",)]
    made = spelled(data)
    assert unread(made) == []
    assert made["text_config"]["rope_local_base_freq"] == 7000.0  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("data", "tokenizer", "reason"),
    [
        (config("LlamaConfig", rope_parameters=PLAIN), {}, "rope_parameters in config.json"),
        ({}, {"tokenizer_class": "TokenizersBackend"}, "the tokenizer class TokenizersBackend"),
        (
            {},
            {"extra_special_tokens": ["<x>"]},
            "extra_special_tokens as a list in tokenizer_config.json",
        ),
        ({"model_type": "glm4_moe_lite"}, {}, "the model type glm4_moe_lite"),
        (
            config("MT5Config"),
            {},
            "tie_word_embeddings in config.json, which scales the outputs there",
        ),
    ],
)
def test_what_version_4_does_not_read(
    data: dict[str, Any], tokenizer: dict[str, Any], reason: str
) -> None:
    told = least(data, tokenizer, {})
    assert told.reasons == (reason,)
    assert told.version != FOUR


def test_a_type_newer_than_5_0_is_for_the_version_that_builds_it() -> None:
    import transformers

    told = least({"model_type": "dots3_note"}, {}, {})
    assert told.version == ".".join(transformers.__version__.split(".")[:2])
    assert told.version not in (FOUR, FIVE)
