"""Inputs by rule: one seeded batch of everything that a model's forward takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinybuild.inputs.draw import Draw
from tinybuild.inputs.facts import ROWS, Facts
from tinybuild.inputs.trial import found, quiet, search


def batch(model: Any, seed: int) -> dict[str, Any]:
    """Keyword arguments for `model.forward`: ROWS rows of every modality that it takes.

    Raises BuildFault, with the last error, where no candidate was taken.
    """
    facts = Facts(model)
    with quiet(model):
        return search(facts, Draw(seed, model.dtype))


def modalities(model: Any) -> tuple[str, ...]:
    """What the model takes, of text, image, video, audio, series; sorted."""
    return tuple(sorted(found(Facts(model))))


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


__all__ = ["ROWS", "batch", "modalities", "tensors"]
