"""The rows and columns of a dataset of the Hub at two commits."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tinybuild.compare.differences import Change, Rows
from tinybuild.compare.rows import split_of
from tinybuild.dataset import card
from tinybuild.dataset.groups import Groups
from tinybuild.dataset.ranged import Spent
from tinybuild.drift.pair import Pair
from tinybuild.errors import Fault
from tinybuild.paths import Json, get, mapping
from tinybuild.source.hub import Head
from tinybuild.source.ranges import Ranges
from tinybuild.source.upstream import Upstream

SMALL = 5_000_000  # bytes: so large a file of lines is fetched whole to be counted
MOST = 20  # files of one split that are looked at
LIMIT = 200_000_000  # bytes of footers


@dataclass(frozen=True, kw_only=True)
class Table:
    """rows: None where nobody counted them. columns: name -> type, as far as it is known."""

    rows: int | None
    columns: Mapping[str, str]


def said(old: Path | None, new: Path | None) -> tuple[Rows, ...]:
    """What differs by the `dataset_info` of both cards; nothing where one has none."""
    tables = [_info(path) if path is not None else {} for path in (old, new)]
    return tuple(_differences(*tables)) if all(tables) else ()


def _info(path: Path) -> dict[str, Table]:
    """CONFIG/SPLIT -> what a card says of it."""
    about = card.metadata(path.read_text(encoding="utf-8", errors="replace"))
    given: Json = about.get("dataset_info")
    tables = dict[str, Table]()
    for config in given if isinstance(given, list) else [given] if given else []:
        name = str(get(config, ("config_name",)) or "default")
        features, splits = get(config, ("features",)), get(config, ("splits",))
        columns = {
            str(get(one, ("name",))): _type(one)
            for one in (features if isinstance(features, list) else [])
        }
        for one in splits if isinstance(splits, list) else []:
            count, split = get(one, ("num_examples",)), str(get(one, ("name",)))
            number = count if isinstance(count, int) else None
            place = split if name == "default" else f"{name}/{split}"
            tables[place] = Table(rows=number, columns=columns)
    return tables


def _type(feature: Json) -> str:
    """string; of what is nested its JSON."""
    kind = {key: value for key, value in mapping(feature).items() if key != "name"}
    plain = kind.get("dtype")
    return plain if isinstance(plain, str) and len(kind) == 1 else json.dumps(kind, sort_keys=True)


def _differences(old: Mapping[str, Table], new: Mapping[str, Table]) -> Iterator[Rows]:
    nothing = Table(rows=None, columns={})
    for split in sorted({*old, *new}):
        before, after = old.get(split, nothing), new.get(split, nothing)
        columns = tuple(
            Change(name=name, before=before.columns.get(name), after=after.columns.get(name))
            for name in sorted({*before.columns, *after.columns})
            if before.columns.get(name) != after.columns.get(name)
        )
        if columns or before.rows != after.rows:
            yield Rows(
                split=split,
                before=before.rows,
                after=after.rows,
                added=None,
                removed=None,
                columns=columns,
            )


def held(pair: Pair, changed: Sequence[str]) -> tuple[Rows, ...]:
    """What differs by the files themselves: all of a split of which one changed."""
    if pair.old is None:
        pair.unread.append("rows and columns cannot be compared: the locked commit is gone")
        return ()
    sides = []
    splits = {_split(name) for name in changed}
    for at in (pair.old, pair.new):
        listed = dict[str, list[str]]()
        for name in sorted(at.files):
            if _split(name) in splits and PurePosixPath(name).suffix in READERS:
                listed.setdefault(_split(name), []).append(name)
        sides.append({split: _table(pair, at, names) for split, names in listed.items()})
    others = [name for name in changed if PurePosixPath(name).suffix not in READERS]
    if others:
        pair.unread.append(f"the rows of {', '.join(others[:3])} were not counted")
    return tuple(_differences(*sides))


def _split(name: str) -> str:
    return split_of(name).removeprefix("/")


def _table(pair: Pair, at: Head, names: Sequence[str]) -> Table:
    """The rows and columns of a split at a commit."""
    count: int | None = 0
    columns = dict[str, str]()
    for name in names[:MOST]:
        table = READERS[PurePosixPath(name).suffix](pair, at, name)
        count = None if table is None or table.rows is None or count is None else count + table.rows
        columns |= table.columns if table is not None else {}
    if len(names) > MOST:
        pair.unread.append(f"the rows of {len(names)} files were not counted")
    return Table(rows=count if len(names) <= MOST else None, columns=columns)


def _parquet(pair: Pair, at: Head, name: str) -> Table | None:
    """By its footer."""
    upstream = Upstream(pair.asked.address, at.commit, at.files, LIMIT, Ranges(pair.folder))
    try:
        footer = Groups(upstream, [name], pair.folder, None).footer(0)
    except (Fault, Spent) as error:
        why = error.findings[0].what if isinstance(error, Fault) else "its footer is too large"
        pair.unread.append(f"{name}: {why}")
        return None
    schema = footer.schema.to_arrow_schema()
    return Table(rows=footer.num_rows, columns={field.name: str(field.type) for field in schema})


def _text(pair: Pair, at: Head, name: str) -> str | None:
    if at.files[name].size > SMALL:
        pair.unread.append(f"the rows of {name} were not counted: {at.files[name].size:,} bytes")
        return None
    path = pair.get(at.commit, name)
    return path.read_text(encoding="utf-8", errors="replace") if path is not None else None


def _lines(pair: Pair, at: Head, name: str) -> Table | None:
    """JSON lines: the columns of all rows."""
    text = _text(pair, at, name)
    if text is None:
        return None
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        every = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        pair.unread.append(f"{name} is not JSON lines")
        return None
    names = {str(key) for row in every if isinstance(row, dict) for key in row}
    return Table(rows=len(every), columns=dict.fromkeys(sorted(names), "json"))


def _csv(pair: Pair, at: Head, name: str) -> Table | None:
    """The first line names the columns."""
    text = _text(pair, at, name)
    if text is None:
        return None
    try:
        rows = list(csv.reader(text.splitlines(keepends=True)))
    except csv.Error:
        pair.unread.append(f"{name} is not CSV")
        return None
    return Table(rows=max(0, len(rows) - 1), columns=dict.fromkeys(rows[0] if rows else [], "text"))


# Suffix of a file -> what counts its rows.
READERS = {".parquet": _parquet, ".jsonl": _lines, ".csv": _csv}
