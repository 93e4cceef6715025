"""Where ids stand in a tokenizer's files, and what the rest of the bundle must know of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybuild.errors import BuildFault
from tinybuild.keys import PROCESSORS, ROLES, mentioned
from tinybuild.tokenizer import METHODS


def facts(
    made: Any, source: Any | None, folder: Path, section: Mapping[str, Any]
) -> dict[str, Any]:
    """What a model must know of its tokenizer (JSON data).

    sizes: config key -> rows of an embedding (vocab_size; src_vocab_size and tgt_vocab_size where
    the class has two vocabularies), a multiple of `pad_to_multiple_of`. special: role -> id. moved:
    the source's id (as text) -> new id, for the ids that the source's configs mention and whose
    token is still there; empty where the source's ids mean nothing (a blank tokenizer). keep:
    whether it is the source's own tokenizer. missing: what becomes of an id that has no token
    (error or unk).
    """
    sizes = {"vocab_size": len(made)}
    for name in dir(type(made)):
        if name.endswith("_vocab_size") and isinstance(getattr(type(made), name), property):
            sizes[name] = int(getattr(made, name))
    multiple = section.get("pad_to_multiple_of", 1)
    sizes = {name: -(-size // multiple) * multiple for name, size in sizes.items()}
    special = {}
    for role in ROLES:
        token = getattr(made, f"{role}_token", None)
        if token is not None:
            number = made.convert_tokens_to_ids(str(token))
            if number is not None:
                special[role] = int(number)
    vocabulary = made.get_vocab()
    named = dict(made.special_tokens_map)  # also image_token and the like
    for file in PROCESSORS:
        named = {**read(folder / file), **named}
    for name, token in named.items():
        if name.endswith("_token") and isinstance(token, str) and token in vocabulary:
            special.setdefault(name.removesuffix("_token"), vocabulary[token])
    moved = {}
    configs = ("config.json", "generation_config.json", *PROCESSORS)
    mentions = {old for name in configs for old in mentioned(read(folder / name))}
    if source is not None and mentions:
        tokens = {number: token for token, number in source.get_vocab().items()}
        moved = {
            str(old): vocabulary[tokens[old]] for old in mentions if tokens.get(old) in vocabulary
        }
    return {
        "sizes": sizes,
        "special": special,
        "moved": dict(sorted(moved.items())),
        "keep": METHODS[section["method"]].unchanged,
        "missing": section.get("missing_ids", "error"),
    }


def read(path: Path) -> dict[str, Any]:
    """A JSON object of the source, {} where there is no such file; raises BuildFault."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise BuildFault.of(f"the source's {path.name} is not a JSON object", key=("source",))
    return data
