"""The corpus that ships with tinybuild: texts in many scripts, code, emoji."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

FILE = Path(__file__).parent / "corpus.jsonl"  # a row a line: text, and kind (en, code, emoji ..)


def texts(kind: str | None = None) -> Iterator[str]:
    """The texts in their order; those of one kind, if it is given."""
    with FILE.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if kind in (None, row["kind"]):
                yield row["text"]


def plain() -> Iterator[str]:
    """The texts in ASCII alone: 40 kB, so few different characters that a vocabulary of a few
    hundred tokens has room for words."""
    return filter(str.isascii, texts())


def languages(part: str) -> tuple[str, ...]:
    """The languages of a part of it, "plain" or "multilingual", by their codes."""
    if part == "plain":
        return ("en",)
    with FILE.open(encoding="utf-8") as file:
        kinds = {json.loads(line)["kind"] for line in file}
    return tuple(sorted(kind for kind in kinds if len(kind) == 2))
