"""Labels by rule: what makes a class compute its loss, told by its arguments and its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

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


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What the model took, and the outputs that it made without labels."""

    facts: Facts
    draw: Draw
    given: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    @property
    def ids(self) -> Tensor | None:
        """The token ids that the outputs go on from."""
        return self.given.get("decoder_input_ids", self.given.get("input_ids"))

    @property
    def sides(self) -> list[tuple[int, int]]:
        """(height, width) of the pixels, each once."""
        pixels = (value for name, value in self.given.items() if "pixel_values" in name)
        return list(dict.fromkeys((value.shape[-2], value.shape[-1]) for value in pixels))

    @property
    def side(self) -> tuple[int, int]:
        """(height, width) of the first argument of pixels."""
        pixels = (value for name, value in self.given.items() if "pixel" in name)
        return next(((value.shape[-2], value.shape[-1]) for value in pixels), (8, 8))

    @property
    def scores(self) -> Tensor | None:
        """The output that labels are compared with: logits, or the first of more than one axis."""
        names = [name for name in (*LOGITS, *self.outputs) if name in self.outputs]
        return next((self.outputs[n] for n in names if self.outputs[n].dim() > 1), None)

    @property
    def classes(self) -> int:
        return self.facts.integer("num_labels", default=2)

    def whole(self, most: int, *shape: int) -> Tensor:
        """Labels from 0 up to, not including, a number."""
        return self.draw.whole("labels", 0, most, *shape)

    def share(self, *shape: int) -> Tensor:
        """Labels from 0 to 1."""
        return self.draw.uniform("labels", *shape)


Made: TypeAlias = "Iterator[Mapping[str, Tensor]]"


def _span(work: _Work) -> Made:
    yield {"start_positions": each(1), "end_positions": each(2)}


def _asked(work: _Work) -> Iterator[Mapping[str, Any]]:
    yield {"return_loss": True}


def _hidden(work: _Work) -> Made:
    """Patches that are to be guessed."""
    if "pixel_values" in work.given:
        yield {"bool_masked_pos": vision.masked(work.facts, work.given["pixel_values"])}


def _negatives(work: _Work) -> Made:
    """Frames that are to be told from others."""
    import torch

    frames = next(t.shape[1] for t in work.outputs.values() if t.dim() == 3)
    count = work.facts.integer("num_negatives", default=2)
    yield {
        "mask_time_indices": (torch.arange(frames) % 2 == 0).expand(ROWS, -1).contiguous(),
        "sampled_negative_indices": work.draw.whole("negatives", 0, frames, ROWS, frames, count),
    }


def _masks(work: _Work) -> Iterator[Mapping[str, Any]]:
    """A mask and a class for each object of an image."""
    draw = work.draw
    yield {
        "mask_labels": [
            draw.whole(f"mask_labels.{row}", 0, 2, BOXES, *work.side).to(draw.dtype)
            for row in range(ROWS)
        ],
        "class_labels": [
            draw.whole(f"class_labels.{row}", 0, work.classes, BOXES) for row in range(ROWS)
        ],
    }


def _labelled(work: _Work) -> Iterator[Mapping[str, Any]]:
    """Under `labels`, and what some classes want beside; or that alone."""
    import torch

    beside = {name: torch.arange(ROWS) % 2 for name in BESIDE if name in work.facts.takes}
    if "labels" in work.facts.takes:
        for value in _values(work):
            yield {"labels": value, **beside}
    elif beside:
        yield beside


def _values(work: _Work) -> Iterator[Any]:
    boxed = any("boxes" in name for name in work.outputs)
    if boxed:
        yield from _objects(work)
    if work.scores is not None:
        yield from _scored(work, work.scores)
    if work.ids is not None:
        yield of_text(work.facts, work.ids, int(work.ids.max()) + 1)
    for side in work.sides:
        yield work.whole(2, ROWS, *side)
        yield work.share(ROWS, *side)
    yield zeros(ROWS)
    if not boxed:
        yield from _objects(work)
    if work.ids is not None:
        yield zeros(*work.ids.shape)


def _scored(work: _Work, scores: Tensor) -> Iterator[Tensor]:
    """Classes or numbers in the shape of the scores: of rows, of places, of pixels."""
    *shape, last = scores.shape
    if len(shape) == 1:
        if last == 1:
            yield work.draw.normal("labels", ROWS)
        yield work.whole(last, ROWS)
        yield work.share(ROWS, last)
    elif len(shape) == 2:
        yield from _placed(work, scores)
    elif len(shape) == 3:
        yield work.whole(scores.shape[1], ROWS, *next(iter(work.sides), scores.shape[-2:]))
    yield work.share(*scores.shape)
    if len(shape) == 2:
        yield work.share(ROWS, *scores.shape[1:])


def _placed(work: _Work, scores: Tensor) -> Iterator[Tensor]:
    """A class or numbers for each place of a sequence."""
    import torch

    *shape, last = scores.shape
    classes = work.whole(last, *shape)
    if work.ids is not None and tuple(shape) == tuple(work.ids.shape):
        yield of_text(work.facts, work.ids, last) if last > int(work.ids.max()) else classes
        yield classes
    if "decoder_input_ids" not in work.given:
        # Of a CTC head: fewer than its frames, without the blank.
        names = ("pad_token_id", "blank_token_id", "ctc_blank_id")
        blank = work.facts.integer(*names, default=0)
        yield work.draw.chosen("labels", [n for n in range(last) if n != blank], ROWS, CTC)
    yield torch.nn.functional.one_hot(classes, last).to(work.draw.dtype)
    yield classes
    yield work.draw.normal("labels", *scores.shape)


def of_text(facts: Facts, ids: Tensor, size: int) -> Tensor:
    """The token ids themselves, those of images and sounds left out."""
    learned = ids.clone()
    for medium in text.MEDIA:
        token = text.placeholder(facts, medium)
        if token is not None:
            learned[learned == token] = IGNORED
    learned[learned >= size] = IGNORED
    return learned


def _objects(work: _Work) -> Iterator[list[dict[str, Tensor]]]:
    """Objects to detect, a mapping a row: classes and boxes (centre, width, height; 0 to 1)."""
    import torch

    draw = work.draw
    rows = []
    for row in range(ROWS):
        boxes = 0.25 + 0.25 * draw.uniform(f"labels.boxes.{row}", BOXES, 4)
        rows.append(
            {
                "class_labels": draw.whole(f"labels.{row}", 0, work.classes, BOXES),
                "boxes": boxes,
                "image_id": torch.tensor([row]),
                "area": boxes[:, 2] * boxes[:, 3],
                "iscrowd": zeros(BOXES),
                "orig_size": torch.tensor(work.side),
            }
        )
    yield rows
    masks = [draw.whole(f"labels.masks.{row}", 0, 2, BOXES, *work.side) for row in range(ROWS)]
    yield [{**one, "masks": m.to(draw.dtype)} for one, m in zip(rows, masks, strict=True)]


def _numbers(argument: str) -> Callable[[_Work], Made]:
    """Numbers in the shape of an output, or a class a row."""

    def rule(work: _Work) -> Made:
        if argument in work.given:
            return
        for value in _targets(work):
            yield {argument: value}

    return rule


def _targets(work: _Work) -> Iterator[Tensor]:
    facts, draw, name = work.facts, work.draw, "target_values"
    for tensor in list(work.outputs.values())[:4]:
        yield draw.normal(name, *tensor.shape)
        if tensor.dim() == 2:
            yield draw.whole(name, 0, tensor.shape[-1], ROWS)
    wide = facts.integer("num_input_channels", "input_size", default=1)
    targets = facts.integer("num_targets", default=wide)
    yield draw.normal(name, ROWS, facts.integer("prediction_length", default=4), wide)
    yield draw.normal(name, ROWS, targets)
    yield draw.whole(name, 0, targets, ROWS)


# The arguments that a class's forward must take, and what is tried then.
RULES: tuple[tuple[tuple[str, ...], Callable[[_Work], Made]], ...] = (
    (("start_positions", "end_positions"), _span),
    (("return_loss",), _asked),
    (("bool_masked_pos",), _hidden),
    (("sampled_negative_indices",), _negatives),
    (("mask_labels", "class_labels"), _masks),
    ((), _labelled),
    (("target_values",), _numbers("target_values")),
    (("future_values",), _numbers("future_values")),
)
