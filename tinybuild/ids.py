"""Which keys of a config hold token ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SUFFIXES = ("_token_id", "_token_ids", "_token_index")
LISTS = ("suppress_tokens", "begin_suppress_tokens")


def is_id(name: str) -> bool:
    """Whether the config key `name` holds a token id or a list of them."""
    return name.endswith(SUFFIXES) or name in LISTS


def mentioned(data: Mapping[str, Any]) -> Iterator[int]:
    """Every token id that stands anywhere in a config (JSON data), sub-configs included."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from mentioned(value)
        elif is_id(name):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, int) and not isinstance(item, bool) and item >= 0:
                    yield item
