"""Which bundles are wanted, by what they can do: kind=moe, tp=2, modality=image, max_bytes=1MB."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from decimal import Decimal

from tinybuild.catalog.rows import Row
from tinybuild.errors import RecipeFault, did_you_mean
from tinybuild.paths import Json, whole

Says = Callable[[Row, Json], bool]
UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}


def _at_most(have: Callable[[Row], int | None]) -> Says:
    def says(row: Row, wanted: Json) -> bool:
        value = have(row)
        return value is not None and value <= number(wanted)

    return says


def _one_of(have: Callable[[Row], Iterable[str]]) -> Says:
    return lambda row, wanted: str(wanted).lower() in {word.lower() for word in have(row)}


# The words of a bundle, by what they say of it.
WORDS: Mapping[str, Callable[[Row], Iterable[str]]] = {
    "kind": lambda row: row.kinds,
    "modality": lambda row: row.modalities,
    "task": lambda row: [row.task],
    "class": lambda row: [row.class_],
    "model_type": lambda row: [row.model_type],
    "licence": lambda row: [row.licence],
}
# And its numbers, of which a query says the most.
SIZES: Mapping[str, Callable[[Row], int | None]] = {
    "max_bytes": lambda row: row.bytes,
    "max_parameters": lambda row: row.parameters,
    "max_vocabulary": lambda row: row.vocabulary,
}
# What can be asked for; with a list, all of it is.
QUERIES: Mapping[str, Says] = {
    **{key: _one_of(have) for key, have in WORDS.items()},
    "tp": lambda row, wanted: row.tensor_parallel > 0 and row.tensor_parallel % number(wanted) == 0,
    **{key: _at_most(have) for key, have in SIZES.items()},
    "min_rows": lambda row, wanted: row.rows is not None and row.rows >= number(wanted),
}


def matching(rows: Iterable[Row], wanted: Mapping[str, Json]) -> tuple[Row, ...]:
    """The rows that are all that is wanted. Raises RecipeFault for what cannot be asked."""
    asked = [(_says(key), item) for key, value in wanted.items() for item in _items(value)]
    return tuple(row for row in rows if all(says(row, item) for says, item in asked))


def unknown(rows: Collection[Row], wanted: Mapping[str, Json]) -> Iterator[str]:
    """What of the wanted no bundle has: a word with the nearest that one has, a bound with the
    smallest number."""
    for key in (key for key in wanted if key.removesuffix("_") in WORDS):
        have = WORDS[key.removesuffix("_")]
        known = {word for row in rows for word in have(row) if word}
        for item in map(str, _items(wanted[key])):
            if item.lower() not in {word.lower() for word in known}:
                near = did_you_mean(item, known)
                yield f"none has the {key.replace('_', ' ')} {item}{near and f': {near}'}"
    for key in (key for key in wanted if key in SIZES):
        least = min((value for row in rows if (value := SIZES[key](row)) is not None), default=None)
        if least is not None and least > number(wanted[key]):
            yield f"the smallest has {least:,} {key.removeprefix('max_')}"


def _says(key: str) -> Says:
    if key.removesuffix("_") not in QUERIES:
        hint = did_you_mean(key, QUERIES)
        raise RecipeFault.of(f"bundles cannot be asked for {key}", hint=hint)
    return QUERIES[key.removesuffix("_")]


def _items(value: Json) -> list[Json]:
    return [*value] if isinstance(value, list | tuple) else [value]


def number(value: Json) -> int:
    """2, "2", "50M" or "1.5MB". Raises RecipeFault."""
    if whole(value) and value > 0:
        return value
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kKMG]?)B?", str(value))
    meant = round(Decimal(found[1]) * UNITS[found[2]]) if found is not None else 0
    if meant < 1:
        raise RecipeFault.of(f"{value} is not a number", hint="give 2, 50M or 1.5MB, for example")
    return meant
