"""A few rows become many: in turn, or each with its number in its text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.faults import refused
from kit.rows import read, tables

from tinybuild.dataset.expand import expand
from tinybuild.errors import BuildFault

RECORDS = Path(__file__).parents[2] / "recipes" / "records"


# --- any number of rows ---------------------------------------------------------------------------

SIZES = {"100": 100, "300": 300, "1k": 1000, "10k": 10_000}


def first_text(row: Mapping[str, Any], column: str) -> tuple[int, str] | None:
    """(place, text) of the first text of a row."""
    value = row[column]
    items = value if isinstance(value, list) else [value]
    return next(((i, item) for i, item in enumerate(items) if item is not None), None)


def media(row: Mapping[str, Any]) -> Any:
    return row.get("image", row.get("images"))


@pytest.mark.parametrize(("layout", "column"), [("pmd", "text"), ("cm4", "texts")])
def test_the_seed_records(layout: str, column: str) -> None:
    """The layouts of the tutorial's synthetic datasets, from records made for this project."""
    from datasets import Image, List, Value

    table, features = read(RECORDS / layout)
    rows = table.to_pylist()
    assert len(rows) == 10
    assert sum(first_text(row, column) is None for row in rows) == 1
    lengths = sorted(len(found[1]) for row in rows if (found := first_text(row, column)))
    assert lengths[0] <= 2
    assert lengths[-1] > 300
    if layout == "pmd":
        assert list(features) == ["image", "text", "source", "meta"]
        assert features["image"] == Image()
        assert all(features[name] == Value("string") for name in ("text", "source", "meta"))
        assert sum(row["image"] is None for row in rows) == 3
        assert sum(row["image"] is None and row["text"] is None for row in rows) == 1
    else:
        assert features == {"images": List(Image()), "texts": List(Value("string"))}
        assert {len(row["images"]) for row in rows} > {1, 2, 12}
        for row in rows:
            for picture, text in zip(row["images"], row["texts"], strict=True):
                assert (picture is None) != (text is None)
    size = sum(path.stat().st_size for path in (RECORDS / layout).rglob("*") if path.is_file())
    assert size < 60_000


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("layout", "column"), [("pmd", "text"), ("cm4", "texts")])
def test_repeat(layout: str, column: str, size: str) -> None:
    table, features = read(RECORDS / layout)
    made = expand(table, features, f"{size}.repeat")
    assert made.schema.equals(table.schema, check_metadata=True)
    assert made.to_pylist() == table.to_pylist() * (SIZES[size] // 10)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("layout", "column"), [("pmd", "text"), ("cm4", "texts")])
def test_unique(layout: str, column: str, size: str) -> None:
    table, features = read(RECORDS / layout)
    made = expand(table, features, f"{size}.unique")
    made.validate(full=True)
    assert made.schema.equals(table.schema, check_metadata=True)
    seeds, rows = table.to_pylist(), made.to_pylist()
    assert len(rows) == SIZES[size]
    assert len({repr(row) for row in rows}) == len(rows)
    silent = next(i for i, row in enumerate(seeds) if first_text(row, column) is None)
    assert [i for i, row in enumerate(rows) if first_text(row, column) is None] == [silent]
    assert rows[silent] == seeds[silent]
    others = [i for i in range(10) if i != silent]
    origin = [*range(10), *(others[i % 9] for i in range(len(rows) - 10))]
    for number, (row, seed) in enumerate(zip(rows, (seeds[i] for i in origin), strict=True), 1):
        assert media(row) == media(seed)  # the same bytes
        found, was = first_text(row, column), first_text(seed, column)
        if found is None or was is None:
            continue
        assert found == (was[0], f"{number} {was[1]}")
        back = seed[column] if isinstance(seed[column], list) else None
        if back is not None:
            assert [*row[column][: was[0]], was[1], *row[column][was[0] + 1 :]] == back
        assert {k: v for k, v in row.items() if k != column} == {
            k: v for k, v in seed.items() if k != column
        }


def test_images_are_not_copied() -> None:
    """10,000 rows share the bytes of ten images of 1 MB."""
    import pyarrow as pa
    from datasets import Features, Image, List, Value

    features = Features({"image": Image(), "text": Value("string")})
    picture = {"bytes": b"x" * 1_000_000, "path": None}
    table = pa.Table.from_pylist([{"image": picture, "text": "a"}] * 10, features.arrow_schema)
    before = pa.total_allocated_bytes()
    made = [expand(table, features, how) for how in ("10k.repeat", "10k.unique")]
    assert [one.num_rows for one in made] == [10_000, 10_000]
    assert pa.total_allocated_bytes() - before < 20_000_000
    # Also where the image stands beside the text.
    features = Features({"chat": List({"text": Value("string"), "image": Image()})})
    chat = {"chat": [{"text": "a", "image": picture}]}
    table = pa.Table.from_pylist([chat] * 10, features.arrow_schema)
    before = pa.total_allocated_bytes()
    assert expand(table, features, "1k.unique").num_rows == 1000
    assert pa.total_allocated_bytes() - before < 20_000_000


def texts(value: Any, feature: Any) -> list[str]:
    """The strings of a value, in their order."""
    from datasets import LargeList, List, Value

    if value is None:
        return []
    if isinstance(feature, dict):
        return [text for name, inner in feature.items() for text in texts(value[name], inner)]
    if isinstance(feature, List | LargeList):
        return [text for item in value for text in texts(item, feature.feature)]
    known = isinstance(feature, Value) and feature.dtype in ("string", "large_string")
    return [value] if known else []


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=tables(times=False), count=st.integers(1, 12), cut=st.integers(0, 2))
def test_whatever_has_a_text_becomes_unique(made: tuple[Any, Any], count: int, cut: int) -> None:
    import pyarrow as pa

    features, rows = made
    table = pa.Table.from_pylist(rows, features.arrow_schema)
    table = pa.concat_tables([table] * 3).slice(cut)
    seeds = table.to_pylist()
    assert expand(table, features, f"{count}.repeat").to_pylist() == (seeds * count)[:count]
    column = next((n for n in features if any(texts(r[n], features[n]) for r in seeds)), None)
    if column is None:
        assert "hold no text" in refused(expand, table, features, f"{count}.unique").what
        return
    unique = expand(table, features, f"{count}.unique")
    unique.validate(full=True)
    assert unique.schema.equals(table.schema, check_metadata=True)
    found = unique.to_pylist()
    assert len(found) == len({repr(row) for row in found}) == count
    said = [[texts(row[column], features[column]) for row in part] for part in (seeds, found)]
    silent = next((i for i, some in enumerate(said[0]) if not some), len(said[0]))
    with_text = [i for i, some in enumerate(said[0]) if some]
    first = sorted({*with_text, silent} - {len(said[0])})
    origin = (first + with_text * count)[:count]
    for number, (seed, some) in enumerate(zip(origin, said[1], strict=True), 1):
        was = said[0][seed]
        assert some == [f"{number} {text}" if not i else text for i, text in enumerate(was)]
        rest = {name: value for name, value in found[number - 1].items() if name != column}
        assert rest == {name: value for name, value in seeds[seed].items() if name != column}


def text_of(features: Mapping[str, Any], row: Mapping[str, Any]) -> Any:
    import pyarrow as pa
    from datasets import Features

    made = Features(features)
    table = pa.Table.from_pylist([dict(row)], made.arrow_schema)
    return expand(table, made, "2.unique").to_pylist()[1]


def test_where_the_number_is_written() -> None:
    from datasets import (
        ClassLabel,
        LargeList,
        List,
        Translation,
        TranslationVariableLanguages,
        Value,
    )

    text = Value("string")
    assert text_of({"n": Value("int8"), "t": text}, {"n": 1, "t": ""}) == {"n": 1, "t": "2 "}
    assert text_of({"l": ClassLabel(names=["x"]), "t": text}, {"l": 0, "t": "a"})["t"] == "2 a"
    pair = Translation(languages=["de", "en"])
    assert text_of({"p": pair}, {"p": {"de": None, "en": "a"}})["p"] == {"de": None, "en": "2 a"}
    many = TranslationVariableLanguages(languages=["de", "en"])
    value = {"language": ["de", "en"], "translation": ["a", "b"]}
    assert text_of({"p": many}, {"p": value})["p"] == {**value, "translation": ["2 a", "b"]}
    deep = LargeList(List({"n": Value("int8"), "t": Value("large_string")}))
    given = [None, [], [None, {"n": 1, "t": None}, {"n": 2, "t": "x"}], [{"n": 3, "t": "y"}]]
    assert text_of({"d": deep}, {"d": given})["d"] == [
        *(None, [], [None, {"n": 1, "t": None}, {"n": 2, "t": "2 x"}], [{"n": 3, "t": "y"}])
    ]
    two = List(text, length=2)
    assert text_of({"d": two}, {"d": [None, "x"]})["d"] == [None, "2 x"]


@pytest.mark.parametrize("value", [None, 1])
def test_nothing_to_write_into(value: Any) -> None:
    import pyarrow as pa
    from datasets import Features, Value

    features = Features({"n": Value("int8"), "text": Value("string")})
    table = pa.Table.from_pylist([{"n": value, "text": None}] * 2, features.arrow_schema)
    refusal = refused(expand, table, features, "3.unique")
    assert refusal.fault is BuildFault
    assert "the rows hold no text, so 3.unique cannot write their numbers" in refusal.what
    assert "use 3.repeat" in refusal.hint
    assert refusal.key == ("dataset", "expand")
    refusal = refused(expand, table.slice(0, 0), features, "3.repeat")
    assert refusal.fault is BuildFault
    assert "there is no row to make 3.repeat from" in refusal.what


def test_names_of_files_of_media_are_no_texts() -> None:
    from datasets import Image, List, Value

    text = Value("string")
    row = {"image": "train/1.JPG", "text": "see a.png"}
    assert text_of({"image": text, "text": text}, row) == {**row, "text": "2 see a.png"}
    stored = {"bytes": Value("binary"), "path": text}  # an Image that no metadata calls so
    row = {"image": {"bytes": b"", "path": "1.png"}, "text": "a"}
    assert text_of({"image": stored, "text": text}, row) == {**row, "text": "2 a"}
    parts = List({"type": text, "image": Image(), "url": text, "text": text})
    picture = {"type": "image", "image": None, "url": "https://x.org/a.webp", "text": None}
    said = {"type": "text", "image": None, "url": None, "text": "Hi"}
    made = text_of({"content": parts}, {"content": [picture, said]})
    assert made == {"content": [picture, {**said, "text": "2 Hi"}]}
