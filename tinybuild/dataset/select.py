"""Which rows of a split are kept: the first, drawn, spread evenly, by number, by their values."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinybuild.dataset.parts import middles, shares, spans
from tinybuild.dataset.rows import Place, Shard, Split
from tinybuild.dataset.where import condition
from tinybuild.errors import BuildFault, Fault

if TYPE_CHECKING:
    import numpy
    import pyarrow

# Rows that are kept come as small copies. Neighbours are put together until they are this large:
# a table of one row costs a few kB beside its values.
JOIN_BYTES = 16 << 20


def select(
    split: Split, wish: Mapping[str, Any], seed: int
) -> tuple[pyarrow.Table, tuple[Place, ...]]:
    """The rows that a wish (samples or rows, select, where, at_most) asks for, in the source's
    order, and where each came from. All rows where it names neither samples nor rows.

    `where` comes first: samples and rows count only what it leaves. Only what is kept stays in
    memory, beside one table of a shard at a time. How much is read:

    - first: until there are enough
    - random: where the numbers of rows are known, only the runs of rows that hold what was drawn;
      else everything once (a reservoir)
    - spread: as random; shards with unknown numbers of rows are read twice, first to count
    - rows: until the last number; shards with known numbers of rows are jumped over

    Views of strings and bytes, which Arrow cannot take from, come as large strings and bytes.
    Raises BuildFault: rows that are not there, a condition that does not fit its column.
    """
    rows = _Rows(split, condition(split.features, wish.get("where") or {}))
    wanted: int | None = wish.get("samples")
    if wish.get("rows") is not None:
        kept = _numbered(rows, str(wish["rows"]))
    elif wanted is None:
        kept = _first(rows, None)
    else:
        kept = WAYS[wish.get("select") or "first"].take(rows, wanted, seed)
    count = len(kept)
    if not count:
        raise _none(rows)
    if wanted is not None and count < wanted and not wish.get("at_most"):
        raise too_few(rows.has(count), count, wanted)
    return kept.result(split)


def too_few(has: str, rows: int, wanted: int) -> Fault:
    """`has` says, in words, that there are so many rows."""
    return BuildFault.of(
        f"{has}, not the {wanted:,} asked for",
        key=("dataset", "samples"),
        hint=f"ask for at most {rows:,}, or say at_most: true",
    )


class _Rows:
    """The rows that count: those of the shards in turn that a condition holds for."""

    def __init__(self, split: Split, holds: Callable[[pyarrow.Table], Any] | None):
        self.shards = split.shards
        self.plain = _without_views(split.features.arrow_schema)
        self.holds = holds
        self.sizes: dict[int, int] = {}  # of the shards that were read to their end

    def count(self, index: int) -> int | None:
        """How many rows of a shard count, where that is known without reading them."""
        return None if self.holds else self.shards[index].rows

    def counts(self) -> list[int] | None:
        """The same for all shards, where all are known."""
        known = [self.count(index) for index in range(len(self.shards))]
        return [number for number in known if number is not None] if None not in known else None

    def read(
        self, index: int, start: int = 0
    ) -> Iterator[tuple[int, pyarrow.Table, numpy.ndarray[Any, Any]]]:
        """(number of the first row among those that count, the table, each row's number in the
        shard) for the tables of a shard, from row `start` of those that count, or before it."""
        import numpy

        begin = 0 if self.holds else start
        number, counted = begin, begin
        for table in self.shards[index].read(begin):
            numbers = numpy.arange(number, number + table.num_rows)
            number += table.num_rows
            if self.plain is not None:
                table = table.cast(self.plain)
            if self.holds:
                chosen = numpy.flatnonzero(self.holds(table))
                table, numbers = table.take(chosen), numbers[chosen]
            yield counted, table, numbers
            counted += table.num_rows
        self.sizes[index] = number

    def take(self, index: int, wanted: Iterable[int], kept: _Kept) -> None:
        """Keep these rows of a shard (ascending numbers of those that count, all of them there)."""
        import numpy

        shard = self.shards[index]
        left = numpy.fromiter(wanted, dtype=numpy.int64)
        while len(left):
            end = int(left[0])
            for first, table, numbers in self.read(index, int(left[0])):
                end = first + table.num_rows
                here = int(numpy.searchsorted(left, end))
                chosen, left = left[:here] - first, left[here:]
                kept.add(index, table, chosen, numbers[chosen])
                if not len(left) or (not self.holds and _jump(shard, int(left[0]), end)):
                    break
            else:
                raise BuildFault.of(
                    f"{shard.name} has fewer rows than it says: {_some(end)} at most",
                    key=("dataset", "source"),
                )

    def total(self) -> int:
        """How many rows there are, whether they count or not."""
        total = 0
        for index, shard in enumerate(self.shards):
            size = self.sizes.get(index) if shard.rows is None else shard.rows
            total += sum(t.num_rows for t in shard.read(0)) if size is None else size
        return total

    def has(self, count: int) -> str:
        if self.holds is None:
            return f"the dataset has {_some(count)}"
        return f"{count:,} of the dataset's {_some(self.total())} have what `where` asks for"


def _without_views(schema: pyarrow.Schema) -> pyarrow.Schema | None:
    """The schema with large strings and bytes for views of them (polars writes such Parquet); None
    where it has none."""
    import pyarrow as pa
    from pyarrow import types

    def plain(field: pa.Field) -> pa.Field:
        kind = field.type
        if types.is_string_view(kind):
            kind = pa.large_string()
        elif types.is_binary_view(kind):
            kind = pa.large_binary()
        elif types.is_struct(kind):
            kind = pa.struct([plain(inner) for inner in kind])
        elif types.is_list(kind):
            kind = pa.list_(plain(kind.value_field))
        elif types.is_large_list(kind):
            kind = pa.large_list(plain(kind.value_field))
        elif types.is_fixed_size_list(kind):
            kind = pa.list_(plain(kind.value_field), kind.list_size)
        return field.with_type(kind)

    made = pa.schema([plain(field) for field in schema], metadata=schema.metadata)
    return None if made == schema else made


class _Kept:
    """The rows that are kept, as small tables that hold nothing else, in the source's order."""

    def __init__(self) -> None:
        # (rows, each one's shard, each one's number in it)
        self.pieces: list[tuple[pyarrow.Table, Any, Any]] = []
        self.join_at = 512

    def __len__(self) -> int:
        return sum(table.num_rows for table, _, _ in self.pieces)

    def add(self, shard: int, table: pyarrow.Table, chosen: Any, numbers: Any) -> None:
        import numpy

        if not len(numbers):
            return
        # A slice would hold all of its table; what was taken is a copy. A table that is kept whole,
        # and is not a slice of a larger one, need not be copied: one of one row takes 0.4 ms.
        whole = len(numbers) == table.num_rows
        if not (whole and table.get_total_buffer_size() <= 2 * table.nbytes):
            table = table.take(chosen)
        self.pieces.append((table, numpy.full(len(numbers), shard), numbers))
        if len(self.pieces) >= self.join_at:
            self._join()
            self.join_at = 2 * len(self.pieces) + 512

    def only(self, mask: Any) -> None:
        """Drop the rows that a mask over all of them leaves out."""
        import numpy

        old, self.pieces, start = self.pieces, [], 0
        old.reverse()
        while old:
            table, shards, numbers = old.pop()
            here = mask[start : start + table.num_rows]
            start += table.num_rows
            if not here.all():
                table = table.take(numpy.flatnonzero(here))
                shards, numbers = shards[here], numbers[here]
            if table.num_rows:
                self.pieces.append((table, shards, numbers))

    def _join(self) -> None:
        import numpy
        import pyarrow

        old, self.pieces = self.pieces, []
        group: list[tuple[pyarrow.Table, Any, Any]] = []
        size = 0

        def close() -> None:
            if len(group) > 1:
                tables, shards, numbers = zip(*group, strict=True)
                table = pyarrow.concat_tables(tables).combine_chunks()
                self.pieces.append((table, numpy.concatenate(shards), numpy.concatenate(numbers)))
            else:
                self.pieces.extend(group)
            group.clear()

        old.reverse()
        while old:
            piece = old.pop()
            if size + piece[0].nbytes > JOIN_BYTES:
                close()
                size = 0
            group.append(piece)
            size += piece[0].nbytes
        close()

    def result(self, split: Split) -> tuple[pyarrow.Table, tuple[Place, ...]]:
        import pyarrow

        self._join()
        table = pyarrow.concat_tables([table for table, _, _ in self.pieces])
        places = tuple(
            Place(shard=split.shards[shard].name, row=number + 1)
            for _, shards, numbers in self.pieces
            for shard, number in zip(shards.tolist(), numbers.tolist(), strict=True)
        )
        return table.replace_schema_metadata(split.features.arrow_schema.metadata), places


def _first(rows: _Rows, wanted: int | None) -> _Kept:
    import numpy

    kept = _Kept()
    left = wanted
    for index in range(len(rows.shards)):
        if left == 0:
            break
        for _, table, numbers in rows.read(index):
            size = table.num_rows if left is None else min(left, table.num_rows)
            kept.add(index, table, numpy.arange(size), numbers[:size])
            if left is not None:
                left -= size
            if left == 0:
                break
    return kept


def _random(rows: _Rows, wanted: int, seed: int) -> _Kept:
    """Every set of `wanted` rows is equally likely."""
    counts = rows.counts()
    if counts is None:
        return _reservoir(rows, wanted, seed)
    kept = _Kept()
    total = sum(counts)
    drawn = sorted(random.Random(seed).sample(range(total), min(wanted, total)))
    ends = list(itertools.accumulate(counts))
    for index, group in itertools.groupby(drawn, key=lambda number: bisect_right(ends, number)):
        start = ends[index] - counts[index]
        rows.take(index, (number - start for number in group), kept)
    return kept


def _reservoir(rows: _Rows, wanted: int, seed: int) -> _Kept:
    """In one pass: each row draws 64 bits, and those with the least keep their place.

    Vitter's reservoir (algorithm R: ACM TOMS 11, 1985) with the draws in whole numbers and made a
    table at a time: his faster algorithms take logarithms, whose last digit differs from machine to
    machine. The stream of PCG64's raw bits is one that numpy does not change.
    """
    import numpy

    bits = numpy.random.PCG64(seed)
    kept = _Kept()
    keys = numpy.zeros(0, dtype=numpy.uint64)
    bound: Any = None  # what a row must stay below
    # Rows that have lost their place are let go of when there are some of them.
    slack = max(wanted // 8, 16)
    for index in range(len(rows.shards)):
        for _, table, numbers in rows.read(index):
            drawn = bits.random_raw(table.num_rows)
            chosen = numpy.arange(len(drawn)) if bound is None else numpy.flatnonzero(drawn < bound)
            if not len(chosen):
                continue
            chosen = chosen[_least(drawn[chosen], wanted)]
            kept.add(index, table, chosen, numbers[chosen])
            keys = numpy.concatenate([keys, drawn[chosen]])
            if len(keys) >= wanted + slack:
                keys, bound = _thin(kept, keys, wanted)
    _thin(kept, keys, wanted)
    return kept


def _least(keys: Any, count: int) -> Any:
    """The places of the `count` least keys, ascending; of equal ones the first."""
    import numpy

    return numpy.sort(numpy.argsort(keys, kind="stable")[:count])


def _thin(kept: _Kept, keys: Any, wanted: int) -> tuple[Any, Any]:
    import numpy

    if len(keys) <= wanted:
        return keys, None
    mask = numpy.zeros(len(keys), dtype=bool)
    mask[_least(keys, wanted)] = True
    kept.only(mask)
    keys = keys[mask]
    return keys, keys.max()


def _spread(rows: _Rows, wanted: int) -> _Kept:
    """As many of each shard, as far as it has them; the middles of as many equal parts of it."""
    counts = []
    for index in range(len(rows.shards)):
        known = rows.count(index)
        if known is None:
            known = sum(table.num_rows for _, table, _ in rows.read(index))
        counts.append(known)
    kept = _Kept()
    for index, share in enumerate(shares(counts, wanted)):
        rows.take(index, middles(counts[index], share), kept)
    return kept


def _numbered(rows: _Rows, text: str) -> _Kept:
    """The rows with these numbers, from 1 over all shards."""
    import numpy

    wanted = spans(text)
    kept = _Kept()
    start = 0  # rows that count, in the shards before
    for index in range(len(rows.shards)):
        if start >= wanted[-1].stop:
            break
        known = rows.count(index)
        if known is not None:
            rows.take(index, within(wanted, start, start + known), kept)
            start += known
            continue
        end = start
        for first, table, numbers in rows.read(index):
            begin, end = start + first, start + first + table.num_rows
            chosen = numpy.fromiter(within(wanted, begin, end), dtype=numpy.int64)
            kept.add(index, table, chosen, numbers[chosen])
            if end >= wanted[-1].stop:
                break
        start = end
    if start < wanted[-1].stop and start:
        raise BuildFault.of(
            f"there is no row {wanted[-1].stop:,}: {rows.has(start)}",
            key=("dataset", "rows"),
            hint=f"give numbers from 1 to {start:,}",
        )
    return kept


def within(wanted: Sequence[range], begin: int, end: int) -> Iterator[int]:
    """The numbers of spans from `begin` to before `end`, counted from `begin`."""
    for span in wanted:
        yield from range(max(span.start, begin) - begin, min(span.stop, end) - begin)


def _jump(shard: Shard, wanted: int, at: int) -> bool:
    """Whether a shard is to be opened anew for a row, and not read on from `at`."""
    run = bisect_right(shard.starts, wanted)
    return run > 0 and shard.starts[run - 1] > at


def _none(rows: _Rows) -> Fault:
    total = rows.total() if rows.holds else 0
    if total:
        return BuildFault.of(
            f"none of the dataset's {_some(total)} has what `where` asks for",
            key=("dataset", "where"),
            hint="ask for values that are there",
        )
    return BuildFault.of("the dataset has no rows", key=("dataset", "source"))


def _some(number: int) -> str:
    return f"{number:,} {'row' if number == 1 else 'rows'}"


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to choose rows.

    take: keeps so many rows, with a seed for draws. before, after: what a card says around how many
    they are. Of files that are read by ranges, `groups` takes only the row groups that it can name;
    else as many as may be read, among which `take` chooses. draws: whether the seed decides
    anything.
    """

    take: Callable[[_Rows, int, int], _Kept]
    before: str = ""
    after: str = ""
    draws: bool = False


WAYS: Mapping[str, Way] = {
    "first": Way(take=lambda rows, wanted, seed: _first(rows, wanted), before="the first "),
    "random": Way(take=_random, after=" drawn at random", draws=True),
    "spread": Way(take=lambda rows, wanted, seed: _spread(rows, wanted), after=" spread evenly"),
}
