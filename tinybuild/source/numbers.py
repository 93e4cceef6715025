"""Numbers of rows as a recipe writes them: 1,4-10, from 1."""

from __future__ import annotations


def numbers(rows: str | int) -> tuple[int, ...]:
    """ "2,5-7" -> (1, 4, 5, 6): the numbers from 0, ascending, each once."""
    found: set[int] = set()
    for piece in str(rows).split(","):
        first, _, last = piece.strip().partition("-")
        found.update(range(int(first) - 1, int(last or first)))
    return tuple(sorted(found))


def spelled(rows: list[int]) -> str:
    """[1, 4, 5, 6] -> "2,5-7": the other way; `rows` is sorted."""
    pieces: list[list[int]] = []
    for row in rows:
        if pieces and row == pieces[-1][1] + 1:
            pieces[-1][1] = row
        else:
            pieces.append([row, row])
    return ",".join(str(a + 1) if a == b else f"{a + 1}-{b + 1}" for a, b in pieces)
