"""One schema for the files of a split: what they must agree in, and rows that disagree."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tinybuild.dataset.archives import KEY, reason
from tinybuild.errors import BuildFault, Fault
from tinybuild.features import fields, replaced
from tinybuild.reading import reading

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features
    from datasets.features.features import FeatureType

# (a table of a file's rows, the file's name, the number of its first row from 0) -> the same rows
# with the split's columns in their order and types.
Cast = Callable[["pyarrow.Table", str, int], "pyarrow.Table"]

SECONDS = re.compile(r"^(timestamp|time32)\[s\b")  # dtypes: timestamp[s, tz=UTC], time32[s]
DEEPEST = 40  # Parquet has at most 100 layers, and a list takes two
SAY_TYPES = "make the files alike, or say the types in README.md's dataset_info"


def together(module: str, schemas: Sequence[tuple[str, pyarrow.Schema]]) -> Features:
    """The features of all files of a split, each (name, schema). Raises BuildFault, naming two.

    A column of nothing but nulls takes the type that it has elsewhere. As in the datasets library,
    JSON may leave out a column that the first file has. Numbers that are whole in one text file and
    not in another are floats.
    """
    import pyarrow
    from datasets import Features

    for name, schema in schemas:
        if column := _too_deep(schema):
            raise BuildFault.of(
                f"{name}: column {column!r} has lists and objects in one another, more than "
                f"{DEEPEST} deep",
                key=KEY,
                hint="Parquet holds no such thing: leave the column out of the source",
            )
    loose = module in ("json", "csv", "archive")
    first_name, whole = schemas[0]
    origin = dict.fromkeys(whole.names, first_name)
    for name, schema in schemas[1:]:
        missing = sorted(set(whole.names) - set(schema.names))
        extra = sorted(set(schema.names) - set(whole.names))
        may_miss = module in ("json", "archive")
        if extra or (missing and not may_miss):
            column = (extra or missing)[0]
            has, has_not = (name, first_name) if extra else (origin[column], name)
            raise BuildFault.of(
                f"{has} has a column {column!r} that {has_not} does not have",
                key=KEY,
                hint="the files of a split have the same columns",
            )
        for column in schema.names:
            origin.setdefault(column, name)
        fields = []
        for column in whole.names:
            parts = [s.field(column) for s in (whole, schema) if column in s.names]
            try:
                made = pyarrow.unify_schemas(
                    [pyarrow.schema([part.remove_metadata()]) for part in parts],
                    promote_options="permissive" if loose else "default",
                )
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
                raise BuildFault.of(
                    f"{name}: column {column!r} is {parts[1].type}, "
                    f"and in {origin[column]} it is {parts[0].type}",
                    key=KEY,
                    hint=SAY_TYPES,
                ) from None
            fields.append(made.field(0))
        whole = pyarrow.schema(fields, metadata=_metadata(whole, first_name, schema, name))
    with reading(first_name, *KEY):  # also of what is nested too deeply
        try:
            return Features.from_arrow_schema(whole)
        except (ValueError, NotImplementedError, TypeError, KeyError) as error:
            unknown = "its columns are of types that datasets does not know"
            raise BuildFault.of(f"{first_name}: {unknown}: {reason(error)}", key=KEY) from None


def _too_deep(schema: pyarrow.Schema) -> str | None:
    """The first column that has more layers than can be written."""
    for column in schema:
        layers = [[column.type]]
        while layers[-1]:
            inner = [kind.field(at).type for kind in layers[-1] for at in range(kind.num_fields)]
            layers.append(inner)
            if len(layers) > DEEPEST:
                return str(column.name)
    return None


def _metadata(
    one: pyarrow.Schema, first: str, two: pyarrow.Schema, second: str
) -> dict[bytes, bytes] | None:
    """The metadata that says the features, which two files must say alike if both say them."""
    from datasets import Features

    said = [s for s in (one, two) if s.metadata and b"huggingface" in s.metadata]
    if len(said) == 2:
        ours, theirs = (Features.from_arrow_schema(schema) for schema in said)
        for column in ours:
            null = "null" in (getattr(f.get(column), "dtype", None) for f in (ours, theirs))
            if ours[column] != theirs.get(column) and not null:
                raise BuildFault.of(
                    f"{second}: column {column!r} is {theirs.get(column)}, "
                    f"and in {first} it is {ours[column]}",
                    key=KEY,
                    hint=SAY_TYPES,
                )
    for schema in said:
        return dict(schema.metadata)
    return None


def storable(features: Features) -> Features:
    """The features with large strings and bytes for views of them within objects, since Arrow
    cannot write those to Parquet (polars can); others stay."""
    from datasets import Features, Value

    plain = {"string_view": "large_string", "binary_view": "large_binary"}

    def swapped(feature: FeatureType) -> FeatureType | None:
        viewed = isinstance(feature, Value) and feature.dtype in plain
        return Value(plain[feature.dtype]) if viewed else None

    def within(feature: FeatureType) -> FeatureType | None:
        held = fields(feature) if isinstance(feature, dict) else {}
        return {name: replaced(part, swapped) for name, part in held.items()} or None

    return Features({name: replaced(feature, within) for name, feature in features.items()})


def kept(features: Features) -> Features:
    """The features as Parquet gives them back: times of seconds in milliseconds, and days in
    milliseconds as days."""
    from datasets import Features, Value

    def timed(feature: FeatureType) -> FeatureType | None:
        kind = feature.dtype if isinstance(feature, Value) else ""
        kept = "date32" if kind == "date64" else SECONDS.sub(r"\1[ms", kind)
        return Value(kept) if kept != kind else None

    return Features({name: replaced(feature, timed) for name, feature in features.items()})


def caster(features: Features) -> Cast:
    """What makes the split's columns of a file's table, as datasets would: by name, safely."""
    schema = features.arrow_schema

    def cast(table: pyarrow.Table, name: str, first: int) -> pyarrow.Table:
        import pyarrow
        from datasets.exceptions import DatasetGenerationError
        from datasets.table import CastError, table_cast

        if table.schema.equals(schema):
            return table.replace_schema_metadata(schema.metadata)
        try:
            return table_cast(table, schema)
        except (CastError, DatasetGenerationError, pyarrow.ArrowException, ValueError, TypeError):
            pass
        raise _misfit(table, schema, name, first)

    return cast


def _misfit(table: pyarrow.Table, schema: pyarrow.Schema, name: str, first: int) -> Fault:
    """The fault of the first row that is not as the split's features say."""
    import pyarrow
    from datasets.table import table_cast

    extra = sorted(set(table.column_names) - set(schema.names))
    missing = sorted(set(schema.names) - set(table.column_names))
    if extra or missing:
        what = f"has a column {extra[0]!r} too many" if extra else f"has no column {missing[0]!r}"
        return BuildFault.of(
            f"{name}, row {first + 1:,}: {what}", key=KEY, hint="rows before it have other columns"
        )
    for row in range(table.num_rows):
        for column in schema.names:
            one = table.select([column]).slice(row, 1)
            try:
                table_cast(one, _only(schema, column))
            except (pyarrow.ArrowException, ValueError, TypeError) as error:
                return BuildFault.of(
                    f"{name}, row {first + row + 1:,}: column {column!r} is "
                    f"{one.schema.field(0).type}, not {schema.field(column).type}: {reason(error)}",
                    key=KEY,
                    hint=SAY_TYPES,
                )
    return BuildFault.of(
        f"{name}, rows {first + 1:,}-{first + table.num_rows:,}: they do not fit the columns "
        "of the rows before",
        key=KEY,
        hint=SAY_TYPES,
    )


def _only(schema: pyarrow.Schema, column: str) -> pyarrow.Schema:
    from datasets import Features

    return Features({column: Features.from_arrow_schema(schema)[column]}).arrow_schema
