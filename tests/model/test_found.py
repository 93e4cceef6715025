"""The source as it is found: real configs become small models with `model: {}` and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from kit import found
from kit.stage import MakeJob

from tinybuild import keys

# Cheap ones, of as many sorts as there are: packed weights, latent attention, two
# towers, an encoder with a decoder, experts, a shared vocabulary, sounds, images.
FAST = (
    *("qwen3-30b-a3b-fp8", "deepseek-v3", "opus-mt-en-mg"),
    *("clip-vit-base-patch32", "llama-3.2-1b", "layoutlmv3-base"),
)
DEEP, NARROW = 8, 32


def check(folder: Path, failed: list[str]) -> dict[str, Any]:
    """What holds for every model that is built from a real config."""
    assert failed == []
    config = json.loads((folder / "config.json").read_text())
    for path, node in keys.configs(config):
        if path and "model_type" not in node:
            continue
        assert max(keys.depths(node), default=0) <= DEEP, (path, keys.depths(node))
        wide = keys.width(node)
        assert wide is None or wide >= NARROW, (path, wide)
        assert not any(keys.says(name, "packing") for name in node)
    changes = json.loads((folder / "config_changes.json").read_text())["changes"]
    assert all(change["reason"] for change in changes)
    return dict(config)


def copied(folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "fetch" / "source").mkdir(parents=True)
    for file in folder.iterdir():
        shutil.copyfile(file, tmp_path / "fetch" / "source" / file.name)
    return tmp_path / "fetch"


def test_the_fast_ones_are_there() -> None:
    if not found.configs():
        pytest.skip("there are no real configs: shared/configs is not beside the project")
    assert {*FAST} <= {*found.configs()}


@pytest.mark.parametrize("name", FAST)
def test_a_real_config(name: str, job: MakeJob, tmp_path: Path) -> None:
    fetch = copied(found.config(name), tmp_path)
    asked = json.loads((fetch / "source" / "config.json").read_text())
    made = check(*found.build(job, fetch))
    dtype = asked.get("dtype") or asked.get("torch_dtype") or "float32"
    assert made["dtype"] == dtype
    assert made["architectures"] == (asked.get("architectures") or made["architectures"])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*found.configs()} - {*FAST}) or ["none"])
def test_the_other_real_configs(name: str, job: MakeJob, tmp_path: Path) -> None:
    check(*found.build(job, copied(found.config(name), tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["opus-mt-en-mg", "all-minilm-l6-v2"])
def test_a_real_config_with_its_tokenizer(
    name: str, job: MakeJob, upstreams: Path, tmp_path: Path
) -> None:
    folder, failed = found.build(job, copied(upstreams / name, tmp_path), found.TOKENIZER)
    made = check(folder, failed)
    rows = {made[key] for key in ("vocab_size", "decoder_vocab_size") if key in made}
    assert len(rows) == 1
