"""What a method of tokenizers gets, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild import sections
from tinybuild.facts import Shrunk
from tinybuild.tokenizer.upstream import Upstream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Work:
    """section: the recipe's tokenizer section. text: the method's (`Method.text`). source: None for
    a method without (`Method.source`). folder: where a source's files are. inputs: folders of other
    stages that are only read: fetch, and dataset, where the sample comes from there. out: an empty
    folder, for files."""

    section: sections.Tokenizer
    text: str
    source: Upstream | None
    folder: Path
    inputs: Mapping[str, Path]
    out: Path

    @property
    def origin(self) -> Upstream:
        """The source of a method that has one."""
        assert self.source is not None
        return self.source


@dataclass(frozen=True, kw_only=True)
class Made:
    """A tokenizer; shrunk: what was kept, of a method that shrinks and has written its files.
    unused: how many tokens fill a vocabulary for which the text gave fewer."""

    loaded: PreTrainedTokenizerBase
    shrunk: Shrunk | None = None
    unused: int = 0
