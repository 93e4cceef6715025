"""What a stage may not open: what other tasks made, and recipes that are not its own.

Its folders hold what its needs name; what lies beside them is in nobody's digest. Python tells a
hook of each file that it opens, lists, makes and deletes; libraries that open files without Python
do not ask (they are given names below a stage's own folders).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinybuild.errors import BuildFault, Fault

_EVENTS = {
    *("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.rmdir", "os.mkdir"),
    *("os.link", "os.symlink", "os.truncate", "os.utime", "os.chmod", "shutil.rmtree"),
}


@dataclass(frozen=True, kw_only=True)
class _Fence:
    """closed: folders, but for what is in `within`; root is what names are shown from."""

    root: str
    closed: tuple[str, ...]
    within: tuple[str, ...]


_fences: list[_Fence] = []
_opened: list[str] = []


def stand() -> None:
    """Ask from now on, where there is a fence. A hook cannot be taken back."""
    sys.addaudithook(_refuse)


@contextlib.contextmanager
def around(root: Path, closed: Iterable[Path], within: Iterable[Path]) -> Iterator[None]:
    """Refuse what is in closed folders and not in (or one of) `within`. Raises BuildFault at the
    end as well, where the first was hidden."""
    here = {name for path in within for name in (os.path.abspath(path), os.path.realpath(path))}
    fence = _Fence(root=f"{root}/", closed=tuple(map(str, closed)), within=tuple(here))
    _opened.clear()
    _fences[:] = [fence]
    try:
        yield
    finally:
        _fences.clear()
    if _opened:
        raise _fault(_opened[0])


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if not _fences or event not in _EVENTS:
        return
    fence = _fences[0]
    for path in arguments[:2]:
        if not isinstance(path, str | bytes | os.PathLike):
            continue
        name = os.path.abspath(os.fsdecode(path))
        if _below(name, fence.closed) and not _below(name, fence.within):
            _opened.append(name.removeprefix(fence.root))
            raise _fault(_opened[-1])


def _below(name: str, folders: Iterable[str]) -> bool:
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


def _fault(shown: str) -> Fault:
    return BuildFault.of(
        f"this opened {shown}, which no need of it names",
        hint="what it would make of that would be stale one day; report it with the recipe",
    )
