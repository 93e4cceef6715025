"""The core of what peers' suites do with names of the Hub, with `--tiny-as`: peft, trl and
sentence-transformers on bundles; and the zoo for the suites themselves (benchmarks/peers.py).

TINYBUILD_PEERS names a Python with the three (`benchmarks/clients.py --make clients`).
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kit.suites import Ran, suite
from kit.zoo import alone, environment, make

from tinybuild.recipe import reading

BENCHMARK = Path(__file__).parents[1] / "benchmarks/peers.py"
VARIABLE = "TINYBUILD_PEERS"
PEERS = "import peft, trl, sentence_transformers"

RECIPES = {
    "opt": """\
version: 1
summary: stands for the OPT of peft's tests
source: {transformers: opt}
tokenizer: {vocab_size: 800, chat_template: chatml}
model: {adapters: {formal: {}}}
""",
    "vectors": """\
version: 1
summary: stands for the BERT of sentence-transformers' tests
source: {transformers: bert}
tokenizer: {vocab_size: 800}
model: {sentence_transformer: {}}
""",
    "reranker": """\
version: 1
summary: stands for the cross-encoder
source: {transformers: bert}
tokenizer: {vocab_size: 800}
model: {architecture: reward}
""",
    "zen": """\
version: 1
summary: stands for the rows of trl's tests
dataset:
  source: {path: zen.jsonl, config: default}
  configs: {standard: {columns: [text]}, chats: {columns: [messages]}}
  samples: 4
""",
}
SAID = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "B."}]
ROW = {"text": "A line.", "messages": SAID}
AS = (
    *("peft-internal-testing/opt=opt", "peft-internal-testing/opt-lora=opt/adapters/formal"),
    "trl-internal-testing/zen=zen",
    *("sentence-transformers-testing/stsb=vectors", "cross-encoder-testing/reranker=reranker"),
)

# As peft's tests do: a second use of a name must need nothing of the Hub.
SUITE = """
import contextlib
import os
from unittest import mock

import pytest
import torch
import transformers

OPT = "peft-internal-testing/opt"
SEEN = set()


@contextlib.contextmanager
def online_once(name):
    offline = name in SEEN
    SEEN.add(name)
    with (
        mock.patch.dict(os.environ, {"HF_HUB_OFFLINE": "1"} if offline else {}),
        mock.patch("huggingface_hub.constants.HF_HUB_OFFLINE", offline),
        mock.patch("transformers.utils.hub.is_offline_mode", lambda: offline),
    ):
        yield


@pytest.mark.parametrize("time", [1, 2])
def test_lora_is_saved_and_loaded(time, tmp_path):
    from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model

    with online_once(OPT):
        base = transformers.AutoModelForCausalLM.from_pretrained(OPT)
        ids = torch.arange(1, 9)[None]
        made = get_peft_model(base, LoraConfig(init_lora_weights=False, task_type="CAUSAL_LM"))
        wanted = made(ids).logits
        made.save_pretrained(tmp_path)
        again = AutoPeftModelForCausalLM.from_pretrained(tmp_path)
        assert torch.allclose(again(ids).logits, wanted, atol=1e-5)
        assert again.peft_config["default"].base_model_name_or_path == OPT


def test_an_adapter_of_the_hub():
    from peft import AutoPeftModelForCausalLM

    adapted = AutoPeftModelForCausalLM.from_pretrained("peft-internal-testing/opt-lora")
    ids = torch.arange(1, 9)[None]
    plain = transformers.AutoModelForCausalLM.from_pretrained(OPT)(ids).logits
    assert not torch.allclose(adapted(ids).logits, plain, atol=1e-3)
    with adapted.disable_adapter():
        assert torch.allclose(adapted(ids).logits, plain, atol=1e-5)


def arguments(kind, folder, **more):
    return kind(
        output_dir=str(folder), max_steps=2, per_device_train_batch_size=2, report_to="none",
        use_cpu=True, bf16=False, learning_rate=0.1, **more,
    )


@pytest.mark.parametrize(
    ("name", "more"),
    [("standard", {}), ("chats", {}), ("chats", {"assistant_only_loss": True})],
)
def test_sft(name, more, tmp_path):
    import datasets
    from trl import SFTConfig, SFTTrainer

    rows = datasets.load_dataset("trl-internal-testing/zen", name, split="train")
    before = transformers.AutoModelForCausalLM.from_pretrained(OPT)
    made = SFTTrainer(model=OPT, args=arguments(SFTConfig, tmp_path, **more), train_dataset=rows)
    made.train()
    assert any(
        not torch.equal(one, other.to(one.dtype))
        for one, other in zip(made.model.parameters(), before.parameters(), strict=True)
    )


def test_vectors(tmp_path):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer("sentence-transformers-testing/stsb")
    texts = ["A line.", "Another text."]
    vectors = model.encode(texts)
    model.save(str(tmp_path))
    again = SentenceTransformer(str(tmp_path)).encode(texts)
    assert vectors == pytest.approx(again, abs=1e-5)


def test_scores():
    from sentence_transformers import CrossEncoder

    scores = CrossEncoder("cross-encoder-testing/reranker").predict([("a", "b"), ("a", "c d")])
    assert scores.shape == (2,)
"""


def python() -> str:
    """A Python that has the peers; the test is skipped, and says why, where there is none."""
    given = os.environ.get(VARIABLE, sys.executable)
    if subprocess.run([given, "-c", PEERS], capture_output=True, check=False).returncode:
        pytest.skip(f"{VARIABLE} names no Python with peft, trl and sentence-transformers")
    return given


@pytest.mark.parametrize("files", [False, True])
def test_the_zoo_for_the_suites_has_good_recipes_and_no_name_without_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: bool
) -> None:
    peers, zoo = yaml.safe_load(BENCHMARK.with_suffix(".yaml").read_text("utf-8")), tmp_path / "zoo"
    options = [f"--rows={tmp_path / 'rows'}", f"--templates={tmp_path}"] if files else []
    for given in peers["models"].values():
        (tmp_path / f"{given.get('template')}.jinja").write_text("{{ messages }}")
    monkeypatch.setattr("sys.argv", [str(BENCHMARK), str(zoo), *options])
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    made = sorted((zoo / "recipes").glob("*.yaml"))
    read = {file.stem: reading.read(file, file.name, "").data for file in made}
    assert read.keys() == peers["models"].keys() | peers["rows"].keys()
    assert (read["qwen3"]["tokenizer"].get("chat_template") == "{{ messages }}") == files
    assert ("path" in read["zen"]["dataset"]["source"]) == files
    for suite_, names in peers["names"].items():
        said = (zoo / f"{suite_}.txt").read_text("utf-8").split()
        assert said == [f"--tiny-as={public}={bundle}" for public, bundle in names.items()]
        for bundle in names.values():
            name, _, adapter = bundle.partition("/adapters/")
            assert not adapter or adapter in read[name]["model"]["adapters"]
            assert name in read


@pytest.mark.slow
def test_suites_of_peers_run_on_bundles(tmp_path: Path) -> None:
    given = python()
    root = make(tmp_path / "zoo", **RECIPES)
    (root / "recipes/zen.jsonl").write_text(f"{json.dumps(ROW)}\n" * 4)
    built = alone(root, [given, "-m", "doit"])
    assert built.code == 0, built.out + built.err
    folder = suite(tmp_path / "suite", SUITE)
    options = ["--tiny-zoo", str(root / "dist"), *(f"--tiny-as={one}" for one in AS)]
    done = subprocess.run(
        [given, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=environment(HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "home")),
        capture_output=True,
        text=True,
        check=False,
    )
    ran = Ran(code=done.returncode, out=done.stdout + done.stderr)
    assert ran.code == 0, ran.out
    assert len(ran.outcomes) == 8
