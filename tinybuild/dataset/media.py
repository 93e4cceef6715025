"""What is kept of each row: columns, shorter texts, smaller images, shorter sounds."""

from __future__ import annotations

import io
import math
import posixpath
import struct
import unicodedata
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tinybuild.dataset.archives import reason
from tinybuild.dataset.features import kind_of
from tinybuild.dataset.rows import Place
from tinybuild.errors import BuildFault, Fault, PackageFault, did_you_mean

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features

INSTALL = "pip install -c constraints.txt -e '.[media]'"
# A sound of so many samples takes 512 MB while it is resampled: 50 minutes of 44,100 Hz.
MAX_SAMPLES = 1 << 27
BLOCK = 1 << 16  # frames that are decoded at once
# An image's format -> the suffixes of its files (a new one gets the first), the modes that come
# back as they were written, and how it is written: nothing is left to the library's defaults.
FORMATS: Mapping[str, tuple[tuple[str, ...], frozenset[str], Mapping[str, Any]]] = {
    "PNG": (
        (".png", ".apng"),
        frozenset({"1", "L", "LA", "I;16", "P", "RGB", "RGBA"}),
        {"optimize": False, "compress_level": 9},
    ),
    "JPEG": (
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        frozenset({"L", "RGB", "CMYK"}),
        {"quality": 90, "subsampling": 0, "optimize": False, "progressive": False},
    ),
    "GIF": ((".gif",), frozenset({"P", "L"}), {"optimize": False, "interlace": 0}),
    "WEBP": (
        (".webp",),
        frozenset({"RGB", "RGBA"}),
        {"lossless": True, "quality": 80, "method": 4, "exact": True},
    ),
    "BMP": ((".bmp", ".dib"), frozenset({"1", "L", "P", "RGB"}), {}),
    "TIFF": (
        (".tif", ".tiff"),
        frozenset({"1", "L", "LA", "I;16", "I", "F", "P", "RGB", "RGBA", "CMYK", "LAB"}),
        {"compression": "tiff_adobe_deflate"},
    ),
}
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


class Refused(Exception):
    """Why a value cannot be shrunk, for a message that also says where it is."""


class Change(Protocol):
    """What a wish does to the values of some features.

    key: the wish's key in the recipe. noun: what messages call a value. takes: whether a feature's
    values are meant. apply: an array -> the changed one, of the same type; `at` makes a fault of
    the number of a value and what is wrong with it.
    """

    @property
    def key(self) -> str: ...
    @property
    def noun(self) -> str: ...

    def takes(self, feature: Any) -> bool: ...
    def apply(self, array: Any, at: Callable[[int, str], Fault]) -> Any: ...


def shrink(
    table: pyarrow.Table, features: Features, places: Sequence[Place], wish: Mapping[str, Any]
) -> tuple[pyarrow.Table, Features]:
    """The columns that a wish (columns, text, images, audio) keeps, and their media made small.

    places: where each row of the table came from, for messages. Only the values that change are
    written anew, in the Arrow types they had, at any depth of the features; all else is as it was.

    - columns: a list (kept in its order) or {drop: [...]}
    - text.max_chars: Unicode code points of every string and translation (not of class labels and
      language codes); a cut never falls between a character and the marks that belong to it
    - images.max_size: see `image`; audio: see `sound`. Media that no wish changes is decoded, too:
      what is broken is told here, by the file and row that it comes from

    Raises BuildFault for unknown columns and for media that is broken, and PackageFault where a
    library is missing.
    """
    table, features = _columns(table, features, wish.get("columns"))
    for change in (_There(), *_intact(wish), *_changes(wish)):
        for index, (name, feature) in enumerate(features.items()):
            if _holds(feature, change):
                column = _change(table.column(index), feature, name, places, change)
                table = table.set_column(index, table.field(index), column)
    rate = (wish.get("audio") or {}).get("sampling_rate")
    if rate is not None:
        features = type(features)({n: _at_rate(feature, rate) for n, feature in features.items()})
        table = table.replace_schema_metadata(features.arrow_schema.metadata)
    return table, features


def _intact(wish: Mapping[str, Any]) -> Iterator[Change]:
    """What looks at media that nothing else decodes."""
    if not wish.get("images"):
        yield _IntactImages()
    if not wish.get("audio"):
        yield _IntactSounds()


def _changes(wish: Mapping[str, Any]) -> Iterator[Change]:
    if wish.get("text"):
        yield _Text(wish["text"]["max_chars"])
    if wish.get("images"):
        yield _Images(wish["images"]["max_size"])
    if wish.get("audio"):
        yield _Sounds(wish["audio"].get("max_seconds"), wish["audio"].get("sampling_rate"))


def idle(features: Features, wish: Mapping[str, Any]) -> dict[str, str]:
    """{key: what it would change} for each key of a wish that these features have nothing for."""
    return {
        change.key: f"{change.noun.removeprefix('the ')}s"
        for change in _changes(wish)
        if not any(_holds(feature, change) for feature in features.values())
    }


def _columns(table: Any, features: Any, wish: Any) -> tuple[Any, Any]:
    if wish is None:
        return table, features
    key = ("dataset", "columns")
    dropped = isinstance(wish, Mapping)
    named = list(wish["drop"]) if dropped else list(wish)
    for name in named:
        if name not in features:
            raise BuildFault.of(
                f"the dataset has no column {name}", key=key, hint=did_you_mean(name, features)
            )
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise BuildFault.of(f"the column {twice[0]} is named twice", key=key)
    kept = [name for name in features if name not in named] if dropped else named
    if not kept:
        raise BuildFault.of(
            "no column is left", key=key, hint=f"keep at least one of {', '.join(features)}"
        )
    features = type(features)({name: features[name] for name in kept})
    return table.select(kept).replace_schema_metadata(features.arrow_schema.metadata), features


def _holds(feature: Any, change: Change) -> bool:
    """Whether a change is for this feature, or for one inside it."""
    return change.takes(feature) or any(_holds(inner, change) for inner in _inner(feature))


def _inner(feature: Any) -> list[Any]:
    """The features inside one, in the order of the Arrow type's children."""
    from datasets import LargeList, List, Translation, TranslationVariableLanguages, Value

    if isinstance(feature, List | LargeList):
        return [feature.feature]
    if isinstance(feature, list | tuple):
        return [feature[0]]
    if isinstance(feature, dict):
        return list(feature.values())
    if isinstance(feature, Translation):
        return [Value("string")] * len(feature.languages)
    if isinstance(feature, TranslationVariableLanguages):
        return [None, [Value("string")]]  # language codes, and the texts
    return []


def _change(
    column: Any, feature: Any, name: str, places: Sequence[Place], change: Change
) -> pyarrow.ChunkedArray:
    import numpy
    import pyarrow

    start = 0
    chunks = []
    for chunk in column.chunks:
        rows = numpy.arange(start, start + len(chunk))
        start += len(chunk)
        chunks.append(_walk(chunk, feature, name, rows, places, change))
    return pyarrow.chunked_array(chunks, type=column.type)


def _walk(
    array: Any, feature: Any, name: str, rows: Any, places: Sequence[Place], change: Change
) -> Any:
    """An array whose values of some kind have changed; rows: each element's row of the table."""
    import numpy
    import pyarrow
    import pyarrow.compute as pc
    import pyarrow.types as types

    if change.takes(feature):

        def at(index: int, why: str) -> Fault:
            place = places[int(rows[index])]
            return BuildFault.of(
                f"{place}: {change.noun} in the column {name} {why}",
                key=("dataset", change.key),
                hint="mend it, or leave its row out (rows, where)",
            )

        return change.apply(array, at)
    if not _holds(feature, change):
        return array
    inner = _inner(feature)
    kind = array.type
    empty = array.is_null()
    if types.is_struct(kind):
        children = [
            # flatten() also makes a field empty where its struct is.
            _walk(child, part, f"{name}.{field.name}", rows, places, change)
            for child, part, field in zip(array.flatten(), inner, kind, strict=True)
        ]
        return pyarrow.StructArray.from_arrays(children, fields=list(kind), mask=empty)
    parents = pc.list_parent_indices(array).to_numpy()
    values = _walk(array.flatten(), inner[0], name, rows[parents], places, change)
    if types.is_fixed_size_list(kind):
        # The values of an empty list are not in flatten(), but have to be in the array.
        places_of = numpy.repeat(empty.to_numpy(zero_copy_only=False), kind.list_size)
        order = numpy.cumsum(~places_of) - 1
        values = values.take(pyarrow.array(order, mask=places_of))
        return pyarrow.FixedSizeListArray.from_arrays(values, type=kind, mask=empty)
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    large = types.is_large_list(kind)
    offsets = numpy.concatenate([[0], numpy.cumsum(lengths)]).astype("int64" if large else "int32")
    maker = pyarrow.LargeListArray if large else pyarrow.ListArray
    return maker.from_arrays(pyarrow.array(offsets), values, type=kind, mask=empty)


def _at_rate(feature: Any, rate: int) -> Any:
    """A feature whose sounds are decoded at `rate`, or at their lower one where it names one."""
    import copy

    from datasets import Audio, LargeList, List

    if isinstance(feature, Audio):
        made = copy.copy(feature)
        made.sampling_rate = min(rate, feature.sampling_rate or rate)
        return made
    if isinstance(feature, List | LargeList):
        made = copy.copy(feature)
        made.feature = _at_rate(feature.feature, rate)
        return made
    if isinstance(feature, list):
        return [_at_rate(feature[0], rate)]
    if isinstance(feature, dict):
        return {name: _at_rate(inner, rate) for name, inner in feature.items()}
    return feature


@dataclass(frozen=True)
class _Text:
    max_chars: int
    key: str = "text"
    noun: str = "the text"

    def takes(self, feature: Any) -> bool:
        return kind_of(feature) == "text"

    def apply(self, array: Any, at: Callable[[int, str], Fault]) -> Any:
        import pyarrow
        import pyarrow.compute as pc

        try:
            long = pc.fill_null(pc.greater(pc.utf8_length(array), self.max_chars), False)
            if not pc.any(long).as_py():
                return array
            short = pc.utf8_slice_codeunits(array, 0, self.max_chars + 1).to_pylist()
        except (pyarrow.ArrowInvalid, UnicodeDecodeError):
            for index, value in enumerate(array):
                try:
                    value.as_py()
                except UnicodeDecodeError:
                    raise at(index, "is not UTF-8") from None
            raise
        values = [text if text is None else cut(text, self.max_chars) for text in short]
        return pyarrow.array(values, type=array.type)


def cut(text: str, length: int) -> str:
    """The first `length` code points of a text, or a few less: the last character keeps its marks
    (accents, vowel signs, what a joiner joins), or goes. A longer run of marks is cut itself."""
    if len(text) <= length:
        return text
    end = length
    while end and _belongs(text[end - 1], text[end]):
        end -= 1
    return text[: end or length]


def _belongs(before: str, mark: str) -> bool:
    joiner = "\u200d"
    return (
        unicodedata.category(mark).startswith("M")
        or joiner in (before, mark)
        or "\U0001f3fb" <= mark <= "\U0001f3ff"  # colours of skin
    )


class _There:
    """What is only a path is refused: nobody opens it here, and elsewhere it leads to nothing."""

    key: str = "source"
    noun: str = "the image or sound"

    def takes(self, feature: Any) -> bool:
        from datasets import Audio, Image

        return isinstance(feature, Image | Audio)

    def apply(self, array: Any, at: Callable[[int, str], Fault]) -> Any:
        import pyarrow.compute as pc

        # flatten() also makes a field empty where its struct is.
        fields = dict(zip([field.name for field in array.type], array.flatten(), strict=True))
        named = pc.and_(pc.is_null(fields["bytes"]), pc.is_valid(fields["path"]))
        for index in pc.indices_nonzero(named).to_pylist()[:1]:
            raise at(index, "is only the name of a file, not the file")
        return array


class _Files:
    """Values that are files: structs of bytes and path."""

    def change(self, data: bytes, path: str | None) -> tuple[bytes, str | None] | None:
        raise NotImplementedError

    def apply(self, array: Any, at: Callable[[int, str], Fault]) -> Any:
        import pyarrow

        kind = array.type
        names = [field.name for field in kind]
        columns = dict(zip(names, array.flatten(), strict=True))
        made: dict[int, tuple[bytes, str | None]] = {}
        for index in range(len(array)):
            data, path = (columns[name][index].as_py() for name in ("bytes", "path"))
            if data is None:
                continue
            try:
                new = self.change(data, path)
            except Refused as error:
                raise at(index, str(error)) from None
            if new is not None:
                made[index] = new
        if not made:
            return array
        for place, name in enumerate(("bytes", "path")):
            values = [
                made[index][place] if index in made else columns[name][index].as_py()
                for index in range(len(array))
            ]
            columns[name] = pyarrow.array(values, type=kind.field(name).type)
        return pyarrow.StructArray.from_arrays(
            [columns[name] for name in names], fields=list(kind), mask=array.is_null()
        )


class _Images(_Files):
    key = "images"
    noun = "the image"

    def __init__(self, max_size: int):
        self.max_size = max_size

    def takes(self, feature: Any) -> bool:
        from datasets import Image

        return isinstance(feature, Image)

    def change(self, data: bytes, path: str | None) -> tuple[bytes, str | None] | None:
        made = image(data, self.max_size)
        return made and (made[0], _named(path, FORMATS[made[1]][0]))


class _Sounds(_Files):
    key = "audio"
    noun = "the sound"

    def __init__(self, max_seconds: float | None, sampling_rate: int | None):
        self.max_seconds = max_seconds
        self.sampling_rate = sampling_rate

    def takes(self, feature: Any) -> bool:
        from datasets import Audio

        return isinstance(feature, Audio)

    def change(self, data: bytes, path: str | None) -> tuple[bytes, str | None] | None:
        made = sound(data, self.max_seconds, self.sampling_rate)
        return made and (made[0], _named(path, ("." + made[1].lower(),)))


class _IntactImages(_Images):
    """Images that stay as they are, if they can be decoded at all."""

    key = "source"

    def __init__(self) -> None:
        super().__init__(1 << 30)

    def change(self, data: bytes, path: str | None) -> None:
        image(data, self.max_size)


class _IntactSounds(_Sounds):
    """Sounds that stay as they are, if they can be decoded at all."""

    key = "source"

    def __init__(self) -> None:
        super().__init__(None, None)

    def change(self, data: bytes, path: str | None) -> None:
        sound(data, None, None)


def _named(path: str | None, suffixes: Sequence[str]) -> str | None:
    """A file's name with a suffix that says its format."""
    if path is None:
        return None
    root, suffix = posixpath.splitext(path)
    return path if suffix.lower() in suffixes else root + suffixes[0]


def image(data: bytes, max_size: int) -> tuple[bytes, str] | None:
    """An image file with a longer side of at most `max_size` pixels, and its format's name in
    FORMATS; None where the file may stay as it is (no larger, and no orientation in its EXIF).

    The ratio is kept, as far as whole pixels can (at least 1 each), and the mode (palette and
    transparency with it); the first frame of several; turned as its EXIF says. The format is kept
    where it gives the mode back, else it is PNG or TIFF. No metadata, no profile: the same bytes
    every time. Raises Refused for what cannot be decoded, or has more pixels than
    PIL.Image.MAX_IMAGE_PIXELS; PackageFault.
    """
    try:
        import PIL.Image
    except ImportError:
        raise _missing("images", "Pillow") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # What Pillow only warns of is refused.
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        try:
            PIL.Image.init()
            # To decode EPS, Pillow runs Ghostscript: a program for programs.
            readable = [name for name in PIL.Image.OPEN if name != "EPS"]
            opened = PIL.Image.open(io.BytesIO(data), formats=readable)
        except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
            raise Refused(f"has more than {PIL.Image.MAX_IMAGE_PIXELS:,} pixels") from None
        except PIL.UnidentifiedImageError:
            raise Refused("is not in a format that is read here") from None
        except BROKEN as error:
            raise Refused(f"cannot be read: {_reason(error)}") from None
        with opened:
            return _shrunk(opened, max_size)


def _shrunk(opened: Any, max_size: int) -> tuple[bytes, str] | None:
    import PIL.Image

    turn = PIL.Image.Transpose
    turns = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    try:
        width, height = opened.size
        before = _orientation(opened)
        if max(width, height) > max_size:
            # JPEG decodes to an eighth, a quarter or a half without the whole; twice the size is
            # left for the filter.
            drafted = opened.draft(None, [2 * side for side in _size(width, height, max_size)])
        else:
            drafted = None
        opened.load()
        # Pillow turns TIFFs while it loads them, and finds the EXIF of some PNGs only then.
        orientation = _orientation(opened)
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
        raise Refused(f"has more than {PIL.Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except BROKEN as error:
        raise Refused(f"cannot be read: {_reason(error)}") from None
    if not drafted:
        width, height = opened.size
    if max(width, height) <= max_size and before not in turns and orientation not in turns:
        return None
    small = opened
    if max(width, height) > max_size:
        # Colours of a palette, and black and white, have nothing in between.
        way = PIL.Image.Resampling
        resample = way.NEAREST if opened.mode in ("1", "P", "PA") else way.LANCZOS
        small = opened.resize(_size(width, height, max_size), resample)
    if orientation in turns:
        small = small.transpose(turns[orientation])
    if small is opened:
        small = opened.copy()
    kind = {"MPO": "JPEG"}.get(opened.format, opened.format)
    held = [name for name in (kind, "PNG", "TIFF") if small.mode in FORMATS.get(name, ("", ()))[1]]
    if held:
        kind = held[0]
    else:
        # Modes that hardly any file has (YCbCr, HSV, PA, RGBX ...).
        kind = "PNG"
        small = small.convert("RGBA" if "A" in small.mode or "a" in small.mode else "RGB")
    transparency = opened.info.get("transparency")
    small.info = {} if transparency is None else {"transparency": transparency}
    written = io.BytesIO()
    small.save(written, format=kind, **FORMATS[kind][2])
    return written.getvalue(), kind


def _size(width: int, height: int, max_size: int) -> tuple[int, int]:
    """Both sides by the same ratio, the longer one `max_size`; in whole numbers, halves up."""
    longer = max(width, height)

    def scaled(side: int) -> int:
        return max(1, (2 * side * max_size + longer) // (2 * longer))

    return scaled(width), scaled(height)


def _orientation(opened: Any) -> int:
    try:
        found = opened.getexif().get(0x0112, 1)
    except BROKEN:
        # A broken EXIF, which many files have, is none.
        return 1
    return found if isinstance(found, int) else 1


def sound(
    data: bytes, max_seconds: float | None, sampling_rate: int | None
) -> tuple[bytes, str] | None:
    """A sound file of at most so many seconds from the start and samples a second, and WAV or FLAC;
    None where the file may stay as it is (no longer, and no higher rate).

    Channels are kept. FLAC stays FLAC, all else becomes WAV; both of 16 bits. What comes after the
    seconds kept is not decoded. Raises Refused for what cannot be decoded, or has more samples than
    MAX_SAMPLES; PackageFault.
    """
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: without its library
        raise _missing("sounds", "soundfile") from None
    import numpy

    _whole(data)
    try:
        with soundfile.SoundFile(_Bytes(data)) as opened:
            rate, frames, channels = opened.samplerate, opened.frames, opened.channels
            # 0.7 seconds of 100 a second are 69.999... in binary.
            kept = None if max_seconds is None else max(1, math.floor(max_seconds * rate + 1e-6))
            # Samples of 16 bits stay exactly what they are; others are fractions of 1.
            exact = opened.subtype == "PCM_16"
            most = MAX_SAMPLES // channels
            blocks = []
            count = 0
            while True:
                ahead = min(BLOCK, most + 1 - count, BLOCK if kept is None else kept + 1 - count)
                block = opened.read(ahead, dtype="int16" if exact else "float32", always_2d=True)
                blocks.append(block)
                count += len(block)
                if len(block) < ahead or count == kept or (kept is not None and count > kept):
                    break
                if count > most:
                    raise Refused(f"has more than {MAX_SAMPLES:,} samples; give audio.max_seconds")
            kind = "FLAC" if opened.format == "FLAC" else "WAV"
    except soundfile.SoundFileError as error:
        raise Refused(f"cannot be read: {_reason(error)}") from None
    # A stream that does not say how long it is has the greatest number there is.
    said = frames if frames < 1 << 62 else count
    if count < (said if kept is None else min(said, kept)):
        raise Refused(f"is cut off: {count:,} of its {frames:,} samples are there")
    longer = kept is not None and count > kept
    lower = rate if sampling_rate is None else min(rate, sampling_rate)
    if not longer and lower == rate:
        return None
    samples = numpy.concatenate(blocks)[:kept]
    if lower < rate:
        samples = _resampled(samples, rate, lower)
    if samples.dtype != numpy.int16:
        samples = numpy.clip(numpy.rint(samples * 32768.0), -32768, 32767).astype(numpy.int16)
    written = io.BytesIO()
    soundfile.write(written, samples, lower, format=kind, subtype="PCM_16")
    return written.getvalue(), kind


def _resampled(samples: Any, rate: int, wanted: int) -> Any:
    try:
        import soxr
    except ImportError:
        raise _missing("sounds", "soxr") from None
    import numpy

    if samples.dtype == numpy.int16:
        samples = samples / numpy.float32(32768)
    # Of less than half a sample it leaves none.
    made = soxr.resample(samples, rate, wanted, quality="HQ")
    return made if len(made) else samples[:1]


class _Bytes(io.BytesIO):
    """A file whose reader, misled by what it read, may seek to before the beginning."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def _whole(data: bytes) -> None:
    """Raises Refused for a WAV, AIFF or Ogg file that ends before its samples do: libsndfile reads
    what is there, or nothing, and says nothing. Almost 4 GB is the size that a writer leaves that
    cannot go back."""
    if data[:4] == b"OggS":
        page = data.rfind(b"OggS")  # its head, the sizes of its segments, and these
        head = data[page : page + 27]
        sizes = data[page + 27 : page + 27 + head[26]] if len(head) == 27 else b""
        if len(head) < 27 or len(sizes) < head[26] or page + 27 + head[26] + sum(sizes) > len(data):
            raise Refused("is cut off in its last page")
    kinds = {(b"RIFF", b"WAVE"): ("<4sI", b"data"), (b"FORM", b"AIFF"): (">4sI", b"SSND")}
    kinds[b"FORM", b"AIFC"] = kinds[b"FORM", b"AIFF"]
    if (data[:4], data[8:12]) not in kinds:
        return
    form, samples = kinds[data[:4], data[8:12]]
    start = 12
    while start + 8 <= len(data):
        name, size = struct.unpack_from(form, data, start)
        start += 8
        if name == samples:
            there = len(data) - start
            if there < size < 0x7FFFFF00:
                raise Refused(f"is cut off: {there:,} of its {size:,} bytes are there")
            return
        start += size + size % 2


def _missing(what: str, package: str) -> Fault:
    return PackageFault.of(
        f"{what} are made small by {package}, which is not installed",
        key=("dataset", {"images": "images", "sounds": "audio"}[what]),
        hint=INSTALL,
    )


def _reason(error: BaseException) -> str:
    # libsndfile: "Error opening <_io.BytesIO object at 0x7f...>: File contains data in ..."
    return reason(error).rpartition(">: ")[2]
