"""The forms that other people's code takes a model in: what is written."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import faults
from kit.files import contents
from kit.models import LLAMA, TINY, build, wish
from kit.stage import MakeJob

from tinybuild import model
from tinybuild.model.formats import adapters, files, gguf
from tinybuild.workers import Job


def plain(job: MakeJob, tmp_path: Path, **more: Any) -> dict[str, Any]:
    """The tensors of the same model without any format."""
    from safetensors.torch import load_file

    return dict(load_file(build(job, tmp_path, **more)[1] / "model.safetensors"))


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


# --- shards and pickles ---------------------------------------------------------------------------


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.data())
def test_no_part_is_empty_or_much_larger_than_others(sizes: list[int], data: st.DataObject) -> None:
    number = data.draw(st.integers(1, len(sizes)))
    places = files.cut(sizes, number)
    assert places == sorted({*places})
    assert len(places) == number - 1
    ends = [0, *places, len(sizes)]
    parts = [sizes[start:end] for start, end in itertools.pairwise(ends)]
    assert all(parts)
    assert max(map(sum, parts)) <= sum(sizes) / number + max(sizes)


def test_shards(job: MakeJob, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    whole = plain(job, tmp_path, architecture=LLAMA)
    facts, out = build(job, tmp_path, architecture=LLAMA, shards=3)
    index = read(out / "model.safetensors.index.json")
    named = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    assert sorted(path.name for path in out.glob("model*")) == [*named, index_name()]
    parts = {name: load_file(out / name) for name in named}
    assert {n: t.tolist() for part in parts.values() for n, t in part.items()} == {
        name: tensor.tolist() for name, tensor in whole.items()
    }
    assert index["weight_map"] == {name: file for file, part in parts.items() for name in part}
    assert index["metadata"] == {"total_parameters": 6800, "total_size": 4 * 6800}
    assert facts["forms"] == [
        {"kind": "shards", "path": index_name(), "words": "the weights lie in 3 files"}
    ]


def index_name() -> str:
    return "model.safetensors.index.json"


def test_more_files_than_tensors(job: MakeJob, tmp_path: Path) -> None:
    work = wish(job, tmp_path, architecture=LLAMA, shards=1000)
    refusal = faults.refused(model.make, work)
    assert refusal.what == "the model has 21 tensors, which do not fill 1000 files"
    assert refusal.hint == "shards: 21 is the most"
    assert refusal.key == ("model", "shards")


@pytest.mark.parametrize("shards", [None, 2])
def test_pickles_hold_the_same(job: MakeJob, tmp_path: Path, shards: int | None) -> None:
    import torch

    more = {} if shards is None else {"shards": shards}
    whole = plain(job, tmp_path, architecture=LLAMA, dtype="bfloat16")
    wanted = {"architecture": LLAMA, "dtype": "bfloat16", "format": "bin", **more}
    _, out = build(job, tmp_path, **wanted)
    found = {p.name: torch.load(p, weights_only=True) for p in sorted(out.glob("*.bin"))}
    assert len(found) == (shards or 1)
    assert {n: t.tolist() for part in found.values() for n, t in part.items()} == {
        name: tensor.tolist() for name, tensor in whole.items()
    }
    size = sum(p.stat().st_size for p in out.glob("*.bin"))
    assert size < 2 * sum(p.stat().st_size for p in out.glob("*.safetensors"))
    if shards is not None:
        index = read(out / "pytorch_model.bin.index.json")
        assert index["weight_map"] == {n: file for file, part in found.items() for n in part}
    assert contents(build(job, tmp_path, **wanted)[1]) == contents(out), "built twice"


def test_safetensors_alone_by_name(job: MakeJob, tmp_path: Path) -> None:
    facts, out = build(job, tmp_path, architecture=LLAMA, format="safetensors")
    assert facts["forms"] == []
    assert not [*out.glob("*.bin")]


# --- adapters -------------------------------------------------------------------------------------


def test_adapters_differ_and_none_is_identity(job: MakeJob, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    wanted = {"formal": {}, "casual": {"modules": ["q_proj", "v_proj"], "rank": 2, "alpha": 3}}
    facts, out = build(job, tmp_path, architecture=LLAMA, adapters=wanted)
    config = read(out / "adapters" / "casual" / "adapter_config.json")
    assert {key: config[key] for key in ("peft_type", "r", "lora_alpha", "task_type")} == {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 3,
        "task_type": "CAUSAL_LM",
    }
    assert config["target_modules"] == ["q_proj", "v_proj"]
    formal, casual = (
        load_file(out / "adapters" / name / "adapter_model.safetensors") for name in wanted
    )
    prefix = "base_model.model.model.layers.1.self_attn.q_proj"
    assert casual[f"{prefix}.lora_A.weight"].shape == (2, TINY["hidden_size"])
    assert casual[f"{prefix}.lora_B.weight"].shape == (TINY["hidden_size"], 2)
    assert len(casual) == 2 * 2 * 2
    assert len(formal) == 2 * 7 * 2
    assert not [name for name in formal if "lm_head" in name]
    assert all(tensor.any() for part in (formal, casual) for tensor in part.values())
    again = build(job, tmp_path, architecture=LLAMA, adapters={"formal": {}, "blunt": {}})[1]
    blunt = load_file(again / "adapters" / "blunt" / "adapter_model.safetensors")
    assert not [name for name in formal if blunt[name].equal(formal[name])]
    same = load_file(again / "adapters" / "formal" / "adapter_model.safetensors")
    assert all(same[name].equal(tensor) for name, tensor in formal.items())
    assert [form["words"] for form in facts["forms"]] == [
        "LoRA of rank 4 (alpha 8) on down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj",
        "LoRA of rank 2 (alpha 3) on q_proj, v_proj",
    ]


@pytest.mark.parametrize(
    ("kind", "wish", "said"),
    [
        (LLAMA, {}, ("CAUSAL_LM", None)),
        ("LlamaForSequenceClassification", {}, ("SEQ_CLS", ["score"])),
        ("LlamaForTokenClassification", {}, ("TOKEN_CLS", ["score"])),
        ("LlamaForQuestionAnswering", {}, ("QUESTION_ANS", ["qa_outputs"])),
        ("LlamaForSequenceClassification", {"modules": ["score"]}, (None, None)),
        ("LlamaModel", {}, (None, None)),
    ],
)
def test_what_an_adapter_is_for(
    job: MakeJob, tmp_path: Path, kind: str, wish: dict[str, Any], said: tuple[object, object]
) -> None:
    """By a word of PEFT's, whose class of a head wants its weights in each adapter; or else by the
    model's class, as PEFT writes it: AutoPeftModel looks at it."""
    from safetensors.torch import load_file

    _, out = build(job, tmp_path, architecture=kind, adapters={"a": wish, "b": wish})
    config = read(out / "adapters" / "a" / "adapter_config.json")
    named = {"base_model_class": kind, "parent_library": "transformers.models.llama.modeling_llama"}
    assert (config["task_type"], config["modules_to_save"]) == said
    assert config["auto_mapping"] == (None if said[0] else named)
    one, other = (load_file(out / "adapters" / n / "adapter_model.safetensors") for n in "ab")
    whole = load_file(out / "model.safetensors")
    saved = [name for name in one if "lora" not in name]
    assert bool(saved) == bool(said[1])
    for name in saved:
        plain = whole[name.removeprefix("base_model.model.")]
        assert plain.shape == one[name].shape
        assert not any(a.equal(b) for a, b in ((plain, one[name]), (one[name], other[name])))


def test_layers_that_are_not_there(job: MakeJob, tmp_path: Path) -> None:
    work = wish(job, tmp_path, architecture=LLAMA, adapters={"a": {"modules": ["query_proj"]}})
    refusal = faults.refused(model.make, work)
    assert refusal.what == "LlamaForCausalLM has no linear layer query_proj"
    assert "q_proj" in refusal.hint
    assert refusal.key == ("model", "adapters", "a", "modules")


def test_names_that_hit_more_than_they_should() -> None:
    """PEFT would take each layer that ends in `0` for the one that is meant."""
    import torch

    inner = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.ReLU())
    assert adapters.targets(inner, ["0.0"]) == ["0.0"]  # type: ignore[arg-type]
    named = torch.nn.ModuleDict({"q": torch.nn.Linear(2, 2), "k": torch.nn.Linear(2, 2)})
    assert adapters.targets(named, ["q"]) == ["q"]  # type: ignore[arg-type]


def test_dense_layers_beside_fused_experts(job: MakeJob, tmp_path: Path) -> None:
    """PEFT would take their names for the experts'."""
    wanted = {"config": {}, "shrink": "auto", "adapters": {"a": {}}}
    _, out = build(job, tmp_path, "Glm4MoeLiteConfig", **wanted)
    config = read(out / "adapters" / "a" / "adapter_config.json")
    assert "o_proj" in config["target_modules"]
    assert not {*adapters.EXPERTS} & {*config["target_modules"]}


# --- modules of sentence-transformers -------------------------------------------------------------

BERT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
}


@pytest.mark.parametrize("normalize", [True, False])
def test_modules(job: MakeJob, tmp_path: Path, normalize: bool) -> None:
    section = {"pooling": "cls", "normalize": normalize}
    facts, out = build(
        job,
        tmp_path,
        "BertConfig",
        architecture="BertModel",
        config=BERT,
        sentence_transformer=section,
    )
    modules = json.loads((out / "modules.json").read_text())
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    assert [row["type"].rpartition(".")[2] for row in modules] == kinds
    assert [row["path"] for row in modules] == ["", "1_Pooling", "2_Normalize"][: len(kinds)]
    pooling = read(out / "1_Pooling" / "config.json")
    assert pooling["word_embedding_dimension"] == 16
    assert [key for key, value in pooling.items() if value is True] == [
        "include_prompt",
        "pooling_mode_cls_token",
    ]
    assert facts["forms"][0]["kind"] == "modules"


def test_a_reward_model(job: MakeJob, tmp_path: Path) -> None:
    facts, out = build(job, tmp_path, architecture="reward")
    assert facts["class"] == "LlamaForSequenceClassification"
    assert read(out / "config.json")["id2label"] == {"0": "LABEL_0"}
    named = {**TINY, "id2label": {"0": "helpful"}}
    _, out = build(job, tmp_path, architecture="reward", config=named)
    assert read(out / "config.json")["id2label"] == {"0": "helpful"}


# --- GGUF -----------------------------------------------------------------------------------------

# What stands in for llama.cpp's converter: it knows no pre-tokenizer, and writes down what it got.
CONVERTER = """
import json, pathlib, sys
from conversion.base import TextModel
def main():
    folder, _, out, _, kind = sys.argv[1:]
    pre = TextModel().get_vocab_base_pre(None)
    files = sorted(path.name for path in pathlib.Path(folder).iterdir())
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    told = [pre, kind, files, config.get("n_ctx"), config.get("max_position_embeddings")]
    pathlib.Path(out).write_text(json.dumps(told))
"""
BASE = """
class TextModel:
    def get_vocab_base_pre(self, tokenizer):
        raise NotImplementedError("BPE pre-tokenizer was not recognized - update it")
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "llama.cpp"
    (place / "conversion").mkdir(parents=True)
    script = place / gguf.SCRIPT
    script.write_text(CONVERTER)
    script.chmod(0o755)
    (place / "conversion" / "base.py").write_text(BASE)
    monkeypatch.setenv("PATH", str(place), prepend=os.pathsep)


def with_tokenizer(job: MakeJob, tmp_path: Path, **more: Any) -> Job:
    work = wish(job, tmp_path, **more)
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")
    return dataclasses.replace(work, inputs={**work.inputs, "tokenizer": tmp_path / "tokenizer"})


@pytest.mark.usefixtures("installed")
def test_a_gguf_file(job: MakeJob, tmp_path: Path) -> None:
    section = {"architecture": LLAMA, "dtype": "bfloat16", "gguf": {"pre": "llama-bpe"}}
    work = with_tokenizer(job, tmp_path, **section)
    (form,) = model.make(work).forms
    assert (form.kind, form.path) == ("gguf", "model.gguf")
    assert form.words.startswith("for llama.cpp, by its converter (")
    pre, kind, files, *_ = json.loads((work.out / "model.gguf").read_text())
    assert (pre, kind) == ("llama-bpe", "bf16")
    assert {"tokenizer.json", "config.json", "model.safetensors"} <= {*files}


@pytest.mark.usefixtures("installed")
def test_keys_that_others_still_read(job: MakeJob, tmp_path: Path) -> None:
    small = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50, "n_positions": 64}
    work = with_tokenizer(job, tmp_path, name="GPT2Config", config=small, gguf={"pre": "gpt-2"})
    model.make(work)
    assert json.loads((work.out / "model.gguf").read_text())[3:] == [64, None]
    assert "n_ctx" not in read(work.out / "config.json")


@pytest.mark.usefixtures("installed")
def test_a_pre_tokenizer_that_the_converter_does_not_know(job: MakeJob, tmp_path: Path) -> None:
    work = with_tokenizer(job, tmp_path, architecture=LLAMA, gguf={})
    refusal = faults.refused(model.make, work)
    assert refusal.what == (
        "llama.cpp's converter failed: it does not know the pre-tokenizer of this vocabulary"
    )
    assert "gguf: {pre: llama-bpe}" in refusal.hint
    assert refusal.key == ("model", "gguf")


def test_no_converter(job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "converter", lambda: None)
    refusal = faults.refused(model.make, with_tokenizer(job, tmp_path, gguf={}))
    assert "there is no convert_hf_to_gguf.py on the PATH" in refusal.what
    assert "put its folder" in refusal.hint
