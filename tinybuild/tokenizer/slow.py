"""Tokenizers that are Python classes with vocabulary files of their own: read, and cut down.

What a file is, is told by its content and by what the loaded class knows, never by the class's
name: a JSON object token -> id, a list with one token a line, the merges of a BPE, or a
SentencePiece model. A class whose files are of other kinds is refused.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild.errors import BuildFault, Fault
from tinybuild.tokenizer import spm
from tinybuild.tokenizer.bpe import Bpe
from tinybuild.tokenizer.choose import Space
from tinybuild.tokenizer.segmenter import Segmenter
from tinybuild.tokenizer.words import Words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Named by some classes beside their vocabulary: settings, and the other backend's file.
ELSEWHERE = frozenset({"tokenizer_config.json", "tokenizer.json"})
END, GOES_ON = "</w>", "@@"
TARGET = ("target", "tgt")  # how the names of a target's files begin

# How a line of a list states its token: as it is, or before a count.
READINGS: tuple[Callable[[str], str], ...] = (
    lambda line: line,
    lambda line: line.strip(),
    lambda line: line.strip().rpartition(" ")[0],
)


@dataclass(frozen=True, kw_only=True)
class Merged(Segmenter):
    """A BPE of which merges and vocabulary are two files: a Segmenter.

    bpe: the merges over all symbols that they mention, tokens or not: a vocabulary counted on text
    need not hold what others are merged from. continued: the merges mark a word's end ("lo</w>"),
    the tokens that it goes on ("hel@@", "lo"). letter: a byte -> the letter that stands for it.
    """

    bpe: Bpe
    continued: bool
    letter: Mapping[int, str] = field(default_factory=dict)

    def spell(self, symbol: str) -> str:
        """A symbol of the merges, as the vocabulary writes it."""
        if not self.continued:
            return symbol
        return symbol.removesuffix(END) if symbol.endswith(END) else symbol + GOES_ON

    def _symbols(self, token: str) -> Iterator[str]:
        """What `spell` may have made the token from; "a@@" is "a", or the whole word "a@@"."""
        if not self.continued:
            yield token
            return
        yield token + END
        if token.endswith(GOES_ON):
            yield token.removesuffix(GOES_ON)

    def parts(self, token: str) -> Set[str] | None:
        """The tokens that `token` is merged from, on every level; None if merges never make it."""
        made = [self.bpe.parts(symbol) for symbol in self._symbols(token) if symbol]
        if all(symbols is None for symbols in made):
            return None
        parts = {self.spell(part) for symbols in made for part in symbols or ()}
        return (parts & self.tokens.keys()) - {token}

    def emitted(self, token: str) -> bool:
        """Whether any text gives this token, as far as the merges alone decide it."""
        return self.parts(token) is not None

    def letters(self, characters: Iterable[str]) -> Set[str]:
        """The tokens that spell these characters anywhere in a word."""
        if self.letter:
            characters = {self.letter[byte] for text in characters for byte in text.encode()}
        return {self.spell(symbol) for symbol in self.bpe.letters(characters)} & self.tokens.keys()

    def ranked(self) -> Iterator[str]:
        """Tokens in the order of the merges that make them."""
        return filter(self.tokens.__contains__, map(self.spell, self.bpe.ranked()))


@dataclass(frozen=True, kw_only=True)
class Always(Segmenter):
    """What a class needs for any text, in the shape of a Segmenter: token -> why. It cuts none."""

    must: Mapping[str, str]
    tokens: Mapping[str, float] = field(default_factory=dict)

    def parts(self, token: str) -> Set[str] | None:
        return None

    def emitted(self, token: str) -> bool:
        return False

    def required(self) -> dict[str, str]:
        return dict(self.must)


@dataclass(frozen=True, kw_only=True)
class _Ids:
    """A JSON object token -> id."""

    name: str
    space: str
    ids: Mapping[str, int]

    @property
    def tokens(self) -> Set[str]:
        return self.ids.keys()


@dataclass(frozen=True, kw_only=True)
class _Lines:
    """A list, one token a line; lines: (token, the line). None for a line that means no token."""

    name: str
    space: str
    lines: tuple[tuple[str | None, str], ...]

    @cached_property
    def tokens(self) -> Set[str]:
        return {token for token, _ in self.lines if token is not None}


@dataclass(frozen=True, kw_only=True)
class _Merges:
    """The merges of a BPE; lines: (the pair, None where the class reads none, the line)."""

    name: str
    space: str
    lines: tuple[tuple[tuple[str, str] | None, str], ...]
    tokens: Set[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class _Pieces:
    """A SentencePiece model."""

    name: str
    space: str
    proto: Any
    tokens: Set[str]


_File = _Ids | _Lines | _Merges | _Pieces


def _fault(source: PreTrainedTokenizerBase, what: str, hint: str = "") -> Fault:
    return BuildFault.of(f"{type(source).__name__}: {what}", key=("tokenizer",), hint=hint)


def _other(source: PreTrainedTokenizerBase, what: str) -> Fault:
    return _fault(source, what, "take the source as it is (method: keep), or another source")


def _files(source: PreTrainedTokenizerBase, folder: Path) -> tuple[_File, ...]:
    """The files of a class that lie in its folder. Raises BuildFault for one of no known kind."""
    ids = source.get_vocab()
    known = dict[int, str]((number, token) for token, number in ids.items())
    apart = _apart(source)
    found: list[_File] = []
    for key, name in source.vocab_files_names.items():
        path = folder / name
        if name in ELSEWHERE or not path.is_file():
            continue
        try:
            text: str | None = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            text = None
        space = "tgt" if apart and key.startswith(TARGET) else ""
        table = _table(text)
        if table is not None:
            if not _most(
                source._convert_id_to_token(number) == token if space else ids.get(token) == number
                for token, number in table.items()
            ):
                raise _other(source, f"the numbers in {name} are not the ids that the class uses")
            found.append(_Ids(name=name, space=space, ids=table))
        elif (merges := _merges(source, text)) is not None:
            found.append(_Merges(name=name, space="", lines=merges))
        elif text is not None and (lines := _lines(text, ids, known)) is not None:
            found.append(_Lines(name=name, space="", lines=lines))
        elif (proto := _pieces(path)) is not None:
            tokens = {piece.piece for piece in proto.pieces}
            found.append(_Pieces(name=name, space=space, proto=proto, tokens=tokens))
        else:
            raise _other(
                source,
                f"{name} is of no kind that can be cut: token -> id, a token a line, merges, "
                "SentencePiece",
            )
    if not found:
        raise _other(source, "the class has no vocabulary file that could be cut")
    return tuple(found)


def _translates(source: PreTrainedTokenizerBase) -> bool:
    """Whether the class has files for the target of a translation."""
    return any(key.startswith(TARGET) for key in source.vocab_files_names)


def _apart(source: PreTrainedTokenizerBase) -> bool:
    """Whether an id is written as one token and read back as another: the target's."""
    added = source.added_tokens_encoder
    return _translates(source) and any(
        token not in added and source._convert_id_to_token(number) != token
        for token, number in source.get_vocab().items()
    )


def _most(truths: Iterable[bool]) -> bool:
    """More than half: single entries may be overruled by the settings."""
    counts = Counter(truths)
    return counts[True] > counts[False]


def _table(text: str | None) -> dict[str, int] | None:
    """A JSON object token -> id; None if it is none. {} is none: nothing tells what it is."""
    try:
        table = json.loads(text or "")
    except (json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(table, dict) or not table or not all(type(n) is int for n in table.values()):
        return None
    return table


def _merges(
    source: PreTrainedTokenizerBase, text: str | None
) -> tuple[tuple[tuple[str, str] | None, str], ...] | None:
    """The lines of a merges file, with or without header and counts; None if it is none.

    Which lines are merges, the class knows: one takes the first line for a header, another for the
    first merge, and no class reads what stands behind the last line's end.
    """
    ranks = getattr(source, "bpe_ranks", None)
    if ranks is None or text is None:
        return None
    found: list[tuple[tuple[str, str] | None, str]] = []
    for line in text.split("\n")[:-1]:
        words = tuple(line.split()[:2])
        found.append((words if len(words) == 2 and words in ranks else None, line))
    known = _most(pair is not None for pair, _ in found)
    bare = all(line.startswith("#") for line in text.split("\n") if line)  # no merges at all
    return tuple(found) if known or bare else None


def _lines(
    text: str, ids: Mapping[str, int], known: Mapping[int, str]
) -> tuple[tuple[str | None, str], ...] | None:
    """The lines of a list with their tokens; None if most are no tokens.

    Where a class renames what it reads ("</_>" for a space), the line's place tells the token.
    """
    lines = text.removesuffix("\n").split("\n")
    reading = max(READINGS, key=lambda reading: sum(reading(line) in ids for line in lines))
    read = [reading(line) for line in lines]
    if not _most(token in ids for token in read):
        return None
    shifts = Counter(ids[token] - place for place, token in enumerate(read) if token in ids)
    shift = shifts.most_common(1)[0][0]
    # Of a token that stands twice the class sees the last.
    last = {token: place for place, token in enumerate(read)}
    found: list[tuple[str | None, str]] = []
    for place, (token, line) in enumerate(zip(read, lines, strict=True)):
        if token in ids:
            found.append((token if last[token] == place else None, line))
        else:
            renamed = known.get(place + shift)
            found.append((None if renamed in last else renamed, line))
    return tuple(found)


def _pieces(path: Path) -> Any:
    """A SentencePiece model, or None."""
    try:
        return spm.read(path)
    except BuildFault:
        return None


def spaces(source: PreTrainedTokenizerBase, folder: Path) -> tuple[Space, ...]:
    """The vocabularies of a loaded class: one, or source and target.

    Raises BuildFault, naming the class, where its files are of kinds that cannot be cut.
    """
    files = _files(source, folder)
    vocabulary = source.get_vocab()
    held = set().union(*(file.tokens for file in files if not file.space))
    atoms = {*map(str, source.all_special_tokens), *source.added_tokens_encoder}
    # These come from no file: they are always there, some of them at fixed distances.
    numbered = {
        token: "class"
        for token, number in vocabulary.items()
        if token not in held and source._convert_token_to_id(token) == number
    }
    must = {**dict.fromkeys(_everywhere(source), "every text"), **numbered}
    found = []
    for name, ids in _vocabularies(source, files).items():
        own = [file for file in files if file.space == name]
        always = Always(must={token: why for token, why in must.items() if token in ids})
        found.append(
            Space(
                name=name,
                ids=ids,
                segmenters=(*_segmenters(source, ids, own, files), always),
                atoms=frozenset(atoms & ids.keys()),
            )
        )
    return tuple(found)


def _vocabularies(
    source: PreTrainedTokenizerBase, files: Iterable[_File]
) -> dict[str, Mapping[str, int]]:
    """Space name -> token -> id."""
    found: dict[str, Mapping[str, int]] = {"": source.get_vocab()}
    return found | {file.space: file.ids for file in files if isinstance(file, _Ids) and file.space}


def _everywhere(source: PreTrainedTokenizerBase) -> Set[str]:
    """Tokens that come out of any text, such as blanks between letters (VITS)."""
    letters = (token for token in source.get_vocab() if len(token) == 1 and token.isalpha())
    one, other = next(letters, "a"), next(letters, "b")
    return {*_cut(source, one)[0]} & {*_cut(source, other)[0]}


def _segmenters(
    source: PreTrainedTokenizerBase,
    ids: Mapping[str, int],
    own: Iterable[_File],
    files: Iterable[_File],
) -> Iterator[Segmenter]:
    """The algorithms over one vocabulary; the merges of a BPE serve all."""
    unknown = None if source.unk_token is None else str(source.unk_token)
    bare = True
    for file in own:
        if isinstance(file, _Pieces):
            bare = False
            yield spm.segmenter(file.proto)
            required = spm.required(file.proto)
            yield Always(must={token: why for token, why in required.items() if token in ids})
    for file in files:
        if isinstance(file, _Merges):
            bare = False
            yield _merged(source, ids, unknown)
    if bare:
        inner = any(token.startswith("##") for token in ids)
        yield Words(tokens=ids, unknown=unknown, prefix="##" if inner else "")


def _merged(source: PreTrainedTokenizerBase, ids: Mapping[str, int], unknown: str | None) -> Merged:
    """The BPE of a class with `bpe_ranks`, and which of the two spellings its tokens have."""
    ranks = {pair: rank for pair, rank in source.bpe_ranks.items() if len(pair) == 2}
    mentioned = {symbol for left, right in ranks for symbol in (left, right, left + right)}
    end = END if any(symbol.endswith(END) for symbol in mentioned) else ""
    letters = {letter for symbol in mentioned | ids.keys() for letter in symbol}
    symbols = mentioned | letters | {letter + end for letter in letters}
    bpe = Bpe(
        tokens={symbol: number for number, symbol in enumerate(sorted(symbols))},
        merges=dict(sorted(ranks.items(), key=lambda item: item[1])),
        suffix=end,
    )
    spelled = [
        Merged(
            tokens=ids,
            bpe=bpe,
            continued=continued,
            unknown=unknown,
            letter=getattr(source, "byte_encoder", {}),
        )
        for continued in ([False, True] if end else [False])
    ]
    return max(spelled, key=lambda one: sum(one.spell(symbol) in ids for symbol in mentioned))


def write(
    source: PreTrainedTokenizerBase,
    folder: Path,
    out: Path,
    kept: Mapping[str, Mapping[str, int]],
) -> None:
    """Write the vocabulary files of a class, cut to `kept`: space name -> token -> new id.

    In lists and SentencePiece models a token's place is its id: they keep their order, and so must
    `kept`. What is no token of the source at all stays (pieces and merges that end in the unknown
    token): with everything kept, nothing changes.
    """
    files = _files(source, folder)
    ids = _vocabularies(source, files)
    for file in files:
        own = kept[file.space]
        match file:
            case _Ids():
                table = {token: own[token] for token in file.ids if token in own}
                table = dict(sorted(table.items(), key=lambda item: item[1]))
                text = json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n"
            case _Lines():
                text = "".join(f"{line}\n" for token, line in file.lines if token in own)
            case _Merges():
                # Text is cut for the first space only: there no merge may make a token that went.
                gone = ids[""].keys() - kept[""].keys()
                spell = _merged(source, ids[""], None).spell
                text = "".join(
                    f"{line}\n"
                    for pair, line in file.lines
                    if pair is None
                    or gone.isdisjoint(map(spell, (pair[0], pair[1], pair[0] + pair[1])))
                )
            case _Pieces():
                stay = file.tokens - (ids[file.space].keys() - own.keys())
                (out / file.name).write_bytes(spm.cut(file.proto, stay))
                continue
        (out / file.name).write_text(text, encoding="utf-8", newline="\n")


def _cut(
    source: PreTrainedTokenizerBase, text: str, *, target: bool = False
) -> tuple[list[str], list[int]]:
    """The tokens of a text and their ids, without those that are written around it."""
    if target and hasattr(source, "_switch_to_target_mode"):
        source._switch_to_target_mode()
    try:
        tokens = list(source.tokenize(text))
        return tokens, list(source.convert_tokens_to_ids(tokens))
    except ImportError as error:
        needs = " ".join(str(error).split())
        raise _fault(source, f"cutting text needs a library: {needs}") from None
    finally:
        if target and hasattr(source, "_switch_to_input_mode"):
            source._switch_to_input_mode()


def used(source: PreTrainedTokenizerBase, texts: Iterable[str]) -> Mapping[str, Counter[str]]:
    """Space name -> how often each token occurs in the texts; a translation's also as targets."""
    vocabulary, unknown = source.get_vocab(), str(source.unk_token)
    name = "tgt" if _apart(source) else ""
    found = {"": Counter[str](), name: Counter[str]()}
    for text in texts:
        tokens = _cut(source, text)[0]
        found[""].update(token if token in vocabulary else unknown for token in tokens)
        if _translates(source):
            tokens = _cut(source, text, target=True)[0]
            found[name].update(
                token if name or token in vocabulary else unknown for token in tokens
            )
    return found


def verify(
    made: PreTrainedTokenizerBase,
    kept: Mapping[str, Mapping[str, int]],
    *,
    source: PreTrainedTokenizerBase | None = None,
    texts: Iterable[str] = (),
) -> None:
    """Raise BuildFault, naming the class, unless `made` has exactly the kept tokens, without holes.

    With the source: unless it also writes the same tokens around a text, and cuts each of the
    texts, as source and as target, as the source does if that uses kept tokens only.
    """
    wrong = list(_numbers(made, kept))
    if source is not None and not wrong:
        wrong = list(_cuts(source, made, kept, texts))
    if wrong:
        more = f"; and {len(wrong) - 3:,} more" if len(wrong) > 3 else ""
        raise _other(made, f"cut down, it is not what it should be: {'; '.join(wrong[:3])}{more}")


def _numbers(made: PreTrainedTokenizerBase, kept: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    own, vocabulary = kept[""], made.get_vocab()
    for name, ids in kept.items():
        if sorted(ids.values()) != list(range(len(ids))):
            yield f"the ids{' of the target' if name else ''} have holes"
    if len(made) != len(own):
        yield f"it has {len(made):,} tokens, not {len(own):,}"
    for token in sorted(own.keys() | vocabulary.keys(), key=lambda t: (own.get(t, len(own)), t)):
        if token not in vocabulary:
            yield f"{token!r} is not there"
        elif token not in own:
            yield f"{token!r} is there, as id {vocabulary[token]}"
        elif vocabulary[token] != own[token]:
            yield f"{token!r} has id {vocabulary[token]}, not {own[token]}"
    for token, number in kept.get("tgt", {}).items():
        read = made._convert_id_to_token(number)
        if read != token:
            yield f"id {number} of the target is {read!r}, not {token!r}"


def _cuts(
    source: PreTrainedTokenizerBase,
    made: PreTrainedTokenizerBase,
    kept: Mapping[str, Mapping[str, int]],
    texts: Iterable[str],
) -> Iterator[str]:
    if type(made) is not type(source):
        yield f"it is not {type(source).__name__}"
    names = {number: token for token, number in source.get_vocab().items()}
    around = source.build_inputs_with_special_tokens([], [])
    if [
        kept[""].get(names.get(old, "")) for old in around
    ] != made.build_inputs_with_special_tokens([], []):
        yield "it writes other tokens around a text"
    for text in texts:
        for target in (False, True) if _translates(source) else (False,):
            own = kept.get("tgt", kept[""]) if target else kept[""]
            tokens, old = _cut(source, text, target=target)
            if not own.keys() >= set(tokens):
                continue
            again, new = _cut(made, text, target=target)
            # As a target FSMT still uses the ids of its source.
            same = (
                own is not kept[""]
                or [kept[""].get(names.get(number, "")) for number in old] == new
            )
            if again != tokens or not same:
                yield f"{text[:40]!r} is cut otherwise"
