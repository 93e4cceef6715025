"""Checks of a tokenizer: it loads, its ids have no holes, and text comes back."""

from __future__ import annotations

import functools
import itertools
import json
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tinybuild import corpus
from tinybuild.facts import TokenizerShown
from tinybuild.tokenizer import cutting, sample, tokenizer_json
from tinybuild.tokenizer.sample import split
from tinybuild.validate.check import Result, check
from tinybuild.validate.subject import NotTried, Subject

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GENERIC = "TokenizersBackend"
COMMON = frozenset("etaoin")  # tokens where letters are tokens
TEXTS = 100  # texts of the corpus, and surfaces of tokens, that are tried


@check("tokenizer")
def tokenizer_loads(subject: Subject) -> Result:
    """AutoTokenizer loads it, as the class it was, with the number of tokens it had.

    For some model types AutoTokenizer takes the class without a pipeline of its own instead
    (TokenizersBackend); that is as good where it reads the pipeline in tokenizer.json unchanged.
    """
    from transformers import AutoTokenizer

    wanted = subject.read("tokenizer", TokenizerShown)
    name = type(subject.tokenizer).__name__
    size = len(AutoTokenizer.from_pretrained(subject.folder))
    measured = f"{name}, {size:,} tokens"
    expected = f"{wanted.class_}, {wanted.vocab_size:,} tokens"
    same = name == wanted.class_ or (name == GENERIC and _as_written(subject))
    ok = same and size == len(subject.tokenizer) == wanted.vocab_size
    note = "" if measured == expected or not ok else "it reads the same pipeline"
    return Result.of(ok, measured=measured, wanted=expected, values={"tokens": size}, note=note)


def _as_written(subject: Subject) -> bool:
    path = subject.folder / tokenizer_json.NAME
    if not path.is_file():
        return False
    written = json.loads(tokenizer_json.loaded(path).to_str())
    return bool(json.loads(subject.tokenizer.backend_tokenizer.to_str()) == written)


@check("tokenizer")
def ids_without_holes(subject: Subject) -> Result:
    """The ids are 0 .. N-1, each used once."""
    ids = sorted(subject.tokenizer.get_vocab().values())
    size = len(subject.tokenizer)
    holes = sorted(set(range(size)) - set(ids))
    past = [number for number in ids if number >= size]
    ok = ids == list(range(size))
    faults = []
    if holes:
        faults.append(f"{len(holes)} holes (first {holes[0]})")
    if past:
        faults.append(f"{len(past)} ids past the end (last {past[-1]})")
    if not ok and not faults:
        faults.append(f"{len(ids) - len(set(ids))} ids used twice")
    return Result.of(
        ok,
        measured=", ".join(faults) or f"0 to {size - 1}",
        wanted=f"0 to {size - 1}, each once",
        values={"tokens": size, "holes": len(holes), "past_the_end": len(past)},
    )


@check("tokenizer")
def special_tokens(subject: Subject) -> Result:
    """Each special token's text is one token with an id inside the vocabulary, or that the model
    has a row for: a class may number its languages behind all others.

    (An added token that is normalised before it is looked for, "[PAD]" to "[pad]", has its id, and
    the library names it by what it becomes.)
    """
    tokenizer = subject.tokenizer
    rows = max(len(tokenizer), subject.read("tokenizer", TokenizerShown).rows)
    added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items()}
    bad = []
    for token in tokenizer.all_special_tokens:
        number = tokenizer.convert_tokens_to_ids(token)
        if number is None or not 0 <= number < rows:
            bad.append(f"{token} has id {number}")
        elif token not in (name := tokenizer.convert_ids_to_tokens(number), added.get(number)):
            bad.append(f"{token} is {name}")
    ids = sample.ids(tokenizer, "a b", special=True)
    bad += [f"id {number} in an encoded text" for number in ids if not 0 <= number < rows]
    return Result.of(
        not bad,
        measured="; ".join(bad) or f"{len(tokenizer.all_special_tokens)} of them",
        wanted="ids inside the vocabulary that stand for these tokens",
        values={"tokens": len(tokenizer.all_special_tokens), "faults": len(bad)},
    )


@check("tokenizer")
def one_cutting(subject: Subject) -> Result:
    """Each vocabulary file, read by the library that reads it, cuts text as AutoTokenizer does: in
    all scripts, with runs of spaces and of lines; with mistral-common installed or not."""
    from transformers import AutoTokenizer

    made, texts = subject.tokenizer, cutting.texts()
    readers = [*cutting.readers(subject.folder, made)]
    told = cutting.differences(readers, made, texts)
    if (subject.folder / "tekken.json").is_file():  # AutoTokenizer asks who can read it
        called = AutoTokenizer.from_pretrained(subject.folder)
        if any(called(text)["input_ids"] != made(text)["input_ids"] for text in texts):
            told["tekken.json"] = f"makes {type(called).__name__} of AutoTokenizer, which differs"
    read = {names: reader is None for names, reader in readers}
    files = [" and ".join(names) for names in read]
    lacking = [name for names, none in read.items() if none for name in names]
    if lacking and not told:
        raise NotTried(f"what reads {' and '.join(lacking)} is not installed, or cannot read it")
    return Result.of(
        not told,
        measured="; ".join(f"{name} {how}" for name, how in told.items())
        or f"{len(texts)} texts, by {', '.join(files) or 'AutoTokenizer alone'}",
        wanted="the same tokens from every file",
        values={"files": len(read), "texts": len(texts), "faults": len(told)},
    )


@check("tokenizer")
def round_trip(subject: Subject) -> Result | None:
    """Decoding an encoded text gives it back, spaces aside, wherever no token is unknown.

    Compared with the text as the tokenizer's own normaliser leaves it (lower case, NFKC ...); where
    no decoder says how tokens join, their texts are compared with the uncut words. Tried on the
    corpus and on the surfaces of the vocabulary's own tokens. Where source and target of a
    translation have vocabularies of their own, ids are decoded by the target's: there the source's
    tokens are compared instead. (What a shrunken one owes is its source's own round trip:
    `shrunk.segmentation`.)
    """
    if "shrunk" in subject.parts:
        return None
    tokenizer = subject.tokenizer
    source, bad_ids = _source_tokens(tokenizer), unknowns(tokenizer)
    tried = unknown = exact = 0
    bad = []
    for text in _texts(tokenizer):
        ids = sample.ids(tokenizer, text, special=False)
        if bad_ids.intersection(ids):
            unknown += 1
            continue
        tried += 1
        if source:
            back = " ".join(source[number] for number in ids)
            text = wanted = " ".join(tokenizer.tokenize(text))
        else:
            back, wanted = _decoded(tokenizer, ids), _whole(tokenizer, text)
        exact += back == text
        if _squash(back) != _squash(wanted) and not _cleaned(tokenizer, back, ids, wanted):
            bad.append(f"{text[:40]!r} came back as {back[:40]!r}")
    return Result.of(
        tried > 0 and not bad,
        measured=bad[0] + (f", and {len(bad) - 1} more" if len(bad) > 1 else "")
        if bad
        else f"{tried} texts came back ({exact} to the letter), {unknown} with unknown tokens",
        wanted="every text without unknown tokens comes back, and there are some",
        values={
            "texts": tried,
            "to_the_letter": exact,
            "with_unknowns": unknown,
            "faults": len(bad),
        },
        note="" if tried else "every text has unknown tokens: a larger vocabulary, or other text",
    )


def _cleaned(tokenizer: PreTrainedTokenizerBase, back: str, ids: list[int], text: str) -> bool:
    """Whether a class that is written in Python cleaned the text before it cut it: what came back
    is cut alike (a line's end that is a word now), or only its case, spaces and punctuation are
    other ones (Moses' quotes and underscores), or accents, or letters that are no tokens (VITS)."""

    def letters(of: str) -> list[str]:
        plain = unicodedata.normalize("NFD", of.casefold())
        return [letter for letter in plain if letter.isalnum()]

    if tokenizer.is_fast:
        return False
    again: list[int] = tokenizer(back, add_special_tokens=False)["input_ids"]
    wanted, vocabulary = letters(text), tokenizer.get_vocab().keys()
    known = [letter for letter in wanted if letter in vocabulary]
    if again == ids or _bytes(back) == text:
        return True
    return letters(back) in ([wanted, known] if vocabulary >= COMMON else [wanted])


def _bytes(back: str) -> str | None:
    """A text whose letters are each a byte's (Dia's tokenizer puts them together no more)."""
    try:
        return back.encode("latin-1").decode()
    except UnicodeError:
        return None


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    plain = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    if hasattr(tokenizer, "word_delimiter_token"):
        plain["group_tokens"] = False  # CTC's frames: "ll" would become "l"
    return str(tokenizer.decode(ids, **plain))


def unknowns(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids of the unknown token, as the tokenizer names it and as its model does."""
    return _unknowns(tokenizer, tokenizer.unk_token_id)


@functools.lru_cache(maxsize=4)
def _unknowns(tokenizer: PreTrainedTokenizerBase, named: int | None) -> frozenset[int]:
    ids = {named}
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        token = getattr(backend.model, "unk_token", None)
        if token is not None:
            ids.add(backend.token_to_id(token))
        elif type(backend.model).__name__ == "Unigram":  # which shows its unk_id in its JSON only
            ids.add(json.loads(backend.to_str())["model"]["unk_id"])
    return frozenset(number for number in ids if number is not None)


def _source_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """id -> token of the source vocabulary, if the target's is another one; else {}."""
    if not hasattr(tokenizer, "get_src_vocab"):
        return {}
    tokens = {number: token for token, number in tokenizer.get_src_vocab().items()}
    ids = sorted(tokens)
    return {} if tokenizer.convert_ids_to_tokens(ids) == [tokens[i] for i in ids] else tokens


def _texts(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    yield from itertools.islice(corpus.texts(), TEXTS)
    added = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    plain = [token for token, _ in vocabulary if token not in added]
    for token in plain[:: max(1, len(plain) // TEXTS)]:
        surface = _decoded(tokenizer, tokenizer.convert_tokens_to_ids([token])).strip()
        if surface and "\N{REPLACEMENT CHARACTER}" not in surface:
            yield surface


def _whole(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """A text as its tokens have to spell it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return text
    if backend.decoder is None:
        return "".join(split(text, backend))
    normaliser = backend.normalizer
    return str(normaliser.normalize_str(text)) if normaliser is not None else text


def _squash(text: str) -> str:
    return "".join(text.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").split())
