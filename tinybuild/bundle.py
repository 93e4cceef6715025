"""The layout of a bundle: what from_pretrained loads at the top, the dataset in dataset/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinybuild.files import PROVENANCE, RECEIPT, copy

DATASET = "dataset"  # the dataset's folder in a bundle


def lay(inputs: Mapping[str, Path], folder: Path) -> None:
    """Copy the files that the model, tokenizer and dataset stages left into a bundle's places."""
    for stage, below in (("tokenizer", ""), ("model", ""), ("dataset", DATASET)):
        source = inputs.get(stage)
        if source is None:
            continue
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source)
            if path.is_file() and name.as_posix() not in (RECEIPT, PROVENANCE):
                copy(path, folder / below / name)


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
