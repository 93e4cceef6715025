"""WordPiece and WordLevel: the longest piece that fits, and whole words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Words:
    """A vocabulary of words (WordLevel) or of pieces of words (WordPiece): token -> id.

    prefix is written before a piece that continues a word; None for WordLevel, whose tokens have no
    parts at all.

    Why a subset cuts text as the whole does: at each place WordPiece takes the longest token that
    fits. If the source's is kept it is still the longest, for none was added. A word in which no
    token fits at some place is unknown as a whole; there a subset could go another way, without
    the token that led the source into the dead end, and come through. But then all its letters
    stand in kept tokens; if each of those letters is a token by itself too, then one fits at every
    place, and the source comes through as well. So tokens with a letter that is none are kept last
    (`misleads`: real vocabularies have a handful at most).
    """

    tokens: Mapping[str, int]
    unknown: str | None
    prefix: str | None = None

    def parts(self, token: str) -> Set[str] | None:
        """Nothing: no token is made from others."""
        return frozenset()

    def emitted(self, token: str) -> bool:
        """True: each token is the longest match of its own text."""
        return True

    def misleads(self, token: str) -> bool:
        """Whether the token has a letter that is no token where it stands, or ## inside."""
        if self.prefix is None or token == self.unknown:
            return False
        inner = len(token) > len(self.prefix) and token.startswith(self.prefix) and self.prefix
        letters = token.removeprefix(self.prefix) if inner else token
        first = (self.prefix if inner else "") + letters[:1]
        rest = {self.prefix + letter for letter in letters[1:]}
        return not self.tokens.keys() >= {first, *rest}

    def letters(self, characters: Iterable[str]) -> Set[str]:
        """The pieces that spell these characters at the start of a word and inside."""
        if self.prefix is None:
            return frozenset()
        found = {start + character for character in characters for start in ("", self.prefix)}
        return found & self.tokens.keys()

    def required(self) -> Mapping[str, str]:
        """Tokens without which other text is cut otherwise -> why."""
        return {self.unknown: "unknown"} if self.unknown in self.tokens else {}  # type: ignore[dict-item]

    def ranked(self) -> Iterator[str]:
        """Tokens in the order of their ids."""
        return iter(sorted(self.tokens, key=lambda token: self.tokens[token]))
