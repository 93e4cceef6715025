"""Rotary positions: sections, factors and lengths follow the heads and positions that there are."""

from __future__ import annotations

import re

from tinybuild.config.heads import code
from tinybuild.config.tree import Tree, shares
from tinybuild.keys import first, width
from tinybuild.paths import Data, Json, Path, mapping, whole, wholes


def rotary(tree: Tree) -> None:
    """Rotary sections fill half a head; lists of factors have as many entries as frequencies."""
    for path, node in tree.nodes():
        rope = node.get("rope_parameters")
        if isinstance(rope, dict) and "rope_theta" in rope and "mrope_section" not in rope:
            sections = _sections(node.get("model_type"))
            if sections:
                dim = _head_dim(node) or tree.size.head_dim
                half = _rotated(dim, rope.get("partial_rotary_factor"))
                tree.set(
                    (*path, "rope_parameters", "mrope_section"),
                    shares(sections, half),
                    "rule rotary sections: the class's own are for the source's head",
                )
        if "rope_type" in node or "mrope_section" in node:
            _rope(tree, path, node)
        share, before = node.get("rotary_dim"), _head_dim(mapping(tree.source, path))
        if whole(share) and before:
            now = _head_dim(node) or tree.size.head_dim
            new = max(2, share * now // before // 2 * 2)
            tree.set((*path, "rotary_dim"), min(new, now), "rule rotary dim")


def _rotated(dim: int, share: Json) -> int:
    """The pairs of a head that are rotated: all of them, or a share."""
    return int(dim * share) // 2 if isinstance(share, int | float) and share else dim // 2


def _rope(tree: Tree, path: Path, rope: Data) -> None:
    """What a mapping of rotary settings says of the heads of the config around it."""
    owner = mapping(tree.data, path[:-1])
    around = (
        _head_dim(mapping(tree.data, path[:end])) for end in range(max(len(path) - 1, 0), -1, -1)
    )
    dim = next((dim for dim in around if dim is not None), tree.size.head_dim)
    share = rope.get("partial_rotary_factor", owner.get("partial_rotary_factor"))
    half = _rotated(dim, share)
    sections = rope.get("mrope_section")
    if wholes(sections):
        tree.set((*path, "mrope_section"), shares(sections, half), "rule rotary sections")
    for name in ("long_factor", "short_factor"):
        factors = rope.get(name)
        if isinstance(factors, list) and len(factors) > half:
            tree.set((*path, name), factors[:half], "rule rotary factors")
    original = rope.get("original_max_position_embeddings")
    most = tree.was((*path[:-1], "max_position_embeddings"))
    now = owner.get("max_position_embeddings")
    if whole(original) and whole(most) and whole(now):
        new = max(1, original * now // most)
        tree.set((*path, "original_max_position_embeddings"), new, "rule positions")


def _head_dim(node: Data) -> int | None:
    """What a head's query is wide: given, or the width shared among the heads."""
    for name in ("qk_rope_head_dim", "head_dim", "kv_channels", "attention_head_dim"):
        value = node.get(name)
        if whole(value) and value > 0:
            return value
    wide, main = width(node), first(node, "heads")
    heads = node[main] if main else None
    return wide // heads if wide and whole(heads) and heads else None


def _sections(model_type: Json) -> list[int] | None:
    """The rotary sections that a model's own code falls back to, which no config shows."""
    match = re.search(r"\"mrope_section\", \[([\d, ]+)\]", code(str(model_type)))
    return [int(number) for number in match[1].split(",")] if match else None
