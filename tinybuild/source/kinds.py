"""What a kind of source says of itself: one object answers whatever anybody asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.files import Memo
from tinybuild.paths import Data, Json
from tinybuild.source.pins import Pin, Wish

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, kw_only=True)
class Request:
    """A wish to resolve. lock: the pin that holds. out: the folder that its files will be in.

    inputs: "SLOT.STAGE" -> the folder of a stage of another recipe, for kinds that build on one.
    rows: for a dataset, the recipe's section, which says how much of the upstream is needed; seed:
    what its draws begin with. recipe: the name of the recipe, for advice.
    """

    wish: Wish
    lock: Pin | None
    out: Path
    inputs: Mapping[str, Path] = field(default_factory=dict)
    rows: Data = field(default_factory=dict)
    seed: int = 0
    recipe: str = "NAME"

    @property
    def anew(self) -> str:
        """What to do where an upstream is not what the lock says."""
        return f"tinybuild update {self.recipe} accepts what is there now"


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What a wish resolved to. `facts` is what a pin keeps; `files` says where the bytes are.

    `files` maps the name each file will have to a function that gives a readable path.
    """

    facts: Mapping[str, str]
    files: Mapping[str, Callable[[], Path]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of source: everything that anybody asks of it.

    look: what can be seen of the upstream without fetching it, as JSON data. The fetch runs again
    when this changes. It runs in the light process and must not import heavy libraries.
    resolve: Request -> Resolved; raises SourceFault.
    made_from: what a bundle's card calls it, from a pin's wish and facts.
    rows_of: what a dataset's card calls it, from the wish alone.
    facts: what its pins say beside their files.
    locked: whether the pin is kept in NAME.lock.json, because others can change the upstream.
    local: {name: path} of the files that are on this machine and can be read where they are, below
    `Wish.place`; raises SourceFault if there are none. The stage reads a dataset there, without a
    fetch: it may be large.
    on_hub: whether it is a repository of the Hub, which a card's front matter names.
    builds_on: whether it names another recipe of the zoo, whose stages come first.
    blank: whether a tokenizer of it has no vocabulary.
    here: whether its files are on this machine, so that resolving is no more than looking at them.
    config: of a kind that makes its files, the config alone, from a wish; raises SourceFault.
    license: the licence of its files, as the Hub spells it; "" where nobody says. A repository of
    the Hub says it in its pin.
    rows: for a dataset, how only the rows that are asked for are fetched: the pin, and what was
    read. None where all files are taken.
    """

    look: Callable[[Wish, Memo], Json]
    resolve: Callable[[Request], Resolved]
    made_from: Callable[[Data, Mapping[str, str]], str]
    rows_of: Callable[[Data], str]
    facts: tuple[str, ...] = ()
    locked: bool = False
    local: Callable[[Wish], dict[str, Path]] | None = None
    on_hub: bool = False
    builds_on: bool = False
    blank: bool = False
    here: bool = False
    config: Callable[[Wish], PreTrainedConfig] | None = None
    license: Callable[[Data], str] = lambda wish: ""
    rows: Callable[[Request], tuple[Pin, Data]] | None = None
