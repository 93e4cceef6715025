"""What a file of a dataset is, as far as its name tells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from tinybuild.dataset.archives import inner_name, is_packed, suffix_of

LAYOUT = "layout.json"
# What an archive's files may be, where the library would not look into them.
LINES = {
    ".txt": "text",
    ".text": "text",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
}
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")
FOLDERS = ("imagefolder", "audiofolder")
# Files about the data, which a reader of text files would take for data.
_ABOUT = re.compile(r"(readme|licen[cs]e|citation|changelog|notice|requirements)\b", re.IGNORECASE)
README = "README.md"
CARDS = (README, ".huggingface.yaml", "dataset_infos.json")
# What save_to_disk, and a build, leave beside the data.
BESIDE = (
    LAYOUT,
    "dataset_info.json",
    "dataset_dict.json",
    "state.json",
    "receipt.json",
    "provenance.json",
)
# How many files of an archive show what it is.
LOOK = 20


def is_about(name: str) -> bool:
    """Whether a file is about the data (a license), not data."""
    return _ABOUT.match(re.split("[/!]", name)[-1]) is not None


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder that it is in, is hidden; in an archive, within it."""
    inner = name.rpartition("!")[2]
    return any(part.startswith((".", "__")) for part in inner.split("/"))


def lines(name: str) -> str | None:
    """The format of a file in an archive where each of its rows is a line or so; else None."""
    return LINES.get(suffix_of(inner_name(name)))


def medium(name: str) -> str | None:
    """The reader of an image or a sound; None for others."""
    from datasets.packaged_modules import _MODULE_TO_EXTENSIONS

    suffix = suffix_of(name)
    known = (module for module in FOLDERS if suffix in _MODULE_TO_EXTENSIONS[module])
    return None if suffix == ".zip" else next(known, None)


def key(member: str) -> str:
    """What the files of one sample of a WebDataset share: the name up to the first dot."""
    path = PurePosixPath(member)
    return str(path.parent / path.name.partition(".")[0])


def are_texts(members: Sequence[str]) -> bool:
    """Whether an archive whose first members these are holds texts, JSON lines or archives of them,
    of which each is a row or more: neither a WebDataset nor images with a text about them."""
    names = [member for member in members[:LOOK] if not is_hidden(member)]
    grouped = len({key(name) for name in names}) < len(set(names))
    # Samples of one .json each are a WebDataset too, and its reader knows what to do with them.
    texts = [
        name for name in names if is_packed(name) or (lines(name) and not name.endswith(".json"))
    ]
    # Some texts beside as many images or sounds say something of them (metadata.csv, labels.txt).
    return not grouped and len(texts) > sum(medium(name) is not None for name in names)
