"""A model, saved, and what a port of it is held to, made as the validate stage has it made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinybuild import wire
from tinybuild.validate import client, reader

CONFIG = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "initializer_range": 0.2,
    "attn_implementation": "eager",
}


def held(folder: Path, kind: str = "Llama", head: str = "ForCausalLM", **config: Any) -> Path:
    """A folder with a model of a class, and its expected outputs."""
    import torch
    import transformers

    torch.manual_seed(1)
    made = getattr(transformers, f"{kind}Config")(**{**CONFIG, **config})
    model = getattr(transformers, f"{kind}{head}")(made).eval()
    model.save_pretrained(folder)
    from tinybuild.feeding import inputs

    batch = inputs.batch(model, 5)
    question = reader.Question(
        folder=str(folder),
        class_=f"{kind}{head}",
        model_type=made.model_type,
        seed=5,
        scratch=str(folder),
    )
    shape = reader.pack(
        {"first": batch, "second": batch, "alone": {}}, folder / "batches.safetensors"
    )
    before, client.STEPS = client.STEPS, {}
    try:
        wire.dump(reader.read((wire.dump(question), shape)))
    finally:
        client.STEPS = before
    for name in ("batches", "outputs", "continued"):
        (folder / f"{name}.safetensors").unlink()
    return folder
