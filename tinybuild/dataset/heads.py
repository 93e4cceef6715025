"""Files that are read by ranges and are not Parquet: their first records, or whole files."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tinybuild.dataset import suffixes
from tinybuild.dataset.archives import (
    KEY,
    Bytes,
    Meter,
    inner_name,
    is_archive,
    is_packed,
    leaves_in,
    members_in,
    suffix_of,
    unpacked,
)
from tinybuild.dataset.folders import INFERRED
from tinybuild.dataset.parts import Part, spans
from tinybuild.dataset.ranged import Begun, Ended, Repository, Stream, called, left
from tinybuild.errors import BuildFault

Options = Mapping[str, object]  # of a reader of the datasets library
MEMBER = 1 << 28  # bytes of one member of a tar that is looked into


def first(parts: Sequence[Part]) -> int | None:
    """How many rows from the first on hold all that these parts want; None where none is enough."""
    wanted = 0
    for wish in (part.wish for part in parts):
        if "where" in wish or ("rows" not in wish and wish.get("select", "first") != "first"):
            return None
        wanted = max(wanted, spans(wish["rows"])[-1].stop if "rows" in wish else wish["samples"])
    return wanted


@dataclass(frozen=True, kw_only=True)
class Heads:
    """The files of one split, `names`, fetched into `out` under their own names, or unpacked.

    most: bytes that may be unpacked of one of them. scratch: a folder for what is in between.
    """

    files: Repository
    names: tuple[str, ...]
    out: Path
    scratch: Path
    most: int

    def _target(self, name: str) -> Path:
        target = self.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _remove(self, kept: Sequence[str]) -> None:
        """Remove the heads that were written: the files are to be taken as a whole."""
        for name in kept:
            (self.out / name).unlink()

    # --- the first records -----------------------------------------------------------------------

    def lines(self, wanted: int, module: str, options: Options) -> tuple[str, ...] | None:
        """The first records of files of lines, unpacked; None if these are no files of lines."""
        if not _by_line(module, options) or any(map(is_archive, self.names)):
            return None
        kept: list[str] = []
        for name in self.names:
            if wanted <= 0:
                break
            plain = inner_name(name)
            if plain in kept or (plain != name and plain in self.names):
                self._remove(kept)
                return None
            shown = called(self.files, name)
            stream = unpacked(Stream(self.files, name), name, shown, Meter(most=self.most))
            try:
                with self._target(plain).open("wb") as file:
                    wanted -= _copy(stream, file, wanted, module, options)
            except _NoLines:
                self._remove([*kept, plain])
                return None
            kept.append(plain)
        return tuple(kept)

    def tars(self, wanted: int) -> tuple[tuple[str, ...], bool] | None:
        """The first members of tars, as tars of only these, and whether these hold texts or packed
        files (one row each, or more) rather than the fields of a WebDataset (one row for each key);
        None if the files are no tars."""
        if any(suffix_of(inner_name(name)) != ".tar" for name in self.names):
            return None
        kept: list[str] = []
        texts = False
        for name in self.names:
            if wanted <= 0:
                break
            plain = name.removesuffix(suffix_of(name)) if is_packed(name) else name
            plain = plain.removesuffix(".tar") + ".tar"
            if plain in kept:
                self._remove(kept)
                return None
            with tarfile.open(self._target(plain), "w", format=tarfile.PAX_FORMAT) as made:
                rows, some = self._members(name, made, wanted)
            wanted -= rows
            texts = texts or some
            kept.append(plain)
        return tuple(kept), texts

    def _members(self, name: str, made: tarfile.TarFile, wanted: int) -> tuple[int, bool]:
        """Copy members until they hold enough rows; how many, and whether they are texts."""
        shown, stream = called(self.files, name), Stream(self.files, name)
        names: list[str] = []
        ahead: list[str] = []
        keys: set[str] = set()
        rows = 0
        for member, content in members_in(stream, name, shown, Meter(most=self.most)):
            if rows >= wanted and not ahead:
                ahead = self._begun(name, stream.begun)
            known = max(ahead, [*names, member], key=len)
            if suffixes.are_texts(known):
                enough = rows >= wanted
            else:  # what the first rows have is what all have
                enough = len(keys | {suffixes.key(member)}) > max(wanted, INFERRED)
            if enough:
                break
            data = content.read(MEMBER + 1)
            if len(data) > MEMBER:
                what = f"{shown}!{member} has more than {MEMBER:,} bytes"
                raise BuildFault.of(f"{what}: no more are read from an archive", key=KEY)
            names.append(member)
            keys.add(suffixes.key(member))
            rows += self._rows(f"{shown}!{member}", data)
            copied = tarfile.TarInfo(member)
            copied.size, copied.mode = len(data), 0o644
            made.addfile(copied, io.BytesIO(data))
        texts = suffixes.are_texts(max(ahead, names, key=len))
        return (rows if texts else len(keys)), texts

    def _begun(self, name: str, data: bytes) -> list[str]:
        """The names of the first members, as far as they lie in the bytes that were read."""
        names: list[str] = []
        try:
            within = members_in(Begun(data), name, name, Meter(most=self.most))
            for member, _ in itertools.islice(within, suffixes.LOOK):
                names.append(member)
        except Ended:
            pass
        return names

    def _rows(self, shown: str, data: bytes) -> int:
        """At least how many rows a member of a tar is or holds: it may be an archive itself."""
        rows, meter = 0, Meter(most=self.most)
        for name, stream in leaves_in(io.BytesIO(data), shown, meter, self.scratch):
            lines = sum(bool(line.strip()) for line in stream.read().splitlines())
            suffix = suffix_of(inner_name(name))
            if suffix in (".csv", ".tsv"):
                lines -= 1
            rows += lines if suffix in (".jsonl", ".ndjson") else min(1, max(0, lines))
        return rows

    # --- whole files -----------------------------------------------------------------------------

    def whole(self, how: str, share: int, parts: Sequence[Part]) -> tuple[str, ...]:
        """Whole files as far as the share allows: in order; the smallest ones for random rows; or
        spread over the list."""
        count, size = len(self.names), self.files.sizes
        order = list(self.names)
        if how == "random":
            order.sort(key=lambda name: (size[name], name))
        elif how == "spread":
            for some in range(count, 0, -1):
                order = [self.names[i * count // some] for i in range(some)]
                if sum(size[name] for name in order) <= share:
                    break
        kept: set[str] = set()
        for name in order:
            if size[name] > share and kept:
                break
            if size[name] > left(self.files):
                raise BuildFault.of(
                    f"{called(self.files, name)} has {size[name]:,} bytes and is read as a whole; "
                    f"max_read leaves {left(self.files):,} of {self.files.limit:,}",
                    key=parts[0].keys.get("select", ("dataset", "source")),
                    hint="raise dataset.source.max_read, or take the first rows (select: first)",
                )
            share -= size[name]
            kept.add(name)
        return self._copy([name for name in self.names if name in kept])

    def all(self) -> tuple[str, ...]:
        """Every file, for formats whose features depend on all of them (the labels of folders)."""
        total = sum(self.files.sizes[name] for name in self.names)
        if total > left(self.files):
            raise BuildFault.of(
                f"{len(self.names):,} files of {self.files.label} are needed, {total:,} bytes; "
                f"max_read leaves {left(self.files):,} of {self.files.limit:,}",
                key=("dataset", "source"),
                hint="raise dataset.source.max_read",
            )
        return self._copy(self.names)

    def _copy(self, names: Sequence[str]) -> tuple[str, ...]:
        for name in names:
            with self._target(name).open("wb") as file:
                self.files.copy(name, 0, self.files.sizes[name], file)
        return tuple(names)


class _NoLines(Exception):
    """The file is not one record a line."""


def _by_line(module: str, options: Options) -> bool:
    encoding = str(options.get("encoding") or "utf-8").lower().replace("_", "-")
    plain = not encoding.startswith(("utf-16", "utf-32", "utf16", "utf32"))
    return (
        plain
        and module in ("json", "csv", "text")
        and not (module == "json" and options.get("field"))
    )


def _copy(stream: Bytes, file: IO[bytes], wanted: int, module: str, options: Options) -> int:
    """Copy lines until `wanted` records are complete; how many they were.

    A record of CSV goes on while a quote is open; the header, and lines to be skipped before it,
    are not records. A paragraph of text ends at an empty line; a document is the whole file.
    """
    by = options.get("sample_by", "line") if module == "text" else "line"
    quoted = module == "csv" and options.get("quoting", 0) != 3  # QUOTE_NONE
    quote = str(options.get("quotechar", '"')).encode()
    count, open_, begun = 0, False, False
    if module == "csv":
        skip = options.get("skiprows") or 0
        count -= options.get("header", "infer") is not None
        count -= skip if isinstance(skip, int) else 0
    for number, line in enumerate(_lines(stream)):
        if number == 0 and module == "json":
            _check_json(line)
        file.write(line)
        if quoted and line.count(quote) % 2:
            open_ = not open_
        if open_ or by == "document":
            continue
        empty = not line.strip()
        if by == "paragraph":
            count, begun = count + (empty and begun), not empty
        else:
            count += not empty or module == "text"
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


def _lines(stream: Bytes) -> Iterator[bytes]:
    """Lines with their ends; a long one is put together from its pieces."""
    held = b""
    while piece := stream.read(1 << 16):
        *whole, held = (held + piece).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if held:
        yield held
