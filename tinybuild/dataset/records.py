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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from tinybuild.dataset.features import kind_of
from tinybuild.dataset.rows import Shard, Source, Split
from tinybuild.dataset.values import (
    BY_SUFFIX,
    IMAGE_SUFFIXES,
    SOUND_SUFFIXES,
    Wrong,
    build,
    class_name,
    decodable,
    decode,
    encode,
    fits,
    image_suffix,
    label,
    parsed,
    sound_suffix,
    utf8,
    word,
)
from tinybuild.errors import BuildFault, Finding, did_you_mean
from tinybuild.files import pretty

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features

KEY = ("dataset", "records")
FEATURES, ABOUT = "features.json", "about.json"
_LIST = re.compile(r"(?P<name>.*)_(?P<number>[0-9]{2,})", re.DOTALL)
_CHUNK = 64  # rows of one table that a reader gives


class _Findings(list[Finding]):
    """What is wrong with a folder of records."""

    def say(self, what: str, hint: str = "") -> None:
        self.append(Finding(what=what, hint=hint, key=KEY))

    def refuse(self) -> None:
        """Raise what was found, by the numbers of the rows and the names in them."""

        def place(finding: Finding) -> list[tuple[int, int, str]]:
            parts = re.split("([0-9]+)", finding.what)
            return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]

        if self:
            raise BuildFault(sorted(self, key=place))


@dataclass(frozen=True, kw_only=True)
class _File:
    """One file of a row. number: its place in a list, or None. shown: what messages call it."""

    path: Path
    column: str
    number: int | None
    suffix: str
    shown: str


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One row's files: column -> its file, or the files of its list in order; paths: sidecars."""

    shown: str
    values: Mapping[str, _File | tuple[_File, ...]]
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
            hint="it has a numbered sub-folder for each row; `doit unpack` makes one",
        )
    findings = _Findings()
    about = _json_file(folder, ABOUT, findings)
    if about is not None and not isinstance(about, dict):
        findings.say(f"{folder.name}/{ABOUT} is not an object")
    findings.refuse()

    def opened(config: str, split: str) -> Split:
        table, features = _read(folder)

        def read(start: int) -> Iterator[pyarrow.Table]:
            for first in range(start, table.num_rows, _CHUNK):
                yield table.slice(first, min(_CHUNK, table.num_rows - first))

        shard = Shard(name=folder.name, rows=table.num_rows, read=read)
        return Split(shards=(shard,), features=features)

    names = {"default": ("train",)}
    return Source(names=names, open=opened, default="default", about=about or {})


def _json_file(folder: Path, name: str, findings: _Findings) -> Any:
    path = folder / name
    if not os.path.lexists(path):
        return None
    if not stat.S_ISREG(path.lstat().st_mode):
        findings.say(f"{folder.name}/{name} is not a plain file")
        return None
    try:
        return parsed(path.read_bytes())
    except Wrong as wrong:
        findings.say(f"{folder.name}/{name} {wrong}")
        return None


def _read(folder: Path) -> tuple[pyarrow.Table, Features]:
    import pyarrow as pa

    findings = _Findings()
    features = _features(folder)
    rows = _rows(folder, findings)
    columns = list(features or sorted({name for row in rows for name in row.values}))
    if not columns and not findings:
        findings.say(f"the rows of {folder.name} have no files", "a row has a file for each column")
    _complete(rows, columns, features is not None, findings)
    if features is None:
        findings.refuse()  # types are guessed only from files that are whole
        features = _guess(rows, columns, findings)
        findings.refuse()
    values: dict[str, list[Any]] = {name: [] for name in features}
    for row in rows:
        for name, feature in features.items():
            if name in row.values:
                values[name].append(_value(row, name, feature, findings))
    findings.refuse()
    arrays = [build(values[name], feature) for name, feature in features.items()]
    return pa.Table.from_arrays(arrays, schema=features.arrow_schema), features


def _features(folder: Path) -> Features | None:
    """What features.json says; None where there is none."""
    from datasets import Features

    findings = _Findings()
    data = _json_file(folder, FEATURES, findings)
    findings.refuse()
    if data is None:
        return None
    try:
        features = Features.from_dict(data)
        features.arrow_schema  # noqa: B018 - unknown types are found here
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise BuildFault.of(
            f"{folder.name}/{FEATURES} does not say the columns' types: {text[0]}",
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
    found: dict[str, dict[int | None, list[_File]]] = {}
    paths: dict[tuple[str, int | None], _File] = {}
    for entry in sorted(os.scandir(folder / name), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        shown = f"{folder.name}/{name}/{_printable(entry.name)}"
        if entry.is_symlink():
            findings.say(f"{shown} is a link; records are plain files")
        elif entry.is_dir():
            findings.say(f"{shown} is a folder; a row has one file for each column")
        elif not entry.is_file():
            findings.say(f"{shown} is not a plain file")
        elif (file := _named(Path(entry.path), shown, findings)) is None:
            continue
        elif file.suffix == "path":
            paths[file.column, file.number] = file
        else:
            found.setdefault(file.column, {}).setdefault(file.number, []).append(file)
    values: dict[str, _File | tuple[_File, ...]] = {}
    for column, numbers in found.items():
        files = [file for number in numbers.values() for file in number]
        for twice in (number for number in numbers.values() if len(number) > 1):
            both = " and ".join(Path(file.shown).name for file in twice)
            findings.say(f"{folder.name}/{name}: {both} are one value")
        if None in numbers and len(numbers) > 1:
            one = numbers[None][0]
            other = next(file for file in files if file.number is not None)
            findings.say(
                f"{one.shown} is one value, and {Path(other.shown).name} one of a list",
                f"remove one of them{_no_list(other)}",
            )
            values[column] = one
        elif None not in numbers:
            ordered = sorted(numbers.items(), key=lambda item: item[0] or 0)
            hole = next((i for i, (number, _) in enumerate(ordered) if number != i), None)
            if hole is not None:
                first = ordered[0][1][0]
                findings.say(
                    f"{folder.name}/{name}: the list {column!r} has no number {hole:02}, "
                    f"but {Path(ordered[hole][1][0].shown).name}",
                    f"its files are numbered from 00 without a gap{_no_list(first)}",
                )
            values[column] = tuple(files[0] for _, files in ordered)
        else:
            values[column] = numbers[None][0]
    for (column, number), file in paths.items():
        if number not in found.get(column, {}):
            findings.say(
                f"{file.shown} is the path of no file",
                "it stands beside an image or a sound of the same name; remove it",
            )
    return _Row(shown=f"{folder.name}/{name}", values=values, paths=paths)


def _no_list(file: _File) -> str:
    name = f"{file.column}%5F{Path(file.shown).stem.rpartition('_')[2]}.{file.suffix}"
    return f"; if {Path(file.shown).stem} is a column's own name, write {name}"


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _named(path: Path, shown: str, findings: _Findings) -> _File | None:
    """What a file's name says; None after a finding."""
    stem, dot, suffix = path.name.rpartition(".")
    if not dot:
        hint = "use .txt, .json, .bin, .null, or the suffix of an image or a sound"
        findings.say(f"{shown} has no suffix, so its kind is unknown", hint)
        return None
    match = _LIST.fullmatch(stem)
    name, number = (match["name"], int(match["number"])) if match else (stem, None)
    try:
        # Some systems take names apart (NFD); names that are not whole were written as %XX.
        column = unquote_to_bytes(unicodedata.normalize("NFC", name)).decode()
    except UnicodeError:
        findings.say(f"the name of {shown} is not UTF-8", "rename it")
        return None
    if name == "%":
        column = ""
    return _File(path=path, column=column, number=number, suffix=suffix.lower(), shown=shown)


def _complete(
    rows: Iterable[_Row], columns: Sequence[str], given: bool, findings: _Findings
) -> None:
    """Each row has each column and no other."""
    known = set(columns)
    for row in rows:
        for column, files in row.values.items():
            if column not in known:
                file = files if isinstance(files, _File) else files[0]
                findings.say(
                    f"{file.shown}: there is no column {column!r} in {FEATURES}",
                    did_you_mean(column, columns),
                )
        for column in columns:
            if column not in row.values:
                others = "" if given else ", which other rows have"
                findings.say(
                    f"{row.shown} has no file for the column {column!r}{others}",
                    f"where the value is missing, add an empty file {_stem(column)}.null",
                )


# --- types that follow from the files -------------------------------------------------------------


def _kind(file: _File) -> str:
    if file.suffix in ("txt", "json", "bin", "null"):
        return file.suffix
    if file.suffix in IMAGE_SUFFIXES:
        return "image"
    return "sound" if file.suffix in SOUND_SUFFIXES | BY_SUFFIX else ""


def _guess(rows: Sequence[_Row], columns: Iterable[str], findings: _Findings) -> Features:
    """The features that the files of whole rows show."""
    from datasets import Audio, Features, Image, List, Value

    media = {"image": Image, "sound": Audio, "bin": lambda: Value("binary")}
    features = {}
    for column in columns:
        entries = [row.values[column] for row in rows]
        files = [f for e in entries for f in (e if isinstance(e, tuple) else (e,))]
        unknown = [file for file in files if not _kind(file)]
        kinds = {_kind(file): file for file in reversed(files) if _kind(file) != "null"}
        listed = any(isinstance(entry, tuple) for entry in entries)
        if listed and not set(kinds).isdisjoint(media):
            kinds.pop("json", None)  # an empty list; reading says so if it is anything else
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES | SOUND_SUFFIXES))
        for file in unknown:
            findings.say(
                f"{file.shown}: the kind of a .{file.suffix} file is unknown",
                f"use txt, json, bin, null, {suffixes}; or say the column's type in {FEATURES}",
            )
        if unknown:
            continue
        if set(kinds).isdisjoint(media):
            feature = _plain(column, entries, findings)
        elif len(kinds) > 1:
            shown = " and ".join(sorted(file.shown for file in kinds.values()))
            findings.say(f"{shown}: the column {column!r} cannot be both")
            continue
        else:
            feature = media[next(iter(kinds))]()
            loose = [e for e in entries if isinstance(e, _File) and _kind(e) in media]
            if listed and loose:
                findings.say(
                    f"{loose[0].shown}: the column {column!r} is a list in other rows",
                    f"name it as the first of a list: {_stem(column)}_00.{loose[0].suffix}",
                )
            feature = List(feature) if listed else feature
        if feature is not None:
            features[column] = feature
    return Features(features)


def _plain(
    column: str,
    entries: Iterable[_File | tuple[_File, ...]],
    findings: _Findings,
) -> Any | None:
    """The type of a column of texts and JSON, as Arrow sees it."""
    import pyarrow as pa
    from datasets.features.features import generate_from_arrow_type

    def value(file: _File) -> Any:
        if file.suffix == "null":
            return None
        data = file.path.read_bytes()
        try:
            return utf8(data) if file.suffix == "txt" else parsed(data)
        except Wrong as wrong:
            findings.say(f"{file.shown} {wrong}")
            return None

    values, before = [], len(findings)
    for entry in entries:
        values.append([value(f) for f in entry] if isinstance(entry, tuple) else value(entry))
    if len(findings) > before:
        return None
    try:
        found = pa.array(values).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        kinds: dict[str, str] = {}
        for entry, one in zip(entries, values, strict=True):
            file = entry[0] if isinstance(entry, tuple) else entry
            kinds.setdefault(word(one), file.shown)
        shown = ", ".join(f"{kind} in {place}" for kind, place in kinds.items())
        findings.say(
            f"the column {column!r} has values of several types ({shown})",
            f"give all rows values of one type, or say the type in {FEATURES}",
        )
        return None
    if _hollow(found):
        findings.say(
            f"the column {column!r} has objects without keys, whose type is unknown",
            f"give them keys, or say the type in {FEATURES}",
        )
        return None
    return generate_from_arrow_type(found)


def _hollow(found: pyarrow.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(found):
        return found.num_fields == 0 or any(_hollow(field.type) for field in found)
    return bool(pa.types.is_list(found)) and _hollow(found.value_type)


# --- one value ------------------------------------------------------------------------------------


def _items(feature: Any) -> Any | None:
    """The feature of a list's items where each item has a file of its own; else None."""
    from datasets import LargeList, List

    if isinstance(feature, List | LargeList) and kind_of(feature.feature) in (
        *("text", "bytes", "media"),
    ):
        return feature.feature
    return None


def _value(row: _Row, column: str, feature: Any, findings: _Findings) -> Any:
    """The value of a row's column, as `build` takes it; None after a finding."""
    files, inner = row.values[column], _items(feature)
    if isinstance(files, tuple):
        if inner is None:
            findings.say(f"{files[0].shown}: the column {column!r} is not a list of files")
            return None
        found = [_piece(file, inner, row, findings) for file in files]
        length = getattr(feature, "length", -1)
        if length not in (-1, len(found)):
            findings.say(f"{files[0].shown}: {column!r} has {len(found)} items, not {length}")
        return found
    if inner is not None and files.suffix not in ("json", "null"):
        findings.say(
            f"{files.shown}: the column {column!r} is a list",
            f"name it as the first of a list: {_stem(column)}_00.{files.suffix}",
        )
        return None
    return _piece(files, feature, row, findings)


def _piece(file: _File, feature: Any, row: _Row, findings: _Findings) -> Any:
    """What one file holds."""
    sidecar = row.paths.get((file.column, file.number))
    sort = kind_of(feature)
    try:
        data = file.path.read_bytes()
        if sidecar is not None and (sort != "media" or file.suffix in ("json", "null")):
            findings.say(f"{sidecar.shown} is the path of no image or sound")
        if file.suffix == "null":
            if data:
                raise Wrong("says that the value is missing, but is not empty")
            return None
        if file.suffix == "json":
            if sort == "raw":
                parsed(data)
                return utf8(data)
            return decode(parsed(data), feature)
        if sort == "media" and file.suffix != "txt":
            decodable(data, feature, file.suffix)
            path = None
            if sidecar is not None:
                try:
                    path = utf8(sidecar.path.read_bytes())
                except Wrong as wrong:
                    findings.say(f"{sidecar.shown} {wrong}")
            return {"bytes": data, "path": path}
        wanted = {"text": "txt", "label": "txt", "bytes": "bin"}.get(sort)
        if file.suffix != wanted:
            hint = {"media": "a file with its own suffix"}.get(sort, f".{wanted or 'json'}")
            raise Wrong(f"does not fit the column's type {_named_type(feature)}: it needs {hint}")
        if sort == "bytes":
            return fits(data, feature)
        return utf8(data) if sort == "text" else label(utf8(data), feature)
    except Wrong as wrong:
        findings.say(f"{file.shown} {wrong}")
        return None


def _named_type(feature: Any) -> str:
    return str(getattr(feature, "dtype", "") if kind_of(feature) == "json" else "") or repr(feature)


# --- writing --------------------------------------------------------------------------------------


def write_records(
    table: pyarrow.Table,
    features: Features,
    numbers: Sequence[int],
    folder: Path,
    about: Mapping[str, Any] | None = None,
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
    found: dict[str, str] = {}
    taken: set[str] = set()
    for column in columns:
        stem = _stem(column)
        if stem.casefold() in taken:
            stem = _stem(column, small=True)
        if len(stem.encode()) > 200:
            raise BuildFault.of(
                f"the name of the column {column[:40]!r}... is too long for a file",
                key=("dataset", "columns"),
                hint="leave the column out, or give it a shorter name in the source",
            )
        taken.add(stem.casefold())
        found[column] = stem
    return found


def _files(stem: str, scalar: pyarrow.Scalar, feature: Any) -> Iterator[tuple[str, bytes]]:
    """The files of one value: name, bytes."""
    inner = _items(feature)
    if inner is None or not scalar.is_valid:
        yield from _single_files(stem, scalar, feature)
        return
    count = len(scalar)
    if not count:
        yield f"{stem}.json", b"[]\n"
    digits = max(2, len(str(count - 1)))
    for number, item in enumerate(scalar):
        yield from _single_files(f"{stem}_{number:0{digits}}", item, inner)


def _single_files(stem: str, scalar: pyarrow.Scalar, feature: Any) -> Iterator[tuple[str, bytes]]:
    sort = kind_of(feature)
    if not scalar.is_valid:
        yield f"{stem}.null", b""
    elif sort == "text":
        yield f"{stem}.txt", scalar.as_py().encode()
    elif sort == "bytes":
        yield f"{stem}.bin", scalar.as_py()
    elif sort == "raw":
        yield f"{stem}.json", scalar.value.as_py().encode()
    elif sort == "label" and (name := class_name(scalar.as_py(), feature)) is not None:
        yield f"{stem}.txt", name.encode()
    elif sort == "media" and scalar["bytes"].is_valid:
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


def _suffix(data: bytes, path: str | None, feature: Any) -> str:
    """The suffix of media: of its format where that is known, else of its path, else bin."""
    from datasets import Audio, Image

    named = (path or "").rpartition(".")[2].lower()
    found = None
    if isinstance(feature, Image):
        found = image_suffix(data)
    elif isinstance(feature, Audio):
        found = sound_suffix(data)
    if found is not None:
        return "opus" if (found, named) == ("ogg", "opus") else found
    ours = ("txt", "json", "bin", "null", "path")
    fits = re.fullmatch("[a-z0-9]{1,8}", named) is not None and "." in (path or "")
    return named if fits and named not in ours else "bin"
