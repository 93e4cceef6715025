"""The only place that prints: lines while work goes on, a bar on a terminal, a table at the end."""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TextIO

BAR = 20  # characters


class Progress:
    """One line for each finished stage; on a terminal also a bar below them that moves.

    Safe to call from several threads. In a pipe there is no bar and nothing is ever rewritten.
    """

    def __init__(self, out: TextIO | None = None):
        # A locale that lacks a letter must not stop a build, nor a closed stdout (doit >&-).
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        self.out = out or sys.stdout or io.StringIO()
        # Nothing is redrawn where lines cannot be, or where nobody looks.
        dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("CI"))
        self.terminal = self.out.isatty() and not dumb
        self.lock = threading.RLock()
        self.done = self.total = 0
        self.working: dict[str, float] = {}
        self.ticker: threading.Thread | None = None
        self.stopped = threading.Event()

    def say(self, text: str) -> None:
        """Print a line (or several), above the bar."""
        with self.lock:
            try:
                self._clear()
                self.out.write(text + "\n")
                self._draw()
                self.out.flush()
            except BrokenPipeError:
                # Nobody reads any more (doit | head): go on building, in silence.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())

    def hush(self) -> None:
        """Print nothing to standard output from now on; warnings stay."""
        with self.lock:
            self.out, self.terminal = io.StringIO(), False

    def warn(self, text: str) -> None:
        """Print to standard error."""
        with self.lock:
            self._clear()
            self.out.flush()
            print(text, file=sys.stderr)

    def start(self, task: str) -> None:
        """A task has begun to work."""
        with self.lock:
            self.working[task] = time.monotonic()
            if self.terminal and self.ticker is None:
                self.ticker = threading.Thread(target=self._tick, daemon=True)
                self.ticker.start()
            self._redraw()

    def finish(self, task: str) -> float:
        """A task has ended; the seconds it took (0 if it never began)."""
        with self.lock:
            self.done += 1
            begun = self.working.pop(task, None)
            self._redraw()
            return time.monotonic() - begun if begun is not None else 0.0

    def close(self) -> None:
        with self.lock:
            self.stopped.set()
            self.working.clear()
            self._clear()
            self.terminal = False
            if not self.out.closed:  # whoever captured it may have taken it away by now
                self.out.flush()

    def _tick(self) -> None:
        while not self.stopped.wait(0.2):
            with self.lock:
                self._redraw()

    def _redraw(self) -> None:
        if self.terminal:
            self._clear()
            self._draw()
            self.out.flush()

    def _clear(self) -> None:
        if self.terminal:
            self.out.write("\r\x1b[K")

    def _draw(self) -> None:
        if self.terminal and self.working and self.total:
            full = BAR * self.done // self.total
            bar = "█" * full + "░" * (BAR - full)
            now = time.monotonic()
            tasks = ", ".join(f"{t} {now - begun:.0f} s" for t, begun in self.working.items())
            width = shutil.get_terminal_size().columns - 1
            self.out.write(f"{bar} {self.done}/{self.total}  {tasks}"[:width])


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Columns of text; those numbered in `right` are flush right."""
    rows = [list(head), *map(list, rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    flush = set(right)

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if i in flush else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join([line(rows[0]), line(["-" * w for w in widths]), *map(line, rows[1:])])


def count(number: int | None) -> str:
    """12345 -> 12,345; None -> -"""
    return "-" if number is None else f"{number:,}"


def size(number: int | None) -> str:
    """Bytes in the largest unit that leaves at least one whole digit: 61.2 kB."""
    if number is None:
        return "-"
    value = float(number)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def seconds(value: float) -> str:
    return f"{value:.1f} s"
