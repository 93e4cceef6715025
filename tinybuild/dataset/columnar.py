"""Rows of Parquet and Arrow files, whole row groups skipped."""

from __future__ import annotations

import contextlib
import itertools
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.dataset.archives import KEY, reason
from tinybuild.dataset.rows import Shard
from tinybuild.dataset.schemas import Cast
from tinybuild.errors import BuildFault

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet as pq
    from pyarrow import ipc

# A table has about so many bytes, and no more rows than MOST.
TARGET = 4 << 20
MOST = 2_000
BUFFER = 1 << 20


class Parquet:
    """An open Parquet file; `footer` where it was read before. Raises BuildFault."""

    def __init__(self, path: Path, name: str, footer: pq.FileMetaData | None = None):
        import pyarrow.parquet

        self.name = name
        with _reading(name, "is not a whole Parquet file"):
            # Without pre_buffer, and with a buffer, a large row group is read page by page.
            self.file = pyarrow.parquet.ParquetFile(
                path, metadata=footer, pre_buffer=False, buffer_size=BUFFER
            )
        counts = [group.num_rows for group in map(self.footer.row_group, range(self.groups))]
        self.starts = tuple(itertools.accumulate([0, *counts[:-1]])) if counts else ()

    @property
    def footer(self) -> pq.FileMetaData:
        return self.file.metadata

    @property
    def groups(self) -> int:
        return int(self.footer.num_row_groups)

    def __enter__(self) -> Parquet:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def group(
        self, number: int, columns: list[str] | None = None
    ) -> Iterator[tuple[int, pyarrow.Table]]:
        """(the number of its first row in the file, rows) of a row group, in tables of few rows."""
        import pyarrow

        group, row = self.footer.row_group(number), self.starts[number]
        end = row + group.num_rows
        each = max(1, group.total_byte_size // max(1, group.num_rows))
        size = max(1, min(MOST, TARGET // each))
        place = f"row group {number + 1} (rows {row + 1:,}-{end:,})"
        with _reading(self.name, f"{place} cannot be read"):
            batches = self.file.iter_batches(size, row_groups=[number], columns=columns)
        while True:
            with _reading(self.name, f"{place} cannot be read"):
                batch = next(batches, None)
                if batch is not None:
                    batch.validate(full=True)
            if batch is None:
                break
            yield row, pyarrow.Table.from_batches([batch])
            row += batch.num_rows
        if row != end:
            had = row - self.starts[number]
            raise BuildFault.of(f"{self.name}: {place} has {had:,} rows", key=KEY, hint=DAMAGED)


def parquet_schema(path: Path, name: str) -> pyarrow.Schema:
    """The file's schema, with its metadata ("huggingface" holds the features)."""
    with Parquet(path, name) as file:
        return file.file.schema_arrow


def parquet(path: Path, name: str, cast: Cast) -> Shard:
    """A file as a shard; `cast` makes the split's columns of the file's."""
    with Parquet(path, name) as file:
        starts, rows = file.starts, int(file.footer.num_rows)

    def read(start: int) -> Iterator[pyarrow.Table]:
        with Parquet(path, name) as file:
            for number in range(max(0, bisect_right(starts, start) - 1), file.groups):
                for first, table in file.group(number):
                    drop = max(0, start - first)
                    if drop < table.num_rows:
                        yield cast(table.slice(drop), name, first + drop)

    return Shard(name=name, rows=rows, read=read, starts=starts or (0,))


def arrow(path: Path, name: str, cast: Cast) -> Shard:
    """The same of an Arrow file or stream."""
    rows = sum(batch.num_rows for _, batch in _batches(path, name, count_only=True))
    return Shard(name=name, rows=rows, read=lambda start: _read_arrow(path, name, cast, start))


DAMAGED = "the file is truncated or damaged: fetch or make it again"


@contextlib.contextmanager
def _reading(name: str, what: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise BuildFault.of(f"{name}: {what}: {reason(error)}", key=KEY, hint=DAMAGED) from None


def _open_arrow(
    path: Path, name: str, options: ipc.IpcReadOptions | None = None
) -> ipc.RecordBatchFileReader | ipc.RecordBatchStreamReader:
    """A reader of a file or of a stream; both have `schema`."""
    import pyarrow

    with _reading(name, "is not an Arrow file or stream"):
        mapped = pyarrow.memory_map(str(path))
        # A file begins (and ends) with these bytes, a stream with a length.
        if mapped.read(6) == b"ARROW1":
            return pyarrow.ipc.open_file(mapped, options=options)
        mapped.seek(0)
        return pyarrow.ipc.open_stream(mapped, options=options)


def arrow_schema(path: Path, name: str) -> pyarrow.Schema:
    return _open_arrow(path, name).schema


def _batches(
    path: Path, name: str, count_only: bool = False
) -> Iterator[tuple[int, pyarrow.RecordBatch]]:
    """(the number of its first row, record batch) of each; empty of columns if `count_only`."""
    import pyarrow

    options = pyarrow.ipc.IpcReadOptions(included_fields=[0] if count_only else None)
    reader = _open_arrow(path, name, options)
    stream = isinstance(reader, pyarrow.ipc.RecordBatchStreamReader)
    number = first = 0
    while True:
        what = f"record batch {number + 1} (from row {first + 1:,}) cannot be read"
        batch = None
        with _reading(name, what):
            if stream:
                with contextlib.suppress(StopIteration):
                    batch = reader.read_next_batch()
            elif number < reader.num_record_batches:
                batch = reader.get_batch(number)
            if batch is not None and not count_only:
                batch.validate(full=True)
        if batch is None:
            return
        yield first, batch
        first += batch.num_rows
        number += 1


def _read_arrow(path: Path, name: str, cast: Cast, start: int) -> Iterator[pyarrow.Table]:
    import pyarrow

    for first, batch in _batches(path, name):
        if first + batch.num_rows <= start:
            continue
        size = max(1, min(MOST, TARGET // max(1, batch.nbytes // max(1, batch.num_rows))))
        for begin in range(max(0, start - first), batch.num_rows, size):
            piece = pyarrow.Table.from_batches([batch.slice(begin, size)])
            yield cast(piece, name, first + begin)
