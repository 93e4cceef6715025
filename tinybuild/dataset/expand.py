"""Any number of rows out of a few: in turn, or each with its number written into its text."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tinybuild.errors import BuildFault
from tinybuild.features import (
    bounds,
    children,
    content,
    fields,
    holds,
    items,
    rebuilt,
)

if TYPE_CHECKING:
    import numpy
    import pyarrow
    from datasets import Features
    from datasets.features.features import FeatureType
    from numpy.typing import NDArray

    Flags = NDArray[numpy.bool_]
    Numbers = NDArray[numpy.int64]

KEY = ("dataset", "expand")
SPEAKERS = ("role", "from", "type")  # fields of a message that are not its text
# So many bytes of the column of texts are copied to be written to at once: all turns of a column of
# texts alone, one turn where each object has an image beside its text.
BLOCK = 16 << 20


def expand(table: pyarrow.Table, features: Features, how: str) -> pyarrow.Table:
    """`how` many rows of `table`, and how: "100.repeat", "1k.unique" (k is 1,000).

    repeat takes the rows in turn. unique does too, and writes the number of each row made, from 1,
    and a space before its text: before the first string in the column of texts, which is the first
    column that has a string in any row (within lists and objects, the first string in their order;
    names of classes, languages, roles and files of media are none). Since no text there begins with
    another row's number, no two rows are equal. Of the rows without a string in that column, the
    first is kept in the first turn; all others are passed over.

    What is not written to is shared with `table`: 10,000 rows take no more memory for their images
    than the seed rows, as long as nobody joins the chunks. Raises BuildFault.
    """
    import pyarrow as pa

    amount, _, way = how.partition(".")
    count = int(amount.removesuffix("k")) * (1000 if amount.endswith("k") else 1)
    if not table.num_rows:
        raise BuildFault.of(f"there is no row to make {how} from", key=KEY)
    table = table.combine_chunks()  # of the seed rows, before each of their chunks is taken again
    if way == "repeat":
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


def _texts(table: pyarrow.Table, features: Features) -> tuple[str | None, Flags]:
    """The column of texts, and which of its rows have one."""
    import numpy as np

    for name, feature in features.items():
        texts = _has(_whole(table[name]), feature)
        if texts.any():
            return name, texts
    return None, np.zeros(0, bool)


def _is_text(feature: FeatureType) -> bool:
    return content(feature) == "text"


@functools.cache
def _media() -> str:
    """A pattern for the name of a file of media: a word with one of their suffixes."""
    from datasets.packaged_modules import _MODULE_TO_EXTENSIONS

    folders = ("imagefolder", "audiofolder", "videofolder", "pdffolder")
    suffixes = {s.lower() for name in folders for s in _MODULE_TO_EXTENSIONS[name]}
    return rf"^\S+({'|'.join(map(re.escape, sorted(suffixes)))})$"


def _parts(feature: FeatureType) -> Mapping[str, FeatureType]:
    """The fields of an object that may hold texts."""
    every = fields(feature)
    # The role of a message ({role, content}) is not a text: a chat template knows it by its name.
    said = {name: inner for name, inner in every.items() if name not in SPEAKERS}
    return said if any(_may(inner) for inner in said.values()) else every


def _may(feature: FeatureType) -> bool:
    """Whether values may hold a string."""
    return holds(feature, _is_text)


def _has(array: pyarrow.Array, feature: FeatureType) -> Flags:
    """Which values hold a text: a string, and not the name of a file of media."""
    import numpy as np
    import pyarrow.compute as pc

    valid: Flags = array.is_valid().to_numpy(zero_copy_only=False)
    if _is_text(feature):
        named = pc.match_substring_regex(array.cast("large_string"), _media(), ignore_case=True)
        files: Flags = pc.fill_null(named, False).to_numpy(zero_copy_only=False)
        return valid & ~files
    if (inner := items(feature)) is not None:
        (values,), ends = children(array), bounds(array)
        before = np.concatenate([[0], np.cumsum(_has(values, inner))])
        holding: Flags = before[ends[1:]] > before[ends[:-1]]
        return holding
    holding = np.zeros(len(array), bool)
    if parts := _parts(feature):
        by_name = dict(zip([field.name for field in array.type], children(array), strict=True))
        for name, part in parts.items():
            holding |= _has(by_name[name], part)
    return holding


def _write(
    array: pyarrow.Array, feature: FeatureType, where: Flags, numbers: Numbers
) -> pyarrow.Array:
    """The array with a number before the first string of each value `where` says so.

    where: only values that hold a string; numbers: as long as the array.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not where.any():
        return array
    if _is_text(feature):
        texts = array.cast(pa.large_string())
        prefix = pa.array(numbers).cast(pa.large_string())
        joined = pc.binary_join_element_wise(prefix, texts, pa.scalar(" ", pa.large_string()))
        return pc.if_else(pa.array(where), joined, texts).cast(array.type)
    inside = children(array)
    if (inner := items(feature)) is not None:
        (values,) = inside
        texts = _has(values, inner).nonzero()[0]
        firsts = texts[np.searchsorted(texts, bounds(array)[:-1][where])]
        here, theirs = np.zeros(len(values), bool), np.zeros(len(values), np.int64)
        here[firsts], theirs[firsts] = True, numbers[where]
        return rebuilt(array, [_write(values, inner, here, theirs)])
    places = {field.name: place for place, field in enumerate(array.type)}
    left = where.copy()
    for name, part in _parts(feature).items():
        place = places[name]
        here = left & _has(inside[place], part)
        inside[place] = _write(inside[place], part, here, numbers)
        left &= ~here
    return rebuilt(array, inside)
