"""Media is made small in every format and mode, at any depth, and nothing else is touched."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
from datasets import (
    Audio,
    ClassLabel,
    Features,
    Image,
    LargeList,
    List,
    Translation,
    TranslationVariableLanguages,
    Value,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import faults
from kit.media import encoded, heard, picture, wave
from kit.stage import MakeJob

from tinybuild.dataset import images, media
from tinybuild.dataset import stage as dataset
from tinybuild.dataset.images import image
from tinybuild.dataset.media import cut, shrink
from tinybuild.dataset.rows import Place
from tinybuild.dataset.sounds import sound
from tinybuild.errors import BuildFault, PackageFault
from tinybuild.features import content
from tinybuild.files import sha256
from tinybuild.recipe import contract, reading


def places(count: int) -> tuple[Place, ...]:
    return tuple(Place(shard="a.jsonl", row=10 + row) for row in range(count))


def shrunk(
    rows: list[dict[str, Any]], features: Features, **wish: Any
) -> tuple[list[dict[str, Any]], Features]:
    """What is left of rows; in two chunks, of which the second is a slice."""
    schema = features.arrow_schema
    half = len(rows) // 2
    rest = pa.Table.from_pylist([*rows[:1], *rows[half:]], schema=schema).slice(1)
    table = pa.concat_tables([pa.Table.from_pylist(rows[:half], schema=schema), rest])
    made, new = shrink(table, features, places(len(rows)), wish)
    made.validate(full=True)
    assert made.schema.equals(new.arrow_schema, check_metadata=True)
    assert made.schema.types == [schema.field(name).type for name in new]
    return made.to_pylist(), new


def refused(
    rows: list[dict[str, Any]], features: Features, **wish: Any
) -> tuple[str, tuple[Any, ...]]:
    refusal = faults.refused(shrunk, rows, features, **wish)
    assert refusal.fault is BuildFault
    return refusal.text, refusal.only.key


# Columns


ABC = Features({"a": Value("int8"), "b": Value("string"), "c": ClassLabel(names=["x"])})
ROWS: list[dict[str, Any]] = [{"a": 1, "b": "one", "c": 0}, {"a": None, "b": "two", "c": None}]


def test_columns_are_kept_in_the_order_given() -> None:
    made, features = shrunk(ROWS, ABC, columns=["c", "a"])
    assert made == [{"c": 0, "a": 1}, {"c": None, "a": None}]
    assert features == Features({"c": ABC["c"], "a": ABC["a"]})
    assert list(features) == ["c", "a"]


def test_columns_are_dropped() -> None:
    made, features = shrunk(ROWS, ABC, columns={"drop": ["b"]})
    assert made == [{"a": 1, "c": 0}, {"a": None, "c": None}]
    assert list(features) == ["a", "c"]


def test_columns_that_cannot_be() -> None:
    features = Features({"text": Value("string"), "label": Value("int8")})
    rows = [{"text": "a", "label": 1}]
    key = ("dataset", "columns")
    for wish in (["tekst"], {"drop": ["tekst"]}):
        assert refused(rows, features, columns=wish) == (
            "the dataset has no column tekst\n  hint: did you mean text?",
            key,
        )
    assert refused(rows, features, columns={"drop": ["label", "text"]}) == (
        "no column is left\n  hint: keep at least one of text, label",
        key,
    )
    assert refused(rows, features, columns=["text", "text"]) == (
        "the column text is named twice",
        key,
    )


# Text


def test_texts_are_cut_at_any_depth_and_nothing_else() -> None:
    features = Features(
        {
            "text": Value("string"),
            "large": Value("large_string"),
            "label": ClassLabel(names=["a long name"]),
            "data": Value("binary"),
            "list": List(Value("string")),
            "many": LargeList(List(Value("string"))),
            "pair": List(Value("string"), length=2),
            "deep": {"x": [{"y": Value("string"), "n": Value("int64")}]},
            "both": Translation(["de", "english"]),
            "some": TranslationVariableLanguages(["german", "french"]),
            "image": Image(),
        }
    )
    row = {
        "text": "abcdef",
        "large": "abcdef",
        "label": 0,
        "data": b"abcdef",
        "list": ["abcdef", None, "ab", ""],
        "many": [["abcdef"], None, [], [None, "xyz1"]],
        "pair": ["abcdef", None],
        "deep": {"x": [{"y": "abcdef", "n": 5}, None, {"y": None, "n": None}]},
        "both": {"de": "abcdef", "english": None},
        "some": {"language": ["german", "french"], "translation": ["abcdef", "a"]},
        "image": {"bytes": encoded(picture("L", (3, 2)), "PNG"), "path": "abcdef"},
    }
    short = {
        **row,
        "text": "abc",
        "large": "abc",
        "list": ["abc", None, "ab", ""],
        "many": [["abc"], None, [], [None, "xyz"]],
        "pair": ["abc", None],
        "deep": {"x": [{"y": "abc", "n": 5}, None, {"y": None, "n": None}]},
        "both": {"de": "abc", "english": None},
        "some": {"language": ["german", "french"], "translation": ["abc", "a"]},
    }
    empty: dict[str, Any] = dict.fromkeys(row)
    rows = [row, empty, {**row, "deep": {"x": None}}, row, empty, row]
    made, new = shrunk(rows, features, text={"max_chars": 3})
    assert made == [short, empty, {**short, "deep": {"x": None}}, short, empty, short]
    assert new == features


def test_untouched_columns_keep_their_arrays() -> None:
    table = pa.Table.from_pylist([{"a": 1, "b": "long", "c": 0}], schema=ABC.arrow_schema)
    made, _ = shrink(table, ABC, places(1), {"text": {"max_chars": 2}, "images": {"max_size": 1}})
    for name in ("a", "c"):
        before, after = (t.column(name).chunk(0).buffers()[1] for t in (table, made))
        assert before.address == after.address
    assert shrink(table, ABC, places(1), {})[0] is table


@pytest.mark.parametrize(
    ("text", "length", "short"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc"),
        ("😀😀😀", 2, "😀😀"),
        ("ae\u0301x", 2, "a"),  # the e would lose its accent
        ("ae\u0301x", 3, "ae\u0301"),
        ("a\u0301\u0302\u0303", 3, "a\u0301\u0302"),  # one character with too many marks
        ("xकि", 2, "x"),
        ("x👩\u200d🚀y", 2, "x"),
        ("x👩\u200d🚀y", 3, "x"),
        ("x👩\u200d🚀y", 4, "x👩\u200d🚀"),
        ("x👍🏽", 2, "x"),
        ("\u0301a", 1, "\u0301"),
    ],
)
def test_cut(text: str, length: int, short: str) -> None:
    assert cut(text, length) == short


@given(st.text(max_size=30), st.integers(1, 20))
def test_a_cut_is_a_beginning(text: str, length: int) -> None:
    short = cut(text, length)
    assert text.startswith(short)
    assert len(short) <= length
    assert bool(short) == bool(text)
    assert len(text) > length or short == text


@given(
    st.lists(
        st.one_of(
            st.none(), st.lists(st.one_of(st.none(), st.text(max_size=8)), min_size=2, max_size=2)
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 5),
    st.sampled_from(["list", "large", "fixed"]),
    st.integers(0, 3),
)
@settings(deadline=None)
def test_lists_keep_their_shape(rows: list[Any], length: int, kind: str, start: int) -> None:
    text = Value("string")
    feature = {"list": List(text), "large": LargeList(text), "fixed": List(text, length=2)}[kind]
    features = Features({"x": feature})
    table = pa.Table.from_pylist([{"x": row} for row in rows], schema=features.arrow_schema)
    table = table.slice(start)
    made, _ = shrink(table, features, places(len(rows)), {"text": {"max_chars": length}})
    made.validate(full=True)
    expected = [
        row and [part if part is None else cut(part, length) for part in row]
        for row in rows[start:]
    ]
    assert made.column("x").to_pylist() == expected


def test_a_text_that_is_not_utf8() -> None:
    bad = pa.array([b"good", None, b"\xff\xfe long"]).cast(pa.binary()).view(pa.string())
    table = pa.table({"t": bad})
    wish = {"text": {"max_chars": 3}}
    refusal = faults.refused(shrink, table, Features({"t": Value("string")}), places(3), wish)
    assert refusal.fault is BuildFault
    assert refusal.text.startswith("a.jsonl, row 12: the text in the column t is not UTF-8\n")


# Media


PICTURE = Features({"image": Image()})


def test_paths_and_none() -> None:
    large = picture("RGB", (64, 40))
    data, other = encoded(large, "PNG"), encoded(large, "PPM")
    rows: list[dict[str, Any]] = [
        {"image": {"bytes": data, "path": "a/b.png"}},
        {"image": {"bytes": data, "path": None}},
        {"image": None},
        {"image": {"bytes": other, "path": "a.b/c.ppm"}},
        {"image": {"bytes": other, "path": "c.PNG"}},
        {"image": {"bytes": None, "path": None}},
    ]
    made, features = shrunk(rows, PICTURE, images={"max_size": 16})
    assert features == PICTURE
    paths = [row["image"] and row["image"]["path"] for row in made]
    assert paths == ["a/b.png", None, None, "a.b/c.png", "c.PNG", None]
    assert [row["image"] and bool(row["image"]["bytes"]) for row in made] == [
        True,
        True,
        None,
        True,
        True,
        False,
    ]
    assert shrunk(rows, PICTURE, images={"max_size": 64})[0] == rows


def test_images_at_any_depth() -> None:
    features = Features(
        {
            "list": List(Image()),
            "pair": List(Image(), length=2),
            "deep": [{"x": {"image": Image(), "text": Value("string")}}],
        }
    )
    large = {"bytes": encoded(picture("L", (64, 40)), "PNG"), "path": "x.png"}
    row = {
        "list": [large, None],
        "pair": [None, large],
        "deep": [{"x": {"image": large, "text": "same"}}, {"x": None}],
    }
    empty = {"list": None, "pair": None, "deep": None}
    made, _ = shrunk([row, empty, row, empty], features, images={"max_size": 16})
    small = image(large["bytes"], 16)
    assert small is not None
    new = {"bytes": small[0], "path": "x.png"}
    want = {
        "list": [new, None],
        "pair": [None, new],
        "deep": [{"x": {"image": new, "text": "same"}}, {"x": None}],
    }
    assert made == [want, empty, want, empty]


@pytest.mark.parametrize("kind", [*images.FORMATS, "JPEG2000"])
def test_a_truncated_image(kind: str) -> None:
    whole = encoded(picture("RGB", (64, 40)), kind)
    rows = [{"image": {"bytes": data, "path": None}} for data in (whole, whole[: len(whole) // 2])]
    for most in (16, 64):
        message, key = refused(rows, PICTURE, images={"max_size": most})
        assert message.startswith("a.jsonl, row 11: the image in the column image ")
        assert key == ("dataset", "images")
        assert "0x" not in message


def test_broken_media_is_told_whatever_is_asked_for() -> None:
    whole = encoded(picture("RGB", (64, 40)), "PNG")
    rows = [{"image": {"bytes": data, "path": None}} for data in (whole, whole[: len(whole) // 2])]
    message, key = refused(rows, PICTURE)
    assert message.startswith("a.jsonl, row 11: the image in the column image cannot be read")
    assert key == ("dataset", "source")


def test_a_path_is_no_image() -> None:
    """Whatever is asked for: elsewhere it would lead to nothing, or to another file."""
    row = {"image": {"bytes": None, "path": "/x/y.png"}}
    message, key = refused([row], PICTURE)
    assert "row 10: the image in the column image is only the name of a file" in message
    assert key == ("dataset", "source")


def test_images_that_are_none() -> None:
    def said(data: bytes | None, path: str | None = None) -> str:
        row = {"image": {"bytes": data, "path": path}}
        message, _, hint = refused([row], PICTURE, images={"max_size": 9})[0].partition("\n")
        assert hint == "  hint: mend it, or leave its row out (rows, where)"
        return message

    head = "a.jsonl, row 10: the image in the column image "
    assert said(b"no image") == head + "is not in a format that is read here"
    assert said(b"") == head + "is not in a format that is read here"
    deep = Features({"a": [{"b": Image()}]})
    row = {"a": [{"b": {"bytes": b"x", "path": None}}]}
    assert "the image in the column a.b is not" in refused([row], deep, images={"max_size": 9})[0]


SPEECH = Features({"audio": Audio(), "n": Value("int8")})


def test_audio_features_say_the_rate() -> None:
    data = wave(16_000, 1)
    rows: list[dict[str, Any]] = [
        {"audio": {"bytes": data, "path": "a/b.mp3"}, "n": 1},
        {"audio": None, "n": None},
        {"audio": {"bytes": wave(4000, 0.1), "path": None}, "n": 2},
    ]
    made, features = shrunk(rows, SPEECH, audio={"max_seconds": 0.5, "sampling_rate": 8000})
    assert features == Features({"audio": Audio(sampling_rate=8000), "n": Value("int8")})
    assert made[0]["audio"]["path"] == "a/b.wav"
    assert heard(made[0]["audio"]["bytes"])[1] == 8000
    assert made[1:] == rows[1:]
    assert shrunk(rows, SPEECH, audio={"max_seconds": 0.5})[1] == SPEECH
    for source, wanted, said in ((16_000, 8000, 8000), (8000, 16_000, 8000)):
        deep = Features({"x": [{"y": List(Audio(sampling_rate=source, num_channels=1))}]})
        row = {"x": [{"y": [{"bytes": data, "path": None}, None]}]}
        made, features = shrunk([row, row], deep, audio={"sampling_rate": wanted})
        want = Audio(sampling_rate=said, num_channels=1)
        assert features == Features({"x": [{"y": List(want)}]})
        assert deep["x"].feature["y"].feature.sampling_rate == source
        assert heard(made[1]["x"][0]["y"][0]["bytes"])[1] == min(16_000, wanted)


def test_broken_sounds() -> None:
    def said(data: bytes, **wish: Any) -> str:
        rows = [{"audio": {"bytes": data, "path": None}, "n": 1}]
        message, key = refused(rows, SPEECH, audio=wish or {"sampling_rate": 8000})
        assert key == ("dataset", "audio")
        assert message.startswith("a.jsonl, row 10: the sound in the column audio ")
        assert "0x" not in message
        return message.partition("column audio ")[2].partition("\n")[0]

    assert said(b"") == "cannot be read: Format not recognised"
    assert said(b"no sound at all") == "cannot be read: Format not recognised"
    for rate in (8000, 16_000):
        whole = wave(16_000, 1)
        assert said(whole[:20_000], sampling_rate=rate).startswith("is cut off: 19,956 of its 32,0")
        for kind in ("FLAC", "AIFF", "OGG", "MP3"):
            whole = wave(16_000, 1, kind)
            for part in (0.3, 0.6, 0.95):
                said(whole[: int(len(whole) * part)], sampling_rate=rate)
        flac = bytearray(wave(16_000, 1, "FLAC"))
        flac[len(flac) // 2] ^= 0xFF
        said(bytes(flac), sampling_rate=rate)


# Libraries that are not there


@pytest.mark.parametrize(
    ("module", "package", "called", "run"),
    [
        ("PIL", "pillow", "an image", lambda: image(b"", 1)),
        ("soundfile", "soundfile", "a sound", lambda: sound(b"", 1, 1)),
        ("soxr", "soxr", "a sound of a lower rate", lambda: sound(wave(8000, 0.1), 1, 4000)),
    ],
)
def test_a_missing_library(
    module: str,
    package: str,
    called: str,
    run: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    refusal = faults.refused(run)
    assert refusal.fault is PackageFault
    assert refusal.what == (
        f"{called} needs the package {package}, which is not installed or does not load here"
    )
    assert refusal.hint == "pip install -c constraints.txt -e '.[media]'"


# A change from outside


def test_a_change_from_outside(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One entry, and its key in the schema, are all that a recipe's dataset needs to be built."""

    def shout(array: pa.StringArray, at: media.At, wish: Mapping[str, str]) -> pa.StringArray:
        for index, text in enumerate(array.to_pylist()):
            if text == "silence":
                raise at(index, "cannot be said aloud")
        return pc.binary_join_element_wise(pc.utf8_upper(array), wish["end"], "")

    aloud = media.Change(
        key="aloud", noun="word", takes=lambda feature: content(feature) == "text", apply=shout
    )
    monkeypatch.setattr(media, "CHANGES", (*media.CHANGES, aloud))
    known = contract.contract("recipe")["$defs"]["dataset"]["properties"]
    monkeypatch.setattr(contract, "_validator", contract._validator.__wrapped__)  # not a kept one
    monkeypatch.setitem(known, "aloud", {"type": "object", "description": "Says every text aloud."})
    rows = [{"text": ["ah", "oh"], "n": 1}, {"text": ["silence"], "n": 2}]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(rows: str, wish: str = "{end: '!'}", columns: str = "[text, n]") -> list[Any]:
        text = f"dataset: {{source: {{path: rows.jsonl}}, rows: {rows}, columns: {columns}, "
        text = f"version: 1\nsummary: x\n{text}aloud: {wish}}}\n"
        section = reading.read(tmp_path / "x.yaml", "x.yaml", "", text.encode()).data["dataset"]
        section["source"]["max_read"] = 10**6
        sums = {"dataset": {"rows.jsonl": sha256(source)}}
        work = job({"dataset": section}, upstream=sums, dataset=tmp_path)
        dataset.make(work)
        return pyarrow.parquet.read_table(work.out / "data").to_pylist()

    assert make("1") == [{"text": ["AH!", "OH!"], "n": 1}]
    refusal = faults.refused(make, "1-2")
    assert refusal.what == "rows.jsonl, row 2: the word in the column text cannot be said aloud"
    assert refusal.key == ("dataset", "aloud")
    refusal = faults.refused(make, "1", columns="[n]")
    assert (refusal.what, refusal.hint) == ("the dataset has no words", "delete aloud")
    refusal = faults.refused(make, "1", wish="loud")
    assert refusal.what == "dataset.aloud must be a mapping, not 'loud'"
