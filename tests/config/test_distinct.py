"""What a tiny model must keep apart: each way to lose it is found, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from tinybuild.config import meta, overrides
from tinybuild.config.distinct import (
    Compared,
    apart,
    coincident_axes,
    coincident_layers,
    compared,
    lacking,
    shortened,
)
from tinybuild.config.shrink import shrink


def beside(name: str, source: dict[str, Any], tiny: dict[str, Any]) -> Compared:
    """A class on two configs of its own kind, of sizes that are given."""
    import transformers

    kind = getattr(transformers, name)
    return compared(kind, kind.config_class(**source), kind.config_class(**tiny))


def told(found: Compared) -> set[str]:
    coincidences = (*found.axes, *found.layers, *found.sizes)
    return {" = ".join(one.names) for one in coincidences} | {*found.lost, *found.gained}


def test_the_source_with_as_many_layers_begins_where_the_source_does() -> None:
    """Its first layer may be of another size."""
    from transformers import Gemma3nTextConfig

    def text(number: int, first: int, others: int) -> Gemma3nTextConfig:
        kinds = {"layer_types": ["full_attention"] * number, "num_kv_shared_layers": 0}
        sizes = {"intermediate_size": [first] + [others] * (number - 1)}
        off = {"activation_sparsity_pattern": [0.0] * number}
        return Gemma3nTextConfig(num_hidden_layers=number, **kinds, **sizes, **off)

    short = shortened(text(6, 256, 128), text(2, 64, 32).to_dict(), {})
    assert short.intermediate_size == [256, 128]


def test_a_model_is_made_once_for_what_is_asked_of_its_sizes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import transformers

    made, on_meta = list[Any](), meta.on_meta
    monkeypatch.setattr(meta, "on_meta", lambda *asked: made.append(asked) or on_meta(*asked))
    kind = transformers.LlamaForCausalLM
    sizes = {"num_hidden_layers": 1, "hidden_size": 64, "vocab_size": 77}
    one, other = (kind.config_class(**sizes, intermediate_size=n) for n in (48, 56))
    assert meta.shapes(kind, one) == meta.shapes(kind, kind.config_class(**one.to_dict()))
    assert len(made) == 1
    assert meta.shapes(kind, other) != meta.shapes(kind, one)
    assert len(made) == 2


QWEN = {"hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
QWEN_TINY = {
    **{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24},
    **{"num_hidden_layers": 3, "intermediate_size": 112, "vocab_size": 200},
    **{"max_position_embeddings": 512, "sliding_window": None},
}
MOE = {"moe_intermediate_size": 768, "num_experts": 32, "num_experts_per_tok": 8}
MLA = {
    **{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4, "n_group": 2},
    **{"q_lora_rank": 40, "kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16},
    **{"v_head_dim": 20, "intermediate_size": 112, "moe_intermediate_size": 48},
    **{"n_routed_experts": 6, "num_experts_per_tok": 3, "topk_group": 1, "num_hidden_layers": 5},
    **{"first_k_dense_replace": 1, "vocab_size": 200, "max_position_embeddings": 512},
}
ELECTRA = {
    **{"embedding_size": 32, "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2},
    **{"intermediate_size": 112, "vocab_size": 200, "max_position_embeddings": 128},
}
WHISPER = {
    **{"d_model": 64, "num_mel_bins": 40, "encoder_layers": 2, "decoder_layers": 2},
    **{"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 112},
    **{"decoder_ffn_dim": 112, "vocab_size": 200, "max_source_positions": 96, "pad_token_id": 1},
    **{"max_target_positions": 80, "classifier_proj_size": 24, "median_filter_width": 7},
}
VIT = {
    **{"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "image_size": 48},
    **{"patch_size": 8, "intermediate_size": 112, "pooler_output_size": 64},
}
SEGFORMER = {"hidden_sizes": [16, 24, 40, 64], "decoder_hidden_size": 48, "depths": [1, 1, 1, 1]}

# A class, its source, a tiny config that loses nothing, what makes that worse, and what is found.
LOSSES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], set[str]]] = {
    "heads cover the width": (
        "Qwen3ForCausalLM",
        QWEN,
        QWEN_TINY,
        {"head_dim": 16},
        {
            "model.layers.*.self_attn.q_proj.weight[0] = model.layers.*.self_attn.q_proj.weight[1]",
            "model.layers.*.self_attn.o_proj.weight[0] = model.layers.*.self_attn.o_proj.weight[1]",
            "hidden_size = num_attention_heads x head_dim",
        },
    ),
    "layers are as many as key-value heads": (
        "Qwen3ForCausalLM",
        QWEN,
        QWEN_TINY,
        {"num_hidden_layers": 2},
        {"num_hidden_layers = num_key_value_heads"},
    ),
    "experts are as wide as the model": (
        "Qwen3MoeForCausalLM",
        {**QWEN, **MOE},
        {**QWEN_TINY, "moe_intermediate_size": 48, "num_experts": 8, "num_experts_per_tok": 5},
        {"moe_intermediate_size": 64},
        {
            "model.layers.*.mlp.experts.down_proj[1] = model.layers.*.mlp.experts.down_proj[2]",
            "hidden_size = moe_intermediate_size",
        },
    ),
    "top-k, layers and key-value heads": (
        "Qwen3MoeForCausalLM",
        {**QWEN, **MOE, "num_experts_per_tok": 6},
        {**QWEN_TINY, "moe_intermediate_size": 48, "num_experts": 8, "num_experts_per_tok": 5},
        {"num_experts_per_tok": 2, "num_experts": 4},
        {
            "num_key_value_heads = num_experts_per_tok",
            "num_attention_heads = num_local_experts",
        },
    ),
    "ranks of latent attention": (
        "DeepseekV3ForCausalLM",
        {},
        MLA,
        {"q_lora_rank": 32},
        {"kv_lora_rank = q_lora_rank"},
    ),
    "embeddings without their projection": (
        "ElectraModel",
        {},
        ELECTRA,
        {"embedding_size": 64},
        {
            "embeddings_project.bias",
            "embeddings_project.weight",
            "embedding_size = hidden_size",
        },
    ),
    "mel bins, and two lengths": (
        "WhisperModel",
        {"num_mel_bins": 128},
        WHISPER,
        {"num_mel_bins": 64, "max_target_positions": 96},
        {
            "encoder.conv1.weight[0] = encoder.conv1.weight[1]",
            "num_mel_bins = d_model",
            "max_source_positions = max_target_positions",
        },
    ),
    "patches are as many as the width": (
        "ViTModel",
        {},
        VIT,
        {"image_size": 64},
        {"hidden_size = image_size x patch_size", "pooler_output_size = image_size x patch_size"},
    ),
    "stages of one width": (
        "SegformerForSemanticSegmentation",
        {"depths": [2, 2, 2, 2]},
        SEGFORMER,
        {"hidden_sizes": [16, 24, 24, 64], "decoder_hidden_size": 64},
        {"hidden_sizes.1 = hidden_sizes.2"},
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_found_and_nothing_else(name: str) -> None:
    kind, source, tiny, worse, lost = LOSSES[name]
    assert told(beside(kind, source, tiny)) == set()
    assert lost <= told(beside(kind, source, {**tiny, **worse}))


def test_sizes_that_differ_from_layer_to_layer() -> None:
    from transformers import Gemma4TextConfig, Gemma4TextModel

    full = Gemma4TextConfig(num_hidden_layers=12, global_head_dim=512, head_dim=256)
    small = {
        **{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 1},
        **{"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]},
        **{"intermediate_size": 112, "vocab_size": 200, "vocab_size_per_layer_input": 200},
        **{"hidden_size_per_layer_input": 40, "max_position_embeddings": 512},
        **{"num_kv_shared_layers": 0, "sliding_window": 5},
    }

    def found(**sizes: int) -> Compared:
        return compared(Gemma4TextModel, full, Gemma4TextConfig(**small, **sizes))

    assert not found(head_dim=24, global_head_dim=48).layers
    worse = [
        one for one in found(head_dim=24, global_head_dim=24).layers if "q_proj" in one.names[0]
    ]
    assert [(one.was, one.now) for one in worse] == [((2048, 4096), 96)]


def test_each_kind_of_layer_has_the_same_parameters() -> None:
    dense, sparse = ("up", "down"), ("gate", "experts.0.up", "experts.1.up")
    full = [f"h.{n}.{name}" for n in range(6) for name in (dense if n < 2 else sparse)]
    tiny = [f"h.{n}.{name}" for n in range(2) for name in (dense if n < 1 else sparse)]
    assert [*lacking(full, tiny), *lacking(tiny, full)] == []
    assert [*lacking(full, [name for name in tiny if "gate" not in name])] == ["h.*.gate"]
    assert [*lacking(["proj.weight", *full], tiny)] == ["proj.weight"]
    # One by one where there are as many: a stack is also what holds different modules.
    assert [*lacking(["x.0.a", "x.1.a", "x.1.b"], ["x.0.a", "x.0.b", "x.1.a"])] == ["x.1.b"]
    assert [*lacking(["x.0.expert_7.up"], ["x.0.expert_0.up"])] == []


def test_axes_are_compared_with_those_of_all_layers_of_the_source() -> None:
    full = {"h.0.w": (32, 64), "h.1.w": (64, 64), "v": (7, 7), "c": (64, 32, 3), "e": (96, 64, 9)}
    tiny = {"h.0.w": (8, 8), "v": (5, 6), "c": (8, 3, 3), "e": (8, 24, 24), "new": (4, 4)}
    assert [one.names for one in coincident_axes(full, tiny)] == [("e[1]", "e[2]")]
    assert [*apart(full, tiny)] == ["v is [5, 6], and [7, 7] in the source"]


def test_widths_by_stage_make_shortcuts() -> None:
    """A stage of another width has a shortcut, which is a module of its own."""
    from transformers import ChameleonVQVAE, ChameleonVQVAEConfig

    source = ChameleonVQVAEConfig()
    tree = shrink(source, {})
    tiny = overrides.override(source, {}, tree.overrides, ())
    found = compared(ChameleonVQVAE, source, tiny)
    assert (found.lost, found.gained) == ((), ())


def test_a_part_that_the_recipe_turns_off_by_a_size_of_0_is_not_lost() -> None:
    """Idefics keeps added tokens in a table of their own, where it has any."""
    from transformers import IdeficsConfig, IdeficsForVisionText2Text

    vision = {"embed_dim": 20, "image_size": 14, "intermediate_size": 28, "num_hidden_layers": 1}
    small = {"hidden_size": 24, "intermediate_size": 36, "num_hidden_layers": 1, "vocab_size": 99}
    shared = {**small, "num_attention_heads": 4, "cross_layer_interval": 1}
    shared["vision_config"] = {**vision, "num_attention_heads": 4}
    source = IdeficsConfig(**shared, additional_vocab_size=2)
    tiny = IdeficsConfig(**shared, additional_vocab_size=0)
    lost = compared(IdeficsForVisionText2Text, source, tiny).lost
    assert {name for name in lost if "additional" in name} == set(lost) != set()
    given = {"additional_vocab_size": 0}
    assert compared(IdeficsForVisionText2Text, source, tiny, given).lost == ()


def test_a_kernel_that_is_one_of_the_sources_is_met() -> None:
    full = {"blocks.0.up": (64, 16), "blocks.1.up": (64, 8)}
    assert not [*coincident_layers(full, {"blocks.0.up": (32, 8), "blocks.1.up": (32, 8)})]
    (one,) = coincident_layers(full, {"blocks.0.up": (32, 4), "blocks.1.up": (32, 4)})
    assert (one.was, one.now) == ((16, 8), 4)
