"""Outputs held to what is expected: the first that diverges, where it does, and near ties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinybuild.expected.format import NEVER, Case, Expected, Output

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from tinybuild.expected.format import Array

    Numbers = NDArray[numpy.float64]

# Of an output's noise (every operation rounded to bfloat16, to 8 bits), what a dtype may be away.
# float32 keeps 24 bits: 2**-16 of the noise, and that 256 times for sums in any order. A lower one
# may round otherwise than that did.
SHARES = {"float64": 2**-8, "float32": 2**-8, "float16": 0.5, "bfloat16": 4.0}
# The noise from which on rounding to a dtype decides the output. Where it moves one by all of its
# largest number, a choice on the way (of queries, of experts) went another way: so it may in any.
MOST = {"float16": 0.5, "bfloat16": 0.2}
ANY = 1.0
MASK = 1e4  # of what is "never", at least this much is left in any dtype


class Divergence(AssertionError):
    """The first place where something else came out. Its fields say where."""

    def __init__(self, what: str, *, case: str, output: str, place: tuple[int, ...] = ()):
        super().__init__(what)
        self.case, self.output, self.place = case, output, place


@dataclass(frozen=True, kw_only=True)
class Held:
    """An output that is as expected. ties: places where the next best choice came first, and the
    two are nearer than the tolerance."""

    ties: tuple[str, ...] = ()


def named(value: object, name: str = "") -> Iterator[tuple[str, Numbers]]:
    """The arrays of real numbers in what a forward gives, by name; nested ones numbered. Tensors of
    torch are taken for arrays."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from named(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from named(item, f"{name}.{number}")
    elif value is not None and not isinstance(value, str | bool):
        made = _numbers(value)
        if made is not None:
            yield name, made


def _numbers(value: object) -> Numbers | None:
    import numpy as np

    if callable(detach := getattr(value, "detach", None)):  # a tensor: numpy has no bfloat16
        tensor = detach()
        if not tensor.is_floating_point():
            return None
        value = tensor.double().cpu().numpy()
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind == "f" else None


def tolerance(output: Output, dtype: str) -> float | None:
    """How far a number may be away; None where rounding to the dtype decides the output."""
    if output.noise >= MOST.get(dtype, ANY):
        return None
    return SHARES[dtype] * output.noise * output.largest + output.step / 2


def held(expected: Expected, case: Case, output: Output, had: Numbers, dtype: str) -> Held:
    """Compare an output, place by place. Raises Divergence at the first that differs."""
    import numpy as np

    where = f"{expected.name}: case {case.name}, output {output.name}"
    if tuple(had.shape) != output.shape:
        what = f"{where}: expected the shape {output.shape}, had {tuple(had.shape)}"
        raise Divergence(what, case=case.name, output=output.name)
    far = tolerance(output, dtype)
    assert far is not None
    wanted = expected.numbers(case, output).astype(np.float64)
    if output.kept == "top":
        ids, at = (expected.numbers(case, output, what) for what in ("ids", "at"))
        rows = had.reshape(-1, output.shape[-1])[at]
        return _chosen(_Top(where, case, output, at, ids, wanted), rows, far, dtype)
    at = np.arange(had.size) if output.kept == "all" else expected.numbers(case, output, "at")
    here = had.reshape(-1)[at]
    for number in np.flatnonzero(_apart(here, wanted.reshape(-1), far)):
        place = _place(int(at[number]), output.shape)
        what = (
            f"{where}{_at(place)}: expected {wanted.reshape(-1)[number]:.6g}, "
            f"had {here[number]:.6g}{_told(here[number], wanted.reshape(-1)[number], far, dtype)}"
        )
        raise Divergence(what, case=case.name, output=output.name, place=place)
    return Held()


@dataclass(frozen=True)
class _Top:
    where: str
    case: Case
    output: Output
    at: Array
    ids: Array
    wanted: Numbers


def _chosen(top: _Top, rows: Numbers, far: float, dtype: str) -> Held:
    """The best choice of each place, and the scores of the best ones."""
    import numpy as np

    ties = []
    for number, row in enumerate(rows):
        ids, wanted = top.ids[number], top.wanted[number]
        place = _place(int(top.at[number]), top.output.shape[:-1])
        best = int(np.nanargmax(row)) if not np.isnan(row).all() else -1
        margin = float(wanted[0] - wanted[1])
        bad = np.flatnonzero(_apart(row[ids], wanted, far))
        if best != ids[0] and margin >= far:
            what = (
                f"{top.where}{_at(place)}: expected id {ids[0]} ({wanted[0]:.6g}), had id {best} "
                f"({row[best]:.6g}); margin {margin:.3g}, tolerance {far:.2g} in {dtype}"
            )
            raise Divergence(what, case=top.case.name, output=top.output.name, place=place)
        if bad.size:
            index = int(bad[0])
            what = (
                f"{top.where}{_at(place)}: expected {wanted[index]:.6g} for id {ids[index]}, had "
                f"{row[ids[index]]:.6g}"
                f"{_told(row[ids[index]], wanted[index], far, dtype)}; margin {margin:.3g}"
            )
            raise Divergence(what, case=top.case.name, output=top.output.name, place=place)
        if best != ids[0]:
            ties.append(f"{top.where}{_at(place)}: id {best} for {ids[0]}, margin {margin:.2g}")
    return Held(ties=tuple(ties))


def continued(expected: Expected, case: Case, had: Sequence[Sequence[int]], dtype: str) -> Held:
    """Compare greedy ids, row by row. After a near tie, a row goes on otherwise: its rest is left.
    Raises Divergence."""
    greedy, where = case.greedy, f"{expected.name}: case {case.name}, greedy ids"
    assert greedy is not None
    if len(had) != len(greedy.ids):
        what = f"{where}: expected {len(greedy.ids)} rows, had {len(had)}"
        raise Divergence(what, case=case.name, output="greedy")
    ties = list[str]()
    far = nearness(case, dtype) or 0.0
    for row, (wanted, here) in enumerate(zip(greedy.ids, had, strict=True)):
        for place, one, other in _unlike(wanted, here):
            margin = greedy.margins[row][place]
            what = f"{where} at row {row}, token {place}: expected {one}, had {other}"
            what = f"{what}; margin {margin:.2g}, tolerance {far:.2g} in {dtype}"
            if margin >= far or other is None:
                raise Divergence(what, case=case.name, output="greedy", place=(row, place))
            ties.append(what)
    return Held(ties=tuple(ties))


def _unlike(wanted: Sequence[int], had: Sequence[int]) -> Iterator[tuple[int, int, int | None]]:
    """The first token that differs, if any."""
    for place, one in enumerate(wanted):
        other = int(had[place]) if place < len(had) else None
        if other != one:
            yield place, one, other
            return


def nearness(case: Case, dtype: str) -> float | None:
    """The margin below which a greedy id may be another one: the tolerance of the scores; None
    where rounding decides them."""
    scores = [output for output in case.outputs if output.name.endswith("logits")]
    far = [tolerance(output, dtype) for output in scores]
    return None if None in far else max((one for one in far if one is not None), default=0.0)


def _apart(had: Numbers, wanted: Numbers, far: float) -> NDArray[numpy.bool_]:
    import numpy as np

    never = ~np.isfinite(wanted) | (np.abs(wanted) >= NEVER)
    with np.errstate(invalid="ignore"):
        masked = ~((np.abs(had) >= MASK) & (np.sign(had) == np.sign(wanted)))
        return np.where(never, masked, ~(np.abs(had - wanted) <= far))


def _told(had: float, wanted: float, far: float, dtype: str) -> str:
    return f" (apart {abs(had - wanted):.2g}, tolerance {far:.2g} in {dtype})"


def _place(flat: int, shape: Sequence[int]) -> tuple[int, ...]:
    import numpy as np

    return tuple(int(number) for number in np.unravel_index(flat, tuple(shape))) if shape else ()


def _at(place: tuple[int, ...]) -> str:
    """A place in words: the first two axes of what a model of texts gives are row and position."""
    if not place:
        return ""
    names = ("row", "position")
    told = [f"{name} {number}" for name, number in zip(names, place, strict=False)]
    return f" at {', '.join(told)}" + (f", {list(place[2:])}" if place[2:] else "")
