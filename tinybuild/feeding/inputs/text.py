"""Token ids by rule, with a placeholder for each feature of an image, a video or a sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinybuild.feeding import Tensor
from tinybuild.feeding.inputs.draw import ROWS, Draw
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.keys import NAMES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LENGTH = 8  # of plain tokens
CHARACTERS = 256  # ids of a model without a vocabulary: it reads characters
MEDIA: Mapping[str, int] = {"image": 1, "video": 2, "audio": 3}  # as token types number them
AROUND = ("before", "after")  # a run of them
# The sub-configs of the text that a side reads.
READERS: Mapping[str, tuple[str, ...]] = {
    "encoder": ("text_encoder", "encoder"),
    "decoder": ("decoder", "generator"),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """Places for the features of a medium: how many in each row, of which medium's placeholder."""

    medium: str
    counts: tuple[int, ...]
    written: str


@dataclass(frozen=True, kw_only=True)
class Words:
    """Token ids, and what each stands for: 0 text, or the number of MEDIA. Both (ROWS, n) int64."""

    ids: Tensor
    sorts: Tensor


def _side(name: str) -> str:
    """Whether an argument is of the decoder."""
    return "decoder" if name.startswith("decoder") else "encoder"


def vocabulary(facts: Facts, name: str) -> int:
    """The number of token ids that the argument `name` may hold: what the config says and the
    embedding holds. protein_input_ids are those of a part of its own, protein_encoder_config."""
    other = name.removesuffix("input_ids").rstrip("_")
    for path, node in facts.nodes if other and not name.startswith("decoder") else ():
        own = getattr(node, "vocab_size", None)
        if path and path[-1].startswith(other) and isinstance(own, int):
            return own
    side = _side(name)
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


def plain(facts: Facts, name: str) -> list[int]:
    """The ids for the argument `name` that no key of the config names; all where that leaves too
    few."""
    ids = range(vocabulary(facts, name))
    named = [number for number in ids if number not in facts.special]
    return named if len(named) > 1 else list(ids)


def placeholder(facts: Facts, medium: str) -> int | None:
    return next((n for n in facts.numbers(*NAMES[f"{medium} placeholder"]) if n >= 0), None)


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

    size, among = vocabulary(facts, name), plain(facts, name)
    spare = sum(max(run.counts) for run in runs)
    drawn = draw.chosen(name, among, ROWS, length + spare + len(runs)).tolist()
    rows, sorts = [], []
    for number in range(ROWS):
        fresh = iter(drawn[number])
        row = [next(fresh) for _ in range(2)]
        sort = [0] * len(row)
        for run in runs:
            token, count = placeholder(facts, run.written), run.counts[number]
            start, end = (_around(facts, f"{w} {run.medium}", size, token) for w in AROUND)
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


def _around(facts: Facts, names: str, size: int, not_this: int | None) -> list[int]:
    """The token of one of these names (a row of NAMES), if there is one."""
    return [n for n in facts.numbers(*NAMES[names]) if 0 <= n < size and n != not_this][:1]
