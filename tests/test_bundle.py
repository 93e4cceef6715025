"""The layout of a bundle: what each stage left is in its place, and limits follow the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinybuild.bundle import LIMITS, has_processor, lay

NONE = 10**30  # as transformers writes that there is none
LIMIT, OLD = LIMITS


@pytest.mark.parametrize(
    ("told", "length", "wanted"),
    [
        ({LIMIT: NONE}, 126, 126),
        ({LIMIT: NONE}, None, NONE),
        ({LIMIT: 77}, 126, 77),
        ({LIMIT: 512}, 126, 126),
        ({}, 126, 126),
        ({OLD: 40}, 126, 40),
    ],
)
def test_a_tokenizer_lets_through_what_the_model_has_places_for(
    told: dict[str, int], length: int | None, wanted: int, tmp_path: Path
) -> None:
    words, out = tmp_path / "tokenizer", tmp_path / "out"
    words.mkdir()
    (words / "tokenizer_config.json").write_text(json.dumps({"pad_token": "é", **told}))
    before = (words / "tokenizer_config.json").read_bytes()
    lay({"tokenizer": words}, out, length)
    made = json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (made["pad_token"], made[LIMIT]) == ("é", wanted)
    assert (words / "tokenizer_config.json").read_bytes() == before


def test_a_processor_is_that_of_the_model(tmp_path: Path) -> None:
    """The text part of a model that saw images: its processor lies beside the tokenizer."""
    name, inputs = "preprocessor_config.json", {n: tmp_path / n for n in ("tokenizer", "model")}
    for folder in inputs.values():
        folder.mkdir()
    (inputs["tokenizer"] / name).write_text("{}")
    told = {"pad_token": "a", "processor_class": "LlavaProcessor"}
    (inputs["tokenizer"] / "tokenizer_config.json").write_text(json.dumps(told))
    lay({"tokenizer": inputs["tokenizer"]}, tmp_path / "words")
    assert (tmp_path / "words" / name).is_file()
    lay(inputs, tmp_path / "text")
    assert not (tmp_path / "text" / name).exists()
    named = json.loads((tmp_path / "text/tokenizer_config.json").read_text())
    assert named == {"pad_token": "a"}
    (inputs["model"] / name).write_text('{"size": 32}')
    lay(inputs, tmp_path / "images")
    assert (tmp_path / "images" / name).read_text() == '{"size": 32}'
    assert json.loads((tmp_path / "images/tokenizer_config.json").read_text()) == told


def test_a_bundle_without_a_tokenizer_gets_none(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    lay({"model": tmp_path / "model"}, tmp_path / "out", 126)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["config.json"]


def test_a_processor_is_made_of_its_file_or_of_what_timm_says(tmp_path: Path) -> None:
    assert not has_processor(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert not has_processor(tmp_path)
    (tmp_path / "config.json").write_text('{"pretrained_cfg": {"input_size": [3, 48, 48]}}')
    assert has_processor(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "preprocessor_config.json").write_text("{}")
    assert has_processor(tmp_path)
