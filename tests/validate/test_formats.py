"""Each form of a model is read by its own loader; a mutant of each shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import models
from kit.files import edit
from kit.models import LLAMA
from kit.stage import MakeJob

from tinybuild import corpus, errors
from tinybuild.validate import formats
from tinybuild.validate.check import Check, Result
from tinybuild.validate.subject import Subject, Wish

Make = Callable[..., Subject]


@pytest.fixture
def make(job: MakeJob, tmp_path: Path) -> Make:
    """make(key=..., ...): what checks look at, of a tiny Llama with some formats."""

    def made(*args: str, **section: Any) -> Subject:
        facts, out = models.build(job, tmp_path, *args, **{"architecture": LLAMA, **section})
        scratch = tmp_path / f"scratch-{out.name}"
        scratch.mkdir()
        modules = section.get("sentence_transformer", {})
        return Subject(
            folder=out,
            scratch=scratch,
            facts={"model": facts, **({"tokenizer": {}} if modules else {})},
            seed=3,
            wish=Wish(sentence_transformer=modules),
        )

    return made


def measured(check: Check, subject: Subject, state: str = "passed") -> str:
    result = check.run(subject)
    assert result is not None
    assert result.state == state, result
    return result.measured


def test_none_of_them_without_a_wish(make: Make) -> None:
    subject = make()
    checks = (formats.shards, formats.pickled, formats.adapters)
    checks += (formats.sentence_transformer, formats.gguf)
    assert [check.run(subject) for check in checks] == [None] * 5


def test_shards(make: Make) -> None:
    subject = make(shards=3)
    assert measured(formats.shards, subject) == "21 tensors in 3 files, 27200 bytes"
    assert not subject.loading["missing_keys"]
    index = subject.folder / "model.safetensors.index.json"

    def moved(data: dict[str, Any]) -> None:
        data["weight_map"]["lm_head.weight"] = "model-00003-of-00003.safetensors"
        data["metadata"]["total_size"] -= 1

    edit(index, moved)
    words = measured(formats.shards, subject, "failed")
    assert words.startswith("other places for lm_head.weight; metadata says {")
    last = subject.folder / "model-00003-of-00003.safetensors"
    last.rename(subject.folder / "model-00004-of-00003.safetensors")
    assert "files are model-00001-of-00003.safetensors" in measured(
        formats.shards, subject, "failed"
    )


def test_pickles(make: Make) -> None:
    import torch

    subject = make(shards=2, format="bin")
    assert measured(formats.pickled, subject) == "21 tensors"
    path = subject.folder / "pytorch_model-00002-of-00002.bin"
    tensors = torch.load(path, weights_only=True)
    name = min(tensors)
    torch.save({**tensors, name: tensors[name] + 1}, path)
    assert measured(formats.pickled, subject, "failed") == f"other tensors in {path.name}"
    torch.save({**tensors, name: Path("x")}, path)  # what is no tensor is not unpickled
    assert "UnpicklingError" in measured(formats.pickled, subject, "failed")


def test_a_loader_that_is_not_here(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(what: str, module: str) -> None:
        raise errors.PackageFault.lacking(what, module)

    monkeypatch.setattr(formats, "require", lacking)
    result = formats.adapters.run(make(adapters={"a": {}}))
    assert isinstance(result, Result)
    assert result.state == "not tried"
    assert result.note == (
        "the check needs the package peft, which is not installed or does not load here "
        "(pip install -c constraints.txt -e '.[formats]')"
    )


# --- with packages that may not be there ----------------------------------------------------------


def test_adapters(make: Make) -> None:
    from safetensors.torch import load_file, save_file

    pytest.importorskip("peft")
    subject = make(adapters={"one": {}, "two": {"modules": ["q_proj", "down_proj"]}})
    assert measured(formats.adapters, subject) == "2 adapters of 36 tensors"
    one, two = (
        subject.folder / "adapters" / name / "adapter_model.safetensors" for name in ("one", "two")
    )
    tensors, whole = load_file(two), load_file(one)
    save_file({n: t * 0 if "lora_B" in n else t for n, t in tensors.items()}, two)
    words = measured(formats.adapters, subject, "failed")
    assert words == "no adapter and adapters/two give the same"
    save_file({n: t for n, t in tensors.items() if "layers.0" not in n}, two)
    words = measured(formats.adapters, subject, "failed")
    assert words.startswith("adapters/two: lacking: base_model.model.model.layers.0.")
    save_file(whole, two)
    assert "adapters/two: not taken:" in measured(formats.adapters, subject, "failed")


def test_adapters_of_other_layouts(make: Make) -> None:
    """GPT-2's weights are (in, out)."""
    pytest.importorskip("peft")
    small = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50, "n_positions": 64}
    wish = {"architecture": "GPT2LMHeadModel", "config": small, "adapters": {"one": {}, "two": {}}}
    assert measured(formats.adapters, make("GPT2Config", **wish)) == "2 adapters of 32 tensors"


def sentences(make: Make, pooling: str, normalize: bool) -> Subject:
    from transformers import BertTokenizerFast

    words = sorted({word for text in corpus.texts("en") for word in text.lower().split()})
    config = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": len(words) + 5,
        "initializer_range": 0.5,
    }
    wish = {"pooling": pooling, "normalize": normalize}
    section = {"architecture": "BertModel", "config": config, "sentence_transformer": wish}
    subject = make("BertConfig", **section)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: n for n, word in enumerate([*special, *words])}
    BertTokenizerFast(vocab=vocabulary).save_pretrained(subject.folder)
    return subject


@pytest.mark.parametrize("pooling", ["mean", "lasttoken"])
def test_sentences(make: Make, pooling: str) -> None:
    pytest.importorskip("sentence_transformers")
    subject = sentences(make, pooling, normalize=True)
    assert measured(formats.sentence_transformer, subject) == "3 vectors of 16 numbers"
    edit(subject.folder / "modules.json", lambda rows: rows[:2])
    words = measured(formats.sentence_transformer, subject, "failed")
    assert words == "3 vectors are pooled otherwise"


def test_another_pooling_than_the_recipes(make: Make) -> None:
    pytest.importorskip("sentence_transformers")
    subject = sentences(make, "cls", normalize=False)

    def max_too(config: dict[str, Any]) -> None:
        config["pooling_mode_cls_token"], config["pooling_mode_max_tokens"] = False, True

    assert measured(formats.sentence_transformer, subject) == "3 vectors of 16 numbers"
    edit(subject.folder / "1_Pooling" / "config.json", max_too)
    assert "pooled otherwise" in measured(formats.sentence_transformer, subject, "failed")


def test_gguf(make: Make) -> None:
    import numpy

    written = pytest.importorskip("gguf")
    subject = make()
    form = {"kind": "gguf", "path": "model.gguf", "words": ""}
    weight = subject.model.get_input_embeddings().weight.detach().numpy()

    def write(rows: Any, tokens: int) -> str:
        facts = {"model": {**subject.facts["model"], "forms": [form]}, "tokenizer": {}}
        writer = written.GGUFWriter(subject.folder / "model.gguf", "llama")
        writer.add_token_list([str(n) for n in range(tokens)])
        writer.add_tensor("token_embd.weight", rows)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        result = formats.gguf.run(dataclasses.replace(subject, facts=facts))
        assert isinstance(result, Result)
        return f"{result.state}: {result.measured}"

    assert write(weight, 50) == "passed: llama: 1 tensors"
    assert write(weight + 1, 49) == "failed: 49 tokens; another embedding"
    assert write(weight * numpy.nan, 50).startswith("failed: no numbers in token_embd.weight")
