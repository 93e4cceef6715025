"""The features of a dataset: what each value is, and one walk over all that lies inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy
    import pyarrow
    from datasets.features.features import FeatureType
    from numpy.typing import NDArray

    Numbers = NDArray[numpy.int64]

Content = Literal["text", "label", "bytes", "media", "raw", "json"]


class Wrong(Exception):
    """What is wrong with one value; who catches it knows where the value is."""

    def __init__(self, what: str, hint: str = ""):
        super().__init__(what)
        self.hint = hint


def content(feature: FeatureType) -> Content:
    """What a value is: text, the label of a class, bytes, media (bytes and path), raw (JSON as it
    is written), or anything else that JSON can say."""
    import pyarrow as pa
    from datasets import ClassLabel, Json, Value
    from pyarrow import types

    if isinstance(feature, ClassLabel):
        return "label"
    if isinstance(feature, Json):
        return "raw"
    stored = None if isinstance(feature, dict) else getattr(feature, "pa_type", None)
    if stored == pa.struct({"bytes": pa.binary(), "path": pa.string()}):
        return "media"
    if isinstance(feature, Value):
        texts = (types.is_string, types.is_large_string, types.is_string_view)
        if any(fits(stored) for fits in texts):
            return "text"
        data = (types.is_binary, types.is_large_binary, types.is_binary_view)
        if any(fits(stored) for fits in (*data, types.is_fixed_size_binary)):
            return "bytes"
    return "json"


def plain(feature: FeatureType) -> FeatureType:
    """A feature in terms of objects (dict), lists and single values."""
    from datasets import Translation, TranslationVariableLanguages
    from datasets.features.features import _ArrayXD, generate_from_arrow_type

    if isinstance(feature, Translation | TranslationVariableLanguages | _ArrayXD):
        stored = feature()
        return generate_from_arrow_type(getattr(stored, "storage_type", stored))
    return feature


def items(feature: FeatureType) -> FeatureType | None:
    """The feature of a list's items; None for what is not a list."""
    from datasets import LargeList, List

    return feature.feature if isinstance(feature, List | LargeList) else None


def fields(feature: FeatureType) -> Mapping[str, FeatureType]:
    """The features of an object by name; none for what is not an object.

    The codes of the languages of a translation are not among them: they are not texts.
    """
    from datasets import Translation, TranslationVariableLanguages

    if isinstance(feature, Translation | TranslationVariableLanguages):
        inner: Mapping[str, FeatureType] = plain(feature)
        codes = isinstance(feature, TranslationVariableLanguages)
        return {name: text for name, text in inner.items() if not (codes and name == "language")}
    return feature if isinstance(feature, dict) else {}


def walk(
    feature: FeatureType, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FeatureType]]:
    """(path, feature) of a feature and of all inside it, outer ones first. A path holds the names
    of fields; the items of a list have the list's own."""
    yield path, feature
    if (inner := items(feature)) is not None:
        yield from walk(inner, path)
    for name, part in fields(feature).items():
        yield from walk(part, (*path, name))


def holds(feature: FeatureType, wanted: Callable[[FeatureType], bool]) -> bool:
    """Whether a feature, or one inside it, is wanted."""
    return any(wanted(inner) for _, inner in walk(feature))


def replaced(
    feature: FeatureType, other: Callable[[FeatureType], FeatureType | None]
) -> FeatureType:
    """A feature with another in the place of each for which `other` gives one (None: it stays)."""
    import copy

    made = other(feature)
    if made is not None:
        return made
    if isinstance(feature, dict):
        return type(feature)({name: replaced(part, other) for name, part in feature.items()})
    if (inner := items(feature)) is not None:
        made = copy.copy(feature)
        made.feature = replaced(inner, other)
        return made
    return feature


# --- arrays ---------------------------------------------------------------------------------------


def children(array: pyarrow.Array) -> list[pyarrow.Array]:
    """The arrays of an object's fields, missing where the object is; or that of a list's items,
    without what a missing list hides."""
    from pyarrow import types

    return array.flatten() if types.is_struct(array.type) else [array.flatten()]


def rebuilt(array: pyarrow.Array, inner: Sequence[pyarrow.Array]) -> pyarrow.Array:
    """An array of objects or lists with others in the place of its `children`."""
    import numpy
    import pyarrow
    from pyarrow import types

    data_type, missing = array.type, array.is_null()
    if types.is_struct(data_type):
        return pyarrow.StructArray.from_arrays(inner, fields=list(data_type), mask=missing)
    (values,) = inner
    if types.is_fixed_size_list(data_type):
        # The items of a missing list are not among its children, but have to be in the array.
        hidden = numpy.repeat(missing.to_numpy(zero_copy_only=False), data_type.list_size)
        order = numpy.cumsum(~hidden) - 1
        values = values.take(pyarrow.array(order, mask=hidden))
        return pyarrow.FixedSizeListArray.from_arrays(values, type=data_type, mask=missing)
    large = types.is_large_list(data_type)
    offsets = bounds(array).astype("int64" if large else "int32")
    maker = pyarrow.LargeListArray if large else pyarrow.ListArray
    return maker.from_arrays(pyarrow.array(offsets), values, type=data_type, mask=missing)


def bounds(array: pyarrow.Array) -> Numbers:
    """Where each list begins among the `children`, and where the last one ends."""
    import numpy
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    return numpy.concatenate([[0], numpy.cumsum(lengths)])


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where the values of an array are: the names that lead to them, and the row of each."""

    path: tuple[str, ...]
    rows: Numbers


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What is done to the values of some features: an array and its spot -> the array after it."""

    wanted: Callable[[FeatureType], bool]
    apply: Callable[[pyarrow.Array, Spot], pyarrow.Array]


def visited(
    column: pyarrow.ChunkedArray, feature: FeatureType, name: str, visit: Visit
) -> pyarrow.ChunkedArray:
    """A column after a visit to all values inside it that are wanted; what did not change is what
    it was, and not written anew."""
    import numpy
    import pyarrow

    start = 0
    chunks = []
    for chunk in column.chunks:
        spot = Spot(path=(name,), rows=numpy.arange(start, start + len(chunk)))
        chunks.append(_visited(chunk, feature, spot, visit))
        start += len(chunk)
    return pyarrow.chunked_array(chunks, type=column.type)


def _visited(array: pyarrow.Array, feature: FeatureType, spot: Spot, visit: Visit) -> pyarrow.Array:
    if visit.wanted(feature):
        return visit.apply(array, spot)
    if not holds(feature, visit.wanted):
        return array
    before = children(array)
    if (inner := items(feature)) is not None:
        import pyarrow.compute as pc

        rows = spot.rows[pc.list_parent_indices(array).to_numpy()]
        after = [_visited(before[0], inner, replace(spot, rows=rows), visit)]
    else:
        parts = fields(feature)
        after = [
            _visited(part, parts[field.name], replace(spot, path=(*spot.path, field.name)), visit)
            if field.name in parts
            else part
            for field, part in zip(array.type, before, strict=True)
        ]
    same = all(one is other for one, other in zip(before, after, strict=True))
    return array if same else rebuilt(array, after)
