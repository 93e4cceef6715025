"""Rows are sampled from every format, kept as they are, and written as Parquet that loads."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import faults
from kit.files import contents
from kit.stage import MakeJob

from tinybuild import corpus
from tinybuild.dataset import stage as dataset
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
    settings = {"dataset": section, "origin": "local files `x`"}
    return job(settings, seed=seed, upstream=sums, dataset=place)


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
        refusal = faults.refused(dataset.make, work)
        assert contents(work.out) == {}
        assert str(tmp_path) not in refusal.text
        return refusal.text, refusal.key

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
    assert (facts["rows"], facts["configs"]) == (2, {"default": {"train": 2}})
    assert [name for name, _ in facts["columns"]] == ["n", "s"]
    assert list(facts["source"]["files"]) == [name]


def test_plain_text_is_one_row_a_line(build: Any) -> None:
    rows, facts, _ = build({"a.txt": b"one\ntwo words\nthree\n"}, samples=2)
    assert rows == [{"text": "one"}, {"text": "two words"}]
    assert facts["columns"] == [["text", "string"]]


def test_times_are_as_parquet_keeps_them(build: Any, tmp_path: Path) -> None:
    """It has none of seconds (ISO dates of JSON), nor days in milliseconds: what load_dataset reads
    of the folder is what its files say."""
    import datetime

    import pyarrow
    from datasets import Features, load_dataset
    from pyarrow import ipc, parquet

    dates = {"when": "2024-05-01T10:00:00", "in": [{"day": "2024-05-01"}]}
    rows, facts, out = build({"a.jsonl": lines(dates, dates)})
    assert rows[0]["when"] == datetime.datetime(2024, 5, 1, 10)
    assert rows[0]["in"][0]["day"] == datetime.datetime(2024, 5, 1)
    assert facts["columns"][0] == ["when", "timestamp[ms]"]
    features = Features.from_arrow_schema(parquet.read_schema(out / DATA))
    assert load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"].features == features
    kinds = {
        "time": pyarrow.time32("s"),
        "zoned": pyarrow.timestamp("s", tz="UTC"),
        "day": pyarrow.date64(),
    }
    table = pyarrow.table({name: pyarrow.array([0], kind) for name, kind in kinds.items()})
    data = io.BytesIO()
    with ipc.new_file(data, table.schema) as file:
        file.write_table(table)
    rows, facts, _ = build({"a.arrow": data.getvalue()}, samples=1)
    assert rows == table.to_pylist()
    assert [kind for _, kind in facts["columns"]] == (
        ["time32[ms]", "timestamp[ms, tz=UTC]", "date32"]
    )


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


def parquet(table: Any) -> bytes:
    import pyarrow.parquet

    data = io.BytesIO()
    pyarrow.parquet.write_table(table, data)
    return data.getvalue()


def test_views_of_strings_are_chosen_cut_and_numbered_too(build: Any, tmp_path: Path) -> None:
    """polars writes its strings so; Arrow has no way to take rows of them."""
    import pyarrow
    from datasets import List, Value, load_dataset

    views = pyarrow.string_view()
    inner = pyarrow.list_(pyarrow.struct({"s": views}))
    table = pyarrow.table(
        {
            "t": pyarrow.array(["long text", None, "other"], views),
            "l": pyarrow.array([[{"s": "x"}], [], None], inner),
            "b": pyarrow.array([[b"\xff"], None, []], pyarrow.list_(pyarrow.binary_view())),
        }
    )
    data = io.BytesIO()
    with pyarrow.ipc.new_file(data, table.schema) as written:
        written.write_table(table)
    files = {"a.arrow": data.getvalue()}
    kept = {"t": "lo", "l": [{"s": "x"}], "b": [b"\xff"]}
    rows, _, out = build(files, samples=1, select="random", where={"t": {"max": "m"}}, text=TWO_OF)
    assert rows == [kept]
    loaded = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features["t"] == Value("string_view")
    assert loaded.features["b"] == List(Value("binary_view"))
    assert loaded.features["l"] == List({"s": Value("large_string")})  # Arrow writes no other
    rows, _, _ = build(files, samples=3, where={"t": ["other", None]}, at_most=True)
    assert [row["t"] for row in rows] == [None, "other"]
    rows, _, _ = build(files, samples=1, expand=["2.unique"])
    assert [row["t"] for row in rows] == ["1 long text", "2 long text"]


TWO_OF = {"max_chars": 2}


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


def test_random_is_drawn_with_the_stages_seed(build: Any) -> None:
    found = numbers(build(HUNDRED, samples=10, select="random", seed=1)[0])
    assert found == numbers(build(HUNDRED, samples=10, select="random", seed=1)[0])
    assert found != numbers(build(HUNDRED, samples=10, select="random", seed=2)[0])


# --- parts ----------------------------------------------------------------------------------------

TWO = {
    "train.jsonl": lines(*({"n": number, "t": "train"} for number in range(9))),
    "validation.jsonl": lines(*({"n": number, "t": "validation"} for number in range(5))),
}


def test_splits_with_their_own_rows(build: Any, tmp_path: Path) -> None:
    from datasets import load_dataset

    splits = {
        "train": {"rows": "2,4-5"},
        "test": {"split": "validation", "where": {"n": {"min": 3}}},
    }
    rows, facts, out = build(TWO, samples=2, splits=splits, columns=["t", "n"])
    assert rows == [{"t": "train", "n": 1}, {"t": "train", "n": 3}, {"t": "train", "n": 4}]
    assert facts["configs"] == {"default": {"train": 3, "test": 2}}
    assert facts["rows"] == 5
    loaded = load_dataset(str(out), split="test", cache_dir=str(tmp_path / "cache"))
    assert loaded.to_list() == [{"t": "validation", "n": 3}, {"t": "validation", "n": 4}]


def test_configs_of_one_source(build: Any, tmp_path: Path) -> None:
    from datasets import get_dataset_config_names, load_dataset

    configs = {
        "few": {"splits": {"train": None}},
        "late": {"samples": 1, "where": {"n": 4}, "columns": {"drop": ["t"]}},
    }
    source = {"path": "x", "config": "default", "max_read": 10**9}
    rows, facts, out = build(TWO, source=source, configs=configs)
    assert [row["n"] for row in rows] == [0, 1]
    assert facts["configs"] == {"few": {"train": 2}, "late": {"train": 1}}
    assert get_dataset_config_names(str(out)) == ["few", "late"]
    cache = str(tmp_path / "cache")
    assert load_dataset(str(out), split="train", cache_dir=cache).num_rows == 2  # the first one
    assert load_dataset(str(out), "late", split="train", cache_dir=cache).to_list() == [{"n": 4}]


def test_what_changes_one_config_is_not_useless(build: Any) -> None:
    configs = {"a": {"config": "default"}, "b": {"config": "default", "columns": ["n"]}}
    _, facts, _ = build(TWO, text={"max_chars": 2}, configs=configs)
    assert list(facts["configs"]) == ["a", "b"]


def test_parts_draw_their_rows_apart(build: Any) -> None:
    splits = {"a": {"split": "train"}, "b": {"split": "train"}}
    _, _, out = build(HUNDRED, samples=20, select="random", splits=splits)
    first, second = (contents(out)[f"data/{name}-00000-of-00001.parquet"] for name in "ab")
    assert first != second


def test_splits_of_a_config_have_the_same_columns(refused: Any) -> None:
    files = {"train.jsonl": lines({"a": 1}), "test.jsonl": lines({"b": "x"})}
    text, _ = refused(files, samples=1, splits={"train": None, "test": None})
    assert "columns" in text


@pytest.mark.parametrize(
    ("section", "message", "key"),
    [
        (
            {"splits": {"train": {"samples": 10}}},
            "the dataset has 9 rows, not the 10 asked for\n  hint: ask for at most 9",
            ("dataset", "splits", "train", "samples"),
        ),
        (
            {"configs": {"x": {"config": "default", "where": {"m": 1}}}},
            "m",
            ("dataset", "configs", "x", "where", "m"),
        ),
        (
            {"splits": {"train": None, "tset": None}},
            "the source has no split tset",
            ("dataset", "splits", "tset"),
        ),
        ({"columns": ["m"]}, "m", ("dataset", "columns")),
        (
            {"images": {"max_size": 9}, "text": {"max_chars": 9}},
            "the dataset has no images\n  hint: delete images",
            ("dataset", "images"),
        ),
    ],
)
def test_what_is_wrong_is_told_where_the_recipe_says_it(
    refused: Any, section: dict[str, Any], message: str, key: tuple[str, ...]
) -> None:
    text, found = refused(TWO, **section)
    assert message in text
    assert found[: len(key)] == key


# --- records and expanding ------------------------------------------------------------------------

SEEDS = {"1/text.txt": b"one", "2/text.txt": b"two", "3/text.null": b""}


def test_records_are_the_rows(build: Any) -> None:
    rows, facts, _ = build(SEEDS, samples=None, records="x")
    assert rows == [{"text": "one"}, {"text": "two"}, {"text": None}]
    assert facts["configs"] == {"default": {"train": 3}}


def test_each_way_to_expand_is_a_config(build: Any, tmp_path: Path) -> None:
    from datasets import load_dataset

    _, facts, out = build(SEEDS, samples=None, records="x", expand=["6.unique", "1k.repeat"])
    assert facts["configs"] == {"6.unique": {"train": 6}, "1k.repeat": {"train": 1000}}
    cache = str(tmp_path / "cache")
    unique = load_dataset(str(out), "6.unique", split="train", cache_dir=cache)["text"]
    assert len(set(unique)) == 6
    assert list(unique).count(None) == 1
    repeat = load_dataset(str(out), "1k.repeat", split="train", cache_dir=cache)["text"]
    assert repeat[:4] == ["one", "two", None, "one"]


def test_the_role_of_a_message_keeps_its_name(build: Any) -> None:
    chat = [{"role": "user", "content": None}, {"role": "tool", "content": "a"}]
    rows, _, _ = build({"a.jsonl": lines({"chat": chat})}, samples=1, expand=["2.unique"])
    said = [{"role": "user", "content": None}, {"role": "tool", "content": "2 a"}]
    assert rows[1] == {"chat": said}
    rows, _, _ = build({"a.jsonl": lines({"who": {"role": "x"}})}, samples=1, expand=["1.unique"])
    assert rows == [{"who": {"role": "1 x"}}]  # there is no other text


def test_sampled_rows_are_expanded_too(build: Any) -> None:
    rows, facts, _ = build(TWO, samples=2, columns=["n"], expand=["5.repeat"])
    assert [row["n"] for row in rows] == [0, 1, 0, 1, 0]
    assert facts["configs"] == {"5.repeat": {"train": 5}}


# --- the card -------------------------------------------------------------------------------------


def test_the_card_carries_what_the_source_says_of_itself(build: Any) -> None:
    from huggingface_hub import DatasetCard

    card = """---
license: cc-by-4.0
language: [en]
---

# x

## Citation

```bibtex
@misc{x, title={A source}}
```
"""
    _, facts, out = build({**TWO, "README.md": card.encode()}, samples=2, text={"max_chars": 3})
    made = DatasetCard.load(out / "README.md")
    assert made.data.license == "cc-by-4.0"
    assert made.data.language == ["en"]
    assert "@misc{x, title={A source}}" in made.text
    assert "- the first 2 rows of local files `x`; texts cut to 3 characters" in made.text
    assert facts["source"]["about"]["license"] == "cc-by-4.0"
    (config,) = made.data.to_dict()["configs"]
    assert config["data_files"] == [{"split": "train", "path": "data/train-*"}]
    info = made.data.to_dict()["dataset_info"]
    assert [feature["name"] for feature in info["features"]] == ["n", "t"]
    assert [(split["name"], split["num_examples"]) for split in info["splits"]] == [("train", 2)]


@pytest.mark.parametrize(
    ("said", "about"),
    [
        (
            "language: [no, en]\nlicense: [mit, other]",
            {"language": ["no", "en"], "license": ["mit", "other"]},
        ),
        ("language: no", {"language": "no"}),
        ("license: other\nlicense_name: 'a: b'", {"license": "other", "license_name": "a: b"}),
        ("license: 2020-01-01\nlanguage: {a: b}\ncitation: [x]\nhomepage: 5\npretty_name: ''", {}),
    ],
)
def test_what_a_card_says_in_another_way_than_texts_is_left_out(
    build: Any, said: str, about: dict[str, Any]
) -> None:
    from huggingface_hub import DatasetCard

    _, facts, out = build({**TWO, "README.md": f"---\n{said}\n---\n".encode()})
    assert facts["source"]["about"] == about
    made = DatasetCard.load(out / "README.md").data.to_dict()
    assert {key: made[key] for key in about} == about


def test_a_citation_may_hold_a_fence(build: Any) -> None:
    card = b"---\nlicense: mit\n---\n# Citation\n\n````bibtex\n@a{\n```\n}\n````\n"
    _, facts, out = build({**TWO, "README.md": card})
    assert facts["source"]["about"]["citation"] == "@a{\n```\n}"
    assert "````bibtex\n@a{\n```\n}\n````\n" in (out / "README.md").read_text()


def test_names_that_yaml_would_read_as_something_else(build: Any, tmp_path: Path) -> None:
    import pyarrow
    from datasets import load_dataset

    names = ["yes", "1", "null", "2020-01-01", "a: b", "#", "x\ny", " ", "\x85", "\u2028", "漢", ""]
    table = pyarrow.table({name: [1] for name in names})
    out = build({"a.parquet": parquet(table)}, samples=1)[2]
    loaded = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.column_names == names


def test_files_have_small_row_groups_but_not_many(build: Any) -> None:
    import pyarrow.parquet

    for rows, groups in ((90, 1), (500, 5), (2500, 10)):
        out = build(TWO, samples=1, expand=[f"{rows}.repeat"])[2]
        (file,) = out.rglob("*.parquet")
        assert pyarrow.parquet.ParquetFile(file).num_row_groups == groups


def picture(size: tuple[int, int]) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", size, (size[0], 80, 160)).save(data, "PNG")
    return data.getvalue()


def sound(seconds: float) -> bytes:
    import numpy
    import soundfile

    data = io.BytesIO()
    tone = numpy.sin(numpy.arange(int(16_000 * seconds)) / 10)
    soundfile.write(data, tone, 16_000, format="FLAC")
    return data.getvalue()


MEDIA = {
    "images": (
        {
            f"{split}/{kind}/{n}.png": picture((40 + n, 20))
            for split in ("train", "test")
            for kind in ("cat", "dog")
            for n in (1, 2)
        },
        {
            "samples": 2,
            "splits": {"train": {"select": "spread"}, "test": None},
            "images": {"max_size": 16},
        },
    ),
    "sounds": (
        {
            **{f"{n}.flac": sound(n / 4) for n in (1, 2, 3)},
            "metadata.csv": b"file_name,said\n1.flac,a\n2.flac,b\n3.flac,c\n",
        },
        {"samples": 3, "audio": {"max_seconds": 0.5, "sampling_rate": 8000}},
    ),
    "interleaved": (
        {
            "1/texts_00.txt": b"a",
            "1/texts_01.null": b"",
            "1/images_00.null": b"",
            "1/images_01.png": picture((9, 9)),
            "2/texts_00.txt": b"b",
            "2/images_00.null": b"",
        },
        {"records": "x", "expand": ["4.unique", "10.repeat"]},
    ),
    "labelled": (
        {
            "a.jsonl": lines({"t": "x", "l": "no"}, {"t": "y", "l": "yes"}),
            "README.md": b"---\ndataset_info:\n  features:\n  - {name: t, dtype: string}\n"
            b"  - name: l\n    dtype: {class_label: {names: {'0': no, '1': yes}}}\n---\n".replace(
                b"no,", b"'no',"
            ).replace(b"yes}", b"'yes'}"),
        },
        {"samples": 1, "where": {"l": "yes"}},
    ),
    "configs": (
        TWO,
        {
            "samples": 2,
            "configs": {
                "a": {"config": "default", "splits": {"train": None, "validation": None}},
                "b": {"config": "default"},
            },
        },
    ),
}


@pytest.mark.parametrize("kind", MEDIA)
def test_the_library_has_nothing_to_say_against_it(
    build: Any, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`datasets-cli test FOLDER --all_configs` passes; what streams is what loads; same bytes."""
    from datasets import get_dataset_config_names, load_dataset
    from datasets.commands.test import TestCommand

    files, section = MEDIA[kind]
    section = {"samples": None, **section}
    _, facts, out = build(files, **section)
    cache = str(tmp_path / "cache")
    TestCommand(str(out), None, cache, None, True, False, False, False, False, None).run()
    assert "Test successful." in capsys.readouterr().out
    for config in get_dataset_config_names(str(out)):
        loaded = load_dataset(str(out), config, cache_dir=cache)
        assert {split: data.num_rows for split, data in loaded.items()} == facts["configs"][config]
        for split, data in loaded.items():
            stream = load_dataset(str(out), config, split=split, streaming=True, cache_dir=cache)
            assert stream.features == data.features
            assert next(iter(stream.with_format("arrow"))) == data.with_format("arrow")[:1]
    assert contents(build(files, **section)[2]) == contents(out)


def test_media_is_embedded_and_small(build: Any) -> None:
    from PIL import Image

    files, section = MEDIA["images"]
    rows, _, _ = build(files, **section)
    image = Image.open(io.BytesIO(rows[0]["image"]["bytes"]))
    assert max(image.size) == 16
    assert rows[0]["label"] == 0
    files, section = MEDIA["sounds"]
    rows, _, _ = build(files, **section)
    import soundfile

    made = [soundfile.info(io.BytesIO(row["audio"]["bytes"])) for row in rows]
    assert [(info.samplerate, info.duration) for info in made] == [
        (8000, 0.25),
        (8000, 0.5),
        (8000, 0.5),
    ]


# --- refusals -------------------------------------------------------------------------------------


def test_fewer_rows_than_asked(refused: Any, build: Any) -> None:
    text, key = refused(TWO, samples=1000)
    assert "the dataset has 9 rows, not the 1,000 asked for" in text
    assert "hint: ask for at most 9, or say at_most: true" in text
    assert key == ("dataset", "samples")
    assert len(build(TWO, samples=1000, at_most=True)[0]) == 9


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_empty_files(refused: Any, name: str) -> None:
    text, key = refused({name: b""})
    assert "no rows" in text
    assert key[:2] == ("dataset", "source")


# --- what is left ---------------------------------------------------------------------------------


def test_the_default_corpus(build: Any) -> None:
    rows, facts, _ = build(None, samples=50)
    with corpus.FILE.open(encoding="utf-8") as file:
        shipped = [json.loads(line) for line in file]
    assert rows == shipped[:50]
    assert facts["rows"] == 50
    assert facts["columns"][0] == ["text", "string"]
    assert len(shipped) >= 500
    assert all(row["text"].strip() for row in shipped)


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
