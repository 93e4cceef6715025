"""The relations that are known, in the order in which they are told."""

from __future__ import annotations

from tinybuild.config.relations.heads import HEADS
from tinybuild.config.relations.layers import EXPERTS, LAYERS
from tinybuild.config.relations.relation import Relation
from tinybuild.config.relations.sizes import LEAST, SIZES

# A relation is here only if no default config that its class can run breaks it; what merely is so
# in most of them is not: a patch need not divide the image (classes leave the rest out), a vision
# tower's output need not be as wide as the text.
RELATIONS: tuple[Relation, ...] = (*LEAST, *HEADS, *EXPERTS, *LAYERS, *SIZES)
