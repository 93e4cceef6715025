"""What a config says of how its heads rotate. No rule: checks ask it as well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tinybuild.coded import code
from tinybuild.keys import first, width
from tinybuild.paths import Data, Path, mapping, whole, wholes


def sections(node: Data) -> Sequence[int]:
    """How many pairs of a head each axis of a position has, as a config or its class's code says;
    none where positions have one axis."""
    ropes = [mapping(node, at) for at in places(node)]
    said = next((own for rope in ropes if wholes(own := rope.get("mrope_section"))), ())
    return said or (ropes and fallback(str(node.get("model_type")))) or ()


def fits(node: Data, dim: int) -> bool:
    """Whether a head of this width rotates whole pairs, one for each section at least, and leaves
    the rest of it alone where the source's does."""
    for at in places(node):
        share = share_of(node, mapping(node, at))
        turned = int(dim * share)
        if turned < 2 or turned % 2 or (share < 1 and turned >= dim):
            return False
        if turned // 2 < sum(part > 0 for part in sections(node)):
            return False
    return True


def turned(node: Data, dim: int) -> int:
    """How much of a head of this width is rotated."""
    return min((int(dim * share_of(node, mapping(node, at))) for at in places(node)), default=dim)


def places(node: Data) -> Iterator[Path]:
    """Where a config says how it rotates, at once or for each kind of its layers."""
    for name in ("rope_parameters", "rope_scaling"):
        said = node.get(name)
        if isinstance(said, dict):
            if "rope_theta" in said or "rope_type" in said or "mrope_section" in said:
                yield (name,)
            yield from ((name, kind) for kind, own in said.items() if isinstance(own, dict))


def share_of(node: Data, rope: Data) -> float:
    """The part of a head that is rotated."""
    share = rope.get("partial_rotary_factor", node.get("partial_rotary_factor"))
    return share if isinstance(share, int | float) and share else 1.0


def parted(node: Data) -> bool:
    """Whether the rotated part of a head has a size of its own, and the share says the same."""
    part, dim = node.get("qk_rope_head_dim"), node.get("head_dim")
    shares = {share_of(node, mapping(node, at)) for at in places(node)}
    return whole(part) and whole(dim) and part < dim and {int(dim * s) for s in shares} == {part}


def head_dim(node: Data) -> int | None:
    """What a head's query is wide: given, or the width shared among the heads."""
    for name in ("qk_rope_head_dim", "head_dim", "kv_channels", "attention_head_dim"):
        value = node.get(name)
        if whole(value) and value > 0:
            return value
    wide, main = width(node), first(node, "heads")
    heads = node[main] if main else None
    return wide // heads if wide and whole(heads) and heads else None


def fallback(model_type: str) -> list[int] | None:
    """The rotary sections that a model's own code falls back to, which no config shows."""
    match = re.search(r"\"mrope_section\", \[([\d, ]+)\]", code(model_type))
    return [int(number) for number in match[1].split(",")] if match else None
