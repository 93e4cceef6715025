"""WordPiece and WordLevel: the longest piece that fits, and whole words."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from tinybuild.tokenizer.segmenter import Segmenter


@dataclass(frozen=True, kw_only=True)
class Words(Segmenter):
    """A vocabulary of words (WordLevel) or of pieces of words (WordPiece): token -> id.

    prefix is written before a piece that continues a word; None for WordLevel, whose tokens have no
    parts at all.

    Why a subset cuts text as the whole does: at each place WordPiece takes the longest token that
    fits. If the source's is kept it is still the longest, for none was added. A word in which no
    token fits at some place is unknown as a whole; there a subset could go another way, without
    the token that led the source into the dead end, and come through. Then the place is inside one
    of its tokens that go on a word, behind its first letter; if that letter goes on words by itself
    too, it fits at the place, which is not a dead end. So tokens with a letter behind the first
    that does not are kept last, all or none of them (`misleads`; real vocabularies have a handful).
    """

    prefix: str | None = None

    def misleads(self, token: str) -> bool:
        """Whether the token goes on a word, and has a letter behind its first that goes on none."""
        if self.prefix is None or not token.startswith(self.prefix) or token == self.unknown:
            return False
        behind = token.removeprefix(self.prefix)[1:]
        return any(self.prefix + letter not in self.tokens for letter in behind)

    def letters(self, characters: Iterable[str]) -> Set[str]:
        """The pieces that spell these characters at the start of a word and inside."""
        if self.prefix is None:
            return frozenset()
        spelled = {start + character for character in characters for start in ("", self.prefix)}
        return spelled & self.tokens.keys()
