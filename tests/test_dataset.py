"""Rows are sampled from every format, kept as they are, and written as Parquet that loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeJob, contents

from tinybuild import dataset
from tinybuild.errors import BuildFault
from tinybuild.files import digest
from tinybuild.workers import Job

DATA = "data/train-00000-of-00001.parquet"
Files = Mapping[str, bytes]


def wish(
    job: MakeJob, tmp_path: Path, files: Files | None, section: Mapping[str, Any], seed: int
) -> Job:
    if files is None:
        return job({"dataset": section}, seed=seed)
    place = tmp_path / f"source-{len(list(tmp_path.iterdir()))}"
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    sums = {"dataset": {name: digest(data.hex()) for name, data in files.items()}}
    section = {"source": {"path": "x", "max_read": 10**9}, **section}
    return job({"dataset": section}, seed=seed, upstream=sums, dataset=place)


@pytest.fixture
def build(job: MakeJob, tmp_path: Path) -> Any:
    """build(files, samples=2, ...) -> (rows of the first split, facts, the stage's folder)."""

    def make(
        files: Files | None, samples: int | None = 2, seed: int = 0, **section: Any
    ) -> tuple[list[dict[str, Any]], dict[str, Any], Path]:
        import pyarrow.parquet

        amount = {} if samples is None else {"samples": samples}
        work = wish(job, tmp_path, files, {**amount, **section}, seed)
        facts = dataset.make(work)
        (config, splits), *more = facts["configs"].items()
        folder = f"data/{config}" if more else "data"
        first = work.out / folder / f"{next(iter(splits))}-00000-of-00001.parquet"
        return pyarrow.parquet.read_table(first).to_pylist(), facts, work.out

    return make


@pytest.fixture
def refused(job: MakeJob, tmp_path: Path) -> Any:
    """refused(files, samples=2) -> (message, key)."""

    def make(files: Files, samples: int = 2, **section: Any) -> tuple[str, tuple[Any, ...]]:
        work = wish(job, tmp_path, files, {"samples": samples, **section}, 0)
        with pytest.raises(BuildFault) as caught:
            dataset.make(work)
        assert contents(work.out) == {}
        assert str(tmp_path) not in str(caught.value)
        return str(caught.value), caught.value.findings[0].key

    return make


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


# --- formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", lines({"n": 1, "s": "x"}, {"n": 2, "s": "ü,\t漢"}, {"n": 3, "s": "z"})),
        ("a.json", json.dumps([{"n": 1, "s": "x"}, {"n": 2, "s": "ü,\t漢"}]).encode()),
        ("a.csv", 'n,s\n1,x\n2,"ü,\t漢"\n3,z\n'.encode()),
        ("a.tsv", 'n\ts\n1\tx\n2\t"ü,\t漢"\n3\tz\n'.encode()),
    ],
)
def test_text_formats(build: Any, name: str, data: bytes) -> None:
    rows, facts, _ = build({name: data})
    assert rows == [{"n": 1, "s": "x"}, {"n": 2, "s": "ü,\t漢"}]
    assert facts == {"rows": 2, "columns": [["n", "int64"], ["s", "string"]]}


def test_plain_text_is_one_row_a_line(build: Any) -> None:
    rows, facts, _ = build({"a.txt": b"one\ntwo words\nthree\n"}, samples=2)
    assert rows == [{"text": "one"}, {"text": "two words"}]
    assert facts["columns"] == [["text", "string"]]


def test_parquet_keeps_its_features(build: Any, tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value, load_dataset

    features = Features(
        {
            "label": ClassLabel(names=["no", "yes"]),
            "small": Value("int8"),
            "tags": List(Value("string")),
        }
    )
    source = Dataset.from_dict(
        {"label": [1, 0, 1], "small": [1, 2, 3], "tags": [["a"], [], ["b", "c"]]}, features=features
    )
    source.to_parquet(tmp_path / "x.parquet")
    rows, facts, out = build({"x.parquet": (tmp_path / "x.parquet").read_bytes()})
    assert rows == [{"label": 1, "small": 1, "tags": ["a"]}, {"label": 0, "small": 2, "tags": []}]
    assert [name for name, _ in facts["columns"]] == ["label", "small", "tags"]
    loaded = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features == features
    assert loaded.features["label"].int2str(loaded[0]["label"]) == "yes"


def test_nested_lists_and_mappings(build: Any) -> None:
    first = {"chat": [{"role": "user", "parts": ["a", "b"]}], "meta": {"score": None}}
    second: dict[str, Any] = {"chat": [], "meta": {"score": 1.5}}
    rows, _, _ = build({"a.jsonl": lines(first, second)})
    assert rows == [first, second]


def test_several_files_in_the_order_of_their_names(build: Any) -> None:
    files = {"b/x.jsonl": lines({"n": 3}), "a.jsonl": lines({"n": 1}, {"n": 2})}
    rows, _, _ = build(files, samples=3)
    assert rows == [{"n": 1}, {"n": 2}, {"n": 3}]


# --- sampling -------------------------------------------------------------------------------------

HUNDRED = {"a.jsonl": lines(*({"n": number} for number in range(100)))}


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [row["n"] for row in rows]


def test_first(build: Any) -> None:
    assert numbers(build(HUNDRED, samples=10)[0]) == list(range(10))
    assert numbers(build(HUNDRED, samples=10, seed=9)[0]) == list(range(10))


def test_random_is_seeded_without_repeats_and_in_the_order_of_the_source(build: Any) -> None:
    found = numbers(build(HUNDRED, samples=10, select="random", seed=1)[0])
    assert len(set(found)) == 10
    assert found == sorted(found)
    assert found == numbers(build(HUNDRED, samples=10, select="random", seed=1)[0])
    assert found != numbers(build(HUNDRED, samples=10, select="random", seed=2)[0])
    assert max(found) >= 10  # it looked past the first ten


def test_random_of_all_is_all(build: Any) -> None:
    assert numbers(build(HUNDRED, samples=100, select="random")[0]) == list(range(100))


def test_random_gives_every_row_its_chance() -> None:
    rows = [{"n": number} for number in range(20)]
    counts = [0] * 20
    for seed in range(1000):
        for row in dataset._reservoir(iter(rows), 5, seed):
            counts[row["n"]] += 1
    assert sum(counts) == 5000
    assert min(counts) > 180  # 250 are expected; five standard deviations are 68
    assert max(counts) < 320


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("select", ["first", "random"])
def test_fewer_rows_than_asked(refused: Any, select: str) -> None:
    text, key = refused({"a.jsonl": lines({"n": 1}, {"n": 2})}, samples=1000, select=select)
    assert "the dataset has 2 rows, not the 1,000 asked for" in text
    assert "hint: ask for at most 2" in text
    assert key == ("dataset", "samples")


@pytest.mark.parametrize(
    "files",
    [
        {"a.jsonl": lines({"n": 1}), "b.csv": b"n\n1\n"},
        {"a.csv": b"n,m\n1,2\n", "b.tsv": b"n\tm\n1\t2\n"},
    ],
)
def test_mixed_formats(refused: Any, files: Files) -> None:
    text, key = refused(files)
    assert "the dataset's source holds files of more than one format" in text
    assert "hint: give files of one format" in text
    assert key == ("dataset", "source")


def test_no_format(refused: Any) -> None:
    text, _ = refused({"a.xyz": b"?"})
    assert "holds no file that can be read (.xyz)" in text


@pytest.mark.parametrize(
    "files",
    [
        {"a.jsonl": b'{"n": 1'},
        {"a.jsonl": b'{"n": 1}\n{"n":\n'},
        {"a.jsonl": b"\xff\xfe\n"},
        {"a.jsonl": lines({"n": 1}), "b.jsonl": b'{"n":\n'},
        {"a.jsonl": lines({"n": 1}), "b.jsonl": lines({"n": "x"})},
        {"a.jsonl": lines({"n": 1}), "b.jsonl": lines({"m": 1})},
        {"a.csv": b'n,m\n1\n"2,3\n'},
        {"a.csv": b""},
        {"a.parquet": b"PAR1"},
        {"a.txt": b"ok\n\xff\xfe\n"},
    ],
)
@pytest.mark.parametrize("select", ["first", "random"])
def test_broken_files(refused: Any, files: Files, select: str) -> None:
    text, key = refused(files, select=select)
    assert text.startswith("the dataset's files cannot be read: ")
    assert key == ("dataset", "source")


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_empty_files(refused: Any, name: str) -> None:
    text, key = refused({name: b""})
    assert text.startswith("the dataset has no rows")
    assert key == ("dataset", "source")


# --- what is left ---------------------------------------------------------------------------------


def test_the_default_corpus(build: Any) -> None:
    rows, facts, _ = build(None, samples=50)
    with dataset.CORPUS.open(encoding="utf-8") as file:
        corpus = [json.loads(line) for line in file]
    assert rows == corpus[:50]
    assert facts["rows"] == 50
    assert facts["columns"][0] == ["text", "string"]
    assert len(corpus) >= 500
    assert all(row["text"].strip() for row in corpus)


def test_load_dataset_reads_the_folder(build: Any, tmp_path: Path) -> None:
    from datasets import load_dataset

    _, facts, out = build(None, samples=20)
    loaded = load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    assert loaded["train"].num_rows == facts["rows"] == 20
    assert loaded["train"].column_names == [name for name, _ in facts["columns"]]


def test_each_folder_gives_its_own_rows_from_one_cache(build: Any, tmp_path: Path) -> None:
    """load_dataset keeps what it read; no bundle gets another's rows or its own old ones."""
    from datasets import load_dataset

    cache = str(tmp_path / "cache")
    for samples, place in ((5, "a"), (7, "b"), (9, "a")):
        _, _, out = build(None, samples=samples)
        folder = tmp_path / place / "dataset"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(out, folder, copy_function=shutil.copyfile)
        loaded = load_dataset(str(folder), split="train", cache_dir=cache)
        assert loaded.num_rows == samples


@pytest.mark.usefixtures("no_network")
def test_nothing_is_asked_of_the_network(build: Any) -> None:
    assert len(build(None, samples=3)[0]) == 3


@pytest.mark.parametrize("select", ["first", "random"])
def test_the_same_bytes_twice(build: Any, tmp_path: Path, select: str) -> None:
    first, second = (build(None, samples=30, select=select, seed=5)[2] for _ in range(2))
    assert contents(first) == contents(second)
    assert str(tmp_path).encode() not in contents(first)[DATA]
