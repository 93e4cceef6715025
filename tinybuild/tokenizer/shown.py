"""Where a folder's tokenizer cuts sample texts, for people to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.tokenizer import cutting, loading, upstream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Token = tuple[str, int, tuple[int, int]]  # its letters, its id, its place in the text


@dataclass(frozen=True, kw_only=True)
class Asked:
    folder: Path
    texts: Sequence[str]


def holds(folder: Path) -> bool:
    """Whether a folder has the files of a tokenizer, whatever their format."""
    files = [*filter(Path.is_file, folder.iterdir())] if folder.is_dir() else []
    return any(upstream.format_of(path) or path.name in cutting.LISTS for path in files)


def tokens(asked: Asked) -> list[list[Token]]:
    """The tokens of each text. Raises BuildFault where nothing reads the folder."""
    made = loading.load(asked.folder, None, "path")
    return [[*_tokens(made, text)] for text in asked.texts]


def _tokens(made: PreTrainedTokenizerBase, text: str) -> Iterator[Token]:
    if made.is_fast:
        backend = made.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        cut = backend.encode(text, add_special_tokens=False)
        yield from zip(cut.tokens, cut.ids, cut.offsets, strict=True)
        return
    end = 0  # a class that is not fast does not say where its tokens are
    for token in made.tokenize(text):
        letters = token.strip("\u2581")
        begin = text.find(letters, end) if letters else -1
        place = (begin, begin + len(letters)) if begin >= 0 else (end, end)
        end = place[1]
        yield token, made.convert_tokens_to_ids(token), place
