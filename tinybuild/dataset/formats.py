"""The formats of datasets: each says all of itself in one entry of a table."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from tinybuild.dataset import columnar, folders, lines, suffixes
from tinybuild.dataset.archives import (
    KEY,
    Bytes,
    Meter,
    inner_name,
    is_archive,
    is_packed,
    leaves,
    members,
)
from tinybuild.dataset.rows import Config, Open, Shard, Split
from tinybuild.dataset.schemas import caster
from tinybuild.errors import BuildFault

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a config."""

    config: Config
    name: str
    how: Open

    @property
    def path(self) -> Path:
        return self.how.place / self.name

    @property
    def tar(self) -> folders.Tar:
        return folders.Tar(how=self.how, name=self.name)


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format: everything that anybody asks of it.

    schema: a file's own schema, None where it has no rows. shard: its rows in the features of the
    split. split: for formats whose files are read together, instead of these. of_rows: whether its
    files hold rows, and are not media. suffixes: of its files, if the datasets library does not
    know them. part: what is fetched of files that are read by ranges, where that is less than the
    files as a whole: row groups, the first lines, or the first members of tars; or all of the
    files, where one row depends on all.
    """

    schema: Callable[[File], pyarrow.Schema | None] | None = None
    shard: Callable[[File, Features], Shard] | None = None
    split: Callable[[Config, str, Open], Split] | None = None
    of_rows: bool = False
    suffixes: tuple[str, ...] = ()
    part: Literal["groups", "lines", "members", "all", ""] = ""


def own(name: str) -> str | None:
    """The format of a file that the datasets library does not know, by its suffix."""
    return next((f for f, entry in FORMATS.items() if name.lower().endswith(entry.suffixes)), None)


@functools.cache
def _suffixes() -> frozenset[str]:
    """The suffixes of all formats' files."""
    from datasets.packaged_modules import _MODULE_TO_EXTENSIONS

    known = [*itertools.chain.from_iterable(entry.suffixes for entry in FORMATS.values())]
    for module in FORMATS:
        known += _MODULE_TO_EXTENSIONS.get(module, ())
    return frozenset(known)


def counts(name: str, whatever: bool = False) -> bool:
    """Whether a file may hold data, by its name: neither hidden, nor about the data, nor code; of a
    known suffix, unless its format is said elsewhere (`whatever`)."""
    path = PurePosixPath(name)
    known = {suffix.lower() for suffix in path.suffixes} & _suffixes()
    base = path.name
    beside = base.startswith((".", "_")) or base in suffixes.BESIDE or suffixes.is_about(base)
    return not beside and bool(whatever or known or is_packed(name))


def hold_texts(how: Open, name: str) -> bool:
    """Whether an archive holds text or JSON lines, or archives of them, and no WebDataset."""
    path, meter = how.place / name, Meter(most=how.most)
    if name.lower().endswith(".zip"):
        within = leaves(path, name, meter=meter, scratch=how.scratch)
        names = [leaf.rpartition("!")[2] for leaf, _ in itertools.islice(within, suffixes.LOOK)]
    else:
        inside = members(path, name, meter=meter)
        names = [member for member, _ in itertools.islice(inside, suffixes.LOOK)]
    return suffixes.are_texts(names)


# --- files of lines, and archives of them ---------------------------------------------------------


def _lines_schema(file: File) -> pyarrow.Schema | None:
    for reading, stream in _streams(file):
        schema = lines.schema(reading, stream)
        if schema is not None:
            return schema
    return None


def _lines_shard(file: File, features: Features) -> Shard:
    def read(start: int) -> Iterator[pyarrow.Table]:
        left = start
        for table in _tables(file, features):
            if left >= table.num_rows:
                left -= table.num_rows
                continue
            yield table.slice(left)
            left = 0

    return Shard(name=file.name, rows=None, read=read)


def _tables(file: File, features: Features) -> Iterator[pyarrow.Table]:
    streams = _streams(file)
    first = next(streams, None)
    if first is None:
        return
    streams, options = itertools.chain([first], streams), first[0].options
    plain = not {"encoding", "encoding_errors"} & set(options)
    if first[0].module == "text" and options.get("sample_by") == "document" and plain:
        named = ((reading.name, stream) for reading, stream in streams)
        yield from lines.documents(named, features, file.how.most)
        return
    declared = file.config.features is not None
    for reading, stream in streams:
        yield from lines.tables(reading, stream, features, declared)


def _streams(file: File) -> Iterator[tuple[lines.Reading, Bytes]]:
    """How it is read, and the bytes, of a file, or of each file in an archive."""
    how, name = file.how, file.name
    packed, first = is_archive(name), None
    for shown, stream in leaves(file.path, name, meter=Meter(most=how.most), scratch=how.scratch):
        module = suffixes.lines(shown) if packed else file.config.module
        if module is None or (packed and (suffixes.is_hidden(shown) or suffixes.is_about(shown))):
            continue
        first = first or (shown, module)
        if module != first[1]:
            raise BuildFault.of(
                f"{name} holds files of more than one format: {first[0]}, {shown}", key=KEY
            )
        options = _options(file, shown)
        reading = lines.Reading(
            module=module, name=shown, options=options, scratch=how.scratch, most=how.most
        )
        yield reading, stream


def _options(file: File, shown: str) -> Mapping[str, object]:
    options = dict(file.config.options)
    if file.how.sample_by is not None:
        options["sample_by"] = file.how.sample_by
    elif "!" in shown:
        options.setdefault("sample_by", "document")
    if suffixes.lines(shown) == "csv" or file.config.module == "csv":
        options.pop("sample_by", None)
        if inner_name(shown).endswith(".tsv"):
            options.setdefault("sep", "\t")
    return options


# --- the table ------------------------------------------------------------------------------------


def _plain(read: Callable[[Path, str], pyarrow.Schema]) -> Callable[[File], pyarrow.Schema]:
    def schema(file: File) -> pyarrow.Schema:
        if is_packed(file.name):
            raise BuildFault.of(
                f"{file.name} holds {file.config.module} files, which are not read out of archives",
                key=KEY,
                hint="unpack it yourself, and give the folder",
            )
        return read(file.path, file.name)

    return schema


_LINES = Format(schema=_lines_schema, shard=_lines_shard, of_rows=True, part="lines")
_MEDIA = Format(split=folders.folder, part="all")
FORMATS: Mapping[str, Format] = {
    "parquet": Format(
        schema=_plain(columnar.parquet_schema),
        shard=lambda file, fits: columnar.parquet(file.path, file.name, caster(fits)),
        of_rows=True,
        part="groups",
    ),
    "arrow": Format(
        schema=_plain(columnar.arrow_schema),
        shard=lambda file, fits: columnar.arrow(file.path, file.name, caster(fits)),
        of_rows=True,
    ),
    "json": _LINES,
    "csv": _LINES,
    "text": _LINES,
    "archive": Format(schema=_lines_schema, shard=_lines_shard, of_rows=True, part="members"),
    "imagefolder": _MEDIA,
    "audiofolder": _MEDIA,
    "webdataset": Format(
        schema=lambda file: folders.webdataset_schema(file.tar),
        shard=lambda file, fits: folders.webdataset(file.tar, fits),
        part="members",
    ),
}
