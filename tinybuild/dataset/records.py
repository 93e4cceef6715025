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

import base64
import io
import json
import math
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from tinybuild.dataset.rows import Shard, Source, Split
from tinybuild.errors import BuildFault, Finding, did_you_mean
from tinybuild.files import pretty
from tinybuild.parts import parts
from tinybuild.workers import Job

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features

KEY = ("dataset", "records")
FEATURES, ABOUT = "features.json", "about.json"
# Pillow's format -> the suffix written; other spellings are read too. EPS, WMF and the like are
# not: Pillow runs other programs for them.
IMAGES = {
    **{"PNG": "png", "JPEG": "jpg", "GIF": "gif", "WEBP": "webp", "BMP": "bmp", "TIFF": "tiff"},
    **{"PPM": "ppm", "ICO": "ico", "TGA": "tga", "JPEG2000": "jp2", "AVIF": "avif", "PCX": "pcx"},
}
_IMAGES = frozenset((*IMAGES.values(), "jpeg", "jpe", "jfif", "tif", "pgm", "pbm", "pnm", "apng"))
# libsndfile's format -> the suffix written.
SOUNDS = {
    **{"WAV": "wav", "WAVEX": "wav", "FLAC": "flac", "OGG": "ogg", "MP3": "mp3", "MPEG": "mp3"},
    **{"AIFF": "aiff", "AU": "au", "CAF": "caf", "W64": "w64", "RF64": "rf64"},
}
_SOUNDS = frozenset((*SOUNDS.values(), "opus", "aif", "oga"))  # those that libsndfile reads
_OTHER_SOUNDS = frozenset(("m4a", "aac", "wma", "amr", "webm"))  # known by their suffix only
_LIST = re.compile(r"(?P<name>.*)_(?P<number>[0-9]{2,})", re.DOTALL)
_CHUNK = 64  # rows of one table that a reader gives


class _Wrong(Exception):
    """What is wrong with one value; who catches it knows the file."""


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
    findings: list[str] = []
    about = _json_file(folder, ABOUT, findings)
    if about is not None and not isinstance(about, dict):
        findings.append(f"{folder.name}/{ABOUT} is not an object")
    _refuse(findings)

    def opened(config: str, split: str) -> Split:
        table, features = _read(folder)

        def read(start: int) -> Iterator[pyarrow.Table]:
            for first in range(start, table.num_rows, _CHUNK):
                yield table.slice(first, min(_CHUNK, table.num_rows - first))

        shard = Shard(name=folder.name, rows=table.num_rows, read=read)
        return Split(shards=(shard,), features=features)

    names = {"default": ("train",)}
    return Source(names=names, open=opened, default="default", about=about or {})


def _refuse(findings: Sequence[str | Finding]) -> None:
    if findings:
        raise BuildFault(
            one if isinstance(one, Finding) else Finding(what=one, key=KEY) for one in findings
        )


def _json_file(folder: Path, name: str, findings: list[str]) -> Any:
    path = folder / name
    if not os.path.lexists(path):
        return None
    if not stat.S_ISREG(path.lstat().st_mode):
        findings.append(f"{folder.name}/{name} is not a plain file")
        return None
    try:
        return _json(path.read_bytes())
    except _Wrong as wrong:
        findings.append(f"{folder.name}/{name} {wrong}")
        return None


def _read(folder: Path) -> tuple[pyarrow.Table, Features]:
    import pyarrow as pa

    findings: list[str | Finding] = []
    features = _features(folder)
    rows = _rows(folder, findings)
    columns = list(features or sorted({name for row in rows for name in row.values}))
    _complete(rows, columns, features is not None, findings)
    if features is None:
        _refuse(findings)  # types are guessed only from files that are whole
        features = _guess(rows, columns, findings)
        _refuse(findings)
    values: dict[str, list[Any]] = {name: [] for name in features}
    for row in rows:
        for name, feature in features.items():
            if name in row.values:
                values[name].append(_value(row, name, feature, findings))
    _refuse(findings)
    arrays = [_build(values[name], feature) for name, feature in features.items()]
    return pa.Table.from_arrays(arrays, schema=features.arrow_schema), features


def _features(folder: Path) -> Features | None:
    """What features.json says; None where there is none."""
    from datasets import Features

    findings: list[str] = []
    data = _json_file(folder, FEATURES, findings)
    _refuse(findings)
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


def _rows(folder: Path, findings: list[str | Finding]) -> list[_Row]:
    """The rows by number; what is wrong with the names of folders and files goes to `findings`."""
    numbered: dict[int, str] = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        shown = f"{folder.name}/{_printable(entry.name)}"
        if entry.name.startswith(".") or entry.name in (FEATURES, ABOUT):
            continue
        if entry.is_symlink():
            findings.append(f"{shown} is a link; records are plain folders")
        elif not re.fullmatch("[0-9]+", entry.name) or not entry.is_dir():
            findings.append(
                Finding(
                    what=f"{shown} is not a row",
                    hint="a folder of records holds a sub-folder for each row, named by its number",
                    key=KEY,
                )
            )
        elif (number := int(entry.name)) in numbered:
            findings.append(f"{shown} and {folder.name}/{numbered[number]} have the same number")
        else:
            numbered[number] = entry.name
    if not numbered and not findings:
        raise BuildFault.of(
            f"the folder of records {folder.name} has no rows",
            key=KEY,
            hint="add a sub-folder for each row, named by its number, with a file for each column",
        )
    return [_row(folder, name, findings) for _, name in sorted(numbered.items())]


def _row(folder: Path, name: str, findings: list[str | Finding]) -> _Row:
    found: dict[str, dict[int | None, list[_File]]] = {}
    paths: dict[tuple[str, int | None], _File] = {}
    for entry in sorted(os.scandir(folder / name), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        shown = f"{folder.name}/{name}/{_printable(entry.name)}"
        file = _named(Path(entry.path), shown)
        if entry.is_symlink():
            findings.append(f"{shown} is a link; records are plain files")
        elif entry.is_dir():
            findings.append(f"{shown} is a folder; a row has one file for each column")
        elif not entry.is_file():
            findings.append(f"{shown} is not a plain file")
        elif isinstance(file, Finding):
            findings.append(file)
        elif file.suffix == "path":
            paths[file.column, file.number] = file
        else:
            found.setdefault(file.column, {}).setdefault(file.number, []).append(file)
    values: dict[str, _File | tuple[_File, ...]] = {}
    for column, numbers in found.items():
        files = [file for number in numbers.values() for file in number]
        for twice in (number for number in numbers.values() if len(number) > 1):
            both = " and ".join(Path(file.shown).name for file in twice)
            findings.append(f"{folder.name}/{name}: {both} are one value")
        if None in numbers and len(numbers) > 1:
            one = numbers[None][0]
            other = next(file for file in files if file.number is not None)
            findings.append(
                Finding(
                    what=f"{one.shown} is one value, and {Path(other.shown).name} one of a list",
                    hint=f"remove one of them{_no_list(other)}",
                    key=KEY,
                )
            )
        elif None not in numbers:
            ordered = sorted(numbers.items(), key=lambda item: item[0] or 0)
            hole = next((i for i, (number, _) in enumerate(ordered) if number != i), None)
            if hole is not None:
                first = ordered[0][1][0]
                findings.append(
                    Finding(
                        what=f"{folder.name}/{name}: the list {column!r} has no number {hole:02}, "
                        f"but {Path(ordered[hole][1][0].shown).name}",
                        hint=f"its files are numbered from 00 without a gap{_no_list(first)}",
                        key=KEY,
                    )
                )
            values[column] = tuple(files[0] for _, files in ordered)
        else:
            values[column] = numbers[None][0]
    for (column, number), file in paths.items():
        if number not in found.get(column, {}):
            findings.append(
                Finding(
                    what=f"{file.shown} is the path of no file",
                    hint="it stands beside an image or a sound of the same name; remove it",
                    key=KEY,
                )
            )
    return _Row(shown=f"{folder.name}/{name}", values=values, paths=paths)


def _no_list(file: _File) -> str:
    name = f"{file.column}%5F{Path(file.shown).stem.rpartition('_')[2]}.{file.suffix}"
    return f"; if {Path(file.shown).stem} is a column's own name, write {name}"


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _named(path: Path, shown: str) -> _File | Finding:
    """What a file's name says."""
    stem, dot, suffix = path.name.rpartition(".")
    if not dot:
        hint = "use .txt, .json, .bin, .null, or the suffix of an image or a sound"
        return Finding(what=f"{shown} has no suffix, so its kind is unknown", hint=hint, key=KEY)
    match = _LIST.fullmatch(stem)
    name, number = (match["name"], int(match["number"])) if match else (stem, None)
    try:
        # Some systems take names apart (NFD); names that are not whole were written as %XX.
        column = unquote_to_bytes(unicodedata.normalize("NFC", name)).decode()
    except UnicodeError:
        return Finding(what=f"the name of {shown} is not UTF-8", hint="rename it", key=KEY)
    if name == "%":
        column = ""
    return _File(path=path, column=column, number=number, suffix=suffix.lower(), shown=shown)


def _complete(
    rows: Iterable[_Row], columns: Sequence[str], given: bool, findings: list[str | Finding]
) -> None:
    """Each row has each column and no other."""
    known = set(columns)
    for row in rows:
        for column, files in row.values.items():
            if column not in known:
                file = files if isinstance(files, _File) else files[0]
                findings.append(
                    Finding(
                        what=f"{file.shown}: there is no column {column!r} in {FEATURES}",
                        hint=did_you_mean(column, columns),
                        key=KEY,
                    )
                )
        for column in columns:
            if column not in row.values:
                others = "" if given else ", which other rows have"
                findings.append(
                    Finding(
                        what=f"{row.shown} has no file for the column {column!r}{others}",
                        hint=f"where the value is missing, add an empty file {_stem(column)}.null",
                        key=KEY,
                    )
                )


# --- types that follow from the files -------------------------------------------------------------


def _kind(file: _File) -> str:
    if file.suffix in ("txt", "json", "bin", "null"):
        return file.suffix
    if file.suffix in _IMAGES:
        return "image"
    return "sound" if file.suffix in _SOUNDS | _OTHER_SOUNDS else ""


def _guess(rows: Sequence[_Row], columns: Iterable[str], findings: list[str | Finding]) -> Features:
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
        for file in unknown:
            findings.append(
                Finding(
                    what=f"{file.shown}: the kind of a .{file.suffix} file is unknown",
                    hint=f"use a suffix of {', '.join(sorted(_IMAGES | _SOUNDS))}, txt, json, bin "
                    f"or null, or say the column's type in {FEATURES}",
                    key=KEY,
                )
            )
        if unknown:
            continue
        if set(kinds).isdisjoint(media):
            feature = _plain(column, entries, findings)
        elif len(kinds) > 1:
            shown = " and ".join(sorted(file.shown for file in kinds.values()))
            findings.append(f"{shown}: the column {column!r} cannot be both")
            continue
        else:
            feature = media[next(iter(kinds))]()
            loose = [e for e in entries if isinstance(e, _File) and _kind(e) in media]
            if listed and loose:
                findings.append(
                    Finding(
                        what=f"{loose[0].shown}: the column {column!r} is a list in other rows",
                        hint="name it as the first of a list: "
                        f"{_stem(column)}_00.{loose[0].suffix}",
                        key=KEY,
                    )
                )
            feature = List(feature) if listed else feature
        if feature is not None:
            features[column] = feature
    return Features(features)


def _plain(
    column: str,
    entries: Iterable[_File | tuple[_File, ...]],
    findings: list[str | Finding],
) -> Any | None:
    """The type of a column of texts and JSON, as Arrow sees it."""
    import pyarrow as pa
    from datasets.features.features import generate_from_arrow_type

    def value(file: _File) -> Any:
        if file.suffix == "null":
            return None
        data = file.path.read_bytes()
        try:
            return _text(data) if file.suffix == "txt" else _json(data)
        except _Wrong as wrong:
            findings.append(f"{file.shown} {wrong}")
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
            kinds.setdefault(_word(one), file.shown)
        shown = ", ".join(f"{kind} in {place}" for kind, place in kinds.items())
        findings.append(
            Finding(
                what=f"the column {column!r} has values of several types ({shown})",
                hint=f"give all rows values of one type, or say the type in {FEATURES}",
                key=KEY,
            )
        )
        return None
    if _hollow(found):
        findings.append(
            Finding(
                what=f"the column {column!r} has objects without keys, whose type is unknown",
                hint=f"give them keys, or say the type in {FEATURES}",
                key=KEY,
            )
        )
        return None
    return generate_from_arrow_type(found)


def _hollow(found: pyarrow.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(found):
        return found.num_fields == 0 or any(_hollow(field.type) for field in found)
    return bool(pa.types.is_list(found)) and _hollow(found.value_type)


def _word(value: Any) -> str:
    words = {bool: "a boolean", int: "a number", float: "a number", str: "a text"}
    words |= {list: "a list", dict: "an object", type(None): "null"}
    return words[type(value)]


# --- one value ------------------------------------------------------------------------------------


def _form(feature: Any) -> Any:
    """A feature in terms of objects (dict), lists, and single values."""
    from datasets import List, Translation, TranslationVariableLanguages, Value
    from datasets.features.features import _ArrayXD, generate_from_arrow_type

    if isinstance(feature, Translation):
        return {field.name: Value("string") for field in feature()}
    if isinstance(feature, TranslationVariableLanguages):
        return {name: List(Value("string")) for name in ("language", "translation")}
    if isinstance(feature, _ArrayXD):
        return generate_from_arrow_type(feature().storage_type)
    return feature


def _is_media(feature: Any) -> bool:
    import pyarrow as pa

    media = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return not isinstance(feature, dict) and bool(getattr(feature, "pa_type", None) == media)


def _sort(feature: Any) -> str:
    """Which kind of file a value has: text, label, bytes, media, raw (JSON as it is) or json."""
    from datasets import ClassLabel, Json, Value

    if isinstance(feature, ClassLabel):
        return "label"
    if isinstance(feature, Json):
        return "raw"
    if _is_media(feature):
        return "media"
    if isinstance(feature, Value):
        if _is_text(feature.pa_type):
            return "text"
        if _is_bytes(feature.pa_type):
            return "bytes"
    return "json"


def _is_text(found: pyarrow.DataType) -> bool:
    from pyarrow import types

    return any(
        kind(found) for kind in (types.is_string, types.is_large_string, types.is_string_view)
    )


def _is_bytes(found: pyarrow.DataType) -> bool:
    from pyarrow import types

    kinds = (types.is_binary, types.is_large_binary, types.is_binary_view)
    return any(kind(found) for kind in (*kinds, types.is_fixed_size_binary))


def _items(feature: Any) -> Any | None:
    """The feature of a list's items where each item has a file of its own; else None."""
    from datasets import LargeList, List

    if isinstance(feature, List | LargeList) and _sort(feature.feature) in (
        *("text", "bytes", "media"),
    ):
        return feature.feature
    return None


def _value(row: _Row, column: str, feature: Any, findings: list[str | Finding]) -> Any:
    """The value of a row's column, as `_build` takes it; None after a finding."""
    files, inner = row.values[column], _items(feature)
    if isinstance(files, tuple):
        if inner is None:
            findings.append(f"{files[0].shown}: the column {column!r} is not a list of files")
            return None
        found = [_piece(file, inner, row, findings) for file in files]
        length = getattr(feature, "length", -1)
        if length not in (-1, len(found)):
            findings.append(f"{files[0].shown}: {column!r} has {len(found)} items, not {length}")
        return found
    if inner is not None and files.suffix not in ("json", "null"):
        findings.append(
            Finding(
                what=f"{files.shown}: the column {column!r} is a list",
                hint=f"name it as the first of a list: {_stem(column)}_00.{files.suffix}",
                key=KEY,
            )
        )
        return None
    return _piece(files, feature, row, findings)


def _piece(file: _File, feature: Any, row: _Row, findings: list[str | Finding]) -> Any:
    """What one file holds."""
    sidecar = row.paths.get((file.column, file.number))
    sort = _sort(feature)
    try:
        data = file.path.read_bytes()
        if sidecar is not None and (sort != "media" or file.suffix in ("json", "null")):
            findings.append(f"{sidecar.shown} is the path of no image or sound")
        if file.suffix == "null":
            if data:
                raise _Wrong("says that the value is missing, but is not empty")
            return None
        if file.suffix == "json":
            if sort == "raw":
                _json(data)
                return _text(data)
            return _decode(_json(data), feature)
        if sort == "media" and file.suffix != "txt":
            _sound_or_image(data, feature, file.suffix)
            path = None
            if sidecar is not None:
                try:
                    path = _text(sidecar.path.read_bytes())
                except _Wrong as wrong:
                    findings.append(f"{sidecar.shown} {wrong}")
            return {"bytes": data, "path": path}
        wanted = {"text": "txt", "label": "txt", "bytes": "bin"}.get(sort)
        if file.suffix != wanted:
            hint = {"media": "a file with its own suffix"}.get(sort, f".{wanted or 'json'}")
            raise _Wrong(f"does not fit the column's type {_named_type(feature)}: it needs {hint}")
        if sort == "bytes":
            return _fits(data, feature)
        return _text(data) if sort == "text" else _label(_text(data), feature)
    except _Wrong as wrong:
        findings.append(f"{file.shown} {wrong}")
        return None


def _named_type(feature: Any) -> str:
    return str(getattr(feature, "dtype", "") if _sort(feature) == "json" else "") or repr(feature)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _Wrong(f"is not UTF-8 (byte {error.start + 1})") from None


def _json(data: bytes) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise _Wrong(f"says {twice!r} twice")
        return found

    def refuse(word: str) -> None:
        raise _Wrong(f'is not JSON ({word} is no number; write "{word.lower()[:4].strip("i")}")')

    try:
        found = json.loads(_text(data), object_pairs_hook=once, parse_constant=refuse)
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except UnicodeEncodeError:
        raise _Wrong("holds half of a surrogate pair") from None
    except RecursionError:
        raise _Wrong("is nested too deeply") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _Wrong(f"is not JSON ({error.msg}, {place})") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise _Wrong(f"is not JSON ({str(error).partition(';')[0]})") from None
    return found


def _label(name: str, feature: Any) -> int:
    # An editor's newline at the end is no part of a name, unless the name has it.
    for found in (name, name.removesuffix("\n").removesuffix("\r")):
        if found in feature.names:
            return int(feature.names.index(found))
    raise _Wrong(f"names no class ({name.strip()!r}): {did_you_mean(name.strip(), feature.names)}")


def _sound_or_image(data: bytes, feature: Any, suffix: str) -> None:
    """Refuse media that cannot be decoded; formats that nothing here reads are believed."""
    from datasets import Audio, Image

    if suffix == "bin":
        return
    if isinstance(feature, Image):
        _image(data, load=True)
    elif isinstance(feature, Audio) and suffix in _SOUNDS:
        _sound(data, load=True)


def _image(data: bytes, load: bool) -> str:
    """The format of an image. Raises _Wrong where it is none or, with `load`, broken."""
    import struct
    import zlib

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=list(IMAGES)) as image:
            found = str(image.format)
            if load:
                image.load()
    except UnidentifiedImageError:
        raise _Wrong(
            f"is not an image ({len(data):,} bytes that are none of {', '.join(IMAGES)})"
        ) from None
    except Image.DecompressionBombError:
        raise _Wrong("is an image of more pixels than is safe") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise _Wrong(f"is a broken image ({error})") from None
    return found


def _sound(data: bytes, load: bool) -> str:
    """The format of a sound. Raises _Wrong where it is none or, with `load`, broken."""
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            if load:
                if not sound.frames:
                    raise _Wrong("is a sound of no length")
                read = 0
                while found := len(sound.read(1 << 16, dtype="float32")):
                    read += found
                if read < sound.frames:
                    raise _Wrong(f"is a sound cut off after {read:,} of {sound.frames:,} samples")
            return str(sound.format)
    except soundfile.SoundFileError as error:
        text = str(getattr(error, "error_string", error)).rstrip(".")
        raise _Wrong(f"is not a sound that can be read ({text})") from None


def _fits(data: bytes, feature: Any) -> bytes:
    from pyarrow import types

    if types.is_fixed_size_binary(feature.pa_type) and len(data) != feature.pa_type.byte_width:
        raise _Wrong(f"has {len(data)} bytes, not {feature.pa_type.byte_width}")
    return data


# --- values as JSON -------------------------------------------------------------------------------


def _encode(scalar: pyarrow.Scalar, feature: Any) -> Any:
    """An Arrow value as JSON data that `_decode` takes back."""
    from datasets import LargeList, List
    from pyarrow import types

    if not scalar.is_valid:
        return None
    if hasattr(feature, "shape"):
        scalar = scalar.value
    feature, sort = _form(feature), _sort(_form(feature))
    if isinstance(feature, dict):
        return {name: _encode(scalar[name], inner) for name, inner in feature.items()}
    if isinstance(feature, List | LargeList):
        return [_encode(item, feature.feature) for item in scalar]
    if sort == "media":
        data = scalar["bytes"].as_py()
        packed = None if data is None else base64.b64encode(data).decode()
        return {"bytes": packed, "path": scalar["path"].as_py()}
    if sort == "bytes":
        return base64.b64encode(scalar.as_py()).decode()
    if sort == "raw":
        return scalar.value.as_py()
    if sort == "label":
        number = scalar.as_py()
        return _class(number, feature) or number
    if types.is_floating(scalar.type):
        number = float(scalar.as_py())
        return number if math.isfinite(number) else str(number)
    if types.is_decimal(scalar.type):
        return str(scalar.as_py())
    if types.is_temporal(scalar.type):
        return _time(scalar)
    return scalar.as_py()


def _class(number: int, feature: Any) -> str | None:
    """A class's name, where it says the number again."""
    names = feature.names
    if 0 <= number < len(names) and names.index(names[number]) == number:
        return str(names[number])
    return None


def _time(scalar: pyarrow.Scalar) -> str | int:
    """A time as text, or as the number that Arrow keeps where no text says it exactly."""
    import pyarrow as pa

    number = int(scalar.value)
    try:
        text = str(scalar.cast(pa.string()).as_py())
        return text if _moment(text, scalar.type) == number else number
    except (pa.ArrowException, _Wrong):
        return number


def _moment(value: Any, kind: pyarrow.DataType) -> int:
    """The number that Arrow keeps for a time."""
    import pyarrow as pa

    try:
        if isinstance(value, str):
            return int(pa.scalar(value).cast(kind).value)
        return int(pa.array([value], kind)[0].value)
    except (pa.ArrowException, OverflowError):
        raise _Wrong(f"holds {value!r}, which is no {kind}") from None


def _decode(value: Any, feature: Any) -> Any:
    """JSON data as what `_build` takes for a feature. Raises _Wrong."""
    from datasets import LargeList, List

    if value is None:
        return None
    feature, sort = _form(feature), _sort(_form(feature))
    if isinstance(feature, dict):
        if not isinstance(value, dict):
            raise _Wrong(f"holds {_word(value)}, not an object with {', '.join(feature)}")
        for name in value:
            if name not in feature:
                raise _Wrong(f"has a key {name!r} that the type lacks: {', '.join(feature)}")
        return {name: _decode(value.get(name), inner) for name, inner in feature.items()}
    if isinstance(feature, List | LargeList):
        if not isinstance(value, list):
            raise _Wrong(f"holds {_word(value)}, not a list")
        length = getattr(feature, "length", -1)
        if length not in (-1, len(value)):
            raise _Wrong(f"holds a list of {len(value)}, not of {length}")
        return [_decode(item, feature.feature) for item in value]
    if sort == "media":
        if not isinstance(value, dict) or set(value) != {"bytes", "path"}:
            raise _Wrong("does not hold an object with the keys bytes (base64) and path")
        if not isinstance(value["path"], str | None):
            raise _Wrong(f"holds {_word(value['path'])} as a path, not a text")
        data = None if value["bytes"] is None else _base64(value["bytes"])
        return {"bytes": data, "path": value["path"]}
    if sort == "bytes":
        return _fits(_base64(value), feature)
    if sort == "label":
        return _number_or_name(value, feature)
    if sort in ("text", "raw"):
        if not isinstance(value, str):
            raise _Wrong(f"holds {_word(value)}, not a text")
        if sort == "raw":
            _json(value.encode())
        return value
    return _single(value, feature.pa_type)


def _base64(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (ValueError, TypeError):
        raise _Wrong("does not hold bytes in base64") from None


def _number_or_name(value: Any, feature: Any) -> int:
    if isinstance(value, str):
        return _label(value, feature)
    if type(value) is not int or not -(2**63) <= value < len(feature.names):
        raise _Wrong(f"holds {value!r}, not the name or the number of a class")
    return value


def _single(value: Any, kind: pyarrow.DataType) -> Any:
    """A number, a boolean, a decimal or a time. Arrow alone would cut 1.5 to an integer."""
    import decimal

    import pyarrow as pa
    from pyarrow import types

    wrong = _Wrong(f"holds {json.dumps(value, ensure_ascii=False)[:60]}, which is no {kind}")
    if types.is_boolean(kind):
        fits = type(value) is bool
    elif types.is_integer(kind):
        fits = type(value) is int
    elif types.is_floating(kind):
        if value in ("nan", "inf", "-inf"):
            return float(value)
        fits = type(value) in (int, float)
    elif types.is_decimal(kind):
        try:
            value = decimal.Decimal(value) if type(value) in (str, int) else None
        except decimal.InvalidOperation:
            raise wrong from None
        fits = value is not None and value.is_finite()
    elif types.is_temporal(kind):
        if type(value) not in (str, int):
            raise wrong
        return _moment(value, kind)
    else:
        fits = False  # null
    if not fits:
        raise wrong
    try:
        pa.array([value], kind)
    except (pa.ArrowException, OverflowError):
        raise wrong from None
    return value


def _build(values: Sequence[Any], feature: Any) -> pyarrow.Array:
    """An array of the feature's type. Arrow itself builds no extension types inside others."""
    import pyarrow as pa
    from datasets import Json, LargeList, List
    from datasets.features.features import get_nested_type

    kind = get_nested_type(feature)
    mask = pa.array([value is None for value in values], pa.bool_())
    if hasattr(feature, "shape"):
        return pa.ExtensionArray.from_storage(kind, _build(values, _form(feature)))
    if isinstance(feature, Json):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    feature = _form(feature)
    if isinstance(feature, dict) and feature:
        parts = [
            _build([None if value is None else value[name] for value in values], inner)
            for name, inner in feature.items()
        ]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=mask)
    if isinstance(feature, List) and feature.length != -1:
        empty = [None] * feature.length
        items = [item for value in values for item in (empty if value is None else value)]
        inner = _build(items, feature.feature)
        return pa.FixedSizeListArray.from_arrays(inner, type=kind, mask=mask)
    if isinstance(feature, List | LargeList):
        offsets, items = [0], []
        for value in values:
            items += value or []
            offsets.append(len(items))
        array = pa.LargeListArray if isinstance(feature, LargeList) else pa.ListArray
        wide = pa.int64() if isinstance(feature, LargeList) else pa.int32()
        inner = _build(items, feature.feature)
        return array.from_arrays(pa.array(offsets, wide), inner, type=kind, mask=mask)
    return pa.array(values, kind)


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


def _stem(column: str) -> str:
    """A column's name as a file's name without suffix: as it is, but for what could mislead."""
    if column == "":
        return "%"
    whole = unicodedata.normalize("NFC", column) == column

    def safe(character: str) -> bool:
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
            stem = "".join(_percent(c) if c.casefold() != c else c for c in column)
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
    sort = _sort(feature)
    if not scalar.is_valid:
        yield f"{stem}.null", b""
    elif sort == "text":
        yield f"{stem}.txt", scalar.as_py().encode()
    elif sort == "bytes":
        yield f"{stem}.bin", scalar.as_py()
    elif sort == "raw":
        yield f"{stem}.json", scalar.value.as_py().encode()
    elif sort == "label" and (name := _class(scalar.as_py(), feature)) is not None:
        yield f"{stem}.txt", name.encode()
    elif sort == "media" and scalar["bytes"].is_valid:
        data, path = scalar["bytes"].as_py(), scalar["path"].as_py()
        yield f"{stem}.{_suffix(data, path, feature)}", data
        if path is not None:
            yield f"{stem}.path", path.encode()
    else:
        value = _encode(scalar, feature)
        deep = isinstance(value, dict) or (
            isinstance(value, list) and any(isinstance(item, list | dict) for item in value)
        )
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2 if deep else None)
        yield f"{stem}.json", f"{text}\n".encode()


def _suffix(data: bytes, path: str | None, feature: Any) -> str:
    """The suffix of media: of its format where that is known, else of its path, else bin."""
    from datasets import Audio, Image

    named = (path or "").rpartition(".")[2].lower()
    try:
        if isinstance(feature, Image):
            return IMAGES.get(_image(data, load=False), "bin")
        if isinstance(feature, Audio):
            found = SOUNDS.get(_sound(data, load=False), "bin")
            return "opus" if (found, named) == ("ogg", "opus") else found
    except _Wrong:
        pass
    ours = ("txt", "json", "bin", "null", "path")
    fits = re.fullmatch("[a-z0-9]{1,8}", named) is not None and "." in (path or "")
    return named if fits and named not in ours else "bin"


def unpack(job: Job) -> dict[str, Any]:
    """Rows of a recipe's source as records, before anything is chosen or shrunk.

    Settings: dataset (the recipe's section), config and split of the source or None (what the
    section takes first), rows ("1,4-10", or None: the first ten, or as many as there are), options
    of `sources.open_folder`. Inputs: place, the source's folder or file.
    Facts: rows (their numbers), columns. Raises BuildFault.
    """
    from tinybuild.dataset import sources
    from tinybuild.dataset.select import select

    section, rows = job.settings["dataset"], job.settings["rows"]
    with tempfile.TemporaryDirectory(dir=job.out.parent, prefix=f".{job.out.name}-") as scratch:
        if "records" in section:
            source = open_records(job.inputs["place"])
        else:
            source = sources.open_folder(
                job.inputs["place"], scratch=Path(scratch), options=job.settings["options"]
            )
        part = parts(section)[0]
        given = {"of_config": job.settings["config"], "of_split": job.settings["split"]}
        part = replace(part, **{key: value for key, value in given.items() if value is not None})
        split = source.open(*part.named(source.names, source.default))
        wish = {"samples": 10, "at_most": True} if rows is None else {"rows": rows}
        table, _ = select(split, wish, job.seed)
        numbers = range(1, table.num_rows + 1) if rows is None else _numbers(rows)
        write_records(table, split.features, numbers, job.out, source.about)
    return {"rows": list(numbers), "columns": list(split.features)}


def _numbers(rows: str) -> list[int]:
    """The numbers that "1,4-10" stands for, ascending."""
    found: set[int] = set()
    for part in rows.split(","):
        first, _, last = part.strip().partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return sorted(found)
