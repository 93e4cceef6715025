"""Vocabularies learned from the corpus that ships with tinybuild, and sources made of them."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.stage import MakeJob
from tinybuild import corpus
from tinybuild.workers import Job


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


def folder_of(place: Path, files: Mapping[str, str | bytes | Mapping[str, Any]]) -> Path:
    """A fetch stage's folder with these files of a source."""
    (place / "source").mkdir(parents=True)
    for name, content in files.items():
        path = place / "source" / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    return place


def shrinking(job: MakeJob, fetch: Path, **section: Any) -> Job:
    """A tokenizer stage on such a folder."""
    common = {"slot": "source", "kind": "path", "blank": False, "related": True}
    return job({"tokenizer": section, **common}, fetch=fetch)
