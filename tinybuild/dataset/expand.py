"""Any number of rows out of a few: in turn, or each with its number written into its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinybuild.dataset.features import kind_of
from tinybuild.errors import BuildFault

if TYPE_CHECKING:
    import numpy
    import pyarrow
    from datasets import Features

    Flags = numpy.ndarray[Any, numpy.dtype[numpy.bool_]]
    Numbers = numpy.ndarray[Any, numpy.dtype[numpy.int64]]

KEY = ("dataset", "expand")
ROLES = ("role", "from", "type")
# So many bytes of the column of texts are copied to be written to at once: all turns of a column of
# texts alone, one turn where each object has an image beside its text.
BLOCK = 16 << 20


def expand(table: pyarrow.Table, features: Features, how: str) -> pyarrow.Table:
    """`how` many rows of `table`, and how: "100.repeat", "1k.unique" (k is 1,000).

    repeat takes the rows in turn. unique does too, and writes the number of each row made, from 1,
    and a space before its text: before the first string in the column of texts, which is the first
    column that has a string in any row (within lists and objects, the first string in their order;
    names of classes, languages and roles are none). Since no text there begins with another row's
    number, no two rows are equal. Of the rows without a string in that column, the first is kept in
    the first turn; all others are passed over.

    What is not written to is shared with `table`: 10,000 rows take no more memory for their images
    than the seed rows, as long as nobody joins the chunks. Raises BuildFault.
    """
    import pyarrow as pa

    amount, _, kind = how.partition(".")
    count = int(amount.removesuffix("k")) * (1000 if amount.endswith("k") else 1)
    if not table.num_rows:
        raise BuildFault.of(f"there is no row to make {how} from", key=KEY)
    table = table.combine_chunks()  # of the seed rows, before each of their chunks is taken again
    if kind == "repeat":
        return pa.concat_tables(_turns(table, table, count))
    column, texts = _texts(table, features)
    if column is None:
        raise BuildFault.of(
            f"the rows hold no text, so {how} cannot write their numbers into it",
            key=KEY,
            hint=f"use {amount}.repeat, or give the rows a text",
        )
    with_text = texts.nonzero()[0]
    first, rest = table, table.take(pa.array(with_text))
    silent = (~texts).nonzero()[0]
    if len(silent) > 1:
        keep = sorted([*with_text.tolist(), int(silent[0])])
        first = table.take(pa.array(keep))
    turns = _turns(first, rest, count)
    together = max(1, BLOCK // max(1, table[column].nbytes))
    place = table.schema.get_field_index(column)
    made, done = [], 0
    for start in range(0, len(turns), together):
        block = pa.concat_tables(turns[start : start + together])
        array = _whole(block[column])
        numbers = _range(done + 1, block.num_rows)
        written = _write(array, features[column], _has(array, features[column]), numbers)
        made.append(block.set_column(place, table.schema.field(place), written))
        done += block.num_rows
    return pa.concat_tables(made)


def _turns(first: pyarrow.Table, rest: pyarrow.Table, count: int) -> list[pyarrow.Table]:
    """`first`, then `rest` again and again, so that there are `count` rows; nothing is copied."""
    turns = [first.slice(0, count)]
    left = count - turns[0].num_rows
    while left > 0:
        turns.append(rest.slice(0, left))
        left -= turns[-1].num_rows
    return turns


def _whole(column: pyarrow.ChunkedArray) -> pyarrow.Array:
    """A column as one array; one chunk is not copied."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _range(first: int, count: int) -> Numbers:
    import numpy as np

    return np.arange(first, first + count)


def _texts(table: pyarrow.Table, features: Features) -> tuple[str | None, Any]:
    """The column of texts, and which of its rows have one."""
    for name, feature in features.items():
        found = _has(_whole(table[name]), feature)
        if found.any():
            return name, found
    return None, None


def _parts(feature: Any) -> Sequence[tuple[str, Any]]:
    """The fields of an object that may hold texts."""
    from datasets import List, Translation, TranslationVariableLanguages, Value

    if isinstance(feature, Translation):
        return [(field.name, Value("string")) for field in feature()]
    if isinstance(feature, TranslationVariableLanguages):
        return [("translation", List(Value("string")))]  # and no codes of languages
    fields = list(feature.items()) if isinstance(feature, dict) else []
    # Of a message ({role, content}) the role is no text, which a chat template knows by its name.
    said = [field for field in fields if field[0] not in ROLES]
    return said if any(_may(inner) for _, inner in said) else fields


def _may(feature: Any) -> bool:
    """Whether values may hold a string."""
    if _is_list(feature):
        return _may(feature.feature)
    return kind_of(feature) == "text" or any(_may(inner) for _, inner in _parts(feature))


def _is_list(feature: Any) -> bool:
    from datasets import LargeList, List

    return isinstance(feature, List | LargeList)


def _valid(array: pyarrow.Array) -> Flags:
    valid: Flags = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _bounds(array: pyarrow.Array) -> tuple[Numbers, Numbers]:
    """Where each list begins and ends in `array.values`; a missing one is empty."""
    import numpy as np
    from pyarrow import types

    if types.is_fixed_size_list(array.type):
        size = array.type.list_size
        starts = (np.arange(len(array)) + array.offset) * size
        ends = starts + size
    else:
        offsets = array.offsets.to_numpy()
        starts, ends = offsets[:-1], offsets[1:]
    return starts, np.where(_valid(array), ends, starts)


def _has(array: pyarrow.Array, feature: Any) -> Flags:
    """Which values hold a string."""
    import numpy as np

    if kind_of(feature) == "text":
        return _valid(array)
    found = np.zeros(len(array), bool)
    if _is_list(feature):
        starts, ends = _bounds(array)
        before = np.concatenate([[0], np.cumsum(_has(array.values, feature.feature))])
        holds: Flags = before[ends] > before[starts]
        return holds
    for name, inner in _parts(feature):
        found |= _has(array.field(name), inner)
    return found & _valid(array)


def _write(array: pyarrow.Array, feature: Any, where: Flags, numbers: Numbers) -> pyarrow.Array:
    """The array with a number before the first string of each value `where` says so.

    where: only values that hold a string; numbers: as long as the array.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    if not where.any():
        return array
    missing = array.is_null()
    if kind_of(feature) == "text":
        texts = array.cast(pa.large_string())
        prefix = pa.array(numbers).cast(pa.large_string())
        joined = pc.binary_join_element_wise(prefix, texts, pa.scalar(" ", pa.large_string()))
        return pc.if_else(pa.array(where), joined, texts).cast(array.type)
    if _is_list(feature):
        values = array.values
        starts, _ = _bounds(array)
        texts = _has(values, feature.feature).nonzero()[0]
        firsts = texts[np.searchsorted(texts, starts[where])]
        inside, theirs = np.zeros(len(values), bool), np.zeros(len(values), np.int64)
        inside[firsts], theirs[firsts] = True, numbers[where]
        written = _write(values, feature.feature, inside, theirs)
        if types.is_fixed_size_list(array.type):
            size = array.type.list_size
            written = written.slice(array.offset * size, len(array) * size)
            return pa.FixedSizeListArray.from_arrays(written, type=array.type, mask=missing)
        # from_arrays takes no mask with offsets that do not begin at the start of their buffer.
        kind = pa.LargeListArray if types.is_large_list(array.type) else pa.ListArray
        wide = pa.int64() if types.is_large_list(array.type) else pa.int32()
        offsets = pa.array(np.append(starts, array.offsets[-1].as_py()), wide)
        return kind.from_arrays(offsets, written, type=array.type, mask=missing)
    parts = {field.name: array.field(field.name) for field in array.type}
    left = where.copy()
    for name, inner in _parts(feature):
        here = left & _has(parts[name], inner)
        parts[name] = _write(parts[name], inner, here, numbers)
        left &= ~here
    return pa.StructArray.from_arrays(list(parts.values()), fields=list(array.type), mask=missing)
