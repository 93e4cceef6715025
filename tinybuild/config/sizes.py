"""How small a model is made: the sizes that the rules aim at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EXPERTS, TOP_K, QUERIES, WINDOW = 4, 2, 8, 8
MELS = 32
NORM_GROUPS = 32  # groups of a group norm that some classes fix
IMAGE, PATCH, STRIDE = 48, 8, 32  # pixels; what the last stage of a pyramid divides an image by
GRID = 8  # places along a side of a table
BLOCKS = 2  # in each stage of a pyramid: one that changes the resolution, one that does not


@dataclass(frozen=True, kw_only=True)
class Size:
    """Target sizes: width = heads x head_dim; the kv heads divide the heads."""

    width: int
    heads: int
    head_dim: int
    kv_heads: int
    ffn: int
    expert_ffn: int
    rank: int
    state: int
    positions: int
    vocabulary: int

    @property
    def plain(self) -> Mapping[str, int]:
        """Measure -> the most of it, where nothing else depends on it."""
        return {
            "vocabulary": self.vocabulary,
            "expert width": self.expert_ffn,
            "rank": self.rank,
            "state": self.state,
            "positions": self.positions,
            "window": WINDOW,
            "queries": QUERIES,
            "mels": MELS,
            "floor": WINDOW,
            "pooled": 4,
            "text": 16,
            "horizon": 128,
            "grid": GRID,
            "norm channels": NORM_GROUPS,
        }

    @property
    def by_layer(self) -> Mapping[str, int]:
        """Measure -> the most of it in a list with an entry for each layer."""
        return {
            "width": self.width,
            "ffn width": self.ffn,
            "expert width": self.expert_ffn,
            "experts": EXPERTS,
            "top k": TOP_K,
            "head dim": self.head_dim,
            "kv heads": self.kv_heads,
            "window": WINDOW,
            "positions": self.positions,
            "vocabulary": self.vocabulary,
            "grid": GRID,
        }


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
