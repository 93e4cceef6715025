"""Cards: front matter by the Hub's rules, code that names where things are, and what differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kit.hub import Hub, connected

from tinybuild.facts import DatasetFacts, Form, ModelShown, Origin, TokenizerShown
from tinybuild.pack.card import card
from tinybuild.pack.told import Changed, Checked, Places, Told

MODEL = ModelShown(
    class_="LlamaForCausalLM",
    parameters=12345,
    dtype="bfloat16",
    tensor_parallel=1,
    length=64,
    processor=(),
    without=(),
    forms=(),
    tag="text-generation",
)
TOKENIZER = TokenizerShown(
    class_="LlamaTokenizer",
    method="corpus",
    vocab_size=500,
    rows=500,
    bytes=9,
    shrunk=None,
    unused=0,
)
ROWS = DatasetFacts(
    rows=1,
    columns=(("text", "string"),),
    configs={"default": {"train": 1}},
    source=Origin(files={}, about={"license": ["mit", "cc-by-4.0"], "language": "no"}),
)
TOLD = Told(
    name="x",
    summary="a test",
    recipe="version: 1\n",
    given=False,
    credits={"source": {"words": "w", "repo": "meta/llama", "license": "llama3.1"}},
    model=MODEL,
    tokenizer=TOKENIZER,
    dataset=None,
    checks=(Checked(name="a", state="passed", note=""),),
    changed=(),
    languages=(),
    versions="",
    bytes=9,
)


def told(**more: Any) -> Told:
    return dataclasses.replace(TOLD, **more)


def front(told: Told) -> dict[str, Any]:
    text = card(told)
    return dict(yaml.safe_load(text[4:].partition("\n---\n")[0]))


def test_the_front_matter() -> None:
    assert front(TOLD) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": "llama3.1",
        "base_model": ["meta/llama"],
        "tags": ["tinybuild", "tiny", "random-weights"],
    }


def credits(*licenses: str) -> dict[str, dict[str, str]]:
    slots = ("source", "tokenizer", "dataset")
    return {
        slot: {"words": "w", "license": one} for slot, one in zip(slots, licenses, strict=False)
    }


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"credits": credits("mit", "mit")}, {"license": "mit"}),
        ({"credits": credits("mit", "apache-2.0")}, {"license": ["apache-2.0", "mit"]}),
        ({"credits": credits("mit", "")}, {}),
        ({"credits": {}}, {}),
        ({"credits": credits("mit, gpl-3.0")}, {"license": ["gpl-3.0", "mit"]}),
        ({"credits": credits("other (Llama 2!)")}, {"license": "other", "license_name": "llama-2"}),
        ({"credits": credits("")} | {"places": Places(license="mit")}, {"license": "mit"}),
        ({"credits": credits("Some: text")}, {}),
        (
            {"credits": credits("mit", "mit", ""), "dataset": ROWS},
            {"license": ["cc-by-4.0", "mit"]},
        ),
    ],
)
def test_the_licence_is_what_all_sources_say(more: Any, wanted: dict[str, Any]) -> None:
    found = front(told(**more))
    assert {key: found[key] for key in found if key.startswith("license")} == wanted


def test_languages_of_text_sources_and_rows() -> None:
    source = {"words": "w", "language": "de, code"}
    found = front(told(credits={"source": source}, languages=("en",), dataset=ROWS))
    assert found["language"] == ["code", "de", "en", "no"]
    assert "language" not in front(told(credits={"source": {"words": "w", "language": "Deutsch"}}))


def test_what_a_processor_does_without_is_said() -> None:
    model = dataclasses.replace(MODEL, without=("`audio_tokenizer` (descript/dac_44khz)",))
    row = "| processor without | `audio_tokenizer` (descript/dac_44khz) |"
    assert row in card(told(model=model))
    assert "processor without" not in card(TOLD)


def test_a_dataset_of_the_hub_is_named() -> None:
    found = front(
        told(
            model=None,
            tokenizer=None,
            dataset=ROWS,
            credits={"dataset": {"words": "w", "repo": "a/b"}},
        )
    )
    assert found["datasets"] == ["a/b"]
    assert "library_name" not in found


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, "hf_token") as server:
        yield server


SENTENCES = (Form(kind="modules", path="modules.json", words="sentences"),)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"model": None, "languages": ("en", "zh")},
        {"model": dataclasses.replace(MODEL, forms=SENTENCES)},
        {"model": dataclasses.replace(MODEL, tag="")},
        {"dataset": ROWS, "credits": credits("other (x y)", "mit", "")},
    ],
)
def test_the_hub_takes_the_card(hub: Hub, more: dict[str, Any]) -> None:
    from huggingface_hub import ModelCard

    ModelCard(card(told(**more)), ignore_metadata_errors=False).validate()
    with pytest.raises(ValueError, match="license"):
        ModelCard("---\nlicense: mine alone\n---\n").validate()


# --- where things are -----------------------------------------------------------------------------


def test_code_for_the_folder_of_the_zoo() -> None:
    text = card(told(dataset=ROWS))
    assert 'LlamaForCausalLM.from_pretrained("dist/x")' in text
    assert 'load_dataset("dist/x/dataset")' in text


def test_code_for_the_repository() -> None:
    forms = tuple(
        Form(kind=kind, path=path, words="w")
        for kind, path in (
            ("adapter", "adapters/a"),
            ("gguf", "x.gguf"),
            ("modules", "modules.json"),
        )
    )
    model = dataclasses.replace(MODEL, forms=forms)
    text = card(told(dataset=ROWS, model=model, places=Places(repo="me/x")))
    assert 'AutoTokenizer.from_pretrained("me/x")' in text
    assert 'load_dataset(snapshot_download("me/x") + "/dataset")' in text
    assert "from huggingface_hub import snapshot_download" in text
    assert 'PeftModel.from_pretrained(model, "me/x", subfolder="adapters/a")' in text
    assert "llama-cli --hf-repo me/x --hf-file x.gguf" in text
    assert 'SentenceTransformer("me/x")' in text
    assert "dist/" not in text


# --- what it says ---------------------------------------------------------------------------------


def test_the_paragraph() -> None:
    text = card(told(dataset=ROWS))
    assert (
        "A `LlamaForCausalLM` with 12,345 parameters, a tokenizer with 500 tokens and a dataset "
        "with 1 row, made by tinybuild to test machinery: training loops, parallelism, export, "
        "serving. The weights are random: this is not for what it says." in text
    )


def test_what_differs_from_the_source() -> None:
    changes = (
        Changed(key="hidden_size", before=4096, after=64, reason="recipe"),
        Changed(key="layer_types", before=["a|b"] * 50, after=None, reason="a | b"),
        *(Changed(key=f"k{n}", before=n, after=0, reason="rule") for n in range(60)),
    )
    text = card(told(changed=changes))
    assert "| `hidden_size` | `4096` | `64` | recipe |" in text
    assert '["a¦b", "a¦b"' in text
    assert "| a \\| b |" in text
    assert "22 more changes in `config_changes.json`." in text
    assert "What differs" not in card(TOLD)


def test_what_was_not_tried() -> None:
    checks = (*TOLD.checks, Checked(name="b", state="not tried", note="no timm here"))
    text = card(told(checks=checks))
    assert "1 passed, 1 not tried" in text
    assert "- `b` was not tried: no timm here" in text


def test_what_a_port_must_give() -> None:
    """The code fetches what a repository has; without expected outputs there is no section."""
    here = told(expected=True)
    assert 'tinybuild.assert_matches_expected(port, "dist/x")' in card(here)
    there = card(dataclasses.replace(here, places=Places(repo="me/x")))
    assert 'assert_matches_expected(port, huggingface_hub.snapshot_download("me/x"))' in there
    assert "import huggingface_hub\nimport tinybuild\n" in there
    assert "What a port must give" not in card(TOLD)
