"""Labels by rule: what makes a class compute its loss, told by its arguments and its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tinybuild.feeding.inputs import vision
from tinybuild.feeding.inputs.draw import Draw
from tinybuild.feeding.inputs.facts import ROWS, Facts

IGNORED = -100
CTC = 4  # labels of a row: fewer than the frames
BOXES = 2  # objects of an image
# Each alone, or with `labels`, makes a loss of a class of two or more.
SIDE = ("next_sentence_label", "sentence_order_label", "matched_label", "sentence_image_labels")


def labels(
    facts: Facts, draw: Draw, given: Mapping[str, Any], outputs: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Arguments to add to `given`, likeliest first; `outputs` are those without them."""
    import torch

    takes = facts.takes
    if "start_positions" in takes and "end_positions" in takes:
        yield {
            "start_positions": torch.tensor([1] * ROWS),
            "end_positions": torch.tensor([2] * ROWS),
        }
    if "return_loss" in takes:
        yield {"return_loss": True}
    if "bool_masked_pos" in takes and "pixel_values" in given:
        yield {"bool_masked_pos": vision.masked(facts, given["pixel_values"])}
    if "sampled_negative_indices" in takes:
        frames = next(t.shape[1] for t in outputs.values() if t.dim() == 3)
        count = facts.integer("num_negatives", default=2)
        yield {
            "mask_time_indices": (torch.arange(frames) % 2 == 0).expand(ROWS, -1).contiguous(),
            "sampled_negative_indices": draw.whole("negatives", 0, frames, ROWS, frames, count),
        }
    if "mask_labels" in takes and "class_labels" in takes:
        yield from _masks(facts, draw, given, outputs)
    beside = {name: torch.tensor([0, 1] * (ROWS // 2)) for name in SIDE if name in takes}
    if "labels" in takes:
        for value in _values(facts, draw, given, outputs):
            yield {"labels": value, **beside}
    elif beside:
        yield beside
    if "target_values" in takes:
        for value in _targets(facts, draw, outputs):
            yield {"target_values": value}
    if "future_values" in takes and "future_values" not in given:
        for value in _targets(facts, draw, outputs):
            yield {"future_values": value}


def _values(
    facts: Facts, draw: Draw, given: Mapping[str, Any], outputs: Mapping[str, Any]
) -> Iterator[Any]:
    import torch

    scores = next(
        (
            outputs[name]
            for name in (*LOGITS, *outputs)
            if name in outputs and outputs[name].dim() > 1
        ),
        None,
    )
    ids = given.get("decoder_input_ids", given.get("input_ids"))
    boxed = any("boxes" in name for name in outputs)
    if boxed:
        yield from _objects(facts, draw, given, outputs)
    if scores is not None:
        *shape, last = scores.shape
        classes = draw.whole("labels", 0, last, *shape)
        if len(shape) == 1:
            if last == 1:
                yield draw.normal("labels", ROWS)
            yield draw.whole("labels", 0, last, ROWS)
            yield draw.uniform("labels", ROWS, last)
        elif len(shape) == 2:
            if ids is not None and tuple(shape) == tuple(ids.shape):
                yield of_text(facts, ids, last) if last > int(ids.max()) else classes
                yield classes
            if "decoder_input_ids" not in given:
                yield _shorter(facts, draw, last)
            yield torch.nn.functional.one_hot(classes, last).to(draw.dtype)
            yield classes
            yield draw.normal("labels", *scores.shape)
        if len(scores.shape) == 4:
            size = next((v.shape[-2:] for k, v in given.items() if "pixel_values" in k), shape[-2:])
            yield draw.whole("labels", 0, scores.shape[1], ROWS, *size)
        yield draw.uniform("labels", *scores.shape)
        if len(scores.shape) == 3:
            yield draw.uniform("labels", ROWS, *scores.shape[1:])
    if ids is not None:
        yield of_text(facts, ids, int(ids.max()) + 1)
    for size in dict.fromkeys(tuple(v.shape[-2:]) for k, v in given.items() if "pixel_values" in k):
        yield draw.whole("labels", 0, 2, ROWS, *size)
        yield draw.uniform("labels", ROWS, *size)
    yield torch.zeros(ROWS, dtype=torch.long)
    if not boxed:
        yield from _objects(facts, draw, given, outputs)
    if ids is not None:
        yield torch.zeros_like(ids)


LOGITS = ("logits", "prediction_logits", "prediction_scores", "logits_per_image")


def of_text(facts: Facts, ids: Any, size: int) -> Any:
    """The token ids themselves, those of images and sounds left out."""
    from tinybuild.feeding.inputs import text

    found = ids.clone()
    for kind in text.MEDIA:
        token = text.placeholder(facts, kind)
        if token is not None:
            found[found == token] = IGNORED
    found[found >= size] = IGNORED
    return found


def _shorter(facts: Facts, draw: Draw, size: int) -> Any:
    """Labels of a CTC head: shorter than its frames, without the blank."""
    blank = facts.integer("pad_token_id", "blank_token_id", "ctc_blank_id", default=0)
    return draw.chosen("labels", [n for n in range(size) if n != blank], ROWS, CTC)


def _objects(
    facts: Facts, draw: Draw, given: Mapping[str, Any], outputs: Mapping[str, Any]
) -> Iterator[Any]:
    """Objects to detect, a mapping a row: classes and boxes (centre, width, height; 0 to 1)."""
    import torch

    count = facts.integer("num_labels", default=2)
    high, wide = next((v.shape[-2:] for k, v in given.items() if "pixel" in k), (8, 8))
    for with_masks in (False, True):
        rows = []
        for row in range(ROWS):
            boxes = 0.25 + 0.25 * draw.uniform(f"labels.boxes.{row}", BOXES, 4)
            found = {
                "class_labels": draw.whole(f"labels.{row}", 0, count, BOXES),
                "boxes": boxes,
                "image_id": torch.tensor([row]),
                "area": boxes[:, 2] * boxes[:, 3],
                "iscrowd": torch.zeros(BOXES, dtype=torch.long),
                "orig_size": torch.tensor([high, wide]),
            }
            if with_masks:
                masks = draw.whole(f"labels.masks.{row}", 0, 2, BOXES, high, wide)
                found["masks"] = masks.to(draw.dtype)
            rows.append(found)
        yield rows


def _masks(
    facts: Facts, draw: Draw, given: Mapping[str, Any], outputs: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """A mask and a class for each object of an image."""
    high, wide = next((v.shape[-2:] for k, v in given.items() if "pixel" in k), (8, 8))
    count = facts.integer("num_labels", default=2)
    yield {
        "mask_labels": [
            draw.whole(f"mask_labels.{row}", 0, 2, BOXES, high, wide).to(draw.dtype)
            for row in range(ROWS)
        ],
        "class_labels": [draw.whole(f"class_labels.{row}", 0, count, BOXES) for row in range(ROWS)],
    }


def _targets(facts: Facts, draw: Draw, outputs: Mapping[str, Any]) -> Iterator[Any]:
    """Numbers in the shape of an output, or a class a row."""
    for tensor in list(outputs.values())[:4]:
        yield draw.normal("target_values", *tensor.shape)
        if tensor.dim() == 2:
            yield draw.whole("target_values", 0, tensor.shape[-1], ROWS)
    ahead = facts.integer("prediction_length", default=4)
    wide = facts.integer("num_input_channels", "input_size", default=1)
    targets = facts.integer("num_targets", default=wide)
    yield draw.normal("target_values", ROWS, ahead, wide)
    yield draw.normal("target_values", ROWS, targets)
    yield draw.whole("target_values", 0, targets, ROWS)
