"""One value outside Arrow: as JSON or bytes, and back as an array of its feature's type."""

from __future__ import annotations

import base64
import decimal
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tinybuild.errors import did_you_mean
from tinybuild.features import Content, Wrong, content, items, plain

if TYPE_CHECKING:
    import pyarrow
    from datasets.features.features import FeatureType

    from tinybuild.paths import Json

# --- JSON ---------------------------------------------------------------------------------------


def encode(scalar: pyarrow.Scalar, feature: FeatureType) -> Json:
    """An Arrow value as JSON data that `decode` takes back."""
    from pyarrow import types

    if not scalar.is_valid:
        return None
    if hasattr(feature, "shape"):
        scalar = scalar.value
    feature = plain(feature)
    if isinstance(feature, dict):
        return {name: encode(scalar[name], part) for name, part in feature.items()}
    if (inner := items(feature)) is not None:
        return [encode(item, inner) for item in scalar]
    match content(feature):
        case "media":
            data = scalar["bytes"].as_py()
            return {"bytes": data and _packed(data), "path": scalar["path"].as_py()}
        case "bytes":
            return _packed(scalar.as_py())
        case "raw":
            text: str = scalar.value.as_py()
            return text
        case "label":
            number: int = scalar.as_py()
            return class_name(number, feature) or number
    if types.is_temporal(scalar.type):
        return _time(scalar)
    if types.is_decimal(scalar.type):
        return str(scalar.as_py())
    value: Json = float(scalar.as_py()) if types.is_floating(scalar.type) else scalar.as_py()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


def class_name(number: int, feature: FeatureType) -> str | None:
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


def decode(value: Json, feature: FeatureType) -> object:
    """JSON data as what `build` takes for a feature. Raises Wrong."""
    if value is None:
        return None
    feature = plain(feature)
    if isinstance(feature, dict):
        if not isinstance(value, dict):
            raise Wrong(f"holds {word(value)}, not an object with {', '.join(feature)}")
        for name in value:
            if name not in feature:
                raise Wrong(f"has a key {name!r} that the type does not have: {', '.join(feature)}")
        return {name: decode(value.get(name), part) for name, part in feature.items()}
    if (inner := items(feature)) is not None:
        if not isinstance(value, list):
            raise Wrong(f"holds {word(value)}, not a list")
        if (length := getattr(feature, "length", -1)) not in (-1, len(value)):
            raise Wrong(f"holds a list of {len(value)}, not of {length}")
        return [decode(item, inner) for item in value]
    return _decoders()[content(feature)](value, feature)


def _decoders() -> Mapping[Content, Callable[[Json, FeatureType], object]]:
    return {
        "text": lambda value, feature: _text(value),
        "label": _label,
        "bytes": lambda value, feature: fits(_unpacked(value), feature),
        "media": lambda value, feature: _medium(value),
        "raw": lambda value, feature: _raw(value),
        "json": lambda value, feature: _single(value, feature.pa_type),
    }


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise Wrong(f"holds {word(value)}, not a text")
    return value


def _raw(value: Json) -> str:
    parsed(_text(value).encode())
    return _text(value)


def _medium(value: Json) -> dict[str, bytes | str | None]:
    if not isinstance(value, dict) or set(value) != {"bytes", "path"}:
        raise Wrong("does not hold an object with the keys bytes (base64) and path")
    data, path = value["bytes"], value["path"]
    if not isinstance(path, str | None):
        raise Wrong(f"holds {word(path)} as a path, not a text")
    return {"bytes": None if data is None else _unpacked(data), "path": path}


def _unpacked(value: Json) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except (ValueError, Wrong):
        raise Wrong("does not hold bytes in base64") from None


def _label(value: Json, feature: FeatureType) -> int:
    if isinstance(value, str):
        return label(value, feature)
    if type(value) is not int or not -(2**63) <= value < len(feature.names):
        raise Wrong(f"holds {value!r}, not the name or the number of a class")
    return value


def _single(value: Json, data_type: pyarrow.DataType) -> object:
    """A number, a boolean, a decimal or a time. Arrow alone would cut 1.5 to an integer."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_temporal(data_type) and type(value) in (str, int):
        return _moment(value, data_type)
    if types.is_floating(data_type) and value in ("nan", "inf", "-inf"):
        return float(value)
    fitting = {
        types.is_boolean: (bool,),
        types.is_integer: (int,),
        types.is_floating: (int, float),
        types.is_decimal: (int, str),
    }
    try:
        # Of the type null, nothing fits.
        if not any(is_kind(data_type) and type(value) in of for is_kind, of in fitting.items()):
            raise ValueError
        made = decimal.Decimal(str(value)) if types.is_decimal(data_type) else value
        if isinstance(made, decimal.Decimal) and not made.is_finite():
            raise ValueError
        pa.array([made], data_type)
    except (pa.ArrowException, OverflowError, ValueError, decimal.InvalidOperation):
        text = json.dumps(value, ensure_ascii=False)[:60]
        raise Wrong(f"holds {text}, which does not fit the type {data_type}") from None
    return made


def _moment(value: Json, data_type: pyarrow.DataType) -> int:
    """The number that Arrow keeps for a time."""
    import pyarrow as pa

    try:
        if isinstance(value, str):
            return int(pa.scalar(value).cast(data_type).value)
        return int(pa.array([value], data_type)[0].value)
    except (pa.ArrowException, OverflowError):
        raise Wrong(f"holds {value!r}, which does not fit the type {data_type}") from None


def build(values: Sequence[object], feature: FeatureType) -> pyarrow.Array:
    """An array of the feature's type, of what `decode` gives for each row."""
    import pyarrow as pa
    from datasets.features.features import get_nested_type

    wanted = get_nested_type(feature)
    # Arrow builds no extension types inside others, and casts to them what they are stored as.
    return pa.array(values, _storage(wanted)).cast(wanted)


def _storage(wanted: pyarrow.DataType) -> pyarrow.DataType:
    """The type without extension types: what they are stored as in their place."""
    import pyarrow as pa
    from pyarrow import types

    if isinstance(wanted, pa.BaseExtensionType):
        return _storage(wanted.storage_type)
    if types.is_struct(wanted):
        return pa.struct([field.with_type(_storage(field.type)) for field in wanted])
    if types.is_fixed_size_list(wanted):
        return pa.list_(_storage(wanted.value_type), wanted.list_size)
    if types.is_list(wanted):
        return pa.list_(_storage(wanted.value_type))
    if types.is_large_list(wanted):
        return pa.large_list(_storage(wanted.value_type))
    return wanted


# --- bytes --------------------------------------------------------------------------------------


def utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Wrong(f"is not UTF-8 (byte {error.start + 1})") from None


def parsed(data: bytes) -> Json:
    """What a JSON file says. Raises Wrong, also for what some readers take and others do not."""

    def once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise Wrong(f"says {name!r} twice")
        return dict(pairs)

    def refuse(word: str) -> None:
        raise Wrong(f'is not JSON ({word} is not a number; write "{word.lower()[:4].strip("i")}")')

    try:
        value: Json = json.loads(utf8(data), object_pairs_hook=once, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is not a text
    except UnicodeEncodeError:
        raise Wrong("holds half of a surrogate pair") from None
    except RecursionError:
        raise Wrong("is nested too deeply") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Wrong(f"is not JSON ({error.msg}, {place})") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise Wrong(f"is not JSON ({str(error).partition(';')[0]})") from None
    return value


def label(text: str, feature: FeatureType) -> int:
    # A newline that an editor puts at the end is not part of a name, unless the name has it.
    for name in (text, text.removesuffix("\n").removesuffix("\r")):
        if name in feature.names:
            return int(feature.names.index(name))
    raise Wrong(f"names no class ({text.strip()!r}): {did_you_mean(text.strip(), feature.names)}")


def fits(data: bytes, feature: FeatureType) -> bytes:
    from pyarrow import types

    if types.is_fixed_size_binary(feature.pa_type) and len(data) != feature.pa_type.byte_width:
        raise Wrong(f"has {len(data)} bytes, not {feature.pa_type.byte_width}")
    return data


def word(value: object) -> str:
    words = {bool: "a boolean", int: "a number", float: "a number", str: "a text"}
    words |= {list: "a list", dict: "an object", type(None): "null"}
    return words[type(value)]
