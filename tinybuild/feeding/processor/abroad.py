"""What a processor looks for in other repositories: kept where fetch has it, else left out."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from tinybuild import named
from tinybuild.errors import BuildFault
from tinybuild.feeding.processor import parts
from tinybuild.keys import elsewhere
from tinybuild.paths import Data, Json

Files = Mapping[str, Data]  # file name -> JSON data


def leads(data: Data) -> Iterator[str]:
    """What leads to a repository: a name of one, a part that is loaded from one (audio_tokenizer),
    and the files that are looked for in it (class_info_file beside repo_path)."""
    names = [name for name, value in data.items() if elsewhere(name, value)]
    yield from names
    for name, value in data.items():
        inner = value.items() if isinstance(value, Mapping) else ()
        if any(elsewhere(*item) for item in inner) or (names and name.endswith("_file")):
            yield name


def kept(files: Files, made: Files, folder: Path) -> dict[str, dict[str, Json]]:
    """Processor files (`made`, of the source's `files`) with what their classes take from the files
    of other repositories that fetch put beside the source's folder: so the bundle needs none.

    Raises BuildFault for a file that its class does not take.
    """
    return {
        name: parts.changed(data, functools.partial(_with, files[name], folder))
        for name, data in made.items()
    }


def _with(source: Data, folder: Path, part: str, node: dict[str, Json]) -> dict[str, Json]:
    return {**node, **_taken(source, part, folder)}


def _taken(source: Data, part: str, folder: Path) -> dict[str, Json]:
    """What a class makes of a file of another repository, and the file's key without a name: it
    looks for none then."""
    node = source.get(part) if part else source
    if not isinstance(node, Mapping):
        return {}
    places = {
        key: named.place(folder, f"{part}.{key}" if part else key, file)
        for key, (_, file) in named.beside(node).items()
    }
    there = {key: str(place.absolute()) for key, place in places.items() if place.is_file()}
    own = {key: value for key, value in node.items() if key not in (named.BESIDE, *places)}
    bare = parts.part(own) if there else None
    if bare is None:
        return {}  # nothing was fetched, or the class is not there
    try:
        loaded = vars(parts.part({**own, **there}))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        files = ", ".join(place.name for place in places.values())
        what = f"the source's processor does not take {files} ({type(error).__name__}: {error})"
        raise BuildFault.of(what, key=("source",)) from None
    told = {
        name: value
        for name, value in loaded.items()
        if name not in there and value != getattr(bare, name, None) and _plain(value)
    }
    return {**told, **dict.fromkeys(there, "")} if told else {}


def _plain(value: object) -> bool:
    """Whether a value is JSON data."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def without(files: Files, made: Files) -> tuple[str, ...]:
    """What of the source's processor files is loaded from another repository, and is not in the
    bundle's: `audio_tokenizer` (descript/dac_44khz)."""
    have = {key for data in made.values() for node in parts.walk(data) for key in node}
    told = dict[str, None]()
    for node in (node for data in files.values() for node in parts.walk(data)):
        for key in sorted({*leads(node)} - have):
            value = node[key]
            inner = value.items() if isinstance(value, Mapping) else ()
            places = ", ".join(str(text) for name, text in inner if elsewhere(name, text))
            if places or key.endswith("_file"):
                told[f"`{key}` ({places or value})"] = None
    return tuple(told)
