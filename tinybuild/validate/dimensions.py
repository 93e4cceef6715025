"""Checks that no dimension of a small model was left at the size it has in its source."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tinybuild.config import overrides
from tinybuild.config.meta import on_meta
from tinybuild.config.sizes import SIZES
from tinybuild.errors import BuildFault
from tinybuild.keys import NAMES, PLAIN, measures
from tinybuild.paths import Data, Path, get, having, items, mapping, whole
from tinybuild.validate.check import Result, check
from tinybuild.validate.subject import Subject

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Axis = tuple[str, int]  # the name of a tensor, and which of its axes

TIMES = 4  # a feed-forward part has four times the width, as a rule
INNER = 3  # times the width: the widest inner part that is chosen; two of them may be one tensor
TABLE = 2048  # rows of a position table
SHOWN = 5

# Keys of which rows are made, one for each thing that there is, whatever the width.
_VOCABULARY = re.compile(
    r"vocab|num_(labels|classes)|codebook|num_embeddings|n_tokens|_bins$|num_quant|entit"
)
_TABLE = re.compile(
    r"position|seq_?len|max_\w*tokens|block_size|max_\w*len|context|n_ctx|source_|buckets|image_size|num_patches|"
    r"max_2d|relative|max_pixels|resolution|hash|num_frames"
)


@check("model")
def no_dimension_left(subject: Subject) -> Result | None:
    """Each axis of each tensor is small, or a vocabulary, or a table of positions.

    What is larger is put to the config: each whole number is changed by itself on the meta
    device, and where the axis follows one that is larger than any width that was aimed at, that
    key was left behind. Without `shrink: auto` the widths aimed at are those that the recipe
    sets; what it sets is as large as it wants.
    """
    model, asked = subject.model, _numbers(subject.overrides)
    if subject.wish.shrink == "auto":
        width = SIZES[subject.wish.size].width
    else:
        widths = [value for path, value in asked.items() if path[-1] in NAMES["width"]]
        if not widths:
            return None
        width = max(SIZES["tiny"].width, *widths)
    bound = TIMES * width
    config = model.config.to_dict()
    numbers = _numbers(config)
    saved = model.state_dict().keys()
    large = {
        (name, axis): size
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
        if name in saved
        for axis, size in enumerate(tensor.shape)
        if size > bound and not _explained(size, numbers)
    }
    causes = _causes(model, config, numbers, large, width) if large else {}
    wished = {_key(path) for path in asked}
    behind: dict[Path, list[str]] = {}
    for (name, axis), size in large.items():
        left = [
            path
            for path in causes.get((name, axis), ())
            if numbers[path] > INNER * width
            and _key(path) not in wished
            and not _fine(path, numbers)
        ]
        if left:
            worst = max(left, key=lambda path: numbers[path])
            behind.setdefault(worst, []).append(f"{name} has {size:,} in axis {axis}")
    faults = [_told(path, numbers[path], places) for path, places in behind.items()]
    return Result.of(
        not faults,
        measured="; ".join(faults[:SHOWN]) or f"every axis explained, {bound} or less",
        wanted=f"axes of at most {bound}, vocabularies and position tables aside",
        values={"bound": bound, "larger_axes": len(large), "keys_left": len(behind)},
        note="set these keys in model.config" if faults else "",
    )


def _told(path: Path, value: int, places: Sequence[str]) -> str:
    more = f", and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{places[0]}{more}, from {'.'.join(path)} ({value:,})"


def _numbers(data: Data) -> dict[Path, int]:
    """Whole numbers above 0 of a config tree, those in lists with their place."""
    return {
        path: value
        for path, value in items(data)
        if whole(value) and value > 0 and not any(name in PLAIN for name in path)
    }


def _key(path: Path) -> str:
    """The last name in a path that is not a place in a list."""
    return next((name for name in reversed(path) if not name.isdigit()), "")


def _explained(size: int, numbers: Mapping[Path, int]) -> bool:
    """Whether an axis is a vocabulary (padded to a multiple, or with a few rows more) or a table of
    positions that is not larger than one may be."""
    for path, value in numbers.items():
        if _vocabulary(_key(path)) and 0 <= size - value <= 128:
            return True
        if _table(_key(path)) and size <= TABLE:
            near = (value, 2 * value - 1, 2 * value, value * value)
            if any(0 <= size - one <= 8 for one in near):
                return True
    return False


def _fine(path: Path, numbers: Mapping[Path, int]) -> bool:
    """A vocabulary, a table's length or a rate of samples: it may be larger than a width."""
    key = _key(path)
    if key.endswith(("sampling_rate", "sample_rate")):
        return True  # what a second of sound is
    return _vocabulary(key) or (_table(key) and numbers[path] <= TABLE)


def _vocabulary(key: str) -> bool:
    return bool(_VOCABULARY.search(key)) or measures(key) == "vocabulary"


def _table(key: str) -> bool:
    """Whether a key says how many positions there are."""
    return bool(_TABLE.search(key)) or measures(key) == "positions"


def _causes(
    model: PreTrainedModel,
    config: Data,
    numbers: Mapping[Path, int],
    large: Mapping[Axis, int],
    width: int,
) -> dict[Axis, list[Path]]:
    """For each large axis, the keys above `width` that change it; exact values are tried first.

    Keys are halved or raised, whichever the class takes; one that it never takes (because others
    depend on it) is found by its exact value, if at all. An axis that follows no such key is made
    of smaller ones, or fixed by its class.
    """
    exact: dict[int, list[Path]] = {}
    for path, value in numbers.items():
        exact.setdefault(value, []).append(path)
    causes = {place: exact[size] for place, size in large.items() if size in exact}
    left = {place: size for place, size in large.items() if size not in exact}
    for path, value in sorted(numbers.items(), key=lambda item: (-item[1], item[0])):
        if value <= width or not left:
            break
        tried = (_shapes(model, config, path, other) for other in (value // 2, value * 2))
        shapes = next((shapes for shapes in tried if shapes is not None), {})
        for place, size in left.items():
            shape = shapes.get(place[0], ())
            if place[1] < len(shape) and shape[place[1]] != size:
                causes.setdefault(place, []).append(path)
    return causes


def _shapes(
    model: PreTrainedModel, config: Data, path: Path, value: int
) -> dict[str, tuple[int, ...]] | None:
    """The shapes of the model's tensors with one number of its config changed; None where the class
    does not take it."""
    if isinstance(get(config, path[:-1]), tuple):
        return None  # which the class made of something else
    refused: tuple[type[Exception], ...] = (BuildFault, *overrides.refusals())
    data = mapping(having(copy.deepcopy(config), path, value))
    arguments = {name: value for name, value in data.items() if name not in overrides.OURS}
    try:
        other = on_meta(type(model), type(model.config)(**arguments))
    except refused:
        return None
    return {name: tuple(tensor.shape) for name, tensor in other.state_dict().items()}
