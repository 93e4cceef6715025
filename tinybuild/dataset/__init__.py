"""A smaller dataset: the dataset stage."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tinybuild.errors import BuildFault
from tinybuild.workers import Job

CORPUS = Path(__file__).parent / "corpus.jsonl"
# A file's suffix -> the reader of the datasets library.
READERS = {
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
}


def make(job: Job) -> dict[str, Any]:
    """The dataset stage: N rows as Parquet with a card that load_dataset(folder) reads.

    Settings: dataset (the recipe's section). Inputs: fetch, where
    the recipe names a source. Files: README.md, data/train-00000-of-00001.parquet.
    Facts: rows, columns ([name, type], in their order). Raises BuildFault.
    """
    from datasets import Dataset

    section = job.settings["dataset"]
    files = [CORPUS]
    if "source" in section:
        folder = job.inputs.get("dataset") or job.inputs["fetch"] / "dataset"
        whole = [folder] if folder.is_file() else folder.rglob("*")
        files = sorted(path for path in whole if path.is_file() and path.suffix in READERS)
    wanted = section["samples"]
    cache = tempfile.TemporaryDirectory(dir=job.out, prefix=".cache-")
    # Rows are read as they are asked for: what is broken may stand far down.
    with cache, _readable():
        stream = _open(files, Path(cache.name))
        features = stream.features
        if section.get("select", "first") == "first":
            rows = list(stream.take(wanted))
        else:
            rows = _reservoir(stream, wanted, job.seed)
    if len(rows) < wanted:
        raise BuildFault.of(
            f"the dataset has {len(rows):,} rows, not the {wanted:,} asked for",
            key=("dataset", "samples"),
            hint=f"ask for at most {len(rows):,}",
        )
    data = Dataset.from_list(rows, features=features)
    target = job.out / "data" / "train-00000-of-00001.parquet"
    target.parent.mkdir(parents=True)
    data.to_parquet(target)
    (job.out / "README.md").write_text(_card(wanted), encoding="utf-8")
    columns = [[name, _type(feature)] for name, feature in data.features.items()]
    configs = {"default": {"train": len(data)}}
    source = {"path": dict(job.upstream.get("dataset", {}))}
    return {"rows": len(data), "columns": columns, "configs": configs, "source": source}


def _open(files: Iterable[Path], cache: Path) -> Any:
    """The rows of files of one format, streamed; `cache` is a folder for what the reader leaves."""
    from datasets import load_dataset

    paths = [str(path) for path in files]
    formats = sorted({READERS[Path(path).suffix] for path in paths if Path(path).suffix in READERS})
    tabs = sorted({path.endswith(".tsv") for path in paths})
    if len(formats) != 1 or len(tabs) != 1:
        suffixes = ", ".join(sorted({Path(path).suffix or Path(path).name for path in paths}))
        what = "files of more than one format" if formats else "no file that can be read"
        raise BuildFault.of(
            f"the dataset's source holds {what} ({suffixes})",
            key=("dataset", "source"),
            hint=f"give files of one format: {', '.join(READERS)}",
        )
    options = {"delimiter": "\t"} if tabs == [True] else {}
    stream = load_dataset(
        formats[0],
        data_files={"train": paths},
        split="train",
        streaming=True,
        cache_dir=str(cache),
        **options,
    )
    return stream if stream.features is not None else stream._resolve_features()


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """What the readers of the datasets library raise for broken files becomes a fault."""
    from datasets.exceptions import DatasetGenerationError

    try:
        yield
    except StopIteration:
        raise BuildFault.of("the dataset has no rows", key=("dataset", "source")) from None
    except (ValueError, OSError, DatasetGenerationError) as error:
        raise BuildFault.of(
            f"the dataset's files cannot be read: {_first_line(error)}",
            key=("dataset", "source"),
        ) from None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _reservoir(stream: Iterable[Mapping[str, Any]], count: int, seed: int) -> list[Any]:
    """`count` rows drawn evenly in one pass (Vitter's algorithm R), in the order of the source."""
    chooser = random.Random(seed)
    kept: list[tuple[int, Any]] = []
    for number, row in enumerate(stream):
        if number < count:
            kept.append((number, row))
        else:
            place = chooser.randrange(number + 1)
            if place < count:
                kept[place] = (number, row)
    return [row for _, row in sorted(kept, key=lambda item: item[0])]


def _type(feature: Any) -> str:
    return str(getattr(feature, "dtype", type(feature).__name__))


def _card(rows: int) -> str:
    # No `configs:` here: with it, load_dataset takes a folder's rows from its cache by the patterns
    # alone, and gives another bundle's rows, or old ones. Without, by the files and their times.
    return f"""---
tags:
- tinybuild
- tiny
---

A sample of {rows:,} rows, made for tests. Load it with:

```python
from datasets import load_dataset

data = load_dataset("PATH/TO/THIS/FOLDER")
```
"""
