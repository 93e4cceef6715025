"""Which rows of which split a recipe's dataset section asks for, split by split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_ROWS = ("samples", "rows", "select", "at_most", "where")  # what decides which rows are read


@dataclass(frozen=True, kw_only=True)
class Part:
    """One split of one config of the dataset made.

    made: "CONFIG/SPLIT" as the recipe calls them, without a name where it gives none ("/train",
    "/"). config, split: the source's, None where it is for the source to say. wish: samples, rows,
    select, at_most and where, as in the schema; `rows` goes before `samples`. key: where the recipe
    says it.
    """

    made: str
    config: str | None
    split: str | None
    wish: Mapping[str, Any]
    key: tuple[str | int, ...]


def parts(section: Mapping[str, Any]) -> tuple[Part, ...]:
    """The parts of a dataset section, in the recipe's order."""
    return tuple(_parts(section))


def _parts(section: Mapping[str, Any]) -> Iterator[Part]:
    source = section.get("source", {})
    configs = section.get("configs") or {"": None}
    for config, own in configs.items():
        whole = _over(section, own or {})
        key: tuple[str | int, ...] = ("dataset", "configs", config) if config else ("dataset",)
        splits = whole.get("splits") or {"": None}
        within = key if "splits" in (own or {}) else ("dataset",)
        for split, more in splits.items():
            part = _over(whole, more or {})
            yield Part(
                made=f"{config}/{split}",
                config=(own or {}).get("config") or source.get("config") or config or None,
                split=(more or {}).get("split") or split or source.get("split"),
                wish={name: part[name] for name in _ROWS if name in part},
                key=(*within, "splits", split) if split else key,
            )


def _over(general: Mapping[str, Any], special: Mapping[str, Any]) -> dict[str, Any]:
    """The nearer word holds; samples said here end rows said there, and the other way round."""
    both = {**general, **special}
    if "samples" in special and "rows" not in special:
        both.pop("rows", None)
    return both


def numbers(rows: str | int) -> tuple[int, ...]:
    """ "2,5-7" -> (1, 4, 5, 6): the numbers from 0, in their order, each once."""
    found: set[int] = set()
    for piece in str(rows).split(","):
        first, _, last = piece.strip().partition("-")
        found.update(range(int(first) - 1, int(last or first)))
    return tuple(sorted(found))


def spelled(rows: list[int]) -> str:
    """[1, 4, 5, 6] -> "2,5-7": the other way; `rows` is sorted."""
    pieces: list[list[int]] = []
    for row in rows:
        if pieces and row == pieces[-1][1] + 1:
            pieces[-1][1] = row
        else:
            pieces.append([row, row])
    return ",".join(str(a + 1) if a == b else f"{a + 1}-{b + 1}" for a, b in pieces)
