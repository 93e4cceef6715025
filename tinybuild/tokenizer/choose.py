"""Which tokens of a vocabulary stay, and why."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from tinybuild.errors import BuildFault
from tinybuild.tokenizer.segmenter import Segmenter

ALPHABET, TEXT = "alphabet", "text"  # why a letter is kept


@dataclass(frozen=True, kw_only=True)
class Space:
    """A vocabulary with ids of its own.

    name: "" for the main one (a class may have another for its targets). ids: token -> id, as the
    loaded tokenizer numbers them. segmenters: what cuts text into these tokens. atoms: special and
    added tokens, which are found in a text before it is cut.
    """

    name: str
    ids: Mapping[str, int]
    segmenters: tuple[Segmenter, ...]
    atoms: Set[str]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """kept: the tokens that stay -> why each was first taken. trimmed: reserved, no room."""

    kept: Mapping[str, str]
    trimmed: Sequence[str]


def within(ids: Mapping[str, int], size: int) -> None:
    """Raises BuildFault where more tokens are asked for than a vocabulary has."""
    if size > len(ids):
        raise BuildFault.of(
            f"vocab_size {size:,} is more than the source's {len(ids):,} tokens",
            key=("tokenizer", "vocab_size"),
            hint=f"ask for at most {len(ids):,}, or take the source as it is: method: keep",
        )


def choose(
    space: Space,
    *,
    size: int,
    must: Mapping[str, str],
    alphabet: Mapping[str, str],
    used: Mapping[str, int],
) -> Chosen:
    """Exactly `size` tokens of a vocabulary.

    In this order: what must live (token -> reason), the alphabet (token -> ALPHABET, the source's
    own; or TEXT, other letters of a text), the other special and added tokens (reserved;
    `_by_worth`), the tokens of a sample by their frequency (`used`, empty for truncate), and all
    others by rank; at last come tokens that no text gives, and those that would mislead
    (`Words.misleads`). A token comes with all that it is merged from. Raises BuildFault
    when `size` is larger than the vocabulary, or too small for what must live and the alphabet; it
    then names the smallest size that is not.
    """
    within(space.ids, size)
    ids, key = space.ids, ("tokenizer", "vocab_size")
    choice = _Choice(space)
    for token, reason in must.items():
        choice.take(token, reason, size=len(ids))
    alive = len(choice.kept)
    least = {}
    for reason in (ALPHABET, TEXT):
        letters = (token for token, why in alphabet.items() if why == reason and token in ids)
        for token in sorted(letters, key=ids.__getitem__):
            choice.take(token, reason, size=len(ids))
        least[reason] = len(choice.kept)
    if least[TEXT] > size:
        more = least[TEXT] - least[ALPHABET]
        raise BuildFault.of(
            f"vocab_size {size:,} is too small: {alive:,} tokens must live and "
            f"{least[ALPHABET] - alive:,} more are the alphabet"
            + (f", and {more:,} the other letters of the recipe's text" if more else ""),
            key=key,
            hint=f"ask for at least {least[TEXT]:,}"
            + (f", or {least[ALPHABET]:,} with tokenizer.text: plain" if more else ""),
        )
    reserved = _by_worth((t for t in space.atoms & ids.keys() if t not in choice.kept), ids)
    sampled = sorted(used, key=lambda token: (-used[token], ids.get(token, 0)))
    for reason, tokens, useful in (
        ("reserved", reserved, False),
        ("sample", sampled, True),
        ("rank", ranked(space), True),
        ("rank", ranked(space), False),
    ):
        for token in tokens:
            if len(choice.kept) == size:
                break
            new = token in ids and token not in choice.kept
            if new and (not useful or _useful(space, token)):
                choice.take(token, reason, size=size)
    return Chosen(kept=choice.kept, trimmed=[t for t in reserved if t not in choice.kept])


class _Choice:
    """The tokens kept so far -> why."""

    def __init__(self, space: Space):
        self.space = space
        self.kept: dict[str, str] = {}

    def take(self, token: str, reason: str, *, size: int) -> None:
        """Keep a token and what it is merged from, if all of that fits into `size`."""
        missing = self._missing(token)
        if len(self.kept) + len(missing) <= size:
            for number, one in enumerate(missing):
                derived = number and reason not in (ALPHABET, TEXT)
                self.kept[one] = "derivation" if derived else reason

    def _missing(self, token: str) -> list[str]:
        """`token` and what it needs, as far as it is not kept yet; [] for one that is.

        Atoms too: a text that is not the very token may still become it (" " where it is U+2581,
        capitals where it is lowered). The parts that a segmenter gives are complete; another one
        may make the same token, and its parts, otherwise.
        """
        if token in self.kept:
            return []
        needed, segmenters = {token: None}, self.space.segmenters
        queue = [token]
        while queue:
            one = queue.pop()
            for segmenter in segmenters:
                for part in (segmenter.parts(one) or ()) if one in segmenter.tokens else ():
                    if part in self.space.ids and part not in needed and part not in self.kept:
                        needed[part] = None
                        if len(segmenters) > 1:
                            queue.append(part)
        return list(needed)


def emitted(token: str, segmenters: Iterable[Segmenter]) -> bool:
    """Whether a token comes out of any text, as far as the algorithms alone decide it."""
    owners = [segmenter for segmenter in segmenters if token in segmenter.tokens]
    return not owners or any(segmenter.emitted(token) for segmenter in owners)


def _useful(space: Space, token: str) -> bool:
    """Whether a text gives the token, and no text is cut otherwise because it is there."""
    misleads = any(s.misleads(token) for s in space.segmenters if token in s.tokens)
    return emitted(token, space.segmenters) and not misleads


def ranked(space: Space) -> Iterator[str]:
    """All tokens by rank."""
    for segmenter in space.segmenters:
        yield from segmenter.ranked()
    yield from sorted(space.ids, key=space.ids.__getitem__)


NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _by_worth(tokens: Iterable[str], ids: Mapping[str, int]) -> list[str]:
    """Reserved tokens in the order in which they are worth keeping.

    Tokens of their own come first, by id; then the numbered runs (<extra_id_0> ..), shortest run
    first, each by its numbers: a run loses its high numbers first.
    """
    ordered = sorted(tokens, key=ids.__getitem__)
    runs = Counter(NUMBER.sub("#", token) for token in ordered)

    def worth(token: str) -> tuple[int, str, tuple[float, ...], int]:
        shape = NUMBER.sub("#", token)
        if runs[shape] < 2 or shape == token:
            return (0, "", (), ids[token])
        return (runs[shape], shape, tuple(map(float, NUMBER.findall(token))), ids[token])

    return sorted(ordered, key=worth)


def runs(tokens: Iterable[str]) -> dict[str, int]:
    """Tokens summed up by shape, numbers written as #: {"<extra_id_#>": 40}; single ones as is."""
    groups: dict[str, list[str]] = defaultdict(list)
    for token in tokens:
        groups[NUMBER.sub("#", token)].append(token)
    return {
        (shape if len(group) > 1 else group[0]): len(group)
        for shape, group in sorted(groups.items())
    }
