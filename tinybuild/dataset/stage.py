"""The dataset stage: the rows that a recipe asks for, as Parquet with a card."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild import corpus
from tinybuild.dataset import card, media, records, select, sources
from tinybuild.dataset.expand import expand
from tinybuild.dataset.parts import Part, numbers, parts
from tinybuild.dataset.rows import Place, Source, Split
from tinybuild.dataset.schemas import caster, kept
from tinybuild.errors import BuildFault, Fault, Finding
from tinybuild.reading import reading
from tinybuild.workers import Job

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features

# Rows of a row group: whoever streams a file has some to read. At most GROUPS of them, for each
# holds the values that repeat once more.
GROUP, GROUPS = 100, 10


SOURCE = "the dataset's source"


@reading(SOURCE, "dataset")
def make(job: Job) -> dict[str, Any]:
    """The dataset stage: the rows that each part of the section asks for, as Parquet with a card.

    Settings: dataset (the recipe's section), origin (what its source is called). Inputs: dataset
    (the local folder or file that its source or its records are, read where it is) or fetch (what
    was fetched of another kind of source); neither for the corpus that ships with tinybuild.
    Files: README.md, data/[CONFIG/]SPLIT-00000-of-00001.parquet. Facts: rows (of all splits of all
    configs), columns of the default config ([name, type], in their order), configs (config ->
    split -> rows), source (files: the local ones; about: what its card says).
    Raises BuildFault.
    """
    section = job.settings["dataset"]
    made: dict[str, dict[str, pyarrow.Table]] = {}
    kinds: dict[str, Features] = {}
    with tempfile.TemporaryDirectory(dir=job.out, prefix=".scratch-") as scratch:
        source = _source(section, job, Path(scratch))
        idle: dict[tuple[str, ...], str] = {}
        used: set[tuple[str, ...]] = set()
        for part in parts(section):
            split, table, features = _part(part, source, job.seed)
            nothing = media.idle(features, part.wish)
            idle |= {part.keys[key]: what for key, what in nothing.items()}
            used |= {part.keys[key] for key in part.wish if key not in nothing}
            for config, rows in _expanded(section, part.config, table, features):
                if kinds.setdefault(config, features) != features:
                    raise BuildFault.of(
                        f"the splits of the config {config} have other columns: "
                        f"{features} and {kinds[config]}",
                        key=part.keys["split"],
                        hint="columns: [...] keeps those that they share; or make two configs",
                    )
                made.setdefault(config, {})[split] = rows
    useless = [
        Finding(what=f"the dataset has no {what}", key=key, hint=f"delete {key[-1]}")
        for key, what in idle.items()
        if key not in used
    ]
    if useless:
        raise BuildFault(useless)
    files: dict[str, dict[str, Path]] = {}
    for config, splits in made.items():
        folder = job.out / "data" / (config if len(made) > 1 else "")
        for split, table in splits.items():
            target = folder / f"{split}-00000-of-00001.parquet"
            files.setdefault(config, {})[split] = target
            _write(target, table, kinds[config])
    told = card.Told(
        section=section,
        origin=job.settings.get("origin", ""),
        about=source.about,
        features=kinds,
        files=files,
        version=_version(files),
    )
    (job.out / "README.md").write_text(card.text(told), encoding="utf-8")
    configs = {
        config: {split: table.num_rows for split, table in splits.items()}
        for config, splits in made.items()
    }
    first = next(iter(kinds.values()))
    return {
        "rows": sum(rows for splits in configs.values() for rows in splits.values()),
        "columns": [[name, _type(feature)] for name, feature in first.items()],
        "configs": configs,
        "source": {"files": _files(job), "about": dict(source.about)},
    }


def _files(job: Job) -> dict[str, dict[str, Any]]:
    """name -> sha256 and size of the local files that the rows were taken from."""
    place = job.inputs.get("dataset", job.out)
    return {
        name: {"sha256": found, "size": (place / name if place.is_dir() else place).stat().st_size}
        for name, found in job.upstream.get("dataset", {}).items()
    }


@reading(SOURCE, "dataset")
def unpack(job: Job) -> dict[str, Any]:
    """Rows of a source as records, before anything is made small.

    Settings: dataset (a section with one part), numbers ("1,4-10" of the rows; None: from 1 on).
    Inputs, upstream and raised: as for `make`. Facts: rows (their numbers), columns.
    """
    section, given = job.settings["dataset"], job.settings["numbers"]
    (part,) = parts(section)
    with tempfile.TemporaryDirectory(dir=job.out.parent, prefix=f".{job.out.name}-") as scratch:
        source = _source(section, job, Path(scratch))
        split = source.open(*part.named(source.names, source.default))
        table, _ = _chosen(part, split, source, job.seed)
        count = range(table.num_rows) if given is None else numbers(given)
        rows = [number + 1 for number in count]
        records.write_records(table, split.features, rows, job.out, source.about)
    return {"rows": rows, "columns": list(split.features)}


@reading(SOURCE, "dataset")
def review(job: Job) -> None:
    """Refuse what `make` would refuse before it reads a row: a source that holds no rows, configs
    and splits that it does not have. Settings and inputs as for `make`."""
    section = job.settings["dataset"]
    with tempfile.TemporaryDirectory(dir=job.out, prefix=".scratch-") as scratch:
        source = _source(section, job, Path(scratch))
        for part in parts(section):
            part.named(source.names, source.default)


def _source(section: Mapping[str, Any], job: Job, scratch: Path) -> Source:
    """What the rows are taken from."""
    wish = section.get("source", {})
    files = None
    if "records" in section:
        return records.open_records(job.inputs["dataset"])
    place = corpus.FILE
    if "dataset" in job.inputs:
        place, files = job.inputs["dataset"], list(job.upstream["dataset"])
    elif wish and "fetch" in job.inputs:
        place = job.inputs["fetch"] / "dataset"
    options = sources.Options(
        max_read=wish.get("max_read"), sample_by=wish.get("sample_by"), files=files, said=wish
    )
    return sources.open_folder(place, scratch=scratch, options=options)


def _part(part: Part, source: Source, seed: int) -> tuple[str, pyarrow.Table, Features]:
    """A part's (split's name, rows, features). Each part has a seed of its own."""
    config, name = part.named(source.names, source.default)
    split = part.split or name
    given = f"{seed}/{part.config}/{split}".encode()
    own = int.from_bytes(hashlib.sha256(given).digest()[:4], "big")
    try:
        rows = source.open(config, name)
        table, places = _chosen(part, rows, source, own)
        table, features = media.shrink(table, rows.features, places, part.wish)
        return split, *_stored(table, features, split)
    except Fault as fault:
        raise part.place(fault) from None


def _stored(table: pyarrow.Table, features: Features, name: str) -> tuple[pyarrow.Table, Features]:
    """A table with its columns of times as Parquet keeps them."""
    from datasets import Features

    stored = kept(features)
    for place, column in enumerate(features):
        if features[column] != stored[column]:
            cast = caster(Features({column: stored[column]}))
            made = cast(table.select([column]), name, 0)
            table = table.set_column(place, made.field(0), made.column(0))
    return table, stored


def _chosen(
    part: Part, rows: Split, source: Source, seed: int
) -> tuple[pyarrow.Table, tuple[Place, ...]]:
    known = source.chosen.get(part.made)  # when it was fetched
    return select.select(rows, part.wish if known is None else {"rows": known}, seed)


def _expanded(
    section: Mapping[str, Any], config: str, table: pyarrow.Table, features: Features
) -> Iterator[tuple[str, pyarrow.Table]]:
    """(config, rows) of what is made of one part's rows."""
    if "expand" not in section:
        yield config, table
    for how in section.get("expand", ()):
        yield how, expand(table, features, how)


def _write(target: Path, table: pyarrow.Table, features: Features) -> None:
    """A Parquet file whose schema says the features.

    With a dictionary for media, too: 10,000 rows of ten images are 0.1 MB so, and 4 MB as
    Dataset.to_parquet writes them.
    """
    import pyarrow.parquet

    target.parent.mkdir(parents=True, exist_ok=True)
    rows = max(GROUP, -(-table.num_rows // GROUPS))
    pyarrow.parquet.write_table(table.cast(features.arrow_schema), target, row_group_size=rows)


def _version(files: Mapping[str, Mapping[str, Path]]) -> str:
    """A version that says what the files hold, as x.y.z.

    load_dataset caches a folder's rows by the folder's name, config and version alone: without one
    of their own, two bundles would give each other's rows.
    """
    digest = hashlib.sha256()
    for splits in files.values():
        for path in splits.values():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    numbers = digest.digest()
    return f"1.{int.from_bytes(numbers[:4], 'big')}.{int.from_bytes(numbers[4:8], 'big')}"


def _type(feature: Any) -> str:
    return str(getattr(feature, "dtype", type(feature).__name__))
