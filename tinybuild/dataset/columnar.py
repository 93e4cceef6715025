"""Rows of Parquet and Arrow files, whole row groups skipped."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild.dataset.archives import KEY, reason
from tinybuild.dataset.rows import Shard
from tinybuild.dataset.schemas import Cast
from tinybuild.errors import BuildFault

if TYPE_CHECKING:
    import pyarrow

# A table has about so many bytes, and no more rows than MOST.
TARGET = 4 << 20
MOST = 2_000
BUFFER = 1 << 20


def schema(module: str, path: Path, name: str) -> pyarrow.Schema:
    """The file's schema, with its metadata ("huggingface" holds the features)."""
    return _parquet(path, name).schema_arrow if module == "parquet" else _arrow_schema(path, name)


def shard(module: str, path: Path, name: str, cast: Cast) -> Shard:
    """A file as a shard; `cast` makes the split's columns of the file's."""
    if module == "parquet":
        with _parquet(path, name) as file:
            groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        return Shard(
            name=name,
            rows=sum(groups),
            read=lambda start: _read(path, name, cast, start),
            starts=tuple(itertools.accumulate([0, *groups[:-1]])),
        )
    rows = sum(batch.num_rows for _, batch in _batches(path, name, count_only=True))
    return Shard(name=name, rows=rows, read=lambda start: _read_arrow(path, name, cast, start))


def _parquet(path: Path, name: str) -> Any:
    import pyarrow.parquet as pq

    with _reading(name, "is not a whole Parquet file"):
        # Without pre_buffer, and with a buffer, a large row group is read page by page.
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER)


def _read(path: Path, name: str, cast: Cast, start: int) -> Iterator[pyarrow.Table]:
    import pyarrow

    file = _parquet(path, name)
    first = 0
    with contextlib.closing(file):
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            if first + group.num_rows > start:
                drop = max(0, start - first)
                each = max(1, group.total_byte_size // max(1, group.num_rows))
                size = max(1, min(MOST, TARGET // each))
                place = f"row group {number + 1} (rows {first + 1:,}-{first + group.num_rows:,})"
                with _reading(name, f"{place} cannot be read"):
                    batches = file.iter_batches(batch_size=size, row_groups=[number])
                row = first
                while True:
                    with _reading(name, f"{place} cannot be read"):
                        batch = next(batches, None)
                        if batch is not None:
                            batch.validate(full=True)
                    if batch is None:
                        break
                    row += batch.num_rows
                    if drop >= batch.num_rows:
                        drop -= batch.num_rows
                        continue
                    batch, drop = batch.slice(drop), 0
                    table = pyarrow.Table.from_batches([batch])
                    yield cast(table, name, row - batch.num_rows)
                if row != first + group.num_rows:
                    raise BuildFault.of(
                        f"{name}: {place} has {row - first:,} rows", key=KEY, hint=DAMAGED
                    )
            first += group.num_rows


DAMAGED = "the file is truncated or damaged: fetch or make it again"


@contextlib.contextmanager
def _reading(name: str, what: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise BuildFault.of(f"{name}: {what}: {reason(error)}", key=KEY, hint=DAMAGED) from None


def _open_arrow(path: Path, name: str, options: Any = None) -> Any:
    """A reader of a file or of a stream; both have `schema`."""
    import pyarrow

    with _reading(name, "is not an Arrow file or stream"):
        mapped = pyarrow.memory_map(str(path))
        # A file begins (and ends) with these bytes, a stream with a length.
        if mapped.read(6) == b"ARROW1":
            return pyarrow.ipc.open_file(mapped, options=options)
        mapped.seek(0)
        return pyarrow.ipc.open_stream(mapped, options=options)


def _arrow_schema(path: Path, name: str) -> pyarrow.Schema:
    return _open_arrow(path, name).schema


def _batches(path: Path, name: str, count_only: bool = False) -> Iterator[tuple[int, Any]]:
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
