"""Heads and state spaces: what divides a layer's width follows it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tinybuild.config.tree import Tree, divisor
from tinybuild.keys import BY_LAYER, NAMES, measures, width
from tinybuild.paths import Data, Json, Path, mapping, whole, wholes


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """The heads of one config: their key, how many there are now and were in the source."""

    node: Data
    main: str
    now: int
    before: int


def attention(tree: Tree) -> None:
    """Heads divide the width, key-value heads the heads; a head is as wide as what it gets."""
    for path, node in tree.nodes():
        layer = _heads(tree, path, node)
        for name, value in list(node.items()) if layer is not None else ():
            assert layer is not None
            measured, new = measures(name), None
            if measured == "kv heads":
                new = _kv_heads(tree, layer, (*path, name), value)
            elif measured in ("head dim", "rope dim") and whole(value) and value > 0:
                new = _head_width(tree, layer, (*path, name), value)
            if new is not None:
                tree.set((*path, name), new, f"rule {measured}")


def _heads(tree: Tree, path: Path, node: Data) -> _Layer | None:
    """Fewer heads, which divide the width; None where a config has no heads."""
    wide = width(node) or tree.size.width
    heads = {n: v for n, v in node.items() if whole(v) and v > 0 and measures(n) == "heads"}
    for name, value in heads.items():
        most = min(value, tree.size.heads) if (*path, name) not in tree.fixed else value
        tree.set((*path, name), divisor(wide, most), "rule heads")
    main = next((n for n in NAMES["heads"] if n in heads), next(iter(heads), None))
    if main is None:
        return None
    now, before = node[main], tree.was((*path, main))
    assert whole(now)
    return _Layer(node=node, main=main, now=now, before=before if whole(before) else heads[main])


def _kv_heads(tree: Tree, layer: _Layer, at: Path, value: Json) -> Json:
    """As many as the heads where they were as many, else a few that divide them."""
    if wholes(value):
        least = divisor(layer.now, tree.size.kv_heads)
        return [layer.now if item == layer.before else min(item, least) for item in value]
    if not whole(value) or value <= 0:
        return None
    own = _sibling(at[-1], layer)
    number, had = layer.node[own], tree.was((*at[:-1], own))
    assert whole(number)
    if value == (had if whole(had) else layer.before):
        return number
    return divisor(number, min(value, tree.size.kv_heads))


def _sibling(name: str, layer: _Layer) -> str:
    """The heads that these key-value heads belong to: of the same prefix (swa_), or the main."""
    prefix = re.split(r"num_|n_", name)[0]
    for other, value in layer.node.items():
        if prefix and other.startswith(prefix) and measures(other) == "heads" and whole(value):
            return other
    return layer.main


def _head_width(tree: Tree, layer: _Layer, at: Path, value: int) -> int:
    wide = width(layer.node) or tree.size.width
    covered, was_wide = value * layer.before, tree.width_was(at[:-1])
    if was_wide and covered == was_wide and wide % layer.now == 0:
        return wide // layer.now
    if was_wide and covered == 2 * was_wide and "attention" in at[-1]:
        return 2 * wide // layer.now  # zamba2: attention over a doubled width
    return min(value, tree.size.head_dim)


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
