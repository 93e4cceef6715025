"""Rows as folders: what is written is read again, what a person writes is understood or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from kit.faults import refused
from kit.media import image, sound
from kit.rows import read, tables

from tinybuild.dataset.records import open_records, write_records
from tinybuild.errors import BuildFault

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features


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


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=tables())
def test_whatever_is_written_is_read_again(
    made: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    features, rows = made
    around(tmp_path_factory.mktemp("records") / "x", features, rows)


def test_one_file_for_each_field(tmp_path: Path) -> None:
    from datasets import Audio, ClassLabel, Features, Image, LargeList, List, Value

    features = Features(
        {
            "text": Value("string"),
            "label": ClassLabel(names=["no", "yes"]),
            "n": Value("int32"),
            "image": Image(),
            "sounds": LargeList(Audio()),
            "texts": List(Value("string")),
            "raw": Value("binary"),
            "a/b": Value("bool"),
        }
    )
    rows = [
        {
            "text": "x\n",
            "label": 1,
            "n": 7,
            "image": {"bytes": image(kind="JPEG"), "path": "old/name.png"},
            "sounds": [{"bytes": sound(), "path": None}, None],
            "texts": [str(number) for number in range(101)],
            "raw": b"\0",
            "a/b": True,
        },
        {"text": "", "label": -1, "texts": [], "sounds": None},
    ]
    _, files = around(tmp_path / "x", features, rows, {"license": ["mit"]})
    texts = [f"1/texts_{number:03}.txt" for number in range(101)]
    assert files == sorted(
        [
            *("about.json", "features.json", "1/text.txt", "1/label.txt", "1/n.json"),
            *("1/image.jpg", "1/image.path", "1/sounds_00.wav", "1/sounds_01.null", *texts),
            *("1/raw.bin", "1/a%2Fb.json", "2/text.txt", "2/label.json", "2/n.null"),
            *("2/image.null", "2/sounds.null", "2/texts.json", "2/raw.null", "2/a%2Fb.null"),
        ]
    )
    content = {name: (tmp_path / "x" / name).read_bytes() for name in files}
    assert content["1/text.txt"] == b"x\n"
    assert content["1/label.txt"] == b"yes"
    assert content["1/image.path"] == b"old/name.png"
    assert content["2/text.txt"] == content["2/n.null"] == b""
    assert open_records(tmp_path / "x").about == {"license": ["mit"]}


@pytest.mark.parametrize(
    ("column", "file"),
    [
        ("text", "text"),
        ("a.b", "a.b"),
        ("a b", "a b"),
        ("漢字", "漢字"),
        ("a_1", "a_1"),
        ("year_2024", "year%5F2024"),
        ("..", "%2E%2E"),
        (".x", "%2Ex"),
        ("a/b\\c", "a%2Fb%5Cc"),
        ("100%", "100%25"),
        ("e\u0301", "e%CC%81"),
        ("", "%"),
    ],
)
def test_names_of_files_say_the_column(tmp_path: Path, column: str, file: str) -> None:
    from datasets import Features, Value

    _, files = around(tmp_path / "x", Features({column: Value("string")}), [{column: "t"}])
    assert files == [f"1/{file}.txt", "features.json"]


def test_columns_that_differ_in_capitals_only(tmp_path: Path) -> None:
    from datasets import Features, Value

    features = Features({"text": Value("string"), "Text": Value("string")})
    _, files = around(tmp_path / "x", features, [{"text": "a", "Text": "b"}])
    assert files == ["1/%54ext.txt", "1/text.txt", "features.json"]
    features = Features({name: Value("string") for name in ("a_00", "A_00", "a/b", "A/b")})
    _, files = around(tmp_path / "y", features, [dict.fromkeys(features, "t")])
    assert files == [
        *("1/%41%2Fb.txt", "1/%41%5F00.txt", "1/a%2Fb.txt", "1/a%5F00.txt"),
        "features.json",
    ]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "TGA"])
def test_images_keep_their_bytes(tmp_path: Path, kind: str) -> None:
    from datasets import Image

    data = image(kind=kind)
    suffix = {"JPEG": "jpeg", "TIFF": "TIF"}.get(kind, kind.lower())
    table, features = read(lay(tmp_path / "x", {f"1/picture.{suffix}": data}))
    assert features == {"picture": Image()}
    assert table.to_pylist() == [{"picture": {"bytes": data, "path": None}}]


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_sounds_keep_their_bytes(tmp_path: Path, kind: str) -> None:
    from datasets import Audio

    data = sound(kind, samples=8000)
    table, features = read(lay(tmp_path / "x", {f"1/voice.{kind.lower()}": data}))
    assert features == {"voice": Audio()}
    assert table.to_pylist() == [{"voice": {"bytes": data, "path": None}}]


def test_types_follow_from_the_files(tmp_path: Path) -> None:
    from datasets import Features, Image, List, Value

    folder = lay(
        tmp_path / "x",
        {
            "10/text.txt": "ten",
            "10/n.json": "1.5",
            "10/meta.json": '{"a": [1], "b": "x"}',
            "10/yes.json": "true",
            "10/raw.bin": b"\xff",
            "10/pictures_00.png": image(),
            "10/texts.json": "[]",
            "10/.DS_Store": b"?",
            "2/text.null": "",
            "2/n.json": "1",
            "2/meta.json": '{"b": null}',
            "2/yes.null": "",
            "2/raw.null": "",
            "2/pictures.json": "[]",
            "2/texts_00.txt": "a",
            "2/texts_01.null": "",
        },
    )
    table, features = read(folder)
    assert features == Features(
        {
            "meta": {"a": List(Value("int64")), "b": Value("string")},
            "n": Value("float64"),
            "pictures": List(Image()),
            "raw": Value("binary"),
            "text": Value("string"),
            "texts": List(Value("string")),
            "yes": Value("bool"),
        }
    )
    assert list(features) == sorted(features)
    second, tenth = table.to_pylist()
    assert second == {
        "meta": {"a": None, "b": None},
        **{"n": 1.0, "pictures": [], "raw": None, "text": None, "texts": ["a", None], "yes": None},
    }
    assert tenth == {
        "meta": {"a": [1], "b": "x"},
        "pictures": [{"bytes": image(), "path": None}],
        **{"n": 1.5, "raw": b"\xff", "text": "ten", "texts": [], "yes": True},
    }


def test_an_edit_is_read(tmp_path: Path) -> None:
    """What the tutorial does by hand: a smaller image, a text less, a row more."""
    from datasets import ClassLabel, Features, Image, Value

    features = Features(
        {"image": Image(), "label": ClassLabel(names=["no", "yes"]), "text": Value("string")}
    )
    row = {"image": {"bytes": image(), "path": None}, "label": 0, "text": "old"}
    around(tmp_path / "x", features, [row, row])
    (tmp_path / "x/1/image.png").unlink()
    lay(tmp_path / "x", {"1/image.jpg": image((2, 2), "JPEG"), "1/label.txt": "yes\n"})
    (tmp_path / "x/2/text.txt").rename(tmp_path / "x/2/text.null")
    (tmp_path / "x/2/text.null").write_bytes(b"")
    lay(
        tmp_path / "x", {"30/image.null": "", "30/label.json": '"yes"', "30/text.json": '"\\u0000"'}
    )
    table, found = read(tmp_path / "x")
    assert found == features
    assert table.to_pylist() == [
        {"image": {"bytes": image((2, 2), "JPEG"), "path": None}, "label": 1, "text": "old"},
        {**row, "text": None},
        {"image": None, "label": 1, "text": "\0"},
    ]


def test_rows_may_be_read_from_any_on(tmp_path: Path) -> None:
    folder = lay(tmp_path / "x", {f"{number}/n.json": str(number) for number in range(1, 151)})
    (shard,) = open_records(folder).open("default", "train").shards
    assert shard.name == "x"
    tables = list(shard.read(100))
    assert [n for table in tables for n in table["n"].to_pylist()] == list(range(101, 151))


# --- refusals -------------------------------------------------------------------------------------

TYPES = json.dumps(
    {
        "image": {"_type": "Image"},
        "label": {"names": ["no", "yes"], "_type": "ClassLabel"},
        "n": {"dtype": "int8", "_type": "Value"},
        "texts": {"feature": {"dtype": "string", "_type": "Value"}, "length": 2, "_type": "List"},
    }
)
WHOLE: dict[str, bytes | str] = {
    "features.json": TYPES,
    "7/image.null": "",
    "7/label.txt": "no",
    "7/n.json": "1",
    "7/texts_00.txt": "a",
    "7/texts_01.txt": "b",
}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        # names
        ({"a/text.txt": ""}, "x/a is not a row"),
        ({"notes.txt": "", "1/text.txt": ""}, "x/notes.txt is not a row"),
        ({"01/t.txt": "", "1/t.txt": ""}, "x/1 and x/01 have the same number"),
        ({"1/in/t.txt": ""}, "x/1/in is a folder; a row has one file for each column"),
        ({"1/text": ""}, "x/1/text has no suffix"),
        ({"1/%FF.txt": ""}, "x/1/%FF.txt has a name that is not UTF-8"),
        ({"1/a.xyz": ""}, "x/1/a.xyz: nothing says what a .xyz file holds"),
        ({"1/a.txt": "", "1/a.null": ""}, "x/1: a.null and a.txt are one value"),
        ({"1/a.txt": "", "1/a_00.txt": ""}, "x/1/a.txt is one value, and a_00.txt one of a list"),
        ({"1/a_00.txt": "", "1/a_000.txt": ""}, "x/1: a_00.txt and a_000.txt are one value"),
        ({"1/a_00.txt": "", "1/a_02.txt": ""}, "x/1: the list 'a' has no number 01, but a_02.txt"),
        ({"1/y_2024.txt": ""}, "if y_2024 is a column's own name, write y%5F2024.txt"),
        ({"1/a.path": "", "1/b.txt": ""}, "x/1/a.path is not the path of a file"),
        ({"1/a.path": "", "1/a.txt": ""}, "x/1/a.path is not the path of an image or a sound"),
        # columns
        ({"1/a.txt": "", "2/b.txt": ""}, "x/1 has no file for the column 'b', which other rows"),
        ({"1/a.txt": "", "2/b.txt": ""}, "add an empty file b.null"),
        (
            {"1/a.png": image(), "2/a.wav": sound()},
            "the column 'a' cannot be both x/1/a.png and x/2/a.wav",
        ),
        ({"1/a.txt": "", "2/a.json": "1"}, "'a' has values of several types (a text in x/1/a.txt"),
        ({"1/a.png": image(), "2/a_00.png": image()}, "name it as the first of a list: a_00.png"),
        ({"1/a.json": "{}"}, "the column 'a' has objects without keys"),
        # content
        ({"1/a.txt": b"ok\xff"}, "x/1/a.txt is not UTF-8 (byte 3)"),
        ({"1/a.null": "x"}, "x/1/a.null says that the value is missing, but is not empty"),
        ({"1/a.json": "{"}, "x/1/a.json is not JSON (Expecting property name"),
        ({"1/a.json": "[NaN]"}, "x/1/a.json is not JSON (NaN is not a number"),
        ({"1/a.json": '{"a": 1, "a": 2}'}, "x/1/a.json says 'a' twice"),
        ({"1/a.json": '"\\ud800"'}, "x/1/a.json holds half of a surrogate pair"),
        ({"1/a.json": "[" * 100_000}, "x/1/a.json is nested too deeply"),
        ({"1/a.json": "9" * 5000}, "x/1/a.json is not JSON (Exceeds the limit"),
        ({"1/a.json": str(2**70)}, "'a' has values of several types (a number in x/1/a.json)"),
        ({"1/a.png": image((99, 99))[:-30]}, "x/1/a.png cannot be read: "),
        (
            {"1/a.png": b"%!PS-Adobe-3.0 EPSF-3.0\n"},
            "x/1/a.png is not in a format that is read here",
        ),
        ({"1/a_00.jpg": image(kind="JPEG")[:-40]}, "x/1/a_00.jpg cannot be read: "),
        ({"1/a.png": b""}, "x/1/a.png is not in a format that is read here"),
        ({"1/a.flac": sound("FLAC")[:-50]}, "x/1/a.flac cannot be read: "),
        ({"1/a.wav": b"RIFF?"}, "x/1/a.wav cannot be read: "),
        ({"1/a.wav": sound()[:-50]}, "x/1/a.wav is cut off: 1,550 of its 1,600 bytes are there"),
        # papers
        ({"features.json": "[]", "1/a.txt": ""}, "x/features.json does not say the columns' types"),
        ({"features.json": "{}", "1/a.txt": ""}, "x/features.json names no column"),
        ({"features.json": "{", "1/a.txt": ""}, "x/features.json is not JSON"),
        ({"features.json": '{"a": {"_type": "Lost"}}', "1/a.txt": ""}, "'Lost' not found"),
        ({"features.json": '{"a": {"dtype": "int", "_type": "Value"}}', "1/a.txt": ""}, "int"),
        ({"about.json": "[]", "1/a.txt": ""}, "x/about.json is not an object"),
        # types that are given
        ({**WHOLE, "7/m.txt": ""}, "x/7/m.txt: there is no column 'm' in features.json"),
        (
            {**WHOLE, "7/label.txt": "maybe"},
            "x/7/label.txt names no class ('maybe'): known: no, yes",
        ),
        ({**WHOLE, "7/n.json": "300"}, "x/7/n.json holds 300, which does not fit the type int8"),
        ({**WHOLE, "7/n.json": "1.5"}, "x/7/n.json holds 1.5, which does not fit the type int8"),
        ({**WHOLE, "7/n.json": "true"}, "x/7/n.json holds true, which does not fit the type int8"),
        ({**WHOLE, "7/texts_02.txt": ""}, "x/7/texts_00.txt: 'texts' has 3 items, not 2"),
        ({**WHOLE, "8/image.null": ""}, "x/8 has no file for the column 'label'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, files: dict[str, bytes | str], said: str) -> None:
    refusal = refused(read, lay(tmp_path / "x", files))
    assert refusal.fault is BuildFault
    assert said in refusal.text
    assert {finding.key for finding in refusal.findings} == {("dataset", "records")}


@pytest.mark.parametrize(
    ("gone", "file", "data", "said"),
    [
        ("7/label.txt", "7/label.json", "2", "holds 2, not the name or the number of a class"),
        ("7/image.null", "7/image.txt", "", "does not fit the column's type Image("),
        ("7/image.null", "7/image.json", "{}", "an object with the keys bytes (base64) and path"),
        ("7/image.null", "7/image.json", '{"bytes": "?", "path": null}', "bytes in base64"),
        ("7/n.json", "7/n.txt", "1", "does not fit the column's type int8: it needs .json"),
        ("7/n.json", "7/n_00.json", "1", "the column 'n' is not a list of files"),
        ("7/texts_01.txt", "7/texts_01.bin", "", "does not fit the column's type Value('string')"),
    ],
)
def test_a_file_that_does_not_fit(
    tmp_path: Path, gone: str, file: str, data: str, said: str
) -> None:
    folder = lay(tmp_path / "x", WHOLE)
    read(folder)
    (folder / gone).unlink()
    refusal = refused(read, lay(folder, {file: data}))
    assert refusal.fault is BuildFault
    assert refusal.what.startswith(f"x/{file}")
    assert said in refusal.what


def test_all_is_said_at_once_in_order(tmp_path: Path) -> None:
    folder = lay(tmp_path / "x", {**WHOLE, "10/n.json": "x", "9/label.txt": "?", "7/n.json": "999"})
    refusal = refused(read, folder)
    assert refusal.fault is BuildFault
    assert [finding.what.partition(" ")[0] for finding in refusal.findings] == [
        *["x/7/n.json"],
        *["x/9", "x/9", "x/9", "x/9/label.txt"],
        *["x/10", "x/10", "x/10", "x/10/n.json"],
    ]


def test_links_are_not_followed(tmp_path: Path) -> None:
    lay(tmp_path, {"secret.txt": "s", "x/1/a.txt": "a", "x/2/a.txt": "a"})
    (tmp_path / "x/2/a.txt").unlink()
    (tmp_path / "x/2/a.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "x/3").symlink_to(tmp_path / "x/1")
    refusal = refused(read, tmp_path / "x")
    assert refusal.fault is BuildFault
    assert "x/2/a.txt is a link; records are plain files" in refusal.text
    assert "x/3 is a link; records are plain folders" in refusal.text


def test_folders_without_rows(tmp_path: Path) -> None:
    assert "the folder of records x is not there" in refused(open_records, tmp_path / "x").text
    (tmp_path / "x").mkdir()
    assert "the folder of records x has no rows" in refused(read, tmp_path / "x").text
    (tmp_path / "x" / "1").mkdir()
    assert "the rows of x have no files" in refused(read, tmp_path / "x").text
    (tmp_path / "y").write_text("")
    assert "the folder of records y is not a folder" in refused(open_records, tmp_path / "y").text


def test_a_name_too_long_for_a_file(tmp_path: Path) -> None:
    from datasets import Features, Value

    assert (
        "is too long for a file"
        in refused(around, tmp_path / "x", Features({"é" * 150: Value("string")}), [{}]).text
    )
