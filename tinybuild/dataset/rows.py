"""Rows in files: what every reader of a format gives, and every selection takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A run of rows in one file, in their order.

    name: what messages call it: the posix path below the source ("en/a.jsonl"), with "!" before
    what lies in an archive ("a.tar!b/c.txt.xz").
    rows: how many there are, where that is known without reading them (Parquet, Arrow); else None.
    read: the number of the first row wanted (from 0) -> tables of the rows from there on. A table
    has the columns of the split's features in their order, in their Arrow types
    (`features.arrow_schema`), and few rows, so that memory stays small. Media is embedded (bytes),
    never decoded. Raises BuildFault, naming file and row, for what cannot be read.
    starts: the numbers of the rows that reading can begin at without reading what is before them
    (the first rows of row groups or record batches), ascending from 0; () where there is no such
    thing. A reader of chosen rows jumps there, and else reads on.
    """

    name: str
    rows: int | None
    read: Callable[[int], Iterator[pyarrow.Table]]
    starts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Config:
    """A config's files and how they are read: what layout.json says of one.

    module: the format, a name in FORMATS. features: None where only the files say them. rows: how
    many a split has, as far as a card says it.
    """

    module: str
    options: Mapping[str, object]
    features: Features | None
    splits: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Open:
    """What every reader needs: the folder, one for what is left behind, what a row of text is, and
    how many bytes may be unpacked of an archive."""

    place: Path
    scratch: Path
    sample_by: str | None
    most: int


@dataclass(frozen=True, kw_only=True)
class Split:
    """The shards of one split, in their order, and the features that all of them have."""

    shards: tuple[Shard, ...]
    features: Features


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a dataset's source holds.

    names: config -> its splits, in the source's order. open: (config, split) -> Split; raises
    BuildFault. default: the config that load_dataset takes where none is named, or None.
    about: what the source's card says and its copy must say too: license, language, citation,
    homepage, pretty_name (as far as it has them). chosen: for parts of the recipe (`Part.made`)
    whose rows were chosen when the source was fetched: the numbers of these rows in what is here.
    """

    names: Mapping[str, tuple[str, ...]]
    open: Callable[[str, str], Split]
    default: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a row came from: the shard's name and the row's number in it, from 1; for messages."""

    shard: str
    row: int

    def __str__(self) -> str:
        return f"{self.shard}, row {self.row:,}"
