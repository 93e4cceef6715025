"""Rows of bundles, from what their files say, and queries of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tinybuild.catalog.query import matching, unknown
from tinybuild.catalog.rows import Row, row, rows
from tinybuild.errors import RecipeFault


def bundle(
    folder: Path,
    config: Mapping[str, Any] | None = None,
    checks: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
    card: str = "",
) -> Path:
    """A bundle with what a row is made from. checks: name -> (measured, values)."""
    folder.mkdir(parents=True)
    told = [
        {"name": name, "state": "passed", "measured": said, "wanted": said, "values": values}
        for name, (said, values) in (checks or {}).items()
    ]
    (folder / "report.json").write_text(json.dumps({"version": 1, "checks": told}))
    (folder / "README.md").write_text(card)
    (folder / "SHA256SUMS").write_text("")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


MOE = {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "intermediate_size": 64,
    "layer_types": ["full_attention", "sliding_attention"],
    "tie_word_embeddings": True,
}
CHECKS = {
    "tokenizer_loads": ("x", {"tokens": 500}),
    "max_parameters": ("x", {"parameters": 4000}),
    "inputs_matter": ("the outputs depend on input_ids", {}),
}


def test_a_row_is_what_the_bundle_says(tmp_path: Path) -> None:
    card = "---\npipeline_tag: text-generation\nlicense:\n- mit\n- apache-2.0\n---\n# x\n"
    made = row(bundle(tmp_path / "moe", MOE, CHECKS, card))
    assert made == Row(
        name="moe",
        class_="MixtralForCausalLM",
        model_type="mixtral",
        task="text-generation",
        modalities=("text",),
        kinds=("full_attention", "gqa", "moe", "sliding_attention", "tied"),
        parameters=4000,
        bytes=made.bytes,
        vocabulary=500,
        rows=None,
        tensor_parallel=2,
        checks=3,
        untried=0,
        licence="mit, apache-2.0",
    )
    assert made.bytes > 500


@pytest.mark.parametrize(
    ("inputs", "wanted"),
    [
        ("input_ids, pixel_values_videos, pixel_values", ("image", "text", "video")),
        ("input_features, decoder_input_ids", ("audio", "text")),
        ("past_values", ("series",)),
        ("bbox, input_ids", ("layout", "text")),
        ("nothing", ()),
    ],
)
def test_modalities(tmp_path: Path, inputs: str, wanted: tuple[str, ...]) -> None:
    told = {"inputs_matter": (f"the outputs depend on {inputs}", {})}
    assert row(bundle(tmp_path / "x", {"model_type": "x"}, told)).modalities == wanted
    told = {**told, "every_modality": ("audio, image", {})}
    assert row(bundle(tmp_path / "y", {"model_type": "x"}, told)).modalities == ("audio", "image")


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"num_heads": 4, "num_kv_heads": 1}, ("mqa",)),
        ({"num_attention_heads": 4, "num_key_value_heads": 4, "kv_lora_rank": 8}, ("mla",)),
        ({"is_encoder_decoder": True, "num_local_experts": 1}, ("encoder-decoder",)),
        (
            {"text_config": {"state_size": 8, "layers_block_type": ["mamba", "mamba"]}},
            ("mamba", "ssm"),
        ),
        ({"hidden_size": 4}, ()),
    ],
)
def test_kinds(tmp_path: Path, config: Mapping[str, Any], wanted: tuple[str, ...]) -> None:
    assert row(bundle(tmp_path / "x", {"model_type": "x", **config})).kinds == wanted


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["moe", "rows"]),
        ({"kind": "MOE"}, ["moe"]),
        ({"kind": ["moe", "gqa"], "tp": 2, "modality": "text"}, ["moe"]),
        ({"kind": ["moe", "mla"]}, []),
        ({"tp": 4}, []),
        ({"tp": 1}, ["moe"]),
        ({"class": "MixtralForCausalLM"}, ["moe"]),
        ({"class_": "MixtralForCausalLM", "model_type": "mixtral"}, ["moe"]),
        ({"max_bytes": "1MB"}, ["moe", "rows"]),
        ({"max_bytes": "0.0003MB"}, ["rows"]),
        ({"max_bytes": 300}, ["rows"]),
        ({"max_parameters": "4k", "max_vocabulary": 500}, ["moe"]),
        ({"max_parameters": 3999}, []),
        ({"min_rows": 5}, ["rows"]),
        ({"min_rows": "6"}, []),
    ],
)
def test_queries(tmp_path: Path, asked: Mapping[str, Any], names: list[str]) -> None:
    bundle(tmp_path / "moe", MOE, CHECKS)
    bundle(tmp_path / "rows", checks={"dataset_loads": ("x", {"rows": 5})})
    (tmp_path / "other").mkdir()
    (tmp_path / "moe.tar.gz").touch()
    assert [one.name for one in matching(rows(tmp_path), asked)] == names


def test_words_that_no_bundle_has(tmp_path: Path) -> None:
    bundle(tmp_path / "moe", MOE, CHECKS)
    held = rows(tmp_path)
    assert [*unknown(held, {"kind": "mo", "tp": 3, "model_type": "Mixtral"})] == [
        "none has the kind mo: did you mean moe?"
    ]
    (told,) = unknown(held, {"modality": "smell"})
    assert told == "none has the modality smell: known: text"
    (told,) = unknown(held, {"max_parameters": 1, "max_bytes": "1GB"})
    assert told == f"the smallest has {held[0].parameters:,} parameters"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"knd": "moe"}, "bundles cannot be asked for knd\n  hint: did you mean kind?"),
        ({"max_bytes": "many"}, "many is not a number\n  hint: give 2, 50M or 1.5MB, for example"),
        ({"tp": 0}, "0 is not a number"),
        ({"tp": True}, "True is not a number"),
        ({"tp": "0.4"}, "0.4 is not a number"),
    ],
)
def test_what_cannot_be_asked(tmp_path: Path, asked: Mapping[str, Any], said: str) -> None:
    bundle(tmp_path / "moe", MOE, CHECKS)
    with pytest.raises(RecipeFault) as caught:
        matching(rows(tmp_path), asked)
    assert said in str(caught.value)


def test_a_folder_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert rows(tmp_path / "nowhere") == ()
