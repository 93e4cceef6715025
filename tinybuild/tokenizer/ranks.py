"""tiktoken and Tekken files: tokens are bytes, and the lowest-ranked neighbours merge first.

tiktoken (openai/tiktoken, load.py): one token a line, base64 and rank, which is its id; there may
be ids between them that special tokens take, and a token of no bytes (openai-whisper). Tekken
(mistral-common, tokens/tokenizers/tekken.py): JSON; ids are the special tokens' ranks, then those
of the vocabulary's first `default_vocab_size - default_num_special_tokens` entries.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild.errors import PackageFault
from tinybuild.paths import items
from tinybuild.tokenizer.bpe import Bpe
from tinybuild.tokenizer.format import Cut, Format, fault
from tinybuild.tokenizer.segmenter import LETTERS, Segmenter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CUT_OFF = "the file may have been cut off: fetch it again"
MOST = 100_000  # special tokens that a file may count: each is made; Mistral's count 1,000
FILLER = re.compile(r"<SPECIAL_\d+>")  # the special tokens that mistral-common looks up by no name


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """tokens: the bytes of a token, each as its letter in byte-level vocabularies -> rank.

    tekken: the whole file, where it is one; special: its special tokens, in the order of their ids.
    """

    tokens: Mapping[str, int]
    tekken: Mapping[str, Any] | None = None
    special: tuple[Mapping[str, Any], ...] = ()


def _letters(token: bytes) -> str:
    return "".join(LETTERS[byte] for byte in token)


def read(path: Path) -> Ranks:
    """The tokens of a tiktoken or Tekken file (.json). Raises BuildFault."""
    made = _read_tekken(path) if path.suffix == ".json" else _read_tiktoken(path)
    lost = [letter for letter in LETTERS if letter not in made.tokens]
    if lost:
        what = f"{path.name} holds no token for {len(lost)} of the 256 bytes"
        raise fault(
            f"{what}, such as 0x{LETTERS.index(lost[0]):02X}", "its vocabulary is not whole"
        )
    return made


def _read_tiktoken(path: Path) -> Ranks:
    tokens: dict[str, int] = {}
    last = -1
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            text, rank = line.split()
            token = _letters(base64.b64decode(text, validate=text != b"="))
            place = int(rank)
        except (ValueError, binascii.Error):
            shown = line[:40].decode("utf-8", "replace")
            what = f"{path.name}:{number} is not a token in base64 and its rank: {shown!r}"
            raise fault(what, CUT_OFF) from None
        if token in tokens:
            raise fault(f"{path.name}:{number} holds {token!r} again", "each token has one rank")
        if place <= last:
            what = f"{path.name}:{number} has rank {place} after {last}"
            raise fault(what, "ranks rise from line to line: a rank is the token's id")
        last = place
        if token:
            tokens[token] = place
    if not tokens:
        raise fault(f"{path.name} holds no token", CUT_OFF)
    return Ranks(tokens=tokens)


def _read_tekken(path: Path) -> Ranks:
    try:
        data = json.loads(path.read_bytes())
        config = data["config"]
        special = data.get("special_tokens")
        if special is None:
            special = _defaults(path)
        count = config.get("default_num_special_tokens", len(special))
        if not 0 <= count <= MOST:
            raise ValueError(f"it counts {count:,} special tokens; at most {MOST:,} are allowed")
        size = config.get("default_vocab_size", len(data["vocab"]) + count)
        entries = data["vocab"][: size - count]
        words = [_letters(base64.b64decode(e["token_bytes"], validate=True)) for e in entries]
        if [entry["rank"] for entry in entries] != list(range(len(entries))):
            raise ValueError("ranks are not 0, 1, 2 and so on")
        special = sorted(special, key=lambda entry: entry["rank"])
        names = {entry["token_str"] for entry in special}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{path.name} is not a Tekken file: {type(error).__name__} {error}"
        raise fault(what[:200], CUT_OFF) from None
    tokens = {word: number for number, word in enumerate(words)}
    if len(tokens) < len(words) or len(names) < len(special):
        raise fault(f"{path.name} holds a token twice", "each token has one rank")
    filled = [
        {"rank": number, "token_str": f"<SPECIAL_{number}>", "is_control": True}
        for number in range(len(special), count)
    ]
    return Ranks(tokens=tokens, tekken=data, special=(*special, *filled))


def _defaults(path: Path) -> list[dict[str, Any]]:
    """The special tokens of files from before they held their own; mistral-common knows them."""
    try:
        from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    except ImportError:
        raise PackageFault.lacking(path.name, "mistral-common", ("tokenizer",)) from None
    known: Any = Tekkenizer.DEPRECATED_SPECIAL_TOKENS
    return [{**entry, "token_str": str(entry["token_str"].value)} for entry in known]


def is_tekken(path: Path) -> bool:
    """Whether the file has the name of a Tekken file."""
    return path.suffix == ".json" and "tekken" in path.name


def is_tiktoken(path: Path) -> bool:
    """Whether the file's first line is a token in base64 and a rank."""
    with path.open("rb") as file:
        words = file.readline(1000).split()
    return len(words) == 2 and words[1].isdigit()


def required(ranks: Ranks) -> Mapping[str, str]:
    """Tokens without which a library does not load or use the file -> why."""
    names = [entry["token_str"] for entry in ranks.special]
    named = [token for token in names if not FILLER.fullmatch(token)]
    return dict.fromkeys(named, "special") | dict.fromkeys(LETTERS, "alphabet")


def segmenter(ranks: Ranks) -> Segmenter:
    """The algorithm: a word that is a token is one; else the lowest-ranked neighbours merge."""
    priority = {token: float(rank) for token, rank in ranks.tokens.items()}
    return Bpe(tokens=ranks.tokens, merges=None, priority=priority, whole=True)


def cut(ranks: Ranks, kept: Mapping[str, int]) -> bytes:
    """The file with the kept tokens only, in their order: a rank is still the token's id."""
    if ranks.tekken is None:
        return b"".join(
            b"%s %d\n" % (base64.b64encode(to_bytes(token)), kept[token])
            for token in ranks.tokens
            if token in kept
        )
    vocab = ranks.tekken["vocab"]
    entries = [vocab[rank] for token, rank in ranks.tokens.items() if token in kept]
    special = [entry for entry in ranks.special if entry["token_str"] in kept]
    made = {
        **ranks.tekken,
        "config": {
            **ranks.tekken["config"],
            "num_vocab_tokens": len(entries),
            "default_vocab_size": len(entries) + len(special),
            "default_num_special_tokens": len(special),
        },
        "vocab": [{**entry, "rank": number} for number, entry in enumerate(entries)],
        "special_tokens": [{**entry, "rank": number} for number, entry in enumerate(special)],
    }
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()


def _by_mistral(path: Path, beside: PreTrainedTokenizerBase) -> Cut | None:
    if importlib.util.find_spec("mistral_common") is None:
        return None
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    tekken, names = Tekkenizer.from_file(path), beside.convert_ids_to_tokens
    return lambda text: list(names(tekken.encode(text, bos=False, eos=False)))


def _by_tiktoken(path: Path, beside: PreTrainedTokenizerBase) -> Cut:
    """The file does not hold its pattern: that comes from the tokenizer beside it."""
    import tiktoken

    pipeline = json.loads(beside.backend_tokenizer.to_str())["pre_tokenizer"]
    (pattern,) = (value for at, value in items(pipeline) if at[-1:] == ("Regex",))
    tokens = read(path).tokens
    encoding = tiktoken.Encoding(
        path.stem,
        pat_str=str(pattern),
        mergeable_ranks={to_bytes(token): rank for token, rank in tokens.items()},
        special_tokens={},
    )
    names = {rank: token for token, rank in tokens.items()}
    return lambda text: [names[rank] for rank in encoding.encode_ordinary(text)]


TEKKEN = Format(
    holds=is_tekken,
    read=read,
    tokens=lambda ranks: ranks.tokens,
    required=required,
    segmenter=segmenter,
    cut=cut,
    library=_by_mistral,
)
# A name says nothing: tokenizer.model may also be a tiktoken file.
TIKTOKEN = dataclasses.replace(
    TEKKEN,
    holds=lambda path: (
        path.suffix == ".tiktoken" or (path.suffix in (".model", ".spm") and is_tiktoken(path))
    ),
    library=_by_tiktoken,
)


def to_bytes(token: str) -> bytes:
    """The bytes that a token's letters stand for."""
    return bytes(LETTERS.index(letter) for letter in token)
