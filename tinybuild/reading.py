"""Which file of a source a process is at work on: whatever fails there is told with its name.

What comes from an upstream may make any library do anything: raise what nobody foresaw, panic,
abort. A stage says what it reads (`reading`); nobody keeps a list of what can go wrong.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tinybuild import network
from tinybuild.errors import Fault, SourceFault

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
    """An error as the fault of the file that was read."""
    what, hint = _told_as(error)
    return SourceFault.of(f"{at.file} {what}", key=at.key, hint=hint)


def _told_as(error: BaseException) -> tuple[str, str]:
    if isinstance(error, RecursionError):
        return "is nested too deeply", "make it flatter"
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return (
            f"holds half of a character, \\u{ord(error.object[error.start]):04x}",
            "write the whole character there, or U+FFFD",
        )
    if isinstance(error, ValueError) and "float values are not JSON compliant" in str(error):
        return "holds a number that is not finite", "write a number instead of NaN and Infinity"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind = type(error).__name__
    said = f"{kind}: {lines[0]}" if lines else kind
    said = network.scrubbed(_FOLDERS.sub("", said))
    return f"cannot be worked with: {said[:300]}", REPORT
