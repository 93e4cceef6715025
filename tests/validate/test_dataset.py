"""dataset_loads is proved by mutants: folders that load_dataset reads otherwise than they are."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tinybuild.validate import columns, dataset
from tinybuild.validate.check import Result
from tinybuild.validate.subject import Subject

Configs = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]


def picture(**more: Any) -> dict[str, Any]:
    from PIL import Image

    data = io.BytesIO()
    Image.effect_noise((20, 10), 50).save(data, "png")
    return {"bytes": data.getvalue(), "path": None, **more}


def beep() -> dict[str, Any]:
    import soundfile

    data = io.BytesIO()
    soundfile.write(data, [0.0, 0.5] * 100, 8000, format="WAV")
    return {"bytes": data.getvalue(), "path": None}


def path(folder: Path, config: str, split: str) -> Path:
    return folder / "data" / config / f"{split}-00000-of-00001.parquet"


def write(file: Path, features: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    file.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(list(rows), schema=features.arrow_schema)
    parquet.write_table(table, file, row_group_size=2)


def rich() -> tuple[Any, Configs]:
    """Features of every kind, two configs, two splits."""
    from datasets import Audio, ClassLabel, Features, Image, List, Translation, Value

    features = Features(
        {
            "text": Value("string"),
            "label": ClassLabel(names=["no", "yes"]),
            "image": Image(),
            "pair": Translation(languages=["de", "en"]),
            "inside": List({"sound": Audio(sampling_rate=8000), "n": Value("float32")}),
        }
    )

    def row(number: int) -> dict[str, Any]:
        return {
            "text": None if number == 1 else f"text {number}",
            "label": number % 2,
            "image": None if number == 0 else picture(),
            "pair": {"de": "ja", "en": "yes"},
            "inside": [] if number == 0 else [{"sound": beep(), "n": float("nan")}],
        }

    def rows(count: int) -> list[dict[str, Any]]:
        return [row(number) for number in range(count)]

    return features, {
        "plain": {"train": rows(5), "test": rows(2)},
        "other": {"train": rows(3), "test": rows(1)},
    }


def bundle(root: Path, features: Any, configs: Configs, card: str = "") -> Subject:
    """A dataset as its stage leaves it: configs in README.md, where there are several."""
    folder = root / "bundle" / "dataset"
    lines = ["---", "configs:"]
    single = list(configs) == ["default"]
    for config, splits in configs.items():
        below = "" if single else f"{config}/"
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            write(path(folder, below, split), features, rows)
            lines += [f"  - split: {split}", f"    path: data/{below}{split}-*"]
    text = card or "\n".join([*lines, "---", ""])
    if not single or card:
        (folder / "README.md").write_text(text)
    (root / "scratch").mkdir()
    counts = {
        config: {split: len(rows) for split, rows in splits.items()}
        for config, splits in configs.items()
    }
    facts = {
        "rows": sum(sum(splits.values()) for splits in counts.values()),
        "columns": [[name, "x"] for name in features],
        "configs": counts,
    }
    return Subject(
        folder=root / "bundle",
        scratch=root / "scratch",
        facts={"dataset": facts},
        seed=0,
    )


def check(subject: Subject) -> Result:
    found = dataset.dataset_loads.run(subject)
    assert found is not None
    return found


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return bundle(tmp_path, *rich())


TOLD = (
    "11 rows of text, label, image, pair, inside: other (test 1, train 3), plain (test 2, train 5)"
)


@pytest.mark.usefixtures("no_network")
def test_configs_and_splits_load_and_stream(subject: Subject) -> None:
    found = check(subject)
    assert found.ok, found
    assert found.measured == found.wanted == TOLD


def test_one_config_and_one_split_are_told_shortly(tmp_path: Path) -> None:
    features, configs = rich()
    found = check(bundle(tmp_path, features, {"default": {"train": configs["plain"]["train"]}}))
    assert found.ok, found
    assert found.measured == "5 rows of text, label, image, pair, inside"


def test_no_torch_is_imported_for_it(tmp_path: Path) -> None:
    bundle(tmp_path, *rich())
    code = f"""
import sys
from pathlib import Path
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
import test_dataset as t
from tinybuild.validate.subject import Subject
features, configs = t.rich()
root = Path({str(tmp_path / "again")!r})
found = t.check(t.bundle(root, features, configs))
assert found.ok, found
assert "torch" not in sys.modules and "transformers" not in sys.modules
"""
    (tmp_path / "again").mkdir()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- mutants --------------------------------------------------------------------------------------


def broken(subject: Subject) -> str:
    found = check(subject)
    assert not found.ok, found
    return found.measured


def rewrite(subject: Subject, config: str, split: str, change: Any) -> None:
    """A split's Parquet file with what `change` makes of its table."""
    from pyarrow import parquet

    file = path(subject.folder / "dataset", config, split)
    parquet.write_table(change(parquet.read_table(file)), file)


def test_a_row_is_missing_in_one_split(subject: Subject) -> None:
    rewrite(subject, "other", "train", lambda table: table.slice(1))
    assert "10 rows of " in broken(subject)
    assert "other (test 1, train 2)" in broken(subject)


def test_a_split_is_missing(subject: Subject) -> None:
    path(subject.folder / "dataset", "other", "test").unlink()
    assert "other (" not in broken(subject) or "test 1" not in broken(subject)


def test_a_config_that_nobody_wrote(subject: Subject) -> None:
    facts = dict(subject.facts["dataset"])
    facts["configs"] = {"plain": facts["configs"]["plain"]}
    subject = replace(subject, facts={"dataset": {**facts, "rows": 7}})
    assert "other (test 1, train 3)" in broken(subject)


def test_a_column_has_another_name(subject: Subject) -> None:
    facts = dict(subject.facts["dataset"])
    other = {**facts, "columns": [["words", "x"], *facts["columns"][1:]]}
    subject = replace(subject, facts={"dataset": other})
    assert check(subject).wanted.startswith("11 rows of words, label, ")
    assert not check(subject).ok


def test_a_file_that_no_split_has(subject: Subject) -> None:
    features, configs = rich()
    folder = subject.folder / "dataset"
    write(path(folder, "stray", "train"), features, configs["other"]["test"])
    assert "no config or split has train-00000-of-00001.parquet" in broken(subject)


def test_a_card_that_takes_another_configs_files(subject: Subject) -> None:
    card = subject.folder / "dataset" / "README.md"
    card.write_text(card.read_text().replace("data/other/", "data/plain/"))
    assert "other/train: 5 rows loaded of the 3 in its files" in broken(subject)


def test_a_card_with_other_features(tmp_path: Path) -> None:
    """What the card says of the features wins over the files when it is loaded."""
    from datasets import Features, Value

    few = Features({"text": Value("string"), "n": Value("int64")})
    rows = [{"text": "a", "n": 1}]
    card = (
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n"
        "  - name: n\n    dtype: int32\n---\n"
    )
    text = broken(bundle(tmp_path, few, {"default": {"train": rows}}, card))
    assert "default/train: loaded with other features than its files have: n" in text
    assert "streamed with other features" in text


def test_a_card_with_other_numbers(tmp_path: Path) -> None:
    from datasets import Features, Value

    few = Features({"text": Value("string")})
    card = (
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n"
        "  splits:\n  - name: train\n    num_bytes: 9\n    num_examples: 2\n---\n"
    )
    text = broken(bundle(tmp_path, few, {"default": {"train": [{"text": "a"}]}}, card))
    assert text == "1 rows of text; default/train: the card says 2 rows, its files have 1"


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (
            "image",
            {"bytes": b"no image", "path": None},
            "image, row 2: the image cannot be decoded",
        ),
        ("image", {"bytes": None, "path": "/far/a.png"}, "image, row 2: the image cannot be "),
        (
            "inside",
            [{"sound": {"bytes": b"no", "path": None}, "n": 1}],
            "inside.sound, row 2: the sound cannot be decoded",
        ),
        (
            "inside",
            [{"sound": {"bytes": None, "path": "b"}, "n": 1}],
            "inside.sound, row 2: the sound cannot be decoded",
        ),
    ],
)
def test_media_that_cannot_be_decoded(tmp_path: Path, column: str, value: Any, told: str) -> None:
    features, configs = rich()
    rows = [configs["plain"]["train"][0], {**configs["plain"]["train"][1], column: value}]
    text = broken(bundle(tmp_path, features, {"default": {"train": rows}}))
    assert f"default/train: {told}" in text
    assert "/far/" not in text


def test_a_truncated_image(tmp_path: Path) -> None:
    features, configs = rich()
    image = {"bytes": picture()["bytes"][:-100], "path": None}
    whole = configs["plain"]["train"][1]
    rows = [{**whole, "image": picture()}, {**whole, "image": image}]
    assert "image, row 2: the image cannot be decoded (OSError)" in broken(
        bundle(tmp_path, features, {"default": {"train": rows}})
    )


def test_a_file_that_is_no_parquet(subject: Subject) -> None:
    path(subject.folder / "dataset", "plain", "test").write_bytes(b"PAR1")
    assert check(subject).wanted == "no error"


def test_rows_that_are_streamed_otherwise(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    plain = datasets.load_dataset

    def other(*given: Any, streaming: bool = False, **options: Any) -> Any:
        made = plain(*given, streaming=streaming, **options)
        return made if not streaming else {split: data.skip(1) for split, data in made.items()}

    monkeypatch.setattr(datasets, "load_dataset", other)
    text = broken(subject)
    assert "plain/train: 4 rows streamed of the 5 in its files" in text
    assert "plain/train: other rows when streamed than in its files" in text


# --- columns --------------------------------------------------------------------------------------


def sample(features: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[Any, columns.Sample]:
    from datasets import Features

    found = columns.Columns(Features(features))
    return found, found.sample(row)


def test_what_columns_are_taken_for() -> None:
    from datasets import Audio, ClassLabel, Image, List, Translation, Value

    text, words = Value("string"), List(Value("string"))
    found, row = sample(
        {"id": text, "text": text, "stars": ClassLabel(names=["a"])},
        {"id": "7", "text": "words", "stars": -1},
    )
    assert (found.modalities, row.text, row.label, found.classes) == (("text",), "words", None, 1)
    found, row = sample({"text": text}, {"text": "words"})
    assert (row.text, row.pair) == ("words", None)
    found, row = sample({"title": text, "body": text}, {"title": "a", "body": "b"})
    assert (row.text, row.pair) == ("a", ("a", "b"))
    found, row = sample({"t": Translation(["de", "en"])}, {"t": {"de": "ja", "en": "yes"}})
    assert (row.text, row.pair) == ("ja", ("ja", "yes"))
    found, row = sample(
        {"words": words, "tags": List(ClassLabel(names=["O", "B"]))},
        {"words": ["a", "b"], "tags": [0, 1]},
    )
    assert (row.words, row.tags, found.tag_classes, row.text) == (("a", "b"), (0, 1), 2, "")
    one, two = {"bytes": b"1", "path": None}, {"bytes": b"2", "path": None}
    found, row = sample(
        {"texts": words, "images": List(Image())},
        {"texts": [None, "a", None, "b"], "images": [one, None, two, None]},
    )
    assert (row.pieces, row.images, row.text) == ((one, "a", two, "b"), (one, two), "a b")
    assert found.modalities == ("text", "image")
    message = {"role": text, "content": List({"type": text, "text": text})}
    found, row = sample(
        {"chat": List(message)},
        {"chat": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]},
    )
    assert row.messages == ({"role": "user", "content": "hello"},)
    assert row.text == "hello"
    found, row = sample(
        {"audio": Audio(), "label": Value("float32"), "text": text},
        {"audio": one, "label": 0.5, "text": None},
    )
    assert (row.sounds, row.label, row.text) == ((one,), 0.5, "")
    assert found.classes is None
    found, row = sample({"n": Value("int64")}, {"n": 1})
    assert (found.modalities, row) == ((), columns.Sample())


def test_the_layouts_of_training_scripts() -> None:
    from datasets import Features, Image, Json, List, Value

    text = Value("string")
    found, row = sample(
        {"id": text, "prompt": text, "chosen": text, "rejected": text},
        {"id": "7", "prompt": "The sky is", "chosen": " so blue.", "rejected": " so red."},
    )
    assert found.format == "preference"
    assert (row.prompt, row.answer, row.text) == ("The sky is so ", "blue.", "The sky is so blue.")
    assert row.worse is not None
    assert (row.worse.text, row.worse.pair) == ("The sky is so red.", ("The sky is so ", "red."))
    found, row = sample(
        {"instruction": text, "input": text, "output": text},
        {"instruction": "Add.", "input": "1 2", "output": "3"},
    )
    assert (found.format, row.prompt, row.answer) == ("alpaca", "Add.\n\n1 2\n\n", "3")
    chat = List({"role": text, "content": text})
    asks, says = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}
    found, row = sample(
        {"prompt": text, "chosen": chat, "rejected": chat},
        {"prompt": "Hi", "chosen": [asks, says], "rejected": [asks, {**says, "content": "No"}]},
    )
    assert (row.prompt, row.answer) == ((asks,), (says,))
    found, row = sample(
        {"prompt": chat, "completion": chat, "label": Value("bool")},
        {"prompt": [asks], "completion": [says], "label": False},
    )
    assert (found.format, row.wanted, row.messages) == ("KTO", False, (asks, says))
    found, row = sample(
        {"turns": List({"from": text, "value": text})},
        {
            "turns": [
                {"from": "human", "value": "<image>Hi"},
                {"from": "gpt", "value": "Ho"},
            ]
        },
    )
    assert row.messages[1] == says
    one, two = ({"bytes": data, "path": None} for data in (b"1", b"2"))
    parts = List({"type": text, "text": text, "image": Image()})
    found, row = sample(
        {"image": Image(), "messages": List({"role": text, "content": parts})},
        {
            "image": one,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a", "image": None},
                        {"type": "image", "text": None, "image": two},
                        {"type": "text", "text": "b", "image": None},
                        {"type": "image", "text": None, "image": None},
                    ],
                }
            ],
        },
    )
    assert [piece if isinstance(piece, str) else piece["bytes"] for piece in row.pieces] == (
        ["a", b"2", "b", b"1"]
    )
    assert found.modalities == ("text", "image")
    rows = [{"chat": json.dumps([{**asks, "tool_calls": [{"name": "f"}]}, says]), "tools": None}]
    found = columns.Columns(Features({"chat": Json(), "tools": text}), rows)
    row = found.sample(rows[0])
    assert (found.format, row.messages[1]) == ("tool calls", says)
