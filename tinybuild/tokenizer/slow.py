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
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.errors import BuildFault, Fault
from tinybuild.tokenizer import spm
from tinybuild.tokenizer.bpe import Bpe
from tinybuild.tokenizer.choose import Space
from tinybuild.tokenizer.segmenter import Segmenter
from tinybuild.tokenizer.tokenizer_json import dumps
from tinybuild.tokenizer.words import Words

if TYPE_CHECKING:
    from sentencepiece.sentencepiece_model_pb2 import ModelProto
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
class _File:
    """A vocabulary file of a class, as one of `READERS` reads it.

    space: the vocabulary that it is of. tokens: those that it holds. cut: what is left of its
    content, from its space's vocabulary and the kept ones, with their new ids. One of these tells
    its algorithm: ids, of a table token -> id; merges; model, a SentencePiece model.
    """

    name: str
    space: str
    tokens: Set[str]
    cut: Callable[[Mapping[str, int], Mapping[str, int]], bytes]
    ids: Mapping[str, int] | None = None
    merges: bool = False
    model: ModelProto | None = None


@dataclass(frozen=True, kw_only=True)
class _Look:
    """A file of which nobody knows yet what it is. text: None where it is not UTF-8."""

    source: PreTrainedTokenizerBase
    path: Path
    space: str
    text: str | None


def _fault(source: PreTrainedTokenizerBase, what: str, hint: str = "") -> Fault:
    return BuildFault.of(f"{type(source).__name__}: {what}", key=("tokenizer",), hint=hint)


def _other(source: PreTrainedTokenizerBase, what: str) -> Fault:
    return _fault(source, what, "take the source as it is (method: keep), or another source")


def _files(source: PreTrainedTokenizerBase, folder: Path) -> tuple[_File, ...]:
    """The files of a class that lie in its folder. Raises BuildFault for one that nobody reads."""
    apart = _apart(source)
    files = []
    for key, name in source.vocab_files_names.items():
        path = folder / name
        if name in ELSEWHERE or not path.is_file():
            continue
        try:
            text: str | None = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            text = None
        space = "tgt" if apart and key.startswith(TARGET) else ""
        look = _Look(source=source, path=path, space=space, text=text)
        file = next(filter(None, (read(look) for read in READERS)), None)
        if file is None:
            raise _other(
                source,
                f"{name} cannot be cut: it is not a table token -> id, a list of tokens, merges or "
                "a SentencePiece model",
            )
        files.append(file)
    if not files:
        raise _other(source, "the class has no vocabulary file that could be cut")
    return tuple(files)


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


def _table(look: _Look) -> _File | None:
    """A JSON object token -> id. {} is none: nothing tells what it is."""
    try:
        table = json.loads(look.text or "")
    except (json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(table, dict) or not table or not all(type(n) is int for n in table.values()):
        return None
    source, name, ids = look.source, look.path.name, look.source.get_vocab()
    if not _most(
        source._convert_id_to_token(number) == token if look.space else ids.get(token) == number
        for token, number in table.items()
    ):
        raise _other(source, f"the numbers in {name} are not the ids that the class uses")

    def cut(_: Mapping[str, int], kept: Mapping[str, int]) -> bytes:
        own = sorted(table.keys() & kept.keys(), key=kept.__getitem__)
        return (dumps({token: kept[token] for token in own}) + "\n").encode()

    return _File(name=name, space=look.space, tokens=table.keys(), cut=cut, ids=table)


def _merges(look: _Look) -> _File | None:
    """The merges of a BPE, with or without header and counts.

    Which lines are merges, the class knows: one takes the first line for a header, another for the
    first merge, and no class reads what stands behind the last line's end. Text is cut for the
    first space only: there no merge may make a token that went.
    """
    ranks = getattr(look.source, "bpe_ranks", None)
    if ranks is None or look.text is None:
        return None
    lines = look.text.split("\n")
    pairs = [tuple(line.split()[:2]) for line in lines[:-1]]
    known = [len(pair) == 2 and pair in ranks for pair in pairs]
    bare = all(line.startswith("#") for line in lines if line)  # no merges at all
    if not _most(known) and not bare:
        return None

    def cut(ids: Mapping[str, int], kept: Mapping[str, int]) -> bytes:
        gone, spell = ids.keys() - kept.keys(), _merged(look.source, ids, None).spell
        return _joined(
            line
            for line, pair, is_merge in zip(lines, pairs, known, strict=False)
            if not is_merge or gone.isdisjoint(map(spell, (*pair, "".join(pair))))
        )

    return _File(name=look.path.name, space="", tokens=frozenset(), cut=cut, merges=True)


def _lines(look: _Look) -> _File | None:
    """A list, one token a line; most lines must be tokens.

    Where a class renames what it reads ("</_>" for a space), the line's place tells the token.
    """
    if look.text is None:
        return None
    ids: Mapping[str, int] = look.source.get_vocab()
    names = {number: token for token, number in ids.items()}
    lines = look.text.removesuffix("\n").split("\n")
    reading = max(READINGS, key=lambda reading: sum(reading(line) in ids for line in lines))
    read = [reading(line) for line in lines]
    if not _most(token in ids for token in read):
        return None
    shifts = Counter(ids[token] - place for place, token in enumerate(read) if token in ids)
    shift = shifts.most_common(1)[0][0]
    # Of a token that stands twice the class sees the last.
    last = {token: place for place, token in enumerate(read)}
    meant: list[str | None] = []
    for place, token in enumerate(read):
        renamed = names.get(place + shift)
        if token in ids:
            meant.append(token if last[token] == place else None)
        else:
            meant.append(None if renamed in last else renamed)

    def cut(_: Mapping[str, int], kept: Mapping[str, int]) -> bytes:
        return _joined(line for line, token in zip(lines, meant, strict=True) if token in kept)

    tokens = {token for token in meant if token is not None}
    return _File(name=look.path.name, space=look.space, tokens=tokens, cut=cut)


def _pieces(look: _Look) -> _File | None:
    """A SentencePiece model."""
    try:
        model = spm.read(look.path)
    except BuildFault:
        return None
    tokens = {piece.piece for piece in model.pieces}

    def cut(ids: Mapping[str, int], kept: Mapping[str, int]) -> bytes:
        return spm.cut(model, tokens - (ids.keys() - kept.keys()))

    return _File(name=look.path.name, space=look.space, tokens=tokens, cut=cut, model=model)


# What a file is: the first of these that reads it.
READERS: tuple[Callable[[_Look], _File | None], ...] = (_table, _merges, _lines, _pieces)


def _joined(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


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
    made = []
    for name, ids in _vocabularies(source, files).items():
        own = [file for file in files if file.space == name]
        always = Always(must={token: why for token, why in must.items() if token in ids})
        made.append(
            Space(
                name=name,
                ids=ids,
                segmenters=(*_segmenters(source, ids, own, files), always),
                atoms=frozenset(atoms & ids.keys()),
            )
        )
    return tuple(made)


def _vocabularies(
    source: PreTrainedTokenizerBase, files: Iterable[_File]
) -> dict[str, Mapping[str, int]]:
    """Space name -> token -> id."""
    tables = {file.space: file.ids for file in files if file.ids is not None and file.space}
    return {"": source.get_vocab(), **tables}


def _everywhere(source: PreTrainedTokenizerBase) -> Set[str]:
    """Tokens that come out of any text, such as blanks between letters (VITS)."""
    letters = (token for token in source.get_vocab() if len(token) == 1 and token.isalpha())
    one, other = next(letters, "a"), next(letters, "b")
    return {*cut(source, one)[0]} & {*cut(source, other)[0]}


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
        if file.model is not None:
            bare = False
            yield spm.segmenter(file.model)
            required = spm.required(file.model)
            yield Always(must={token: why for token, why in required.items() if token in ids})
    for file in files:
        if file.merges:
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
    `kept`. What is not a token of the source stays (pieces and merges that end in the unknown
    token): with everything kept, nothing changes.
    """
    files = _files(source, folder)
    ids = _vocabularies(source, files)
    for file in files:
        (out / file.name).write_bytes(file.cut(ids[file.space], kept[file.space]))


def cut(
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
    counts = {"": Counter[str](), name: Counter[str]()}
    for text in texts:
        tokens = cut(source, text)[0]
        counts[""].update(token if token in vocabulary else unknown for token in tokens)
        if _translates(source):
            tokens = cut(source, text, target=True)[0]
            counts[name].update(
                token if name or token in vocabulary else unknown for token in tokens
            )
    return counts


def verify(made: PreTrainedTokenizerBase, kept: Mapping[str, Mapping[str, int]]) -> None:
    """Raise BuildFault, naming the class, unless `made` has exactly the kept tokens."""
    wrong = list(_numbers(made, kept))
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
