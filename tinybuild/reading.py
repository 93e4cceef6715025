"""Which file of a source a process is at work on: whatever fails there is told with its name.

What comes from an upstream may make any library do anything: raise what nobody foresaw, panic,
abort. A stage says what it reads (`reading`); nobody keeps a list of what can go wrong. What our
own code raised, and no library, is said to be a bug of ours (`bug`).
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import linecache
import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeVar

from tinybuild import network
from tinybuild.errors import BuildFault, Fault, SourceFault, first_line

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """What messages call the file, and what asks for it in the recipe."""

    file: str
    key: tuple[str | int, ...]


_open: list[Suspect] = []
_last: list[Suspect] = []  # of the last failure
_told: list[Callable[[Suspect | None], None]] = []
# What is not the file's doing, and what others tell better. No file makes a name undefined.
_OTHERS = (Fault, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit, NameError, SyntaxError)
_FOLDERS = re.compile(r"(?<![\w/:.])/(?:[^\s/'\"]+/)+")
HINT = "put it right in a copy of the source and name that (path: FOLDER), or take another source"
REPORT = (
    f"{HINT}; if it is right as it is, report a bug of tinybuild, with the trace in "
    "build/NAME/STAGE.failure.json"
)
OURS = (
    "report it, with the recipe and the trace in build/NAME/STAGE.failure.json; "
    "until it is mended, take another source"
)
HOME = Path(__file__).parent


def suspect() -> Suspect | None:
    """The file at work on now."""
    return _open[-1] if _open else None


def failed() -> Suspect | None:
    """The file at work on when this call of the process failed."""
    return _last[-1] if _last else None


def listen(tell: Callable[[Suspect | None], None]) -> None:
    """Have each change of the suspect told: who waits for this process must know it before it dies.
    What failed in an earlier call is forgotten."""
    _told[:] = [tell]
    _last.clear()


@contextlib.contextmanager
def reading(file: str, *key: str | int) -> Iterator[None]:
    """Work on a file of a source. Whatever is raised inside, but for a Fault, running out of memory
    or what the operating system refuses, is a SourceFault that names the file. What is said of the
    source without advice gets that of its files."""
    here = Suspect(file=file, key=key)
    _open.append(here)
    _tell()
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Fault):
            _last[:] = [here]
        if isinstance(error, Fault):
            error.advise(key, HINT)
        if foreign(error):
            raise
        raise blamed(error, here) from error
    finally:
        _open.pop()
        _tell()


def each(items: Iterator[T], file: str, *key: str | int) -> Iterator[T]:
    """What an iterator gives that reads a file, so that others may be read in between."""
    while True:
        with reading(file, *key):
            item = next(items, items)
        if item is items:
            return
        yield item  # type: ignore[misc]  # the mark is no item


def _tell() -> None:
    for tell in _told:
        tell(suspect())


def foreign(error: BaseException) -> bool:
    """Whether an error is not the doing of the file that was read: a full disk, no memory, a host
    that was asked for, Ctrl-C."""
    if isinstance(error, _OTHERS) or network.offline(error) is not None:
        return True
    system = isinstance(error, OSError) and error.errno is not None
    return system or "(os error " in str(error) or "DefaultCPUAllocator" in str(error)


def blamed(error: BaseException, at: Suspect) -> Fault:
    """An error as the fault of the file that was read, or as a bug of ours."""
    told = _told_as(error)
    if told is not None:
        what, hint = told
        return SourceFault.of(f"{at.file} {what}", key=at.key, hint=hint)
    said = ": ".join(filter(None, (type(error).__name__, first_line(error))))
    said = network.scrubbed(_FOLDERS.sub("", said))[:300]
    place = bug(error)
    if place:
        what = f"a bug of tinybuild, met in {at.file}: {said} ({place})"
        return BuildFault.of(what, key=at.key, hint=OURS)
    return SourceFault.of(f"{at.file} cannot be worked with: {said}", key=at.key, hint=REPORT)


def _told_as(error: BaseException) -> tuple[str, str] | None:
    """What is known to be the file's doing, and what to do about it."""
    if isinstance(error, RecursionError):
        return "is nested too deeply", "make it flatter"
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return (
            f"holds half of a character, \\u{ord(error.object[error.start]):04x}",
            "write the whole character there, or U+FFFD",
        )
    if isinstance(error, ValueError) and "float values are not JSON compliant" in str(error):
        return "holds a number that is not finite", "write a number instead of NaN and Infinity"
    return None


# --- whose fault it is ----------------------------------------------------------------------------


def bug(error: BaseException) -> str:
    """The file and line of our own code that raised an error; "" where a library did.

    It is ours where the innermost frame is, and what happened there was no call of a library's:
    those that are not written in Python have no frame.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    if at is None or isinstance(error, UnicodeError):  # bytes that are no text are data
        return ""
    file = Path(at.tb_frame.f_code.co_filename)
    plain = type(error).__module__ == "builtins" and type(error) not in (Exception, BaseException)
    if not plain or not file.is_relative_to(HOME) or not _own(_called(at), at.tb_frame):
        return ""
    return f"{HOME.name}/{file.relative_to(HOME).as_posix()}:{at.tb_lineno}"


def _called(at: TracebackType) -> ast.expr | None:
    """What was called where an error was raised, as it is written there; None where nothing was."""
    code = at.tb_frame.f_code
    first, last, begin, end = next(islice(code.co_positions(), at.tb_lasti // 2, None))
    if first is None or last is None or begin is None or end is None:
        return None
    lines = [linecache.getline(code.co_filename, n).encode() for n in range(first, last + 1)]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][begin:]
    try:
        node = ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
    except SyntaxError:  # a statement
        return None
    return node.func if isinstance(node, ast.Call) else None


def _own(called: ast.expr | None, frame: FrameType) -> bool:
    """Whether what was called is ours, or Python's own and at work on what is Python's own."""
    if called is None:
        return True
    names = {**vars(builtins), **frame.f_globals, **frame.f_locals}
    known, what = _value(called, names)
    if not known:
        return False
    if isinstance(what, types.BuiltinMethodType) and isinstance(what.__self__, types.ModuleType):
        return what.__module__ == "builtins" and what not in (next, iter)
    if isinstance(what, types.BuiltinMethodType):
        return type(what.__self__).__module__ == "builtins"
    module = str(getattr(what, "__module__", ""))
    return module == "builtins" or module.partition(".")[0] == __package__


def _value(written: ast.expr, names: Mapping[str, object]) -> tuple[bool, object]:
    """(True, what a name, or an attribute of one, stands for); (False, None) for all else."""
    if isinstance(written, ast.Name) and written.id in names:
        return True, names[written.id]
    if isinstance(written, ast.Attribute):
        known, of = _value(written.value, names)
        if known:
            with contextlib.suppress(Exception):
                return True, getattr(of, written.attr)
    return False, None
