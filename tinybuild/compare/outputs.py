"""What two bundles expect of a port, output by output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.compare.differences import Expectation
from tinybuild.expected import format
from tinybuild.paths import Json

if TYPE_CHECKING:
    from tinybuild.expected.format import Array

DIGITS = 3  # of a share


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one bundle tells of an output. value: of one that is one number, or greedy ids. kept:
    its numbers, and where they are from. largest: the largest of them all."""

    value: Json
    kept: tuple[Array, ...] = ()
    largest: float = 1.0


def read(folder: Path) -> dict[str, Side]:
    """CASE/OUTPUT -> what is expected. Raises Fault."""
    expected, told = format.read(folder), dict[str, Side]()
    for case in expected.cases:
        for output in case.outputs:
            names = ("values", *{"all": (), "some": ("at",), "top": ("at", "ids")}[output.kept])
            kept = tuple(expected.numbers(case, output, name) for name in names)
            name = f"{case.name}/{output.name}"
            told[name] = Side(value=output.value, kept=kept, largest=output.largest)
        if case.greedy is not None:
            ids = [list(row) for row in case.greedy.ids]
            told[f"{case.name}/greedy"] = Side(value=ids)
    return told


def changed(old: Mapping[str, Side], new: Mapping[str, Side]) -> Iterator[Expectation]:
    """The outputs that differ, in their order."""
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(name), new.get(name)
        far = _far(before, after) if before and after else None
        values = [side.value if side else None for side in (before, after)]
        if far != 0 or values[0] != values[1]:
            yield Expectation(output=name, before=values[0], after=values[1], far=far)


def _far(one: Side, other: Side) -> float | None:
    """The largest difference, as a share of the largest number; None where other numbers are kept,
    or other choices are the best."""
    import numpy as np

    shapes = [[array.shape for array in side.kept] for side in (one, other)]
    if shapes[0] != shapes[1]:
        return None
    pairs = list(zip(one.kept, other.kept, strict=True))
    if not all(np.array_equal(a, b) for a, b in pairs[1:]):
        return None
    if not pairs or np.array_equal(*pairs[0], equal_nan=True):
        return 0.0
    far = np.abs(pairs[0][0].astype(np.float64) - pairs[0][1].astype(np.float64)).max()
    return float(f"{far / one.largest:.{DIGITS}g}") if np.isfinite(far) else None
