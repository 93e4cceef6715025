"""What is printed: lines in a pipe, a bar on a terminal, tables."""

from __future__ import annotations

import io

from tinybuild import progress
from tinybuild.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_pipe_there_are_lines_and_nothing_else() -> None:
    out = io.StringIO()
    screen = Progress(out)
    screen.total = 2
    screen.start("model:a")
    screen.say("one")
    assert screen.finish("model:a") >= 0
    screen.say("two")
    screen.close()
    assert out.getvalue() == "one\ntwo\n"


def test_on_a_terminal_a_bar_stands_below_the_lines() -> None:
    out = Terminal()
    screen = Progress(out)
    screen.total = 2
    screen.start("model:a")
    screen.say("one")
    assert "one\n" + "░" * 20 + " 0/2  model:a 0 s" in out.getvalue()
    screen.finish("model:a")
    screen.start("model:b")
    assert "█" * 10 + "░" * 10 + " 1/2  model:b 0 s" in out.getvalue()
    screen.close()
    assert out.getvalue().endswith("\r\x1b[K")


def test_a_task_that_never_began_took_no_time() -> None:
    screen = Progress(io.StringIO())
    assert screen.finish("model:a") == 0.0
    assert screen.done == 1


def test_numbers_for_people() -> None:
    assert progress.count(1234567) == "1,234,567"
    assert progress.count(None) == "-"
    sizes = {0: "0 B", 999: "999 B", 1000: "1.0 kB", 61_234: "61.2 kB", 3_340_000: "3.3 MB"}
    assert {number: progress.size(number) for number in sizes} == sizes
    assert progress.size(12_000_000_000) == "12.0 GB"


def test_table() -> None:
    text = progress.table(("name", "n"), [("a", "1"), ("bcdefg", "1,000")], right=(1,))
    assert text.splitlines() == [
        "name        n",
        "------  -----",
        "a           1",
        "bcdefg  1,000",
    ]
