"""A full-size config becomes the smallest coherent one, by rule.

The rules look at names and values in the config tree, never at the model's name. Each gives the key
it changes a reason; the recipe's own keys are left as they are, and what depends on them follows.
"""

from __future__ import annotations

import functools
import json
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tinybuild.config.images import IMAGE, PATCH, doubled_widths, images, multipliers, pyramids
from tinybuild.config.layers import depth
from tinybuild.config.overrides import BY_LAYER, substituted
from tinybuild.config.tree import (
    WIDTH_NAMES,
    Path,
    Size,
    Tree,
    config_at,
    kind,
    leaves,
    mapping,
    number_or,
    scalars,
    shares,
    whole,
    whole_list,
    width,
)
from tinybuild.keys import ids_in, is_id, replaced

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
MELS = 32
NORM_GROUPS = 32  # groups of a group norm that some classes fix


def shrink(
    config: Any, wishes: Mapping[str, Any], size: str = "tiny", layers: int | None = None
) -> Tree:
    """The config tree of `config` (an object with its sub-configs), made small by the rules.

    `wishes` are the recipe's overrides under the class's own names: they stay, and what depends on
    them follows. `layers` is the depth wanted instead of the least that has every kind of layer.
    """
    tree = Tree(substituted(config, wishes).to_dict(), wishes, SIZES[size], layers)
    for rule in RULES:
        rule(tree)
    return tree


def widths(tree: Tree) -> None:
    """Everything as wide as a layer gets one width, so that whatever is tied stays tied.

    Where the recipe sets a width, all keys that had the same value in the source follow it.
    """
    wished: dict[int, int] = {}
    for path, _, name, was in scalars(tree, "width"):
        if (*path, name) in tree.fixed and was:
            wished[was] = tree.fixed[(*path, name)]
    for path, node, name, was in scalars(tree, "width", "channels"):
        if was in wished:
            tree.set((*path, name), wished[was], "rule width: as the recipe's")
        elif node[name] > tree.size.width:
            tree.set((*path, name), tree.size.width, "rule width")


def multiples(tree: Tree) -> None:
    """A width that joins several neighbours (merged patches, several layers) stays the same
    multiple of its tower's width, unless it is the width of another tower."""
    towers = {width(mapping(tree.was(path))) for path, _ in tree.nodes()}
    for path, node, name, was in scalars(tree, "width"):
        if name in WIDTH_NAMES or was in towers or not JOINED.fullmatch(name):
            continue
        sees = [(*path, inner) for inner in node if re.search("vision|visual|audio", inner)]
        for tower in [path] if width(node) else sees:
            before = width(mapping(tree.was(tower)))
            now = width(config_at(tree.data, tower)) if before else None
            if before and now and was % before == 0 and 2 <= was // before <= 16:
                reason = "rule width: a multiple as in the source"
                tree.set((*path, name), was // before * now, reason)
                break


def sums(tree: Tree) -> None:
    """The width of two towers side by side: what was their sum is their sum."""
    for path, node in tree.nodes():
        towers = [name for name, value in node.items() if isinstance(value, dict) and width(value)]
        if len(towers) < 2:
            continue
        before = sum(width(mapping(tree.was((*path, name)))) or 0 for name in towers)
        now = sum(width(node[name]) or 0 for name in towers)
        for name, value in list(node.items()):
            if whole(value) and kind(name) == "width" and tree.was((*path, name)) == before:
                tree.set((*path, name), now, "rule width: its towers side by side")


HALF = re.compile(r"num_pos_feats")
JOINED = re.compile(
    r".*(out|output|input|in|merged)_(dim|hidden_size|size)|merged_.*|quantization_dim|"
    r"attention_hidden_size"
)


def halves(tree: Tree) -> None:
    """Features of a position: one half for each axis of the image."""
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            if HALF.fullmatch(name) and whole(value):
                tree.set((*path, name), min(value, tree.size.width // 2), "rule width: a half")


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
        "text": 16,
        "horizon": 128,
        "grid": IMAGE // PATCH,
        "norm channels": NORM_GROUPS,
    }
    for path, node, name, _ in scalars(tree, *targets):
        target = targets[kind(name)]
        if node[name] > target:
            tree.set((*path, name), target, f"rule {kind(name)}")


def shuffled_pixels(tree: Tree) -> None:
    """Pixels shuffled into channels: what comes out is as many widths as in the source."""
    for path, node in tree.nodes():
        share, wide = node.get("pixel_shuffle_ratio"), width(node)
        before = width(mapping(tree.was(path)))
        if isinstance(share, float) and share and wide and before:
            inner = tree.was((*path, "intermediate_size"))
            if whole(inner) and inner == int(before // share**2):
                new = int(wide // share**2)
                tree.set((*path, "intermediate_size"), new, "rule shuffled pixels")


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
        "grid": IMAGE // PATCH,
    }
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            target = targets.get(kind(name))
            if target and whole_list(value) and not is_id(name) and len(set(value)) == 1:
                new = [min(item, target) for item in value]
                tree.set((*path, name), new, f"rule {kind(name)}")


def feed_forward(tree: Tree) -> None:
    """The inner width: twice the width, whatever the source's ratio."""
    for path, node, name, _ in scalars(tree, "ffn width"):
        target = 2 * (width(node) or tree.size.width)
        if node[name] > target:
            tree.set((*path, name), target, "rule ffn width")


def attention(tree: Tree) -> None:
    """Heads divide the width, key-value heads the heads; a head is as wide as what it gets."""
    for path, node in tree.nodes():
        wide = width(node) or tree.size.width
        was_wide = width(mapping(tree.was(path))) or 0
        heads = {n: v for n, v in node.items() if whole(v) and v > 0 and kind(n) == "heads"}
        for name, value in heads.items():
            most = min(value, tree.size.heads) if (*path, name) not in tree.fixed else value
            fits = [h for h in range(1, most + 1) if wide % h == 0]
            tree.set((*path, name), fits[-1], "rule heads")
        main = next((n for n in MAIN_HEADS if n in heads), next(iter(heads), None))
        if main is None:
            continue
        now, before = node[main], number_or(tree.was((*path, main)), heads[main])
        for name, value in list(node.items()):
            if whole_list(value) and kind(name) == "kv heads":
                least = next(k for k in range(tree.size.kv_heads, 0, -1) if now % k == 0)
                new_list = [now if item == before else min(item, least) for item in value]
                tree.set((*path, name), new_list, "rule kv heads")
            if not whole(value) or value <= 0:
                continue
            if kind(name) == "kv heads":
                own = _sibling(name, node, main)
                number, had = node[own], number_or(tree.was((*path, own)), before)
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
        if prefix and other.startswith(prefix) and kind(other) == "heads" and whole(node[other]):
            return other
    return main


def latent_attention(tree: Tree) -> None:
    """Multi-head latent attention: qk_head_dim is the rotated and the plain part together."""
    for path, node in tree.nodes():
        rope, plain = node.get("qk_rope_head_dim"), node.get("qk_nope_head_dim")
        if not (whole(rope) and whole(plain)):
            continue
        if whole(node.get("qk_head_dim")):
            tree.set((*path, "qk_head_dim"), rope + plain, "derived: nope + rope")
        was = {name: tree.was((*path, name)) for name in (*LATENT, BY_LAYER)}
        if whole(was["head_dim"]) and was["head_dim"] == was["qk_rope_head_dim"]:
            tree.set((*path, "head_dim"), rope, "derived: the rotated part")
        elif whole(was["head_dim"]) and was["head_dim"] in (was["qk_head_dim"], *_joint(was)):
            tree.set((*path, "head_dim"), rope + plain, "derived: nope + rope")


LATENT = ("head_dim", "qk_rope_head_dim", "qk_head_dim")


def _joint(was: Mapping[str, Any]) -> Iterator[int]:
    """The joint widths of layers that have a plain part of their own."""
    for own in mapping(was[BY_LAYER]).values():
        plain = mapping(own).get("qk_nope_head_dim")
        if whole(plain) and whole(was["qk_rope_head_dim"]):
            yield plain + was["qk_rope_head_dim"]


def state_space(tree: Tree) -> None:
    """Heads of state-space and linear attention cover the widened layer, as in the source."""
    for path, node in tree.nodes():
        for heads, dim in STATE_HEADS:
            now, before = node.get(heads), tree.was((*path, heads))
            had = tree.was((*path, dim))
            if not (whole(now) and whole(before) and whole(had) and whole(node.get(dim))):
                continue
            was_wide, wide = width(mapping(tree.was(path))), width(node)
            if was_wide and wide and before * had % was_wide == 0:
                new = before * had // was_wide * wide // now
                tree.set((*path, dim), new, "rule state heads: as wide as in the source")
        for name in STATE_GROUPS:
            value = node.get(name)
            heads_now = next((node[h] for h, _ in STATE_HEADS if whole(node.get(h))), None)
            if whole(value) and value > 2 and heads_now:
                tree.set((*path, name), math.gcd(2, heads_now), "rule state groups")
        value = node.get("mamba_d_ssm")
        if whole(value) and whole(node.get("mamba_n_heads")):
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
    for path, node, name, _ in scalars(tree, "experts"):
        if node[name] > EXPERTS:
            tree.set((*path, name), EXPERTS, "rule experts")
    for path, node, name, _ in scalars(tree, "groups"):
        if node[name] > 2:
            tree.set((*path, name), 2, "rule expert groups")
    for path, node, name, _ in scalars(tree, "top groups"):
        if node[name] > 1:
            tree.set((*path, name), 1, "rule expert groups")
    for path, node, name, _ in scalars(tree, "top k"):
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
                    shares(sections, half),
                    "rule rotary sections: the class's own are for the source's head",
                )
        if "rope_type" in node or "mrope_section" in node:
            owner = config_at(tree.data, path[:-1])
            _rotary(tree, path, node, owner)
        share = node.get("rotary_dim")
        before = _head_dim(mapping(tree.was(path)))
        if whole(share) and before:
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


def _head_dim(node: Mapping[str, Any]) -> int | None:
    """What a head's query is wide: given, or the width shared among the heads."""
    for name in ("qk_rope_head_dim", "head_dim", "kv_channels", "attention_head_dim"):
        value = node.get(name)
        if isinstance(value, int) and value > 0:
            return value
    wide, heads = width(node), next((node[n] for n in MAIN_HEADS if whole(node.get(n))), None)
    return wide // heads if wide and heads else None


def _rotary(tree: Tree, path: Path, rope: dict[str, Any], owner: Mapping[str, Any]) -> None:
    head = owner
    while _head_dim(head) is None and path:
        path_up = path[:-2]
        head = config_at(tree.data, path_up)
        if not path_up:
            break
    dim = _head_dim(head) or tree.size.head_dim
    share = rope.get("partial_rotary_factor", owner.get("partial_rotary_factor", 1.0)) or 1.0
    half = int(dim * share) // 2
    sections = rope.get("mrope_section")
    if whole_list(sections):
        assert sections is not None
        tree.set((*path, "mrope_section"), shares(sections, half), "rule rotary sections")
    for name in ("long_factor", "short_factor"):
        factors = rope.get(name)
        if isinstance(factors, list) and len(factors) > half:
            tree.set((*path, name), factors[:half], "rule rotary factors")
    original = rope.get("original_max_position_embeddings")
    most = tree.was((*path[:-1], "max_position_embeddings"))
    now = owner.get("max_position_embeddings")
    if whole(original) and whole(most) and whole(now):
        assert isinstance(now, int)
        new = max(1, original * now // most)
        tree.set((*path, "original_max_position_embeddings"), new, "rule positions")


def token_ids(tree: Tree) -> None:
    """Ids above the vocabulary move to distinct places at its top; equal ones stay equal."""
    sizes = [
        node["vocab_size"]
        for _, node in tree.nodes()
        if whole(node.get("vocab_size")) and "vocab_offset" not in node  # a stretch of another's
    ]
    if not sizes:
        return
    top = min(sizes)
    large: list[int] = []
    small: set[int] = set()
    for _, node in tree.nodes():
        for name, value in node.items():
            if is_id(name):
                for number in ids_in(name, value):
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
            if is_id(name) and any(number in moved for number in ids_in(name, value)):
                new = replaced(name, value, lambda number: moved.get(number, number))
                tree.set((*path, name), new, "rule ids: inside the vocabulary")
    _parts(tree)


def _parts(tree: Tree) -> None:
    """A stretch of the vocabulary that belongs to a modality goes where its ids went."""
    moved: dict[int, int] = {}
    for path, node in tree.nodes():
        for name, value in node.items():
            if is_id(name):
                before = ids_in(name, tree.was((*path, name)))
                moved.update(zip(before, ids_in(name, value), strict=False))
    for path, _ in tree.nodes():
        start, length = (tree.was((*path, name)) for name in ("vocab_offset", "vocab_size"))
        if not (whole(start) and whole(length)):
            continue
        inside = [new for old, new in moved.items() if start <= old < start + length]
        if not inside:
            continue
        reason = "rule ids: the stretch of the modality's"
        tree.set((*path, "vocab_offset"), min(inside), reason)
        tree.set((*path, "vocab_size"), max(inside) - min(inside) + 1, reason)
        for other, holder in tree.nodes():
            for name, value in list(holder.items()):
                same = whole(value) and tree.was((*other, name)) == start
                if same and kind(name) == "vocabulary":
                    tree.set((*other, name), min(inside), "rule ids: up to a modality's stretch")


def layout(tree: Tree) -> None:
    """Four coordinates and two sides of a box are put side by side to a whole width."""
    for path, node in tree.nodes():
        wide = width(node)
        if wide and whole(node.get("coordinate_size")) and whole(node.get("shape_size")):
            tree.set((*path, "coordinate_size"), wide // 8, "rule layout: 4 and 2 parts of a width")
            rest = (wide - 4 * (wide // 8)) // 2
            tree.set((*path, "shape_size"), rest, "rule layout: 4 and 2 parts of a width")


def exceptions(tree: Tree) -> None:
    """What no rule sees: a small file of keys by model type, each with its reason."""
    for path, node in tree.nodes():
        entry = _exceptions().get(str(node.get("model_type")))
        if entry:
            for inner, value in leaves(entry["config"]):
                tree.set((*path, *inner), value, f"exception: {entry['reason']}")


@functools.cache
def _exceptions() -> Mapping[str, Any]:
    """config/exceptions.json: model type -> config (keys and values), reason, transformers (the
    version it was seen in)."""
    path = pathlib.Path(__file__).with_name("exceptions.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


RULES: tuple[Callable[[Tree], None], ...] = (
    widths,
    multiples,
    sums,
    halves,
    plain_sizes,
    by_layer_sizes,
    feed_forward,
    shuffled_pixels,
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
    layout,
    exceptions,
    token_ids,
)

__all__ = ["SIZES", "shrink"]
