"""The rows of a folder or file, in any format that the datasets library reads here."""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from tinybuild.dataset import columnar, folders, lines
from tinybuild.dataset.archives import (
    KEY,
    Meter,
    inner_name,
    is_archive,
    is_packed,
    leaves,
    members,
    reason,
    suffix_of,
)
from tinybuild.dataset.card import carried
from tinybuild.dataset.rows import Shard, Source, Split
from tinybuild.dataset.schemas import caster, storable, together
from tinybuild.errors import BuildFault, did_you_mean

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features

LAYOUT = "layout.json"
# The readers of the datasets library that are used; "archive" is our own.
MODULES = ("parquet", "arrow", "json", "csv", "text", "imagefolder", "audiofolder", "webdataset")
FORMATS = ("parquet", "arrow", "json", "csv", "text", "archive")  # whose files are of rows
FOLDERS = ("imagefolder", "audiofolder")
# What an archive's files may be, where the library would not look into them.
LINES = {
    ".txt": "text",
    ".text": "text",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
}
# Files about the data, which a reader of text files would take for data.
ABOUT = re.compile(r"(readme|licen[cs]e|citation|changelog|notice|requirements)\b", re.IGNORECASE)
CARDS = ("README.md", "dataset_infos.json")
# What save_to_disk, and a build, leave beside the data.
BESIDE = (
    LAYOUT,
    "dataset_info.json",
    "dataset_dict.json",
    "state.json",
    "receipt.json",
    "provenance.json",
)
# How many files of an archive show what it is.
LOOK = 20
GIGABYTE = 10**9


@dataclass(frozen=True, kw_only=True)
class _Config:
    """A config's files and how they are read: what layout.json says of one."""

    module: str
    options: Mapping[str, Any]
    features: Features | None
    splits: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class _Open:
    """What every reader needs."""

    place: Path
    scratch: Path
    sample_by: str | None
    most: int


def open_folder(place: Path, *, scratch: Path, options: Mapping[str, Any]) -> Source:
    """What a folder, or one file, holds as load_dataset sees it; the rows are read later, in place.

    options: sample_by (what a row of text is), max_read (bytes unpacked of one archive at most),
    files (names that count; others are as if they were not there). `scratch`: an empty folder for
    what readers leave; it must last as long as the source is read. A folder's layout.json, where
    the Hub's files were fetched to it, says everything. Raises BuildFault.
    """
    place = place.absolute()
    how = _Open(
        place=place if place.is_dir() else place.parent,
        scratch=scratch.resolve(),
        sample_by=options.get("sample_by"),
        most=options.get("max_read") or GIGABYTE,
    )
    default: str | None
    about: Mapping[str, Any]
    chosen: Mapping[str, str] = {}
    if (place / LAYOUT).is_file():
        said = json.loads((place / LAYOUT).read_text(encoding="utf-8"))
        configs, default, about = _layout(place, said)
        chosen = said.get("rows") or {}
    else:
        configs, default, about = _discover(place, how, options.get("files"))

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
        return _split(configs[config], split, how)

    return Source(
        names={name: tuple(config.splits) for name, config in configs.items()},
        open=open_split,
        default=default,
        about=about,
        chosen=chosen,
    )


Found = tuple[dict[str, _Config], str | None, Mapping[str, Any]]


def _layout(place: Path, said: Mapping[str, Any]) -> Found:
    from datasets import Features

    configs = {}
    for name, config in said["configs"].items():
        features = config.get("features")
        for file in itertools.chain.from_iterable(config["splits"].values()):
            _regular(place, file)
        configs[name] = _Config(
            module=config["module"],
            options=config.get("options") or {},
            features=None if features is None else Features.from_dict(features),
            splits={split: tuple(files) for split, files in config["splits"].items()},
        )
    return configs, said.get("default"), carried(said.get("about") or {})


def _discover(place: Path, how: _Open, only: Sequence[str] | None) -> Found:
    """Ask the library what it would load from the files that count."""
    names = _files(place, only)
    card = _card(how.place) if "README.md" in names else {}
    archives = {name for name in names if is_archive(name) and _holds_lines(how, name)}
    scratch = how.scratch
    # The library takes the folder's own path for a pattern.
    home = None if glob.has_magic(str(scratch)) else scratch
    with tempfile.TemporaryDirectory(dir=home, prefix="view-") as view:
        links = {}
        for name in names:
            # To the library, an archive that it would not look into is one that it would.
            odd = name in archives and not name.lower().endswith(".tar") and "configs" not in card
            path = PurePosixPath(name)
            link = str(path.with_name(path.name.replace(".", "_") + ".tar")) if odd else name
            target = Path(view, link)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(how.place / name)
            links[link] = name
        try:
            with lines.silent("huggingface_hub.repocard"):
                return _ask(Path(view).resolve(), links, archives, how, card)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            text = reason(error).replace(str(Path(view).resolve()), ".").replace(view, ".")
            raise BuildFault.of(
                f"the dataset's source cannot be read: {text}", key=KEY, hint=_formats()
            ) from None


def _formats() -> str:
    return f"give files of one format: {', '.join(MODULES)}, or archives of text or JSON lines"


def _ask(
    view: Path, links: Mapping[str, str], archives: set[str], how: _Open, card: Mapping[str, Any]
) -> Found:
    import datasets

    cache = str(how.scratch / "cache")
    known: list[str | None] = [None]
    default = None
    if card or CARDS[1] in links:
        known = datasets.get_dataset_config_names(str(view))
        default = datasets.get_dataset_default_config_name(str(view))
    configs = {}
    about: dict[str, Any] = {}
    for wanted in known:
        # Each looks through the folder again, which takes 30 ms: without a card there is one.
        builder = datasets.load_dataset_builder(str(view), wanted, cache_dir=cache)
        name = wanted or "default"
        module = type(builder).__module__.rpartition(".")[2]
        splits = {}
        for split, files in (builder.config.data_files or {}).items():
            inside = [_below(view, file) for file in files]
            splits[str(split)] = tuple(_own(links, inside))
        files_of = set(itertools.chain.from_iterable(splits.values()))
        if files_of and files_of <= archives:
            module = "archive"
        # What the library would leave out without a word, or take for what it is not.
        ours = files_of if "configs" in card else set(links.values()) - set(CARDS)
        by_format = {_format(name, archives): name for name in sorted(ours, reverse=True)}
        by_format.pop(None, None)
        strange = set(by_format) - {module, "tsv" if module == "csv" else module}
        some = ", ".join(sorted(by_format.values()))
        if len(by_format) > 1:
            raise BuildFault.of(
                f"the dataset's source holds files of more than one format: {some}",
                key=KEY,
                hint=f"{_formats()}; or say in README.md's configs which of them count",
            )
        if strange and module in FORMATS:
            raise BuildFault.of(
                f"config {name!r} is read as {module}, as the first config is, and names {some}",
                key=KEY,
                hint="the configs of a folder are of one format",
            )
        if module not in (*MODULES, "archive"):
            raise BuildFault.of(
                f"config {name!r} is in a format that is not read here: {module}",
                key=KEY,
                hint=_formats(),
            )
        usual = type(builder.config)()
        config_options = {
            key: value
            for key, value in vars(builder.config).items()
            if key not in ("name", "version", "data_dir", "data_files", "description", "features")
            and value != getattr(usual, key, None)
        }
        configs[name] = _Config(
            module=module, options=config_options, features=builder.info.features, splits=splits
        )
        for key in ("license", "citation", "homepage"):
            if value := getattr(builder.info, key, None):
                about.setdefault(key, value)
    default = default or (next(iter(configs)) if len(configs) == 1 else None)
    return configs, default, carried({**about, **card})


def _own(links: Mapping[str, str], inside: Sequence[str]) -> Iterator[str]:
    for name in inside:
        if name not in links:
            raise BuildFault.of(
                f"README.md's configs name {name!r}, which is not a file of the folder", key=KEY
            )
        yield links[name]


def _below(view: Path, file: str) -> str:
    path = Path(file)
    if not path.is_relative_to(view) or ".." in path.parts:
        raise BuildFault.of(
            f"README.md's configs name a file outside of the folder: {path.name}",
            key=KEY,
            hint="data_files are relative to the folder, and below it",
        )
    return path.relative_to(view).as_posix()


def _card(folder: Path) -> dict[str, Any]:
    """The card's metadata, and the citation and homepage that its text has under such words."""
    import yaml
    from huggingface_hub import DatasetCard

    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
        with lines.silent("huggingface_hub.repocard"):  # "no metadata"
            card = DatasetCard(text, ignore_metadata_errors=False)
        said = dict(card.data.to_dict())
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise BuildFault.of(
            f"README.md: its metadata cannot be read: {reason(error)}", key=KEY
        ) from None
    for pattern in _patterns(said.get("configs")):
        # datasets would fetch what "hf://..." and "https://..." name.
        remote = "://" in pattern or "::" in pattern
        if remote or pattern.startswith("/") or ".." in pattern.split("/"):
            raise BuildFault.of(
                f"README.md's configs name a file outside of the folder: {_last(pattern)}",
                key=KEY,
                hint="data_files are relative to the folder, and below it",
            )
    cited = re.search(r"^#+[^\n]*citation[^\n]*\n+(`{3,})\w*\n(.*?)\n\1", text, FLAGS)
    if cited:
        said.setdefault("citation", cited[2])
    home = re.search(r"^[-*\s]*\**homepage:?\**:?\s*<?(https?://[^\s>)]+)", text, FLAGS)
    if home:
        said.setdefault("homepage", home[1])
    return said


def _patterns(configs: Any) -> Iterator[str]:
    """The texts in a card's data_files and data_dir, however deep."""
    for config in configs if isinstance(configs, list) else []:
        if isinstance(config, Mapping):
            yield from _texts([config.get("data_files"), config.get("data_dir")])


def _texts(said: Any) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    elif isinstance(said, list | Mapping):
        for part in said.values() if isinstance(said, Mapping) else said:
            yield from _texts(part)


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


FLAGS = re.IGNORECASE | re.MULTILINE | re.DOTALL


def _files(place: Path, only: Sequence[str] | None) -> list[str]:
    """The files that count, sorted: no hidden ones, none in hidden folders, no code."""
    from datasets.packaged_modules import _MODULE_TO_EXTENSIONS

    suffixes = {suffix for module in MODULES for suffix in _MODULE_TO_EXTENSIONS[module]}
    if not place.is_dir():
        found = [place.name]
        folder = place.parent
    else:
        folder = place
        found = []
        for where, dirs, names in os.walk(place):
            dirs[:] = sorted(name for name in dirs if not name.startswith((".", "__")))
            found += [(Path(where) / name).relative_to(place).as_posix() for name in names]
    allowed = None if only is None else set(only)
    kept = []
    for name in sorted(found):
        path = PurePosixPath(name)
        known = {suffix.lower() for suffix in path.suffixes} & suffixes
        data = (
            not path.name.startswith((".", "_"))
            and not ABOUT.match(path.name)
            and path.name not in BESIDE
            and (known or is_packed(name))
        )
        if (data or name in CARDS) and (allowed is None or name in allowed):
            _regular(folder, name)
            kept.append(name)
    if not set(kept) - set(CARDS):
        ends = sorted({PurePosixPath(name).suffix or name for name in found} - {".md", ".py"})
        what = f" ({', '.join(ends[:9])})" if ends else ""
        raise BuildFault.of(
            f"the dataset's source holds no file that can be read{what}", key=KEY, hint=_formats()
        )
    return kept


def _regular(folder: Path, name: str) -> None:
    """Refuse what is no file below the folder: a device, a link that leads out of it."""
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
        raise BuildFault.of(f"{name}: is no regular file", key=KEY, hint="leave it out")
    if not inside:
        raise BuildFault.of(
            f"{name}: is a link out of the dataset's folder", key=KEY, hint="copy the file there"
        )


def _hidden(name: str) -> bool:
    inner = name.rpartition("!")[2]
    return any(part.startswith((".", "__")) for part in inner.split("/"))


def _lines(name: str) -> str | None:
    """The format of a file in an archive, by its name, where each of its rows is a line or so."""
    return LINES.get(suffix_of(inner_name(name)))


def _format(name: str, archives: set[str]) -> str | None:
    """The format of a file of rows, by its name; None for others, as of media."""
    from datasets.packaged_modules import _EXTENSION_TO_MODULE

    if name in archives:
        return "archive"
    suffix = suffix_of(inner_name(name))
    module, _ = _EXTENSION_TO_MODULE.get(suffix, (None, {}))
    if suffix == ".tsv" or module not in FORMATS:
        return "tsv" if suffix == ".tsv" else None
    return str(module)


def _holds_lines(how: _Open, name: str) -> bool:
    """Whether an archive holds text or JSON lines, or archives of them, and no WebDataset."""
    from datasets.packaged_modules import _MODULE_TO_EXTENSIONS

    path = how.place / name
    if name.lower().endswith(".zip"):
        found = leaves(path, name, meter=Meter(most=how.most), scratch=how.scratch)
        names = [leaf.rpartition("!")[2] for leaf, _ in itertools.islice(found, LOOK)]
    else:
        within = members(path, name, meter=Meter(most=how.most))
        names = [member for member, _ in itertools.islice(within, LOOK)]
    names = [member for member in names if not _hidden(member)]
    keys = [re.sub(r"^((?:.*/|)[^.]+)[.].*$", r"\1", member) for member in names]
    grouped = len(set(keys)) < len(set(names))
    # Samples of one .json each are a WebDataset too, and its reader knows what to do with them.
    texts = [
        member
        for member in names
        if is_packed(member) or (_lines(member) and not member.endswith(".json"))
    ]
    # Some texts beside as many images or sounds say something of them (metadata.csv, labels.txt).
    media = {suffix for module in FOLDERS for suffix in _MODULE_TO_EXTENSIONS[module]} - {".zip"}
    beside = [member for member in names if suffix_of(member) in media]
    return not grouped and len(texts) > len(beside)


def _split(config: _Config, split: str, how: _Open) -> Split:
    files = config.splits[split]
    if not files:
        raise BuildFault.of(f"split {split!r} of the source has no files", key=KEY)
    if config.module in FOLDERS:
        features, shards = folders.folder(
            config.module,
            how.place,
            config.splits,
            split,
            config.options,
            config.features,
            how.scratch,
            how.most,
        )
        if not shards:
            raise BuildFault.of(f"split {split!r} of the source has no rows", key=KEY)
        return Split(shards=shards, features=features)
    schemas = [(name, _schema(config, name, how)) for name in files]
    some = [(name, schema) for name, schema in schemas if schema is not None]
    if not some:
        raise BuildFault.of(f"split {split!r} of the source has no rows: {files[0]}", key=KEY)
    features = config.features
    if features is None:
        features = together(config.module, some)
    features = storable(features)
    shards = tuple(_shard(config, name, features, how) for name, _ in some)
    if all(shard.rows == 0 for shard in shards):
        raise BuildFault.of(f"split {split!r} of the source has no rows: {files[0]}", key=KEY)
    return Split(shards=shards, features=features)


def _schema(config: _Config, name: str, how: _Open) -> pyarrow.Schema | None:
    """A file's own schema; None where it has no rows."""
    if config.module in ("parquet", "arrow"):
        if is_packed(name):
            raise BuildFault.of(
                f"{name} holds {config.module} files, which are not read out of archives",
                key=KEY,
                hint="unpack it yourself, and give the folder",
            )
        return columnar.schema(config.module, how.place / name, name)
    if config.module == "webdataset":
        return folders.webdataset_schema(how.place, name, how.scratch, how.most)
    for shown, module, stream in _streams(config, name, how):
        options = _options(config, shown, how)
        found = lines.schema(module, stream, shown, options, how.scratch, how.most)
        if found is not None:
            return found
    return None


def _shard(config: _Config, name: str, features: Features, how: _Open) -> Shard:
    if config.module in ("parquet", "arrow"):
        return columnar.shard(config.module, how.place / name, name, caster(features))
    if config.module == "webdataset":
        return folders.webdataset(how.place, name, features, how.scratch, how.most)

    def read(start: int) -> Iterator[pyarrow.Table]:
        left = start
        for table in _tables(config, name, features, how):
            if left >= table.num_rows:
                left -= table.num_rows
                continue
            yield table.slice(left)
            left = 0

    return Shard(name=name, rows=None, read=read)


def _tables(config: _Config, name: str, features: Features, how: _Open) -> Iterator[pyarrow.Table]:
    streams = _streams(config, name, how)
    first = next(streams, None)
    if first is None:
        return
    streams = itertools.chain([first], streams)
    options = _options(config, first[0], how)
    plain = not {"encoding", "encoding_errors"} & set(options)
    if first[1] == "text" and options.get("sample_by") == "document" and plain:
        named = ((shown, stream) for shown, _, stream in streams)
        yield from lines.documents(named, features, how.most)
        return
    declared = config.features is not None
    for shown, module, stream in streams:
        options = _options(config, shown, how)
        yield from lines.tables(
            module, stream, shown, options, features, declared, how.scratch, how.most
        )


def _streams(config: _Config, name: str, how: _Open) -> Iterator[tuple[str, str, IO[bytes]]]:
    """(name, format, bytes) of a file, or of each file in an archive."""
    meter = Meter(most=how.most)
    if not is_archive(name):
        for shown, stream in leaves(how.place / name, name, meter=meter, scratch=how.scratch):
            yield shown, config.module, stream
        return
    first: tuple[str, str] | None = None
    for shown, stream in leaves(how.place / name, name, meter=meter, scratch=how.scratch):
        module = _lines(shown)
        if module is None or _hidden(shown) or ABOUT.match(re.split("[/!]", shown)[-1]):
            continue
        if first is None:
            first = shown, module
        if module != first[1]:
            raise BuildFault.of(
                f"{name} holds files of more than one format: {first[0]}, {shown}", key=KEY
            )
        yield shown, module, stream


def _options(config: _Config, shown: str, how: _Open) -> Mapping[str, Any]:
    options = dict(config.options)
    if how.sample_by is not None:
        options["sample_by"] = how.sample_by
    elif "!" in shown:
        options.setdefault("sample_by", "document")
    if _lines(shown) == "csv" or config.module == "csv":
        options.pop("sample_by", None)
        if inner_name(shown).endswith(".tsv"):
            options.setdefault("sep", "\t")
    return options
