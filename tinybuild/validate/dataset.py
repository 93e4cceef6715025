"""Checks of a dataset: load_dataset reads the folder and finds the rows."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from tinybuild.facts import DatasetRows
from tinybuild.features import Spot, Visit, visited, walk
from tinybuild.validate import columns
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.layouts import Media
from tinybuild.validate.subject import Subject

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset, Features, IterableDataset
    from datasets.features.features import FeatureType

FEW = 4  # rows that are compared, and that are in memory at once
MEDIA = 100  # images or sounds of a column that are decoded


@check("dataset")
def dataset_loads(subject: Subject) -> Result:
    """load_dataset(folder) gives the configs, splits, rows and columns that were written, streamed
    too, with the features of the Parquet files, and media that can be decoded."""
    from datasets import get_dataset_config_names, get_dataset_default_config_name, load_dataset

    folder = subject.folder / "dataset"
    cache = str(subject.scratch / "cache")
    facts = subject.read("dataset", DatasetRows)
    wrong: list[str] = []
    rows: dict[str, dict[str, int]] = {}
    names: dict[str, list[str]] = {}
    met: set[Path] = set()
    with _light():
        for config in get_dataset_config_names(str(folder)):
            # Streamed first: what the card says of the rows is known until they are loaded.
            streamed = load_dataset(str(folder), config, cache_dir=cache, streaming=True)
            loaded = load_dataset(
                str(folder), config, cache_dir=cache, verification_mode="no_checks"
            )
            rows[config] = {str(split): len(data) for split, data in loaded.items()}
            for split, data in loaded.items():
                where = f"{config}/{split}"
                files = shards(folder, config, str(split))
                met |= {*files}
                names.setdefault(config, data.column_names)
                wrong += [f"{where}: {what}" for what in _differ(data, streamed.get(split), files)]
    lost = sorted(file.name for file in {*folder.rglob("*.parquet")} - met)
    if lost:
        wrong.append(f"no config or split has {listed(lost)}")
    default = get_dataset_default_config_name(str(folder)) or next(iter(rows))
    measured = _told(rows, names[default])
    wanted = _told(facts.configs, [name for name, _ in facts.columns])
    return Result.of(
        measured == wanted and not wrong,
        measured="; ".join([measured, *wrong]),
        wanted=wanted,
        values={
            "configs": len(rows),
            "rows": sum(sum(splits.values()) for splits in rows.values()),
            "columns": len(names[default]),
            "faults": len(wrong),
        },
    )


def shards(folder: Path, config: str, split: str) -> list[Path]:
    """The Parquet files of a split, in their order: data/CONFIG/SPLIT-*, or data/SPLIT-* of a
    dataset with one config."""
    for below in (folder / "data" / config, folder / "data"):
        files = sorted(below.glob(f"{split}-?????-of-?????.parquet"))
        if files:
            return files
    return []


def _told(rows: Mapping[str, Mapping[str, int]], names: list[str]) -> str:
    """5 rows of text, label; with several splits or configs, the rows of each."""
    total = sum(sum(splits.values()) for splits in rows.values())
    text = f"{total:,} rows of {', '.join(names)}"
    if sum(map(len, rows.values())) == 1 and set(rows) == {"default"}:
        return text
    several = [
        f"{config} ({', '.join(f'{split} {count:,}' for split, count in sorted(splits.items()))})"
        for config, splits in sorted(rows.items())
    ]
    return f"{text}: {', '.join(several)}"


def _differ(
    loaded: Dataset, streamed: IterableDataset | None, files: Sequence[Path]
) -> Iterator[str]:
    """What is not the same in one split's files, when it is loaded and when it is streamed."""
    from datasets import Features
    from pyarrow import parquet

    if not files:
        yield "it has no Parquet file of its name"
        return
    features = Features.from_arrow_schema(parquet.read_schema(files[0]))
    written = sum(parquet.read_metadata(file).num_rows for file in files)
    if len(loaded) != written:
        yield f"{len(loaded):,} rows loaded of the {written:,} in its files"
    if loaded.features != features:
        yield f"loaded with {_other(loaded.features, features)}"
    if streamed is None:
        yield "not there when streamed"
        return
    told = (streamed.info.splits or {}).get(str(loaded.split))
    if told is not None and told.num_examples != written:
        yield f"the card says {told.num_examples:,} rows, its files have {written:,}"
    if streamed.features != features:
        yield f"streamed with {_other(streamed.features or {}, features)}"
    count, first = 0, None
    for table in streamed.with_format("arrow").iter(1000):
        first = table.slice(0, FEW) if first is None else first
        count += table.num_rows
    if count != written:
        yield f"{count:,} rows streamed of the {written:,} in its files"
    few = first_rows(files[0])
    shown = {
        "loaded": loaded.with_format("arrow")[:FEW].to_pylist() if len(loaded) else [],
        "streamed": first.to_pylist() if first is not None else [],
    }
    for how, rows in shown.items():
        # As texts: NaN is not equal to itself.
        if str(rows[: len(few)]) != str(few):
            yield f"other rows when {how} than in its files"
    yield from _undecoded(loaded, features)


def first_rows(file: Path, count: int = FEW) -> list[dict[str, object]]:
    """The first rows of a Parquet file."""
    from pyarrow import parquet

    with parquet.ParquetFile(file) as opened:
        batch = next(opened.iter_batches(count), None)
    rows: list[dict[str, object]] = [] if batch is None else batch.to_pylist()
    return rows


def _other(features: Features, wanted: Features) -> str:
    names = [name for name in {**wanted, **features} if features.get(name) != wanted.get(name)]
    if not names:
        return "its columns in another order"
    return f"other features than its files have: {listed(names)}"


def _undecoded(loaded: Dataset, features: Features) -> Iterator[str]:
    """The first of each column's images or sounds that cannot be decoded."""
    from datasets import Audio, Image

    decoders = {Image: ("image", columns.image), Audio: ("sound", columns.sound)}
    for path, feature in walk(features):
        if type(feature) not in decoders:
            continue
        noun, decode = decoders[type(feature)]
        for row, value in islice(_media(loaded, features, path[0], feature), MEDIA):
            try:
                decode(value)
            except (OSError, ValueError, RuntimeError, SyntaxError) as error:
                why = type(error).__name__
                yield f"{'.'.join(path)}, row {row:,}: the {noun} cannot be decoded ({why})"
                break


def _media(
    loaded: Dataset, features: Features, name: str, feature: FeatureType
) -> Iterator[tuple[int, Media]]:
    """(row from 1, value) of a feature in a column, a few rows at a time; None is left out."""
    met: list[tuple[int, Media]] = []

    def meet(array: pyarrow.Array, spot: Spot) -> pyarrow.Array:
        met.extend(zip(spot.rows.tolist(), array.to_pylist(), strict=True))
        return array

    visit = Visit(wanted=lambda other: other is feature, apply=meet)
    data = loaded.select_columns([name]).with_format("arrow")
    for start, table in zip(range(1, len(loaded) + 1, FEW), data.iter(FEW), strict=True):
        met.clear()
        visited(table.column(name), features[name], name, visit)
        yield from ((start + row, value) for row, value in met if value is not None)


@contextlib.contextmanager
def _light() -> Iterator[None]:
    """Where nobody has imported torch, datasets does not either, to stream (1.4 s)."""
    if "torch" in sys.modules:
        yield
        return
    with mock.patch("datasets.config.TORCH_AVAILABLE", False):
        yield
