"""The rows and columns of a bundle's dataset, as its Parquet files have them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SHARD = "-"  # NAME-00000-of-00001.parquet
MOST = 100_000  # rows of a split that are compared one by one; of more, only their number


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of one config. columns: name -> type. digests: of the rows, by the columns that
    both sides have; None where there are too many rows."""

    rows: int
    columns: Mapping[str, str]
    digests: Counter[str] | None


def split_of(file: str) -> str:
    """CONFIG/SPLIT, or SPLIT alone, that a Parquet file below dataset/ is a shard of."""
    pure = PurePosixPath(file)
    above = pure.parent.name
    name = pure.stem.rpartition("-of-")[0].rpartition(SHARD)[0] or pure.stem
    return name if above in ("data", "dataset") else f"{above}/{name}"


def columns(files: Sequence[Path]) -> dict[str, str]:
    """The columns of a split, with their types."""
    from pyarrow import parquet

    schema = parquet.read_schema(files[0])
    return {field.name: str(field.type) for field in schema}


def read(files: Sequence[Path], shared: Iterable[str]) -> Split:
    """A split; `shared` are the columns whose values are digested."""
    from pyarrow import parquet

    count = sum(parquet.read_metadata(path).num_rows for path in files)
    wanted, digests = list(shared), None
    if count <= MOST:
        digests = Counter[str]()
        for path in files:
            for batch in parquet.ParquetFile(path).iter_batches(256, columns=wanted):
                digests.update(_digest(row, wanted) for row in batch.to_pylist())
    return Split(rows=count, columns=columns(files), digests=digests)


def _digest(row: Mapping[str, object], wanted: Sequence[str]) -> str:
    """repr tells 1 from 1.0 and from True, and writes every bit of a number."""
    return hashlib.sha256(repr([row[name] for name in wanted]).encode()).hexdigest()
