"""tokenizer.json, the format of the tokenizers library: read, checked, and cut down."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild.paths import Json, items
from tinybuild.tokenizer.bpe import Bpe
from tinybuild.tokenizer.format import Cut, Format, fault
from tinybuild.tokenizer.segmenter import Segmenter
from tinybuild.tokenizer.unigram import Unigram
from tinybuild.tokenizer.words import Words

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

NAME = "tokenizer.json"
Document = dict[str, Any]  # what the tokenizers library writes; its parts are checked by `read`


@dataclass(frozen=True, kw_only=True)
class TokenizerJson:
    """data: the file, with `model.type` filled in where an old one has none."""

    data: Document

    @functools.cached_property
    def pairs(self) -> Sequence[Sequence[str]]:
        """The merges of a BPE, which stand as "a b" or as ["a", "b"], in their order."""
        merges = self.data["model"].get("merges") or ()
        return [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]

    @functools.cached_property
    def names(self) -> Mapping[int, str]:
        """id -> token, as the file numbers them: what an id in its post-processor means."""
        vocab, added = self.data["model"]["vocab"], self.data.get("added_tokens") or ()
        if isinstance(vocab, list):
            names = dict(enumerate(piece for piece, _ in vocab))
        else:
            names = {number: token for token, number in vocab.items()}
        return names | {token["id"]: token["content"] for token in added if "id" in token}


def read(path: Path) -> TokenizerJson:
    """A checked tokenizer.json, without the dropout of merges: that is of training, and cuts the
    same text now so, now otherwise.

    Raises BuildFault for what the tokenizers library would refuse less clearly, or load wrongly:
    no JSON, an unknown model, two tokens with one id, a token that stands twice, a merge whose
    parts or whole are not tokens.
    """
    name = path.name
    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise fault(f"{name} is not UTF-8 (byte {error.start:,})") from None
    except json.JSONDecodeError as error:
        raise fault(
            f"{name} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})",
            "the file may have been cut off: fetch it again",
        ) from None
    except RecursionError:
        raise fault(f"{name} is nested too deeply") from None
    except _Twice as twice:
        raise fault(f"{name} holds {twice.args[0]!r} twice", "each token has one id") from None
    model = data.get("model") if isinstance(data, dict) else None
    if not isinstance(model, dict) or "vocab" not in model:
        raise fault(f"{name} has no model with a vocabulary")
    type_ = model.setdefault("type", _type(model))
    if type_ not in tuple(MODELS):  # it may be anything
        raise fault(f"{name} has a model of type {type_!r}", f"known are {', '.join(MODELS)}")
    _vocabulary(name, model)
    added, merges = data.get("added_tokens") or [], model.get("merges") or []
    if not isinstance(added, list) or not isinstance(merges, list):
        raise fault(f"{name}: added_tokens and merges are lists")
    for token in added:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise fault(f"{name} has an added token without content: {json.dumps(token)[:60]}")
    made = TokenizerJson(data=dict(data))
    if type_ == "BPE":
        _merges(name, made)
        model["dropout"] = None
    return made


class _Twice(Exception):
    """A key stands twice in one object."""


def _object(pairs: list[tuple[str, Json]]) -> Document:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise _Twice(key)
            seen.add(key)
    return made


def _type(model: Document) -> str:
    """The type of a model in a file from before types were written."""
    if isinstance(model["vocab"], list):
        return "Unigram"
    if "merges" in model:
        return "BPE"
    return "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"


def _vocabulary(name: str, model: Document) -> None:
    vocab = model["vocab"]
    if model["type"] == "Unigram":
        if not isinstance(vocab, list) or not all(
            isinstance(entry, list)
            and len(entry) == 2
            and isinstance(entry[0], str)
            and isinstance(entry[1], int | float)
            for entry in vocab
        ):
            raise fault(f"{name}: the vocabulary of a Unigram is a list of [piece, score]")
        unknown = model.get("unk_id")
        if unknown is not None and not (isinstance(unknown, int) and 0 <= unknown < len(vocab)):
            raise fault(f"{name}: unk_id {unknown} is not one of the {len(vocab):,} pieces")
        return
    if not isinstance(vocab, dict) or not all(
        isinstance(number, int) and number >= 0 for number in vocab.values()
    ):
        raise fault(f"{name}: the vocabulary of a {model['type']} maps tokens to ids")
    if len(set(vocab.values())) < len(vocab):
        first: dict[int, str] = {}
        for token, number in vocab.items():
            if number in first:
                raise fault(f"{name}: {first[number]!r} and {token!r} have the same id {number}")
            first[number] = token


def _merges(name: str, made: TokenizerJson) -> None:
    model = made.data["model"]
    vocab, prefix = model["vocab"], model.get("continuing_subword_prefix") or ""
    if not isinstance(prefix, str):
        raise fault(f"{name}: continuing_subword_prefix is {prefix!r}, not a text")
    cut, number = len(prefix), 0
    try:
        for number, merge in enumerate(made.pairs):
            left, right = merge
            if left in vocab and right in vocab and left + right[cut:] in vocab:
                continue
            lost = next(part for part in (left, right, left + right[cut:]) if part not in vocab)
            raise fault(
                f"{name}: merge {number:,} ({left!r} {right!r}) needs the token {lost!r}, "
                "which is not in the vocabulary"
            )
    except (TypeError, ValueError):
        shown = json.dumps(model["merges"][number], ensure_ascii=False)[:60]
        raise fault(
            f"{name}: merge {number:,} is {shown}, which is not two tokens",
            "tokens with spaces need merges written as pairs",
        ) from None


def _bpe(made: TokenizerJson) -> Segmenter:
    model = made.data["model"]
    return Bpe(
        tokens=model["vocab"],
        # Of a merge that stands twice the library sees the last.
        merges={(left, right): rank for rank, (left, right) in enumerate(made.pairs)},
        prefix=model.get("continuing_subword_prefix") or "",
        suffix=model.get("end_of_word_suffix") or "",
        whole=bool(model.get("ignore_merges")),
        unknown=model.get("unk_token"),
        bytes_=bool(model.get("byte_fallback")),
    )


def _unigram(made: TokenizerJson) -> Segmenter:
    model = made.data["model"]
    scores = {piece: float(score) for piece, score in model["vocab"]}
    unknown = model.get("unk_id")
    return Unigram(
        tokens=scores,
        plain=scores.keys(),
        unknown=None if unknown is None else model["vocab"][unknown][0],
        bytes_=bool(model.get("byte_fallback")),
    )


def _wordpiece(made: TokenizerJson) -> Segmenter:
    model = made.data["model"]
    prefix = model.get("continuing_subword_prefix")
    return Words(tokens=model["vocab"], unknown=model.get("unk_token"), prefix=prefix)


def _wordlevel(made: TokenizerJson) -> Segmenter:
    model = made.data["model"]
    return Words(tokens=model["vocab"], unknown=model.get("unk_token"))


# The type of a model -> its algorithm.
MODELS: Mapping[str, Callable[[TokenizerJson], Segmenter]] = {
    "BPE": _bpe,
    "Unigram": _unigram,
    "WordPiece": _wordpiece,
    "WordLevel": _wordlevel,
}


def segmenter(made: TokenizerJson) -> Segmenter:
    """The algorithm and vocabulary of a tokenizer.json."""
    return MODELS[made.data["model"]["type"]](made)


def cut(made: TokenizerJson, kept: Mapping[str, int]) -> str:
    """The text of a tokenizer.json with the kept tokens (-> new id) only.

    Ids follow, in added tokens, post-processor and padding; the rest stands as it was.
    """
    data, model = made.data, dict(made.data["model"])
    added = [
        {**token, "id": kept[token["content"]]}
        for token in data.get("added_tokens") or ()
        if token["content"] in kept
    ]
    added.sort(key=lambda token: token["id"])
    if model["type"] == "Unigram":
        _cut_list(model, kept)
    else:
        _cut_table(model, kept, added)
    if model["type"] == "BPE":
        prefix = len(model.get("continuing_subword_prefix") or "")
        vocab = model["vocab"]
        model["merges"] = [
            merge
            for merge, (left, right) in zip(model.get("merges") or (), made.pairs, strict=True)
            if left in vocab and right in vocab and left + right[prefix:] in vocab
        ]

    def new(old: int, text: str) -> int:
        # What is written is the id, so an id goes on meaning its token; one that meant none in the
        # source takes the id of the token that is named beside it.
        token = made.names.get(old, text)
        if token not in kept:
            raise fault(f"the post-processor names {text!r} as {old}, and neither is a token")
        return kept[token]

    padding = data.get("padding")
    small = {**data, "model": model, "added_tokens": added}
    small["post_processor"] = renumbered(data.get("post_processor"), new)
    if isinstance(padding, dict):
        tokens = (made.names.get(padding.get("pad_id", -1)), padding.get("pad_token"))
        pads = [kept[token] for token in tokens if token is not None and token in kept]
        small["padding"] = {**padding, "pad_id": pads[0]} if pads else padding
    return dumps(small)


def _cut_list(model: Document, kept: Mapping[str, int]) -> None:
    """The vocabulary of a Unigram. Of a piece that stands twice the library sees the last."""
    pieces = model["vocab"]
    last = {piece: number for number, (piece, _) in enumerate(pieces)}
    model["vocab"] = [
        entry
        for number, entry in enumerate(pieces)
        if entry[0] in kept and last[entry[0]] == number
    ]
    if model.get("unk_id") is not None:
        unknown = pieces[model["unk_id"]][0]
        model["unk_id"] = [piece for piece, _ in model["vocab"]].index(unknown)


def _cut_table(model: Document, kept: Mapping[str, int], added: Iterable[Document]) -> None:
    """The vocabulary of the others, in the order of the ids, whatever order the file had.

    Added tokens that the model does not have are numbered behind its own; one that stands among
    those has to be one of them.
    """
    own = {token: kept[token] for token in model["vocab"] if token in kept}
    end = max(own.values(), default=-1)
    own |= {token["content"]: token["id"] for token in added if token["id"] < end}
    model["vocab"] = dict(sorted(own.items(), key=lambda item: item[1]))


def renumbered(processor: Json, new: Callable[[int, str], int]) -> Json:
    """A post-processor of any kind, also nested, with `new(id, token)` in place of each id.

    Raises BuildFault for a template with more ids than tokens, or fewer.
    """
    if not isinstance(processor, dict):
        return processor
    made: Document = dict(processor)
    if made.get("type") == "Sequence":
        made["processors"] = [renumbered(inner, new) for inner in made["processors"]]
    elif made.get("type") == "TemplateProcessing":
        for token in made["special_tokens"].values():
            if len(token["ids"]) != len(token["tokens"]):
                shown = f"{len(token['ids'])} ids for {len(token['tokens'])} tokens"
                raise fault(f"the template names {shown} ({token['tokens'][:3]})")
        made["special_tokens"] = {
            name: {**token, "ids": list(map(new, token["ids"], token["tokens"]))}
            for name, token in made["special_tokens"].items()
        }
    elif made.get("type") in ("BertProcessing", "RobertaProcessing"):
        for part in ("sep", "cls"):
            text, old = made[part]
            made[part] = [text, new(old, text)]
    return made


def referred(made: TokenizerJson) -> dict[str, str]:
    """The tokens that post-processor or padding name -> which of the two."""
    tokens: dict[str, str] = {}

    def name(old: int, text: str) -> int:
        tokens.setdefault(made.names.get(old, text), "post-processor")
        return old

    renumbered(made.data.get("post_processor"), name)
    padding = made.data.get("padding")
    if isinstance(padding, dict) and "pad_token" in padding:
        token = made.names.get(padding.get("pad_id", -1)) or str(padding["pad_token"])
        tokens.setdefault(token, "padding")
    return tokens


def byte_level(made: TokenizerJson) -> bool:
    """Whether text is cut into the 256 letters that stand for bytes."""

    parts = (made.data.get("pre_tokenizer"), made.data.get("normalizer"))
    return any(
        at[-1:] == ("type",) and value == "ByteLevel" for part in parts for at, value in items(part)
    )


def dumps(data: Mapping[str, Json]) -> str:
    """The file's text, compact: with one merge a line it would be twice as large."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def added(made: TokenizerJson) -> Set[str]:
    """The added tokens, which are found in a text before it is cut."""
    return {token["content"] for token in made.data.get("added_tokens") or ()}


def loaded(path: Path) -> Tokenizer:
    """The file as the tokenizers library reads it."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(path))
    settle(made)
    return made


def settle(made: Tokenizer) -> None:
    """Without the dropout of merges, as `read` leaves it out."""
    if getattr(made.model, "dropout", None):
        made.model.dropout = None


def _by_tokenizers(path: Path, beside: PreTrainedTokenizerBase) -> Cut:
    backend = loaded(path)
    backend.no_padding()
    backend.no_truncation()
    # (The tokens of an encoding have the text of an unknown one, not its name.)
    named = functools.cache(lambda number: str(backend.id_to_token(number)))
    return lambda text: [*map(named, backend.encode(text, add_special_tokens=False).ids)]


def _tokens(made: TokenizerJson) -> list[str]:
    vocab = made.data["model"]["vocab"]
    return list(vocab) if isinstance(vocab, dict) else [piece for piece, _ in vocab]


TOKENIZER_JSON = Format(
    holds=lambda path: path.name == NAME,
    read=read,
    tokens=_tokens,
    required=referred,
    segmenter=segmenter,
    cut=lambda made, kept: cut(made, kept).encode(),
    library=_by_tokenizers,
)
