"""What a config leaves open though its class needs it is filled in, as upstream's checkpoints do.

What a source says is never changed. What it leaves open is a fact of it, too, but for what labels
need; a class's default is no model's config, and is made whole: its parts fit together.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as File
from typing import TYPE_CHECKING

from tinybuild import paths
from tinybuild.coded import code
from tinybuild.config.overrides import nodes, override, parts, plain, refusals
from tinybuild.keys import NAMES, START, first, is_id, measures, of_modality, says, width
from tinybuild.paths import Data, Json, Path, texts

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

LETTERS = 32  # a vocabulary, where a class has none: what CTC tells apart, amino acids
FORECAST = 12  # steps
ATTENDS = "full_attention"


def left_open(config: PreTrainedConfig, wishes: Data | None = None) -> dict[str, Json]:
    """The changes that make a config whole, nested; none of what the wishes want left open."""
    made = _unless(_changes(config), wishes or {})
    inner = _changes(complete(config, made)) if made else {}  # of a part that was not there before
    return _unless(paths.merge(made, inner), wishes or {})


def _unless(made: Data, wishes: Data) -> dict[str, Json]:
    """What is made but for what is wished to be nothing."""
    kept = {name: value for name, value in made.items() if wishes.get(name, made) is not None}
    for name, value in kept.items():
        if isinstance(value, Mapping):
            kept[name] = _unless(value, paths.mapping(wishes, (name,)))
    return kept


def complete(config: PreTrainedConfig, left: Data) -> PreTrainedConfig:
    """The config with what it left open."""
    return override(config, left, {}, ()) if left else config


def _changes(config: PreTrainedConfig) -> dict[str, Json]:
    made: dict[str, Json] = {}
    for path, node in nodes(config):
        rules = (*RULES, *DEFAULTS) if _default(node) else RULES
        for rule in rules:
            for inner, value in rule(node):
                if rule in CONTRADICTED or _open(paths.get(node.to_dict(), inner)):
                    paths.put(made, (*path, *inner), value)
    return made


def _open(value: Json) -> bool:
    """Nothing is said; or that no layer of a class that knows others attends."""
    kinds = {*value} if texts(value) else set()
    return value is None or value in ({}, [], ()) or kinds == {"linear_attention"}


def _default(config: PreTrainedConfig) -> bool:
    """Whether a config says what its class says by itself."""
    try:
        return plain(config) == plain(type(config)())
    except refusals():
        return False


Found = Iterator[tuple[Path, Json]]


def _starts(config: PreTrainedConfig) -> Found:
    """What a decoder starts with, and what labels are padded with, where the class shifts labels by
    what its config says: as generation does, bos or else the padding token; eos pads where none
    does."""
    if not config.is_encoder_decoder:
        return
    text = code(config.model_type)
    pad, start = _id(config, "pad_token_id"), _id(config, "bos_token_id")
    ends = _id(config, "eos_token_id")
    pad = (ends[0] if isinstance(ends, list) and ends else ends) if pad is None else pad
    for name, value in (("pad_token_id", pad), (START, pad if start is None else start)):
        if value is not None and re.search(rf"config\.{name}\b", text):
            yield (name,), value


def _id(config: PreTrainedConfig, name: str) -> Json:
    """An id of a config, or that of its decoder, or of another part."""
    inside = [sub for _, sub in sorted(parts(config), key=lambda part: part[0] != "decoder")]
    values = (getattr(node, name, None) for node in (config, *inside))
    return next((value for value in values if value is not None), None)


def _parts(config: PreTrainedConfig) -> Found:
    """The towers that a class has a type for, and its default leaves out."""
    for name, part in (type(config).sub_configs_defaults or {}).items():
        model_type = getattr(part.config_class, "model_type", "")
        if part.optional and model_type:
            yield (name,), {"model_type": model_type}


def _attention(config: PreTrainedConfig) -> Found:
    """Heads' sizes, where the class reads them as they are: from the width, and as many."""
    text, data = code(config.model_type), config.to_dict()
    name, wide = first(data, "heads"), width(data)
    count = data[name] if name else None
    plain_read = re.search(r'config, "head_dim", config\.', text)
    if isinstance(count, int) and wide and "head_dim" in data and plain_read:
        yield ("head_dim",), wide // count
    for name in NAMES["kv heads"]:
        if re.search(rf"= config\.{name}$", text, re.MULTILINE) and name in data:
            yield (name,), count


def _experts(config: PreTrainedConfig) -> Found:
    """How many experts are chosen, where there are some; and which layers have them."""
    data = config.to_dict()
    name = first(data, "experts")
    if name is None:
        return
    yield from (((key,), 2) for key in data if measures(key) == "top k")
    depth = first(data, "depth")
    if depth is not None and "mlp_layer_types" in data:
        yield ("mlp_layer_types",), ["dense", *["sparse"] * (int(str(data[depth])) - 1)]


def _kinds(config: PreTrainedConfig) -> Found:
    """Layers that attend, where the class knows them beside others and its default has none."""
    data, text = config.to_dict(), code(config.model_type)
    depth = first(data, "depth")
    if depth is None or f'"{ATTENDS}"' not in text:
        return
    count = int(str(data[depth]))
    for name in data:
        if says(name, "layers of a kind") and name.startswith("attn") and not is_id(name):
            yield (name,), [count // 2]
    if "layer_types" in data:
        others = [kind for kind in ("conv", "linear_attention") if f'"{kind}"' in text]
        kinds = [*others[:1], ATTENDS]
        yield ("layer_types",), [kinds[index % len(kinds)] for index in range(count)]


def _chosen(config: PreTrainedConfig) -> Found:
    """The default of what a class lists (default_language of languages): the first."""
    data = config.to_dict()
    for name in data:
        several = data.get(f"{name.removeprefix('default_')}s")
        if name.startswith("default_") and isinstance(several, list) and several:
            yield (name,), several[0]


def _lengths(config: PreTrainedConfig) -> Found:
    """A vocabulary, its ids, and how far a series goes on: data decides them."""
    own = {field.name for field in dataclasses.fields(config)}
    if "prediction_length" in own:
        yield ("prediction_length",), FORECAST
    parts = [value for value in vars(config).values() if hasattr(value, "to_dict")]
    if "vocab_size" in own and config.vocab_size is None and not parts:
        yield ("vocab_size",), LETTERS
        yield from (((name,), value) for name, value in IDS.items() if name in own)


IDS: Mapping[str, Json] = {"pad_token_id": 1, "mask_token_id": LETTERS - 1}


def _joined(config: PreTrainedConfig) -> Found:
    """What a tower gives to the text is as wide as the text, and what joins the two takes what the
    tower has: by themselves the classes of the parts say something else."""
    inside = {name: sub.to_dict() for name, sub in parts(config)}
    text = next((name for name in NAMES["text part"] if name in inside), None)
    tower = next((n for n in inside if n != text and of_modality(n, "image", "audio")), None)
    for name, data in inside.items():
        given = [key for key in data if says(key, "width of the text")]
        # Where both are there, the layers are as wide as the latter, but for a pyramid's codes.
        own = {"hidden_size", "embed_dim"} <= data.keys()
        own &= not any(says(key, "factor by stage") for key in data)
        for key in given or ["hidden_size"] * own:
            wide = width(inside[text]) if text not in (None, name) else None
            if data[key] and wide not in (None, data[key]):
                yield (name, key), wide
        for key in data if name not in (text, tower) else ():
            wide = width(inside[tower]) if tower else None
            if says(key, "width of the tower") and wide not in (None, data[key]):
                yield (name, key), wide


def _told(config: PreTrainedConfig) -> Found:
    """What no rule sees: `default` in config/exceptions.json."""
    entry = exceptions().get(config.model_type, {})
    yield from paths.leaves(paths.mapping(entry, ("default",)))


@functools.cache
def exceptions() -> Mapping[str, Data]:
    """config/exceptions.json: model type -> config (keys and values), default (likewise, for the
    class's default alone, which leaves them open or contradicts itself), reason, transformers (the
    version it was seen in)."""
    file = File(__file__).with_name("exceptions.json")
    return dict(json.loads(file.read_text(encoding="utf-8")))


Rule = Callable[["PreTrainedConfig"], Found]
RULES: tuple[Rule, ...] = (_starts,)
DEFAULTS: tuple[Rule, ...] = (
    *(_parts, _attention, _experts, _kinds, _chosen, _lengths, _joined, _told),
)
CONTRADICTED = (_joined, _told)  # what a default says, too, where its parts do not fit together
