"""The forms that other people's code takes a model in, beside what from_pretrained saves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tinybuild.facts import Form
from tinybuild.model.formats import adapters, files, gguf, sentences
from tinybuild.model.formats.work import Work

__all__ = ["FORMATS", "Work", "write"]

# Key of the recipe's section `model` -> what writes it, and says what it wrote. In this order: what
# is written as a pickle is what the shards left.
FORMATS: Mapping[str, Callable[[Work], Iterator[Form]]] = {
    "shards": files.split,
    "format": files.pickled,
    "adapters": adapters.write,
    "sentence_transformer": sentences.write,
    "gguf": gguf.write,
}


def write(work: Work) -> tuple[Form, ...]:
    """All formats that the section asks for. Raises BuildFault."""
    return tuple(
        form for key, made in FORMATS.items() if key in work.section for form in made(work)
    )
