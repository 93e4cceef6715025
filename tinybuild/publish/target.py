"""What is to be published and where, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["model", "dataset"]  # of a repository


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A repository of the Hub of which a bundle holds something. what: "tokens" or "rows"."""

    what: str
    kind: Kind
    repo: str
    commit: str


@dataclass(frozen=True, kw_only=True)
class Target:
    """A bundle for one repository.

    name: of the recipe. folder: the bundle's. receipt: file in it -> sha256, as it was built.
    sources: whose tokens and rows it passes on; `redistribute` says that this is allowed. dry: only
    say what would be done. A dataset repository gets the bundle's dataset, a model repository all.
    """

    name: str
    kind: Kind
    repo: str
    folder: str
    receipt: Mapping[str, str]
    private: bool
    direct: bool
    redistribute: bool
    sources: tuple[Origin, ...]
    dry: bool


@dataclass(frozen=True, kw_only=True)
class Change:
    """A file that is different. before, after: its bytes; None where it is not there."""

    path: str
    what: Literal["added", "changed", "deleted"]
    before: int | None
    after: int | None


State = Literal[
    "same",
    "created",
    "committed",
    "pull request",
    "waiting",
    "would create",
    "would commit",
    "would propose",
]


@dataclass(frozen=True, kw_only=True)
class Published:
    """What became of a target.

    state: waiting is a pull request that holds all of it already. url: of the commit or the pull
    request; "" where there is none. kept: files of the repository that tinybuild did not publish,
    and leaves alone. description: the changes in Markdown.
    """

    name: str
    kind: Kind
    repo: str
    state: State
    url: str
    changes: tuple[Change, ...]
    kept: tuple[str, ...]
    warnings: tuple[str, ...]
    description: str
