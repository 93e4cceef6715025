"""Rows as folders that a person can edit: a numbered sub-folder a row, a file for each column.

    records/x/
      features.json       the columns, their order and types, as `datasets` writes them
      about.json          what the source's card said (licence, citation ...); both may be absent
      1/  text.txt        a text, UTF-8, as it is: nothing is added or stripped
          image.png       an image or a sound: its bytes as they are
          image.path      the path that the source had for it; no such file: it had none
          label.txt       the name of a class
          meta.json       anything else: numbers, booleans, lists, objects
          raw.bin         bytes
          title.null      an empty file: the value is missing
          texts_00.txt    a list of texts, bytes, images or sounds: a file for each item, from 00
          texts_01.null   on; one of them may be missing. An empty list is texts.json with []
      2/  ...

Rows come in the order of their numbers. Names that start with a dot are passed over. In the name of
a file, %XX stands for a byte of the column's name, as in a URL: for what could not stand in a
file's name, a dot at the start, and a _ before digits at the end (year%5F2024.txt), which else
means a list. In JSON, bytes are base64, times and decimals are texts, and a float may be "nan",
"inf" or "-inf".

Without features.json the types follow from the files, and the columns stand in the order of their
names: texts are strings, images and sounds are known by their suffixes, JSON gives int64, float64,
bool, string, lists and objects.
"""

from __future__ import annotations

import json
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from tinybuild.dataset import images, sounds
from tinybuild.dataset.archives import reason
from tinybuild.dataset.rows import Shard, Source, Split
from tinybuild.dataset.values import (
    build,
    class_name,
    decode,
    encode,
    fits,
    label,
    parsed,
    utf8,
    word,
)
from tinybuild.errors import BuildFault, Finding, did_you_mean
from tinybuild.features import Wrong, content, holds, items
from tinybuild.files import pretty

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features
    from datasets.features.features import FeatureType

    from tinybuild.paths import Json

KEY = ("dataset", "records")
FEATURES, ABOUT = "features.json", "about.json"
_LIST = re.compile(r"(?P<name>.*)_(?P<number>[0-9]{2,})", re.DOTALL)
_CHUNK = 64  # rows of one table that a reader gives


class _Findings(list[Finding]):
    """What is wrong with a folder of records."""

    def say(self, what: str, hint: str = "") -> None:
        self.append(Finding(what=what, hint=hint, key=KEY))

    @contextmanager
    def of(self, shown: str) -> Iterator[None]:
        """What is Wrong with a file is one of the findings, and the rest is read on."""
        try:
            yield
        except Wrong as wrong:
            self.say(f"{shown} {wrong}", wrong.hint)

    def refuse(self) -> None:
        """Raise the findings, by the numbers of the rows and the names in them."""

        def place(finding: Finding) -> list[tuple[int, int, str]]:
            parts = re.split("([0-9]+)", finding.what)
            return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]

        if self:
            raise BuildFault(sorted(self, key=place))


@dataclass(frozen=True, kw_only=True)
class _File:
    """One file of a row. number: its place in a list, or None. row: what messages call the row."""

    path: Path
    column: str
    number: int | None
    suffix: str
    row: str

    @property
    def shown(self) -> str:
        """What messages call it."""
        return f"{self.row}/{_printable(self.path.name)}"


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """The file of one value, or the files of its list in their order."""

    files: tuple[_File, ...]
    listed: bool


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row's files. paths: (column, place in a list) -> the file with a path."""

    shown: str
    cells: Mapping[str, _Cell]
    paths: Mapping[tuple[str, int | None], _File]


# --- reading --------------------------------------------------------------------------------------


def open_records(folder: Path) -> Source:
    """A folder of records as a source: config "default", split "train".

    Everything is read when the split is opened; what is wrong with any file is said then, all of
    it at once, by BuildFault.
    """
    if not folder.is_dir():
        what = "is not a folder" if os.path.lexists(folder) else "is not there"
        raise BuildFault.of(
            f"the folder of records {folder.name} {what}",
            key=KEY,
            hint="it has a numbered sub-folder for each row; `tinybuild unpack` makes one",
        )
    findings = _Findings()
    about: Json = None
    with findings.of(f"{folder.name}/{ABOUT}"):
        about = _json_file(folder / ABOUT)
        if not isinstance(about, dict | None):
            raise Wrong("is not an object")
    findings.refuse()
    said = about if isinstance(about, dict) else {}

    def opened(config: str, split: str) -> Split:
        table, features = _read(folder)

        def read(start: int) -> Iterator[pyarrow.Table]:
            for first in range(start, table.num_rows, _CHUNK):
                yield table.slice(first, min(_CHUNK, table.num_rows - first))

        shard = Shard(name=folder.name, rows=table.num_rows, read=read)
        return Split(shards=(shard,), features=features)

    names = {"default": ("train",)}
    return Source(names=names, open=opened, default="default", about=said)


def _json_file(path: Path) -> Json:
    """What a file beside the rows says; None where there is none. Raises Wrong."""
    if not os.path.lexists(path):
        return None
    if not stat.S_ISREG(path.lstat().st_mode):
        raise Wrong("is not a plain file")
    return parsed(path.read_bytes())


def _read(folder: Path) -> tuple[pyarrow.Table, Features]:
    import pyarrow as pa

    findings = _Findings()
    features = _features(folder)
    rows = _rows(folder, findings)
    columns = list(features or sorted({name for row in rows for name in row.cells}))
    if not columns and not findings:
        findings.say(f"the rows of {folder.name} have no files", "a row has a file for each column")
    _complete(rows, columns, features is not None, findings)
    if features is None:
        findings.refuse()  # types are guessed only from files that are whole
        features = _guess(rows, columns, findings)
        findings.refuse()
    values: dict[str, list[object]] = {name: [] for name in features}
    for row in rows:
        for name, feature in features.items():
            if name in row.cells:
                values[name].append(_value(row, name, feature, findings))
    findings.refuse()
    arrays = [build(values[name], feature) for name, feature in features.items()]
    return pa.Table.from_arrays(arrays, schema=features.arrow_schema), features


def _features(folder: Path) -> Features | None:
    """What features.json says; None where there is none."""
    from datasets import Features

    findings, data = _Findings(), None
    with findings.of(f"{folder.name}/{FEATURES}"):
        data = _json_file(folder / FEATURES)
    findings.refuse()
    if data is None:
        return None
    try:
        features = Features.from_dict(data)
        _ = features.arrow_schema  # which raises for unknown types
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise BuildFault.of(
            f"{folder.name}/{FEATURES} does not say the columns' types: {reason(error)}",
            key=KEY,
            hint="it is what Features.to_dict() of datasets gives; without it, the types follow "
            "from the files",
        ) from None
    if not features:
        raise BuildFault.of(f"{folder.name}/{FEATURES} names no column", key=KEY)
    return features


def _rows(folder: Path, findings: _Findings) -> list[_Row]:
    """The rows by number; what is wrong with the names of folders and files goes to `findings`."""
    numbered: dict[int, str] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        shown = f"{folder.name}/{_printable(entry.name)}"
        if entry.name.startswith(".") or entry.name in (FEATURES, ABOUT):
            continue
        if entry.is_symlink():
            findings.say(f"{shown} is a link; records are plain folders")
        elif not re.fullmatch("[0-9]+", entry.name) or not entry.is_dir():
            findings.say(
                f"{shown} is not a row",
                "a folder of records holds a sub-folder for each row, named by its number",
            )
        elif (number := int(entry.name)) in numbered:
            findings.say(f"{shown} and {folder.name}/{numbered[number]} have the same number")
        else:
            numbered[number] = entry.name
    if not numbered and not findings:
        raise BuildFault.of(
            f"the folder of records {folder.name} has no rows",
            key=KEY,
            hint="add a sub-folder for each row, named by its number, with a file for each column",
        )
    return [_row(folder, name, findings) for _, name in sorted(numbered.items())]


def _row(folder: Path, name: str, findings: _Findings) -> _Row:
    shown = f"{folder.name}/{name}"
    columns: dict[str, dict[int | None, list[_File]]] = {}
    paths: dict[tuple[str, int | None], _File] = {}
    for entry in sorted(os.scandir(folder / name), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        with findings.of(f"{shown}/{_printable(entry.name)}"):
            file = _file(entry, shown)
            if file.suffix == "path":
                paths[file.column, file.number] = file
            else:
                columns.setdefault(file.column, {}).setdefault(file.number, []).append(file)
    for (column, number), file in paths.items():
        if number not in columns.get(column, {}):
            findings.say(
                f"{file.shown} is not the path of a file",
                "a .path stands beside an image or a sound of the same name; remove it",
            )
    cells = {
        column: _cell(f"{shown}: the list {column!r}", numbers, findings)
        for column, numbers in columns.items()
    }
    return _Row(shown=shown, cells=cells, paths=paths)


def _cell(shown: str, numbers: Mapping[int | None, Sequence[_File]], findings: _Findings) -> _Cell:
    """A cell of the files that name each place in a list; None: the file that names none."""
    for twice in (files for files in numbers.values() if len(files) > 1):
        both = " and ".join(file.path.name for file in twice)
        findings.say(f"{twice[0].row}: {both} are one value")
    first = {number: files[0] for number, files in numbers.items()}
    one = first.pop(None, None)
    listed = [first[number] for number in sorted(number for number in first if number is not None)]
    if one is None:
        hole = next((place for place, file in enumerate(listed) if file.number != place), None)
        if hole is not None:
            findings.say(
                f"{shown} has no number {hole:02}, but {listed[hole].path.name}",
                f"its files are numbered from 00 without a gap{_no_list(listed[0])}",
            )
        return _Cell(files=tuple(listed), listed=True)
    if listed:
        findings.say(
            f"{one.shown} is one value, and {listed[0].path.name} one of a list",
            f"remove one of them{_no_list(listed[0])}",
        )
    return _Cell(files=(one,), listed=False)


def _no_list(file: _File) -> str:
    name = f"{file.column}%5F{file.path.stem.rpartition('_')[2]}.{file.suffix}"
    return f"; if {file.path.stem} is a column's own name, write {name}"


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _file(entry: os.DirEntry[str], row: str) -> _File:
    """A file of a row and what its name says. Raises Wrong."""
    if entry.is_symlink():
        raise Wrong("is a link; records are plain files")
    if entry.is_dir():
        raise Wrong("is a folder; a row has one file for each column")
    if not entry.is_file():
        raise Wrong("is not a plain file")
    stem, dot, suffix = entry.name.rpartition(".")
    if not dot:
        hint = "use .txt, .json, .bin, .null, or the suffix of an image or a sound"
        raise Wrong("has no suffix, so nothing says what it holds", hint)
    match = _LIST.fullmatch(stem)
    name, number = (match["name"], int(match["number"])) if match else (stem, None)
    try:
        # Some systems take names apart (NFD); names that are not whole were written as %XX.
        column = unquote_to_bytes(unicodedata.normalize("NFC", name)).decode()
    except UnicodeError:
        raise Wrong("has a name that is not UTF-8", "rename it") from None
    return _File(
        path=Path(entry.path),
        column="" if name == "%" else column,
        number=number,
        suffix=suffix.lower(),
        row=row,
    )


def _complete(
    rows: Iterable[_Row], columns: Sequence[str], given: bool, findings: _Findings
) -> None:
    """Each row has each column and no other."""
    known = set(columns)
    for row in rows:
        for column, cell in row.cells.items():
            if column not in known:
                findings.say(
                    f"{cell.files[0].shown}: there is no column {column!r} in {FEATURES}",
                    did_you_mean(column, columns),
                )
        for column in columns:
            if column not in row.cells:
                others = "" if given else ", which other rows have"
                findings.say(
                    f"{row.shown} has no file for the column {column!r}{others}",
                    f"where the value is missing, add an empty file {_stem(column)}.null",
                )


# --- types that follow from the files -------------------------------------------------------------


def _held(file: _File) -> str:
    """What a file holds, as its name says: txt, json, bin, null, image, sound; else ""."""
    if file.suffix in ("txt", "json", "bin", "null"):
        return file.suffix
    if file.suffix in images.KNOWN_SUFFIXES:
        return "image"
    return "sound" if file.suffix in sounds.KNOWN_SUFFIXES | sounds.OTHER_SUFFIXES else ""


def _guess(rows: Sequence[_Row], columns: Iterable[str], findings: _Findings) -> Features:
    """The features that the files of whole rows show."""
    from datasets import Features

    features = {}
    suffixes = ", ".join(sorted(images.KNOWN_SUFFIXES | sounds.KNOWN_SUFFIXES))
    for column in columns:
        cells = [row.cells[column] for row in rows]
        unknown = [file for cell in cells for file in cell.files if not _held(file)]
        for file in unknown:
            findings.say(
                f"{file.shown}: nothing says what a .{file.suffix} file holds",
                f"use txt, json, bin, null, {suffixes}; or say the column's type in {FEATURES}",
            )
        if not unknown:
            with findings.of(f"the column {column!r}"):
                features[column] = _guessed(cells, findings)
    return Features({name: feature for name, feature in features.items() if feature is not None})


def _guessed(cells: Sequence[_Cell], findings: _Findings) -> FeatureType | None:
    """The type of a column; None after a finding in a file. Raises Wrong."""
    from datasets import Audio, Image, List, Value

    media = {"image": Image, "sound": Audio, "bin": lambda: Value("binary")}
    files = [file for cell in cells for file in cell.files]
    first = {_held(file): file for file in reversed(files) if _held(file) != "null"}
    listed = any(cell.listed for cell in cells)
    if set(first).isdisjoint(media):
        return _plain(cells, findings)
    if listed:
        first.pop("json", None)  # an empty list; reading says so if it is anything else
    if len(first) > 1:
        raise Wrong(f"cannot be both {' and '.join(sorted(f.shown for f in first.values()))}")
    single = [cell.files[0] for cell in cells if not cell.listed and _held(cell.files[0]) in media]
    if listed and single:
        raise Wrong(f"is a list, but not in {single[0].shown}", _as_list(single[0]))
    feature = media[next(iter(first))]()
    return List(feature) if listed else feature


def _as_list(file: _File) -> str:
    return f"name it as the first of a list: {_stem(file.column)}_00.{file.suffix}"


def _plain(cells: Sequence[_Cell], findings: _Findings) -> FeatureType | None:
    """The type of a column of texts and JSON, as Arrow sees it; None after a finding in a file.
    Raises Wrong."""
    import pyarrow as pa
    from datasets.features.features import generate_from_arrow_type

    def value(file: _File) -> Json:
        if file.suffix != "null":
            with findings.of(file.shown):
                data = file.path.read_bytes()
                return utf8(data) if file.suffix == "txt" else parsed(data)
        return None

    before = len(findings)
    read = [[value(file) for file in cell.files] for cell in cells]
    values = [each if cell.listed else each[0] for cell, each in zip(cells, read, strict=True)]
    if len(findings) > before:
        return None
    try:
        feature = generate_from_arrow_type(pa.array(values).type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        words: dict[str, str] = {}
        for cell, one in zip(cells, values, strict=True):
            words.setdefault(word(one), cell.files[0].shown)
        raise Wrong(
            "has values of several types "
            f"({', '.join(f'{what} in {place}' for what, place in words.items())})",
            f"give all rows values of one type, or say the type in {FEATURES}",
        ) from None
    if holds(feature, lambda part: part == {}):
        raise Wrong(
            "has objects without keys, whose type is unknown",
            f"give them keys, or say the type in {FEATURES}",
        )
    return feature


# --- one value ------------------------------------------------------------------------------------


def _item(feature: FeatureType) -> FeatureType | None:
    """The feature of a list's items where each item has a file of its own; else None."""
    inner = items(feature)
    of_files = inner is not None and content(inner) in ("text", "bytes", "media")
    return inner if of_files else None


def _value(row: _Row, column: str, feature: FeatureType, findings: _Findings) -> object:
    """The value of a row's column, as `build` takes it; None after a finding."""
    cell, inner = row.cells[column], _item(feature)
    first, length = cell.files[0], getattr(feature, "length", -1)
    if cell.listed and inner is None:
        findings.say(f"{first.shown}: the column {column!r} is not a list of files")
        return None
    if not cell.listed and inner is not None and first.suffix not in ("json", "null"):
        findings.say(f"{first.shown}: the column {column!r} is a list", _as_list(first))
        return None
    if cell.listed and length not in (-1, len(cell.files)):
        findings.say(f"{first.shown}: {column!r} has {len(cell.files)} items, not {length}")
    if not cell.listed:
        return _read_file(first, feature, row, findings)
    return [_read_file(file, inner, row, findings) for file in cell.files]


def _read_file(file: _File, feature: FeatureType, row: _Row, findings: _Findings) -> object:
    """What one file holds; None after a finding."""
    beside = row.paths.get((file.column, file.number))
    of_media = content(feature) == "media" and file.suffix not in ("json", "null")
    if beside is not None and not of_media:
        findings.say(f"{beside.shown} is not the path of an image or a sound")
    value, path = None, None
    with findings.of(file.shown):
        value = _read_value(file.path.read_bytes(), file.suffix, feature)
    if not of_media:
        return value
    if beside is not None:
        with findings.of(beside.shown):
            path = utf8(beside.path.read_bytes())
    return {"bytes": value, "path": path}


def _read_value(data: bytes, suffix: str, feature: FeatureType) -> object:
    """What the bytes of a file are for a feature (media: the bytes). Raises Wrong."""
    held = content(feature)
    if suffix == "null":
        if data:
            raise Wrong("says that the value is missing, but is not empty")
        return None
    if suffix == "json":
        value = parsed(data)
        return utf8(data) if held == "raw" else decode(value, feature)
    if held == "media" and suffix != "txt":
        _decodable(data, feature, suffix)
        return data
    wanted = {"text": "txt", "label": "txt", "bytes": "bin"}.get(held)
    if suffix != wanted:
        hint = "a file with its own suffix" if held == "media" else f".{wanted or 'json'}"
        named = str(getattr(feature, "dtype", "") if held == "json" else "") or repr(feature)
        raise Wrong(f"does not fit the column's type {named}: it needs {hint}")
    if held == "bytes":
        return fits(data, feature)
    return utf8(data) if held == "text" else label(utf8(data), feature)


def _decodable(data: bytes, feature: FeatureType, suffix: str) -> None:
    """Refuse media that cannot be decoded; formats that nothing here reads are believed."""
    from datasets import Audio, Image

    if isinstance(feature, Image) and suffix != "bin":
        images.image(data, images.ANY)
    elif isinstance(feature, Audio) and suffix in sounds.KNOWN_SUFFIXES:
        sounds.sound(data, None, None)


# --- writing --------------------------------------------------------------------------------------


def write_records(
    table: pyarrow.Table,
    features: Features,
    numbers: Sequence[int],
    folder: Path,
    about: Mapping[str, Json] | None = None,
) -> None:
    """Write rows as records into `folder`, which may not hold anything yet.

    numbers: the number of each row, from 1; they name the sub-folders. `open_records` gives the
    same table, features and `about` again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stems = _stems(features)
    # Not sorted: the order of the columns is the order in which they are said.
    text = json.dumps(features.to_dict(), indent=2, ensure_ascii=False) + "\n"
    (folder / FEATURES).write_text(text, encoding="utf-8")
    if about:
        (folder / ABOUT).write_text(pretty(dict(about)), encoding="utf-8")
    for place, number in enumerate(numbers):
        row = folder / str(number)
        row.mkdir()
        for name, feature in features.items():
            scalar = table[name][place]
            for file, data in _files(stems[name], scalar, feature):
                (row / file).write_bytes(data)


def _stem(column: str, small: bool = False) -> str:
    """A column's name as a file's name without suffix: as it is, but for what could mislead, and
    for capital letters if it must be `small`."""
    if column == "":
        return "%"
    whole = unicodedata.normalize("NFC", column) == column

    def safe(character: str) -> bool:
        if small and character.casefold() != character:
            return False
        if not character.isascii():
            return whole and character.isprintable()
        return character.isprintable() and character not in '%/\\:*?"<>|'

    stem = "".join(c if safe(c) else _percent(c) for c in column)
    if stem[0] in ". ":
        stem = _percent(stem[0]) + stem[1:]
    if stem[-1] in ". ":
        stem = stem[:-1] + _percent(stem[-1])
    if _LIST.fullmatch(stem):
        before, _, digits = stem.rpartition("_")
        stem = f"{before}%5F{digits}"
    return stem


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _stems(columns: Iterable[str]) -> dict[str, str]:
    """A file's name for each column, also different where capital letters do not count."""
    stems: dict[str, str] = {}
    for column in columns:
        stem = _stem(column)
        if stem.casefold() in {other.casefold() for other in stems.values()}:
            stem = _stem(column, small=True)
        if len(stem.encode()) > 200:
            raise BuildFault.of(
                f"the name of the column {column[:40]!r}... is too long for a file",
                key=("dataset", "columns"),
                hint="leave the column out, or give it a shorter name in the source",
            )
        stems[column] = stem
    return stems


def _files(stem: str, scalar: pyarrow.Scalar, feature: FeatureType) -> Iterator[tuple[str, bytes]]:
    """The files of one value: name, bytes."""
    inner = _item(feature)
    if inner is None or not scalar.is_valid:
        yield from _single_files(stem, scalar, feature)
        return
    count = len(scalar)
    if not count:
        yield f"{stem}.json", b"[]\n"
    digits = max(2, len(str(count - 1)))
    for number, item in enumerate(scalar):
        yield from _single_files(f"{stem}_{number:0{digits}}", item, inner)


def _single_files(
    stem: str, scalar: pyarrow.Scalar, feature: FeatureType
) -> Iterator[tuple[str, bytes]]:
    held = content(feature)
    if not scalar.is_valid:
        yield f"{stem}.null", b""
    elif held == "text":
        yield f"{stem}.txt", scalar.as_py().encode()
    elif held == "bytes":
        yield f"{stem}.bin", scalar.as_py()
    elif held == "raw":
        yield f"{stem}.json", scalar.value.as_py().encode()
    elif held == "label" and (name := class_name(scalar.as_py(), feature)) is not None:
        yield f"{stem}.txt", name.encode()
    elif held == "media" and scalar["bytes"].is_valid:
        data, path = scalar["bytes"].as_py(), scalar["path"].as_py()
        yield f"{stem}.{_suffix(data, path, feature)}", data
        if path is not None:
            yield f"{stem}.path", path.encode()
    else:
        value = encode(scalar, feature)
        deep = isinstance(value, dict) or (
            isinstance(value, list) and any(isinstance(item, list | dict) for item in value)
        )
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2 if deep else None)
        yield f"{stem}.json", f"{text}\n".encode()


def _suffix(data: bytes, path: str | None, feature: FeatureType) -> str:
    """The suffix of media: of its format where that is known, else of its path, else bin."""
    from datasets import Audio, Image

    named = (path or "").rpartition(".")[2].lower()
    known = None
    if isinstance(feature, Image):
        known = images.suffix(data)
    elif isinstance(feature, Audio):
        known = sounds.suffix(data)
    if known is not None:
        return "opus" if (known, named) == ("ogg", "opus") else known
    ours = ("txt", "json", "bin", "null", "path")
    fits = re.fullmatch("[a-z0-9]{1,8}", named) is not None and "." in (path or "")
    return named if fits and named not in ours else "bin"
