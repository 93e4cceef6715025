"""A model stage on the default config of a class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kit.files import contents
from kit.stage import MakeJob
from tinybuild import model
from tinybuild.errors import BuildFault
from tinybuild.workers import Job

TINY = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
}
LLAMA = "LlamaForCausalLM"


def wish(
    job: MakeJob,
    tmp_path: Path,
    name: str = "LlamaConfig",
    *,
    source: Mapping[str, Any] | None = None,
    generation: str | None = None,
    ids: Mapping[str, Any] | None = None,
    most: int = 1_000_000,
    seed: int = 0,
    **section: Any,
) -> Job:
    """A model stage on the default config of a class (`source`: its arguments)."""
    import transformers

    folder = tmp_path / f"fetch-{len(list(tmp_path.iterdir()))}"
    getattr(transformers, name)(**(source or {})).save_pretrained(folder / "source")
    if generation is not None:
        (folder / "source" / "generation_config.json").write_text(generation)
    facts = {"tokenizer": {"ids": ids}} if ids is not None else {}
    wanted = {"config": TINY, "dtype": "float32", **section}
    settings = {"model": wanted, "max_parameters": most}
    return job(settings, facts=facts, seed=seed, fetch=folder)


def build(job: MakeJob, tmp_path: Path, *args: Any, **more: Any) -> tuple[dict[str, Any], Path]:
    work = wish(job, tmp_path, *args, **more)
    return model.make(work), work.out


def refused(job: MakeJob, tmp_path: Path, *args: Any, **more: Any) -> tuple[str, tuple[Any, ...]]:
    work = wish(job, tmp_path, *args, **more)
    with pytest.raises(BuildFault) as caught:
        model.make(work)
    assert contents(work.out) == {}
    assert str(tmp_path) not in str(caught.value)
    return str(caught.value), caught.value.findings[0].key
