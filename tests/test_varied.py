"""Sixty varied architectures from recipe to report; `doit architectures` builds all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kit.stage import MakeJob

from tinybuild import model, source, validate, wire
from tinybuild.engine import plan
from tinybuild.engine.plan import Zoo
from tinybuild.files import Memo
from tinybuild.recipe import Cache
from tinybuild.tokenizer import stage as tokenizer

ROOT = Path(__file__).parents[1]

# Text, its kinds of attention, of experts and of states; images, sound, video, boxes, series; one,
# two and three towers; encoders, decoders and both.
# fmt: off
TYPES = [
    "albert", "altclip", "idefics3", "audio-spectrogram-transformer", "autoformer", "bamba", "bart",
    "bert", "bit", "blip-2", "bloom", "fuyu", "clap", "clip", "conditional_detr", "convnext",
    "dac", "deberta-v2", "deepseek_v3", "detr", "dpt", "encodec", "falcon_mamba", "fsmt",
    "gemma3", "gemma3n_text", "glm4v", "gpt2", "gpt_oss", "grounding-dino", "idefics", "internvl",
    "jamba", "layoutlmv3", "llama4", "llava", "lfm2", "longformer", "mamba2", "mllama",
    "mobilenet_v2", "moshi", "mt5", "olmoe", "opt", "paligemma", "patchtst", "qwen2_5_vl",
    "qwen2_audio", "qwen3_next", "longt5", "rwkv", "sam", "sam2", "speecht5", "swin", "t5",
    "videomae", "wav2vec2", "whisper", "zamba2",
]
# fmt: on


# One of each sort that tests/cli/test_popular.py does not build; the others with -m slow.
QUICK = (
    *("detr", "encodec", "jamba", "layoutlmv3", "llava", "patchtst", "sam", "videomae"),
    "whisper",
)
STAGES = {
    "fetch": source.fetch,
    "tokenizer": tokenizer.make,
    "model": model.make,
    "validate": validate.make,
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    folder = tmp_path_factory.mktemp("cache")
    return plan.load(ROOT, Memo(), Cache(folder / "recipes.json", Memo()))


@pytest.mark.parametrize(
    "model_type",
    [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in TYPES],
)
def test_architecture(model_type: str, zoo: Zoo, job: MakeJob) -> None:
    """Small, alive and coherent: the recipe that is committed passes all checks."""
    facts: dict[str, dict[str, object]] = {}
    folders: dict[str, Path] = {}
    for stage, function in STAGES.items():
        task = zoo.tasks.get(f"{stage}:arch-{model_type}")
        if task is None:
            assert stage == "tokenizer"  # it takes no text
            continue
        work = job(task.settings, facts=facts, seed=task.seed, **folders)
        facts[stage] = wire.dump(function(work))
        folders[stage] = work.out
    report = json.loads((folders["validate"] / "report.json").read_text())
    states = [check["state"] for check in report["checks"]]
    assert "failed" not in states
    assert states.count("passed") >= 10
    parameters = facts["model"]["parameters"]
    assert isinstance(parameters, int)
    assert parameters < 1_000_000
