"""Every way to choose rows gives what a plain restatement of it in Python gives."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import gc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Array2D, ClassLabel, Dataset, Features, Image, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import faults

from tinybuild.dataset import select as module
from tinybuild.dataset.rows import Place, Shard, Split
from tinybuild.dataset.select import select
from tinybuild.dataset.sources import Options, open_folder

NUMBERS = Features({"n": Value("int64"), "even": Value("bool")})


class Watched:
    """Shards of numbers 0, 1, 2, ... in all, and which rows were read of each."""

    def __init__(
        self,
        sizes: Sequence[int],
        known: Sequence[bool] | bool = True,
        step: int = 3,
        group: int | None = None,
    ):
        self.read: list[tuple[str, int]] = []  # (shard, rows given) of each table
        self.opened: list[tuple[str, int]] = []
        shards = []
        start = 0
        for index, size in enumerate(sizes):
            here = known if isinstance(known, bool) else known[index]
            shards.append(self._shard(f"s{index}.jsonl", range(start, start + size), step, group))
            shards[-1] = dataclasses.replace(shards[-1], rows=size if here else None)
            start += size
        self.split = Split(shards=tuple(shards), features=NUMBERS)
        self.places = [
            Place(shard=f"s{index}.jsonl", row=row + 1)
            for index, size in enumerate(sizes)
            for row in range(size)
        ]

    def _shard(self, name: str, numbers: range, step: int, group: int | None) -> Shard:
        def read(first: int) -> Iterator[pa.Table]:
            self.opened.append((name, first))
            for begin in range(first, len(numbers), step):
                rows = numbers[begin : begin + step]
                self.read.append((name, len(rows)))
                data = {"n": [*rows], "even": [row % 2 == 0 for row in rows]}
                yield pa.table(data, schema=NUMBERS.arrow_schema)

        starts = tuple(range(0, len(numbers), group)) if group else ()
        return Shard(name=name, rows=None, read=read, starts=starts)

    def select(self, seed: int = 0, **wish: Any) -> list[int]:
        table, places = select(self.split, wish, seed)
        table.validate(full=True)
        assert table.schema.equals(NUMBERS.arrow_schema, check_metadata=True)
        numbers: list[int] = table.column("n").to_pylist()
        assert numbers == sorted(set(numbers))
        assert [self.places[number] for number in numbers] == list(places)
        return numbers

    def refused(self, **wish: Any) -> tuple[str, tuple[Any, ...]]:
        return refused(self.split, wish)


def refused(split: Split, wish: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    refusal = faults.refused(select, split, wish, 0)
    return refusal.text, refusal.only.key


SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=6)


@st.composite
def watched(draw: st.DrawFn) -> Watched:
    sizes = draw(SIZES)
    known = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    if draw(st.booleans()):
        known = [True] * len(sizes)
    group = draw(st.one_of(st.none(), st.integers(1, 6)))
    return Watched(sizes, known, draw(st.integers(1, 5)), group)


@given(watched(), st.integers(1, 60), st.sampled_from(["first", "random", "spread"]), st.booleans())
@settings(deadline=None)
def test_samples(rows: Watched, wanted: int, way: str, even: bool) -> None:
    there = [n for n in range(len(rows.places)) if not even or n % 2 == 0]
    wish = {"samples": wanted, "select": way, "where": {"even": True} if even else {}}
    if len(there) < wanted:
        message, key = rows.refused(**wish)
        if there:
            assert key == ("dataset", "samples")
            assert f"{len(there)} " in message
            assert f"not the {wanted} asked for" in message
            assert rows.select(**wish, at_most=True) == there
        else:
            assert rows.refused(**wish, at_most=True) == (message, key)
        return
    found = rows.select(**wish)
    assert len(found) == wanted
    assert set(found) <= set(there)
    assert rows.select(**wish) == found
    if way == "first":
        assert found == there[:wanted]
    if way == "spread":
        per_shard = Counter(rows.places[n].shard for n in there)
        given_by = Counter(rows.places[n].shard for n in found)
        short = [given_by[s] for s in per_shard if given_by[s] < per_shard[s]]
        # Whoever gives less than it has gives as much as anybody, but for one.
        assert not short or max(short) - min(short) <= 1
        assert not short or max(given_by.values()) <= min(short) + 1
        for shard, count in given_by.items():
            own = [n for n in there if rows.places[n].shard == shard]
            expected = [own[(2 * i + 1) * len(own) // (2 * count)] for i in range(count)]
            assert [n for n in found if rows.places[n].shard == shard] == expected


@given(
    watched(),
    st.lists(st.tuples(st.integers(1, 70), st.integers(0, 5)), min_size=1, max_size=5),
    st.booleans(),
)
@settings(deadline=None)
def test_numbers(rows: Watched, ranges: list[tuple[int, int]], even: bool) -> None:
    text = ", ".join(str(a) if not more else f"{a}-{a + more}" for a, more in ranges)
    wanted = sorted({n for a, more in ranges for n in range(a, a + more + 1)})
    there = [n for n in range(len(rows.places)) if not even or n % 2 == 0]
    wish = {"rows": text, "where": {"even": True} if even else {}}
    if wanted[-1] <= len(there):
        assert rows.select(**wish) == [there[n - 1] for n in wanted]
    else:
        message, key = rows.refused(**wish)
        if there:
            assert key == ("dataset", "rows")
            assert f"there is no row {wanted[-1]}: " in message
            assert f"numbers from 1 to {len(there)}" in message


def test_one_row_by_number() -> None:
    assert Watched([5]).select(rows=3) == [2]


def test_nothing_asked_for_is_all() -> None:
    assert Watched([2, 0, 3]).select() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("known", [True, False])
def test_every_set_of_rows_is_equally_likely(known: bool) -> None:
    # Two of five in two shards: ten sets, 200 of each expected. The seeds are fixed; with 9 degrees
    # of freedom a fair draw is above 27.9 once in a thousand times.
    tries = 2000
    found = Counter(
        tuple(Watched([2, 3], known, step=2).select(seed, samples=2, select="random"))
        for seed in range(tries)
    )
    assert len(found) == 10
    assert sum((count - 200) ** 2 / 200 for count in found.values()) < 27.9


def test_each_row_of_a_long_pass_is_equally_likely() -> None:
    # 30 of 600 in one pass that lets go of rows many times: 20 runs of 30 rows, 200 tries.
    found: Counter[int] = Counter()
    for seed in range(200):
        chosen = Watched([200, 400], False, step=40).select(seed, samples=30, select="random")
        found.update(number // 30 for number in chosen)
    assert sum((found[run] - 300) ** 2 / 300 for run in range(20)) < 43.8  # 19 degrees, 0.001


def test_a_seed_gives_its_own_rows() -> None:
    rows = Watched([50, 50])
    assert rows.select(1, samples=10, select="random") == rows.select(
        1, samples=10, select="random"
    )
    assert rows.select(1, samples=10, select="random") != rows.select(
        2, samples=10, select="random"
    )


def test_first_stops_as_soon_as_it_has_enough() -> None:
    rows = Watched([10, 10], False)
    assert rows.select(samples=4) == [0, 1, 2, 3]
    assert rows.read == [("s0.jsonl", 3), ("s0.jsonl", 3)]


def test_random_reads_only_the_groups_that_hold_what_was_drawn() -> None:
    rows = Watched([100_000], step=10, group=100)
    chosen = rows.select(3, samples=5, select="random")
    groups = {number // 100 for number in chosen}
    assert len(rows.opened) <= len(groups)
    assert sum(count for _, count in rows.read) <= 100 * len(groups)


def test_without_groups_a_shard_is_read_on() -> None:
    rows = Watched([1000], step=10)
    chosen = rows.select(3, samples=20, select="random")
    assert rows.opened == [("s0.jsonl", chosen[0])]


def test_numbers_jump_over_shards_and_groups() -> None:
    rows = Watched([1000, 1000, 1000], step=10, group=50)
    assert rows.select(rows="5,2101-2105,2900") == [4, *range(2100, 2105), 2899]
    assert rows.opened == [("s0.jsonl", 4), ("s2.jsonl", 100), ("s2.jsonl", 899)]
    assert sum(count for _, count in rows.read) == 30


def test_numbers_stop_at_the_last_one() -> None:
    rows = Watched([10, 10], False)
    assert rows.select(rows="2-4") == [1, 2, 3]
    assert {name for name, _ in rows.read} == {"s0.jsonl"}
    assert len(rows.read) == 2


def test_an_empty_share_is_not_read_again() -> None:
    rows = Watched([10] * 5, False, step=10)
    rows.select(samples=1, select="spread")
    assert Counter(name for name, _ in rows.opened) == Counter(
        {f"s{i}.jsonl": 2 if i == 2 else 1 for i in range(5)}
    )


@pytest.mark.parametrize("way", ["random", "spread"])
@pytest.mark.parametrize("known", [True, False])
def test_only_what_is_kept_stays_in_memory(way: str, known: bool) -> None:
    features = Features({"data": Value("binary"), "text": Value("string")})
    step, size = 1000, 200_000  # 1 kB each: tables of 1 MB, 200 MB in all

    def read(first: int) -> Iterator[pa.Table]:
        for begin in range(first, size, step):
            count = min(step, size - begin)
            data = {"data": [bytes(1000)] * count, "text": ["x"] * count}
            yield pa.table(data, schema=features.arrow_schema)
            held.append(pa.total_allocated_bytes() - before)

    held: list[int] = []
    shard = Shard(name="s", rows=size if known else None, read=read)
    gc.collect()
    before = pa.total_allocated_bytes()
    wish = {"samples": 2000, "select": way}
    table, places = select(Split(shards=(shard,), features=features), wish, 0)
    assert table.num_rows == len(places) == 2000
    assert len(held) >= 190
    assert max(held) < 8 << 20  # 2 MB kept, and a table or two
    gc.collect()
    assert pa.total_allocated_bytes() - before < 3 << 20


def test_small_tables_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Watched([3000], step=1)
    table, _ = select(rows.split, {"samples": 3000}, 0)
    assert table.column("n").num_chunks == 1
    monkeypatch.setattr(module, "JOIN_BYTES", 100)
    table, _ = select(rows.split, {"samples": 3000}, 0)
    assert table.column("n").num_chunks > 100
    assert table.column("n").to_pylist() == [*range(3000)]


PLAIN = Features(
    {
        "text": Value("string"),
        "large": Value("large_string"),
        "flag": Value("bool"),
        "small": Value("int8"),
        "unsigned": Value("uint64"),
        "short": Value("float32"),
        "half": Value("float16"),
        "money": Value("decimal128(6, 2)"),
        "day": Value("date32"),
        "moment": Value("timestamp[us]"),
        "zoned": Value("timestamp[ns, tz=Europe/Berlin]"),
        "label": ClassLabel(names=["neg", "pos", "3"]),
        "nothing": Value("null"),
        "list": List(Value("string")),
        "image": Image(),
    }
)
UTC = datetime.UTC
ROWS: list[dict[str, Any]] = [
    {
        "text": "a",
        "large": "b",
        "flag": True,
        "small": 100,
        "unsigned": 2**64 - 1,
        "short": 0.1,
        "half": 0.5,
        "money": decimal.Decimal("1.50"),
        "day": datetime.date(2020, 2, 29),
        "moment": datetime.datetime(2020, 1, 1, 12),
        "zoned": datetime.datetime(2020, 6, 1, 12, tzinfo=UTC),
        "label": 1,
    },
    {},
    {
        "text": "é",
        "large": "",
        "flag": False,
        "small": -3,
        "unsigned": 2**53 + 1,
        "short": float("nan"),
        "half": -1,
        "money": decimal.Decimal("-20"),
        "day": datetime.date(1969, 1, 1),
        "moment": datetime.datetime(2019, 1, 1),
        "zoned": datetime.datetime(2019, 1, 1, tzinfo=UTC),
        "label": 2,
    },
    {"text": "", "label": -1},
]


@pytest.fixture
def plain() -> Split:
    schema = PLAIN.arrow_schema
    whole = [{name: row.get(name) for name in PLAIN} for row in ROWS]

    def read(first: int) -> Iterator[pa.Table]:
        columns = []
        for field in schema:
            values = [row[field.name] for row in whole[first:]]
            if field.type == pa.float16():
                import numpy

                values = [None if v is None else numpy.float16(v) for v in values]
            columns.append(pa.array(values, type=field.type))
        yield pa.Table.from_arrays(columns, schema=schema)

    shard = Shard(name="p", rows=len(ROWS), read=read)
    return Split(shards=(shard,), features=PLAIN)


@pytest.mark.parametrize(
    ("column", "wanted", "rows"),
    [
        ("text", "a", [1]),
        ("text", ["a", "é", None], [1, 2, 3]),
        ("text", None, [2]),
        ("text", "", [4]),
        ("text", {"min": "b"}, [3]),
        ("text", {"min": "", "max": "a"}, [1, 4]),
        ("large", ["", "zz"], [3]),
        ("flag", True, [1]),
        ("flag", [False, None], [2, 3, 4]),
        ("small", 100, [1]),
        ("small", 100.0, [1]),
        ("small", {"max": 1000}, [1, 3]),
        ("small", {"min": -3, "max": 99}, [3]),
        ("small", [-3, 7000], [3]),
        ("unsigned", 2**53 + 1, [3]),
        ("unsigned", {"min": 2**53 + 2}, [1]),
        ("short", 0.1, [1]),
        ("short", {"max": 0.1}, [1]),
        ("short", {"min": 0.1, "max": 1e300}, [1]),
        ("half", -1, [3]),
        ("half", {"min": 0}, [1]),
        ("money", 1.5, [1]),
        ("money", {"max": 1}, [3]),
        ("day", "2020-02-29", [1]),
        ("day", {"max": "1970-01-01"}, [3]),
        ("moment", "2020-01-01T12:00:00", [1]),
        ("moment", "2020-01-01T13:00:00+01:00", [1]),
        ("moment", ["2019-01-01", None], [2, 3, 4]),
        ("moment", {"min": "2019-01-02"}, [1]),
        ("zoned", "2020-06-01T14:00:00+02:00", [1]),
        ("zoned", "2020-06-01T12:00:00", [1]),
        ("zoned", {"max": "2020-01-01"}, [3]),
        ("label", "pos", [1]),
        ("label", 1, [1]),
        ("label", "3", [3]),
        ("label", [2, "pos"], [1, 3]),
        ("label", -1, [4]),
        ("label", {"min": 1}, [1, 3]),
        ("label", {"max": "neg"}, [4]),
        ("nothing", None, [1, 2, 3, 4]),
    ],
)
def test_where(plain: Split, column: str, wanted: Any, rows: list[int]) -> None:
    _, places = select(plain, {"where": {column: wanted}}, 0)
    assert [place.row for place in places] == rows


def test_where_means_all_of_them(plain: Split) -> None:
    _, places = select(plain, {"where": {"text": ["a", ""], "label": {"max": 0}}}, 0)
    assert [str(place) for place in places] == ["p, row 4"]


@pytest.mark.parametrize(
    ("column", "wanted", "said"),
    [
        ("texd", "a", ["the dataset has no column texd; its plain columns: text (string), large"]),
        ("texd", "a", ["did you mean text?"]),
        (
            "list",
            "a",
            ["the column list holds List, not single values; its plain columns: tex"],
        ),
        ("image", None, ["the column image holds Image, not single values", "label (class label)"]),
        ("text", 5, ["5 is not a text, which the column text holds", 'write "5"']),
        ("text", ["a", True], ["true is not a text"]),
        ("text", {"min": 5}, ["5 is not a text"]),
        ("flag", "true", ['"true" is not true or false', "without quotes"]),
        ("flag", 1, ["1 is not true or false"]),
        ("flag", {"min": 0}, None),
        ("flag", {"min": True}, ["the column flag (bool) has no order"]),
        ("small", "4", ['"4" is not a whole number', "without quotes"]),
        ("small", True, ["true is not a whole number"]),
        ("small", 4.5, ["4.5 is not a whole number", "write 4 or 5"]),
        ("small", {"max": -4.5}, ["write -5 or -4"]),
        ("small", float("inf"), ["inf is not a whole number"]),
        ("small", 2**70, ["is not within what int8 can say"]),
        ("unsigned", -1, ["-1 is not within what uint64 can say"]),
        ("short", "x", ['"x" is not a number']),
        ("short", float("nan"), ["nan is not a number"]),
        ("money", 1.555, ["1.555 is not within what decimal128(6, 2) can say"]),
        ("money", float("inf"), ["inf is not within what decimal128(6, 2) can say"]),
        ("money", "1", ['"1" is not a number']),
        ("day", "yesterday", ['"yesterday" is not a date', "write 2026-01-31"]),
        ("day", 2020, ["2020 is not a date"]),
        ("day", "2020-01-01T12:00", ['"2020-01-01T12:00" is not a day', "write 2020-01-01"]),
        ("zoned", "9999-01-01", ['"9999-01-01" is not within what timestamp[ns, tz=Europe/Berl']),
        ("label", "poz", ['"poz" is not one of the labels', "did you mean pos?"]),
        ("label", "x", ["known: 3, neg, pos"]),
        ("label", 7, ["7 is not one of the labels", "numbers from 0 to 2, or names"]),
        ("label", True, ["true is not one of the labels"]),
        ("nothing", "x", ['"x" is not null, which the column nothing holds']),
        ("nothing", {"min": 1}, ["is not null"]),
    ],
)
def test_where_refuses(plain: Split, column: str, wanted: Any, said: list[str] | None) -> None:
    message, key = refused(plain, {"where": {column: wanted}})
    assert key == ("dataset", "where", column)
    for part in said or []:
        assert part in message


def test_refusals() -> None:
    rows = Watched([3, 4], False)
    fewer = (
        "the dataset has 7 rows, not the 10 asked for\n  hint: ask for at most 7, or say at_most"
    )
    for way in ("first", "random", "spread"):
        assert rows.refused(samples=10, select=way)[0].startswith(fewer)
    message, key = rows.refused(samples=10, where={"n": {"min": 5}})
    assert key == ("dataset", "samples")
    assert message.startswith(
        "2 of the dataset's 7 rows have what `where` asks for, not the 10 asked for"
    )
    message, key = rows.refused(samples=1, where={"n": 50}, at_most=True)
    assert key == ("dataset", "where")
    assert message.startswith("none of the dataset's 7 rows has what `where` asks for")
    assert Watched([0, 0]).refused(samples=1, at_most=True) == (
        "the dataset has no rows",
        ("dataset", "source"),
    )
    message, key = rows.refused(rows="2,9")
    assert key == ("dataset", "rows")
    assert message == (
        "there is no row 9: the dataset has 7 rows\n  hint: give numbers from 1 to 7"
    )
    assert rows.refused(rows="9-4")[0] == ("the range 9-4 runs backwards\n  hint: write 4-9")
    assert rows.refused(rows="1-" + "9" * 30)[0] == "no dataset has so many rows"
    assert rows.refused(rows="1-" + "9" * 18)[0].startswith("there is no row 999,999,")


def test_a_shard_with_fewer_rows_than_it_says() -> None:
    rows = Watched([5])
    (shard,) = rows.split.shards
    wrong = Shard(name="a.parquet", rows=9, read=shard.read)
    split = Split(shards=(wrong,), features=NUMBERS)
    message, key = refused(split, {"rows": "1-9"})
    assert message == "a.parquet has fewer rows than it says: 5 rows at most"
    assert key == ("dataset", "source")


def test_nested_and_media_columns_come_through() -> None:
    features = Features(
        {
            "list": List(Image()),
            "pairs": [{"a": Value("int8")}],
            "n": Value("int8"),
            "x": Array2D((1, 2), "int8"),
        }
    )
    rows: list[dict[str, Any]] = [
        {"list": [{"bytes": b"x", "path": None}, None], "pairs": None, "n": 1, "x": [[1, 2]]},
        {"list": [], "pairs": [{"a": None}, None], "n": 2, "x": None},
        {"list": None, "pairs": [], "n": 3, "x": [[5, 6]]},
    ]
    whole = Dataset.from_list(rows, features=features).with_format("arrow")[:]
    shard = Shard(name="s", rows=3, read=lambda first: iter([whole[first:]]))
    table, _ = select(Split(shards=(shard,), features=features), {"rows": "1,3"}, 0)
    assert table.to_pylist() == [rows[0], rows[2]]
    assert Features.from_arrow_schema(table.schema) == features


def test_parquet_is_read_no_further_than_it_must_be(tmp_path: Path) -> None:
    """A damaged row group is no trouble to whoever does not need it."""
    path = tmp_path / "data" / "a.parquet"
    path.parent.mkdir()
    schema = NUMBERS.arrow_schema
    whole = pa.table({"n": [*range(1000)], "even": [None] * 1000}, schema=schema)
    pq.write_table(whole, path, row_group_size=50, compression="none", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(3).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 60] = b"\xff" * 60
    path.write_bytes(data)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    split = open_folder(path.parent, scratch=scratch, options=Options()).open("default", "train")
    assert split.shards[0].starts == tuple(range(0, 1000, 50))
    for wish, numbers in (
        ({"rows": "1,150,201-203,1000"}, [0, 149, 200, 201, 202, 999]),
        ({"samples": 3}, [0, 1, 2]),
        ({"samples": 2, "select": "spread"}, [250, 750]),
    ):
        table, _ = select(split, wish, 0)
        assert table.column("n").to_pylist() == numbers
    for wish in ({"rows": "151"}, {"samples": 160}, {"samples": 1000, "select": "random"}):
        message, key = refused(split, wish)
        assert message.startswith("a.parquet: row group 4 (rows 151-200) cannot be read: ")
        assert key == ("dataset", "source")
