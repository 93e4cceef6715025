"""A stage's own questions to a source, asked in a worker before anything is fetched or built."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild import model as models
from tinybuild import source
from tinybuild.config import found, heads
from tinybuild.files import copy, inside, pretty
from tinybuild.paths import Json
from tinybuild.source.family import blank_tokenizer
from tinybuild.source.kinds import Request
from tinybuild.tokenizer import stage
from tinybuild.workers import Job

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

LARGE = 8_000_000  # bytes of a tokenizer's files: reading more takes 5 s and longer


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a stage's files would come from. wish: of a kind that needs no network, as a recipe
    says it. base: that recipe's folder, below the zoo's. through: the classes of the recipes that
    stand between, the first one first: each takes a config, and makes one."""

    wish: Mapping[str, Json]
    base: str
    through: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """stage: the settings of the stage. origins: slot -> where its files come from; none of them
    where they were fetched (the input fetch)."""

    stage: Mapping[str, Json]
    origins: Mapping[str, Origin]


def model(job: Job) -> None:
    """Whether there is such a class, and its config takes these overrides. Raises Fault."""
    with tempfile.TemporaryDirectory(dir=job.out) as scratch:
        models.review(_laid(job, Path(scratch), config=True))


def sized(job: Job) -> models.Size:
    """How large the model would be. Raises Fault."""
    with tempfile.TemporaryDirectory(dir=job.out) as scratch:
        return models.sized(_laid(job, Path(scratch), config=True))


def sketched(job: Job) -> models.Sketch:
    """The same, with what would be otherwise than in the source. Raises Fault."""
    with tempfile.TemporaryDirectory(dir=job.out) as scratch:
        return models.sketched(_laid(job, Path(scratch), config=True))


def tokenizer(job: Job) -> str:
    """Whether the source has a tokenizer, of such a class, as large; why that was not looked at, ""
    where it was. Raises Fault."""
    with tempfile.TemporaryDirectory(dir=job.out) as scratch:
        asked = _laid(job, Path(scratch), config=False)
        size = sum(path.stat().st_size for path in asked.inputs["fetch"].glob("*/*"))
        if size > LARGE:
            return f"only a build reads its tokenizer: its files have {size:,} bytes"
        stage.review(asked)
    return ""


def _laid(job: Job, scratch: Path, *, config: bool) -> Job:
    """The stage's own job; what is not fetched is laid in a folder as far as it is looked at: the
    source's config, or its tokenizer too."""
    asked, made = job.asked(Asked), scratch / "made"
    made.mkdir()
    for slot, origin in asked.origins.items():
        name = source.kind_of(origin.wish)
        base = job.root / origin.base
        wish = source.Wish(slot=slot, kind=name, data=origin.wish, base=base)
        _lay(wish, origin, scratch / slot, config=config)
    inputs = {"fetch": scratch, **job.inputs}
    return replace(job, settings=asked.stage, inputs=inputs, out=made)


def _lay(wish: source.Wish, origin: Origin, folder: Path, *, config: bool) -> None:
    kind = source.KINDS[wish.kind]
    folder.mkdir()
    if kind.config is not None:
        made = kind.config(wish)
        _write(made, folder)
        blank = None if config else blank_tokenizer(wish.text(), made)
        if blank is not None:
            blank.save_pretrained(folder)
    else:
        files = kind.resolve(Request(wish=wish, lock=None, out=folder)).files
        for file, get in files.items():
            if not config or file.endswith("config.json"):
                copy(get(), inside(folder, file))
    for architecture in origin.through:
        _, taken = heads.choose(architecture, found.load(folder))
        _write(taken, folder)


def _write(config: PreTrainedConfig, folder: Path) -> None:
    text = pretty(json.loads(config.to_json_string(use_diff=False)))
    (folder / "config.json").write_text(text, encoding="utf-8")
