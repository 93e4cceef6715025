"""Conditions on the values of columns: a value, a list of values, or a range."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tinybuild.errors import BuildFault, Fault, did_you_mean

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features


def condition(features: Features, wish: Mapping[str, Any]) -> Callable[[pyarrow.Table], Any] | None:
    """From a table to which of its rows (numpy, bool) meet all of `where`; None where it is empty.

    Only for plain columns: strings, booleans, numbers, dates and moments (ISO text; without a zone
    it is UTC, and a day is the moment it begins), and class labels by name or number. null finds
    missing values; a range never does. Strings are ordered by code point, labels by number.
    Raises BuildFault for all that does not fit.
    """
    if not wish:
        return None
    tests = [(column, _test(features, column, wanted)) for column, wanted in wish.items()]

    def holds(table: pyarrow.Table) -> Any:
        import pyarrow.compute as pc

        mask = None
        for column, test in tests:
            here = test(table.column(column))
            mask = here if mask is None else pc.and_(mask, here)
        assert mask is not None
        return mask.to_numpy()

    return holds


def _test(features: Features, column: str, wanted: Any) -> Callable[[Any], Any]:
    import pyarrow
    import pyarrow.compute as pc

    plain = {name: _plain(feature) for name, feature in features.items()}
    known = [name for name, said in plain.items() if said]
    if not plain.get(column):
        there = ", ".join(f"{name} ({plain[name]})" for name in known) or "none"
        what = (
            f"the column {column} is no plain one ({type(features[column]).__name__})"
            if column in plain
            else f"the dataset has no column {column}"
        )
        raise BuildFault.of(
            f"{what}; its plain columns: {there}",
            key=("dataset", "where", column),
            hint="ask for values of a plain column"
            if column in plain
            else did_you_mean(column, known),
        )
    feature = features[column]
    kind = features.arrow_schema.field(column).type
    # One type for all that are compared: no digit is lost, and a small type holds no large bound.
    common = kind
    if pyarrow.types.is_integer(kind):
        common = pyarrow.uint64() if kind == pyarrow.uint64() else pyarrow.int64()
    elif pyarrow.types.is_floating(kind):
        common = pyarrow.float64()
    elif pyarrow.types.is_string_view(kind):
        common = pyarrow.large_string()

    def scalar(value: Any) -> Any:
        return _scalar(feature, kind, common, value, column)

    if isinstance(wanted, Mapping):
        least, most = (
            None if wanted.get(end) is None else scalar(wanted[end]) for end in ("min", "max")
        )

        def between(values: Any) -> Any:
            values = values.cast(common)
            masks = []
            if least is not None:
                masks.append(pc.greater_equal(values, least))
            if most is not None:
                masks.append(pc.less_equal(values, most))
            return pc.fill_null(masks[0] if len(masks) == 1 else pc.and_(*masks), False)

        if pyarrow.types.is_boolean(kind) or pyarrow.types.is_null(kind):
            raise BuildFault.of(
                f"the column {column} ({plain[column]}) has no order",
                key=("dataset", "where", column),
                hint="ask for a value, not for min or max",
            )
        return between

    asked = wanted if isinstance(wanted, list | tuple) else [wanted]
    listed = pyarrow.array(
        [pyarrow.scalar(None, type=common) if value is None else scalar(value) for value in asked],
        type=common,
    )
    return lambda values: pc.is_in(values.cast(common), value_set=listed)


def _plain(feature: Any) -> str:
    """What a person calls the type of a column whose values can be compared; "" for the others."""
    import pyarrow.types as types
    from datasets import ClassLabel, Value

    if isinstance(feature, ClassLabel):
        return "class label"
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


def _scalar(feature: Any, kind: Any, common: Any, value: Any, column: str) -> Any:
    """A value of the recipe as one of the column. Raises BuildFault."""
    import numpy
    import pyarrow
    import pyarrow.types as types
    from datasets import ClassLabel

    said = f'"{value}"' if isinstance(value, str) else str(value).lower()

    def wrong(wanted: str, hint: str = "") -> Fault:
        return BuildFault.of(
            f"{said} is not {wanted}, which the column {column} holds",
            key=("dataset", "where", column),
            hint=hint,
        )

    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(feature, ClassLabel):
        names = feature.names or []
        if isinstance(value, str):
            if value not in names:
                raise wrong("one of the labels", did_you_mean(value, names))
            value = names.index(value)
        elif not number or value not in range(-1, len(names)):
            # -1 is what datasets writes where a label is not known.
            raise wrong("one of the labels", f"numbers from 0 to {len(names) - 1}, or names")
    elif types.is_string(common) or types.is_large_string(common):
        if not isinstance(value, str):
            raise wrong("a text", f'for the text write "{str(value).lower()}"')
    elif types.is_boolean(kind):
        if not isinstance(value, bool):
            raise wrong("true or false", "write true or false, without quotes")
    elif types.is_integer(kind):
        if not number or value != value or value in (float("inf"), -float("inf")):
            raise wrong("a whole number", "write a number, without quotes")
        if isinstance(value, float) and not value.is_integer():
            raise wrong("a whole number", f"write {math.floor(value)} or {math.ceil(value)}")
    elif types.is_floating(kind):
        if not number or value != value:
            raise wrong("a number", "write a number, without quotes")
        # 0.1 means the column's own 0.1, which is another number in 32 bits.
        with numpy.errstate(over="ignore"):
            value = numpy.array(value).astype(f"f{kind.bit_width // 8}").item()
    elif types.is_decimal(kind):
        if not number:
            raise wrong("a number", "write a number, without quotes")
        value = decimal.Decimal(str(value))
    elif types.is_date(kind) or types.is_timestamp(kind):
        try:
            # Without quotes or with them a date of YAML 1.2 is a text.
            found = datetime.datetime.fromisoformat(value if isinstance(value, str) else "")
        except ValueError:
            raise wrong("a date", "write 2026-01-31 or 2026-01-31T12:00:00") from None
        if types.is_date(kind):
            if found != datetime.datetime.combine(found.date(), datetime.time()):
                raise wrong("a day", f"write {found.date()}")
            value = found.date()
        else:
            zoned = found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
            value = zoned if kind.tz else zoned.astimezone(datetime.UTC).replace(tzinfo=None)
    else:
        raise wrong("null", "all of its values are missing")
    try:
        return pyarrow.scalar(int(value) if types.is_integer(kind) else value, type=common)
    except (pyarrow.ArrowInvalid, OverflowError):
        raise wrong(f"within what {kind} can say") from None
