"""How small a model is made: the sizes that the rules aim at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

WINDOW = 8
NORM_GROUPS = 32  # groups of a group norm that some classes fix
IMAGE, PATCH, STRIDE = 48, 8, 32  # pixels; what the last stage of a pyramid divides an image by
GRID = 8  # places along a side of a table
BLOCKS = 2  # in each stage of a pyramid: one that changes the resolution, one that does not


@dataclass(frozen=True, kw_only=True)
class Size:
    """Target sizes. width: the text's; narrower, wider: of other towers and projections, in their
    order. ffn: inner widths, in eighths of the width; expert_ffn: of experts that have no width of
    their own. choices: measure -> sizes, best first: the
    first that keeps the laws of a config and is not the size of something else is taken
    (config.allot). parallel: what it divides in the source (heads, experts, inner widths) it
    divides here."""

    width: int
    narrower: tuple[int, ...]
    wider: tuple[int, ...]
    ffn: tuple[int, ...]
    expert_ffn: tuple[int, ...]
    choices: Mapping[str, tuple[int, ...]]
    positions: int
    vocabulary: int
    parallel: int = 1

    def beside(self, *, narrow: bool) -> tuple[int, ...]:
        """Widths beside that of the text."""
        return (*self.narrower, *self.wider) if narrow else (*self.wider, *self.narrower)

    @property
    def head_dim(self) -> int:
        return self.choices["head dim"][0]

    @property
    def plain(self) -> Mapping[str, int]:
        """Measure -> the most of it, where nothing else depends on it."""
        return {
            "floor": WINDOW,
            "pooled": 4,
            "text": 48,
            "horizon": 128,
            "grid": GRID,
            "norm channels": NORM_GROUPS,
        }

    @property
    def lengths(self) -> Mapping[str, int]:
        """Measure -> the most of it, where what differs in the source has place beside."""
        return {"positions": self.positions, "vocabulary": self.vocabulary}

    @property
    def by_layer(self) -> Mapping[str, int]:
        """Measure -> the most of it in a list with an entry for each layer."""
        return {
            **self.lengths,
            "width": self.width,
            "grid": GRID,
        }


FEW: Mapping[str, tuple[int, ...]] = {
    "experts": (4, 8, 6, 5, 10, 12, 16),
    "groups": (2, 4, 3, 6),
    "top groups": (1, 2, 3),
    "top k": (2, 3, 5, 6, 4, 1),
    "window": (8, 7, 9, 6, 10, 5, 11),
    "queries": (8, 7, 9, 6, 10, 11, 12),
    "mels": (32, 40, 24, 48, 80, 56),
}

# tiny: the smallest that still divides everywhere (four heads, two key-value heads, three rotary
# sections in half a head). small: what serving engines and flash kernels accept (head_dim 32,
# widths that are multiples of 128).
SIZES: Mapping[str, Size] = {
    "tiny": Size(
        width=64,
        narrower=(32, 48, 40, 56, 24, 16),
        wider=(96, 128, 80, 112, 72, 88),
        ffn=(16, 14, 18, 12, 20, 10, 22, 24),
        expert_ffn=(12, 10, 14, 9, 7, 6, 16),
        choices={
            **FEW,
            "heads": (4, 8, 2, 6, 3, 12, 5, 16),
            "kv heads": (2, 4, 3, 1, 6),
            "head dim": (16, 24, 8, 32, 40, 48, 56),
            "rope dim": (8, 16, 24, 32),
            "rank": (16, 24, 32, 40, 12, 20, 48, 8, 56),
            "state": (16, 12, 8, 24, 32, 20),
            "expert width": (48, 40, 24, 56, 80, 72, 32, 96),
        },
        positions=512,
        vocabulary=256,
    ),
    "small": Size(
        width=256,
        narrower=(128, 192, 160, 224, 96, 64),
        wider=(384, 512, 320, 448, 288, 352),
        ffn=(16, 14, 18, 12, 20, 10, 22, 24),
        expert_ffn=(12, 10, 14, 9, 7, 6, 16),
        choices={
            **FEW,
            "heads": (8, 16, 4, 12, 20, 2, 24),
            "kv heads": (4, 8, 2, 1, 12),
            "head dim": (32, 64, 48, 16, 24, 40, 80),
            "rope dim": (16, 32, 24, 48, 64),
            "rank": (32, 64, 48, 96, 24, 40, 80, 16, 112),
            "state": (16, 32, 24, 12, 8, 64),
            "expert width": (192, 160, 320, 224, 96, 288, 384),
            "experts": (8, 12, 16, 20, 4, 24),
        },
        positions=1024,
        vocabulary=1024,
        parallel=4,
    ),
}


def sized(name: str, parallel: int | None = None) -> Size:
    """The size of that name, or a multiple of it whose heads can be split on `parallel` devices."""
    plain = SIZES[name]
    if parallel is None:
        return plain
    times = max(1, 16 * parallel // plain.width)
    many = tuple(parallel * n for n in (1, 2, 3, 4))
    return replace(
        plain,
        width=plain.width * times,
        narrower=tuple(n * times for n in plain.narrower),
        wider=tuple(n * times for n in plain.wider),
        choices={
            **plain.choices,
            "heads": tuple(dict.fromkeys((*plain.choices["heads"], *many[1:], *many))),
            "kv heads": tuple(dict.fromkeys((*plain.choices["kv heads"], *many))),
            "experts": tuple(dict.fromkeys((*plain.choices["experts"], *many))),
            "expert width": tuple(n * times for n in plain.choices["expert width"]),
        },
        parallel=parallel,
    )
