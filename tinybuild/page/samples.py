"""What a bundle's data looks like: rows of its dataset, and texts cut by its tokenizer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROWS, LONGEST = 5, 300  # of each file of rows; characters of a value
# The first bytes of a file -> its media type. https://mimesniff.spec.whatwg.org
SIGNATURES: Mapping[bytes, str] = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "audio/wav",
    b"fLaC": "audio/flac",
    b"OggS": "audio/ogg",
    b"ID3": "audio/mpeg",
}
TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "def add(a, b):\n    return a + b  # 42",
    "Größe, naïve café, 12,345.67 €",
    "日本語の文とпривет мир",
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value of a row. media: a data URI, "" where it is text alone."""

    text: str
    media: str = ""
    type: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The first rows of a file."""

    file: str
    rows: int
    columns: tuple[str, ...]
    first: tuple[tuple[Cell, ...], ...]


def tables(folder: Path) -> Iterator[Table]:
    """The first rows of each Parquet file of a bundle's dataset."""
    import pyarrow.parquet as pq

    for path in sorted(folder.rglob("*.parquet")):
        with pq.ParquetFile(path) as file:
            batch = next(file.iter_batches(batch_size=ROWS), None)
            names = tuple(file.schema_arrow.names)
            listed = batch.to_pylist() if batch is not None else []
            yield Table(
                file=path.relative_to(folder).as_posix(),
                rows=file.metadata.num_rows,
                columns=names,
                first=tuple(tuple(_cell(row[name]) for name in names) for row in listed),
            )


def _cell(value: object) -> Cell:
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        data = value["bytes"]
        kind = next((kind for begin, kind in SIGNATURES.items() if data.startswith(begin)), "")
        if kind:
            coded = base64.b64encode(data).decode()
            text = str(value.get("path") or kind)
            return Cell(text=text, media=f"data:{kind};base64,{coded}", type=kind.split("/")[0])
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return Cell(text=text if len(text) <= LONGEST else f"{text[:LONGEST]} ...")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A token of a text. other: whether the other tokenizer cuts here otherwise."""

    text: str
    token: str
    id: int
    other: bool = False


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A text as the bundle's tokenizer cuts it, and its source's where that is at hand."""

    text: str
    tiny: tuple[Piece, ...]
    source: tuple[Piece, ...] = ()


def cuts(tiny: Path, source: Path | None) -> list[Cut]:
    """The sample texts, cut by the tokenizer.json of a bundle and of its source."""
    from tokenizers import Tokenizer

    mine = Tokenizer.from_file(str(tiny))
    theirs = Tokenizer.from_file(str(source)) if source is not None else None
    made = []
    for text in TEXTS:
        here = _encoded(mine, text)
        there = _encoded(theirs, text) if theirs is not None else []
        made.append(
            Cut(text=text, tiny=_pieces(text, here, there), source=_pieces(text, there, here))
        )
    return made


Token = tuple[str, int, tuple[int, int]]  # its letters, its id, its place in the text


def _encoded(tokenizer: object, text: str) -> list[Token]:
    encoding = tokenizer.encode(text, add_special_tokens=False)  # type: ignore[attr-defined]
    return list(zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True))


def _pieces(text: str, tokens: Sequence[Token], others: Sequence[Token]) -> tuple[Piece, ...]:
    """Letters that several tokens share stand in the first of them."""
    places = {place for _, _, place in others}
    pieces, end = [], 0
    for token, number, (begin, stop) in tokens:
        shown = text[max(begin, end) : stop]
        other = bool(others) and (begin, stop) not in places
        pieces.append(Piece(text=shown, token=token, id=number, other=other))
        end = max(end, stop)
    return tuple(pieces)
