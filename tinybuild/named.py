"""Which parts a source's config only names: repositories of the Hub that hold the part's config.

transformers would ask the Hub for them while a model is made. Here fetch takes their config.json,
each into a slot of its own, and later stages read it there (`place`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from tinybuild.keys import configs
from tinybuild.paths import Data

CONFIG = "config.json"
KEY = "backbone"  # the only key by which a class of transformers looks for a config on the Hub
TIMM = "timm_backbone"  # whose names are timm's
MOST = 8  # parts of one config
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_NAME = re.compile(r"\w+", re.ASCII)


def parts(data: Data) -> dict[str, str]:
    """The key of each part that a config (JSON data) only names (decoder_config.backbone) -> the
    repository. What is described beside its name is not only named."""
    every = dict[str, str]()
    for path, node in configs(data):
        name = node.get(KEY)
        if not isinstance(name, str) or not _REPO.fullmatch(name) or ".." in name:
            continue
        told = node.get(f"{KEY}_config") or node.get("model_type") == TIMM
        if not told and all(_NAME.fullmatch(key) for key in path):
            every[".".join((*path, KEY))] = name
    return every


def read(file: Path) -> dict[str, str]:
    """`parts` of a config.json; nothing where it is not there, or cannot be read."""
    try:
        data = json.loads(file.read_bytes())
        return parts(data) if isinstance(data, Mapping) else {}
    except (OSError, ValueError, RecursionError):
        return {}


def slot(owner: str, key: str) -> str:
    """The slot of a part, by that of its source: source.backbone."""
    return f"{owner}.{key}"


def owner(slot: str) -> str:
    """The slot of the source that names a part; of any other slot, itself."""
    return slot.partition(".")[0]


def is_part(slot: str) -> bool:
    """Whether a slot is of a part that a source only names."""
    return "." in slot


def place(folder: Path, key: str) -> Path:
    """The config.json of a part, fetched beside the folder of its source."""
    return folder.with_name(slot(folder.name, key)) / CONFIG
