"""Which files of other repositories of the Hub a source's config and processor files name.

transformers would ask the Hub for them while a model or a processor is made. Here fetch takes them,
each into a slot of its own, and later stages read them there (`place`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild.keys import PROCESSORS, configs
from tinybuild.paths import Data

CONFIG = "config.json"
KEY = "backbone"  # the only key by which a class of transformers looks for a config on the Hub
BESIDE = "repo_path"  # the only key by which a processor of transformers looks for another's file
TIMM = "timm_backbone"  # whose names are timm's
MOST = 8  # parts of one source
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_NAME = re.compile(r"\w+", re.ASCII)
_FILE = re.compile(r"(\w[\w.-]*/)*\w[\w.-]*[.]json", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file of another repository, and the file of the source that names it."""

    repo: str
    file: str
    by: str


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


def beside(node: Data) -> dict[str, tuple[str, str]]:
    """The key of each file that a part of a processor looks for in another repository
    (class_info_file) -> the repository and the file, JSON as the processor's own."""
    repo = node.get(BESIDE)
    if not isinstance(repo, str) or not _REPO.fullmatch(repo) or ".." in repo:
        return {}
    return {
        key: (repo, file)
        for key, file in node.items()
        if key.endswith("_file") and _NAME.fullmatch(key)
        if isinstance(file, str) and _FILE.fullmatch(file) and ".." not in file
    }


def read(files: Mapping[str, Path]) -> dict[str, Part]:
    """What the files of a source (name -> path) name, by key; nothing of one that cannot be
    read."""
    every = dict[str, Part]()
    for name in (CONFIG, *PROCESSORS):
        try:
            data = json.loads(files[name].read_bytes()) if name in files else None
        except (OSError, ValueError, RecursionError):
            continue
        for key, (repo, file) in _told(name, data) if isinstance(data, Mapping) else ():
            every.setdefault(key, Part(repo=repo, file=file, by=name))
    return every


def _told(name: str, data: Data) -> Iterator[tuple[str, tuple[str, str]]]:
    if name == CONFIG:
        yield from ((key, (repo, CONFIG)) for key, repo in parts(data).items())
        return
    yield from beside(data).items()
    for part, node in data.items():
        if isinstance(node, Mapping) and part.endswith(("processor", "extractor")):
            yield from ((f"{part}.{key}", told) for key, told in beside(node).items())


def slot(owner: str, key: str) -> str:
    """The slot of a part, by that of its source: source.backbone."""
    return f"{owner}.{key}"


def owner(slot: str) -> str:
    """The slot of the source that names a part; of any other slot, itself."""
    return slot.partition(".")[0]


def is_part(slot: str) -> bool:
    """Whether a slot is of a part that a source only names."""
    return "." in slot


def place(folder: Path, key: str, file: str = CONFIG) -> Path:
    """The file of a part, fetched beside the folder of its source."""
    return folder.with_name(slot(folder.name, key)) / file
