"""Which versions of transformers read a bundle alike, and what version 4 needs for that.

Version 5 says how positions rotate in `rope_parameters`. Version 4 passes over that key: it reads
`rope_theta`, `rope_scaling` and their kin, which version 5 still takes where `rope_parameters` is
not there. So version 5 itself tells what version 4 makes of a config: what the config class makes
of it without that key.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from tinybuild.config.overrides import refusals
from tinybuild.keys import ROTATION, ROTATIONS, SCALED, SHARE, THETA, TIED, WINDOWED
from tinybuild.paths import Data, Json, Path, get, having, items, mapping, mappings, without

FOUR, FIVE = "4.57", "5.0"  # the versions that benchmarks/clients.py compares with


@dataclass(frozen=True, kw_only=True)
class Least:
    """The least version of transformers that reads a bundle as the one that built it, and why no
    older one does."""

    version: str
    reasons: tuple[str, ...]


def here() -> str:
    """The version that builds."""
    import transformers

    return ".".join(transformers.__version__.split(".")[:2])


def least(config: Data, tokenizer: Data, pipeline: Data) -> Least:
    """Of a bundle's config.json, tokenizer_config.json and tokenizer.json (or of nothing)."""
    kinds = dict.fromkeys(str(node.get("model_type")) for _, node in mappings(config))
    absent = _known()["absent"]
    newer = [f"the model type {kind}" for kind in kinds if kind in absent[FIVE]["types"]]
    if newer:
        return Least(version=here(), reasons=tuple(newer))
    newer = [f"the model type {kind}" for kind in kinds if kind in absent[FOUR]["types"]]
    newer += [f"{'.'.join((*path, ROTATION))} in config.json" for path in unread(config)]
    newer += [f"{TIED} in config.json, which scales the outputs there"] if _scaled(config) else []
    newer += _tokenizer(tokenizer, pipeline)
    return Least(version=FIVE if newer else FOUR, reasons=tuple(newer))


def _scaled(data: Data) -> bool:
    """Whether version 4 would scale the outputs of a decoder whose head is its embedding (T5), and
    version 5, whose class knows of no other head, does not (mT5)."""
    if not data.get("is_encoder_decoder") or data.get(SCALED):
        return False
    return _read({**data, TIED: False}).get(TIED) is True


def _tokenizer(data: Data, pipeline: Data) -> Iterator[str]:
    """What version 4 does not read, or reads otherwise, of a tokenizer."""
    name, bos = str(data.get("tokenizer_class")), data.get("bos_token")
    if name in _known()["absent"][FOUR]["tokenizers"]:
        yield f"the tokenizer class {name}"
    if isinstance(data.get("extra_special_tokens"), list):
        yield "extra_special_tokens as a list in tokenizer_config.json"
    default = _known()["own_bos"].get(name)
    if pipeline and default is not None and bos is not None:
        begins = data.get("add_bos_token", default)
        if begins != any(value == bos for _, value in items(pipeline.get("post_processor"))):
            adds = "begins" if begins else "does not begin"
            yield f"tokenizer.json as {name}: there its text {adds} with {bos}"


@functools.cache
def _known() -> Any:
    """What is known of older versions, as benchmarks/clients.py found it."""
    text = files("tinybuild.config").joinpath("versions.json").read_text(encoding="utf-8")
    return json.loads(text)


def unread(data: Data) -> list[Path]:
    """The parts of a config.json whose rotation version 4 would make another one of."""
    rotating = [path for path, node in mappings(data) if node.get(ROTATION)]
    if not rotating:
        return []
    stripped = data
    for path in rotating:
        stripped = without(stripped, (*path, ROTATION))
    now, then = _read(data), _read(stripped)
    places = {path: (*path, ROTATION) for path in rotating}
    return [path for path, at in places.items() if get(now, at) != get(then, at)]


def spelled(data: Data) -> dict[str, Json]:
    """A config.json that version 4 reads as version 5 does: its rotations also in the keys of
    version 4, as far as its families had some (`unread` tells of the rest)."""
    made, whole = dict(data), _read(data)
    for path in unread(data):
        node = mapping(data, path)
        for names in ROTATIONS:
            keys = {**node, **_keys(mapping(node, (ROTATION,)), names)}
            trial = mapping(having(made, path, keys))
            if path not in unread(trial) and _read(trial) == whole:
                made = dict(trial)
                break
    return made


def _keys(rotation: Data, names: Sequence[str]) -> dict[str, Json]:
    """What `rope_parameters` says, in keys of version 4 by these names (a row of ROTATIONS)."""
    base, window, share = names
    wide = mapping(rotation, (WINDOWED[0],)) or rotation
    near = mapping(rotation, (WINDOWED[1],)) or wide
    scaling = {key: value for key, value in wide.items() if key not in (THETA, SHARE)}
    made = {window: near.get(THETA), base: wide.get(THETA)}
    if SHARE in wide:
        made[share] = wide[SHARE]
    return {**made, "rope_scaling": None if scaling == {"rope_type": "default"} else scaling}


def _read(data: Data) -> Data:
    """What the config class of transformers makes of a config.json; empty where it refuses it."""
    from transformers import CONFIG_MAPPING

    kind = data.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        return {}
    try:
        made = CONFIG_MAPPING[kind].from_dict(json.loads(json.dumps(data)))
    except refusals():
        return {}
    # What a class keeps of the keys of version 4 says nothing beside `rope_parameters`.
    old = {"rope_scaling", *(name for names in ROTATIONS for name in names)}
    return _without(json.loads(made.to_json_string(use_diff=False)), old)


def _without(data: Data, names: set[str]) -> Data:
    return {
        name: _without(value, names) if isinstance(value, Mapping) and name != ROTATION else value
        for name, value in data.items()
        if name not in names
    }
