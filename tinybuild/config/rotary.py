"""Rotary positions: sections, factors and lengths follow the heads and positions that there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tinybuild.config import rotation
from tinybuild.config.tree import Tree, shares
from tinybuild.keys import SHARE, first, measures
from tinybuild.paths import Data, Path, mapping, whole, wholes

# Where scaling begins, in tokens: below what people try a tiny model with, and for the types that
# leave fast pairs alone and slow down the slow ones, where there are pairs of both sorts.
LEAST, FEW, MOST = 16, 64, 256
RAMPS = ("yarn", "llama3")


def rotary(tree: Tree) -> None:
    """Rotary sections fill half a head, each with a pair at least; lists of factors have as many
    entries as pairs; scaling begins inside the positions, as many times as in the source."""
    for path, node in tree.nodes():
        if rotation.parted(mapping(tree.source, path)):
            _share(tree, path)
        for rope in _ropes(tree, path):
            _sections(rope, str(node.get("model_type")))
            _factors(rope)
            _original(rope)
        at = (*path, "rotary_dim")
        share, before = tree.was(at), rotation.head_dim(mapping(tree.source, path))
        if whole(share) and before:
            now = rotation.head_dim(node) or tree.size.head_dim
            new = min(max(2, share * now // before // 2 * 2), now)
            others = _others(tree, path, share, ("depth", "heads", "kv heads"))
            free = (n for n in range(new, now, 2) if n not in others)
            tree.set(at, next(free, new) if share < before else now, "rule rotary dim")


@dataclass(frozen=True, kw_only=True)
class _Rope:
    """How one kind of layer rotates: where that is said, and the config that it is said of."""

    tree: Tree
    at: Path
    owner: Path

    @property
    def data(self) -> Data:
        return mapping(self.tree.data, self.at)

    @property
    def node(self) -> Data:
        return mapping(self.tree.data, self.owner)

    @property
    def pairs(self) -> int:
        """The pairs of a head that are rotated."""
        ends = range(len(self.owner), -1, -1)
        around = (rotation.head_dim(mapping(self.tree.data, self.owner[:end])) for end in ends)
        dim = next((dim for dim in around if dim is not None), self.tree.size.head_dim)
        parted = rotation.parted(mapping(self.tree.source, self.owner))
        return int(dim * (1 if parted else rotation.share_of(self.node, self.data))) // 2


def _ropes(tree: Tree, path: Path) -> list[_Rope]:
    node = mapping(tree.data, path)
    return [_Rope(tree=tree, at=(*path, *at), owner=path) for at in rotation.places(node)]


def _share(tree: Tree, path: Path) -> None:
    """The share of a head that is rotated, where that part has a size of its own."""
    node = mapping(tree.data, path)
    part, dim = node["qk_rope_head_dim"], node["head_dim"]
    assert whole(part)
    assert whole(dim)
    for at in (path, *((*path, *place) for place in rotation.places(node))):
        if SHARE in mapping(tree.data, at):
            tree.set((*at, SHARE), part / dim, "rule rotary share: the rotated part of a head")


def _sections(rope: _Rope, model_type: str) -> None:
    own, reason = rope.data.get("mrope_section"), "rule rotary sections"
    if own is None and "rope_theta" in rope.data and rope.data.get("rope_type") != "axial":
        own = rotation.fallback(model_type)
        reason += ": the class's own are for the source's head"
    if wholes(own):
        rope.tree.set((*rope.at, "mrope_section"), shares(own, rope.pairs), reason)


def _factors(rope: _Rope) -> None:
    """As many as pairs, from all over the source's: they grow from pair to pair."""
    for name in ("long_factor", "short_factor"):
        factors = rope.data.get(name)
        if isinstance(factors, list) and len(factors) > rope.pairs > 1:
            step = (len(factors) - 1) / (rope.pairs - 1)
            new = [factors[round(number * step)] for number in range(rope.pairs)]
            rope.tree.set((*rope.at, name), new, "rule rotary factors")


def _original(rope: _Rope) -> None:
    """The positions before scaling; where the source's are a part of its positions by the factor of
    scaling, so they are again."""
    tree, name = rope.tree, first(rope.node, "positions")
    places = [
        (*path, key)
        for path, data in ((rope.owner, rope.node), (rope.at, rope.data))
        for key in data
        if measures(key) == "original positions"
    ]
    if name is None or not places:
        return
    at = (*rope.owner, name)
    for place in places:
        was, most, now = tree.was(place), tree.was(at), rope.node[name]
        if not (whole(was) and whole(most) and whole(now)) or was <= 0:
            continue
        if was >= most or at in tree.fixed:
            new = max(1, now * was // most)
        else:
            new = _apart(rope, was, _begins(rope, now * was // most))
            exact = most % was == 0 and rope.data.get("factor") in (None, most // was)
            more = new * (most // was) if exact else max(now, 2 * new)
            if more != now:
                tree.set(at, more, "rule positions: as many times the original ones")
        tree.set(place, new, "rule original positions")


def _begins(rope: _Rope, share: int) -> int:
    """The original positions: a share of the positions, or, for scaling that depends on how fast a
    pair turns, a power of two by which the second pair is in between."""
    theta = rope.data.get("rope_theta")
    if rope.data.get("rope_type") not in RAMPS or not isinstance(theta, int | float):
        return min(max(share, LEAST), FEW)
    turn = 2 * math.pi * theta ** (1 / max(rope.pairs, 1))
    near: int = 2 ** round(math.log2(2 * turn))
    return min(max(near, LEAST), MOST)


def _apart(rope: _Rope, was: int, begins: int) -> int:
    """Other positions nearby where a width or an inner one is as many."""
    others = _others(rope.tree, rope.owner, was, ("width", "ffn width", "expert width"))
    return next(n for n in range(begins, 2 * MOST, 8) if n not in others)


def _others(tree: Tree, path: Path, was: int, measured: Sequence[str]) -> set[int]:
    """What the sizes of a config are now that were no such number."""
    there = [(n, v) for n, v in mapping(tree.data, path).items() if measures(n) in measured]
    return {value for name, value in there if whole(value) and tree.was((*path, name)) != was}
