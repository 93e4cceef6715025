"""Files of a local folder, or one local file."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybuild.errors import Fault
from tinybuild.files import Memo, inside
from tinybuild.source.pins import Pin, Wish, check_sizes, fault, useful, wanted

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
        if wanted(path.name, suffixes) and path.is_file():
            found[name] = inside(place, name)
    return found


def look(wish: Wish, memo: Memo) -> Any:
    try:
        return {name: memo.sha256(str(path)) for name, path in _local(wish).items()}
    except (Fault, OSError):
        return None  # the fetch will say what is wrong


def resolve(wish: Wish, lock: Mapping[str, Any] | None, out: Path) -> Pin:
    place = wish.base / wish.data["path"]
    if not place.exists():
        raise fault(wish, f"there is no {wish.data['path']}", f"looked for {shown(wish)}")
    files = _local(wish)
    if not files:
        suffixes, use = useful(wish)
        wanted = ", ".join(f"*{s}" for s in suffixes)
        if place.is_file():
            name = wish.data["path"]
            raise fault(wish, f"{name} is not a {use} file", f"of use are {wanted}")
        if not place.is_dir():
            raise fault(wish, f"{wish.data['path']} is no plain file", "give a file or a folder")
        state = "is empty" if not any(place.iterdir()) else "holds no file that is of use"
        raise fault(wish, f"the folder {wish.data['path']} {state}", f"of use are {wanted}")
    if wish.slot != "dataset":
        check_sizes(wish, ((name, path.stat().st_size) for name, path in files.items()))
    return Pin(
        facts={}, files={name: functools.partial(Path, path) for name, path in files.items()}
    )


def shown(wish: Wish) -> str:
    return f"{wish.data['path']} seen from the folder {wish.base.name}/ of the recipe"
