"""What a config says of the images and sounds its model takes: sizes, patches, mel bins, frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinybuild.keys import NAMES, of_modality
from tinybuild.paths import Data, Json, mappings, whole, wholes

Pair = tuple[int, int]

FLAT = ("patch_embed_hidden_size",)  # numbers in a patch laid flat, where no key has its size
COLOURS = 3
SMALLEST = 32  # pixels a side where a config fixes none
STRIDE = 32  # what the stride of a convolutional backbone divides


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Of a config tree. None where it does not say.

    side: height and width of an image in pixels; fixed: whether the config gives them, or they are
    only large enough for its patches. patch: of a patch. merge: patches that make one token, along
    a side.
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
    def of(cls, config: Data, prefix: str = "") -> Geometry:
        """The geometry of a config tree (JSON data); of its sub-config named by `prefix` if any."""
        patch = pair(find(config, NAMES["patch side"], "image", prefix))
        width = find(config, FLAT, "image", prefix)
        if patch is None and whole(width) and width % COLOURS == 0:
            edge = math.isqrt(width // COLOURS)
            patch = (edge, edge) if COLOURS * edge**2 == width else None
        merge = find(config, NAMES["patches merged"], "image", prefix)
        merge = merge if whole(merge) else 1
        side = pair(find(config, NAMES["image given"], "image", prefix))
        views = [*_views(config)]
        if side is not None and not views:
            return cls(side=side, fixed=True, patch=patch, merge=merge)
        unit = patch[0] * merge if patch is not None else STRIDE
        least = max([SMALLEST if patch is not None else 2 * STRIDE, *views])
        size = -(-least // unit) * unit
        return cls(side=(size, size), fixed=False, patch=patch, merge=merge)


def _views(config: Data) -> Iterator[int]:
    """The sides of images that are also seen at parts of their size: the smallest view is a
    patch."""
    for _, node in mappings(config):
        ratios, patch = node.get("scaled_images_ratios"), pair(node.get("patch_size"))
        shares = [r for r in ratios if isinstance(r, float)] if isinstance(ratios, list) else []
        if shares and patch is not None:
            yield round(patch[0] / min(shares))


def find(tree: Data, names: Sequence[str], modality: str, prefix: str = "") -> Json:
    """The value of one of `names`, the first that is anywhere in the tree; None where none is.

    A sub-config whose path speaks of the modality goes before the top, and that before the others;
    one whose path starts with `prefix` before all.
    """

    def rank(path: tuple[str, ...]) -> tuple[bool, bool, bool]:
        first = bool(prefix) and ".".join(path).startswith(prefix)
        return not first, not any(of_modality(name, modality) for name in path), path != ()

    for _, node in sorted(mappings(tree), key=lambda item: rank(item[0])):
        for name in names:
            if node.get(name) is not None:
                return node[name]
    return None


def pair(value: Json) -> Pair | None:
    """A size as configs write it (16, [16], [16, 24], {"height": 16, "width": 24}) as a pair."""
    if isinstance(value, Mapping):
        value = [value.get("height"), value.get("width")]
    if isinstance(value, list | tuple):
        value = list(value)[-2:] if len(value) > 1 else list(value) * 2
        numbers = [item for item in value if isinstance(item, int)]
        return (numbers[0], numbers[1]) if len(numbers) == 2 else None
    return (value, value) if whole(value) else None


def strides(tree: Data) -> int | None:
    """Samples per frame of a codec: the product of its strides."""
    ratios = find(tree, NAMES["strides"], "audio")
    return math.prod(ratios) if wholes(ratios) else None
