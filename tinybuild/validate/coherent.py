"""Checks that a model's config agrees: with the class that reads it, its source, its tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tinybuild.config import reads
from tinybuild.facts import TokenizerIds
from tinybuild.feeding.inputs import continued
from tinybuild.keys import (
    ids_in,
    is_code,
    is_config,
    is_id,
    mentioned,
    reads_text,
    role,
    row_behind,
    says,
    vocabulary,
)
from tinybuild.paths import Data, Json, Path, leaves, mappings, whole
from tinybuild.validate.check import Result, check
from tinybuild.validate.subject import Subject

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Ids = Mapping[Path, Json]
# Tokens of images and sounds that tokenizers and processors name as configs do.
_PLACE = re.compile(
    r"(image|video|audio|boi|eoi|image_start|image_end|boa|eoa|vision_start)_token_(id|index)"
)
GENERATION = "generation_config.json"
SHOWN = 5


@check("model")
def ids_in_vocabulary(subject: Subject) -> Result | None:
    """Every token id of config, generation config and tokenizer is a row of the embedding."""
    embedding = subject.rows
    if embedding is None:
        return None
    config = subject.file("config.json")
    ids = [*mentioned(config), *mentioned(subject.file(GENERATION))]
    ids = [number for number in ids if number != row_behind(config)]
    if "tokenizer" in subject.parts:
        ids.append(max(subject.tokenizer.get_vocab().values()))
    largest = max(ids, default=-1)
    return Result.of(
        largest < embedding,
        measured=f"largest id {largest}",
        wanted=f"less than {embedding}",
        values={"largest_id": largest, "rows": embedding},
        note="" if largest < embedding else "set the id in model.config, or vocab_size higher",
    )


@check("model")
def overrides_read(subject: Subject) -> Result | None:
    """The model class reads every key that the recipe sets: none is merely stored."""
    import torch

    wishes, source = subject.overrides, subject.source_config
    if not wishes or source is None:
        return None
    _, seen = subject.anew
    config = subject.model.config
    left = reads.unread(config, source, wishes, seen)
    if left:
        # Some keys are read only when the model runs.
        with reads.recording() as more, torch.no_grad():
            subject.exact(**subject.exact_batch())
            continued(subject.exact, [subject.exact_batch()], subject.seed)
        for kind, names in more.items():
            seen.setdefault(kind, set()).update(names)
        left = reads.unread(config, source, wishes, seen)
    unread, keys = [".".join(path) for path in left], len([*leaves(wishes, _no_id)])
    offers = {path[-1]: reads.offers(config, path, seen) for path in left}
    return Result.of(
        not unread,
        measured=f"{type(subject.model).__name__} does not read {', '.join(unread)}"
        if unread
        else f"{keys} read",
        wanted="every key of model.config read by the model class",
        values={"keys": keys, "unread": len(unread)},
        note="; ".join(
            f"{name}: did you mean {' or '.join(known)}?" for name, known in offers.items() if known
        ),
    )


def _no_id(name: str, value: Data) -> bool:
    return not is_id(name)


@check("model")
def coherent_ids(subject: Subject) -> Result | None:
    """Every id means the token that it meant in the source, wherever it stands.

    Ids that are equal in the source are equal here, in config, sub-configs and generation config;
    with a tokenizer whose source is known each is the id that its token has become; the tokens of
    images and sounds are the same in config, tokenizer and processor, and so are those of a table
    of tokens (vocabulary_map); a list stays a list.
    """
    before = _of_source(subject.source_file("config.json"), subject.source_config)
    before |= _of_generation(subject.source_file(GENERATION))
    after = dict(_ids(subject.file("config.json"), subject.model.config))
    codes = row_behind(subject.file("config.json"))
    told = _of_generation(subject.file(GENERATION))
    after |= {path: value for path, value in told if codes is None or value != codes}
    if not after:
        return None
    given = {path[-1] for path, _ in leaves(subject.overrides, _no_id) if is_id(path[-1])}
    same = {path: old for path, old in before.items() if path in after and path[-1] not in given}
    ids = subject.read("tokenizer", TokenizerIds).ids if "tokenizer" in subject.parts else None
    # Where the source's ids mean nothing, its roles are the tokenizer's, which may have them apart.
    free = ids.special if ids is not None and ids.missing == "any" else {}
    faults = _moved({p: v for p, v in same.items() if free.get(role(p[-1])) != after[p]}, after)
    if ids is not None:
        faults += _by_token(same, after, ids.moved)
        # What only the generation config has since it was saved may be the config's: the source's
        # config and tokenizer may disagree (Whisper's padding), and do so here.
        new = {
            path: value
            for path, value in after.items()
            if path not in before
            and path[-1] not in given
            and not (path[-1:] in before and after.get(path[-1:]) == value)
        }
        faults += _by_role(new, ids.special)
    faults += _placeholders(subject, after) + _listed(subject)
    faults += [
        f"{'.'.join(path)} was a list, and is {after[path]}"
        for path, old in sorted(same.items())
        if isinstance(old, list) and not isinstance(after[path], list | None)
    ]
    return Result.of(
        not faults,
        measured="; ".join(faults[:SHOWN])
        + (f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")
        if faults
        else f"{len(after)} keys agree",
        wanted="equal ids where the source has equal ones, lists that stay lists",
        values={"keys": len(after), "faults": len(faults)},
    )


def _of_source(data: Data, config: PretrainedConfig | None) -> dict[Path, Json]:
    """The ids of the source's config. A default of its class past its vocabulary is no token of it:
    of GPT-2's 50256 a Chinese one with 13,317 tokens says nothing."""
    said, size = dict(_ids(data, None)), vocabulary(data)
    return {
        path: value
        for path, value in _ids(data, config)
        if path in said or not whole(size) or max(ids_in(path[-1], value), default=0) < size
    }


def _ids(data: Data, config: PretrainedConfig | None) -> Iterator[tuple[Path, Json]]:
    """The ids of a config, with the class's defaults where the file says nothing, without those of
    sub-configs with a vocabulary of their own."""
    if config is not None:
        data = config.to_dict()
    size = vocabulary(data)

    def inside(name: str, node: Data) -> bool:
        return is_config(name, node) and reads_text(node, size)

    for path, node in mappings(data, inside):
        for name, value in node.items():
            if is_id(name) and not is_code(name, node) and value is not None:
                yield (*path, name), value


def _of_generation(data: Data) -> Iterator[tuple[Path, Json]]:
    for path, value in leaves(data, _no_id):
        if is_id(path[-1]):
            yield (GENERATION, *path), value


def _pairs(before: Ids, after: Ids) -> Iterator[tuple[Path, int, int]]:
    """Ids that stand in the same place, before and after; where lengths differ nothing is known."""
    for path, value in before.items():
        olds, news = list(ids_in(path[-1], value)), list(ids_in(path[-1], after[path]))
        if len(olds) == len(news):
            yield from ((path, old, new) for old, new in zip(olds, news, strict=True))


def _moved(before: Ids, after: Ids) -> list[str]:
    """Equal ids of the source that are different ones now."""
    became: dict[int, dict[int, Path]] = {}
    for path, old, new in _pairs(before, after):
        became.setdefault(old, {}).setdefault(new, path)
    return [
        f"{old} of the source is "
        + " and ".join(f"{new} in {'.'.join(path)}" for new, path in sorted(news.items()))
        for old, news in sorted(became.items())
        if len(news) > 1
    ]


def _by_token(before: Ids, after: Ids, moved: Mapping[str, int]) -> list[str]:
    """Ids that are not what their token has become in the recipe's tokenizer."""
    return [
        f"{'.'.join(path)} is {new}, and the token that was {old} is {moved[str(old)]}"
        for path, old, new in sorted(_pairs(before, after))
        if moved.get(str(old), new) != new
    ]


def _by_role(new: Ids, special: Mapping[str, int]) -> list[str]:
    """Ids of roles whose token the source does not name, which are the tokenizer's own."""
    return [
        f"{'.'.join(path)} is {value}, and the tokenizer's {what} is {special[what]}"
        for path, value in sorted(new.items())
        if (what := path[-1].removesuffix("_token_id")) in special
        and special[what] not in ids_in(path[-1], value)
    ]


def _placeholders(subject: Subject, after: Ids) -> list[str]:
    """Tokens of images and sounds that differ between config, tokenizer and processor."""
    places: dict[str, dict[int, str]] = {}
    for path, value in sorted(after.items()):
        if _PLACE.fullmatch(path[-1]) and whole(value):
            places.setdefault(role(path[-1]), {}).setdefault(value, ".".join(path))
    if "tokenizer" in subject.parts:
        for what, ids in places.items():
            for number, place in _named(subject, what):
                ids.setdefault(number, place)
    return [
        f"the {what} token is "
        + " and ".join(f"{number} in {place}" for number, place in sorted(ids.items()))
        for what, ids in sorted(places.items())
        if len(ids) > 1
    ]


def _listed(subject: Subject) -> list[str]:
    """Tokens that a table of the config (token -> id) has other ids for than the tokenizer."""
    return [
        f"{name} has {token} at {number}, and the tokenizer at {known}"
        for name, table in subject.file("config.json").items()
        if says(name, "table of tokens") and isinstance(table, Mapping)
        for token, number in sorted(table.items())
        if "tokenizer" in subject.parts
        if (known := subject.tokenizer.get_vocab().get(token)) != number
    ]


def _named(subject: Subject, what: str) -> Iterator[tuple[int, str]]:
    """The ids of a token that processor and tokenizer name, and where."""
    for name in ("processor_config.json", "tokenizer_config.json"):
        token = subject.file(name).get(f"{what}_token")
        token = token.get("content") if isinstance(token, Mapping) else token
        if not isinstance(token, str):
            continue
        # What the tokenizer names so is what the processor's text is replaced by.
        named = f"{what}_token" in subject.tokenizer.special_tokens_map
        number = subject.tokenizer.convert_tokens_to_ids(token)
        if number is not None and not (named and name == "processor_config.json"):
            yield int(number), f"{name} ({token})"
