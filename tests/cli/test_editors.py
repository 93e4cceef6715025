"""What editors know of recipes: the schema of a zoo, read by the programs that editors run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from kit.files import ROOT
from kit.language import editor
from kit.said import said
from kit.zoo import make

from tinybuild.cli.editors import SCHEMA
from tinybuild.errors import RecipeFault

LINE = f"# yaml-language-server: $schema=../{SCHEMA}\n"
BERT = f"{LINE}version: 1\nsummary: x\nsource:\n  transformers: bert\nmodel:\n"
FOLDER = BERT.replace("transformers: bert", "path: ../mine")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo outside the clone, with a schema that knows what it is made from."""
    root = make(tmp_path_factory.mktemp("editors") / "zoo", bert=f"{BERT}  layers: 2\n")
    (root / "mine").mkdir()
    (root / "mine/config.json").write_text(json.dumps({"model_type": "gpt2"}))
    (root / "recipes/mine.yaml").write_text(f"{FOLDER}  layers: 2\n")
    lines, answer = said(root, "schema", "llava")
    assert answer.data["sources"] == ["bert", "llava"]
    assert (
        lines[1] == "without those of path: ../mine, which is not here yet: build its recipe first"
    )
    said(root, "new", str(root / "mine"), "again")  # looks at the folder
    return root


def test_the_schema_knows_the_keys_of_the_zoos_sources(zoo: Path) -> None:
    schema = json.loads((zoo / SCHEMA).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    held = {json.dumps(one["if"]["properties"]["source"]["properties"]) for one in schema["allOf"]}
    assert held == {
        '{"path": {"const": "../mine"}}',
        '{"transformers": {"const": "bert"}}',
        '{"transformers": {"const": "llava"}}',
    }
    said(zoo, "new", "bert", "bert2")  # known already
    assert len(json.loads((zoo / SCHEMA).read_text())["allOf"]) == 3


def test_an_editor_completes_types_tasks_classes_and_keys(zoo: Path) -> None:
    file = zoo / "recipes/new.yaml"
    with editor(zoo) as asked:
        types = asked.offered(file, BERT.replace("bert", "|"))
        assert {"bert", "whisper", "qwen3_moe"} <= types.keys()
        classes = asked.offered(zoo / "recipes/b.yaml", f"{BERT}  architecture: |\n")
        assert {"auto", "masked-lm", "BertForMaskedLM"} <= classes.keys()
        assert "LlavaForConditionalGeneration" not in classes
        keys = asked.offered(zoo / "recipes/c.yaml", f"{BERT}  config:\n    |\n")
        assert "768 in the source" in keys["hidden_size"]
        assert "vision_config" not in keys
        llava = BERT.replace("bert", "llava")
        deep = f"{llava}  config:\n    vision_config:\n      |\n"
        assert "patch_size" in asked.offered(zoo / "recipes/d.yaml", deep)
        named = asked.offered(zoo / "recipes/e.yaml", f"{FOLDER}  config:\n    |\n")
        assert "n_embd" in named
        assert "another name of n_embd" in named["hidden_size"]


def test_an_editor_says_what_is_wrong(zoo: Path) -> None:
    with editor(zoo) as asked:
        good = (zoo / "recipes/bert.yaml").read_text()
        assert asked.open(zoo / "recipes/f.yaml", good) == []
        wrong = asked.open(zoo / "recipes/g.yaml", good.replace("layers: 2", "layers: two"))
        assert any("integer" in message for message in wrong), wrong
        wrong = asked.open(zoo / "recipes/h.yaml", good.replace("summary", "sumary"))
        assert any("sumary" in message for message in wrong), wrong


def test_check_jsonschema_takes_the_zoos_recipes(zoo: Path) -> None:
    pytest.importorskip("check_jsonschema")
    (zoo / "bad.yaml").write_text(BERT.replace("version: 1", "version: 2"))
    for files, status in (((zoo / "recipes").glob("*.yaml"), "ok"), ([zoo / "bad.yaml"], "fail")):
        words = ["--schemafile", str(zoo / SCHEMA), *map(str, files), "--output-format", "json"]
        done = subprocess.run(
            [sys.executable, "-m", "check_jsonschema", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert json.loads(done.stdout)["status"] == status, done.stdout


def test_what_is_no_type_and_what_is_no_zoos(zoo: Path) -> None:
    with pytest.raises(RecipeFault, match="no model type brt\n  hint: did you mean bert"):
        said(zoo, "schema", "brt")
    before = (ROOT / SCHEMA).read_text()
    with pytest.raises(RecipeFault, match="is tinybuild's own here"):
        said(ROOT, "schema")
    assert (ROOT / SCHEMA).read_text() == before
