"""The text that a vocabulary is learned from, or measured against."""

from __future__ import annotations

import functools
import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tinybuild import corpus
from tinybuild.errors import BuildFault
from tinybuild.paths import Json, items
from tinybuild.sections import Passage, Tokenizer

if TYPE_CHECKING:
    import tokenizers
    from transformers import PreTrainedTokenizerBase

Backend: TypeAlias = "tokenizers.Tokenizer"


def texts(section: Tokenizer, inputs: Mapping[str, Path], default: str) -> Iterator[str]:
    """The recipe's sample: `text` of its tokenizer section.

    dataset (the default where there is one that has text, input "dataset"), a corpus that ships
    with tinybuild (plain, multilingual), or a list of texts and {file: ...} (fetched below input
    "fetch"). default: the corpus where the recipe says none. Raises BuildFault.
    """
    told = section.get("text")
    if told == "dataset" or (told is None and "dataset" in inputs):
        return _rows(inputs["dataset"], None if told else default)
    if told is None or isinstance(told, str):
        return _corpus(told or default)
    return listed(told, "text", inputs)


def given(section: Tokenizer, inputs: Mapping[str, Path]) -> bool:
    """Whether the sample is the recipe's own text, not a corpus that ships with tinybuild."""
    told = section.get("text", "dataset" if "dataset" in inputs else "")
    return told == "dataset" or isinstance(told, list)


def _corpus(name: str) -> Iterator[str]:
    return corpus.plain() if name == "plain" else corpus.texts()


def listed(
    passages: Iterable[str | Passage], name: str, inputs: Mapping[str, Path]
) -> Iterator[str]:
    """Texts given in a list: as they stand, as {text: ...}, or the lines of a {file: ...}."""
    for number, item in enumerate(passages):
        if isinstance(item, str):
            yield item
        elif "text" in item:
            yield item["text"]
        else:
            path = inputs["fetch"] / f"{name}-{number}" / Path(item["file"]).name
            try:
                yield from (line for line in path.read_text(encoding="utf-8").split("\n") if line)
            except UnicodeDecodeError as error:
                raise BuildFault.of(
                    f"{item['file']} is not UTF-8 (byte {error.start:,})",
                    key=("tokenizer", name, number, "file"),
                ) from None


def wants_boxes(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a class is called with words and their boxes on a page, not with a text."""
    return "boxes" in inspect.signature(type(tokenizer).__call__).parameters


def ids(tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool) -> list[int]:
    """The ids of a text, with special tokens or without; by its backend where the class wants
    words."""
    if wants_boxes(tokenizer):
        return list(tokenizer.backend_tokenizer.encode(text, add_special_tokens=special).ids)
    return list(tokenizer(text, add_special_tokens=special)["input_ids"])


def cut(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int] | None]:
    """The ids of each text, special tokens left out; None for a text that cannot be cut.

    (A Unigram without an unknown piece raises for a character that it has no piece for.)
    """
    plain = {"add_special_tokens": False, "truncation": False, "padding": False, "verbose": False}
    plain |= {"return_attention_mask": False, "return_token_type_ids": False}
    if not texts:
        return []
    try:
        if wants_boxes(tokenizer):
            return [ids(tokenizer, text, special=False) for text in texts]
        return list(tokenizer(list(texts), **plain)["input_ids"])
    except Exception as error:
        if type(error).__module__ != "builtins":  # tokenizers raises bare Exception
            raise
        if len(texts) == 1:
            return [None]
        half = len(texts) // 2
        return cut(tokenizer, texts[:half]) + cut(tokenizer, texts[half:])


def naming(tokenizer: PreTrainedTokenizerBase) -> Callable[[int], str]:
    """The token of an id, which is asked for once: texts have the same few again and again."""

    @functools.cache
    def named(number: int) -> str:
        token: str = tokenizer.convert_ids_to_tokens([number])[0]
        return token

    return named


def words(texts: Iterable[str], backend: Backend) -> Counter[str]:
    """The words that a pipeline of the tokenizers library makes of texts, and how often."""
    counts: Counter[str] = Counter()
    for text, times in Counter(texts).items():
        for word in split(text, backend):
            counts[word] += times
    return counts


def split(text: str, backend: Backend) -> list[str]:
    """The words that a pipeline of the tokenizers library makes of a text, in their order."""
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    if backend.pre_tokenizer is None:
        return [text]
    return [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]


MEDIA = ("Image", "Audio", "Video", "Pdf", "Nifti")  # features whose strings are names of files


def _rows(folder: Path, instead: str | None) -> Iterator[str]:
    """Every text of a dataset stage's Parquet files, row by row, in the order of the columns; where
    there is none, those of the corpus `instead`."""
    import pyarrow.parquet

    empty = True
    for path in sorted(folder.rglob("*.parquet")):
        file = pyarrow.parquet.ParquetFile(path)
        told = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
        features = told.get("info", {}).get("features", {})
        columns = [name for name in file.schema_arrow.names if not _media(features.get(name))]
        for batch in file.iter_batches(columns=columns):
            for row in batch.to_pylist():
                for value in _strings(row):
                    empty = False
                    yield value
    if empty and instead is not None:
        yield from _corpus(instead)
    elif empty:
        raise BuildFault.of(
            "the dataset holds no text to learn from",
            key=("tokenizer",),
            hint="learn from the corpus that ships with tinybuild instead: tokenizer.text: plain",
        )


def _media(feature: Json) -> bool:
    """Whether a column's feature, as the datasets library writes it, has media in it."""
    return any(at[-1:] == ("_type",) and told in MEDIA for at, told in items(feature))


def _strings(row: Json) -> Iterator[str]:
    return (value for _, value in items(row) if isinstance(value, str))
