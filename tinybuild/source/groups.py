"""Parquet files of a dataset repository: only the row groups that hold the rows asked for."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild.dataset.parts import Part, middles, numbers, shares, spans, spelled
from tinybuild.errors import SourceFault
from tinybuild.source.pins import fault
from tinybuild.source.upstream import Upstream

if TYPE_CHECKING:
    import pyarrow.parquet

TAIL = 8  # bytes: the length of the footer and the magic
FOOTERS = 100  # random rows come from at most so many shards: each costs two requests to look at
RUN = 1 << 26  # bytes of one request for row groups that lie side by side
ROWS = 1000  # of the row groups written


@dataclass(frozen=True, kw_only=True)
class Group:
    """A row group: where its rows begin in the split (from 0), how many, and its bytes."""

    shard: int
    number: int
    rows: int
    start: int
    stop: int


class Groups:
    """The row groups of one split; `names` are its shards in their order.

    What was chosen is fetched into sparse copies of the shards below `scratch`.
    """

    def __init__(self, upstream: Upstream, names: tuple[str, ...], scratch: Path):
        self.upstream, self.names, self.scratch = upstream, names, scratch
        self.footers: dict[int, pyarrow.parquet.FileMetaData] = {}
        self.groups: dict[int, list[Group]] = {}
        self.fetched: set[tuple[int, int]] = set()

    # --- what there is ---------------------------------------------------------------------------

    def footer(self, shard: int) -> pyarrow.parquet.FileMetaData:
        import pyarrow
        import pyarrow.parquet

        if shard in self.footers:
            return self.footers[shard]
        name = self.names[shard]
        size = self.upstream.files[name].size
        if size < 4 + TAIL:
            raise self._broken(shard, f"it has {size:,} bytes")
        end = self.upstream.read(name, size - TAIL, size)
        length = int.from_bytes(end[:4], "little")
        if end[4:] != b"PAR1" or length > size - 4 - TAIL:
            raise self._broken(shard, "it does not end as one")
        footer = self.upstream.read(name, size - TAIL - length, size - TAIL)
        try:
            whole = pyarrow.BufferReader(b"PAR1" + footer + end)
            found = pyarrow.parquet.read_metadata(whole)
        except (pyarrow.ArrowException, OSError) as error:
            raise self._broken(shard, _line(error)) from None
        groups = []
        for number in range(found.num_row_groups):
            start, stop = _extent(found.row_group(number))
            if not 0 <= start <= stop <= size - TAIL:
                raise self._broken(shard, f"row group {number} would lie outside of the file")
            rows = found.row_group(number).num_rows
            groups.append(Group(shard=shard, number=number, rows=rows, start=start, stop=stop))
        self.footers[shard], self.groups[shard] = found, groups
        return found

    def _broken(self, shard: int, why: str) -> SourceFault:
        what = f"{self.names[shard]} of {self.upstream.wish.data['hub']} is no Parquet file: {why}"
        found = fault(self.upstream.wish, what, "the repository is damaged; try another revision")
        assert isinstance(found, SourceFault)
        return found

    def walk(self, shards: Iterable[int] | None = None) -> Iterator[Group]:
        """The row groups in the split's order; footers are read as they are come to."""
        for shard in range(len(self.names)) if shards is None else shards:
            self.footer(shard)
            yield from self.groups[shard]

    # --- fetching --------------------------------------------------------------------------------

    def cost(self, groups: Iterable[Group]) -> int:
        """The bytes that are yet to be read of these row groups."""
        new = {(g.shard, g.number): g.stop - g.start for g in groups}
        return sum(size for key, size in new.items() if key not in self.fetched)

    def fetch(self, groups: Iterable[Group]) -> None:
        """Read row groups; one request for those that lie side by side."""
        runs: list[list[int]] = []
        for group in sorted(set(groups), key=lambda group: (group.shard, group.start)):
            if (group.shard, group.number) in self.fetched:
                continue
            last = runs[-1] if runs else [-1, 0]
            if (group.shard, group.start) == (last[0], last[-1]) and group.stop - last[1] <= RUN:
                last.append(group.stop)
            else:
                runs.append([group.shard, group.start, group.stop])
            self.fetched.add((group.shard, group.number))
        for shard, start, *inner, stop in runs:
            path = self._sparse(shard)
            with path.open("r+b" if path.exists() else "w+b") as file:
                file.truncate(self.upstream.files[self.names[shard]].size)
                file.seek(start)
                self.upstream.copy(self.names[shard], start, stop, file, inner)

    def _sparse(self, shard: int) -> Path:
        return self.scratch / f"{shard}.parquet"

    def read(self, group: Group, columns: list[str] | None = None) -> Iterator[Any]:
        """The rows of a fetched row group, in tables of few rows; raises SourceFault."""
        import pyarrow
        import pyarrow.parquet

        path = self._sparse(group.shard)
        try:
            with pyarrow.parquet.ParquetFile(path, metadata=self.footers[group.shard]) as file:
                for batch in file.iter_batches(ROWS, row_groups=[group.number], columns=columns):
                    yield pyarrow.Table.from_batches([batch])
        except (pyarrow.ArrowException, OSError) as error:
            name, repo = self.names[group.shard], self.upstream.wish.data["hub"]
            why = _line(error).replace(str(path), name)
            what = f"row group {group.number} of {name} of {repo} cannot be read: {why}"
            hint = "the repository is damaged; try another revision"
            raise fault(self.upstream.wish, what, hint) from None

    def write(self, out: Path) -> tuple[str, ...]:
        """Each shard's fetched row groups as a file of the shard's name; the names, in order."""
        import pyarrow.parquet

        kept = []
        for shard in sorted({shard for shard, _ in self.fetched}) or [0]:
            name = self.names[shard]
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            schema = self.footer(shard).schema.to_arrow_schema()
            with pyarrow.parquet.ParquetWriter(target, schema) as writer:
                for group in self.groups[shard]:
                    if (shard, group.number) in self.fetched:
                        for table in self.read(group):
                            writer.write_table(table.cast(schema))
            self._sparse(shard).unlink(missing_ok=True)
            kept.append(name)
        return tuple(kept)

    def local(self, wanted: Mapping[tuple[int, int], list[int]]) -> str:
        """Rows, given by their numbers (from 0) in row groups, as numbers in what was fetched."""
        found, before = [], 0
        for shard, number in sorted(self.fetched):
            found += [before + row for row in wanted.get((shard, number), ())]
            before += self.groups[shard][number].rows
        return spelled(sorted(found))


def _extent(group: Any) -> tuple[int, int]:
    """Where the bytes of a row group lie, as the format has it: all its column chunks."""
    starts, stops = [], []
    for number in range(group.num_columns):
        column = group.column(number)
        start = column.data_page_offset
        if column.dictionary_page_offset is not None and 0 < column.dictionary_page_offset < start:
            start = column.dictionary_page_offset
        starts.append(start)
        stops.append(start + column.total_compressed_size)
    return (min(starts), max(stops)) if starts else (0, 0)


def _line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


# --- choosing -------------------------------------------------------------------------------------


def choose(groups: Groups, part: Part, until: int, seed: str) -> tuple[Any, dict[str, Any]]:
    """Fetch the row groups of one part; where any rows would do, until so many bytes are read.

    Gives which rows were chosen ({(shard, row group): numbers in it from 0}; None where that is
    left to who reads what was fetched), and how many rows were looked at, of how many. Raises
    SourceFault.
    """
    wish = part.wish
    if "rows" in wish and "where" not in wish:
        return _by_number(groups, part)
    if "rows" in wish or wish.get("select", "first") == "first":
        return _from_the_start(groups, part, until)
    if wish["select"] == "spread":
        return _spread(groups, part, until)
    return _random(groups, part, until, seed)


def _take(groups: Groups, part: Part, chosen: Iterable[Group]) -> None:
    chosen = list(chosen)
    cost, upstream = groups.cost(chosen), groups.upstream
    if cost > upstream.left:
        key = "rows" if "rows" in part.wish else "samples"
        raise SourceFault.of(
            f"the rows asked for lie in row groups of {cost:,} bytes; "
            f"max_read leaves {upstream.left:,} of {upstream.limit:,}",
            key=("dataset", key),
            hint="raise dataset.source.max_read, or ask for fewer rows",
        )
    groups.fetch(chosen)


def _short(part: Part, found: int, what: str) -> SourceFault:
    made = SourceFault.of(
        f"{what} {found:,} rows, not the {part.wish['samples']:,} asked for",
        key=("dataset", "samples"),
        hint=f"ask for at most {found:,}, or say at_most: true",
    )
    assert isinstance(made, SourceFault)
    return made


def _by_number(groups: Groups, part: Part) -> tuple[Any, dict[str, Any]]:
    wanted, before = list(numbers(part.wish["rows"])), 0
    found: dict[tuple[int, int], list[int]] = {}
    chosen = []
    for group in groups.walk():
        here = []
        while wanted and wanted[0] < before + group.rows:
            here.append(wanted.pop(0) - before)
        if here:
            found[group.shard, group.number] = here
            chosen.append(group)
        before += group.rows
        if not wanted:
            break
    if wanted:
        raise SourceFault.of(
            f"there is no row {wanted[0] + 1:,}: the source's split has {before:,} rows",
            key=("dataset", "rows"),
        )
    _take(groups, part, chosen)
    return found, {"rows": sum(map(len, found.values()))}


def _from_the_start(groups: Groups, part: Part, until: int) -> tuple[Any, dict[str, Any]]:
    """Row groups from the first on: until there are enough rows, or enough that match `where`.

    Rows that match are looked for until so many bytes are read.
    """
    where = part.wish.get("where")
    # With `where`, numbers count what matches.
    wanted = spans(part.wish["rows"])[-1].stop if "rows" in part.wish else part.wish["samples"]
    found, looked, chosen = 0, 0, []
    for group in groups.walk():
        if where is None:
            chosen.append(group)
            found += group.rows
        else:
            if looked and groups.upstream.bytes + groups.cost([group]) > until:
                return None, {"rows": looked, "of": None}
            _take(groups, part, [group])
            columns = [name for name in where if name in _columns(groups, group)]
            if len(columns) < len(where):
                return None, {"rows": looked, "of": None}  # who selects says which there are
            found += sum(_matching(table, where) for table in groups.read(group, columns))
        looked += group.rows
        if found >= wanted:
            _take(groups, part, chosen)
            return None, {"rows": looked}
    _take(groups, part, chosen)
    return None, {"rows": looked, "of": looked}


def _columns(groups: Groups, group: Group) -> list[str]:
    return list(groups.footer(group.shard).schema.to_arrow_schema().names)


def _matching(table: Any, where: Mapping[str, Any]) -> int:
    """How many rows match `where`: what decides how far is read, not which rows are taken."""
    from datasets import ClassLabel, Features

    features = Features.from_arrow_schema(table.schema)
    columns = []
    for name, wanted in where.items():
        values = table.column(name).to_pylist()
        feature = features[name]
        if isinstance(feature, ClassLabel):
            labels = dict(enumerate(feature.names))
            columns.append(
                [
                    _fits(v, wanted) or (v is not None and _fits(labels.get(v), wanted))
                    for v in values
                ]
            )
        else:
            columns.append([_fits(value, wanted) for value in values])
    return sum(all(row) for row in zip(*columns, strict=True))


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(value, datetime.date):
        value = value.isoformat()
    if not isinstance(wanted, Mapping):
        return value in wanted if isinstance(wanted, list) else value == wanted
    bounds = [wanted[name] for name in ("min", "max") if name in wanted]
    if value is None or any(isinstance(b, str) != isinstance(value, str) for b in bounds):
        return False
    return bool(wanted.get("min", value) <= value <= wanted.get("max", value))


def _spread(groups: Groups, part: Part, until: int) -> tuple[Any, dict[str, Any]]:
    """Rows evenly over the shards, and in each of them evenly over its rows."""
    count, wanted = len(groups.names), part.wish["samples"]
    shards = middles(count, wanted) if wanted < count else list(range(count))
    sizes = {shard: groups.footer(shard).num_rows for shard in shards}
    if "where" in part.wish:
        return _any(groups, part, list(groups.walk(shards)), until)
    if sum(sizes.values()) < wanted:  # of few shards: look at all
        sizes = {shard: groups.footer(shard).num_rows for shard in range(count)}
    total = sum(sizes.values())
    if total < wanted and not part.wish.get("at_most"):
        raise _short(part, total, "the source's split has")
    found: dict[tuple[int, int], list[int]] = {}
    for shard, rows in zip(sizes, shares(list(sizes.values()), min(wanted, total)), strict=True):
        _into_groups(groups, shard, middles(sizes[shard], rows), found)
    chosen = [groups.groups[shard][number] for shard, number in sorted(found)]
    _take(groups, part, chosen)
    return found, {"rows": total, **({"of": total} if len(sizes) == count else {})}


def _into_groups(
    groups: Groups, shard: int, rows: Iterable[int], found: dict[tuple[int, int], list[int]]
) -> None:
    """Note rows of a shard (numbers from 0, sorted) under the row groups that hold them."""
    queue, before = list(rows), 0
    for group in groups.walk([shard]):
        here = [row - before for row in queue if before <= row < before + group.rows]
        if here:
            found.setdefault((shard, group.number), []).extend(here)
        before += group.rows


def _random(groups: Groups, part: Part, until: int, seed: str) -> tuple[Any, dict[str, Any]]:
    """Rows drawn evenly from the whole split, if their row groups fit; else from as many
    row groups, drawn in turn, as do."""
    chooser, count = random.Random(seed), len(groups.names)
    shards = sorted(chooser.sample(range(count), min(count, FOOTERS)))
    every = list(groups.walk(shards))
    total = sum(group.rows for group in every)
    wanted = min(part.wish["samples"], total)
    whole = {"of": total} if len(shards) == count else {}
    if "where" in part.wish:
        chooser.shuffle(every)
        return _any(groups, part, every, until, **whole)
    if total < part.wish["samples"] and not part.wish.get("at_most"):
        raise _short(part, total, f"{'the' if whole else 'what was looked at of the'} split has")
    found = _drawn(chooser, every, wanted)
    room = until - groups.upstream.bytes
    if groups.cost(groups.groups[s][n] for s, n in found) <= room:
        _take(groups, part, [groups.groups[s][n] for s, n in sorted(found)])
        return found, {"rows": total, **whole}
    chooser.shuffle(every)
    fitting: list[Group] = []
    for group in every:
        if groups.cost([*fitting, group]) <= room:
            fitting.append(group)
    if not fitting:  # one is more than that; what max_read leaves may still hold it
        fitting = [min(every, key=lambda group: group.stop - group.start)]
    fitting.sort(key=lambda group: (group.shard, group.number))
    looked = sum(group.rows for group in fitting)
    if looked < part.wish["samples"] and not part.wish.get("at_most"):
        raise _short(part, looked, f"within max_read ({groups.upstream.limit:,} bytes) there are")
    found = _drawn(chooser, fitting, min(wanted, looked))
    _take(groups, part, [groups.groups[s][n] for s, n in sorted(found)])
    return found, {"rows": looked, **whole}


def _drawn(
    chooser: random.Random, among: list[Group], wanted: int
) -> dict[tuple[int, int], list[int]]:
    """`wanted` rows of these row groups, every row with the same chance."""
    picked = sorted(chooser.sample(range(sum(group.rows for group in among)), wanted))
    found: dict[tuple[int, int], list[int]] = {}
    at, before = 0, 0
    for group in among:
        while at < len(picked) and picked[at] < before + group.rows:
            found.setdefault((group.shard, group.number), []).append(picked[at] - before)
            at += 1
        before += group.rows
    return found


def _any(
    groups: Groups, part: Part, order: list[Group], until: int, **whole: int
) -> tuple[Any, dict[str, Any]]:
    """As many row groups, in this order, as may be read: for rows that must match `where`."""
    looked = 0
    for group in order:
        if looked and groups.upstream.bytes + groups.cost([group]) > until:
            continue
        _take(groups, part, [group])
        looked += group.rows
    return None, {"rows": looked, **whole}
