"""What a command is: what it takes, what it says to people, and what it answers to scripts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tinybuild.cli.session import Session
from tinybuild.paths import Json

Options = Mapping[str, str]  # name -> what was given; "" where it was not, and "yes" for a flag
Group = Literal["build", "look", "hub", "zoo"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command came to. data: for `--json`. code: the exit code; 0 where all is as it should
    be, 1 where something is wrong, 3 where something moved."""

    data: Json = None
    code: int = 0


Lines = Generator[str, None, Answer]  # yields lines for people, as they come


@dataclass(frozen=True, kw_only=True)
class Option:
    """help: with the default in brackets. value: what stands for it in the help (empty: a flag)."""

    help: str
    value: str = ""
    short: str = ""


@dataclass(frozen=True, kw_only=True)
class Command:
    """doc: what it does, in a line. do: what does it; raises Fault. words: what it takes, as a
    person writes it ("" for nothing). zoo: whether it needs a folder of recipes. group: where the
    help lists it. more: what the help says below the line."""

    doc: str
    do: Callable[[Session, Sequence[str], Options], Lines]
    words: str = "[NAME ...]"
    options: Mapping[str, Option] = field(default_factory=dict)
    zoo: bool = True
    group: Group = "look"
    more: str = ""


JSON = Option(help="print one JSON value instead of lines")
