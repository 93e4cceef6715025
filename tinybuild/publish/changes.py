"""Which files of a repository are different, and that in Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

import tinybuild
from tinybuild.publish.files import Local
from tinybuild.publish.target import Change

MOST = 200  # files that a description lists


class Entry(Protocol):
    """A file of a repository."""

    @property
    def size(self) -> int: ...

    def holds(self, file: Local) -> bool:
        """Whether it has the bytes of a file here."""


def changed(
    held: Mapping[str, Entry], files: Mapping[str, Local], ours: Collection[str]
) -> Iterator[Change]:
    """What differs between a repository and a bundle, sorted by path; only files of ours go."""
    for path in sorted({*held, *files}):
        there, here = held.get(path), files.get(path)
        if here is None:
            if there is not None and path in ours:
                yield Change(path=path, what="deleted", before=there.size, after=None)
        elif there is None:
            yield Change(path=path, what="added", before=None, after=here.size)
        elif not there.holds(here):
            yield Change(path=path, what="changed", before=there.size, after=here.size)


def described(name: str, changes: Sequence[Change]) -> str:
    """The changes as the description of a commit or a pull request."""
    rows = [
        f"| `{change.path}` | {change.what} | {_bytes(change.before)} | {_bytes(change.after)} |"
        for change in changes[:MOST]
    ]
    more = [f"| {len(changes) - MOST} more | | | |"] if len(changes) > MOST else []
    return "\n".join(
        [
            f"The bundle `{name}`, built by tinybuild {tinybuild.__version__} from the recipe in "
            "`recipe.yaml`. `report.json` says what was checked.",
            "",
            "| file | | bytes before | bytes now |",
            "| --- | --- | ---: | ---: |",
            *rows,
            *more,
        ]
    )


def _bytes(size: int | None) -> str:
    return "" if size is None else f"{size:,}"
