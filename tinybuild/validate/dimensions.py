"""Checks that no dimension of a small model was left at the size it has in its source."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tinybuild.config import overrides
from tinybuild.config.sizes import SIZES
from tinybuild.keys import measures
from tinybuild.validate.check import Result, check
from tinybuild.validate.subject import Subject

Path = tuple[str, ...]

TIMES = 4  # a feed-forward part has four times the width, as a rule
TABLE = 2048  # rows of a position table
SHOWN = 5
_REFUSALS = (RuntimeError, AssertionError, IndexError, NotImplementedError)

_VOCABULARY = re.compile(
    r"vocab|num_labels|codebook|num_embeddings|n_tokens|_bins$|num_quant|entit"
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
    model, wish = subject.model, subject.wish
    asked = dict(_numbers(wish["config"]))
    if wish["shrink"] == "auto":
        width = SIZES[wish["size"]].width
    else:
        widths = [v for path, v in asked.items() if _WIDE.search(path[-1])]
        if not widths:
            return None
        width = max(SIZES["tiny"].width, *widths)
    bound = TIMES * width
    config = model.config.to_dict()
    numbers = dict(_numbers(config))
    large: dict[tuple[str, int], int] = {}
    saved = model.state_dict()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if name not in saved:
            continue
        for axis, size in enumerate(tensor.shape):
            if size > bound and not _explained(size, numbers):
                large[name, axis] = size
    faults: list[str] = []
    if large:
        causes = _causes(model, config, numbers, large, width)
        names = {_key(path) for path in asked}
        said: dict[str, list[str]] = {}
        for (name, axis), size in large.items():
            keys = causes.get((name, axis), [])
            behind = [
                path
                for path in keys
                if numbers[path] > 2 * width
                and _key(path) not in names
                and not _fine(path, numbers)
            ]
            where = f"{name} has {size:,} in axis {axis}"
            if behind:
                worst = max(behind, key=lambda path: numbers[path])
                said.setdefault(f"{'.'.join(worst)} ({numbers[worst]:,})", []).append(where)
        for key, places in said.items():
            more = f", and {len(places) - 1} more" if len(places) > 1 else ""
            faults.append(f"{places[0]}{more}, from {key}")
    return Result.of(
        not faults,
        measured="; ".join(faults[:SHOWN]) or f"every axis explained, {bound} or less",
        wanted=f"axes of at most {bound}, vocabularies and position tables aside",
        values={"bound": bound, "large": len(large), "faults": len(faults)},
        note="set these keys in model.config" if faults else "",
    )


_WIDE = re.compile(r"^(hidden_size|d_model|n_embd|embed_dim|dim|hidden_dim|width)$")


def _numbers(data: Any, path: Path = ()) -> Iterator[tuple[Path, int]]:
    """Whole numbers above 0 of a config tree, those in lists with their place."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            if not str(name).startswith(("id2label", "label2id")):
                yield from _numbers(value, (*path, str(name)))
    elif isinstance(data, list | tuple):
        for number, value in enumerate(data):
            yield from _numbers(value, (*path, str(number)))
    elif isinstance(data, int) and not isinstance(data, bool) and data > 0:
        yield path, data


def _key(path: Path) -> str:
    """The last name in a path that is no place in a list."""
    return next((name for name in reversed(path) if not name.isdigit()), "")


def _explained(size: int, numbers: Mapping[Path, int]) -> bool:
    """Whether an axis is a vocabulary (padded to a multiple, or with a few rows more) or a table of
    positions that is not larger than one may be."""
    for path, value in numbers.items():
        if _VOCABULARY.search(_key(path)) and 0 <= size - value <= 128:
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
    return bool(_VOCABULARY.search(key)) or (_table(key) and numbers[path] <= TABLE)


def _table(key: str) -> bool:
    """Whether a key says how many positions there are."""
    return bool(_TABLE.search(key)) or measures(key) == "positions"


def _causes(
    model: Any,
    config: Mapping[str, Any],
    numbers: Mapping[Path, int],
    large: Mapping[tuple[str, int], int],
    width: int,
) -> dict[tuple[str, int], list[Path]]:
    """For each large axis, the keys above `width` that change it; exact values are tried first.

    Keys are halved or raised, whichever the class takes; one that it never takes (because others
    depend on it) is found by its exact value, if at all. An axis that follows no such key is made
    of smaller ones, or fixed by its class.
    """
    found: dict[tuple[str, int], list[Path]] = {}
    exact: dict[int, list[Path]] = {}
    for path, value in numbers.items():
        exact.setdefault(value, []).append(path)
    left = dict(large)
    for place, size in large.items():
        if size in exact:
            found[place] = exact[size]
            del left[place]
    if not left:
        return found
    for path, value in sorted(numbers.items(), key=lambda item: (-item[1], item[0])):
        if value <= width or not left:
            break
        for other in (value // 2, value * 2):
            shapes = _shapes(model, config, path, other)
            if shapes is None:
                continue
            for place in left:
                name, axis = place
                shape = shapes.get(name)
                if shape is not None and axis < len(shape) and shape[axis] != left[place]:
                    found.setdefault(place, []).append(path)
            break
    return found


def _shapes(
    model: Any, config: Mapping[str, Any], path: Path, value: int
) -> dict[str, tuple[int, ...]] | None:
    """The shapes of the model's tensors with one number of its config changed; None where the class
    does not take it."""
    import torch
    from transformers.initialization import no_init_weights

    data = copy.deepcopy(dict(config))
    node: Any = data
    for name in path[:-1]:
        node = node[int(name)] if isinstance(node, list | tuple) else node[name]
    if isinstance(node, tuple):
        return None
    node[int(path[-1]) if isinstance(node, list) else path[-1]] = value
    kind = type(model)
    try:
        made = type(model.config)(**{k: v for k, v in data.items() if k not in overrides.OURS})
        with torch.device("meta"), no_init_weights():
            other = kind(made)
    except _REFUSALS:
        return None
    except overrides.refusals():
        return None
    return {name: tuple(tensor.shape) for name, tensor in other.state_dict().items()}
