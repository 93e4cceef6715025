"""The layout of a bundle: what from_pretrained loads at the top, the dataset in dataset/."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tinybuild.files import PROVENANCE, RECEIPT, copy, pretty
from tinybuild.keys import PROCESSORS, TOLD

DATASET = "dataset"  # the dataset's folder in a bundle
HERE = "PATH/TO/THIS/FOLDER"  # what a dataset's card calls its place, which it does not know
# What a bundle says of how it was made: enough to make it again. RECIPES holds recipe and lock of
# each recipe that it was made from, as NAME.yaml and NAME.lock.json.
RECIPE, LOCK, RECIPES = "recipe.yaml", "recipe.lock.json", "recipes"
MAKINGS = (RECIPE, LOCK, f"{RECIPES}/")
SUMS, REPORT = "SHA256SUMS", "report.json"
MADE = "provenance.json"  # `statement` says what it holds
SIGNATURE = "model.sig"  # where a bundle was signed after it was built
ADDED = (SUMS, SIGNATURE)  # what SHA256SUMS does not name
# What a port of the model is held to: tensors that are no weights, so not beside the weights.
EXPECTED = "expected"
DRAWING = "architecture.svg"  # of the model's modules; the card shows it
_SUM = re.compile(r"([0-9a-f]{64})  (.+)")
TOKENIZER = "tokenizer_config.json"
LIMITS = ("model_max_length", "max_len")  # as it was called before


def lay(inputs: Mapping[str, Path], folder: Path, length: int | None = None) -> None:
    """Copy the files that the model, tokenizer and dataset stages left into a bundle's places.

    length: tokens of a text that the model has places for. The tokenizer, which does not know the
    model, is told not to let through more. Of a bundle with a model the processor is the model's:
    one that takes text alone has none, whatever lies beside the tokenizer or is named there.
    """
    papers = (RECEIPT, PROVENANCE)
    for stage, below in (("tokenizer", ""), ("model", ""), ("dataset", DATASET)):
        source = inputs.get(stage)
        if source is None:
            continue
        other = PROCESSORS if stage == "tokenizer" and "model" in inputs else ()
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source)
            if path.is_file() and name.as_posix() not in (*papers, *other):
                copy(path, folder / below / name)
    if not (folder / TOKENIZER).is_file():
        return
    if length is not None:
        _bound(folder / TOKENIZER, length)
    if "model" in inputs and not has_processor(folder):
        _alone(folder / TOKENIZER)


def data(file: Path) -> dict[str, Any]:
    """The JSON object of a bundle's file; {} where there is no such file."""
    held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return held if isinstance(held, dict) else {}


def has_processor(folder: Path) -> bool:
    """Whether a processor can be made of a folder: of a file for it or, of timm's, of what the
    config says of its images."""
    return has_processor_file(folder) or TOLD in data(folder / "config.json")


def has_processor_file(folder: Path) -> bool:
    return any((folder / name).is_file() for name in PROCESSORS)


def makings(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """The recipes that a bundle's folder tells, its own and those that it was made from, and their
    locks: the names they have in RECIPES, and the files."""
    yield f"{name}.yaml", folder / RECIPE
    yield f"{name}.lock.json", folder / LOCK
    if (folder / RECIPES).is_dir():
        yield from ((path.name, path) for path in sorted((folder / RECIPES).iterdir()))


def alone(names: Iterable[str]) -> dict[str, str]:
    """The files of a dataset by itself, as its own repository has them, and what each is called in
    the bundle: the dataset at the top, and beside it what makes it again."""
    below, papers = f"{DATASET}/", (LOCK, MADE, REPORT, f"{RECIPES}/")
    kept = [name for name in names if name.startswith((below, *papers))]
    return {name.removeprefix(below): name for name in kept}


def listed(folder: Path) -> dict[str, str]:
    """{file: sha256} that a bundle's SHA256SUMS says; {} where it is missing or is none."""
    try:
        text = (folder / SUMS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    lines = [_SUM.fullmatch(line) for line in text.splitlines()]
    return {line[2]: line[1] for line in lines if line} if all(lines) else {}


def _alone(config: Path) -> None:
    """Let a tokenizer name no processor: AutoProcessor would look for the files of one."""
    data = json.loads(config.read_text(encoding="utf-8"))
    if data.pop("processor_class", None) is not None:
        config.write_text(pretty(data), encoding="utf-8")


def _bound(config: Path, length: int) -> None:
    """Give a tokenizer the smaller of its own limit and this one."""
    data = json.loads(config.read_text(encoding="utf-8"))
    limits = [data[name] for name in LIMITS if isinstance(data.get(name), int | float)]
    data[LIMITS[0]] = min([length, *limits[:1]])
    config.write_text(pretty(data), encoding="utf-8")


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
