"""One walk over features and over their arrays: all is met, and what is left alone stays."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from datasets import (
    Array2D,
    Audio,
    ClassLabel,
    Features,
    Image,
    Json,
    List,
    Translation,
    TranslationVariableLanguages,
    Value,
)
from hypothesis import HealthCheck, given, settings
from kit.rows import tables

from tinybuild import features as walks
from tinybuild.features import Spot, Visit

TEXT = Value("string")


def test_what_a_value_is() -> None:
    contents = {
        "text": [TEXT, Value("large_string"), Value("string_view")],
        "label": [ClassLabel(names=["a"])],
        "bytes": [Value("binary"), Value("fixed_size_binary[4]")],
        "media": [Image(), Audio()],
        "raw": [Json()],
        "json": [Value("int8"), List(TEXT), {"a": TEXT}, Array2D(shape=(1, 2), dtype="int8")],
    }
    assert {name: {walks.content(one) for one in some} for name, some in contents.items()} == {
        name: {name} for name in contents
    }


def test_every_feature_has_a_path() -> None:
    inner = {"role": TEXT, "images": List(Image())}
    features = Features(
        {"chat": List(inner), "pair": Translation(["de", "en"]), "n": Value("int8")}
    )
    paths = [(".".join(path), type(feature).__name__) for path, feature in walks.walk(features)]
    assert paths == [
        ("", "Features"),
        *[("chat", "List"), ("chat", "dict"), ("chat.role", "Value"), ("chat.images", "List")],
        *[("chat.images", "Image"), ("pair", "Translation"), ("pair.de", "Value")],
        *[("pair.en", "Value"), ("n", "Value")],
    ]
    codes = walks.fields(TranslationVariableLanguages(["de", "en"]))
    assert codes == {"translation": List(TEXT)}


def test_features_are_replaced_at_any_depth() -> None:
    features = Features({"a": List({"b": TEXT, "c": Image()}, length=2), "d": TEXT})
    made = walks.replaced(features, lambda f: Value("binary") if f == TEXT else None)
    data = Value("binary")
    assert made == Features({"a": List({"b": data, "c": Image()}, length=2), "d": data})
    assert features["d"] == TEXT
    assert features["a"].feature["b"] == TEXT


def visit(table: pa.Table, features: Features, copied: bool) -> tuple[pa.Table, list[Any]]:
    """A table after a visit to all that is neither a list nor an object, and what was met."""
    met: list[Any] = []

    def meet(array: pa.Array, spot: Spot) -> pa.Array:
        met.extend(zip(spot.rows.tolist(), array.to_pylist(), strict=True))
        return pa.concat_arrays([array]) if copied else array

    single = Visit(wanted=lambda f: walks.items(f) is None and not isinstance(f, dict), apply=meet)
    columns = [
        walks.visited(table.column(index), feature, name, single)
        for index, (name, feature) in enumerate(features.items())
    ]
    return pa.Table.from_arrays(columns, schema=table.schema), met


def single_values(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [one for part in value.values() for one in single_values(part)]
    if isinstance(value, list):
        return [one for part in value for one in single_values(part)]
    return [value]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=tables(times=False))
def test_a_visit_meets_every_value_and_rebuilds_what_it_left(made: tuple[Any, Any]) -> None:
    features, rows = made
    table = pa.Table.from_pylist(rows, features.arrow_schema)
    table = pa.concat_tables([table.slice(1), table]).slice(1)
    before = table.to_pylist()
    for copied in (False, True):
        after, met = visit(table, features, copied)
        after.validate(full=True)
        assert repr(after.to_pylist()) == repr(before)
        assert after.schema.equals(table.schema, check_metadata=True)
        for row, each in enumerate(before):
            there = [repr(value) for number, value in met if number == row and value is not None]
            assert sorted(there) == sorted(
                repr(value) for value in single_values(each) if value is not None
            )
