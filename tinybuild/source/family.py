"""The tokenizer of a model type's family, without a vocabulary."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

from tinybuild.coded import code
from tinybuild.keys import NAMES, says, vocabulary
from tinybuild.paths import Data, mapping

SEGMENTS = "token_type_ids"
TAKEN = re.compile(rf"\b{SEGMENTS}(: [^\n]*)? ?= ?None")  # as an argument
COMMON = {"eos": "</s>", "bos": "<s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}


def blank_tokenizer(kind: str, config: Any | None = None) -> Any | None:
    """The tokenizer of a model type's family without a vocabulary, or None where there is none.

    The class is the one that AutoTokenizer takes for the type; where that needs files, the class
    in the type's own module (Llama's mapping names a class that only loads files). A type that has
    neither (Llava) takes that of its part with the text: `config` is the type's default. A type
    that reads text, none of whose classes can be made without files, gets a byte-level one.
    """
    for candidate in _classes(kind):
        try:
            return candidate()
        except (TypeError, ValueError, ImportError, OSError):
            continue  # it needs files, or a package that is not there
    if config is None:
        return None
    for part in _texts(config):
        found = blank_tokenizer(part.model_type, part) if part.model_type != kind else None
        if found is not None:
            return found
    data = config.to_dict()
    reads = vocabulary(data) is not None or any(says(name, "rows of text") for name in data)
    return byte_level(data) if reads else None


def unread(tokenizer: Any, kind: str) -> None:
    """Let a blank tokenizer give no segments where the type's model does not take them: pipelines
    hand on all that a tokenizer gives, and GIT's generate refuses them."""
    text, names = code(kind), [*tokenizer.model_input_names]
    if text and SEGMENTS in names and not TAKEN.search(text):
        names.remove(SEGMENTS)
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names


def takes_text(tokenizer: Any | None) -> bool:
    """Whether a tokenizer is one of texts: LayoutLM's wants words, each with its box on a page."""
    called = inspect.signature(type(tokenizer).__call__).parameters if tokenizer else {}
    return bool(called) and "boxes" not in called


def _classes(kind: str) -> Iterator[Any]:
    """The tokenizer classes of a model type: AutoTokenizer's, then those of its own module."""
    from transformers.models.auto.configuration_auto import model_type_to_module_name
    from transformers.models.auto.tokenization_auto import (
        TOKENIZER_MAPPING_NAMES,
        tokenizer_class_from_name,
    )

    mapped = TOKENIZER_MAPPING_NAMES.get(kind)
    known = tokenizer_class_from_name(mapped) if mapped is not None else None
    if known is not None:
        yield known
    module = model_type_to_module_name(kind)
    try:
        own = importlib.import_module(f"transformers.models.{module}.tokenization_{module}")
        yield from [getattr(own, name) for name in own.__all__]
    except (ImportError, AttributeError, NameError):
        return  # there is none, or it needs a package that is not there


def _texts(config: Any) -> Iterator[Any]:
    """The parts of a config that may hold its text."""
    try:
        yield config.get_text_config()
    except ValueError:  # of two, one for what it reads
        yield config.get_text_config(encoder=True)
    for name in NAMES["text part"]:
        part = getattr(config, name, None)
        if hasattr(part, "model_type"):
            yield part


def byte_level(config: Data) -> Any:
    """A tokenizer of bytes, with the special tokens that code asks for; what begins, ends and fills
    a text is one token where it has one id in the config (JSON data)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import TokenizersBackend

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    part = mapping(config, next(((name,) for name in NAMES["text part"] if name in config), ()))
    roles: dict[str, str] = {}
    tokens: dict[str, str] = {}  # id -> its first role's
    for role, token in COMMON.items():
        number = {**part, **config}.get(f"{role}_token_id")
        shared = number is not None and role in ("eos", "bos", "pad")
        roles[f"{role}_token"] = tokens.setdefault(str(number), token) if shared else token
    return TokenizersBackend(tokenizer_object=backend, **roles)
