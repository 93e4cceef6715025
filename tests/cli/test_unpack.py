"""doit unpack: rows of any source as files, and the recipe that packs them again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from kit.files import contents
from kit.zoo import doit, make

RECORDS = Path(__file__).parents[2] / "recipes" / "records"
LOCAL = "version: 1\nsummary: s\ndataset: {source: {path: data}, samples: 2, columns: [text]}\n"
PACKED = "version: 1\nsummary: s\ndataset: {records: records/local}\n"


def rows_of(folder: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    (file,) = (folder / "data").rglob("*.parquet")
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(file).to_pylist()
    return rows


def parquet(path: Path, count: int = 30) -> Any:
    """Rows with a class, a nested value and an image; the table."""
    import pyarrow as pa
    import pyarrow.parquet
    from datasets import ClassLabel, Features, Image, List, Value

    features = Features(
        {
            "text": Value("string"),
            "label": ClassLabel(names=["no", "yes"]),
            "image": Image(),
            "tags": List(Value("string")),
            "meta": {"n": Value("int16"), "when": Value("timestamp[ns]")},
        }
    )
    picture = (RECORDS / "pmd/3/image.png").read_bytes()
    rows = [
        {
            "text": f"row {number}\n" if number % 3 else None,
            "label": number % 2,
            "image": {"bytes": picture, "path": f"{number}.png"} if number % 2 else None,
            "tags": ["a"] * (number % 3),
            "meta": {"n": number, "when": number},
        }
        for number in range(1, count + 1)
    ]
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path)
    return table


def test_rows_of_a_local_source_and_back(tmp_path: Path) -> None:
    """Unpacked and packed again without an edit, the rows and their features are the same."""
    import pyarrow as pa
    import pyarrow.parquet

    root = make(tmp_path / "zoo", local=LOCAL, packed=PACKED)
    table = parquet(root / "recipes/data/train.parquet")
    result = doit(root, "unpack", "local")
    assert result.code == 0, result.out + result.err
    assert result.out == (
        "wrote 10 rows to recipes/records/local, a file for each of text, label, image, tags, "
        "meta\nedit them; a recipe packs them again with\n  dataset:\n    records: records/local\n"
    )
    folder = root / "recipes/records/local"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(
        str(number) for number in range(1, 11)
    )
    assert {path.name for path in folder.parent.iterdir()} == {"local"}  # nothing else is left
    assert not (root / "build/local").exists()  # a local source is read where it is
    one = contents(folder / "1")
    assert sorted(one) == [
        *("image.path", "image.png", "label.txt", "meta.json", "tags_00.txt", "text.txt"),
    ]
    assert one["text.txt"] == b"row 1\n"
    assert one["label.txt"] == b"yes"
    assert json.loads(one["meta.json"])["n"] == 1
    result = doit(root, "packed")
    assert result.code == 0, result.out + result.err
    (made,) = (root / "dist/packed/dataset/data").rglob("*.parquet")
    found = pa.parquet.read_table(made)
    assert found.cast(table.schema).equals(table.slice(0, 10))
    assert found.schema.metadata[b"huggingface"] == table.schema.metadata[b"huggingface"]


def test_an_edit_is_packed(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", local=LOCAL, packed=PACKED)
    parquet(root / "recipes/data/train.parquet")
    assert doit(root, "unpack", "local", "--rows", "4,2").code == 0
    folder = root / "recipes/records/local"
    assert doit(root, "packed").code == 0
    assert [row["text"] for row in rows_of(root / "dist/packed/dataset")] == ["row 2\n", "row 4\n"]
    assert doit(root, "packed").ran == set()
    (folder / "2/text.txt").write_text("edited")
    shutil.copytree(folder / "4", folder / "11")
    assert "dataset:packed" in doit(root, "packed").ran
    found = [row["text"] for row in rows_of(root / "dist/packed/dataset")]
    assert found == ["edited", "row 4\n", "row 4\n"]


@pytest.mark.parametrize(
    "words",
    [
        ("--rows", "3-5,7", "--to", "kept/here", "local"),
        ("local", "--rows", "3-5,7", "--to", "kept/here"),
        ("--to=kept/here", "local", "--rows=7,3-5"),
    ],
)
def test_options_before_and_after_the_name(tmp_path: Path, words: tuple[str, ...]) -> None:
    root = make(tmp_path / "zoo", local=LOCAL)
    parquet(root / "recipes/data/train.parquet")
    result = doit(root, "unpack", *words)
    assert result.code == 0, result.out + result.err
    assert "records: ../kept/here" in result.out
    found = sorted(path.name for path in (root / "kept/here").iterdir())
    assert found == ["3", "4", "5", "7", "features.json"]


def test_configs_and_splits(tmp_path: Path) -> None:
    recipe = "version: 1\nsummary: s\ndataset: {source: {path: data, split: test}, samples: 1}\n"
    root = make(tmp_path / "zoo", local=recipe)
    for split in ("train", "test"):
        lines = "".join(json.dumps({"text": f"{split} {n}"}) + "\n" for n in range(3))
        (root / "recipes/data").mkdir(exist_ok=True)
        (root / f"recipes/data/{split}.jsonl").write_text(lines)
    assert doit(root, "unpack", "local", "--to", "a").code == 0
    assert (root / "a/3/text.txt").read_text() == "test 2"  # fewer than ten are all
    assert doit(root, "unpack", "local", "--to", "b", "--split", "train", "--rows", "1").code == 0
    assert (root / "b/1/text.txt").read_text() == "train 0"
    for option, said in (("--split", "the source has no split x"), ("--config", "no config x")):
        result = doit(root, "unpack", "local", "--to", "c", option, "x")
        assert (result.code, said in result.err) == (1, True), result.err
        assert not (root / "c").exists()


def test_the_default_corpus_and_records(tmp_path: Path) -> None:
    root = make(
        tmp_path / "zoo",
        corpus="version: 1\nsummary: s\ndataset: {samples: 1}\n",
        again="version: 1\nsummary: s\ndataset: {records: records/pmd}\n",
    )
    shutil.copytree(RECORDS / "pmd", root / "recipes/records/pmd")
    assert doit(root, "unpack", "corpus", "--rows", "2").code == 0
    assert (root / "recipes/records/corpus/2/text.txt").read_text()
    assert doit(root, "unpack", "again").code == 0
    assert contents(root / "recipes/records/again") == contents(RECORDS / "pmd")


def test_what_another_recipe_makes_is_built_first(tmp_path: Path) -> None:
    root = make(
        tmp_path / "zoo",
        first="version: 1\nsummary: s\ndataset: {samples: 3}\n",
        second="version: 1\nsummary: s\ndataset: {source: {recipe: first}, samples: 1}\n",
    )
    result = doit(root, "unpack", "second")
    assert result.code == 0, result.out + result.err
    assert "dataset:first comes first\n" in result.out
    assert "fetch:second comes first\n" in result.out
    assert sorted(path.name for path in (root / "recipes/records/second").iterdir()) == [
        *("1", "2", "3", "features.json"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            (),
            "unpack takes the name of one recipe\n  hint: those with a dataset: broken-rows, local",
        ),
        (("local", "plain"), "unpack takes the name of one recipe"),
        (("lokal",), "there is no recipe lokal\n  hint: did you mean local?"),
        (("plain",), "the recipe plain has no dataset\n  hint: those with one: "),
        (
            ("local", "--rows", "0-3"),
            "0-3 is not a list of row numbers\n  hint: give numbers",
        ),
        (("local", "--rows", "9-3"), "--rows: the range 9-3 runs backwards"),
        (("local", "--rows", "31"), "--rows: there is no row 31: the dataset has 30 rows"),
        (("local", "--rows", "1" * 40), "is not a list of row numbers"),
        (
            ("local", "--what", "3"),
            "doit unpack has no option --what\n  hint: did you mean --to?",
        ),
        (("local", "--to", "dodo.py/x"), "dodo.py is not a folder\n  hint: give another folder"),
        (("local", "--to", "recipes"), "recipes is there already\n  hint: give another folder"),
        (("broken-rows",), "data/x.parquet"),
        (("wrong",), "recipes/wrong.yaml:3:"),
    ],
)
def test_refusals(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    root = make(
        tmp_path / "zoo",
        local=LOCAL,
        plain="version: 1\nsummary: s\nsource: {transformers: gpt2}\nmodel: {}\n",
        broken_rows="version: 1\nsummary: s\ndataset: {source: {path: broken}, samples: 1}\n",
        wrong="version: 1\nsummary: s\ndataset: {sampels: 1}\n",
    )
    parquet(root / "recipes/data/train.parquet")
    (root / "recipes/broken/data").mkdir(parents=True)
    (root / "recipes/broken/data/x.parquet").write_bytes(b"PAR1")
    before = contents(root / "recipes")
    result = doit(root, "unpack", *words)
    assert result.code == 1, result.out + result.err
    assert said in result.err
    assert "Traceback" not in result.out + result.err
    assert str(tmp_path) not in result.out + result.err
    assert contents(root / "recipes") == before
    assert not (root / "recipes/records").exists()
