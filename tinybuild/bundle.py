"""The layout of a bundle: what from_pretrained loads at the top, the dataset in dataset/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tinybuild.files import PROVENANCE, RECEIPT, copy, pretty

DATASET = "dataset"  # the dataset's folder in a bundle
TOKENIZER = "tokenizer_config.json"
LIMITS = ("model_max_length", "max_len")  # as it was called before


def lay(inputs: Mapping[str, Path], folder: Path, length: int | None = None) -> None:
    """Copy the files that the model, tokenizer and dataset stages left into a bundle's places.

    length: tokens of a text that the model has places for. The tokenizer, which does not know the
    model, is told not to let through more.
    """
    for stage, below in (("tokenizer", ""), ("model", ""), ("dataset", DATASET)):
        source = inputs.get(stage)
        if source is None:
            continue
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source)
            if path.is_file() and name.as_posix() not in (RECEIPT, PROVENANCE):
                copy(path, folder / below / name)
    if length is not None and (folder / TOKENIZER).is_file():
        _bound(folder / TOKENIZER, length)


def _bound(config: Path, length: int) -> None:
    """Give a tokenizer the smaller of its own limit and this one."""
    data = json.loads(config.read_text(encoding="utf-8"))
    limits = [data[name] for name in LIMITS if isinstance(data.get(name), int | float)]
    data[LIMITS[0]] = min([length, *limits[:1]])
    config.write_text(pretty(data), encoding="utf-8")


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
