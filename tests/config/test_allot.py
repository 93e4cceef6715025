"""Sizes are chosen together: what differs in the source differs in the small config."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.faults import refused

from tinybuild.config import allot
from tinybuild.config.pyramids import pyramids
from tinybuild.config.shrink import shrink
from tinybuild.config.sizes import IMAGE, PATCH, SIZES, Size, sized
from tinybuild.config.solve import Law, Product, Puzzle, Unknown
from tinybuild.config.tree import Alike, Tree
from tinybuild.keys import SPLIT, parallel
from tinybuild.paths import mapping
from tinybuild.sections import Model


def small(model_type: str, size: str = "tiny", alike: Alike | None = None, **keys: Any) -> Any:
    """The tree of a model type's config, shrunk: `keys` are other values of the source."""
    from transformers import CONFIG_MAPPING

    more = {"alike": alike} if alike is not None else {}
    return shrink(CONFIG_MAPPING[model_type](**keys), {}, size, **more).data


def test_what_no_bounded_search_finds_is_found_step_by_step() -> None:
    """The last five of twelve numbers may be one thing each, which the first want as well."""
    choices = tuple(range(2, 14))
    free = [Unknown(name=("width", 100 + n), choices=choices) for n in range(7)]
    fixed = [Unknown(name=("width", 200 + n), choices=(n,)) for n in range(2, 7)]
    made = Puzzle(unknowns=[*free, *fixed]).solved()
    assert len({*made.values()}) == 12


# --- the sizes of a config ------------------------------------------------------------------------


def test_the_deeper_of_two_stacks_is_not_the_shallower_one() -> None:
    """ByT5's decoder is a third of its encoder, and generation counts the encoder's layers."""
    config = small("t5", num_layers=12, num_decoder_layers=4, num_heads=6, d_model=1472)
    assert config["num_layers"] > config["num_decoder_layers"] >= 2


def test_heads_cover_the_width_only_where_they_do_in_the_source() -> None:
    plain = small("llama")
    assert plain["num_attention_heads"] * plain["head_dim"] == plain["hidden_size"]
    wide = small("qwen3", num_attention_heads=64, head_dim=128)
    assert wide["num_attention_heads"] * wide["head_dim"] != wide["hidden_size"]
    assert wide["num_key_value_heads"] * wide["head_dim"] != wide["hidden_size"]


def test_heads_of_a_part_share_the_width_of_that_part() -> None:
    """V-JEPA 2's predictor has twelve heads of 384: they divide that, and not the encoder's."""
    more = {"pred_hidden_size": 384, "pred_num_attention_heads": 12}
    config = small("vjepa2", hidden_size=1280, num_attention_heads=16, **more)
    assert config["pred_hidden_size"] % config["pred_num_attention_heads"] == 0
    assert config["hidden_size"] % config["num_attention_heads"] == 0
    assert config["pred_num_attention_heads"] != config["num_attention_heads"]


def test_heads_of_some_layers_cover_another_width() -> None:
    own: dict[str, Any] = {"global_head_dim": 512, "head_dim": 256, "num_global_key_value_heads": 2}
    own |= {"attention_k_eq_v": True}
    config = small("gemma4_text", num_attention_heads=16, num_key_value_heads=8, **own)
    (layer,) = {(one["num_key_value_heads"], one["head_dim"]) for one in by_layer(config)}
    assert layer[0] * layer[1] != config["num_key_value_heads"] * config["head_dim"]
    config = small("embedding_gemma2_text")
    wide = {config["num_attention_heads"] * one["head_dim"] for one in by_layer(config)}
    assert config["hidden_size"] not in wide


def by_layer(config: Any) -> Any:
    return [one for one in config["per_layer_config"].values() if "head_dim" in one]


@pytest.mark.parametrize("barred", [(), (4,), (4, 8), (4, 8, 2)])
def test_heads_of_a_state_space_cover_its_width_whatever_they_become(barred: Any) -> None:
    bars = frozenset(("num heads", 128, n) for n in barred) | {("heads", 128, n) for n in barred}
    config = small("mamba2", alike=Alike(barred=bars))
    assert config["num_heads"] not in barred
    assert config["num_heads"] * config["head_dim"] == config["expand"] * config["hidden_size"]


def test_heads_of_a_state_space_that_cover_no_whole_widths_are_small() -> None:
    sizes = {"hidden_size": 1024, "mamba_n_heads": 24, "mamba_d_head": 64}
    config = small("falcon_h1", **sizes, mamba_d_ssm=24 * 64)
    assert config["mamba_d_head"] < 64
    assert config["mamba_d_ssm"] == config["mamba_n_heads"] * config["mamba_d_head"]


@pytest.mark.parametrize("model_type", ["mistral4", "deepseek_v4"])
def test_the_share_of_a_head_that_is_rotated_is_its_part(model_type: str) -> None:
    config = small(model_type)
    ropes = config["rope_parameters"]
    for rope in [ropes] if "rope_theta" in ropes else ropes.values():
        part = int(config["head_dim"] * rope["partial_rotary_factor"])
        assert part == config["qk_rope_head_dim"] < config["head_dim"]


def test_a_barred_size_becomes_another() -> None:
    """Others follow, as laws want it; what nothing else may be stays."""
    plain = small("llama")
    bar = ("heads", 32, plain["num_attention_heads"])
    other = small("llama", alike=Alike(barred=frozenset({bar})))
    assert other["num_attention_heads"] != plain["num_attention_heads"]
    assert other["num_attention_heads"] * other["head_dim"] == other["hidden_size"]


def test_the_ranks_and_heads_of_latent_attention_differ() -> None:
    config = small("deepseek_v3")
    names = ("q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "hidden_size")
    head = config["qk_nope_head_dim"] + config["qk_rope_head_dim"]
    assert len({head, *(config[name] for name in names)}) == len(names) + 1
    assert config["v_head_dim"] == config["qk_nope_head_dim"]  # as in the source
    assert config["kv_lora_rank"] + config["qk_rope_head_dim"] != config["hidden_size"]


def test_the_widths_of_experts_are_their_own() -> None:
    config = small("qwen3_moe", moe_intermediate_size=1024)
    assert config["moe_intermediate_size"] not in (config["hidden_size"], 2 * config["hidden_size"])
    assert 2 * config["moe_intermediate_size"] != config["hidden_size"]  # two of them in one tensor
    same = small("qwen3_moe", hidden_size=1024, intermediate_size=1024)
    assert same["intermediate_size"] == same["hidden_size"]


def test_counts_are_distinct() -> None:
    config = small("qwen3_moe", num_key_value_heads=8, num_experts_per_tok=4)
    names = ("num_attention_heads", "num_key_value_heads", "num_hidden_layers")
    names += ("num_local_experts",)
    counts = [config[name] for name in (*names, "num_experts_per_tok")]
    assert len(set(counts)) == len(counts)
    assert min(counts) > 1


def test_neighbours_that_the_class_joins_to_an_inner_width_fill_it() -> None:
    audio = mapping(small("voxtral"), ("audio_config",))
    assert audio["hidden_size"] == 32  # not the text's, of which the inner width is no multiple
    assert audio["intermediate_size"] == 4 * 32


def test_half_an_inner_width_is_no_width_where_the_class_takes_halves() -> None:
    config = small("moshi")
    assert config["ffn_dim"] not in (config["hidden_size"], 2 * config["hidden_size"])


def test_groups_of_experts_hold_those_that_are_chosen() -> None:
    config = small("deepseek_v3")
    experts, groups = config["n_routed_experts"], config["n_group"]
    assert experts % groups == 0
    assert config["num_experts_per_tok"] <= config["topk_group"] * experts // groups
    assert config["topk_group"] < groups


@pytest.mark.parametrize("pool", [2, 3, 4, 5])
def test_a_window_is_of_whole_pools(pool: int) -> None:
    source = {"hidden_size": 1024, "num_attention_heads": 16}
    source |= {"sliding_window": 60 * pool, "index_kpool": pool}
    tree = Tree(source, {}, SIZES["tiny"], None)
    allot.parts(tree)
    assert tree.data["sliding_window"] < 60
    assert tree.data["sliding_window"] % pool == 0


@pytest.mark.parametrize("name", ["n_group", "topk_group"])
def test_groups_of_which_a_config_says_one_number_only(name: str) -> None:
    source = {"hidden_size": 1024, "n_routed_experts": 64, "num_experts_per_tok": 8, name: 8}
    tree = Tree(source, {}, SIZES["tiny"], None)
    allot.parts(tree)
    assert tree.data[name] < 8
    assert tree.data["n_routed_experts"] % tree.data[name] == 0


def test_groups_have_two_experts_each_and_one_group_may_have_one() -> None:
    one = {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 1}
    assert small("deepseek_v3", n_routed_experts=1, **one)["n_routed_experts"] == 1
    config = small("deepseek_v3", n_group=2, topk_group=1, num_experts_per_tok=1)
    assert config["n_routed_experts"] >= 2 * config["n_group"]


def test_towers_have_widths_of_their_own_where_they_do_in_the_source() -> None:
    config = small("clip")
    text, vision = config["text_config"], config["vision_config"]
    assert text["hidden_size"] == 64
    assert vision["hidden_size"] > text["hidden_size"]  # 768 and 512 in the source
    assert config["projection_dim"] == text["hidden_size"]  # both 512


def test_places_along_a_side_are_not_widths() -> None:
    config = mapping(small("sam"), ("prompt_encoder_config",))
    side, patch = config["image_size"], config["patch_size"]
    assert isinstance(side, int)
    assert isinstance(patch, int)
    assert config["image_embedding_size"] == side // patch


def test_stages_that_are_all_as_wide_have_a_width_of_their_own() -> None:
    neck = {"hidden_sizes": [512] * 4, "depths": [2] * 4}
    tree = Tree({"hidden_size": 1024, "neck_config": neck}, {}, SIZES["tiny"], None)
    for rule in (allot.widths, pyramids):
        rule(tree)
    (wide,) = {*mapping(tree.data, ("neck_config",))["hidden_sizes"]}
    assert wide < tree.data["hidden_size"]


def test_an_embedding_narrower_than_the_layers_stays_narrower() -> None:
    config = small("electra")
    assert config["embedding_size"] < config["hidden_size"]


def test_rotary_sections_that_differ_have_pairs_enough_to_differ() -> None:
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [11, 11, 10]}
    text = {"rope_parameters": {**rope, "partial_rotary_factor": 0.25}, "head_dim": 256}
    config = mapping(small("qwen3_5", text_config=text), ("text_config",))
    sections = mapping(config["rope_parameters"])["mrope_section"]
    assert isinstance(sections, list)
    assert min(sections) >= 1
    assert len(set(sections)) == 2


def test_vocabularies_that_differ_have_lengths_of_their_own() -> None:
    config = small("seamless_m4t_v2")
    names = ("unit_hifi_gan_vocab_size", "t2u_vocab_size", "char_vocab_size", "vocab_size")
    assert [config[name] for name in names] == [256, 264, 272, 280]  # in the order of the source
    text = mapping(small("glm_image"), ("text_config",))
    assert (text["vision_vocab_size"], text["vocab_size"]) == (256, 264)


def test_a_vocabulary_is_as_long_in_all_configs_that_have_it() -> None:
    config = small("blt")
    assert config["encoder_hash_byte_group_vocab"] == 264
    towers = ("patcher_config", "encoder_config", "decoder_config")
    assert {mapping(config, (name,))["vocab_size"] for name in towers} == {config["vocab_size"]}
    from transformers import CONFIG_MAPPING

    wished = shrink(CONFIG_MAPPING["csm"](), {"text_vocab_size": 256}).data
    assert wished["text_vocab_size"] == 256
    assert wished["vocab_size"] == 264


def test_lengths_are_no_widths_and_no_vocabularies() -> None:
    short = small("clip", text_config={"max_position_embeddings": 64})
    # No fewer than the source has: a processor may fill them all.
    assert mapping(short, ("text_config",))["max_position_embeddings"] == 66
    assert mapping(short, ("text_config",))["hidden_size"] == 64
    config = small("ctrl")
    assert (config["n_positions"], config["vocab_size"]) == (256, 264)


@pytest.mark.parametrize("model_type", ["llama", "qwen3_moe", "bert", "deepseek_v3"])
def test_small_has_counts_that_four_divides(model_type: str) -> None:
    config = small(model_type, "small")
    names = ("num_attention_heads", "num_key_value_heads", "num_local_experts")
    assert all(config[name] % 4 == 0 for name in names if name in config)


def test_what_a_class_needs_alike_is_alike_and_says_so() -> None:
    from transformers import CLIPConfig

    tree = shrink(CLIPConfig(), {}, alike=Alike(widths=frozenset({768})))
    at = ("vision_config", "hidden_size")
    assert mapping(tree.data, at[:1])["hidden_size"] == 64
    assert tree.reasons[at] == "rule width: as wide as the text, the class needs it"
    plain = shrink(CLIPConfig(), {}, alike=Alike(parts=True))
    assert "the class needs it" in plain.reasons["text_config", "num_attention_heads"]


@pytest.mark.parametrize("size", SIZES.values(), ids=[*SIZES])
def test_the_sizes_to_choose_from_go_together(size: Size) -> None:
    """Widths are of whole eights and stand in their order, each number once, ranks and states of
    whole fours, the first of what is split as often as the size is; heads are divided by each
    number of key-value heads, and experts by each number of groups."""
    assert max(size.narrower) < size.width < min(size.wider)
    lists = (size.narrower, size.wider, size.ffn, size.expert_ffn, *size.choices.values())
    assert all(len({*numbers}) == len(numbers) for numbers in lists)
    wide = ("head dim", "rope dim", "expert width", "mels")
    widths = (*size.beside(narrow=True), *(n for name in wide for n in size.choices[name]))
    assert all(number % 8 == 0 for number in (size.width, size.positions, size.vocabulary, *widths))
    assert all(size.choices[name][0] % size.parallel == 0 for name in {*SPLIT} & {*size.choices})
    assert all(number % 4 == 0 for name in ("rank", "state") for number in size.choices[name])
    assert IMAGE % (2 * PATCH) == 0  # an even grid: patches are merged two by two
    for parts, wholes, least in (("kv heads", "heads", 2), ("groups", "experts", 2)):
        for part in size.choices[parts]:
            assert any(n % part == 0 and n >= least * part for n in size.choices[wholes])


# --- the puzzle by itself -------------------------------------------------------------------------


def test_the_first_choices_that_keep_the_laws_and_differ_are_taken() -> None:
    unknowns = [
        Unknown(name=("heads", 32), choices=(4, 8)),
        Unknown(name=("kv heads", 8), choices=(2, 4)),
        Unknown(name=("top k", 2), choices=(2,)),
    ]
    law = Law(over=(("heads", 32), ("kv heads", 8)), holds=lambda h, kv: h % kv == 0 and kv < h)
    made = Puzzle(unknowns=unknowns, laws=[law]).solved()
    assert made == {("heads", 32): 8, ("kv heads", 8): 4, ("top k", 2): 2}
    alike = Puzzle(unknowns=unknowns, laws=[law]).solved(distinct=False)
    assert alike == {("heads", 32): 4, ("kv heads", 8): 2, ("top k", 2): 2}


def test_products_differ_from_what_is_there() -> None:
    heads, dim = ("heads", 32), ("head dim", 128)
    unknowns = [Unknown(name=heads, choices=(4,)), Unknown(name=dim, choices=(16, 24))]
    product = Product(over=(heads, dim), was=4096)
    apart = Puzzle(unknowns=unknowns, products=[product], taken=[(64, 2048)]).solved()
    assert apart[dim] == 24
    tied = Puzzle(unknowns=unknowns, products=[product], taken=[(64, 4096)]).solved()
    assert tied[dim] == 16


def test_laws_that_nothing_keeps_are_broken_as_little_as_may_be() -> None:
    unknowns = [Unknown(name=("heads", 32), choices=(4, 6))]
    laws = [
        Law(over=(("heads", 32),), holds=lambda h: h % 5 == 0),
        Law(over=(("heads", 32),), holds=lambda h: h % 3 == 0),
    ]
    assert Puzzle(unknowns=unknowns, laws=laws).solved() == {("heads", 32): 6}


@given(st.lists(st.integers(100, 110), min_size=1, max_size=7))
@settings(deadline=None)
def test_numbers_coincide_as_they_did(before: list[int]) -> None:
    """With choices enough: equal ones are one unknown, and others differ."""
    names = dict.fromkeys(("rank", number) for number in before)
    unknowns = [Unknown(name=name, choices=SIZES["tiny"].choices["rank"]) for name in names]
    made = Puzzle(unknowns=unknowns).solved()
    assert all(a != b for a, b in itertools.combinations(made.values(), 2))


# --- tensor parallelism ---------------------------------------------------------------------------


@pytest.mark.parametrize(("model_type", "size"), [("llama", "tiny"), ("mixtral", "small")])
def test_a_degree_that_is_asked_for_divides_all_that_is_split(model_type: str, size: str) -> None:
    from transformers import CONFIG_MAPPING

    config = shrink(CONFIG_MAPPING[model_type](), {}, sized(size, 8)).data
    assert parallel(config) % 8 == 0
    assert config["num_attention_heads"] * 8 <= config["hidden_size"]


def test_a_degree_that_the_source_does_not_have_is_refused() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from tinybuild.model.resized import resize

    section: Model = {
        "architecture": "auto",
        "config": {},
        "shrink": "auto",
        "size": "tiny",
        "tensor_parallel": 8,
        "dtype": "float32",
    }
    source = LlamaConfig(num_key_value_heads=2)
    refusal = refused(resize, source, section, None, LlamaForCausalLM, 0)
    assert "tensor_parallel (8) does not divide num_key_value_heads (2)" in refusal.what
    assert refusal.hint == "tensor_parallel: 2"
    assert refusal.key == ("model", "tensor_parallel")
    section |= {"tensor_parallel": 2, "config": {"vocab_size": 255}}
    odd = refused(resize, source, section, None, LlamaForCausalLM, 0)
    assert "does not divide the vocabulary (255)" in odd.what


def test_heads_that_stand_beside_the_width_fill_groups_with_it() -> None:
    """DetrForSegmentation refuses 64 + 4 channels; its source has 256 + 8."""
    made = small("detr")
    assert (made["d_model"] + made["encoder_attention_heads"]) % 8 == 0
