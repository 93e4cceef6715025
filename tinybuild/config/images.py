"""Images, their patches and windows: sides and counts that belong together."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tinybuild.config.sizes import IMAGE, PATCH
from tinybuild.config.tree import Tree
from tinybuild.keys import NAMES, first, says
from tinybuild.paths import Json, items, whole, wholes

MAPPED = 1024  # pixels of the image whose maps a config shows without a size of its own


def images(tree: Tree) -> None:
    """A small image of few patches; numbers of patches and of tokens an image follow."""
    for part in (_sides, _cut_images, _tiles, _windows, _patches):
        part(tree)


def _sides(tree: Tree) -> None:
    for path, node in tree.nodes():
        for name in NAMES["image side"]:
            value = node.get(name)
            if whole(value) and value > IMAGE:
                tree.set((*path, name), IMAGE, "rule image size")
            elif wholes(value) and len(value) == 2 and min(value) > IMAGE:
                cells = [round(side * IMAGE / min(value) / (2 * PATCH)) for side in value]
                tree.set((*path, name), [cell * 2 * PATCH for cell in cells], "rule image size")
        value = node.get("patch_size")
        if whole(value) and value > PATCH:
            tree.set((*path, "patch_size"), PATCH, "rule patch size")
        elif wholes(value) and max(value) > PATCH:
            tree.set((*path, "patch_size"), [min(v, PATCH) for v in value], "rule patch size")


def _cut_images(tree: Tree) -> None:
    """An image cut into images: its patch is the image of the towers that see it."""
    for path, node in tree.nodes():
        towers = {name: inner for name, inner in node.items() if isinstance(inner, Mapping)}
        seen = [inner["image_size"] for inner in towers.values() if whole(inner.get("image_size"))]
        was = [tree.was((*path, name, "image_size")) for name in towers]
        if seen and tree.was((*path, "patch_size")) in was:
            tree.set((*path, "patch_size"), seen[0], "derived: the image of a tower")


def _tiles(tree: Tree) -> None:
    for path, node in tree.nodes():
        points = node.get("image_grid_pinpoints")
        if isinstance(points, list | tuple) and points:
            sizes = [list(point) for point in points if wholes(point)]
            if len(sizes) == len(points):
                base = math.gcd(*(number for point in sizes for number in point))
                new = [[number // base * IMAGE for number in point] for point in sizes]
                tree.set((*path, "image_grid_pinpoints"), new, "rule image size: its tiles")


def _windows(tree: Tree) -> None:
    for path, node in tree.nodes():
        window, patch, stages = (node.get(n) for n in ("window_size", "patch_size", "depths"))
        if not (whole(window) and whole(patch)):
            continue
        side, merge = first(node, "image side"), node.get("spatial_merge_size")
        size = node[side] if side else IMAGE
        assert whole(size)
        at = (*path, "window_size")
        if isinstance(stages, list | tuple):
            least = max(1, size // patch >> (len(stages) - 1))
            if window > least:
                tree.set(at, least, "rule window: the last stage's image")
        elif whole(merge):
            # In pixels: of two merged patches on a side.
            tree.set(at, min(window, 2 * patch * merge), "rule window: merged patches")
        elif window > size // patch // 2 > 0:
            tree.set(at, size // patch // 2, "rule window: half an image")


def _patches(tree: Tree) -> None:
    """What is counted in patches: on a side, in an image, in maps of it."""
    grids = _grids(tree)
    for path, name, value in tree.items():
        at = (*path, name)
        if says(name, "map of an image") and isinstance(value, list | tuple | int):
            least = min((n for _, n in items(value) if whole(n)), default=0)
            before, now = (least, grids[least]) if least in grids else (MAPPED, IMAGE)
            tree.set(at, _scaled(value, before, now), "derived: maps of an image")
        if not whole(value):
            continue
        if value in grids and says(name, "patches a side"):
            tree.set(at, grids[value], "derived: patches on a side")
        if value >= 4 and says(name, "patches"):
            tree.set(at, _count(name, value, grids), "derived: patches of an image")


def _grids(tree: Tree) -> dict[int, int]:
    """Patches on a side of each image: in the source, and now."""
    grids: dict[int, int] = {}
    for path, node in tree.nodes():
        size, patch = tree.was((*path, "image_size")), tree.was((*path, "patch_size"))
        if whole(size) and whole(patch) and patch:
            now, part = node["image_size"], node["patch_size"]
            assert whole(now)
            assert whole(part)
            grids[size // patch] = now // part
    return grids


def _scaled(value: Json, before: int, now: int) -> Json:
    if isinstance(value, list | tuple):
        return [_scaled(item, before, now) for item in value]
    return max(1, value * now // before) if whole(value) else value


def _count(name: str, value: int, grids: Mapping[int, int]) -> int:
    """A number of patches or of pooled patches, for the new grid."""
    for before, now in grids.items():
        for more in (0, 1):
            side = math.isqrt(value - more)
            if side * side == value - more and side and before % side == 0:
                return max(1, now * side // before) ** 2 + more
    # Of an image that the config does not show.
    side = max(grids.values(), default=IMAGE // PATCH)
    return min(value, (side // 2 if name == "mm_tokens_per_image" else side) ** 2)
