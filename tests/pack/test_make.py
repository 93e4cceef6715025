"""A bundle: a card that says what it is, checksums that hold, an archive that never varies."""

from __future__ import annotations

import dataclasses
import getpass
import gzip
import hashlib
import json
import os
import re
import shutil
import socket
import tarfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from kit.files import contents
from kit.stage import MakeJob

import tinybuild
from tinybuild import model, pack, source, statement, wire
from tinybuild.dataset import stage as dataset
from tinybuild.errors import BuildFault
from tinybuild.facts import DatasetFacts, ModelShown, TokenizerShown
from tinybuild.files import digest, sha256
from tinybuild.progress import count
from tinybuild.source import blank_tokenizer
from tinybuild.statement import Asked
from tinybuild.tokenizer import stage as tokenizer
from tinybuild.workers import Job

NAME = "tiny-llama"
SVG = "{http://www.w3.org/2000/svg}"
SUMMARY = "Llama: for 'quotes', *stars* & tests"
RECIPE = """\
# ünïcode and ``` fences
version: 1
summary: x
source: {transformers: llama}
"""
READ = {"tokenizer": TokenizerShown, "model": ModelShown, "dataset": DatasetFacts}
PINS = {
    "source": {
        "wish": {"transformers": "llama"},
        "transformers": "5.23.0",
        "files": {"config.json": {"sha256": "0" * 64, "size": 3}},
    }
}

REPORT = {
    "version": 1,
    "checks": [
        {"name": "reload", "state": "passed", "note": ""},
        {"name": "processor_tokens", "state": "not tried", "note": "no timm here"},
        {
            "name": "least_version",
            "state": "passed",
            "values": {"transformers": "5.0"},
            "note": "older ones do not read the tokenizer class TokenizersBackend",
        },
    ],
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folders of the stages before pack, and their facts."""
    from transformers import LlamaConfig

    root = tmp_path_factory.mktemp("stages")
    found = blank_tokenizer("llama")
    assert found is not None
    found.save_pretrained(root / "fetch" / "source")
    LlamaConfig().save_pretrained(root / "fetch" / "source")
    facts: dict[str, Any] = {"fetch": fetched(PINS)}

    def stage(name: str, function: Any, settings: dict[str, Any], **known: Any) -> None:
        (root / name).mkdir()
        inputs = {"fetch": root / "fetch"}
        facts[name] = wire.dump(
            function(
                Job(
                    task="x",
                    settings=settings,
                    inputs=inputs,
                    facts=known,
                    root=root,
                    out=root / name,
                    seed=1,
                )
            )
        )
        for paper in ("receipt.json", "provenance.json"):
            (root / name / paper).write_text("{}")

    section = {"method": "train", "vocab_size": 600}
    common = {"slot": "source", "kind": "transformers", "blank": True, "related": True}
    stage("tokenizer", tokenizer.make, {"tokenizer": section, **common})
    config = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    wish = {"architecture": "LlamaForCausalLM", "config": config, "dtype": "bfloat16"}
    wish |= {"shrink": "none"}
    settings = {"model": wish, "max_parameters": 1_000_000}
    stage("model", model.make, settings, tokenizer=facts["tokenizer"])
    stage("dataset", dataset.make, {"dataset": {"samples": 12, "select": "first"}})
    (root / "validate").mkdir()
    (root / "validate" / "report.json").write_text(json.dumps(REPORT))
    (root / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return root, facts


def fetched(pins: dict[str, Any]) -> dict[str, Any]:
    """The facts of a fetch with these pins."""
    credits = {slot: source.credit(pin["wish"], pin) for slot, pin in pins.items()}
    return {"pins": pins, "credits": credits}


def wish(
    job: MakeJob, stages: tuple[Path, dict[str, Any]], *kept: str, pins: Any = None, **more: Any
) -> Job:
    root, facts = stages
    kept = kept or ("tokenizer", "model", "dataset")
    common = {"name": NAME, "summary": SUMMARY, "recipe": digest(RECIPE), "local": {}}
    settings = {**common, "given": False, **more}
    return job(
        settings,
        facts={
            "fetch": fetched(PINS if pins is None else pins),
            **{name: {key: facts[name][key] for key in wire.keys(READ[name])} for name in kept},
        },
        recipe=root / "recipe.yaml",
        validate=root / "validate",
        **{name: root / name for name in kept},
    )


def card(folder: Path) -> tuple[dict[str, Any], str]:
    """The front matter of README.md, and the text below it."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\n")
    front, _, body = text[4:].partition("\n---\n")
    return yaml.safe_load(front), body


# --- the folder -----------------------------------------------------------------------------------


def test_the_layout(job: MakeJob, stages: Any) -> None:
    work = wish(job, stages)
    facts = pack.make(work)
    found = contents(work.out / NAME)
    assert set(found) == {
        *("README.md", "SHA256SUMS", "recipe.yaml", "recipe.lock.json", "report.json"),
        *("provenance.json", "architecture.svg"),
        *("config.json", "config_changes.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
        *("dataset/README.md", "dataset/data/train-00000-of-00001.parquet", "dataset/recipe.yaml"),
    }
    assert {path.name for path in work.out.iterdir()} == {NAME, f"{NAME}.tar.gz"}
    assert found["recipe.yaml"].decode() == RECIPE
    assert found["model.safetensors"] == (stages[0] / "model/model.safetensors").read_bytes()
    assert json.loads(found["recipe.lock.json"]) == {"version": 1, "pins": PINS}
    assert facts.bytes == sum(map(len, found.values()))


def test_the_card_shows_a_drawing_of_the_model(job: MakeJob, stages: Any) -> None:
    """The Hub takes an SVG out of a card's text, and shows a picture that is a file beside it."""
    work = wish(job, stages)
    pack.make(work)
    drawing = (work.out / NAME / "architecture.svg").read_bytes()
    assert len(drawing) < 20_000
    words = {text.text for text in ElementTree.fromstring(drawing).iter(f"{SVG}text")}
    assert {"model", "embed_tokens", "lm_head", "self_attn"} <= words
    _, body = card(work.out / NAME)
    (name,) = re.findall(r"!\[The modules of LlamaForCausalLM[^\]]*\]\((.+)\)", body)
    assert name == "architecture.svg"
    shutil.rmtree(work.out)
    work.out.mkdir()
    rows = dataclasses.replace(wish(job, stages, "dataset"), out=work.out)
    pack.make(rows)
    assert not (work.out / NAME / "architecture.svg").exists()
    assert "architecture.svg" not in (work.out / NAME / "README.md").read_text()


def test_sha256sums_hold_and_name_every_file(job: MakeJob, stages: Any) -> None:
    work = wish(job, stages)
    pack.make(work)
    found = contents(work.out / NAME)
    sums = {}
    for line in found.pop("SHA256SUMS").decode().splitlines():
        number, _, name = line.partition("  ")
        sums[name] = number
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}
    assert list(sums) == sorted(sums)


def test_a_bundle_says_how_to_make_it_again(job: MakeJob, stages: Any, tmp_path: Path) -> None:
    """Its name, the toolchain, and recipe and lock of each recipe that it was made from."""
    texts = {
        "up/recipe.yaml": "up's",
        "up/recipe.lock.json": "up's lock",
        "up/recipes/base.yaml": "base's",
        "up/recipes/base.lock.json": "base's lock",
    }
    for name, text in texts.items():
        (tmp_path / "view" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "view" / name).write_text(text)
    work = wish(job, stages)
    work = dataclasses.replace(
        work,
        inputs={**work.inputs, "recipes/up": tmp_path / "view"},
        versions={"python": "3.11", "torch": "2.13.0", "gguf": None},
    )
    pack.make(work)
    found = contents(work.out / NAME)
    assert {name: data.decode() for name, data in found.items() if name.startswith("recipes/")} == {
        "recipes/up.yaml": "up's",
        "recipes/up.lock.json": "up's lock",
        "recipes/base.yaml": "base's",
        "recipes/base.lock.json": "base's lock",
    }
    told = statement.read(work.out / NAME)
    assert told.asked == Asked(recipe=NAME)
    assert told.toolchain == {
        "tinybuild": tinybuild.__version__,
        "python": "3.11",
        "torch": "2.13.0",
    }
    assert set(found) - {"SHA256SUMS"} == {
        line.partition("  ")[2] for line in found["SHA256SUMS"].decode().splitlines()
    }


def test_nothing_of_this_machine_in_any_file(job: MakeJob, stages: Any, tmp_path: Path) -> None:
    work = wish(job, stages)
    pack.make(work)
    repository = Path(tinybuild.__file__).parents[1]
    words = [str(tmp_path), str(stages[0]), str(Path.home()), str(repository)]
    words += [word for word in (getpass.getuser(), socket.gethostname()) if len(word) > 4]
    words = [word for word in words if len(word) > 4]
    assert words
    packed = {
        **contents(work.out),
        "tar": gzip.decompress((work.out / f"{NAME}.tar.gz").read_bytes()),
    }
    for name, data in packed.items():
        for word in words:
            assert word.encode() not in data, (name, word)


def test_a_recipe_edited_meanwhile(job: MakeJob, stages: Any) -> None:
    with pytest.raises(BuildFault, match="the recipe was edited while it was built") as caught:
        pack.make(wish(job, stages, recipe=digest(RECIPE + "#")))
    assert caught.value.findings[0].hint == "run it again"


# --- the card -------------------------------------------------------------------------------------


def test_the_card(job: MakeJob, stages: Any) -> None:
    work = wish(job, stages)
    pack.make(work)
    front, body = card(work.out / NAME)
    assert front == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": "apache-2.0",
        "tags": ["tinybuild", "tiny", "random-weights"],
    }
    facts = stages[1]
    for words in (
        f"# {NAME}\n",
        SUMMARY,
        "The weights are random",
        "the defaults of `llama` in transformers 5.23.0",
        "the corpus that ships with tinybuild",
        "| class | `LlamaForCausalLM` |",
        f"| parameters | {count(facts['model']['parameters'])} (bfloat16) |",
        f"| tensor parallel | up to {facts['model']['tensor_parallel']} |",
        "| tokens | 600 (`LlamaTokenizer`) |",
        "| transformers | 5.0 or later: older ones do not read the tokenizer class "
        "TokenizersBackend |",
        "| rows | 12 (text",
        f'AutoTokenizer.from_pretrained("dist/{NAME}")',
        f'LlamaForCausalLM.from_pretrained("dist/{NAME}")',
        f'load_dataset("dist/{NAME}/dataset")',
        "2 passed, 1 not tried; `report.json` says what each measured.\n"
        "- `processor_tokens` was not tried: no timm here",
        f"Built by tinybuild {tinybuild.__version__}",
    ):
        assert words in body
    assert f"````yaml\n{RECIPE.rstrip()}\n````" in body  # a longer fence than the recipe's own


def test_the_cards_of_what_is_published(job: MakeJob, stages: Any) -> None:
    """Code that works where the card is read, and what a rebuild must know of zoo.yaml."""
    places = {"repo": "my-org/tiny-llama", "dataset_repo": "my-org/rows"}
    work = wish(job, stages, places=places, zoo={"repo": "my-org/tiny-{name}"}, text="plain")
    pack.make(work)
    front, body = card(work.out / NAME)
    assert front["language"] == ["en"]
    assert 'LlamaForCausalLM.from_pretrained("my-org/tiny-llama")' in body
    assert 'load_dataset("my-org/rows")' in body
    assert "dist/" not in body
    _, rows = card(work.out / NAME / "dataset")
    assert 'load_dataset("my-org/rows")' in rows
    assert statement.read(work.out / NAME).asked.zoo == {"repo": "my-org/tiny-{name}"}


def test_the_card_carries_what_the_pin_knows(job: MakeJob, stages: Any) -> None:
    facts = {"commit": "0" * 40, "gated": "manual", "license": "other (Some Licence)"}
    pin = {"wish": {"hub": "meta/llama"}, **facts, "files": PINS["source"]["files"]}
    work = wish(job, stages, "tokenizer", pins={"source": pin})
    pack.make(work)
    front, _ = card(work.out / NAME)
    assert front["base_model"] == ["meta/llama"]
    assert (front["license"], front["license_name"]) == ("other", "some-licence")


def test_the_card_of_a_dataset_alone(job: MakeJob, stages: Any) -> None:
    work = wish(job, stages, "dataset", pins={})
    pack.make(work)
    front, body = card(work.out / NAME)
    assert front == {"tags": ["tinybuild", "tiny"]}
    assert "random" not in body.partition("## Make it again")[0]
    assert "from_pretrained" not in body
    assert "load_dataset" in body


def test_the_card_of_a_tokenizer_alone(job: MakeJob, stages: Any) -> None:
    work = wish(job, stages, "tokenizer")
    pack.make(work)
    front, body = card(work.out / NAME)
    assert front == {
        **{"library_name": "transformers", "license": "apache-2.0"},
        "tags": ["tinybuild", "tiny"],
    }
    assert "AutoTokenizer" in body
    assert "load_dataset" not in body
    assert "LlamaForCausalLM" not in body


def test_the_card_of_a_shrunken_tokenizer(job: MakeJob, stages: Any) -> None:
    root, facts = stages
    shrunk = {
        "source_size": 32_000,
        "source_largest_id": 31_999,
        "kept": {"alphabet": 257, "sample": 340, "special": 3},
        "trimmed": {"<extra_id_#>": 59, "<odd>": 1},
        "unreachable": {"tokens": 2, "in_source": 2},
        "coverage": 0.8548,
        "characters_per_token": {"source": 2.021, "tiny": 1.214},
    }
    told = {"tokenizer": {**facts["tokenizer"], "rows": 640, "shrunk": shrunk}}
    work = wish(job, (root, {**facts, **told}), "tokenizer")
    pack.make(work)
    _, body = card(work.out / NAME)
    for row in (
        "| rows of the embedding | 640 |",
        "| kept of the source | 600 of 32,000 |",
        "| kept because of | alphabet 257, sample 340, special 3 |",
        "| no room for | `<extra_id_#>` 59, `<odd>` 1 |",
        "| tokens that no text gives | 2 (in the source 2) |",
        "| characters per token | 1.214 (source 2.021) |",
        "| coverage of the sample | 85.5% |",
    ):
        assert row in body


def test_the_card_names_each_origin(job: MakeJob, stages: Any) -> None:
    commit, rows = "c" * 40, {"path": "../rows.jsonl"}
    pins = {
        "source": {"wish": {"hub": "owner/name"}, "commit": commit, "files": {}},
        "tokenizer": {
            "wish": {"package": "mistral-common", "files": {"tokenizer.model": "a/b.model.v3"}},
            "version": "1.13.1",
            "files": {},
        },
    }
    work = wish(
        job, stages, pins=pins, local={"dataset": {"wish": rows, "credit": source.credit(rows, {})}}
    )
    pack.make(work)
    front, body = card(work.out / NAME)
    assert front["base_model"] == ["owner/name"]
    for line in (
        f"- config: `owner/name` on the Hub at commit `{commit}`",
        "- tokenizer: `a/b.model.v3` of the package mistral-common 1.13.1",
        "- dataset: local files (`../rows.jsonl`)",
    ):
        assert line in body.splitlines()
    pins["dataset"] = {"wish": {"hub": "owner/rows"}, "commit": commit, "files": {}}
    work = wish(job, stages, pins=pins)
    pack.make(work)
    front, body = card(work.out / NAME)
    assert (front["base_model"], front["datasets"]) == (["owner/name"], ["owner/rows"])
    assert f"- dataset: `owner/rows` on the Hub at commit `{commit}`" in body.splitlines()


def test_the_card_names_other_forms(job: MakeJob, stages: Any) -> None:
    root, facts = stages
    forms = [
        {"kind": "shards", "path": "model.safetensors.index.json", "words": "two files"},
        {"kind": "pickle", "path": "pytorch_model.bin", "words": "as a pickle"},
        {"kind": "adapter", "path": "adapters/a", "words": "LoRA of rank 4"},
        {"kind": "modules", "path": "modules.json", "words": "vectors"},
    ]
    work = wish(job, (root, {**facts, "model": {**facts["model"], "forms": forms}}))
    pack.make(work)
    front, body = card(work.out / NAME)
    assert front["library_name"] == "sentence-transformers"
    assert body.partition("## Other forms\n\n")[2].partition("\n\n")[0].splitlines() == [
        "- `model.safetensors.index.json`: two files",
        "- `pytorch_model.bin`: as a pickle: `torch.load(..., weights_only=True)`",
        "- `adapters/a`: LoRA of rank 4: "
        f'`peft.PeftModel.from_pretrained(model, "dist/{NAME}/adapters/a")`',
        f'- `modules.json`: vectors: `sentence_transformers.SentenceTransformer("dist/{NAME}")`',
    ]


def test_the_code_of_the_card_runs(
    job: MakeJob, stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = wish(job, stages)
    pack.make(work)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "dist").symlink_to(work.out)
    monkeypatch.chdir(tmp_path / "zoo")
    code = card(work.out / NAME)[1].partition("```python\n")[2].partition("\n```")[0]
    code = code.replace('dataset")', f'dataset", cache_dir={str(tmp_path / "cache")!r})')
    names: dict[str, Any] = {}
    exec(compile(code, "card", "exec"), names)
    assert len(names["tokenizer"]) == names["model"].config.vocab_size == 600
    assert names["dataset"]["train"].num_rows == 12


# --- the archive ----------------------------------------------------------------------------------


def test_the_archive_is_plain(job: MakeJob, stages: Any) -> None:
    work = wish(job, stages)
    facts = pack.make(work)
    data = (work.out / f"{NAME}.tar.gz").read_bytes()
    assert hashlib.sha256(gzip.decompress(data)).hexdigest() == facts.tar
    assert data[3] == 0  # no file name in the gzip header
    assert data[4:8] == bytes(4)  # and no time
    with tarfile.open(work.out / f"{NAME}.tar.gz") as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names == sorted(names)
    assert names[0] == NAME
    for member in members:
        assert member.name == NAME or member.name.startswith(f"{NAME}/")
        assert ".." not in member.name.split("/")
        assert member.isfile() or member.isdir()
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert member.mtime == 0
        assert member.mode == (0o644 if member.isfile() else 0o755)


def test_the_archive_holds_the_folder_and_loads_again(
    job: MakeJob, stages: Any, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    work = wish(job, stages)
    pack.make(work)
    with tarfile.open(work.out / f"{NAME}.tar.gz") as tar:
        tar.extractall(tmp_path / "elsewhere", filter="data")
    folder = tmp_path / "elsewhere" / NAME
    assert contents(folder) == contents(work.out / NAME)
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(folder)("hello", return_tensors="pt")["input_ids"]
    assert loaded(ids).logits.shape == (*ids.shape, 600)


def test_the_archive_does_not_know_times_modes_or_umask(
    job: MakeJob, stages: Any, tmp_path: Path
) -> None:
    first = wish(job, stages)
    facts = pack.make(first)
    old = os.umask(0o077)
    try:
        second = wish(job, stages)
        for folder in (path for path in second.inputs.values() if path.is_dir()):
            for file in folder.rglob("*.json"):
                os.utime(file, (1, 1))
        assert pack.make(second) == facts
    finally:
        os.umask(old)
    assert sha256(first.out / f"{NAME}.tar.gz") == sha256(second.out / f"{NAME}.tar.gz")
    assert contents(first.out) == contents(second.out)
