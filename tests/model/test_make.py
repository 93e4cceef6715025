"""A config becomes weights: counted before memory is taken, seeded, in the wished dtype."""

from __future__ import annotations

import json
import re
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit import faults
from kit.files import contents
from kit.models import LLAMA, SECTION, TINY, build, refused, wish
from kit.stage import MakeJob

from tinybuild import model
from tinybuild.config import meta
from tinybuild.errors import BuildFault
from tinybuild.model import draw, resized, saved


def read(out: Path, name: str = "config.json") -> dict[str, Any]:
    return dict(json.loads((out / name).read_text()))


def weights(out: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(out / "model.safetensors"))


# --- sizes ----------------------------------------------------------------------------------------


def test_too_many_parameters_are_refused_before_memory_is_taken(
    job: MakeJob, tmp_path: Path
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text, key = refused(
        job,
        tmp_path,
        "BloomConfig",
        architecture="BloomForCausalLM",
        config={"hidden_size": 14_336, "n_layer": 70, "n_head": 112},
        most=50_000_000,
    )
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1_000_000  # kB; the weights would be 700 GB, one tensor alone 3 GB
    assert "would have 176,247,271,424 parameters; at most 50,000,000 are allowed" in text
    table = text.splitlines()[1:-1]
    assert table[0].split() == [
        *("57,545,850,880", "32.7", "%", "transformer.h.*.mlp.dense_4h_to_h.weight"),
        *("70", "x", "[14336,", "57344]"),
    ]
    assert len(table) == meta.SHOWN
    assert any("transformer.word_embeddings.weight  [250880, 14336]" in line for line in table)
    assert "raise checks.max_parameters" in text
    assert key == ("model",)


def test_the_bound_is_inclusive(job: MakeJob, tmp_path: Path) -> None:
    facts, out = build(job, tmp_path, architecture=LLAMA)
    count = facts["parameters"]
    assert count == sum(tensor.numel() for tensor in weights(out).values())
    assert build(job, tmp_path, architecture=LLAMA, most=count)[0]["parameters"] == count
    text, _ = refused(job, tmp_path, architecture=LLAMA, most=count - 1)
    assert f"{count:,} parameters; at most {count - 1:,}" in text


def test_tied_weights_are_counted_once(job: MakeJob, tmp_path: Path) -> None:
    apart, _ = build(job, tmp_path, architecture=LLAMA)
    tied, out = build(
        job, tmp_path, architecture=LLAMA, config={**TINY, "tie_word_embeddings": True}
    )
    assert apart["parameters"] - tied["parameters"] == 50 * 16
    assert "lm_head.weight" not in weights(out)


# --- facts and files ------------------------------------------------------------------------------


def test_facts_and_files(job: MakeJob, tmp_path: Path) -> None:
    facts, out = build(job, tmp_path, architecture=LLAMA)
    assert facts == {
        "class": LLAMA,
        "model_type": "llama",
        "parameters": 6800,
        "dtype": "float32",
        "tag": "text-generation",
        "tensor_parallel": 2,
        "length": 2048,
        "modalities": ["text"],
        "vocab_size": 50,
        "processor": [],
        "without": [],
        "forms": [],
        "draw": 0,
    }
    made = {"config.json", "generation_config.json", "model.safetensors", "config_changes.json"}
    assert set(contents(out)) == made
    assert read(out)["architectures"] == [LLAMA]
    assert {name: read(out)[name] for name in TINY} == TINY
    assert read(out)["head_dim"] == 8


def test_a_class_that_does_not_generate_has_no_generation_config(
    job: MakeJob, tmp_path: Path
) -> None:
    _, out = build(job, tmp_path, architecture="LlamaForSequenceClassification")
    assert set(contents(out)) == {"config.json", "model.safetensors", "config_changes.json"}


def test_it_loads_again(job: MakeJob, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    _, out = build(job, tmp_path, architecture=LLAMA)
    loaded, info = LlamaForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    for name, tensor in weights(out).items():
        assert loaded.state_dict()[name].equal(tensor)


@pytest.mark.usefixtures("no_network")
def test_nothing_is_asked_of_the_network(job: MakeJob, tmp_path: Path) -> None:
    assert build(job, tmp_path, architecture=LLAMA)[0]["class"] == LLAMA


# --- classes --------------------------------------------------------------------------------------


def test_the_class_the_source_names(job: MakeJob, tmp_path: Path) -> None:
    source = {"architectures": ["LlamaForTokenClassification", LLAMA]}
    assert build(job, tmp_path, source=source)[0]["class"] == "LlamaForTokenClassification"
    facts, _ = build(job, tmp_path, source=source, architecture=LLAMA)
    assert facts["class"] == LLAMA


def test_a_source_that_names_no_class(job: MakeJob, tmp_path: Path) -> None:
    facts, out = build(job, tmp_path)
    assert facts["class"] == LLAMA
    assert contents(out) == contents(build(job, tmp_path, architecture=LLAMA)[1])


def test_a_task(job: MakeJob, tmp_path: Path) -> None:
    facts, out = build(job, tmp_path, architecture="token-classification")
    assert facts["class"] == "LlamaForTokenClassification"
    assert read(out)["architectures"] == ["LlamaForTokenClassification"]


def test_overrides_are_relative_to_the_sub_config_that_the_class_takes(
    job: MakeJob, tmp_path: Path
) -> None:
    config = {**TINY, "num_key_value_heads": 1, "head_dim": 8}
    config |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "num_local_experts": 2}
    facts, out = build(job, tmp_path, "Llama4Config", architecture="causal-lm", config=config)
    assert (facts["class"], facts["model_type"]) == ("Llama4ForCausalLM", "llama4_text")
    assert read(out)["hidden_size"] == 16
    text, _ = refused(job, tmp_path, "Llama4Config", config=config)
    assert "Llama4Config has no 'hidden_size'" in text


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("LlamaForCasualLM", "transformers has no model class", f"did you mean {LLAMA}?"),
        ("LlamaConfig", "transformers has no model class", "LlamaModel"),
        ("AutoModelForCausalLM", "transformers has no model class", LLAMA),
        ("LlamaTokenizer", "transformers has no model class", "Llama"),
        ("GPT2LMHeadModel", "is not a class for llama", LLAMA),
        ("PreTrainedModel", "is not a class for llama", LLAMA),
        ("LlamaPreTrainedModel", "has no forward: it is a base class or a container", LLAMA),
    ],
)
def test_wrong_classes(job: MakeJob, tmp_path: Path, name: str, words: str, hint: str) -> None:
    text, key = refused(job, tmp_path, architecture=name)
    assert name in text.partition("hint:")[0]
    assert words in text
    assert hint in text.partition("hint:")[2]
    assert key == ("model", "architecture")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_act": "gleu"}, "does not know gleu, which hidden_act says"),
        (
            {"rope_parameters": {"rope_type": "lama3"}},
            "does not know lama3, which rope_parameters.rope_type says",
        ),
    ],
)
def test_configs_that_no_model_can_have(
    job: MakeJob, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    text, key = refused(job, tmp_path, architecture=LLAMA, config={**TINY, **change})
    assert f"{LLAMA} cannot be made from this config" in text
    assert words in text
    assert key[:2] == ("model", "config")


def test_a_word_that_the_class_does_not_know(job: MakeJob, tmp_path: Path) -> None:
    """That the type was matched is said, too, and either advice works."""
    config = {**TINY, "hidden_act": "situ", "model_type": "mine", "mlp_bias": False}
    folder = tmp_path / "mine" / "source"
    folder.mkdir(parents=True)
    named = {"architectures": ["MineForCausalLM"], "attention_bias": False, "pretraining_tp": 1}
    (folder / "config.json").write_text(json.dumps({**config, **named, "rms_norm_eps": 1e-6}))
    section: dict[str, Any] = {**SECTION, "config": {}}
    settings = {"model": section, "max_parameters": 1_000_000}
    refusal = faults.refused(model.make, job(settings, fetch=folder.parent))
    assert "it does not know situ, which hidden_act says" in refusal.what
    assert "give hidden_act another value in model.config" in refusal.hint
    assert "transformers does not know mine; llama declares" in refusal.what
    assert "model_type of a type that is built alike" in refusal.hint
    section["config"] = {"hidden_act": "silu"}
    assert model.make(job(settings, fetch=folder.parent)).class_ == LLAMA


def test_an_unknown_key_names_the_nearest(job: MakeJob, tmp_path: Path) -> None:
    text, key = refused(job, tmp_path, architecture=LLAMA, config={**TINY, "num_layers": 2})
    assert "LlamaConfig has no 'num_layers'" in text
    assert "num_hidden_layers" in text
    assert key == ("model", "config", "num_layers")


# --- weights --------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(job: MakeJob, tmp_path: Path) -> None:
    import torch

    first = build(job, tmp_path, architecture=LLAMA, seed=3)
    torch.randn(7)  # whatever the process drew before does not matter
    torch.manual_seed(99)
    second = build(job, tmp_path, architecture=LLAMA, seed=3)
    assert first[0] == second[0]
    assert contents(first[1]) == contents(second[1])


def test_another_seed_gives_other_weights(job: MakeJob, tmp_path: Path) -> None:
    one, other = (
        contents(build(job, tmp_path, architecture=LLAMA, seed=seed)[1]) for seed in (3, 4)
    )
    different = {name for name in one if one[name] != other[name]}
    assert different == {"model.safetensors"}


def test_the_seed_of_the_process_is_left_alone(job: MakeJob, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(5)
    wanted = torch.randn(3)
    torch.manual_seed(5)
    build(job, tmp_path, architecture=LLAMA)
    assert torch.randn(3).equal(wanted)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dtypes(job: MakeJob, tmp_path: Path, dtype: str) -> None:
    import torch

    facts, out = build(job, tmp_path, architecture=LLAMA, dtype=dtype)
    assert {tensor.dtype for tensor in weights(out).values()} == {getattr(torch, dtype)}
    assert facts["dtype"] == read(out)["dtype"] == dtype


def test_every_part_says_the_dtype_of_the_bundle(job: MakeJob, tmp_path: Path) -> None:
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    stale = {**tower, "num_attention_heads": 2, "dtype": "float16"}
    _, out = build(
        job,
        tmp_path,
        "CLIPConfig",
        source={"text_config": stale, "vision_config": stale, "dtype": "float16"},
        config={"text_config": {"vocab_size": 50}, "vision_config": {"image_size": 32}},
        architecture="CLIPModel",
        dtype="bfloat16",
    )
    made = read(out)
    said = [made["dtype"], made["text_config"]["dtype"], made["vision_config"]["dtype"]]
    assert said == ["bfloat16"] * 3
    assert {str(tensor.dtype) for tensor in weights(out).values()} == {"torch.bfloat16"}
    changes = {c["key"]: c["reason"] for c in read(out, "config_changes.json")["changes"]}
    assert changes["text_config.dtype"] == changes["dtype"] == "recipe: dtype"


def test_weights_are_drawn_in_float32_and_then_converted(job: MakeJob, tmp_path: Path) -> None:
    import torch

    _, exact = build(job, tmp_path, architecture=LLAMA)
    _, short = build(job, tmp_path, architecture=LLAMA, dtype="bfloat16")
    for name, tensor in weights(short).items():
        assert tensor.equal(weights(exact)[name].to(torch.bfloat16))


def test_initializer_range(job: MakeJob, tmp_path: Path) -> None:
    _, out = build(job, tmp_path, architecture=LLAMA, initializer_range=0.5)
    assert read(out)["initializer_range"] == 0.5
    spread = float(weights(out)["model.embed_tokens.weight"].std())
    assert 0.45 < spread < 0.55


def test_one_metadata_key_so_that_the_header_has_one_order(job: MakeJob, tmp_path: Path) -> None:
    from safetensors import safe_open

    _, out = build(job, tmp_path, architecture=LLAMA)
    with safe_open(out / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


# --- goals, spreads and what a model is tried on --------------------------------------------------

GOAL = {"architecture": LLAMA, "config": {}, "shrink": "auto"}


def test_a_goal_of_bytes_that_cannot_be_reached(job: MakeJob, tmp_path: Path) -> None:
    more = {**GOAL, "config": {"vocab_size": 256, "hidden_size": 64}, "max_bytes": 10_000}
    text, key = refused(job, tmp_path, source={"vocab_size": 256}, **more)
    assert re.search(
        r"the smallest model found has [\d,]+ parameters; the recipe wants 2,500", text
    )
    assert "model.embed_tokens.weight" in text
    assert key == ("model", "max_bytes")


def test_a_goal_is_not_searched_for_where_the_rules_answer_takes_no_batch(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(model: Any, seed: int) -> Any:
        asked.append(seed)
        raise BuildFault.of("no rule makes inputs for it")

    monkeypatch.setattr(model.inputs, "batch", refuse)
    text, key = refused(job, tmp_path, source={"vocab_size": 256}, **GOAL, max_parameters=50_000)
    assert "the recipe wants 50,000" in text
    assert (
        "nothing smaller was tried, because the model that the rules make takes no batch: " in text
    )
    assert text.endswith("no rule makes inputs for it")
    assert key == ("model", "max_parameters")
    assert len(asked) == 3  # of distinct sizes, of one width, of plain sizes


def test_what_is_shrunk_once_is_drawn_with_each_spread_and_tried_on_one_batch(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(name: str, function: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            calls.append(name)
            return function(*args, **more)

        return call

    monkeypatch.setattr(resized, "shrink", counted("shrink", resized.shrink))
    monkeypatch.setattr(model.inputs, "batch", counted("batch", model.inputs.batch))
    monkeypatch.setattr(model, "said", lambda *_: None)
    build(job, tmp_path, source={"vocab_size": 256}, **GOAL)
    assert calls == ["shrink", "batch"]
    alike = draw.Said(share=0.75, margin=1.0, loss=1.0)
    monkeypatch.setattr(model, "said", lambda _, made, __: made() and alike)
    facts, out = build(job, tmp_path, source={"vocab_size": 256}, **GOAL)
    assert calls == ["shrink", "batch"] * 2
    assert read(out)["initializer_range"] == 0.25  # the first of equals
    assert facts["draw"] == 0


def test_a_draw_that_continues_all_prompts_alike_is_drawn_again(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = iter((0.0, 0.75, 1.0))

    def told(*_: Any) -> draw.Said:
        return draw.Said(share=next(shares), margin=0.0, loss=1.0)

    monkeypatch.setattr(model, "said", told)
    facts, out = build(job, tmp_path, architecture=LLAMA, seed=5)
    monkeypatch.setattr(model, "said", lambda *_: None)
    assert facts["draw"] == 2
    assert contents(out) == contents(build(job, tmp_path, architecture=LLAMA, seed=7)[1])


def test_a_codec_is_drawn_again_where_all_sounds_have_one_code() -> None:
    import torch
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    made = EncodecModel(EncodecConfig(num_filters=4, hidden_size=16, codebook_size=32)).eval()
    for quantizer in made.quantizer.layers:
        torch.nn.init.normal_(quantizer.codebook.embed, std=0.02)
    batch = draw.batch_of(made, 0)
    told = draw.said(made, batch, 0)
    assert told is not None
    assert told.enough()
    with torch.no_grad():
        for parameter in made.encoder.layers[-1].parameters():
            parameter.zero_()
    told = draw.said(made, batch, 0)
    assert told is not None
    assert told.share == 0


def test_a_model_without_codes_says_nothing() -> None:
    from transformers import BertConfig, BertModel

    made = BertModel(BertConfig(**TINY)).eval()
    assert draw.said(made, draw.batch_of(made, 0), 0) is None


def test_a_head_that_no_deviation_reaches_is_as_wide_as_others() -> None:
    """RWKV's config has none: 4,000 tokens drawn so narrow have nearly the same logits."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, RwkvConfig, RwkvForCausalLM

    made = RwkvForCausalLM(RwkvConfig(vocab_size=4000, hidden_size=64, num_hidden_layers=2))
    assert made.head.weight.std() < 0.08
    draw.widen(made, 0, 2.0)
    assert made.head.weight.std().item() == pytest.approx(0.25, rel=0.01)
    again = RwkvForCausalLM(made.config)
    draw.widen(again, 0, 2.0)
    assert torch.equal(made.head.weight, again.head.weight)
    tied = LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, **TINY))
    before = tied.lm_head.weight.clone()
    draw.widen(tied, 0, 2.0)
    assert torch.equal(tied.lm_head.weight, before)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ((1.0, 0.2, 1.0), (1.0, 0.2, 9.0)),  # a loss that training does not start with
        ((0.5, 0.2, 1.0), (1.0, 0.2, 9.0)),
        ((1.0, 0.2, 9.0), (0.25, 0.2, 1.0)),  # nearly all alike
        ((0.5, 0.2, 1.0), (1.0, 0.01, 1.0)),  # rounding decides
        ((1.0, 0.2, 1.0), (1.0, 0.11, 1.0)),  # the check's own prompts may have less
        ((0.9, 0.2, None), (0.6, 0.2, None)),
    ],
)
def test_of_two_spreads_one_is_better(better: Any, worse: Any) -> None:
    ranks = [
        draw.Said(share=share, margin=margin, loss=loss).rank()
        for share, margin, loss in (better, worse)
    ]
    assert ranks[0] > ranks[1]


@pytest.mark.parametrize(
    ("dtype", "times", "whole"),
    [("float16", 1.0, True), ("float16", 1e7, False), ("bfloat16", 1e7, True)],
)
def test_the_best_of_spreads_is_finite_as_it_is_saved(
    dtype: str, times: float, whole: bool
) -> None:
    """Command R's factor of the logits wants a wide draw, which float16 does not reach."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    made = LlamaForCausalLM(LlamaConfig(**TINY)).to(getattr(torch, dtype))
    with torch.no_grad():
        made.lm_head.weight *= times
    assert draw.finite(made, draw.batch_of(made, 0), 0) is whole
    good, wide = (draw.Said(share=1.0, margin=1.0, loss=1.0, finite=one) for one in (True, False))
    assert wide.rank() < draw.Said(share=0.0, margin=0.0, loss=9.0).rank() < good.rank()
    assert (good.best(), wide.best()) == (True, False)


def test_what_running_converts_is_saved_in_the_wished_dtype(job: MakeJob, tmp_path: Path) -> None:
    config = {"num_sparse_encoder_layers": 1}
    more = {"architecture": "SwitchTransformersForConditionalGeneration", "shrink": "auto"}
    _, out = build(
        job, tmp_path, "SwitchTransformersConfig", **more, config=config, dtype="bfloat16"
    )
    assert {str(tensor.dtype) for tensor in weights(out).values()} == {"torch.bfloat16"}


def test_the_variance_of_a_channel_is_never_next_to_nothing() -> None:
    import torch

    class Normed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(3)

        def forward(self, x: Any) -> Any:
            return self.norm(x)

    made = Normed().eval()
    batch = {"x": torch.tensor([[1.0, 5.0, 2.0], [-1.0, 5.0, -2.0]])}
    model.calibrate(made, lambda: batch, 0)
    mean = (2 + 0 + 8) / 3
    assert made.norm.running_var.tolist() == pytest.approx([2, 0.1 * mean, 8])


# --- the tokenizer's ids and sizes ----------------------------------------------------------------

IDS = {
    "sizes": {"vocab_size": 60},
    "special": {"bos": 4, "eos": 5, "pad": 6},
    "moved": {"40": 41},
    "keep": False,
}
FREE = {name: value for name, value in TINY.items() if name != "vocab_size"}


def test_size_and_ids_follow_the_tokenizer(job: MakeJob, tmp_path: Path) -> None:
    facts, out = build(job, tmp_path, architecture=LLAMA, config=FREE, ids=IDS)
    assert facts["vocab_size"] == 60
    found = read(out)
    assert (found["vocab_size"], found["bos_token_id"], found["eos_token_id"]) == (60, 4, 5)
    assert found["pad_token_id"] == 6
    made = read(out, "generation_config.json")
    assert (made["bos_token_id"], made["eos_token_id"], made["pad_token_id"]) == (4, 5, 6)
    assert weights(out)["model.embed_tokens.weight"].shape[0] == 60


def test_as_many_rows_of_a_vocabulary_count_as_the_goal_has(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny model has the goal's parameters with 500 tokens; more of them change nothing else."""
    monkeypatch.setattr(resized, "GOAL", 100_000)
    made, many = {}, {}
    for rows in (60, 500, 700, 3_000):
        ids = {**IDS, "sizes": {"vocab_size": rows}}
        _, out = build(job, tmp_path, **{**GOAL, "ids": ids})
        made[rows] = {**read(out), "vocab_size": None}
        many[rows] = sum(tensor.numel() for tensor in weights(out).values())
    assert made[500] == made[700] == made[3_000] != made[60]
    assert many[60] <= 100_000 >= many[500]


def test_a_classifier_of_a_decoder_has_an_id_to_pad_with(job: MakeJob, tmp_path: Path) -> None:
    ids = {**IDS, "special": {"bos": 4, "eos": 5}}
    classifier = LLAMA.replace("ForCausalLM", "ForSequenceClassification")
    _, out = build(job, tmp_path, architecture=classifier, config=FREE, ids=ids)
    assert read(out)["pad_token_id"] == 5
    _, out = build(job, tmp_path, architecture=LLAMA, config=FREE, ids=ids)
    assert read(out)["pad_token_id"] is None


def test_ids_of_a_blank_source_mean_what_the_tokenizer_has(job: MakeJob, tmp_path: Path) -> None:
    """What no token stands for ends a text, or is left out of a list; languages go by name."""
    lost = {"no_timestamps_token_id": 33, "suppress_tokens": [33]}
    names = {"lang_to_id": {"<|en|>": 1, "<|de|>": 2}}
    ids = {**IDS, "moved": {}, "missing": "any", "special": {**IDS["special"], "<|en|>": 9}}
    more = {"config": FREE, "generation": json.dumps({**lost, **names}), "ids": ids}
    _, out = build(job, tmp_path, architecture=LLAMA, **more)
    found = read(out, "generation_config.json")
    assert (found["no_timestamps_token_id"], found["suppress_tokens"]) == (5, [])
    assert found["lang_to_id"] == {"<|en|>": 9}


def test_without_a_tokenizer_the_ids_stay(job: MakeJob, tmp_path: Path) -> None:
    _, out = build(job, tmp_path, architecture=LLAMA, source={"eos_token_id": 9})
    assert read(out)["eos_token_id"] == read(out, "generation_config.json")["eos_token_id"] == 9


def test_the_generation_config_of_the_source_is_kept_and_its_ids_follow(
    job: MakeJob, tmp_path: Path
) -> None:
    generation = json.dumps(
        {
            "do_sample": True,
            "temperature": 0.5,
            "eos_token_id": [2, 40],
            "suppress_tokens": [40, 49],
            "forced_eos_token_id": 2,
        }
    )
    wanted = {"architecture": LLAMA, "config": FREE, "generation": generation}
    _, out = build(job, tmp_path, ids=IDS, **wanted)
    found = read(out, "generation_config.json")
    assert (found["do_sample"], found["temperature"]) == (True, 0.5)
    assert found["eos_token_id"] == [5, 41]
    assert found["suppress_tokens"] == [41]
    assert found["forced_eos_token_id"] == 5  # it was one of the eos


def test_an_id_of_the_recipe_reaches_the_generation_config(job: MakeJob, tmp_path: Path) -> None:
    generation = json.dumps({"eos_token_id": 2})
    config = {**FREE, "eos_token_id": 7}
    _, out = build(job, tmp_path, architecture=LLAMA, config=config, generation=generation, ids=IDS)
    assert read(out)["eos_token_id"] == read(out, "generation_config.json")["eos_token_id"] == 7


def test_a_generation_id_that_nothing_explains(job: MakeJob, tmp_path: Path) -> None:
    generation = json.dumps({"no_timestamps_token_id": 33})
    text, _ = refused(
        job, tmp_path, architecture=LLAMA, config=FREE, generation=generation, ids=IDS
    )
    assert "no_timestamps_token_id is 33 in the source" in text


@pytest.mark.parametrize("content", ["{", "[1]", '{"max_new_tokens": "x"}'])
def test_a_broken_generation_config(job: MakeJob, tmp_path: Path, content: str) -> None:
    text, key = refused(job, tmp_path, architecture=LLAMA, generation=content)
    assert "generation_config.json" in text
    assert key == ("source",)


# --- an older transformers ------------------------------------------------------------------------

ROPE = {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}


def test_a_config_that_transformers_4_reads_alike(job: MakeJob, tmp_path: Path) -> None:
    work = wish(job, tmp_path, architecture=LLAMA, config={**TINY, "rope_parameters": ROPE})
    model.make(replace(work, settings={**work.settings, "compat": True}))
    found = read(work.out)
    assert found["rope_theta"] == 500.0
    assert found["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}


def test_a_type_that_transformers_4_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "dots3_note"}')
    with pytest.raises(
        BuildFault, match=r"transformers 4\.57 does not know .*dots3_note"
    ) as caught:
        saved.for_version_4(tmp_path)
    assert caught.value.findings[0].key == ("compat",)
