"""Rows as folders: what is written is read again, what a person writes is understood or refused."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinybuild.dataset.records import open_records, write_records

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features

RECORDS = Path(__file__).parents[1] / "recipes" / "records"


def read(folder: Path) -> tuple[pyarrow.Table, Features]:
    """All rows of a folder of records."""
    import pyarrow as pa

    source = open_records(folder)
    assert dict(source.names) == {"default": ("train",)}
    split = source.open("default", "train")
    (shard,) = split.shards
    table = pa.concat_tables(shard.read(0))
    assert table.num_rows == shard.rows
    assert table.schema.equals(split.features.arrow_schema, check_metadata=True)
    table.validate(full=True)
    return table, split.features


def image(size: tuple[int, int] = (4, 3), kind: str = "PNG", colour: str = "red") -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def sound(kind: str = "WAV", samples: int = 800) -> bytes:
    import numpy as np
    import soundfile

    out = io.BytesIO()
    tone = np.sin(np.arange(samples) / 5).astype("float32") / 2
    soundfile.write(out, tone, 8000, format=kind)
    return out.getvalue()


def lay(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def around(
    folder: Path, features: Features, rows: list[Any], about: Any = None
) -> tuple[pyarrow.Table, list[str]]:
    """Rows are written, read, and found the same; (table, names of the files)."""
    import pyarrow as pa

    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    write_records(table, features, range(1, len(rows) + 1), folder, about)
    back, found = read(folder)
    assert found == features
    assert list(found) == list(features)
    assert back.equals(table)
    return back, names(folder)


# --- round trip -----------------------------------------------------------------------------------


def test_every_type_comes_back(tmp_path: Path) -> None:
    import datetime
    import decimal

    from datasets import (
        Array2D,
        Audio,
        ClassLabel,
        Features,
        Image,
        Json,
        LargeList,
        List,
        Translation,
        TranslationVariableLanguages,
        Value,
    )

    features = Features(
        {
            "text": Value("string"),
            "big": Value("large_string"),
            "label": ClassLabel(names=["no", "yes"]),
            "labels": List(ClassLabel(names=["no", "yes"])),
            "i8": Value("int8"),
            "u64": Value("uint64"),
            "f16": Value("float16"),
            "f32": Value("float32"),
            "f64": Value("float64"),
            "yes": Value("bool"),
            "none": Value("null"),
            "raw": Value("binary"),
            "raw4": Value("fixed_size_binary[4]"),
            "ns": Value("timestamp[ns]"),
            "zone": Value("timestamp[us, tz=Europe/Berlin]"),
            "day": Value("date32"),
            "day64": Value("date64"),
            "t32": Value("time32[s]"),
            "t64": Value("time64[ns]"),
            "took": Value("duration[ms]"),
            "price": Value("decimal128(10, 2)"),
            "image": Image(),
            "images": List(Image()),
            "audio": Audio(sampling_rate=8000),
            "pair": Translation(languages=["en", "de"]),
            "many": TranslationVariableLanguages(languages=["en", "de"]),
            "two": List(Value("string"), length=2),
            "vector": List(Value("float32"), length=3),
            "large": LargeList(Value("int16")),
            "deep": List(List(Value("string"))),
            "matrix": Array2D(shape=(2, 2), dtype="int32"),
            "json": Json(),
            "jsons": List(Json()),
            "chat": List({"role": Value("string"), "picture": Image(), "raw": Value("binary")}),
            "nested": {"a": {"b": List({"c": Array2D(shape=(1, 1), dtype="int8")})}},
        }
    )
    zone = datetime.UTC
    full: dict[str, Any] = {
        "text": "a\r\nb\r\0ü漢\n",
        "big": "",
        "label": 1,
        "labels": [0, 1, None],
        "i8": -128,
        "u64": 2**64 - 1,
        "f16": 0.5,
        "f32": 0.10000000149011612,
        "f64": float("inf"),
        "yes": True,
        "raw": b"\0\xff",
        "raw4": b"1234",
        "ns": 1_700_000_000_123_456_789,
        "zone": datetime.datetime(2024, 3, 31, 1, 30, tzinfo=zone),
        "day": datetime.date(1, 1, 1),
        "day64": datetime.date(2024, 2, 29),
        "t32": datetime.time(23, 59, 59),
        "t64": datetime.time(1, 2, 3, 4),
        "took": datetime.timedelta(milliseconds=-5),
        "price": decimal.Decimal("-12.30"),
        "image": {"bytes": image(), "path": "cats/1.jpg"},
        "images": [{"bytes": image(kind="JPEG"), "path": None}, None],
        "audio": {"bytes": sound("FLAC"), "path": None},
        "pair": {"en": "one", "de": None},
        "many": {"language": ["de", "en"], "translation": ["eins", "one"]},
        "two": ["x", None],
        "vector": [0.0, -0.0, 1e-30],
        "large": [1, None],
        "deep": [["a"], [], None, [None]],
        "json": '{"b":  1, "a": null}\n',
        "jsons": ["1", None, '"x"'],
        "chat": [{"role": "user", "picture": {"bytes": image(), "path": "x"}, "raw": b"1"}, None],
    }
    rows = [full, dict.fromkeys(features), {**full, "label": -1, "image": {"path": "only.png"}}]
    import pyarrow as pa

    plain = Features({k: v for k, v in features.items() if k not in ("matrix", "nested", "jsons")})
    around(
        tmp_path / "plain", plain, [{k: v for k, v in row.items() if k in plain} for row in rows]
    )
    # Arrow makes no extension types inside others from Python.
    from tinybuild.dataset.values import build

    other = Features({name: features[name] for name in ("matrix", "nested", "jsons")})
    columns = [
        build([[[1, 2], [3, 4]], None], other["matrix"]),
        build([{"a": {"b": [{"c": [[7]]}, None]}}, None], other["nested"]),
        build([["1", None, '"x"'], None], other["jsons"]),
    ]
    table = pa.Table.from_arrays(columns, schema=other.arrow_schema)
    write_records(table, other, [4, 11], tmp_path / "other")
    back, found = read(tmp_path / "other")
    assert back.equals(table)
    assert found == other
    assert json.loads((tmp_path / "other" / "4" / "matrix.json").read_text()) == [[1, 2], [3, 4]]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
EDGY = st.sampled_from(
    [
        *(
            "",
            "a.b",
            "..",
            ".",
            "a_00",
            "_00",
            "a_1",
            "A",
            "a",
            "%",
            "%41",
            "a/b",
            "..\\x",
            " x ",
            "x.",
        ),
        *(
            "é",
            "e\u0301",
            "漢字",
            "a\nb",
            "con",
            "x.null",
            "x.txt",
            "features",
            "\u00df",
            "SS",
            "ss",
        ),
    ]
)


def leaf() -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    """(feature, its values) of one value."""
    from datasets import ClassLabel, Value

    pairs = [
        (Value("string"), TEXT),
        (Value("large_string"), TEXT),
        (Value("binary"), st.binary(max_size=5)),
        (Value("int32"), st.integers(-(2**31), 2**31 - 1)),
        (Value("int64"), st.integers(-(2**63), 2**63 - 1)),
        (Value("uint8"), st.integers(0, 255)),
        (Value("float32"), st.floats(width=32, allow_nan=False)),
        (Value("float64"), st.floats(allow_nan=False)),
        (Value("bool"), st.booleans()),
        (Value("timestamp[ns]"), st.integers(-(2**63) + 1, 2**63 - 1)),
        (Value("timestamp[s]"), st.integers(-(2**63) + 1, 2**63 - 1)),
        (Value("timestamp[us, tz=+02:00]"), st.integers(-(2**62), 2**62)),
        (Value("date32"), st.integers(-(2**31), 2**31 - 1)),
        (Value("time64[us]"), st.integers(0, 86_399_999_999)),
        (Value("duration[s]"), st.integers(-(2**40), 2**40)),
        (ClassLabel(names=["no", "yes", "a\n", " x"]), st.integers(-1, 3)),
    ]
    return st.sampled_from(pairs)


def nested() -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    from datasets import LargeList, List

    def grow(
        inner: st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]],
    ) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
        def listed(pair: tuple[Any, st.SearchStrategy[Any]], kind: int) -> Any:
            feature, values = pair
            items = st.none() | values
            if kind == 2:
                return List(feature, length=2), st.lists(items, min_size=2, max_size=2)
            made = LargeList(feature) if kind else List(feature)
            return made, st.lists(items, max_size=3)

        def held(pairs: dict[str, tuple[Any, st.SearchStrategy[Any]]]) -> Any:
            feature = {name: pair[0] for name, pair in pairs.items()}
            return feature, st.fixed_dictionaries(
                {name: st.none() | pair[1] for name, pair in pairs.items()}
            )

        return st.builds(listed, inner, st.integers(0, 2)) | st.dictionaries(
            st.sampled_from(["a", "b c", "_type_", "ü"]), inner, min_size=1, max_size=2
        ).map(held)

    return st.recursive(leaf(), grow, max_leaves=3)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Any, list[dict[str, Any]]]:
    """(features, rows)."""
    from datasets import Features

    # Arrow ends the names of columns at a NUL.
    name = EDGY | TEXT.filter(lambda text: "\0" not in text)
    columns = draw(st.dictionaries(name, nested(), min_size=1, max_size=4))
    rows = draw(
        st.lists(
            st.fixed_dictionaries({name: st.none() | pair[1] for name, pair in columns.items()}),
            min_size=1,
            max_size=3,
        )
    )
    return Features({name: pair[0] for name, pair in columns.items()}), rows


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=tables())
def test_whatever_is_written_is_read_again(
    made: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    features, rows = made
    around(tmp_path_factory.mktemp("records") / "x", features, rows)
