"""Files of a local folder, or one local file."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybuild.errors import Fault
from tinybuild.files import Memo, inside
from tinybuild.source.pins import Pin, Wish, check_sizes, fault, of_use, useful, wanted

TEMPLATES = "additional_chat_templates/*.jinja"


def _local(wish: Wish) -> dict[str, Path]:
    """{name: path} of the files that a path wish stands for, sorted; {} where there are none."""
    place = (wish.base / wish.data["path"]).resolve()
    suffixes, _ = useful(wish)
    if place.is_file():
        return {place.name: place} if wanted(place.name, suffixes) else {}
    if not place.is_dir():
        return {}
    found = {}
    whole = (
        place.rglob("*") if wish.slot == "dataset" else [*place.iterdir(), *place.glob(TEMPLATES)]
    )
    for path in sorted(whole):
        name = path.relative_to(place).as_posix()
        if wanted(name, suffixes) and path.is_file():
            found[name] = inside(place, name)
    return found


def look(wish: Wish, memo: Memo) -> Any:
    try:
        return {name: memo.sha256(str(path)) for name, path in _local(wish).items()}
    except (Fault, OSError):
        return None  # the fetch will say what is wrong


def resolve(wish: Wish, lock: Mapping[str, Any] | None, out: Path) -> Pin:
    files = local(wish)
    check_sizes(wish, ((name, path.stat().st_size) for name, path in files.items()))
    return Pin(
        facts={}, files={name: functools.partial(Path, path) for name, path in files.items()}
    )


def local(wish: Wish) -> dict[str, Path]:
    """{name: path} of the files that a path wish stands for; raises SourceFault if there are none.

    A folder's names are below it; one file's is its own.
    """
    place = wish.base / wish.data["path"]
    if not place.exists():
        raise fault(wish, f"there is no {wish.data['path']}", f"looked for {shown(wish)}")
    files = _local(wish)
    if not files:
        suffixes, use = useful(wish)
        hint = of_use(suffixes)
        if place.is_file():
            name = wish.data["path"]
            raise fault(wish, f"{name} is not a {use} file", hint)
        if not place.is_dir():
            raise fault(wish, f"{wish.data['path']} is no plain file", "give a file or a folder")
        state = "is empty" if not any(place.iterdir()) else "holds no file that is of use"
        raise fault(wish, f"the folder {wish.data['path']} {state}", hint)
    return files


def stamps(wish: Wish) -> dict[str, int]:
    """{name: ctime in ns} of a path wish's files: nobody can set a ctime, so one that was edited
    and reverted shows."""
    return {name: path.stat().st_ctime_ns for name, path in local(wish).items()}


def shown(wish: Wish) -> str:
    return f"{wish.data['path']} seen from the folder {wish.base.name}/ of the recipe"
