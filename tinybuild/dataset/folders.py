"""Rows of folders of images or sounds, and of WebDataset tars, as the datasets library has them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild.dataset.archives import KEY, Bytes, Meter, check_zip, members, reason
from tinybuild.dataset.rows import Config, Open, Shard, Split
from tinybuild.errors import BuildFault, Fault, PackageFault
from tinybuild.features import replaced

if TYPE_CHECKING:
    import pyarrow
    from datasets import DatasetBuilder, Features
    from datasets.data_files import DataFilesDict
    from datasets.features.features import FeatureType
    from datasets.packaged_modules.webdataset.webdataset import WebDataset

# Media is embedded: a table of so many rows is in memory at once.
ROWS = 16
# A WebDataset's features are those of so many of its first rows.
INFERRED = 5
# What the library's decoders of a row's files raise for what is not as it should be.
BROKEN = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    RecursionError,
)


def folder(config: Config, split: str, how: Open) -> Split:
    """A split of an imagefolder or audiofolder.

    A shard is a metadata file, where there are any; else one file, or a zip of files. The labels
    are those of all splits, as the library takes them.
    """
    from datasets.download import StreamingDownloadManager
    from datasets.packaged_modules.audiofolder.audiofolder import AudioFolder
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
    from datasets.streaming import extend_dataset_builder_for_streaming

    place = how.place
    for name in sorted({name for names in config.splits.values() for name in names}):
        if name.lower().endswith(".zip"):
            check_zip(place / name, name, how.most)
    kind = ImageFolder if config.module == "imagefolder" else AudioFolder
    builder = kind(
        cache_dir=str(how.scratch / "cache"),
        data_files=_data_files(place, config.splits),
        features=config.features,
        **config.options,
    )
    extend_dataset_builder_for_streaming(builder)
    shorten = _Shorten(place)
    try:
        made = builder._split_generators(StreamingDownloadManager())
    except IndexError:
        raise BuildFault.of(
            "the folder's metadata files have no rows", key=KEY, hint="fill them, or leave them out"
        ) from None
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise BuildFault.of(
            f"the folder's metadata cannot be read: {shorten(reason(error))}",
            key=KEY,
            hint="a metadata file has a row for each file, and its name in the column file_name",
        ) from None
    reader = _Reader(builder=builder, features=builder.info.features, shorten=shorten)
    parts = next(part.gen_kwargs for part in made if part.name == split)
    shards = []
    if parts["add_metadata"]:
        # The library keeps them in a set: their order would be another each time.
        for entry in sorted(parts["metadata_files"], key=lambda entry: entry[2]):
            kwargs = {**parts, "files": (), "metadata_files": [entry]}
            shards.append(reader.shard(kwargs, shorten(entry[2]), None))
    else:
        for original, inside, downloaded in parts["files"]:
            rows = 1 if inside is None else None
            # Given the archive's name too, the library takes its folder's for the label.
            named = original if inside is None else None
            kwargs = {**parts, "files": ((named, inside, downloaded),)}
            shards.append(reader.shard(kwargs, shorten(original), rows))
    if not shards:
        what = f"split {split!r} of the source has no rows"
        raise BuildFault.of(what, key=KEY, hint="fill its files, or ask for another split")
    return Split(shards=tuple(shards), features=reader.features)


class _Shorten:
    """Takes the folder's place out of what the library says: "zip://b.png::/home/x/a.zip" too."""

    def __init__(self, place: Path) -> None:
        self.place = str(place)

    def __call__(self, text: str) -> str:
        text = text.replace(self.place + "/", "").replace(self.place, ".")
        if text.startswith("zip://") and "::" in text:
            member, _, archive = text.removeprefix("zip://").rpartition("::")
            return f"{archive}!{member}"
        return text


def _data_files(place: Path, splits: Mapping[str, Sequence[str]]) -> DataFilesDict:
    """Files by name: as patterns, "[1].png" would not be found."""
    from datasets.data_files import DataFilesDict, DataFilesList

    return DataFilesDict(
        {
            split: DataFilesList([str(place / name) for name in names], [(name,) for name in names])
            for split, names in splits.items()
        }
    )


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads rows as the library's reader gives them, which a builder holds."""

    builder: DatasetBuilder
    features: Features
    shorten: _Shorten

    def shard(self, kwargs: Mapping[str, object], name: str, rows: int | None) -> Shard:
        """What the builder generates with these arguments."""

        def read(start: int) -> Iterator[pyarrow.Table]:
            examples = self.builder._generate_examples(**kwargs)
            rows = self._rows(examples, name)
            after = itertools.islice(rows, start, None)
            number = start
            # Media in a row of files is a file's path, which the library has checked.
            while kept := list(itertools.islice(after, ROWS)):
                yield self.embedded(kept, name, number, "files" in kwargs)
                number += len(kept)

        return Shard(name=name, rows=rows, read=read)

    def _rows(
        self, examples: Iterator[tuple[object, dict[str, object]]], name: str
    ) -> Iterator[dict[str, object]]:
        number = 0
        while True:
            number += 1
            try:
                example = next(examples, None)
            except ImportError as error:
                what, package = f"{name}, row {number:,}", error.name or str(error)
                raise PackageFault.lacking(what, package, KEY) from None
            except BROKEN as error:
                raise self._bad_row(name, number, error) from None
            if example is None:
                return
            if extra := sorted(set(example[1]) - set(self.features)):
                raise BuildFault.of(
                    f"{name}, row {number:,}: has {extra[0]!r}; the first rows do not have it",
                    key=KEY,
                    hint="all rows have the same files and columns",
                )
            yield example[1]

    def embedded(
        self, rows: list[dict[str, object]], name: str, first: int, names_files: bool
    ) -> pyarrow.Table:
        """A table of rows with the media's bytes in it, and its files' bare names."""
        import pyarrow

        # The library's own encoder of sounds wants torchcodec, only to hand the bytes on.
        stored, schema = replaced(self.features, _stored), self.features.arrow_schema
        encoded = []
        for number, row in enumerate(rows, first + 1):
            try:
                encoded.append(stored.encode_example(_filled(self.features, row, names_files)))
                pyarrow.Table.from_pylist(encoded[-1:], schema=schema)
            except (*BROKEN, pyarrow.ArrowException) as error:
                raise self._bad_row(name, number, error) from None
        return pyarrow.Table.from_pylist(encoded, schema=schema)

    def _bad_row(self, name: str, row: int, error: Exception) -> Fault:
        if isinstance(error, FileNotFoundError):
            missing = error.filename or str(error)
            what = f"names the file {self.shorten(str(missing))}, which is not there"
            hint = "file_name is relative to the metadata file's folder"
        elif str(error).startswith("Invalid metadata file_name"):
            what, hint = "names a file outside of the metadata file's folder", "copy the file there"
        else:
            what, hint = f"cannot be read: {self.shorten(reason(error))}", ""
        return BuildFault.of(f"{name}, row {row:,}: {what}", key=KEY, hint=hint)


def _is_media(feature: FeatureType) -> bool:
    from datasets import Audio, Image

    return isinstance(feature, Image | Audio)


def _stored(feature: FeatureType) -> FeatureType | None:
    """What media is stored as; None for other features."""
    from datasets import Value

    return {"bytes": Value("binary"), "path": Value("string")} if _is_media(feature) else None


def _filled(feature: Any, value: Any, names_files: bool) -> Any:
    """The value with the bytes of the media files that it names."""
    from datasets.utils.file_utils import xopen

    if value is None:
        return None
    if _is_media(feature):
        if isinstance(value, str):
            if not names_files:
                raise ValueError("media is not in the row")
            with xopen(value, "rb") as file:
                # In a zip ("zip://x.png::a.zip") too.
                return {"bytes": file.read(), "path": os.path.basename(value.split("::")[0])}
        return {"bytes": value["bytes"], "path": os.path.basename(value["path"])}
    if isinstance(feature, Mapping):
        return {key: _filled(inner, value.get(key), names_files) for key, inner in feature.items()}
    inner = getattr(feature, "feature", None)
    if isinstance(value, list) and inner is not None:
        return [_filled(inner, item, names_files) for item in value]
    return value


@dataclass(frozen=True, kw_only=True)
class Tar:
    """A WebDataset: what the library iterates, each time from the start, and the part of a download
    manager that its reader uses."""

    how: Open
    name: str

    def __iter__(self) -> Iterator[tuple[str, Bytes]]:
        meter = Meter(most=self.how.most)
        for name, stream in members(self.how.place / self.name, self.name, meter=meter):
            if name.lower().endswith(".pth"):
                raise BuildFault.of(
                    f"{self.name}!{name} is a pickle of torch's, which is never loaded",
                    key=KEY,
                    hint="leave such files out of the archive",
                )
            if not os.path.basename(name).startswith("."):
                yield name, stream

    def download(self, data_files: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        return {split: [self.name] for split in data_files}

    def iter_archive(self, name: str) -> Tar:
        return self


def _webdataset(tar: Tar, declared: Features | None) -> tuple[WebDataset, dict[str, object]]:
    """The library's reader of one tar, and what its generator takes."""
    from datasets.packaged_modules.webdataset.webdataset import WebDataset

    builder = WebDataset(
        cache_dir=str(tar.how.scratch / "cache"),
        data_files=_data_files(tar.how.place, {"train": [tar.name]}),
    )
    if declared is not None:
        builder.info.features = declared
    if not any("." in os.path.basename(member) for member, _ in tar):
        raise BuildFault.of(
            f"{tar.name} has no rows",
            key=KEY,
            hint="its files are texts, JSON or CSV (.txt, .jsonl, .csv), or a WebDataset "
            "(000.jpg, 000.json, 001.jpg ...)",
        )
    try:
        (part,) = builder._split_generators(tar)
    except ImportError as error:
        raise PackageFault.lacking(tar.name, error.name or str(error), KEY) from None
    except BROKEN as error:
        raise BuildFault.of(
            f"{tar.name}: its first rows cannot be read: {reason(error)}", key=KEY
        ) from None
    return builder, part.gen_kwargs


def webdataset_schema(tar: Tar) -> pyarrow.Schema:
    builder, _ = _webdataset(tar, None)
    return builder.info.features.arrow_schema


def webdataset(tar: Tar, features: Features) -> Shard:
    builder, kwargs = _webdataset(tar, features)
    reader = _Reader(builder=builder, features=features, shorten=_Shorten(tar.how.place))
    return reader.shard(kwargs, tar.name, None)
