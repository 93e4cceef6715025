"""An image is made small in every format and mode, and always the same bytes."""

from __future__ import annotations

import contextlib
import io
import random

import numpy
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.media import encoded, opened, picture

from tinybuild.dataset import images
from tinybuild.dataset.images import image
from tinybuild.features import Wrong


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
