"""Files of a dataset repository that are no Parquet: their first records, or whole files."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import itertools
import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tinybuild.dataset.parts import Part, spans
from tinybuild.errors import Fault, SourceFault
from tinybuild.source.pins import fault
from tinybuild.source.upstream import Upstream

LINES = ("json", "csv", "text")
PACKED = (".gz", ".xz", ".bz2", ".zst")
TARS = re.compile(r"\.(tar|tgz|tar\.(gz|xz|bz2|zst))$", re.IGNORECASE)
FILES = (".txt", ".text", ".jsonl", ".ndjson", ".csv", ".tsv")  # rows in lines, or a text
NESTED = (*PACKED, ".zip", ".tar", ".tgz")
LOOK = 20  # members that show what a tar is
MEMBER = 1 << 28  # bytes of one member of a tar that is looked into, packed and unpacked


def first(parts: Sequence[Part]) -> int | None:
    """How many rows from the first on hold all that these parts want; None where none is enough."""
    wanted = 0
    for part in parts:
        wish = part.wish
        if "where" in wish:
            return None
        if "rows" in wish:
            wanted = max(wanted, spans(wish["rows"])[-1].stop)
        elif wish.get("select", "first") == "first":
            wanted = max(wanted, wish["samples"])
        else:
            return None
    return wanted


class Shards:
    """The files of one split, `names`, fetched into `out` under their own names, or unpacked."""

    def __init__(self, upstream: Upstream, names: tuple[str, ...], out: Path):
        self.upstream, self.names, self.out = upstream, names, out

    @property
    def _repo(self) -> str:
        return str(self.upstream.wish.data["hub"])

    # --- the first records -----------------------------------------------------------------------

    def lines(self, wanted: int, module: str, options: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The first records of files of lines, unpacked; None if these are no files of lines."""
        if not _by_line(module, options):
            return None
        if any(name.lower().endswith((".zip", ".tar")) for name in self.names):
            return None
        kept: list[str] = []
        for name in self.names:
            if wanted <= 0:
                break
            plain = name
            if name.lower().endswith(PACKED):
                plain = name[: name.rindex(".")]
            if plain in kept or (plain != name and plain in self.names):
                self._remove(kept)
                return None
            target = self.out / plain
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self._readable(name), target.open("wb") as file:
                    stream = _unpacked(self.upstream.stream(name), name)
                    wanted -= _copy(stream, file, wanted, module, options)
            except _NoLines:
                self._remove([*kept, plain])
                return None
            kept.append(plain)
        return tuple(kept)

    def _remove(self, kept: Sequence[str]) -> None:
        """Remove the heads that were written: the files are to be taken as a whole."""
        for name in kept:
            (self.out / name).unlink()

    @contextlib.contextmanager
    def _readable(self, name: str) -> Iterator[None]:
        """What breaks while a file is unpacked becomes a fault."""
        import pyarrow

        try:
            yield
        except (
            *(EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, gzip.BadGzipFile),
            *(pyarrow.ArrowException, OSError),
        ) as error:
            if getattr(error, "errno", None) is not None:
                raise  # the disk's trouble, not the file's
            line = next(iter(str(error).splitlines()), type(error).__name__)
            what = f"{name} of {self._repo} cannot be unpacked: {line}"
            hint = "the repository is damaged; try another revision"
            raise fault(self.upstream.wish, what, hint) from None

    def tars(self, wanted: int, module: str) -> tuple[tuple[str, ...], str] | None:
        """The first members of tars, as tars of only these, and what they are: webdataset or
        archive; None if the files are no tars."""
        if not all(TARS.search(name) for name in self.names):
            return None
        kept: list[str] = []
        for name in self.names:
            if wanted <= 0:
                break
            plain = TARS.sub("", name) + ".tar"
            if plain in kept:
                self._remove(kept)
                return None
            target = self.out / plain
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._readable(name):
                stream = io.BufferedReader(_raw(self.upstream.stream(name), name), 1 << 16)
                with (
                    tarfile.open(fileobj=stream, mode="r|*", bufsize=tarfile.BLOCKSIZE) as tar,
                    tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as made,
                ):
                    count, flat = self._members(name, tar, made, wanted)
            wanted -= count
            kept.append(plain)
            module = "archive" if module == "archive" or flat else module
        return tuple(kept), module

    def _members(
        self, name: str, tar: tarfile.TarFile, made: tarfile.TarFile, wanted: int
    ) -> tuple[int, bool]:
        """Copy members until they hold enough rows; how many, and whether they are texts or packed
        (one row each, or more) rather than the fields of a WebDataset (one row for each key)."""
        seen, rows = _Seen(), 0
        for member in tar:
            if not member.isfile():
                continue
            if seen.texts(member.name):
                enough = rows >= wanted
            else:
                enough = seen.key(member.name) not in seen.keys and len(seen.keys) >= wanted
            if enough:
                break
            if member.size > MEMBER:
                what = f"{name}, {member.name} has {member.size:,} bytes; at most {MEMBER:,}"
                raise fault(self.upstream.wish, f"{what} are read from an archive")
            file = tar.extractfile(member)
            data = file.read() if file is not None else b""
            if len(data) < member.size:
                raise EOFError(f"it ends within {member.name}")
            seen.add(member.name)
            rows += _rows(member.name, data)
            plain = tarfile.TarInfo(member.name)
            plain.size, plain.mode = len(data), 0o644
            made.addfile(plain, io.BytesIO(data))
        flat = seen.texts()
        return (rows if flat else len(seen.keys)), flat

    def packed_texts(self, names: Sequence[str]) -> bool:
        """Whether fetched tars hold texts or packed files rather than a WebDataset."""
        if not names or not TARS.search(names[0]):
            return False
        seen = _Seen()
        with (
            self._readable(names[0]),
            (self.out / names[0]).open("rb") as file,
            tarfile.open(fileobj=_raw(file, names[0]), mode="r|*") as tar,
        ):
            for member in itertools.islice(tar, LOOK):
                if member.isfile():
                    seen.add(member.name)
        return seen.texts()

    # --- whole files -----------------------------------------------------------------------------

    def whole(self, how: str, share: int, parts: Sequence[Part]) -> tuple[str, ...]:
        """Whole files as far as the share allows: in order; the smallest ones for random rows; or
        spread over the list."""
        files, count = self.upstream.files, len(self.names)
        size = {name: files[name].size for name in self.names}
        if how == "random":
            order = sorted(self.names, key=lambda name: (size[name], name))
        elif how == "spread":
            order = list(self.names)
            for some in range(count, 0, -1):
                order = [self.names[i * count // some] for i in range(some)]
                if sum(size[name] for name in order) <= share:
                    break
        else:
            order = list(self.names)
        kept: list[str] = []
        left = share
        for name in order:
            if size[name] > left and kept:
                break
            if size[name] > self.upstream.left:
                raise self._large(name, size[name], parts)
            left -= size[name]
            kept.append(name)
        for name in (chosen := [name for name in self.names if name in set(kept)]):
            self._copy(name)
        return tuple(chosen)

    def all(self, parts: Sequence[Part]) -> tuple[str, ...]:
        """Every file, for formats whose features hang on all of them (the labels of folders)."""
        total = sum(self.upstream.files[name].size for name in self.names)
        if total > self.upstream.left:
            raise SourceFault.of(
                f"{len(self.names):,} files of {self._repo} are needed, {total:,} bytes; "
                f"max_read leaves {self.upstream.left:,} of {self.upstream.limit:,}",
                key=("dataset", "source"),
                hint="raise dataset.source.max_read",
            )
        for name in self.names:
            self._copy(name)
        return self.names

    def _large(self, name: str, size: int, parts: Sequence[Part]) -> Fault:
        return SourceFault.of(
            f"{name} of {self._repo} has {size:,} bytes and is read as a whole; "
            f"max_read leaves {self.upstream.left:,} of {self.upstream.limit:,}",
            key=parts[0].keys.get("select", ("dataset", "source")),
            hint="raise dataset.source.max_read, or take the first rows (select: first)",
        )

    def _copy(self, name: str) -> None:
        target = self.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        size = self.upstream.files[name].size
        with target.open("wb") as file:
            self.upstream.copy(name, 0, size, file)


class _NoLines(Exception):
    """The file is not one record a line."""


def _by_line(module: str, options: Mapping[str, Any]) -> bool:
    encoding = str(options.get("encoding") or "utf-8").lower().replace("_", "-")
    plain = not encoding.startswith(("utf-16", "utf-32", "utf16", "utf32"))
    if module == "json":
        return plain and not options.get("field")
    return plain and module in LINES


def _raw(stream: Any, name: str) -> Any:
    """zstd for tarfile, which does not know it; the other kinds of packing it finds itself."""
    return _unpacked(stream, name) if name.lower().endswith(".zst") else stream


def _unpacked(stream: Any, name: str) -> Any:
    """The unpacked bytes of a stream, as they come."""
    suffix = name.lower().rpartition(".")[2]
    if suffix == "gz":
        return gzip.GzipFile(fileobj=io.BufferedReader(stream))
    if suffix == "xz":
        return lzma.LZMAFile(io.BufferedReader(stream))
    if suffix == "bz2":
        return bz2.BZ2File(io.BufferedReader(stream))
    if suffix == "zst":
        import pyarrow

        return pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, mode="r"), "zstd")
    return stream


def _copy(
    stream: Any, file: IO[bytes], wanted: int, module: str, options: Mapping[str, Any]
) -> int:
    """Copy lines until `wanted` records are complete; how many they were.

    A record of CSV goes on while a quote is open; the header, and lines to be skipped before it,
    are no record. A paragraph of text ends at an empty line; a document is the whole file.
    """
    by = options.get("sample_by", "line") if module == "text" else "line"
    quoted = module == "csv" and options.get("quoting", 0) != 3  # QUOTE_NONE
    quote = str(options.get("quotechar", '"')).encode()
    ahead = 0
    if module == "csv":
        skip = options.get("skiprows") or 0
        ahead = (options.get("header", "infer") is not None) + (
            skip if isinstance(skip, int) else 0
        )
    count, open_, begun = -ahead, False, False
    for number, line in enumerate(_lines(stream)):
        if number == 0 and module == "json":
            _check_json(line)
        file.write(line)
        if quoted and line.count(quote) % 2:
            open_ = not open_
        if open_ or by == "document":
            continue
        blank = not line.strip()
        if by == "paragraph":
            count, begun = count + (blank and begun), not blank
        else:
            count += not blank or module == "text"
        if count >= wanted:
            return count
    return count + (by == "document" or begun)


def _check_json(line: bytes) -> None:
    """Raise _NoLines if a first line shows that the file is one JSON value over many lines."""
    try:
        value = json.loads(line.removeprefix(b"\xef\xbb\xbf")) if line.strip() else {}
    except (ValueError, RecursionError):
        raise _NoLines from None
    if not isinstance(value, dict):
        raise _NoLines


def _lines(stream: Any) -> Iterator[bytes]:
    """Lines with their ends; a long one is put together from its pieces."""
    held = b""
    while piece := stream.read(1 << 16):
        *whole, held = (held + piece).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if held:
        yield held


class _Seen:
    """Names of a tar's members. In a WebDataset, those of one key (up to the first dot) are the
    fields of one row; where no two have one key, files of lines or packed ones are rows."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.grouped = self.lines = False

    def key(self, name: str) -> str:
        pure = PurePosixPath(name)
        return str(pure.parent / pure.name.partition(".")[0])

    def add(self, name: str) -> None:
        self.grouped = self.grouped or self.key(name) in self.keys
        self.lines = self.lines or name.lower().endswith((*FILES, *NESTED))
        self.keys.add(self.key(name))

    def texts(self, more: str = "") -> bool:
        """Whether the members, and one more, are files of lines."""
        return self.lines and not self.grouped and not (more and self.key(more) in self.keys)


def _rows(name: str, data: bytes) -> int:
    """At least how many rows a member of a tar is or holds: a packed one may be a tar itself."""
    lower = name.lower()
    if not lower.endswith(NESTED):
        lines = sum(bool(line.strip()) for line in data.splitlines())
        if lower.endswith((".jsonl", ".ndjson")):
            return lines
        if lower.endswith((".csv", ".tsv")):
            return int(lines > 1)
        return int(lines > 0)
    if lower.endswith(".zip"):
        import zipfile

        try:
            with zipfile.ZipFile(io.BytesIO(data)) as inner:
                return sum(entry.file_size > 0 for entry in inner.infolist())
        except zipfile.BadZipFile:
            return 0  # who reads the rows says what is wrong with it
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|*") as inner_tar:
            found, unpacked = 0, 0
            for member in inner_tar:
                found += member.isfile() and member.size > 0
                unpacked += member.size
                if unpacked > MEMBER:
                    break
            return found
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError):
        return 1  # it is one packed text, or who reads the rows says what is wrong with it
