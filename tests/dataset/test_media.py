"""Media is made small in every format and mode, at any depth, and nothing else is touched."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy
import PIL.Image
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
import soundfile
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
from kit.stage import MakeJob

from tinybuild import dataset, recipe
from tinybuild.dataset import images, media, sounds
from tinybuild.dataset.features import Wrong, content
from tinybuild.dataset.images import image
from tinybuild.dataset.media import cut, shrink
from tinybuild.dataset.rows import Place
from tinybuild.dataset.sounds import sound
from tinybuild.errors import BuildFault, PackageFault
from tinybuild.files import sha256
from tinybuild.recipe import contract


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
    with pytest.raises(BuildFault) as caught:
        shrunk(rows, features, **wish)
    (finding,) = caught.value.findings
    return str(caught.value), finding.key


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
    with pytest.raises(BuildFault) as caught:
        shrink(table, Features({"t": Value("string")}), places(3), {"text": {"max_chars": 3}})
    assert str(caught.value).startswith("a.jsonl, row 12: the text in the column t is not UTF-8\n")


# Images


def picture(mode: str, size: tuple[int, int]) -> PIL.Image.Image:
    """A picture with a red corner, a gradient, and something transparent where the mode can."""
    width, height = size
    made = PIL.Image.new("RGBA", size, (0, 0, 255, 255))
    for x in range(width):
        for y in range(height):
            if x < width // 2 and y < height // 2:
                made.putpixel((x, y), (255, 0, 0, 255))
            elif x >= width // 2 and y >= height // 2:
                made.putpixel((x, y), (0, 255 * y // height, 0, 0 if "A" in mode else 255))
    if mode in ("I;16", "I", "F"):
        data = numpy.arange(width * height).reshape(height, width) * 20
        dtype = {"I;16": "uint16", "I": "int32", "F": "float32"}[mode]
        return PIL.Image.fromarray(data.astype(dtype))
    if mode == "P":
        made = made.convert("RGB").quantize(16)
        made.info["transparency"] = 0
        return made
    return made.convert(mode)


def encoded(made: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    made.save(written, format=kind, **options)
    return written.getvalue()


def opened(data: bytes) -> PIL.Image.Image:
    found = PIL.Image.open(io.BytesIO(data))
    found.load()
    return found


def made(data: bytes, max_size: int) -> tuple[PIL.Image.Image, str]:
    found = image(data, max_size)
    assert found is not None
    assert image(data, max_size) == found
    return opened(found[0]), found[1]


KINDS = {
    "PNG": ["1", "L", "LA", "I;16", "P", "RGB", "RGBA"],
    "JPEG": ["L", "RGB", "CMYK"],
    "GIF": ["L", "P"],
    "WEBP": ["RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB"],
    "TIFF": ["1", "L", "LA", "I;16", "I", "F", "P", "RGB", "RGBA", "CMYK", "LAB"],
}


def test_the_table_says_what_is_tested() -> None:
    assert {kind: set(modes) for kind, modes in KINDS.items()} == {
        kind: format.modes for kind, format in images.FORMATS.items()
    }


@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind, modes in KINDS.items() for mode in modes]
)
def test_format_mode_and_ratio_are_kept(kind: str, mode: str) -> None:
    if mode == "LAB":
        large = PIL.Image.new("LAB", (64, 40), (100, 128, 128))
    else:
        large = picture(mode, (64, 40))
    data = encoded(large, kind, **({"optimize": False} if kind == "GIF" else {}))
    source = opened(data)
    assert source.mode == mode
    small, found = made(data, 16)
    assert (found, small.format, small.mode, small.size) == (kind, kind, mode, (16, 10))
    assert image(data, 64) is None
    if mode == "P":
        assert small.convert("RGB").getpixel((2, 2)) == source.convert("RGB").getpixel((8, 8))
        if kind in ("PNG", "GIF"):
            assert small.info["transparency"] == source.info["transparency"]
    elif mode in ("I;16", "I", "F"):
        whole, part = (numpy.asarray(each, dtype=float) for each in (source, small))
        assert abs(part[5, 8] - whole[20:24, 32:36].mean()) < 100
    elif mode in ("RGB", "RGBA", "CMYK"):
        near = small.convert("RGB").getpixel((2, 2))
        assert isinstance(near, tuple)
        assert near[0] > 240
        assert near[2] < 16
    if mode in ("RGBA", "LA"):
        alpha = small.getchannel("A")
        assert alpha.getpixel((2, 2)) == 255
        assert alpha.getpixel((13, 8)) == 0


@pytest.mark.filterwarnings("ignore:IM image format")
def test_what_a_format_cannot_hold_becomes_png_or_tiff() -> None:
    # The format IM, which holds modes that hardly any other does, is on its way out of Pillow.
    for kind, mode, becomes in (
        ("JPEG2000", "RGBA", "PNG"),
        ("PPM", "RGB", "PNG"),
        ("PPM", "L", "PNG"),
        ("TGA", "LA", "PNG"),
        ("IM", "F", "TIFF"),
        ("IM", "CMYK", "TIFF"),
        ("MPO", "RGB", "JPEG"),
    ):
        large = picture(mode, (64, 40))
        more = {"save_all": True, "append_images": [large]} if kind == "MPO" else {}
        data = encoded(large, kind, **more)
        assert (opened(data).format, opened(data).mode) == (kind, mode)
        small, found = made(data, 16)
        assert (found, small.mode, small.size) == (becomes, mode, (16, 10))


@pytest.mark.filterwarnings("ignore:IM image format")
def test_a_mode_that_nothing_holds_becomes_rgb() -> None:
    small, found = made(encoded(picture("YCbCr", (64, 40)), "IM"), 16)
    assert (found, small.mode) == ("PNG", "RGB")


def test_a_thin_image_keeps_a_pixel() -> None:
    assert made(encoded(picture("RGB", (300, 2)), "PNG"), 10)[0].size == (10, 1)
    assert made(encoded(picture("RGB", (2, 300)), "PNG"), 10)[0].size == (1, 10)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90))
@settings(deadline=None)
def test_sizes(width: int, height: int, most: int) -> None:
    data = encoded(PIL.Image.new("L", (width, height)), "BMP")
    found = image(data, most)
    if max(width, height) <= most:
        assert found is None
        return
    assert found is not None
    small = opened(found[0])
    assert max(small.size) == most
    ratio = most / max(width, height)
    assert all(
        abs(new - max(1, old * ratio)) <= 0.5
        for old, new in zip((width, height), small.size, strict=True)
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("large", [True, False])
def test_orientation_is_applied_and_removed(kind: str, orientation: int, large: bool) -> None:
    right = picture("RGB", (48, 32))
    turn = PIL.Image.Transpose
    back = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_90,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_270,
    }
    stored = right.transpose(back[orientation]) if orientation > 1 else right
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A camera"
    data = encoded(stored, kind, exif=exif)
    most = 24 if large else 48
    if orientation == 1 and not large:
        assert image(data, most) is None
        return
    small, found = made(data, most)
    assert found == kind
    assert small.size == ((24, 16) if large else (48, 32))
    assert 0x0112 not in small.getexif()
    assert 0x010F not in small.getexif()
    width, height = small.size
    corner, other = (small.getpixel((x * width // 4, height // 4)) for x in (1, 3))
    assert isinstance(corner, tuple)
    assert isinstance(other, tuple)
    assert corner[0] > 200 > 50 > corner[2]
    assert other[2] > 200 > 50 > other[0]


def test_no_metadata_is_left() -> None:
    from PIL import ImageCms, PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    large = picture("RGB", (64, 40))
    data = encoded(large, "PNG", pnginfo=text, dpi=(300, 300), icc_profile=profile)
    assert made(data, 16)[0].info == {}
    data = encoded(large, "JPEG", comment="somebody", dpi=(300, 300), icc_profile=profile)
    assert set(made(data, 16)[0].info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert b"somebody" not in (image(data, 16) or (b"",))[0]


def test_the_first_frame_of_several() -> None:
    frames = [PIL.Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert image(data, 40) is None
        small, found = made(data, 8)
        assert found == kind
        assert getattr(small, "n_frames", 1) == 1
        assert small.convert("RGB").getpixel((4, 4)) == (255, 0, 0)


def test_a_broken_exif_is_none() -> None:
    data = encoded(picture("RGB", (64, 40)), "JPEG", exif=b"Exif\0\0nonsense")
    assert made(data, 16)[0].size == (16, 10)
    assert image(data, 64) is None


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


@pytest.mark.parametrize("kind", [*KINDS, "JPEG2000"])
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


def test_no_program_is_run_for_an_image() -> None:
    data = encoded(picture("RGB", (64, 40)), "EPS")
    assert opened_format(data) == "EPS"
    with pytest.raises(Wrong, match="is not in a format that is read here"):
        image(data, 16)


def opened_format(data: bytes) -> str | None:
    with PIL.Image.open(io.BytesIO(data)) as found:
        return found.format


def test_a_bomb_of_pixels() -> None:
    # 10,000 x 10,000 white pixels in 12 kB.
    data = encoded(PIL.Image.new("1", (10_000, 10_000)), "PNG")
    with pytest.raises(Wrong, match="has more than 89,478,485 pixels"):
        image(data, 16)
    data = encoded(PIL.Image.new("1", (20_000, 20_000)), "TIFF", compression="group4")
    with pytest.raises(Wrong, match="has more than 89,478,485 pixels"):
        image(data, 16)


@pytest.mark.parametrize("kind", [*KINDS, "JPEG2000", "PPM", "ICO", "TGA"])
def test_damaged_images_are_read_or_refused(kind: str) -> None:
    whole = encoded(picture("RGB", (48, 40)), kind)
    chooser = random.Random(kind)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chooser.randint(1, 8)):
            data[chooser.randrange(min(len(data), 400))] = chooser.randrange(256)
        with contextlib.suppress(Wrong):
            image(bytes(data), 16)


# Sounds


def wave(
    rate: int,
    seconds: float,
    kind: str = "WAV",
    subtype: str | None = None,
    channels: int = 1,
    hertz: float = 440,
) -> bytes:
    time = numpy.arange(int(rate * seconds)) / rate
    samples = 0.5 * numpy.sin(2 * numpy.pi * hertz * time)
    written = io.BytesIO()
    both = numpy.stack([samples * (1 - 0.5 * c) for c in range(channels)], axis=1)
    soundfile.write(written, both, rate, format=kind, subtype=subtype)
    return written.getvalue()


def heard(data: bytes) -> tuple[Any, int, str, str]:
    with soundfile.SoundFile(io.BytesIO(data)) as found:
        return found.read(always_2d=True), found.samplerate, found.format, found.subtype


SOUNDS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
]


@pytest.mark.parametrize(("kind", "subtype"), SOUNDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_sounds_are_cut_and_resampled(kind: str, subtype: str, channels: int) -> None:
    data = wave(16_000, 2, kind, subtype, channels)
    before = heard(data)[0]
    found = sound(data, 0.5, 8000)
    assert found is not None
    assert sound(data, 0.5, 8000) == found
    samples, rate, new_kind, new_subtype = heard(found[0])
    want = "FLAC" if kind == "FLAC" else "WAV"
    assert (found[1], new_kind, new_subtype) == (want, want, "PCM_16")
    assert rate == 8000
    assert samples.shape == (4000, channels)
    # The same tone at the same loudness: every other sample, away from the ends.
    assert numpy.abs(samples[100:3900] - before[200:7800:2]).max() < 0.02

    cut_only = sound(data, 0.5, None)
    assert cut_only is not None
    samples, rate, _, _ = heard(cut_only[0])
    assert (rate, samples.shape) == (16_000, (8000, channels))
    if subtype == "PCM_16":
        assert (samples == before[:8000]).all()
    assert numpy.abs(samples - before[:8000]).max() <= 1 / 32768
    assert sound(data, 3, 16_000) is None
    assert sound(data, 3, 48_000) is None
    assert sound(data, None, 16_000) is None


def test_a_high_tone_does_not_come_back_as_a_low_one() -> None:
    found = sound(wave(16_000, 1, hertz=6000), None, 8000)
    assert found is not None
    assert numpy.abs(heard(found[0])[0][200:-200]).max() < 0.001


def test_a_sound_of_one_sample_keeps_it() -> None:
    found = sound(wave(44_100, 1 / 44_100), 1, 8000)
    assert found is not None
    assert heard(found[0])[0].shape == (1, 1)


def test_loud_sounds_are_clipped_not_wrapped() -> None:
    written = io.BytesIO()
    soundfile.write(written, numpy.full(2000, 1.7), 8000, format="WAV", subtype="FLOAT")
    found = sound(written.getvalue(), 0.1, None)
    assert found is not None
    assert heard(found[0])[0].min() > 0.99


def test_seconds_are_not_cut_short_by_binary_fractions() -> None:
    found = sound(wave(100, 2, hertz=1), 0.7, None)
    assert found is not None
    assert heard(found[0])[0].shape == (70, 1)


def test_one_sample_is_kept() -> None:
    found = sound(wave(8000, 1), 1e-9, None)
    assert found is not None
    assert heard(found[0])[0].shape == (1, 1)


def test_the_rest_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = soundfile.SoundFile.read

    def counted(self: Any, frames: int = -1, *rest: Any, **more: Any) -> Any:
        read.append(frames)
        return real(self, frames, *rest, **more)

    data = wave(16_000, 30)
    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    assert sound(data, 1, None) is not None
    assert 0 < sum(read) <= 16_001


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


def test_a_sound_whose_length_is_not_said() -> None:
    """As a program writes it that cannot go back to its header."""
    data = bytearray(wave(8000, 1))
    struct.pack_into("<I", data, 4, 0xFFFFFFFF)
    struct.pack_into("<I", data, 40, 0xFFFFFFFF)
    found = sound(bytes(data), 0.5, None)
    assert found is not None
    assert heard(found[0])[0].shape == (4000, 1)


def test_a_bomb_of_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "MAX_SAMPLES", 100_000)
    data = wave(16_000, 10, "FLAC", hertz=0)
    with pytest.raises(Wrong, match=r"more than 100,000 samples; give audio\.max_seconds"):
        sound(data, None, 8000)
    assert sound(data, 1, 8000) is not None
    with pytest.raises(Wrong, match="more than 100,000 samples"):
        sound(wave(16_000, 4, channels=2), None, 8000)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_damaged_sounds_are_read_or_refused(kind: str) -> None:
    whole = wave(16_000, 0.3, kind)
    chooser = random.Random(kind)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chooser.randint(1, 8)):
            data[chooser.randrange(min(len(data), 400))] = chooser.randrange(256)
        with contextlib.suppress(Wrong):
            sound(bytes(data), 0.1, 8000)


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
        section = recipe.read(tmp_path / "x.yaml", "x.yaml", "", text.encode()).data["dataset"]
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
