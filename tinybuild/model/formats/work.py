"""What a format of a model is written from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.sections import Model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Work:
    """A model that was saved in `folder` as transformers saves it, the recipe's section, the
    stage's seed, and the folder of the tokenizer's files where a format wants them."""

    model: PreTrainedModel
    folder: Path
    section: Model
    seed: int
    tokenizer: Path | None
