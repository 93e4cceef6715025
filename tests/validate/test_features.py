"""The check that features act is proved by the defects that it is for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kit.files import SHARED, edit
from kit.stage import MakeJob

from tinybuild import model, wire
from tinybuild.config import heads, overrides
from tinybuild.config.shrink import shrink
from tinybuild.config.spread import spread
from tinybuild.model.draw import drawn
from tinybuild.paths import merge
from tinybuild.validate.check import Result
from tinybuild.validate.features import _longer, features_matter
from tinybuild.validate.subject import Subject, Wish

YARN = {
    **{"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0},
    **{"original_max_position_embeddings": 4096},
}
LLAMA3 = {
    **{"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0},
    **{"high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
}

Make = Callable[..., Subject]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make("llama", key=value ...): a bundle's model, shrunk by rule from a config."""
    from transformers import CONFIG_MAPPING

    def made(model_type: str, kind: str = "auto", **keys: Any) -> Subject:
        full = CONFIG_MAPPING[model_type](**keys)
        model_class, full = heads.choose(kind, full)
        tree = shrink(full, {})
        small = overrides.override(full, {}, tree.overrides, ())
        wide = spread(small.to_dict())
        small = overrides.override(full, {}, merge(tree.overrides, wide), ())
        small.dtype = "float32"
        (tmp_path / "source").mkdir()
        full.save_pretrained(tmp_path / "source")
        drawn(model_class, small, 3, small).float().save_pretrained(tmp_path / "bundle")
        facts: dict[str, Any] = {
            **{"class": model_class.__name__, "model_type": model_type, "parameters": 1},
            **{"tensor_parallel": 1, "length": None},
            **{
                "dtype": "float32",
                "processor": [],
                "without": [],
                "forms": [],
                "modalities": [],
                "vocab_size": None,
                "draw": 0,
                "tag": "",
            },
        }
        return Subject(
            folder=tmp_path / "bundle",
            scratch=tmp_path,
            facts={"model": facts},
            seed=3,
            origin=tmp_path / "source",
            wish=Wish(shrink="auto"),
        )

    return made


def found(subject: Subject, change: Callable[[dict[str, Any]], Any] | None = None) -> Result:
    """What the check says, of the bundle with another config."""
    if change is not None:
        edit(subject.folder / "config.json", change)
    result = features_matter.run(dataclasses.replace(subject))
    assert result is not None
    return result


def rope(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["rope_parameters"].update(changes)


@pytest.mark.parametrize("settings", [YARN, LLAMA3], ids=["yarn", "llama3"])
def test_scaling_that_begins_at_the_first_token(make: Make, settings: dict[str, Any]) -> None:
    subject = make("llama", rope_parameters=dict(settings), max_position_embeddings=163840)
    assert found(subject).state == "passed"
    # YaRN then leaves every pair as it is, and Llama 3's scaling slows all of them down.
    broken = found(subject, rope(original_max_position_embeddings=1))
    assert broken.measured.startswith("nothing changes without rope_parameters.")


def test_a_window_that_no_text_here_fills(make: Make) -> None:
    """A recipe may keep the source's, as those of other makers of tiny models do; that our rules
    leave one so large is a fault."""
    subject = make("gemma2")
    assert found(subject).state == "passed"

    def large(config: dict[str, Any]) -> None:
        config["sliding_window"] = 4096

    broken = found(subject, large)
    assert broken.measured == "nothing changes without sliding_window"
    asked = Wish(shrink="auto", config={"sliding_window": 4096})
    for wish in (Wish(shrink="none"), asked):
        result = found(dataclasses.replace(subject, wish=wish))
        assert result.state == "passed"
        assert "no text here is so long that it acts: sliding_window" in result.note
        assert result.values["beyond"] == 1


def longrope(pairs: int) -> dict[str, Any]:
    factors = {"short_factor": [1.0] * pairs, "long_factor": [1.0 + n for n in range(pairs)]}
    return {"rope_type": "longrope", "rope_theta": 10000.0, **factors}


def test_long_factors_that_no_sequence_reaches(make: Make) -> None:
    settings = longrope(48)
    subject = make(
        "phi3",
        rope_parameters=settings,
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        sliding_window=None,
    )
    assert found(subject).values["acted"] == 2

    def later(config: dict[str, Any]) -> None:
        config["max_position_embeddings"] = 10**6 * 32
        config["original_max_position_embeddings"] = 10**6

    broken = found(subject, later)
    assert "nothing changes without rope_parameters.long_factor" in broken.measured


def test_long_factors_that_a_class_does_not_use(make: Make) -> None:
    """PhiMoE turns every text by the short ones."""
    scales = {"short_mscale": 1.25, "long_mscale": 1.25, "original_max_position_embeddings": 4096}
    subject = make("phimoe", rope_parameters=longrope(64) | scales, max_position_embeddings=131072)
    result = found(subject)
    assert result.state == "passed"
    assert "its class does nothing with rope_parameters.long_factor" in result.note


def test_a_section_without_a_pair(make: Make) -> None:
    settings = {"rope_type": "default", "rope_theta": 1e6, "partial_rotary_factor": 0.25}
    settings |= {"mrope_section": [11, 11, 10], "mrope_interleaved": True}
    subject = make("qwen3_5_text", rope_parameters=settings, head_dim=256)
    assert found(subject).state == "passed"

    def folded(config: dict[str, Any]) -> None:
        first, second, third = config["rope_parameters"]["mrope_section"]
        config["rope_parameters"]["mrope_section"] = [first + second, 0, third]

    broken = found(subject, folded)
    assert "nothing changes without rope_parameters.mrope_section[1]" in broken.measured


def test_a_scale_of_logits_that_is_gone(make: Make) -> None:
    subject = make("cohere")
    assert found(subject).state == "passed"
    assert subject.model.config.logit_scale == 0.0625
    broken = found(subject, lambda config: config.update(logit_scale=1.0))
    assert broken.measured == "the source has logit_scale, and this does not"
    assert broken.values["lost"] == 1


def test_factors_of_every_part(make: Make) -> None:
    """Falcon-H1's: one of the logits, and one for each part of a mixer."""
    parts = [0.5, 0.25, 1.0, 0.5, 0.75]
    subject = make("falcon_h1", lm_head_multiplier=0.02, ssm_multipliers=parts)
    assert found(subject).values["acted"] == 5
    broken = found(subject, lambda config: config.update(lm_head_multiplier=1.0))
    assert broken.measured == "the source has lm_head_multiplier, and this does not"


def test_one_size_of_heads_for_all_layers(make: Make) -> None:
    subject = make("gemma4_text", kind="causal-lm")
    assert found(subject).state == "passed"
    config = subject.model.config.to_dict()
    assert config["per_layer_config"]
    one = make_again(subject, {**config, "per_layer_config": {}})
    broken = found(one)
    assert "the source has per_layer_config.head_dim" in broken.measured


def make_again(subject: Subject, data: Mapping[str, Any]) -> Subject:
    """The same class with another config, and weights of its own."""
    model_class = type(subject.model)
    config = type(subject.model.config).from_dict(dict(data))
    drawn(model_class, config, 3, config).float().save_pretrained(subject.folder)
    return subject


def test_a_window_that_no_sequence_leaves(make: Make) -> None:
    subject = make("gemma2")
    assert found(subject).state == "passed"
    broken = found(subject, lambda config: config.update(sliding_window=4096))
    assert broken.measured == "nothing changes without sliding_window"


def test_a_router_without_its_bias(make: Make) -> None:
    from kit.models import weights

    subject = make("deepseek_v3", n_routed_experts=8, n_group=2, topk_group=1, rope_interleave=True)
    assert found(subject).state == "passed"

    def level(tensors: dict[str, Any]) -> None:
        for name in tensors:
            if name.endswith("e_score_correction_bias"):
                tensors[name].zero_()

    weights(subject.folder, level)
    assert found(subject).measured == "nothing changes without the router's bias"


def test_what_a_class_does_nothing_with_is_said(make: Make) -> None:
    subject = make("bamba", rope_parameters={"rope_theta": 1e4, "partial_rotary_factor": 0.5})
    result = found(subject)  # no layer of its default attends
    assert result.state == "passed"
    assert result.note == "its class does nothing with rope_parameters.partial_rotary_factor"


def test_sections_that_a_class_does_not_have(make: Make) -> None:
    """The draft of a model that sees may keep its sections."""
    settings = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [16, 24, 24]}
    result = found(make("llama", rope_parameters=settings))
    assert result.state == "passed"
    assert result.note.startswith("its class does nothing with rope_parameters.mrope_section[1]")


def test_a_model_without_features(make: Make) -> None:
    assert features_matter.run(make("bert")) is None


REAL = {
    "deepseek-v3": 8,
    "meta-llama-3.1-8b": 1,
    "phi-3.5-mini": 3,
    "qwen2.5-vl-7b": 2,
    "qwen3.5-27b": 3,
    "gemma-4-26b-a4b": 5,
    "mx-gemma2-9b": 4,
    "gpt-oss-20b": 3,
    "olmo-3.1-32b": 3,
    "llama-4-scout-17b-16e-instruct": 8,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_features_of_real_configs_act(job: MakeJob, tmp_path: Path, name: str) -> None:
    path = SHARED / "configs" / name / "config.json"
    if not path.is_file():
        pytest.skip("no ../shared/configs")
    source = tmp_path / "fetch" / "source"
    source.mkdir(parents=True)
    data = json.loads(path.read_text())
    data.pop("quantization_config", None)
    (source / "config.json").write_text(json.dumps(data))
    section = {"architecture": "auto", "config": {}, "dtype": "float32", "shrink": "auto"}
    asked = {"model": {**section, "size": "tiny"}, "max_parameters": 10_000_000}
    work = job(asked, fetch=tmp_path / "fetch")
    subject = Subject(
        facts={"model": wire.dump(model.make(work))},
        **{"folder": work.out, "scratch": tmp_path, "seed": 3, "origin": source},
        wish=Wish(shrink="auto"),
    )
    result = found(subject)
    assert result.state == "passed", result.measured
    assert int(result.values["acted"]) >= REAL[name]


def test_labels_grow_with_what_they_are_of() -> None:
    """A window of a decoder is looked at in a text that is longer, as its labels are then."""
    from types import SimpleNamespace

    import torch

    ids = torch.arange(8).view(2, 4) + 3
    subject: Any = SimpleNamespace(seed=0, special=frozenset({0}), exact=None)
    subject.computed = lambda made, _: made
    batch = {"input_ids": ids, "labels": ids}
    decoded = {"input_ids": ids[:, :3], "decoder_input_ids": ids, "labels": ids}
    assert {value.shape[1] for value in _longer(subject, batch, 16).values()} == {16}
    assert {value.shape[1] for value in _longer(subject, decoded, 16).values()} == {16}


@pytest.mark.parametrize("tied", [True, False])
def test_a_text_with_a_sound_token_by_token_is_longer_with_it(tied: bool) -> None:
    """Voxtral's realtime models add one to the other; others take a longer text alone."""
    import torch

    def computed(batch: Any, model: object) -> dict[str, Any]:
        if tied and batch["input_features"].shape[-1] != 8 * batch["input_ids"].shape[1]:
            raise ValueError("as many tokens as are heard")
        return {}

    subject: Any = SimpleNamespace(seed=0, special=frozenset(), exact=None, computed=computed)
    batch = {
        "input_ids": torch.arange(8).reshape(2, 4),
        "input_features": torch.ones(2, 3, 32),
    }
    made = _longer(subject, batch, 6)
    assert made["input_ids"].shape == (2, 6)
    assert made["input_features"].shape[-1] == (48 if tied else 32)
