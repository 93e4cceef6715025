"""Heads and state spaces: what divides a layer's width follows it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tinybuild.config.tree import Tree
from tinybuild.keys import BY_LAYER, width
from tinybuild.paths import Data, mapping, whole


def latent_attention(tree: Tree) -> None:
    """Multi-head latent attention: qk_head_dim is the rotated and the plain part together."""
    for path, node in tree.nodes():
        rope, plain = node.get("qk_rope_head_dim"), node.get("qk_nope_head_dim")
        if not (whole(rope) and whole(plain)):
            continue
        if whole(node.get("qk_head_dim")):
            tree.set((*path, "qk_head_dim"), rope + plain, "derived: nope + rope")
        was = {
            name: tree.was((*path, name))
            for name in ("head_dim", "qk_rope_head_dim", "qk_head_dim", BY_LAYER)
        }
        if whole(was["head_dim"]) and was["head_dim"] == was["qk_rope_head_dim"]:
            tree.set((*path, "head_dim"), rope, "derived: the rotated part")
        elif whole(was["head_dim"]) and was["head_dim"] in (was["qk_head_dim"], *_joint(was)):
            tree.set((*path, "head_dim"), rope + plain, "derived: nope + rope")


def _joint(was: Data) -> Iterator[int]:
    """The joint widths of layers that have a plain part of their own."""
    rope = was["qk_rope_head_dim"]
    for own in mapping(was[BY_LAYER]).values():
        plain = mapping(own).get("qk_nope_head_dim")
        if whole(plain) and whole(rope):
            yield plain + rope


STATE_GROUPS = ("n_groups", "mamba_n_groups", "mamba_ngroups")
STATE_HEADS = (
    ("mamba_n_heads", "mamba_d_head"),
    ("mamba_num_heads", "mamba_head_dim"),
    ("n_mamba_heads", "mamba_headdim"),
    ("num_heads", "head_dim"),
)


def state_space(tree: Tree) -> None:
    """Heads of state-space and linear attention cover the widened layer, as in the source."""
    for path, node in tree.nodes():
        for heads, dim in STATE_HEADS:
            now, before, had = node.get(heads), tree.was((*path, heads)), tree.was((*path, dim))
            if not (whole(now) and whole(before) and whole(had) and whole(node.get(dim))):
                continue
            was_wide, wide = tree.width_was(path), width(node)
            if was_wide and wide and before * had % was_wide == 0:
                new = before * had // was_wide * wide // now
                tree.set((*path, dim), new, "rule state heads: as wide as in the source")
        many = next((n for h, _ in STATE_HEADS if whole(n := node.get(h))), None)
        for name in STATE_GROUPS:
            value = node.get(name)
            if whole(value) and value > 2 and many:
                tree.set((*path, name), math.gcd(2, many), "rule state groups")
        inner, each = node.get("mamba_n_heads"), node.get("mamba_d_head", 1)
        if whole(node.get("mamba_d_ssm")) and whole(inner) and whole(each):
            tree.set((*path, "mamba_d_ssm"), inner * each, "derived: heads x head dim")
