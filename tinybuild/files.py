"""Files that can be trusted: digests, canonical JSON, atomic writes, locks, stable archives."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypedDict

from tinybuild.errors import BuildFault, Fault, SourceFault

if TYPE_CHECKING:
    import gzip

# A file changed within this many nanoseconds of being hashed may change again without its ctime
# moving (coarse clocks of file systems); such an entry is not remembered. This is git's rule for
# "racily clean" index entries, with the granularity of the coarsest file system in use (2 s).
TOO_YOUNG = 2_000_000_000

# What a stage's folder holds beside the files that the stage made.
RECEIPT, PROVENANCE = "receipt.json", "provenance.json"


# Made once: json.dumps makes one in each call, and receipts are digested by the thousand.
_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def canonical(value: object) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8: equal values have equal bytes. NaN is refused."""
    return _CANONICAL.encode(value).encode()


def pretty(value: object) -> str:
    """The same for people: sorted keys, two spaces, a newline at the end."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def digest(value: object) -> str:
    """sha256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical(value)).hexdigest()


POINTER, PULL = "is a pointer of Git LFS, not the file itself", "run `git lfs pull` where it lies"


PUSH = "its owner must push the file itself (git lfs push --all); until then, take another revision"
POINTS = b"version https://git-lfs.github.com/spec/"  # how a pointer begins
LARGEST_POINTER = 1024  # bytes


def json_object(path: Path, told: str) -> dict[str, Any]:
    """The JSON object in a source's file, which messages call `told`. Raises BuildFault that says
    where it is none."""
    try:
        data = json.loads(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _strange(f"{told} is not UTF-8 (byte {error.start:,})") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _strange(f"{told} is not JSON: {error.msg} ({place})") from None
    except (ValueError, RecursionError) as error:
        raise _strange(f"{told} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise _strange(f"{told} is not a JSON object")
    return data


def _strange(what: str) -> Fault:
    return BuildFault.of(what, key=("source",))


def is_pointer(path: Path) -> bool:
    """Whether a file only says where Git LFS keeps the real one."""
    if path.stat().st_size > LARGEST_POINTER:
        return False
    with path.open("rb") as file:
        return file.read(len(POINTS)) == POINTS


def sha256(path: Path | str) -> str:
    """sha256 (hex) of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


Stamp = tuple[int, int, int, int]  # inode, size, mtime and ctime (ns) of a file or folder


def stamp(path: str) -> Stamp | None:
    """What a file or folder, or that which a link leads to, looks like; None where nothing is."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


class Memo:
    """Digests of files remembered by inode, size, mtime and ctime, so that nothing is read twice.

    Nobody can set a ctime, so an unchanged entry means unchanged bytes. Entries too young to trust
    are not kept (`TOO_YOUNG`). Losing the memo costs time, never correctness.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self.dirty = False
        self.entries: dict[str, list[Any]] = {}
        if path is not None:
            # Whatever is wrong with the memo, it is forgotten: it only saves time.
            with contextlib.suppress(OSError, ValueError, RecursionError):
                loaded = json.loads(path.read_bytes())
                if isinstance(loaded, dict):
                    self.entries = {
                        name: entry
                        for name, entry in loaded.items()
                        if isinstance(entry, list) and len(entry) == 5
                    }

    def sha256(self, path: str) -> str | None:
        """sha256 of a regular file, or None where there is none."""
        self.see(path)
        try:
            info = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(info.st_mode):
            return None
        key = [info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]
        entry = self.entries.get(path)
        if entry is not None and entry[:4] == key:
            return str(entry[4])
        now = time.time_ns()
        result = sha256(path)
        if now - info.st_ctime_ns > TOO_YOUNG:
            self.entries[path] = [*key, result]
            self.dirty = True
        return result

    def see(self, path: str) -> None:
        """Take note, where anybody wants to know, of what is looked at; before it is read."""

    def save(self) -> None:
        if self.path is not None and self.dirty:
            write(self.path, json.dumps(self.entries, separators=(",", ":")))
            self.dirty = False


class Watch(Memo):
    """A memo that shares its digests with another one, and says what it was asked for: the stamp of
    each path before it was read the first time."""

    def __init__(self, memo: Memo):
        super().__init__()
        self.memo, self.entries = memo, memo.entries
        self.seen: dict[str, Stamp | None] = {}

    def see(self, path: str) -> None:
        self.seen.setdefault(path, stamp(path))

    def sha256(self, path: str) -> str | None:
        found = super().sha256(path)
        self.memo.dirty |= self.dirty
        return found


def write(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, never half of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


class Entry(TypedDict):
    """A file as a receipt has it."""

    sha256: str
    size: int


def tree(folder: Path) -> dict[str, Entry]:
    """{posix path: entry} of every file below a folder, sorted by path.

    A link or special file is refused: a stage writes plain files only.
    """
    entries: dict[str, Entry] = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        name = path.relative_to(folder).as_posix()
        if stat.S_ISDIR(info.st_mode):
            continue
        if not stat.S_ISREG(info.st_mode):
            raise BuildFault.of(f"{name} is not a plain file", where=folder.name)
        entries[name] = {"sha256": sha256(path), "size": info.st_size}
    return entries


def below(folder: str, prefix: str = "") -> Iterator[str]:
    """Posix paths of all that is below a folder and is not one itself; none where there is none."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from below(entry.path, f"{prefix}{entry.name}/")
                else:
                    yield prefix + entry.name
    except (FileNotFoundError, NotADirectoryError):
        return


# Modes that no bundle's file has, whatever umask it was written under.
UNUSUAL = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID


def strange(folder: str, known: Container[str], prefix: str = "") -> Iterator[str]:
    """What a folder of known files has that nobody put there: other files, links, modes."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield from strange(entry.path, known, f"{name}/")
                elif entry.is_symlink():
                    yield f"{name} is a link"
                elif name not in known:
                    yield f"{name} was added"
                elif entry.stat(follow_symlinks=False).st_mode & UNUSUAL:
                    yield f"the mode of {name} was altered"
    except (FileNotFoundError, NotADirectoryError):
        return


def inside(folder: Path, name: str) -> Path:
    """`folder/name`, refused when the name is absolute, climbs out, or leaves through a link."""
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise SourceFault.of(f"{name!r} leads out of its folder", where=folder.name)
    path = folder.joinpath(*pure.parts)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SourceFault.of(
            f"{name!r} leads out of its folder through a link",
            where=folder.name,
            hint="copy the file there",
        )
    return path


def copy(source: Path, target: Path) -> None:
    """Copy bytes only: no mode, no times."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def remove(path: Path) -> None:
    """Delete a file or a whole folder, if there is one: what is made here goes also where its
    owner's own modes protect it. Raises OSError, with whole paths."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        os.chmod(path, 0o700)
        for folder, inner, _ in os.walk(path):
            for inside in (Path(folder, name) for name in inner):
                if not inside.is_symlink():
                    inside.chmod(0o700)
        shutil.rmtree(path)


LOCK = ".lock."
RESTORED = ".restored"  # ends the name of a note that what stands there is from the store
ASIDE = re.compile(r"\.(.+)\.(?:old|new)(?:-[0-9]+)?")  # what `put` lays beside a place


def sweep(build: Path, dist: Path) -> None:
    """Remove what killed builds left in build/ and dist/: of each stage whose lock nobody holds.

    Each folder is listed once: there may be 10,000 recipes.
    """
    aside = dict[str, list[Path]]()
    for path in dist.glob(".*"):
        if match := ASIDE.fullmatch(path.name):
            aside.setdefault(match[1].removesuffix(".tar.gz"), []).append(path)
    for folder in (path for path in build.glob("*") if path.is_dir()):
        hidden = [path for path in folder.iterdir() if path.name.startswith(".")]
        for lock in hidden:
            if not lock.name.startswith(LOCK):
                continue
            stage = lock.name.removeprefix(LOCK)
            own = (path for path in hidden if path.name.startswith(f".{stage}."))
            left = [path for path in own if path.suffix != RESTORED]
            left += aside.get(folder.name, ()) if stage == "pack" else ()
            if left:
                _remove_unless_held(lock, left)


def _remove_unless_held(lock: Path, left: Iterable[Path]) -> None:
    with contextlib.suppress(OSError), lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: it is at work
        for path in left:
            remove(path)


@contextlib.contextmanager
def fresh(place: Path) -> Iterator[Path]:
    """An empty folder beside `place`, gone again unless the caller moves it there.

    Leftovers of builds that were killed, and notes on what stands there, are removed first; the
    caller holds the lock. An interruption may come between the making of the folder and the next
    line, so it is removed by what it is called.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    named = f".{place.name}.*"
    for leftover in place.parent.glob(named):
        remove(leftover)
    try:
        folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=named[:-1]))
        os.chmod(folder, 0o755)
        yield folder
    finally:
        for left in filter(Path.is_dir, place.parent.glob(named)):  # a note of the caller's stays
            remove(left)


def put(made: Path, place: Path) -> None:
    """Move a finished file or folder to its place, over what stood there, link or not.

    A folder cannot be replaced in one step: between the two renames there is nothing at `place`,
    which is noticed and rebuilt; there is never a mixture. On another file system (dist/ as a link
    to a larger disk) a complete copy is made beside the place first. What a killed `put` left
    beside it is removed; the caller holds the lock, so its name needs no number, and the folder,
    which may hold 10,000 others, is not looked through.
    """
    place.parent.mkdir(exist_ok=True)
    old, new = (place.with_name(f".{place.name}.{what}") for what in ("old", "new"))
    remove(old)
    remove(new)
    if made.stat().st_dev != place.parent.stat().st_dev:
        if made.is_dir():
            shutil.copytree(made, new)
            remove(made)
        else:
            copy(made, new)
        made = new
    if os.path.lexists(place) and (made.is_dir() or place.is_dir()):
        os.rename(place, old)
        os.rename(made, place)
        remove(old)
    else:
        os.replace(made, place)


@contextlib.contextmanager
def locked(place: Path, waiting: Callable[[], None]) -> Iterator[bool]:
    """Hold the lock of a place to be built; yields True if another process had it and we waited.

    The lock is the kernel's (flock), so a killed process gives it back. Its file, .lock.NAME beside
    the place, stays. Where somebody removed it (doit clean) while we waited, what we hold is a lock
    on nothing, and we ask again.
    """
    file = place.with_name(f".lock.{place.name}")
    waited = held = False
    while not held:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = True
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                held = os.path.samestat(os.fstat(handle), os.stat(file))
            if held:
                yield waited
        finally:
            os.close(handle)


def archive(folder: Path, target: Path, top: str, without: str = "") -> str:
    """Pack a folder, but for one file, as `target` (.tar.gz) under the name `top`; sha256 of the
    uncompressed tar.

    USTAR, sorted by name, mtime 0, owner 0 without names, mode 0644 and 0755, and a gzip header
    without name or time: the same files give the same bytes (the tar always; the gzip with the
    same zlib). The tar is streamed through, never held in memory.
    """
    import gzip
    import tarfile

    hasher = hashlib.sha256()

    class Tee(io.RawIOBase):
        def __init__(self, out: gzip.GzipFile):
            self.out = out

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            hasher.update(data)
            return self.out.write(data)

    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=Tee(packed), mode="w|", format=tarfile.USTAR_FORMAT) as tar,
    ):
        found = (path for path in folder.rglob("*") if path != folder / without)
        paths = sorted(found, key=lambda p: p.relative_to(folder).as_posix())
        for path in [folder, *paths]:
            name = PurePosixPath(top, path.relative_to(folder).as_posix()).as_posix()
            entry = tarfile.TarInfo(name)
            entry.mtime = 0
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            else:
                entry.size, entry.mode = path.stat().st_size, 0o644
                with path.open("rb") as file:
                    tar.addfile(entry, file)
    return hasher.hexdigest()


def explain(error: OSError, root: Path | None = None) -> Fault | None:
    """A full disk, a missing right or a too long name as a fault; None for any other OSError. Of
    paths below root it says what is below."""
    reasons = {
        errno.ENOSPC: ("the disk is full", "free some space, then run it again"),
        errno.EDQUOT: ("the disk quota is used up", "free some space, then run it again"),
        errno.EFBIG: ("a file is larger than allowed here", "raise the limit (ulimit -f)"),
        errno.EACCES: ("permission denied", "`ls -ld {}` says whose it is, and who may"),
        errno.EPERM: ("not permitted", "`ls -ld {}` says whose it is, and who may"),
        errno.EROFS: ("the file system is read-only", "build in a folder you can write to"),
        errno.ENAMETOOLONG: ("the name is too long", "use a shorter recipe name"),
    }
    if error.errno not in reasons:
        return None
    what, hint = reasons[error.errno]
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    where = names[0] if names else ""
    if isinstance(error, PermissionError):
        closed = [f"{folder}/" for name in names if (folder := _closed(name))]
        where, what = (closed[0], "you may not write there") if closed else (where, what)
    if where:
        where = where.removeprefix(f"{root}/") or "./"
    return BuildFault.of(what, where=where, hint=hint.format(where or "."))


def _closed(path: str) -> str:
    """The folder that a path would be made in, if it may not be; else nothing."""
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    effective = os.access in os.supports_effective_ids
    free = os.access(folder, os.W_OK | os.X_OK, effective_ids=effective)
    return "" if free else folder
