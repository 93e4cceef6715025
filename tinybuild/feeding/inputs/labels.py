"""Labels by rule: what makes a class compute its loss, told by its arguments and its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tinybuild.feeding import Given, Tensor
from tinybuild.feeding.inputs import text, vision
from tinybuild.feeding.inputs.attempt import Attempt
from tinybuild.feeding.inputs.draw import ROWS, Draw, each, zeros
from tinybuild.feeding.inputs.facts import Facts

IGNORED = -100
CTC = 4  # labels of a row: fewer than the frames
BOXES = 2  # objects of an image
LOGITS = ("logits", "prediction_logits", "prediction_scores", "logits_per_image")
# Each alone, or with `labels`, makes a loss of a class of two or more.
BESIDE = ("next_sentence_label", "sentence_order_label", "matched_label", "sentence_image_labels")


@dataclass(frozen=True)
class Work:
    """What labels are made from; `made` is what the model makes without them."""

    facts: Facts
    draw: Draw
    made: Attempt

    @property
    def ids(self) -> Tensor | None:
        """The token ids that the outputs go on from."""
        return self.made.given.get("decoder_input_ids", self.made.given.get("input_ids"))

    def sides(self, named: str) -> list[tuple[int, ...]]:
        """(height, width) of the arguments whose name has this in it, each once."""
        pixels = (value for name, value in self.made.given.items() if named in name)
        return list(dict.fromkeys(tuple(value.shape[-2:]) for value in pixels))

    def classes(self, *shape: int, most: int) -> Tensor:
        """Labels from 0 up to, not including, a number."""
        return self.draw.whole("labels", 0, most, *shape)

    def shares(self, *shape: int) -> Tensor:
        """Labels from 0 to 1."""
        return self.draw.uniform("labels", *shape)


def labels(facts: Facts, draw: Draw, made: Attempt) -> Iterator[Given]:
    """Arguments to add to those that the model took, likeliest first."""
    for arguments, rule in RULES.items():
        if all(name in facts.takes for name in arguments):
            yield from rule(Work(facts, draw, made))


def _spans(work: Work) -> Iterator[Given]:
    yield {"start_positions": each(1), "end_positions": each(2)}


def _hidden(work: Work) -> Iterator[Given]:
    """Patches that are to be guessed."""
    if "pixel_values" in work.made.given:
        yield {"bool_masked_pos": vision.masked(work.facts, work.made.given["pixel_values"])}


def _negatives(work: Work) -> Iterator[Given]:
    """Frames that are to be told from others."""
    import torch

    frames = next(t.shape[1] for t in work.made.outputs.values() if t.dim() == 3)
    count = work.facts.integer("num_negatives", default=2)
    yield {
        "mask_time_indices": (torch.arange(frames) % 2 == 0).expand(ROWS, -1).contiguous(),
        "sampled_negative_indices": work.draw.whole("negatives", 0, frames, ROWS, frames, count),
    }


def _masks(work: Work) -> Iterator[Mapping[str, Any]]:
    """A mask and a class for each object of an image."""
    draw, side = work.draw, (work.sides("pixel") or [(8, 8)])[0]
    count = work.facts.integer("num_labels", default=2)
    masks = [draw.whole(f"mask_labels.{row}", 0, 2, BOXES, *side) for row in range(ROWS)]
    yield {
        "mask_labels": [mask.to(draw.dtype) for mask in masks],
        "class_labels": [draw.whole(f"class_labels.{r}", 0, count, BOXES) for r in range(ROWS)],
    }


def _labelled(work: Work) -> Iterator[Given]:
    """Under `labels`, and what some classes want beside; or that alone."""
    import torch

    beside = {name: torch.arange(ROWS) % 2 for name in BESIDE if name in work.facts.takes}
    if "labels" in work.facts.takes:
        for value in _values(work):
            yield {"labels": value, **beside}
    elif beside:
        yield beside


def _values(work: Work) -> Iterator[Any]:
    outputs = work.made.outputs
    boxed = any("boxes" in name for name in outputs)
    if boxed:
        yield from _objects(work)
    named = [outputs[name] for name in (*LOGITS, *outputs) if name in outputs]
    scores = next((tensor for tensor in named if tensor.dim() > 1), None)
    if scores is not None:
        yield from _scored(work, scores)
    if work.ids is not None and work.ids.dim() == 2 and len(work.ids) > ROWS:
        # A row for each code book: labels have the books last.
        yield work.ids.unflatten(0, (ROWS, -1)).transpose(1, 2).contiguous()
    if work.ids is not None:
        yield of_text(work.facts, work.ids, int(work.ids.max()) + 1)
    for side in work.sides("pixel_values"):
        yield work.classes(ROWS, *side, most=2)
        yield work.shares(ROWS, *side)
    yield zeros(ROWS)
    if not boxed:
        yield from _objects(work)
    if work.ids is not None:
        yield zeros(*work.ids.shape)


def _scored(work: Work, scores: Tensor) -> Iterator[Tensor]:
    """Classes or numbers in the shape of the scores: of rows, of places, of pixels."""
    *shape, last = scores.shape
    if len(shape) == 1:
        if last == 1:
            yield work.draw.normal("labels", ROWS)
        yield work.classes(ROWS, most=last)
        yield work.shares(ROWS, last)
    elif len(shape) == 2:
        yield from _placed(work, scores)
    elif len(shape) == 3:
        side = next(iter(work.sides("pixel_values")), tuple(scores.shape[-2:]))
        yield work.classes(ROWS, *side, most=scores.shape[1])
    yield work.shares(*scores.shape)
    if len(shape) == 2:
        yield work.shares(ROWS, *scores.shape[1:])


def _placed(work: Work, scores: Tensor) -> Iterator[Tensor]:
    """A class or numbers for each place of a sequence."""
    import torch

    *shape, last = scores.shape
    classes = work.classes(*shape, most=last)
    if work.ids is not None and tuple(shape) == tuple(work.ids.shape):
        yield of_text(work.facts, work.ids, last) if last > int(work.ids.max()) else classes
        yield classes
    if "decoder_input_ids" not in work.made.given:
        # Of a CTC head: fewer than its frames, without the blank.
        blank = work.facts.integer("pad_token_id", "blank_token_id", "ctc_blank_id", default=0)
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


def _objects(work: Work) -> Iterator[list[Given]]:
    """Objects to detect, a mapping a row: classes and boxes (centre, width, height; 0 to 1)."""
    import torch

    draw, side = work.draw, (work.sides("pixel") or [(8, 8)])[0]
    count = work.facts.integer("num_labels", default=2)
    rows: list[Given] = []
    for row in range(ROWS):
        boxes = 0.25 + 0.25 * draw.uniform(f"labels.boxes.{row}", BOXES, 4)
        rows.append(
            {
                "class_labels": draw.whole(f"labels.{row}", 0, count, BOXES),
                "boxes": boxes,
                "image_id": torch.tensor([row]),
                "area": boxes[:, 2] * boxes[:, 3],
                "iscrowd": zeros(BOXES),
                "orig_size": torch.tensor(side),
            }
        )
    yield rows
    masks = [draw.whole(f"labels.masks.{row}", 0, 2, BOXES, *side) for row in range(ROWS)]
    yield [{**one, "masks": m.to(draw.dtype)} for one, m in zip(rows, masks, strict=True)]


def _numbers(work: Work) -> Iterator[Tensor]:
    """Numbers in the shape of an output, or a class a row."""
    facts, draw, name = work.facts, work.draw, "target_values"
    for tensor in list(work.made.outputs.values())[:4]:
        yield draw.normal(name, *tensor.shape)
        if tensor.dim() == 2:
            yield draw.whole(name, 0, tensor.shape[-1], ROWS)
    wide = facts.integer("num_input_channels", "input_size", default=1)
    targets = facts.integer("num_targets", default=wide)
    yield draw.normal(name, ROWS, facts.integer("prediction_length", default=4), wide)
    yield draw.normal(name, ROWS, targets)
    yield draw.whole(name, 0, targets, ROWS)


def _future(work: Work) -> Iterator[Given]:
    if "future_values" not in work.made.given:
        yield from ({"future_values": value} for value in _numbers(work))


# The arguments that forward must take -> what is tried then.
RULES: Mapping[tuple[str, ...], Callable[[Work], Iterator[Given]]] = {
    ("start_positions", "end_positions"): _spans,
    ("return_loss",): lambda work: iter([{"return_loss": True}]),
    ("bool_masked_pos",): _hidden,
    ("sampled_negative_indices",): _negatives,
    ("mask_labels", "class_labels"): _masks,
    (): _labelled,
    ("target_values",): lambda work: ({"target_values": value} for value in _numbers(work)),
    ("future_values",): _future,
}
