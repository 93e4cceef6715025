"""What a process does on a source's file is told with the file's name, whatever it does."""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit.stage import MakeJob

from tinybuild.errors import BuildFault, Fault, Finding, SourceFault, printable
from tinybuild.reading import OURS, each, reading, suspect
from tinybuild.workers import Job, Limits, Pool, beside

FILE = "the source's config.json"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.stop()


class Panic(BaseException):
    """As Rust's PanicException: no Exception."""


@reading(FILE, "source")
def do(what: str) -> object:
    """What a stage does on a file of a source."""
    numbers: dict[str, int] = {"SIGABRT": signal.SIGABRT, "SIGSEGV": signal.SIGSEGV}
    if what in numbers:
        os.kill(os.getpid(), numbers[what])
    deep: object = []
    for _ in range(100_000 if what == "deep" else 0):
        deep = [deep]
    if what == "deep":
        return repr(deep)
    if what == "memory":
        return bytearray(3_000_000_000)
    if what == "answer":
        return bytes(700_000_000)
    if what == "disk":
        raise OSError(28, "No space left on device")
    if what == "beside":
        return beside().call("test_reading:inner", "SIGABRT", Limits())
    raises: dict[str, BaseException] = {
        "panic": Panic("called `Option::unwrap()` on a `None` value"),
        "zero": ZeroDivisionError("division by zero"),
        "type": TypeError("unhashable type: 'list'"),
        "half": UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        "nan": ValueError("Out of range float values are not JSON compliant: nan"),
        "said": BuildFault.of("it says \ud800 and \x1b[31m", key=("source",)),
        "place": RuntimeError(f"no such thing: {os.getcwd()}/x/config.json"),
        "undefined": NameError("name 'x' is not defined"),
    }
    raise raises[what]


def inner(what: str) -> None:
    os.kill(os.getpid(), getattr(signal, what))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("panic", "cannot be worked with: Panic: called `Option::unwrap()` on a `None` value"),
        ("zero", "cannot be worked with: ZeroDivisionError: division by zero"),
        ("type", "cannot be worked with: TypeError: unhashable type: 'list'"),
        ("half", r"holds half of a character, \ud800"),
        ("nan", "holds a number that is not finite"),
        ("deep", "is nested too deeply"),
        ("place", "cannot be worked with: RuntimeError: no such thing: config.json"),
    ],
)
def test_whatever_is_raised_names_the_file(pool: Pool, what: str, said: str) -> None:
    with pytest.raises(SourceFault) as caught:
        pool.call("test_reading:do", what)
    (finding,) = caught.value.findings
    assert finding.what == f"{FILE} {said}"
    assert finding.key == ("source",)
    assert finding.hint
    assert "Traceback" in "".join(caught.value.__notes__)  # for who reports it
    assert pool.all  # the worker lives on


@pytest.mark.parametrize("what", ["SIGABRT", "SIGSEGV", "beside"])
def test_a_crash_names_the_file(pool: Pool, what: str) -> None:
    """Of the worker, and of the process beside it; "run it again" would crash again."""
    with pytest.raises(BuildFault, match=f"worked on {FILE} (crashed|ended early)") as caught:
        pool.call("test_reading:do", what, sort="warm" if what == "beside" else "light")
    (finding,) = caught.value.findings
    assert finding.key == ("source",)
    assert "run it again" not in finding.hint
    assert finding.hint
    assert pool.call("builtins:len", "abc") == 3


def segfault(_: object) -> None:
    ctypes.string_at(0)


def test_run_again_is_said_where_it_can_help(pool: Pool) -> None:
    with pytest.raises(BuildFault, match="crashed \\(SIGSEGV\\)") as caught:
        pool.call("test_reading:segfault", None)
    assert "run it again" not in caught.value.findings[0].hint
    with pytest.raises(BuildFault, match="killed \\(SIGTERM\\)") as caught:
        pool.call("test_reading:inner", "SIGTERM")
    assert caught.value.findings[0].hint == "run it again to go on"


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep to the limit")
@pytest.mark.parametrize("what", ["memory", "answer"])
def test_too_much_memory_names_the_file(pool: Pool, what: str) -> None:
    """Also where it is the answer that does not fit any more."""
    with pytest.raises(BuildFault, match=f"({FILE}|this) needs more memory") as caught:
        pool.call("test_reading:do", what, Limits(memory=1_000_000_000))
    assert "limits.memory" in caught.value.findings[0].hint
    assert pool.call("builtins:len", "abc") == 3


def test_what_is_not_the_files_doing_stays_as_it_is(pool: Pool) -> None:
    from tinybuild.workers import Bug

    with pytest.raises(OSError, match="No space left"):
        pool.call("test_reading:do", "disk")
    with pytest.raises(Bug, match="NameError"):
        pool.call("test_reading:do", "undefined")


def test_messages_can_be_shown_and_written_anywhere(pool: Pool) -> None:
    with pytest.raises(BuildFault) as caught:
        pool.call("test_reading:do", "said")
    (finding,) = caught.value.findings
    assert finding.what == r"it says \ud800 and \x1b[31m"
    assert finding.hint, "what is said of a source without advice gets that of its files"
    str(caught.value).encode()


class Model:
    """What our own code reads of a file."""

    heads = 0
    names: Mapping[str, str] = {}
    layers = ("a",)


def ours(what: str, data: Any) -> object:
    """Where our own code does what it should have asked about before."""
    match what:
        case "key":
            return Model.names[data]
        case "index":
            return [][data]
        case "divide":
            return data / Model.heads
        case "compare":
            return max(data, "x")
        case "attribute":
            return data.lower()
        case "convert":
            return int(f"{data} heads")
        case "arguments":
            return suspect(data)  # type: ignore[call-arg]
        case "method":
            return Model.layers.index(data)
        case _:
            raise AssertionError(data)


def libraries(what: str) -> object:
    """Where a library refuses what it is given, also one that leaves no frame."""
    import tokenizers

    match what:
        case "frame":
            return json.loads("{")
        case "rust":
            return tokenizers.Tokenizer.from_str("{}")
        case "c":
            return zlib.decompress(b"x")
        case "module":
            return math.sqrt(-1)
        case "bytes":
            return b"\xff".decode()
        case _:
            return next(tokenizers.Tokenizer.from_str(text) for text in ["{}"])


@pytest.fixture
def within(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this file were one of the package."""
    monkeypatch.setattr("tinybuild.reading.HOME", Path(__file__).parent)


@pytest.mark.usefixtures("within")
@pytest.mark.parametrize(
    "what",
    ["key", "index", "divide", "compare", "attribute", "convert", "arguments", "method", "assert"],
)
def test_what_our_own_code_raises_is_our_fault(what: str) -> None:
    """It names the file, too: who waits for the mend takes another."""
    with pytest.raises(Fault) as caught, reading(FILE, "source"):
        ours(what, 7)
    (finding,) = caught.value.findings
    assert finding.what.startswith(f"a bug of tinybuild, met in {FILE}: ")
    assert "test_reading.py:" in finding.what
    assert finding.hint == OURS
    assert "STAGE.failure.json" in OURS
    assert type(caught.value) is BuildFault
    assert finding.key == ("source",)


@pytest.mark.usefixtures("within")
@pytest.mark.parametrize("what", ["frame", "rust", "c", "module", "bytes", "generator"])
def test_what_a_library_raises_is_the_files_doing(what: str) -> None:
    with pytest.raises(SourceFault, match="cannot be worked with") as caught, reading(FILE):
        libraries(what)
    assert caught.value.findings[0].hint != OURS


def broken(job: Job) -> object:
    """The dataset stage, with a bug in how its card is written."""
    from tinybuild.dataset import card, stage

    text = card.text
    card.text = lambda told: text(None)  # type: ignore[arg-type]
    return stage.make(job)


def test_a_bug_of_ours_in_a_stage(pool: Pool, job: MakeJob) -> None:
    """Whose it is, where it is, and its trace for whoever mends it."""
    asked = job({"dataset": {"samples": 2}})
    with pytest.raises(BuildFault, match=r"a bug of tinybuild, met in the dataset's") as caught:
        pool.call("test_reading:broken", asked)
    assert "(tinybuild/dataset/card.py:" in caught.value.findings[0].what
    assert "Traceback" in "".join(caught.value.__notes__)


def test_a_line_as_long_as_a_file_is_cut() -> None:
    text = printable("a" * 100_000 + "\nb")
    assert len(text) < 1000
    assert text.endswith("\nb")
    assert Finding(what="tab\tand\nline é日").what == "tab\tand\nline é日"
    assert Finding(what="\u202eevil\x07").what == r"\u202eevil\x07"


def test_readers_of_several_files_name_the_one_that_fails() -> None:
    def numbers(bad: int) -> Iterator[int]:
        for number in range(3):
            yield number // (number != bad)

    left, right = each(numbers(9), "left", "dataset"), each(numbers(1), "right", "dataset")
    assert next(left) == next(right) == 0
    assert next(left) == 1
    with pytest.raises(SourceFault, match="right cannot be worked with: ZeroDivisionError"):
        next(right)
    assert list(left) == [2]


def test_the_innermost_file_is_the_suspect() -> None:
    def fail() -> None:
        with reading("a"), reading("b"):
            at = suspect()
            assert at is not None
            assert at.file == "b"
            raise KeyError("x")

    with pytest.raises(Fault, match="b cannot be worked with"):
        fail()
    assert suspect() is None
