"""Features and rows of every kind, drawn; and a folder of records read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tinybuild.dataset.records import open_records

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
EDGY = st.sampled_from(
    [
        *(
            "",
            "a.b",
            "..",
            ".",
            "a_00",
            "_00",
            "a_1",
            "A",
            "a",
            "%",
            "%41",
            "a/b",
            "..\\x",
            " x ",
            "x.",
        ),
        *(
            "é",
            "e\u0301",
            "漢字",
            "a\nb",
            "con",
            "x.null",
            "x.txt",
            "features",
            "\u00df",
            "SS",
            "ss",
        ),
    ]
)


def leaf(times: bool) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    """(feature, its values) of one value; without times, Python can hold all values."""
    from datasets import ClassLabel, Value

    pairs = [
        (Value("string"), TEXT),
        (Value("large_string"), TEXT),
        (Value("binary"), st.binary(max_size=5)),
        (Value("int32"), st.integers(-(2**31), 2**31 - 1)),
        (Value("int64"), st.integers(-(2**63), 2**63 - 1)),
        (Value("uint8"), st.integers(0, 255)),
        (Value("float32"), st.floats(width=32, allow_nan=False)),
        (Value("float64"), st.floats(allow_nan=False)),
        (Value("bool"), st.booleans()),
        (ClassLabel(names=["no", "yes", "a\n", " x"]), st.integers(-1, 3)),
    ]
    long_ago = [
        (Value("timestamp[ns]"), st.integers(-(2**63) + 1, 2**63 - 1)),
        (Value("timestamp[s]"), st.integers(-(2**63) + 1, 2**63 - 1)),
        (Value("timestamp[us, tz=+02:00]"), st.integers(-(2**62), 2**62)),
        (Value("date32"), st.integers(-(2**31), 2**31 - 1)),
        (Value("time64[us]"), st.integers(0, 86_399_999_999)),
        (Value("duration[s]"), st.integers(-(2**40), 2**40)),
    ]
    return st.sampled_from([*pairs, *(long_ago if times else [])])


def nested(times: bool) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    from datasets import LargeList, List

    def grow(
        inner: st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]],
    ) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
        def listed(pair: tuple[Any, st.SearchStrategy[Any]], kind: int) -> Any:
            feature, values = pair
            items = st.none() | values
            if kind == 2:
                return List(feature, length=2), st.lists(items, min_size=2, max_size=2)
            made = LargeList(feature) if kind else List(feature)
            return made, st.lists(items, max_size=3)

        def held(pairs: dict[str, tuple[Any, st.SearchStrategy[Any]]]) -> Any:
            feature = {name: pair[0] for name, pair in pairs.items()}
            return feature, st.fixed_dictionaries(
                {name: st.none() | pair[1] for name, pair in pairs.items()}
            )

        return st.builds(listed, inner, st.integers(0, 2)) | st.dictionaries(
            st.sampled_from(["a", "b c", "_type_", "ü"]), inner, min_size=1, max_size=2
        ).map(held)

    return st.recursive(leaf(times), grow, max_leaves=3)


@st.composite
def tables(draw: st.DrawFn, times: bool = True) -> tuple[Any, list[dict[str, Any]]]:
    """(features, rows)."""
    from datasets import Features

    # Arrow ends the names of columns at a NUL.
    name = EDGY | TEXT.filter(lambda text: "\0" not in text)
    columns = draw(st.dictionaries(name, nested(times), min_size=1, max_size=4))
    rows = draw(
        st.lists(
            st.fixed_dictionaries({name: st.none() | pair[1] for name, pair in columns.items()}),
            min_size=1,
            max_size=3,
        )
    )
    return Features({name: pair[0] for name, pair in columns.items()}), rows


def read(folder: Path) -> tuple[pyarrow.Table, Features]:
    """All rows of a folder of records."""
    import pyarrow as pa

    source = open_records(folder)
    assert dict(source.names) == {"default": ("train",)}
    split = source.open("default", "train")
    (shard,) = split.shards
    table = pa.concat_tables(shard.read(0))
    assert table.num_rows == shard.rows
    assert table.schema.equals(split.features.arrow_schema, check_metadata=True)
    table.validate(full=True)
    return table, split.features
