"""Token ids by rule, with a placeholder for each feature of an image, a video or a sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinybuild.feeding.inputs.draw import Draw
from tinybuild.feeding.inputs.facts import ROWS, Facts

LENGTH = 8  # of plain tokens
CHARACTERS = 256  # ids of a model without a vocabulary: it reads characters
MEDIA = ("image", "video", "audio")
# What a config calls the placeholder of a feature, and the tokens around a run of them.
PLACEHOLDERS: Mapping[str, tuple[str, ...]] = {
    "image": (
        *("image_token_id", "image_token_index", "image_token_idx", "image_patch_token_id"),
        *("media_token_id", "video_token_id", "video_token_index"),  # frames as images
    ),
    "video": ("video_token_id", "video_token_index", "video_token_idx", "video_context_token_id"),
    "audio": ("audio_token_id", "audio_token_index", "audio_token_idx", "audio_pad_token_id"),
}
AROUND: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "image": (
        ("image_start_token_id", "vision_start_token_id", "boi_token_id", "image_bos_token_id"),
        ("image_end_token_id", "vision_end_token_id", "eoi_token_id", "image_eos_token_id"),
    ),
    "video": (
        ("video_start_token_id", "vision_start_token_id", "boi_token_id"),
        ("video_end_token_id", "vision_end_token_id", "eoi_token_id"),
    ),
    "audio": (
        ("audio_start_token_id", "audio_bos_token_id", "boa_token_id"),
        ("audio_end_token_id", "audio_eos_token_id", "eoa_token_id"),
    ),
}
KINDS: Mapping[str, int] = {"image": 1, "video": 2, "audio": 3}


def vocabulary(facts: Facts, side: str = "encoder") -> int:
    """The number of token ids that may be used: what the config says and the embedding holds."""
    size = getattr(_text(facts.config, side), "vocab_size", None)
    if side == "encoder":
        size = facts.find("src_vocab_size") or size
    if not isinstance(size, int):
        size = facts.integer("vocab_size", near="text", default=0)
    try:
        weight = getattr(facts.model.get_input_embeddings(), "weight", None)
    except (NotImplementedError, AttributeError):
        weight = None
    if side == "encoder" and weight is not None and weight.dim() == 2 and size:
        size = min(size, weight.shape[0])
    if not size and weight is not None:
        size = weight.shape[0]
    return int(size or CHARACTERS)


SIDES = {"encoder": ("text_encoder", "encoder"), "decoder": ("decoder", "generator")}


def _text(config: Any, side: str) -> Any:
    """The config of the text that one side of a model reads."""
    for name in SIDES[side]:
        below = getattr(config, name, None)
        if isinstance(getattr(below, "vocab_size", None), int):
            return below
    try:
        return config.get_text_config()
    except ValueError:  # several, none of them named as expected
        return config


def plain(facts: Facts, size: int) -> list[int]:
    """The ids below `size` that no key of the config names; all where that leaves too few."""
    special = facts.special()
    found = [number for number in range(size) if number not in special]
    return found if len(found) > 1 else list(range(size))


def placeholder(facts: Facts, kind: str) -> int | None:
    for value in facts.every(*PLACEHOLDERS[kind]):
        if isinstance(value, int) and value >= 0:
            return value
    return None


def end(facts: Facts, size: int) -> int | None:
    for value in facts.every("eos_token_id", near="text"):
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, int) and 0 <= value < size:
            return value
    return None


def ids(
    facts: Facts,
    draw: Draw,
    name: str,
    *,
    length: int = LENGTH,
    counts: Mapping[str, tuple[int, ...]] | None = None,
    side: str = "encoder",
    instead: Mapping[str, str] | None = None,
) -> tuple[Any, Any]:
    """Token ids and what each stands for (0 text, 1 image, 2 video, 3 audio); (ROWS, n) int64.

    A row is plain tokens, then for each of `counts` (modality -> placeholders in each row) the
    start token, the placeholders and the end token (a plain one where the config has a start only),
    then plain tokens and eos. Rows with fewer
    placeholders have more plain tokens instead. `instead` names, for a modality, another whose
    placeholder stands for it. Where the config has no placeholder, plain tokens hold the places.
    """
    import torch

    size = vocabulary(facts, side)
    among = plain(facts, size)
    counts = counts or {}
    most = {kind: max(each) for kind, each in counts.items()}
    needed = length + sum(most.values()) + len(counts)
    drawn = draw.chosen(name, among, ROWS, needed).tolist()
    rows, sorts = [], []
    for number in range(ROWS):
        fresh = iter(drawn[number])
        row = [next(fresh) for _ in range(2)]
        sort = [0] * len(row)
        spare = 0
        for kind, each in counts.items():
            token = placeholder(facts, (instead or {}).get(kind, kind))
            around = [_first(facts, names, size, token) for names in AROUND[kind]]
            run = [next(fresh) if token is None else token for _ in range(each[number])]
            if around[0] and not around[1]:  # models go on one token after a run that has a start
                around[1] = [next(fresh)]
            row += around[0] + run + around[1]
            sort += [0] * len(around[0]) + [KINDS[kind]] * len(run) + [0] * len(around[1])
            spare += most[kind] - each[number]
        rest = [next(fresh) for _ in range(length - 3 + spare)]
        last = end(facts, size)
        rest.append(next(fresh) if last is None else last)
        rows.append(row + rest)
        sorts.append(sort + [0] * len(rest))
    return torch.tensor(rows), torch.tensor(sorts)


def _first(facts: Facts, names: tuple[str, ...], size: int, not_this: int | None) -> list[int]:
    for value in facts.every(*names):
        if isinstance(value, int) and 0 <= value < size and value != not_this:
            return [value]
    return []
