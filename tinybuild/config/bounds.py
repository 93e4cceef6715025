"""How much a config may ask for before anything is made of it: libraries count to whatever it says.

No model of any family comes near: a list of layers of 10^9 entries fills the memory before anybody
counts parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from tinybuild.errors import BuildFault, Finding
from tinybuild.keys import LABELS, measures, says
from tinybuild.paths import Data, Json, Path, wholes

LAYERS, EXPERTS, COUNT, SIZE = 10_000, 2**15, 100_000, 10**12  # Doge has 2**14 experts
UNBOUNDED = 1e30
NUMBER, STAGES = "num_labels", "depths"
# What is made one by one, for each that a number says; every other size is of a tensor.
ONE_BY_ONE: Mapping[str, int] = {
    "depth": LAYERS,
    "experts": EXPERTS,
    "kv heads": COUNT,
    "heads": COUNT,
    "groups": COUNT,
    "top k": COUNT,
    "queries": COUNT * 10,
}
HINT = "say fewer; no bound of the recipe raises this"


def hold(data: Data, whose: str, key: Iterable[str | int]) -> None:
    """Refuse sizes that nothing can be made of, all at once. whose: what messages call the config.
    Raises BuildFault."""
    key = tuple(key)
    findings = [
        Finding(
            what=f"{'.'.join(path)} of {whose} asks for {asked}; at most {most:,} "
            "are allowed in a config",
            key=key,
            hint=HINT,
        )
        for path, asked, most in _beyond(data)
    ]
    if findings:
        raise BuildFault(findings)


def _beyond(data: Data) -> Iterator[tuple[Path, str, int]]:
    for path, value in _named(data):
        most, number = _most(path[-1], path), _asked(value)
        if number > most and not (most == SIZE and _no_size(path[-1], value)):
            yield path, f"{number:,}" if number < 10**18 else "more than 10^18", most


def _no_size(name: str, value: Json) -> bool:
    """Text that happens to be digits, and what stands for no bound where nothing is measured."""
    if isinstance(value, float):
        return value >= UNBOUNDED and not measures(name)
    return isinstance(value, str)


def _named(value: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Every value that has a name, with the names that lead to it."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield (*path, str(name)), inner
            yield from _named(inner, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _named(inner, path)


def _most(name: str, path: Path) -> int:
    if name == NUMBER or name in LABELS:
        return COUNT
    if {*LABELS} & {*path}:
        return 10**18
    if name == STAGES:
        return LAYERS
    layered = says(name, "kind of each layer") or says(name, "something of each layer")
    return LAYERS if layered else ONE_BY_ONE.get(measures(name), SIZE)


def _asked(value: Json) -> int:
    """What a value counts to: a number itself, also as text, which classes read as one; whole
    numbers their sum; else how many there are."""
    if isinstance(value, bool) or value is None:
        return 0
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else 0
    return sum(value) if wholes(value) else len(value)
