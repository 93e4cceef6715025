"""Which keys of a config hold token ids, and in what shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

# One id, a list of them, or lists of lists: eos_token_id, suppress_tokens, bad_words_ids.
# The files of a processor and its parts, which may name tokens and their ids.
PROCESSORS = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
SUFFIXES = ("_token_id", "_token_ids", "_token_index", "_words_ids", "_patch_id")
LISTS = ("suppress_tokens", "begin_suppress_tokens")
PAIRS = ("forced_decoder_ids",)  # [position, id] each
NAMED = ("lang_to_id", "task_to_id")  # mappings of names to ids
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
NAMES = tuple(f"{role}_id" for role in ROLES)


def is_id(name: str) -> bool:
    """Whether the config key `name` holds token ids."""
    return name.endswith(SUFFIXES) or name in (*LISTS, *PAIRS, *NAMED, *NAMES, "token_ids")


def found(name: str, value: Any) -> Iterator[int]:
    """The token ids in the value of a key that holds them; -1 and the like are none."""
    if name in PAIRS:
        for pair in value if isinstance(value, list) else ():
            if isinstance(pair, list) and len(pair) == 2:
                yield from found("", pair[1])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from found("", item)
    elif isinstance(value, list):
        for item in value:
            yield from found("", item)
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        yield value


def replaced(name: str, value: Any, new: Callable[[int], int | None]) -> Any:
    """The value of a key with `new` in place of each id.

    Where `new` gives None: an item of a list or mapping is left out (equal ones are kept once), a
    single id becomes None. A list inside a list is a sequence: it stays as it is, or goes whole.
    """
    if name in PAIRS and isinstance(value, list):
        pairs = [(pair, new(pair[1]) if pair[1] is not None else None) for pair in value]
        return [[p[0], number] for p, number in pairs if number is not None or p[1] is None]
    if isinstance(value, Mapping):
        items = {key: replaced("", item, new) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not None}
    if isinstance(value, list):
        made = [_sequence(i, new) if isinstance(i, list) else replaced("", i, new) for i in value]
        unique: list[Any] = []
        for item in made:
            if item is not None and item not in unique:
                unique.append(item)
        return unique
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return new(value)
    return value


def _sequence(ids: list[Any], new: Callable[[int], int | None]) -> list[Any] | None:
    made = [replaced("", item, new) for item in ids]
    return None if None in made else made


def mentioned(data: Mapping[str, Any], *, named: bool = True) -> Iterator[int]:
    """Every token id that stands anywhere in a config (JSON data), sub-configs included.

    named: also those in mappings of names to ids, which only list what there is.
    """
    for name, value in data.items():
        if is_id(name):
            if named or name not in NAMED:
                yield from found(name, value)
            continue
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping):
                yield from mentioned(inner, named=named)
