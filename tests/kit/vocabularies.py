"""Vocabularies learned from the corpus that ships with tinybuild."""

from __future__ import annotations

import functools
import io
from typing import Any

from tinybuild import corpus


@functools.cache
def english() -> tuple[str, ...]:
    """The English lines of the corpus."""
    return tuple(corpus.texts("en"))


@functools.cache
def pieces(kind: str, texts: tuple[str, ...] | None = None, **options: Any) -> bytes:
    """A SentencePiece model (unigram, bpe, char) of the English lines, or of these texts.

    options: the trainer's; a list as a tuple.
    """
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts or english()),
        model_writer=model,
        model_type=kind,
        minloglevel=2,
        num_threads=1,
        **{name: list(v) if isinstance(v, tuple) else v for name, v in options.items()},
    )
    return model.getvalue()
