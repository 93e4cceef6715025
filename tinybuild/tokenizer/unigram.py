"""Unigram: pieces with scores, of which a text takes the best path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from functools import cached_property

from tinybuild.tokenizer.segmenter import Segmenter

UNKNOWN_PENALTY = 10.0  # below the lowest score; the same in tokenizers and sentencepiece


@dataclass(frozen=True, kw_only=True)
class Unigram(Segmenter):
    """A Unigram vocabulary: tokens in the order of their ids -> log probability.

    `plain` are the pieces that text is cut into (no control or byte pieces).

    Why a subset cuts text as the whole does: the paths through a text that use kept pieces only are
    some of the source's, with the same scores. If all pieces of the source's best path are kept, it
    is among them and still the best, ties being broken in the same order. Only the score of an
    unknown character depends on the other pieces: it is the lowest score less a constant. So the
    piece with the lowest score always stays.
    """

    plain: Set[str]
    _known: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.plain), default=0)

    @cached_property
    def _lowest(self) -> str | None:
        """The last piece of the lowest score."""
        low = min((self.tokens[piece] for piece in self.plain), default=None)
        last = (p for p in reversed([*self.tokens]) if self.tokens[p] == low and p in self.plain)
        return next(last, None)

    def parts(self, token: str) -> Set[str] | None:
        """Nothing; None if another path is better than the piece itself.

        Where no piece stands for the unknown, each of its letters: tokenizers refuses a text as
        soon as one has no piece, be it on the best path or not.
        """
        if not self.emitted(token):
            return None
        if self.unknown is None and token in self.plain:
            return {letter for letter in token if letter in self.plain} - {token}
        return frozenset()

    def emitted(self, token: str) -> bool:
        """Whether the piece is the best path through its own text."""
        if token not in self._known:
            self._known[token] = self._emitted(token)
        return self._known[token]

    def _emitted(self, token: str) -> bool:
        if token not in self.plain or self._lowest is None:
            return token in self.tokens
        unknown = self.tokens[self._lowest] - UNKNOWN_PENALTY
        best = [0.0] + [float("-inf")] * len(token)
        for start in range(len(token)):
            single = False
            for end in range(start + 1, min(len(token), start + self._longest) + 1):
                piece = token[start:end]
                if piece in self.plain and end - start < len(token):
                    best[end] = max(best[end], best[start] + self.tokens[piece])
                    single = single or end == start + 1
            if not single:
                best[start + 1] = max(best[start + 1], best[start] + unknown)
        return len(token) == 1 or self.tokens[token] >= best[-1]

    def letters(self, characters: Iterable[str]) -> Set[str]:
        """The pieces that spell these characters."""
        return {character for character in characters if character in self.tokens}

    def required(self) -> dict[str, str]:
        needed = super().required()
        if self._lowest is not None:
            needed.setdefault(self._lowest, "lowest score")
        return needed

    def ranked(self) -> Iterator[str]:
        """Pieces in the order of their ids."""
        return iter(self.tokens)
