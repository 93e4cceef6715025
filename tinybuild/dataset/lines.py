"""Rows of JSON, CSV and text, from a stream of bytes: a file's, or what is unpacked of one."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild.dataset.archives import KEY, Bytes, reason, too_much
from tinybuild.dataset.schemas import SAY_TYPES, caster
from tinybuild.errors import BuildFault, Fault

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features

# The library infers types from so many bytes of JSON, and so many rows of CSV.
JSON_LOOK = 10 << 20
CSV_LOOK = 10_000
# What is read at once, in bytes and in rows.
PIECE = 2 << 20
ROWS = 1_000


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a file is read.

    module: json, csv or text. name: what messages call it. options: those of datasets' reader.
    scratch: a folder for files in between. most: bytes of one JSON array, or of one text that is a
    row.
    """

    module: str
    name: str
    options: Mapping[str, Any]
    scratch: Path
    most: int

    def checked(self, stream: Bytes) -> _Checked:
        return _Checked(stream, self.name, self.options.get("encoding"))


def schema(how: Reading, stream: Bytes) -> pyarrow.Schema | None:
    """What datasets infers from a file's first rows; None where it has none."""
    import pyarrow

    if how.module == "text":
        # An empty file is a text as a whole, and has no line.
        if how.options.get("sample_by") != "document" and not stream.read(1):
            return None
        return pyarrow.schema([("text", pyarrow.string())])
    checked = how.checked(stream)
    if how.module == "csv":
        table = next(_csv(how, checked, {}, CSV_LOOK), None)
        return None if table is None or not table.num_rows else table.schema
    for number, piece in _pieces(how, checked, JSON_LOOK):
        if piece.strip():
            return _guess(number, piece, how)
    return None


def tables(
    how: Reading, stream: Bytes, features: Features, declared: bool
) -> Iterator[pyarrow.Table]:
    """The rows in the split's features; `declared` if a card says these, and no look at files.

    Raises BuildFault, naming the line (of JSON and text) or the row.
    """
    checked, name = how.checked(stream), how.name
    if how.module == "text":
        yield from _text(how, checked, features)
    elif how.module == "csv":
        first, cast = 0, caster(features)
        for table in _csv(how, checked, features, ROWS):
            yield cast(table if declared else _numbers(table, features, name, first), name, first)
            first += table.num_rows
    else:
        yield from _json(how, checked, features, declared)


class _Checked(io.RawIOBase):
    """A stream that must be UTF-8, and says in which line it is not.

    `fault` keeps what stopped it, since pandas' reader in C tells only that something did.
    """

    def __init__(self, source: Bytes, name: str, encoding: str | None = None) -> None:
        self.source = source
        self.name = name
        self.fault: Fault | None = None
        self.lines = 0
        known = codecs.lookup(encoding).name if encoding else "utf-8"
        self.decoder = codecs.getincrementaldecoder("utf-8")() if known == "utf-8" else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.source.read(len(buffer))
        except BuildFault as known:
            self.fault = known
            raise
        except OSError as error:
            fault = self.fault = BuildFault.of(f"{self.name}: {error.strerror or error}", key=KEY)
            raise fault from None
        self._check(data)
        buffer[: len(data)] = data
        return len(data)

    def _check(self, data: bytes) -> None:
        if self.decoder is None:
            return
        before = self.decoder.getstate()[0]
        try:
            self.decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self.lines + (before + data)[: error.start].count(b"\n") + 1
            fault = self.fault = _not_utf8(self.name, line, error)
            raise fault from None
        self.lines += data.count(b"\n")


def _text(how: Reading, checked: _Checked, features: Features) -> Iterator[pyarrow.Table]:
    """As datasets cuts it: lines; paragraphs (between empty lines, empty ones left out); a file."""
    import pyarrow

    cast, name, options = caster(features), how.name, how.options
    errors = options.get("encoding_errors")
    if errors not in (None, "strict"):
        checked.decoder = None
    text = io.TextIOWrapper(
        io.BufferedReader(checked, 1 << 16), options.get("encoding") or "utf-8", errors
    )
    column = next(iter(features))
    first = 0
    rows: list[str] = []
    size = 0
    units = {"line": _text_lines, "paragraph": _paragraphs, "document": _document}
    made = units[options.get("sample_by") or "line"](text, how)
    while True:
        try:
            row = next(made, None)
        except UnicodeDecodeError as error:
            raise BuildFault.of(
                f"{name}, after row {first + len(rows):,}: is not {error.encoding}", key=KEY
            ) from None
        if row is not None:
            rows.append(row)
            size += len(row)
        if rows and (row is None or len(rows) == ROWS or size > PIECE):
            yield cast(pyarrow.table({column: pyarrow.array(rows, pyarrow.string())}), name, first)
            first += len(rows)
            rows, size = [], 0
        if row is None:
            return


def _text_lines(text: io.TextIOWrapper, how: Reading) -> Iterator[str]:
    keep = how.options.get("keep_linebreaks", False)
    while line := text.readline(how.most + 1):
        if len(line) > how.most:
            raise too_much(how.name, how.most)
        yield line if keep else line.removesuffix("\n")


def _paragraphs(text: io.TextIOWrapper, how: Reading) -> Iterator[str]:
    rest = ""
    while chunk := text.read(PIECE):
        *whole, rest = (rest + chunk).split("\n\n")
        yield from filter(None, whole)
        if len(rest) > how.most:
            raise too_much(how.name, how.most)
    if rest:
        yield rest


def _document(text: io.TextIOWrapper, how: Reading) -> Iterator[str]:
    whole = text.read(how.most + 1)
    if len(whole) > how.most:
        raise too_much(how.name, how.most)
    yield whole


def documents(
    streams: Iterable[tuple[str, Bytes]], features: Features, most: int
) -> Iterator[pyarrow.Table]:
    """A row for each of many files of UTF-8, some hundred to a table: `tables` takes 10 times as
    long for each.
    """
    import pyarrow

    cast = caster(features)
    column = next(iter(features))

    def table() -> pyarrow.Table:
        return cast(pyarrow.table({column: pyarrow.array(rows, pyarrow.string())}), first, 0)

    rows: list[str] = []
    size = 0
    first = ""
    for name, stream in streams:
        data = stream.read(most + 1)
        if len(data) > most:
            raise too_much(name, most)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise _not_utf8(name, data[: error.start].count(b"\n") + 1, error) from None
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        first = first or name
        rows.append(text)
        size += len(text)
        if len(rows) == ROWS or size > PIECE:
            yield table()
            rows, size, first = [], 0, ""
    if rows:
        yield table()


def _not_utf8(name: str, line: int, error: UnicodeDecodeError) -> Fault:
    return BuildFault.of(
        f"{name}, line {line:,}: is not UTF-8 ({error.reason})",
        key=KEY,
        hint="save it as UTF-8, or leave it out",
    )


def _csv(
    how: Reading, checked: _Checked, features: Mapping[str, Any], rows: int
) -> Iterator[pyarrow.Table]:
    """What pandas reads, with the options of datasets' own reader; texts stay as they stand."""
    import pandas  # type: ignore[import-untyped]
    import pyarrow
    from datasets import Value
    from datasets.packaged_modules.csv.csv import CsvConfig

    texts = {
        column: str
        for column, feature in features.items()
        if not isinstance(feature, Value) or feature.dtype in ("string", "large_string")
    }
    settings = CsvConfig(**how.options).pd_read_csv_kwargs
    # With low_memory one column may come out as texts and numbers, by where the file is cut.
    settings.update(chunksize=rows, low_memory=False)
    if settings.get("engine") not in (None, "c"):
        del settings["low_memory"]
    first = 0
    try:
        for frame in pandas.read_csv(
            io.BufferedReader(checked, 1 << 16), iterator=True, dtype=texts, **settings
        ):
            table = pyarrow.Table.from_pandas(frame, preserve_index=False)
            yield table.replace_schema_metadata(None)
            first += table.num_rows
    except (ValueError, pyarrow.ArrowException, OverflowError) as error:
        if checked.fault is not None:
            raise checked.fault from None
        if isinstance(error, pandas.errors.EmptyDataError):
            return  # not even a header
        text = reason(error).removeprefix("Error tokenizing data. C error: ")
        raise BuildFault.of(
            f"{how.name}, after row {first:,}: cannot be read as CSV: {text}",
            key=KEY,
            hint="rows have as many fields as the header, and quotes in pairs",
        ) from None


def _numbers(table: pyarrow.Table, features: Features, name: str, first: int) -> pyarrow.Table:
    """Refuse a type that the first rows did not have: pandas looks at each part of a file anew.

    A column without a value in it fits any; whole numbers with gaps come as floats.
    """
    import pyarrow

    types = pyarrow.types
    for place, field in enumerate(table.schema):
        if field.name not in features:
            continue
        column = table.column(place)
        wanted = features.arrow_schema.field(field.name).type
        if field.type == wanted or column.null_count == len(column):
            if field.type != wanted:
                nothing = pyarrow.nulls(len(column), wanted)
                table = table.set_column(place, field.name, nothing)
            continue
        number = types.is_integer(field.type) or types.is_floating(field.type)
        wants = types.is_integer(wanted) or types.is_floating(wanted)
        texts = types.is_large_string(field.type) and types.is_string(wanted)
        if not (texts or (number and wants)):
            row = first + 1
            if types.is_string(field.type) or types.is_large_string(field.type):
                row += next(i for i, v in enumerate(column) if not _like(v.as_py(), wanted))
            raise BuildFault.of(
                f"{name}, row {row:,}: column {field.name!r} is {field.type}, "
                f"and {wanted} in the rows before",
                key=KEY,
                hint=SAY_TYPES,
            )
    return table


def _like(value: Any, wanted: pyarrow.DataType) -> bool:
    import pyarrow

    if value is None:
        return True
    try:
        pyarrow.array([value], pyarrow.string()).cast(wanted)
    except pyarrow.ArrowInvalid:
        return False
    return True


def _pieces(how: Reading, checked: _Checked, size: int) -> Iterator[tuple[int, bytes]]:
    """(the number of its first line, whole lines of JSON) one after another.

    An array is made to lines, of which each is a row, and 0 stands for the number; `field` of the
    options names the array in an object.
    """
    stream: Any = io.BufferedReader(checked, 1 << 16)
    options, most = how.options, how.most
    encoding = options.get("encoding")
    recode = encoding and codecs.lookup(encoding).name != "utf-8"
    if recode:
        errors = options.get("encoding_errors")
        stream = io.TextIOWrapper(stream, encoding, errors, newline="")

    def read(count: int) -> bytes:
        data: Any = stream.read(count) + stream.readline(most + 1)
        made: bytes = data.encode() if recode else data
        return made

    line = 1
    piece = read(size).removeprefix(codecs.BOM_UTF8)
    field = options.get("field")
    if field is not None or piece.lstrip().startswith(b"["):
        while more := read(size):
            piece += more
            if len(piece) > most:
                raise too_much(how.name, most)
        yield 0, _array(piece, how.name, field)
        return
    while piece:
        yield line, piece
        line += piece.count(b"\n")
        piece = read(size)


def _array(whole: bytes, name: str, field: str | None) -> bytes:
    try:
        rows = json.loads(whole)
    except (ValueError, RecursionError) as error:
        raise _not_json(name, error) from None
    if field is not None:
        rows = rows.get(field) if isinstance(rows, dict) else None
    if not isinstance(rows, list):
        raise BuildFault.of(f"{name}: has no array of rows in {field!r}", key=KEY)
    if rows and not isinstance(rows[0], dict):
        rows = [{"text": row} for row in rows]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _not_json(name: str, error: Exception, line: int = 0) -> Fault:
    if isinstance(error, json.JSONDecodeError):
        where = f"line {(line or 1) + error.lineno - 1:,}, column {error.colno:,}"
        what = error.msg
    else:
        where, what = f"line {line or 1:,}", reason(error)
    return BuildFault.of(
        f"{name}, {where}: is not JSON: {what}",
        key=KEY,
        hint="one object in each line, or one array of objects",
    )


def _guess(number: int, piece: bytes, how: Reading) -> pyarrow.Schema:
    """The schema that datasets' own reader infers for the first rows."""
    try:
        table = next(_library(piece, None, how.scratch))
    except _json_errors() as error:
        raise _Piece(how.name, number, piece).fault(None, None, error) from None
    return table.schema


def _json_errors() -> tuple[type[Exception], ...]:
    import pyarrow

    return (ValueError, TypeError, KeyError, pyarrow.ArrowException)


@contextlib.contextmanager
def silent(*loggers: str) -> Iterator[None]:
    """Nothing of what a library logs before it raises, with our scratch file's path in it."""
    logs = [logging.getLogger(logger) for logger in loggers]
    before = [log.disabled for log in logs]
    for log in logs:
        log.disabled = True
    try:
        yield
    finally:
        for log, disabled in zip(logs, before, strict=True):
            log.disabled = disabled


def _library(piece: bytes, features: Features | None, scratch: Path) -> Iterator[pyarrow.Table]:
    from datasets.packaged_modules.json.json import Json

    _begins(piece)
    with tempfile.NamedTemporaryFile(dir=scratch, suffix=".jsonl") as file:
        file.write(piece)
        file.flush()
        reader = Json(
            cache_dir=str(scratch / "cache"),
            features=features,
            chunksize=len(piece) + 1,
            parse_agent_traces=False,
            on_mixed_types="use_json" if features is None else None,
        )
        names = [file.name]
        with silent("datasets.packaged_modules.json.json"):
            yield from (table for _, table in reader._generate_tables(names, [names], names))


def _json(
    how: Reading, checked: _Checked, features: Features, declared: bool
) -> Iterator[pyarrow.Table]:
    cast, name = caster(features), how.name
    # A column of any JSON (types mixed within a row) is the library's invention: it reads it.
    strict = None if declared or _has_json(features) else _plain(features)
    first = 0
    for number, piece in _pieces(how, checked, PIECE):
        if not piece.strip():
            continue
        try:
            if strict is not None:
                made = [_parse(piece, strict)]
            else:
                made = list(_library(piece, features, how.scratch))
        except _json_errors() as error:
            row = number or -first
            raise _Piece(name, row, piece).fault(features, strict, error) from None
        for table in made:
            for begin in range(0, table.num_rows, ROWS):
                part = table.slice(begin, ROWS)
                yield cast(part, name, first + begin)
            first += table.num_rows


def _has_json(features: Any) -> bool:
    from datasets import Json

    if isinstance(features, Mapping):
        return any(_has_json(feature) for feature in features.values())
    inner = getattr(features, "feature", None)
    return isinstance(features, Json) or (inner is not None and _has_json(inner))


def _plain(features: Features) -> pyarrow.Schema:
    return features.arrow_schema.remove_metadata()


def _begins(piece: bytes) -> None:
    """Refuse what pyarrow dies of (SIGSEGV)."""
    if piece.lstrip().startswith(b"null"):
        raise ValueError("a row is an object")


def _parse(piece: bytes, schema: pyarrow.Schema | None) -> pyarrow.Table:
    import pyarrow.json

    _begins(piece)
    return pyarrow.json.read_json(
        io.BytesIO(piece),
        # One block: where a block ends must not decide anything.
        read_options=pyarrow.json.ReadOptions(block_size=len(piece) + 1, use_threads=False),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="error" if schema else "infer"
        ),
    )


@dataclass(frozen=True)
class _Piece:
    """Lines of JSON that cannot be read.

    `number` is the first line's, from 1; of an array's rows it is 0 or less, and counts them.
    """

    name: str
    number: int
    data: bytes

    def fault(
        self, features: Features | None, strict: pyarrow.Schema | None, error: Exception
    ) -> Fault:
        """The fault of the first line that cannot be read, as far as it is found."""
        unit, first = ("line", self.number) if self.number > 0 else ("row", 1 - self.number)
        all_lines = self.data.split(b"\n")
        skip = _first_bad(all_lines, strict) if strict is not None else 0
        for place, line in enumerate(all_lines[skip:], first + skip):
            if line.strip():
                known = self._line(f"{unit} {place:,}", place, line, features)
                known = known or self._misfit(f"{unit} {place:,}", line, strict)
                if known is not None:
                    return known
        if features is None:
            # Each line is JSON, and Arrow does not take it all the same: a column twice.
            first += _first_bad(all_lines, None)
        what = f"{self.name}, {unit} {first:,}: {reason(error)}"
        return BuildFault.of(what, key=KEY, hint=SAY_TYPES)

    def _line(self, where: str, place: int, line: bytes, features: Features | None) -> Fault | None:
        """A line that is not an object with the columns of the others."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as broken:
            return _not_json(self.name, broken, place)
        if not isinstance(row, dict):
            return _not_json(self.name, ValueError("a row is an object"), place)
        extra = sorted(set(row) - set(features)) if features is not None else ()
        if not extra:
            return None
        return BuildFault.of(
            f"{self.name}, {where}: has a column {extra[0]!r} that the rows before do not have",
            key=KEY,
            hint="give all rows the same columns (null where one has no value), "
            "or say them in README.md's dataset_info",
        )

    def _misfit(self, where: str, line: bytes, strict: pyarrow.Schema | None) -> Fault | None:
        """A value of another type than those before it."""
        import pyarrow

        if strict is None:
            return None
        for column, value in json.loads(line).items():
            wanted = strict.field(column)
            try:
                _parse(json.dumps({column: value}).encode(), pyarrow.schema([wanted]))
            except (pyarrow.ArrowException, ValueError) as misfit:
                return BuildFault.of(
                    f"{self.name}, {where}: column {column!r} is {_type_of(value, misfit)}, "
                    f"and {wanted.type} in the rows before",
                    key=KEY,
                    hint=SAY_TYPES,
                )
        return None


def _first_bad(all_lines: list[bytes], schema: pyarrow.Schema | None) -> int:
    """The place of the first line that does not parse, by halving: 2 MB take 16 attempts."""
    import pyarrow

    good, bad = 0, len(all_lines)
    while bad - good > 1:
        middle = (good + bad) // 2
        some = b"\n".join(all_lines[good:middle])
        try:
            if some.strip():
                _parse(some, schema)
            good = middle
        except (pyarrow.ArrowException, ValueError):
            bad = middle
    return good


def _type_of(value: Any, error: Exception) -> str:
    import pyarrow

    try:
        return str(pyarrow.array([value]).type)
    except (pyarrow.ArrowException, ValueError, OverflowError):
        return f"something else ({reason(error)})"
