"""Inputs by rule: one seeded batch of what a model's forward takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from tinybuild.errors import BuildFault

BATCH, LENGTH = 2, 8


def batch(model: Any, seed: int) -> dict[str, Any]:
    """Keyword arguments for `model.forward`: BATCH rows of text and images, as it takes them.

    Token ids are drawn from the vocabulary without special tokens, and end with eos where there is
    one. Labels are given where the class knows them, so that there is a loss. Raises BuildFault for
    a model that takes neither token ids nor pixels.
    """
    import torch

    drawn = torch.Generator().manual_seed(seed)
    config = model.config
    takes = inspect.signature(model.forward).parameters
    found: dict[str, Any] = {}
    if "input_ids" in takes:
        found["input_ids"] = _text(config, drawn)
        if "attention_mask" in takes:
            found["attention_mask"] = torch.ones_like(found["input_ids"])
        if "decoder_input_ids" in takes:
            found["decoder_input_ids"] = _text(config, drawn, side="decoder")
    if "pixel_values" in takes:
        vision = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", None)
        if size is not None:
            height, width = size if isinstance(size, list | tuple) else (size, size)
            shape = (BATCH, getattr(vision, "num_channels", 3), height, width)
            found["pixel_values"] = torch.randn(shape, generator=drawn).to(model.dtype)
            if "image_encoder_embeddings" in takes and "image_attention_mask" in takes:
                # Cross-attention to several images a row (Idefics): one here, seen by every token.
                found["pixel_values"] = found["pixel_values"].unsqueeze(1)
                found["image_attention_mask"] = torch.ones_like(found["input_ids"]).unsqueeze(-1)
    if not found:
        raise BuildFault.of(
            f"no rule makes inputs for {type(model).__name__}",
            hint=f"its forward takes {', '.join(takes)}",
        )
    if "labels" in takes:
        labels = _labels(type(model).__name__, found, config)
        if labels is not None:
            found["labels"] = labels
    return found


def _text(config: Any, drawn: Any, side: str = "encoder") -> Any:
    """Token ids, shape (BATCH, LENGTH), int64."""
    import torch

    text = config.get_text_config()
    size = text.vocab_size
    if side == "encoder":
        size = getattr(config, "src_vocab_size", size)
    longest = getattr(text, "max_position_embeddings", None) or LENGTH
    length = max(2, min(LENGTH, longest - 2))
    special = {
        getattr(text, name, None)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id")
    }
    plain = [number for number in range(size) if number not in special] or list(range(size))
    chosen = torch.randint(len(plain), (BATCH, length), generator=drawn)
    ids = torch.tensor(plain)[chosen]
    end = text.eos_token_id
    end = end[0] if isinstance(end, list) and end else end
    if isinstance(end, int) and 0 <= end < size:
        ids[:, -1] = end
    return ids


def _labels(name: str, found: Mapping[str, Any], config: Any) -> Any:
    """Labels that fit the head, told by the class's name; None where it is not known."""
    import torch

    if name.endswith(("ForSequenceClassification", "ForImageClassification")):
        return torch.zeros(BATCH, dtype=torch.long)
    if name.endswith("ForTokenClassification"):
        return torch.zeros_like(found["input_ids"])
    text_heads = ("ForCausalLM", "ForMaskedLM", "ForConditionalGeneration", "LMHeadModel")
    if name.endswith(text_heads) and "input_ids" in found:
        return found.get("decoder_input_ids", found["input_ids"])
    return None


def tensors(outputs: Any) -> dict[str, Any]:
    """The floating-point tensors of a model's output, name -> tensor; nested ones numbered."""
    import torch

    found: dict[str, Any] = {}

    def walk(name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            if value.is_floating_point():
                found[name] = value
        elif isinstance(value, Mapping):
            for key, item in value.items():
                walk(f"{name}.{key}" if name else str(key), item)
        elif isinstance(value, list | tuple):
            for number, item in enumerate(value):
                walk(f"{name}.{number}", item)

    walk("", outputs)
    return found
