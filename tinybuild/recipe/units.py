"""Amounts and sizes as people write them: 50M, 4MB."""

from __future__ import annotations

import re
from decimal import Decimal

from tinybuild.sections import Amount, Size

_UNITS = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}
_SIZES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def amount(value: Amount) -> int:
    """50M -> 50000000 (parameters)."""
    if isinstance(value, int):
        return value
    return round(Decimal(value[:-1]) * _UNITS[value[-1]])


def size(value: Size) -> int:
    """4MB -> 4000000 (bytes; units are powers of 1000)."""
    if isinstance(value, int):
        return value
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]+)", value)
    assert match is not None  # the schema saw to it
    return round(Decimal(match[1]) * _SIZES[match[2]])
