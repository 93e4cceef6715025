"""Labels by rule: what makes a class compute its loss, told by its arguments and its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinybuild.feeding.inputs import text, vision
from tinybuild.feeding.inputs.attempt import Attempt
from tinybuild.feeding.inputs.draw import ROWS, Draw, each, zeros
from tinybuild.feeding.inputs.facts import Facts

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
CTC = 4  # labels of a row: fewer than the frames
BOXES = 2  # objects of an image
LOGITS = ("logits", "prediction_logits", "prediction_scores", "logits_per_image")
# Each alone, or with `labels`, makes a loss of a class of two or more.
BESIDE = ("next_sentence_label", "sentence_order_label", "matched_label", "sentence_image_labels")


def labels(facts: Facts, draw: Draw, made: Attempt) -> Iterator[Mapping[str, Tensor]]:
    """Arguments to add to those that the model took, likeliest first."""
    work = _Work(facts=facts, draw=draw, given=made.given, outputs=made.outputs)
    for arguments, rule in RULES:
        if all(name in facts.takes for name in arguments):
            yield from rule(work)
