"""Scales of attention: what a head gives in the source is given by the head that there is."""

from __future__ import annotations

from collections.abc import Callable

from tinybuild.config.rotation import head_dim
from tinybuild.config.tree import Tree
from tinybuild.keys import first, says, width
from tinybuild.paths import Data, Json, mapping, whole

# What a scale may be made of a head's width. (An unscaled one stays.)
DERIVED: tuple[Callable[[float], float], ...] = (
    lambda head: head,
    lambda head: head**-0.5,
    lambda head: 1 / head,
    lambda head: head**0.5,
)


def attention_scales(tree: Tree) -> None:
    """A scale of attention that a head's width gives in the source is given by it again."""
    for path, node in tree.nodes():
        source = mapping(tree.source, path)
        for name, value in list(node.items()):
            if says(name, "attention scale"):
                new = _derived(tree.was((*path, name)), source, node)
                if new is not None:
                    made = round(new) if whole(value) else float(new)
                    tree.set((*path, name), made, "derived: of a head's width")


def _derived(was: Json, source: Data, node: Data) -> float | None:
    """The same of what the head is now; None where it is not made of a head."""
    if not isinstance(was, int | float) or was in (0, 1):
        return None
    for head in (head_dim, _shared):
        before, now = head(source), head(node)
        if before and now:
            same = (of(now) for of in DERIVED if abs(of(before) / was - 1) < 1e-6)
            if (new := next(same, None)) is not None:
                return new
    return None


def _shared(node: Data) -> int | None:
    """The width shared among the heads, whatever a head's own."""
    wide, main = width(node), first(node, "heads")
    heads = node[main] if main else None
    return wide // heads if wide and whole(heads) and heads else None
