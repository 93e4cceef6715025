"""Files in archives (tar, zip, .gz, .bz2, .xz, .zst, one in another), streamed and read safely."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import re
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Self, TypeAlias

from tinybuild.errors import BuildFault, Fault, first_line
from tinybuild.files import LARGEST_POINTER, POINTER, POINTS

KEY = ("dataset", "source")
Bytes: TypeAlias = "IO[bytes] | io.RawIOBase"
# What a name's last suffix says of the file.
PACKED = {
    ".gz": "gzip",
    ".tgz": "gzip",
    ".bz2": "bzip2",
    ".tbz2": "bzip2",
    ".xz": "xz",
    ".txz": "xz",
    ".zst": "zstd",
    ".tzst": "zstd",
}
TARS = {".tgz", ".tbz2", ".txz", ".tzst"}
# An archive in an archive in an archive ...; openwebtext has two.
DEEPEST = 4
# A tar's names and attributes of one member; real ones have a few hundred bytes.
LONGEST_HEADER = 1 << 20
HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
# What xz may allocate to unpack: `xz -9` needs 65 MB, a header may ask for 4 GB.
XZ_MEMORY = 128 << 20
CHUNK = 1 << 16
# A member of a tar that is read at once: three times as fast as a stream of it.
SMALL = 1 << 20

# What the readers of Python's library and pyarrow raise for bytes that are not what they should be.
# pyarrow's own errors are ValueError and OSError too.
BROKEN = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # zipfile: encrypted
    NotImplementedError,  # zipfile: an unknown compression
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
)


@dataclass(kw_only=True)
class Meter:
    """Counts the bytes unpacked, and stops at `most`."""

    most: int
    used: int = field(default=0, init=False)

    def add(self, count: int, name: str) -> None:
        self.used += count
        if self.used > self.most:
            raise too_much(name, self.most)


def too_much(name: str, most: int) -> Fault:
    return BuildFault.of(
        f"{name}: more than {most:,} bytes are unpacked from it",
        key=KEY,
        hint="set dataset.source.max_read to what you expect of it",
    )


def suffix_of(name: str) -> str:
    """The last suffix, in small letters; pathlib takes 10 us, and archives have many files."""
    base = name[name.rfind("/") + 1 :]
    dot = base.rfind(".")
    return base[dot:].lower() if dot > 0 else ""


def is_packed(name: str) -> bool:
    """Whether a name is an archive's, or a compressed file's, which holds others or another."""
    suffix = suffix_of(name)
    return suffix in PACKED or suffix in (".tar", ".zip")


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive, which holds files with names of their own."""
    return suffix_of(inner_name(name)) in (".tar", ".zip")


def inner_name(name: str) -> str:
    """The name without the suffix that says how it is compressed: "a.txt.gz" -> "a.txt"."""
    suffix = suffix_of(name)
    if suffix not in PACKED:
        return name
    plain = name[: -len(suffix)]
    return plain + ".tar" if suffix in TARS else plain


def reason(error: BaseException) -> str:
    """The first line of what a library says."""
    return first_line(error).rstrip(".") or type(error).__name__


def leaves(path: Path, name: str, *, meter: Meter, scratch: Path) -> Iterator[tuple[str, Bytes]]:
    """(name, stream) of each file that is itself no archive, in the archive's order.

    `name` is what messages call `path`; what lies in an archive is "name!inside/file". A compressed
    file keeps the suffix in its name ("a.txt.gz"; `inner_name` takes it off). A stream is read
    before the next file is asked for. Nothing is written, but one zip in another archive at a time
    into a nameless file in `scratch`. Raises BuildFault for what is broken, unsafe or too large.
    """
    with path.open("rb") as file:
        yield from leaves_in(file, name, meter, scratch)


def leaves_in(stream: Bytes, name: str, meter: Meter, scratch: Path) -> Iterator[tuple[str, Bytes]]:
    """The same of a stream."""
    yield from _leaves(stream, name, name, _Layers(meter=meter, scratch=scratch))


@dataclass(frozen=True, kw_only=True)
class _Layers:
    """depth: how many archives and packed files are around what is read."""

    meter: Meter
    scratch: Path
    depth: int = 0


def _leaves(stream: Bytes, name: str, shown: str, layers: _Layers) -> Iterator[tuple[str, Bytes]]:
    """`name` loses its suffixes as layers are unpacked; `shown` does not."""
    suffix, meter, below = suffix_of(name), layers.meter, replace(layers, depth=layers.depth + 1)
    if layers.depth > DEEPEST:
        raise BuildFault.of(
            f"{shown}: archives in archives, more than {DEEPEST} deep",
            key=KEY,
            hint="unpack it yourself, and give the folder",
        )
    if suffix in PACKED:
        inner = inner_name(name)
        with _reading(shown):
            plain = _unpacked(stream, PACKED[suffix], shown, meter)
            # An archive's compressed member may be a tar without saying so (openwebtext's .xz).
            is_tar = plain.peek(512)[257:262] == b"ustar"
        if is_tar and not inner.endswith(".tar"):
            inner += ".tar"
        yield from _leaves(plain, inner, shown, below)
    elif suffix == ".tar":
        for member, content in _tar(stream, shown, meter.most):
            yield from _leaves(content, member, f"{shown}!{member}", below)
    elif suffix == ".zip":
        for member, content in _zip(stream, shown, meter, layers.scratch):
            yield from _leaves(content, member, f"{shown}!{member}", below)
    else:
        yield shown, stream


def members(path: Path, name: str, *, meter: Meter) -> Iterator[tuple[str, Bytes]]:
    """(name in it, stream) of each file of a tar, compressed or not; nothing in it is unpacked."""
    with path.open("rb") as file:
        yield from members_in(file, name, name, meter)


def members_in(stream: Bytes, name: str, shown: str, meter: Meter) -> Iterator[tuple[str, Bytes]]:
    """The same of a stream; `shown` is what messages call it."""
    yield from _tar(unpacked(stream, name, shown, meter), shown, meter.most)


def unpacked(stream: Bytes, name: str, shown: str, meter: Meter) -> Bytes:
    """What is in a compressed file, by its name; the stream itself where it is not one."""
    suffix = suffix_of(name)
    return _unpacked(stream, PACKED[suffix], shown, meter) if suffix in PACKED else stream


def check_zip(path: Path, name: str, most: int) -> None:
    """Refuse a zip with a member that is unsafe or, with the others, larger than `most` bytes."""
    with path.open("rb") as file, _reading(name), zipfile.ZipFile(file) as archive:
        total = 0
        for info in archive.infolist():
            _check_zip_member(info, name, most)
            total += info.file_size
            if total > most:
                raise too_much(name, most)


class _reading:
    """What libraries raise for a broken archive becomes a fault that names it.

    (A class: a generator's context takes 2 us more, four times for each file of an archive.)
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BROKEN):
            raise BuildFault.of(
                f"{self.name} cannot be unpacked: {reason(error)}",
                key=KEY,
                hint="the file is truncated or damaged: fetch or make it again",
            ) from None


class _Stream(io.RawIOBase):
    """A stream of a library's, whose errors become faults and whose bytes are counted."""

    def __init__(self, source: Any, name: str, meter: Meter | None) -> None:
        self.source = source
        self.name = name
        self.meter = meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _reading(self.name):
            data = self.source.read(min(len(buffer), CHUNK))
        if self.meter is not None:
            self.meter.add(len(data), self.name)
        buffer[: len(data)] = data
        return len(data)


def _unpacked(stream: Bytes, kind: str, name: str, meter: Meter) -> io.BufferedReader:
    source: Any
    if kind == "gzip":
        source = gzip.GzipFile(fileobj=stream)
    elif kind == "bzip2":
        source = bz2.BZ2File(stream)
    elif kind == "xz":
        source = _Xz(stream)
    else:
        import pyarrow

        # Python has no zstd before 3.14; Arrow has.
        source = pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, mode="r"), "zstd")
    return io.BufferedReader(_Stream(source, name, meter), CHUNK)


class _Xz:
    """lzma.LZMAFile with a bound on its memory, which that does not have; also several in a row."""

    def __init__(self, stream: Bytes) -> None:
        self.stream = stream
        self.unpacker = self._fresh()
        self.rest = b""

    @staticmethod
    def _fresh() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=XZ_MEMORY)

    def read(self, size: int) -> bytes:
        while True:
            if self.unpacker.eof:
                rest = (self.unpacker.unused_data or self.stream.read(CHUNK)).lstrip(b"\0")
                if not rest:
                    return b""
                self.unpacker, self.rest = self._fresh(), rest
            if self.unpacker.needs_input and not self.rest:
                self.rest = self.stream.read(CHUNK)
                if not self.rest:
                    raise EOFError("it ends before its end marker")
            data = self.unpacker.decompress(self.rest, size)
            self.rest = b""
            if data:
                return data


class _Member(tarfile.TarInfo):
    """A tar's header; one that is damaged is an error, where tarfile takes it for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            made = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            # A block of zeros is the end that every tar has.
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise
            what = "it ends before its end marker" if len(buf) < tarfile.BLOCKSIZE else str(error)
            raise tarfile.ReadError(what) from None
        if made.type in HEADERS and made.size > LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {made.size:,} bytes")
        return made


def _tar(stream: Bytes, name: str, most: int) -> Iterator[tuple[str, Bytes]]:
    with _reading(name):
        # The stream is another's to close.
        archive: Any = tarfile.open(  # noqa: SIM115
            fileobj=stream, mode="r|", bufsize=CHUNK, tarinfo=_Member
        )
    while True:
        with _reading(name):
            info = archive.next()
        archive.members.clear()  # else it keeps what it has seen: 1 GB a million members
        if info is None:
            return
        if info.isdir():
            continue
        member = _safe(info.name, name)
        # A sparse file is as large as it says, and takes no room in the archive.
        if not info.isreg() or info.issparse():
            kinds = {"a link": info.islnk() or info.issym(), "a sparse file": info.issparse()}
            what = next((kind for kind, it_is in kinds.items() if it_is), "a device or a pipe")
            raise _unsafe(f"{name}!{member}", f"is {what}")
        if info.size > most:
            raise too_much(f"{name}!{member}", most)
        shown = f"{name}!{member}"
        with _reading(shown):
            content = archive.extractfile(info)
            if info.size <= SMALL:
                data = content.read()
                if len(data) != info.size:
                    raise tarfile.ReadError("unexpected end of data")
                content = io.BytesIO(data)
                if info.size <= LARGEST_POINTER:
                    _no_pointer(data, shown)
        if info.size > SMALL:
            content = io.BufferedReader(_Stream(content, shown, None), CHUNK)
        yield member, content


def _zip(stream: Bytes, name: str, meter: Meter, scratch: Path) -> Iterator[tuple[str, Bytes]]:
    with contextlib.ExitStack() as stack:
        if not stream.seekable():
            # A zip's table of contents stands at its end.
            spooled = stack.enter_context(tempfile.TemporaryFile(dir=scratch))
            while chunk := stream.read(CHUNK):
                meter.add(len(chunk), name)
                spooled.write(chunk)
            stream = spooled
        with _reading(name):
            archive = stack.enter_context(zipfile.ZipFile(stream))
        for info in archive.infolist():
            if info.is_dir():
                continue
            member = _check_zip_member(info, name, meter.most)
            shown = f"{name}!{member}"
            with _reading(shown):
                content = archive.open(info)
            reader = io.BufferedReader(_Stream(content, shown, meter), CHUNK)
            if info.file_size <= LARGEST_POINTER:
                _no_pointer(reader.peek(len(POINTS)), shown)
            yield member, reader


def _no_pointer(begun: bytes, shown: str) -> None:
    """Refuse a file by its first bytes that only says where Git LFS keeps the real one."""
    if begun.startswith(POINTS):
        hint = "run `git lfs pull` where it was packed, and make the archive again"
        raise BuildFault.of(f"{shown} {POINTER}", key=KEY, hint=hint)


def _check_zip_member(info: zipfile.ZipInfo, name: str, most: int) -> str:
    member = _safe(info.filename, name)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "a device or a pipe"
        raise _unsafe(f"{name}!{member}", f"is {what}")
    if info.flag_bits & 1:
        raise BuildFault.of(
            f"{name}!{member} is encrypted", key=KEY, hint="unpack it yourself, and give the folder"
        )
    if info.file_size > most:
        raise too_much(f"{name}!{member}", most)
    return member


def _safe(member: str, name: str) -> str:
    """A member's name, if it stays below the archive's folder."""
    parts = [part for part in member.split("/") if part not in ("", ".")]
    odd = "\\" in member or re.match(r"[A-Za-z]:", member) or not member.isprintable()
    if odd or not parts or member.startswith("/") or ".." in parts:
        raise _unsafe(f"{name}!{member!r}", "has a name that leads out of the archive")
    return "/".join(parts)


def _unsafe(where: str, what: str) -> Fault:
    return BuildFault.of(
        f"{where} {what}", key=KEY, hint="make the archive again, of regular files below one folder"
    )
