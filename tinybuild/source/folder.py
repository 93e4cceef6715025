"""Files of a local folder, or one local file."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tinybuild.errors import Fault, nearest
from tinybuild.files import POINTER, PULL, Memo, inside, is_pointer
from tinybuild.paths import Data, Json
from tinybuild.source.kinds import Kind, Request, Resolved
from tinybuild.source.pins import Wish, check_sizes, fault, of_use, useful, wanted

TEMPLATES = "additional_chat_templates/*.jinja"


def _local(wish: Wish) -> dict[str, Path]:
    """{name: path} of the files that a path wish stands for, sorted; {} where there are none."""
    place = wish.place.resolve()
    suffixes, _ = useful(wish)
    if place.is_file():
        return {place.name: place} if wanted(place.name, suffixes) else {}
    if not place.is_dir():
        return {}
    every = (
        place.rglob("*") if wish.slot == "dataset" else [*place.iterdir(), *place.glob(TEMPLATES)]
    )
    names = {path: path.relative_to(place).as_posix() for path in sorted(every)}
    return {
        name: inside(place, name)
        for path, name in names.items()
        if wanted(name, suffixes) and path.is_file()
    }


def look(wish: Wish, memo: Memo) -> Json:
    for folder in _folders(wish):
        memo.see(folder)
    try:
        return {name: memo.sha256(str(path)) for name, path in _local(wish).items()}
    except (Fault, OSError):
        return None  # the fetch will say what is wrong


def _folders(wish: Wish) -> Iterator[str]:
    """The folders that decide which files a wish stands for: a file that comes or goes moves the
    ctime of the one that holds it."""
    if wish.slot != "dataset":
        yield from (str(wish.place), str(wish.place / TEMPLATES.partition("/")[0]))
        return
    for folder, _, _ in os.walk(wish.place):
        yield folder


def resolve(request: Request) -> Resolved:
    files = local(request.wish)
    check_sizes(request.wish, ((name, path.stat().st_size) for name, path in files.items()))
    return Resolved(
        facts={}, files={name: functools.partial(Path, path) for name, path in files.items()}
    )


def local(wish: Wish) -> dict[str, Path]:
    """{name: path} of the files that a path wish stands for; raises SourceFault if there are none.

    A folder's names are below it; one file's is its own.
    """
    place, said = wish.place, wish.text()
    if not place.exists():
        raise fault(wish, f"there is no {said}", _nearby(wish))
    files = _local(wish)
    if not files:
        suffixes, use = useful(wish)
        hint = of_use(suffixes)
        if place.is_file():
            raise fault(wish, f"{said} is not a {use} file", hint)
        if not place.is_dir():
            raise fault(wish, f"{said} is not a regular file", "give a file or a folder")
        state = "is empty" if not any(place.iterdir()) else "holds no file that is of use"
        raise fault(wish, f"the folder {said} {state}", hint)
    pointer = next((name for name, path in files.items() if is_pointer(path)), None)
    if pointer is not None:
        raise fault(wish, f"{pointer}: {POINTER}", PULL)
    return files


def _nearby(wish: Wish) -> str:
    """What to do about a path that leads nowhere: from where it is seen, and what is like it."""
    seen = f"it is seen from the folder {wish.base.name}/ of the recipe"
    above, name = os.path.split(wish.text().rstrip("/"))
    place = wish.base / above
    near = nearest(name, [one.name for one in place.iterdir()] if place.is_dir() else [])
    meant = " or ".join(os.path.join(above, one) for one in near)
    return f"did you mean {meant}? {seen}" if near else f"{seen}: put it there, or name another"


def _made_from(wish: Data, facts: Mapping[str, str]) -> str:
    return f"local files (`{wish['path']}`)"


KIND = Kind(
    look=look,
    resolve=resolve,
    made_from=_made_from,
    rows_of=lambda wish: f"local files `{wish['path']}`",
    local=local,
    here=True,
)
