"""Every format's rows come back, by any number; what is broken names its file and row."""

from __future__ import annotations

import gzip
import io
import json
import logging
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import pytest
import soundfile
from datasets import (
    Audio,
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    Image,
    List,
    Translation,
    Value,
    load_dataset,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kit import faults
from kit.archives import tar, zipped
from PIL import Image as Pictures

from tinybuild.dataset.rows import Shard, Source, Split
from tinybuild.dataset.sources import Options, open_folder
from tinybuild.errors import BuildFault

Rows = list[dict[str, Any]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def opened(place: Path, **options: Any) -> Source:
    scratch = place.parent / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    return open_folder(place, scratch=scratch, options=Options(**options))


def split_of(place: Path, config: str = "default", split: str = "train", **options: Any) -> Split:
    return opened(place, **options).open(config, split)


def shard_rows(shard: Shard, split: Split, start: int = 0) -> Rows:
    rows: Rows = []
    for table in shard.read(start):
        # (Parquet calls what is in a list "element", Arrow "item": equal types all the same.)
        assert table.schema.equals(split.features.arrow_schema)
        assert table.schema.metadata == split.features.arrow_schema.metadata
        assert table.num_rows
        rows += table.to_pylist()
    return rows


def rows_of(split: Split) -> Rows:
    return [row for shard in split.shards for row in shard_rows(shard, split)]


def refused(place: Path, config: str = "default", split: str = "train", **options: Any) -> str:
    refusal = faults.refused(lambda: rows_of(split_of(place, config, split, **options)))
    assert refusal.key[:2] == ("dataset", "source")
    assert str(place.parent) not in refusal.text
    assert "\n  hint: " in refusal.text or refusal.findings[0].hint == ""
    return refusal.text


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Pictures.new("RGB", (5, 4), colour).save(buffer, "png")
    return buffer.getvalue()


def wav(path: Path, samples: int = 80) -> None:
    soundfile.write(path, numpy.zeros(samples), 8000)


def lines(*rows: Mapping[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# --- what comes back, for all rows ----------------------------------------------------------------

# Each example opens a folder with the library, which takes 50 ms: to shrink takes minutes.
quick = settings(
    deadline=None,
    max_examples=12,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
words = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=20)
rows_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.integers(-(2**53), 2**53),
            "word": words.map(lambda word: f"w{word}"),
            "many": st.lists(words.map(lambda word: f"w{word}"), max_size=3),
            "maybe": st.none() | st.booleans(),
        }
    ),
    min_size=1,
    max_size=40,
)
FEATURES = Features(
    {
        "number": Value("int64"),
        "word": Value("string"),
        "many": List(Value("string")),
        "maybe": Value("bool"),
    }
)


def write(kind: str, folder: Path, rows: Rows, group: int) -> None:
    schema = FEATURES.arrow_schema
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    if kind == "parquet":
        pyarrow.parquet.write_table(table, folder / "a.parquet", row_group_size=group)
    elif kind in ("arrow stream", "arrow file"):
        make = pyarrow.ipc.new_stream if kind == "arrow stream" else pyarrow.ipc.new_file
        with pyarrow.OSFile(str(folder / "a.arrow"), "wb") as sink, make(sink, schema) as writer:
            writer.write_table(table, max_chunksize=group)
    else:
        text = lines(*rows)
        if kind == "json array":
            (folder / "a.json").write_text(json.dumps(rows))
        elif kind == "json.gz":
            (folder / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
        elif kind == "json in tar.xz":
            cut = len(rows) // 2
            parts = [("1.jsonl", lines(*rows[:cut])), ("2.jsonl", lines(*rows[cut:]))]
            data = tar([(name, part.encode()) for name, part in parts])
            (folder / "a.tar.xz").write_bytes(lzma.compress(data))
        else:
            (folder / "a.jsonl").write_text(text)


KINDS = (
    "parquet",
    "arrow stream",
    "arrow file",
    "json",
    "json array",
    "json.gz",
    "json in tar.xz",
)


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(rows=rows_strategy, group=st.integers(1, 50), start=st.integers(0, 45))
def test_rows_come_back(kind: str, rows: Rows, group: int, start: int) -> None:
    rows[0].update(maybe=True, many=["w"])  # what JSON's types are inferred from
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "data")
        folder.mkdir()
        write(kind, folder, rows, group)
        split = split_of(folder)
        assert split.features == FEATURES
        (shard,) = split.shards
        assert shard.rows == (len(rows) if kind in KINDS[:3] else None)
        assert shard_rows(shard, split) == rows
        assert shard_rows(shard, split, start) == rows[start:]


@quick
@given(
    rows=st.lists(st.tuples(st.integers(-(2**60), 2**60), words), min_size=1, max_size=30),
    start=st.integers(0, 35),
    tabs=st.booleans(),
)
def test_rows_of_csv_come_back(rows: list[tuple[int, str]], start: int, tabs: bool) -> None:
    import csv

    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "data")
        folder.mkdir()
        path = folder / ("a.tsv" if tabs else "a.csv")
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_ALL)
            writer.writerow(("n", "w"))
            writer.writerows((n, f"w{w}") for n, w in rows)
        split = split_of(folder)
        (shard,) = split.shards
        wanted = [{"n": n, "w": f"w{w}"} for n, w in rows]
        assert shard_rows(shard, split) == wanted
        assert shard_rows(shard, split, start) == wanted[start:]


@quick
@given(
    text=st.text("ab\n\r é", max_size=60),
    by=st.sampled_from(["line", "paragraph", "document"]),
    start=st.integers(0, 9),
)
def test_text_is_cut_as_datasets_cuts_it(text: str, by: str, start: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "data")
        folder.mkdir()
        (folder / "a.txt").write_bytes(text.encode())
        files = {"train": [str(folder / "a.txt")]}
        stream = load_dataset(
            "text", data_files=files, sample_by=by, streaming=True, cache_dir=home
        )
        wanted = list(stream["train"])
        if text:
            split = split_of(folder, sample_by=by)
            (shard,) = split.shards
            assert shard_rows(shard, split) == wanted
            assert shard_rows(shard, split, start) == wanted[start:]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"a": 1, "b": {"c": [1.5, null]}}\n{"a": null, "b": null, "d": "x"}\n'),
        ("a.jsonl", '{"a": 1}\n{"a": "x"}\n{"a": [1, {"b": 2}]}\n'),
        ("a.jsonl", '{"a": [{"x": 1}, {"y": "z"}], "when": "2020-01-02T03:04:05Z"}\n'),
        ("a.json", '["one", "two"]'),
        ("a.csv", "a,b,c,d\n1,x,,True\n,007,,\n2.5,NA,,False\n"),
        ("a.csv", 'a,a,"b c"\n1,2,"x\ny"\n'),
        ("a.tsv", "a\tb\n1\t'x, y'\n"),
    ],
)
def test_types_are_those_that_datasets_infers(name: str, text: str, place: Path) -> None:
    path = place / name
    path.write_text(text)
    data = load_dataset(
        "csv" if name.endswith("sv") else "json",
        data_files={"train": str(path)},
        split="train",
        cache_dir=str(place.parent / "cache"),
        **({"sep": "\t"} if name.endswith("tsv") else {}),
    )
    split = split_of(place)
    assert split.features == data.features
    assert rows_of(split) == data.with_format("arrow")[:].to_pylist()


def test_rows_far_down_come_from_their_row_group_alone(place: Path) -> None:
    path = place / "a.parquet"
    table = pyarrow.table({"n": range(5000), "text": ["x" * 50] * 5000})
    pyarrow.parquet.write_table(table, path, row_group_size=1000, compression="none")
    data = bytearray(path.read_bytes())
    first = pyarrow.parquet.read_metadata(path).row_group(1).column(0).data_page_offset
    data[4:first] = bytes(first - 4)  # the first row group is gone
    path.write_bytes(data)
    split = split_of(place)
    assert shard_rows(split.shards[0], split, 4990) == table.slice(4990).to_pylist()
    assert refused(place).startswith("a.parquet: row group 1 (rows 1-1,000) cannot be read: ")


# --- what datasets says a folder holds ------------------------------------------------------------


def test_splits_by_name_and_features_exactly(place: Path) -> None:
    features = Features(
        {
            "label": ClassLabel(names=["neg", "pos"]),
            "pair": Translation(languages=["de", "en"]),
            "tags": List(ClassLabel(names=["a", "b"]), length=2),
            "image": Image(),
            "sound": Audio(sampling_rate=8000),
            "deep": {"x": List({"y": Value("float32")}), "when": Value("timestamp[us]")},
            "nothing": Value("null"),
        }
    )
    row = {
        "label": 1,
        "pair": {"de": "eins", "en": "one"},
        "tags": [0, 1],
        "image": {"bytes": png(), "path": "a.png"},
        "sound": None,
        "deep": {"x": [{"y": 0.5}], "when": None},
        "nothing": None,
    }
    table = pyarrow.Table.from_pylist([row] * 3, schema=features.arrow_schema)
    (place / "data").mkdir()
    for split in ("train", "validation", "test"):
        name = f"data/{split}-00000-of-00001.parquet"
        pyarrow.parquet.write_table(table, place / name)
    source = opened(place)
    assert source.names == {"default": ("train", "validation", "test")}
    assert source.default == "default"
    split = source.open("default", "test")
    assert split.features == features
    assert rows_of(split) == [row] * 3
    assert [(shard.name, shard.rows) for shard in split.shards] == [
        ("data/test-00000-of-00001.parquet", 3)
    ]


CARD = """---
license: cc-by-4.0
language: [de, en]
pretty_name: Two
configs:
- config_name: en
  data_files:
  - {split: train, path: en/a*.jsonl}
  - {split: test, path: en/test.jsonl}
- config_name: de
  default: true
  data_files: de/*.jsonl
dataset_info:
- config_name: en
  features:
  - {name: label, dtype: {class_label: {names: {'0': 'no', '1': 'yes'}}}}
  - {name: text, dtype: string}
---
# Two

- **Homepage:** https://example.org/two

### Citation Information

```bibtex
@misc{two, title={Two}}
```
"""


def test_a_card_says_configs_features_and_what_to_cite(place: Path) -> None:
    (place / "en").mkdir()
    (place / "de").mkdir()
    (place / "README.md").write_text(CARD)
    (place / "en/a1.jsonl").write_text(lines({"label": "yes", "text": "1"}))
    (place / "en/a2.jsonl").write_text(lines({"text": 2, "label": 0}))
    (place / "en/test.jsonl").write_text(lines({"text": "3"}))
    (place / "de/x.jsonl").write_text(lines({"text": "4"}))
    source = opened(place)
    assert source.names == {"en": ("train", "test"), "de": ("train",)}
    assert source.default == "de"
    assert source.about == {
        "license": "cc-by-4.0",
        "language": ["de", "en"],
        "pretty_name": "Two",
        "homepage": "https://example.org/two",
        "citation": "@misc{two, title={Two}}",
    }
    english = source.open("en", "train")
    assert english.features == Features(
        {"label": ClassLabel(names=["no", "yes"]), "text": Value("string")}
    )
    assert rows_of(english) == [{"label": 1, "text": "1"}, {"label": 0, "text": "2"}]
    assert rows_of(source.open("en", "test")) == [{"label": None, "text": "3"}]
    assert rows_of(source.open("de", "train")) == [{"text": "4"}]
    for config, split, message in (
        ("eng", "train", "the source has no config 'eng'\n  hint: did you mean en?"),
        ("xx", "train", "the source has no config 'xx'\n  hint: known: de, en"),
        ("en", "tests", "of the source has no split 'tests'\n  hint: did you mean test?"),
        ("de", "xx", "config 'de' of the source has no split 'xx'\n  hint: known: train"),
    ):
        with pytest.raises(BuildFault) as caught:
            source.open(config, split)
        assert message in str(caught.value)


def test_one_file_and_only_files_that_count(place: Path) -> None:
    (place / "a.jsonl").write_text(lines({"a": 1}))
    (place / "b.jsonl").write_text(lines({"b": 1}))
    for name in (".hidden.jsonl", "load.py", "LICENSE.txt", "requirements.txt"):
        (place / name).write_text("{}")
    (place / ".git").mkdir()
    (place / ".git/c.jsonl").write_text("{}")
    one = split_of(place / "a.jsonl")
    assert rows_of(one) == [{"a": 1}]
    assert [shard.name for shard in one.shards] == ["a.jsonl"]
    assert rows_of(split_of(place, files=["b.jsonl", "load.py"])) == [{"b": 1}]
    assert refused(place).startswith("b.jsonl has a column 'b' that a.jsonl does not have")
    (place / "a.jsonl").write_text(lines({"a": 1, "b": 2}))
    assert rows_of(split_of(place)) == [{"a": 1, "b": 2}, {"a": None, "b": 1}]
    with pytest.raises(BuildFault, match="no file that can be read"):
        opened(place / "load.py")
    with pytest.raises(BuildFault, match="no file that can be read"):
        opened(place, files=["load.py"])


def test_a_layout_is_followed(place: Path) -> None:
    (place / "x").mkdir()
    (place / "x/1.jsonl").write_text(lines({"label": 1}))
    features = Features({"label": ClassLabel(names=["a", "b"])})
    config = {
        "module": "json",
        "options": {},
        "features": features.to_dict(),
        "splits": {"dev": ["x/1.jsonl"]},
    }
    layout = {"version": 1, "configs": {"c": config}, "default": "c", "about": {"license": "mit"}}
    (place / "layout.json").write_text(json.dumps(layout))
    source = opened(place)
    assert (source.names, source.default) == ({"c": ("dev",)}, "c")
    assert source.about == {"license": "mit"}
    split = source.open("c", "dev")
    assert split.features == features
    assert rows_of(split) == [{"label": 1}]


def test_what_datasets_saves_opens(place: Path) -> None:
    data = Dataset.from_dict({"n": range(10)}, Features({"n": Value("int8")}))
    DatasetDict(train=data, test=data).save_to_disk(place / "saved")
    source = opened(place / "saved" / "train")
    split = source.open("default", "train")
    assert split.features == data.features
    assert rows_of(split) == data.to_list()


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_compressed_files_beside_their_format(suffix: str, place: Path) -> None:
    from kit.archives import PACK

    for name, text in (("a.csv", "n\n1\n"), ("a.jsonl", '{"n": 1}\n'), ("a.txt", "1\n")):
        path = place / f"{name}{suffix}"
        path.write_bytes(PACK[suffix](text.encode()))
        (row,) = rows_of(split_of(path))
        assert row in ({"n": 1}, {"text": "1"})


# --- media ----------------------------------------------------------------------------------------


def test_a_folder_of_images_with_labels(place: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/[2].png", "test/dog/3.PNG"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(png())
    source = opened(place)
    split = source.open("default", "train")
    assert split.features == Features({"image": Image(), "label": ClassLabel(names=["cat", "dog"])})
    assert [(shard.name, shard.rows) for shard in split.shards] == [
        ("train/cat/1.png", 1),
        ("train/dog/[2].png", 1),
    ]
    assert rows_of(split) == [
        {"image": {"bytes": png(), "path": "1.png"}, "label": 0},
        {"image": {"bytes": png(), "path": "[2].png"}, "label": 1},
    ]
    assert shard_rows(split.shards[0], split, 1) == []
    assert [row["label"] for row in rows_of(source.open("default", "test"))] == [1]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_folder_with_metadata(kind: str, place: Path) -> None:
    (place / "in").mkdir()
    names = [f"in/{i}.wav" for i in range(40)]
    for name in names:
        wav(place / name)
    table = pyarrow.table({"file_name": names, "text": [f"t{i}" for i in range(40)]})
    if kind == "jsonl":
        (place / "metadata.jsonl").write_text(lines(*table.to_pylist()))
    elif kind == "csv":
        table.to_pandas().to_csv(place / "metadata.csv", index=False)
    else:
        pyarrow.parquet.write_table(table, place / "metadata.parquet")
    split = split_of(place)
    assert isinstance(split.features["audio"], Audio)
    (shard,) = split.shards
    assert shard.name == f"metadata.{kind}"
    data = (place / names[0]).read_bytes()
    wanted = [{"audio": {"bytes": data, "path": f"{i}.wav"}, "text": f"t{i}"} for i in range(40)]
    assert shard_rows(shard, split) == wanted
    assert shard_rows(shard, split, 37) == wanted[37:]


def test_lists_of_images_and_missing_ones(place: Path) -> None:
    (place / "a.png").write_bytes(png())
    rows = [{"x_file_names": ["a.png", "a.png"]}, {"x_file_names": []}]
    (place / "metadata.jsonl").write_text(lines(*rows))
    split = split_of(place)
    image = {"bytes": png(), "path": "a.png"}
    assert rows_of(split) == [{"x": [image, image]}, {"x": []}]


def test_images_in_a_zip(place: Path) -> None:
    files = [("a/1.png", png("red")), ("b/2.png", png("blue"))]
    (place / "x.zip").write_bytes(zipped(files))
    split = split_of(place)
    assert [shard.name for shard in split.shards] == ["x.zip"]
    assert rows_of(split) == [
        {"image": {"bytes": png("red"), "path": "1.png"}, "label": 0},
        {"image": {"bytes": png("blue"), "path": "2.png"}, "label": 1},
    ]
    assert "x.zip!a/1.png: more than 9 bytes" in refused(place, max_read=9)
    (place / "x.zip").write_bytes(zipped([*files, ("../3.png", png())]))
    assert "x.zip!'../3.png' has a name that leads out" in refused(place)


SAMPLES = [
    (f"s{i}.{end}", data)
    for i in range(40)
    for end, data in (("png", png()), ("cls", b"%d" % i), ("json", b'{"a": "x"}'), ("txt", b"t"))
]


@pytest.mark.parametrize("name", ["train-0.tar", "train-0.tar.gz", "train-0.tgz"])
def test_a_webdataset(name: str, place: Path) -> None:
    data = tar([(f"in/{file}", content) for file, content in SAMPLES])
    (place / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    split = split_of(place)
    assert isinstance(split.features["png"], Image)
    (shard,) = split.shards
    wanted = [
        {
            "png": {"bytes": png(), "path": f"s{i}.png"},
            "cls": i,
            "json": {"a": "x"},
            "txt": "t",
            "__key__": f"in/s{i}",
            "__url__": name,
        }
        for i in range(40)
    ]
    assert shard_rows(shard, split) == wanted
    assert shard_rows(shard, split, 33) == wanted[33:]


def test_a_webdataset_opens_no_files(place: Path) -> None:
    """A card may call a text in its samples an image: it is no path to a file here."""
    secret = place.parent / "secret.png"
    secret.write_bytes(png())
    inner = json.dumps({"x": str(secret)}).encode()
    (place / "a.tar").write_bytes(tar([("1.json", inner), ("1.cls", b"1")]))
    (place / "README.md").write_text(
        "---\ndataset_info:\n  features:\n"
        "  - {name: json, struct: [{name: x, dtype: image}]}\n  - {name: cls, dtype: int64}\n"
        "  - {name: __key__, dtype: string}\n  - {name: __url__, dtype: string}\n---\n"
    )
    assert refused(place).startswith("a.tar, row 1: cannot be read: media is not in the row")


def test_a_webdataset_that_changes(place: Path) -> None:
    rest = [("z.png", png()), ("z.npy", b"")]
    (place / "a.tar").write_bytes(tar([*SAMPLES, *rest]))
    assert refused(place).startswith("a.tar, row 41: cannot be read: ")
    rest = [("z.png", png()), ("z.flac", b"")]
    (place / "a.tar").write_bytes(tar([*SAMPLES, *rest]))
    assert refused(place).startswith("a.tar, row 41: has 'flac'; the first rows do not have it")
    rest = [("z.png", png()), ("z.cls", b"no")]
    (place / "a.tar").write_bytes(tar([*SAMPLES, *rest]))
    assert refused(place).startswith("a.tar, row 41: cannot be read: invalid literal for int")
    (place / "a.tar").write_bytes(tar(SAMPLES)[:-20_000])
    assert "cannot be unpacked: " in refused(place)
    (place / "a.tar").write_bytes(tar(SAMPLES))
    (place / "b.tar").write_bytes(tar([("1.png", png()), ("1.cls", b"1")]))
    assert refused(place).startswith("a.tar has a column 'json' that b.tar does not have")


# --- archives -------------------------------------------------------------------------------------


def openwebtext(count: int = 3) -> bytes:
    inner = [(f"{i}.txt", f"text {i}\n\nmore".encode()) for i in range(count)]
    return tar([("openwebtext/a_data.xz", lzma.compress(tar(inner)))])


def test_a_card_whose_aliases_explode(place: Path) -> None:
    (place / "a.txt").write_text("x\n")
    bomb = "a0: &a0 [x]\n"
    for n in range(1, 12):
        bomb += f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n"
    (place / "README.md").write_text(f"---\n{bomb}configs: [{{data_files: *a11}}]\n---\n")
    assert refused(place).startswith("README.md: its metadata grows without end")


def test_a_card_whose_splits_count_nothing(place: Path) -> None:
    """The library goes on without them; what it logs of that is for its own users."""
    said: list[logging.LogRecord] = []
    library, handler = logging.getLogger("datasets.info"), logging.Handler()
    handler.emit = said.append  # type: ignore[method-assign]
    library.addHandler(handler)
    (place / "a.txt").write_text("x\n")
    (place / "README.md").write_text("---\ndataset_info: {splits: [{name: train}]}\n---\n")
    try:
        assert rows_of(split_of(place)) == [{"text": "x"}]
    finally:
        library.removeHandler(handler)
    assert said == []


@pytest.mark.parametrize("files", [[], [("one", b"1"), ("two", b"2")]])
def test_a_tar_without_rows(place: Path, files: list[tuple[str, bytes]]) -> None:
    (place / "a.tar").write_bytes(tar(files))
    assert refused(place).startswith("a.tar has no rows\n  hint: its files are texts")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("cls", b"9" * 20, "a.tar: its first rows cannot be read: Python int too large"),
        ("pth", b"\x80\x02cos\nsystem\n.", "a.tar!0.pth is a pickle of torch's, which is never l"),
    ],
)
def test_a_webdataset_with_a_broken_member(
    place: Path, name: str, data: bytes, message: str
) -> None:
    (place / "a.tar").write_bytes(tar([(f"0.{name}", data), ("0.png", png())]))
    assert refused(place).startswith(message)


@pytest.mark.parametrize("beside", ["metadata.csv", "labels.txt"])
def test_a_zip_of_images_and_a_text_about_them(place: Path, beside: str) -> None:
    text = b"file_name,said\na.png,x\nb.png,y\n"
    zipped_files = [("a.png", png()), ("b.png", png()), (beside, text)]
    (place / "a.zip").write_bytes(zipped(zipped_files))
    split = split_of(place)
    columns = ["image", "said"] if beside == "metadata.csv" else ["image"]
    assert list(split.features) == columns


def test_parquet_in_archives_is_refused(place: Path) -> None:
    data = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), data)
    (place / "a.zip").write_bytes(zipped([("x.parquet", data.getvalue())]))
    assert refused(place) == (
        "a.zip holds parquet files, which are not read out of archives\n"
        "  hint: unpack it yourself, and give the folder"
    )


def test_openwebtext_has_a_row_for_each_file(place: Path) -> None:
    (place / "a.tar").write_bytes(openwebtext())
    (place / "b.tar").write_bytes(openwebtext(1))
    split = split_of(place)
    assert [(shard.name, shard.rows) for shard in split.shards] == [
        ("a.tar", None),
        ("b.tar", None),
    ]
    wanted = [{"text": f"text {i}\n\nmore"} for i in (0, 1, 2)]
    assert rows_of(split) == [*wanted, wanted[0]]
    assert shard_rows(split.shards[0], split, 2) == wanted[2:]
    by_line = split_of(place, sample_by="line")
    assert len(rows_of(by_line)) == 12


@pytest.mark.parametrize("name", ["train.zip", "train.tgz", "train.tar"])
def test_archives_of_lines(name: str, place: Path) -> None:
    files = [
        ("x/__MACOSX/._1.txt", b"\xff"),
        ("x/1.jsonl", b'{"a": 1}\n'),
        ("x/README.txt", b"about"),
        ("x/2.jsonl.gz", gzip.compress(b'{"a": 2}\n\n{"a": null}\n')),
    ]
    data = zipped(files) if name.endswith("zip") else tar(files)
    (place / name).write_bytes(gzip.compress(data) if name.endswith("tgz") else data)
    split = split_of(place)
    assert rows_of(split) == [{"a": 1}, {"a": 2}, {"a": None}]


def test_archives_that_do_not_agree(place: Path) -> None:
    path = place / "a.tar"
    path.write_bytes(tar([("1.txt", b"x"), ("2.csv", b"x\n1\n")]))
    assert "a.tar holds files of more than one format: a.tar!1.txt, a.tar!2.csv" in refused(place)
    path.write_bytes(tar([("1.jsonl", b'{"a": 1}\n'), ("2.jsonl", b'\n{"a": "x"}\n')]))
    assert refused(place).startswith(
        "a.tar!2.jsonl, line 2: column 'a' is string, and int64 in the rows before"
    )
    path.write_bytes(tar([("1.txt", b"x"), ("2.txt", b"ok\n\xff")]))
    assert refused(place).startswith("a.tar!2.txt, line 2: is not UTF-8 (invalid start byte)")
    path.write_bytes(openwebtext()[:-11_000])
    assert "cannot be unpacked" in refused(place)
    path.write_bytes(tar([("1.txt.gz", gzip.compress(bytes(5000)))]))
    assert "a.tar!1.txt.gz: more than 1,000 bytes" in refused(place, max_read=1000)
    path.write_bytes(tar([("1.txt", bytes(5000))]))
    assert "a.tar!1.txt: more than 1,000 bytes" in refused(place, max_read=1000)


# --- refused --------------------------------------------------------------------------------------


def test_mixed_schemas_name_both_files(place: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"a": [1], "b": ["x"]}), place / "1.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"a": ["y"], "b": ["x"]}), place / "2.parquet")
    assert refused(place).startswith(
        "2.parquet: column 'a' is string, and in 1.parquet it is int64\n  hint: "
    )
    pyarrow.parquet.write_table(pyarrow.table({"b": ["x"]}), place / "2.parquet")
    assert "1.parquet has a column 'a' that 2.parquet does not have" in refused(place)
    nulls = pyarrow.table({"b": ["x"], "a": pyarrow.nulls(1)})
    pyarrow.parquet.write_table(nulls, place / "2.parquet")
    assert rows_of(split_of(place)) == [{"a": 1, "b": "x"}, {"a": None, "b": "x"}]


def test_class_labels_of_two_files_must_agree(place: Path) -> None:
    for name, names in (("1", ["a", "b"]), ("2", ["b", "a"])):
        features = Features({"label": ClassLabel(names=names)})
        table = pyarrow.table({"label": [0]}, schema=features.arrow_schema)
        pyarrow.parquet.write_table(table, place / f"{name}.parquet")
    assert "2.parquet: column 'label' is ClassLabel(names=['b', 'a'])" in refused(place)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": }\n', "a.jsonl, line 2, column 7: is not JSON: Expecting value"),
        ('{"a": 1}\n\n{"a": 1', "a.jsonl, line 3, column 8: is not JSON: "),
        ('{"a": 1}\n3\n', "a.jsonl, line 2: is not JSON: a row is an object"),
        ('[{"a": 1},\n {"a": ]', "a.jsonl, line 2, column 8: is not JSON: "),
        ('{"a": 1}\n{"a": 1, "a": 2}\n', "a.jsonl, line 2: JSON parse error: Column(/a) was speci"),
        ("", "split 'train' of the source has no rows: a.jsonl"),
        ("\n\n", "split 'train' of the source has no rows: a.jsonl"),
        ("[]", "split 'train' of the source has no rows: a.jsonl"),
        (
            '{"a": ' + "[" * 500 + "]" * 500 + "}",
            "a.jsonl: column 'a' has lists and ",
        ),
    ],
)
def test_broken_json(text: str, message: str, place: Path) -> None:
    (place / "a.jsonl").write_text(text)
    assert refused(place).startswith(message)


def test_json_that_changes_far_down(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinybuild.dataset.lines.JSON_LOOK", 50_000)
    monkeypatch.setattr("tinybuild.dataset.lines.PIECE", 100_000)
    many = lines(*({"a": i, "b": {"c": "x" * 100}} for i in range(3000)))
    path = place / "a.jsonl"
    for last, message in (
        ('{"a": "x"}', "column 'a' is string, and int64 in the rows before"),
        ('{"a": 1.5}', "column 'a' is double, and int64 in the rows before"),
        ('{"a": 1, "d": 2}', "has a column 'd' that the rows before do not have"),
        ('{"b": {"d": 1}}', "column 'b' is struct<d: int64>, and struct<c: string> in the rows"),
        ('{"b": {"c": "\\ud800"}}', ""),
    ):
        path.write_text(many + last)
        split = split_of(place)
        assert next(split.shards[0].read(0)).num_rows
        assert refused(place).startswith(f"a.jsonl, line 3,001: {message}")
    path.write_bytes(many.encode() + b'{"a": 1, "b": {"c": "\xff"}}')
    assert refused(place).startswith("a.jsonl, line 3,001: is not UTF-8 (invalid start byte)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a,b\n1,2\n1,2,3\n", "a.csv, after row 0: cannot be read as CSV: Expected 2 fields in"),
        (b'a,b\n1,2\n1,"2', "a.csv, after row 0: cannot be read as CSV: EOF inside string"),
        (b"a,b\n1,2\n1,\xff\n", "a.csv, line 3: is not UTF-8"),
        (b"a,b\n", "split 'train' of the source has no rows: a.csv"),
        (b"", "split 'train' of the source has no rows: a.csv"),
    ],
)
def test_broken_csv(text: bytes, message: str, place: Path) -> None:
    (place / "a.csv").write_bytes(text)
    assert refused(place).startswith(message)


def test_csv_that_changes_far_down(place: Path) -> None:
    path = place / "a.csv"
    many = "a,b\n" + "1,y\n" * 20_000
    path.write_text(many + "x,2\n")
    assert refused(place).startswith("a.csv, row 20,001: column 'a' is ")
    path.write_text(many + "1.5,2\n")
    assert refused(place).startswith("a.csv, row 20,001: column 'a' is double, not int64")
    path.write_text(many + ",\n2,y\n")
    assert rows_of(split_of(place))[-2:] == [{"a": None, "b": None}, {"a": 2, "b": "y"}]


def test_broken_text_and_compressed_lines(place: Path) -> None:
    (place / "a.txt").write_bytes(b"one\n" * 50_000 + b"tw\xe9\n")
    assert refused(place).startswith("a.txt, line 50,001: is not UTF-8")
    (place / "a.txt").unlink()
    for name, data in (
        ("a.jsonl", lines(*({"a": i} for i in range(5000))).encode()),
        ("a.csv", b"a\n" + b"1\n" * 20_000),
        ("a.txt", os.urandom(3000).hex().encode()),
    ):
        for suffix, pack in ((".gz", gzip.compress), (".xz", lzma.compress)):
            path = place / (name + suffix)
            path.write_bytes(pack(data)[:-30])
            message = refused(place)
            assert message.startswith(f"{name}{suffix} cannot be unpacked: "), message
            path.write_bytes(pack(data))
            assert "more than 100 bytes are unpacked" in refused(place, max_read=100)
            path.unlink()


def test_broken_parquet_and_arrow(place: Path) -> None:
    path = place / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": range(100)}), path)
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    assert refused(place).startswith("a.parquet: is not a whole Parquet file: ")
    path.write_bytes(b"")
    assert refused(place).startswith("a.parquet: is not a whole Parquet file: ")
    path.unlink()
    path = place / "a.arrow"
    for make in (pyarrow.ipc.new_stream, pyarrow.ipc.new_file):
        table = pyarrow.table({"a": range(100), "b": [str(i) for i in range(100)]})
        with pyarrow.OSFile(str(path), "wb") as sink, make(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=30)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        assert refused(place).startswith("a.arrow: ")
        path.write_bytes(b"")
        assert refused(place).startswith("a.arrow: ")


def test_files_of_more_than_one_format(place: Path) -> None:
    (place / "a.csv").write_text("a\n1\n")
    for name in ("b.jsonl", "c.tsv", "d.txt"):
        (place / name).write_text("{}\n")
        assert refused(place).startswith(
            f"the dataset's source holds files of more than one format: a.csv, {name}\n"
            "  hint: give files of one format: parquet, arrow, json, csv, "
        )
        (place / name).unlink()
    (place / "x.zip").write_bytes(zipped([("a.txt", b"")]))
    assert "more than one format: a.csv, x.zip" in refused(place)
    (place / "x.zip").unlink()
    (place / "b.jsonl").write_text(lines({"a": 1}))
    (place / "README.md").write_text(
        "---\nconfigs:\n- {config_name: a, data_files: a.csv}\n"
        "- {config_name: b, data_files: b.jsonl}\n---\n"
    )
    message = "config 'b' is read as csv, as the first config is, and names b.jsonl"
    assert refused(place, "a").startswith(message)
    (place / "a.mp4").write_bytes(b"")
    assert "holds no file that can be read (.mp4)" in refused(place / "a.mp4")


def test_images_beside_sounds(place: Path) -> None:
    (place / "a.png").write_bytes(png())
    wav(place / "b.wav")
    (place / "metadata.csv").write_text("file_name,said\na.png,x\n")
    assert refused(place).startswith(
        "the dataset's source holds files of more than one format: a.png, b.wav\n"
    )


def test_options_of_a_card(place: Path) -> None:
    (place / "README.md").write_text(
        "---\nconfigs:\n- config_name: a\n  data_files: a.csv\n"
        "  sep: ';'\n  names: [x, y]\n  encoding: latin-1\n---\n"
    )
    (place / "a.csv").write_bytes("1;\xe9\n2;b\n".encode("latin-1"))
    assert rows_of(split_of(place, "a")) == [{"x": 1, "y": "\xe9"}, {"x": 2, "y": "b"}]
    (place / "README.md").write_text(
        "---\nconfigs:\n- {config_name: a, data_files: a.json, field: data}\n---\n"
    )
    (place / "a.csv").unlink()
    (place / "a.json").write_text(json.dumps({"version": 1, "data": [{"x": 1}, {"x": 2}]}))
    assert rows_of(split_of(place, "a")) == [{"x": 1}, {"x": 2}]


def test_zero_rows(place: Path) -> None:
    assert refused(place).startswith("the dataset's source holds no file that can be read")
    pyarrow.parquet.write_table(
        pyarrow.table({"a": pyarrow.array([], "int64")}), place / "a.parquet"
    )
    assert refused(place).startswith("split 'train' of the source has no rows: a.parquet")
    (place / "a.parquet").unlink()
    (place / "a.tar").write_bytes(tar([("README.txt", b""), ("x.txt.gz", gzip.compress(b""))]))
    assert "no rows" in refused(place, sample_by="line")


def test_metadata_of_files_that_are_not_there(place: Path) -> None:
    (place / "a.png").write_bytes(png())
    path = place / "metadata.jsonl"
    path.write_text(lines({"file_name": "a.png"}, {"file_name": "b.png"}))
    assert refused(place).startswith(
        "metadata.jsonl, row 2: names the file b.png, which is not there"
    )
    secret = place.parent / "secret.png"
    secret.write_bytes(png())
    for name in ("../secret.png", str(secret), f"file://{secret}"):
        path.write_text(lines({"file_name": name}))
        assert "metadata.jsonl, row 1: names a file outside of" in refused(place)
    path.write_text(lines({"name": "a.png"}))
    assert refused(place).startswith("the folder's metadata cannot be read: ")
    path.write_text('{"file_name": ')
    assert refused(place).startswith("the folder's metadata cannot be read: ")


@pytest.mark.usefixtures("no_network")
def test_paths_that_climb_out_and_what_is_no_file(place: Path) -> None:
    secret = place.parent / "secret.jsonl"
    secret.write_text(lines({"a": 1}))
    (place / "a.jsonl").write_text(lines({"a": 1}))
    urls = ("hf://datasets/x/y/secret.jsonl", "https://x.org/secret.jsonl", f"file://{secret}")
    for name in ("../secret.jsonl", str(secret), "sub/../../secret.jsonl", *urls):
        for entry in (f"'{name}'", f"['{name}']", f"[{{split: train, path: ['{name}']}}]"):
            (place / "README.md").write_text(
                f"---\nconfigs:\n- {{config_name: x, data_files: {entry}}}\n---\n"
            )
            message = "the configs in README.md name a file outside of the folder: secret.jsonl"
            assert refused(place, "x").startswith(message)
    (place / "README.md").write_text("---\nconfigs:\n- {config_name: x, data_dir: ..}\n---\n")
    assert "the configs in README.md name a file outside of the folder" in refused(place, "x")
    (place / "README.md").write_text("---\nconfigs: [\n---\n")
    assert refused(place).startswith("README.md: its metadata cannot be read: ")
    (place / "README.md").unlink()
    (place / "b.jsonl").symlink_to(secret)
    assert refused(place).startswith("b.jsonl: is a link out of the dataset's folder")
    (place / "b.jsonl").unlink()
    (place / "b.jsonl").symlink_to("a.jsonl")
    assert len(rows_of(split_of(place))) == 2
    (place / "b.jsonl").unlink()
    os.mkfifo(place / "b.jsonl")
    assert refused(place).startswith("b.jsonl: is not a regular file")
    assert refused(place / "b.jsonl").startswith("b.jsonl: is not a regular file")
    (place / "b.jsonl").unlink()
    config = {"module": "json", "splits": {"train": ["../secret.jsonl"]}}
    (place / "layout.json").write_text(json.dumps({"version": 1, "configs": {"x": config}}))
    assert "../secret.jsonl: leads out of the dataset's folder" in refused(place, "x")


def test_nothing_is_left_outside_of_scratch(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (place / "a.jsonl").write_text(lines({"a": 1}))
    (place / "b").mkdir()
    (place / "b/x.png").write_bytes(png())
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from tinybuild.dataset.sources import Options, open_folder\n"
        "place, scratch = map(Path, sys.argv[1:])\n"
        "scratch.mkdir()\n"
        "for part in ('a.jsonl', 'b'):\n"
        "    source = open_folder(place / part, scratch=scratch, options=Options())\n"
        "    split = source.open('default', 'train')\n"
        "    print([t.num_rows for shard in split.shards for t in shard.read(0)])\n"
        "assert 'torch' not in sys.modules\n"
    )
    scratch = tmp_path / "[scratch]"
    done = subprocess.run(
        [sys.executable, "-c", code, str(place), str(scratch)],
        env={**os.environ, "HOME": str(home), "HF_HOME": str(home / "hf"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[1]\n[1]\n", done.stderr
    assert not list(home.rglob("*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["[scratch]", "data", "home"]


@pytest.mark.parametrize("text", ["null", " null\n", "null\n{}\n"])
def test_nothing_for_a_row_of_json(place: Path, text: str) -> None:
    (place / "a.json").write_text(text)
    assert "is not JSON: a row is an object" in refused(place)


def test_a_pointer_of_git_lfs(place: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (place / "a.parquet").write_text(pointer)
    text = refused(place)
    assert text.startswith("a.parquet: is a pointer of Git LFS, not the file itself")
    assert "hint: run `git lfs pull`" in text


CSV = "n;s\n1;x\n2;\u00fc\n"


def test_what_a_recipe_says_of_csv(place: Path) -> None:
    wanted = [{"n": 1, "s": "x"}, {"n": 2, "s": "\u00fc"}]
    (place / "a.csv").write_text(CSV, encoding="latin-1")
    said = {"sep": ";", "encoding": "latin-1"}
    assert rows_of(split_of(place, said=said)) == wanted
    (place / "a.csv").rename(place / "a.dat")
    assert rows_of(split_of(place, said=said)) == wanted
    assert rows_of(split_of(place / "a.dat", said=said)) == wanted


def test_csv_with_another_separator_is_not_one_column(place: Path) -> None:
    (place / "a.csv").write_text(CSV)
    text = refused(place)
    assert "a.csv has one column, 'n;s'" in text
    assert 'hint: say what stands between its values: dataset.source.sep: ";"' in text


def test_what_a_recipe_says_of_json(place: Path) -> None:
    (place / "a[1].txt").write_text(
        '{"version": 1, "data": {"n": [1]}}'.replace('{"n": [1]}', '[{"n": 1}]')
    )
    assert rows_of(split_of(place, said={"field": "data"})) == [{"n": 1}]
    assert rows_of(split_of(place, said={"format": "text"}))[0]["text"].startswith("{")


def test_which_files_a_recipe_says(place: Path) -> None:
    for name in ("in/a.jsonl", "in/b.jsonl", "c.jsonl", "d.csv"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(json.dumps({"of": name}) + "\n")
    (place / "README.md").write_text(
        "---\nlicense: mit\nconfigs:\n- config_name: x\n  data_files: d.csv\n---\n"
    )

    def of(split: str, files: Any) -> list[str]:
        return [
            row["of"] for row in rows_of(split_of(place, split=split, said={"data_files": files}))
        ]

    assert of("train", "**/*.jsonl") == ["c.jsonl", "in/a.jsonl", "in/b.jsonl"]
    assert of("test", {"train": "c.jsonl", "test": ["in/a*", "in/b*"]}) == [
        "in/a.jsonl",
        "in/b.jsonl",
    ]
    assert opened(place, said={"data_files": "c.jsonl"}).about["license"] == "mit"
    assert "no file of the folder is as '*.parquet' says" in refused(
        place, said={"data_files": "*.parquet"}
    )


def test_options_that_the_files_reader_does_not_have(place: Path) -> None:
    (place / "a.jsonl").write_text('{"n": 1}\n')
    text = refused(place, said={"format": "json", "sep": ";"})
    assert "the source's files are json, whose reader has no sep" in text
    assert "hint: delete sep" in text
