"""What an algorithm of vocabularies says of its tokens, and the two spellings of bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

# A byte as the piece that spells it where characters are unknown (SentencePiece's byte_fallback).
BYTES = tuple(f"<0x{number:02X}>" for number in range(256))
# A byte as its letter in byte-level vocabularies (GPT-2's encoder.py, bytes_to_unicode): printable
# characters of Latin-1 stand for themselves, the others for U+0100 and so on.
_PRINTED = (*range(33, 127), *range(161, 173), *range(174, 256))
LETTERS = tuple(
    chr(byte if byte in _PRINTED else 256 + byte - sum(other < byte for other in _PRINTED))
    for byte in range(256)
)


@dataclass(frozen=True, kw_only=True)
class Segmenter:
    """An algorithm over a set of tokens.

    Each is a subclass, whose docstring says why a subset of the tokens cuts text as the whole does.

    tokens: token -> a number that means what the algorithm says. unknown: the token for characters
    without one. bytes_: whether such characters are spelled in byte pieces.
    """

    tokens: Mapping[str, float]
    unknown: str | None = None
    bytes_: bool = False

    def parts(self, token: str) -> Set[str] | None:
        """The tokens that `token` is made from, on every level; None if it is never made."""
        return frozenset()

    def emitted(self, token: str) -> bool:
        """Whether any text gives this token, as far as the algorithm alone decides it."""
        return True

    def misleads(self, token: str) -> bool:
        """Whether other text may be cut otherwise because the token is there."""
        return False

    def letters(self, characters: Iterable[str]) -> Set[str]:
        """The tokens that spell these characters anywhere in a word."""
        return frozenset()

    def required(self) -> dict[str, str]:
        """Tokens without which other text is cut otherwise -> why."""
        needed = {}
        if self.unknown is not None and self.unknown in self.tokens:
            needed[self.unknown] = "unknown"
        if self.bytes_:
            needed |= {piece: "alphabet" for piece in BYTES if piece in self.tokens}
        return needed

    def ranked(self) -> Iterator[str]:
        """The tokens, the first to keep first: by their numbers."""
        return iter(sorted(self.tokens, key=self.tokens.__getitem__))
