"""One value outside Arrow: as JSON or bytes, and back as an array of its feature's type."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinybuild.dataset import media
from tinybuild.dataset.features import form, kind_of
from tinybuild.errors import Fault, PackageFault, did_you_mean

if TYPE_CHECKING:
    import pyarrow

# Pillow's format -> the suffix written; other spellings are read too. EPS, WMF and the like are
# not: Pillow runs other programs for them.
IMAGES = {
    **{"PNG": "png", "JPEG": "jpg", "GIF": "gif", "WEBP": "webp", "BMP": "bmp", "TIFF": "tiff"},
    **{"PPM": "ppm", "ICO": "ico", "TGA": "tga", "JPEG2000": "jp2", "AVIF": "avif", "PCX": "pcx"},
}
IMAGE_SUFFIXES = frozenset(
    (*IMAGES.values(), "jpeg", "jpe", "jfif", "tif", "pgm", "pbm", "pnm", "apng")
)
# libsndfile's format -> the suffix written.
SOUNDS = {
    **{"WAV": "wav", "WAVEX": "wav", "FLAC": "flac", "OGG": "ogg", "MP3": "mp3", "MPEG": "mp3"},
    **{"AIFF": "aiff", "AU": "au", "CAF": "caf", "W64": "w64", "RF64": "rf64"},
}
SOUND_SUFFIXES = frozenset((*SOUNDS.values(), "opus", "aif", "oga"))  # those that libsndfile reads
BY_SUFFIX = frozenset(("m4a", "aac", "wma", "amr", "webm"))  # known by their suffix only


class Wrong(Exception):
    """What is wrong with one value; who catches it knows the file."""


# --- JSON ---------------------------------------------------------------------------------------


def encode(scalar: pyarrow.Scalar, feature: Any) -> Any:
    """An Arrow value as JSON data that `decode` takes back."""
    from datasets import LargeList, List
    from pyarrow import types

    if not scalar.is_valid:
        return None
    if hasattr(feature, "shape"):
        scalar = scalar.value
    feature, sort = form(feature), kind_of(form(feature))
    if isinstance(feature, dict):
        return {name: encode(scalar[name], inner) for name, inner in feature.items()}
    if isinstance(feature, List | LargeList):
        return [encode(item, feature.feature) for item in scalar]
    if sort == "media":
        data = scalar["bytes"].as_py()
        packed = None if data is None else base64.b64encode(data).decode()
        return {"bytes": packed, "path": scalar["path"].as_py()}
    if sort == "bytes":
        return base64.b64encode(scalar.as_py()).decode()
    if sort == "raw":
        return scalar.value.as_py()
    if sort == "label":
        number = scalar.as_py()
        return class_name(number, feature) or number
    if types.is_floating(scalar.type):
        number = float(scalar.as_py())
        return number if math.isfinite(number) else str(number)
    if types.is_decimal(scalar.type):
        return str(scalar.as_py())
    if types.is_temporal(scalar.type):
        return _time(scalar)
    return scalar.as_py()


def class_name(number: int, feature: Any) -> str | None:
    """A class's name, where it says the number again."""
    names = feature.names
    if 0 <= number < len(names) and names.index(names[number]) == number:
        return str(names[number])
    return None


def _time(scalar: pyarrow.Scalar) -> str | int:
    """A time as text, or as the number that Arrow keeps where no text says it exactly."""
    import pyarrow as pa

    number = int(scalar.value)
    try:
        text = str(scalar.cast(pa.string()).as_py())
        return text if _moment(text, scalar.type) == number else number
    except (pa.ArrowException, Wrong):
        return number


def decode(value: Any, feature: Any) -> Any:
    """JSON data as what `build` takes for a feature. Raises Wrong."""
    from datasets import LargeList, List

    if value is None:
        return None
    feature, sort = form(feature), kind_of(form(feature))
    if isinstance(feature, dict):
        if not isinstance(value, dict):
            raise Wrong(f"holds {word(value)}, not an object with {', '.join(feature)}")
        for name in value:
            if name not in feature:
                raise Wrong(f"has a key {name!r} that the type lacks: {', '.join(feature)}")
        return {name: decode(value.get(name), inner) for name, inner in feature.items()}
    if isinstance(feature, List | LargeList):
        if not isinstance(value, list):
            raise Wrong(f"holds {word(value)}, not a list")
        length = getattr(feature, "length", -1)
        if length not in (-1, len(value)):
            raise Wrong(f"holds a list of {len(value)}, not of {length}")
        return [decode(item, feature.feature) for item in value]
    if sort == "media":
        if not isinstance(value, dict) or set(value) != {"bytes", "path"}:
            raise Wrong("does not hold an object with the keys bytes (base64) and path")
        if not isinstance(value["path"], str | None):
            raise Wrong(f"holds {word(value['path'])} as a path, not a text")
        data = None if value["bytes"] is None else _base64(value["bytes"])
        return {"bytes": data, "path": value["path"]}
    if sort == "bytes":
        return fits(_base64(value), feature)
    if sort == "label":
        return _number_or_name(value, feature)
    if sort in ("text", "raw"):
        if not isinstance(value, str):
            raise Wrong(f"holds {word(value)}, not a text")
        if sort == "raw":
            parsed(value.encode())
        return value
    return _single(value, feature.pa_type)


def _base64(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (ValueError, TypeError):
        raise Wrong("does not hold bytes in base64") from None


def _number_or_name(value: Any, feature: Any) -> int:
    if isinstance(value, str):
        return label(value, feature)
    if type(value) is not int or not -(2**63) <= value < len(feature.names):
        raise Wrong(f"holds {value!r}, not the name or the number of a class")
    return value


def _single(value: Any, kind: pyarrow.DataType) -> Any:
    """A number, a boolean, a decimal or a time. Arrow alone would cut 1.5 to an integer."""
    import decimal

    import pyarrow as pa
    from pyarrow import types

    wrong = Wrong(f"holds {json.dumps(value, ensure_ascii=False)[:60]}, which is no {kind}")
    if types.is_boolean(kind):
        fits = type(value) is bool
    elif types.is_integer(kind):
        fits = type(value) is int
    elif types.is_floating(kind):
        if value in ("nan", "inf", "-inf"):
            return float(value)
        fits = type(value) in (int, float)
    elif types.is_decimal(kind):
        try:
            value = decimal.Decimal(value) if type(value) in (str, int) else None
        except decimal.InvalidOperation:
            raise wrong from None
        fits = value is not None and value.is_finite()
    elif types.is_temporal(kind):
        if type(value) not in (str, int):
            raise wrong
        return _moment(value, kind)
    else:
        fits = False  # null
    if not fits:
        raise wrong
    try:
        pa.array([value], kind)
    except (pa.ArrowException, OverflowError):
        raise wrong from None
    return value


def _moment(value: Any, kind: pyarrow.DataType) -> int:
    """The number that Arrow keeps for a time."""
    import pyarrow as pa

    try:
        if isinstance(value, str):
            return int(pa.scalar(value).cast(kind).value)
        return int(pa.array([value], kind)[0].value)
    except (pa.ArrowException, OverflowError):
        raise Wrong(f"holds {value!r}, which is no {kind}") from None


def build(values: Sequence[Any], feature: Any) -> pyarrow.Array:
    """An array of the feature's type. Arrow itself builds no extension types inside others."""
    import pyarrow as pa
    from datasets import Json, LargeList, List
    from datasets.features.features import get_nested_type

    kind = get_nested_type(feature)
    mask = pa.array([value is None for value in values], pa.bool_())
    if hasattr(feature, "shape"):
        return pa.ExtensionArray.from_storage(kind, build(values, form(feature)))
    if isinstance(feature, Json):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    feature = form(feature)
    if isinstance(feature, dict) and feature:
        parts = [
            build([None if value is None else value[name] for value in values], inner)
            for name, inner in feature.items()
        ]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=mask)
    if isinstance(feature, List) and feature.length != -1:
        empty = [None] * feature.length
        items = [item for value in values for item in (empty if value is None else value)]
        inner = build(items, feature.feature)
        return pa.FixedSizeListArray.from_arrays(inner, type=kind, mask=mask)
    if isinstance(feature, List | LargeList):
        offsets, items = [0], []
        for value in values:
            items += value or []
            offsets.append(len(items))
        array = pa.LargeListArray if isinstance(feature, LargeList) else pa.ListArray
        wide = pa.int64() if isinstance(feature, LargeList) else pa.int32()
        inner = build(items, feature.feature)
        return array.from_arrays(pa.array(offsets, wide), inner, type=kind, mask=mask)
    return pa.array(values, kind)


# --- bytes --------------------------------------------------------------------------------------


def utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Wrong(f"is not UTF-8 (byte {error.start + 1})") from None


def parsed(data: bytes) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise Wrong(f"says {twice!r} twice")
        return found

    def refuse(word: str) -> None:
        raise Wrong(f'is not JSON ({word} is no number; write "{word.lower()[:4].strip("i")}")')

    try:
        found = json.loads(utf8(data), object_pairs_hook=once, parse_constant=refuse)
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except UnicodeEncodeError:
        raise Wrong("holds half of a surrogate pair") from None
    except RecursionError:
        raise Wrong("is nested too deeply") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Wrong(f"is not JSON ({error.msg}, {place})") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise Wrong(f"is not JSON ({str(error).partition(';')[0]})") from None
    return found


def label(name: str, feature: Any) -> int:
    # An editor's newline at the end is no part of a name, unless the name has it.
    for found in (name, name.removesuffix("\n").removesuffix("\r")):
        if found in feature.names:
            return int(feature.names.index(found))
    raise Wrong(f"names no class ({name.strip()!r}): {did_you_mean(name.strip(), feature.names)}")


def fits(data: bytes, feature: Any) -> bytes:
    from pyarrow import types

    if types.is_fixed_size_binary(feature.pa_type) and len(data) != feature.pa_type.byte_width:
        raise Wrong(f"has {len(data)} bytes, not {feature.pa_type.byte_width}")
    return data


def decodable(data: bytes, feature: Any, suffix: str) -> None:
    """Refuse media that cannot be decoded; formats that nothing here reads are believed."""
    from datasets import Audio, Image

    try:
        if isinstance(feature, Image) and suffix != "bin":
            media.image(data, max_size=1 << 30)  # so large that it need not be made smaller
        elif isinstance(feature, Audio) and suffix in SOUND_SUFFIXES:
            media.sound(data, None, None)
    except media.Refused as refused:
        raise Wrong(str(refused)) from None


def image_suffix(data: bytes) -> str | None:
    """The suffix of an image's format; None where it is none that is known here."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise _missing("pillow") from None
    try:
        with Image.open(io.BytesIO(data), formats=list(IMAGES)) as image:
            # Some cameras put several pictures into one JPEG.
            return IMAGES.get("JPEG" if image.format == "MPO" else str(image.format))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return None


def sound_suffix(data: bytes) -> str | None:
    """The suffix of a sound's format; None where it is none that is known here."""
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: without its library
        raise _missing("soundfile") from None
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            return SOUNDS.get(str(sound.format))
    except soundfile.SoundFileError:
        return None


def _missing(package: str) -> Fault:
    return PackageFault.of(
        f"the package {package} is not installed, or does not load here",
        hint="install what images and sounds need: pip install 'tinybuild[media]'",
    )


def word(value: Any) -> str:
    words = {bool: "a boolean", int: "a number", float: "a number", str: "a text"}
    words |= {list: "a list", dict: "an object", type(None): "null"}
    return words[type(value)]
