"""Pyramids of stages, images, windows and patches: widths and sides that belong together."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from tinybuild.config.layers import numbers_layers
from tinybuild.config.tree import Path, Tree, kind, scalars, whole, whole_list

IMAGE, PATCH = 64, 8  # pixels
BLOCKS = 2  # in each stage of a pyramid: one that changes the resolution, one that does not

WIDTH_LISTS = re.compile(
    r".*(hidden_sizes|embed_dims?|channels|channel_list|out_features|_dims?|conv_dim|embed_dim_per_stage|"
    r"feature_dims|planes|neck_hidden_sizes)"
)
HEAD_LISTS = re.compile(r".*(num_(attention_)?heads|heads_per_stage|num_attention_heads)")
BLOCK_TABLES = ("block_configs",)  # a row for each block: kernel, widths, stride and a switch
BLOCK_LISTS = re.compile(
    r"depths|blocks_per_stage|(num_)?block_repeats|stage_num_blocks|block_sizes|layers|depth"
)


def pyramids(tree: Tree) -> None:
    """Widths by stage shrink by one common power of two, so that equal ones stay equal."""
    lists: list[tuple[Path, str, list[int]]] = []
    for path, node in tree.nodes():
        if any(MULTIPLIER.fullmatch(name) for name in node):
            continue  # the factor shrinks what the lists say
        for name, value in node.items():
            if whole_list(value) and WIDTH_LISTS.fullmatch(name) and max(value) > 16:
                lists.append((path, name, list(value)))
    uneven = [value for _, _, value in lists if len(set(value)) > 1]
    factor = 1
    if uneven:
        largest = max(max(value) for value in uneven)
        while largest // factor > tree.size.width:
            factor *= 2
    for path, name, value in lists:
        if len(set(value)) == 1:
            new = [min(item, tree.size.width) for item in value]
        else:
            new = [_rounded(item, factor) for item in value]
        tree.set((*path, name), new, "rule pyramid")
    mapped = {
        item: _rounded(item, factor)
        for _, _, value in lists
        if len(set(value)) > 1
        for item in value
    }
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            if isinstance(value, list | tuple) and value and _nested(value):
                listed = any(place == path for place, _, _ in lists)
                own = name in BLOCK_TABLES and not listed
                widths = (_table_widths(tree, path, name) if own else {}) or mapped
                tree.set((*path, name), _through(value, widths), "rule pyramid: its table")
                for other, now in list(node.items()) if own else ():
                    if whole(now) and kind(other) == "channels" and now in widths:
                        tree.set((*path, other), widths[now], "rule pyramid: its table")
            elif whole_list(value) and MULTIPLIERS.fullmatch(name):
                ones = [1] * (len(value) - 1) + [min(2, value[-1])]
                tree.set((*path, name), ones, "rule pyramid: widths of its stages")
            elif name == "num_res_blocks" and whole(value):
                tree.set((*path, name), 1, "rule blocks in a stage")
    for path, node, name, was in scalars(tree, "width", "channels"):
        for place, other, value in lists:
            if place == path and was in value and len(set(value)) > 1:
                tree.set((*path, name), node[other][value.index(was)], "rule pyramid: as its list")
    for path, node in tree.nodes():
        wide = next((node[n] for p, n, _ in lists if p == path), None)
        groups = node.get("num_groups")
        if wide and whole(groups):
            tree.set((*path, "num_groups"), math.gcd(groups, *wide), "rule pyramid groups")
        for name, value in list(node.items()):
            if whole_list(value) and HEAD_LISTS.fullmatch(name):
                divisor = math.gcd(*value)
                new = [item // divisor for item in value]
                if wide and len(wide) == len(new):
                    new = [
                        next(h for h in range(min(h0, 4), 0, -1) if w % h == 0)
                        for h0, w in zip(new, wide, strict=True)
                    ]
                tree.set((*path, name), new, "rule pyramid heads")
            elif whole_list(value) and BLOCK_LISTS.fullmatch(name):
                _blocks(tree, path, node, name, list(value))


def _blocks(tree: Tree, path: Path, node: dict[str, Any], name: str, stages: list[int]) -> None:
    """The first block of each stage and another, of another kind where there is one."""
    members = {
        other: list(value)
        for other, value in node.items()
        if numbers_layers(other, value, sum(stages))
    }
    kept: list[int] = []
    start = 0
    for count in stages:
        blocks = list(range(start, start + count))
        first = [any(blocks[0] in value for value in members.values())] if blocks else []
        others = [
            block
            for block in blocks[1:]
            if [any(block in value for value in members.values())] != first
        ]
        kept += sorted([*blocks[:1], *(others or blocks[1:])[: BLOCKS - 1]])
        start += count
    tree.set((*path, name), [min(count, BLOCKS) for count in stages], "rule blocks in a stage")
    for other, value in members.items():
        places = [place for place, block in enumerate(kept) if block in value]
        tree.set((*path, other), places, "rule blocks in a stage: the kept blocks'")


MULTIPLIERS = re.compile(r"(channel|ch)_mult(iplier)?s?")


def _nested(value: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a list holds tables of blocks: lists of numbers and switches, at some depth."""
    return all(isinstance(item, list | tuple) for item in value) and any(
        isinstance(inner, list | tuple) or whole(inner) for item in value for inner in item
    )


def _table_widths(tree: Tree, path: Path, name: str) -> dict[int, int]:
    """What the widths in a table of blocks become where no list of the config has them."""
    numbers = {item for item in _flat(tree.was((*path, name))) if whole(item) and item > 8}
    factor = 1
    while max(numbers, default=0) // factor > tree.size.width:
        factor *= 2
    return {item: _rounded(item, factor) for item in numbers} if factor > 1 else {}


def _through(value: Any, mapped: Mapping[int, int]) -> Any:
    if isinstance(value, list | tuple):
        return [_through(item, mapped) for item in value]
    return mapped.get(value, value) if whole(value) and value > 8 else value


SHARE = 16
MULTIPLIER = re.compile(r"width_coefficient|width_multiplier|depth_multiplier")


def multipliers(tree: Tree) -> None:
    """Factors of widths that the class itself fixes (MobileNet, EfficientNet)."""
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            if not isinstance(value, float):
                continue
            if MULTIPLIER.fullmatch(name):
                tree.set((*path, name), value / SHARE, "rule width factor")
                last = tree.was((*path, "hidden_dim"))
                if whole(last):  # the last convolution's, which has the factor in it
                    tree.set((*path, "hidden_dim"), last // SHARE, "rule width factor")
            elif name == "depth_coefficient" and value > 1:
                tree.set((*path, name), 1.0, "rule depth factor")


DOUBLED = re.compile(
    r"embed_dim|num_filters|n_filters|encoder_hidden_size|patch_embeds_hidden_size"
)
STAGES = re.compile(r"depths|downsampling_ratios|upsampling_ratios|downsample_rates|query_stride")


def doubled_widths(tree: Tree) -> None:
    """A width that doubles from stage to stage is so small that the last is the width."""
    for path, node in tree.nodes():
        stages = [v for n, v in node.items() if STAGES.fullmatch(n) and isinstance(v, list | tuple)]
        if not stages:
            continue
        for name, value in list(node.items()):
            if not whole(value):
                continue
            if DOUBLED.fullmatch(name):
                times = len(stages[0]) - ("depths" in node)
                least = 2 if "filters" in name else 8
                tree.set(
                    (*path, name),
                    min(value, max(least, tree.size.width >> times)),
                    "rule doubled width",
                )


def _rounded(item: int, factor: int) -> int:
    """An eighth that heads and groups divide; what is small already stays."""
    return item if item <= 8 else max(8, round(item / factor / 8) * 8)


def images(tree: Tree) -> None:
    """A small image of few patches; numbers of patches and of tokens an image follow."""
    for path, node in tree.nodes():
        for name in IMAGE_SIZES:
            value = node.get(name)
            if whole(value) and value > IMAGE:
                tree.set((*path, name), IMAGE, "rule image size")
            elif whole_list(value) and len(value) == 2 and min(value) > IMAGE:
                cells = [round(side * IMAGE / min(value) / (2 * PATCH)) for side in value]
                shape = [cell * 2 * PATCH for cell in cells]
                tree.set((*path, name), shape, "rule image size")
        value = node.get("patch_size")
        if whole(value) and value > PATCH:
            tree.set((*path, "patch_size"), PATCH, "rule patch size")
        elif whole_list(value) and max(value) > PATCH:
            tree.set((*path, "patch_size"), [min(v, PATCH) for v in value], "rule patch size")
    for path, node in tree.nodes():
        # An image cut into images: its patch is the image of the towers that see it.
        towers = [inner for inner in node.values() if isinstance(inner, dict)]
        seen = [inner["image_size"] for inner in towers if whole(inner.get("image_size"))]
        was = [tree.was((*path, n, "image_size")) for n, v in node.items() if isinstance(v, dict)]
        if seen and tree.was((*path, "patch_size")) in was:
            tree.set((*path, "patch_size"), seen[0], "derived: the image of a tower")
    for path, node in tree.nodes():
        points = node.get("image_grid_pinpoints")
        if isinstance(points, list | tuple) and points and all(map(whole_list, points)):
            base = math.gcd(*(number for point in points for number in point))
            new_points = [[number // base * IMAGE for number in point] for point in points]
            tree.set((*path, "image_grid_pinpoints"), new_points, "rule image size: its tiles")
    for path, node in tree.nodes():
        window, stages = node.get("window_size"), node.get("depths")
        patch = node.get("patch_size")
        size = next((node[n] for n in IMAGE_SIZES if whole(node.get(n))), IMAGE)
        if whole(window) and isinstance(stages, list | tuple) and whole(patch):
            least = max(1, size // patch >> (len(stages) - 1))
            if window > least:
                tree.set((*path, "window_size"), least, "rule window: the last stage's image")
        elif whole(window) and whole(patch) and whole(node.get("spatial_merge_size")):
            # In pixels: of two merged patches on a side.
            least = 2 * patch * node["spatial_merge_size"]
            tree.set((*path, "window_size"), min(window, least), "rule window: merged patches")
        elif whole(window) and whole(patch) and window > size // patch // 2 > 0:
            tree.set((*path, "window_size"), size // patch // 2, "rule window: half an image")
    grids: dict[int, int] = {}
    for path, node in tree.nodes():
        size, patch = tree.was((*path, "image_size")), tree.was((*path, "patch_size"))
        if whole(size) and whole(patch) and patch:
            grids[size // patch] = node["image_size"] // node["patch_size"]
    for path, node in tree.nodes():
        for name, value in list(node.items()):
            if MAPS.fullmatch(name) and isinstance(value, list | tuple | int):
                least = min(_flat(value), default=0)
                before, now = (least, grids[least]) if least in grids else (1024, IMAGE)
                tree.set((*path, name), _scaled(value, before, now), "derived: maps of an image")
            if whole(value) and value in grids and SIDES.fullmatch(name):
                tree.set((*path, name), grids[value], "derived: patches on a side")
            if not whole(value) or value < 4 or not COUNTS.fullmatch(name):
                continue
            new = _count(value, grids)
            if new is None:  # of an image that the config does not show
                side = max(grids.values(), default=IMAGE // PATCH)
                pooled = side // 2 if name == "mm_tokens_per_image" else side
                new = min(value, pooled**2)
            tree.set((*path, name), new, "derived: patches of an image")


IMAGE_SIZES = (
    *("image_size", "img_size", "resolution", "pretrain_image_size", "max_image_size"),
    *("max_img_size", "min_image_size", "spec_size", "crop_size"),
)
MAPS = re.compile(r"backbone_feature_sizes|.*rope_feat_sizes|low_res_mask_size")


def _flat(value: Any) -> list[Any]:
    return (
        [n for item in value for n in _flat(item)] if isinstance(value, list | tuple) else [value]
    )


def _scaled(value: Any, before: int, now: int) -> Any:
    if isinstance(value, list | tuple):
        return [_scaled(item, before, now) for item in value]
    return max(1, value * now // before)


SIDES = re.compile(r"image_embedding_size|.*_grid_size|num_patches_per_side")
COUNTS = re.compile(
    r"num_patches|num_position_embeddings|image_seq_length|mm_tokens_per_image|num_image_tokens|"
    r"video_seq_length|vision_soft_tokens_per_image|image_seq_len|max_num_patches"
)


def _count(value: int, grids: Mapping[int, int]) -> int | None:
    """A number of patches or of pooled patches, for the new grid."""
    for before, now in grids.items():
        for more in (0, 1):
            side = math.isqrt(value - more)
            if side * side == value - more and side and before % side == 0:
                return int(max(1, now * side // before) ** 2 + more)
    return None
