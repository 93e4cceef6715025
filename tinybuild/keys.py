"""What a key of a config means, by its name: the one vocabulary of configs.

Rules, relations, checks and inputs ask it, and keep no names of their own that mean the same. A
name measures one thing (`MEASURES`); beside that it may say several (`SAYS`). `NAMES` are what
families call one thing, in the order in which a config is asked for it.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from tinybuild import paths
from tinybuild.paths import Data, Json, Path, whole, wholes

# --- what a number measures -----------------------------------------------------------------------

# What the numbers of keys measure whose whole name matches: the first that matches has the key. ~
# stands for any words before.
MEASURES: Mapping[str, str] = {
    "": (  # left to rules of their own, or as it is
        r"~(kernel|stride|dilation|padding|dropout)(?:_[a-z0-9]+)*(size|sizes)?|"
        r"~(head_)?(chunk_size_feed_forward|chunk_size_lm_head|chunksize)|"
        r"type_vocab_size|modality_type_vocab_size|num_(image_)?channels|"
        r"keypoint_decoder_dim|"  # 8 x 8 places and none
        r"max_2d_position_embeddings|"  # boxes are in parts of a thousand
        # Layers of another sort than a stack is made of.
        r"num_(conv|feat_extract|residual|sparse)_~layers|~kv_shared_layers|max_window_layers|"
        r"num_nextn_predict_layers|iou_head_depth|num_mtp_layers|cross_attention_layers|"
        r"num_fpn_layers|~conv_layers|num_upsample_layers|num_layers_per_stack|~wavenet_layers"
    ),
    "text": r"max_text_len",
    "horizon": r"output_quantile_len|horizon_length",
    "vocabulary": (
        r"~vocab_size|~vocab_size_per_layer_input|~group_vocab|~codebook_size|num_embeddings|"
        r"num_codevectors_per_group|num_hash_buckets|"
        r"num_(bpe|wordpiece|qa|object|attr)_labels"
    ),
    "kv heads": (
        r"~(num|n)_(key_value|kv)(_attention)?_heads(_per_layer)?|linear_num_key_heads|"
        r"multi_query_group_num|num_query_groups|n_head_kv"
    ),
    "heads": r"~(num|n)_~heads?(_per_layer)?|~(attention|attn)_heads|n_heads?",
    "rope dim": r"qk_rope_head_dim",
    "head dim": r"~head_(dim|size)|d_kv|d_head|~dim_head|kv_channels|~headdim|mamba_d_head",
    "rank": r"~rank",
    "state": r"~state_size|~d_state",
    "expert width": r"~(moe|expert|experts)_~(intermediate_size|hidden_size|ffn_~size|dim)",
    "experts": r"~(num|n)_(routed_|local_)?experts|moe_num_experts|zero_expert_num",
    "top k": r"~experts?_per_tok(en)?|moe_top_?k|moe_k|top_k_experts|num_selected_experts",
    "groups": r"n_group|num_expert_groups?",
    "top groups": r"topk_group|num_limited_groups|topk_groups",
    "ffn width": (
        r"~(intermediate|ffn|mlp)_~(size|dim)|d_ff|dff|ffn_dim|mlp_dim|dim_ff|[dn]_inner|"
        r"~feed_?forward(?:_[a-z0-9]+)*?_?(size|dim)|~dim_feedforward|~linear_units|"
        r"intermediate_size_mlp"
    ),
    "original positions": r"original_max_position_embeddings|initial_context_length",  # unscaled
    "floor": r"floor_scale|log_scaling_n_floor",  # positions from which attention is scaled
    "positions": (
        r"~max_~position_embeddings(?:_[a-z0-9]+)*|n_positions|n_ctx|max_~positions|block_size|"
        r"max_text_tokens|bias_max_distance|max_seq_len|model_max_length|position_embedding_size|"
        r"max_sequence_length|max_ep_len|max_num_patches|max_image_tokens|mm_posemb_size"
    ),
    "window": (
        r"sliding_window(_size)?|attention_chunk_size|local_attention(_window_len)?|"
        r"attention_window(_size)?|index_topk|keep_window_size"
    ),
    "pooled": r"index_kpool|index_block_size|max_depth",
    "grid": (  # places along a side
        r"~pos_emb_(height|width)|posemb_grid_size|visual_prompt_size|"
        r"axial_pos_shape"
    ),
    "norm channels": r"base_channels",
    "queries": (
        r"num_(queries|query_tokens|latents|detection_tokens)|~n_latents|~num_latents|"
        r"num_denoising|two_stage_num_proposals|latent_query_num|num_prototypes"
    ),
    "mels": r"model_in_dim|~mel_bins|num_mels|n_mels|input_feat_per_channel|input_feat_size",
    "width": (
        r"~hidden_size(?:_[a-z0-9]+)*|~hidden_dim|d_model|n_embd|dim|~emb_dim|~embed_dim|~dim|"
        r"~embedding_(size|dim)|~proj_(size|dim|dims)|~projection_(size|dim|in_dim|out_dim)|"
        r"project_dim|~(in|out|input|output)_dim|~hidden_channels|out_dim|~fpn_feature_size|~width|"
        r"~units|embedding_dim|~mask_feature_size|classifier_proj_size|~(output|input)_size|"
        r"xvector_output_dim|codebook_dim|codevector_dim|vit_dim|mask_dim|merged_hidden_size|"
        r"shape_size|~coordinate_size|entity_emb_size|upsample_groups|~initial_channel|"
        r"~bottleneck_size|d_latents|~inplanes|~quantization_~dimension|flow_size|latent_dim|"
        r"~predictor_channels|~filter_channels"
    ),
    "channels": r"~channels?|num_filters|n_filters",
    "depth": (
        r"~(num|n)_~layers?|~(encoder|decoder|prenet)_layers|~depth|layers|[lrx]_layers|"
        r"num_block_layers|num_blocks|num_self_attends_per_block"
    ),
}


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("~", "(?:[a-z0-9]+_)*"))


@functools.cache
def measures(name: str) -> str:
    """What a key of this name measures: the name of a measure; "" where nothing is known."""
    for measure, pattern in MEASURES.items():
        if _compiled(pattern).fullmatch(name):
            return measure
    return ""


def numbers(data: Data, *wanted: str) -> Iterator[tuple[str, int]]:
    """The positive whole numbers of a config that measure this; 0 often says that there is none."""
    for name, value in data.items():
        if whole(value) and value > 0 and not is_id(name) and measures(name) in wanted:
            yield name, value


# What engines split among devices.
SPLIT = ("heads", "kv heads", "ffn width", "expert width", "experts")


def parallel(data: Data) -> int:
    """On how many devices a config's model can be split at most: what divides all that is split."""
    return math.gcd(*(n for _, node in configs(data) for _, n in numbers(node, *SPLIT))) or 1


def is_depth(name: str, value: Json) -> bool:
    """Whether a key says how many layers a stack has."""
    return measures(name) == "depth" and whole(value) and value > 0


def counted(data: Data) -> Sequence[str]:
    """The kind of each layer of a config whose layers only that list counts; empty where there is a
    key for the depth, or no such list."""
    if any(is_depth(name, value) for name, value in data.items()):
        return ()
    kinds = (
        [item for item in value if isinstance(item, str)]
        for name, value in data.items()
        if says(name, "kind of each layer") or says(name, "something of each layer")
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    )
    return max(kinds, key=len, default=())


def depths(data: Data) -> list[int]:
    """The depths of all stacks of one config, those that are told by stage as stages and in sum,
    those that only a list counts by its length."""
    deep = [value for name, value in data.items() if whole(value) and is_depth(name, value)]
    deep += [len(kinds) for kinds in [counted(data)] if kinds]
    for name in ("depths", "layers"):
        stages = data.get(name)
        if wholes(stages):
            deep += [len(stages), sum(stages)]
    return deep


# --- what families call it ------------------------------------------------------------------------

MEL_BINS = (  # that say nothing else
    *("num_mel_bins", "n_mel_bins", "n_mels", "n_mel_channels", "mel_bins"),
    "input_feat_per_channel",
)
NAMES: Mapping[str, tuple[str, ...]] = {
    "width": (
        *("hidden_size", "d_model", "n_embd", "embed_dim", "dim", "hidden_dim", "emb_dim"),
        "encoder_dim",
    ),
    "depth": ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth"),
    "side depth": ("encoder_layers", "decoder_layers", "num_encoder_layers", "num_decoder_layers"),
    "heads": (
        *("num_attention_heads", "num_heads", "n_head", "n_heads", "attention_heads"),
        *("encoder_attention_heads", "decoder_attention_heads"),
    ),
    "kv heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"),
    "ffn width": ("intermediate_size", "ffn_dim", "d_ff", "n_inner", "ffn_hidden_size", "d_inner"),
    "head dim": ("head_dim", "d_kv", "attention_head_dim", "d_head"),
    "positions": (
        *("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_sequence_length"),
    ),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "top k": ("num_experts_per_tok", "moe_topk", "top_k", "num_selected_experts", "moe_k"),
    # The first so many layers have no experts.
    "dense layers": ("first_k_dense_replace", "moe_layer_start_index", "num_dense_layers"),
    "image side": (
        *("image_size", "img_size", "resolution", "pretrain_image_size", "max_image_size"),
        *("max_img_size", "min_image_size", "spec_size", "crop_size"),
    ),
    # Of that side, whatever it shows; or of one that is padded to it (TVP).
    "image given": ("image_size", "img_size", "resolution", "max_img_size"),
    "patch side": ("patch_size", "encoder_patch_size", "model_patch_size"),
    # Into one token, along a side: as processors count them, and within the model.
    "patches merged": ("spatial_merge_size", "merge_size", "downsample_factor", "scale_factor"),
    "patches pooled": (
        *("pixel_shuffle_factor", "pooling_kernel_size", "projector_scale_factor"),
        "merge_kernel_size",
    ),
    "image channels": (
        *("num_channels", "in_channels", "in_chans", "num_input_channels", "image_channels"),
    ),
    "frames": ("num_frames", "frames_per_clip", "max_num_frames", "num_image_with_embedding"),
    "mel bins": (
        *MEL_BINS,
        *("num_mels", "num_mel_channels", "input_feat_size", "feature_size", "input_dim"),
        *("num_chroma", "input_size", "model_in_dim", "input_channels"),
        *("feature_projection_input_dim", "spectrogram_bins"),
        *("audio_embed_dim", "subsampling_conv_channels"),
    ),
    "sound positions": ("max_source_positions", "max_audio_positions"),
    "strides": (
        *("conv_stride", "upsampling_ratios", "downsampling_ratios", "strides"),
        *("upsampling_rates", "encoder_ratios", "encoder_downsampling_ratios", "ratios", "stride"),
        "downsampling_strides",
    ),
    "codebooks": (
        *("num_codebooks", "num_channels", "num_audio_codebooks", "n_codes_total"),
        *("num_quantizers", "n_codebooks", "audio_num_codebooks"),
    ),
    # Layers of a tower whose outputs the text gets: they stand beside the tower.
    "layers seen": ("vision_feature_layer", "vision_feature_layers"),
    # The placeholder of a feature in a text, and the tokens around a run of them.
    "image placeholder": (
        *("image_token_id", "image_token_index", "image_token_idx", "image_patch_token_id"),
        *("media_token_id", "video_token_id", "video_token_index"),  # frames as images
    ),
    "video placeholder": (
        *("video_token_id", "video_token_index", "video_token_idx", "video_context_token_id"),
    ),
    "audio placeholder": (
        *("audio_token_id", "audio_token_index", "audio_token_idx", "audio_pad_token_id"),
    ),
    "before image": (
        *("image_start_token_id", "vision_start_token_id", "boi_token_id", "image_bos_token_id"),
    ),
    "after image": (
        *("image_end_token_id", "vision_end_token_id", "eoi_token_id", "image_eos_token_id"),
    ),
    "before video": ("video_start_token_id", "vision_start_token_id", "boi_token_id"),
    "after video": ("video_end_token_id", "vision_end_token_id", "eoi_token_id"),
    "before audio": ("audio_start_token_id", "audio_bos_token_id", "boa_token_id"),
    "after audio": ("audio_end_token_id", "audio_eos_token_id", "eoa_token_id"),
    # The sub-configs that hold the text's vocabulary where the whole has none.
    "text part": (
        *("text_config", "llm_config", "language_config", "text_encoder", "decoder"),
        *("thinker_config", "vlm_config"),
        "model_config",  # of what reads, before a vocoder
    ),
    "text alone": ("text_config", "llm_config", "language_config"),  # of these, what is text only
    "beside text": ("qformer_config",),  # has a vocabulary of its own in a source, and takes text
}


# How positions rotate: a key of transformers 5, by kind of layers where they differ.
ROTATION = "rope_parameters"
THETA, SHARE = "rope_theta", "partial_rotary_factor"
WINDOWED = ("full_attention", "sliding_attention")
# Whether a head is the embedding, and whether what such a head gets is scaled.
TIED, SCALED = "tie_word_embeddings", "scale_decoder_outputs"
# What families called in transformers 4 the base, that of layers with a window, and the share of a
# head that turns; the rest stood in rope_scaling.
ROTATIONS = (
    (THETA, THETA, SHARE),
    (THETA, "rope_local_base_freq", SHARE),
    ("global_rope_theta", "local_rope_theta", SHARE),
    ("rotary_emb_base", "rotary_emb_base", "rotary_pct"),
)

# Rows whose names are one size: a config that has two of them with one value changes both.
ONE_SIZE = (
    *("width", "depth", "heads", "kv heads", "ffn width", "head dim", "positions", "experts"),
    "top k",
)
# A key that transformers no longer writes and others read -> the one that says the same.
FORMER: Mapping[str, str] = {"n_ctx": "n_positions"}
SIDES = ("encoder_", "decoder_")  # each has sizes of its own


def synonyms(name: str) -> Iterator[str]:
    """What other families call the size of this key."""
    for row in ONE_SIZE:
        if name in NAMES[row] and not name.startswith(SIDES):
            yield from (n for n in NAMES[row] if n != name and not n.startswith(SIDES))


def first(data: Data, names: str) -> str | None:
    """The first of these names (a row of NAMES) that a config gives a whole number."""
    return next((name for name in NAMES[names] if whole(data.get(name))), None)


def width(data: Data) -> int | None:
    """The width of a config's layers."""
    values = (data.get(name) for name in NAMES["width"])
    return next((value for value in values if whole(value) and value > 0), None)


# --- what else a key says -------------------------------------------------------------------------

SAYS: Mapping[str, str] = {
    # Lists of layers.
    "layers taken": (  # whose outputs are taken: as many are needed as the list is long
        r".*(out_indices|hook_ids|target_layers|layers_indices|state_indices|return_idx|"
        r"extract_layers|target_layer_ids|feature_layers?|backbone_indices)"
    ),
    "layers tapped": r".*deepstack_~(indexes|indices|layers?)",  # each feeds a layer elsewhere
    "layers of a kind": (  # of another than the layers that are not in the list
        r"(?!summary_).*(_indexes|_indices|_layers|_layer_ids|_layer_idxs|attention_blocks|_ids|_idxs|"
        r"full_attn_idxs)"
    ),
    "kind of each layer": r"layer_types|mlp_layer_types",  # the class checks the number of entries
    "something of each layer": (  # it reads as many entries as there are layers
        r"layers_block_type|indexer_types|layer_rope_theta|activation_sparsity_pattern|"
        r"no_rope_layers|num_(attention|key_value)_heads_per_layer|kv_source_layers|attn_layers|"
        r"sliding_windows"
    ),
    "numbers of layers": (
        r".*(visual_indexes|attn_indexes|attention_blocks|block_indexes|block_indices|attn_idxs)|"
        r"mlp_only_layers|cross_attention_layers|moe_layers|hybrid_layer_ids|rope_scaling_layers"
    ),
    "numbers of outputs": r".*(layers_indices|state_indices)|backbone_out_indices",
    "cycle of layers": r"block_types|attn_layers|.*(layer|block)_(types?|pattern)",
    # Numbers that speak of layers.
    "first layers": (  # are of another kind
        r"first_k_dense_replace|num_first_~layers|max_window_layers|(num|n)_dense_layers|"
        r"moe_layer_start_index|num_hash_layers"
    ),
    "last layers": r"num_kv_shared_layers|num_last_~layers",
    "place of a layer": r"~layer_(id|idx|index)",  # after which something comes
    "spread layers": r"num_sparse_~layers",  # evenly among the dense
    "period of layers": (
        r".*(_period|_interval|_step|_every|_freq|_frequency|_every_n(_layers)?|_pattern|"
        r"layer_freq|_every_k_layers|every_n_layers|_layer_step)"
    ),
    # Stages of a pyramid: lists with a number each.
    "width by stage": (
        r".*(hidden_sizes|embed_dims?|channels|channel_list|out_features|_dims?|conv_dim|"
        r"embed_dim_per_stage|feature_dims|planes|neck_hidden_sizes)"
    ),
    "heads by stage": r".*(num_(attention_)?heads|heads_per_stage|num_attention_heads)",
    "blocks by stage": (
        r"depths|blocks_per_stage|(num_)?block_repeats|stage_num_blocks|block_sizes|layers|depth"
    ),
    "factor by stage": r"(channel|ch)_mult(iplier)?s?",
    "stages": r"depths|downsampling_ratios|upsampling_ratios|downsample_rates|query_stride",
    "doubled width": (  # with each stage
        r"embed_dim|num_filters|n_filters|encoder_hidden_size|patch_embeds_hidden_size"
    ),
    "table of blocks": r"block_configs",  # a row for each: kernel, widths, stride and a switch
    # Widths.
    "width factor": r"width_coefficient|width_multiplier|depth_multiplier",
    "half width": r"num_pos_feats",
    "width of the text": r"out_hidden_size|text_hidden_size",  # what a tower beside it gives
    "width of the tower": r"encoder_hidden_size",  # what joins it to the text takes
    "joined width": (
        r".*(out|output|input|in|merged)_(dim|hidden_size|size)|merged_.*|quantization_dim|"
        r"attention_hidden_size"
    ),
    # Images.
    "shape of a map": r"~featmap_shape",  # rows, channels, height, width
    "width of a map": r"x\d+_feat_dim",  # of a backbone's stage, at so small a part of an image
    "map of an image": r"backbone_feature_sizes|.*rope_feat_sizes|low_res_mask_size",
    "windows": r"num_windows",  # of an image, in a square
    "flat patch": r"patch_embed_hidden_size",  # the numbers of a patch, in all channels
    "patches a side": r"image_embedding_size|.*_grid_size|num_patches_per_side",
    "patches": (
        r"num_patches|num_position_embeddings|image_seq_length|mm_tokens_per_image|"
        r"num_image_tokens|video_seq_length|vision_soft_tokens_per_image|image_seq_len|"
        r"max_num_patches"
    ),
    "share of pixels": r"downsample_ratio|pixel_shuffle_ratio",  # along a side, that are left
    "geometry": (
        r".*(image|img|patch|pixel|window|crop|grid|resolution|frames|length|num_layers).*"
    ),
    # What multiplies or bounds what a layer computes.
    "factor": (  # 1 leaves it as it is
        r"~multipliers?|logits?_scale|logits_scaling|~scaling_factor|route_scale|embed(ding)?_scale|"
        r"scale_emb|scale_depth|attn_scale|~qk_scale_factor|attention_value_scale|residual_scale"
    ),
    "logits factor": (
        r"logits?_scale|logits_scaling|logits_mup_width_multiplier|output_multiplier|"
        r"lm_head_multiplier"
    ),
    "no factor": r".*(width|depth|dim|ffn|channel|loss|init).*",  # of sizes, and of training
    "bound": r"~soft_?cap(ping)?|~logit_cap",
    "attention scale": r"query_pre_attn_scalar|attention_multiplier|softmax_scale|attention_scale",
    "rates": r"target_bandwidths",  # of a codec, in thousands of bits a second
    "categories": r"cardinality",  # of each label of a series
    "switch": (  # of something that has no size of its own
        r"scale_embedding|scale_attn_weights|~qk_norm|~qk_layernorm|~qk_l2_?norm|norm_topk_prob|"
        r"attn_temperature_tuning|scale_attn_by_inverse_layer_idx|rope_interleave|"
        r"~parallel_residual|parallel_attn|apply_residual_connection_post_layernorm|alibi"
    ),
    # Parts of a model.
    "router's bias": r"e_score_correction_bias|expert_bias|router_bias",  # it selects, and no more
    "another mixer": (  # than attention
        r"(mamba|linear|index|indexer|resampler|perceiver|conf|swa|cross)_.*|.*mamba.*"
    ),
    "routing": r".*(expert|moe|top_?k|n_group|router|routed).*",
    "table of tokens": r".*vocab(ulary)?_map",  # token -> id
    "rows of text": r"~vocab_size",  # where as many as there are of the text
    "places of a text": (  # those of boxes and sounds are others
        r"(?!max_2d_|max_source_|max_audio_|max_speech_)(max_~position_embeddings|max_~positions|"
        r"n_positions|n_ctx|max_seq_len|max_sequence_length)"
    ),
    "places or a window": r"block_size",
    "ids of text": r"~vocab_size_per_layer_input",  # as many rows, or a few less
    "helped generation": r"use_mtp|assistant_early_exit|prompt_lookup_num_tokens",
    "packing": r"(quantization|compression)_config",  # of weights in fewer bits than a float has
    # Code, a file or a repository: none of a source's is in a bundle.
    "elsewhere": (
        r"auto_map|custom_(generate|pipelines|objects)|_?~(name_or_path|commit_hash)|"
        r"~(vocab|merges|spm|bpe|model|tokenizer|special_tokens_map|added_tokens|codes)_file|"
        r"~(repo|repo_id|checkpoint_path|pretrained_path|save_dir|output_dir|cache_dir)"
    ),
    "placeholder": r"(image|video|audio)_token_(id|index)",
}


@functools.cache
def says(name: str, what: str) -> bool:
    """Whether a key says this (a row of SAYS) by its name; a key may say several things."""
    return _compiled(SAYS[what]).fullmatch(name) is not None


# A path, an address, or a repository's owner/name, maybe with a revision and what is taken of it.
_PLACE = re.compile(
    r"(?:[/~]|\.{1,2}/|[A-Za-z]:[\\/]|[a-z][\w+]*://)\S+"
    r"|[\w.-]+(?:/[\w.-]+)+/?(?:@[\w.-]+)?(?::\w+)?"
)
_WORDS = re.compile(r".*(token|template|prompt|prefix|suffix|separator|text)s?")  # what people read


def elsewhere(name: str, value: Json) -> bool:
    """Whether a key leads to a place outside the bundle: to code, a file, a repository."""
    if says(name, "elsewhere"):
        return True
    if not isinstance(value, str) or _WORDS.fullmatch(name):
        return False
    ratio = not any(letter.isalpha() for letter in value)  # 4/8
    return not ratio and bool(_PLACE.fullmatch(value))


def takes_layers(name: str, value: Json, most: int) -> bool:
    """Whether a list holds the numbers of layers whose outputs are taken; from behind they count
    as negative ones."""
    return (
        says(name, "layers taken") and wholes(value) and -most <= min(value) <= max(value) <= most
    )


def numbers_layers(name: str, value: Json, depth: int) -> bool:
    """Whether a list holds the numbers of layers of another kind: rising, below the depth."""
    if not wholes(value) or is_id(name):
        return False
    if says(name, "layers taken") or not says(name, "layers of a kind"):
        return False
    rising = all(a < b for a, b in itertools.pairwise(value))
    return rising and value[0] >= 0 and value[-1] < depth


# --- parts ----------------------------------------------------------------------------------------

# An architecture of timm, the sizes that it is handed, how its images are made, and what timm calls
# num_labels.
OF_TIMM, GIVEN, TOLD = "architecture", "model_args", "pretrained_cfg"
CLASSES = "num_classes"
# Mappings that are not configs: their keys are data.
LABELS = ("id2label", "label2id")  # the same, from either side
PLAIN = (*LABELS, "task_specific_params", "quantization_config", TOLD)
BY_LAYER = "per_layer_config"  # what differs by layer, by its number: a whole of its own

# What parts of a model (sub-configs, modules) are called, as parts of their names.
MODALITIES: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "llm", "language", "thinker"),
    "image": ("vision", "visual", "vit", "image", "img", "pixel", "backbone", "patch", "vq"),
    "video": ("video", "vision", "visual", "vit", "image", "backbone", "patch"),
    "audio": ("audio", "speech", "acoustic", "encoder", "codec", "sound"),
}


def of_modality(name: str, *modalities: str) -> bool:
    """Whether the name of a part speaks of one of these modalities."""
    return any(word in name for modality in modalities for word in MODALITIES[modality])


def is_config(name: str, value: Data) -> bool:
    """Whether the mapping at a key is a config, or settings of one: its keys are names."""
    if name in PLAIN or name == BY_LAYER or is_id(name):
        return False
    return all(isinstance(key, str) for key in value)


def configs(data: Data) -> Iterator[tuple[Path, Data]]:
    """Every config of a tree with its path, the whole first."""
    return paths.mappings(data, is_config)


# The first is the text's: a model that writes codes may count these in the second (CSM).
TEXT_ROWS = ("text_vocab_size", "vocab_size")
CODE_ROWS = "codebook_vocab_size"  # of codes that have rows behind those of the text (Kyutai's)


def vocabulary(data: Data) -> Json:
    """The size of the text's vocabulary: the config's own, or that of the part with the text."""
    own = next((name for name in TEXT_ROWS if name in data), None)
    if own is not None:
        return data[own]
    for name in NAMES["text part"]:
        part = data.get(name)
        if isinstance(part, Mapping):
            return vocabulary(part)
    return None


def reads_text(data: Data, text: Json) -> bool:
    """Whether a config's ids are of a text with a vocabulary of this size: it has no other."""
    own = next((name for name in TEXT_ROWS if name in data), None)
    return own is None or data[own] == text


# --- token ids ------------------------------------------------------------------------------------

# The files of a processor and its parts, which may name tokens and their ids.
PROCESSORS = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
# One id, a list of them, or lists of lists: eos_token_id, suppress_tokens, bad_words_ids.
SUFFIXES = ("_token_id", "_token_ids", "_token_index", "_words_ids", "_patch_id")
LISTS = ("suppress_tokens", "begin_suppress_tokens", "token_ids")
PAIRS = ("forced_decoder_ids",)  # [position, id] each
NAMED = ("lang_to_id", "task_to_id")  # mappings of names to ids
START = "decoder_start_token_id"
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# What a family calls the token at the end (or start) of a sequence when it has no eos (or bos).
STAND_INS = {"eos": "sep", "bos": "cls"}


def is_id(name: str) -> bool:
    """Whether the config key `name` holds token ids."""
    if name.endswith(SUFFIXES) or name in (*LISTS, *PAIRS, *NAMED):
        return True
    return name.removesuffix("_id") in ROLES and name.endswith("_id")


def codes(data: Data) -> str | None:
    """The key that counts the codes of a codebook where a config's ids are of these and of a text,
    each with its vocabulary; None for other configs."""
    if CODE_ROWS in data:
        return CODE_ROWS
    return TEXT_ROWS[1] if TEXT_ROWS[0] in data else None


def is_code(name: str, data: Data) -> bool:
    """Whether a config's key holds the id of a code, not of a token of the text."""
    if not is_id(name):
        return False
    return name.startswith("codebook_") or (name.startswith("audio_") and CODE_ROWS in data)


def behind_codes(name: str, data: Data) -> bool:
    """Whether a config's key holds the id of the row behind all codes: a decoder of codebooks has
    one, which pads, and takes it out of what it has made (MusicGen)."""
    rows, books = data.get("vocab_size"), data.get("num_codebooks")
    return is_id(name) and whole(rows) and whole(books) and data.get(name) == rows


def row_behind(data: Data) -> int | None:
    """That row of the decoder in a config tree; None where none has one."""
    for _, node in configs(data):
        for name, value in node.items():
            if behind_codes(name, node) and whole(value):
                return value
    return None


def role(name: str) -> str:
    """What the token of a key is for: eos of eos_token_id, image of image_token_index and
    image_patch_id."""
    for end in ("_id", "_index", "_token", "_patch"):
        name = name.removesuffix(end)
    return name


def ids_in(name: str, value: Json) -> Iterator[int]:
    """The token ids in the value of a key that holds them; -1 and the like are not ids."""
    if name in PAIRS:
        for pair in value if isinstance(value, list) else ():
            if isinstance(pair, list) and len(pair) == 2:
                yield from ids_in("", pair[1])
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from ids_in("", item)
    elif whole(value) and value >= 0:
        yield value


def replaced(name: str, value: Json, new: Callable[[int], int | None]) -> Json:
    """The value of a key with `new` in place of each id.

    Where `new` gives None: an item of a list or mapping is left out (equal ones are kept once), a
    single id becomes None. A list inside a list is a sequence: it stays as it is, or goes whole.
    """
    if name in PAIRS and isinstance(value, list):
        pairs = [(pair, new(pair[1]) if pair[1] is not None else None) for pair in value]
        return [[p[0], number] for p, number in pairs if number is not None or p[1] is None]
    if isinstance(value, Mapping):
        items = {key: replaced("", item, new) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not None}
    if isinstance(value, list):
        made = [_sequence(i, new) if isinstance(i, list) else replaced("", i, new) for i in value]
        unique: list[Json] = []
        for item in made:
            if item is not None and item not in unique:
                unique.append(item)
        return unique
    return new(value) if whole(value) and value >= 0 else value


def _sequence(ids: list[Json], new: Callable[[int], int | None]) -> list[Json] | None:
    made = [replaced("", item, new) for item in ids]
    return None if None in made else made


def mentioned(data: Data, *, named: bool = True) -> Iterator[int]:
    """Every token id that stands anywhere in a config (JSON data), sub-configs included.

    named: also those in mappings of names to ids, which only list what there is.
    """
    for name, value in data.items():
        if is_code(name, data):
            continue
        if is_id(name):
            if named or name not in NAMED:
                yield from ids_in(name, value)
            continue
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping):
                yield from mentioned(inner, named=named)
