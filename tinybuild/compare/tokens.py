"""The vocabulary of a bundle, token by token, and its chat templates, as their files have them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from tinybuild.paths import Data, Json, get, mapping

TOKENIZER, PROCESSOR = "tokenizer_config.json", "chat_template.json"
TEMPLATE = "chat_template"  # the key, and the name of the default one's file
MORE = "additional_chat_templates"  # the folder of the others


def of_tokenizer(data: Data) -> dict[str, int]:
    """The tokens of a tokenizer.json: its model's and the added ones. A Unigram lists them."""
    vocabulary = get(data, ("model", "vocab"))
    tokens = dict[str, int]()
    if isinstance(vocabulary, Mapping):
        tokens = _numbered(vocabulary)
    elif isinstance(vocabulary, list):
        tokens = {str(get(piece, ("0",))): number for number, piece in enumerate(vocabulary)}
    added = data.get("added_tokens")
    for one in added if isinstance(added, list) else []:
        number = get(one, ("id",))
        if isinstance(number, int):
            tokens[str(get(one, ("content",)))] = number
    return tokens


def _json(path: Path) -> dict[str, int]:
    return _numbered(mapping(json.loads(path.read_text(encoding="utf-8"))))


def _numbered(data: Data) -> dict[str, int]:
    return {token: number for token, number in data.items() if isinstance(number, int)}


def _tokenizer_json(path: Path) -> dict[str, int]:
    return of_tokenizer(mapping(json.loads(path.read_text(encoding="utf-8"))))


def _lines(path: Path) -> dict[str, int]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {token: number for number, token in enumerate(lines)}


def _tiktoken(path: Path) -> dict[str, int]:
    tokens = {}
    for line in path.read_bytes().splitlines():
        token, _, rank = line.partition(b" ")
        tokens[_shown(base64.b64decode(token, validate=True))] = int(rank)
    return tokens


def _tekken(path: Path) -> dict[str, int]:
    data: Json = json.loads(path.read_text(encoding="utf-8"))
    tokens, pieces, special = (
        dict[str, int](),
        get(data, ("vocab",)),
        get(data, ("special_tokens",)),
    )
    first = special if isinstance(special, list) else []
    for number, one in enumerate(first):
        tokens[str(get(one, ("token_str",)))] = number
    for number, one in enumerate(pieces if isinstance(pieces, list) else [], len(first)):
        tokens[_shown(base64.b64decode(str(get(one, ("token_bytes",)))))] = number
    return tokens


def _shown(token: bytes) -> str:
    """A token of bytes as text, each byte that is not UTF-8 written out."""
    return token.decode("utf-8", "backslashreplace")


def _sentencepiece(path: Path) -> dict[str, int]:
    from tinybuild.tokenizer import spm

    return {piece.piece: number for number, piece in enumerate(spm.read(path).pieces)}


# The name of a file, as a pattern -> what reads its tokens. Where several hold one vocabulary, the
# first is asked.
READERS: Mapping[str, Callable[[Path], dict[str, int]]] = {
    "tokenizer.json": _tokenizer_json,
    "vocab*.json": _json,
    "vocab*.txt": _lines,
    "tekken.json": _tekken,
    "*.tiktoken": _tiktoken,
    "*.model": _sentencepiece,
    "*.spm": _sentencepiece,
}
OTHERS = ("vocab_map.json",)  # says which ids were whose, and follows from the vocabulary


def is_vocabulary(name: str) -> bool:
    """Whether a file at the top of a bundle, by its name, holds tokens."""
    pure = PurePosixPath(name)
    return "/" not in name and name not in OTHERS and any(map(pure.match, READERS))


def read(path: Path) -> dict[str, int]:
    """{token: id} of a vocabulary file; raises ValueError, or Fault."""
    return next(READERS[glob] for glob in READERS if path.match(glob))(path)


def templates(folder: Path) -> dict[str, str]:
    """The chat templates of a bundle by their names, from wherever they stand."""
    found = dict[str, str]()
    for name in (TOKENIZER, PROCESSOR):
        if (folder / name).is_file():
            found |= _inside(json.loads((folder / name).read_text(encoding="utf-8")))
    for path in [folder / f"{TEMPLATE}.jinja", *sorted((folder / MORE).glob("*.jinja"))]:
        if path.is_file():
            name = "default" if path.parent == folder else path.stem
            found[name] = path.read_text(encoding="utf-8")
    return found


def _inside(data: Json) -> dict[str, str]:
    """The templates in a config: one text, or a list of named ones."""
    given = get(data, (TEMPLATE,))
    if isinstance(given, str):
        return {"default": given}
    listed = given if isinstance(given, list) else []
    return {str(get(one, ("name",))): str(get(one, ("template",))) for one in listed}
