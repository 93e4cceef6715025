"""Each check of a model is proved by a mutant, on the architectures that its rule is about."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kit.files import edit
from kit.models import weights
from kit.stage import MakeJob

from tinybuild import model, validate, wire
from tinybuild.config import overrides
from tinybuild.errors import BuildFault
from tinybuild.validate import alive, distinct, layers, loaded
from tinybuild.validate.check import Result
from tinybuild.validate.subject import Bounds, Subject, Wish

LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 200,
    "max_position_embeddings": 64,
}

Build = Callable[..., "Bundle"]


class Bundle:
    """What the model stage made, to be broken and checked."""

    def __init__(self, folder: Path, origin: Path, facts: dict[str, Any], wish: dict[str, Any]):
        self.folder, self.origin, self.facts, self.wish = folder, origin, facts, wish

    def subject(self, scratch: Path, **bounds: int) -> Subject:
        """What checks look at, with the bounds of a recipe."""
        return Subject(
            folder=self.folder,
            scratch=scratch,
            facts={"model": self.facts},
            seed=3,
            origin=self.origin,
            wish=Wish(**self.wish),
            bounds=Bounds(**bounds),
        )

    def checks(self, scratch: Path) -> dict[str, Result]:
        """All checks of a model, by name; those that do not apply are left out."""
        scratch.mkdir(exist_ok=True)
        subject = self.subject(scratch)
        found = {check.name: check.run(subject) for check in validate.CHECKS}
        return {name: result for name, result in found.items() if result is not None}


@pytest.fixture
def build(job: MakeJob, tmp_path: Path) -> Build:
    """build("LlamaConfig", "LlamaForCausalLM", overrides, source={...}, ...): a Bundle."""
    import transformers

    def make(
        config: str,
        architecture: str,
        changes: Mapping[str, Any],
        source: Mapping[str, Any] | None = None,
        **section: Any,
    ) -> Bundle:
        fetched = tmp_path / f"fetch-{len(list(tmp_path.iterdir()))}"
        getattr(transformers, config)(**(source or {})).save_pretrained(fetched / "source")
        wanted = {
            "architecture": architecture,
            "config": dict(changes),
            "dtype": "float32",
            "shrink": "none",
            **section,
        }
        work = job({"model": wanted, "max_parameters": 10_000_000}, fetch=fetched)
        facts = wire.dump(model.make(work))
        wish = {"config": wanted["config"], "shrink": wanted["shrink"]}
        return Bundle(work.out, fetched / "source", facts, wish)

    return make


def failing(bundle: Bundle, scratch: Path) -> dict[str, str]:
    found = bundle.checks(scratch)
    return {name: f"{c.measured} / {c.note}" for name, c in found.items() if not c.ok}


def llama(build: Build, **more: Any) -> Bundle:
    return build("LlamaConfig", "LlamaForCausalLM", {**LLAMA, "initializer_range": 0.3}, **more)


def test_sound_models(build: Build, tmp_path: Path) -> None:
    found = llama(build).checks(tmp_path / "s")
    assert {name: c.measured for name, c in found.items() if not c.ok} == {}
    assert found["overrides_read"].measured == "8 read"
    assert found["generation_differs"].measured.startswith("4 continuations of 4 prompts")
    assert found["inputs_matter"].measured == "the outputs depend on input_ids"


# --- loaded ---------------------------------------------------------------------------------------


def tied(build: Build) -> Bundle:
    small = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 200, "n_positions": 64}
    ids = {"bos_token_id": 1, "eos_token_id": 1, "initializer_range": 0.3}
    return build("GPT2Config", "GPT2LMHeadModel", {**small, **ids})


def test_weights_that_are_stored_twice(build: Build, tmp_path: Path) -> None:
    bundle = tied(build)
    assert failing(bundle, tmp_path / "a") == {}

    def double(tensors: dict[str, Any]) -> None:
        tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone() + 1

    weights(bundle.folder, double)
    found = failing(bundle, tmp_path / "b")
    assert "lm_head.weight" in found["weights_tied"]


def test_a_matrix_of_one_number(build: Build, tmp_path: Path) -> None:
    bundle = llama(build)

    def flatten(tensors: dict[str, Any]) -> None:
        tensors["model.layers.1.mlp.up_proj.weight"].fill_(0.1)

    weights(bundle.folder, flatten)
    found = failing(bundle, tmp_path / "s")
    assert "one number all over: model.layers.1.mlp.up_proj.weight" in found["initialised"]


def test_a_weight_that_its_class_never_sets(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import transformers

    bundle = llama(build)
    make = transformers.LlamaForCausalLM.__init__

    def forgetful(self: Any, config: Any) -> None:
        make(self, config)
        self.extra = torch.nn.Parameter(torch.empty(3, 4))

    monkeypatch.setattr(transformers.LlamaForCausalLM, "__init__", forgetful)
    found = failing(bundle, tmp_path / "s")
    assert "never set: extra" in found["initialised"]


def test_what_a_class_keeps_in_float32(build: Build, tmp_path: Path) -> None:
    """DeepSeek's routers correct in float32 whatever the model's dtype is."""
    small = {
        **{key: value for key, value in LLAMA.items() if key != "num_key_value_heads"},
        **{"num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2},
        **{"moe_intermediate_size": 16, "n_group": 1, "topk_group": 1, "q_lora_rank": 8},
        **{"kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
        **{"first_k_dense_replace": 1, "initializer_range": 0.3},
    }
    bundle = build("DeepseekV3Config", "DeepseekV3ForCausalLM", small, dtype="bfloat16")
    found = bundle.checks(tmp_path / "s")
    assert {name: c.measured for name, c in found.items() if not c.ok} == {}
    assert "e_score_correction_bias in float32" in found["dtype"].note
    assert found["every_layer_kind"].ok

    def cast(tensors: dict[str, Any]) -> None:
        import torch

        name = "model.layers.1.mlp.gate.e_score_correction_bias"
        tensors[name] = tensors[name].to(torch.bfloat16)

    weights(bundle.folder, cast)
    assert "bfloat16 in the file" in failing(bundle, tmp_path / "t")["dtype"]


def test_a_part_that_says_another_dtype(build: Build, tmp_path: Path) -> None:
    bundle = llama(build)
    path = bundle.folder / "config.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "tower": {"dtype": "bfloat16"}}))
    assert "tower.dtype (bfloat16)" in failing(bundle, tmp_path / "s")["dtype"]


@pytest.mark.parametrize("name", ["quantization_config", "compression_config"])
def test_packed_weights_that_are_plain(name: str, build: Build, tmp_path: Path) -> None:
    bundle = llama(build)
    path = bundle.folder / "config.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, name: {"quant_method": "fp8"}}))
    (tmp_path / "s").mkdir()
    facts = {"model": bundle.facts}
    subject = Subject(folder=bundle.folder, scratch=tmp_path / "s", facts=facts, seed=3)
    found = loaded.dtype.run(subject)
    assert found is not None
    assert found.state == "failed"
    assert f"{name} says fp8, and the weights are float32" in found.measured


@pytest.mark.parametrize(
    ("file", "more", "told"),
    [
        ("config.json", {"auto_map": {"AutoModel": "modeling_x.X"}}, "auto_map.AutoModel"),
        ("config.json", {"tower": {"vocab_file": "/etc/passwd"}}, "tower.vocab_file: /etc/passwd"),
        ("config.json", {"backbone": "owner/name"}, "backbone: owner/name"),
        ("generation_config.json", {"custom_generate": "owner/name"}, "custom_generate"),
        ("tokenizer_config.json", {"name_or_path": "../mine"}, "name_or_path: ../mine"),
        ("preprocessor_config.json", {"saved": "https://x.org/y"}, "saved: https://x.org/y"),
    ],
)
def test_what_leads_elsewhere(
    file: str, more: dict[str, Any], told: str, build: Build, tmp_path: Path
) -> None:
    bundle = llama(build)
    path = bundle.folder / file
    data = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**data, **more}))
    assert f"{file} has {told}" in failing(bundle, tmp_path / "s")["self_contained"]


# --- coherent -------------------------------------------------------------------------------------


def test_an_override_that_nothing_reads(build: Build, tmp_path: Path) -> None:
    bundle = llama(build)
    bundle.wish["config"] |= {"pretraining_tp": 2}
    found = failing(bundle, tmp_path / "s")
    assert list(found) == ["overrides_read"]
    assert "LlamaForCausalLM does not read pretraining_tp" in found["overrides_read"]


def test_an_override_that_nothing_reads_is_refused_at_once(build: Build) -> None:
    with pytest.raises(BuildFault) as caught:
        build("LlamaConfig", "LlamaForCausalLM", {**LLAMA, "pretraining_tp": 2})
    assert "LlamaForCausalLM does not read pretraining_tp" in str(caught.value)
    assert caught.value.findings[0].key == ("model", "config", "pretraining_tp")


def test_keys_of_experts_that_no_layer_has(build: Build) -> None:
    small = {**LLAMA, "num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8}
    small |= {
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "first_k_dense_replace": 2,
    }
    with pytest.raises(BuildFault) as caught:
        build("DeepseekV3Config", "DeepseekV3ForCausalLM", {**small, "n_routed_experts": 16})
    assert "DeepseekV3ForCausalLM does not read n_routed_experts" in str(caught.value)
    assert "no layer has experts: first_k_dense_replace is 2" in str(caught.value)


def test_heads_of_the_tower_under_the_name_of_the_text() -> None:
    """Qwen2-VL's vision tower has num_heads, and maps the other name to it."""
    import transformers

    config = {"vision_config": {"num_attention_heads": 2}}
    made = overrides.override(transformers.Qwen2VLConfig(), config, {}, ("model", "config"))
    assert made.vision_config.num_heads == 2


def test_sizes_that_are_not_read_are_told_with_a_model_that_is_too_large(build: Build) -> None:
    with pytest.raises(BuildFault) as caught:
        build("LlamaConfig", "LlamaForCausalLM", {"pretraining_tp": 2})
    large, unread = caught.value.findings
    assert "the model would have " in large.what
    assert unread.what == "LlamaForCausalLM does not read pretraining_tp"
    assert unread.key == ("model", "config", "pretraining_tp")


def test_a_key_that_a_property_of_the_config_reads(build: Build) -> None:
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 200}
    small |= {"num_attention_heads": 4, "num_key_value_heads": 2, "mamba_n_heads": 4}
    small |= {"mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_expand": 2}
    bundle = build("BambaConfig", "BambaForCausalLM", {**small, "attn_layer_indices": [1]})
    assert bundle.facts["class"] == "BambaForCausalLM"


def test_the_feed_forward_part_under_another_name(build: Build) -> None:
    with pytest.raises(BuildFault) as caught:
        build("OPTConfig", "OPTForCausalLM", {"intermediate_size": 64})
    assert "OPTConfig has no 'intermediate_size'" in str(caught.value)
    assert "did you mean ffn_dim" in str(caught.value)


def test_a_key_under_its_other_name_is_read(build: Build, tmp_path: Path) -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "n_inner": 64}
    more = {"vocab_size": 200, "n_positions": 64, "initializer_range": 0.3}
    bundle = build("GPT2Config", "GPT2LMHeadModel", {**small, **more})
    assert bundle.checks(tmp_path / "s")["overrides_read"].measured == "7 read"


def test_ids_that_were_one_and_are_two(build: Build, tmp_path: Path) -> None:
    bundle = llama(build)
    edit(bundle.folder / "generation_config.json", lambda data: {**data, "eos_token_id": 7})
    edit(bundle.origin / "config.json", lambda data: {**data, "eos_token_id": 2})
    (bundle.origin / "generation_config.json").write_text(json.dumps({"eos_token_id": 2}))
    found = failing(bundle, tmp_path / "s")
    assert list(found) == ["coherent_ids"]
    assert (
        "2 of the source is 2 in eos_token_id and 7 in generation_config.json.eos_token_id"
        in found["coherent_ids"]
    )


def test_a_default_past_the_vocabulary_is_no_token_of_the_source(
    build: Build, tmp_path: Path
) -> None:
    """GPT-2's 50256 is its BOS and its EOS, and no token of a Chinese one's 13,317."""
    sizes = {"n_embd": 32, "n_head": 2, "n_layer": 2, "n_positions": 64, "vocab_size": 300}
    bundle = build("GPT2Config", "GPT2LMHeadModel", sizes)
    for name in ("config.json", "generation_config.json"):
        edit(bundle.folder / name, lambda data: {**data, "bos_token_id": 3, "eos_token_id": 4})

    def source(size: int) -> None:
        ids = ("bos_token_id", "eos_token_id")
        edit(
            bundle.origin / "config.json",
            lambda data: {**{k: data[k] for k in data if k not in ids}, "vocab_size": size},
        )

    source(50257)
    assert "50256 of the source is " in failing(bundle, tmp_path / "t")["coherent_ids"]
    source(300)
    assert bundle.checks(tmp_path / "s")["coherent_ids"].ok


def test_a_list_of_ids_that_is_one_id(build: Build, tmp_path: Path) -> None:
    bundle = llama(build)
    (bundle.origin / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 107]}))
    edit(bundle.folder / "generation_config.json", lambda data: {**data, "eos_token_id": 2})
    found = failing(bundle, tmp_path / "s")
    assert list(found) == ["coherent_ids"]
    assert "generation_config.json.eos_token_id was a list, and is 2" in found["coherent_ids"]


def test_a_kind_of_layer_that_is_gone(build: Build, tmp_path: Path) -> None:
    small = {**LLAMA, "head_dim": 8, "initializer_range": 0.3, "num_hidden_layers": 2}
    kinds = ["sliding_attention", "full_attention"]
    bundle = build("Gemma3TextConfig", "Gemma3ForCausalLM", {**small, "layer_types": kinds})
    assert bundle.checks(tmp_path / "s")["every_layer_kind"].ok
    bundle = build("Gemma3TextConfig", "Gemma3ForCausalLM", small)
    found = failing(bundle, tmp_path / "t")
    assert "layer_types has no full_attention" in found["every_layer_kind"]


def test_experts_that_start_past_the_last_layer(build: Build, tmp_path: Path) -> None:
    """DeepSeek-V3 with two layers, both dense as its first three are."""
    small = {**LLAMA, "num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8}
    small |= {
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "first_k_dense_replace": 2,
    }
    bundle = build("DeepseekV3Config", "DeepseekV3ForCausalLM", small)
    found = bundle.checks(tmp_path / "s")["every_layer_kind"]
    assert "has experts in its source, and no layer with experts" in found.measured
    assert found.values == {"kinds": 2, "faults": 1}  # with experts and without


@pytest.mark.parametrize(
    ("more", "dense"),
    [
        ({}, False),
        ({"n_routed_experts": 1}, None),
        ({"first_k_dense_replace": 1}, True),
        ({"first_k_dense_replace": 4}, None),
        ({"mlp_only_layers": [3]}, True),
        ({"moe_layers": [0, 1, 2, 3]}, False),
        ({"moe_layers": [1, 3]}, True),
    ],
)
def test_whether_a_config_has_dense_layers_beside_those_with_experts(
    more: dict[str, Any], dense: bool | None
) -> None:
    node = {"num_hidden_layers": 4, "n_routed_experts": 8, **more}
    assert layers._dense_beside_experts(node) is dense


def test_a_layer_past_the_last_one(build: Build, tmp_path: Path) -> None:
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    vision |= {"num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    config = {"text_config": LLAMA, "vision_config": vision, "image_token_index": 199}
    bundle = build("LlavaConfig", "LlavaForConditionalGeneration", config)
    assert bundle.checks(tmp_path / "s")["layer_indexes"].ok
    edit(bundle.folder / "config.json", lambda data: {**data, "vision_feature_layer": -9})
    found = failing(bundle, tmp_path / "t")
    assert "vision_feature_layer names -9 of 2 layers" in found["layer_indexes"]


# --- dimensions -----------------------------------------------------------------------------------


def test_heads_that_were_left_wide(build: Build, tmp_path: Path) -> None:
    """Gemma: 256 numbers a head, whatever the width."""
    bundle = build("GemmaConfig", "GemmaForCausalLM", {**LLAMA, "hidden_size": 64})
    found = failing(bundle, tmp_path / "s")
    assert "q_proj.weight has 1,024 in axis 0" in found["no_dimension_left"]
    assert "from head_dim (256)" in found["no_dimension_left"]
    small = {**LLAMA, "hidden_size": 64, "head_dim": 256}
    bundle = build("GemmaConfig", "GemmaForCausalLM", small)
    assert bundle.checks(tmp_path / "t")["no_dimension_left"].ok  # as the recipe wants it


def test_a_feed_forward_part_that_was_left_wide(build: Build, tmp_path: Path) -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"vocab_size": 200, "max_position_embeddings": 64, "word_embed_proj_dim": 32}
    bundle = build("OPTConfig", "OPTForCausalLM", {**small, **more})
    found = failing(bundle, tmp_path / "s")
    assert "from ffn_dim (3,072)" in found["no_dimension_left"]


# --- alive ----------------------------------------------------------------------------------------


def test_parameters_without_a_gradient(build: Build, tmp_path: Path) -> None:
    bundle = llama(build)

    def close(tensors: dict[str, Any]) -> None:
        tensors["model.layers.0.self_attn.o_proj.weight"].zero_()

    weights(bundle.folder, close)
    found = failing(bundle, tmp_path / "s")
    assert {"gradients", "initialised"} == set(found)
    assert "model.layers.0.self_attn.k_proj.weight" in found["gradients"].partition(" / ")[0]


def test_a_layer_that_is_skipped(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    bundle = llama(build)
    forward = LlamaDecoderLayer.forward

    def skipping(self: Any, hidden_states: Any, **more: Any) -> Any:
        if self.self_attn.layer_idx == 0:
            return hidden_states
        return forward(self, hidden_states, **more)

    monkeypatch.setattr(LlamaDecoderLayer, "forward", skipping)
    found = failing(bundle, tmp_path / "s")
    assert "none in model.layers.0." in found["gradients"]


@pytest.mark.parametrize(
    ("name", "shifted"),
    [
        ("T5ForConditionalGeneration", True),
        ("WhisperForConditionalGeneration", True),
        ("DiaForConditionalGeneration", False),  # begins with its first token, whatever the labels
        ("NemotronAsrStreamingForRNNT", False),  # wants the ids of the decoder
    ],
)
def test_classes_that_make_a_decoders_ids_of_labels(name: str, shifted: bool) -> None:
    import transformers

    from tinybuild.validate.alive import shifts

    assert shifts(getattr(transformers, name)) is shifted


@pytest.mark.parametrize(
    ("batch", "learned"),
    [
        ({"labels": "labels", "decoder_input_ids": "begun"}, "labels"),
        ({"labels": "labels"}, "labels"),
        ({"decoder_input_ids": "begun"}, "begun"),
        ({"input_ids": "text"}, None),
    ],
)
def test_labels_are_the_batchs_or_else_what_its_decoder_begins_with(
    batch: dict[str, str], learned: str | None
) -> None:
    import torch

    class Shifting:
        def forward(self, labels: Any = None, decoder_input_ids: Any = None) -> None:
            """Its decoder's ids are made of labels."""

        def prepare_decoder_input_ids_from_labels(self) -> None: ...

    asked: list[Any] = []
    subject: Any = SimpleNamespace(
        exact=Shifting(),
        exact_batch=lambda: batch,
        computed=lambda given, _: asked.append(given["labels"]) or {"loss": torch.ones(1)},
    )
    result = alive.learns_from_labels.measure(subject)
    assert asked == [learned] * (learned is not None)
    assert (result is None) == (learned is None)


def test_what_learns_when_a_gate_is_opened_is_told_from_what_never_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    class Gated(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.behind, self.idle = (
                torch.nn.Parameter(number * torch.ones(2)) for number in (0, 1, 1)
            )

    def learning(subject: Any, number: int, opened: set[str], reached: set[str]) -> None:
        model = subject.exact
        (model.gate * model.behind).sum().backward()
        opened |= {name for name, p in model.named_parameters() if p.grad is not None}

    monkeypatch.setattr(alive, "_learning", learning)
    subject: Any = SimpleNamespace(exact=Gated(), anew=[Gated()], seed=0)
    assert alive._behind_gates(subject, ["behind", "idle"]) == ["behind"]
    assert not subject.exact.gate.any()


def test_labels_without_what_a_decoder_starts_with(build: Build, tmp_path: Path) -> None:
    small = {
        **{"d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2},
        **{"vocab_size": 100, "initializer_factor": 2.0},
    }
    bundle = build("T5Config", "T5ForConditionalGeneration", small)
    assert "learns_from_labels" not in failing(bundle, tmp_path / "a")
    path = bundle.folder / "config.json"
    data = json.loads(path.read_text())
    assert data.pop("decoder_start_token_id") == 0  # of pad: its class has no bos
    path.write_text(json.dumps(data))
    assert "decoder_start_token_id" in failing(bundle, tmp_path / "b")["learns_from_labels"]


@pytest.mark.parametrize(
    ("dtype", "times", "said"),
    [
        ("float16", 1e3, "set model.dtype to bfloat16"),
        ("float32", 1e25, "a smaller model.initializer_range"),
    ],
)
def test_outputs_that_are_not_finite(
    build: Build, tmp_path: Path, dtype: str, times: float, said: str
) -> None:
    def swell(tensors: dict[str, Any]) -> None:
        for name in ("gate_proj", "up_proj"):
            tensors[f"model.layers.0.mlp.{name}.weight"] *= times

    bundle = llama(build, dtype=dtype)
    weights(bundle.folder, swell)
    assert said in failing(bundle, tmp_path / "s")["forward"]


def test_outputs_that_do_not_depend_on_the_input(build: Build, tmp_path: Path) -> None:
    bundle = llama(build)

    def level(tensors: dict[str, Any]) -> None:
        tensors["model.embed_tokens.weight"][:] = tensors["model.embed_tokens.weight"][0]

    weights(bundle.folder, level)
    found = failing(bundle, tmp_path / "s")
    assert "no output depends on input_ids" in found["inputs_matter"]
    assert "1 continuations of 4 prompts" in found["generation_differs"]


def test_labels_beside_labels_are_not_inputs(build: Build, tmp_path: Path) -> None:
    """Of whether a sentence is the next one there is a label of its own."""
    sizes = {name: size for name, size in LLAMA.items() if name != "num_key_value_heads"}
    bundle = build("BertConfig", "BertForPreTraining", {**sizes, "initializer_range": 0.3})
    found = bundle.checks(tmp_path / "s")
    assert found["inputs_matter"].measured == "the outputs depend on input_ids"


class Either:
    """What a model makes of an image or a video, which share their placeholders; `deaf` to one."""

    @staticmethod
    def model(deaf: str = "") -> Any:
        import torch
        from transformers import LlamaConfig, LlamaPreTrainedModel

        class EitherModel(LlamaPreTrainedModel):  # type: ignore[misc]
            def __init__(self, config: Any) -> None:
                super().__init__(config)
                self.inner = torch.nn.Linear(1, 1)

            def forward(
                self, input_ids: Any, pixel_values: Any = None, pixel_values_videos: Any = None
            ) -> Any:
                given = {"image": pixel_values, "video": pixel_values_videos}
                there = [kind for kind, value in given.items() if value is not None]
                if len(there) != 1 or given[there[0]].dim() != {"image": 4, "video": 5}[there[0]]:
                    raise ValueError("one of them")
                heard = given[there[0]].mean() if there[0] != deaf else 0.0
                return {"out": input_ids.float() + heard}

        return EitherModel(LlamaConfig(**LLAMA))


@pytest.mark.parametrize(
    ("deaf", "said"), [("", "in a batch of its own"), ("video", "no output depends on video")]
)
def test_a_modality_that_is_never_beside_another(deaf: str, said: str) -> None:
    from types import SimpleNamespace

    from tinybuild.feeding import inputs
    from tinybuild.validate.alive import every_modality

    made = Either.model(deaf)
    batch = inputs.batch(made, 3)
    assert inputs.covered(made, batch) == ("image", "text")

    subject: Any = SimpleNamespace(exact=made, exact_batch=lambda: batch, seed=3)
    subject.alone = inputs.apart(made, batch, 3)
    subject.computed = lambda given, model: model(**given)
    found = every_modality.measure(subject)
    assert found is not None
    assert (found.ok, said in found.measured) == (not deaf, True)


def test_tables_that_a_class_computes_in_the_dtype_of_its_weights(
    build: Build, tmp_path: Path
) -> None:
    """What a port is held to is what the class gives in float32: CTRL's table of positions, read in
    bfloat16 and cast, was too coarse."""
    small = {"n_embd": 16, "dff": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    wish = {**small, "vocab_size": 50}
    bundle = build("CTRLConfig", "CTRLLMHeadModel", wish, dtype="bfloat16")
    found = failing(bundle, tmp_path / "s")
    assert "expected_outputs" not in found, found["expected_outputs"]


def test_tokens_that_rounding_decides(build: Build, tmp_path: Path) -> None:
    bundle = build("LlamaConfig", "LlamaForCausalLM", LLAMA)  # drawn with 0.02
    bundle.wish["shrink"] = "auto"
    found = failing(bundle, tmp_path / "s")
    assert list(found) == ["generation_differs"]
    assert "margin 0.0" in found["generation_differs"]
    assert "a wider initializer_range" in found["generation_differs"]


def test_a_loss_that_no_step_lowers(build: Build, tmp_path: Path) -> None:
    bundle = llama(build)

    def kill(tensors: dict[str, Any]) -> None:
        for tensor in tensors.values():
            tensor.zero_()

    weights(bundle.folder, kill)
    found = failing(bundle, tmp_path / "s")
    assert {"trains", "gradients", "backward", "inputs_matter"} <= set(found)


def test_a_class_that_learns_in_training_mode_only() -> None:
    import torch

    from tinybuild.validate.learning import learn

    class Insisting(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Any, training: bool) -> Any:
            context.training = training
            return x * 2

        @staticmethod
        def backward(context: Any, grad: Any) -> Any:
            assert context.training, "make sure to use `model.train()`"
            return grad * 2, None

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

        def forward(self, x: Any) -> Any:
            return {"loss": Insisting.apply(x * self.weight, self.training).sum()}

    model = Model().eval()
    loss, training = learn(model, {"x": torch.ones(3)}, 0)
    assert (loss.item(), training, model.training) == (6.0, True, False)
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == [2.0] * 3


def test_what_a_model_keeps_of_an_earlier_call_is_forgotten() -> None:
    import torch

    from tinybuild.validate.learning import learn

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))
            self.kept: dict[str, Any] = {}

        def forward(self, x: Any) -> Any:
            if "text" not in self.kept:
                self.kept["text"] = (self.weight.exp(), 1)
            return {"loss": (x * self.kept["text"][0]).sum()}

    model = Model().eval()
    for _ in range(2):
        learn(model, {"x": torch.ones(3)}, 0)
    assert list(model.state_dict()) == ["weight"]


# --- ids and their tokens -------------------------------------------------------------------------


def ids_of(bundle: Bundle, scratch: Path, tokenizer: Mapping[str, Any]) -> Result:
    """coherent_ids, with what the receipt of a tokenizer says (its files are not looked at)."""
    from tinybuild.validate import coherent

    scratch.mkdir()
    ids = {"sizes": {}, "keep": False, "missing": "error", **tokenizer}
    subject = Subject(
        folder=bundle.folder,
        scratch=scratch,
        facts={"model": bundle.facts, "tokenizer": {"ids": ids}},
        seed=3,
        origin=bundle.origin,
        wish=Wish(**bundle.wish),
    )
    found = coherent.coherent_ids.run(subject)
    assert found is not None
    return found


def test_an_id_that_is_not_what_its_token_has_become(build: Build, tmp_path: Path) -> None:
    bundle = llama(build)
    moved = {"special": {"bos": 1, "eos": 2}, "moved": {"1": 1, "2": 2}}
    assert ids_of(bundle, tmp_path / "a", moved).ok
    moved = {"special": {"bos": 1, "eos": 5}, "moved": {"1": 1, "2": 5}}
    found = ids_of(bundle, tmp_path / "b", moved)
    assert not found.ok
    assert "eos_token_id is 2, and the token that was 2 is 5" in found.measured


def test_a_table_of_tokens_has_the_tokenizers_ids() -> None:
    """Chameleon's vocabulary_map says which token each code of an image is."""
    from tinybuild.validate import coherent

    def faults(table: object, parts: Collection[str] = ("tokenizer",)) -> list[str]:
        tokenizer = SimpleNamespace(get_vocab=lambda: {"<image>": 7, "IMGIMGAZ": 8})
        told = {"vocabulary_map": table, "eos_token_id": 2}
        subject: Any = SimpleNamespace(parts=parts, tokenizer=tokenizer, file=lambda name: told)
        return coherent._listed(subject)

    assert faults({"<image>": 7, "IMGIMGAZ": 8}) == []
    assert faults({"<image>": 7, "IMGIMGAZ": 9, "IMGIMGBZ": 10}) == [
        "vocabulary_map has IMGIMGAZ at 9, and the tokenizer at 8",
        "vocabulary_map has IMGIMGBZ at 10, and the tokenizer at None",
    ]
    assert faults(None) == []
    assert faults({"<image>": 9}, ()) == []


def test_a_role_that_only_the_tokenizer_has(build: Build, tmp_path: Path) -> None:
    bundle = llama(build)
    edit(bundle.folder / "config.json", lambda data: {**data, "pad_token_id": 9})
    found = ids_of(bundle, tmp_path / "a", {"special": {"pad": 3}, "moved": {}})
    assert not found.ok
    assert "pad_token_id is 9, and the tokenizer's pad is 3" in found.measured


def test_what_disagrees_in_the_source_may_disagree_alike(build: Build, tmp_path: Path) -> None:
    """Whisper's config pads with another token than its tokenizer; both configs say so here."""
    bundle = llama(build)
    edit(bundle.origin / "config.json", lambda data: {**data, "pad_token_id": 9})
    for name in ("config.json", "generation_config.json"):
        edit(bundle.folder / name, lambda data: {**data, "pad_token_id": 9})
    told = {"special": {"pad": 3}, "moved": {"9": 9}}
    assert ids_of(bundle, tmp_path / "a", told).ok
    edit(bundle.folder / "generation_config.json", lambda data: {**data, "pad_token_id": 8})
    found = ids_of(bundle, tmp_path / "b", told)
    assert "pad_token_id is 8, and the tokenizer's pad is 3" in found.measured


def test_image_tokens_that_differ(build: Build, tmp_path: Path) -> None:
    bundle = llama(build)
    for name, number in (("config.json", 190), ("generation_config.json", 191)):
        edit(bundle.folder / name, lambda data, n=number: {**data, "image_token_id": n})
    found = ids_of(bundle, tmp_path / "a", {"special": {}, "moved": {}})
    assert "the image token is 190 in image_token_id and 191 in " in found.measured


def test_the_ids_of_a_config_whose_text_is_in_its_vlm_config() -> None:
    """Of pi0 the check looked at none: it did not know the part that holds the text."""
    from transformers import CONFIG_MAPPING

    from tinybuild.validate import coherent

    config = CONFIG_MAPPING["pi0"]()
    ids = dict(coherent._ids({}, config))
    assert ids
    assert any(path[0] == "vlm_config" for path in ids)


# --- distinct -------------------------------------------------------------------------------------


def electra(
    build: Build, scratch: Path, reasons: Mapping[str, str], most: int = 0, **sizes: int
) -> Result:
    """distinctions_kept of a model whose sizes look as if rules had chosen them."""
    small = {
        **{"embedding_size": 32, "hidden_size": 64, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "intermediate_size": 112, "vocab_size": 200},
        **{"max_position_embeddings": 128, **sizes},
    }
    bundle = build("ElectraConfig", "ElectraModel", small)

    def ruled(data: dict[str, Any]) -> None:
        for change in data["changes"]:
            change["reason"] = reasons.get(change["key"], "rule width")

    edit(bundle.folder / "config_changes.json", ruled)
    bundle.wish = {"config": {}, "shrink": "auto"}
    subject = bundle.subject(scratch, max_coincidences=most)
    found = distinct.distinctions_kept.run(subject)
    assert found is not None
    return found


def test_a_recipe_says_how_many_sizes_may_coincide(build: Build, tmp_path: Path) -> None:
    """Nothing says why, so the report does; a lost module is never allowed."""
    few = {"intermediate_size": 128}  # as long as the table of positions
    assert not electra(build, tmp_path, {}, **few).ok
    found = electra(build, tmp_path, {}, most=10, **few)
    assert found.ok
    assert found.values["coincident"] == len(found.given_up) > 0
    assert {*found.given_up.values()} == {"no rule keeps them apart"}
    assert not electra(build, tmp_path, {}, most=10, embedding_size=64).ok


def test_a_module_that_only_unequal_widths_create(build: Build, tmp_path: Path) -> None:
    assert electra(build, tmp_path, {}).ok
    found = electra(build, tmp_path, {}, embedding_size=64)
    assert found.state == "failed"
    assert "embeddings_project.weight is lost" in found.measured
    assert "embedding_size and hidden_size are 64, and 128 and 256 in the source" in found.measured


@pytest.mark.parametrize(
    ("reason", "ok"),
    [
        ("rule width: as wide as the text, the class needs it", True),
        ("recipe", True),
        ("rule width", False),
        ("search", False),
        ("exception: the class counts them so", True),
    ],
)
def test_what_cannot_be_kept_says_why(build: Build, tmp_path: Path, reason: str, ok: bool) -> None:
    reasons = {"intermediate_size": reason}
    found = electra(build, tmp_path, reasons, intermediate_size=64)
    assert found.ok is ok
    told = "hidden_size and intermediate_size are 64, and 256 and 1024 in the source"
    assert (found.given_up.get(told) == reason) is ok
    assert (told in found.measured) is not ok
    assert found.data()["given_up"] == dict(found.given_up)


def test_half_of_what_reads_the_text_may_not_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large what is for another call is beside it: the check fails as before."""
    import transformers

    from tinybuild.validate import alive

    small = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    config = transformers.LlamaConfig(**small, num_hidden_layers=4, vocab_size=9)
    model: Any = transformers.LlamaForCausalLM(config)
    sight = {**small, "num_hidden_layers": 9, "image_size": 8, "patch_size": 4}
    model.model.painter = transformers.ViTModel(transformers.ViTConfig(**sight))
    monkeypatch.setattr(alive, "_acting", lambda subject, idle: set())
    named = dict(model.named_parameters())

    def faults(*dead: str) -> list[str]:
        subject: Any = SimpleNamespace(exact=model)
        names = [name for name in named if name.startswith(dead)]
        return alive._without_gradient(subject, named, names, set())[0]

    painter = "model.painter."
    assert faults(painter) == []
    last = [f"model.layers.{number}." for number in (1, 2, 3)]
    assert any(name.startswith("model.layers.") for name in faults(painter, *last))
    assert faults(painter, "model.", "lm_head")


def test_what_is_for_another_call_is_not_half_of_the_model() -> None:
    """Janus makes images with a model of its own, which forward leaves out and is large."""
    import transformers

    from tinybuild.validate.alive import _apart

    small = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    config = transformers.LlamaConfig(**small, num_hidden_layers=1, vocab_size=9)
    model = transformers.LlamaForCausalLM(config)
    every = {name for name, _ in model.named_parameters()}
    assert _apart(model, every) == set()  # what reads the text is the model itself
    sight = {**small, "num_hidden_layers": 1, "image_size": 8, "patch_size": 4}
    model.model.painter = transformers.ViTModel(transformers.ViTConfig(**sight))
    painter = {f"model.painter.{name}" for name, _ in model.model.painter.named_parameters()}
    assert _apart(model, painter) == painter
    assert _apart(model, painter - {"model.painter.layernorm.bias"}) == set()
