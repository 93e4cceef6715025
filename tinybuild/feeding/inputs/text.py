"""Token ids by rule, with a placeholder for each feature of an image, a video or a sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinybuild.feeding.inputs.draw import ROWS, Draw
from tinybuild.feeding.inputs.facts import Facts

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig

LENGTH = 8  # of plain tokens
CHARACTERS = 256  # ids of a model without a vocabulary: it reads characters
MEDIA: Mapping[str, int] = {"image": 1, "video": 2, "audio": 3}  # as token types number them
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
# The sub-configs of the text that a side reads.
READERS: Mapping[str, tuple[str, ...]] = {
    "encoder": ("text_encoder", "encoder"),
    "decoder": ("decoder", "generator"),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """Placeholders for the features of a medium: how many in each row.

    written: the medium whose placeholder stands for it.
    """

    medium: str
    counts: tuple[int, ...]
    written: str


@dataclass(frozen=True, kw_only=True)
class Words:
    """Token ids, and what each stands for: 0 text, or the number of MEDIA. Both (ROWS, n) int64."""

    ids: Tensor
    sorts: Tensor


def side(name: str) -> str:
    """Whether an argument is of the decoder."""
    return "decoder" if name.startswith("decoder") else "encoder"


def vocabulary(facts: Facts, side: str) -> int:
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


def _text(config: PretrainedConfig, side: str) -> PretrainedConfig:
    """The config of the text that one side of a model reads."""
    for name in READERS[side]:
        below = getattr(config, name, None)
        if isinstance(getattr(below, "vocab_size", None), int):
            return below
    try:
        return config.get_text_config()
    except ValueError:  # several, none of them named as expected
        return config


def plain(facts: Facts, side: str) -> list[int]:
    """The ids of a vocabulary that no key of the config names; all where that leaves too few."""
    ids = range(vocabulary(facts, side))
    named = [number for number in ids if number not in facts.special]
    return named if len(named) > 1 else list(ids)


def placeholder(facts: Facts, medium: str) -> int | None:
    return next((n for n in facts.numbers(*PLACEHOLDERS[medium]) if n >= 0), None)


def _end(facts: Facts, size: int) -> int | None:
    for value in facts.every("eos_token_id", near="text"):
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, int) and 0 <= value < size:
            return value
    return None


def words(
    facts: Facts, draw: Draw, name: str, length: int = LENGTH, runs: Sequence[Run] = ()
) -> Words:
    """Token ids for the argument `name`.

    A row is plain tokens, then for each run the start token, the placeholders and the end token (a
    plain one where the config has a start only), then plain tokens and eos. Rows with fewer
    placeholders have more plain tokens instead. Where the config has no placeholder, plain tokens
    hold the places.
    """
    import torch

    size, among = vocabulary(facts, side(name)), plain(facts, side(name))
    spare = sum(max(run.counts) for run in runs)
    drawn = draw.chosen(name, among, ROWS, length + spare + len(runs)).tolist()
    rows, sorts = [], []
    for number in range(ROWS):
        fresh = iter(drawn[number])
        row = [next(fresh) for _ in range(2)]
        sort = [0] * len(row)
        for run in runs:
            token, count = placeholder(facts, run.written), run.counts[number]
            start, end = (_first(facts, names, size, token) for names in AROUND[run.medium])
            places = [next(fresh) if token is None else token for _ in range(count)]
            if start and not end:  # models go on one token after a run that has a start
                end = [next(fresh)]
            row += start + places + end
            sort += [0] * len(start) + [MEDIA[run.medium]] * count + [0] * len(end)
        filler = length - 3 + spare - sum(run.counts[number] for run in runs)
        last = _end(facts, size)
        row += [next(fresh) for _ in range(filler)]
        row += [next(fresh) if last is None else last]
        rows.append(row)
        sorts.append(sort + [0] * (filler + 1))
    return Words(ids=torch.tensor(rows), sorts=torch.tensor(sorts))


def _first(facts: Facts, names: tuple[str, ...], size: int, not_this: int | None) -> list[int]:
    return [n for n in facts.numbers(*names) if 0 <= n < size and n != not_this][:1]
