"""A config as a tree of keys, and what the name of a key measures."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from tinybuild.config.overrides import BY_LAYER
from tinybuild.keys import is_id

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


class Tree:
    """A config as nested mappings, while it shrinks: `source` as it was, `data` as it will be."""

    def __init__(
        self, source: Mapping[str, Any], wishes: Mapping[str, Any], size: Size, layers: int | None
    ):
        self.source, self.size, self.layers = source, size, layers
        self.data = copy.deepcopy(dict(source))
        self.reasons: dict[Path, str] = {}
        self.fixed: dict[Path, Any] = dict(leaves(wishes))
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


def leaves(data: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, value in data.items():
        if isinstance(value, Mapping) and value and name not in PLAIN:
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _put(data: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        inner = data.get(name)
        if not isinstance(inner, dict):
            inner = data[name] = {}
        data = inner
    data[path[-1]] = value


def whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def whole_list(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list | tuple) and bool(value) and all(whole(item) for item in value)


# The first pattern that matches a whole name decides. "" is left to other rules, or as it is.
KINDS: tuple[tuple[str, str], ...] = tuple(
    (kind, pattern.replace("~", "(?:[a-z0-9]+_)*"))
    for kind, pattern in (
        ("", r"~(kernel|stride|dilation|padding|dropout)(?:_[a-z0-9]+)*(size|sizes)?"),
        ("", r"~(head_)?(chunk_size_feed_forward|chunk_size_lm_head|chunksize)"),
        ("", r"type_vocab_size|modality_type_vocab_size|num_(image_)?channels"),
        ("", r"keypoint_decoder_dim"),  # 8 x 8 places and none
        ("", r"max_2d_position_embeddings"),  # boxes are in parts of a thousand
        ("text", r"max_text_len"),
        ("horizon", r"output_quantile_len|horizon_length"),
        ("vocabulary", r"~vocab_size|~vocab_size_per_layer_input|vocab_size_~|~group_vocab"),
        ("vocabulary", r"~codebook_size|num_embeddings|num_codevectors_~|num_hash_buckets"),
        ("vocabulary", r"num_(bpe|wordpiece|qa|object|attr)_labels|ngram_vocab_size_~"),
        (
            "kv heads",
            r"~(num|n)_(key_value|kv)(_attention)?_heads(_per_layer)?|linear_num_key_heads",
        ),
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
            r"~feed_?forward(?:_[a-z0-9]+)*(size|dim)|~dim_feedforward|~linear_units|intermediate_size_mlp",
        ),
        ("positions", r"~max_~position_embeddings(?:_[a-z0-9]+)*|n_positions|n_ctx|max_~positions"),
        (
            "positions",
            r"block_size|max_text_tokens|bias_max_distance|max_seq_len|model_max_length|position_embedding_size|max_ep_len",
        ),
        ("window", r"sliding_window(_size)?|attention_chunk_size|local_attention(_window_len)?"),
        ("window", r"attention_window(_size)?|index_topk|keep_window_size"),
        ("pooled", r"index_kpool|index_block_size|max_depth"),
        ("grid", r"~pos_emb_(height|width)|posemb_grid_size|mm_posemb_size|visual_prompt_size"),
        ("grid", r"axial_pos_shape"),
        ("norm channels", r"base_channels"),
        ("positions", r"max_num_patches|max_image_tokens"),
        ("queries", r"num_(queries|query_tokens|latents|detection_tokens)|~n_latents|~num_latents"),
        ("queries", r"num_denoising|two_stage_num_proposals|latent_query_num|num_prototypes"),
        ("mels", r"model_in_dim|~mel_bins|num_mels|n_mels|input_feat_per_channel|input_feat_size"),
        (
            "width",
            r"~hidden_size(?:_[a-z0-9]+)*|~hidden_dim|d_model|n_embd|dim|~emb_dim|~embed_dim|"
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


def scalars(tree: Tree, *kinds: str) -> Iterator[tuple[Path, dict[str, Any], str, int]]:
    """(path of the node, node, key, source's value) of each whole number of these kinds."""
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            if whole(value) and not is_id(name) and kind(name) in kinds:
                was = tree.was((*path, name))
                yield path, node, name, was if whole(was) else value


WIDTH_NAMES = ("hidden_size", "d_model", "n_embd", "embed_dim", "dim", "hidden_dim", "emb_dim")


def width(node: Mapping[str, Any]) -> int | None:
    """The width of a config's layers."""
    for name in WIDTH_NAMES:
        value = node.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return None


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def number_or(value: Any, other: int) -> int:
    return value if whole(value) else other


def config_at(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    value: Any = data
    for name in path:
        value = value[name]
    return dict(value)


def shares(parts: list[int], total: int) -> list[int]:
    """`parts` scaled to a sum of `total`, each at least 1 while there is enough."""
    total_parts = sum(parts)
    made = [max(1, part * total // total_parts) if part else 0 for part in parts]
    while sum(made) > total and max(made) > 0:
        made[made.index(max(made))] -= 1
    index = 0
    while sum(made) < total:
        if parts[index % len(parts)]:
            made[index % len(made)] += 1
        index += 1
    return made
