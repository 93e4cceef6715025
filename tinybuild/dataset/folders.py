"""Rows of folders of images or sounds, and of WebDataset tars, as the datasets library has them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tinybuild.dataset.archives import KEY, Meter, check_zip, members, reason
from tinybuild.dataset.rows import Shard
from tinybuild.errors import BuildFault, Fault, PackageFault

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features

# Media is embedded: a table of so many rows is in memory at once.
ROWS = 16
# What the library's decoders of a row's files raise for what is not as it should be.
BROKEN = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    RecursionError,
)


def folder(
    module: str,
    place: Path,
    splits: Mapping[str, Sequence[str]],
    split: str,
    options: Mapping[str, Any],
    declared: Features | None,
    scratch: Path,
    most: int,
) -> tuple[Features, tuple[Shard, ...]]:
    """The features and shards of a split of an imagefolder or audiofolder.

    A shard is a metadata file, where there are any; else one file, or a zip of files. The labels
    are those of all splits, as the library takes them.
    """
    from datasets.download import StreamingDownloadManager
    from datasets.packaged_modules.audiofolder.audiofolder import AudioFolder
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
    from datasets.streaming import extend_dataset_builder_for_streaming

    for name in sorted({name for names in splits.values() for name in names}):
        if name.lower().endswith(".zip"):
            check_zip(place / name, name, most)
    kind = ImageFolder if module == "imagefolder" else AudioFolder
    builder = kind(
        cache_dir=str(scratch / "cache"),
        data_files=_data_files(place, splits),
        features=declared,
        **options,
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
    features = builder.info.features
    parts = next(part.gen_kwargs for part in made if part.name == split)
    shards = []
    if parts["add_metadata"]:
        # The library keeps them in a set: their order would be another each time.
        for entry in sorted(parts["metadata_files"], key=lambda entry: entry[2]):
            kwargs = {**parts, "files": (), "metadata_files": [entry]}
            name = shorten(entry[2])
            shards.append(_shard(builder, features, kwargs, name, None, shorten))
    else:
        for original, inside, downloaded in parts["files"]:
            name = shorten(original)
            rows = 1 if inside is None else None
            # Given the archive's name too, the library takes its folder's for the label.
            named = original if inside is None else None
            kwargs = {**parts, "files": ((named, inside, downloaded),)}
            shards.append(_shard(builder, features, kwargs, name, rows, shorten))
    return features, tuple(shards)


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


def _data_files(place: Path, splits: Mapping[str, Sequence[str]]) -> Any:
    """Files by name: as patterns, "[1].png" would not be found."""
    from datasets.data_files import DataFilesDict, DataFilesList

    return DataFilesDict(
        {
            split: DataFilesList([str(place / name) for name in names], [(name,) for name in names])
            for split, names in splits.items()
        }
    )


def _shard(
    builder: Any,
    features: Features,
    kwargs: Mapping[str, Any],
    name: str,
    rows: int | None,
    shorten: _Shorten,
) -> Shard:
    def read(start: int) -> Iterator[pyarrow.Table]:
        examples = builder._generate_examples(**kwargs)
        return _tables(examples, features, name, start, shorten, "files" in kwargs)

    return Shard(name=name, rows=rows, read=read)


def _tables(
    examples: Iterator[tuple[Any, dict[str, Any]]],
    features: Features,
    name: str,
    start: int,
    shorten: _Shorten,
    names_files: bool,
) -> Iterator[pyarrow.Table]:
    """`names_files`: media is a file's path, which the library has checked."""
    kept: list[dict[str, Any]] = []
    number = 0
    while True:
        try:
            example = next(examples, None)
        except ImportError as error:
            raise PackageFault.of(
                f"{name}, row {number + 1:,}: to read it needs the package {error.name}", key=KEY
            ) from None
        except BROKEN as error:
            raise _bad_row(name, number + 1, error, shorten) from None
        if example is not None:
            number += 1
            if number > start:
                row = example[1]
                if extra := sorted(set(row) - set(features)):
                    raise BuildFault.of(
                        f"{name}, row {number:,}: has {extra[0]!r}, which the first rows have not",
                        key=KEY,
                        hint="all rows have the same files and columns",
                    )
                kept.append(row)
        if kept and (example is None or len(kept) == ROWS):
            yield _embedded(kept, features, name, number - len(kept), shorten, names_files)
            kept = []
        if example is None:
            return


def _embedded(
    rows: list[dict[str, Any]],
    features: Features,
    name: str,
    first: int,
    shorten: _Shorten,
    names_files: bool,
) -> pyarrow.Table:
    """A table of rows with the media's bytes in it, and its files' bare names."""
    import pyarrow
    from datasets import Features

    # The library's own encoder of sounds wants torchcodec, only to hand the bytes on.
    stored = Features(_stored(features))
    encoded = []
    for number, row in enumerate(rows, first + 1):
        try:
            encoded.append(stored.encode_example(_filled(features, row, names_files)))
            pyarrow.Table.from_pylist(encoded[-1:], schema=features.arrow_schema)
        except (*BROKEN, pyarrow.ArrowException) as error:
            raise _bad_row(name, number, error, shorten) from None
    return pyarrow.Table.from_pylist(encoded, schema=features.arrow_schema)


def _is_media(feature: Any) -> bool:
    from datasets import Audio, Image

    return isinstance(feature, Image | Audio)


def _stored(feature: Any) -> Any:
    """The feature with what media is stored as instead of media."""
    from datasets import LargeList, List, Value

    if _is_media(feature):
        return {"bytes": Value("binary"), "path": Value("string")}
    if isinstance(feature, Mapping):
        return {key: _stored(inner) for key, inner in feature.items()}
    if isinstance(feature, List):
        return List(_stored(feature.feature), length=feature.length)
    return LargeList(_stored(feature.feature)) if isinstance(feature, LargeList) else feature


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


def _bad_row(name: str, row: int, error: Exception, shorten: _Shorten) -> Fault:
    if isinstance(error, FileNotFoundError):
        missing = error.filename or str(error)
        what = f"names the file {shorten(str(missing))}, which is not there"
        hint = "file_name is relative to the metadata file's folder"
    elif str(error).startswith("Invalid metadata file_name"):
        what, hint = "names a file outside of the metadata file's folder", "copy the file there"
    else:
        what, hint = f"cannot be read: {shorten(reason(error))}", ""
    return BuildFault.of(f"{name}, row {row:,}: {what}", key=KEY, hint=hint)


class _Tar:
    """What the library iterates, each time from the start: (name, stream) of the files in a tar."""

    def __init__(self, path: Path, name: str, most: int) -> None:
        self.path = path
        self.name = name
        self.most = most

    def __iter__(self) -> Iterator[tuple[str, IO[bytes]]]:
        for name, stream in members(self.path, self.name, meter=Meter(most=self.most)):
            if name.lower().endswith(".pth"):
                raise BuildFault.of(
                    f"{self.name}!{name} is a pickle of torch's, which is never loaded",
                    key=KEY,
                    hint="leave such files out of the archive",
                )
            if not os.path.basename(name).startswith("."):
                yield name, stream


class _Tars:
    """The part of a download manager that the WebDataset reader uses; names stay relative."""

    def __init__(self, place: Path, most: int) -> None:
        self.place = place
        self.most = most

    def download(self, data_files: Any) -> dict[str, list[str]]:
        return {
            split: [Path(name).relative_to(self.place).as_posix() for name in names]
            for split, names in data_files.items()
        }

    def iter_archive(self, name: str) -> _Tar:
        return _Tar(self.place / name, name, self.most)


def _webdataset(
    place: Path, name: str, declared: Features | None, scratch: Path, most: int
) -> tuple[Any, Any]:
    """The library's reader of one tar, and what its generator takes."""
    from datasets.packaged_modules.webdataset.webdataset import WebDataset

    builder = WebDataset(
        cache_dir=str(scratch / "cache"), data_files=_data_files(place, {"train": [name]})
    )
    if declared is not None:
        builder.info.features = declared
    if not any("." in os.path.basename(member) for member, _ in _Tar(place / name, name, most)):
        raise BuildFault.of(
            f"{name} has no rows",
            key=KEY,
            hint="its files are texts, JSON or CSV (.txt, .jsonl, .csv), or a WebDataset "
            "(000.jpg, 000.json, 001.jpg ...)",
        )
    try:
        (part,) = builder._split_generators(_Tars(place, most))
    except ImportError as error:
        raise PackageFault.of(f"{name}: to read it needs {error.name}", key=KEY) from None
    except BROKEN as error:
        raise BuildFault.of(
            f"{name}: its first rows cannot be read: {reason(error)}", key=KEY
        ) from None
    return builder, part.gen_kwargs


def webdataset_schema(place: Path, name: str, scratch: Path, most: int) -> pyarrow.Schema:
    builder, _ = _webdataset(place, name, None, scratch, most)
    return builder.info.features.arrow_schema


def webdataset(place: Path, name: str, features: Features, scratch: Path, most: int) -> Shard:
    builder, kwargs = _webdataset(place, name, features, scratch, most)
    return _shard(builder, features, kwargs, name, None, _Shorten(place))
