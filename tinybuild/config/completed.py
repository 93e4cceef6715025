"""What a config leaves open though its class needs it is filled in, as the class's siblings do.

Each rule gives changes to one config of the tree; what a source says is never changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tinybuild.config import heads
from tinybuild.config.overrides import override, sub_config
from tinybuild.keys import START
from tinybuild.paths import Data, Json, Path, put

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def left_open(config: PreTrainedConfig) -> dict[str, Json]:
    """The changes that make a config whole, nested."""
    made: dict[str, Json] = {}
    for path, node in _nodes(config):
        for rule in RULES:
            for name, value in rule(node):
                put(made, (*path, name), value)
    return made


def complete(config: PreTrainedConfig, left: Data) -> PreTrainedConfig:
    """The config with what it left open."""
    return override(config, left, {}, ()) if left else config


def _nodes(config: PreTrainedConfig, path: Path = ()) -> Iterator[tuple[Path, PreTrainedConfig]]:
    yield path, config
    for name in config.sub_configs:
        sub = sub_config(config, name)
        if sub is not None:
            yield from _nodes(sub, (*path, name))


def _starts(config: PreTrainedConfig) -> Iterator[tuple[str, Json]]:
    """What a decoder starts with, and what labels are padded with, where the class shifts labels by
    what its config says: as generation does, bos or else the padding token."""
    if not config.is_encoder_decoder:
        return
    code = heads.code(config.model_type)
    pad, start = _id(config, "pad_token_id"), _id(config, "bos_token_id")
    for name, value in (("pad_token_id", pad), (START, pad if start is None else start)):
        wanted = re.search(rf"config\.{name}\b", code)
        if wanted and getattr(config, name, None) is None and value is not None:
            yield name, value


def _id(config: PreTrainedConfig, name: str) -> Json:
    """An id of a config, or that of its decoder, or of another part."""
    parts = sorted(config.sub_configs, key=lambda part: part != "decoder")
    nodes = [config, *(sub for part in parts if (sub := sub_config(config, part)) is not None)]
    values = (getattr(node, name, None) for node in nodes)
    return next((value for value in values if value is not None), None)


Rule = Callable[["PreTrainedConfig"], Iterator[tuple[str, Json]]]
RULES: tuple[Rule, ...] = (_starts,)
