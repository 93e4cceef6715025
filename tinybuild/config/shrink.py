"""A full-size config becomes the smallest coherent one, by rule.

The rules look at names and values in the config tree, never at the model's name. Each gives the key
it changes a reason; the recipe's own keys are left as they are, and what depends on them follows.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from tinybuild.config.overrides import BY_LAYER
from tinybuild.ids import found, is_id, replaced

Path = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Target sizes: width = heads x head_dim; the kv heads divide the heads."""

    width: int
    heads: int
    head_dim: int
    kv_heads: int
    ffn: int
    expert_ffn: int
    rank: int
    state: int
    positions: int
    vocabulary: int


# tiny: the smallest that still divides everywhere (four heads, two key-value heads, three rotary
# sections in half a head). small: what serving engines and flash kernels accept (head_dim 32,
# widths that are multiples of 128).
SIZES: Mapping[str, Size] = {
    "tiny": Size(
        width=64,
        heads=4,
        head_dim=16,
        kv_heads=2,
        ffn=128,
        expert_ffn=64,
        rank=16,
        state=16,
        positions=512,
        vocabulary=256,
    ),
    "small": Size(
        width=256,
        heads=8,
        head_dim=32,
        kv_heads=2,
        ffn=512,
        expert_ffn=256,
        rank=32,
        state=16,
        positions=1024,
        vocabulary=1024,
    ),
}
EXPERTS, TOP_K, QUERIES, WINDOW = 4, 2, 8, 8
IMAGE, PATCH, MELS, FRAMES = 64, 8, 32, 64
NORM_GROUPS = 32  # groups of a group norm that some classes fix
BLOCKS = 2  # in each stage of a pyramid: one that changes the resolution, one that does not


def shrink(
    config: Any, wishes: Mapping[str, Any], size: str = "tiny", layers: int | None = None
) -> Tree:
    """The config tree of `config` (an object with its sub-configs), made small by the rules.

    `wishes` are the recipe's overrides under the class's own names: they stay, and what depends on
    them follows. `layers` is the depth wanted instead of the least that has every kind of layer.
    """
    tree = Tree(config.to_dict(), wishes, SIZES[size], layers)
    for rule in RULES:
        rule(tree)
    return tree


class Tree:
    """A config as nested mappings, while it shrinks: `source` as it was, `data` as it will be."""

    def __init__(
        self, source: Mapping[str, Any], wishes: Mapping[str, Any], size: Size, layers: int | None
    ):
        self.source, self.size, self.layers = source, size, layers
        self.data = copy.deepcopy(dict(source))
        self.reasons: dict[Path, str] = {}
        self.fixed: dict[Path, Any] = dict(_leaves(wishes))
        for path, value in self.fixed.items():
            _put(self.data, path, copy.deepcopy(value))

    def nodes(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Every config of the tree with its path, the whole first."""

        def walk(path: Path, node: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
            yield path, node
            for name, value in node.items():
                if not isinstance(value, dict) or name in PLAIN or name == BY_LAYER:
                    continue
                if all(isinstance(key, str) for key in value) and not is_id(name):
                    yield from walk((*path, name), value)

        yield from walk((), self.data)

    def was(self, path: Path) -> Any:
        """The source's value at a path; None where there is none."""
        value: Any = self.source
        for name in path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(name)
        return value

    def set(self, path: Path, value: Any, reason: str) -> None:
        """Give a key its value, unless the recipe has."""
        if path in self.fixed:
            return
        _put(self.data, path, value)
        if value == self.was(path):
            self.reasons.pop(path, None)
        else:
            self.reasons[path] = reason

    def touches(self, path: Path) -> bool:
        """Whether the recipe sets this key, or something in it."""
        return any(path[: len(fixed)] == fixed[: len(path)] for fixed in self.fixed)

    def copy(self) -> Tree:
        """The same tree, to try something on."""
        other = copy.copy(self)
        other.data, other.reasons = copy.deepcopy(self.data), dict(self.reasons)
        return other

    @property
    def overrides(self) -> dict[str, Any]:
        """The changed keys with their values, nested: overrides of the source's config."""
        made: dict[str, Any] = {}
        for path in self.reasons:
            value: Any = self.data
            for name in path:
                value = value[name]
            _put(made, path, value)
        return made


# Mappings that are no configs: their keys are data.
PLAIN = frozenset(("id2label", "label2id", "task_specific_params", "quantization_config"))


def _leaves(data: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, value in data.items():
        if isinstance(value, Mapping) and value and name not in PLAIN:
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _put(data: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        inner = data.get(name)
        if not isinstance(inner, dict):
            inner = data[name] = {}
        data = inner
    data[path[-1]] = value


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole_list(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list | tuple) and bool(value) and all(_whole(item) for item in value)


# --- what a name measures ------------------------------------------------------------------------

# The first pattern that matches a whole name decides. "" is left to other rules, or as it is.
KINDS: tuple[tuple[str, str], ...] = tuple(
    (kind, pattern.replace("~", "(?:[a-z0-9]+_)*"))
    for kind, pattern in (
        ("", r"~(kernel|stride|dilation|padding|dropout)(_~)?(size|sizes)?"),
        ("", r"~(head_)?(chunk_size_feed_forward|chunk_size_lm_head|chunksize)"),
        ("", r"type_vocab_size|modality_type_vocab_size|num_(image_)?channels"),
        ("vocabulary", r"~vocab_size|~vocab_size_per_layer_input|vocab_size_~|~group_vocab"),
        ("vocabulary", r"~codebook_size|num_embeddings|num_codevectors_~|num_hash_buckets"),
        ("vocabulary", r"num_(bpe|wordpiece)_labels|ngram_vocab_size_~"),
        ("kv heads", r"~(num|n)_(key_value|kv)(_attention)?_heads|linear_num_key_heads"),
        ("kv heads", r"multi_query_group_num|num_query_groups"),
        ("heads", r"~(num|n)_~heads?|~(attention|attn)_heads|n_heads?"),
        ("rope dim", r"qk_rope_head_dim"),
        (
            "head dim",
            r"~head_(dim|size)|d_kv|d_head|~dim_head|kv_channels|~headdim|mamba_d_head",
        ),
        ("rank", r"~rank"),
        ("dt rank", r"~(dt|time_step)_rank"),
        ("state", r"~state_size|~d_state"),
        ("expert width", r"~(moe|expert|experts)_~(intermediate_size|hidden_size|ffn_~size|dim)"),
        ("experts", r"~(num|n)_(routed_|local_)?experts|moe_num_experts|zero_expert_num"),
        ("top k", r"~experts?_per_tok(en)?|moe_top_?k|moe_k|top_k_experts|num_selected_experts"),
        ("groups", r"n_group|num_expert_groups?"),
        ("top groups", r"topk_group|num_limited_groups|topk_groups"),
        (
            "ffn width",
            r"~(intermediate|ffn|mlp)_~(size|dim)|d_ff|dff|ffn_dim|mlp_dim|dim_ff|d_inner|"
            r"~feed_?forward(_~)?(size|dim)|~dim_feedforward|~linear_units|intermediate_size_mlp",
        ),
        ("positions", r"~max_~position_embeddings(_~)?|n_positions|n_ctx|max_~positions"),
        ("positions", r"max_seq_len|model_max_length|position_embedding_size|max_ep_len"),
        ("window", r"sliding_window(_size)?|attention_chunk_size|local_attention(_window_len)?"),
        ("window", r"attention_window(_size)?|index_topk|keep_window_size"),
        ("pooled", r"index_kpool|index_block_size|max_depth"),
        ("grid", r"~pos_emb_(height|width)|posemb_grid_size|visual_prompt_size"),
        ("norm channels", r"base_channels"),
        ("positions", r"max_num_patches|max_image_tokens"),
        ("queries", r"num_(queries|query_tokens|latents|detection_tokens)|~n_latents|~num_latents"),
        ("queries", r"num_denoising|two_stage_num_proposals|latent_query_num|num_prototypes"),
        ("mels", r"model_in_dim|~mel_bins|num_mels|n_mels|input_feat_per_channel|input_feat_size"),
        (
            "width",
            r"~hidden_size(_~)?|~hidden_dim|d_model|n_embd|dim|~emb_dim|~embed_dim|"
            r"~embedding_(size|dim)|~proj_(size|dim|dims)|~projection_(size|dim|in_dim|out_dim)|"
            r"project_dim|~(in|out|input|output)_dim|~hidden_channels|out_dim|~fpn_feature_size|"
            r"~width|~units|embedding_dim|~mask_feature_size|classifier_proj_size|"
            r"~(output|input)_size|xvector_output_dim|codebook_dim|codevector_dim|vit_dim|mask_dim|"
            r"merged_hidden_size|shape_size|~coordinate_size|entity_emb_size|upsample_groups|"
            r"~initial_channel|~bottleneck_size|d_latents|~inplanes|~dim|"
            r"~quantization_~dimension|flow_size|latent_dim|~predictor_channels|~filter_channels",
        ),
        ("channels", r"~channels?|num_filters|n_filters"),
    )
)


def kind(name: str) -> str:
    """What a config key of this name measures, as far as the rules know."""
    for found_kind, pattern in KINDS:
        if re.fullmatch(pattern, name):
            return found_kind
    return ""


def _scalars(tree: Tree, *kinds: str) -> Iterator[tuple[Path, dict[str, Any], str, int]]:
    """(path of the node, node, key, source's value) of each whole number of these kinds."""
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            if _whole(value) and not is_id(name) and kind(name) in kinds:
                was = tree.was((*path, name))
                yield path, node, name, was if _whole(was) else value


# --- rules ---------------------------------------------------------------------------------------


def widths(tree: Tree) -> None:
    """Everything as wide as a layer gets one width, so that whatever is tied stays tied.

    Where the recipe sets a width, all keys that had the same value in the source follow it.
    """
    wished: dict[int, int] = {}
    for path, _, name, was in _scalars(tree, "width"):
        if (*path, name) in tree.fixed and was:
            wished[was] = tree.fixed[(*path, name)]
    for path, node, name, was in _scalars(tree, "width", "channels"):
        if was in wished:
            tree.set((*path, name), wished[was], "rule width: as the recipe's")
        elif node[name] > tree.size.width:
            tree.set((*path, name), tree.size.width, "rule width")


def multiples(tree: Tree) -> None:
    """A width that joins several neighbours (merged patches, several layers) stays the same
    multiple of its tower's width, unless it is the width of another tower."""
    towers = {width(_mapping(tree.was(path))) for path, _ in tree.nodes()}
    for path, node, name, was in _scalars(tree, "width"):
        before, now = width(_mapping(tree.was(path))), width(node)
        if name in WIDTH_NAMES or not before or not now or was in towers:
            continue
        if was % before == 0 and 2 <= was // before <= 16 and JOINED.fullmatch(name):
            tree.set((*path, name), was // before * now, "rule width: a multiple as in the source")


JOINED = re.compile(r".*(out|output|input|in|merged)_(dim|hidden_size|size)|merged_.*")


def plain_sizes(tree: Tree) -> None:
    """Sizes that nothing else depends on."""
    size = tree.size
    targets = {
        "vocabulary": size.vocabulary,
        "expert width": size.expert_ffn,
        "rank": size.rank,
        "dt rank": max(1, size.width // 16),
        "state": size.state,
        "positions": size.positions,
        "window": WINDOW,
        "queries": QUERIES,
        "mels": MELS,
        "pooled": 4,
        "grid": IMAGE // PATCH,
        "norm channels": NORM_GROUPS,
    }
    for path, node, name, _ in _scalars(tree, *targets):
        target = targets[kind(name)]
        if node[name] > target:
            tree.set((*path, name), target, f"rule {kind(name)}")


def by_layer_sizes(tree: Tree) -> None:
    """Lists that give each layer its own size: every entry shrinks as the plain key would."""
    size = tree.size
    targets = {
        "width": size.width,
        "ffn width": size.ffn,
        "expert width": size.expert_ffn,
        "experts": EXPERTS,
        "top k": TOP_K,
        "head dim": size.head_dim,
        "kv heads": size.kv_heads,
        "window": WINDOW,
        "positions": size.positions,
        "vocabulary": size.vocabulary,
    }
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            target = targets.get(kind(name))
            if target and _whole_list(value) and not is_id(name) and len(set(value)) == 1:
                new = [min(item, target) for item in value]
                tree.set((*path, name), new, f"rule {kind(name)}")


def feed_forward(tree: Tree) -> None:
    """The inner width: twice the width, whatever the source's ratio."""
    for path, node, name, _ in _scalars(tree, "ffn width"):
        target = 2 * (width(node) or tree.size.width)
        if node[name] > target:
            tree.set((*path, name), target, "rule ffn width")


WIDTH_NAMES = ("hidden_size", "d_model", "n_embd", "embed_dim", "dim", "hidden_dim", "emb_dim")


def width(node: Mapping[str, Any]) -> int | None:
    """The width of a config's layers."""
    for name in WIDTH_NAMES:
        value = node.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return None


def attention(tree: Tree) -> None:
    """Heads divide the width, key-value heads the heads; a head is as wide as what it gets."""
    for path, node in tree.nodes():
        wide = width(node) or tree.size.width
        was_wide = width(_mapping(tree.was(path))) or 0
        heads = {n: v for n, v in node.items() if _whole(v) and v > 0 and kind(n) == "heads"}
        for name, value in heads.items():
            most = min(value, tree.size.heads) if (*path, name) not in tree.fixed else value
            fits = [h for h in range(1, most + 1) if wide % h == 0]
            tree.set((*path, name), fits[-1], "rule heads")
        main = next((n for n in MAIN_HEADS if n in heads), next(iter(heads), None))
        if main is None:
            continue
        now, before = node[main], _number(tree.was((*path, main)), heads[main])
        for name, value in list(node.items()):
            if not _whole(value) or value <= 0:
                continue
            if kind(name) == "kv heads":
                own = _sibling(name, node, main)
                number, had = node[own], _number(tree.was((*path, own)), before)
                if value == had:
                    new = number
                else:
                    most = min(value, tree.size.kv_heads)
                    new = next(k for k in range(most, 0, -1) if number % k == 0)
                tree.set((*path, name), new, "rule kv heads")
            elif kind(name) in ("head dim", "rope dim"):
                new = min(value, tree.size.head_dim)
                if was_wide and value * before == was_wide and wide % now == 0:
                    new = wide // now
                elif was_wide and value * before == 2 * was_wide and "attention" in name:
                    new = 2 * wide // now  # zamba2: attention over a doubled width
                tree.set((*path, name), new, f"rule {kind(name)}")


MAIN_HEADS = (
    "num_attention_heads",
    "num_heads",
    "n_head",
    "n_heads",
    "attention_heads",
    "encoder_attention_heads",
    "decoder_attention_heads",
)


def _sibling(name: str, node: Mapping[str, Any], main: str) -> str:
    """The heads that these key-value heads belong to: of the same prefix (swa_), or the main."""
    prefix = re.split(r"num_|n_", name)[0]
    for other in node:
        if prefix and other.startswith(prefix) and kind(other) == "heads" and _whole(node[other]):
            return other
    return main


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any, other: int) -> int:
    return value if _whole(value) else other


def latent_attention(tree: Tree) -> None:
    """Multi-head latent attention: qk_head_dim is the rotated and the plain part together."""
    for path, node in tree.nodes():
        rope, plain = node.get("qk_rope_head_dim"), node.get("qk_nope_head_dim")
        if not (_whole(rope) and _whole(plain)):
            continue
        if _whole(node.get("qk_head_dim")):
            tree.set((*path, "qk_head_dim"), rope + plain, "derived: nope + rope")
        was = {name: tree.was((*path, name)) for name in LATENT}
        if _whole(was["head_dim"]) and was["head_dim"] == was["qk_rope_head_dim"]:
            tree.set((*path, "head_dim"), rope, "derived: the rotated part")
        elif _whole(was["head_dim"]) and was["head_dim"] == was["qk_head_dim"]:
            tree.set((*path, "head_dim"), rope + plain, "derived: nope + rope")


LATENT = ("head_dim", "qk_rope_head_dim", "qk_head_dim")


def state_space(tree: Tree) -> None:
    """Heads of state-space and linear attention cover the widened layer, as in the source."""
    for path, node in tree.nodes():
        for heads, dim in STATE_HEADS:
            now, before = node.get(heads), tree.was((*path, heads))
            had = tree.was((*path, dim))
            if not (_whole(now) and _whole(before) and _whole(had) and _whole(node.get(dim))):
                continue
            was_wide, wide = width(_mapping(tree.was(path))), width(node)
            if was_wide and wide and before * had % was_wide == 0:
                new = before * had // was_wide * wide // now
                tree.set((*path, dim), new, "rule state heads: as wide as in the source")
        for name in STATE_GROUPS:
            value = node.get(name)
            heads_now = next((node[h] for h, _ in STATE_HEADS if _whole(node.get(h))), None)
            if _whole(value) and value > 2 and heads_now:
                tree.set((*path, name), math.gcd(2, heads_now), "rule state groups")
        value = node.get("mamba_d_ssm")
        if _whole(value) and _whole(node.get("mamba_n_heads")):
            inner = node["mamba_n_heads"] * node.get("mamba_d_head", 1)
            tree.set((*path, "mamba_d_ssm"), inner, "derived: heads x head dim")


STATE_GROUPS = ("n_groups", "mamba_n_groups", "mamba_ngroups")
STATE_HEADS = (
    ("mamba_n_heads", "mamba_d_head"),
    ("mamba_num_heads", "mamba_head_dim"),
    ("n_mamba_heads", "mamba_headdim"),
    ("num_heads", "head_dim"),
)


def experts(tree: Tree) -> None:
    """A few experts in at most two groups; each group has as many as are chosen from it."""
    for path, node, name, _ in _scalars(tree, "experts"):
        if node[name] > EXPERTS:
            tree.set((*path, name), EXPERTS, "rule experts")
    for path, node, name, _ in _scalars(tree, "groups"):
        if node[name] > 2:
            tree.set((*path, name), 2, "rule expert groups")
    for path, node, name, _ in _scalars(tree, "top groups"):
        if node[name] > 1:
            tree.set((*path, name), 1, "rule expert groups")
    for path, node, name, _ in _scalars(tree, "top k"):
        if node[name] > TOP_K:
            tree.set((*path, name), TOP_K, "rule top k")


def rotary(tree: Tree) -> None:
    """Rotary sections fill half a head; lists of factors have as many entries as frequencies."""
    for path, node in tree.nodes():
        rope = node.get("rope_parameters")
        if isinstance(rope, dict) and "rope_theta" in rope and "mrope_section" not in rope:
            sections = _sections(node.get("model_type"))
            if sections:
                share = rope.get("partial_rotary_factor", 1.0) or 1.0
                half = int((_head_dim(node) or tree.size.head_dim) * share) // 2
                tree.set(
                    (*path, "rope_parameters", "mrope_section"),
                    _shares(sections, half),
                    "rule rotary sections: the class's own are for the source's head",
                )
        if "rope_type" in node or "mrope_section" in node:
            owner = _mapping_at(tree.data, path[:-1])
            _rotary(tree, path, node, owner)
        share = node.get("rotary_dim")
        before = _head_dim(_mapping(tree.was(path)))
        if _whole(share) and before:
            now = _head_dim(node) or tree.size.head_dim
            new = max(2, share * now // before // 2 * 2)
            tree.set((*path, "rotary_dim"), min(new, now), "rule rotary dim")


def _sections(model_type: Any) -> list[int] | None:
    """The rotary sections that a model's own code falls back to, which no config shows."""
    import importlib
    import inspect

    from transformers.models.auto.configuration_auto import model_type_to_module_name

    if not isinstance(model_type, str) or not model_type:
        return None
    module = model_type_to_module_name(model_type)
    try:
        modelling = importlib.import_module(f"transformers.models.{module}.modeling_{module}")
    except ImportError:
        return None
    pattern = r"\"mrope_section\", \[([\d, ]+)\]"
    match = re.search(pattern, inspect.getsource(modelling))
    return [int(number) for number in match[1].split(",")] if match else None


def _mapping_at(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    value: Any = data
    for name in path:
        value = value[name]
    return dict(value)


def _head_dim(node: Mapping[str, Any]) -> int | None:
    """What a head's query is wide: given, or the width shared among the heads."""
    for name in ("qk_rope_head_dim", "head_dim", "kv_channels", "attention_head_dim"):
        value = node.get(name)
        if isinstance(value, int) and value > 0:
            return value
    wide, heads = width(node), next((node[n] for n in MAIN_HEADS if _whole(node.get(n))), None)
    return wide // heads if wide and heads else None


def _rotary(tree: Tree, path: Path, rope: dict[str, Any], owner: Mapping[str, Any]) -> None:
    head = owner
    while _head_dim(head) is None and path:
        path_up = path[:-2]
        head = _mapping_at(tree.data, path_up)
        if not path_up:
            break
    dim = _head_dim(head) or tree.size.head_dim
    share = rope.get("partial_rotary_factor", owner.get("partial_rotary_factor", 1.0)) or 1.0
    half = int(dim * share) // 2
    sections = rope.get("mrope_section")
    if _whole_list(sections):
        assert sections is not None
        tree.set((*path, "mrope_section"), _shares(sections, half), "rule rotary sections")
    for name in ("long_factor", "short_factor"):
        factors = rope.get(name)
        if isinstance(factors, list) and len(factors) > half:
            tree.set((*path, name), factors[:half], "rule rotary factors")
    original = rope.get("original_max_position_embeddings")
    most = tree.was((*path[:-1], "max_position_embeddings"))
    now = owner.get("max_position_embeddings")
    if _whole(original) and _whole(most) and _whole(now):
        assert isinstance(now, int)
        new = max(1, original * now // most)
        tree.set((*path, "original_max_position_embeddings"), new, "rule positions")


def _shares(parts: list[int], total: int) -> list[int]:
    """`parts` scaled to a sum of `total`, each at least 1 while there is enough."""
    whole = sum(parts)
    made = [max(1, part * total // whole) if part else 0 for part in parts]
    while sum(made) > total and max(made) > 0:
        made[made.index(max(made))] -= 1
    index = 0
    while sum(made) < total:
        if parts[index % len(parts)]:
            made[index % len(made)] += 1
        index += 1
    return made


# --- layers --------------------------------------------------------------------------------------

DEPTH = re.compile(
    r"(?:[a-z0-9]+_)*(num|n)_(?:[a-z0-9]+_)*layers?|(?:[a-z0-9]+_)*(encoder|decoder)_layers|depth|"
    r"(?:[a-z0-9]+_)*depth|layers|[lrx]_layers|num_block_layers|num_blocks|"
    r"num_self_attends_per_block|(?:[a-z0-9]+_)*prenet_layers"
)
NO_DEPTH = re.compile(
    r"num_(conv|feat_extract|residual|sparse)_(?:[a-z0-9]+_)*layers|.*kv_shared_layers|"
    r"max_window_layers|num_nextn_predict_layers|max_depth|iou_head_depth|num_feat_extract_layers|"
    r"num_mtp_layers|cross_attention_layers|num_fpn_layers|.*_conv_layers|num_upsample_layers|"
    r"num_layers_per_stack|.*wavenet_layers"
)
# Layers whose outputs are taken: as many are needed as the list is long.
TAKEN = re.compile(
    r".*(out_indices|hook_ids|target_layers|layers_indices|state_indices|return_idx|"
    r"extract_layers|target_layer_ids|feature_layers?|backbone_indices)"
)
# Layers that are of another kind than those that are not in the list.
MEMBERS = re.compile(
    r".*(_indexes|_indices|_layers|_layer_ids|_layer_idxs|attention_blocks|_ids|_idxs|full_attn_idxs)"
)


# The first (or last) so many layers are of another kind.
FIRST = re.compile(
    r"first_k_dense_replace|num_first_(?:[a-z0-9]+_)*layers|max_window_layers|"
    r"(num|n)_dense_layers|moe_layer_start_index|num_hash_layers"
)
LAST = re.compile(r"num_kv_shared_layers|num_last_(?:[a-z0-9]+_)*layers")


def depth(tree: Tree) -> None:
    """One layer of each distinct kind, the lists by layer and the layer numbers cut alike."""
    towers = [
        (path, name, node[name])
        for path, node in tree.nodes()
        for name in node
        if _is_depth(name, node[name])
    ]
    for path, node in tree.nodes():
        stacks: dict[tuple[int, int | None], list[str]] = {}
        for name, value in node.items():
            if _is_depth(name, value):
                number = _number(tree.was((*path, name)), value)
                stacks.setdefault((number, tree.fixed.get((*path, name))), []).append(name)
        elsewhere = _taken_elsewhere(tree, path, towers)
        for (number, wished), names in sorted(stacks.items(), key=repr, reverse=True):
            kept = _layers(tree, path, node, number, wished, elsewhere)
            for name in names:
                tree.set((*path, name), len(kept), "rule depth: one layer of each kind")


def _is_depth(name: str, value: Any) -> bool:
    named = DEPTH.fullmatch(name) and not NO_DEPTH.fullmatch(name)
    return bool(named) and _whole(value) and value > 0


def _is_taken(name: str, value: Any, most: int) -> bool:
    named = TAKEN.fullmatch(name) and _whole_list(value)
    return bool(named) and all(-most <= item <= most for item in value)


def _taken_elsewhere(
    tree: Tree, tower: Path, towers: list[tuple[Path, str, int]]
) -> list[tuple[Path, list[int]]]:
    """Lists of taken layers that stand in another config than the layers they number.

    They belong to the tower beside them that sees or hears, and has that many layers.
    """
    found_lists = []
    for path, node in tree.nodes():
        for name, value in node.items():
            if not (TAKEN.fullmatch(name) and _whole_list(value)):
                continue
            if any(place == path for place, _, _ in towers):
                continue
            beside = [
                place
                for place, _, number in towers
                if place
                and re.search(r"vision|visual|backbone|audio|encoder", place[-1])
                and _is_taken(name, value, number)
            ]
            if beside and beside[0] == tower:
                found_lists.append(((*path, name), list(value)))
    return found_lists


def _layers(
    tree: Tree,
    path: Path,
    node: dict[str, Any],
    number: int,
    wished: int | None,
    elsewhere: list[tuple[Path, list[int]]],
) -> list[int]:
    """The layers to keep of `number`; cuts the lists and numbers that speak of layers alike.

    `wished` is the recipe's own depth: as many, the kinds first, and the pattern again where that
    is deeper than the source.
    """
    by_layer = {
        name: value
        for name, value in node.items()
        if isinstance(value, list | tuple)
        and len(value) == number > 1
        and not TAKEN.fullmatch(name)
        and not is_id(name)
        and not _numbers_layers(name, value, number)
    }
    members = {name: value for name, value in node.items() if _numbers_layers(name, value, number)}
    taken = {
        (*path, name): list(value) for name, value in node.items() if _is_taken(name, value, number)
    }
    taken.update(elsewhere)
    bounds = {
        name: value if FIRST.fullmatch(name) else number - value
        for name, value in node.items()
        if _whole(value) and 0 < value <= number and (FIRST.fullmatch(name) or LAST.fullmatch(name))
    }

    own = {int(index): value for index, value in (node.get(BY_LAYER) or {}).items()}

    def mark(index: int) -> str:
        parts = [repr(own.get(index))] + [repr(value[index]) for value in by_layer.values()]
        parts += [str(index in value) for value in members.values()]
        parts += [str(index < bound) for bound in bounds.values()]
        return "|".join(parts)

    kinds: dict[str, int] = {}
    for index in range(number):
        kinds.setdefault(mark(index), index)
    kept = sorted(kinds.values())
    # The last layer keeps its kind: some classes look at it (shared keys, norms).
    first = kinds[mark(number - 1)]
    if first != kept[-1]:
        kept.remove(first)
        kept.append(number - 1)
    least = tree.layers or 2
    least = max(least, *(len(set(value)) for value in taken.values()), 0)
    if not by_layer:
        least = max(least, _period(node), *(len(cycle) for cycle in _cycles(node, number)), 0)
    extra = [index for index in range(number) if index not in kept]
    if wished is not None:
        kept = sorted([*kept, *extra][:wished])
        kept += [index % number for index in range(len(kept), wished)]
    else:
        kept = sorted([*kept, *extra[: max(0, min(least, number) - len(kept))]])
    reason = "rule depth: the kept layers'"
    for name, value in by_layer.items():
        tree.set((*path, name), [value[index] for index in kept], reason)
    for name, value in members.items():
        places = [place for place, index in enumerate(kept) if index in value]
        tree.set((*path, name), places, reason)
    if own:
        cut = {place: own[index] for place, index in enumerate(kept) if index in own}
        tree.set((*path, BY_LAYER), _smaller(cut, node), reason)
    for name, bound in bounds.items():
        before = sum(index < bound for index in kept)
        new = before if FIRST.fullmatch(name) else len(kept) - before
        tree.set((*path, name), new, reason)
    for place, numbers in taken.items():
        tree.set(place, _spread(numbers, number, len(kept)), "rule depth: layers taken")
    return kept


def _smaller(by_layer: Mapping[int, Any], node: Mapping[str, Any]) -> dict[int, Any]:
    """What differs by layer, with sizes that are the whole's where the whole was cut."""
    made: dict[int, Any] = {}
    for index, given in by_layer.items():
        made[index] = {
            name: min(value, node[name]) if _whole(value) and _whole(node.get(name)) else value
            for name, value in given.items()
        }
    return made


def _numbers_layers(name: str, value: Any, number: int) -> bool:
    """Whether a list holds the numbers of layers of another kind: rising, below the depth."""
    if not _whole_list(value) or not MEMBERS.fullmatch(name) or TAKEN.fullmatch(name):
        return False
    rising = all(a < b for a, b in itertools.pairwise(value))
    return rising and not is_id(name) and value[0] >= 0 and value[-1] < number


def _cycles(node: Mapping[str, Any], number: int) -> Iterator[list[str]]:
    """Lists of kinds shorter than the depth, which repeat."""
    for name, value in node.items():
        if not isinstance(value, list | tuple) or not CYCLE.fullmatch(name):
            continue
        if 1 < len(value) < number and all(isinstance(item, str) for item in value):
            yield list(value)


CYCLE = re.compile(r"block_types|attn_layers|.*(layer|block)_(types?|pattern)")
PERIODS = re.compile(
    r".*(_period|_interval|_step|_every|_freq|_frequency|_every_n(_layers)?|_pattern|"
    r"layer_freq|_every_k_layers|every_n_layers|_layer_step)"
)


def _period(node: Mapping[str, Any]) -> int:
    """The least depth that shows every kind where each n-th layer is of another."""
    most = 0
    for name, value in node.items():
        if _whole(value) and 1 < value <= 8 and PERIODS.fullmatch(name):
            offset = node.get(re.sub(r"_period$", "_offset", name))
            most = max(most, (offset + 1) if _whole(offset) and "_period" in name else value)
    return most


def _spread(taken: list[int], before: int, now: int) -> list[int]:
    """Numbers of layers in a shallower model: as many, in order, the last near the end."""
    if any(item < 0 for item in taken):
        return [max(item, -now) for item in taken]
    unique = sorted(set(taken))
    top = now if unique[-1] == before else now - 1
    places = {item: max(top - (len(unique) - 1 - rank), 0) for rank, item in enumerate(unique)}
    return [places[item] for item in taken]


# --- ids -----------------------------------------------------------------------------------------


def token_ids(tree: Tree) -> None:
    """Ids above the vocabulary move to distinct places at its top; equal ones stay equal."""
    sizes = [node["vocab_size"] for _, node in tree.nodes() if _whole(node.get("vocab_size"))]
    if not sizes:
        return
    top = min(sizes)
    large: list[int] = []
    small: set[int] = set()
    for _, node in tree.nodes():
        for name, value in node.items():
            if is_id(name):
                for number in found(name, value):
                    if number >= top:
                        large.append(number)
                    else:
                        small.add(number)
    free = (number for number in range(top - 1, 0, -1) if number not in small)
    moved = {number: next(free, None) for number in sorted(set(large), reverse=True)}
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            if value is None and re.fullmatch(r"(image|video|audio)_token_(id|index)", name):
                tree.set((*path, name), next(free), "rule ids: left open in the source")
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            if is_id(name) and any(number in moved for number in found(name, value)):
                new = replaced(name, value, lambda number: moved.get(number, number))
                tree.set((*path, name), new, "rule ids: inside the vocabulary")


# --- pyramids, images, sound ---------------------------------------------------------------------

WIDTH_LISTS = re.compile(
    r".*(hidden_sizes|embed_dims?|channels|channel_list|out_features|_dims?|conv_dim|embed_dim_per_stage|"
    r"feature_dims|planes|neck_hidden_sizes)"
)
HEAD_LISTS = re.compile(r".*(num_(attention_)?heads|heads_per_stage|num_attention_heads)")
BLOCK_LISTS = re.compile(
    r"depths|blocks_per_stage|(num_)?block_repeats|stage_num_blocks|block_sizes|layers"
)


def pyramids(tree: Tree) -> None:
    """Widths by stage shrink by one common power of two, so that equal ones stay equal."""
    lists: list[tuple[Path, str, list[int]]] = []
    for path, node in tree.nodes():
        if any(MULTIPLIER.fullmatch(name) for name in node):
            continue  # the factor shrinks what the lists say
        for name, value in node.items():
            if _whole_list(value) and WIDTH_LISTS.fullmatch(name) and max(value) > 16:
                lists.append((path, name, list(value)))
    uneven = [value for _, _, value in lists if len(set(value)) > 1]
    factor = 1
    if uneven:
        largest = max(max(value) for value in uneven)
        while largest // factor > tree.size.width:
            factor *= 2
    for path, name, value in lists:
        if len(set(value)) == 1:
            new = [min(item, tree.size.width) for item in value]
        else:
            new = [_rounded(item, factor) for item in value]
        tree.set((*path, name), new, "rule pyramid")
    for path, node, name, was in _scalars(tree, "width", "channels"):
        for place, other, value in lists:
            if place == path and was in value and len(set(value)) > 1:
                tree.set((*path, name), node[other][value.index(was)], "rule pyramid: as its list")
    for path, node in tree.nodes():
        wide = next((node[n] for p, n, _ in lists if p == path), None)
        groups = node.get("num_groups")
        if wide and _whole(groups):
            tree.set((*path, "num_groups"), math.gcd(groups, *wide), "rule pyramid groups")
        for name, value in list(node.items()):
            if _whole_list(value) and HEAD_LISTS.fullmatch(name):
                divisor = math.gcd(*value)
                new = [item // divisor for item in value]
                if wide and len(wide) == len(new):
                    new = [
                        next(h for h in range(min(h0, 4), 0, -1) if w % h == 0)
                        for h0, w in zip(new, wide, strict=True)
                    ]
                tree.set((*path, name), new, "rule pyramid heads")
            elif _whole_list(value) and BLOCK_LISTS.fullmatch(name):
                tree.set((*path, name), [min(i, BLOCKS) for i in value], "rule blocks in a stage")


SHARE = 16
MULTIPLIER = re.compile(r"width_coefficient|width_multiplier|depth_multiplier")


def multipliers(tree: Tree) -> None:
    """Factors of widths that the class itself fixes (MobileNet, EfficientNet)."""
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            if not isinstance(value, float):
                continue
            if MULTIPLIER.fullmatch(name):
                tree.set((*path, name), value / SHARE, "rule width factor")
                last = tree.was((*path, "hidden_dim"))
                if _whole(last):  # the last convolution's, which has the factor in it
                    tree.set((*path, "hidden_dim"), last // SHARE, "rule width factor")
            elif name == "depth_coefficient" and value > 1:
                tree.set((*path, name), 1.0, "rule depth factor")


DOUBLED = re.compile(
    r"embed_dim|num_filters|n_filters|encoder_hidden_size|patch_embeds_hidden_size"
)
STAGES = re.compile(r"depths|downsampling_ratios|upsampling_ratios|downsample_rates|query_stride")


def doubled_widths(tree: Tree) -> None:
    """A width that doubles from stage to stage is so small that the last is the width."""
    for path, node in tree.nodes():
        stages = [v for n, v in node.items() if STAGES.fullmatch(n) and isinstance(v, list | tuple)]
        if not stages:
            continue
        for name, value in list(node.items()):
            if not _whole(value):
                continue
            if DOUBLED.fullmatch(name):
                times = len(stages[0]) - ("depths" in node)
                least = 2 if "filters" in name else 8
                tree.set(
                    (*path, name),
                    min(value, max(least, tree.size.width >> times)),
                    "rule doubled width",
                )


def layout(tree: Tree) -> None:
    """Four coordinates and two sides of a box are put side by side to a whole width."""
    for path, node in tree.nodes():
        wide = width(node)
        if wide and _whole(node.get("coordinate_size")) and _whole(node.get("shape_size")):
            tree.set((*path, "coordinate_size"), wide // 8, "rule layout: 4 and 2 parts of a width")
            rest = (wide - 4 * (wide // 8)) // 2
            tree.set((*path, "shape_size"), rest, "rule layout: 4 and 2 parts of a width")


def exceptions(tree: Tree) -> None:
    """What no rule sees: a small file of keys by model type, each with its reason."""
    for path, node in tree.nodes():
        entry = _exceptions().get(str(node.get("model_type")))
        if entry:
            for inner, value in _leaves(entry["config"]):
                tree.set((*path, *inner), value, f"exception: {entry['reason']}")


@functools.cache
def _exceptions() -> Mapping[str, Any]:
    """config/exceptions.json: model type -> config (keys and values), reason, transformers (the
    version it was seen in)."""
    path = pathlib.Path(__file__).with_name("exceptions.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _rounded(item: int, factor: int) -> int:
    """An eighth that heads and groups divide; what is small already stays."""
    return item if item <= 8 else max(8, round(item / factor / 8) * 8)


def images(tree: Tree) -> None:
    """A small image of few patches; numbers of patches and of tokens an image follow."""
    for path, node in tree.nodes():
        for name in IMAGE_SIZES:
            value = node.get(name)
            if _whole(value) and value > IMAGE:
                tree.set((*path, name), IMAGE, "rule image size")
            elif _whole_list(value) and len(value) == 2 and max(value) > IMAGE:
                tree.set((*path, name), [min(v, IMAGE) for v in value], "rule image size")
        for name in ("patch_size",):
            value = node.get(name)
            if _whole(value) and value > PATCH:
                tree.set((*path, name), PATCH, "rule patch size")
            elif _whole_list(value) and max(value) > PATCH:
                tree.set((*path, name), [min(v, PATCH) for v in value], "rule patch size")
    for path, node in tree.nodes():
        window, stages = node.get("window_size"), node.get("depths")
        patch = node.get("patch_size")
        size = next((node[n] for n in IMAGE_SIZES if _whole(node.get(n))), IMAGE)
        if _whole(window) and isinstance(stages, list | tuple) and _whole(patch):
            least = max(1, size // patch >> (len(stages) - 1))
            if window > least:
                tree.set((*path, "window_size"), least, "rule window: the last stage's image")
        elif _whole(window) and _whole(patch) and window > size // patch // 2 > 0:
            tree.set((*path, "window_size"), size // patch // 2, "rule window: half an image")
    grids: dict[int, int] = {}
    for path, node in tree.nodes():
        size, patch = tree.was((*path, "image_size")), tree.was((*path, "patch_size"))
        if _whole(size) and _whole(patch) and patch:
            grids[size // patch] = node["image_size"] // node["patch_size"]
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            if _whole(value) and value in grids and SIDES.fullmatch(name):
                tree.set((*path, name), grids[value], "derived: patches on a side")
            if not _whole(value) or value < 4 or not COUNTS.fullmatch(name):
                continue
            new = _count(value, grids)
            if new is None:  # of an image that the config does not show
                side = max(grids.values(), default=IMAGE // PATCH)
                pooled = side // 2 if name == "mm_tokens_per_image" else side
                new = min(value, pooled**2)
            tree.set((*path, name), new, "derived: patches of an image")


def tiles(tree: Tree) -> None:
    """Sizes that a large image may be cut to: of as many of the small images as before."""
    for path, node in tree.nodes():
        points = node.get("image_grid_pinpoints")
        if not isinstance(points, list | tuple) or not all(_whole_list(p) for p in points):
            continue
        tile = math.gcd(*(edge for point in points for edge in point))
        sizes = [
            inner["image_size"] for _, inner in tree.nodes() if _whole(inner.get("image_size"))
        ]
        if tile > 0 and sizes:
            small = [[edge // tile * sizes[-1] for edge in point] for point in points]
            tree.set((*path, "image_grid_pinpoints"), small, "derived: of whole images")


IMAGE_SIZES = (
    *("image_size", "img_size", "resolution", "pretrain_image_size", "max_image_size"),
    *("max_img_size", "min_image_size", "spec_size", "crop_size"),
)
SIDES = re.compile(r"image_embedding_size|.*_grid_size|num_patches_per_side")
COUNTS = re.compile(
    r"num_patches|num_position_embeddings|image_seq_length|mm_tokens_per_image|num_image_tokens|"
    r"video_seq_length|vision_soft_tokens_per_image|num_image_tokens|image_seq_len|max_num_patches"
)


def _count(value: int, grids: Mapping[int, int]) -> int | None:
    """A number of patches or of pooled patches, for the new grid."""
    for before, now in grids.items():
        for more in (0, 1):
            side = math.isqrt(value - more)
            if side * side == value - more and side and before % side == 0:
                return int(max(1, now * side // before) ** 2 + more)
    return None


RULES: tuple[Callable[[Tree], None], ...] = (
    widths,
    multiples,
    plain_sizes,
    by_layer_sizes,
    feed_forward,
    attention,
    latent_attention,
    state_space,
    experts,
    rotary,
    depth,
    pyramids,
    multipliers,
    doubled_widths,
    images,
    tiles,
    layout,
    exceptions,
    token_ids,
)

__all__ = ["SIZES", "Path", "Size", "Tree", "kind", "shrink"]
