"""What a config says of the images and sounds its model takes: sizes, patches, mel bins, frames."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Pair = tuple[int, int]

VISION = re.compile(r"vision|image|visual|vit|backbone|video|pixel|vq")
AUDIO = re.compile(r"audio|speech|sound|acoustic|codec|mel")
SIDES = ("image_size", "img_size", "resolution")
PATCHES = ("patch_size", "encoder_patch_size")
MERGES = ("spatial_merge_size", "merge_size", "downsample_factor", "scale_factor")
SUBSAMPLED = "subsampling_conv_channels"
MELS = (
    *("num_mel_bins", "n_mels", "n_mel_channels", "input_feat_per_channel", "mel_bins"),
    *("feature_size", "num_mel_channels", "input_feat_size", "input_dim", "input_size"),
    *("feature_projection_input_dim", "audio_embed_dim", SUBSAMPLED),
)
FRAMES = ("max_source_positions", "max_audio_positions")
RATES = ("downsampling_ratios", "upsampling_ratios", "encoder_downsampling_ratios", "ratios")
FLAT = ("patch_embed_hidden_size",)  # numbers in a patch laid flat, where no key has its size
COLOURS = 3
SMALLEST = 32  # pixels a side where a config fixes none
STRIDE = 32  # what the stride of a convolutional backbone divides


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Of a config tree. None where it does not say.

    side: height and width of an image in pixels; fixed: whether the config gives them, or they are
    only large enough for its patches. patch: of a patch. merge: patches that make one token, along
    a side. frames: columns of a spectrogram per position, times positions.
    """

    side: Pair
    fixed: bool
    patch: Pair | None
    merge: int

    @property
    def unit(self) -> int:
        """Pixels that a side must be a multiple of."""
        return self.patch[0] * self.merge if self.patch is not None else STRIDE

    @classmethod
    def of(cls, config: Mapping[str, Any], prefix: str = "") -> Geometry:
        """The geometry of a config tree (JSON data); of its sub-config named by `prefix` if any."""
        patch = pair(find(config, PATCHES, VISION, prefix))
        width = find(config, FLAT, VISION, prefix)
        if patch is None and isinstance(width, int) and width % COLOURS == 0:
            edge = math.isqrt(width // COLOURS)
            patch = (edge, edge) if COLOURS * edge**2 == width else None
        merge = find(config, MERGES, VISION, prefix)
        merge = merge if isinstance(merge, int) and not isinstance(merge, bool) else 1
        side = pair(find(config, SIDES, VISION, prefix))
        unit = patch[0] * merge if patch is not None else STRIDE
        if side is not None:
            return cls(side=side, fixed=True, patch=patch, merge=merge)
        least = SMALLEST if patch is not None else 2 * STRIDE
        for _, node in nodes(config):
            views, view = node.get("scaled_images_ratios"), pair(node.get("patch_size"))
            if isinstance(views, list) and views and view is not None:
                least = round(view[0] / min(views))  # the smallest view is a patch
        size = -(-least // unit) * unit
        return cls(side=(size, size), fixed=False, patch=patch, merge=merge)


def nodes(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(dotted path, mapping) of a config tree and every mapping in it."""
    yield path, tree
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from nodes(value, f"{path}.{name}" if path else str(name))


def find(
    tree: Mapping[str, Any], names: Sequence[str], kind: re.Pattern[str], prefix: str = ""
) -> Any:
    """The value of one of `names`, the first that is anywhere in the tree; None where none is.

    A sub-config whose path speaks of `kind` goes before the top, and that before the others; one
    whose path starts with `prefix` before all.
    """

    def rank(path: str) -> tuple[bool, bool, bool]:
        return (not (prefix and path.startswith(prefix)), kind.search(path) is None, path != "")

    ranked = sorted(nodes(tree), key=lambda node: rank(node[0]))
    for _, node in ranked:
        for name in names:
            if node.get(name) is not None:
                return node[name]
    return None


def pair(value: Any) -> Pair | None:
    """A size as configs write it (16, [16], [16, 24], {"height": 16, "width": 24}) as a pair."""
    if isinstance(value, Mapping):
        value = [value.get("height"), value.get("width")]
    if isinstance(value, list | tuple):
        value = list(value)[-2:] if len(value) > 1 else list(value) * 2
        numbers = [item for item in value if isinstance(item, int)]
        return (numbers[0], numbers[1]) if len(numbers) == 2 else None
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    return None


def product(tree: Mapping[str, Any], kind: re.Pattern[str]) -> int | None:
    """Samples per frame of a codec: the product of its strides."""
    ratios = find(tree, RATES, kind)
    if isinstance(ratios, list) and all(isinstance(ratio, int) for ratio in ratios):
        return math.prod(ratios)
    return None
