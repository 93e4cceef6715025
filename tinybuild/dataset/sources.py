"""The rows of a folder or file, in any format that the datasets library reads here."""

from __future__ import annotations

import itertools
import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tinybuild.dataset import discover, formats
from tinybuild.dataset.archives import KEY, is_archive
from tinybuild.dataset.card import carried
from tinybuild.dataset.formats import FORMATS, File
from tinybuild.dataset.rows import Config, Open, Shard, Source, Split
from tinybuild.dataset.schemas import storable, together
from tinybuild.dataset.suffixes import CARDS, LAYOUT
from tinybuild.errors import BuildFault, did_you_mean
from tinybuild.files import POINTER, PULL, is_pointer
from tinybuild.paths import Data, Json
from tinybuild.reading import each, reading

if TYPE_CHECKING:
    import pyarrow

GIGABYTE = 10**9
IMPLIED = {"sep": "csv", "field": "json"}  # an option of a reader -> the format that it is of
# Format -> the options that a recipe may say for its reader.
READERS = {"csv": ("sep", "encoding"), "json": ("field", "encoding"), "text": ("encoding",)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """sample_by: what a row of text is. max_read: bytes unpacked of one archive at most. files: the
    names that count; others are as if they were not there. said: what a recipe says of them:
    data_files, format, and the options of their reader (READERS)."""

    sample_by: str | None = None
    max_read: int | None = None
    files: Sequence[str] | None = None
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> str | None:
        """The format of all files, where the recipe says it."""
        implied = next((kind for key, kind in IMPLIED.items() if key in self.said), None)
        told: str | None = self.said.get("format", implied)
        return told

    @property
    def reader(self) -> Mapping[str, str]:
        """The options of the files' reader."""
        return {key: self.said[key] for key in ("sep", "encoding", "field") if key in self.said}


def open_folder(place: Path, *, scratch: Path, options: Options) -> Source:
    """What a folder, or one file, holds as load_dataset sees it; the rows are read later, in place.

    `scratch`: an empty folder for what readers leave; it must last as long as the source is read. A
    folder's layout.json, where a part of a repository was fetched to it, says everything. Raises
    BuildFault.
    """
    place = place.absolute()
    how = Open(
        place=place if place.is_dir() else place.parent,
        scratch=scratch.resolve(),
        sample_by=options.sample_by,
        most=options.max_read or GIGABYTE,
    )
    if (place / LAYOUT).is_file():
        said = json.loads((place / LAYOUT).read_text(encoding="utf-8"))
        configs = {name: _config(place, config) for name, config in said["configs"].items()}
        default, about = said.get("default"), carried(said.get("about") or {})
        chosen = said.get("rows") or {}
    else:
        with discover.contents(Folder(place, how, options), how.scratch) as contents:
            configs = {name: contents.config(name) for name in contents}
            _readable(configs.values(), options)
            default, about, chosen = contents.default, contents.about(), {}

    def open_split(config: str, split: str) -> Split:
        if config not in configs:
            raise BuildFault.of(
                f"the source has no config {config!r}",
                key=("dataset", "source", "config"),
                hint=did_you_mean(config, configs),
            )
        if split not in configs[config].splits:
            raise BuildFault.of(
                f"config {config!r} of the source has no split {split!r}",
                key=("dataset", "source", "split"),
                hint=did_you_mean(split, configs[config].splits),
            )
        made = _split(configs[config], split, how)
        if not (place / LAYOUT).is_file():
            _separated(configs[config], made)
        return made

    return Source(
        names={name: tuple(config.splits) for name, config in configs.items()},
        open=open_split,
        default=default,
        about=about,
        chosen=chosen,
    )


def _config(place: Path, said: Mapping[str, Any]) -> Config:
    from datasets import Features

    for file in itertools.chain.from_iterable(said["splits"].values()):
        _regular(place, file)
    features = said.get("features")
    return Config(
        module=said["module"],
        options=said.get("options") or {},
        features=None if features is None else Features.from_dict(features),
        splits={split: tuple(files) for split, files in said["splits"].items()},
    )


# --- the files of a folder ------------------------------------------------------------------------


class Folder:
    """A folder's files, or one file, as `discover` wants them."""

    label = "the dataset's source"
    strict = True

    def __init__(self, place: Path, how: Open, options: Options):
        self.place = how.place
        self.about: Data = {}
        said = options.said.get("data_files")
        split = {"train": said} if isinstance(said, str | list) else said or {}
        files = {name: _matching(how.place, patterns) for name, patterns in split.items()}
        chosen = [*itertools.chain.from_iterable(files.values())]
        self.names: Sequence[str] = _files(place, options, chosen)
        self.own: Mapping[str, str] = {
            name: module
            for name in self.names
            if name not in CARDS and (module := options.format or _own(name, how)) is not None
        }
        self.configs: Sequence[Data] = ()
        if files or options.reader or options.format:
            config: dict[str, Json] = {"config_name": "default", **options.reader}
            if files:
                config["data_files"] = [{"split": s, "path": names} for s, names in files.items()]
            self.configs = (config,)

    def called(self, name: str) -> str:
        return name

    def text(self, name: str) -> str:
        return (self.place / name).read_text(encoding="utf-8")

    def put(self, name: str, target: Path) -> None:
        target.symlink_to(self.place / name)


def _matching(place: Path, patterns: str | list[str]) -> list[str]:
    """The files below a folder that are as patterns say, sorted."""
    wanted = [patterns] if isinstance(patterns, str) else patterns
    key = ("dataset", "source", "data_files")
    names = set[str]()
    for pattern in wanted:
        found = {path.relative_to(place).as_posix() for path in place.glob(pattern)}
        if not found:
            what = f"data_files: no file of the folder is as {pattern!r} says"
            raise BuildFault.of(what, key=key)
        names |= found
    return sorted(names)


def _readable(configs: Iterable[Config], options: Options) -> None:
    """Refuse options that the files' reader does not have."""
    for config in configs:
        for key in options.reader:
            if key not in READERS.get(config.module, ()):
                what = f"the source's files are {config.module}, whose reader has no {key}"
                raise BuildFault.of(what, key=(*KEY, key), hint=f"delete {key}")


def _separated(config: Config, split: Split) -> None:
    """Refuse CSV of one column whose header says that something else than a comma stands between
    the values."""
    header, *more = split.features
    sep = next((mark for mark in (";", "\t", "|") if mark in header), None)
    if config.module == "csv" and not more and sep is not None and "sep" not in config.options:
        what = f"{split.shards[0].name} has one column, {header!r}"
        hint = f"say what stands between its values: dataset.source.sep: {json.dumps(sep)}"
        raise BuildFault.of(what, key=KEY, hint=hint)


def _own(name: str, how: Open) -> str | None:
    """The format of a file that the library would not look into."""
    if not is_archive(name):
        return formats.own(name)
    tar = None if name.lower().endswith(".zip") else "webdataset"
    return "archive" if formats.hold_texts(how, name) else tar


def _files(place: Path, options: Options, chosen: Sequence[str]) -> list[str]:
    """The files that count, sorted: no hidden ones, none in hidden folders, no code; those that a
    recipe chose, where it did."""
    folder, names = place, [] if place.is_dir() else [place.name]
    if not place.is_dir():
        folder = place.parent
    for where, dirs, files in os.walk(place):
        dirs[:] = sorted(name for name in dirs if not name.startswith((".", "__")))
        names += [(Path(where) / name).relative_to(place).as_posix() for name in files]
    said = options.format is not None
    kept = [
        name
        for name in sorted(names)
        if (name in CARDS or (name in chosen if chosen else formats.counts(name, said)))
        and (options.files is None or name in options.files)
    ]
    for name in kept:
        _regular(folder, name)
    if not set(kept) - set(CARDS):
        raise discover.nothing(Folder.label, names)
    return kept


def _regular(folder: Path, name: str) -> None:
    """Refuse what is not a file below the folder: a device, a link that leads out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise BuildFault.of(f"{name}: leads out of the dataset's folder", key=KEY)
    where = folder / name
    try:
        mode = where.stat().st_mode
        inside = where.resolve().is_relative_to(folder.resolve())
    except OSError as error:
        raise BuildFault.of(f"{name}: {error.strerror}", key=KEY) from None
    if not stat.S_ISREG(mode):
        raise BuildFault.of(f"{name}: is not a regular file", key=KEY, hint="leave it out")
    if not inside:
        raise BuildFault.of(
            f"{name}: is a link out of the dataset's folder", key=KEY, hint="copy the file there"
        )
    if is_pointer(where):
        raise BuildFault.of(f"{name}: {POINTER}", key=KEY, hint=PULL)


# --- splits ---------------------------------------------------------------------------------------


def _watched(shard: Shard) -> Shard:
    """A shard, whose file is named whatever goes wrong as its rows are read."""
    return replace(shard, read=lambda start: each(shard.read(start), shard.name, *KEY))


def _split(config: Config, split: str, how: Open) -> Split:
    files, entry = config.splits[split], FORMATS[config.module]
    if not files:
        raise BuildFault.of(f"split {split!r} of the source has no files", key=KEY)
    if entry.split is not None:
        return entry.split(config, split, how)
    assert entry.schema is not None
    assert entry.shard is not None
    opened = [File(config=config, name=name, how=how) for name in files]
    schemas: list[tuple[File, pyarrow.Schema]] = []
    for file in opened:
        with reading(file.name, *KEY):
            schema = entry.schema(file)
        if schema is not None:
            schemas.append((file, schema))
    if schemas:
        features = config.features
        if features is None:
            features = together(config.module, [(file.name, schema) for file, schema in schemas])
        features = storable(features)
        shards = tuple(_watched(entry.shard(file, features)) for file, _ in schemas)
        if any(shard.rows != 0 for shard in shards):
            return Split(shards=shards, features=features)
    what = f"split {split!r} of the source has no rows: {files[0]}"
    raise BuildFault.of(what, key=KEY, hint="fill its files, or ask for another split")
