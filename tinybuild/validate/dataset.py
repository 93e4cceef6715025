"""Checks of a dataset: load_dataset reads the folder and finds the rows."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

from tinybuild.facts import DatasetRows
from tinybuild.validate import columns
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.subject import Subject

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
    """5 rows of text, kind; with several splits or configs, the rows of each."""
    total = sum(sum(splits.values()) for splits in rows.values())
    text = f"{total:,} rows of {', '.join(names)}"
    if sum(map(len, rows.values())) == 1 and set(rows) == {"default"}:
        return text
    several = [
        f"{config} ({', '.join(f'{split} {count:,}' for split, count in sorted(splits.items()))})"
        for config, splits in sorted(rows.items())
    ]
    return f"{text}: {', '.join(several)}"


def _differ(loaded: Any, streamed: Any, files: list[Path]) -> Iterator[str]:
    """What is not the same in one split's files, when it is loaded and when it is streamed."""
    import pyarrow
    from datasets import Features
    from pyarrow import parquet

    if not files:
        yield "no Parquet file of that name"
        return
    schema = parquet.read_schema(files[0])
    features = Features.from_arrow_schema(schema)
    written = sum(parquet.read_metadata(file).num_rows for file in files)
    if len(loaded) != written:
        yield f"{len(loaded):,} rows of the {written:,} in its files"
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
    with parquet.ParquetFile(files[0]) as opened:
        batch = next(opened.iter_batches(FEW), None)
    few = [] if batch is None else pyarrow.Table.from_batches([batch]).to_pylist()
    shown = {
        "loaded": loaded.with_format("arrow")[:FEW].to_pylist() if len(loaded) else [],
        "streamed": first.to_pylist() if first is not None else [],
    }
    for how, found in shown.items():
        # As texts: a number that is none (NaN) is not equal to itself.
        if str(found[: len(few)]) != str(few):
            yield f"other rows when {how} than in its files"
    yield from _undecoded(loaded, features)


def _other(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    names = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if not names:
        return "its columns in another order"
    return f"other features than its files have: {listed(names)}"


def _undecoded(loaded: Any, features: Any) -> Iterator[str]:
    """The first of each column's images or sounds that cannot be decoded."""
    from datasets import Image

    for name, feature in columns.media(features):
        decode = columns.image if isinstance(feature, Image) else columns.sound
        for row, value in islice(_media(loaded, name, features[name], feature), MEDIA):
            try:
                decode(value)
            except (OSError, ValueError, RuntimeError, SyntaxError) as error:
                kind = {"Image": "image", "Audio": "sound"}[type(feature).__name__]
                why = type(error).__name__
                yield f"{name}, row {row:,}: the {kind} cannot be decoded ({why})"
                break


def _media(loaded: Any, name: str, whole: Any, feature: Any) -> Iterator[tuple[int, Any]]:
    """(row from 1, value) of a column's media, a few rows at a time."""
    data = loaded.select_columns([name]).with_format("arrow")
    rows = (value for table in data.iter(FEW) for value in table.column(name).to_pylist())
    for row, whole_value in enumerate(rows, 1):
        for value in columns.values(whole_value, whole, feature):
            yield row, value


@contextlib.contextmanager
def _light() -> Iterator[None]:
    """Where nobody has imported torch, datasets does not either, to stream (1.4 s)."""
    if "torch" in sys.modules:
        yield
        return
    with mock.patch("datasets.config.TORCH_AVAILABLE", False):
        yield
