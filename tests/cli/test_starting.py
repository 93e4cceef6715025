"""A zoo of one's own, and recipes for what it is pointed at, which build as they are written."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml
from cli.test_commands import said
from kit.files import ROOT
from kit.zoo import doit, make, run

from tinybuild.cli import editors
from tinybuild.cli.session import Session
from tinybuild.errors import Fault, RecipeFault


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Session]:
    made = Session(make(tmp_path / "zoo"))
    yield made
    made.builder.stop()


def test_init_makes_a_zoo_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = Session(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/.gitignore").write_text("mine\n")
    lines, answer = said(here, "init", "mine")
    assert answer.data["wrote"] == ["dodo.py", editors.SCHEMA, "recipes/llama.yaml"]
    assert "kept .gitignore, which is there already" in lines
    assert (tmp_path / "mine/.gitignore").read_text() == "mine\n"
    assert doit(tmp_path / "mine", "check").out == "1 recipe has nothing wrong\n"
    schema = json.loads((tmp_path / "mine" / editors.SCHEMA).read_text())
    recipe = yaml.safe_load((tmp_path / "mine/recipes/llama.yaml").read_text())
    jsonschema.Draft202012Validator(schema).validate(recipe)
    offered = schema["$defs"]["source"]["properties"]["transformers"]["anyOf"][0]["enum"]
    assert {"bert", "llama", "whisper"} <= set(offered)


def test_init_writes_the_files_of_ci_and_of_pre_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("check_jsonschema")
    monkeypatch.chdir(tmp_path)
    here = Session(tmp_path)
    _, answer = said(here, "init", "zoo", **{"pre-commit": "yes", "ci": "OWNER/tinybuild"})
    files = [name for name in answer.data["wrote"] if name.startswith(".github")]
    assert len(files) == 3
    words = ["--builtin-schema", "vendor.github-workflows", *(f"zoo/{name}" for name in files)]
    done = run(tmp_path, [sys.executable, "-m", "check_jsonschema", *words])
    assert done.code == 0, done.out
    docs = (ROOT / "docs/ci.md").read_text()
    for name in files:  # those that docs/ci.md shows
        assert f"# {name}\n{(tmp_path / 'zoo' / name).read_text()}```" in docs
    (hook,) = yaml.safe_load((tmp_path / "zoo/.pre-commit-config.yaml").read_text())["repos"]
    (ours,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook == {"repo": "local", "hooks": [{k: ours[k] for k in ours if k != "description"}]}
    installed = (tmp_path / "zoo/requirements.txt").read_text()
    assert installed == "tinybuild-models[zoo] @ git+https://github.com/OWNER/tinybuild@main\n"
    _, answer = said(here, "init", "other", ci="a/b@v1.2")
    assert (
        "uses: a/b/.github/workflows/zoo-publish.yml@v1.2\n"
        in (tmp_path / "other/.github/workflows/publish.yml").read_text()
    )
    with pytest.raises(RecipeFault, match="not a repository of GitHub\n  hint: --ci OWNER/tiny"):
        said(here, "init", "third", ci="https://github.com/a/b")
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("source", "class_", "words"),
    [
        ("gpt2", "GPT2LMHeadModel", True),
        ("resnet", "ResNetForImageClassification", False),
        ("layoutlmv3", "LayoutLMv3ForTokenClassification", False),
    ],
)
def test_a_model_type(here: Session, source: str, class_: str, words: bool) -> None:
    lines, answer = said(here, "new", source, "mine")
    told = {"recipe": "mine", "file": "recipes/mine.yaml", "class": class_, "notes": []}
    assert answer.data == told
    assert lines[-1] == "now build it: tinybuild build mine"
    text = (here.root / "recipes/mine.yaml").read_text()
    recipe = yaml.safe_load(text)
    assert recipe["source"] == {"transformers": source}
    assert ("tokenizer" in recipe) is words
    assert f"# auto: {class_}. Or a class, or a task: " in text
    assert said(Session(here.root), "check", "mine")[0] == ["1 recipe has nothing wrong"]
    with pytest.raises(RecipeFault, match="there is a recipe mine already"):
        said(Session(here.root), "new", source, "mine")


def test_a_folder(here: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here.root)
    folder = here.root / "models/My Bert"
    folder.mkdir(parents=True)
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    _, answer = said(here, "new", "models/My Bert", **{"vocab-size": "300"})
    assert answer.data == {
        "recipe": "my-bert",
        "file": "recipes/my-bert.yaml",
        "class": "BertForMaskedLM",
        "notes": [],
    }
    recipe = yaml.safe_load((here.root / "recipes/my-bert.yaml").read_text())
    assert recipe["source"] == {"path": "../models/My Bert"}
    # There is none to make it from, but its type's family has one.
    assert recipe["tokenizer"] == {"source": {"transformers": "bert"}, "vocab_size": 300}
    config = {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForPreTraining"]}
    (folder / "config.json").write_text(json.dumps(config))
    said(Session(here.root), "new", "models/My Bert", "sounds")
    recipe = yaml.safe_load((here.root / "recipes/sounds.yaml").read_text())
    assert "tokenizer" not in recipe  # it learns from no text before it is tuned
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*special, *(f"a{n}" for n in range(300))]))
    said(Session(here.root), "new", "models/My Bert", "words", **{"vocab-size": "300"})
    recipe = yaml.safe_load((here.root / "recipes/words.yaml").read_text())
    assert recipe["tokenizer"] == {"vocab_size": 300}
    del config["model_type"]  # ProtBERT's config has none, and 30 tokens
    (folder / "config.json").write_text(json.dumps(config))
    said(Session(here.root), "new", "models/My Bert", "few", **{"vocab-size": "305"})
    recipe = yaml.safe_load((here.root / "recipes/few.yaml").read_text())
    assert recipe["tokenizer"] == {"method": "keep"}
    assert recipe["model"] == {"architecture": "auto"}
    (folder / "config.json").write_text('{"model_type": "layoutlmv3"}')
    said(Session(here.root), "new", "models/My Bert", "boxes")
    recipe = yaml.safe_load((here.root / "recipes/boxes.yaml").read_text())
    assert "tokenizer" not in recipe  # it cuts no text, but words with their boxes


def test_what_is_guessed_is_said(here: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here.root)
    folder = here.root / "moss"
    folder.mkdir()
    sizes = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 64, "n_inner": None}
    config = {"model_type": "moss", "architectures": ["MossForCausalLM"], "vocab_size": 300}
    told = sizes | config | {"summary_type": "cls_index", "scale_attn_weights": True}
    (folder / "config.json").write_text(json.dumps(told))
    lines, _ = said(here, "new", "moss")
    assert lines[0] == "wrote recipes/moss.yaml: GPT2LMHeadModel of moss"
    assert "transformers does not know moss; gpt2 declares " in lines[1]
    # A config of no type that is known: a tokenizer alone, where there is one.
    (folder / "config.json").write_text('{"Unet": [64, 128]}')
    with pytest.raises(Fault, match=r"names no model_type; none of its .* by keys none"):
        said(Session(here.root), "new", "moss", "nothing")
    assert not (here.root / "recipes/nothing.yaml").exists()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na")
    lines, _ = said(Session(here.root), "new", "moss", "words")
    assert lines[0] == "wrote recipes/words.yaml: a tokenizer of moss"
    assert lines[1].startswith("no model: the source's config.json names no model_type")
    assert "model" not in yaml.safe_load((here.root / "recipes/words.yaml").read_text())


def test_what_is_no_source(here: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here.root)
    with pytest.raises(RecipeFault, match="hint: did you mean gpt2"):
        said(here, "new", "gtp2")
    (here.root / "empty").mkdir()
    with pytest.raises(Fault, match="empty"):
        said(here, "new", "empty")
    (here.root / "empty/preprocessor_config.json").write_text("{}")
    with pytest.raises(Fault, match="the source has neither a config"):
        said(here, "new", "empty")
    (here.root / "empty/config.json").write_text("{")
    with pytest.raises(Fault, match=r"config\.json is not JSON: .*\n  hint: put it right"):
        said(here, "new", "empty")
    (here.root / "many/inner").mkdir(parents=True)
    (here.root / "many/inner/config.json").write_text("{}")
    with pytest.raises(RecipeFault, match="did you mean many/inner"):
        said(here, "new", "many")
    assert not list((here.root / "recipes").iterdir())


def test_an_interrupted_look_leaves_no_recipe(
    here: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here.root)
    (here.root / "mine").mkdir()
    (here.root / "mine/config.json").write_text('{"model_type": "bert"}')

    def interrupted(*_: object) -> None:
        assert [path.name for path in (here.root / "recipes").iterdir()] == ["mine.yaml"]
        raise KeyboardInterrupt

    monkeypatch.setattr("tinybuild.cli.starting._found", interrupted)
    with pytest.raises(KeyboardInterrupt):
        said(here, "new", "mine")
    assert not list((here.root / "recipes").iterdir())
