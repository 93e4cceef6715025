"""A model stage on the default config of a class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kit import faults
from kit.files import contents
from kit.stage import MakeJob
from tinybuild import model, wire
from tinybuild.workers import Job

TINY = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
}
LLAMA = "LlamaForCausalLM"
# What the recipe's section says where a test does not: the schema's defaults, but for `shrink`.
SECTION = {
    "architecture": "auto",
    "shrink": "none",
    "size": "tiny",
    "config": TINY,
    "dtype": "float32",
}


# What a stage is given beside the section: arguments of the source's config, the text of its
# generation_config.json, the facts of the tokenizer's ids, the most parameters, the stage's seed.
BESIDE = {"source": {}, "generation": None, "ids": None, "most": 1_000_000, "seed": 0}


def wish(job: MakeJob, tmp_path: Path, name: str = "LlamaConfig", **more: Any) -> Job:
    """A model stage on the default config of a class; `more` are keys of BESIDE or the section."""
    import transformers

    beside: dict[str, Any] = {key: more.get(key, value) for key, value in BESIDE.items()}
    folder = tmp_path / f"fetch-{len(list(tmp_path.iterdir()))}"
    getattr(transformers, name)(**beside["source"]).save_pretrained(folder / "source")
    if beside["generation"] is not None:
        (folder / "source" / "generation_config.json").write_text(beside["generation"])
    ids = beside["ids"]
    facts = {"tokenizer": {"ids": {"missing": "error", **ids}}} if ids is not None else {}
    section = {**SECTION, **{key: value for key, value in more.items() if key not in BESIDE}}
    settings = {"model": section, "max_parameters": beside["most"]}
    return job(settings, facts=facts, seed=beside["seed"], fetch=folder)


def build(job: MakeJob, tmp_path: Path, *args: Any, **more: Any) -> tuple[dict[str, Any], Path]:
    work = wish(job, tmp_path, *args, **more)
    return wire.dump(model.make(work)), work.out


def refused(job: MakeJob, tmp_path: Path, *args: Any, **more: Any) -> tuple[str, tuple[Any, ...]]:
    """The text of a refusal, which leaves no file, and its place in the recipe."""
    work = wish(job, tmp_path, *args, **more)
    refusal = faults.refused(model.make, work)
    assert contents(work.out) == {}
    assert str(tmp_path) not in refusal.text
    return refusal.text, refusal.key


def weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite a folder's model.safetensors with what `change` does to its tensors."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
