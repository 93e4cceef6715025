"""What a bundle's data looks like: rows of its dataset, and texts cut by its tokenizer."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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


Token = tuple[str, int, tuple[int, int]]  # its letters, its id, its place in the text
# The tokens of each sample text, as the tokenizer of a folder without a tokenizer.json cuts them.
Foreign = Callable[[Path], Sequence[Sequence[Token]]]


def cuts(bundle: Path, sources: Sequence[Path], foreign: Foreign) -> list[Cut]:
    """The sample texts, cut by the tokenizers of a bundle and of its source; nothing where the
    bundle has none. sources: folders in which that of the source may be."""
    mine = _tokens(bundle, foreign)
    if not mine:
        return []
    theirs = next((found for one in sources if (found := _tokens(one, foreign))), [[]] * len(mine))
    return [
        Cut(text=text, tiny=_pieces(text, here, there), source=_pieces(text, there, here))
        for text, here, there in zip(TEXTS, mine, theirs, strict=True)
    ]


def _tokens(folder: Path, foreign: Foreign) -> Sequence[Sequence[Token]]:
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        return foreign(folder)
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encoded = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
    return [list(zip(one.tokens, one.ids, one.offsets, strict=True)) for one in encoded]


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
