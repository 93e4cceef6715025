"""The zoo of architectures: complete, and a table that says what became of each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli.test_commands import said
from kit.zoo import doit, make

from tinybuild import errors
from tinybuild.cli import architectures, face
from tinybuild.cli.architectures import Row, table
from tinybuild.cli.session import Session
from tinybuild.config import heads

ROOT = Path(__file__).parents[2]


def test_every_model_type_has_its_recipe_and_its_line() -> None:
    """A release of transformers with other types shows them here; doit missing, doit table."""
    folder = ROOT / "recipes" / architectures.GROUP
    names = {path.stem.removeprefix(architectures.PREFIX) for path in folder.glob("*.yaml")}
    assert names == set(heads.types())
    assert architectures.missing(ROOT) == {}
    lines = (ROOT / architectures.TABLE).read_text().splitlines()
    told = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.count(" | ") == 8]
    assert told[2:] == sorted(heads.types())


def test_every_architecture_of_sentence_transformers_is_there() -> None:
    """The names of its table of tiny test repositories, of which 229 have none (its
    tests/base/modules/transformer/transformers_tiny_models.json of November 2026)."""
    wanted = {*(Path(__file__).parent / "sentence_transformers.txt").read_text().split()}
    assert len(wanted) == 497
    # A tokenizer's name for Llama, and a class of its own.
    assert wanted - {*heads.types()} == {"code_llama", "mt5_encoder_custom"}


@pytest.mark.slow
def test_what_reads_or_writes_text_has_a_tokenizer() -> None:
    folder, wrong = ROOT / "recipes" / architectures.GROUP, []
    for kind in heads.types():
        text = (folder / f"{architectures.PREFIX}{kind}.yaml").read_text()
        if heads.speaks(kind) != ("\ntokenizer:\n" in text):
            wrong.append(kind)
    # Their recipes say why.
    assert wrong == ["chameleon", "emu3", "fuyu", "layoutlmv3"]


@pytest.mark.parametrize(
    ("kind", "words"), [("bert", True), ("vit", False), ("wav2vec2", True), ("whisper", True)]
)
def test_a_recipe_has_a_tokenizer_where_there_is_text(kind: str, words: bool) -> None:
    text = architectures.recipe(kind)
    assert ("tokenizer:\n  vocab_size: 500\nmodel:\n" in text) is words
    assert text == (ROOT / f"recipes/architectures/arch-{kind}.yaml").read_text()


def test_types_are_those_of_transformers_and_cost_no_import() -> None:
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    assert heads.types() == tuple(sorted(MODEL_MAPPING_NAMES))
    load = "import sys; from tinybuild.config import heads; heads.types()"
    code = f"{load}; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'transformers'" not in done.stdout
    assert "'tinybuild.config.heads'" in done.stdout


def test_missing_recipes_are_written_and_no_other_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing that is imported for it writes to standard output, which is one JSON document."""
    monkeypatch.setattr(heads, "types", lambda: ("bert", "gpt2", "vit"))
    root = make(tmp_path / "zoo")
    mine = root / "recipes/architectures/arch-bert.yaml"
    mine.parent.mkdir()
    mine.write_text("version: 1\nsummary: mine\ndataset: {samples: 3}\n")
    written = [f"recipes/architectures/arch-{kind}.yaml" for kind in ("gpt2", "vit")]
    monkeypatch.setattr(face, "session", lambda: Session(root))
    assert face.main(["missing", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"wrote": written}
    assert "summary: mine" in mine.read_text()
    for name in written:
        assert (root / name).read_text() == (ROOT / name).read_text()
    assert said(Session(root), "check")[0] == ["3 recipes have nothing wrong"]
    assert said(Session(root), "missing")[0] == ["every model type has its recipe"]


LLAMA = """\
version: 1
summary: x
source: {transformers: llama}
model:
  architecture: sequence-classification
  dtype: bfloat16
  config: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
    num_key_value_heads: 2, vocab_size: 64, pad_token_id: 0}
"""


SLOW = """\
version: 1
summary: x
source: {transformers: qwen2}
model:
  shrink: none
  architecture: causal-lm
  config: {hidden_size: 1024, intermediate_size: 8192, num_hidden_layers: 8, vocab_size: 64}
checks: {max_parameters: 1B}
"""


def line(root: Path, kind: str) -> list[str]:
    """The cells of a type's line in a zoo's table, and in the same way those of a count."""
    text = (root / architectures.TABLE).read_text()
    (found,) = re.findall(rf"^\| {re.escape(kind)} \| (.*) \|$", text, flags=re.MULTILINE)
    return str(found).split(" | ")


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"passed": 16}, "16 of 16"),
        ({"passed": 15, "untried": 1}, "15 of 15, 1 not tried"),
        ({"passed": 12, "failed": 2, "untried": 3}, "12 of 14, 3 not tried"),
        ({"untried": 1}, "0 of 0, 1 not tried"),
        ({}, "-"),
    ],
)
def test_checks_that_were_not_tried_are_told_apart(counts: dict[str, int], told: str) -> None:
    text = architectures.table([architectures.Row(model_type="bert", **counts)])
    assert text.splitlines()[-1] == f"| bert | - | - | - | - | - | - | {told} |  |"


@pytest.mark.parametrize(
    ("there", "code", "told"),
    [
        ("", "", "torchvision was not there: what needs it is not tried."),
        ("1.2", "def _has_ops(): return True", "Processors ran with torchvision 1.2."),
        ("1.2", "def _has_ops(): return False", "without its compiled part"),
        ("1.2", "raise RuntimeError", "torchvision 1.2 did not load"),
    ],
)
def test_the_table_says_which_torchvision_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, code: str, told: str
) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").touch()
    (tmp_path / "torchvision/extension.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("torchvision", "torchvision.extension"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(errors, "version", lambda name: there)
    assert told in architectures.table([])
    for name in ("torchvision", "torchvision.extension"):
        sys.modules.pop(name, None)


def test_the_table_says_what_was_built_and_why_the_rest_was_not(tmp_path: Path) -> None:
    """A whole one, one that fails a check, one that hangs, one whose package is missing, one that
    is a bug of its class, one that is broken: each is a line, and none stops another."""
    root = make(tmp_path / "zoo")
    folder = root / "recipes/architectures"
    folder.mkdir()
    recipes = {
        "llama": LLAMA,
        "mistral": LLAMA.replace("llama", "mistral") + "checks: {max_bytes: 1kB}\n",
        "qwen2": SLOW + "limits: {seconds: 1}\n",
        "higgs_audio_v2_tokenizer": "version: 1\nsummary: x\n"
        "source: {transformers: higgs_audio_v2_tokenizer}\nmodel: {}\n",
        "glm_image_vqmodel": "version: 1\nsummary: x\n"
        "source: {transformers: glm_image_vqmodel}\nmodel: {}\n",
        "gpt2": "version: 1\nsummary: x\n",
    }
    for kind, text in recipes.items():
        (folder / f"arch-{kind}.yaml").write_text(text)
    assert doit(root, "table").code == 0
    assert line(root, "llama")[-1] == "fetch not built yet"
    assert line(root, "bert")[-1] == "no recipe: doit missing"
    assert line(root, "account for themselves") == ["1 of 605 (0.2 %)", "100 %"]

    assert doit(root, "-n", "2", "architectures").code == 1
    assert doit(root, "table").code == 0
    cells = line(root, "llama")
    receipt = json.loads((root / "build/arch-llama/model/receipt.json").read_text())
    assert cells[:2] == [
        "LlamaForSequenceClassification",
        f"{receipt['facts']['parameters']:,}",
    ]
    assert cells[2] == f"{receipt['files']['model.safetensors']['size']:,}"
    passed, _, checks = cells[6].partition(" of ")
    assert passed == checks
    assert cells[7] == ""
    cells = line(root, "mistral")
    assert cells[0] == "MistralForSequenceClassification"
    passed, _, checks = cells[6].partition(" of ")
    assert 0 < int(passed) < int(checks)
    assert cells[7].startswith("max_bytes: ")
    # Whichever stage it is that a loaded machine needs so long for.
    assert re.fullmatch(
        r"this took longer than 1 s(, .*)? and was stopped", line(root, "qwen2")[-1]
    )
    cells = line(root, "higgs_audio_v2_tokenizer")
    assert "needs the package torchaudio" in cells[-1]
    assert re.search(r"\(pip install .*torchaudio\)", cells[-1])
    assert "GlmImageVQVAE has no forward" in line(root, "glm_image_vqmodel")[-1]
    assert line(root, "gpt2")[-1] == "nothing to build"
    assert line(root, "account for themselves") == ["6 of 605 (1.0 %)", "100 %"]
    assert line(root, "their packages can be used here")[0].startswith("604 of 605")
    assert line(root, "weights of at most 1 MB, as they are saved")[0].startswith("2 of 604")
    assert line(root, "at most 500,000 parameters: 1 MB in bfloat16")[0].startswith("2 of 604")

    # What is known of a failure is about that recipe: an edited one has not been tried yet.
    text = (folder / "arch-mistral.yaml").read_text()
    (folder / "arch-mistral.yaml").write_text(text.replace("1kB", "2kB"))
    before = (root / architectures.TABLE).read_text()
    assert doit(root, "table").code == 0
    assert line(root, "mistral")[-1] == "validate not built yet"
    (folder / "arch-mistral.yaml").write_text(text)
    assert doit(root, "table").code == 0
    assert (root / architectures.TABLE).read_text() == before


def test_texts_cannot_break_the_table() -> None:
    text = table([Row(model_type="a", reason="x | y <b> `c` \\ __d__")])
    (cells,) = [line for line in text.splitlines() if line.startswith("| a |")]
    assert cells.replace("\\|", "").count("|") == 10
    assert "<b>" not in cells


def test_the_table_says_which_other_packages_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    told = ["torch>=2", "timm; extra == 'architectures'", 'gone>=1; extra == "architectures"']
    monkeypatch.setattr(architectures.importlib.metadata, "requires", lambda name: told)
    there = {"timm": "1.0", "torch": "2.13"}
    monkeypatch.setattr(errors, "version", lambda name: there.get(name, ""))
    assert architectures.beside_that() == " Beside it were timm 1.0."
    monkeypatch.setattr(errors, "version", lambda name: "")
    assert architectures.beside_that() == ""
