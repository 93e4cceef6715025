"""The features of a dataset: which kind of value each one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow


def form(feature: Any) -> Any:
    """A feature in terms of objects (dict), lists, and single values."""
    from datasets import List, Translation, TranslationVariableLanguages, Value
    from datasets.features.features import _ArrayXD, generate_from_arrow_type

    if isinstance(feature, Translation):
        return {field.name: Value("string") for field in feature()}
    if isinstance(feature, TranslationVariableLanguages):
        return {name: List(Value("string")) for name in ("language", "translation")}
    if isinstance(feature, _ArrayXD):
        return generate_from_arrow_type(feature().storage_type)
    return feature


def _is_media(feature: Any) -> bool:
    import pyarrow as pa

    media = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return not isinstance(feature, dict) and bool(getattr(feature, "pa_type", None) == media)


def kind_of(feature: Any) -> str:
    """Which kind of file a value has: text, label, bytes, media, raw (JSON as it is) or json."""
    from datasets import ClassLabel, Json, Value

    if isinstance(feature, ClassLabel):
        return "label"
    if isinstance(feature, Json):
        return "raw"
    if _is_media(feature):
        return "media"
    if isinstance(feature, Value):
        if _is_text(feature.pa_type):
            return "text"
        if _is_bytes(feature.pa_type):
            return "bytes"
    return "json"


def _is_text(found: pyarrow.DataType) -> bool:
    from pyarrow import types

    return any(
        kind(found) for kind in (types.is_string, types.is_large_string, types.is_string_view)
    )


def _is_bytes(found: pyarrow.DataType) -> bool:
    from pyarrow import types

    kinds = (types.is_binary, types.is_large_binary, types.is_binary_view)
    return any(kind(found) for kind in (*kinds, types.is_fixed_size_binary))
