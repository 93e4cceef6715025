"""Relations of heads: they divide the width, are shared evenly, and are rotated in pairs."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping

from tinybuild.coded import code
from tinybuild.config.relations.relation import Node, Places, Relation, cut, is_list, together
from tinybuild.config.tree import shares
from tinybuild.keys import NAMES, measures, says
from tinybuild.paths import Json, whole, wholes

# A class that raises for a width that the heads do not divide, as far as its text tells.
RAISES = re.compile(
    r"not a multiple of the number of|must be divisible by `?num_?(attention_)?heads"
)


def heads_and_width(node: Node) -> Iterator[Places]:
    """Where a head is the width shared among the heads. Many classes round that down, and their
    attention is a little narrower than the layer: only those that say so refuse."""
    wide = node.first("width")
    if wide is None or node.number(wide) < 1 or "expand" in node.data:  # expand: no attention
        return
    rotated = "rope_parameters" in node.data  # with rotation there is mostly a key for a head
    shared = not _head_dims(node) and not rotated and _insists(str(node.data.get("model_type")))
    for name in NAMES["heads"]:
        if node.number(name) > 0 and (shared or node.strict):
            yield node.at(name), node.at(wide)


@functools.cache
def _insists(model_type: str) -> bool:
    text = code(model_type)
    return RAISES.search(text) is not None and 'getattr(config, "head_dim"' not in text


def _head_dims(node: Node) -> list[str]:
    """The keys that say how wide a head is, so that the heads need not divide the width."""
    return [
        name
        for name, value in node.data.items()
        if whole(value)
        and measures(name) in ("head dim", "rope dim")
        and not says(name, "another mixer")
    ]


def stage_heads_and_widths(node: Node) -> Iterator[Places]:
    for name in _stage_heads(node):
        for wide in ("hidden_sizes", "embed_dim", "embed_dims"):
            if wholes(node.data.get(wide)):
                yield node.at(name), node.at(wide)


def stage_heads_and_first_width(node: Node) -> Iterator[Places]:
    """Where the width doubles from stage to stage (Swin)."""
    stages = node.data.get("depths")
    first = (name for name in ("embed_dim", "patch_embeds_hidden_size") if node.all(name))
    wide = next(first, None)
    for name in _stage_heads(node):
        heads = node.data[name]
        if wide and is_list(stages) and is_list(heads) and len(heads) == len(stages):
            yield node.at(name), node.at(wide)


def _stage_heads(node: Node) -> list[str]:
    return [n for n, value in node.data.items() if wholes(value) and measures(n) == "heads"]


def kv_heads_and_heads(node: Node) -> Iterator[Places]:
    if node.data.get("multi_query") and not node.data.get("new_decoder_architecture"):
        return  # one head of keys, whatever the number says
    for name in node.measuring("kv heads"):
        heads = _heads_of(name, node)
        if heads is not None:
            yield node.at(name), node.at(heads)


def _heads_of(name: str, node: Node) -> str | None:
    """The heads that key-value heads belong to: those of the same prefix (swa_), or the main."""
    prefix = re.split(r"(?:num|n)_", name)[0]
    heads = node.measuring("heads")
    if prefix == "linear_":
        return "linear_num_value_heads" if "linear_num_value_heads" in heads else None
    if prefix:
        return next((other for other in heads if other.startswith(prefix)), None)
    return next((other for other in NAMES["heads"] if other in heads), None)


def latent_heads(node: Node) -> Iterator[Places]:
    if node.all("kv_lora_rank", "qk_rope_head_dim"):
        yield from together("num_key_value_heads", "num_attention_heads")(node)


# --- rotation -------------------------------------------------------------------------------------


def _share(node: Node) -> Json:
    """The share of a head that is rotated; None where it differs by layer."""
    rope = node.data.get("rope_parameters")
    if not isinstance(rope, Mapping) or "rope_theta" not in rope:
        return None
    given = (holder.get("partial_rotary_factor") for holder in (rope, node.data))
    return next((share for share in given if share is not None), 1.0)


def _head(node: Node) -> Places:
    """The keys that say what the rotated head is wide: one, or the width and the heads."""
    for name in ("qk_rope_head_dim", "head_dim"):
        if node.all(name):
            return (node.at(name),)
    wide, heads = node.first("width"), node.first("heads")
    if wide and heads and not _head_dims(node) and node.number(heads) > 0:
        return node.at(wide), node.at(heads)
    return ()


def _rotated(count: int) -> Callable[[Node], Iterator[Places]]:
    """A head that is rotated whole, said by so many keys."""

    def places(node: Node) -> Iterator[Places]:
        head = _head(node)
        if len(head) == count and _share(node) == 1.0:
            yield head

    return places


def _beside_head(fits: Callable[[Json], bool], *names: str) -> Callable[[Node], Iterator[Places]]:
    """Rotary settings of these names whose values fit, with a head that is rotated whole."""

    def places(node: Node) -> Iterator[Places]:
        rope, head = node.data.get("rope_parameters"), _head(node)
        if isinstance(rope, Mapping) and head and _share(node) == 1.0:
            for name in names:
                if fits(rope.get(name)):
                    yield (node.at("rope_parameters", name), *head)

    return places


def rotary_dim(node: Node) -> Iterator[Places]:
    head = _head(node)
    if node.all("rotary_dim") and head:
        yield (node.at("rotary_dim"), *head)


def _half(head: tuple[int, ...]) -> int:
    """Half of a rotated head, which is as wide as said or the width shared among the heads."""
    dim = head[0] if len(head) == 1 else head[0] // head[1]
    return dim // 2


HEADS: tuple[Relation, ...] = (
    Relation(
        words="{0} must divide {1}",
        keys=heads_and_width,
        holds=lambda heads, wide: wide % heads == 0 and heads <= wide,
    ),
    Relation(
        words="{0} must be a number for each of {1}, and divide it",
        keys=stage_heads_and_widths,
        holds=lambda heads, wide: (
            len(heads) >= len(wide)
            and not any(h < 1 or w % h for h, w in zip(heads, wide, strict=False))
        ),
        other=lambda heads, wide: str(
            [math.gcd(heads[min(stage, len(heads) - 1)], w) for stage, w in enumerate(wide)]
        ),
    ),
    Relation(
        words="{0} must divide {1}, doubled with each stage",
        keys=stage_heads_and_first_width,
        holds=lambda heads, wide: not any(wide * 2**i % h for i, h in enumerate(heads) if h > 0),
        other=lambda heads, wide: str([math.gcd(h, wide * 2**i) for i, h in enumerate(heads)]),
    ),
    Relation(
        words="{0} must be {1}: with latent attention each head has keys of its own",
        keys=latent_heads,
        holds=lambda kv_heads, heads: kv_heads == heads,
    ),
    Relation(
        words="{0} must divide {1}",
        keys=kv_heads_and_heads,
        holds=lambda kv_heads, heads: heads % kv_heads == 0,
    ),
    Relation(
        words="{0} must be {1} and {2} together",
        keys=together("qk_head_dim", "qk_nope_head_dim", "qk_rope_head_dim"),
        holds=lambda dim, nope, rope: dim == nope + rope,
    ),
    Relation(
        words="{0} must be even: it is rotated in pairs",
        keys=_rotated(1),
        holds=lambda dim: dim % 2 == 0,
    ),
    Relation(
        words="{0} / {1} must be even: a head is rotated in pairs",
        keys=_rotated(2),
        holds=lambda wide, heads: wide // heads % 2 == 0,
        prefer=lambda wide, heads: wide % heads == 0,
    ),
    Relation(
        words="{0} must sum to half of {head}",
        keys=_beside_head(wholes, "mrope_section"),
        holds=lambda sections, *head: sum(sections) == _half(head),
        other=lambda sections, *head: (
            str(shares(list(sections), _half(head))) if _half(head) >= len(sections) else None
        ),
    ),
    Relation(
        words="{0} must have an entry for each pair of {head}",
        keys=_beside_head(is_list, "short_factor", "long_factor"),
        holds=lambda factors, *head: len(factors) == _half(head),
        other=lambda factors, *head: cut(factors, _half(head)),
    ),
    Relation(
        words="{0} must be even and at most {head}",
        keys=rotary_dim,
        holds=lambda dim, *head: dim % 2 == 0 and dim <= 2 * _half(head),
    ),
)
