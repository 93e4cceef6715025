"""method: train. The source's pipeline with a vocabulary learned from text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinybuild.errors import BuildFault
from tinybuild.tokenizer.ids import repoint

CORPUS = Path(__file__).parents[1] / "dataset" / "corpus.jsonl"
HEAVIEST = 100  # how often the lowest id counts when a vocabulary is weighted by rank


def train(settings: Mapping[str, Any], source: Any, inputs: Mapping[str, Path]) -> Any:
    """A tokenizer of exactly `vocab_size` tokens trained by train_new_from_iterator.

    The text is the recipe's dataset (input "dataset"), the corpus that ships with tinybuild, or the
    source's own vocabulary. Raises BuildFault when the class cannot be trained or the text does not
    hold that many tokens.
    """
    wanted = settings["vocab_size"]
    key = ("tokenizer", "vocab_size")
    if not getattr(source, "is_fast", False):
        raise BuildFault.of(
            f"{type(source).__name__} cannot be trained",
            key=("tokenizer", "method"),
            hint="its vocabulary can be given in the recipe: method: scratch",
        )
    special = len(source.all_special_tokens)
    if wanted <= special:
        raise BuildFault.of(
            f"vocab_size {wanted} leaves no room beside {special} special tokens", key=key
        )
    kind = settings.get("text") or ("dataset" if "dataset" in inputs else "corpus")
    if kind == "dataset":
        texts = _rows(inputs["dataset"])
    elif kind == "vocabulary":
        texts = _vocabulary(source, settings.get("weighted", False))
    else:
        texts = _corpus()
    try:
        made = source.train_new_from_iterator(
            _batches(texts), vocab_size=wanted, show_progress=False
        )
    except ValueError as error:
        raise BuildFault.of(f"training failed: {error}", key=("tokenizer",)) from None
    except Exception as error:
        if type(error).__module__ != "builtins":
            raise
        # tokenizers raises bare Exception, for example when the alphabet alone exceeds vocab_size
        raise BuildFault.of(f"training failed: {error}", key=key) from None
    backend = json.loads(made.backend_tokenizer.to_str())
    if backend.get("post_processor"):
        fixed = repoint(backend["post_processor"], made.get_vocab())
        if fixed != backend["post_processor"]:
            from tokenizers import Tokenizer

            backend["post_processor"] = fixed
            made.backend_tokenizer.post_processor = Tokenizer.from_str(
                json.dumps(backend)
            ).post_processor
    found = len(made)
    if found != wanted:
        less = found < wanted
        raise BuildFault.of(
            f"the text gives {found:,} tokens, not the {wanted:,} asked for",
            key=key,
            hint=f"ask for at most {found:,}, or give more text"
            if less
            else f"ask for at least {found:,}, or give text with fewer different characters",
        )
    return made


def _batches(texts: Iterator[str], size: int = 1000) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _corpus() -> Iterator[str]:
    with open(CORPUS, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]


def _rows(folder: Path) -> Iterator[str]:
    """Every text of a dataset stage's Parquet files, row by row, in the order of the columns."""
    import pyarrow.parquet

    found = False
    for path in sorted(folder.rglob("*.parquet")):
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                for value in _strings(row):
                    found = True
                    yield value
    if not found:
        raise BuildFault.of(
            "the dataset holds no text to learn from",
            key=("tokenizer",),
            hint="learn from the corpus instead: tokenizer.text: corpus",
        )


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _vocabulary(source: Any, weighted: bool) -> Iterator[str]:
    """The surfaces of the source's tokens in the order of their ids, special tokens left out.

    Weighted, a token counts in proportion to N - id, scaled so that the first counts HEAVIEST times
    (the tutorial's N - id repetitions would be 500 million strings for a vocabulary of 32,000; only
    the proportions matter to a trainer). Tokens that are no text by themselves (single bytes of
    longer characters) are left out.
    """
    special = set(source.all_special_tokens)
    tokens = sorted(source.get_vocab().items(), key=lambda item: item[1])
    count = 0
    for token, number in tokens:
        if token in special:
            continue
        surface = source.convert_tokens_to_string([token])
        if not surface or "\N{REPLACEMENT CHARACTER}" in surface:
            continue
        count += 1
        times = 1 + (len(tokens) - 1 - number) * (HEAVIEST - 1) // len(tokens) if weighted else 1
        for _ in range(times):
            yield surface
    if count == 0:
        raise BuildFault.of(
            "the source's tokenizer has no vocabulary to learn from",
            key=("tokenizer", "text"),
            hint="a transformers source is blank: learn from the corpus or a dataset",
        )
