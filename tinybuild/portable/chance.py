"""Random numbers by name: the same on every machine, for they are whole numbers and plain sums.

The bits are numpy's PCG64, whose stream numpy keeps; the rest is +, -, *, / and square roots of
float64, which IEEE 754 rounds alike everywhere. Logarithms and sines of a library do not: their
last bit depends on the CPU.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy import float64, integer, uint64
    from numpy.typing import NDArray

    Floats = NDArray[float64]

# Wichura (1988), algorithm AS 241: quantiles of the normal distribution to 16 digits. A numerator
# and a denominator for the middle, the shoulders and the tails, the highest power first.
MIDDLE = (
    (
        *(2509.0809287301226727, 33430.575583588128105, 67265.770927008700853),
        *(45921.953931549871457, 13731.693765509461125, 1971.5909503065514427),
        *(133.14166789178437745, 3.387132872796366608),
    ),
    (
        *(5226.495278852854561, 28729.085735721942674, 39307.89580009271061),
        *(21213.794301586595867, 5394.1960214247511077, 687.1870074920579083),
        *(42.313330701600911252, 1.0),
    ),
)
SHOULDERS = (
    (
        *(7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177),
        *(1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055),
        *(4.6303378461565452959, 1.42343711074968357734),
    ),
    (
        *(1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966),
        *(0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494),
        *(2.05319162663775882187, 1.0),
    ),
)
TAILS = (
    (
        *(2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386),
        *(0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358),
        *(5.4637849111641143699, 6.6579046435011037772),
    ),
    (
        *(2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5),
        *(7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531),
        *(0.59983220655588793769, 1.0),
    ),
)


def bits(size: int, *key: object) -> NDArray[uint64]:
    """`size` random words of 64 bits that depend on the key alone."""
    import numpy as np

    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    drawn: NDArray[uint64] = np.random.PCG64(int.from_bytes(digest, "big")).random_raw(size)
    return drawn


def uniform(size: int, *key: object) -> Floats:
    """Numbers from 0 up to, not including, 1: multiples of 2^-24, as float32 holds them."""
    return _floats(bits(size, *key) >> 40) * 2.0**-24


def normal(size: int, *key: object, low: float = -math.inf, high: float = math.inf) -> Floats:
    """Standard normal numbers, of those between low and high."""
    import numpy as np

    below, above = (round((1 + math.erf(z / 2**0.5)) * 2**31) * 2.0**-32 for z in (low, high))
    share = (_floats(bits(size, *key) >> 12) + 0.5) * 2.0**-52
    return np.clip(quantile(below + (above - below) * share), low, high)


def _floats(numbers: NDArray[integer[Any]]) -> Floats:
    made: Floats = numbers.astype(float)
    return made


def quantile(share: Floats) -> Floats:
    """What a standard normal number is below with a probability between 0 and 1."""
    import numpy as np

    off = share - 0.5
    found = off * _ratio(MIDDLE, 0.180625 - off * off)
    far = np.flatnonzero(np.abs(off) > 0.425)
    deep = np.sqrt(-_log(np.minimum(share[far], 1 - share[far])))
    beyond = _ratio(SHOULDERS, deep - 1.6)
    tail = deep > 5
    beyond[tail] = _ratio(TAILS, deep[tail] - 5)
    found[far] = np.copysign(beyond, off[far])
    return found


def _ratio(parts: tuple[tuple[float, ...], tuple[float, ...]], at: Floats) -> Floats:
    above, below = (_polynomial(part, at) for part in parts)
    return above / below


def _polynomial(factors: tuple[float, ...], at: Floats) -> Floats:
    total = at * factors[0]
    total += factors[1]
    for factor in factors[2:]:
        total *= at
        total += factor
    return total


def _log(values: Floats) -> Floats:
    """The natural logarithm: twice the series of artanh((m - 1) / (m + 1)), m in [2/3, 4/3)."""
    import numpy as np

    part, power = np.frexp(values)
    small = part < 2 / 3
    part, power = np.where(small, 2 * part, part), power - small
    ratio = (part - 1) / (part + 1)
    series = tuple(2 / (2 * n + 1) for n in range(11, -1, -1))
    found: Floats = ratio * _polynomial(series, ratio * ratio) + power * math.log(2)
    return found
