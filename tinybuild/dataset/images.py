"""One image file made small, in its own format and mode, without metadata."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinybuild.dataset.archives import reason
from tinybuild.errors import require
from tinybuild.features import Wrong

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a format is written.

    suffixes: of its files; a new one gets the first. modes: those that come back as they were
    written. options: for its writer; nothing is left to the library's defaults.
    """

    suffixes: tuple[str, ...]
    modes: frozenset[str]
    options: Mapping[str, object]


def _format(suffixes: str, modes: str, **options: object) -> Format:
    return Format(suffixes=tuple(suffixes.split()), modes=frozenset(modes.split()), options=options)


FORMATS: Mapping[str, Format] = {
    "PNG": _format(".png .apng", "1 L LA I;16 P RGB RGBA", optimize=False, compress_level=9),
    "JPEG": _format(
        ".jpg .jpeg .jpe .jfif",
        "L RGB CMYK",
        **{"quality": 90, "subsampling": 0, "optimize": False, "progressive": False},
    ),
    "GIF": _format(".gif", "P L", optimize=False, interlace=0),
    "WEBP": _format(".webp", "RGB RGBA", lossless=True, quality=80, method=4, exact=True),
    "BMP": _format(".bmp .dib", "1 L P RGB"),
    "TIFF": _format(
        ".tif .tiff", "1 L LA I;16 I F P RGB RGBA CMYK LAB", compression="tiff_adobe_deflate"
    ),
}
# Pillow's name of a format -> the suffix that says it. EPS, WMF and the like are not among them:
# Pillow runs other programs for them.
SUFFIXES = {
    **{"PNG": "png", "JPEG": "jpg", "GIF": "gif", "WEBP": "webp", "BMP": "bmp", "TIFF": "tiff"},
    **{"PPM": "ppm", "ICO": "ico", "TGA": "tga", "JPEG2000": "jp2", "AVIF": "avif", "PCX": "pcx"},
}
KNOWN_SUFFIXES = frozenset(
    (*SUFFIXES.values(), "jpeg", "jpe", "jfif", "tif", "pgm", "pbm", "pnm", "apng")
)
KEY = ("dataset",)  # where the recipe asks for what a missing package does
# What Pillow's readers raise for bytes that are not what they should be.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
ORIENTATION = 0x0112  # the key in EXIF; 1 is upright, 2 to 8 are turned or mirrored
ANY = 1 << 30  # a size that no image has, so that it is decoded and not made smaller


def image(data: bytes, max_size: int) -> tuple[bytes, str] | None:
    """An image file with a longer side of at most `max_size` pixels, and its format's name in
    FORMATS; None where the file may stay as it is (no larger, and no orientation in its EXIF).

    The ratio is kept, as far as whole pixels can (at least 1 each), and the mode (palette and
    transparency with it); the first frame of several; turned as its EXIF says. The format is kept
    where it gives the mode back, else it is PNG or TIFF. No metadata, no profile: the same bytes
    every time. Raises Wrong for what cannot be decoded, or has more pixels than
    PIL.Image.MAX_IMAGE_PIXELS; PackageFault.
    """
    require("an image", "PIL", KEY)
    import PIL.Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # What Pillow only warns of is refused.
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        with _refused():
            PIL.Image.init()
            # To decode EPS, Pillow runs Ghostscript: a program for programs.
            readable = [name for name in PIL.Image.OPEN if name != "EPS"]
            opened = PIL.Image.open(io.BytesIO(data), formats=readable)
        with opened:
            return _shrunk(opened, max_size)


@contextmanager
def _refused() -> Iterator[None]:
    """What Pillow raises for a damaged image, as Wrong."""
    import PIL.Image

    try:
        yield
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
        raise Wrong(f"has more than {PIL.Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except PIL.UnidentifiedImageError:
        raise Wrong("is not in a format that is read here") from None
    except BROKEN as error:
        raise Wrong(f"cannot be read: {reason(error).rpartition('>: ')[2]}") from None


def _shrunk(opened: ImageFile, max_size: int) -> tuple[bytes, str] | None:
    with _refused():
        size = opened.size
        before = _orientation(opened)
        drafted = None
        if max(size) > max_size:
            # JPEG decodes to an eighth, a quarter or a half without the whole; twice the size is
            # left for the filter.
            small = _size(size, max_size)
            drafted = opened.draft(None, (2 * small[0], 2 * small[1]))
        opened.load()
        # Pillow turns TIFFs while it loads them, and finds the EXIF of some PNGs only then.
        orientation = _orientation(opened)
    if not drafted:
        size = opened.size
    if max(size) <= max_size and before == orientation == 1:
        return None
    made = _turned(_resized(opened, size, max_size), orientation)
    name = "JPEG" if opened.format == "MPO" else str(opened.format)
    fitting = [f for f in (name, "PNG", "TIFF") if f in FORMATS and made.mode in FORMATS[f].modes]
    if fitting:
        name = fitting[0]
    else:
        # Modes that hardly any file has (YCbCr, HSV, PA, RGBX ...).
        name = "PNG"
        made = made.convert("RGBA" if "A" in made.mode or "a" in made.mode else "RGB")
    transparency = opened.info.get("transparency")
    made.info = {} if transparency is None else {"transparency": transparency}
    written = io.BytesIO()
    made.save(written, format=name, **FORMATS[name].options)
    return written.getvalue(), name


def _resized(opened: Image, size: tuple[int, int], max_size: int) -> Image:
    """A copy, smaller where its size (before a draft) is too large."""
    from PIL.Image import Resampling

    if max(size) <= max_size:
        return opened.copy()
    # Colours of a palette, and black and white, have nothing in between.
    way = Resampling.NEAREST if opened.mode in ("1", "P", "PA") else Resampling.LANCZOS
    return opened.resize(_size(size, max_size), way)


def _turned(made: Image, orientation: int) -> Image:
    """A copy that is turned as its EXIF said; what else the EXIF said, perhaps broken, is gone."""
    from PIL import ImageOps

    made.info = {}
    made.getexif()[ORIENTATION] = orientation
    return ImageOps.exif_transpose(made)


def _size(size: tuple[int, int], max_size: int) -> tuple[int, int]:
    """Both sides by the same ratio, the longer one `max_size`; in whole numbers, halves up."""
    longer = max(size)

    def scaled(side: int) -> int:
        return max(1, (2 * side * max_size + longer) // (2 * longer))

    return scaled(size[0]), scaled(size[1])


def _orientation(opened: Image) -> int:
    """1 to 8; 1 where the EXIF, which many files have broken, does not say it."""
    try:
        said = opened.getexif().get(ORIENTATION, 1)
    except BROKEN:
        return 1
    return said if isinstance(said, int) and 1 <= said <= 8 else 1


def suffix(data: bytes) -> str | None:
    """The suffix of an image's format; None for a format that is not known here."""
    require("an image", "PIL", KEY)
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=list(SUFFIXES)) as opened:
            # Some cameras put several pictures into one JPEG.
            return SUFFIXES.get("JPEG" if opened.format == "MPO" else str(opened.format))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return None
