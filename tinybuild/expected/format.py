"""The folder expected/ of a bundle: sample inputs, and what its model gives for them.

expected.json tells what there is, expected.safetensors holds its numbers: `CASE/inputs/ARGUMENT`
and `CASE/outputs/NAME/values`, with `/at` (flat places) or `/ids` (choices) beside them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from tinybuild import bundle, wire
from tinybuild.errors import BuildFault
from tinybuild.files import sha256

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Array: TypeAlias = "NDArray[numpy.generic]"

FILE, TENSORS = "expected.json", "expected.safetensors"
FILES = tuple(f"{bundle.EXPECTED}/{name}" for name in (FILE, TENSORS))  # in a bundle
NEVER = 1e30  # what is larger stands for "never": the number of a mask


@dataclass(frozen=True, kw_only=True)
class Output:
    """One output of a forward. kept: all of its numbers, some of them, or of its last axis the
    largest (`top`: scores of choices), at some of its places. largest: of its magnitudes. noise:
    how far it moves, as a share of that, where every operation is rounded to bfloat16. step: all
    numbers are multiples of it. trace: a hidden state on the way, which a port need not give.
    value: of a single number. margin: the least, over the places, of the best choice to the next.
    """

    name: str
    shape: tuple[int, ...]
    kept: Literal["all", "some", "top"]
    largest: float
    noise: float
    step: float
    trace: bool = False
    value: float | None = None
    margin: float | None = None


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """A greedy continuation. inputs, options: what `generate` is given. ids: the new tokens of each
    row. margins: to the next best choice, of each."""

    inputs: Mapping[str, object]
    options: Mapping[str, object]
    ids: tuple[tuple[int, ...], ...]
    margins: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Inputs and what forward gives for them, in the order in which it is compared. drawn: forward
    draws random numbers, after torch.manual_seed(seed)."""

    name: str
    modalities: tuple[str, ...]
    inputs: Mapping[str, object]
    outputs: tuple[Output, ...]
    drawn: bool = False
    greedy: Greedy | None = None


@dataclass(frozen=True, kw_only=True)
class Told:
    """What expected.json says. class_: the model's. seed: the bundle's own."""

    version: Literal[1]
    class_: str
    seed: int
    cases: tuple[Case, ...]


class Expected:
    """What both files say."""

    def __init__(self, name: str, told: Told, tensors: Mapping[str, Array]):
        self.name, self.told, self.tensors = name, told, tensors

    def __repr__(self) -> str:
        return f"Expected({self.name}: {', '.join(case.name for case in self.cases)})"

    @property
    def cases(self) -> tuple[Case, ...]:
        return self.told.cases

    def case(self, name: str = "forward") -> Case:
        """Raises KeyError."""
        return {case.name: case for case in self.cases}[name]

    def inputs(self, case: Case | Greedy) -> dict[str, object]:
        """The arguments of a forward, or of a continuation; arrays of numpy."""
        return {name: laid_out(value, self.tensors) for name, value in case.inputs.items()}

    def numbers(self, case: Case, output: Output, what: str = "values") -> Array:
        """The numbers that are kept of an output; what: also `at` and `ids`, see `kept`."""
        return self.tensors[f"{case.name}/outputs/{output.name}/{what}"]

    @functools.cached_property
    def size(self) -> int:
        """How many numbers of outputs there are."""
        return sum(array.size for name, array in self.tensors.items() if name.endswith("/values"))


def laid_out(shape: object, tensors: Mapping[str, Array]) -> object:
    """An argument, from what the JSON file says of it."""
    import numpy as np

    assert isinstance(shape, Mapping)
    if "tensor" in shape:
        array = tensors[str(shape["tensor"])]
        whole = np.resize(array, shape["repeat"]) if "repeat" in shape else array
        return whole.astype(np.float32) if whole.dtype == np.float16 else whole
    if "fill" in shape:
        return np.full(shape["shape"], shape["fill"], dtype=shape["dtype"])
    if "list" in shape:
        return [laid_out(one, tensors) for one in shape["list"]]
    if "mapping" in shape:
        return {name: laid_out(one, tensors) for name, one in shape["mapping"].items()}
    return shape["value"]


def has(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)


def read(folder: Path) -> Expected:
    """What a bundle's folder holds, or its folder expected/ alone. Raises BuildFault: only a build
    writes the two files, and a bundle's SHA256SUMS says whether they are what that wrote."""
    place = folder / bundle.EXPECTED if has(folder) else folder
    if not all((place / name).is_file() for name in (FILE, TENSORS)):
        what = f"the bundle {folder.name} has no {' and '.join(FILES)}"
        raise BuildFault.of(what, hint="its recipe has no model, or an older tinybuild built it")
    sums = bundle.listed(folder)
    for name in FILES:
        if sums and sums.get(name) != sha256(folder / name):
            raise BuildFault.of(
                f"{name} is not what {bundle.SUMS} says: it was edited, or written by a test",
                where=folder.name,
                hint="build the bundle again: nothing else writes what a port is held to",
            )
    from safetensors.numpy import load_file

    try:
        told = wire.load(Told, json.loads((place / FILE).read_bytes()))
        return Expected(folder.name, told, load_file(place / TENSORS))
    except (wire.Misshapen, ValueError, RecursionError) as error:
        raise BuildFault.of(f"{FILE} cannot be read: {error}", where=folder.name) from None
