"""Pages of Markdown: their links, the files and commands that they show, and what commands say.

A fenced block is the file whose path, in backquotes, begins the line before it, if that line ends
with a colon. A block `console` holds commands (`$ ...`), each followed by what it says: all of it,
but for lines `...`, which stand for any number of others, and ends `...` of lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.files import ROOT

PAGES = sorted(
    (
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / f"{n}.md" for n in ("README", "SKILL", "CONTRIBUTING")),
    )
)
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w./-]+\.\w+)`.*:")
ANY = "..."


@dataclass(frozen=True, kw_only=True)
class Block:
    """line: of the page. file: the path of the file that it is, or ""."""

    language: str
    text: str
    line: int
    file: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A command, and what a page says that it says."""

    command: str
    says: tuple[str, ...]


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for one in FENCE.finditer(text):
        before = text[: one.start()].rstrip().split("\n")[-1]
        named = FILE.fullmatch(before)
        yield Block(
            language=one[1],
            text=one[2],
            line=text.count("\n", 0, one.start()) + 1,
            file=named[1] if named else "",
        )


def prose(page: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def shown(block: Block) -> Iterator[Shown]:
    """The commands of a block `console` or `sh`."""
    if block.language == "sh":
        lines = [line.split(" #")[0].strip() for line in block.text.splitlines()]
        yield from (Shown(command=line, says=()) for line in lines if line)
    elif block.language == "console":
        for piece in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, *says = piece.rstrip("\n").split("\n")
            yield Shown(command=command, says=tuple(says))


def plain(line: str) -> str:
    """A line without what may differ: seconds, bytes, commits, widths of columns."""
    line = re.sub(r"\b\d+\.\d+( ?)s\b", "N s", line)
    line = re.sub(r"\([0-9a-f]{12}\)", "(COMMIT)", line)
    line = re.sub(r"\b\d+(\.\d+)? (B|kB|MB)\b", "N B", line)
    return " ".join(re.sub(r"-{3,}", "-", line).split())


def unsaid(wanted: Sequence[str], said: str) -> str | None:
    """The first line of a page that a command did not say where it should have."""
    lines = [plain(line) for line in said.splitlines() if line.strip()]
    at, anywhere = 0, False
    for line in (plain(line) for line in wanted if line.strip()):
        if line == ANY:
            anywhere = True
            continue
        places = range(at, len(lines)) if anywhere else range(at, min(at + 1, len(lines)))
        fits = [
            n
            for n in places
            if lines[n] == line
            or (line.endswith(ANY) and lines[n].startswith(line.removesuffix(ANY).rstrip()))
        ]
        if not fits:
            return line
        at, anywhere = fits[0] + 1, False
    return None if anywhere or at == len(lines) or not wanted else f"nothing after {lines[at]!r}"


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def links(page: Path) -> list[tuple[str, str]]:
    """(path, anchor) of each relative link."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    inner = [one for one in found if not re.match(r"[a-z]+:", one)]
    return [(one.partition("#")[0], one.partition("#")[2]) for one in inner]
