"""Byte-pair encoding: what a token is merged from, and which tokens come first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property

from tinybuild.tokenizer.segmenter import BYTES, Segmenter


@dataclass(frozen=True, kw_only=True)
class Bpe(Segmenter):
    """A BPE vocabulary, as any of its formats states it.

    tokens: token -> id. merges: (left, right) -> rank, lowest first; None where any two neighbours
    merge whose concatenation is a token (SentencePiece, tiktoken), the one of lowest `priority`
    first. prefix is written before a token that continues a word, suffix behind one that ends it.
    whole: a word that is a token is taken as it is, without merges (`ignore_merges`).

    Why a closed subset cuts text as the whole does: at each step BPE merges the neighbours of the
    lowest rank. If every merge that a text's derivation uses is kept, and the kept merges keep
    their order, then that pair is still there, and nothing of lower rank has been added: each step
    is the same. A token's own derivation does not depend on its neighbours, for a merge across its
    border would have made another token; so `parts` of the token by itself are all it needs.
    """

    merges: Mapping[tuple[str, str], int] | None
    priority: Mapping[str, float] = field(default_factory=dict)
    prefix: str = ""
    suffix: str = ""
    whole: bool = False
    _known: dict[str, Set[str] | None] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _rank(self) -> Callable[[str, str], float | None]:
        if self.merges is None:
            return lambda left, right: self.priority.get(left + right)
        merges = self.merges
        return lambda left, right: merges.get((left, right))

    def _join(self, left: str, right: str) -> str:
        return left + (right[len(self.prefix) :] if self.prefix else right)

    def _symbols(self, token: str) -> list[str]:
        """The characters of a token as BPE starts with them, prefix and suffix written out."""
        body, end = token, ""
        if self.suffix and token.endswith(self.suffix) and len(token) > len(self.suffix):
            body, end = token[: -len(self.suffix)], self.suffix
        start = ""
        if self.prefix and body.startswith(self.prefix) and len(body) > len(self.prefix):
            body, start = body[len(self.prefix) :], self.prefix
        symbols = [
            (self.prefix if number else start) + letter for number, letter in enumerate(body)
        ]
        symbols[-1] += end
        return symbols

    def parts(self, token: str) -> Set[str] | None:
        """The tokens that `token` is merged from, on every level; None if merges never make it."""
        if token not in self._known:
            self._known[token] = self._parts(token)
        return self._known[token]

    def _parts(self, token: str) -> Set[str] | None:
        if self.bytes_ and token in BYTES:
            return frozenset()
        if not token:
            return None
        symbols = self._symbols(token)
        if self.merges is not None and not all(symbol in self.tokens for symbol in symbols):
            return None
        made = set(symbols)
        while len(symbols) > 1:
            ranks = list(map(self._rank, symbols, symbols[1:]))
            best = min((rank for rank in ranks if rank is not None), default=None)
            if best is None:
                return None
            place = ranks.index(best)
            symbols[place : place + 2] = [self._join(*symbols[place : place + 2])]
            made.add(symbols[place])
        if symbols != [token]:
            return None
        return {symbol for symbol in made if symbol != token and symbol in self.tokens}

    def emitted(self, token: str) -> bool:
        """Whether any text gives this token, as far as the model alone decides it."""
        return self.whole or self.parts(token) is not None

    def letters(self, characters: Iterable[str]) -> Set[str]:
        """The tokens that spell these characters anywhere in a word."""
        spelled = set()
        for character in characters:
            for start in {"", self.prefix}:
                spelled |= {start + character, start + character + self.suffix}
        return spelled & self.tokens.keys()

    def ranked(self) -> Iterator[str]:
        """Tokens in the order of the merges that make them."""
        if self.merges is None:
            yield from sorted(self.priority, key=lambda token: self.priority[token])
        else:
            for left, right in self.merges:
                yield self._join(left, right)
