"""Parquet files that are read by ranges: only the row groups that hold the rows asked for."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.dataset import columnar
from tinybuild.dataset.archives import KEY, reason
from tinybuild.dataset.parts import Part, middles, shares, spans, spelled
from tinybuild.dataset.ranged import Repository, called, left
from tinybuild.dataset.schemas import caster
from tinybuild.dataset.select import too_few, within
from tinybuild.dataset.where import condition
from tinybuild.errors import BuildFault, Fault

if TYPE_CHECKING:
    import pyarrow.parquet
    from datasets import Features

TAIL = 8  # bytes: the length of the footer and the magic
FOOTERS = 100  # random rows come from at most so many shards: each costs two requests to look at
RUN = 1 << 26  # bytes of one request for row groups that lie side by side
DAMAGED = "the repository is damaged; try another revision"

Picks = dict[tuple[int, int], list[int]]  # (shard, row group) -> numbers of rows in it, from 0


@dataclass(frozen=True, kw_only=True)
class Group:
    """A row group: how many rows, the number of the first one in its shard, and its bytes."""

    shard: int
    number: int
    rows: int
    first: int
    start: int
    stop: int

    @property
    def key(self) -> tuple[int, int]:
        return self.shard, self.number


class Groups:
    """The row groups of one split; `names` are its shards in their order.

    What was chosen is fetched into sparse copies of the shards below `scratch`. `features`: those
    that a card says; else the files do.
    """

    def __init__(
        self, files: Repository, names: Sequence[str], scratch: Path, features: Features | None
    ):
        self.files, self.names, self.scratch, self.features = files, names, scratch, features
        self.footers: dict[int, pyarrow.parquet.FileMetaData] = {}
        self.groups: dict[int, list[Group]] = {}
        self.fetched: set[tuple[int, int]] = set()

    # --- what there is ---------------------------------------------------------------------------

    def footer(self, shard: int) -> pyarrow.parquet.FileMetaData:
        """Read with two requests, once."""
        import pyarrow
        import pyarrow.parquet

        if shard in self.footers:
            return self.footers[shard]
        name = self.names[shard]
        size = self.files.sizes[name]
        if size < 4 + TAIL:
            raise self._broken(shard, f"it has {size:,} bytes")
        end = self.files.read(name, size - TAIL, size)
        length = int.from_bytes(end[:4], "little")
        if end[4:] != b"PAR1" or length > size - 4 - TAIL:
            raise self._broken(shard, "it does not end as one")
        footer = self.files.read(name, size - TAIL - length, size - TAIL)
        try:
            whole = pyarrow.BufferReader(b"PAR1" + footer + end)
            read = pyarrow.parquet.read_metadata(whole)
        except (pyarrow.ArrowException, OSError) as error:
            raise self._broken(shard, reason(error)) from None
        groups: list[Group] = []
        for number in range(read.num_row_groups):
            start, stop = _extent(read.row_group(number))
            if not 0 <= start <= stop <= size - TAIL:
                raise self._broken(shard, f"row group {number + 1} would lie outside of the file")
            rows = read.row_group(number).num_rows
            first = groups[-1].first + groups[-1].rows if groups else 0
            place = {"shard": shard, "number": number, "start": start, "stop": stop}
            groups.append(Group(rows=rows, first=first, **place))
        self.footers[shard], self.groups[shard] = read, groups
        return read

    def rows(self, shard: int) -> int:
        return int(self.footer(shard).num_rows)

    def _broken(self, shard: int, why: str) -> Fault:
        what = f"{called(self.files, self.names[shard])}: is not a whole Parquet file: {why}"
        return BuildFault.of(what, key=KEY, hint=DAMAGED)

    def walk(self, shards: Iterable[int] | None = None) -> Iterator[Group]:
        """The row groups in the split's order; footers are read as they are come to."""
        for shard in range(len(self.names)) if shards is None else shards:
            self.footer(shard)
            yield from self.groups[shard]

    def picks(self, shard: int, rows: Iterable[int]) -> Picks:
        """Rows of a shard (numbers from 0) under the row groups that hold them."""
        self.footer(shard)
        starts = [group.first for group in self.groups[shard]]
        made: Picks = {}
        for row in rows:
            number = bisect_right(starts, row) - 1
            made.setdefault((shard, number), []).append(row - starts[number])
        return made

    def at(self, picks: Picks) -> list[Group]:
        return [self.groups[shard][number] for shard, number in sorted(picks)]

    # --- fetching --------------------------------------------------------------------------------

    def cost(self, groups: Iterable[Group]) -> int:
        """The bytes that are yet to be read of these row groups."""
        new = {group.key: group.stop - group.start for group in groups}
        return sum(size for key, size in new.items() if key not in self.fetched)

    def fetch(self, groups: Iterable[Group]) -> None:
        """Read row groups; one request for those that lie side by side."""
        runs: list[list[int]] = []
        for group in sorted(set(groups), key=lambda group: (group.shard, group.start)):
            if group.key in self.fetched:
                continue
            last = runs[-1] if runs else [-1, 0]
            if (group.shard, group.start) == (last[0], last[-1]) and group.stop - last[1] <= RUN:
                last.append(group.stop)
            else:
                runs.append([group.shard, group.start, group.stop])
            self.fetched.add(group.key)
        for shard, start, *inner, stop in runs:
            path = self._sparse(shard)
            with path.open("r+b" if path.exists() else "w+b") as file:
                file.truncate(self.files.sizes[self.names[shard]])
                file.seek(start)
                self.files.copy(self.names[shard], start, stop, file, inner)

    def _sparse(self, shard: int) -> Path:
        return self.scratch / f"{shard}.parquet"

    def read(self, group: Group, columns: list[str] | None = None) -> Iterator[pyarrow.Table]:
        """The rows of a fetched row group, in tables of few rows; raises BuildFault."""
        name = called(self.files, self.names[group.shard])
        file = columnar.Parquet(self._sparse(group.shard), name, self.footers[group.shard])
        with file:
            for _, table in file.group(group.number, columns):
                yield table

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
                    if group.key in self.fetched:
                        for table in self.read(group):
                            writer.write_table(table.cast(schema))
            self._sparse(shard).unlink(missing_ok=True)
            kept.append(name)
        return tuple(kept)

    def local(self, picks: Picks) -> str:
        """Rows, given by their numbers in row groups, as numbers in what was fetched."""
        rows, before = [], 0
        for shard, number in sorted(self.fetched):
            rows += [before + row for row in picks.get((shard, number), ())]
            before += self.groups[shard][number].rows
        return spelled(sorted(rows))


def _extent(group: pyarrow.parquet.RowGroupMetaData) -> tuple[int, int]:
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


# --- choosing -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Looked:
    """picks: the rows that were chosen; None where that is left to who reads what was fetched.

    rows: how many were looked at; of: of how many, where that is known.
    """

    picks: Picks | None = None
    rows: int
    of: int | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Chooses the row groups of one part, and fetches them.

    until: how many bytes may be read where any rows would do; seed: what draws begin with.
    """

    groups: Groups
    part: Part
    until: int
    seed: str

    def make(self) -> Looked:
        """Raises BuildFault."""
        wish = self.part.wish
        if "rows" in wish and "where" not in wish:
            return self._numbered(str(wish["rows"]))
        way = "first" if "rows" in wish else wish.get("select", "first")
        ways = {"first": self._first, "spread": self._spread, "random": self._random}
        return ways[way]() if way in ways else self._any(list(self.groups.walk()))

    def _take(self, chosen: Iterable[Group]) -> None:
        chosen, groups = list(chosen), self.groups
        cost, room = groups.cost(chosen), left(groups.files)
        if cost > room:
            raise BuildFault.of(
                f"the rows asked for lie in row groups of {cost:,} bytes; "
                f"max_read leaves {room:,} of {groups.files.limit:,}",
                key=("dataset", "rows" if "rows" in self.part.wish else "samples"),
                hint="raise dataset.source.max_read, or ask for fewer rows",
            )
        groups.fetch(chosen)

    def _picked(self, picks: Picks, rows: int, of: int | None = None) -> Looked:
        self._take(self.groups.at(picks))
        return Looked(picks=picks, rows=rows, of=of)

    def _enough(self, total: int, what: str) -> int:
        """How many rows to take of so many. Raises BuildFault where they are too few."""
        wanted = int(self.part.wish["samples"])
        if total < wanted and not self.part.wish.get("at_most"):
            raise too_few(f"{what} {total:,} rows", total, wanted)
        return min(wanted, total)

    def _numbered(self, text: str) -> Looked:
        wanted, before, picks = spans(text), 0, Picks()
        for shard in range(len(self.groups.names)):
            if before >= wanted[-1].stop:
                break
            rows = self.groups.rows(shard)
            picks |= self.groups.picks(shard, within(wanted, before, before + rows))
            before += rows
        beyond = next((s for s in wanted if s.stop > before), None)
        if beyond is not None:
            raise BuildFault.of(
                f"there is no row {max(beyond.start, before) + 1:,}: "
                f"the source's split has {before:,} rows",
                key=("dataset", "rows"),
            )
        return self._picked(picks, sum(map(len, picks.values())))

    def _first(self) -> Looked:
        """Row groups from the first on: until there are enough rows, or enough that match `where`.

        Rows that match are looked for until so many bytes are read.
        """
        wish = self.part.wish
        # With `where`, numbers count what matches.
        wanted = spans(wish["rows"])[-1].stop if "rows" in wish else wish["samples"]
        looked, chosen, matching = 0, list[Group](), 0
        for group in self.groups.walk():
            if "where" in wish:
                holds = self._holds(group)
                if looked and self._beyond([group]):
                    return Looked(rows=looked)
                self._take([group])
                tables = self.groups.read(group, list(wish["where"]))
                matching += sum(map(holds, tables))
            else:
                chosen.append(group)
                matching += group.rows
            looked += group.rows
            if matching >= wanted:
                self._take(chosen)
                return Looked(rows=looked)
        self._take(chosen)
        return Looked(rows=looked, of=looked)

    def _beyond(self, groups: Iterable[Group]) -> bool:
        return self.groups.files.used + self.groups.cost(groups) > self.until

    def _holds(self, group: Group) -> Callable[[pyarrow.Table], int]:
        """From the columns of `where` to how many rows match, which decides how far is read."""
        from datasets import Features

        groups, where = self.groups, self.part.wish["where"]
        schema = groups.footer(group.shard).schema.to_arrow_schema()
        features = groups.features or Features.from_arrow_schema(schema)
        holds = condition(features, where)
        assert holds is not None
        cast = caster(Features({name: features[name] for name in where}))
        name = groups.names[group.shard]

        def matching(table: pyarrow.Table) -> int:
            return int(holds(cast(table, name, group.first)).sum())

        return matching

    def _spread(self) -> Looked:
        """Rows evenly over the shards, and in each of them evenly over its rows."""
        groups, wanted = self.groups, self.part.wish["samples"]
        count = len(groups.names)
        shards = middles(count, wanted) if wanted < count else list(range(count))
        if "where" in self.part.wish:
            return self._any(list(groups.walk(shards)))
        if sum(map(groups.rows, shards)) < wanted:  # of few shards: look at all
            shards = list(range(count))
        sizes = [groups.rows(shard) for shard in shards]
        total = sum(sizes)
        parts = shares(sizes, self._enough(total, "the source's split has"))
        picks = Picks()
        for shard, size, share in zip(shards, sizes, parts, strict=True):
            picks |= groups.picks(shard, middles(size, share))
        return self._picked(picks, total, total if len(shards) == count else None)

    def _random(self) -> Looked:
        """Rows drawn evenly from the whole split, if their row groups fit; else from as many row
        groups, drawn in turn, as do."""
        groups, count = self.groups, len(self.groups.names)
        chooser = random.Random(self.seed)
        shards = sorted(chooser.sample(range(count), min(count, FOOTERS)))
        every = list(groups.walk(shards))
        total = sum(group.rows for group in every)
        of = total if len(shards) == count else None
        if "where" in self.part.wish:
            chooser.shuffle(every)
            return self._any(every, of)
        what = "the split has" if of is not None else "what was looked at of the split has"
        wanted = self._enough(total, what)
        picks = _drawn(chooser, every, wanted)
        if not self._beyond(groups.at(picks)):
            return self._picked(picks, total, of)
        chooser.shuffle(every)
        fitting: list[Group] = []
        for group in every:
            if not self._beyond([*fitting, group]):
                fitting.append(group)
        if not fitting:  # one is more than that; what max_read leaves may still hold it
            fitting = [min(every, key=lambda group: group.stop - group.start)]
        fitting.sort(key=lambda group: group.key)
        looked = sum(group.rows for group in fitting)
        some = self._enough(looked, f"within max_read ({groups.files.limit:,} bytes) there are")
        return self._picked(_drawn(chooser, fitting, some), looked, of)

    def _any(self, order: Sequence[Group], of: int | None = None) -> Looked:
        """As many row groups, in this order, as may be read: for rows that must match `where`."""
        looked = 0
        for group in order:
            if looked and self._beyond([group]):
                continue
            self._take([group])
            looked += group.rows
        return Looked(rows=looked, of=of)


def _drawn(chooser: random.Random, among: Sequence[Group], wanted: int) -> Picks:
    """`wanted` rows of these row groups, every row with the same chance."""
    picked = sorted(chooser.sample(range(sum(group.rows for group in among)), wanted))
    picks: Picks = {}
    before = 0
    at = 0
    for group in among:
        while at < len(picked) and picked[at] < before + group.rows:
            picks.setdefault(group.key, []).append(picked[at] - before)
            at += 1
        before += group.rows
    return picks
