"""A tiny model's shape becomes overrides on its source, as few as make the same tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kit.stage import MakeJob

from tinybuild.artefact import importing, shape
from tinybuild.artefact.shape import Imported
from tinybuild.errors import BuildFault


def read(job: MakeJob, root: Path, tiny: dict[str, Any], full: dict[str, Any]) -> Imported:
    """What is seen of two configs, without tokenizers."""
    for name, config in (("tiny", tiny), ("full", full)):
        (root / name / "source").mkdir(parents=True, exist_ok=True)
        (root / name / "source/config.json").write_text(json.dumps(config))
    return shape.read(job({}, tiny=root / "tiny", full=root / "full"))


LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_key_value_heads": 8}
SMALL = {
    **LLAMA,
    "vocab_size": 600,
    "hidden_size": 8,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 2,
    "bos_token_id": 3,
    "dtype": "bfloat16",
}


def test_the_overrides_are_the_difference(job: MakeJob, tmp_path: Path) -> None:
    tiny = {**SMALL, "n_positions_of_old": 7, "max_position_embeddings": 64, "pretraining_tp": 2}
    seen = read(job, tmp_path, tiny, {**LLAMA, "rope_theta": 500000.0, "dtype": "float32"})
    assert seen.other == ()
    assert seen.tensors == 21
    assert seen.overrides == {
        "hidden_size": 8,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "rope_parameters": {"rope_theta": 10000.0},
        # The source has no tokenizer that these could follow; head_dim follows the width.
        "vocab_size": 600,
        "bos_token_id": 3,
    }
    assert (seen.vocabulary, seen.of_source, seen.tokenizer) == (600, 32000, False)
    assert (seen.dtype, seen.class_) == ("bfloat16", "LlamaForCausalLM")
    assert "pretraining_tp: LlamaForCausalLM does not read pretraining_tp" in seen.unknown
    assert "n_positions_of_old: LlamaConfig has no 'n_positions_of_old'" in seen.unknown


def test_another_way_to_scale_positions(job: MakeJob, tmp_path: Path) -> None:
    """TRL's tiny Phi-3 has none; the lists of its source's longrope go with the way itself."""
    factors = [1.0 + n / 10 for n in range(48)]
    longrope = {"type": "longrope", "long_factor": factors, "short_factor": factors}
    named = {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "vocab_size": 32064}
    more = {"max_position_embeddings": 131072, "original_max_position_embeddings": 4096}
    small = {**SMALL, "vocab_size": 32011, "num_key_value_heads": 2, "pad_token_id": 0}
    tiny = {key: value for key, value in small.items() if key not in LLAMA or key in named}
    seen = read(job, tmp_path, {**tiny, **named}, {**named, **more, "rope_scaling": longrope})
    assert seen.other == ()
    assert seen.overrides["rope_parameters"] == {"rope_type": "default"}


def test_what_is_large_and_what_cannot_be_is_said(job: MakeJob, tmp_path: Path) -> None:
    """TRL's tiny Gemma keeps the heads of its source; ids beyond the tokens are in no bundle."""
    named = {"model_type": "gemma", "architectures": ["GemmaForCausalLM"]}
    small = {**SMALL, **named, "head_dim": 256, "bos_token_id": 700, "pad_token_id": 0}
    seen = read(job, tmp_path, small, named)
    assert seen.other == ()
    assert seen.overrides["head_dim"] == 256
    assert "bos_token_id" in seen.overrides
    assert seen.overrides["bos_token_id"] is None
    assert "bos_token_id: 700 is not below its 600 tokens" in seen.unknown


def test_parts_of_a_config(job: MakeJob, tmp_path: Path) -> None:
    part = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    text = {"model_type": "llama", "vocab_size": 500, "intermediate_size": 24, **part}
    vision = {"model_type": "clip_vision_model", "intermediate_size": 32, **part}
    tiny = {"text_config": text, "vision_config": {**vision, "image_size": 28, "patch_size": 7}}
    named = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}
    seen = read(job, tmp_path, {**named, **tiny}, named)
    assert seen.other == ()
    wanted = {key: dict(value) for key, value in seen.overrides.items() if isinstance(value, dict)}
    assert wanted["vision_config"].items() >= {**part, "image_size": 28, "patch_size": 7}.items()
    assert wanted["text_config"].items() >= {**part, "vocab_size": 500}.items()
    assert "model_type" not in wanted["text_config"]


def test_what_follows_a_tokenizer_is_left_to_it(job: MakeJob, tmp_path: Path) -> None:
    named = {"model_type": "bert", "architectures": ["BertModel"]}
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    tiny = {**named, **small, "intermediate_size": 16, "vocab_size": 99, "type_vocab_size": 16}
    (tmp_path / "full/source").mkdir(parents=True)
    (tmp_path / "full/source/vocab.txt").write_text("[PAD]")
    seen = read(job, tmp_path, tiny, named)
    assert (seen.other, seen.vocabulary, seen.tokenizer) == ((), 99, True)
    assert seen.overrides == {**small, "intermediate_size": 16, "type_vocab_size": 16}


def test_another_kind_of_model_is_not_its_source(job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(BuildFault, match="LlamaForCausalLM"):
        read(job, tmp_path, SMALL, {"model_type": "bert", "architectures": ["BertModel"]})


@pytest.mark.parametrize(
    ("named", "name"),
    [("org/tiny-random-gpt2@v1", "tiny-random-gpt2"), ("a/b c/", "b-c"), ("x/.hidden", "hidden")],
)
def test_names(named: str, name: str) -> None:
    assert importing.name_of(named) == name


def test_the_text_of_a_recipe() -> None:
    from tinybuild.recipe.reading import check

    seen = Imported(
        class_="LlamaForCausalLM",
        overrides={"hidden_size": 8},
        vocabulary=600,
        of_source=32000,
        tokenizer=True,
        dtype="bfloat16",
        parameters=90_000_000,
        tensors=3,
        other=(),
        unknown=(),
    )
    wish = {"hub": "org/full", "revision": "v1"}
    text = yaml.safe_dump(dict(importing.sections(seen, wish, "the shape of x")))
    data = check(text.encode(), "x.yaml")
    assert data["source"] == wish
    assert data["tokenizer"]["vocab_size"] == 600
    assert data["model"]["config"] == {"hidden_size": 8}
    assert data["checks"]["max_parameters"] == 90_000_000
