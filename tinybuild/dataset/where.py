"""Conditions on the values of columns: a value, a list of values, or a range."""

from __future__ import annotations

import datetime
import decimal
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tinybuild.errors import BuildFault, Fault, did_you_mean
from tinybuild.sections import Bounds, Scalar, Where

if TYPE_CHECKING:
    import numpy
    import pyarrow
    from datasets import Features
    from datasets.features.features import FeatureType

Value: TypeAlias = str | int | float | bool
Wanted: TypeAlias = "Scalar | list[Scalar] | Bounds"
Values: TypeAlias = "pyarrow.ChunkedArray"
Mask: TypeAlias = "numpy.ndarray[tuple[int], numpy.dtype[numpy.bool_]]"


def condition(features: Features, wish: Where) -> Callable[[pyarrow.Table], Mask] | None:
    """From a table to which of its rows (numpy, bool) meet all of `where`; None where it is empty.

    Only for plain columns: strings, booleans, numbers, dates and moments (ISO text; without a zone
    it is UTC, and a day is the moment it begins), and class labels by name or number. null finds
    missing values; a range never does. Strings are ordered by code point, labels by number.
    Raises BuildFault for all that does not fit.
    """
    if not wish:
        return None
    tests = [(name, _test(_column(features, name), wanted)) for name, wanted in wish.items()]

    def holds(table: pyarrow.Table) -> Mask:
        import pyarrow.compute as pc

        mask = None
        for column, test in tests:
            here = test(table.column(column))
            mask = here if mask is None else pc.and_(mask, here)
        assert mask is not None
        matching: Mask = mask.to_numpy()
        return matching

    return holds


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A plain column. common: one type for all that is compared with it: no digit is lost, and a
    small type holds no large bound. labels: the names of a class label."""

    name: str
    said: str
    type: pyarrow.DataType
    common: pyarrow.DataType
    labels: list[str] | None

    def wrong(self, value: Value, wanted: str, hint: str = "") -> Fault:
        said = f'"{value}"' if isinstance(value, str) else _said(value)
        return self.fault(f"{said} is not {wanted}, which the column {self.name} holds", hint)

    def fault(self, what: str, hint: str) -> Fault:
        return BuildFault.of(what, key=("dataset", "where", self.name), hint=hint)


def _said(value: Value) -> str:
    return str(value).lower()


def _column(features: Features, name: str) -> _Column:
    """Raises BuildFault where there is none such."""
    import pyarrow

    plain = {column: said for column in features if (said := _plain(features[column]))}
    if name not in plain:
        there = ", ".join(f"{column} ({said})" for column, said in plain.items()) or "none"
        what, hint = f"the dataset has no column {name}", did_you_mean(name, plain)
        if name in features:
            what = f"the column {name} holds {type(features[name]).__name__}, not single values"
            hint = "ask for values of a plain column"
        what = f"{what}; its plain columns: {there}"
        raise BuildFault.of(what, key=("dataset", "where", name), hint=hint)
    common = kind = features.arrow_schema.field(name).type
    if pyarrow.types.is_integer(kind):
        common = pyarrow.uint64() if kind == pyarrow.uint64() else pyarrow.int64()
    elif pyarrow.types.is_floating(kind):
        common = pyarrow.float64()
    elif pyarrow.types.is_string_view(kind):
        common = pyarrow.large_string()
    labels = list(features[name].names or []) if plain[name] == LABEL else None
    return _Column(name=name, said=plain[name], type=kind, common=common, labels=labels)


def _test(column: _Column, wanted: Wanted) -> Callable[[Values], Values]:
    import pyarrow
    import pyarrow.compute as pc

    common = column.common
    if not isinstance(wanted, Mapping):
        asked = wanted if isinstance(wanted, list | tuple) else [wanted]
        nothing = pyarrow.scalar(None, type=common)
        scalars = [nothing if value is None else _scalar(column, value) for value in asked]
        listed = pyarrow.array(scalars, type=common)
        return lambda values: pc.is_in(values.cast(common), value_set=listed)
    bounds = ((pc.greater_equal, wanted.get("min")), (pc.less_equal, wanted.get("max")))
    tests = [(compare, _scalar(column, end)) for compare, end in bounds if end is not None]
    if pyarrow.types.is_boolean(column.type) or pyarrow.types.is_null(column.type):
        what = f"the column {column.name} ({column.said}) has no order"
        raise column.fault(what, "ask for a value, not for min or max")

    def between(values: Values) -> Values:
        values = values.cast(common)
        masks = [compare(values, bound) for compare, bound in tests]
        return pc.fill_null(functools.reduce(pc.and_, masks), False)

    return between


LABEL = "class label"


def _plain(feature: FeatureType) -> str:
    """What a person calls the type of a column whose values can be compared; "" for the others."""
    import pyarrow.types as types
    from datasets import ClassLabel, Value

    if isinstance(feature, ClassLabel):
        return LABEL
    if not isinstance(feature, Value):
        return ""
    kind = feature.pa_type
    fits = (
        types.is_string,
        types.is_large_string,
        types.is_string_view,
        types.is_boolean,
        types.is_integer,
        types.is_floating,
        types.is_decimal,
        types.is_date,
        types.is_timestamp,
        types.is_null,
    )
    return str(feature.dtype) if any(fit(kind) for fit in fits) else ""


def _scalar(column: _Column, value: Value) -> pyarrow.Scalar:
    """A value of the recipe as one of the column. Raises BuildFault."""
    import pyarrow

    try:
        return pyarrow.scalar(_taken(column, value), type=column.common)
    except (pyarrow.ArrowInvalid, OverflowError):
        raise column.wrong(value, f"within what {column.type} can say") from None


def _taken(column: _Column, value: Value) -> object:
    """The value as what is made a scalar of the column's type."""
    import pyarrow.types as types

    kind = column.type
    if column.labels is not None:
        return _label(column, column.labels, value)
    if types.is_string(column.common) or types.is_large_string(column.common):
        if not isinstance(value, str):
            raise column.wrong(value, "a text", f'for the text write "{_said(value)}"')
        return value
    if types.is_boolean(kind):
        if not isinstance(value, bool):
            raise column.wrong(value, "true or false", "write true or false, without quotes")
        return value
    if types.is_date(kind) or types.is_timestamp(kind):
        return _moment(column, value)
    if types.is_null(kind):
        raise column.wrong(value, "null", "all of its values are missing")
    return _number(column, value)


def _label(column: _Column, labels: list[str], value: Value) -> int:
    if isinstance(value, str):
        if value not in labels:
            raise column.wrong(value, "one of the labels", did_you_mean(value, labels))
        return labels.index(value)
    # -1 is what datasets writes where a label is not known.
    if isinstance(value, bool) or value not in range(-1, len(labels)):
        hint = f"numbers from 0 to {len(labels) - 1}, or names"
        raise column.wrong(value, "one of the labels", hint)
    return int(value)


def _number(column: _Column, value: Value) -> object:
    import numpy
    import pyarrow.types as types

    kind = column.type
    whole = types.is_integer(kind)
    if isinstance(value, bool | str) or math.isnan(value) or (whole and math.isinf(value)):
        said = "a whole number" if whole else "a number"
        raise column.wrong(value, said, "write a number, without quotes")
    if whole:
        if isinstance(value, float) and not value.is_integer():
            hint = f"write {math.floor(value)} or {math.ceil(value)}"
            raise column.wrong(value, "a whole number", hint)
        return int(value)
    if types.is_decimal(kind):
        return decimal.Decimal(str(value))
    # 0.1 means the column's own 0.1, which is another number in 32 bits.
    with numpy.errstate(over="ignore"):
        return numpy.array(value).astype(f"f{kind.bit_width // 8}").item()


def _moment(column: _Column, value: Value) -> datetime.date:
    import pyarrow.types as types

    try:
        # Without quotes or with them a date of YAML 1.2 is a text.
        moment = datetime.datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        hint = "write 2026-01-31 or 2026-01-31T12:00:00"
        raise column.wrong(value, "a date", hint) from None
    if types.is_date(column.type):
        if moment != datetime.datetime.combine(moment.date(), datetime.time()):
            raise column.wrong(value, "a day", f"write {moment.date()}")
        return moment.date()
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return zoned if column.type.tz else zoned.astimezone(datetime.UTC).replace(tzinfo=None)
