"""What the rest of the bundle must know of a tokenizer: sizes, special ids, ids that have moved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.files import json_object
from tinybuild.keys import NAMED, PROCESSORS, ROLES, mentioned
from tinybuild.paths import Json, mapping

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONFIGS = ("config.json", "generation_config.json", *PROCESSORS)


def sizes(made: PreTrainedTokenizerBase, multiple: int) -> dict[str, int]:
    """Config key -> rows of an embedding, a multiple of `multiple`: vocab_size, and src_vocab_size
    and tgt_vocab_size where the class has two vocabularies; shape_vocab_size where it has a table
    word_shape. A class may number tokens of its own behind all others (M2M100 its languages)."""
    tokens = {"vocab_size": len(made)}
    for name, table in vars(made).items():
        if not isinstance(table, dict) or not table:
            continue
        if name.startswith("word_"):
            tokens[f"{name.removeprefix('word_')}_vocab_size"] = max(table.values()) + 1
        elif name.endswith("_token_to_id"):
            tokens["vocab_size"] = max(tokens["vocab_size"], max(table.values()) + 1)
    for name in dir(type(made)):
        if name.endswith("_vocab_size") and isinstance(getattr(type(made), name), property):
            tokens[name] = int(getattr(made, name))
    return {name: -(-size // multiple) * multiple for name, size in tokens.items()}


def special(made: PreTrainedTokenizerBase, folder: Path) -> dict[str, int]:
    """Role -> id of each special token: those that the class names, those that a processor's files
    name, such as image, and the languages and tasks of a generation config by its names."""
    ids = {}
    for role in ROLES:
        token = getattr(made, f"{role}_token", None)
        number = None if token is None else made.convert_tokens_to_ids(str(token))
        if number is not None:
            ids[role] = int(number)
    vocabulary = made.get_vocab()
    named = dict(made.special_tokens_map)  # also image_token and the like
    for file in PROCESSORS:
        named = {**read(folder / file), **named}
    for name, token in named.items():
        if name.endswith("_token") and isinstance(token, str) and token in vocabulary:
            ids.setdefault(name.removesuffix("_token"), vocabulary[token])
    generation = read(folder / "generation_config.json")
    for called in (called for name in NAMED for called in mapping(generation.get(name))):
        number = vocabulary.get(called, vocabulary.get(f"<|{called}|>"))
        if number is not None:
            ids[called] = number
    return ids


def moved(
    made: PreTrainedTokenizerBase, source: PreTrainedTokenizerBase, folder: Path
) -> dict[str, int]:
    """The source's id (as text) -> new id, for the ids that the source's configs mention and whose
    token is still there."""
    mentions = {old for name in CONFIGS for old in mentioned(read(folder / name))}
    if not mentions:
        return {}
    vocabulary = made.get_vocab()
    tokens = {number: token for token, number in source.get_vocab().items()}
    new = {str(old): vocabulary[tokens[old]] for old in mentions if tokens.get(old) in vocabulary}
    return dict(sorted(new.items()))


def read(path: Path) -> Mapping[str, Json]:
    """A JSON object of the source, {} where there is no such file; raises BuildFault."""
    return json_object(path, f"the source's {path.name}") if path.is_file() else {}
