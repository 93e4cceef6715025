"""Images, their patches and windows: sides and counts that belong together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from tinybuild.config.sizes import IMAGE, PATCH, STRIDE
from tinybuild.config.tree import Tree
from tinybuild.keys import GIVEN, NAMES, TOLD, first, is_id, measures, says
from tinybuild.paths import Data, Json, items, mapping, whole, wholes

MAPPED = 1024  # pixels of the image whose maps a config shows without a size of its own
LARGEST = 4 * STRIDE  # pixels of a side, where its patches and stages leave a choice
JOINED = (2, 3, 4)  # patches along a side that may become one token
JOINS = (*NAMES["patches merged"], *NAMES["patches pooled"])
LOOSE = ("", "vocabulary", "positions", "text", "horizon", "window", "grid")  # no axes of layers
SQUARE = "spec_size"  # of a sound, as an image


def images(tree: Tree) -> None:
    """A small image whose patches are as many as nothing else is wide; numbers of patches and of
    tokens an image follow."""
    _patch_sides(tree)
    _flat_patches(tree)
    side = _side(tree)
    _sides(tree, side)
    _shown(tree, side)
    _folded(tree)
    _cut_images(tree)
    _tiles(tree, side)
    _windows(tree, side)
    _patches(tree, side)


def _patch_sides(tree: Tree) -> None:
    """Smaller patches; what a pyramid makes of an image is no patch: its strides stay."""
    towers = [node for _, node in tree.nodes() if first(node, "image channels")]
    pyramid = any(_in_stages(node) and "patch_size" not in node for node in towers)
    for path, node in tree.nodes():
        value = node.get("patch_size")
        if pyramid and node not in towers and all(t.get("patch_size") != value for t in towers):
            continue
        if whole(value) and value > PATCH:
            tree.set((*path, "patch_size"), PATCH, "rule patch size")
        elif wholes(value) and max(value) > PATCH:
            tree.set((*path, "patch_size"), [min(v, PATCH) for v in value], "rule patch size")


def _flat_patches(tree: Tree) -> None:
    """A patch laid flat has as many numbers as a smaller patch has pixels, in all channels."""
    for path, name, value in tree.items():
        was, channels = tree.was((*path, name)), 3
        if says(name, "flat patch") and whole(value) and whole(was):
            side = math.isqrt(was // channels)
            if side > PATCH and side**2 * channels == was:
                tree.set((*path, name), PATCH**2 * channels, "rule patch size: laid flat")


# --- how large an image is ------------------------------------------------------------------------


def _side(tree: Tree) -> int:
    """Pixels of a side: its patches, what joins them and its stages divide it, and no count of its
    patches is a size of something else."""
    patches = sorted({side for _, node in tree.nodes() for side in _patch(node)} or {PATCH})
    joined, staged = _joined(tree), _staged(tree)
    unit = math.lcm(*patches, *_windowed(tree), STRIDE if staged else 1) * joined
    wanted, sizes = 2 * STRIDE if staged else IMAGE, set(_sizes(tree))

    sides = range(unit, max(LARGEST, 2 * unit) + 1, unit)

    def rank(side: int) -> tuple[bool, int, int]:
        grids = [side // patch for patch in patches]
        counts = [count for grid in grids for count in _counts(grid, joined)]
        counts += [] if staged else grids
        few = min(grids) // joined < 2
        return few, sum(count in sizes for count in counts), abs(side - wanted)

    tree.sizes[(), "image side", 0] = side = min(tree.free("image side", 0, sides), key=rank)
    return side


def _windowed(tree: Tree) -> Iterator[int]:
    """What a side is a multiple of, where an image is cut into so many windows: some classes want
    each part of it to have a row of them. `num_windows` are all where the config has those of a
    side as well (LW-DETR), else those of a side (RF-DETR)."""
    for _, node in tree.nodes():
        for name, value in node.items():
            if says(name, "windows") and whole(value) and value > 0:
                every = f"{name}_side" in node
                yield value * (math.isqrt(value) if every else max(_patch(node), default=PATCH))


def _patch(node: Data) -> Iterator[int]:
    """The sides of a config's patches."""
    for name in NAMES["patch side"]:
        value = node.get(name)
        numbers = [value] if whole(value) else value if wholes(value) else ()
        yield from (number for number in numbers if number > 0)


def _counts(grid: int, joined: int) -> tuple[int, ...]:
    """What is counted of an image of so many patches a side: all, one more, and joined ones."""
    return grid**2, grid**2 + 1, (grid // joined) ** 2


def _joined(tree: Tree) -> int:
    """Patches along a side that become one token, at most."""
    joined, grids = [1], _grids(tree)
    for _, name, value in tree.items():
        if name in JOINS:
            joined += [n for _, n in items(value) if n in JOINED and whole(n)]
        elif says(name, "share of pixels") and isinstance(value, float) and 0 < value < 1:
            joined.append(round(1 / value))
        elif whole(value) and value >= 4 and says(name, "patches"):
            tokens = math.isqrt(value)
            whole_grids = [g for g in grids if tokens**2 == value and g % tokens == 0]
            joined += [g // tokens for g in whole_grids if g // tokens in JOINED]
    return max(joined)


def _staged(tree: Tree) -> bool:
    """Whether an image is halved from stage to stage; what timm cuts into no patches is."""
    return any(
        _in_stages(node)
        for _, node in tree.nodes()
        if first(node, "image channels") or first(node, "image side")
    ) or any(
        path[-1:] == (GIVEN,) and {*NAMES["image side"]} & node.keys() and not [*_patch(node)]
        for path, node in tree.nodes()
    )


def _in_stages(node: Data) -> bool:
    return any(says(n, "stages") and isinstance(v, list | tuple) for n, v in node.items())


def _sizes(tree: Tree) -> Iterator[int]:
    """How wide layers are, how many heads they have, and the like."""
    for _, name, value in tree.items():
        if measures(name) not in LOOSE and not is_id(name):
            yield from (number for _, number in items(value) if whole(number))


# --- what follows ---------------------------------------------------------------------------------


def _sides(tree: Tree, side: int) -> None:
    for path, node in tree.nodes():
        for name in NAMES["image side"]:
            value = node.get(name)
            if whole(value) and value > side:
                tree.set((*path, name), side, "rule image size")
            elif wholes(value) and len(value) == 2 and min(value) > side:
                unit = math.lcm(PATCH, *_patch(node))
                units = [round(edge * side / min(value) / unit) for edge in value]
                tree.set((*path, name), [unit * count for count in units], "rule image size")


def _shown(tree: Tree, side: int) -> None:
    """What timm says of its images, of which a processor is made: as large as its sizes say, else
    what stages divide."""
    staged = -(-side // STRIDE) * STRIDE
    for path, node in tree.nodes():
        given = mapping(node, (GIVEN,)).get("img_size")
        shape = [*given] if wholes(given) else [given if whole(given) else staged] * 2
        for name, value in mapping(node, (TOLD,)).items():
            if name.endswith("input_size") and wholes(value) and len(value) == 1 + len(shape):
                tree.set((*path, TOLD, name), [value[0], *shape], "rule image size")


def _folded(tree: Tree) -> None:
    """A spectrogram that is folded into a square: its bins are as often in a side as they were, as
    far as the last stage's map has a place for each time."""
    for path, node in tree.nodes():
        side, was = node.get(SQUARE), tree.was((*path, SQUARE))
        bins = first(node, "mel bins")
        before = tree.was((*path, bins)) if bins else None
        if whole(side) and whole(was) and whole(before) and was % before == 0 and bins:
            patch, stages = node.get("patch_size"), node.get("depths")
            places = side // patch if whole(patch) and patch else side
            places >>= len(stages) - 1 if isinstance(stages, list) else 0
            times = max(1, min(was // before, places))
            tree.set((*path, bins), side // times, "derived: a side of the folded spectrogram")


def _cut_images(tree: Tree) -> None:
    """An image cut into images: its patch is the image of the towers that see it."""
    for path, node in tree.nodes():
        towers = {name: inner for name, inner in node.items() if isinstance(inner, Mapping)}
        seen = [inner["image_size"] for inner in towers.values() if whole(inner.get("image_size"))]
        cut = tree.was((*path, "patch_size"))
        was = [tree.was((*path, name, "image_size")) for name in towers]
        if seen and whole(cut) and cut in was:
            tree.set((*path, "patch_size"), seen[0], "derived: the image of a tower")


def _tiles(tree: Tree, side: int) -> None:
    for path, node in tree.nodes():
        points = node.get("image_grid_pinpoints")
        if isinstance(points, list | tuple) and points:
            sizes = [list(point) for point in points if wholes(point)]
            if len(sizes) == len(points):
                base = math.gcd(*(number for point in sizes for number in point))
                new = [[number // base * side for number in point] for point in sizes]
                tree.set((*path, "image_grid_pinpoints"), new, "rule image size: its tiles")


def _windows(tree: Tree, side: int) -> None:
    for path, node in tree.nodes():
        window, patch, stages = (node.get(n) for n in ("window_size", "patch_size", "depths"))
        if not (whole(window) and whole(patch)):
            continue
        named, merge = first(node, "image side"), node.get("spatial_merge_size")
        size = node[named] if named else side
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


def _patches(tree: Tree, side: int) -> None:
    """What is counted in patches: on a side, in an image, in maps of it."""
    grids = _grids(tree)
    most = max(grids.values(), default=side // PATCH)
    for path, name, value in tree.items():
        at = (*path, name)
        if says(name, "map of an image") and isinstance(value, list | tuple | int):
            least = min((n for _, n in items(value) if whole(n)), default=0)
            before, now = (least, grids[least]) if least in grids else (MAPPED, side)
            tree.set(at, _scaled(value, before, now), "derived: maps of an image")
        if not whole(value):
            continue
        if value in grids and says(name, "patches a side"):
            tree.set(at, grids[value], "derived: patches on a side")
        if value >= 4 and says(name, "patches"):
            tree.set(at, _count(name, value, grids, most), "derived: patches of an image")


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


def _count(name: str, value: int, grids: Mapping[int, int], most: int) -> int:
    """A number of patches or of pooled patches, for the new grid."""
    for before, now in grids.items():
        for more in (0, 1):
            side = math.isqrt(value - more)
            if side * side == value - more and side and before % side == 0:
                return max(1, now * side // before) ** 2 + more
    # Of an image that the config does not show.
    return min(value, (most // 2 if name == "mm_tokens_per_image" else most) ** 2)
